//! Any lake under any policy comes to rest, and no row is lost or kept too long.

use super::*;

type Age = Option<u32>;

/// A tenant's warm and cold age, where they are its own, and its retention.
fn an_age() -> impl Strategy<Value = (Option<Age>, Option<Age>, Age)> {
    let own = |days| prop::option::of(prop::option::of(days));
    (own(0..9_u32), own(0..14_u32), prop::option::of(1..12_u32))
}

prop_compose! {
    fn a_policy()(
        warm in prop::option::of(0..6_u32),
        cold in prop::option::of(0..9_u32),
        delete in prop::option::of(1..12_u32),
        tenants in prop::collection::btree_map("[abx]", an_age(), 0..3),
        merge_files_min in 2..12_usize,
        target_mebibytes in 1..200_u64,
    ) -> Policy {
        Policy {
            warm_after_days: warm,
            cold_after_days: cold,
            delete_after_days: delete,
            tenants: tenants
                .into_iter()
                .map(|(name, (own_warm, own_cold, delete))| {
                    (name, ages(own_warm.unwrap_or(warm), own_cold.unwrap_or(cold), delete))
                })
                .collect(),
            merge_files_min,
            file_bytes_target: target_mebibytes * MIB,
            ..Policy::default()
        }
    }
}

type Seed = (i32, u32, u64, i64, BTreeSet<Option<String>>);

fn a_file() -> impl Strategy<Value = Seed> {
    let tenants = prop::collection::btree_set(prop::option::of("[abcx]"), 1..4);
    // Sizes spread over all classes, with a bend to the small.
    (0..4_i32, 0..8_u32, (0..28_u32, 1..2_000_u64), 0..23_i64, tenants).prop_map(
        |(day, tier, (shift, factor), hour, tenants)| (day, tier, (factor << shift) / 1_000 + 1, hour, tenants),
    )
}

fn a_lake(policy: Policy, knowledge: Knowledge, warm_percent: u64, seeds: &[Seed]) -> Lake {
    let mut lake = Lake::new(policy, knowledge);
    lake.warm_percent = warm_percent;
    for (day, tier, bytes, hour, tenants) in seeds {
        let first_us = i64::from(*day) * DAY_US + hour * HOUR_US;
        lake.flush(first_us, first_us + HOUR_US, *bytes, first_us + HOUR_US);
        let mut file = lake.files.pop().unwrap();
        file.info.tier = [Tier::Warm, Tier::Cold].get(*tier as usize).copied().unwrap_or(Tier::Hot);
        let rows = tenants.iter().map(|tenant| (tenant.clone(), bytes / 200 + 1)).collect();
        lake.put(file.info, rows);
    }
    lake
}

fn a_knowledge() -> impl Strategy<Value = Knowledge> {
    prop_oneof![Just(Knowledge::Exact), Just(Knowledge::Bounds), Just(Knowledge::None)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Passes come to an end, at once and with time; what is left is tidy; nothing is lost.
    #[test]
    fn passes_come_to_rest(
        policy in a_policy(),
        knowledge in a_knowledge(),
        warm_percent in 20..=100_u64,
        seeds in prop::collection::vec(a_file(), 0..200),
        more in prop::collection::vec(a_file(), 0..40),
        now_minutes in 0..(12 * 1_440_i64),
    ) {
        let mut lake = a_lake(policy.clone(), knowledge, warm_percent, &seeds);
        let mut now_us = now_minutes * MINUTE_US;
        lake.rest(now_us, 0);
        now_us = lake.rest(now_us, 15 * MINUTE_US);
        lake.assert_tidy(now_us);
        // Late files come to what is there, and the days grow old.
        for file in a_lake(policy, knowledge, warm_percent, &more).files {
            lake.put(FileInfo { written_us: now_us, tier: Tier::Hot, ..file.info }, file.rows);
        }
        for days in [0, 1, 3, 30] {
            now_us = lake.rest(now_us + days * DAY_US, 15 * MINUTE_US);
            lake.assert_tidy(now_us);
        }
    }

    /// Two ways to the same answer: by day, as plans ask, and by time, as ingest asks.
    #[test]
    fn days_and_times_agree(
        policy in a_policy(),
        tenant in prop::option::of("[abcx]"),
        time_us in -40 * DAY_US..40 * DAY_US,
        now_us in -40 * DAY_US..40 * DAY_US,
    ) {
        let expired = policy.is_expired(tenant.as_deref(), time_us, now_us);
        let day = time_us.div_euclid(DAY_US) as i32;
        prop_assert_eq!(policy.expired_on(day, now_us).contains(tenant.as_deref()), expired);
        for tier in [Tier::Hot, Tier::Warm, Tier::Cold] {
            let is_due = due_tier(&policy, tenant.as_deref(), day, now_us) == tier;
            prop_assert_eq!(policy.due_on(day, now_us, tier).contains(tenant.as_deref()), is_due);
        }
        let oldest_us = policy.oldest_us(tenant.as_deref(), now_us);
        prop_assert_eq!(oldest_us.is_some_and(|oldest_us| time_us < oldest_us), expired);
    }
}
