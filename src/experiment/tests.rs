//! What the comparisons say of figures that are known, and of simulated experiments.

#![allow(clippy::unwrap_used)]

mod simulation;

use super::{
    answer::{Answer, Arm, Design, LeftOut, Unit},
    boundary::Boundary,
    compare::{Compared, Finding, Method, Side, compare},
    metric::{METRICS, Metric},
    moments::{FIGURES, Moments},
    proportion::{self, Counts},
    verdict::{MetricState, VariantState},
};

/// 2026-05-14T12:00:00Z.
const NOW_US: i64 = 1_778_760_000_000_000;
const DAY_US: i64 = 86_400_000_000;

fn metric(name: &str) -> &'static Metric {
    METRICS.iter().find(|metric| metric.name == name).unwrap()
}

fn moments(units: impl IntoIterator<Item = [f64; FIGURES]>) -> Moments {
    let mut moments = Moments::default();
    units.into_iter().for_each(|unit| moments.add(unit));
    moments
}

fn side<'a>(name: &'a str, moments: &'a Moments) -> Side<'a> {
    Side {
        name,
        units_before: moments.count(),
        moments,
        quantile: &|_| None,
        quantile_error: 0.0,
        calls: 1_000.0,
        calls_with_cost: 1_000.0,
    }
}

fn found(name: &str, control: &Moments, variant: &Moments) -> Finding {
    let sides = [&side("control", control), &side("treatment", variant)];
    compare(metric(name), sides, &Boundary::new(0.05, 2_000.0))
}

fn compared(name: &str, control: &Moments, variant: &Moments) -> Compared {
    match found(name, control, variant) {
        Finding::Compared(compared) => compared,
        other => panic!("{name}: {other:?}"),
    }
}

/// One observation a unit: then the delta method is the two-sample variance of means.
#[test]
fn a_difference_of_means_has_the_known_standard_error() {
    let control = moments((0..200).map(|n| [f64::from(n % 5), 1.0, 0.0, 0.0]));
    let variant = moments((0..300).map(|n| [f64::from(n % 5) + 1.0, 1.0, 0.0, 0.0]));
    let found = compared("cost_per_call", &control, &variant);
    assert!((found.difference - 1.0).abs() < 1e-12);
    // The variance of 0, 1, 2, 3, 4 is 2, by n − 1 a little more.
    let error = (2.0 * 200.0 / 199.0 / 200.0 + 2.0 * 300.0 / 299.0 / 300.0_f64).sqrt();
    let reach = Boundary::new(0.05, 2_000.0).standard_errors(500.0) * error;
    assert!((found.interval.high - 1.0 - reach).abs() < 1e-12 && (found.interval.low - 1.0 + reach).abs() < 1e-12);
    assert_eq!((found.method, found.adjustment), (Method::Asymptotic, None));
}

/// A user's calls that are all alike are worth one call, not ten.
#[test]
fn calls_of_one_user_are_not_independent() {
    let users = |calls: f64| moments((0..200).map(move |n| [calls * f64::from(n % 5), calls, 0.0, 0.0]));
    let reach = |calls: f64| compared("cost_per_call", &users(calls), &users(calls)).interval.high;
    assert!((reach(1.0) - reach(10.0)).abs() < 1e-12);
}

