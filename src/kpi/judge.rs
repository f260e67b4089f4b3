//! Whether a figure keeps what its KPI promises, and how it moved against the window before.

use std::collections::HashMap;

use chrono::DateTime;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Bound, Definition, Figure, Grain, Need};

/// Figures that differ by less than this share moved nowhere: sums of floats differ in their last digits.
const ROUNDING: f64 = 1e-9;

/// What is said of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KpiState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is where it should be.
    TargetMet,
    /// It is neither where it should be nor where someone is called.
    Between,
    /// It calls for someone.
    Alert,
    /// Nothing is asked of it, or not at this grain.
    NoTarget,
    /// There are too few samples to judge.
    Insufficient,
    /// Its window is not over, and the figure grows with its window.
    WindowOpen,
    /// Nobody sends what it is made of, or not on its scale.
    NotMeasured,
}

/// A judgement with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = KpiJudged)]
pub struct Judged {
    /// What is said of the figure.
    pub state: State,
    /// Why nothing better can be said; null where target and alert were asked.
    pub reason: Option<String>,
    /// Against the window before; null where either is no fair comparison.
    pub trend: Option<Trend>,
}

/// How a figure moved against the window before.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = KpiTrend)]
pub struct Trend {
    /// The value before.
    pub before: f64,
    /// Its samples.
    pub samples_before: u64,
    /// The difference as a share of the value before; null where that is 0.
    pub change_ratio: Option<f64>,
    /// Where it moved.
    pub direction: Direction,
}

/// Where a figure moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KpiDirection)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the good side.
    Better,
    /// To the bad side.
    Worse,
    /// Nowhere.
    Same,
    /// Up, where neither side is better.
    Up,
    /// Down, where neither side is better.
    Down,
}

/// One window of one key, judged.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = KpiWindow)]
pub struct Window {
    /// Its start, UTC.
    pub window_start: String,
    /// Agent, tenant or model.
    pub key: Option<String>,
    /// All of it lies within the range, and in the past.
    pub is_complete: bool,
    /// The figure, in the KPI's unit.
    pub value: Option<f64>,
    /// What it is made of, counted.
    pub samples: u64,
    /// What is divided.
    pub numerator: Option<f64>,
    /// By what.
    pub denominator: Option<f64>,
    /// The judgement.
    #[serde(flatten)]
    pub judged: Judged,
}

/// Which windows are asked for, and when.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// How long each lasts.
    pub grain: Grain,
    /// Start of the first that is shown, µs since 1970; earlier rows are only compared with.
    pub from_us: i64,
    /// End of the range, exclusive.
    pub to_us: i64,
    /// Now.
    pub now_us: i64,
}

impl Windows {
    /// All of the window that starts here lies within the range and in the past.
    pub fn is_complete(&self, start_us: i64) -> bool {
        self.grain.step(start_us, 1).is_some_and(|end_us| end_us <= self.to_us.min(self.now_us))
    }

    /// Judges each window. `lacking` says for a key what the KPI needs and no call of the range carries. Figures
    /// whose time cannot be read are left out: our own SQL writes none.
    pub fn judge<'a>(
        &self,
        definition: &Definition,
        figures: Vec<Figure>,
        lacking: impl Fn(Option<&str>) -> Vec<&'a Need>,
    ) -> Vec<Window> {
        let timed: Vec<(i64, Figure)> =
            figures.into_iter().filter_map(|figure| Some((start_us(&figure.window_start)?, figure))).collect();
        let by_window: HashMap<(i64, Option<&str>), &Figure> =
            timed.iter().map(|(start, figure)| ((*start, figure.key.as_deref()), figure)).collect();
        let shown = timed.iter().filter(|(start, _)| *start >= self.from_us);
        shown
            .map(|(start, figure)| {
                let before = self.grain.step(*start, -1);
                let before = before.and_then(|start| by_window.get(&(start, figure.key.as_deref())).copied());
                let is_complete = self.is_complete(*start);
                let lacking = lacking(figure.key.as_deref());
                let judged = judge(definition, self.grain, figure, is_complete, &lacking);
                let trend = if judged.state == State::NotMeasured || (definition.whole_windows && !is_complete) {
                    None
                } else {
                    let before = before.filter(|before| definition.off_scale(before).is_none());
                    before.and_then(|before| trend(definition, before, figure))
                };
                Window {
                    window_start: figure.window_start.clone(),
                    key: figure.key.clone(),
                    is_complete,
                    value: figure.value,
                    samples: figure.samples.unwrap_or(0),
                    numerator: figure.numerator,
                    denominator: figure.denominator,
                    judged: Judged { trend, ..judged },
                }
            })
            .collect()
    }
}

/// What nobody sends, and what to add.
pub(super) fn lacking_reason(lacking: &[&Need]) -> String {
    let each = lacking.iter().map(|need| format!("no call has {}: add {}", need.text(), need.advice()));
    each.collect::<Vec<_>>().join("; ")
}

