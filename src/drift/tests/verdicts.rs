//! Small worlds whose verdicts are known.

use crate::drift::{
    Answer, By, COLUMNS, Column, DETECTABLE_MAX, Detail, Finding, Found, Kind, Null, POWER, Run, Series, Slice,
    Subject, Verdict, VerdictLine, WindowFinding, Windows, judge,
};
use crate::{sample::draws::Random, sketch::Histogram};

/// 2026-05-14T12:00:00Z.
const TO_US: i64 = 1_778_760_000_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// Values of an hour: what is drawn, and of what.
struct World {
    windows: Windows,
    slices: Vec<Slice>,
    hours: Vec<Slice>,
}

impl World {
    fn new(windows: Windows, slices: &[(By, Option<&str>)]) -> Self {
        let of =
            |places: usize| slices.iter().map(|(by, name)| Slice::new(*by, name.map(str::to_owned), places)).collect();
        Self { windows, slices: of(windows.count()), hours: of(windows.in_hours().count) }
    }

    fn number(&mut self, column: &str, hour: usize, value: f64) {
        let column = Column::named(column).unwrap();
        let crate::drift::Holds::Numbers { buckets, scale } = column.holds else { panic!("no numbers") };
        let mut histogram = Histogram::new(buckets);
        histogram.add(value / scale);
        let window = hour / self.windows.hours() as usize;
        self.slices.iter_mut().for_each(|slice| slice.add_numbers(column, window, histogram.counts()));
        self.hours.iter_mut().for_each(|slice| slice.add_numbers(column, hour, histogram.counts()));
    }

    fn category(&mut self, column: &str, hour: usize, name: &str) {
        let column = Column::named(column).unwrap();
        let window = hour / self.windows.hours() as usize;
        self.slices.iter_mut().for_each(|slice| slice.add_category(column, window, name, 1));
        self.hours.iter_mut().for_each(|slice| slice.add_category(column, hour, name, 1));
    }

    fn answer(&self) -> Answer {
        let found = self.slices.iter().flat_map(|slice| slice.judge(&self.windows)).collect();
        let mut run = Run::new(self.windows, found);
        for place in run.wanted().concat() {
            let (subject, finding) = run.found(place);
            let hours = self.slices.iter().position(|slice| slice.name() == subject.slice.as_deref()).unwrap();
            let (names, series) = self.hours[hours].series(subject.column).unwrap();
            let detail = Detail::of(&self.windows, subject.column, &names, &series, finding);
            run.explain(place, detail);
        }
        run.answer(Vec::new())
    }
}

fn line<'a>(answer: &'a Answer, column: &str) -> &'a VerdictLine {
    answer.verdicts.iter().find(|line| line.column == column).unwrap()
}

/// Four weeks of days, and three more; 40 calls an hour by day, 6 by night.
fn hours_of(windows: &Windows) -> impl Iterator<Item = (usize, usize)> {
    (0..windows.in_hours().count).map(|hour| (hour, if hour % 24 < 8 { 6 } else { 40 }))
}

#[test]
fn a_step_is_told_with_its_size_its_hour_and_what_changed_with_it() {
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let mut world = World::new(windows, &[(By::AgentId, Some("agent"))]);
    let mut random = Random(1);
    let step = windows.in_hours().count - 53;
    for (hour, calls) in hours_of(&windows) {
        for _ in 0..calls {
            let after = hour >= step;
            world.number("latency_ms", hour, 500.0 * (0.5 * random.normal()).exp() * if after { 2.0 } else { 1.0 });
            world.number("completion_tokens", hour, 300.0 * random.normal().exp());
            world.category("prompt_version", hour, if after { "v15" } else { "v14" });
            world.category("finish_reason", hour, if random.uniform() < 0.1 { "length" } else { "stop" });
        }
    }
    let answer = world.answer();
    assert_eq!((answer.totals.tests, answer.totals.drifting, answer.totals.stable), (4, 2, 2));
    let latency = line(&answer, "latency_ms");
    let began = chrono::DateTime::from_timestamp_micros(windows.in_hours().start_us(step)).unwrap();
    let began = began.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    assert_eq!((latency.verdict, latency.began_at.as_deref()), (Verdict::Drifting, Some(began.as_str())));
    // Normals of log(2) / 0.5 apart are 2·Φ(0.69) − 1 = 0.51 apart.
    assert!((0.4..0.6).contains(&latency.effect.unwrap()), "{latency:?}");
    let (before, after) = (latency.before.unwrap(), latency.after.unwrap());
    assert!((450.0..550.0).contains(&before.p50) && (850.0..1_100.0).contains(&after.p50), "{before:?} {after:?}");
    let moved = latency.moved.as_ref().unwrap();
    assert!(moved.part.starts_with("> ") && moved.after - moved.before > 0.3, "{moved:?}");
    let [change] = latency.changed_then.as_slice() else { panic!("{:?}", latency.changed_then) };
    assert_eq!(
        (change.column.as_str(), change.lost.as_str(), change.gained.as_str()),
        ("prompt_version", "v14", "v15")
    );
    assert_eq!(line(&answer, "prompt_version").effect, Some(1.0));
    assert_eq!(line(&answer, "completion_tokens").verdict, Verdict::Stable);
    assert_eq!(line(&answer, "finish_reason").began_at, None);
    let text = answer.text();
    assert!(text.contains("2 drifting, 2 stable") && text.contains("prompt_version: v14 to v15"), "{text}");
}

