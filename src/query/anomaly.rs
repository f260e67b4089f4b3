//! Anomalies as questions: the hours of KPIs by slice, what of a slice a deviation comes from, and the calls that show
//! it. What is odd is decided by `anomaly`.

mod hours;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use hours::start_us;
use hours::{USUAL_DAYS, Watched, parts_of, series_of};

use super::{Engine, LibraryKind, Range, moment::text_of, watch::OddEvent};
use crate::{
    anomaly::{Asked, Contribution, EVENTS, Event, Finding, Hour, Judged, Kind as FigureKind, contributions, judge},
    error::{Context, Error, Kind, Result},
    kpi::{Definition, Figure},
    named::parse_time,
};

/// The number of calls, which is watched like a KPI and is none: there is no good or bad of it.
pub(super) const TRAFFIC: &str = "traffic";
/// What is watched unless KPIs are named: those whose hours can be told from each other, one for each thing that goes
/// wrong.
pub(super) const WATCHED: [&str; 12] = [
    TRAFFIC,
    "cost",
    "error_rate",
    "retry_rate",
    "tool_failure_rate",
    "guardrail_block_rate",
    "context_overflow_rate",
    "hallucination_rate",
    "latency_mean",
    "ttft_p95",
    "input_tokens",
    "output_tokens",
];
pub(super) const DIMENSIONS: [&str; 3] = ["agent", "tenant", "model"];

pub(super) const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// The past that hours are judged by unless another is named, the shortest and the longest one, days. Three weeks make
/// the week's rhythm known, and as many say what is usual beside it.
const HISTORY_DAYS: i64 = 42;
const HISTORY_DAYS_MIN: i64 = 7;
const HISTORY_DAYS_MAX: i64 = 182;
/// Longest range that is judged.
const RANGE_US_MAX: i64 = 92 * DAY_US;
/// Most KPIs of one question, and most series.
const KPIS_MAX: usize = 40;
const SERIES_MAX: usize = 500;
/// Most pairs of hours of a series that are compared, over all series: some forty seconds on one core. So many series in
/// hours of two weeks, by the default history, are as many pairs.
const PAIRS_MAX: usize = 1_250_000_000;
/// Rows of one KPI.
const ROWS_MAX: usize = 500_000;
/// Findings of an answer unless another limit is named, and most of them.
const FINDINGS: usize = 20;
const FINDINGS_MAX: usize = 100;
const CONTRIBUTIONS_MAX: usize = 3;
const EXAMPLES_MAX: usize = 5;
/// What to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct AnomalyRequest {
    /// Whole hours.
    pub(super) range: Range,
    history_days: i64,
    kpis: Vec<String>,
    /// Kinds of sessions and calls that are looked for as well.
    pub(super) events: Vec<&'static Event>,
    by: String,
    /// `tenant_id`, `agent_id` and `model`, where given.
    pub(super) filters: BTreeMap<&'static str, String>,
    score_min: f64,
    pub(super) limit: usize,
}

impl AnomalyRequest {
    /// The request of one KPI, or of the traffic, in a range of whole hours.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for a history that is too short or too long.
    pub(super) fn of_hours(kpi: &str, by: &str, range: Range, history_days: u32) -> Result<Self> {
        let history_days = whole("history_days", &history_days.to_string(), HISTORY_DAYS_MIN, HISTORY_DAYS_MAX)?;
        Ok(Self {
            range,
            history_days,
            kpis: vec![kpi.to_owned()],
            events: Vec::new(),
            by: by.to_owned(),
            filters: BTreeMap::new(),
            score_min: crate::detect::ANOMALY,
            limit: FINDINGS,
        })
    }

