//! Series that go on as they were, and such that do not.

use super::*;

const HOUR_US: i64 = 3_600_000_000;
/// 2026-03-02, a Monday.
const START_US: i64 = 1_772_409_600_000_000;
const DAYS: i64 = 42;
const END_US: i64 = START_US + DAYS * 24 * HOUR_US;

/// A number from 0 to below 1 that belongs to the hour alone.
fn noise(hour: i64) -> f64 {
    let mut bits = (hour as u64).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Six weeks of a figure by the hour of the series, from its number, on a busy day and a quiet night.
fn series(kind: Kind, figure: impl Fn(i64) -> Option<(f64, u64)>) -> Series {
    let hours = (0..DAYS * 24).filter_map(|hour| {
        let (value, samples) = figure(hour)?;
        Some(Hour { start_us: START_US + hour * HOUR_US, value: Some(value), samples, share: None })
    });
    Series { kind, hours: hours.collect() }
}

fn calls(hour: i64) -> u64 {
    let busy = 1.0 - ((hour % 24) as f64 - 14.0).abs() / 14.0;
    (40.0 + 200.0 * busy + 20.0 * noise(hour)) as u64
}

/// The last so many days, by four weeks before each week.
fn last(days: i64) -> Asked {
    Asked { from_us: END_US - days * 24 * HOUR_US, to_us: END_US, history_days: 28 }
}

/// The hours from the start of the series that are found among the last two weeks.
fn found(series: &Series) -> Vec<i64> {
    let judged = judge(series, last(14), 0.5);
    judged.findings.iter().map(|finding| (finding.start_us - START_US) / HOUR_US).collect()
}

const TROUBLE: i64 = 36 * 24 + 13;

#[test]
fn what_goes_on_is_no_finding() {
    let quiet = series(Kind::Mean, |hour| Some((0.02 + 0.01 * noise(hour), calls(hour))));
    assert_eq!(found(&quiet), [0; 0]);
    let traffic = series(Kind::Sum, |hour| Some((calls(hour) as f64, calls(hour))));
    assert_eq!(found(&traffic), [0; 0]);
}

#[test]
fn what_changes_is_found_in_its_first_hours() {
    let rate = series(Kind::Mean, |hour| {
        let trouble = if (TROUBLE..TROUBLE + 6).contains(&hour) { 0.2 } else { 0.0 };
        Some((0.02 + 0.01 * noise(hour) + trouble, calls(hour)))
    });
    assert!((TROUBLE..TROUBLE + 2).contains(&found(&rate)[0]), "{:?}", found(&rate));
    let judged = judge(&rate, last(14), 0.5);
    let first = judged.findings[0];
    assert!(first.value > 0.2 && first.expected.unwrap() < 0.05 && first.p_value < 0.01, "{first:?}");
    assert_eq!(first.samples, calls(first.start_us / HOUR_US - START_US / HOUR_US));
    assert_eq!(judged.hours, 14 * 24);
}

#[test]
fn traffic_that_ends_is_found_and_a_figure_of_no_calls_is_none() {
    let there = |hour: i64| !(TROUBLE..TROUBLE + 6).contains(&hour);
    let traffic = series(Kind::Sum, |hour| there(hour).then(|| (calls(hour) as f64, calls(hour))));
    assert!((TROUBLE..TROUBLE + 2).contains(&found(&traffic)[0]), "{:?}", found(&traffic));
    let finding = judge(&traffic, last(14), 0.5).findings[0];
    assert_eq!((finding.value, finding.samples), (0.0, 0));
    assert!((100.0..300.0).contains(&finding.expected.unwrap()), "in calls, not in their roots: {finding:?}");
    let rate = series(Kind::Mean, |hour| there(hour).then(|| (0.02 + 0.01 * noise(hour), calls(hour))));
    assert_eq!(found(&rate), [0; 0]);
}

#[test]
fn one_call_says_little() {
    let odd = |samples: u64| {
        series(Kind::Mean, |hour| match hour {
            TROUBLE => Some((1.0, samples)),
            _ => Some((0.02 + 0.01 * noise(hour), calls(hour))),
        })
    };
    assert_eq!(found(&odd(400))[0], TROUBLE);
    let steadied = odd(1).steadied(START_US, END_US)[usize::try_from(TROUBLE).unwrap()];
    assert_eq!(steadied.hour.value, Some(1.0));
    assert!(steadied.value.unwrap() < 0.06, "{steadied:?}");
}

#[test]
fn a_share_that_chance_brings_is_no_finding() {
    let failing = |count: u64| {
        let mut series = series(Kind::Mean, |hour| Some(if hour == TROUBLE { (0.25, 8) } else { (0.02, 50) }));
        for hour in &mut series.hours {
            hour.share = Some((1, 50));
        }
        let odd = &mut series.hours[usize::try_from(TROUBLE).unwrap()];
        (odd.value, odd.share) = (Some(count as f64 / 8.0), Some((count, 8)));
        series
    };
    assert_eq!(found(&failing(1)), [0; 0]);
    assert_eq!(found(&failing(5)), [TROUBLE]);
}

#[test]
fn what_chance_brings_hides_nothing_after_it() {
    let mut series = series(Kind::Mean, |_| Some((0.02, 50)));
    for hour in &mut series.hours {
        hour.share = Some((1, 50));
    }
    // Two of eight, which is chance, and then some more of many calls, which is none.
    for (at, count, of) in [(TROUBLE, 2, 8), (TROUBLE + 4, 105, 3_000)] {
        let hour = &mut series.hours[usize::try_from(at).unwrap()];
        (hour.value, hour.samples, hour.share) = (Some(count as f64 / of as f64), of, Some((count, of)));
    }
    assert_eq!(found(&series), [TROUBLE + 4]);
}

#[test]
fn an_hour_is_judged_alike_whoever_asks() {
    let jumpy = series(Kind::Mean, |hour| Some((0.02 + 0.01 * (noise(hour) * noise(hour + 9)).powi(3), calls(hour))));
    let whole = judge(&jumpy, last(12), 0.1).findings;
    assert!(whole.len() >= 3, "{whole:?}");
    // As a job asks that judges each hour four times; a Monday is among them.
    for hour in 0..12 * 24 - 4 {
        let from_us = END_US - 12 * 24 * HOUR_US + hour * HOUR_US;
        let asked = Asked { from_us, to_us: from_us + 4 * HOUR_US, ..last(12) };
        let of_asked = whole.iter().filter(|finding| (asked.from_us..asked.to_us).contains(&finding.start_us));
        assert_eq!(judge(&jumpy, asked, 0.1).findings, of_asked.copied().collect::<Vec<_>>());
    }
}

#[test]
fn nothing_later_changes_what_was_found() {
    let whole = series(Kind::Mean, |hour| Some((0.02 + 0.01 * noise(hour) * noise(hour + 9), calls(hour))));
    let cut_us = END_US - 5 * 24 * HOUR_US;
    let mut cut = whole.clone();
    cut.hours.retain(|hour| hour.start_us < cut_us);
    let mut before = judge(&whole, last(32), 0.1).findings;
    before.retain(|finding| finding.start_us < cut_us);
    assert_eq!(judge(&cut, Asked { to_us: cut_us, ..last(32) }, 0.1).findings, before);
}

#[test]
fn too_little_past_is_said() {
    let mut short = series(Kind::Mean, |hour| Some((noise(hour), 100)));
    short.hours.drain(..short.hours.len() - 100);
    assert_eq!(judge(&short, last(1), 0.5).hours, 0);
}

fn part(dimension: &'static str, key: &str, now: (f64, u64), usual: Option<f64>) -> Part {
    Part { dimension, key: Some(key.to_owned()), now, before: usual.map(|usual| (usual, 1_000)) }
}

/// `dimension key share` of each contribution.
#[track_caller]
fn check(kind: Kind, moved: (f64, f64), parts: &[Part], expect: &[&str]) {
    let told = contributions(kind, moved, parts, 3);
    let told: Vec<String> = told
        .iter()
        .map(|one| format!("{} {} {:.2}", one.dimension, one.key.as_deref().unwrap_or("none"), one.share))
        .collect();
    assert_eq!(told, expect);
}

#[test]
fn a_deviation_comes_from_the_parts_that_changed() {
    // One tenant of two pays more; both models alike.
    let cost = [
        part("tenant", "a", (10.0, 50), Some(9.0)),
        part("tenant", "b", (40.0, 50), Some(9.0)),
        part("model", "m", (25.0, 50), Some(9.0)),
        part("model", "n", (25.0, 50), Some(9.0)),
    ];
    check(Kind::Sum, (50.0, 18.0), &cost, &["tenant b 0.97", "model m 0.50", "model n 0.50"]);
    // A part that is slow as ever does not explain why all became slower.
    let latency = [part("model", "slow", (900.0, 10), Some(900.0)), part("model", "fast", (400.0, 90), Some(100.0))];
    check(Kind::Mean, (450.0, 180.0), &latency, &["model fast 1.00"]);
    // Less is told as more is, and a part that has gone explains it.
    let traffic = [part("agent", "a", (0.0, 0), Some(80.0)), part("agent", "b", (90.0, 90), Some(100.0))];
    check(Kind::Sum, (90.0, 180.0), &traffic, &["agent a 0.89", "agent b 0.11"]);
    // A new part is beside what was expected; a dimension of one part says nothing.
    let new = [part("model", "m", (0.1, 90), Some(0.1)), part("model", "new", (0.9, 10), None)];
    check(Kind::Mean, (0.18, 0.1), &new, &["model new 1.00"]);
    check(Kind::Mean, (0.18, 0.1), &new[1..], &[]);
}
