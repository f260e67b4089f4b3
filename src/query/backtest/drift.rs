//! Verdicts on drift as the runs of the drift job would have given them. Runs whose windows have the same bounds read
//! them together: the windows of one run are the references of later ones.

use std::collections::BTreeMap;

use tokio::task::spawn_blocking;

use super::{Given, text_of};
use crate::{
    backtest::{Answer, Moments, Reading, Replay, Seen, Subject},
    drift::{self, By, COLUMNS, JUDGED, LeftOut, PERSISTENT, Run, SILENT_CHANGE, Verdict, Windows},
    error::{Context, Error, Kind, Result},
    query::{
        Engine, MonitorRequest, Range,
        monitor::{Counts, Question, SLICES_MAX},
    },
};

pub(super) const PARAMETERS: &str = "step, window_hours, references, by, column";

const HOUR_US: i64 = 3_600_000_000;
/// Most runs: a quarter by the hour, and some days.
const RUNS_MAX: i64 = 2_400;

/// What to judge, and what to tell of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DriftRule {
    pub step_us: i64,
    pub hold_us: i64,
    pub window_hours: u32,
    pub references: u32,
    /// What is judged, and so corrected for.
    pub by: Vec<By>,
    /// What is told; all columns where it is empty.
    pub columns: Vec<Column>,
    /// Only slices of this kind are told.
    pub shown_by: Option<By>,
    /// Whether silent changes are told where no columns are named.
    pub silent: bool,
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Watched(&'static str),
    SilentChange,
}

/// What runs with the same bounds of windows found.
#[derive(Default)]
struct Found {
    broken: BTreeMap<i64, BTreeMap<Subject, Reading>>,
    tests: u64,
    insufficient: u64,
    series: u64,
    left_out: BTreeMap<By, String>,
}

impl Default for DriftRule {
    fn default() -> Self {
        Self {
            step_us: HOUR_US,
            hold_us: 0,
            window_hours: MonitorRequest::WINDOW_HOURS,
            references: MonitorRequest::REFERENCES,
            by: By::ALL.to_vec(),
            columns: Vec::new(),
            shown_by: None,
            silent: true,
        }
    }
}

impl DriftRule {
    pub fn parse(given: &mut Given) -> Result<Self> {
        let columns = given.take("column").unwrap_or_default();
        let columns = columns.split(',').map(str::trim).filter(|name| !name.is_empty());
        let handed_on = ["window_hours", "references", "by"].into_iter();
        let handed_on: Vec<(&str, String)> = handed_on.filter_map(|name| Some((name, given.take(name)?))).collect();
        let request = MonitorRequest::parse(handed_on.iter().map(|(name, text)| (*name, text.as_str())), 0)?;
        let rule = Self {
            step_us: given.duration_us("step")?.unwrap_or(HOUR_US),
            hold_us: given.hold_us()?,
            window_hours: request.windows.hours(),
            references: u32::try_from(request.windows.references()).unwrap_or(MonitorRequest::REFERENCES),
            by: request.by,
            columns: columns.map(Column::named).collect::<Result<_>>()?,
            ..Self::default()
        };
        if rule.step_us <= 0 || rule.step_us % HOUR_US != 0 {
            return Err(Error::invalid(
                "step is a whole number of hours, such as 1h or 1d: windows end at whole hours",
            ));
        }
        Ok(rule)
    }

    fn windows(&self, to_us: i64) -> Result<Windows> {
        Windows::new(to_us, self.window_hours, self.references)
    }

    /// Whether verdicts on a column of such slices are told.
    fn tells(&self, by: By, column: Column) -> bool {
        let is_named = match column {
            _ if !self.columns.is_empty() => self.columns.contains(&column),
            Column::SilentChange => self.silent,
            Column::Watched(_) => true,
        };
        is_named && self.shown_by.is_none_or(|shown| shown == by)
    }

