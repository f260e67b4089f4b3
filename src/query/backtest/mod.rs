//! Rules over stored history, as questions: when would each have fired? The judges are those of `driftline drift`,
//! `driftline anomalies`, KPIs and objectives, asked for each moment with what happened before it; what becomes of
//! their verdicts is `backtest`'s.
//!
//! Time is that of the calls: when they arrived is not considered, so a call that came late is known in time.

mod anomalies;
mod drift;
mod kpi;
mod objectives;

use std::collections::BTreeMap;

use super::{Engine, Range, moment::text_of};
use crate::{
    backtest::{ALERTS, Alert, Answer, Answers, Replays, duration_us},
    drift::By,
    error::{Error, Kind, Result},
    named::parse_time,
};

use anomalies::AnomalyRule;
use drift::{Column, DriftRule};
use kpi::KpiRule;
use objectives::ObjectiveRule;

/// The rules there are.
const RULES: &str = "drift, anomalies, kpi, slo, alert";
/// The KPI that quotas are replayed by.
const TOKEN_QUOTA_USED: &str = "token_quota_used";
/// What each rule may be asked with.
const OF_ALL: &str = "rule, from, to, for";

/// What to replay.
#[derive(Debug, Clone, PartialEq)]
pub struct BacktestRequest {
    range: Range,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Drift(DriftRule),
    Anomalies(AnomalyRule),
    Kpi(KpiRule),
    Objectives(ObjectiveRule),
    /// One, or all of those that can be replayed.
    Alerts(Vec<&'static Alert>),
}

impl BacktestRequest {
    /// The request of parameters as text. Empty values are as if they were not there.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names the parameter.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, now_us: i64) -> Result<Self> {
        let given = parameters.into_iter().filter(|(_, text)| !text.is_empty());
        let mut given = Given(given.map(|(name, text)| (name.to_owned(), text.to_owned())).collect());
        let mut time = |name: &str, default: &str| {
            let text = given.take(name).unwrap_or_else(|| default.to_owned());
            parse_time(&text, now_us).map_err(|reason| Error::invalid(format!("{name}: {reason}")))
        };
        // What is still to happen cannot be replayed.
        let range = Range { from_us: time("from", "now-7d")?, to_us: time("to", "now")?.min(now_us) };
        let name = given.take("rule").ok_or_else(|| Error::invalid(format!("rule is missing: one of {RULES}")))?;
        let (rule, own) = match name.as_str() {
            "drift" => (Rule::Drift(DriftRule::parse(&mut given)?), drift::PARAMETERS),
            "anomalies" => (Rule::Anomalies(AnomalyRule::parse(&mut given)?), anomalies::PARAMETERS),
            "kpi" => (Rule::Kpi(KpiRule::parse(&mut given)?), kpi::PARAMETERS),
            "slo" => (Rule::Objectives(ObjectiveRule::parse(&mut given)?), objectives::PARAMETERS),
            "alert" => (Rule::Alerts(alerts_of(&mut given)?), "name"),
            other => return Err(Error::invalid(format!("rule={other} is not one of {RULES}"))),
        };
        match given.0.keys().next() {
            Some(extra) => Err(Error::invalid(format!(
                "{extra} is no parameter of a backtest of {name}; there are {OF_ALL}, {own}"
            ))),
            None => Ok(Self { range, rule }),
        }
    }
}

/// Parameters that nobody has read yet.
struct Given(BTreeMap<String, String>);

impl Given {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn duration_us(&mut self, name: &str) -> Result<Option<i64>> {
        let read = |text: String| duration_us(&text).map_err(|reason| Error::invalid(format!("{name}: {reason}")));
        self.take(name).map(read).transpose()
    }

    /// How long a series has to break the rule before it fires, µs.
    fn hold_us(&mut self) -> Result<i64> {
        Ok(self.duration_us("for")?.unwrap_or(0))
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let read = |text: String| text.parse().map_err(|_| Error::invalid(format!("{name}={text} is no number")));
        self.take(name).map(read).transpose()
    }