#[test]
fn the_time_before_narrows_what_it_foretells() {
    // Twice what was before, with a rest that it does not foretell.
    let unit = |n: u32, lift: f64| {
        let before = f64::from(n % 10);
        [2.0 * before + f64::from(n % 3) + lift, 1.0, before, 1.0]
    };
    let control = moments((0..300).map(|n| unit(n, 0.0)));
    let variant = moments((0..300).map(|n| unit(n + 5, 0.5)));
    let found = compared("cost_per_call", &control, &variant);
    let adjustment = found.adjustment.unwrap();
    assert!((found.difference - 0.5).abs() < 1e-9, "{found:?}");
    assert!(adjustment.variance_reduction > 0.95, "{found:?}");
    assert!(!found.interval.contains(0.0), "{found:?}");
    // Too few who were there, nothing that differs, or nothing at all: as if there were no time before.
    let mut few = side("control", &control);
    few.units_before = 99.0;
    let all = side("treatment", &variant);
    let boundary = Boundary::new(0.05, 2_000.0);
    let Finding::Compared(raw) = compare(metric("cost_per_call"), [&few, &all], &boundary) else { panic!() };
    assert_eq!(raw.adjustment, None);
    let alike = moments((0..300).map(|n| [f64::from(n % 3), 1.0, 7.0, 2.0]));
    assert_eq!(compared("cost_per_call", &alike, &alike).adjustment, None);
}

#[test]
fn too_little_is_said_and_not_passed() {
    let check = |name: &str, control: &Moments, variant: &Moments, expected: &str| match found(name, control, variant) {
        Finding::Insufficient(reason) => assert_eq!(reason, expected, "{name}"),
        other => panic!("{name}: {other:?}"),
    };
    let units = |count: u32| moments((0..count).map(|n| [f64::from(n % 5), 2.0, 0.0, 0.0]));
    let none = Moments::default();
    assert_eq!(found("cost_per_call", &none, &none), Finding::NotMeasured);
    check("cost_per_call", &units(99), &units(200), "99 units in control, 100 needed");
    check("cost_per_call", &units(200), &none, "0 units in treatment, 100 needed");
    check("task_completion", &units(200), &none, "no samples in treatment");
    let alike = moments((0..200).map(|_| [1.0, 1.0, 0.0, 0.0]));
    check("cost_per_call", &alike, &alike, "all units are alike, so nothing says how far chance reaches");
    let tasks = moments((0..200).map(|n| [1.0, f64::from(u8::from(n % 5 == 0)), 0.0, 0.0]));
    check("cost_per_resolved_task", &tasks, &units(200), "40 samples in control, 50 needed");
    // Users with two tasks each: only sums can be compared, and a rare answer is no normal sum.
    let rare = moments((0..200).map(|n| [f64::from(u8::from(n < 19)), 2.0, 0.0, 0.0]));
    check("task_completion", &rare, &rare, "38 samples of the rarer answer, 40 needed");
}

/// The arm whose model has no price is not the cheaper one.
#[test]
fn costs_that_are_not_known_are_not_nothing() {
    let units = moments((0..200).map(|n| [f64::from(n % 5), 2.0, 0.0, 0.0]));
    let check = |name: &str, calls_with_cost: f64, expected: Option<&str>| {
        let (control, mut variant) = (side("control", &units), side("treatment", &units));
        variant.calls_with_cost = calls_with_cost;
        let found = compare(metric(name), [&control, &variant], &Boundary::new(0.05, 2_000.0));
        match expected {
            Some(reason) => assert_eq!(found, Finding::Insufficient(reason.to_owned())),
            None => assert!(matches!(found, Finding::Compared(_)), "{found:?}"),
        }
        assert_eq!(variant.value(metric(name)).is_none(), expected.is_some());
        assert!(control.value(metric(name)).is_some());
    };
    check("cost_per_resolved_task", 900.0, None);
    let reason = "101 of 1000 calls in treatment do not say what they cost, 10 % may";
    check("cost_per_resolved_task", 899.0, Some(reason));
    check("cost_per_call", 899.0, None);
}