    /// The request of parameters as text. Empty values are as if they were not there.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names the parameter.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, now_us: i64) -> Result<Self> {
        let time = |name: &str, text: &str| {
            parse_time(text, now_us).map_err(|reason| Error::invalid(format!("{name}: {reason}")))
        };
        let mut request = Self {
            range: Range { from_us: time("from", "now-24h")?, to_us: now_us },
            history_days: HISTORY_DAYS,
            kpis: WATCHED.map(str::to_owned).to_vec(),
            events: Vec::new(),
            by: "agent".to_owned(),
            filters: BTreeMap::new(),
            score_min: crate::detect::ANOMALY,
            limit: FINDINGS,
        };
        for (name, text) in parameters.into_iter().filter(|(_, text)| !text.is_empty()) {
            match name {
                "from" => request.range.from_us = time(name, text)?,
                "to" => request.range.to_us = time(name, text)?,
                "history_days" => request.history_days = whole(name, text, HISTORY_DAYS_MIN, HISTORY_DAYS_MAX)?,
                "kpi" => (request.events, request.kpis) = watched_of(text)?,
                "by" => request.by = by_of(text)?,
                "tenant_id" => _ = request.filters.insert("tenant_id", text.to_owned()),
                "agent_id" => _ = request.filters.insert("agent_id", text.to_owned()),
                "model" => _ = request.filters.insert("model", text.to_owned()),
                "score_min" => request.score_min = score_of(text)?,
                "limit" => request.limit = whole(name, text, 1, FINDINGS_MAX)?,
                _ => {
                    return Err(Error::invalid(format!(
                        "{name} is no parameter of anomalies; there are from, to, history_days, kpi, by, tenant_id, \
                         agent_id, model, score_min, limit"
                    )));
                }
            }
        }
        request.settle(now_us)
    }

    /// What has series of its own.
    pub(super) fn by(&self) -> &str {
        &self.by
    }

    /// What is asked, in words.
    pub(super) fn words(&self) -> String {
        let filters: String = self.filters.iter().map(|(name, value)| format!(", {name} {value}")).collect();
        let kinds: Vec<&str> = self.events.iter().map(|event| event.query).collect();
        if self.kpis.is_empty() {
            return format!("an hour has {}{filters}", kinds.join(", "));
        }
        let events = if kinds.is_empty() { String::new() } else { format!(", or has {}", kinds.join(", ")) };
        format!(
            "an hour of {} scores {} or more{events}, by {}{filters}; by {} days before its week",
            self.kpis.join(", "),
            self.score_min,
            self.by,
            self.history_days
        )
    }

    /// Moves the range to whole hours that are over.
    fn settle(mut self, now_us: i64) -> Result<Self> {
        let Range { from_us, to_us } = self.range;
        self.range = Range {
            from_us: from_us - from_us.rem_euclid(HOUR_US),
            to_us: to_us.min(now_us) - to_us.min(now_us).rem_euclid(HOUR_US),
        };
        if self.range.from_us >= self.range.to_us {
            return Err(Error::invalid("no whole hour is over between from and to"));
        }
        if self.range.to_us - self.range.from_us > RANGE_US_MAX {
            let days = RANGE_US_MAX / DAY_US;
            return Err(Error::invalid(format!(
                "from and to are more than {days} days apart: ask for a shorter range"
            )));
        }
        Ok(self)
    }
}

fn whole<T: TryFrom<i64>>(name: &str, text: &str, least: i64, most: impl TryInto<i64>) -> Result<T> {
    let most = most.try_into().unwrap_or(i64::MAX);
    let number = text.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| Error::invalid(format!("{name}={text} is no whole number from {least} to {most}")))
}

/// Kinds of sessions and calls, and KPIs.
fn watched_of(text: &str) -> Result<(Vec<&'static Event>, Vec<String>)> {
    let mut names: Vec<&str> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() || names.len() > KPIS_MAX {
        return Err(Error::invalid(format!("kpi: name 1 to {KPIS_MAX} KPIs, parted by commas")));
    }
    let event = |name: &str| EVENTS.iter().find(|event| event.query == name);
    let kpis = names.iter().filter(|name| event(name).is_none());
    Ok((names.iter().filter_map(|name| event(name)).collect(), kpis.map(|name| (*name).to_owned()).collect()))
}

fn by_of(text: &str) -> Result<String> {
    if text == "all" || DIMENSIONS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Error::invalid(format!("by={text} is not one of all, agent, tenant, model")))
}

fn score_of(text: &str) -> Result<f64> {
    let score = text.parse().ok().filter(|score| (0.1..1.0).contains(score));
    score.ok_or_else(|| Error::invalid(format!("score_min={text} is not from 0.1 to below 1")))
}

/// What was found, and in how much.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AnomalyAnswer {
    /// Start of the first hour that was judged, UTC.
    pub from: String,
    /// End of the last one.
    pub to: String,
    /// Days before the week of an hour by which it was judged.
    pub history_days: i64,
    /// What has series of its own: `all`, `agent`, `tenant` or `model`.
    pub by: String,
    /// What was watched.
    pub kpis: Vec<String>,
    /// The least score that is an anomaly.
    pub score_min: f64,
    /// Series of which some hour could be judged.
    pub series_judged: u64,
    /// Series of which too little is known: about 150 hours with calls are needed. It does not mean that they are fine.
    pub series_insufficient: u64,
    /// Hours that were judged, of all series.
    pub hours_judged: u64,
    /// Anomalies beyond the limit, those with the least scores.
    pub left_out: u64,
    /// The highest score first.
    pub anomalies: Vec<Anomaly>,
    /// Sessions and calls of the kinds that were asked for, of each kind the oddest first, at most `limit`.
    pub events: Vec<OddEvent>,
}

