//! How long rows are kept, and when files are merged, warmed and moved. Knows days, not files.

use std::collections::{BTreeMap, BTreeSet};

use super::{FILES_MAX, TenantSet, Tier};

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// The least target of a file: below it, what a file costs is more than what is in it.
const FILE_BYTES_TARGET_MIN: u64 = 1 << 20;

/// What maintenance is to keep to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Age at which a day's files are compressed harder, days; `None` for never. This and the next two
    /// are for rows without a tenant and for tenants that are not in [`Policy::tenants`].
    pub warm_after_days: Option<u32>,
    /// Age at which a day's files move to the cold store, days; `None` for never.
    pub cold_after_days: Option<u32>,
    /// Age at which rows are deleted, days; `None` for never.
    pub delete_after_days: Option<u32>,
    /// Tenants that have ages of their own.
    pub tenants: BTreeMap<String, TenantPolicy>,
    /// How long after its end an hour or a day counts as closed, minutes.
    pub closed_after_minutes: u32,
    /// So many files of about the same size are worth a merge.
    pub merge_files_min: usize,
    /// Files of about this size are the aim.
    pub file_bytes_target: u64,
}

/// The ages that hold for one tenant, whatever holds for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantPolicy {
    /// Age at which the tenant's rows are compressed harder, days; `None` for never.
    pub warm_after_days: Option<u32>,
    /// Age at which the tenant's rows move to the cold store, days; `None` for never.
    pub cold_after_days: Option<u32>,
    /// Age at which the tenant's rows are deleted, days; `None` for never.
    pub delete_after_days: Option<u32>,
}

impl TenantPolicy {
    /// The tier of rows that are so old.
    fn tier(self, is_aged: impl Fn(Option<u32>) -> bool) -> Tier {
        if is_aged(self.cold_after_days) {
            Tier::Cold
        } else if is_aged(self.warm_after_days) {
            Tier::Warm
        } else {
            Tier::Hot
        }
    }
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
        self.tenants.iter().try_for_each(|(name, tenant)| self.check_tenant(name, *tenant))?;
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

    /// An age that a tenant shares with all others is theirs to check.
    fn check_tenant(&self, name: &str, tenant: TenantPolicy) -> Result<(), String> {
        let all = self.of_others();
        let whose = |own: Option<u32>, shared: Option<u32>| if own == shared { "that of all" } else { "its own" };
        let Some(cold) = tenant.cold_after_days else { return Ok(()) };
        let setting = format!("lifecycle.tenants.{name:?}");
        if let Some(warm) = tenant.warm_after_days
            && cold < warm
        {
            return Err(format!(
                "{setting}: cold_after_days ({cold}, {}) is less than warm_after_days ({warm}, {}); files are warm \
                 before they are cold",
                whose(tenant.cold_after_days, all.cold_after_days),
                whose(tenant.warm_after_days, all.warm_after_days),
            ));
        }
        match tenant.delete_after_days {
            Some(retention) if retention <= cold && tenant.cold_after_days != all.cold_after_days => Err(format!(
                "{setting}: cold_after_days ({cold}) is not less than delete_after_days ({retention}, {}); everything \
                 would be deleted before it moves",
                whose(tenant.delete_after_days, all.delete_after_days),
            )),
            _ => Ok(()),
        }
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
        self.whoever(|ages| is_aged(day.into(), ages.delete_after_days, now_us))
    }

    /// Whose rows of a day are of the age of a tier and of no later one's.
    pub fn due_on(&self, day: i32, now_us: i64, tier: Tier) -> TenantSet {
        self.whoever(|ages| ages.tier(|days| is_aged(day.into(), days, now_us)) == tier)
    }

    /// Whose ages are so.
    fn whoever(&self, are_so: impl Fn(TenantPolicy) -> bool) -> TenantSet {
        let default = are_so(self.of_others());
        let differing = self.tenants.iter().filter(|(_, tenant)| are_so(**tenant) != default);
        let differing: BTreeSet<String> = differing.map(|(name, _)| name.clone()).collect();
        if default { TenantSet::AllBut(differing) } else { TenantSet::Only(differing) }
    }

    /// The ages of whoever has none of their own.
    fn of_others(&self) -> TenantPolicy {
        TenantPolicy {
            warm_after_days: self.warm_after_days,
            cold_after_days: self.cold_after_days,
            delete_after_days: self.delete_after_days,
        }
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

    /// The longest retention of those whose rows move at the age that is set for all; `None` if
    /// anybody's of them are kept for good.
    fn longest_retention_days(&self) -> Option<u32> {
        let moved = self.tenants.values().filter(|tenant| tenant.cold_after_days == self.cold_after_days);
        let all = std::iter::once(self.delete_after_days)
            .chain(moved.map(|tenant| tenant.delete_after_days))
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
