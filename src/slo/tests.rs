//! Objectives over made counts: burn rates, thresholds that cannot be reached, the guard against chance, and when what
//! is allowed is used up.

#![allow(clippy::unwrap_used)]

mod simulation;

use super::{Answer, Breach, BreachState, BurnRate, Counts, GUARD_LEVEL, Slot, Span, State};
use crate::config::{SloConfig, SloIndicator};

/// 2026-05-14T12:00:30Z.
const NOW_US: i64 = 1_778_760_030_000_000;
const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

fn objective(indicator: SloIndicator) -> SloConfig {
    SloConfig { name: "slo".to_owned(), indicator, window_days: 30, tenant_id: None, agent_id: None, model: None }
}

fn errors(target: f64) -> SloConfig {
    objective(SloIndicator::Errors { target })
}

/// Counts of so many calls a minute, of which a share is bad: by how many minutes ago.
fn counts(per_minute: u64, bad: impl Fn(i64) -> f64) -> Counts {
    let spans = Span::of(30, NOW_US);
    let to_us = spans[1].to_us;
    let slots = |span: Span, step_us: i64| {
        let starts = (0..(span.to_us - span.from_us) / step_us).map(|place| span.from_us + place * step_us);
        let slot = |start_us: i64| {
            let minutes = (0..step_us / MINUTE_US).map(|minute| bad((to_us - start_us) / MINUTE_US - minute));
            let samples = per_minute * (step_us / MINUTE_US) as u64;
            Slot { start_us, samples, unknown: 0, bad: (minutes.sum::<f64>() * per_minute as f64).round() }
        };
        starts.map(slot).collect()
    };
    Counts::new([slots(spans[0], HOUR_US), slots(spans[1], MINUTE_US)], spans)
}

/// The rates of the short and the long window of each pair.
fn rates(answer: &Answer) -> Vec<[f64; 2]> {
    let of = |pair: &BurnRate| [pair.short.burn_rate.unwrap(), pair.long.burn_rate.unwrap()];
    answer.burn_rates.iter().map(of).collect()
}

fn burning(answer: &Answer) -> Vec<bool> {
    answer.burn_rates.iter().map(|pair| pair.is_burning).collect()
}

#[test]
fn windows_end_with_the_last_whole_minute() {
    let [hours, minutes] = Span::of(30, NOW_US);
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
    assert_eq!((hours.from_us, hours.to_us), (at("2026-04-14T12:00:00Z"), at("2026-05-14T06:00:00Z")));
    assert_eq!((minutes.from_us, minutes.to_us), (at("2026-05-14T06:00:00Z"), at("2026-05-14T12:00:00Z")));
    let answer = Answer::new(&errors(0.99), &counts(10, |_| 0.0));
    let spans: Vec<(&str, &str)> = answer
        .burn_rates
        .iter()
        .flat_map(|pair| [&pair.short, &pair.long])
        .map(|window| (window.name.as_str(), window.from.get(..16).unwrap()))
        .collect();
    let expected = [
        ("5m", "2026-05-14T11:55"),
        ("1h", "2026-05-14T11:00"),
        ("30m", "2026-05-14T11:30"),
        ("6h", "2026-05-14T06:00"),
        ("6h", "2026-05-14T06:00"),
        ("3d", "2026-05-11T12:00"),
    ];
    assert_eq!(spans, expected);
    assert_eq!(answer.burn_rates[0].long.samples, 600);
    assert_eq!(answer.budget.unwrap().samples, 30 * 24 * 600);
}

#[test]
fn both_windows_of_a_pair_have_to_burn() {
    // 20 % are bad, for the last so many minutes; 1 % is allowed.
    let check = |since: i64, until: i64, expected: [bool; 3], state: State| {
        let answer =
            Answer::new(&errors(0.99), &counts(100, |ago| if ago > until && ago <= since { 0.2 } else { 0.0 }));
        assert_eq!(burning(&answer), expected, "{since} to {until}: {:?}", rates(&answer));
        assert_eq!(answer.state, state);
    };
    check(0, 0, [false; 3], State::Met);
    check(30, 0, [false; 3], State::Met);
    check(50, 0, [true, false, false], State::Burning);
    check(120, 0, [true, true, false], State::Burning);
    // Over: the long windows remember it, the short ones do not.
    check(50, 6, [false; 3], State::Met);
    check(240, 0, [true, true, true], State::Burning);
    check(360, 40, [false, false, true], State::Burning);
    check(30 * 24 * 60, 0, [true; 3], State::Missed);
    let answer = Answer::new(&errors(0.99), &counts(100, |_| 0.2));
    for pair in rates(&answer) {
        assert!(pair.iter().all(|rate| (rate - 20.0).abs() < 1e-9), "{pair:?}");
    }
    let budget = answer.budget.unwrap();
    assert!((budget.left + 19.0).abs() < 1e-9 && (budget.good.unwrap() - 0.8).abs() < 1e-12);
}