fn judge(definition: &Definition, grain: Grain, figure: &Figure, is_complete: bool, lacking: &[&Need]) -> Judged {
    let samples = figure.samples.unwrap_or(0);
    let without = |state, reason| Judged { state, reason: Some(reason), trend: None };
    if !lacking.is_empty() {
        return without(State::NotMeasured, lacking_reason(lacking));
    }
    let Some(value) = figure.value else {
        return without(State::Insufficient, format!("no value: made of {samples} samples"));
    };
    if let Some(reason) = definition.off_scale(figure) {
        return without(State::NotMeasured, reason);
    }
    if definition.target.is_none() && definition.alert.is_none() {
        return Judged { state: State::NoTarget, reason: None, trend: None };
    }
    if let Some(judged_at) = definition.judged_at.filter(|judged_at| *judged_at != grain) {
        return without(State::NoTarget, format!("its target holds by {}", judged_at.name()));
    }
    if definition.whole_windows && !is_complete {
        return without(State::WindowOpen, format!("the {} is not over, or not all of it was asked for", grain.name()));
    }
    if samples < definition.samples_min {
        let needed = definition.samples_min;
        return without(State::Insufficient, format!("{samples} samples, {needed} needed"));
    }
    let holds = |bound: Option<Bound>| bound.is_some_and(|bound| bound.holds(value));
    let state = match (holds(definition.alert), holds(definition.target)) {
        (true, _) => State::Alert,
        (false, true) => State::TargetMet,
        (false, false) => State::Between,
    };
    Judged { state, reason: None, trend: None }
}

fn trend(definition: &Definition, before: &Figure, now: &Figure) -> Option<Trend> {
    let enough = |figure: &Figure| figure.samples.filter(|samples| *samples >= definition.samples_min);
    let (samples_before, _) = enough(before).zip(enough(now))?;
    let (before, now) = before.value.zip(now.value)?;
    let difference = now - before;
    let direction = if difference.abs() <= ROUNDING * before.abs() {
        Direction::Same
    } else {
        match definition.is_less_better() {
            None if difference < 0.0 => Direction::Down,
            None => Direction::Up,
            Some(is_less_better) if is_less_better == (difference < 0.0) => Direction::Better,
            Some(_) => Direction::Worse,
        }
    };
    let change_ratio = (before != 0.0).then(|| difference / before.abs());
    Some(Trend { before, samples_before, change_ratio, direction })
}

