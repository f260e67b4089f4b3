//! All columns of all slices together: corrected for how many they are, and set beside each other.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};

use super::{
    answer::{Answer, Change, LeftOut, Segment, SilentChange, Totals, Verdict, VerdictLine, WindowLine},
    column::{By, Column, Role},
    detail::Detail,
    judge::{Finding, PERSISTENT, POWER},
    silent::{Silent, silent_changes},
    windows::{JUDGED, VALUES_MIN, Windows},
};
use crate::stats::benjamini_hochberg;

/// The largest share of false verdicts among those that say `drifting`.
pub const FALSE_DISCOVERY_RATE: f64 = 0.01;
/// A column is `stable` only where a change of this size would have been found: three times what matters at all, which
/// is a large shift of numbers (0.8 standard deviations of a normal distribution are 0.31) and a medium one of
/// categories, in the terms of Cohen (1988).
pub const DETECTABLE_MAX: f64 = 0.3;
/// And only where no more of its values than this may have moved within a bucket, unseen.
pub const HIDDEN_MAX: f64 = 0.5;
/// Changes that began no further apart than this began together, µs: the hour of one is not known better where its
/// values are few.
const TOGETHER_US: i64 = 6 * 3_600_000_000;

/// What is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// What makes the slice.
    pub by: By,
    /// The slice; none of all calls.
    pub slice: Option<String>,
    /// The column.
    pub column: &'static Column,
}

/// What was found of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Of what.
    pub subject: Subject,
    /// What.
    pub finding: Finding,
}

/// A verdict in the making.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) subject: Subject,
    pub(super) finding: Finding,
    pub(super) verdict: Verdict,
    q: Option<f64>,
    detectable: Option<f64>,
    detail: Detail,
}

impl Line {
    /// Why it cannot be called stable, where that is so.
    fn reason(&self) -> Option<String> {
        if self.q.is_none() {
            return Some(format!(
                "fewer than {PERSISTENT} of the windows, or too few of their references, have {VALUES_MIN} values and \
                 calls at all hours"
            ));
        }
        if self.detectable.is_none_or(|least| least > DETECTABLE_MAX) {
            let least =
                self.detectable.map_or_else(|| "any change".to_owned(), |least| format!("less than {least:.2}"));
            return Some(format!(
                "too few values, or references too different, for so many tests: {least} would not have been sure"
            ));
        }
        let hidden = self.finding.effect_max.filter(|most| self.subject.column.is_coarse() && *most > HIDDEN_MAX)?;
        Some(format!("its values lie in few buckets: up to {hidden:.2} may have moved within one"))
    }
}

/// A run: verdicts first, then what is found where changes are looked at closely.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    windows: Windows,
    lines: Vec<Line>,
    silent: Vec<Silent>,
}

impl Run {
    /// The verdicts of all that was found.
    pub fn new(windows: Windows, found: Vec<Found>) -> Self {
        let p_values: Vec<f64> = found.iter().filter_map(|found| found.finding.p).collect();
        let q_values = benjamini_hochberg(&p_values);
        let sure = q_values.iter().filter(|q| **q <= FALSE_DISCOVERY_RATE).count();
        // The procedure rejects the r smallest p-values where the largest of them is at most r of the tests times the
        // rate: one that is not among them would be as the next.
        let p_max = |is_sure: bool| {
            let rejected = sure + usize::from(!is_sure);
            FALSE_DISCOVERY_RATE * rejected as f64 / p_values.len().max(1) as f64
        };
        let mut q_values = q_values.into_iter();
        let lines = found.into_iter().map(|Found { subject, finding }| {
            let q = finding.p.and_then(|_| q_values.next());
            let is_sure = q.is_some_and(|q| q <= FALSE_DISCOVERY_RATE);
            let detectable = q.and_then(|_| finding.detectable(p_max(is_sure)));
            let mut line =
                Line { subject, finding, verdict: Verdict::Insufficient, q, detectable, detail: Detail::default() };
            line.verdict = if is_sure && finding.effect.is_some_and(|effect| effect >= line.subject.column.effect_min) {
                Verdict::Drifting
            } else if line.reason().is_none() {
                Verdict::Stable
            } else {
                Verdict::Insufficient
            };
            line
        });
        let lines: Vec<Line> = lines.collect();
        let mut slices: BTreeMap<(By, &Option<String>), Vec<usize>> = BTreeMap::new();
        for (place, line) in lines.iter().enumerate() {
            if matches!(line.subject.by, By::Model | By::AgentId) {
                slices.entry((line.subject.by, &line.subject.slice)).or_default().push(place);
            }
        }
        let slices: Vec<Vec<usize>> = slices.into_values().collect();
        let silent = silent_changes(&lines, &slices);
        Self { windows, lines, silent }
    }

