//! Whose rows of a day belong into which tier, and what that says of a file. Knows neither sizes nor times.

use std::collections::BTreeSet;

use super::{FileInfo, Policy, TenantSet, Tier};

const TIERS: [Tier; 3] = [Tier::Hot, Tier::Warm, Tier::Cold];

/// Where everybody's rows of one day belong.
pub(super) struct Placement {
    /// Whose rows are past their retention.
    pub expired: TenantSet,
    /// For each of [`TIERS`] whose rows have come of age for it, and not yet for the next.
    whose: [TenantSet; 3],
    /// The tier of rows without a tenant, and of tenants that have no ages of their own.
    others: Tier,
    is_same_for_all: bool,
}

impl Placement {
    pub fn on(policy: &Policy, day: i32, now_us: i64) -> Self {
        let whose = TIERS.map(|tier| policy.due_on(day, now_us, tier));
        let others = TIERS.into_iter().zip(&whose).find(|(_, whose)| whose.contains(None));
        Self {
            expired: policy.expired_on(day, now_us),
            others: others.map_or(Tier::Hot, |(tier, _)| tier),
            is_same_for_all: whose.iter().all(|whose| whose.names().is_empty()),
            whose,
        }
    }

    /// Everybody that a file may hold, but for those whose rows it is known not to: `None` stands for
    /// all that no set names.
    pub fn held<'a>(&'a self, file: &'a FileInfo) -> Vec<Option<&'a str>> {
        let sets = self.whose.iter().chain([&self.expired, &file.removed]);
        let named: BTreeSet<&str> = sets.flat_map(TenantSet::names).map(String::as_str).collect();
        let mut held = file.tenants.candidates(named.into_iter());
        held.retain(|tenant| !file.removed.contains(*tenant));
        held
    }

    /// The tiers that the rows of a file belong into. Nothing goes back: what is due for less than the
    /// file's own tier belongs where it is. What is past its retention belongs nowhere.
    pub fn tiers_of(&self, file: &FileInfo) -> BTreeSet<Tier> {
        let others = self.others.max(file.tier);
        if self.is_same_for_all {
            return BTreeSet::from([others]);
        }
        let tier_of = |tenant: Option<&str>| {
            let due = TIERS.into_iter().zip(&self.whose).find(|(_, whose)| whose.contains(tenant));
            due.map_or(others, |(tier, _)| tier.max(file.tier))
        };
        let held = self.held(file).into_iter().filter(|tenant| !self.expired.contains(*tenant));
        let tiers: BTreeSet<Tier> = held.map(tier_of).collect();
        if tiers.is_empty() { BTreeSet::from([others]) } else { tiers }
    }

    /// Whose rows of files in one tier belong into another, or there.
    pub fn whose(&self, from: Tier, to: Tier) -> TenantSet {
        let due = TIERS.into_iter().zip(&self.whose).filter(|(tier, _)| (*tier).max(from) == to);
        due.fold(TenantSet::default(), |all, (_, whose)| all.union(whose))
    }

    /// Whose rows a file does not hold once it is rid of those past their retention: whom it lacks
    /// already, and everybody of a tier that nothing in it belongs into.
    pub fn lacks(&self, file: &FileInfo) -> TenantSet {
        let tiers = self.tiers_of(file);
        let strangers = TIERS.into_iter().filter(|tier| *tier >= file.tier && !tiers.contains(tier));
        strangers
            .map(|tier| self.whose(file.tier, tier))
            .fold(file.removed.union(&self.expired), |lacks, whose| lacks.union(&whose))
    }
}
