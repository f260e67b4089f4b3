//! Settings of what becomes of committed files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What becomes of committed files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LifecycleConfig {
    /// `DRIFTLINE_LIFECYCLE_INTERVAL_S`: how often it is looked what is due, seconds; 0 is never.
    pub interval_s: u64,
    /// `DRIFTLINE_LIFECYCLE_CLOSED_AFTER_MINUTES`: an hour's files are joined so long after its end, minutes.
    pub closed_after_minutes: u32,
    /// `DRIFTLINE_LIFECYCLE_MERGE_FILES_MIN`: files of about one size that are worth joining.
    pub merge_files_min: usize,
    /// `DRIFTLINE_LIFECYCLE_FILE_BYTES_TARGET`: joined files are about as large as this.
    pub file_bytes_target: u64,
    /// `DRIFTLINE_LIFECYCLE_WAITING_FILES_MAX`: while more files wait to be joined, ingest waits for them; 0 is
    /// never.
    pub waiting_files_max: usize,
    /// `DRIFTLINE_LIFECYCLE_WARM_AFTER_DAYS`: a day's files are compressed harder at this age, days; 0 is never.
    pub warm_after_days: u32,
    /// `DRIFTLINE_LIFECYCLE_COLD_AFTER_DAYS`: a day's files go to the cold store at this age, days; 0 is never.
    pub cold_after_days: u32,
    /// `DRIFTLINE_LIFECYCLE_DELETE_AFTER_DAYS`: rows are deleted at this age, days; 0 is never.
    pub delete_after_days: u32,
    /// `DRIFTLINE_LIFECYCLE_FILE_GRACE_MINUTES`: how long a file stays once no commit needs it, minutes.
    pub file_grace_minutes: u32,
    /// `DRIFTLINE_LIFECYCLE_LOG_RETENTION_MINUTES`: how long entries of a table's log stay once a
    /// checkpoint replaces them, minutes.
    pub log_retention_minutes: u32,
    /// `DRIFTLINE_LIFECYCLE_MEMORY_BYTES_MAX`: most memory for joining files, bytes; 0 is a share of
    /// `memory.bytes_max`.
    pub memory_bytes_max: usize,
    /// Tenants that have ages of their own; only in the file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantLifecycleConfig>,
}

/// One tenant's own ages; an age that is not given is that of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantLifecycleConfig {
    /// The tenant's rows are compressed harder at this age, days; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_after_days: Option<u32>,
    /// The tenant's rows go to the cold store at this age, days; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_after_days: Option<u32>,
    /// The tenant's rows are deleted at this age, days; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_after_days: Option<u32>,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            interval_s: 60,
            closed_after_minutes: 15,
            merge_files_min: 8,
            file_bytes_target: 128 << 20,
            waiting_files_max: 256,
            warm_after_days: 7,
            cold_after_days: 0,
            delete_after_days: 0,
            file_grace_minutes: 60,
            log_retention_minutes: 60,
            memory_bytes_max: 0,
            tenants: BTreeMap::new(),
        }
    }
}
