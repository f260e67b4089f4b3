//! Plans and runs statements within their bounds: concurrency, time, memory, rows.
//! Holds no rows itself and never changes a table.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use datafusion::{
    catalog::view::ViewTable,
    common::{ParamValues, ScalarValue},
    error::DataFusionError,
    execution::{
        SessionStateBuilder,
        context::{SQLOptions, SessionContext},
        memory_pool::MemoryPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    logical_expr::LogicalPlan,
    sql::parser::Statement as Parsed,
};
use tokio::sync::OnceCell;

use super::{
    dialect::{self, Dialect},
    error::{from_engine, from_planning},
    gauges::{self, Gauges},
    guard,
    library::{Entry, Kind as LibraryKind, Library, Problem},
    memory::{Bounds, Memory},
    needed::with_needed_columns,
    options::Options,
    planned::{FilePlan, Planned},
    provider::{LongestRow, StoredTable},
    results::ResultTables,
    rollup::{Rollups, UseRollups, load as load_rollups},
    running::{Rows, Statement, Workers},
    series::fills_gaps,
    session,
    turns::{Place, Turn, Turns},
};
use crate::{
    access::{Scope, Tenants},
    buffer::Buffer,
    clock::Clock,
    config::{BudgetConfig, SloConfig, SloConfigs},
    error::{Error, Kind, Result},
    lake::LakeTable,
    named::{ParamKind, ParamValue},
    record::Table,
};

/// What a statement may take.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a statement may run.
    pub timeout: Duration,
    /// Most rows of a result.
    pub rows_max: usize,
    /// Most memory of all statements together, bytes; beyond it they spill.
    pub memory_bytes_max: usize,
    /// What the whole process may have resident, bytes: where that is watched, statements give way near it.
    pub process_bytes_max: usize,
    /// Most memory for columns of rollups that stay, bytes.
    pub rollup_bytes_max: usize,
    /// Most bytes that statements may spill.
    pub spill_bytes_max: u64,
    /// Statements that run at the same time; others wait a moment.
    pub concurrency: usize,
    /// Where statements spill.
    pub spill_directory: PathBuf,
    /// The user's SQL files.
    pub sql_directory: Option<PathBuf>,
    /// Tokens that a tenant may use in a day.
    pub token_quotas: BTreeMap<String, u64>,
    /// What a task that an agent gets done is worth, USD.
    pub task_values_usd: BTreeMap<String, f64>,
    /// What a month may cost.
    pub budgets: BudgetConfig,
    /// Objectives.
    pub objectives: SloConfigs,
}

/// Values for a statement's placeholders.
#[derive(Debug, Clone, Default)]
pub enum QueryParams {
    /// None.
    #[default]
    None,
    /// `$1`, `$2`, …
    Positional(Vec<serde_json::Value>),
    /// `$name`.
    Named(serde_json::Map<String, serde_json::Value>),
}

/// The query engine, over the rows of one scope. That of everybody makes all others, which share its bounds and
/// see their own rows only: nothing that a statement says reaches beyond its engine.
pub struct Engine {
    context: SessionContext,
    shared: Arc<Shared>,
    /// Whose rows it sees.
    scope: Scope,
    gauges: Gauges,
    planned: Planned,
    /// For clients of Postgres, once there is one.
    dialect: OnceCell<Dialect>,
    /// The engines of other scopes, those asked for last at the end.
    scoped: Mutex<Vec<(Tenants, Arc<Engine>)>>,
}

/// What the engines of all scopes have in common.
struct Shared {
    library: Library,
    settings: Settings,
    clock: Clock,
    turns: Arc<Turns>,
    rollups: Arc<OnceLock<Arc<Rollups>>>,
    memory: Arc<Memory>,
    workers: Workers,
    runtime: Arc<RuntimeEnv>,
    tables: Vec<Arc<StoredTable>>,
    dialect: dialect::Shared,
    result_tables: ResultTables,
}

/// Engines of other scopes that stay: each holds its plans of the views.
const SCOPED_MAX: usize = 64;

