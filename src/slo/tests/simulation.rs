//! Months of a service, looked at every minute: how often someone is called for nothing, and how soon for something.
//!
//! The quick run is part of every test. `DRIFTLINE_SIMULATION_RUNS=30` makes as many months of each, and prints the
//! tables of `docs/slo.md`:
//! `DRIFTLINE_SIMULATION_RUNS=30 cargo test --release --lib slo::tests::simulation -- --nocapture`.

use super::super::{BurnRate, Counts, Severity, Slot, Span, counts::Allowance};
use super::{HOUR_US, MINUTE_US, NOW_US};
use crate::sample::draws::Random;

const DAY_MINUTES: usize = 24 * 60;
/// The windows are full after so long.
const BEFORE_MINUTES: usize = 4 * DAY_MINUTES;

/// Of a Poisson distribution (Knuth 1969), in parts of a mean that the exponential bears.
fn poisson(random: &mut Random, mean: f64) -> u64 {
    let (mut left, mut count) = (mean, 0);
    while left > 0.0 {
        let part = left.min(30.0);
        left -= part;
        let (limit, mut product) = ((-part).exp(), random.uniform());
        while product > limit {
            count += 1;
            product *= random.uniform();
        }
    }
    count
}

/// A service as it counts, minute by minute.
struct Service {
    random: Random,
    calls_an_hour: f64,
    /// From the epoch of the simulation on.
    minutes: Vec<Slot>,
    hours: Vec<Slot>,
}

impl Service {
    fn new(seed: u64, calls_an_hour: f64) -> Self {
        Self { random: Random(seed), calls_an_hour, minutes: Vec::new(), hours: Vec::new() }
    }

    /// A minute with this share of bad calls.
    fn pass(&mut self, bad: f64) {
        let mean = self.calls_an_hour / 60.0;
        let (good, bad) = (poisson(&mut self.random, mean * (1.0 - bad)), poisson(&mut self.random, mean * bad));
        let start_us = start_us() + self.minutes.len() as i64 * MINUTE_US;
        let slot = Slot { start_us, samples: good + bad, unknown: 0, bad: bad as f64 };
        self.minutes.push(slot);
        match self.hours.last_mut().filter(|hour| start_us - hour.start_us < HOUR_US) {
            Some(hour) => {
                hour.samples += slot.samples;
                hour.bad += slot.bad;
            }
            None => self.hours.push(slot),
        }
    }

    /// What the engine would have counted by now.
    fn look(&self, target: f64) -> Vec<BurnRate> {
        let now_us = start_us() + self.minutes.len() as i64 * MINUTE_US;
        let spans = Span::of(4, now_us);
        let place = |us: i64, step_us: i64| ((us - start_us()) / step_us) as usize;
        let hours = self.hours[place(spans[0].from_us, HOUR_US)..place(spans[0].to_us, HOUR_US)].to_vec();
        let minutes = self.minutes[place(spans[1].from_us, MINUTE_US)..].to_vec();
        BurnRate::all(&Counts::new([hours, minutes], spans), Allowance::Share(1.0 - target))
    }
}

/// A whole hour.
fn start_us() -> i64 {
    NOW_US - NOW_US.rem_euclid(HOUR_US)
}

/// How often someone is called in a month: pages and tickets, with the guard and without.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Called {
    guarded: [usize; 2],
    unguarded: [usize; 2],
}

fn month(seed: u64, calls_an_hour: f64, bad: f64, target: f64, minutes: usize) -> Called {
    let mut service = Service::new(seed, calls_an_hour);
    (0..BEFORE_MINUTES).for_each(|_| service.pass(bad));
    let (mut called, mut before) = (Called::default(), [[false; 2]; 2]);
    for _ in 0..minutes {
        service.pass(bad);
        let pairs = service.look(target);
        let severities = [Severity::Page, Severity::Ticket];
        let guarded = severities.map(|severity| pairs.iter().any(|pair| pair.severity == severity && pair.is_burning));
        let is_above = |pair: &BurnRate| {
            [&pair.long, &pair.short].iter().all(|window| window.burn_rate.is_some_and(|rate| rate >= pair.threshold))
        };
        let unguarded = severities.map(|severity| pairs.iter().any(|pair| pair.severity == severity && is_above(pair)));
        for place in 0..2 {
            called.guarded[place] += usize::from(guarded[place] && !before[0][place]);
            called.unguarded[place] += usize::from(unguarded[place] && !before[1][place]);
        }
        before = [guarded, unguarded];
    }
    called
}

/// Minutes until someone is paged once a share of the calls is bad; none within a day.
fn paged_after(seed: u64, calls_an_hour: f64, bad: f64, target: f64) -> Option<usize> {
    let mut service = Service::new(seed, calls_an_hour);
    (0..BEFORE_MINUTES).for_each(|_| service.pass((1.0 - target) / 10.0));
    (1..=DAY_MINUTES).find(|_| {
        service.pass(bad);
        service.look(target).iter().any(|pair| pair.severity == Severity::Page && pair.is_burning)
    })
}

#[test]
fn few_are_called_for_nothing_and_soon_for_something() {
    let runs: Option<u64> = std::env::var("DRIFTLINE_SIMULATION_RUNS").ok().and_then(|runs| runs.parse().ok());
    let Some(runs) = runs else {
        let quiet = month(1, 12.0, 0.01, 0.99, 5 * DAY_MINUTES);
        assert!(quiet.guarded[0] <= quiet.unguarded[0] && quiet.guarded[0] <= 1, "{quiet:?}");
        let after = paged_after(2, 60.0, 1.0, 0.99).unwrap();
        assert!((2..=15).contains(&after), "{after}");
        return;
    };
    println!(
        "| target | calls an hour | bad | pages a month | without the guard | tickets a month | without the guard |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (target, bad) in [(0.99, 0.01), (0.99, 0.005), (0.999, 0.001)] {
        for calls_an_hour in [6.0, 60.0, 600.0] {
            let months = (0..runs).map(|run| month(run << 8, calls_an_hour, bad, target, 30 * DAY_MINUTES));
            let mut sums = [0; 4];
            for Called { guarded, unguarded } in months {
                let of = [guarded[0], unguarded[0], guarded[1], unguarded[1]];
                sums.iter_mut().zip(of).for_each(|(sum, count)| *sum += count);
            }
            let [pages, pages_without, tickets, tickets_without] = sums.map(|sum| sum as f64 / runs as f64);
            println!(
                "| {} % | {calls_an_hour} | {} % | {pages:.2} | {pages_without:.2} | {tickets:.2} | {tickets_without:.2} |",
                100.0 * target,
                100.0 * bad
            );
        }
    }
    println!("\n| target | calls an hour | bad from one minute on | paged within a day | after, median |");
    println!("| --- | --- | --- | --- | --- |");
    for (target, bad) in [(0.99, 1.0), (0.99, 0.2), (0.999, 1.0), (0.9, 1.0)] {
        for calls_an_hour in [6.0, 60.0, 600.0] {
            let mut after: Vec<usize> =
                (0..runs).filter_map(|run| paged_after(run << 8, calls_an_hour, bad, target)).collect();
            after.sort_unstable();
            let median = after.get(after.len() / 2).map_or_else(|| "-".to_owned(), |median| format!("{median} min"));
            println!(
                "| {} % | {calls_an_hour} | {} % | {:.0} % | {median} |",
                100.0 * target,
                100.0 * bad,
                100.0 * after.len() as f64 / runs as f64
            );
        }
    }
}
