//! The score card of a month: which tier each of its lines reaches, and what each agent's work brings.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Definition, Figure, Need,
    judge::{Judged, State, Trend, Window, Windows, lacking_reason},
};

/// The KPI whose rows by agent are the analysis of returns.
pub const RETURN_ON_COST: &str = "return_on_cost";
/// And how many tasks it gets done.
pub const TASK_COMPLETION: &str = "task_completion";

/// How far a line gets. Each tier asks more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Not even the first.
    None,
    /// The first.
    Basic,
    /// The second.
    Good,
    /// The third.
    Excellent,
}

/// A KPI in its month.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CardLine {
    /// What is measured, and how.
    #[serde(flatten)]
    pub definition: Definition,
    /// The month's figure.
    pub value: Option<f64>,
    /// What it is made of, counted.
    pub samples: u64,
    /// What is divided.
    pub numerator: Option<f64>,
    /// By what.
    pub denominator: Option<f64>,
    /// Target and alert.
    pub state: State,
    /// Why nothing better can be said.
    pub reason: Option<String>,
    /// Against the month before.
    pub trend: Option<Trend>,
    /// The tier that is reached; null where the KPI has none, or too little is known.
    pub tier: Option<Tier>,
}

/// What an agent's work brings.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReturnLine {
    /// The agent; null for calls that name none.
    pub agent_id: Option<String>,
    /// Tasks that were done; null where nobody says what they are worth, as all figures below.
    pub tasks_done: Option<u64>,
    /// What they are worth, by the settings.
    pub value_usd: Option<f64>,
    /// What all calls of the agent cost.
    pub cost_usd: Option<f64>,
    /// Value less cost.
    pub net_usd: Option<f64>,
    /// Value over cost.
    pub return_on_cost: Option<f64>,
    /// Target and alert.
    pub state: State,
    /// Why nothing better can be said.
    pub reason: Option<String>,
    /// Against the month before.
    pub trend: Option<Trend>,
}

/// A month's KPIs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ScoreCard {
    /// The month, `YYYY-MM`.
    pub month: String,
    /// Its start, UTC.
    pub from: String,
    /// Its end, UTC, exclusive.
    pub to: String,
    /// The month is over.
    pub is_complete: bool,
    /// All calls of the month.
    pub calls: u64,
    /// The KPIs that have tiers.
    pub card: Vec<CardLine>,
    /// All other KPIs.
    pub metrics: Vec<CardLine>,
    /// The return on each agent's cost.
    pub returns: Vec<ReturnLine>,
}

impl CardLine {
    /// The line of a KPI. `figures` are those of the month and of the one before.
    pub fn new(definition: &Definition, windows: &Windows, figures: Vec<Figure>, lacking: &[&Need]) -> Self {
        let window = windows.judge(definition, figures, |_| lacking.to_vec()).into_iter().next();
        let window = window.unwrap_or_else(|| nothing(lacking));
        let Judged { state, reason, trend } = window.judged;
        let is_known = state != State::NotMeasured && window.samples >= definition.samples_min;
        let tier = definition.tiers.zip(window.value).filter(|_| is_known);
        let reason = match definition.tiers {
            // A line without target is judged by its tiers alone.
            Some(_) if !is_known && reason.is_none() => {
                Some(format!("{} samples, {} needed", window.samples, definition.samples_min))
            }
            _ => reason,
        };
        let state = if state == State::NoTarget && definition.tiers.is_some() && !is_known {
            State::Insufficient
        } else {
            state
        };
        Self {
            definition: definition.clone(),
            // A figure that nobody could have measured is not shown as one.
            value: window.value.filter(|_| state != State::NotMeasured),
            samples: window.samples,
            numerator: window.numerator,
            denominator: window.denominator,
            state,
            reason,
            trend,
            tier: tier.map(|(tiers, value)| {
                let reached = [Tier::Basic, Tier::Good, Tier::Excellent].into_iter().zip(tiers);
                reached.take_while(|(_, bound)| bound.holds(value)).last().map_or(Tier::None, |(tier, _)| tier)
            }),
        }
    }
}

/// The window of a month that no call is of.
fn nothing(lacking: &[&Need]) -> Window {
    let (state, reason) = match lacking {
        [] => (State::Insufficient, "the month has none of what this is made of".to_owned()),
        lacking => (State::NotMeasured, lacking_reason(lacking)),
    };
    Window {
        window_start: String::new(),
        key: None,
        is_complete: false,
        value: None,
        samples: 0,
        numerator: None,
        denominator: None,
        judged: Judged { state, reason: Some(reason), trend: None },
    }
}