#[test]
fn thresholds_that_no_burn_rate_reaches_are_lowered() {
    let check = |target: f64, expected: [f64; 3]| {
        let answer = Answer::new(&errors(target), &counts(100, |_| 1.0));
        let found: Vec<f64> = answer.burn_rates.iter().map(|pair| pair.threshold).collect();
        assert!(
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9),
            "{target} {found:?}"
        );
        for pair in &answer.burn_rates {
            assert!(pair.is_burning, "a full outage of {target} calls for someone");
            assert_eq!(pair.threshold_reason.is_some(), pair.threshold < pair.threshold_standard - 1e-9);
        }
    };
    check(0.999, [14.4, 6.0, 1.0]);
    check(0.94, [14.4, 6.0, 1.0]);
    // 14.4 would ask for 101 % bad calls of 93 %, 14.4 and 6 for 144 % and 60 % of 90 %.
    check(0.93, [0.9 / 0.07, 6.0, 1.0]);
    check(0.9, [9.0, 6.0, 1.0]);
    check(0.85, [6.0, 6.0, 1.0]);
    check(0.8, [4.5, 4.5, 1.0]);
    check(0.5, [1.8, 1.8, 1.0]);
    let answer = Answer::new(&errors(0.9), &counts(100, |_| 0.0));
    let reason = answer.burn_rates[0].threshold_reason.as_deref();
    assert_eq!(reason, Some("14.4 would ask for 144 % bad calls, 90 % are enough"));
}

#[test]
fn few_bad_calls_may_be_chance() {
    // One call each 5 minutes of the last hour, the last so many of them bad; before, nothing at all.
    let check = |bad: i64, target: f64, is_burning: bool, is_guarded: bool| {
        let spans = Span::of(30, NOW_US);
        let slot = |place: i64| Slot {
            start_us: spans[1].to_us - (12 - place) * 5 * MINUTE_US,
            samples: 1,
            unknown: 0,
            bad: if place >= 12 - bad { 1.0 } else { 0.0 },
        };
        let answer = Answer::new(&errors(target), &Counts::new([Vec::new(), (0..12).map(slot).collect()], spans));
        let pair = &answer.burn_rates[0];
        assert_eq!((pair.is_burning, pair.reason.is_some()), (is_burning, is_guarded), "{bad} {target}: {pair:?}");
        pair.p_value.unwrap()
    };
    // One of 12 is a burn rate of 8: not above the threshold.
    check(1, 0.99, false, false);
    // Two are 16.7, and come by chance with p = 0.006.
    let p_value = check(2, 0.99, false, true);
    assert!((p_value - 0.006_173).abs() < 1e-4 && p_value > GUARD_LEVEL, "{p_value}");
    check(3, 0.99, true, false);
    check(12, 0.99, true, false);
    check(1, 0.999, false, true);
    check(2, 0.999, true, false);
}

#[test]
fn what_has_no_samples_is_insufficient() {
    let spans = Span::of(30, NOW_US);
    let answer = Answer::new(&errors(0.99), &Counts::new([Vec::new(), Vec::new()], spans));
    assert_eq!((answer.state, answer.budget), (State::Insufficient, None));
    assert_eq!(answer.reason.as_deref(), Some("no call in the window says anything"));
    assert!(answer.burn_rates.iter().all(|pair| pair.long.burn_rate.is_none() && !pair.is_burning));
    assert_eq!(answer.breach.state, BreachState::Insufficient);
    // Calls, but not in the last hours.
    let old = Slot { start_us: spans[0].from_us, samples: 300, unknown: 0, bad: 0.0 };
    let answer = Answer::new(&errors(0.99), &Counts::new([vec![old], Vec::new()], spans));
    assert_eq!((answer.state, answer.breach.state), (State::Met, BreachState::Insufficient));
}