#[test]
fn a_model_that_answers_otherwise_is_told_unless_somebody_said_so() {
    let check = |declared: bool, verdict: Verdict| {
        let windows = Windows::new(TO_US, 24, 4).unwrap();
        let mut world = World::new(windows, &[(By::Model, Some("model"))]);
        let mut random = Random(2);
        let step = windows.in_hours().count - 60;
        for (hour, calls) in hours_of(&windows) {
            let after = hour >= step;
            for _ in 0..calls {
                // Each change alone is too small to matter, or to be told from what models do.
                let longer = if after { 1.25 } else { 1.0 };
                world.number("completion_tokens", hour, 300.0 * longer * (0.8 * random.normal()).exp());
                world.number(
                    "groundedness",
                    hour,
                    (0.9 - 0.05 * random.normal().abs() * longer * longer).clamp(0.0, 1.0),
                );
                world.category("model_version", hour, if declared && after { "2" } else { "1" });
            }
        }
        let answer = world.answer();
        let [silent] = answer.silent_changes.as_slice() else { panic!("{:?}", answer.silent_changes) };
        assert_eq!((silent.slice.as_str(), silent.verdict), ("model", verdict));
        let has = |name: &str| silent.columns.iter().any(|column| column == name);
        assert!(has("completion_tokens") && has("groundedness"), "{silent:?}");
        assert_eq!(silent.explained_by, if declared { vec!["model_version"] } else { Vec::<&str>::new() });
        assert!(silent.began_at.is_some());
        assert!(answer.text().contains(if declared { "explained  model" } else { "silent     model" }));
    };
    check(false, Verdict::Drifting);
    check(true, Verdict::Stable);
}

/// Users ask at more length: the model is what it was, and nobody is to be woken for it.
#[test]
fn longer_questions_are_no_other_model() {
    let check = |longer: f64, verdict: Option<Verdict>| {
        let windows = Windows::new(TO_US, 24, 4).unwrap();
        let mut world = World::new(windows, &[(By::Model, Some("model"))]);
        let mut random = Random(12);
        let step = windows.in_hours().count - 60;
        for (hour, calls) in hours_of(&windows) {
            for _ in 0..2 * calls {
                let prompt = 600.0 * if hour >= step { longer } else { 1.0 } * (0.6 * random.normal()).exp();
                let answer = 0.5 * prompt * (0.3 * random.normal()).exp();
                world.number("prompt_tokens", hour, prompt);
                world.number("completion_tokens", hour, answer);
                world.number("latency_ms", hour, (200.0 + 8.0 * answer) * (0.2 * random.normal()).exp());
            }
        }
        let answer = world.answer();
        assert_eq!(answer.silent_changes.first().map(|silent| silent.verdict), verdict, "{:?}", answer.silent_changes);
        for silent in &answer.silent_changes {
            assert_eq!(silent.explained_by, ["prompt_tokens"], "{silent:?}");
        }
        answer
    };
    check(1.0, None);
    // Too little to drift by itself, and as much as what it makes.
    check(1.15, Some(Verdict::Stable));
    let answer = check(1.6, Some(Verdict::Stable));
    assert!(answer.text().contains("; so do prompt_tokens"), "{}", answer.text());
    let change = &line(&answer, "completion_tokens").changed_then[0];
    assert_eq!(change.column, "prompt_tokens");
    assert!(change.lost.starts_with("<= ") && change.gained.starts_with("> "), "{change:?}");
}

