//! Experiments with and without an effect, looked at again and again: how often something is found, and when.
//!
//! The quick runs are part of every test. `DRIFTLINE_SIMULATION_RUNS=2000` makes as many of each, over more units,
//! and prints the table of `docs/experiments.md`:
//! `DRIFTLINE_SIMULATION_RUNS=2000 cargo test --release --lib experiment::tests::simulation -- --nocapture`.

use std::ops::Range;

use super::super::{
    boundary::Boundary,
    compare::{Compared, Finding, Side, compare},
    metric::{LATENCY_LEVEL, METRICS, Metric},
    moments::Moments,
    split::{SplitState, check_split},
};
use super::metric;
use crate::sample::draws::Random;

/// Two arms as they fill.
#[derive(Default)]
struct Arms {
    moments: [Moments; 2],
    /// In ascending order; for quantiles alone.
    values: [Vec<f64>; 2],
}

impl Arms {
    fn look(&self, metric: &Metric, boundary: &Boundary) -> Option<Compared> {
        let quantiles: [&dyn Fn(f64) -> Option<f64>; 2] =
            [&|level| quantile(&self.values[0], level), &|level| quantile(&self.values[1], level)];
        let side = |arm: usize| Side {
            name: "",
            units_before: self.moments[arm].count(),
            moments: &self.moments[arm],
            quantile: quantiles[arm],
            quantile_error: 0.0,
            calls: 0.0,
            calls_with_cost: 0.0,
        };
        match compare(metric, [&side(0), &side(1)], boundary) {
            Finding::Compared(compared) => Some(compared),
            _ => None,
        }
    }
}