/// An hour of a slice that its past does not explain.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Anomaly {
    /// The KPI, or `traffic`.
    pub kpi: String,
    /// The unit of `value` and `expected`.
    pub unit: String,
    /// Agent, tenant or model, as `by` says; null where the calls name none.
    pub key: Option<String>,
    /// Start of the hour, UTC.
    pub window_start: String,
    /// Its end.
    pub window_end: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Which parts of the slice the deviation comes from, the most telling first, at most 3.
    pub contributions: Vec<Contribution>,
    /// Calls that show it, at most 5.
    pub examples: Vec<Example>,
}

/// A call that shows an anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AnomalyExample)]
pub struct Example {
    /// When it happened, UTC.
    pub timestamp: String,
    /// Its own id.
    pub request_id: String,
    /// Conversation that it belongs to.
    pub session_id: Option<String>,
    /// Trace that it belongs to.
    pub trace_id: Option<String>,
    /// What it brings to the figure, in its unit; a flag is 0 or 1.
    pub size: f64,
}

/// A series that was judged.
pub(super) struct JudgedSeries {
    pub kpi: String,
    pub key: Option<String>,
    kind: FigureKind,
    /// Its hours in question that have a figure.
    pub hours: u64,
    pub judged: Judged,
}

/// Where a series was found odd.
struct Found {
    kpi: String,
    kind: FigureKind,
    key: Option<String>,
    finding: Finding,
}

impl Engine {
    /// Judges each hour of each slice's series by its past.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for a KPI that is not there, [`Kind::Exhausted`] for too many series.
    pub async fn anomalies(&self, request: &AnomalyRequest) -> Result<AnomalyAnswer> {
        let range = request.range;
        let judged = self.judged_series(request).await?;
        let mut answer = AnomalyAnswer {
            from: text_of(range.from_us)?,
            to: text_of(range.to_us)?,
            history_days: request.history_days,
            by: request.by.clone(),
            kpis: request.kpis.clone(),
            score_min: request.score_min,
            series_judged: 0,
            series_insufficient: 0,
            hours_judged: 0,
            left_out: 0,
            anomalies: Vec::new(),
            events: self.odd_events(request).await?,
        };
        let mut found = answer.count(judged);
        found.sort_by(|a, b| {
            b.finding.score.total_cmp(&a.finding.score).then(a.finding.start_us.cmp(&b.finding.start_us))
        });
        answer.left_out = found.len().saturating_sub(request.limit) as u64;
        found.truncate(request.limit);
        for found in found {
            answer.anomalies.push(self.explained(request, found).await?);
        }
        Ok(answer)
    }

