//! Plans and runs statements within their bounds: concurrency, time, memory, rows.
//! Holds no rows itself and never changes a table.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use datafusion::{
    catalog::{MemorySchemaProvider, view::ViewTable},
    common::{ParamValues, ScalarValue},
    error::DataFusionError,
    execution::{
        FunctionRegistry, SessionStateBuilder,
        context::{SQLOptions, SessionContext},
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::MemoryPool,
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::LogicalPlan,
    optimizer::{Analyzer, Optimizer},
    prelude::SessionConfig,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    error::from_engine,
    functions,
    gauges::{self, Gauges},
    growing, guard, kpi,
    late::LateMaterialisation,
    library::{Entry, Kind as LibraryKind, Library, Problem},
    memory::{Bounds, Memory},
    options::Options,
    provider::StoredTable,
    rollup::{Rollups, UseRollups, load as load_rollups},
    running::{Rows, Statement, Workers},
    series::{self, FillGaps},
    sketches,
    yielding::YieldingJoins,
};
use crate::{
    buffer::Buffer,
    clock::Clock,
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
    /// What a task that an agent gets done is worth, USD.
    pub task_values_usd: BTreeMap<String, f64>,
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

/// The query engine.
pub struct Engine {
    context: SessionContext,
    library: Library,
    settings: Settings,
    clock: Clock,
    permits: Arc<Semaphore>,
    rollups: Arc<OnceLock<Arc<Rollups>>>,
    memory: Arc<Memory>,
    workers: Workers,
    gauges: Gauges,
}

/// How long a statement waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// The footers of this many bytes stay in memory.
const FOOTER_CACHE_BYTES: usize = 32 * 1024 * 1024;

impl Engine {
    /// An engine over the tables; returns what is wrong with SQL files that it leaves out.
    pub async fn new(
        settings: Settings,
        buffer: &Arc<Buffer>,
        lake: &[Arc<LakeTable>],
        clock: Clock,
    ) -> Result<(Self, Vec<Problem>)> {
        let (library, mut problems) = Library::load(settings.sql_directory.as_deref())?;
        let rollups = Arc::new(OnceLock::new());
        let memory = Memory::new(settings.memory_bytes_max, Bounds::within(settings.process_bytes_max));
        let context = session(&settings, UseRollups::new(Arc::clone(&rollups)))?;
        let stored = Arc::new(MemorySchemaProvider::new());
        let catalog =
            context.catalog(CATALOG).ok_or_else(|| Error::new(Kind::Internal, "the session has no default catalog"))?;
        catalog
            .register_schema("stored", stored)
            .map_err(|error| from_engine("cannot register the stored tables", error))?;
        let mut calls = None;
        for table in lake {
            let provider = Arc::new(StoredTable::new(Arc::clone(buffer), Arc::clone(table)));
            if table.table() == Table::AgentLogs {
                calls = Some((Arc::clone(&provider), Arc::clone(table)));
            }
            for schema in ["stored", "public"] {
                context
                    .register_table(format!("{CATALOG}.{schema}.{}", table.table().name()), Arc::clone(&provider) as _)
                    .map_err(|error| from_engine("cannot register a stored table", error))?;
            }
        }
        let values = kpi::task_values(&settings.task_values_usd)
            .map_err(|error| from_engine("cannot make the table of tasks' values", error))?;
        context
            .register_table(format!("{CATALOG}.public.{}", kpi::TASK_VALUES), values)
            .map_err(|error| from_engine("cannot register the table of tasks' values", error))?;
        let permits = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        let workers = Workers::start()?;
        let engine =
            Self { context, library, settings, clock, permits, rollups, memory, workers, gauges: Gauges::default() };
        problems.extend(engine.create_views().await);
        if let Some((table, lake)) = calls {
            let (definitions, wrong) = load_rollups(&engine.context.state(), &engine.library).await;
            problems.extend(wrong);
            let rollups = Rollups::open(table, lake, definitions, engine.settings.rollup_bytes_max).await?;
            engine.rollups.get_or_init(|| Arc::new(rollups));
        }
        Ok((engine, problems))
    }

    /// The named SQL files.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Now, µs since the epoch, UTC.
    pub fn now_us(&self) -> i64 {
        self.clock.now_us()
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
        let permit = self.turn().await?;
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
        self.run(plan, permit, options).await
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
        let entry = self.library.get(kind, name)?;
        let values = entry
            .named
            .bind(arguments, self.clock.now_us())
            .map_err(|error| Error::invalid(format!("query {name}: {error}")))?;
        let permit = self.turn().await?;
        let plan = self.plan(&entry.named.sql).await?;
        self.run(bind_named(plan, values)?, permit, options).await
    }

    /// Runs a plan that this room made itself.
    pub(super) async fn run_plan(&self, plan: LogicalPlan) -> Result<Rows> {
        let permit = self.turn().await?;
        self.run(plan, permit, Options::default()).await
    }

    /// The session, for plans that this room makes itself.
    pub(super) fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Plans every named file and says what is wrong with which.
    pub async fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (kind, entry) in self.library.all().filter(|(kind, _)| *kind != LibraryKind::Rollups) {
            if let Err(problem) = self.check_entry(kind, entry).await {
                problems.push(problem);
            }
        }
        problems.extend(load_rollups(&self.context.state(), &self.library).await.1);
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

    /// What statements hold.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The gauges that SQL files ask for.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// The rollups of the calls.
    pub fn rollups(&self) -> Option<&Arc<Rollups>> {
        self.rollups.get()
    }

    async fn create_views(&self) -> Vec<Problem> {
        // Views may stand on views; those that plan come first, until no more do.
        let mut waiting: Vec<&Entry> = self.library.of(LibraryKind::Views).collect();
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

    pub(super) async fn plan(&self, text: &str) -> Result<LogicalPlan> {
        let state = self.context.state();
        let dialect = state.config().options().sql_parser.dialect;
        let statement =
            state.sql_to_statement(text, &dialect).map_err(|error| from_engine("cannot read the statement", error))?;
        guard::check(&statement)?;
        let plan = state
            .statement_to_plan(statement)
            .await
            .map_err(|error| from_engine("cannot plan the statement", error))?;
        SQL_OPTIONS().verify_plan(&plan).map_err(|error| from_engine("the statement is not allowed", error))?;
        Ok(plan)
    }

    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        match timeout(TURN_WAIT, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::new(
                Kind::Busy,
                format!("{} statements are running: try again in a moment", self.settings.concurrency),
            )),
        }
    }

    pub(super) async fn run(&self, plan: LogicalPlan, permit: OwnedSemaphorePermit, options: Options) -> Result<Rows> {
        let share = self.memory.share();
        let state = self.context.state();
        let pool: Arc<dyn MemoryPool> = Arc::clone(&share) as _;
        let runtime = RuntimeEnvBuilder::from_runtime_env(state.runtime_env())
            .with_memory_pool(pool)
            .build_arc()
            .map_err(|error| from_engine("cannot set up the statement", error))?;
        let mut state = SessionStateBuilder::new_from_existing(state).with_runtime_env(runtime).build();
        state.config_mut().options_mut().extensions.insert(options);
        let (timeout, rows_max) = (self.settings.timeout, self.settings.rows_max);
        self.workers.run(Statement { plan, state, share, permit, timeout, rows_max }).await
    }
}