/// How long a statement waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);

impl Engine {
    /// An engine over the tables; returns what is wrong with SQL files that it leaves out.
    pub async fn new(
        settings: Settings,
        buffer: &Arc<Buffer>,
        lake: &[Arc<LakeTable>],
        clock: Clock,
    ) -> Result<(Self, Vec<Problem>)> {
        let (library, mut problems) = Library::load(settings.sql_directory.as_deref())?;
        let memory = Memory::new(settings.memory_bytes_max, Bounds::within(settings.process_bytes_max));
        let tables: Vec<_> =
            lake.iter().map(|table| Arc::new(StoredTable::new(Arc::clone(buffer), Arc::clone(table)))).collect();
        let shared = Shared {
            library,
            clock,
            turns: Arc::new(Turns::new(settings.concurrency)),
            rollups: Arc::default(),
            memory,
            workers: Workers::start()?,
            runtime: session::runtime(&settings)?,
            tables: tables.clone(),
            dialect: OnceCell::new(),
            result_tables: ResultTables::new()?,
            settings,
        };
        let (engine, wrong) = Self::over(Arc::new(shared), &Scope::Everybody).await?;
        problems.extend(wrong);
        let calls = tables.into_iter().zip(lake).find(|(table, _)| table.table() == Table::AgentLogs);
        if let Some((table, lake)) = calls {
            let (definitions, wrong) = load_rollups(&engine.context.state(), engine.library()).await;
            problems.extend(wrong);
            let held_bytes_max = engine.shared.settings.rollup_bytes_max;
            let rollups = Rollups::open(table, Arc::clone(lake), definitions, held_bytes_max).await?;
            engine.shared.rollups.get_or_init(|| Arc::new(rollups));
        }
        Ok((engine, problems))
    }

    /// The engine over the rows of a scope, with what is wrong with views in it.
    async fn over(shared: Arc<Shared>, scope: &Scope) -> Result<(Self, Vec<Problem>)> {
        let use_rollups = UseRollups::new(Arc::clone(&shared.rollups));
        let context = session::context(&shared.runtime, use_rollups, scope)?;
        let tables = shared.tables.iter().filter_map(|table| table.scoped(scope));
        session::register(&context, tables, &shared.settings, scope)?;
        session::register_results(&context, shared.result_tables.tables(scope))?;
        let (gauges, planned, scoped) = (Gauges::default(), Planned::default(), Mutex::default());
        let engine = Self { context, shared, scope: scope.clone(), gauges, planned, dialect: OnceCell::new(), scoped };
        let problems = engine.create_views().await;
        Ok((engine, problems))
    }

    /// The engine that sees what the scope may see.
    pub async fn scoped(self: &Arc<Self>, scope: &Scope) -> Result<Arc<Self>> {
        let Scope::Tenants(tenants) = scope else { return Ok(Arc::clone(self)) };
        if let Some(found) = self.known(tenants) {
            return Ok(found);
        }
        // Files that need what a tenant does not see are not there for it: no problem of theirs.
        let (made, _) = Self::over(Arc::clone(&self.shared), scope).await?;
        let made = Arc::new(made);
        let mut known = self.scoped.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((tenants.clone(), Arc::clone(&made)));
        let too_many = known.len().saturating_sub(SCOPED_MAX);
        known.drain(..too_many);
        Ok(made)
    }

    /// The engines of other scopes that stay.
    pub(super) fn scoped_engines(&self) -> Vec<Arc<Self>> {
        let scoped = self.scoped.lock().unwrap_or_else(PoisonError::into_inner);
        scoped.iter().map(|(_, engine)| Arc::clone(engine)).collect()
    }

    fn known(&self, tenants: &Tenants) -> Option<Arc<Self>> {
        let mut known = self.scoped.lock().unwrap_or_else(PoisonError::into_inner);
        let position = known.iter().position(|(other, _)| other == tenants)?;
        let found = known.remove(position);
        let engine = Arc::clone(&found.1);
        known.push(found);
        Some(engine)
    }

