//! Objectives whose allowance is used too fast: each pair of windows at each moment, as `driftline slo` has them.

use std::collections::BTreeMap;

use tokio::task::spawn_blocking;

use super::Given;
use crate::{
    backtest::{Answer, MOMENTS_MAX, Moments, Reading, Replay, Seen, Subject},
    config::SloConfig,
    error::{Context, Error, Kind, Result},
    query::{Engine, Range, slo::is_seen},
    slo::{BurnRate, Counts, REACH_HOURS, Severity, Slot, Span},
};

pub(super) const PARAMETERS: &str = "name, step";

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
/// Minutes that are counted at once.
const PART_US: i64 = 7 * 24 * HOUR_US;

/// An objective, or all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ObjectiveRule {
    name: Option<String>,
    step_us: i64,
    hold_us: i64,
}

/// How objectives are replayed.
struct Replayed<'a> {
    /// What the rule is called.
    name: &'a str,
    /// The pair whose long window has this name alone.
    only: Option<&'static str>,
    moments: Moments,
    hold_us: i64,
}

/// What was seen at the moments of a part.
struct Part {
    broken: Vec<(i64, BTreeMap<Subject, Reading>)>,
    judged: u64,
    insufficient: u64,
}

impl ObjectiveRule {
    pub fn parse(given: &mut Given) -> Result<Self> {
        let step_us = given.duration_us("step")?.unwrap_or(MINUTE_US);
        if step_us <= 0 || step_us % MINUTE_US != 0 {
            return Err(Error::invalid("step is a whole number of minutes"));
        }
        Ok(Self { name: given.take("name"), step_us, hold_us: given.hold_us()? })
    }
}

impl Engine {
    pub(super) async fn backtest_objectives(&self, range: Range, rule: &ObjectiveRule) -> Result<Vec<Answer>> {
        let moments = Moments::new(range.from_us, range.to_us, rule.step_us, MOMENTS_MAX)?;
        let is_asked = |objective: &&SloConfig| {
            is_seen(objective, self.scope()) && rule.name.as_ref().is_none_or(|name| *name == objective.name)
        };
        let mut answers = Vec::new();
        for objective in self.objective_settings().iter().filter(is_asked) {
            let replayed = Replayed { name: &objective.name, only: None, moments, hold_us: rule.hold_us };
            answers.push(self.replay_objectives(&[objective], replayed).await?);
        }
        match (&rule.name, answers.is_empty()) {
            (Some(name), true) => Err(Error::new(Kind::NotFound, format!("no objective {name} is in the settings"))),
            (None, true) => Err(Error::new(Kind::NotFound, "no objective is in the settings: [[slo]], docs/slo.md")),
            _ => Ok(answers),
        }
    }

    /// One pair of windows of all objectives that may be seen, each minute.
    pub(super) async fn backtest_pair(&self, range: Range, long: &'static str) -> Result<Answer> {
        let moments = Moments::new(range.from_us, range.to_us, MINUTE_US, MOMENTS_MAX)?;
        let seen = self.objective_settings().iter().filter(|objective| is_seen(objective, self.scope()));
        let objectives: Vec<&SloConfig> = seen.collect();
        self.replay_objectives(&objectives, Replayed { name: long, only: Some(long), moments, hold_us: 0 }).await
    }

    /// Objectives as one rule.
    async fn replay_objectives(&self, objectives: &[&SloConfig], replayed: Replayed<'_>) -> Result<Answer> {
        let Replayed { name, only, moments, hold_us } = replayed;
        let mut replay = Replay::new(hold_us);
        let (mut judged, mut insufficient) = (0, 0);
        for part in moments.parts(PART_US) {
            let mut broken: BTreeMap<i64, BTreeMap<Subject, Reading>> = BTreeMap::new();
            for objective in objectives {
                let seen = self.part(objective, only, part).await;
                let seen = seen.context(format!("the objective {}", objective.name))?;
                judged += seen.judged;
                insufficient += seen.insufficient;
                for (at_us, own) in seen.broken {
                    broken.entry(at_us).or_default().extend(own);
                }
            }
            for at_us in part.iter() {
                replay.evaluate(at_us, broken.remove(&at_us).unwrap_or_default());
            }
        }
        let windows = only.map_or_else(
            || "both windows of a pair".to_owned(),
            |long| format!("{long} and the shorter window of its pair"),
        );
        let pairs = if only.is_some() { 1 } else { BurnRate::PAIRS as u64 };
        let seen = Seen {
            rule: name.to_owned(),
            condition: format!("the allowance is used too fast over {windows}"),
            moments,
            hold_us,
            series: pairs * objectives.len() as u64,
            judged,
            insufficient,
            not_looked_at: Vec::new(),
        };
        Ok(Answer::new(seen, replay.finish(), |_| String::new()))
    }

    /// What an objective has at the moments of a part.
    async fn part(&self, objective: &SloConfig, only: Option<&'static str>, part: Moments) -> Result<Part> {
        let hour = |us: i64| us - us.rem_euclid(HOUR_US);
        let [first, _] = Span::of(objective.window_days, part.first_us());
        let from_us = first.from_us.max(hour(part.first_us() - i64::from(REACH_HOURS) * HOUR_US));
        let hours = Span { from_us, to_us: hour(part.last_us()) };
        let minutes = Span { from_us: first.to_us, to_us: part.last_us() };
        let hours = self.slots(objective, "hour", hours).await?;
        let minutes = self.slots(objective, "minute", minutes).await?;
        // Sums of some hundred slots for each minute take a core as a statement does.
        let turn = self.turn().await?;
        let objective = objective.clone();
        let seen = spawn_blocking(move || {
            let _turn = turn;
            look(&objective, only, [&hours, &minutes], &part)
        });
        seen.await.context("burn rates could not be told")
    }
}

/// The pairs at all moments of a part, or the one whose long window is named.
fn look(objective: &SloConfig, only: Option<&str>, [hours, minutes]: [&[Slot]; 2], moments: &Moments) -> Part {
    let mut part = Part { broken: Vec::new(), judged: 0, insufficient: 0 };
    for at_us in moments.iter() {
        let spans = Span::of(objective.window_days, at_us);
        let reached = Span { from_us: spans[0].from_us.max(at_us - i64::from(REACH_HOURS) * HOUR_US), ..spans[0] };
        let counts = Counts::new([within(hours, reached).to_vec(), within(minutes, spans[1]).to_vec()], spans);
        let mut broken = BTreeMap::new();
        let pairs = BurnRate::of(objective, &counts).into_iter();
        for pair in pairs.filter(|pair| only.is_none_or(|long| pair.long.name == long)) {
            match pair.long.samples {
                0 => part.insufficient += 1,
                _ => part.judged += 1,
            }
            let Some(rate) = pair.long.burn_rate.filter(|_| pair.is_burning) else { continue };
            let severity = if pair.severity == Severity::Page { "page" } else { "ticket" };
            let what = format!("{severity} {}/{}", pair.long.name, pair.short.name);
            let subject = Subject { what, by: "slo".to_owned(), key: Some(objective.name.clone()) };
            let reading = Reading {
                value: rate,
                limit: Some(pair.threshold),
                samples: pair.long.samples,
                score: None,
                excess: rate,
            };
            broken.insert(subject, reading);
        }
        part.broken.push((at_us, broken));
    }
    part
}

/// The slots that start within a span.
fn within(slots: &[Slot], span: Span) -> &[Slot] {
    let place = |us: i64| slots.partition_point(|slot| slot.start_us < us);
    let from = place(span.from_us);
    &slots[from..place(span.to_us).max(from)]
}