/// A month with one good call is not a month in which an objective was met.
#[test]
fn few_calls_do_not_say_whether_an_objective_is_met() {
    let check = |target: f64, samples: u64, bad: f64, expected: State| {
        let spans = Span::of(30, NOW_US);
        let slot = Slot { start_us: spans[0].from_us, samples, unknown: 0, bad };
        let answer = Answer::new(&errors(target), &Counts::new([vec![slot], Vec::new()], spans));
        assert_eq!(answer.state, expected, "{target} {samples} {bad}: {:?}", answer.reason);
        assert_eq!(answer.reason.is_some(), expected == State::Insufficient);
        assert_eq!(answer.budget.unwrap().samples, samples);
        answer
    };
    let one = check(0.99, 1, 0.0, State::Insufficient);
    assert!(
        one.reason.as_deref().unwrap_or_default().starts_with("too few calls to judge by (1): "),
        "{:?}",
        one.reason
    );
    assert!(super::Answers::new(NOW_US, vec![one]).text().contains("\n  because    too few calls"));
    // 0.99 to the power of 298 is 0.0500…, of 299 less.
    check(0.99, 298, 0.0, State::Insufficient);
    check(0.99, 299, 0.0, State::Met);
    check(0.99, 299, 2.0, State::Met);
    check(0.99, 299, 3.0, State::Missed);
    check(0.999, 2_994, 0.0, State::Insufficient);
    check(0.999, 2_995, 0.0, State::Met);
    check(0.5, 5, 0.0, State::Met);
    // One of ten may be chance (p = 0.096), two are not.
    check(0.99, 10, 1.0, State::Insufficient);
    check(0.99, 10, 2.0, State::Missed);
}

#[test]
fn unknown_costs_are_told_and_many_of_them_say_nothing() {
    let check = |unknown: u64, usd: f64, expected: State| {
        let spans = Span::of(30, NOW_US);
        let known = Slot { start_us: spans[0].from_us, samples: 90, unknown: 0, bad: usd };
        let hidden = Slot { start_us: spans[0].from_us + HOUR_US, samples: 0, unknown, bad: 0.0 };
        let counts = Counts::new([vec![known, hidden], Vec::new()], spans);
        let answer = Answer::new(&objective(SloIndicator::Cost { usd_per_day: 1.0 }), &counts);
        assert_eq!((answer.state, answer.calls_unknown), (expected, Some(unknown)), "{:?}", answer.reason);
        answer
    };
    check(0, 20.0, State::Met);
    check(10, 20.0, State::Met);
    let much = check(11, 20.0, State::Insufficient);
    assert_eq!(much.reason.as_deref(), Some("11 of 101 calls do not say what they cost, 10 % may"));
    assert!(super::Answers::new(NOW_US, vec![much]).text().contains("\n  unknown    11 calls do not say"));
    // More than is allowed is spent, whatever else was.
    check(11, 31.0, State::Missed);
    assert_eq!(Answer::new(&errors(0.99), &counts(10, |_| 0.0)).calls_unknown, None);
    // No cost at all is known.
    let spans = Span::of(30, NOW_US);
    let hidden = Slot { start_us: spans[0].from_us, samples: 0, unknown: 7, bad: 0.0 };
    let counts = Counts::new([vec![hidden], Vec::new()], spans);
    let none = Answer::new(&objective(SloIndicator::Cost { usd_per_day: 1.0 }), &counts);
    assert_eq!((none.state, none.calls_unknown, none.first_samples), (State::Insufficient, Some(7), None));
}