    /// `tenant_id`, `agent_id` and `model`, where given.
    fn filters(&mut self) -> BTreeMap<&'static str, String> {
        ["tenant_id", "agent_id", "model"].into_iter().filter_map(|name| Some((name, self.take(name)?))).collect()
    }
}

fn alerts_of(given: &mut Given) -> Result<Vec<&'static Alert>> {
    let Some(name) = given.take("name") else {
        // Each hour's sessions and calls are looked for by themselves, which takes long: by name only.
        let is_quick = |alert: &&Alert| !matches!(alert.replays, Replays::Events { .. });
        return Ok(ALERTS.iter().filter(is_quick).collect());
    };
    let names = || ALERTS.iter().map(|alert| alert.name).collect::<Vec<_>>().join(", ");
    let unknown =
        || Error::invalid(format!("name={name}: nothing stored says the same as such an alert; there are {}", names()));
    Alert::named(&name).map(|alert| vec![alert]).ok_or_else(unknown)
}

impl Engine {
    /// When the rule would have fired.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for a KPI or an objective that is not there, [`Kind::Invalid`] for more moments than are
    /// replayed, [`Kind::Exhausted`] for too many series, and those of the statements.
    pub async fn backtest(&self, request: &BacktestRequest) -> Result<Answers> {
        let range = request.range;
        let rules = match &request.rule {
            Rule::Drift(rule) => vec![self.backtest_drift(range, rule).await?],
            Rule::Anomalies(rule) => vec![self.backtest_anomalies(range, rule).await?],
            Rule::Kpi(rule) => vec![self.backtest_kpi(range, rule).await?],
            Rule::Objectives(rule) => self.backtest_objectives(range, rule).await?,
            Rule::Alerts(alerts) => {
                let mut answers = Vec::new();
                for alert in alerts {
                    answers.push(self.backtest_alert(range, alert).await?);
                }
                answers
            }
        };
        Ok(Answers { rules })
    }

    async fn backtest_alert(&self, range: Range, alert: &Alert) -> Result<Answer> {
        let length = |text| duration_us(text).map_err(|reason| Error::new(Kind::Internal, reason));
        let mut answer = match alert.replays {
            Replays::Kpi { kpi, window, above, samples_min, hold } => {
                let rule = KpiRule {
                    window_us: Some(length(window)?),
                    hold_us: length(hold)?,
                    samples_min: Some(samples_min),
                    ..KpiRule::above(kpi, "agent", above)
                };
                self.backtest_kpi(range, &rule).await?
            }
            Replays::Quota { above } => {
                let rule =
                    KpiRule { step_us: Some(length("1h")?), ..KpiRule::above(TOKEN_QUOTA_USED, "tenant", above) };
                self.backtest_kpi(range, &rule).await?
            }
            Replays::Drift => {
                let rule = DriftRule { shown_by: Some(By::AgentId), silent: false, ..DriftRule::default() };
                self.backtest_drift(range, &rule).await?
            }
            Replays::SilentChange => {
                let rule = DriftRule { columns: vec![Column::SilentChange], ..DriftRule::default() };
                self.backtest_drift(range, &rule).await?
            }
            Replays::Anomalies { score_min } => {
                self.backtest_anomalies(range, &AnomalyRule::of_agents(score_min)).await?
            }
            Replays::Events { kinds, stuck_calls_min } => {
                self.backtest_anomalies(range, &AnomalyRule::of_events(kinds, stuck_calls_min)).await?
            }
            Replays::Objectives { long } => self.backtest_pair(range, long).await?,
        };
        alert.name.clone_into(&mut answer.rule);
        if let Some(differs) = alert.differs {
            answer.condition += &format!("; unlike the rule, {differs}");
        }
        Ok(answer)
    }
}

/// The filters of a rule, in words.
fn shown_filters(filters: &BTreeMap<&'static str, String>) -> String {
    filters.iter().map(|(name, value)| format!(", {name} {value}")).collect()
}