fn quantile(sorted: &[f64], level: f64) -> Option<f64> {
    let rank = (level * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// Units that come with an effect, and what is asked at each look: whether that is enough.
type Course = fn(&mut Random, f64, Steps, &mut dyn FnMut(&Arms) -> bool);

/// How an experiment goes: at each look, whether a difference is found.
struct Plan {
    name: &'static str,
    /// What an effect of 1 stands for.
    effects: &'static [f64],
    /// Units, or calls where units come back, in a quick run and in a long one.
    length: [usize; 2],
    /// Between two looks.
    step: [usize; 2],
    course: Course,
    metric: &'static str,
}

#[derive(Clone, Copy)]
struct Steps {
    length: usize,
    step: usize,
}

impl Steps {
    fn is_look(self, done: usize) -> bool {
        done.is_multiple_of(self.step)
    }
}

/// One cost a user, log-normal with σ = 1; the effect is a share of the mean.
fn costs(random: &mut Random, effect: f64, steps: Steps, look: &mut dyn FnMut(&Arms) -> bool) {
    let mut arms = Arms::default();
    for done in 1..=steps.length {
        let arm = (random.bits() & 1) as usize;
        let cost = random.normal().exp() * (1.0 + effect * arm as f64);
        arms.moments[arm].add([cost, 1.0, 0.0, 0.0]);
        if steps.is_look(done) && look(&arms) {
            return;
        }
    }
}

/// The same, with a figure from before that goes along with it: correlated by 0.7 on the logarithm's scale.
fn costs_with_before(random: &mut Random, effect: f64, steps: Steps, look: &mut dyn FnMut(&Arms) -> bool) {
    let mut arms = Arms::default();
    for done in 1..=steps.length {
        let arm = (random.bits() & 1) as usize;
        let (shared, own, own_before) = (random.normal(), random.normal(), random.normal());
        let mixed = |own: f64| (0.7_f64.sqrt() * shared + 0.3_f64.sqrt() * own).exp();
        arms.moments[arm].add([mixed(own) * (1.0 + effect * arm as f64), 1.0, mixed(own_before), 1.0]);
        if steps.is_look(done) && look(&arms) {
            return;
        }
    }
}

/// Users of very unequal activity who come back: a call's cost is the user's own level times chance. Looked at call
/// by call, while the figures of users change that have been seen before.
fn returning_users(random: &mut Random, effect: f64, steps: Steps, look: &mut dyn FnMut(&Arms) -> bool) {
    const USERS: usize = 800;
    let levels: Vec<f64> = (0..USERS).map(|_| (0.8 * random.normal()).exp()).collect();
    let sides: Vec<usize> = (0..USERS).map(|_| (random.bits() & 1) as usize).collect();
    let mut sums = vec![[0.0; 4]; USERS];
    for done in 1..=steps.length {
        // By Zipf's law, cut at the hundredth user so that no single one is the experiment.
        let user = ((random.uniform() * (1.0 + USERS as f64 / 100.0).ln()).exp() - 1.0) * 100.0;
        let user = (user as usize).min(USERS - 1);
        sums[user][0] += levels[user] * (0.5 * random.normal()).exp() * (1.0 + effect * sides[user] as f64);
        sums[user][1] += 1.0;
        if !steps.is_look(done) {
            continue;
        }
        let mut arms = Arms::default();
        for (sums, side) in sums.iter().zip(&sides).filter(|(sums, _)| sums[1] > 0.0) {
            arms.moments[*side].add(*sums);
        }
        if look(&arms) {
            return;
        }
    }
}

/// One task a unit, of which a tenth fails; the effect is on that tenth, as a share of it.
fn tasks(random: &mut Random, effect: f64, steps: Steps, look: &mut dyn FnMut(&Arms) -> bool) {
    let mut arms = Arms::default();
    for done in 1..=steps.length {
        let arm = (random.bits() & 1) as usize;
        let is_done = random.uniform() >= 0.1 * (1.0 + effect * arm as f64);
        arms.moments[arm].add([f64::from(u8::from(is_done)), 1.0, 0.0, 0.0]);
        if steps.is_look(done) && look(&arms) {
            return;
        }
    }
}

/// Calls with log-normal latencies (σ = 0.6), three of each user in a row with a level of the user's own (σ = 0.4); the
/// effect is a share of the latency.
fn latencies(random: &mut Random, effect: f64, steps: Steps, look: &mut dyn FnMut(&Arms) -> bool) {
    let mut arms = Arms::default();
    let mut users: [Vec<[f64; 3]>; 2] = Default::default();
    for done in 1..=steps.length {
        let arm = (random.bits() & 1) as usize;
        let level = 0.4 * random.normal();
        let calls: [f64; 3] =
            std::array::from_fn(|_| (level + 0.6 * random.normal()).exp() * (1.0 + effect * arm as f64));
        users[arm].push(calls);
        for call in calls {
            let place = arms.values[arm].partition_point(|value| *value < call);
            arms.values[arm].insert(place, call);
        }
        if !steps.is_look(done) {
            continue;
        }
        // Slow is what lies above the quantile of both arms together.
        let mut both = arms.values.concat();
        both.sort_unstable_by(f64::total_cmp);
        let slow = quantile(&both, LATENCY_LEVEL).unwrap();
        arms.moments = users.each_ref().map(|users| {
            let mut moments = Moments::default();
            for calls in users {
                let count = calls.iter().filter(|call| **call > slow).count();
                moments.add([count as f64, 3.0, 0.0, 0.0]);
            }
            moments
        });
        if look(&arms) {
            return;
        }
    }
}

const PLANS: [Plan; 5] = [
    Plan {
        name: "cost, one a user",
        effects: &[0.0, 0.1, 0.2, 0.4],
        length: [2_000, 10_000],
        step: [20, 1],
        course: costs,
        metric: "cost_per_call",
    },
    Plan {
        name: "cost, with the time before",
        effects: &[0.0, 0.1, 0.2, 0.4],
        length: [2_000, 10_000],
        step: [20, 1],
        course: costs_with_before,
        metric: "cost_per_call",
    },
    Plan {
        name: "cost per call, users return",
        effects: &[0.0, 0.2, 0.4],
        length: [3_000, 20_000],
        step: [250, 100],
        course: returning_users,
        metric: "cost_per_call",
    },
    Plan {
        name: "tasks done, one a user",
        effects: &[0.0, 0.3, 0.6],
        length: [600, 10_000],
        step: [150, 250],
        course: tasks,
        metric: "task_completion",
    },
    Plan {
        name: "latency p95, three calls a user",
        effects: &[0.0, 0.2, 0.4],
        length: [600, 5_000],
        step: [200, 250],
        course: latencies,
        metric: "latency_p95",
    },
];

/// How many of the runs find a difference, and after how many steps half of those had.
fn run(plan: &Plan, effect: f64, steps: Steps, seeds: Range<u64>) -> (f64, Option<usize>) {
    let runs = seeds.end - seeds.start;
    let metric = metric(plan.metric);
    let boundary = Boundary::new(0.05, 2_000.0);
    let mut found: Vec<usize> = Vec::new();
    for seed in seeds {
        let mut looks = 0;
        let mut is_found = false;
        (plan.course)(&mut Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)), effect, steps, &mut |arms| {
            looks += 1;
            is_found = arms.look(metric, &boundary).is_some_and(|compared| !compared.interval.contains(0.0));
            is_found
        });
        if is_found {
            found.push(looks * steps.step);
        }
    }
    found.sort_unstable();
    (found.len() as f64 / runs as f64, found.get(found.len() / 2).copied())
}

