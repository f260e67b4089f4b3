//! Hours of KPIs that their past does not explain, and hours with sessions or calls that the others do not. The judge of
//! KPIs goes by what came before each hour anyway; here the hours that it finds become episodes, and longer ranges are
//! taken in parts. Sessions and calls are looked for hour by hour, as the job does.

use std::collections::{BTreeMap, BTreeSet};

use super::{Given, text_of};
use crate::{
    backtest::{Answer, MOMENTS_MAX, Moments, Reading, Replay, Seen, Subject},
    error::Result,
    query::{AnomalyRequest, Engine, Range},
};

pub(super) const PARAMETERS: &str = "kpi, by, score_min, history_days, tenant_id, agent_id, model";
/// What is handed on as it came.
const HANDED_ON: [&str; 7] = ["kpi", "by", "score_min", "history_days", "tenant_id", "agent_id", "model"];

/// The query of calls that take far longer than their tokens.
const STUCK_CALLS: &str = "stuck_calls";
const HOUR_US: i64 = 3_600_000_000;
/// Hours whose rows are held at once. Hours are judged alike whatever they are asked for with.
const PART_US: i64 = 28 * 24 * HOUR_US;

/// What to look at, as `driftline anomalies` takes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AnomalyRule {
    given: BTreeMap<&'static str, String>,
    hold_us: i64,
    /// Single calls take long now and then: fewer of an agent in an hour than this are passed over.
    stuck_calls_min: u64,
}

impl AnomalyRule {
    pub fn parse(given: &mut Given) -> Result<Self> {
        let handed_on = HANDED_ON.into_iter().filter_map(|name| Some((name, given.take(name)?)));
        let rule = Self { given: handed_on.collect(), hold_us: given.hold_us()?, stuck_calls_min: 1 };
        // What does not fit is told before anything is judged.
        rule.request(Range { from_us: 0, to_us: HOUR_US }, HOUR_US)?;
        Ok(rule)
    }

    /// All watched KPIs of each agent, from this score on.
    pub fn of_agents(score_min: f64) -> Self {
        let given = [("by", "agent".to_owned()), ("score_min", score_min.to_string())];
        Self { given: given.into_iter().collect(), hold_us: 0, stuck_calls_min: 1 }
    }

    /// Sessions and calls of these kinds.
    pub fn of_events(kinds: &str, stuck_calls_min: u64) -> Self {
        Self { given: BTreeMap::from([("kpi", kinds.to_owned())]), hold_us: 0, stuck_calls_min }
    }

    fn request(&self, range: Range, now_us: i64) -> Result<AnomalyRequest> {
        let (from, to) = (text_of(range.from_us)?, text_of(range.to_us)?);
        let given = self.given.iter().map(|(name, text)| (*name, text.as_str()));
        AnomalyRequest::parse(given.chain([("from", from.as_str()), ("to", &to)]), now_us)
    }
}

impl Engine {
    pub(super) async fn backtest_anomalies(&self, range: Range, rule: &AnomalyRule) -> Result<Answer> {
        let moments = Moments::new(range.from_us, range.to_us, HOUR_US, MOMENTS_MAX)?;
        let mut replay = Replay::new(rule.hold_us);
        let (mut judged, mut insufficient) = (0, 0);
        let (mut series, mut units) = (BTreeSet::new(), BTreeMap::new());
        let mut condition = String::new();
        for part in moments.parts(PART_US) {
            // An hour is known at its end.
            let hours = Range { from_us: part.first_us() - HOUR_US, to_us: part.last_us() };
            let request = rule.request(hours, self.now_us())?;
            condition = request.words();
            let mut found: BTreeMap<i64, BTreeMap<Subject, Reading>> = BTreeMap::new();
            for one in self.judged_series(&request).await? {
                let subject = Subject { what: one.kpi, by: request.by().to_owned(), key: one.key };
                judged += one.judged.hours;
                insufficient += one.hours.saturating_sub(one.judged.hours);
                for finding in &one.judged.findings {
                    let reading = Reading {
                        value: finding.value,
                        limit: finding.expected,
                        samples: finding.samples,
                        score: Some(finding.score),
                        excess: finding.score,
                    };
                    found.entry(finding.start_us + HOUR_US).or_default().insert(subject.clone(), reading);
                }
                if !units.contains_key(&subject.what) {
                    units.insert(subject.what.clone(), self.unit(&subject.what)?);
                }
                series.insert(subject);
            }
            let busy =
                if request.events.is_empty() { BTreeSet::new() } else { self.hours_with_calls(&request).await? };
            for event in &request.events {
                let least = if event.query == STUCK_CALLS { rule.stuck_calls_min } else { 1 };
                units.entry(event.query.to_owned()).or_insert_with(|| "count".to_owned());
                for at_us in part.iter().filter(|at_us| busy.contains(&(at_us - HOUR_US))) {
                    let hour = Range { from_us: at_us - HOUR_US, to_us: at_us };
                    judged += 1;
                    let mut counts: BTreeMap<Option<String>, u64> = BTreeMap::new();
                    for row in self.events(event, hour, &request.filters).await? {
                        *counts.entry(row.slice).or_default() += 1;
                    }
                    for (key, count) in counts.into_iter().filter(|(_, count)| *count >= least) {
                        let subject = Subject { what: event.query.to_owned(), by: "agent".to_owned(), key };
                        let value = count as f64;
                        let reading = Reading { value, limit: None, samples: count, score: None, excess: value };
                        series.insert(subject.clone());
                        found.entry(at_us).or_default().insert(subject, reading);
                    }
                }
            }
            for at_us in part.iter() {
                replay.evaluate(at_us, found.remove(&at_us).unwrap_or_default());
            }
        }
        if rule.stuck_calls_min > 1 {
            condition += &format!(", {STUCK_CALLS} from {} of an agent in an hour on", rule.stuck_calls_min);
        }
        let seen = Seen {
            rule: "anomalies".to_owned(),
            condition,
            moments,
            hold_us: rule.hold_us,
            series: series.len() as u64,
            judged,
            insufficient,
            not_looked_at: Vec::new(),
        };
        let unit_of = |subject: &Subject| units.get(&subject.what).cloned().unwrap_or_default();
        Ok(Answer::new(seen, replay.finish(), unit_of))
    }
}
