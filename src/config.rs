//! Every setting, its default and its limit: one struct a concern. Read from a TOML file, then from
//! `DRIFTLINE_…` variables, then from flags; the later wins. The only place that reads the
//! environment.

mod anomaly;
mod clients;
mod drift;
mod lifecycle;
mod objectives;
mod storage;
mod surfaces;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Context, Error, Kind, Result};

pub use anomaly::AnomalyConfig;
pub use clients::ClientsConfig;
pub use drift::DriftConfig;
pub use lifecycle::{LifecycleConfig, TenantLifecycleConfig};
pub use objectives::{BudgetConfig, OwnBudgetConfig, Score, SloConfig, SloConfigs, SloIndicator, Usd};
pub use storage::{CloudEnvironment, StorageConfig};
pub use surfaces::{GrafanaConfig, JaegerConfig, PostgresConfig};

/// All settings. `docs/driftline.toml` shows each with its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the daemon listens and stores.
    pub server: ServerConfig,
    /// What one key may take.
    pub access: AccessConfig,
    /// What all clients together may hold.
    pub clients: ClientsConfig,
    /// Where the tables are.
    pub storage: StorageConfig,
    /// What all parts may take together.
    pub memory: MemoryConfig,
    /// What ingest accepts.
    pub ingest: IngestConfig,
    /// The write-ahead log.
    pub wal: WalConfig,
    /// The buffer in front of the tables.
    pub buffer: BufferConfig,
    /// What statements may take.
    pub query: QueryConfig,
    /// Rollups of the calls.
    pub rollup: RollupConfig,
    /// The live Prometheus families.
    pub metrics: MetricsConfig,
    /// What becomes of committed files.
    pub lifecycle: LifecycleConfig,
    /// Which columns are judged beside requests.
    pub drift: DriftConfig,
    /// Which hours are judged beside requests.
    pub anomaly: AnomalyConfig,
    /// What KPIs are told that no record says.
    pub kpi: KpiConfig,
    /// What a month may cost.
    pub budget: BudgetConfig,
    /// Objectives; only in the file.
    #[serde(skip_serializing_if = "SloConfigs::is_empty")]
    pub slo: SloConfigs,
    /// What Grafana's JSON datasource is answered.
    pub grafana: GrafanaConfig,
    /// What Jaeger's clients are answered.
    pub jaeger: JaegerConfig,
    /// The port for clients of Postgres.
    pub postgres: PostgresConfig,
}

/// Where the daemon listens and stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// `DRIFTLINE_SERVER_LISTEN`: address of the main port. One beyond loopback needs keys.
    pub listen: SocketAddr,
    /// `DRIFTLINE_SERVER_ALLOW_ANONYMOUS_NETWORK`: listens beyond loopback although there are no keys: whoever
    /// reaches the port may do all.
    pub allow_anonymous_network: bool,
    /// `DRIFTLINE_SERVER_HOSTS`: names of this server, parted by commas, by which it may be asked while there are no
    /// keys; loopback's names and addresses need not be named.
    pub hosts: String,
    /// `DRIFTLINE_SERVER_TLS_CERT`: the certificate with its chain, PEM; TLS where it is given.
    pub tls_cert: Option<PathBuf>,
    /// `DRIFTLINE_SERVER_TLS_KEY`: its private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// `DRIFTLINE_SERVER_DATA`: the data directory.
    pub data: PathBuf,
    /// `DRIFTLINE_SERVER_SHUTDOWN_GRACE_S`: how long a stop waits for open requests, seconds.
    pub shutdown_grace_s: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7717)),
            allow_anonymous_network: false,
            hosts: String::new(),
            tls_cert: None,
            tls_key: None,
            data: PathBuf::from("driftline-data"),
            shutdown_grace_s: 10,
        }
    }
}

impl ServerConfig {
    /// Each of [`Self::hosts`].
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        self.hosts.split(',').map(str::trim).filter(|name| !name.is_empty())
    }
}

/// What one key may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// `DRIFTLINE_ACCESS_REQUESTS_PER_SECOND`: requests of one key in a second, 429 beyond; 0 is any number.
    pub requests_per_second: u32,
    /// `DRIFTLINE_ACCESS_STATEMENTS_MAX`: statements of one key at the same time, 429 beyond; 0 is any number.
    pub statements_max: usize,
}