fn long_runs() -> Option<u64> {
    std::env::var("DRIFTLINE_SIMULATION_RUNS").ok()?.parse().ok()
}

#[test]
fn looking_again_and_again_raises_no_false_alarms() {
    let (runs, is_long) = long_runs().map_or((60, 0), |runs| (runs, 1));
    for plan in &PLANS {
        let steps = Steps { length: plan.length[is_long], step: plan.step[is_long] };
        // Expensive looks get fewer quick runs.
        let runs = if is_long == 0 && plan.metric != "cost_per_call" { 12 } else { runs };
        for &effect in &plan.effects[..if is_long == 1 { plan.effects.len() } else { 1 }] {
            let (rate, half) = run(plan, effect, steps, 0..runs);
            if is_long == 1 {
                let (length, step) = (steps.length, steps.step);
                println!(
                    "| {} | {length} | {step} | {:.0} % | {:.1} % | {half:?} |",
                    plan.name,
                    effect * 100.0,
                    rate * 100.0
                );
            }
            assert!(effect != 0.0 || rate <= 0.05, "{}: {rate} of {runs} runs found a difference", plan.name);
        }
    }
}

#[test]
fn large_effects_are_found() {
    let check = |plan: &Plan, effect: f64, runs: u64| {
        let steps = Steps { length: plan.length[0], step: plan.step[0] };
        let (rate, _) = run(plan, effect, steps, 1_000..1_000 + runs);
        assert!(rate >= 0.8, "{}: {rate} of {runs} runs found it", plan.name);
    };
    check(&PLANS[0], 0.5, 20);
    check(&PLANS[1], 0.4, 20);
    check(&PLANS[2], 1.0, 10);
    check(&PLANS[3], 2.5, 5);
    check(&PLANS[4], 1.2, 5);
}

/// What the usual interval of 1.96 standard errors does when it is looked at again and again.
#[test]
fn the_usual_interval_does_raise_false_alarms() {
    let (runs, is_long) = long_runs().map_or((60, 0), |runs| (runs, 1));
    let plan = &PLANS[0];
    let steps = Steps { length: plan.length[is_long], step: plan.step[is_long] };
    let boundary = Boundary::new(0.05, 2_000.0);
    let mut false_alarms = 0;
    for seed in 0..runs {
        let mut is_found = false;
        (plan.course)(&mut Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)), 0.0, steps, &mut |arms| {
            let units = arms.moments[0].count() + arms.moments[1].count();
            is_found = arms.look(&METRICS[9], &boundary).is_some_and(|compared| {
                let error = (compared.interval.high - compared.difference) / boundary.standard_errors(units);
                compared.difference.abs() > 1.96 * error
            });
            is_found
        });
        false_alarms += u64::from(is_found);
    }
    let rate = false_alarms as f64 / runs as f64;
    println!("usual interval, {} units, a look every {}: {:.1} %", steps.length, steps.step, rate * 100.0);
    assert!(rate > 0.15, "{rate}");
}

#[test]
fn splits_are_called_broken_when_they_are() {
    let (runs, length) = long_runs().map_or((50, 1_500), |runs| (runs, 10_000));
    let alarms = |share: f64| {
        let mut alarms = 0;
        for seed in 0..runs {
            let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
            let mut units = [0_u64; 2];
            let is_broken = (0..length).any(|_| {
                units[usize::from(random.uniform() < share)] += 1;
                check_split(&units, &[0.5, 0.5], 2_000.0).state == SplitState::Mismatch
            });
            alarms += u64::from(is_broken);
        }
        alarms as f64 / runs as f64
    };
    let (whole, broken) = (alarms(0.5), alarms(0.58));
    println!("split of {length} units, a look at each: 50 % {:.2} %, 58 % {:.1} %", whole * 100.0, broken * 100.0);
    assert!(whole <= 0.01 && broken >= 0.8, "{whole} {broken}");
    if length == 10_000 {
        println!("52 %: {:.1} %, 53 %: {:.1} %", alarms(0.52) * 100.0, alarms(0.53) * 100.0);
    }
}
