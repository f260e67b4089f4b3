//! The hours of all that is watched, of all slices, and the sessions and calls in them that are odd by themselves: what
//! the job asks for again and again. What is odd is decided by `anomaly` and by named queries.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Anomaly, AnomalyAnswer, AnomalyRequest, Engine, LibraryKind, Range,
    anomaly::{DIMENSIONS, HOUR_US, TRAFFIC, WATCHED, filter_of, start_us},
    moment::text_of,
};
use crate::{
    anomaly::{AnomalyRow, AnomalyRun, EVENTS, Event, Subject},
    error::{Error, Kind, Result},
};

/// Sessions are looked at from so long before the hours in question: a loop is told at its whole length.
const LOOK_BACK_US: i64 = 24 * HOUR_US;
/// Most of a kind that are kept of a run, the oddest, and most that are counted.
const EVENTS_MAX: usize = 20;
const EVENTS_COUNTED: &str = "1000";

/// What was judged, and what was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watched {
    /// What was judged: one for all calls, and one for each column that makes slices.
    pub runs: Vec<AnomalyRun>,
    /// What was found.
    pub anomalies: Vec<AnomalyRow>,
}

/// A session or a call that the others do not explain.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OddEvent {
    /// The named query that finds it, which says how.
    pub kpi: String,
    /// `session` or `call`.
    pub subject: &'static str,
    /// Its agent; null where it names none.
    pub agent_id: Option<String>,
    /// What tells it besides: `tenant_id`, else `model`.
    pub part_by: Option<String>,
    /// Which.
    pub part: Option<String>,
    /// Start of its hour, of a session of that of its last call, UTC.
    pub window_start: String,
    /// The figure.
    pub value: f64,
    /// The unit of `value` and `expected`.
    pub unit: String,
    /// What is usual, or what nine in ten do not exceed; null of loops.
    pub expected: Option<f64>,
    /// Those that say what is usual; of loops, its own calls.
    pub samples: u64,
    /// About the probability of one as odd as this where nothing is wrong.
    pub p_value: Option<f64>,
    /// The session that it is, or that it is in.
    pub session_id: Option<String>,
    /// Calls that show it.
    pub request_ids: Vec<String>,
}

impl OddEvent {
    fn of(row: AnomalyRow) -> Result<Self> {
        Ok(Self {
            window_start: text_of(row.window_start_us)?,
            kpi: row.kpi,
            subject: row.subject.name(),
            agent_id: row.slice,
            part_by: row.part_by,
            part: row.part,
            value: row.value,
            unit: row.unit,
            expected: row.expected,
            samples: row.samples,
            p_value: row.p_value,
            session_id: row.session_id,
            request_ids: row.request_ids,
        })
    }
}

impl Engine {
    /// Judges the hours of a range (whole hours) by the days before their week: all that is always watched and these KPIs,
    /// of all calls, each agent, each tenant and each model; and looks for sessions and calls that are odd by themselves,
    /// which count with their agents. What is too much to be judged is told in its run.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for a history that is too short or too long, and those of the statements.
    pub async fn watch(&self, range: Range, history_days: u32, kpis: &[String]) -> Result<Watched> {
        let mut all = WATCHED.to_vec();
        for kpi in kpis {
            if !all.contains(&kpi.as_str()) {
                all.push(kpi);
            }
        }
        let mut watched = Watched::default();
        for by in std::iter::once("all").chain(DIMENSIONS) {
            let slice_by = if by == "all" { by } else { filter_of(by) };
            let mut run = AnomalyRun::new(range.from_us, range.to_us, slice_by);
            for &kpi in &all {
                let answer = self.anomalies(&AnomalyRequest::of_hours(kpi, by, range, history_days)?).await;
                let Some(answer) = judged(&mut run, kpi, answer)? else { continue };
                count(&mut run, &answer);
                watched.anomalies.extend(answer.anomalies.into_iter().map(|found| row(slice_by, found)));
            }
            let events: &[Event] = if by == "agent" { &EVENTS } else { &[] };
            for event in events {
                let found = self.events(event, range, &BTreeMap::new()).await;
                let Some(found) = judged(&mut run, event.query, found)? else { continue };
                watched.anomalies.extend(kept(&mut run, found));
            }
            watched.runs.push(run);
        }
        Ok(watched)
    }