    /// The named SQL files.
    pub fn library(&self) -> &Library {
        &self.shared.library
    }

    /// Whose rows it sees.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What a month may cost, by the settings.
    pub(super) fn budgets(&self) -> &BudgetConfig {
        &self.shared.settings.budgets
    }

    /// Whether a tenant that the scope sees has a quota of tokens, by the settings.
    pub(super) fn has_token_quotas(&self) -> bool {
        self.shared.settings.token_quotas.keys().any(|tenant| self.scope.sees(tenant))
    }

    /// The objectives of the settings.
    pub(super) fn objective_settings(&self) -> &[SloConfig] {
        self.shared.settings.objectives.as_slice()
    }

    /// Now, µs since the epoch, UTC.
    pub fn now_us(&self) -> i64 {
        self.shared.clock.now_us()
    }

    /// Runs a statement that reads.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for a statement that does not parse, plan or is not allowed,
    /// [`Kind::Busy`], [`Kind::Timeout`] or [`Kind::Exhausted`] at a bound.
    pub async fn sql(&self, text: &str, params: QueryParams) -> Result<Rows> {
        self.sql_with(text, params, Options::default()).await
    }

    /// The same, answered as the statement's options say.
    pub async fn sql_with(&self, text: &str, params: QueryParams, options: Options) -> Result<Rows> {
        let turn = self.turn().await?;
        let plan = self.plan(text).await?;
        let plan = match params {
            QueryParams::None => plan,
            QueryParams::Positional(values) => {
                let values: Vec<ScalarValue> = values.iter().map(scalar).collect::<Result<_>>()?;
                bind(plan, ParamValues::from(values))?
            }
            QueryParams::Named(values) => {
                let values: HashMap<String, ScalarValue> =
                    values.iter().map(|(name, value)| Ok((name.clone(), scalar(value)?))).collect::<Result<_>>()?;
                bind(plan, ParamValues::from(values))?
            }
        };
        self.run(plan, turn, options).await
    }

    /// Runs a named file with the arguments that were given as text.
    pub async fn named<'a>(
        &self,
        kind: LibraryKind,
        name: &str,
        arguments: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Rows> {
        self.named_with(kind, name, arguments, Options::default()).await
    }