#[test]
fn a_breach_is_told_with_what_falls_out_of_the_window() {
    let breach = |bad: &dyn Fn(i64) -> f64| Answer::new(&errors(0.99), &counts(1_000, bad)).breach;
    let hours = |at: &Option<String>| {
        let at = chrono::DateTime::parse_from_rfc3339(at.as_deref()?).unwrap().timestamp_micros();
        Some((at - Span::of(30, NOW_US)[1].to_us) / HOUR_US)
    };
    // Always 0.9 %, where 1 % is allowed: what comes in falls out at the other end.
    let steady = breach(&|_| 0.009);
    assert_eq!((steady.state, &steady.at), (BreachState::NotBeforeTheWindowEnds, &None), "{steady:?}");
    // Nothing before, 2 % since six hours: half of the window has to be bad.
    let slow = breach(&|ago| if ago <= 360 { 0.02 } else { 0.0 });
    assert_eq!(slow.state, BreachState::Expected);
    // 720 hours allow 7.2 hours of all calls: 0.02 × (6 + t) = 7.2.
    assert_eq!(hours(&slow.at), Some(355));
    let (earliest, latest) = (hours(&slow.earliest).unwrap(), hours(&slow.latest).unwrap());
    assert!(earliest < 355 && 355 < latest && earliest > 320 && latest < 400, "{earliest} {latest}");
    // Everything fails.
    let outage = breach(&|ago| if ago <= 360 { 1.0 } else { 0.0 });
    assert_eq!(hours(&outage.at), Some(2), "{outage:?}");
    assert_eq!(breach(&|_| 0.02).state, BreachState::UsedUp);
    // Nothing bad was seen, but little was: a bound says what could be.
    let spans = Span::of(30, NOW_US);
    let few = Slot { start_us: spans[1].from_us, samples: 10, unknown: 0, bad: 0.0 };
    let few = Answer::new(&errors(0.99), &Counts::new([Vec::new(), vec![few]], spans)).breach;
    assert_eq!((few.state, &few.latest), (BreachState::NotBeforeTheWindowEnds, &None));
    assert!(few.earliest.is_some() && few.present.high > 0.4, "{few:?}");
}

#[test]
fn dollars_burn_by_the_day() {
    let spend = |usd_per_day: f64, bad: &dyn Fn(i64) -> f64| {
        // `bad` is USD of a minute here; a call each.
        let counts = counts_of_usd(bad);
        Answer::new(&objective(SloIndicator::Cost { usd_per_day }), &counts)
    };
    // 144 USD a day.
    let even = spend(144.0, &|_| 0.1);
    assert!(rates(&even).iter().flatten().all(|rate| (rate - 1.0).abs() < 1e-9), "{:?}", rates(&even));
    assert_eq!((even.objective.unit, even.objective.target), ("USD", None));
    let half = spend(288.0, &|_| 0.1);
    assert_eq!((half.state, half.breach.state), (State::Met, BreachState::NotBeforeTheWindowEnds));
    assert!((half.budget.unwrap().left - 0.5).abs() < 1e-9 && half.budget.unwrap().good.is_none());
    // Thirty times as much for an hour.
    let spike = spend(288.0, &|ago| if ago <= 60 { 3.0 } else { 0.1 });
    assert_eq!(burning(&spike), [true, false, false], "{:?}", rates(&spike));
    assert_eq!(spike.burn_rates[0].p_value, None);
    let Breach { state, earliest, latest, present, .. } =
        spend(288.0, &|ago| if ago <= 360 { 1.0 } else { 0.1 }).breach;
    assert_eq!(state, BreachState::Expected);
    // Every hour brought the same, so the bounds are where the rate is.
    assert!((present.low - 60.0).abs() < 1e-6 && (present.high - 60.0).abs() < 1e-6 && earliest == latest);
}

fn counts_of_usd(usd: &dyn Fn(i64) -> f64) -> Counts {
    let spans = Span::of(30, NOW_US);
    let slots = |span: Span, step_us: i64| {
        let minutes = step_us / MINUTE_US;
        let starts = (0..(span.to_us - span.from_us) / step_us).map(|place| span.from_us + place * step_us);
        let ago = |start_us: i64| (spans[1].to_us - start_us) / MINUTE_US;
        let usd = |start_us: i64| (0..minutes).map(|minute| usd(ago(start_us) - minute)).sum();
        starts.map(|start_us| Slot { start_us, samples: minutes as u64, unknown: 0, bad: usd(start_us) }).collect()
    };
    Counts::new([slots(spans[0], HOUR_US), slots(spans[1], MINUTE_US)], spans)
}

#[test]
fn the_text_says_what_the_answer_says() {
    let answer = Answer::new(&errors(0.99), &counts(100, |ago| if ago <= 240 { 0.2 } else { 0.0 }));
    let text = super::Answers::new(NOW_US, vec![answer]).text();
    for line in [
        "slo: BURNING\n",
        "  objective  99 % of the calls without an error, over 30 days\n",
        "  window     2026-04-14T12:00:00.000000Z to 2026-05-14T12:00:00.000000Z\n",
        "  budget     88.9 % left: 4800.0 of 43200.0 calls used, 4320000 samples; 99.889 % good\n",
        "threshold 14.400: PAGE\n",
        "threshold 1.000: TICKET\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(super::Answers::new(NOW_US, Vec::new()).text().starts_with("no objective"));
}