    /// The sessions and calls of a request.
    pub(super) async fn odd_events(&self, request: &AnomalyRequest) -> Result<Vec<OddEvent>> {
        let mut all = Vec::new();
        for event in &request.events {
            let found = self.events(event, request.range, &request.filters).await?;
            all.extend(found.into_iter().take(request.limit).map(OddEvent::of).collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }

    /// Starts of the hours of a request that have calls, µs since the epoch.
    pub(super) async fn hours_with_calls(&self, request: &AnomalyRequest) -> Result<BTreeSet<i64>> {
        let rows = self.hours(TRAFFIC, "all", request.range, &request.filters).await?;
        rows.iter().map(|row| start_us(&row.window_start)).collect()
    }

    /// Sessions and calls of a kind whose last call is in the range, the oddest first.
    pub(super) async fn events(
        &self,
        event: &Event,
        range: Range,
        filters: &BTreeMap<&'static str, String>,
    ) -> Result<Vec<AnomalyRow>> {
        let (from, to) = (text_of(range.from_us - LOOK_BACK_US)?, text_of(range.to_us)?);
        let mut arguments = vec![("from", from.as_str()), ("to", &to), ("limit", EVENTS_COUNTED)];
        arguments.extend(filters.iter().map(|(name, value)| (*name, value.as_str())));
        let found: Vec<Map<String, Value>> =
            self.named(LibraryKind::Queries, event.query, arguments).await?.collect_as().await?;
        let rows = found.iter().filter_map(|found| event.row(found));
        Ok(rows.filter(|row| (range.from_us..range.to_us).contains(&row.window_start_us)).collect())
    }
}

/// Whether a question was too much for its bounds: the others go on without it.
pub(super) fn is_too_much(error: &Error) -> bool {
    matches!(error.kind(), Kind::Exhausted | Kind::Timeout)
}

/// Whether a question has no answer that others would miss: it is too much, or of a KPI that is not there.
fn is_left_out(error: &Error) -> bool {
    is_too_much(error) || error.kind() == Kind::NotFound
}

/// Notes in the run whether one of its questions was answered; none where it was too much.
fn judged<T>(run: &mut AnomalyRun, question: &str, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => {
            run.kpis.push(question.to_owned());
            Ok(Some(answer))
        }
        Err(error) if is_left_out(&error) => {
            run.not_judged.push(format!("{question}: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What is kept of what was found of a kind.
fn kept(run: &mut AnomalyRun, mut found: Vec<AnomalyRow>) -> Vec<AnomalyRow> {
    run.left_out += found.len().saturating_sub(EVENTS_MAX) as u64;
    found.truncate(EVENTS_MAX);
    run.anomalies += found.len() as u64;
    found
}

fn count(run: &mut AnomalyRun, answer: &AnomalyAnswer) {
    run.series_judged += answer.series_judged;
    run.series_insufficient += answer.series_insufficient;
    run.hours_judged += answer.hours_judged;
    run.anomalies += answer.anomalies.len() as u64;
    run.left_out += answer.left_out;
}

fn row(slice_by: &str, found: Anomaly) -> AnomalyRow {
    let part = found.contributions.into_iter().next();
    AnomalyRow {
        window_start_us: found.finding.start_us,
        subject: Subject::Hour,
        kpi: found.kpi,
        unit: found.unit,
        slice_by: slice_by.to_owned(),
        slice: found.key.filter(|_| slice_by != "all"),
        value: found.finding.value,
        expected: found.finding.expected,
        samples: found.finding.samples,
        score: Some(found.finding.score),
        p_value: Some(found.finding.p_value),
        measure: Some(found.finding.measure),
        part_by: part.as_ref().map(|part| filter_of(part.dimension).to_owned()),
        part_share: part.as_ref().map(|part| part.share),
        part: part.and_then(|part| part.key),
        session_id: None,
        request_ids: found.examples.into_iter().map(|call| call.request_id).collect(),
    }
}