impl ReturnLine {
    /// A line for each agent of the month; `figures` are the rows of [`RETURN_ON_COST`] by agent, `done` those of
    /// [`TASK_COMPLETION`], and `lacking` says what no call of an agent carries.
    pub fn all<'a>(
        definition: &Definition,
        windows: &Windows,
        figures: Vec<Figure>,
        done: &[Figure],
        lacking: impl Fn(Option<&str>) -> Vec<&'a Need>,
    ) -> Vec<Self> {
        let tasks_done = |window: &Window| {
            let own = done.iter().find(|done| (&done.window_start, &done.key) == (&window.window_start, &window.key));
            own.and_then(|own| own.numerator).unwrap_or(0.0) as u64
        };
        let windows = windows.judge(definition, figures, lacking).into_iter();
        windows.map(|window| Self::of(tasks_done(&window), window)).collect()
    }

    fn of(tasks_done: u64, window: Window) -> Self {
        let Judged { mut state, mut reason, trend } = window.judged;
        if window.numerator.is_none() {
            let agent = window.key.as_deref();
            state = State::NotMeasured;
            reason = Some(match agent {
                Some(agent) => format!("what a task is worth is not known: set kpi.agents.\"{agent}\".task_value_usd"),
                None => "the calls name no agent: add agent_id".to_owned(),
            });
        }
        let net = window.numerator.zip(window.denominator).map(|(value, cost)| value - cost);
        Self {
            agent_id: window.key,
            tasks_done: window.numerator.map(|_| tasks_done),
            value_usd: window.numerator,
            cost_usd: window.denominator,
            net_usd: net,
            return_on_cost: window.value,
            state,
            reason,
            trend,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kpi::{Grain, definition::tests::definition, judge::tests::figure};

    const LATENCY: &str = "-- group: performance\n-- unit: ms\n-- tiers: < 5000, < 3000, < 2000\n-- needs: latency_ms";

    fn may() -> Windows {
        let us = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
        Windows {
            grain: Grain::Month,
            from_us: us("2026-05-01T00:00:00Z"),
            to_us: us("2026-06-01T00:00:00Z"),
            now_us: us("2026-07-01T00:00:00Z"),
        }
    }

    #[test]
    fn tiers_are_reached_one_after_the_other() {
        let check = |value: f64, samples: u64, expect: Option<Tier>| {
            let line = CardLine::new(&definition(LATENCY), &may(), vec![figure(1, "all", Some(value), samples)], &[]);
            assert_eq!(line.tier, expect, "{value}");
            assert_eq!(line.reason.is_some(), expect.is_none());
        };
        check(1_999.0, 30, Some(Tier::Excellent));
        check(2_000.0, 30, Some(Tier::Good));
        check(3_000.0, 30, Some(Tier::Basic));
        check(5_000.0, 30, Some(Tier::None));
        check(1.0, 29, None);
    }

    #[test]
    fn what_is_not_known_has_no_tier() {
        let latency = definition(LATENCY);
        let empty = CardLine::new(&latency, &may(), vec![], &[]);
        assert_eq!((empty.state, empty.tier, empty.value), (State::Insufficient, None, None));
        let lacking: Vec<&Need> = latency.needs.iter().collect();
        let silent = CardLine::new(&latency, &may(), vec![figure(1, "all", Some(0.0), 99)], &lacking);
        assert_eq!((silent.state, silent.tier, silent.value), (State::NotMeasured, None, None));
        assert_eq!(silent.reason.as_deref(), Some("no call has latency_ms: add latency_ms"));
    }

    #[test]
    fn returns_are_value_less_cost_or_say_which_setting_is_missing() {
        let returns = definition("-- group: usage\n-- unit: ratio\n-- target: > 3\n-- alert: < 1\n-- needs: cost");
        let mut known = figure(1, "rag", Some(4.0), 40);
        (known.numerator, known.denominator) = (Some(200.0), Some(50.0));
        let mut silent = figure(1, "mute", None, 0);
        silent.numerator = Some(0.0);
        let mut done = figure(1, "rag", Some(1.0), 40);
        done.numerator = Some(20.0);
        let lacking = |key: Option<&str>| returns.needs.iter().filter(|_| key == Some("mute")).collect();
        let figures = vec![known, figure(1, "bot", None, 0), silent];
        let lines = ReturnLine::all(&returns, &may(), figures, &[done], lacking);
        assert_eq!((lines[0].state, lines[0].net_usd, lines[0].tasks_done), (State::TargetMet, Some(150.0), Some(20)));
        assert_eq!(lines[2].state, State::NotMeasured);
        assert_eq!(lines[2].reason.as_deref(), Some("no call has cost: add cost_usd"));
        assert_eq!(lines[1].state, State::NotMeasured);
        assert!(lines[1].reason.as_deref().unwrap().contains("kpi.agents.\"bot\".task_value_usd"));
    }
}
