//! Generated traffic with its days and weeks, without incidents and with one of each kind: how many verdicts are
//! false, and how many incidents are found.
//!
//! A quick run is part of every test. `DRIFTLINE_SIMULATION_RUNS=30` makes as many of each and prints the figures of
//! `docs/drift.md`: `DRIFTLINE_SIMULATION_RUNS=30 cargo test --release --lib drift::tests::simulation -- --nocapture`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::{
    drift::{Answer, By, COLUMNS, Column, Holds, Run, Slice, Verdict, Windows},
    sample::{Incident, IncidentKind, Plan, Traffic},
    sketch::{Buckets, Histogram},
};

/// 2026-05-14T12:00:00Z, a Thursday.
const TO_US: i64 = 1_778_760_000_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// How long before the end incidents begin, hours; somewhere within the oldest of three judged days.
const INCIDENT_HOURS: i64 = 50;

/// What a line of the sample says.
#[derive(Deserialize)]
struct Line<'a> {
    agent_id: &'a str,
    tenant_id: &'a str,
    model: &'a str,
    model_version: &'a str,
    prompt_version: &'a str,
    task_type: &'a str,
    prompt_tokens: f64,
    completion_tokens: f64,
    cost_usd: f64,
    latency_ms: f64,
    ttft_ms: Option<f64>,
    quality_scores: Option<Quality>,
    user_satisfaction: Option<f64>,
    guardrail_status: &'a str,
    task_completed: Option<bool>,
    escalated: Option<bool>,
    finish_reason: &'a str,
    error_type: Option<&'a str>,
    #[serde(borrow)]
    tool_calls: Vec<Tool<'a>>,
}

#[derive(Deserialize)]
struct Quality {
    groundedness: f64,
    hallucination_probability: f64,
    relevance: f64,
}

#[derive(Deserialize)]
struct Tool<'a> {
    name: &'a str,
}

impl<'a> Line<'a> {
    fn number(&self, column: &str) -> Option<f64> {
        let quality = self.quality_scores.as_ref();
        match column {
            "prompt_tokens" => Some(self.prompt_tokens),
            "completion_tokens" => Some(self.completion_tokens),
            "cost" => Some(self.cost_usd),
            "latency_ms" => Some(self.latency_ms),
            "ttft_ms" => self.ttft_ms,
            "hallucination_probability" => quality.map(|quality| quality.hallucination_probability),
            "groundedness" => quality.map(|quality| quality.groundedness),
            "relevance" => quality.map(|quality| quality.relevance),
            "user_satisfaction" => self.user_satisfaction,
            _ => None,
        }
    }

    fn category(&self, column: &str) -> Option<&'a str> {
        let flag = |flag: bool| if flag { "true" } else { "false" };
        match column {
            "task_completed" => self.task_completed.map(flag),
            "escalated" => self.escalated.map(flag),
            "finish_reason" => Some(self.finish_reason),
            "guardrail_status" => Some(self.guardrail_status),
            "error_type" => Some(self.error_type.unwrap_or("none")),
            "model_version" => Some(self.model_version),
            "prompt_version" => Some(self.prompt_version),
            "model" => Some(self.model),
            "agent_id" => Some(self.agent_id),
            "tenant_id" => Some(self.tenant_id),
            "task_type" => Some(self.task_type),
            _ => None,
        }
    }
}

/// A slice while it fills.
struct Filling {
    slice: Slice,
    /// Of each window and column.
    histograms: Vec<Vec<Histogram>>,
    categories: BTreeMap<(usize, usize, String), u64>,
}

impl Filling {
    fn new(by: By, name: Option<String>, windows: &Windows) -> Self {
        let histograms = COLUMNS.iter().map(|column| match column.holds {
            Holds::Numbers { buckets, .. } => Histogram::new(buckets),
            Holds::Categories => Histogram::new(Buckets::Ratio),
        });
        let histograms = vec![histograms.collect(); windows.count()];
        Self { slice: Slice::new(by, name, windows.count()), histograms, categories: BTreeMap::new() }
    }

    fn add(&mut self, window: usize, line: &Line<'_>) {
        for (place, column) in COLUMNS.iter().enumerate() {
            match column.holds {
                Holds::Numbers { scale, .. } => {
                    if let Some(value) = line.number(column.name) {
                        self.histograms[window][place].add(value / scale);
                    }
                }
                Holds::Categories if column.name == "tool" => {
                    for tool in &line.tool_calls {
                        *self.categories.entry((place, window, tool.name.to_owned())).or_default() += 1;
                    }
                }
                Holds::Categories => {
                    if let Some(name) = line.category(column.name) {
                        *self.categories.entry((place, window, name.to_owned())).or_default() += 1;
                    }
                }
            }
        }
    }

