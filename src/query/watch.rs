//! The hours of all that is watched, of all slices, and the sessions and calls in them that are odd by themselves: what
//! the job asks for again and again. What is odd is decided by `anomaly` and by named queries.

use serde_json::{Map, Value};

use super::{
    Anomaly, AnomalyAnswer, AnomalyRequest, Engine, LibraryKind, Range,
    anomaly::{DIMENSIONS, HOUR_US, WATCHED, filter_of},
    moment::text_of,
};
use crate::{
    anomaly::{AnomalyRow, AnomalyRun, EVENTS, Event, Subject},
    error::{Kind, Result},
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

impl Engine {
    /// Judges the hours of a range (whole hours) by the days before their week: all that is watched unless KPIs are named,
    /// of all calls, each agent, each tenant and each model; and looks for sessions and calls that are odd by themselves,
    /// which count with their agents. What is too much to be judged is told in its run.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for a history that is too short or too long, and those of the statements.
    pub async fn watch(&self, range: Range, history_days: u32) -> Result<Watched> {
        let mut watched = Watched::default();
        for by in std::iter::once("all").chain(DIMENSIONS) {
            let slice_by = if by == "all" { by } else { filter_of(by) };
            let mut run = AnomalyRun::new(range.from_us, range.to_us, slice_by);
            for kpi in WATCHED {
                let answer = self.anomalies(&AnomalyRequest::of_hours(kpi, by, range, history_days)?).await;
                let Some(answer) = judged(&mut run, kpi, answer)? else { continue };
                count(&mut run, &answer);
                watched.anomalies.extend(answer.anomalies.into_iter().map(|found| row(slice_by, found)));
            }
            let events: &[Event] = if by == "agent" { &EVENTS } else { &[] };
            for event in events {
                let found = self.events(event, range).await;
                let Some(found) = judged(&mut run, event.query, found)? else { continue };
                watched.anomalies.extend(kept(&mut run, found));
            }
            watched.runs.push(run);
        }
        Ok(watched)
    }

    /// Sessions and calls of a kind whose last call is in the range, the oddest first.
    async fn events(&self, event: &Event, range: Range) -> Result<Vec<AnomalyRow>> {
        let (from, to) = (text_of(range.from_us - LOOK_BACK_US)?, text_of(range.to_us)?);
        let arguments = [("from", from.as_str()), ("to", &to), ("limit", EVENTS_COUNTED)];
        let found: Vec<Map<String, Value>> =
            self.named(LibraryKind::Queries, event.query, arguments).await?.collect_as().await?;
        let rows = found.iter().filter_map(|found| event.row(found));
        Ok(rows.filter(|row| (range.from_us..range.to_us).contains(&row.window_start_us)).collect())
    }
}

/// Notes in the run whether one of its questions was answered; none where it was too much.
fn judged<T>(run: &mut AnomalyRun, question: &str, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => {
            run.kpis.push(question.to_owned());
            Ok(Some(answer))
        }
        Err(error) if error.kind() == Kind::Exhausted => {
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