fn start_us(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::kpi::definition::tests::definition;

    const ERRORS: &str = "-- group: reliability\n-- unit: ratio\n-- target: < 0.01\n-- alert: > 0.05\n-- needs: error";
    const COST: &str = "-- group: cost\n-- unit: USD\n-- target: < 1\n-- needs: cost\n-- samples_min: 1\n\
                        -- judged_at: day\n-- windows: whole";

    fn us(text: &str) -> i64 {
        start_us(text).unwrap()
    }

    pub fn figure(day: u32, key: &str, value: Option<f64>, samples: u64) -> Figure {
        Figure {
            window_start: format!("2026-05-{day:02}T00:00:00.000000Z"),
            key: Some(key.to_owned()),
            value,
            samples: Some(samples),
            unknown: None,
            outside: None,
            numerator: None,
            denominator: None,
        }
    }

    /// Days from the 2nd to the noon of the 4th.
    fn days() -> Windows {
        Windows {
            grain: Grain::Day,
            from_us: us("2026-05-02T00:00:00Z"),
            to_us: us("2026-05-05T00:00:00Z"),
            now_us: us("2026-05-04T12:00:00Z"),
        }
    }

    fn states(lines: &str, figures: Vec<Figure>) -> Vec<State> {
        days().judge(&definition(lines), figures, |_| Vec::new()).iter().map(|window| window.judged.state).collect()
    }

    #[test]
    fn values_are_held_against_target_and_alert() {
        let check = |value: Option<f64>, samples: u64, expect: State| {
            assert_eq!(states(ERRORS, vec![figure(2, "a", value, samples)]), [expect], "{value:?} of {samples}");
        };
        check(Some(0.0), 30, State::TargetMet);
        check(Some(0.01), 30, State::Between);
        check(Some(0.05), 30, State::Between);
        check(Some(0.051), 30, State::Alert);
        check(Some(0.9), 29, State::Insufficient);
        check(Some(0.0), 0, State::Insufficient);
        check(None, 100, State::Insufficient);
    }

    #[test]
    fn windows_that_are_not_over_are_judged_where_they_may_be() {
        // The 4th is not over at noon.
        let figures = |value| vec![figure(3, "a", Some(value), 50), figure(4, "a", Some(value), 50)];
        assert_eq!(states(ERRORS, figures(0.0)), [State::TargetMet, State::TargetMet]);
        assert_eq!(states(COST, figures(0.5)), [State::TargetMet, State::WindowOpen]);
    }

    #[test]
    fn a_target_of_another_grain_is_none() {
        let hours = Windows { grain: Grain::Hour, ..days() };
        let judged = &hours.judge(&definition(COST), vec![figure(2, "a", Some(0.5), 50)], |_| Vec::new())[0].judged;
        assert_eq!((judged.state, judged.reason.as_deref()), (State::NoTarget, Some("its target holds by day")));
    }

    #[test]
    fn what_nobody_sends_is_not_measured() {
        let errors = definition(ERRORS);
        let lacking = |key: Option<&str>| if key == Some("a") { errors.needs.iter().collect() } else { Vec::new() };
        let figures = vec![figure(2, "a", Some(0.0), 500), figure(2, "b", Some(0.0), 500)];
        let windows = days().judge(&errors, figures, lacking);
        assert_eq!(windows[0].judged.state, State::NotMeasured);
        assert_eq!(windows[0].judged.reason.as_deref(), Some("no call has error: add error"));
        assert_eq!(windows[1].judged.state, State::TargetMet);
    }

    #[test]
    fn values_of_another_scale_are_not_judged() {
        let lines = "-- group: quality\n-- unit: ratio\n-- target: > 0.8\n-- alert: < 0.6\n-- scale: 0 to 1\n\
                     -- needs: user_satisfaction";
        let satisfied_later = || figure(4, "a", Some(0.9), 400);
        let check = |value: f64, outside: Option<u64>, expect: State| {
            let figure = Figure { outside, ..figure(3, "a", Some(value), 400) };
            let judged = &days().judge(&definition(lines), vec![figure.clone()], |_| Vec::new())[0].judged;
            assert_eq!(judged.state, expect, "{value}, {outside:?} outside: {:?}", judged.reason);
            // Nor is anything compared with them.
            let windows = days().judge(&definition(lines), vec![figure, satisfied_later()], |_| Vec::new());
            assert_eq!(windows[1].judged.trend.is_some(), expect != State::NotMeasured);
        };
        check(0.9, None, State::TargetMet);
        check(1.0, Some(0), State::TargetMet);
        check(0.5, Some(0), State::Alert);
        check(3.9, None, State::NotMeasured);
        check(-0.2, Some(300), State::NotMeasured);
        // One scale for some and another for others; a slip.
        check(0.9, Some(5), State::NotMeasured);
        check(0.9, Some(4), State::TargetMet);
        let off = Figure { outside: Some(390), ..figure(3, "a", Some(3.9), 400) };
        let judged = &days().judge(&definition(lines), vec![off], |_| Vec::new())[0].judged;
        assert_eq!(
            judged.reason.as_deref(),
            Some("390 of 400 values are not on the scale 0 to 1, and their mean is 3.9: send user_satisfaction on it")
        );
    }

    #[test]
    fn trends_are_against_the_same_key_in_the_window_before() {
        let check = |lines: &str, before: Figure, now: Figure, expect: Option<(Option<f64>, Direction)>| {
            let windows = days().judge(&definition(lines), vec![before, now], |_| Vec::new());
            let trend = windows.last().unwrap().judged.trend.clone();
            assert_eq!(trend.map(|trend| (trend.change_ratio, trend.direction)), expect);
        };
        let at = |day, value, samples| figure(day, "a", Some(value), samples);
        // The 1st is not shown, and still compared with.
        check(ERRORS, at(1, 0.25, 40), at(2, 0.5, 40), Some((Some(1.0), Direction::Worse)));
        check(ERRORS, at(2, 0.5, 40), at(3, 0.25, 40), Some((Some(-0.5), Direction::Better)));
        check(ERRORS, at(2, 0.5, 40), at(3, 0.5 + 1e-12, 40), Some((Some((0.5 + 1e-12 - 0.5) / 0.5), Direction::Same)));
        check(ERRORS, at(2, 0.0, 40), at(3, 0.5, 40), Some((None, Direction::Worse)));
        check(ERRORS, at(1, 0.5, 40), at(3, 0.25, 40), None);
        check(ERRORS, at(2, 0.5, 29), at(3, 0.25, 40), None);
        check(ERRORS, at(2, 0.5, 40), at(3, 0.25, 29), None);
        check(ERRORS, figure(2, "b", Some(0.5), 40), at(3, 0.25, 40), None);
        check(COST, at(2, 2.0, 40), at(3, 1.0, 40), Some((Some(-0.5), Direction::Better)));
        check(COST, at(3, 2.0, 40), at(4, 1.0, 40), None);
        let neither = "-- group: usage\n-- unit: count\n-- needs: user_id";
        check(neither, at(2, 2.0, 40), at(3, 4.0, 40), Some((Some(1.0), Direction::Up)));
    }
}