    fn filled(mut self) -> Slice {
        for (window, histograms) in self.histograms.iter().enumerate() {
            for (column, histogram) in COLUMNS.iter().zip(histograms) {
                self.slice.add_numbers(column, window, histogram.counts());
            }
        }
        for ((place, window, name), count) in &self.categories {
            self.slice.add_category(&COLUMNS[*place], *window, name, *count);
        }
        self.slice
    }
}

/// The verdicts at the end of a plan.
fn verdicts(seed: u64, calls_per_day: f64, windows: &Windows, incidents: Vec<Incident>) -> Answer {
    let days = (windows.to_us() - windows.from_us()) as f64 / (24 * HOUR_US) as f64;
    let plan = Plan { seed, start_us: windows.from_us(), days, calls_per_day, incidents };
    let mut slices: HashMap<(By, String), Filling> = HashMap::new();
    let mut text = Vec::new();
    for call in Traffic::new(&plan) {
        text.clear();
        call.write_json(&mut text);
        let line: Line = serde_json::from_slice(&text).unwrap();
        let Some(window) = windows.at(call.timestamp_us()) else { continue };
        let names =
            [(By::All, ""), (By::AgentId, line.agent_id), (By::Model, line.model), (By::TenantId, line.tenant_id)];
        for (by, name) in names {
            let of_all = by == By::All;
            let filling = slices
                .entry((by, name.to_owned()))
                .or_insert_with(|| Filling::new(by, (!of_all).then(|| name.to_owned()), windows));
            filling.add(window, &line);
        }
    }
    let mut slices: Vec<((By, String), Filling)> = slices.into_iter().collect();
    slices.sort_by(|left, right| left.0.cmp(&right.0));
    let found = slices.into_iter().flat_map(|(_, filling)| filling.filled().judge(windows)).collect();
    Run::new(*windows, found).answer(Vec::new())
}

fn long_runs() -> Option<u64> {
    std::env::var("DRIFTLINE_SIMULATION_RUNS").ok()?.parse().ok()
}

/// Runs, and calls a day.
fn size() -> (u64, f64) {
    long_runs().map_or((1, 5_000.0), |runs| (runs, 10_000.0))
}

/// The columns of the hit agent of which one has to be found.
fn expected(kind: IncidentKind) -> &'static [&'static str] {
    match kind {
        IncidentKind::RetryLoop => &["cost", "prompt_tokens"],
        IncidentKind::ModelReplaced => &["completion_tokens", "ttft_ms", "groundedness"],
        IncidentKind::HallucinationRise => &["hallucination_probability"],
        IncidentKind::LatencyDegradation => &["ttft_ms"],
        IncidentKind::GuardrailSurge => &["guardrail_status"],
        IncidentKind::ContextOverflow => &["error_type", "prompt_tokens"],
    }
}

fn is_drifting(answer: &Answer, agent: &str, column: &str) -> bool {
    answer.verdicts.iter().any(|line| {
        (line.by, line.slice.as_deref(), line.column.as_str()) == (By::AgentId, Some(agent), column)
            && line.verdict == Verdict::Drifting
    })
}

#[test]
fn quiet_traffic_is_stable() {
    let (runs, calls_per_day) = size();
    let lengths: &[u32] = if long_runs().is_some() { &[24, 6] } else { &[24] };
    for &hours in lengths {
        let windows = Windows::new(TO_US, hours, 4).unwrap();
        let (mut drifting, mut tests, mut silent, mut small, mut stable) = (0, 0, 0, 0, 0);
        for seed in 0..runs {
            let answer = verdicts(1_000 + seed, calls_per_day, &windows, Vec::new());
            tests += answer.totals.tests;
            drifting += answer.totals.drifting;
            silent += answer.silent_changes.len();
            stable += answer.totals.stable;
            small += answer.verdicts.iter().filter(|line| line.p.is_some_and(|p| p <= 0.01)).count();
            for line in answer.verdicts.iter().filter(|line| line.verdict == Verdict::Drifting) {
                println!("false, seed {seed}: {} of {:?} {:?} {:?}", line.column, line.slice, line.effect, line.q);
            }
        }
        println!(
            "quiet, {runs} seeds, windows of {hours} h: {tests} tests, {drifting} drifting, {stable} stable, {small} with \
             p up to 0.01, {silent} silent changes"
        );
        assert!(tests as u64 > 100 * runs, "{tests}");
        assert!(1_000 * drifting <= tests && silent == 0, "{drifting} of {tests}, {silent}");
    }
}

