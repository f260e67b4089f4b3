//! Histories whose future is known: how often it is within the bounds.
//!
//! The quick runs are part of every test. `DRIFTLINE_SIMULATION_RUNS=100` makes as many of each, and prints the table of
//! `docs/forecasts.md`:
//! `DRIFTLINE_SIMULATION_RUNS=100 cargo test --release --lib forecast::tests::simulation -- --nocapture`.

use chrono::Days;

use super::super::{Answer, CalledDay, days_needed};
use super::{NOW_US, design, today};
use crate::sample::draws::Random;

/// What a weekday brings, as a share of Monday's.
const WEEKDAYS: [f64; 7] = [1.0, 1.1, 1.1, 1.05, 0.95, 0.4, 0.35];

/// So many days of one kind.
type Kind = fn(&mut Random, usize) -> Vec<f64>;

fn week(random: &mut Random, day: usize) -> f64 {
    100.0 * WEEKDAYS[day % 7] * (0.15 * random.normal()).exp()
}

const KINDS: [(&str, Kind); 6] = [
    ("a week that repeats", |random, days| (0..days).map(|day| week(random, day)).collect()),
    ("growing by 0.5 % a day", |random, days| {
        (0..days).map(|day| week(random, day) * (0.005 * day as f64).exp()).collect()
    }),
    ("drifting by 2 % a day", |random, days| {
        let mut level = 0.0_f64;
        let each = (0..days).map(|day| {
            level += 0.02 * random.normal();
            week(random, day) * level.exp()
        });
        each.collect()
    }),
    ("one day in 30 brings five times as much", |random, days| {
        let each = (0..days).map(|day| {
            let burst = if random.uniform() < 1.0 / 30.0 { 5.0 } else { 1.0 };
            week(random, day) * burst
        });
        each.collect()
    }),
    ("few calls, nothing at weekends", |random, days| {
        let each = (0..days).map(|day| {
            let calls = if day % 7 < 5 { (4.0 * random.uniform()).floor() } else { 0.0 };
            calls * (0.5 * random.normal()).exp()
        });
        each.collect()
    }),
    ("half as much again from one day on", |random, days| {
        let from = (random.uniform() * days as f64) as usize;
        (0..days).map(|day| week(random, day) * if day < from { 1.0 } else { 1.5 }).collect()
    }),
];

/// What came of forecasts.
#[derive(Default)]
struct Tally {
    forecasts: usize,
    totals_within: usize,
    days_within: usize,
    days: usize,
    /// Half the width of the total's interval, as a share of what came.
    width: f64,
    error: f64,
    /// Of the last week again and again.
    baseline_error: f64,
    baseline_chosen: usize,
}

impl Tally {
    fn add(&mut self, history: &[f64], future: &[f64]) {
        let first = today() - Days::new(history.len() as u64);
        let dated = |(day, value): (usize, &f64)| CalledDay {
            date: first + Days::new(day as u64),
            calls: u64::from(*value > 0.0),
            samples: u64::from(*value > 0.0),
            value: *value,
        };
        let days: Vec<CalledDay> = history.iter().enumerate().map(dated).filter(|day| day.calls > 0).collect();
        let Some(forecast) = Answer::new(design(future.len()), &days, NOW_US).unwrap().forecast else { return };
        let (total, came) = (forecast.totals.last().unwrap(), future.iter().sum::<f64>());
        self.forecasts += 1;
        self.totals_within += usize::from(total.low <= came && came <= total.high);
        self.days += future.len();
        let each = forecast.days.iter().zip(future);
        self.days_within += each.filter(|(day, came)| day.low <= **came && **came <= day.high).count();
        self.width += (total.high - total.low) / 2.0 / came;
        self.error += (total.value / came - 1.0).abs();
        let week = history[history.len() - 7..].iter().cycle().take(future.len()).sum::<f64>();
        self.baseline_error += (week / came - 1.0).abs();
        self.baseline_chosen += usize::from(forecast.candidates[0].is_chosen);
    }
}

fn tally(kind: Kind, seed: u64, runs: u64, history: usize, days: usize) -> Tally {
    let mut tally = Tally::default();
    for run in 0..runs {
        let mut random = Random((seed << 32) + run);
        let values = kind(&mut random, history + days);
        tally.add(&values[..history], &values[history..]);
    }
    tally
}

#[test]
fn bounds_hold_as_often_as_they_say() {
    let runs = std::env::var("DRIFTLINE_SIMULATION_RUNS").ok().and_then(|runs| runs.parse().ok());
    if let Some(runs) = runs {
        println!(
            "| history | days | forecast | total within | days within | half width | off by | last week off by | baseline used |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for (place, (name, kind)) in KINDS.into_iter().enumerate() {
            for (history, days) in
                [(days_needed(30) + 1, 30), (180, 30), (365, 30), (days_needed(90) + 1, 90), (400, 90)]
            {
                let found = tally(kind, place as u64, runs, history, days);
                let share = |part: f64| 100.0 * part / found.forecasts.max(1) as f64;
                println!(
                    "| {name} | {} | {days} | {:.0} % | {:.0} % | {:.0} % | {:.1} % | {:.1} % | {:.0} % |",
                    history - 1,
                    share(found.totals_within as f64),
                    100.0 * found.days_within as f64 / found.days.max(1) as f64,
                    share(found.width),
                    share(found.error),
                    share(found.baseline_error),
                    share(found.baseline_chosen as f64),
                );
            }
        }
        return;
    }
    let found = tally(KINDS[0].1, 0, 6, days_needed(30) + 1, 30);
    assert_eq!(found.forecasts, 6);
    assert!(found.totals_within >= 4 && found.error < found.baseline_error, "{}", found.totals_within);
    assert!(found.days_within as f64 >= 0.8 * found.days as f64, "{} of {}", found.days_within, found.days);
}
