//! Settings of where tables are.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// `DRIFTLINE_STORAGE_URL`: the directory of the tables, `s3://bucket/path` for instance; in the data
    /// directory where there is none.
    pub url: Option<String>,
    /// `DRIFTLINE_STORAGE_COLD_URL`: where files go when they are cold.
    pub cold_url: Option<String>,
    /// `DRIFTLINE_STORAGE_REQUEST_TIMEOUT_S`: a request to such a store that has no answer is given up
    /// after this, seconds.
    pub request_timeout_s: u64,
    /// `DRIFTLINE_STORAGE_RETRY_TIMEOUT_S`: a request that fails is tried again for so long, seconds.
    pub retry_timeout_s: u64,
    /// Variables under the clouds' own names.
    #[serde(skip)]
    pub environment: CloudEnvironment,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            url: None,
            cold_url: None,
            request_timeout_s: 30,
            retry_timeout_s: 60,
            environment: CloudEnvironment::default(),
        }
    }
}

/// What the clouds' clients take from the environment: endpoint, region, keys. Prints no value.
#[derive(Clone, Default, PartialEq)]
pub struct CloudEnvironment(pub BTreeMap<String, String>);

impl CloudEnvironment {
    const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

    /// Those of all variables that are a cloud's.
    pub fn of(variables: impl Iterator<Item = (String, String)>) -> Self {
        Self(variables.filter(|(name, _)| Self::PREFIXES.iter().any(|prefix| name.starts_with(prefix))).collect())
    }
}

impl fmt::Debug for CloudEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
