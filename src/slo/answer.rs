//! An objective's answer: counts in, judged figures out, each with its unit, its samples and its range of time. Its
//! serialization is the JSON format.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    breach::Breach,
    burn::BurnRate,
    counts::{Allowance, Counts},
};
use crate::config::{SloConfig, SloIndicator};

/// All objectives, as they are at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SloAnswers)]
pub struct Answers {
    /// When this was said, UTC.
    pub made_at: String,
    /// In the order of the settings.
    pub objectives: Vec<Answer>,
}

/// What is said of an objective.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SloAnswer)]
pub struct Answer {
    /// The objective, as the settings have it.
    #[serde(flatten)]
    pub objective: ObjectiveFigure,
    /// Start of its window, UTC.
    pub from: String,
    /// End of its window, exclusive: the last whole minute.
    pub to: String,
    /// The first hour of the window that has samples.
    pub first_samples: Option<String>,
    /// What is said.
    pub state: State,
    /// Why nothing is said, where that is so.
    pub reason: Option<String>,
    /// What is allowed to go wrong, and what is left of it; none without samples.
    pub budget: Option<BudgetFigure>,
    /// How fast it is used, over the pairs of windows.
    pub burn_rates: Vec<BurnRate>,
    /// When it is used up.
    pub breach: Breach,
}

/// An objective, as the settings have it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SloObjective)]
pub struct ObjectiveFigure {
    /// Its name.
    pub name: String,
    /// `latency`, `errors`, `quality` or `cost`.
    pub kind: &'static str,
    /// In words.
    pub objective: String,
    /// Share of the calls that are to be good; none for cost.
    pub target: Option<f64>,
    /// Length of its window, days.
    pub window_days: u32,
    /// Unit of all that is bad: calls or USD.
    pub unit: &'static str,
    /// Only this tenant.
    pub tenant_id: Option<String>,
    /// Only this agent.
    pub agent_id: Option<String>,
    /// Only this model.
    pub model: Option<String>,
}

/// What is said of an objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SloState)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is met, and nothing burns.
    Met,
    /// It is met, and what is allowed is used too fast.
    Burning,
    /// More went wrong than is allowed.
    Missed,
    /// No call in its window says anything.
    Insufficient,
}

/// What is allowed to go wrong in the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = SloBudget)]
pub struct BudgetFigure {
    /// Calls that say whether they were good, or what they cost.
    pub samples: u64,
    /// Share of the calls that were good; none for cost.
    pub good: Option<f64>,
    /// What is allowed: calls or USD.
    pub allowed: f64,
    /// What went wrong, or was spent.
    pub used: f64,
    /// What is left, a share of what is allowed; below 0 where more was used.
    pub left: f64,
}

impl Answer {
    /// Judges an objective's counts.
    pub fn new(objective: &SloConfig, counts: &Counts) -> Self {
        let allowance = Allowance::new(objective);
        let whole = counts.whole();
        let budget = (whole.samples > 0).then(|| {
            let allowed = allowance.of(whole.samples as f64, f64::from(objective.window_days));
            let is_share = matches!(allowance, Allowance::Share(_));
            BudgetFigure {
                samples: whole.samples,
                good: is_share.then(|| 1.0 - whole.bad / whole.samples as f64),
                allowed,
                used: whole.bad,
                left: 1.0 - whole.bad / allowed,
            }
        });
        let burn_rates = BurnRate::all(counts, allowance);
        let state = match budget {
            None => State::Insufficient,
            Some(budget) if budget.left < 0.0 => State::Missed,
            Some(_) if burn_rates.iter().any(|pair| pair.is_burning) => State::Burning,
            Some(_) => State::Met,
        };
        let field = field(&objective.indicator);
        let reason = budget.is_none().then(|| format!("no call in the window says {field}"));
        Self {
            objective: ObjectiveFigure::new(objective),
            from: time(whole.span.from_us),
            to: time(whole.span.to_us),
            first_samples: counts.slots().first().map(|slot| time(slot.start_us)),
            state,
            reason,
            budget,
            burn_rates,
            breach: Breach::new(counts, allowance, objective.window_days),
        }
    }
}

impl Answers {
    /// Those of one moment.
    pub fn new(now_us: i64, objectives: Vec<Answer>) -> Self {
        Self { made_at: time(now_us), objectives }
    }
}

impl ObjectiveFigure {
    fn new(objective: &SloConfig) -> Self {
        let days = objective.window_days;
        let share = |target: f64, good: &str| format!("{} % of the calls {good}, over {days} days", percent(target));
        let (kind, words, target, unit) = match &objective.indicator {
            SloIndicator::Latency { threshold_ms, target } => {
                ("latency", share(*target, &format!("within {threshold_ms} ms")), Some(*target), "calls")
            }
            SloIndicator::Errors { target } => ("errors", share(*target, "without an error"), Some(*target), "calls"),
            SloIndicator::Quality { score, bound, target } => {
                let side = if score.is_less_better() { "at most" } else { "at least" };
                let good = format!("with a {} of {side} {bound}", score.name());
                ("quality", share(*target, &good), Some(*target), "calls")
            }
            SloIndicator::Cost { usd_per_day } => {
                ("cost", format!("at most {usd_per_day} USD a day, over {days} days"), None, "USD")
            }
        };
        Self {
            name: objective.name.clone(),
            kind,
            objective: words,
            target,
            window_days: days,
            unit,
            tenant_id: objective.tenant_id.clone(),
            agent_id: objective.agent_id.clone(),
            model: objective.model.clone(),
        }
    }
}

/// A share as percent, without the digits that floating point adds.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

fn field(indicator: &SloIndicator) -> &'static str {
    match indicator {
        SloIndicator::Latency { .. } => "how long it took (latency_ms)",
        SloIndicator::Errors { .. } => "anything",
        SloIndicator::Quality { score, .. } => score.name(),
        SloIndicator::Cost { .. } => "what it cost",
    }
}

/// A moment as answers have it; empty outside the calendar.
pub(super) fn time(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
}