impl Default for AccessConfig {
    fn default() -> Self {
        // Half of the statements that run at all: one key alone keeps nobody else waiting.
        Self { requests_per_second: 500, statements_max: 4 }
    }
}

/// What all parts may take together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// `DRIFTLINE_MEMORY_BYTES_MAX`: most memory of the process; each part has a share of it.
    pub bytes_max: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { bytes_max: 1 << 30 }
    }
}

/// What each part may take, bytes: its share of the whole, or what its own setting says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bodies that are being read.
    pub bodies: usize,
    /// Answers that wait for their readers.
    pub answers: usize,
    /// Acknowledged rows that wait for their commit.
    pub buffer: usize,
    /// Rows that one flush takes; while it writes them it holds them a second time.
    pub flush: usize,
    /// Statements.
    pub query: usize,
    /// Files that are joined.
    pub lifecycle: usize,
    /// Columns of rollups that stay.
    pub rollup: usize,
}

impl Budget {
    /// What is known beforehand of all parts together.
    fn sum(&self) -> usize {
        self.bodies + self.answers + self.buffer + self.flush + self.query + self.lifecycle + self.rollup
    }
}

/// What ingest accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// `DRIFTLINE_INGEST_BODY_BYTES_MAX`: most bytes of one body, as sent and decompressed.
    pub body_bytes_max: usize,
    /// `DRIFTLINE_INGEST_RECORD_BYTES_MAX`: most bytes of one record; a longer one is rejected alone.
    pub record_bytes_max: usize,
    /// `DRIFTLINE_INGEST_CONCURRENT_REQUESTS_MAX`: bodies that are read at the same time.
    pub concurrent_requests_max: usize,
    /// `DRIFTLINE_INGEST_WAIT_MS_MAX`: how long a request waits for room before it is answered 503, ms.
    pub wait_ms_max: u64,
    /// `DRIFTLINE_INGEST_FUTURE_HOURS_MAX`: records further ahead of now than this are rejected, hours.
    pub future_hours_max: u32,
    /// `DRIFTLINE_INGEST_RECEIPT_HOURS`: how long a batch is remembered, hours.
    pub receipt_hours: u32,
    /// `DRIFTLINE_INGEST_RECEIPTS_MAX`: how many batches are remembered, the last ones.
    pub receipts_max: u64,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            record_bytes_max: 4 << 20,
            concurrent_requests_max: 64,
            wait_ms_max: 5_000,
            future_hours_max: 24,
            receipt_hours: 24,
            receipts_max: 10_000_000,
        }
    }
}

/// The write-ahead log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalConfig {
    /// `DRIFTLINE_WAL_SEGMENT_BYTES_MAX`: a segment that is larger is closed.
    pub segment_bytes_max: u64,
}

impl Default for WalConfig {
    fn default() -> Self {
        Self { segment_bytes_max: 64 << 20 }
    }
}

/// The buffer in front of the tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferConfig {
    /// `DRIFTLINE_BUFFER_BYTES_MAX`: most bytes that wait; beyond it ingest answers 503. 0 is a share of
    /// `memory.bytes_max`.
    pub bytes_max: usize,
    /// `DRIFTLINE_BUFFER_FLUSH_BYTES`: so many bytes start a flush; 0 is a share of `memory.bytes_max`.
    pub flush_bytes: usize,
    /// `DRIFTLINE_BUFFER_FLUSH_INTERVAL_MS`: no row waits much longer than this for its commit, ms.
    pub flush_interval_ms: u64,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self { bytes_max: 0, flush_bytes: 0, flush_interval_ms: 15_000 }
    }
}

/// What statements may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// `DRIFTLINE_QUERY_TIMEOUT_S`: how long a statement may run, seconds.
    pub timeout_s: u64,
    /// `DRIFTLINE_QUERY_ROWS_MAX`: most rows of a result.
    pub rows_max: usize,
    /// `DRIFTLINE_QUERY_MEMORY_BYTES_MAX`: most memory of all statements together; beyond it they spill.
    /// 0 is a share of `memory.bytes_max`.
    pub memory_bytes_max: usize,
    /// `DRIFTLINE_QUERY_SPILL_BYTES_MAX`: most bytes that statements may spill to disk.
    pub spill_bytes_max: u64,
    /// `DRIFTLINE_QUERY_CONCURRENCY`: statements that run at the same time.
    pub concurrency: usize,
    /// `DRIFTLINE_QUERY_SQL_DIRECTORY`: the user's SQL files, laid out as `queries/`, `views/`, `reports/`.
    pub sql_directory: Option<PathBuf>,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            timeout_s: 60,
            rows_max: 1_000_000,
            memory_bytes_max: 0,
            spill_bytes_max: 4 << 30,
            concurrency: 8,
            sql_directory: None,
        }
    }
}