#[test]
fn one_window_is_not_enough_and_two_are() {
    let check = |changed: &[usize], expected: Verdict| {
        let windows = Windows::new(TO_US, 24, 4).unwrap();
        let mut world = World::new(windows, &[(By::All, None)]);
        let mut random = Random(3);
        for (hour, calls) in hours_of(&windows) {
            let judged = (hour / 24).checked_sub(windows.history());
            let factor = if judged.is_some_and(|judged| changed.contains(&judged)) { 3.0 } else { 1.0 };
            for _ in 0..calls {
                world.number("cost", hour, 0.004 * factor * random.normal().exp());
            }
        }
        assert_eq!(world.answer().verdicts[0].verdict, expected, "{changed:?}");
    };
    check(&[], Verdict::Stable);
    check(&[1], Verdict::Stable);
    check(&[2], Verdict::Stable);
    check(&[1, 2], Verdict::Drifting);
    check(&[0, 2], Verdict::Drifting);
    check(&[0, 1, 2], Verdict::Drifting);
}

#[test]
fn a_rhythm_of_the_week_is_no_drift() {
    // At weekends others call, for other things.
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let mut world = World::new(windows, &[(By::All, None)]);
    let mut random = Random(4);
    for (hour, calls) in hours_of(&windows) {
        let is_weekend = hour / 24 % 7 < 2;
        for _ in 0..calls {
            world.number("prompt_tokens", hour, if is_weekend { 4_000.0 } else { 700.0 } * random.normal().exp());
            world.category(
                "task_type",
                hour,
                if random.uniform() < if is_weekend { 0.9 } else { 0.2 } { "a" } else { "b" },
            );
        }
    }
    let answer = world.answer();
    assert_eq!((answer.totals.tests, answer.totals.drifting), (2, 0));
}

/// Values of one column, so many a window: of categories with a half each, or of numbers that lie alike in twenty bins.
/// In the changed windows, numbers and categories are as far from that as `distance` says.
fn drawn(windows: &Windows, kind: Kind, each: usize, changed: &[usize], distance: f64, random: &mut Random) -> Series {
    let bins = if kind == Kind::Ordered { 20 } else { 2 };
    // Of the lower half: of numbers 2·D of it moves; categories of ½ + x and ½ − x are x / √(1 − x²) from a half each.
    let share = match kind {
        Kind::Ordered => 2.0 * distance,
        Kind::Unordered => 2.0 * distance / (1.0 + distance * distance).sqrt(),
    };
    let mut series = Series::new(kind, bins, windows.count());
    for window in 0..windows.count() {
        let is_changed = window.checked_sub(windows.history()).is_some_and(|judged| changed.contains(&judged));
        for _ in 0..each {
            let bin = (random.uniform() * bins as f64) as usize;
            let moves = is_changed && bin < bins / 2 && random.uniform() < share;
            series.add(window, if moves { bin + bins / 2 } else { bin }, 1);
        }
    }
    series
}

fn column_of(kind: Kind) -> &'static Column {
    COLUMNS.iter().find(|column| column.kind() == kind).unwrap()
}

fn found(kind: Kind, windows: &Windows, series: &Series) -> Found {
    let subject = Subject { by: By::All, slice: None, column: column_of(kind) };
    Found { subject, finding: judge(windows, column_of(kind), series) }
}

/// With 30 values a window and hundreds of tests, half of a distribution may move unseen: that is not stability.
#[test]
fn what_a_run_could_not_have_shown_is_not_called_stable() {
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let check = |kind: Kind, each: usize, tests: usize, distance: f64, expected: Verdict| {
        let mut random = Random(5);
        let changed = drawn(&windows, kind, each, &[1, 2], distance, &mut random);
        let quiet = drawn(&windows, kind, each, &[], 0.0, &mut random);
        let mut all = vec![found(kind, &windows, &quiet); tests - 1];
        all.push(found(kind, &windows, &changed));
        let answer = Run::new(windows, all).answer(Vec::new());
        let largest = answer.verdicts.iter().max_by(|a, b| a.effect.unwrap().total_cmp(&b.effect.unwrap())).unwrap();
        assert_eq!(largest.verdict, expected, "{kind:?} {each} {tests} {distance}: {largest:?}");
        assert_eq!(answer.totals.tests, tests);
        assert_eq!(largest.reason.is_some(), expected == Verdict::Insufficient, "{largest:?}");
        if expected == Verdict::Stable {
            assert!(largest.detectable.unwrap() <= DETECTABLE_MAX, "{largest:?}");
        }
        answer
    };
    for kind in [Kind::Ordered, Kind::Unordered] {
        let answer = check(kind, 31, 400, 0.5, Verdict::Insufficient);
        assert!(answer.verdicts.iter().all(|line| line.verdict == Verdict::Insufficient), "{:?}", answer.totals);
        assert!(answer.text().contains("400 of those insufficient have values"), "{}", answer.text());
        check(kind, 1_500, 400, 0.0, Verdict::Stable);
        check(kind, 1_500, 400, 0.3, Verdict::Drifting);
        // Fewer tests need less.
        check(kind, 31, 2, 0.5, Verdict::Drifting);
    }
}