    fn words(&self) -> String {
        let by: Vec<&str> = self.by.iter().map(|by| by.name()).collect();
        let columns = self.columns.iter().map(|column| match column {
            Column::Watched(name) => *name,
            Column::SilentChange => SILENT_CHANGE,
        });
        let columns: Vec<&str> = columns.collect();
        let columns = if columns.is_empty() { "a column".to_owned() } else { columns.join(", ") };
        format!(
            "{columns} drifts in {PERSISTENT} of {JUDGED} windows of {}h, each against {} earlier ones of the same hours; by {}",
            self.window_hours,
            self.references,
            by.join(", ")
        )
    }
}

impl Column {
    fn named(name: &str) -> Result<Self> {
        if name == SILENT_CHANGE {
            return Ok(Self::SilentChange);
        }
        let known = || COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let column = drift::Column::named(name).map(|column| Self::Watched(column.name));
        column.ok_or_else(|| {
            Error::invalid(format!("column={name} is not watched; there are {}, {SILENT_CHANGE}", known()))
        })
    }
}

impl Engine {
    pub(super) async fn backtest_drift(&self, range: Range, rule: &DriftRule) -> Result<Answer> {
        let moments = Moments::new(range.from_us, range.to_us, rule.step_us, RUNS_MAX)?;
        let windows = rule.windows(moments.first_us())?;
        let length_us = i64::from(windows.hours()) * HOUR_US;
        let mut replay = Replay::new(rule.hold_us);
        let (mut tests, mut insufficient, mut series) = (0, 0, 0);
        let mut left_out: BTreeMap<By, String> = BTreeMap::new();
        // As much again as one run reads, so that windows are read twice at most.
        for part in moments.parts(windows.to_us() - windows.from_us()) {
            let mut in_step: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            for at_us in part.iter() {
                in_step.entry(at_us.rem_euclid(length_us)).or_default().push(at_us);
            }
            let mut broken = BTreeMap::new();
            for runs in in_step.into_values() {
                let found = self.runs(rule, runs).await?;
                tests += found.tests;
                insufficient += found.insufficient;
                series = series.max(found.series);
                left_out.extend(found.left_out);
                broken.extend(found.broken);
            }
            for at_us in part.iter() {
                replay.evaluate(at_us, broken.remove(&at_us).unwrap_or_default());
            }
        }
        let left_out = left_out.into_iter().map(|(by, reason)| format!("{}: {reason}", by.name()));
        let seen = Seen {
            rule: "drift".to_owned(),
            condition: rule.words(),
            moments,
            hold_us: rule.hold_us,
            series,
            judged: tests,
            insufficient,
            not_looked_at: left_out.collect(),
        };
        Ok(Answer::new(seen, replay.finish(), |subject| {
            if subject.what == SILENT_CHANGE { "columns".to_owned() } else { String::new() }
        }))
    }

    /// Runs with the same bounds of windows, fewer at once where all are too many.
    async fn runs(&self, rule: &DriftRule, runs: Vec<i64>) -> Result<Found> {
        let mut found = Found::default();
        let mut waiting = vec![runs];
        while let Some(mut runs) = waiting.pop() {
            match self.counts_of(rule, &runs).await? {
                Some((counts, left_out)) => {
                    let calls = self.calls_by_hour(span_of(rule, &runs)?).await?;
                    let turn = self.turn().await?;
                    let rule = rule.clone();
                    let judged = spawn_blocking(move || {
                        let _turn = turn;
                        judge(&rule, &runs, &counts, &calls, &left_out)
                    });
                    found.add(judged.await.context("drift could not be judged")??);
                }
                None => {
                    let later = runs.split_off(runs.len() / 2);
                    waiting.extend([later, runs]);
                }
            }
        }
        Ok(found)
    }

