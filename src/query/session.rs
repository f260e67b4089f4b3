//! The sessions in which statements are planned: their functions, their rules, and the tables of their scope.
//! What is not registered here is not there, whatever a statement says.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    catalog::{
        CatalogProviderList, MemorySchemaProvider, SchemaProvider, TableProvider,
        information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider},
    },
    error::DataFusionError,
    execution::{
        FunctionRegistry, SessionStateBuilder,
        context::SessionContext,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    optimizer::{Analyzer, Optimizer},
    prelude::SessionConfig,
};

use super::{
    comoments,
    engine::Settings,
    error::from_engine,
    growing, kpi,
    late::LateMaterialisation,
    needed::NeededColumns,
    options::Options,
    provider::StoredTable,
    rollup::UseRollups,
    series::{self, FillGaps},
    sketches, statistics,
    yielding::YieldingJoins,
};
use crate::{
    access::Scope,
    error::{Error, Kind, Result},
};

/// The one catalog.
pub const CATALOG: &str = "driftline";
/// The footers of this many bytes stay in memory.
const FOOTER_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// The table of `information_schema` that shows the server's settings, paths of its host among them.
const SETTINGS_TABLE: &str = "df_settings";

/// What all sessions share: where statements spill and how much, and the footers of files.
pub fn runtime(settings: &Settings) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![settings.spill_directory.clone()]))
        .with_max_temp_directory_size(settings.spill_bytes_max);
    RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(FOOTER_CACHE_BYTES)
        .build_arc()
        .map_err(|error| from_engine("cannot set up the query engine", error))
}

/// The tables of a scope.
pub fn register(
    context: &SessionContext,
    tables: impl Iterator<Item = Arc<StoredTable>>,
    settings: &Settings,
    scope: &Scope,
) -> Result<()> {
    let register = |schema: &str, name: &str, table: Arc<dyn TableProvider>| {
        context
            .register_table(format!("{CATALOG}.{schema}.{name}"), table)
            .map(|_| ())
            .map_err(|error| from_engine("cannot register a table", error))
    };
    let catalog =
        context.catalog(CATALOG).ok_or_else(|| Error::new(Kind::Internal, "the session has no default catalog"))?;
    let add_schema = |name: &str, schema: Arc<dyn SchemaProvider>| {
        catalog.register_schema(name, schema).map_err(|error| from_engine("cannot register a schema", error))
    };
    add_schema("stored", Arc::new(MemorySchemaProvider::new()))?;
    if scope != &Scope::Everybody {
        let lists = Arc::clone(context.state().catalog_list());
        add_schema(INFORMATION_SCHEMA, Arc::new(OwnInformation::new(lists)))?;
    }
    for table in tables {
        for schema in ["stored", "public"] {
            register(schema, table.table().name(), Arc::clone(&table) as _)?;
        }
    }
    // What tasks are worth is told per agent, and not whose agents they are: bound callers see none of it.
    let none = BTreeMap::new();
    let values = if scope == &Scope::Everybody { &settings.task_values_usd } else { &none };
    let cannot = |error| from_engine("cannot make a table of the settings", error);
    register("public", kpi::TASK_VALUES, kpi::task_values(values).map_err(cannot)?)?;
    let quotas = settings.token_quotas.iter().filter(|(tenant, _)| scope.sees(tenant));
    register("public", kpi::TOKEN_QUOTAS, kpi::token_quotas(quotas).map_err(cannot)?)
}

/// The tables of what jobs found, by name.
pub fn register_results<'a>(
    context: &SessionContext,
    tables: impl IntoIterator<Item = (&'a str, Arc<dyn TableProvider>)>,
) -> Result<()> {
    for (name, table) in tables {
        let registered = context.register_table(format!("{CATALOG}.public.{name}"), table);
        registered.map_err(|error| from_engine("cannot register a table", error))?;
    }
    Ok(())
}

/// The `information_schema` of bound callers: that of the engine, without the settings.
#[derive(Debug)]
struct OwnInformation(InformationSchemaProvider);

impl OwnInformation {
    fn new(lists: Arc<dyn CatalogProviderList>) -> Self {
        Self(InformationSchemaProvider::new(lists))
    }
}

#[async_trait::async_trait]
impl SchemaProvider for OwnInformation {
    fn table_names(&self) -> Vec<String> {
        self.0.table_names().into_iter().filter(|name| self.table_exist(name)).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if self.table_exist(name) { self.0.table(name).await } else { Ok(None) }
    }

    fn table_exist(&self, name: &str) -> bool {
        !name.eq_ignore_ascii_case(SETTINGS_TABLE) && self.0.table_exist(name)
    }
}

/// A session without tables.
pub fn context(runtime: &Arc<RuntimeEnv>, use_rollups: UseRollups, scope: &Scope) -> Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, "public")
        .with_information_schema(scope == &Scope::Everybody)
        .with_collect_statistics(false);
    config.options_mut().sql_parser.collect_spans = true;
    config.options_mut().execution.parquet.pushdown_filters = false;
    config.options_mut().extensions.insert(Options::default());
    let mut rules = Optimizer::new().rules;
    // Once expressions are simple, and before plans are turned inside out.
    let simplified = rules.iter().position(|rule| rule.name() == "simplify_expressions").map_or(0, |found| found + 1);
    rules.insert(simplified, Arc::new(use_rollups));
    let mut analyzer = Analyzer::new().rules;
    let coercion = analyzer.iter().position(|rule| rule.name() == "type_coercion").unwrap_or(analyzer.len());
    analyzer.insert(coercion, Arc::new(NeededColumns));
    analyzer.insert(0, Arc::new(FillGaps));
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::clone(runtime))
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
    let aggregates = statistics::aggregates().into_iter().chain(sketches::aggregates()).chain(series::aggregates());
    let aggregates = aggregates.chain([comoments::aggregate()]);
    aggregates.for_each(|aggregate| context.register_udaf(aggregate));
    let bounded = growing::functions(&context.state())
        .map_err(|error| from_engine("cannot bound the functions that make much", error))?;
    let functions = sketches::functions().into_iter().chain(statistics::functions());
    let functions = functions.chain(series::functions()).chain(bounded);
    functions.for_each(|function| context.register_udf(function));
    Ok(context)
}