const CATALOG: &str = "driftline";

/// Nothing that changes anything: the second lock behind the guard.
#[allow(non_snake_case)] // it stands for a constant whose constructor is not const
fn SQL_OPTIONS() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

fn session(settings: &Settings, use_rollups: UseRollups) -> Result<SessionContext> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![settings.spill_directory.clone()]))
        .with_max_temp_directory_size(settings.spill_bytes_max);
    let runtime = RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(FOOTER_CACHE_BYTES)
        .build_arc()
        .map_err(|error| from_engine("cannot set up the query engine", error))?;
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, "public")
        .with_information_schema(true)
        .with_collect_statistics(false);
    config.options_mut().sql_parser.collect_spans = true;
    config.options_mut().execution.parquet.pushdown_filters = false;
    config.options_mut().extensions.insert(Options::default());
    let mut rules = Optimizer::new().rules;
    // Once expressions are simple, and before plans are turned inside out.
    let simplified = rules.iter().position(|rule| rule.name() == "simplify_expressions").map_or(0, |found| found + 1);
    rules.insert(simplified, Arc::new(use_rollups));
    let mut analyzer = Analyzer::new().rules;
    analyzer.insert(0, Arc::new(FillGaps));
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_analyzer_rules(analyzer)
        .with_optimizer_rules(rules)
        .with_physical_optimizer_rule(Arc::new(LateMaterialisation))
        .with_physical_optimizer_rule(Arc::new(YieldingJoins))
        .build();
    datafusion_functions_json::register_all(&mut state)
        .map_err(|error| from_engine("cannot register the JSON functions", error))?;
    state
        .register_expr_planner(series::planner())
        .map_err(|error| from_engine("cannot register the names of functions", error))?;
    let context = SessionContext::new_with_state(state);
    let aggregates = functions::aggregates().into_iter().chain(sketches::aggregates()).chain(series::aggregates());
    aggregates.for_each(|aggregate| context.register_udaf(aggregate));
    let bounded = growing::functions(&context.state())
        .map_err(|error| from_engine("cannot bound the functions that make much", error))?;
    let functions = sketches::functions().into_iter().chain(series::functions()).chain(bounded);
    functions.for_each(|function| context.register_udf(function));
    Ok(context)
}

fn bind(plan: LogicalPlan, values: ParamValues) -> Result<LogicalPlan> {
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
