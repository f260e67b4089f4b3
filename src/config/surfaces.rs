//! Settings of what other tools are answered.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What Grafana's JSON datasource is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrafanaConfig {
    /// `DRIFTLINE_GRAFANA_BODY_BYTES_MAX`: most bytes of a request.
    pub body_bytes_max: usize,
    /// `DRIFTLINE_GRAFANA_TARGETS_MAX`: targets of a request.
    pub targets_max: usize,
    /// `DRIFTLINE_GRAFANA_ROWS_MAX`: rows of a target's answer, before they become series.
    pub rows_max: usize,
    /// `DRIFTLINE_GRAFANA_SERIES_MAX`: series of a target.
    pub series_max: usize,
    /// `DRIFTLINE_GRAFANA_POINTS_MAX`: points and table rows of an answer, all targets together.
    pub points_max: usize,
    /// `DRIFTLINE_GRAFANA_VALUES_MAX`: values of a variable or a filter's key, the most frequent ones.
    pub values_max: usize,
    /// `DRIFTLINE_GRAFANA_VALUES_DAYS`: values are those of calls of so many days where no range is sent.
    pub values_days: u32,
}

impl Default for GrafanaConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            targets_max: 100,
            rows_max: 100_000,
            series_max: 1_000,
            points_max: 500_000,
            values_max: 1_000,
            values_days: 7,
        }
    }
}

/// What Jaeger's clients are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerConfig {
    /// `DRIFTLINE_JAEGER_TRACES_MAX`: traces of a search; a greater limit is taken as this.
    pub traces_max: usize,
    /// `DRIFTLINE_JAEGER_CALLS_MAX`: calls of an answer, all traces together.
    pub calls_max: usize,
    /// `DRIFTLINE_JAEGER_SERVICES_DAYS`: services are the agents of so many days.
    pub services_days: u32,
}

impl Default for JaegerConfig {
    fn default() -> Self {
        Self { traces_max: 1_000, calls_max: 20_000, services_days: 7 }
    }
}

/// The port for clients of Postgres.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `DRIFTLINE_POSTGRES_LISTEN`: its address, or `off`. One beyond loopback needs keys.
    #[serde(serialize_with = "write_listen", deserialize_with = "read_listen")]
    pub listen: Option<SocketAddr>,
    /// `DRIFTLINE_POSTGRES_CONNECTIONS_MAX`: connections at the same time; further ones are refused.
    pub connections_max: usize,
    /// `DRIFTLINE_POSTGRES_CONNECTIONS_PER_KEY_MAX`: of these, those of one key, so that no key keeps all others out;
    /// 0 is any number.
    pub connections_per_key_max: usize,
    /// `DRIFTLINE_POSTGRES_IDLE_TIMEOUT_S`: a connection on which nothing is asked for so long is closed, seconds; 0
    /// is never.
    pub idle_timeout_s: u64,
    /// `DRIFTLINE_POSTGRES_ALLOW_UNENCRYPTED_KEYS`: takes keys from beyond loopback without TLS: whoever is on the
    /// way can read them.
    pub allow_unencrypted_keys: bool,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            listen: None,
            connections_max: 64,
            connections_per_key_max: 32,
            idle_timeout_s: 3_600,
            allow_unencrypted_keys: false,
        }
    }
}

/// The address of a port that is not served.
const OFF: &str = "off";

#[allow(clippy::ref_option)] // the shape that serde asks for
fn write_listen<S: Serializer>(listen: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match listen {
        Some(address) => address.serialize(serializer),
        None => OFF.serialize(serializer),
    }
}

fn read_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == OFF {
        return Ok(None);
    }
    let wrong = |_| serde::de::Error::custom(format!("{text} is no address: host:port, or off"));
    text.parse().map(Some).map_err(wrong)
}
