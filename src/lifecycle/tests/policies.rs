//! Whose rows a file has, and what a policy says of a time.

use super::*;

#[test]
fn statistics_say_who_is_in_a_file() {
    let listed = |list: &str, unnamed| Tenants::Listed { names: names(list), unnamed };
    let check = |bounds, unnamed, expected| assert_eq!(Tenants::from_statistics(bounds, 10, unnamed), expected);
    check(Some(("a", "a")), Some(0), listed("a", false));
    check(Some(("a", "a")), Some(3), listed("a", true));
    check(None, Some(10), listed("", true));
    let within = |least: &str, greatest: &str| Tenants::Within { least: least.into(), greatest: greatest.into() };
    check(Some(("a", "b")), Some(0), within("a", "b"));
    check(Some(("a", "a")), None, within("a", "a"));
    check(None, Some(3), Tenants::Unknown);
    check(None, None, Tenants::Unknown);
}

#[test]
fn wrong_policies_are_named() {
    let check = |rules: &str, expected: &str| {
        let message = policy(rules).check().err().unwrap_or_default();
        assert!(message.contains(expected) && message.is_empty() == expected.is_empty(), "{rules}: {message}");
    };
    check("", "");
    check("warm=7 cold=30 delete=90 a=never b=3", "");
    check("warm=7 cold=7 delete=8", "");
    check("warm=never cold=0", "");
    check("delete=3", "");
    check("cold=30 delete=9 a=99", "");
    check("cold=3", "lifecycle.cold_after_days (3) is less than lifecycle.warm_after_days (7)");
    check("cold=30 delete=30", "lifecycle.cold_after_days (30) is not less than");
    check("cold=30 delete=9 a=30", "lifecycle.delete_after_days or a tenant's own (30)");
    check("delete=0", "lifecycle.delete_after_days is 0");
    check("a=0", "lifecycle.tenants.\"a\".delete_after_days is 0");
    check("warm=7 cold=30 delete=90 a.warm=never a.cold=never b.warm=0 b.cold=1 b=2 c.warm=30", "");
    check(
        "a.cold=3",
        "lifecycle.tenants.\"a\": cold_after_days (3, its own) is less than warm_after_days (7, that of all)",
    );
    check("cold=30 a.warm=31", "cold_after_days (30, that of all) is less than warm_after_days (31, its own)");
    check(
        "delete=9 a.cold=9",
        "lifecycle.tenants.\"a\": cold_after_days (9) is not less than delete_after_days (9, that",
    );
    check(
        "a.cold=9 a=8",
        "lifecycle.tenants.\"a\": cold_after_days (9) is not less than delete_after_days (8, its own",
    );
    // Who moves at another age, or never, does not make the age of all worth its while.
    check("cold=30 delete=9 a=99 a.cold=never", "lifecycle.cold_after_days (30) is not less than");
    check("min=1", "lifecycle.merge_files_min (1)");
    check("min=65", "lifecycle.merge_files_min (65)");
    check("target=1000K", "lifecycle.file_bytes_target");
}

#[test]
fn ingest_asks_for_the_oldest_time() {
    let policy = policy("delete=2 a=5 b=never");
    let now = moment("9/13:00");
    for (tenant, oldest) in [(None, 7), (Some("c"), 7), (Some("a"), 4)] {
        let oldest_us = policy.oldest_us(tenant, now).unwrap();
        assert_eq!(oldest_us, oldest * DAY_US);
        assert!(!policy.is_expired(tenant, oldest_us, now));
        assert!(policy.is_expired(tenant, oldest_us - 1, now));
    }
    assert_eq!(policy.oldest_us(Some("b"), now), None);
    assert!(!policy.is_expired(Some("b"), i64::MIN, now));
    assert!(policy.is_expired(None, i64::MIN, i64::MAX) && !policy.is_expired(None, i64::MAX, i64::MIN));
}
