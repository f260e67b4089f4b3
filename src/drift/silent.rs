//! A model that was exchanged under its name: several kinds of its behaviour change together, and nobody says why.
//!
//! Each kind (length of answers, pace, quality, endings, tools) is as sure as its surest column, by Bonferroni's
//! inequality; that fewer than two of k kinds changed then has the probability (k − 1)·p(2), as in
//! [`super::judge()`]. One kind alone is no sign of a model: a slow network moves the pace, a filter the endings. What
//! was declared (a model's or a prompt's version), a mix of traffic or a length of prompts that changed, and calls that
//! fail or are stopped explain it. Prompts explain no more than they can: of a model that stays as it is, answers are no
//! further in total variation from what they were than prompts are (the data processing inequality), and where all of a
//! distribution moves one way, that is its distance here.

use super::{
    answer::Verdict,
    column::Role,
    run::{FALSE_DISCOVERY_RATE, Line},
};
use crate::stats::benjamini_hochberg;

/// Kinds of behaviour that have to change.
const KINDS: usize = 2;
/// A change of one column that counts here, smaller than one that matters on its own.
const EFFECT_MIN: f64 = 0.05;

/// Prompts that changed by less than this share of what the behaviour changed by do not explain it. Half: that prompts
/// move one way is only about so.
const EXPLAINS_MIN: f64 = 0.5;

/// What a slice's columns say.
#[derive(Debug, Clone, PartialEq)]
pub struct Silent {
    /// Lines of the columns that changed, the surest first.
    pub lines: Vec<usize>,
    /// Lines that explain it.
    pub explained_by: Vec<usize>,
    /// Probability of it if nothing changed.
    pub p: f64,
    /// Corrected for all slices.
    pub q: f64,
}

impl Silent {
    /// What is said of the slice, given that its behaviour changed.
    pub fn verdict(&self) -> Verdict {
        if self.explained_by.is_empty() { Verdict::Drifting } else { Verdict::Stable }
    }
}

/// The slices whose behaviour changed. Each slice is given as the positions of its lines.
pub fn silent_changes(lines: &[Line], slices: &[Vec<usize>]) -> Vec<Silent> {
    let mut tested: Vec<Silent> = slices.iter().filter_map(|slice| behaviour(lines, slice)).collect();
    let p_values: Vec<f64> = tested.iter().map(|silent| silent.p).collect();
    for (silent, q) in tested.iter_mut().zip(benjamini_hochberg(&p_values)) {
        silent.q = q;
    }
    tested.retain(|silent| silent.q <= FALSE_DISCOVERY_RATE);
    tested.sort_by(|left, right| left.q.total_cmp(&right.q));
    tested
}

/// How sure it is that a slice's behaviour changed; none with fewer than two kinds that can be told.
fn behaviour(lines: &[Line], slice: &[usize]) -> Option<Silent> {
    let mut kinds: Vec<(&str, Vec<(f64, usize)>)> = Vec::new();
    for &place in slice {
        let (Role::Behaviour(kind), Some(p), Some(effect)) =
            (lines[place].subject.column.role, lines[place].finding.p, lines[place].finding.effect)
        else {
            continue;
        };
        let p = if effect >= EFFECT_MIN { p } else { 1.0 };
        match kinds.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, columns)) => columns.push((p, place)),
            None => kinds.push((kind, vec![(p, place)])),
        }
    }
    let surest = |columns: &[(f64, usize)]| columns.iter().map(|(p, _)| *p).fold(1.0, f64::min);
    let mut p_values: Vec<f64> =
        kinds.iter().map(|(_, columns)| (columns.len() as f64 * surest(columns)).min(1.0)).collect();
    p_values.sort_by(f64::total_cmp);
    let p = (p_values.get(KINDS - 1)? * (p_values.len() - KINDS + 1) as f64).min(1.0);
    // What at least so many kinds changed by.
    let effect_of = |(_, columns): &(&str, Vec<(f64, usize)>)| {
        let sure = columns.iter().filter(|(p, _)| *p <= FALSE_DISCOVERY_RATE);
        sure.filter_map(|(_, place)| lines[*place].finding.effect).fold(0.0, f64::max)
    };
    let mut effects: Vec<f64> = kinds.iter().map(effect_of).collect();
    effects.sort_by(|left, right| right.total_cmp(left));
    let effect = effects[KINDS - 1];
    let mut changed: Vec<(f64, usize)> = kinds.into_iter().flat_map(|(_, columns)| columns).collect();
    changed.retain(|(p, _)| *p <= FALSE_DISCOVERY_RATE);
    changed.sort_by(|left, right| left.0.total_cmp(&right.0));
    let explains = |place: &usize| {
        let line = &lines[*place];
        match line.subject.column.role {
            Role::Mix | Role::Declared | Role::CutShort => line.verdict == Verdict::Drifting,
            // Answers are counted here from smaller changes on, and so is what makes them.
            Role::Asked => is_changed(line) && line.finding.effect >= Some(EXPLAINS_MIN * effect),
            Role::Behaviour(_) | Role::Result => false,
        }
    };
    Some(Silent {
        lines: changed.into_iter().map(|(_, place)| place).collect(),
        explained_by: slice.iter().copied().filter(explains).collect(),
        p,
        q: p,
    })
}

/// Whether a column changed enough to count here, and surely enough by itself.
fn is_changed(line: &Line) -> bool {
    line.finding.effect.is_some_and(|effect| effect >= EFFECT_MIN)
        && line.finding.p.is_some_and(|p| p <= FALSE_DISCOVERY_RATE)
}
