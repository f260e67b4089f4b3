//! All columns of all slices together: corrected for how many they are, and set beside each other.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};

use super::{
    answer::{Answer, Change, LeftOut, Segment, SilentChange, Totals, Verdict, VerdictLine, WindowLine},
    column::{By, Column, Role},
    detail::Detail,
    judge::{Finding, PERSISTENT},
    silent::{Silent, silent_changes},
    windows::{JUDGED, VALUES_MIN, Windows},
};
use crate::stats::benjamini_hochberg;

/// The largest share of false verdicts among those that say `drifting`.
pub const FALSE_DISCOVERY_RATE: f64 = 0.01;
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
    detail: Detail,
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
        let mut q_values = benjamini_hochberg(&p_values).into_iter();
        let lines = found.into_iter().map(|Found { subject, finding }| {
            let q = finding.p.and_then(|_| q_values.next());
            let verdict = match (q, finding.effect) {
                (Some(q), Some(effect)) if q <= FALSE_DISCOVERY_RATE && effect >= subject.column.effect_min => {
                    Verdict::Drifting
                }
                (Some(_), _) => Verdict::Stable,
                (None, _) => Verdict::Insufficient,
            };
            Line { subject, finding, verdict, q, detail: Detail::default() }
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
            totals,
            silent_changes: self.silent.iter().filter_map(|silent| self.silent_line(silent)).collect(),
            verdicts,
            left_out,
        }
    }

    fn line(&self, line: &Line) -> VerdictLine {
        let Line { subject, finding, verdict, q, detail } = line;
        let windows = finding.windows.iter().zip(self.windows.judged()).map(|(found, window)| WindowLine {
            from: shown(self.windows.start_us(window)),
            n_reference: found.n_reference,
            n_current: found.n_current,
            effect: found.effect,
            p: found.p,
        });
        let newest = finding.windows[JUDGED - 1];
        VerdictLine {
            column: subject.column.name.to_owned(),
            unit: subject.column.unit.to_owned(),
            by: subject.by,
            slice: subject.slice.clone(),
            verdict: *verdict,
            effect: finding.effect,
            effect_min: subject.column.effect_min,
            p: finding.p,
            q: *q,
            n_reference: newest.n_reference,
            n_current: newest.n_current,
            windows: windows.collect(),
            before: detail.before,
            after: detail.after,
            moved: detail.moved.clone(),
            segment: if *verdict == Verdict::Drifting { self.segment(subject) } else { None },
            began_at: detail.began_us.map(shown),
            changed_then: if *verdict == Verdict::Drifting { self.changed_then(line) } else { Vec::new() },
        }
    }

    /// Of all calls' column, the slice that moved most.
    fn segment(&self, subject: &Subject) -> Option<Segment> {
        if subject.by != By::All {
            return None;
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
                && matches!(other.subject.column.role, Role::Mix | Role::Declared)
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