    /// Each slice's series, its hours in the range judged by their past.
    pub(super) async fn judged_series(&self, request: &AnomalyRequest) -> Result<Vec<JudgedSeries>> {
        let range = request.range;
        let asked = Asked { from_us: range.from_us, to_us: range.to_us, history_days: request.history_days };
        let mut series = Vec::new();
        for kpi in &request.kpis {
            let rows =
                self.hours(kpi, &request.by, Range { from_us: asked.first_us(), ..range }, &request.filters).await?;
            series.extend(series_of(kpi, self.figure_kind(kpi)?, rows)?);
            if series.len() > SERIES_MAX {
                let message =
                    format!("more than {SERIES_MAX} series: name fewer KPIs, or a tenant, an agent or a model");
                return Err(Error::new(Kind::Exhausted, message));
            }
        }
        let pairs: usize = series.iter().map(|watched| asked.pairs(&watched.series)).sum();
        if pairs > PAIRS_MAX {
            let message = "so many series of so many hours take too long: name fewer KPIs, a slice or less history";
            return Err(Error::new(Kind::Exhausted, message));
        }
        // Judging takes a core as a statement does, so it waits for its turn as one.
        let turn = self.turn().await?;
        let score_min = request.score_min;
        let judged = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let judge = |Watched { kpi, key, series }: Watched| {
                let judged = judge(&series, asked, score_min);
                let has_figure = |hour: &&Hour| hour.start_us >= range.from_us && hour.value.is_some();
                let hours = series.hours.iter().filter(has_figure).count() as u64;
                JudgedSeries { kpi, key, kind: series.kind, hours, judged }
            };
            series.into_iter().map(judge).collect()
        });
        judged.await.context("series could not be judged")
    }

    /// The rows of a KPI's file, or of the traffic's, by hour.
    pub(super) async fn hours(
        &self,
        kpi: &str,
        by: &str,
        range: Range,
        filters: &BTreeMap<&'static str, String>,
    ) -> Result<Vec<Figure>> {
        let (from, to) = (text_of(range.from_us)?, text_of(range.to_us)?);
        let mut arguments = vec![("from", from.as_str()), ("to", &to), ("grain", "hour"), ("by", by)];
        arguments.extend(filters.iter().map(|(name, value)| (*name, value.as_str())));
        let kind = if kpi == TRAFFIC { LibraryKind::Reports } else { LibraryKind::Kpis };
        let figures: Vec<Figure> = self.named(kind, kpi, arguments).await?.collect_as().await?;
        if figures.len() > ROWS_MAX {
            let message = format!("{kpi}: more than {ROWS_MAX} hours of all slices: ask for a shorter history");
            return Err(Error::new(Kind::Exhausted, message));
        }
        Ok(figures)
    }

    fn figure_kind(&self, kpi: &str) -> Result<FigureKind> {
        // A window without calls has none of what is counted, and no ratio.
        let of_kpi = |kpi: &Definition| kpi.whole_windows && kpi.unit != "ratio";
        let grows = kpi == TRAFFIC || of_kpi(self.library().kpi(kpi)?);
        Ok(if grows { FigureKind::Sum } else { FigureKind::Mean })
    }

    pub(super) fn unit(&self, kpi: &str) -> Result<String> {
        Ok(if kpi == TRAFFIC { "count".to_owned() } else { self.library().kpi(kpi)?.unit.clone() })
    }

    /// Adds where a finding comes from, and calls that show it.
    async fn explained(&self, request: &AnomalyRequest, found: Found) -> Result<Anomaly> {
        let Found { kpi, kind, key, finding } = found;
        let window = Range { from_us: finding.start_us, to_us: finding.start_us + HOUR_US };
        let (mut parts, mut examples) = (Vec::new(), Vec::new());
        if let Some(filters) = slice(request, key.as_deref()) {
            for dimension in DIMENSIONS.into_iter().filter(|dimension| !filters.contains_key(filter_of(dimension))) {
                let from_us = window.from_us - USUAL_DAYS * DAY_US;
                match self.hours(&kpi, dimension, Range { from_us, ..window }, &filters).await {
                    Ok(rows) => parts.extend(parts_of(dimension, kind, window.from_us, rows)?),
                    // Of more parts than an answer may have rows, none can be told to be the one.
                    Err(error) if error.kind() == Kind::Exhausted => {}
                    Err(error) => return Err(error),
                }
            }
            examples = self.examples(&kpi, &finding, window, &filters).await?;
        }
        let expected = finding.expected.unwrap_or(finding.value);
        Ok(Anomaly {
            unit: self.unit(&kpi)?,
            kpi,
            key,
            window_start: text_of(window.from_us)?,
            window_end: text_of(window.to_us)?,
            finding,
            contributions: contributions(kind, (finding.value, expected), &parts, CONTRIBUTIONS_MAX),
            examples,
        })
    }

    async fn examples(
        &self,
        kpi: &str,
        finding: &Finding,
        window: Range,
        filters: &BTreeMap<&'static str, String>,
    ) -> Result<Vec<Example>> {
        let is_high = finding.expected.is_none_or(|expected| finding.value >= expected).to_string();
        let (from, to) = (text_of(window.from_us)?, text_of(window.to_us)?);
        let limit = EXAMPLES_MAX.to_string();
        let mut arguments =
            vec![("from", from.as_str()), ("to", &to), ("kpi", kpi), ("is_high", &is_high), ("limit", &limit)];
        arguments.extend(filters.iter().map(|(name, value)| (*name, value.as_str())));
        self.named(LibraryKind::Reports, "anomaly_examples", arguments).await?.collect_as().await
    }
}

impl AnomalyAnswer {
    /// Counts what was judged and returns what was found.
    fn count(&mut self, judged: Vec<JudgedSeries>) -> Vec<Found> {
        let mut found = Vec::new();
        for JudgedSeries { kpi, key, kind, judged, .. } in judged {
            match judged.hours {
                0 => self.series_insufficient += 1,
                hours => {
                    self.series_judged += 1;
                    self.hours_judged += hours;
                }
            }
            let of_series = judged.findings.into_iter();
            found.extend(of_series.map(|finding| Found { kpi: kpi.clone(), kind, key: key.clone(), finding }));
        }
        found
    }
}

/// The filters that leave a slice; none where it is that of calls that name nothing, which no filter finds.
fn slice(request: &AnomalyRequest, key: Option<&str>) -> Option<BTreeMap<&'static str, String>> {
    let mut filters = request.filters.clone();
    if request.by != "all" {
        filters.insert(filter_of(&request.by), key?.to_owned());
    }
    Some(filters)
}

/// The parameter that filters a dimension.
pub(super) fn filter_of(dimension: &str) -> &'static str {
    match dimension {
        "agent" => "agent_id",
        "tenant" => "tenant_id",
        _ => "model",
    }
}