#[test]
fn proportions_are_bounded_from_the_first_observation() {
    let boundary = Boundary::new(0.05, 2_000.0);
    let counts = |yes: f64, all: f64| Counts { yes, all };
    let check = |control: Counts, variant: Counts| {
        let (interval, ln_e) = proportion::compare(control, variant, &boundary);
        let difference = variant.yes / variant.all - control.yes / control.all;
        assert!(interval.contains(difference), "{interval:?} {difference}");
        // Where the interval leaves out 0, the e-value reaches the threshold.
        assert!(interval.contains(0.0) || ln_e >= boundary.ln_threshold(), "{interval:?} {ln_e}");
        let (turned, _) = proportion::compare(variant, control, &boundary);
        assert!((turned.low + interval.high).abs() < 0.01 && (turned.high + interval.low).abs() < 0.01);
        interval
    };
    let one = check(counts(0.0, 1.0), counts(1.0, 1.0));
    assert!(one.low < -0.9 && one.high > 0.999, "{one:?}");
    assert!(check(counts(2.0, 40.0), counts(38.0, 40.0)).low > 0.2);
    assert!(check(counts(0.0, 3_000.0), counts(3.0, 3_000.0)).contains(0.0));
    assert!(check(counts(0.0, 3_000.0), counts(60.0, 3_000.0)).low > 0.005);
    let wide = check(counts(500.0, 1_000.0), counts(520.0, 1_000.0));
    assert!(wide.contains(0.0) && wide.high - wide.low < 0.21, "{wide:?}");
}

#[test]
fn flags_have_exact_bounds_where_units_are_independent() {
    let flags = |yes: u32, all: u32| moments((0..all).map(move |n| [f64::from(u8::from(n < yes)), 1.0, 0.0, 0.0]));
    let few = compared("task_completion", &flags(5, 60), &flags(50, 60));
    assert_eq!((few.method, few.detectable), (Method::BetaBinomial, None));
    assert!(few.interval.low > 0.1, "{few:?}");
    let many = compared("task_completion", &flags(400, 1_000), &flags(600, 1_000));
    assert_eq!(many.method, Method::AsymptoticAndBetaBinomial);
    assert!(many.interval.low > 0.1 && many.interval.high < 0.3, "{many:?}");
    assert!(many.ln_e > 20.0_f64.ln());
}

fn arm(variant: &str, units: u32, cost: f64, latency_ms: f64) -> Arm {
    let spread = |n: u32| f64::from(n % 7) / 7.0;
    let of = |metric: &Metric| match metric.name {
        "cost_per_call" => moments((0..units).map(|n| [3.0 * cost * (0.5 + spread(n)), 3.0, 0.0, 0.0])),
        "latency_p95" => moments((0..units).map(|n| [f64::from(u8::from(n % 7 == 0)), 3.0, 0.0, 0.0])),
        "task_completion" => moments((0..units).map(|n| [f64::from(u8::from(n % 7 < 5)), 1.0, 0.0, 0.0])),
        _ => Moments::default(),
    };
    Arm {
        variant: variant.to_owned(),
        units: u64::from(units),
        units_before: 0,
        calls: 3 * u64::from(units),
        moments: METRICS.iter().map(of).collect(),
        latency_ms: Box::new(move |level| Some(latency_ms * level)),
        latency_error: 0.01,
    }
}

fn design() -> Design {
    Design {
        experiment_id: "exp\u{1b}[31m".to_owned(),
        range_us: [NOW_US - 7 * DAY_US, NOW_US],
        seen_us: [NOW_US - 6 * DAY_US, NOW_US - 1],
        unit: Unit::User,
        unit_reason: "all calls carry user_id".to_owned(),
        control: None,
        split: Vec::new(),
        planned_units: 2_000.0,
        before: Err("not asked for".to_owned()),
        left_out: LeftOut::default(),
    }
}