    /// What the windows of the runs counted, and what is left out of it; none where fewer runs would leave out less.
    async fn counts_of(&self, rule: &DriftRule, runs: &[i64]) -> Result<Option<(Vec<(By, Counts)>, Vec<LeftOut>)>> {
        let Some(last) = runs.last() else { return Ok(Some((Vec::new(), Vec::new()))) };
        let span = span_of(rule, runs)?;
        let (mut all, mut left_out) = (Vec::new(), Vec::new());
        for &by in &rule.by {
            let question = Question { span, interval_hours: rule.window_hours, by, only: None };
            let reason = match self.counts(&question).await {
                Ok(counts) if counts.slices() <= SLICES_MAX => {
                    all.push((by, counts));
                    continue;
                }
                Ok(counts) => format!("{} of them; at most {SLICES_MAX} are judged one by one", counts.slices()),
                Err(error) if error.kind() == Kind::Exhausted => error.to_string(),
                Err(error) => return Err(error),
            };
            if runs.len() > 1 {
                return Ok(None);
            }
            left_out.push(LeftOut { by, reason: format!("{reason}, at {}", text_of(*last)?) });
        }
        Ok(Some((all, left_out)))
    }
}

/// What the windows of the runs, the oldest first, lie in.
fn span_of(rule: &DriftRule, runs: &[i64]) -> Result<Range> {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(Range { from_us: 0, to_us: 0 }) };
    Ok(Range { from_us: rule.windows(*first)?.from_us(), to_us: *last })
}

/// The verdicts of each run.
fn judge(
    rule: &DriftRule,
    runs: &[i64],
    counts: &[(By, Counts)],
    calls: &BTreeMap<i64, u64>,
    left_out: &[LeftOut],
) -> Result<Found> {
    let mut all = Found::default();
    for &at_us in runs {
        let windows = rule.windows(at_us)?.without_gaps(calls);
        let mut found = Vec::new();
        for (by, counts) in counts {
            found.extend(counts.judge(*by, &windows)?);
        }
        all.see(rule, at_us, &Run::new(windows, found).answer(Vec::new()));
    }
    all.left_out = left_out.iter().map(|left| (left.by, left.reason.clone())).collect();
    Ok(all)
}

impl Found {
    /// Adds a run.
    fn see(&mut self, rule: &DriftRule, at_us: i64, answer: &drift::Answer) {
        self.tests += answer.totals.tests as u64;
        self.insufficient += answer.totals.insufficient as u64;
        self.series = self.series.max(answer.verdicts.len() as u64);
        let mut broken = BTreeMap::new();
        for line in answer.verdicts.iter().filter(|line| line.verdict == Verdict::Drifting) {
            let named = drift::Column::named(&line.column).map(|column| Column::Watched(column.name));
            let (Some(column), Some(effect)) = (named, line.effect) else { continue };
            if rule.tells(line.by, column) {
                let subject = subject(&line.column, line.by, line.slice.clone());
                let reading = Reading {
                    value: effect,
                    limit: Some(line.effect_min),
                    samples: line.n_current,
                    score: None,
                    excess: effect,
                };
                broken.insert(subject, reading);
            }
        }
        for silent in answer.silent_changes.iter().filter(|silent| silent.verdict == Verdict::Drifting) {
            if rule.tells(silent.by, Column::SilentChange) {
                let own = answer
                    .verdicts
                    .iter()
                    .filter(|line| line.by == silent.by && line.slice.as_deref() == Some(&silent.slice));
                let columns = silent.columns.len() as f64;
                let reading = Reading {
                    value: columns,
                    limit: None,
                    samples: own.map(|line| line.n_current).max().unwrap_or(0),
                    score: None,
                    excess: columns,
                };
                broken.insert(subject(SILENT_CHANGE, silent.by, Some(silent.slice.clone())), reading);
            }
        }
        self.broken.insert(at_us, broken);
    }

    fn add(&mut self, other: Self) {
        self.broken.extend(other.broken);
        self.tests += other.tests;
        self.insufficient += other.insufficient;
        self.series = self.series.max(other.series);
        self.left_out.extend(other.left_out);
    }
}

fn subject(what: &str, by: By, key: Option<String>) -> Subject {
    Subject { what: what.to_owned(), by: by.name().to_owned(), key }
}