/// Rollups of the calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RollupConfig {
    /// `DRIFTLINE_ROLLUP_INTERVAL_S`: how often it is looked which files lack their rollups, seconds; 0 is
    /// never.
    pub interval_s: u64,
    /// `DRIFTLINE_ROLLUP_SETTLED_S`: a file gets its rollups so long after it was written, seconds: until then
    /// it may be joined with others.
    pub settled_s: u64,
    /// `DRIFTLINE_ROLLUP_MEMORY_BYTES_MAX`: most memory for columns of rollups that stay, bytes; 0 is a share of
    /// `memory.bytes_max`.
    pub memory_bytes_max: usize,
}

impl Default for RollupConfig {
    fn default() -> Self {
        Self { interval_s: 5, settled_s: 30, memory_bytes_max: 0 }
    }
}

/// The live Prometheus families.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// `DRIFTLINE_METRICS_LABEL_SETS_MAX`: label sets of a family; later ones count as `__other__`.
    pub label_sets_max: usize,
    /// `DRIFTLINE_METRICS_LIVE_WINDOW_MINUTES`: records that arrive later than this are history and do
    /// not move the families, minutes.
    pub live_window_minutes: u32,
    /// `DRIFTLINE_METRICS_SESSION_WINDOW_MINUTES`: a session is active so long after its last record, minutes.
    pub session_window_minutes: u32,
    /// `DRIFTLINE_METRICS_SESSIONS_MAX`: sessions that are remembered.
    pub sessions_max: usize,
    /// `DRIFTLINE_METRICS_SQL_INTERVAL_S`: how often the gauges of SQL files are asked for, seconds; 0 is never.
    pub sql_interval_s: u64,
    /// Tenants with figures of their own to be measured against; only in the file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantMetricsConfig>,
}

/// What one tenant is measured against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantMetricsConfig {
    /// Tokens that the tenant may use in 24 hours, read and written together. Shown and alerted on, never
    /// enforced.
    pub token_daily_quota: u64,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            label_sets_max: 2_000,
            live_window_minutes: 60,
            session_window_minutes: 30,
            sessions_max: 100_000,
            sql_interval_s: 60,
            tenants: BTreeMap::new(),
        }
    }
}

/// What KPIs are told that no record says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KpiConfig {
    /// Agents whose tasks have a value; only in the file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, AgentKpiConfig>,
}

/// What one agent's work is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentKpiConfig {
    /// What a task is worth that the agent gets done, USD. The return on cost stands on it.
    #[serde(deserialize_with = "amount_usd")]
    pub task_value_usd: f64,
}

fn amount_usd<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    let amount = f64::deserialize(deserializer)?;
    if amount.is_finite() && amount >= 0.0 {
        return Ok(amount);
    }
    Err(serde::de::Error::custom(format!("{amount} is no amount of USD: a number, 0 or more")))
}

const PREFIX: &str = "DRIFTLINE_";
/// Variables that are no settings: the log filter, and the key of the command line's client.
const NOT_SETTINGS: [&str; 2] = ["DRIFTLINE_LOG", "DRIFTLINE_API_KEY"];

