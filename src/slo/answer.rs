//! An objective's answer: counts in, judged figures out, each with its unit, its samples and its range of time. Its
//! serialization is the JSON format.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    breach::Breach,
    burn::BurnRate,
    counts::{Allowance, Counts, Sum},
};
use crate::{
    config::{SloConfig, SloIndicator},
    stats::binomial_upper_tail,
};

/// Share of the calls that may say nothing of their cost; with more of them, nobody knows what was spent.
pub const UNKNOWN_MAX: f64 = 0.1;
/// A window is judged where calls of which just what is allowed were bad would bring none, or as many as there are,
/// with at most this probability. It is asked once, not every hour as burn rates are.
pub const JUDGED_LEVEL: f64 = 0.05;

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
    /// Calls that do not say what they cost, and count for nothing; none for other objectives.
    pub calls_unknown: Option<u64>,
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
    /// No call in its window says anything, too few do, or too many do not say what they cost.
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
        let (state, reason) = match budget {
            None => (State::Insufficient, Some(format!("no call in the window says {}", field(&objective.indicator)))),
            Some(budget) => {
                let is_burning = burn_rates.iter().any(|pair| pair.is_burning);
                let unsaid = unsaid(whole, allowance, budget.left < 0.0);
                match unsaid {
                    None if budget.left < 0.0 => (State::Missed, None),
                    _ if is_burning => (State::Burning, None),
                    Some(reason) => (State::Insufficient, Some(reason)),
                    None => (State::Met, None),
                }
            }
        };
        Self {
            objective: ObjectiveFigure::new(objective),
            from: time(whole.span.from_us),
            to: time(whole.span.to_us),
            first_samples: counts.slots().iter().find(|slot| slot.samples > 0).map(|slot| time(slot.start_us)),
            state,
            reason,
            calls_unknown: matches!(allowance, Allowance::PerDay(_)).then_some(whole.unknown),
            budget,
            burn_rates,
            breach: Breach::new(counts, allowance, objective.window_days),
        }
    }
}

/// Why a window's calls do not say whether the objective is met, or missed where more than is allowed `is_used`; none
/// where they do.
fn unsaid(whole: Sum, allowance: Allowance, is_used: bool) -> Option<String> {
    let Sum { samples, unknown, bad, .. } = whole;
    match allowance {
        // What is spent is spent, and what is not known can only be more.
        Allowance::PerDay(_) => {
            let calls = samples + unknown;
            (!is_used && unknown as f64 > UNKNOWN_MAX * calls as f64).then(|| {
                format!("{unknown} of {calls} calls do not say what they cost, {:.0} % may", 100.0 * UNKNOWN_MAX)
            })
        }
        Allowance::Share(share) => {
            let needed = (JUDGED_LEVEL.ln() / (-share).ln_1p()).ceil();
            let is_sure = is_used
                && binomial_upper_tail(bad as u64, samples, share).is_some_and(|p_value| p_value <= JUDGED_LEVEL);
            ((samples as f64) < needed && !is_sure).then(|| {
                format!(
                    "too few calls to judge by ({samples}): with just what is allowed bad, fewer than {needed:.0} may \
                     bring none"
                )
            })
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