#[test]
fn an_experiment_is_told_metric_by_metric() {
    let arms = vec![arm("treatment", 2_000, 0.5, 1_000.0), arm("control", 2_040, 1.0, 1_000.0)];
    let answer = Answer::new(design(), arms).unwrap();
    assert_eq!((answer.control.as_str(), answer.interval_level), ("control", 0.05));
    let sizes: Vec<(&str, u64)> = answer.variants.iter().map(|size| (size.variant.as_str(), size.units)).collect();
    assert_eq!(sizes, [("control", 2_040), ("treatment", 2_000)]);
    let variant = &answer.comparisons[0];
    let state = |name: &str| variant.metrics.iter().find(|metric| metric.name == name).unwrap().state;
    assert_eq!(state("cost_per_call"), MetricState::Better);
    assert_eq!(state("latency_p95"), MetricState::Undecided);
    assert_eq!(state("task_completion"), MetricState::Undecided);
    assert_eq!(state("relevance"), MetricState::NotMeasured);
    assert_eq!(variant.verdict.state, VariantState::Better);
    assert_eq!(variant.verdict.text, "better in cost_per_call; undecided in latency_p95, task_completion");
    let json = serde_json::to_value(&answer).unwrap();
    let cost = &json["comparisons"][0]["metrics"][9];
    assert_eq!(
        (&cost["name"], &cost["unit"], &cost["state"]),
        (&"cost_per_call".into(), &"USD".into(), &"better".into())
    );
    assert!(cost["high"].as_f64().unwrap() < 0.0 && cost["change"][0].as_f64().unwrap() < -0.4, "{cost}");
    let text = answer.text();
    assert!(!text.contains('\u{1b}') && text.contains("not measured: groundedness"), "{text}");
    let line = text.lines().find(|line| line.starts_with("cost_per_call")).unwrap();
    assert!(line.ends_with("better *") && line.contains("6120 + 6000"), "{line}");
}

#[test]
fn a_broken_split_takes_the_word_from_all_metrics() {
    let arms = || vec![arm("control", 2_000, 1.0, 1_000.0), arm("b", 1_000, 0.5, 1_000.0)];
    let answer = Answer::new(design(), arms()).unwrap();
    assert_eq!(answer.comparisons[0].verdict.state, VariantState::SampleRatioMismatch);
    assert!(answer.text().contains("NOT AS MEANT"));
    let meant = Design { split: vec![("b".to_owned(), 1.0), ("control".to_owned(), 2.0)], ..design() };
    let answer = Answer::new(meant, arms()).unwrap();
    assert_eq!(answer.comparisons[0].verdict.state, VariantState::Better);
}

#[test]
fn several_variants_share_the_level() {
    let arms = ["off", "x", "y"].map(|name| arm(name, 1_000, 1.0, 1_000.0));
    let answer = Answer::new(design(), arms.into()).unwrap();
    assert_eq!((answer.control.as_str(), answer.interval_level, answer.comparisons.len()), ("off", 0.025, 2));
    assert!(answer.comparisons.iter().all(|variant| variant.verdict.state == VariantState::Undecided));
}

#[test]
fn what_does_not_fit_is_told() {
    let check = |design: Design, names: &[&str], expected: &str| {
        let arms = names.iter().map(|name| arm(name, 10, 1.0, 1.0)).collect();
        assert_eq!(Answer::new(design, arms).map(|_| ()), Err(expected.to_owned()));
    };
    let split =
        |names: &[&str]| Design { split: names.iter().map(|name| ((*name).to_owned(), 1.0)).collect(), ..design() };
    check(design(), &[], "a comparison needs two variants; the range has none");
    check(design(), &["x"], "a comparison needs two variants; the range has x");
    check(design(), &["x", "y"], "no variant is called control: name one with control=; there are x, y");
    let named = Design { control: Some("z".to_owned()), ..design() };
    check(named, &["x", "y"], "control=z is no variant of it; there are x, y");
    check(split(&["a", "c"]), &["a", "b"], "split: c is no variant of it");
    check(split(&["a"]), &["a", "b"], "split: the weight of b is missing");
    let little = Answer::new(design(), vec![arm("a", 10, 1.0, 1.0), arm("b", 12, 1.0, 1.0)]).unwrap();
    assert_eq!(little.comparisons[0].metrics[0].state, MetricState::Insufficient);
}