impl Config {
    /// The settings of this process: file, environment, flags. A flag is a dotted name and its value.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names the file and line, the variable or the setting.
    pub fn load(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self> {
        let variables =
            || std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        let environment: Vec<(String, String)> = variables().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let mut config = Self::from_sources(file, &environment, flags)?;
        config.storage.environment = CloudEnvironment::of(variables());
        Ok(config)
    }

    /// What each part may take.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] when the parts' own settings leave no room within the whole.
    pub fn budget(&self) -> Result<Budget> {
        let whole = self.memory.bytes_max;
        // Sixteenths. What is left is for rows on their way from one part to the next, footers, answers,
        // and the process itself.
        let share = |own: usize, sixteenths: usize| if own > 0 { own } else { whole / 16 * sixteenths };
        let budget = Budget {
            bodies: share(0, 1).max(self.ingest.body_bytes_max),
            answers: share(self.clients.answer_bytes_max, 1),
            buffer: share(self.buffer.bytes_max, 2),
            flush: share(self.buffer.flush_bytes, 1),
            query: share(self.query.memory_bytes_max, 4),
            lifecycle: share(self.lifecycle.memory_bytes_max, 1),
            rollup: share(self.rollup.memory_bytes_max, 1),
        };
        if budget.sum() > whole / 8 * 7 {
            return Err(Error::invalid(format!(
                "memory.bytes_max ({whole}) is too little for its parts: ingest.body_bytes_max or a sixteenth ({}), \
                 clients.answer_bytes_max ({}), buffer.bytes_max ({}), buffer.flush_bytes ({}), \
                 query.memory_bytes_max ({}), lifecycle.memory_bytes_max ({}), rollup.memory_bytes_max ({}), and an \
                 eighth for all else",
                budget.bodies,
                budget.answers,
                budget.buffer,
                budget.flush,
                budget.query,
                budget.lifecycle,
                budget.rollup
            )));
        }
        Ok(budget)
    }

    fn from_sources(file: Option<&Path>, environment: &[(String, String)], flags: &[(&str, String)]) -> Result<Self> {
        let mut table = match file {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .kind_context(Kind::Invalid, || format!("cannot read the config file {}", path.display()))?;
                // Parsed into the settings first: only then the message has the file's own lines.
                let wrong = || format!("the config file {} is wrong", path.display());
                toml::from_str::<Config>(&text).kind_context(Kind::Invalid, wrong)?;
                toml::from_str::<toml::Table>(&text).kind_context(Kind::Invalid, wrong)?
            }
            None => toml::Table::new(),
        };
        let names = setting_names();
        for (variable, value) in environment {
            if NOT_SETTINGS.contains(&variable.as_str()) {
                continue;
            }
            let setting = names.iter().find(|(section, field)| {
                variable
                    .strip_prefix(PREFIX)
                    .is_some_and(|name| name.eq_ignore_ascii_case(&format!("{section}_{field}")))
            });
            let Some((section, field)) = setting else {
                return Err(Error::invalid(format!("{variable} is no setting; docs/driftline.toml lists them")));
            };
            set(&mut table, section, field, value);
        }
        for (name, value) in flags {
            if let Some((section, field)) = name.split_once('.') {
                set(&mut table, section, field, value);
            }
        }
        table.try_into().kind_context(Kind::Invalid, || "a setting of the environment or the flags is wrong".into())
    }
}

/// Section and field of every setting; optional ones without a default are named beside.
fn setting_names() -> Vec<(String, String)> {
    let defaults = toml::Table::try_from(Config::default()).unwrap_or_default();
    let mut names: Vec<(String, String)> = defaults
        .iter()
        .filter_map(|(section, fields)| Some((section, fields.as_table()?)))
        .flat_map(|(section, fields)| fields.keys().map(move |field| (section.clone(), field.clone())))
        .collect();
    let optional = [
        ("query", "sql_directory"),
        ("storage", "url"),
        ("storage", "cold_url"),
        ("server", "tls_cert"),
        ("server", "tls_key"),
    ];
    names.extend(optional.map(|(section, field)| (section.to_owned(), field.to_owned())));
    names
}

