//! Forecasts of made histories: what is refused, what is chosen, how bounds come about, what months say.

#![allow(clippy::unwrap_used)]

mod simulation;

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::{Answer, CalledDay, Design, ForecastState, Metric, days_needed};

/// 2026-05-14T12:00:00Z.
const NOW_US: i64 = 1_778_760_000_000_000;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 5, 14).unwrap()
}

fn design(days: usize) -> Design {
    Design {
        metric: Metric::Cost,
        days,
        tenant_id: None,
        agent_id: None,
        model: None,
        budget: None,
        with_backtest: false,
    }
}

/// So many whole days before today, the day before them, and half of today; `value` is asked by days before today.
fn days(whole: u64, value: impl Fn(u64) -> Option<f64>) -> Vec<CalledDay> {
    let day = |before: u64| {
        let part = if before == 0 { 0.5 } else { 1.0 };
        Some(CalledDay {
            date: today() - chrono::Days::new(before),
            calls: 10,
            samples: 10,
            value: part * value(before)?,
        })
    };
    (0..=whole + 1).rev().filter_map(day).collect()
}

/// A week that repeats: 100 a day, 30 at weekends, and some noise that sums up to little.
fn weekly(before: u64) -> Option<f64> {
    let mixed = (before + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let noise = (mixed >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
    Some(if before % 7 < 2 { 30.0 } else { 100.0 } * (1.0 + 0.2 * noise))
}

fn answer(design: Design, days: &[CalledDay]) -> Value {
    serde_json::to_value(Answer::new(design, days, NOW_US).unwrap()).unwrap()
}

#[test]
fn too_short_histories_are_refused_in_words() {
    let check = |whole: u64, asked: usize, reason: Option<&str>| {
        let answer = Answer::new(design(asked), &days(whole, weekly), NOW_US).unwrap();
        assert_eq!(answer.reason.as_deref(), reason, "{whole} days");
        assert_eq!(answer.state == ForecastState::Forecast, reason.is_none());
        assert_eq!(answer.forecast.is_some(), reason.is_none());
    };
    let needed = days_needed(30) as u64;
    check(needed, 30, None);
    check(needed - 1, 30, Some("87 whole days are there, 88 are needed for 30 days"));
    check(needed, 60, Some("88 whole days are there, 148 are needed for 60 days; 30 days can be forecast"));
    check(0, 30, Some("no call on any whole day of the last 400"));
    assert_eq!(Answer::new(design(30), &[], NOW_US).unwrap().state, ForecastState::Insufficient);
}

#[test]
fn what_says_nothing_is_refused() {
    let check = |value: &dyn Fn(u64) -> Option<f64>, unknown: &dyn Fn(u64) -> bool, expected: &str| {
        let mut days = days(100, value);
        let count = days.len() as u64;
        for (place, day) in days.iter_mut().enumerate() {
            if unknown(count - 1 - place as u64) {
                day.samples = 4;
            }
        }
        let answer = Answer::new(design(30), &days, NOW_US).unwrap();
        assert!(answer.reason.as_deref().unwrap_or_default().starts_with(expected), "{:?}", answer.reason);
    };
    check(&weekly, &|before| before % 9 == 0, "11 of 100 days do not say");
    check(&|before| (before > 40).then_some(5.0), &|_| false, "nothing in the last 28 days");
    check(&|before| (before < 35 || before == 101).then_some(5.0), &|_| false, "too much of the history has nothing");
}

#[test]
fn a_week_is_found_and_its_bounds_are_narrow() {
    let answer = answer(Design { with_backtest: true, ..design(30) }, &days(120, weekly));
    assert_eq!(answer["forecast"]["method"], "mstl_damped_ets", "{answer}");
    assert_eq!(answer["unit"], "USD");
    let total = &answer["forecast"]["totals"][0];
    let expected: f64 = (0..30_u64).map(|day| if (7 - day % 7) % 7 < 2 { 30.0 } else { 100.0 }).sum();
    let of = |name: &str| total[name].as_f64().unwrap();
    assert!((of("value") / expected - 1.0).abs() < 0.03, "{total} {expected}");
    assert!(of("low") < expected && expected < of("high") && of("high") < 1.1 * expected, "{total} {expected}");
    assert_eq!((&total["from"], &total["to"]), (&json!("2026-05-14"), &json!("2026-06-13")));
    assert_eq!(answer["forecast"]["days"].as_array().unwrap().len(), 30);
    let history = json!({
        "from": "2026-01-14", "to": "2026-05-14", "days": 120, "days_without_calls": 0, "days_unknown": 0,
        "samples": 1200, "calls_unknown": 0,
    });
    assert_eq!(answer["history"], history);
    let past = &answer["forecast"]["backtest"];
    assert!(past["bounded"].as_u64().unwrap() >= 3, "{past}");
    assert!(past["forecasts"][0]["low"].is_null(), "nothing had ended by then: {past}");
    // The baseline's errors are told beside.
    assert_eq!(answer["forecast"]["candidates"][0]["method"], "seasonal_naive");
    assert_eq!(answer["forecast"]["candidates"][0]["beats_baseline"], false);
    assert_eq!(answer["forecast"]["candidates"][2]["is_chosen"], true);
}

#[test]
fn what_repeats_exactly_is_left_to_the_baseline() {
    let answer = answer(design(30), &days(100, |before| Some(if before % 7 < 2 { 30.0 } else { 100.0 })));
    assert_eq!(answer["forecast"]["method"], "seasonal_naive", "{answer}");
    assert_eq!(
        answer["forecast"]["method_reason"],
        "no other method is nearer to what came than the last week again and again"
    );
    assert_eq!(answer["forecast"]["totals"][0]["low"], answer["forecast"]["totals"][0]["high"]);
}

#[test]
fn gaps_are_filled_from_the_week_before_and_zeros_stay() {
    let gapped = |unknown: u64| {
        let mut days = days(100, weekly);
        let gap = days.iter_mut().find(|day| day.date == today() - chrono::Days::new(unknown)).unwrap();
        (gap.samples, gap.value) = (0, 0.0);
        answer(design(30), &days)
    };
    let (whole, gap) = (answer(design(30), &days(100, weekly)), gapped(10));
    assert_eq!((&gap["history"]["days_unknown"], &gap["history"]["calls_unknown"]), (&json!(1), &json!(10)));
    let total = |answer: &Value| answer["forecast"]["totals"][0]["value"].as_f64().unwrap();
    assert!((total(&gap) / total(&whole) - 1.0).abs() < 0.02);
    // Nobody works at weekends: those days bring nothing, and are no gaps.
    let idle = answer(design(30), &days(100, |before| (before % 7 >= 2).then_some(100.0)));
    assert_eq!((&idle["history"]["days_unknown"], &idle["history"]["days_without_calls"]), (&json!(0), &json!(29)));
    let expected: f64 = (0..30_u64).map(|day| if (7 - day % 7) % 7 < 2 { 0.0 } else { 100.0 }).sum();
    assert!((total(&idle) / expected - 1.0).abs() < 0.03, "{idle} {expected}");
}

#[test]
fn months_end_within_or_beyond_their_budget() {
    let history = days(120, weekly);
    // 13 whole days of May and half of today; today and 17 more are forecast.
    let so_far: f64 =
        history.iter().filter(|day| day.date.to_string().starts_with("2026-05")).map(|day| day.value).sum();
    let check = |budget: Option<f64>, state: &str| {
        let month = answer(Design { budget, ..design(30) }, &history)["month"].clone();
        assert_eq!(month["state"], state, "{month}");
        month
    };
    let month = check(None, "no_budget");
    assert!((month["so_far"].as_f64().unwrap() - so_far).abs() < 1e-9);
    assert_eq!((&month["from"], &month["to"]), (&json!("2026-05-01"), &json!("2026-06-01")));
    assert_eq!((&month["samples"], &month["end"]["days_forecast"]), (&json!(140), &json!(18)));
    let end = |name: &str| month["end"][name].as_f64().unwrap();
    assert!(end("low") < end("value") && end("value") < end("high"));
    assert!((end("value") - 2_480.0).abs() < 60.0, "{month}");
    check(Some(1.01 * end("high")), "within");
    let at_risk = check(Some(0.5 * (end("value") + end("high"))), "at_risk");
    assert_eq!(at_risk["end"]["budget_reached_on"], Value::Null);
    let over = check(Some(0.95 * end("low")), "over");
    assert!(over["end"]["budget_reached_on"].as_str().unwrap() > "2026-05-14", "{over}");
    check(Some(0.9 * so_far), "exceeded");
    // What is spent is known without a forecast.
    let short = answer(Design { budget: Some(100.0), ..design(30) }, &days(40, weekly))["month"].clone();
    assert_eq!((&short["state"], &short["end"]), (&json!("exceeded"), &Value::Null));
    let short = answer(Design { budget: Some(1e6), ..design(30) }, &days(40, weekly))["month"].clone();
    assert_eq!(short["state"], "insufficient");
}

/// Days of which nobody knows what they cost do not keep a month within its budget.
#[test]
fn a_month_that_is_not_known_is_not_within_its_budget() {
    // The last so many whole days say nothing of nine in ten of their calls.
    let month = |unknown: u64, budget: f64| {
        let mut days = days(190, weekly);
        for day in days.iter_mut().filter(|day| day.date < today() && day.date >= today() - chrono::Days::new(unknown))
        {
            (day.samples, day.value) = (1, 0.1 * day.value);
        }
        answer(Design { budget: Some(budget), ..design(30) }, &days)["month"].clone()
    };
    let whole = month(0, 3_000.0);
    assert_eq!((&whole["state"], &whole["calls_unknown"]), (&json!("within"), &json!(0)), "{whole}");
    let hidden = month(12, 3_000.0);
    assert_eq!((&hidden["state"], &hidden["calls_unknown"]), (&json!("insufficient"), &json!(108)), "{hidden}");
    // What is known is told as it is, and the end is made of what the week before brought.
    let of = |month: &Value, name: &str| month["end"][name].as_f64().unwrap();
    assert!(hidden["so_far"].as_f64().unwrap() < 0.4 * whole["so_far"].as_f64().unwrap(), "{hidden}");
    assert!((of(&hidden, "value") / of(&whole, "value") - 1.0).abs() < 0.05, "{hidden} {whole}");
    // One such day is filled, and is too little to make the month unknown.
    let one = month(1, 3_000.0);
    assert_eq!((&one["state"], &one["calls_unknown"]), (&json!("within"), &json!(9)), "{one}");
    assert!((of(&one, "value") / of(&whole, "value") - 1.0).abs() < 0.05, "{one} {whole}");
    // More than the budget is more, whatever else is not known.
    assert_eq!(month(12, 1_500.0)["state"], "over");
    assert_eq!(month(12, 100.0)["state"], "exceeded");
}

/// What is said of the past is what would have been said then: what came later changes none of it.
#[test]
fn forecasts_of_the_past_know_nothing_of_what_came_later() {
    // Growth for 160 days; in the one history it goes on for 100 more, in the other a week repeats.
    let history = |goes_on: bool| {
        days(260, |before| {
            let day = 261 - before;
            let level = if goes_on { day } else { day.min(160) } as f64;
            Some(level * weekly(before).unwrap())
        })
    };
    let past = |goes_on: bool| {
        let answer = answer(Design { with_backtest: true, ..design(30) }, &history(goes_on));
        let forecasts = answer["forecast"]["backtest"]["forecasts"].as_array().unwrap().clone();
        (answer["forecast"]["method"].clone(), forecasts)
    };
    let ((_, one), (_, other)) = (past(true), past(false));
    let split = (today() - chrono::Days::new(101)).to_string();
    let until = |forecasts: &[Value]| -> Vec<Value> {
        forecasts.iter().filter(|forecast| forecast["to"].as_str().unwrap() < split.as_str()).cloned().collect()
    };
    assert!(until(&one).len() > 5 && until(&one) == until(&other), "{:#?} {:#?}", until(&one), until(&other));
    assert_eq!(one[0]["method"], "seasonal_naive", "nothing had ended by then");
    let methods = |forecasts: &[Value]| {
        forecasts.iter().map(|forecast| forecast["method"].to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    assert!(methods(&one).len() > 1, "{one:#?}");
}

#[test]
fn a_forecast_is_one_that_any_day_can_have() {
    // Whatever the history is, what is said is finite, and bounds are in order.
    let histories: [fn(u64) -> Option<f64>; 6] = [
        |_| Some(1.0),
        |before| Some(before as f64),
        |before| Some(1_000.0 - before as f64),
        |before| Some(1e-9 * (1.0 + (before % 3) as f64)),
        |before| Some(if before % 50 == 0 { 1e9 } else { 1.0 }),
        |before| (before % 5 == 0).then_some(3.0),
    ];
    for (place, history) in histories.into_iter().enumerate() {
        let answer = answer(design(30), &days(100, history));
        assert_eq!(answer["state"], "forecast", "{place}: {answer}");
        for figure in answer["forecast"]["days"]
            .as_array()
            .unwrap()
            .iter()
            .chain(answer["forecast"]["totals"].as_array().unwrap())
        {
            let of = |name: &str| figure[name].as_f64().unwrap();
            assert!(0.0 <= of("low") && of("low") <= of("value") && of("value") <= of("high"), "{place}: {figure}");
        }
    }
}