/// A change of the size that is called detectable is found as often as is said, and one of half of it is not.
#[test]
fn what_is_called_detectable_is_found() {
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let p_max = 1e-4;
    for kind in [Kind::Ordered, Kind::Unordered] {
        let (rounds, mut full, mut half) = (150, 0, 0);
        for seed in 0..rounds {
            // The history is the same each time.
            let finding = |distance: f64| {
                let series = drawn(&windows, kind, 300, &[0, 2], distance, &mut Random(3_000 + seed));
                judge(&windows, column_of(kind), &series)
            };
            let least = finding(0.0).detectable(p_max).unwrap();
            let is_found = |distance: f64| u32::from(finding(distance).p.unwrap() <= p_max);
            full += is_found(least);
            half += is_found(0.5 * least);
        }
        let share = |found: u32| f64::from(found) / rounds as f64;
        assert!(share(full) >= POWER - 0.05 && share(half) < 0.5, "{kind:?}: {} {}", share(full), share(half));
    }
}

/// Prompts of 505 tokens that become 620 stay in one bucket.
#[test]
fn what_a_bucket_hides_is_not_called_stable() {
    let check = |column: &str, [before, after]: [f64; 2], effect_max: f64, expected: Verdict| {
        let windows = Windows::new(TO_US, 24, 4).unwrap();
        let mut world = World::new(windows, &[(By::All, None)]);
        let judged = windows.history() * 24;
        for (hour, calls) in hours_of(&windows) {
            (0..calls).for_each(|_| world.number(column, hour, if hour >= judged { after } else { before }));
        }
        let answer = world.answer();
        let line = &answer.verdicts[0];
        assert_eq!((line.verdict, line.effect_max), (expected, Some(effect_max)), "{column} {before}: {line:?}");
        assert_eq!(line.reason.is_some(), expected == Verdict::Insufficient, "{line:?}");
    };
    check("prompt_tokens", [505.0, 620.0], 1.0, Verdict::Insufficient);
    check("cost", [0.000_505, 0.000_62], 1.0, Verdict::Insufficient);
    check("prompt_tokens", [505.0, 640.0], 1.0, Verdict::Drifting);
    // An answer of one token is in a bucket of its own, and what is free is in the lowest.
    check("completion_tokens", [1.0, 1.0], 0.0, Verdict::Stable);
    check("completion_tokens", [7.0, 8.0], 1.0, Verdict::Insufficient);
    check("cost", [0.0, 0.0], 0.0, Verdict::Stable);
    // A fiftieth of a score is not a change that matters.
    check("groundedness", [0.91, 0.915], 1.0, Verdict::Stable);
}

#[test]
fn too_little_is_insufficient_and_nothing_is_left_out() {
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let mut world = World::new(windows, &[(By::All, None)]);
    for hour in 0..windows.in_hours().count {
        world.category("finish_reason", hour, "stop");
    }
    // A column that began to be sent two days ago.
    for hour in windows.in_hours().count - 48..windows.in_hours().count {
        (0..10).for_each(|_| world.category("task_completed", hour, "true"));
    }
    let answer = world.answer();
    assert_eq!((answer.totals.tests, answer.totals.insufficient), (0, 2));
    assert_eq!(answer.verdicts.len(), 2);
    assert_eq!((line(&answer, "finish_reason").n_reference, line(&answer, "finish_reason").n_current), (96, 24));
}