    /// The same, answered as the options say.
    pub async fn named_with<'a>(
        &self,
        kind: LibraryKind,
        name: &str,
        arguments: impl IntoIterator<Item = (&'a str, &'a str)>,
        options: Options,
    ) -> Result<Rows> {
        let entry = self.shared.library.get(kind, name)?;
        let values = entry
            .named
            .bind(arguments, self.shared.clock.now_us())
            .map_err(|error| Error::invalid(format!("query {name}: {error}")))?;
        let turn = self.turn().await?;
        let plan = self.plan_of(entry).await?.needed;
        self.run(bind_named(plan, values)?, turn, options).await
    }

    /// Runs a plan that this room made itself.
    pub(super) async fn run_plan(&self, plan: LogicalPlan) -> Result<Rows> {
        let turn = self.turn().await?;
        self.run(plan, turn, Options::default()).await
    }

    /// The session, for plans that this room makes itself.
    pub(super) fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Plans every named file and says what is wrong with which.
    pub async fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (kind, entry) in self.shared.library.all().filter(|(kind, _)| *kind != LibraryKind::Rollups) {
            if let Err(problem) = self.check_entry(kind, entry).await {
                problems.push(problem);
            }
        }
        problems.extend(load_rollups(&self.context.state(), &self.shared.library).await.1);
        problems
    }

    async fn check_entry(&self, kind: LibraryKind, entry: &Entry) -> Result<(), Problem> {
        let state = self.context.state();
        let planned = async {
            let plan = state.create_logical_plan(&entry.named.sql).await?;
            let values: HashMap<String, ScalarValue> =
                entry.named.params.iter().map(|param| (param.name.clone(), null_of(param.kind))).collect();
            let plan = if values.is_empty() { plan } else { plan.with_param_values(values)? };
            Ok(state.create_physical_plan(&plan).await?.schema())
        };
        let schema = planned.await.map_err(|error| Problem::of(&entry.file, &error))?;
        match gauges::problem(&entry.named.name, &schema).filter(|_| kind == LibraryKind::Metrics) {
            Some(message) => Err(Problem { file: entry.file.clone(), line: None, message }),
            None => Ok(()),
        }
    }

    /// What jobs found.
    pub(super) fn result_tables(&self) -> &ResultTables {
        &self.shared.result_tables
    }

    /// What statements hold.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.shared.memory
    }

    /// The gauges that SQL files ask for.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// The rollups of the calls.
    pub fn rollups(&self) -> Option<&Arc<Rollups>> {
        self.shared.rollups.get()
    }

    async fn create_views(&self) -> Vec<Problem> {
        // Views may stand on views; those that plan come first, until no more do.
        let mut waiting: Vec<&Entry> = self.shared.library.of(LibraryKind::Views).collect();
        loop {
            let mut failed = Vec::new();
            let before = waiting.len();
            for entry in waiting {
                match self.create_view(entry).await {
                    Ok(()) => {}
                    Err(error) => failed.push((entry, error)),
                }
            }
            if failed.is_empty() || failed.len() == before {
                return failed.into_iter().map(|(entry, error)| Problem::of(&entry.file, &error)).collect();
            }
            waiting = failed.into_iter().map(|(entry, _)| entry).collect();
        }
    }

    async fn create_view(&self, entry: &Entry) -> Result<(), DataFusionError> {
        let plan = self.context.state().create_logical_plan(&entry.named.sql).await?;
        SQL_OPTIONS().verify_plan(&plan)?;
        let view = ViewTable::new(plan, Some(entry.named.sql.clone()));
        self.context.deregister_table(entry.named.name.as_str())?;
        self.context.register_table(entry.named.name.as_str(), Arc::new(view))?;
        Ok(())
    }

    /// The session of this scope for clients of Postgres.
    pub(super) async fn dialect(&self) -> Result<&Dialect> {
        self.dialect.get_or_try_init(|| Dialect::over(&self.context, &self.shared.dialect)).await
    }

    pub(super) async fn plan(&self, text: &str) -> Result<LogicalPlan> {
        let state = self.context.state();
        let dialect = state.config().options().sql_parser.dialect;
        guard::check_depth(text)?;
        let statement =
            state.sql_to_statement(text, &dialect).map_err(|error| from_engine("cannot read the statement", error))?;
        self.plan_statement(&self.context, statement).await
    }

    /// Plans a statement that reads, in this session of the engine's scope.
    pub(super) async fn plan_statement(&self, session: &SessionContext, statement: Parsed) -> Result<LogicalPlan> {
        guard::check(&statement)?;
        let plan = session
            .state()
            .statement_to_plan(statement)
            .await
            .map_err(|error| from_planning("cannot plan the statement", error))?;
        SQL_OPTIONS().verify_plan(&plan).map_err(|error| from_engine("the statement is not allowed", error))?;
        if self.scope.tenants().is_some() && matches!(plan, LogicalPlan::Analyze(_)) {
            // Rows of several tenants lie in one buffer, and its size is among what is measured.
            let message = "EXPLAIN ANALYZE measures what tenants share; EXPLAIN says how a statement is answered";
            return Err(Error::new(Kind::Forbidden, message));
        }
        Ok(plan)
    }

    /// A named file's plan.
    pub(super) async fn plan_of(&self, entry: &Entry) -> Result<FilePlan> {
        if let Some(plan) = self.planned.get(entry) {
            return Ok(plan);
        }
        let whole = self.plan(&entry.named.sql).await?;
        let is_as_written = fills_gaps(&whole).map_err(|error| from_engine("cannot read the plan", error))?;
        let needed = if is_as_written { whole.clone() } else { with_needed_columns(whole.clone()) };
        let plan = FilePlan { whole, needed };
        self.planned.keep(entry, &plan);
        Ok(plan)
    }

    /// Whether as many statements run as may, of all scopes together, and others wait for their turn.
    pub fn keeps_waiting(&self) -> bool {
        self.shared.turns.are_wanted()
    }

    pub(super) async fn turn(&self) -> Result<Turn> {
        let turn = self.shared.turns.take(Place::of(&self.scope), TURN_WAIT).await;
        turn.ok_or_else(|| {
            let most = self.shared.settings.concurrency;
            Error::new(Kind::Busy, format!("{most} statements are running: try again in a moment"))
        })
    }

    pub(super) async fn run(&self, plan: LogicalPlan, turn: Turn, options: Options) -> Result<Rows> {
        self.run_within(plan, turn, options, None).await
    }

    /// The same, no longer than this where it is less than any statement may run.
    pub(super) async fn run_within(
        &self,
        plan: LogicalPlan,
        turn: Turn,
        options: Options,
        within: Option<Duration>,
    ) -> Result<Rows> {
        let share = self.shared.memory.share();
        let state = self.context.state();
        let pool: Arc<dyn MemoryPool> = Arc::clone(&share) as _;
        let runtime = RuntimeEnvBuilder::from_runtime_env(state.runtime_env())
            .with_memory_pool(pool)
            .build_arc()
            .map_err(|error| from_engine("cannot set up the statement", error))?;
        let mut state = SessionStateBuilder::new_from_existing(state).with_runtime_env(runtime).build();
        state.config_mut().options_mut().extensions.insert(options);
        state.config_mut().set_extension(Arc::new(LongestRow::default()));
        let Settings { timeout, rows_max, .. } = self.shared.settings;
        let timeout = within.map_or(timeout, |within| within.min(timeout));
        self.shared.workers.run(Statement { plan, state, share, turn, timeout, rows_max }).await
    }
}

