//! Settings of what is to be kept: objectives of the service, and what a month may cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most objectives: each asks two statements.
const OBJECTIVES_MAX: usize = 100;
/// A window of an objective is so long, days: its burn rate is looked at over three of them.
const WINDOW_DAYS: std::ops::RangeInclusive<u32> = 3..=90;
/// Targets of an objective: below, more calls may be bad than good.
const TARGET_MIN: f64 = 0.5;

/// What a month may cost, USD; only in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// All calls together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly_usd: Option<Usd>,
    /// Those of one tenant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, OwnBudgetConfig>,
    /// Those of one agent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, OwnBudgetConfig>,
}

/// What a month of one tenant or one agent may cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnBudgetConfig {
    /// USD.
    pub monthly_usd: Usd,
}

/// An amount above 0, USD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Usd(f64);

impl Usd {
    /// The amount.
    pub fn amount(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Usd {
    type Error = String;

    fn try_from(amount: f64) -> Result<Self, String> {
        if amount.is_finite() && amount > 0.0 {
            return Ok(Self(amount));
        }
        Err(format!("{amount} is no budget in USD: a number above 0"))
    }
}

/// All objectives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<SloConfig>")]
pub struct SloConfigs(Vec<SloConfig>);

impl SloConfigs {
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, in the order of the file.
    pub fn as_slice(&self) -> &[SloConfig] {
        &self.0
    }
}

impl TryFrom<Vec<SloConfig>> for SloConfigs {
    type Error = String;

    fn try_from(objectives: Vec<SloConfig>) -> Result<Self, String> {
        if objectives.len() > OBJECTIVES_MAX {
            return Err(format!("{} objectives are more than {OBJECTIVES_MAX}", objectives.len()));
        }
        for (place, objective) in objectives.iter().enumerate() {
            if objectives[..place].iter().any(|other| other.name == objective.name) {
                return Err(format!("two objectives have the name {}", objective.name));
            }
        }
        Ok(Self(objectives))
    }
}

/// An objective; only in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SloTable", into = "SloTable")]
pub struct SloConfig {
    /// Its name in answers and labels.
    pub name: String,
    /// What is good.
    pub indicator: SloIndicator,
    /// Length of its window, days; the window ends now.
    pub window_days: u32,
    /// Only this tenant.
    pub tenant_id: Option<String>,
    /// Only this agent.
    pub agent_id: Option<String>,
    /// Only this model.
    pub model: Option<String>,
}

/// What is good, and which share of the calls is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SloIndicator {
    /// Calls within so many ms, of those that say how long they took.
    Latency {
        /// The longest that is good, ms.
        threshold_ms: f64,
        /// Share of the calls.
        target: f64,
    },
    /// Calls without an error.
    Errors {
        /// Share of the calls.
        target: f64,
    },
    /// Calls with a good score, of those that have it.
    Quality {
        /// Which score.
        score: Score,
        /// The worst that is good.
        bound: f64,
        /// Share of the calls.
        target: f64,
    },
    /// What calls cost.
    Cost {
        /// What a day may cost, on average over the window, USD.
        usd_per_day: f64,
    },
}

/// A score of a call's quality, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// How well the answer rests on what was retrieved.
    Groundedness,
    /// How well it answers the question.
    Relevance,
    /// What the user thought of it.
    UserSatisfaction,
    /// How likely it is made up: smaller is better.
    HallucinationProbability,
}

impl Score {
    /// The column's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Groundedness => "groundedness",
            Self::Relevance => "relevance",
            Self::UserSatisfaction => "user_satisfaction",
            Self::HallucinationProbability => "hallucination_probability",
        }
    }

    /// Smaller scores are better.
    pub fn is_less_better(self) -> bool {
        self == Self::HallucinationProbability
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Latency,
    Errors,
    Quality,
    Cost,
}

/// An objective as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SloTable {
    name: String,
    kind: Kind,
    window_days: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score_bound: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usd_per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

impl TryFrom<SloTable> for SloConfig {
    type Error = String;

    fn try_from(table: SloTable) -> Result<Self, String> {
        let indicator = table.indicator().map_err(|reason| format!("objective {}: {reason}", table.name))?;
        let SloTable { name, window_days, tenant_id, agent_id, model, .. } = table;
        Ok(Self { name, indicator, window_days, tenant_id, agent_id, model })
    }
}

impl SloTable {
    fn indicator(&self) -> Result<SloIndicator, String> {
        if self.name.is_empty() {
            return Err("name is empty".to_owned());
        }
        if !WINDOW_DAYS.contains(&self.window_days) {
            let (least, most) = (WINDOW_DAYS.start(), WINDOW_DAYS.end());
            return Err(format!("window_days = {} is not from {least} to {most}", self.window_days));
        }
        self.check_fields()?;
        match self.kind {
            Kind::Latency => Ok(SloIndicator::Latency {
                threshold_ms: above_0("threshold_ms", self.threshold_ms)?,
                target: self.target()?,
            }),
            Kind::Errors => Ok(SloIndicator::Errors { target: self.target()? }),
            Kind::Quality => {
                let score = self.score.ok_or("score is missing")?;
                let bound = self.score_bound.ok_or("score_bound is missing")?;
                if !(0.0..=1.0).contains(&bound) {
                    return Err(format!("score_bound = {bound} is not from 0 to 1"));
                }
                Ok(SloIndicator::Quality { score, bound, target: self.target()? })
            }
            Kind::Cost => Ok(SloIndicator::Cost { usd_per_day: above_0("usd_per_day", self.usd_per_day)? }),
        }
    }