#[test]
fn incidents_are_found() {
    let (runs, calls_per_day) = size();
    let windows = Windows::new(TO_US, 24, 4).unwrap();
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut silent, mut elsewhere, mut tests, mut mistaken) = (0, 0, 0, 0);
    for seed in 0..runs {
        let begins_us = TO_US - (INCIDENT_HOURS + (seed % 20) as i64) * HOUR_US;
        let incident = |kind| Incident { kind, start_us: begins_us, end_us: TO_US };
        let answer = verdicts(5_000 + seed, calls_per_day, &windows, IncidentKind::ALL.map(incident).to_vec());
        for kind in IncidentKind::ALL {
            let is_found = expected(kind).iter().any(|column| is_drifting(&answer, kind.agent_id(), column));
            *found.entry(kind.name()).or_default() += u64::from(is_found);
        }
        let replaced = IncidentKind::ModelReplaced.agent_id();
        let told =
            answer.silent_changes.iter().find(|silent| (silent.by, silent.slice.as_str()) == (By::AgentId, replaced));
        match told {
            Some(told) if told.verdict == Verdict::Drifting => silent += 1,
            _ => println!("not told, seed {seed}: {:?}", told.map(|told| &told.explained_by)),
        }
        mistaken += answer
            .silent_changes
            .iter()
            .filter(|silent| {
                silent.by == By::AgentId && silent.slice != replaced && silent.verdict == Verdict::Drifting
            })
            .count();
        // No incident hits these two.
        for line in answer
            .verdicts
            .iter()
            .filter(|line| line.by == By::AgentId && matches!(line.slice.as_deref(), Some("planner" | "summarizer")))
        {
            tests += u64::from(line.q.is_some());
            elsewhere += u64::from(line.verdict == Verdict::Drifting);
        }
    }
    println!("incidents of the last two days, {runs} seeds, windows of 24 h:");
    for (kind, found) in &found {
        println!("{kind}: {found} found");
    }
    println!(
        "silent change of the replaced model: {silent} found; agents that nothing hit: {elsewhere} of {tests} tests"
    );
    let all: u64 = found.values().sum();
    assert!(100 * all >= 95 * runs * IncidentKind::ALL.len() as u64, "{found:?}");
    println!("silent changes of agents whose model stayed: {mistaken}");
    assert!(100 * silent >= 95 * runs, "{silent} of {runs}");
    // Of five agents that something else hit, and two that nothing did.
    assert!(100 * mistaken as u64 <= 7 * runs, "{mistaken} of {runs}");
    assert!(1_000 * elsewhere <= tests.max(1_000), "{elsewhere} of {tests}");
}

/// Incidents of six hours, by windows of two, at their end; a long run alone, of more traffic.
#[test]
fn short_incidents_are_found_by_short_windows() {
    let Some(runs) = long_runs() else { return };
    // At a busy time: 16:00 of a Thursday.
    let to_us = TO_US + 4 * HOUR_US;
    let windows = Windows::new(to_us, 2, 4).unwrap();
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..runs {
        let incident = |kind| Incident { kind, start_us: to_us - 6 * HOUR_US, end_us: to_us };
        let answer = verdicts(9_000 + seed, 30_000.0, &windows, IncidentKind::ALL.map(incident).to_vec());
        for kind in IncidentKind::ALL {
            let is_found = expected(kind).iter().any(|column| is_drifting(&answer, kind.agent_id(), column));
            *found.entry(kind.name()).or_default() += u64::from(is_found);
        }
    }
    println!("incidents of six hours, {runs} seeds, windows of 2 h: {found:?}");
    let all: u64 = found.values().sum();
    assert!(100 * all >= 95 * runs * IncidentKind::ALL.len() as u64, "{found:?}");
}

#[test]
fn every_column_of_the_sample_is_counted() {
    let windows = Windows::new(TO_US, 24, 2).unwrap();
    let answer = verdicts(1, 1_000.0, &windows, Vec::new());
    for column in &COLUMNS {
        assert!(answer.verdicts.iter().any(|line| line.column == column.name), "{}", column.name);
        assert!(Column::named(column.name).is_some());
    }
}