/// Nothing that changes anything: the second lock behind the guard.
#[allow(non_snake_case)] // it stands for a constant whose constructor is not const
fn SQL_OPTIONS() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

pub(super) fn bind(plan: LogicalPlan, values: ParamValues) -> Result<LogicalPlan> {
    plan.with_param_values(values).map_err(|error| from_engine("cannot bind the parameters", error))
}

pub(super) fn bind_named(plan: LogicalPlan, values: Vec<(String, ParamValue)>) -> Result<LogicalPlan> {
    if values.is_empty() {
        return Ok(plan);
    }
    let values: HashMap<String, ScalarValue> =
        values.into_iter().map(|(name, value)| (name, param_scalar(value))).collect();
    bind(plan, ParamValues::from(values))
}

fn param_scalar(value: ParamValue) -> ScalarValue {
    match value {
        ParamValue::Timestamp(us) => ScalarValue::TimestampMicrosecond(Some(us), None),
        ParamValue::Text(text) => ScalarValue::Utf8(Some(text)),
        ParamValue::Int(value) => ScalarValue::Int64(Some(value)),
        ParamValue::Float(value) => ScalarValue::Float64(Some(value)),
        ParamValue::Bool(value) => ScalarValue::Boolean(Some(value)),
        ParamValue::Null(kind) => null_of(kind),
    }
}

fn null_of(kind: ParamKind) -> ScalarValue {
    match kind {
        ParamKind::Timestamp => ScalarValue::TimestampMicrosecond(None, None),
        ParamKind::Text => ScalarValue::Utf8(None),
        ParamKind::Int => ScalarValue::Int64(None),
        ParamKind::Float => ScalarValue::Float64(None),
        ParamKind::Bool => ScalarValue::Boolean(None),
    }
}

fn scalar(value: &serde_json::Value) -> Result<ScalarValue> {
    Ok(match value {
        serde_json::Value::Null => ScalarValue::Null,
        serde_json::Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
        serde_json::Value::String(value) => ScalarValue::Utf8(Some(value.clone())),
        serde_json::Value::Number(value) => match value.as_i64() {
            Some(value) => ScalarValue::Int64(Some(value)),
            None => ScalarValue::Float64(value.as_f64()),
        },
        _ => return Err(Error::invalid("a parameter is a string, a number, a boolean or null")),
    })
}