    /// What is worth to be looked at closely, slice by slice, the largest effects first: places for [`Run::explain`].
    pub fn wanted(&self) -> Vec<Vec<usize>> {
        let drifting = (0..self.lines.len()).filter(|place| self.lines[*place].verdict == Verdict::Drifting);
        let silent = self.silent.iter().flat_map(|silent| silent.lines.iter().copied());
        let mut slices: BTreeMap<(By, &Option<String>), Vec<usize>> = BTreeMap::new();
        for place in drifting.chain(silent) {
            let subject = &self.lines[place].subject;
            let places = slices.entry((subject.by, &subject.slice)).or_default();
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let effect =
            |places: &[usize]| places.iter().filter_map(|place| self.lines[*place].finding.effect).fold(0.0, f64::max);
        let mut wanted: Vec<Vec<usize>> = slices.into_values().collect();
        wanted.sort_by(|left, right| effect(right).total_cmp(&effect(left)));
        wanted
    }

    /// What stands at a place.
    pub fn found(&self, place: usize) -> (&Subject, &Finding) {
        (&self.lines[place].subject, &self.lines[place].finding)
    }

    /// Adds what was seen there.
    pub fn explain(&mut self, place: usize, detail: Detail) {
        self.lines[place].detail = detail;
    }

    /// The answer.
    pub fn answer(self, left_out: Vec<LeftOut>) -> Answer {
        let count = |verdict: Verdict| self.lines.iter().filter(|line| line.verdict == verdict).count();
        let totals = Totals {
            tests: self.lines.iter().filter(|line| line.q.is_some()).count(),
            drifting: count(Verdict::Drifting),
            stable: count(Verdict::Stable),
            insufficient: count(Verdict::Insufficient),
        };
        let mut verdicts: Vec<VerdictLine> = self.lines.iter().map(|line| self.line(line)).collect();
        let effect = |line: &VerdictLine| line.effect.unwrap_or(-1.0);
        verdicts.sort_by(|a, b| a.verdict.cmp(&b.verdict).then(effect(b).total_cmp(&effect(a))));
        Answer {
            from: shown(self.windows.from_us()),
            judged_from: shown(self.windows.start_us(self.windows.history())),
            to: shown(self.windows.to_us()),
            window_hours: self.windows.hours(),
            references: self.windows.references(),
            persistent: [PERSISTENT, JUDGED],
            false_discovery_rate: FALSE_DISCOVERY_RATE,
            values_min: VALUES_MIN,
            detectable_max: DETECTABLE_MAX,
            hidden_max: HIDDEN_MAX,
            power: POWER,
            totals,
            silent_changes: self.silent.iter().filter_map(|silent| self.silent_line(silent)).collect(),
            verdicts,
            left_out,
        }
    }

    fn line(&self, line: &Line) -> VerdictLine {
        let Line { subject, finding, verdict, q, detectable, detail } = line;
        let windows = finding.windows.iter().zip(self.windows.judged()).map(|(found, window)| WindowLine {
            from: shown(self.windows.start_us(window)),
            n_reference: found.n_reference,
            n_current: found.n_current,
            effect: found.effect,
            effect_max: found.effect_max,
            p: found.p,
        });
        // The newest of those that the effect is of.
        let told = finding.changed(subject.column.effect_min).last().unwrap_or(JUDGED - 1);
        let newest = finding.windows[told];
        VerdictLine {
            column: subject.column.name.to_owned(),
            unit: subject.column.unit.to_owned(),
            by: subject.by,
            slice: subject.slice.clone(),
            verdict: *verdict,
            reason: if *verdict == Verdict::Insufficient { line.reason() } else { None },
            effect: finding.effect,
            effect_max: finding.effect_max,
            detectable: *detectable,
            effect_min: subject.column.effect_min,
            p: finding.p,
            q: *q,
            n_reference: newest.n_reference,
            n_current: newest.n_current,
            windows: windows.collect(),
            before: detail.before,
            after: detail.after,
            moved: detail.moved.clone(),
            segment: if *verdict == Verdict::Drifting { self.segment(line) } else { None },
            began_at: detail.began_us.map(shown),
            changed_then: if *verdict == Verdict::Drifting { self.changed_then(line) } else { Vec::new() },
        }
    }

    /// The part of the slice that moved most; of all calls, the slice that did by its own verdict.
    fn segment(&self, line: &Line) -> Option<Segment> {
        let subject = &line.subject;
        if subject.by != By::All {
            return line.detail.segment.clone();
        }
        let slices = self.lines.iter().filter(|line| {
            line.subject.by != By::All && line.subject.column == subject.column && line.verdict == Verdict::Drifting
        });
        let moved = slices.filter_map(|line| {
            let slice = line.subject.slice.clone()?;
            Some(Segment { by: line.subject.by, slice, effect: line.finding.effect? })
        });
        moved.max_by(|left, right| left.effect.total_cmp(&right.effect))
    }

    /// What may be the cause: what of the same slice was declared or mixed otherwise from about the same time on.
    fn changed_then(&self, line: &Line) -> Vec<Change> {
        let others = self.lines.iter().filter(|other| {
            other.verdict == Verdict::Drifting
                && (other.subject.by, &other.subject.slice) == (line.subject.by, &line.subject.slice)
                && other.subject.column != line.subject.column
                && matches!(other.subject.column.role, Role::Mix | Role::Asked | Role::Declared)
        });
        let together = others.filter_map(|other| {
            let (own_us, began_us) = (line.detail.began_us?, other.detail.began_us?);
            let [lost, gained] = other.detail.exchanged.clone()?;
            let column = other.subject.column.name.to_owned();
            let change = Change { column, lost, gained, began_at: shown(began_us) };
            ((own_us - began_us).abs() <= TOGETHER_US).then_some(change)
        });
        together.collect()
    }

    fn silent_line(&self, silent: &Silent) -> Option<SilentChange> {
        let first = &self.lines[*silent.lines.first()?];
        let name = |place: &usize| self.lines[*place].subject.column.name.to_owned();
        let began_us = silent.lines.iter().filter_map(|place| self.lines[*place].detail.began_us).min();
        Some(SilentChange {
            by: first.subject.by,
            slice: first.subject.slice.clone()?,
            verdict: silent.verdict(),
            p: silent.p,
            q: silent.q,
            columns: silent.lines.iter().map(name).collect(),
            began_at: began_us.map(shown),
            explained_by: silent.explained_by.iter().map(name).collect(),
        })
    }
}

/// RFC 3339, in seconds.
fn shown(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| us.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