    /// Fields of other kinds would be passed over in silence.
    fn check_fields(&self) -> Result<(), String> {
        let fields = [
            ("target", self.target.is_some(), self.kind != Kind::Cost),
            ("threshold_ms", self.threshold_ms.is_some(), self.kind == Kind::Latency),
            ("score", self.score.is_some(), self.kind == Kind::Quality),
            ("score_bound", self.score_bound.is_some(), self.kind == Kind::Quality),
            ("usd_per_day", self.usd_per_day.is_some(), self.kind == Kind::Cost),
        ];
        match fields.into_iter().find(|(_, is_there, belongs)| *is_there && !belongs) {
            Some((field, ..)) => Err(format!("{field} does not belong to its kind")),
            None => Ok(()),
        }
    }

    fn target(&self) -> Result<f64, String> {
        let target = self.target.ok_or("target is missing")?;
        if (TARGET_MIN..1.0).contains(&target) {
            return Ok(target);
        }
        Err(format!("target = {target} is not from {TARGET_MIN} to below 1: 0.99 is 99 % of the calls"))
    }
}

fn above_0(field: &str, value: Option<f64>) -> Result<f64, String> {
    let value = value.ok_or_else(|| format!("{field} is missing"))?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(format!("{field} = {value} is not above 0")) }
}

impl From<SloConfig> for SloTable {
    fn from(objective: SloConfig) -> Self {
        let SloConfig { name, indicator, window_days, tenant_id, agent_id, model } = objective;
        let mut table = Self {
            name,
            kind: Kind::Errors,
            window_days,
            target: None,
            threshold_ms: None,
            score: None,
            score_bound: None,
            usd_per_day: None,
            tenant_id,
            agent_id,
            model,
        };
        match indicator {
            SloIndicator::Latency { threshold_ms, target } => {
                (table.kind, table.threshold_ms, table.target) = (Kind::Latency, Some(threshold_ms), Some(target));
            }
            SloIndicator::Errors { target } => table.target = Some(target),
            SloIndicator::Quality { score, bound, target } => {
                (table.kind, table.score, table.score_bound) = (Kind::Quality, Some(score), Some(bound));
                table.target = Some(target);
            }
            SloIndicator::Cost { usd_per_day } => (table.kind, table.usd_per_day) = (Kind::Cost, Some(usd_per_day)),
        }
        table
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Config;

    #[test]
    fn the_documented_objectives_can_be_read_and_written() {
        // What stands behind `# ` in the example, below its heading.
        let documented = include_str!("../../docs/driftline.toml");
        let (_, from) = documented.split_once("# [[slo]]").unwrap();
        let lines = from.lines().skip(1).take_while(|line| line.starts_with('#') || line.is_empty());
        let text: String = lines.map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
        let config: Config = toml::from_str(&format!("[[slo]]\n{text}")).unwrap();
        assert_eq!(config.slo.as_slice().len(), 4);
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn what_is_no_objective_is_named() {
        let check = |lines: &str, expected: &str| {
            let text = format!("[[slo]]\nname = \"a\"\n{lines}");
            let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("kind = \"errors\"\nwindow_days = 30", "objective a: target is missing");
        check("kind = \"errors\"\nwindow_days = 2\ntarget = 0.9", "window_days = 2 is not from 3 to 90");
        check("kind = \"errors\"\nwindow_days = 30\ntarget = 99.0", "target = 99 is not from 0.5 to below 1");
        check("kind = \"errors\"\nwindow_days = 30\ntarget = 0.9\nscore_bound = 0.5", "score_bound does not belong");
        check("kind = \"latency\"\nwindow_days = 30\ntarget = 0.9", "threshold_ms is missing");
        check(
            "kind = \"latency\"\nwindow_days = 30\ntarget = 0.9\nthreshold_ms = 0.0",
            "threshold_ms = 0 is not above 0",
        );
        check("kind = \"quality\"\nwindow_days = 30\ntarget = 0.9\nscore = \"groundedness\"", "score_bound is missing");
        check("kind = \"cost\"\nwindow_days = 30\ntarget = 0.9\nusd_per_day = 5.0", "target does not belong");
        check("kind = \"cost\"\nwindow_days = 30\nusd_per_day = inf", "usd_per_day = inf is not above 0");
        check("kind = \"speed\"\nwindow_days = 30", "speed");
        let cost = "kind = \"cost\"\nwindow_days = 30\nusd_per_day = 5.0\n";
        check(&format!("{cost}[[slo]]\nname = \"a\"\n{cost}"), "two objectives have the name a");
        check("kind = \"cost\"\nwindow_days = 30\nusd_per_day = 5.0\ngoal = 3", "goal");
    }

    #[test]
    fn months_have_budgets() {
        let text = "[budget]\nmonthly_usd = 500\n[budget.tenants.\"a b\"]\nmonthly_usd = 20.5";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.budget.monthly_usd.unwrap().amount(), 500.0);
        assert_eq!(config.budget.tenants["a b"].monthly_usd.amount(), 20.5);
        for wrong in ["0", "-1.0", "nan", "inf"] {
            let error = toml::from_str::<Config>(&format!("[budget]\nmonthly_usd = {wrong}")).unwrap_err().to_string();
            assert!(error.contains("no budget in USD"), "{error}");
        }
    }
}
