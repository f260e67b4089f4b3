//! How long rows are kept, and when files are merged, warmed and moved. Knows days, not files.

use std::collections::{BTreeMap, BTreeSet};

use super::{FILES_MAX, TenantSet};

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// The least target of a file: below it, what a file costs is more than what is in it.
const FILE_BYTES_TARGET_MIN: u64 = 1 << 20;

/// What maintenance is to keep to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Age at which a day's files are compressed harder, days; `None` for never.
    pub warm_after_days: Option<u32>,
    /// Age at which a day's files move to the cold store, days; `None` for never. It is the same for
    /// all tenants, because a file holds many.
    pub cold_after_days: Option<u32>,
    /// Age at which rows are deleted, days; `None` for never. For rows without a tenant and for
    /// tenants that are not in [`Policy::tenants`].
    pub delete_after_days: Option<u32>,
    /// Tenants whose rows are kept for a time of their own.
    pub tenants: BTreeMap<String, TenantPolicy>,
    /// How long after its end an hour or a day counts as closed, minutes.
    pub closed_after_minutes: u32,
    /// So many files of about the same size are worth a merge.
    pub merge_files_min: usize,
    /// Files of about this size are the aim.
    pub file_bytes_target: u64,
}

/// What is different for one tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantPolicy {
    /// Age at which the tenant's rows are deleted, days; `None` for never, whatever holds for others.
    pub delete_after_days: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            warm_after_days: Some(7),
            cold_after_days: None,
            delete_after_days: None,
            tenants: BTreeMap::new(),
            closed_after_minutes: 15,
            merge_files_min: 8,
            file_bytes_target: 128 << 20,
        }
    }
}

impl Policy {
    /// As many files as so many bytes are worth.
    pub fn files_of(&self, bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(self.file_bytes_target.max(1)).max(1)).unwrap_or(usize::MAX)
    }

    /// Whether the policy makes sense as a whole.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting.
    pub fn check(&self) -> Result<(), String> {
        let retentions = std::iter::once(("lifecycle.delete_after_days".to_owned(), self.delete_after_days)).chain(
            self.tenants.iter().map(|(name, tenant)| {
                (format!("lifecycle.tenants.{name:?}.delete_after_days"), tenant.delete_after_days)
            }),
        );
        for (setting, days) in retentions {
            if days == Some(0) {
                return Err(format!("{setting} is 0 days; the least is 1, which keeps today and yesterday"));
            }
        }
        if let (Some(warm), Some(cold)) = (self.warm_after_days, self.cold_after_days)
            && cold < warm
        {
            return Err(format!(
                "lifecycle.cold_after_days ({cold}) is less than lifecycle.warm_after_days ({warm}); files are warm \
                 before they are cold"
            ));
        }
        if let (Some(cold), Some(longest)) = (self.cold_after_days, self.longest_retention_days())
            && longest <= cold
        {
            return Err(format!(
                "lifecycle.cold_after_days ({cold}) is not less than the longest retention, \
                 lifecycle.delete_after_days or a tenant's own ({longest}); everything would be deleted before it moves"
            ));
        }
        if !(2..=FILES_MAX).contains(&self.merge_files_min) {
            return Err(format!(
                "lifecycle.merge_files_min ({}) is not between 2 and {FILES_MAX}",
                self.merge_files_min
            ));
        }
        if self.file_bytes_target < FILE_BYTES_TARGET_MIN {
            return Err(format!(
                "lifecycle.file_bytes_target ({}) is less than {FILE_BYTES_TARGET_MIN}",
                self.file_bytes_target
            ));
        }
        Ok(())
    }

    /// Whether a record is past its retention: it would be deleted as soon as it is stored. With `None`
    /// for a record without a tenant.
    pub fn is_expired(&self, tenant: Option<&str>, timestamp_us: i64, now_us: i64) -> bool {
        is_aged(timestamp_us.div_euclid(DAY_US), self.retention_days(tenant), now_us)
    }

    /// The least time that a record may have so that it is kept, a midnight; `None` if any may be kept.
    pub fn oldest_us(&self, tenant: Option<&str>, now_us: i64) -> Option<i64> {
        let days = self.retention_days(tenant)?;
        Some((now_us.div_euclid(DAY_US) - i64::from(days)).saturating_mul(DAY_US))
    }

    /// Whose rows of a day are past their retention.
    pub fn expired_on(&self, day: i32, now_us: i64) -> TenantSet {
        let is_expired = |days: Option<u32>| is_aged(day.into(), days, now_us);
        let default = is_expired(self.delete_after_days);
        let differing: BTreeSet<String> = self
            .tenants
            .iter()
            .filter(|(_, tenant)| is_expired(tenant.delete_after_days) != default)
            .map(|(name, _)| name.clone())
            .collect();
        if default { TenantSet::AllBut(differing) } else { TenantSet::Only(differing) }
    }

    pub(super) fn is_warm(&self, day: i32, now_us: i64) -> bool {
        is_aged(day.into(), self.warm_after_days, now_us)
    }

    pub(super) fn is_cold(&self, day: i32, now_us: i64) -> bool {
        is_aged(day.into(), self.cold_after_days, now_us)
    }

    /// Whether a day is over for so long that it counts as closed.
    pub(super) fn is_day_closed(&self, day: i32, now_us: i64) -> bool {
        self.is_past((i64::from(day) + 1).saturating_mul(DAY_US), now_us)
    }

    /// Whether the hour of a time is over for so long that it counts as closed.
    pub(super) fn is_hour_closed(&self, time_us: i64, now_us: i64) -> bool {
        self.is_past((time_us.div_euclid(HOUR_US) + 1).saturating_mul(HOUR_US), now_us)
    }

    /// Whether a time is as long ago as an hour takes to be closed.
    pub(super) fn is_past(&self, time_us: i64, now_us: i64) -> bool {
        time_us.saturating_add(i64::from(self.closed_after_minutes) * MINUTE_US) <= now_us
    }

    fn retention_days(&self, tenant: Option<&str>) -> Option<u32> {
        match tenant.and_then(|name| self.tenants.get(name)) {
            Some(own) => own.delete_after_days,
            None => self.delete_after_days,
        }
    }

    /// `None` if anybody's rows are kept for good.
    fn longest_retention_days(&self) -> Option<u32> {
        let all = std::iter::once(self.delete_after_days)
            .chain(self.tenants.values().map(|tenant| tenant.delete_after_days))
            .collect::<Option<Vec<u32>>>();
        all.and_then(|days| days.into_iter().max())
    }
}

/// The day of a time, days since the epoch.
pub(super) fn day_of(time_us: i64) -> i64 {
    time_us.div_euclid(DAY_US)
}

/// Whether so many days have passed since the end of the day.
fn is_aged(day: i64, days: Option<u32>, now_us: i64) -> bool {
    days.is_some_and(|days| day_of(now_us) - (day + 1) >= i64::from(days))
}