fn set(table: &mut toml::Table, section: &str, field: &str, text: &str) {
    let value = match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) => toml::Value::Integer(number),
        (_, Ok(flag)) => toml::Value::Boolean(flag),
        _ => toml::Value::String(text.to_owned()),
    };
    let section = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let Some(section) = section.as_table_mut() {
        section.insert(field.to_owned(), value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn env(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn the_documented_file_holds_the_defaults() {
        let documented = include_str!("../docs/driftline.toml");
        assert_eq!(toml::from_str::<Config>(documented).unwrap(), Config::default());
        for (section, field) in setting_names() {
            assert!(documented.contains(&field), "docs/driftline.toml lacks {section}.{field}");
        }
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[query]\ntimeout_s = 1\nrows_max = 1\nconcurrency = 1").unwrap();
        let environment = [env("DRIFTLINE_QUERY_ROWS_MAX", "2"), env("DRIFTLINE_QUERY_CONCURRENCY", "2")].concat();
        let flags = [("query.concurrency", "3".to_owned())];
        let config = Config::from_sources(Some(file.path()), &environment, &flags).unwrap();
        assert_eq!((config.query.timeout_s, config.query.rows_max, config.query.concurrency), (1, 2, 3));
    }

    #[test]
    fn parts_share_the_memory() {
        let check = |change: &dyn Fn(&mut Config), expected: Option<[usize; 7]>| {
            let mut config = Config::default();
            change(&mut config);
            let mib = |budget: Budget| {
                let Budget { bodies, answers, buffer, flush, query, lifecycle, rollup } = budget;
                [bodies, answers, buffer, flush, query, lifecycle, rollup].map(|bytes| bytes >> 20)
            };
            assert_eq!(config.budget().ok().map(mib), expected);
        };
        check(&|_| (), Some([64, 64, 128, 64, 256, 64, 64]));
        check(&|config| config.memory.bytes_max = 4 << 30, Some([256, 256, 512, 256, 1024, 256, 256]));
        check(&|config| config.query.memory_bytes_max = 100 << 20, Some([64, 64, 128, 64, 100, 64, 64]));
        check(&|config| config.query.memory_bytes_max = 800 << 20, None);
        check(&|config| config.memory.bytes_max = 128 << 20, None);
    }

    #[test]
    fn tenants_have_quotas() {
        let config: Config = toml::from_str("[metrics.tenants.\"a b\"]\ntoken_daily_quota = 5").unwrap();
        assert_eq!(config.metrics.tenants["a b"].token_daily_quota, 5);
        assert!(toml::from_str::<Config>("[metrics.tenants.a]\ntoken_quota = 5").is_err());
        assert!(toml::from_str::<Config>("[metrics.tenants.a]\ntoken_daily_quota = -1").is_err());
    }

    #[test]
    fn agents_tasks_have_values() {
        let config: Config = toml::from_str("[kpi.agents.\"a b\"]\ntask_value_usd = 2").unwrap();
        assert_eq!(config.kpi.agents["a b"].task_value_usd, 2.0);
        for wrong in ["-1", "nan", "inf", "\"4\""] {
            let text = format!("[kpi.agents.a]\ntask_value_usd = {wrong}");
            assert!(toml::from_str::<Config>(&text).unwrap_err().to_string().contains("task_value_usd"), "{wrong}");
        }
    }

    #[test]
    fn the_example_for_production_can_be_read() {
        let example: Config = toml::from_str(include_str!("../docs/driftline-lifecycle.toml")).unwrap();
        let ages = &example.lifecycle;
        assert_eq!((ages.warm_after_days, ages.cold_after_days, ages.delete_after_days), (7, 30, 90));
        assert!(example.storage.cold_url.is_some());
        let tenant = example.lifecycle.tenants.values().next().unwrap();
        let own = (tenant.warm_after_days, tenant.cold_after_days, tenant.delete_after_days);
        assert_eq!(own, (None, Some(180), Some(365)));
        // What was written when a retention was all that a tenant had of its own.
        let old: Config = toml::from_str("[lifecycle.tenants.a]\ndelete_after_days = 30").unwrap();
        let only = TenantLifecycleConfig { delete_after_days: Some(30), ..TenantLifecycleConfig::default() };
        assert_eq!(old.lifecycle.tenants["a"], only);
    }

    #[test]
    fn wrong_settings_are_named() {
        let check = |environment: Vec<(String, String)>, expected: &str| {
            let error = Config::from_sources(None, &environment, &[]).unwrap_err();
            assert!(error.chain().contains(expected), "{}", error.chain());
        };
        check(env("DRIFTLINE_QUERY_ROWSMAX", "2"), "DRIFTLINE_QUERY_ROWSMAX");
        check(env("DRIFTLINE_QUERY_ROWS_MAX", "many"), "rows_max");
        check(env("DRIFTLINE_SERVER_LISTEN", "nowhere"), "listen");
        check(env("DRIFTLINE_POSTGRES_LISTEN", "on"), "host:port, or off");
    }
}