/// An error that was never seen is no drift because of one or two calls.
#[test]
fn what_was_never_seen_before_has_to_come_often() {
    let check = |each: usize, expected: Verdict| {
        let windows = Windows::new(TO_US, 24, 4).unwrap();
        let mut world = World::new(windows, &[(By::All, None)]);
        for (hour, calls) in hours_of(&windows) {
            for call in 0..calls {
                let is_new = hour / 24 >= windows.history() && hour % 24 == 12 && call < each;
                world.category("error_type", hour, if is_new { "new" } else { "none" });
            }
        }
        assert_eq!(world.answer().verdicts[0].verdict, expected, "{each} a day");
    };
    check(0, Verdict::Stable);
    check(2, Verdict::Stable);
    check(35, Verdict::Drifting);
}

/// Days that differ among themselves by far more than chance: plain tests find all of them different.
#[test]
fn days_that_always_differ_do_not_drift() {
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let mut drifting = 0;
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut world = World::new(windows, &[(By::All, None)]);
        let mut of_day = 0.0;
        for (hour, calls) in hours_of(&windows) {
            if hour % 24 == 0 {
                of_day = 0.4 * random.normal();
            }
            for _ in 0..calls {
                world.number("ttft_ms", hour, 300.0 * (of_day + 0.6 * random.normal()).exp());
            }
        }
        drifting += world.answer().totals.drifting;
    }
    assert_eq!(drifting, 0);
}

#[test]
fn a_segment_is_named_where_all_calls_moved() {
    let column = Column::named("latency_ms").unwrap();
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let null = Null::of(&windows, &drawn(&windows, Kind::Ordered, 900, &[], 0.0, &mut Random(6)));
    let found = |by: By, slice: Option<&str>, effect: f64, p: f64| {
        let window = WindowFinding { n_reference: 3_600, n_current: 900, p: Some(p), ..WindowFinding::default() };
        let finding = Finding { windows: [window; 3], p: Some(p), effect: Some(effect), null, ..Finding::default() };
        Found { subject: Subject { by, slice: slice.map(str::to_owned), column }, finding }
    };
    let found = vec![
        found(By::All, None, 0.2, 1e-9),
        found(By::AgentId, Some("a"), 0.3, 1e-9),
        found(By::AgentId, Some("b"), 0.7, 1e-9),
        found(By::AgentId, Some("c"), 0.9, 0.4),
        found(By::TenantId, Some("t"), 0.05, 1e-12),
    ];
    let answer = Run::new(windows, found).answer(Vec::new());
    assert_eq!((answer.totals.drifting, answer.totals.stable), (3, 2));
    let all = answer.verdicts.iter().find(|line| line.by == By::All).unwrap();
    let segment = all.segment.as_ref().unwrap();
    assert_eq!((segment.slice.as_str(), segment.effect), ("b", 0.7));
    assert!(answer.verdicts.iter().filter(|line| line.by != By::All).all(|line| line.segment.is_none()));
}

/// The scale is that of independent values where they are independent, and p-values are about uniform.
#[test]
fn the_null_is_calibrated_on_independent_values() {
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let (mut below, mut tests) = (0, 0);
    for seed in 0..60 {
        let mut random = Random(1_000 + seed);
        let mut world = World::new(windows, &[(By::All, None)]);
        for (hour, calls) in hours_of(&windows) {
            for _ in 0..calls / 4 {
                world.number("latency_ms", hour, 500.0 * random.normal().exp());
            }
        }
        let found = world.slices[0].judge(&windows);
        let p_values = found[0].finding.windows.iter().filter_map(|window| window.p);
        for p in p_values {
            below += usize::from(p <= 0.05);
            tests += 1;
        }
        let (_, series) = world.slices[0].series(Column::named("latency_ms").unwrap()).unwrap();
        assert!(Null::of(&windows, &series).is_some());
    }
    let rate = f64::from(below as u32) / f64::from(tests);
    assert!(tests == 180 && rate <= 0.08, "{below} of {tests}");
}

#[test]
fn columns_are_known_once() {
    for (place, column) in COLUMNS.iter().enumerate() {
        assert_eq!(COLUMNS.iter().position(|other| other.name == column.name), Some(place));
    }
    assert!(By::ALL.iter().all(|by| By::named(by.name()) == Some(*by)));
    assert_eq!(
        HOUR_US * 24 * 7,
        Windows::new(TO_US, 168, 3).unwrap().start_us(1) - Windows::new(TO_US, 168, 3).unwrap().from_us()
    );
}
