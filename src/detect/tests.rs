//! What the detector promises: quiet series stay quiet, troubles are found, nothing is seen before it came, and a
//! restart changes nothing.

#![allow(clippy::unwrap_used)]

use super::{
    ANOMALY, Detector, Measure, Reading, Score,
    calibration::Calibration,
    discord,
    rest::Rest,
    seasonal::{Rhythm, Seasonal},
    spectral,
    synthetic::{Trouble, series},
};

const HOUR_S: i64 = 3_600;

fn scores(points: &[(i64, f64)]) -> Vec<Score> {
    let mut detector = Detector::default();
    points.iter().map(|&(time_us, value)| detector.push(time_us, Some(value))).collect()
}

fn anomalies(scores: &[Score]) -> usize {
    scores.iter().filter(|score| score.anomaly >= ANOMALY).count()
}

/// The sum of what a seed gives, over seeds, on as many threads as there are cores.
fn sum_over_seeds(seeds: u64, of_seed: impl Fn(u64) -> usize + Sync) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let of_thread = |thread| (1..=seeds).filter(|seed| seed % threads == thread).map(&of_seed).sum::<usize>();
    std::thread::scope(|scope| {
        let of_thread = &of_thread;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || of_thread(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// At most so many false anomalies per month of a series, on average.
#[track_caller]
fn check_quiet(seeds: u64, step_s: i64, days: i64, per_month_max: f64) {
    let count = sum_over_seeds(seeds, |seed| anomalies(&scores(&series(seed, step_s, days, Trouble::Nothing).points)));
    let per_month = count as f64 / (seeds as f64 * days as f64 / 30.0);
    assert!(per_month <= per_month_max, "{count} false anomalies, {per_month:.2} per series and month");
}

#[test]
fn a_series_with_a_rhythm_is_quiet() {
    check_quiet(30, HOUR_S, 45, 0.5);
}

#[test]
#[ignore = "minutes without optimisation"]
fn a_series_of_quarter_hours_or_five_minutes_is_quiet() {
    check_quiet(30, HOUR_S / 4, 45, 1.0);
    check_quiet(30, HOUR_S / 12, 45, 1.0);
}

/// The hours of a week and of six weeks before it, by which they are judged.
const WEEK: usize = 7 * 24;
const PAST: usize = 6 * WEEK;

#[test]
fn hours_of_a_week_after_six_others_are_quiet() {
    let count =
        sum_over_seeds(30, |seed| anomalies(&scores(&series(seed, HOUR_S, 49, Trouble::Nothing).points)[PAST..]));
    assert!(count <= 3, "{count} false anomalies in seven months");
}

/// At least so many of ten series are seen to go wrong, by six weeks before the week in which they do.
#[track_caller]
fn check_found(trouble: Trouble, found_min: usize) {
    let found = sum_over_seeds(10, |seed| {
        let series = series(seed, HOUR_S, 70, trouble);
        let from = (series.noticeable.start / WEEK * WEEK).saturating_sub(PAST);
        let scores = scores(&series.points[from..series.noticeable.end]);
        usize::from(anomalies(&scores[series.noticeable.start - from..]) > 0)
    });
    assert!(found >= found_min, "{trouble:?}: found in {found} of 10 series");
}

#[test]
fn spikes_steps_and_drops_are_found() {
    check_found(Trouble::Spike, 8);
    check_found(Trouble::Step, 8);
    check_found(Trouble::Drop, 8);
}

#[test]
fn drifts_and_changes_of_variance_are_found() {
    check_found(Trouble::Drift, 6);
    check_found(Trouble::Variance, 7);
}

#[test]
fn residuals_of_one_rhythm_or_the_other_are_always_judged() {
    let mut detector = Detector::default();
    let mut all_learned = None;
    for (hour, (time_us, value)) in series(6, HOUR_S, 42, Trouble::Nothing).points.into_iter().enumerate() {
        // Nobody calls on Sunday afternoon: the week takes longer to know.
        let value = Some(value).filter(|_| !(5 * 24 - 10..5 * 24).contains(&(hour % 168)));
        detector.push(time_us, value);
        let all_learned = match hour {
            0..360 => continue,
            _ => all_learned.get_or_insert_with(|| detector.day_residuals.clone()),
        };
        let views = [&detector.day_residuals, &detector.week_residuals];
        assert!(views.iter().any(|view| view.knows_as_much_as(all_learned)), "hour {hour}");
    }
    assert!(!detector.day_residuals.knows_as_much_as(&detector.week_residuals), "the week's count at last");
}

#[test]
fn a_score_knows_nothing_of_what_comes() {
    let whole = series(3, HOUR_S, 40, Trouble::Step).points;
    let all = scores(&whole);
    for count in [1, 200, 700] {
        let mut cut = whole[..count].to_vec();
        // What comes then is another world.
        let last_us = whole[count - 1].0;
        cut.extend((1..50).map(|step| (last_us + step * 1_000_000, -1e9 * step as f64)));
        assert_eq!(scores(&cut)[..count], all[..count]);
    }
}

#[test]
fn a_restart_changes_nothing() {
    let points = series(5, HOUR_S, 60, Trouble::Variance).points;
    let mut restarted = Detector::default();
    let mut seen = Vec::new();
    for (at, &(time_us, value)) in points.iter().enumerate() {
        if at % 97 == 0 {
            restarted = serde_json::from_str(&serde_json::to_string(&restarted).unwrap()).unwrap();
        }
        seen.push(restarted.push(time_us, Some(value)));
    }
    assert_eq!(seen, scores(&points));
}

#[test]
fn the_state_is_bounded() {
    let mut detector = Detector::default();
    for at in 0..12_000_i64 {
        // Twenty decades, so that the histograms are as wide as they get.
        let value = 10_f64.powi((at * 7_919 % 21) as i32 - 10) * ((at % 131) as f64 + 13.0);
        // Distances of the longer windows are not what is tested, and take long.
        detector.day.learn(at * 300_000_000, value as f32);
        detector.week.learn(at * 300_000_000, value as f32);
        let sizes = [Reading { measure: Measure::Spectrum, weight: 1.0, size: Some(value) }; 6];
        let Detector { values, day_residuals, week_residuals, .. } = &mut detector;
        for (view, measures) in [(values, 6), (day_residuals, 5), (week_residuals, 5)] {
            view.push(value as f32);
            view.judge(&sizes[..measures]);
        }
    }
    let bytes = serde_json::to_string(&detector).unwrap().len();
    assert!(bytes < 300_000, "{bytes} bytes");
}

#[test]
fn missing_values_and_outages_are_no_anomalies() {
    let points = series(2, HOUR_S, 50, Trouble::Nothing).points;
    let mut detector = Detector::default();
    let mut found = 0;
    for (at, &(time_us, value)) in points.iter().enumerate() {
        let score = match at {
            // Rows without a value, rows that are not there, and a value that is none.
            at if at % 11 == 3 => detector.push(time_us, None),
            700..760 => continue,
            at if at % 101 == 7 => detector.push(time_us, Some(f64::INFINITY)),
            _ => detector.push(time_us, Some(value)),
        };
        found += anomalies(&[score]);
    }
    assert!(found <= 1, "{found} anomalies");
    assert_eq!(detector.push(i64::MAX, None), Score::default());
}

#[test]
fn a_series_that_never_moves_is_never_odd_until_it_does() {
    let mut points: Vec<(i64, f64)> = (0..600).map(|hour| (hour * 3_600_000_000, 7.0)).collect();
    points.push((600 * 3_600_000_000, 7.5));
    let scores = scores(&points);
    assert_eq!(anomalies(&scores[..600]), 0);
    assert_eq!(anomalies(&scores[600..]), 1);
}

/// A surprise is what it is in any unit.
#[test]
fn how_surprising_a_first_move_is_does_not_depend_on_the_unit() {
    let moved = |by: f64| {
        let mut detector = Detector::default();
        (0..600).for_each(|hour| _ = detector.push(hour * 3_600_000_000, Some(0.0)));
        detector.push(600 * 3_600_000_000, Some(by)).surprise.unwrap()
    };
    for by in [1e-9, 0.5, 1_000.0, 1e12] {
        // The first of some 600.
        assert!((2.4..2.9).contains(&moved(by)), "{by}: {}", moved(by));
    }
}

#[test]
fn what_is_turned_down_hides_nothing() {
    let mut points = series(7, HOUR_S, 45, Trouble::Nothing).points;
    let [first, second] = [1_000, 1_008];
    points[first].1 *= 4.0;
    points[second].1 *= 4.0;
    let shown = |counts: bool| {
        let mut detector = Detector::default();
        let scores = points.iter().enumerate();
        let scores: Vec<Score> = scores
            .map(|(at, &(time_us, value))| detector.push_if(time_us, Some(value), |_| counts || at != first))
            .collect();
        [first, second].map(|at| scores[at].anomaly >= ANOMALY)
    };
    assert_eq!(shown(true), [true, false]);
    assert_eq!(shown(false), [false, true]);
}

#[test]
fn what_was_no_anomaly_hides_none() {
    let check = |shown: f64, surprise: f64, expected: bool| {
        let mut rest = Rest::default();
        rest.begin(0, 3_600_000_000, shown);
        assert_eq!(rest.allows(3_600_000_000, surprise), expected, "{surprise} after {shown}");
        assert!(rest.allows(24 * 3_600_000_000, surprise), "{surprise} after the rest");
        assert!(rest.allows(-1, surprise), "{surprise} before it, where times go back");
    };
    check(1.0, 1.2, false);
    check(1.0, 1.31, true);
    check(2.2, 2.25, false);
    check(2.2, 2.3, true);
    check(2.3, 2.4, false);
    check(3.0, 3.8, false);
    check(3.0, 3.95, true);
}

#[test]
fn what_goes_on_is_told_once() {
    let series = series(4, HOUR_S, 45, Trouble::Step);
    let after = &scores(&series.points)[series.noticeable.start..];
    assert!((1..=6).contains(&anomalies(after)), "{} anomalies after one step", anomalies(after));
}

#[test]
fn times_may_stand_still_or_go_back() {
    let mut detector = Detector::default();
    for at in 0..400_i64 {
        let score = detector.push((at / 2 - at % 3) * 60_000_000, Some((at % 5) as f64));
        assert!((0.0..1.0).contains(&score.anomaly));
    }
}

#[test]
fn the_nearest_earlier_window_does_not_overlap() {
    assert_eq!(discord::distance(&[1.0, 2.0, 3.0], 2), None);
    assert_eq!(discord::distance(&[1.0, 2.0, 3.0, 4.0], 2), Some(2.0));
    assert_eq!(discord::distance(&[3.0, 4.0, 9.0, 3.0, 4.0], 2), Some(0.0));
    assert_eq!(discord::distance(&[], 1), None);
}

#[test]
fn surprises_follow_the_ranks_and_then_the_tail() {
    let mut calibration = Calibration::default();
    for step in 0..149 {
        calibration.learn(f64::from(step % 100) + 1.0);
    }
    assert_eq!(calibration.surprise(1e6), None, "149 are too few");
    calibration.learn(50.0);
    let surprise = |size| calibration.surprise(size).unwrap();
    assert_eq!(surprise(0.0), 0.0);
    // 52 of 150 are as large, and one more on both sides.
    assert!((surprise(50.0) - (151.0_f64 / 53.0).log10()).abs() < 0.05, "{}", surprise(50.0));
    let sizes = [60.0, 90.0, 101.0, 200.0, 400.0, 1e4];
    assert!(sizes.windows(2).all(|pair| surprise(pair[0]) <= surprise(pair[1])));
    assert!(surprise(1e4) > 5.0);
}

#[test]
fn one_corrupt_measure_makes_no_other_usual() {
    let mut calibration = Calibration::default();
    let learn =
        |calibration: &mut Calibration| (0..600).for_each(|step| calibration.learn(f64::from(step % 100) + 1.0));
    learn(&mut calibration);
    calibration.learn(9.2e18);
    // It is one of 600 that are as large, and no more.
    let surprise = calibration.surprise(1e4).unwrap();
    assert!((surprise - (602.0_f64 / 2.0).log10()).abs() < 0.1, "{surprise}");
    assert!(calibration.surprise(50.0).unwrap() < 0.4);
    // Nor do tiny ones at first.
    let mut calibration = Calibration::default();
    (0..600).for_each(|step| calibration.learn(1e-25 * f64::from(step % 100 + 1)));
    learn(&mut calibration);
    assert!(calibration.surprise(1e4).unwrap() > 4.0 && calibration.surprise(50.0).unwrap() < 0.7);
}

/// The usual residual is about 1, whatever the first one is.
#[test]
fn the_usual_residual_hangs_on_no_single_one() {
    for first in [1e-6, 1.0, 100.0] {
        let mut seasonal = Seasonal::new(Rhythm::Day);
        for slot in 0..5 * 48_i64 {
            // Three days alike say what to expect.
            let residual = match slot {
                0..144 => 0.0,
                144 => first,
                _ => (0.5 + (slot * 7_919 % 101) as f32 / 100.0) * if slot % 2 == 0 { 1.0 } else { -1.0 },
            };
            seasonal.learn(slot * 1_800_000_000, 10.0 + residual);
        }
        let deviation = seasonal.expected(5 * 86_400_000_000).unwrap().deviation(11.0);
        assert!((0.2..1.5).contains(&deviation), "{deviation} after {first}");
    }
}

#[test]
fn a_spike_stands_out_of_its_spectrum() {
    let wave = |at: usize| (at as f32 * 0.7).sin() + (at * 7_919 % 13) as f32 / 26.0;
    let mut values: Vec<f32> = (0..80).map(wave).collect();
    let calm = spectral::residual(&values).unwrap();
    values[79] += 6.0;
    let spiked = spectral::residual(&values).unwrap();
    assert!(spiked > 2.0 && spiked > 2.0 * calm, "{calm} {spiked}");
    assert_eq!(spectral::residual(&values[..10]), None);
    assert_eq!(spectral::residual(&[2.0; 64]), Some(0.0));
}
