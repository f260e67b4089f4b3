//! How often and how far files are written again.

use super::*;

/// A day of flushes every 15 seconds with a pass every minute, then what follows.
fn a_day_of_flushes(bytes: u64) -> (f64, usize) {
    let mut lake = Lake::new(Policy::default(), Knowledge::None);
    let (mut written, mut files_max) = (0, 0);
    for flush in 0..5_760_i64 {
        let now_us = flush * 15_000_000;
        // Nights are quiet: a tenth of the noon's traffic.
        let hour = flush / 240;
        let flushed = bytes * (1 + (12 - (hour - 12).abs()) as u64) * (8 + (flush * 7_919 % 8) as u64) / 160;
        lake.flush((now_us - 15_000_000).max(0), now_us, flushed, now_us);
        written += flushed;
        if flush % 4 == 3 {
            lake.pass(now_us + 1_000_000);
        }
        files_max = files_max.max(lake.files.len());
    }
    for minute in 0..120 {
        lake.pass(DAY_US + minute * MINUTE_US);
    }
    let now_us = lake.rest(9 * DAY_US, MINUTE_US);
    lake.assert_tidy(now_us);
    assert!(lake.files.iter().all(|file| file.info.tier == Tier::Warm));
    (lake.read_bytes as f64 / written as f64, files_max)
}

#[test]
fn a_day_is_rewritten_few_times() {
    for bytes in [4 * KIB, 60 * KIB, MIB, 20 * MIB] {
        let (rewrites, files_max) = a_day_of_flushes(bytes);
        assert!(rewrites <= 6.0, "{bytes} bytes a flush: each byte is rewritten {rewrites} times");
        // Of the 75 minutes that are open, fewer than 64 of each of two sizes, and the minute until the next
        // pass; of those that are closed, fewer than 8 of each of 9 sizes.
        let full = (bytes * 5_760 / (64 * MIB)) as usize;
        assert!(files_max <= 2 * 63 + 4 + 7 * 9 + full, "{bytes} bytes a flush: {files_max} files");
    }
}

/// One late row every 20 minutes, or late rows in every flush, on a day that is hot or warm.
#[test]
fn late_rows_cost_what_they_weigh() {
    for (now, every_us, late) in
        [("3/00:00", 20 * MINUTE_US, 72), ("9/00:00", 20 * MINUTE_US, 72), ("9/00:00", 15_000_000, 5_760)]
    {
        let mut lake = Lake::new(Policy::default(), Knowledge::None);
        lake.flush(0, DAY_US - 1, 60 * MIB, DAY_US);
        let mut now_us = lake.rest(moment(now), MINUTE_US);
        let (before, mut files_max) = (lake.read_bytes, 0);
        let mut next_us = now_us;
        for _ in 0..late {
            lake.flush(0, HOUR_US, 10 * KIB, now_us);
            files_max = files_max.max(lake.files.len());
            next_us += every_us;
            while now_us < next_us {
                now_us += every_us.min(MINUTE_US);
                lake.pass(now_us);
            }
        }
        now_us = lake.rest(now_us, 15 * MINUTE_US);
        lake.assert_tidy(now_us);
        let rewrites = (lake.read_bytes - before) as f64 / (late * 10 * KIB) as f64;
        assert!(rewrites <= 8.0, "{late} late files: each byte is rewritten {rewrites} times");
        assert!(files_max <= 40, "{late} late files: {files_max} files");
    }
}

/// A day of four tenants that come of age on different days, then half a year.
#[test]
fn every_age_of_a_tenants_own_costs_at_most_one_rewrite() {
    let rewrites = |rules: &str, knowledge| {
        let mut lake = Lake::new(policy(rules), knowledge);
        let mut written = 0;
        for flush in 0..288_i64 {
            let now_us = flush * 5 * MINUTE_US;
            let bytes = MIB + (flush * 7_919 % 512) as u64 * KIB;
            lake.flush((now_us - MINUTE_US).max(0), now_us, bytes, now_us);
            let file = lake.files.pop().unwrap();
            // Some are in every file, some are not.
            let tenants = [Some("a"), Some("b"), (flush % 3 > 0).then_some("c"), None];
            let rows = tenants.into_iter().map(|tenant| (tenant.map(str::to_owned), bytes / 400 + 1)).collect();
            lake.put(file.info, rows);
            written += bytes;
            lake.pass(now_us + 1_000_000);
        }
        let mut now_us = DAY_US;
        for day in 1..180 {
            now_us = lake.rest(now_us.max(day * DAY_US), 15 * MINUTE_US);
            lake.assert_tidy(now_us);
        }
        assert!(lake.files.iter().all(|file| file.info.tier >= Tier::Warm));
        lake.read_bytes as f64 / written as f64
    };
    for knowledge in [Knowledge::Exact, Knowledge::Bounds, Knowledge::None] {
        let same = rewrites("cold=30", knowledge);
        let own = rewrites("cold=30 a.warm=2 a.cold=never b.warm=40 b.cold=60 c.warm=3 c.cold=20", knowledge);
        // Two ages of warm and two of cold come on other days than those of all.
        assert!(own <= same + 2.0, "each byte is rewritten {own} times, {same} times with the same ages for all");
    }
}

#[test]
fn a_wrong_client_clock_does_not_pile_files_up() {
    let mut lake = Lake::new(Policy::default(), Knowledge::None);
    let mut files_max = 0;
    for minute in 0..1_440 {
        let now_us = minute * MINUTE_US;
        lake.flush(now_us, DAY_US - 1, 60 * KIB, now_us);
        lake.pass(now_us);
        files_max = files_max.max(lake.files.len());
    }
    assert!(files_max <= 75 + 1 + 7 * 9, "{files_max} files");
}
