//! The hours of all that is watched, of all slices: what the job asks for again and again. What is odd is decided by
//! `anomaly`.

use super::{
    Anomaly, AnomalyAnswer, AnomalyRequest, Engine, Range,
    anomaly::{DIMENSIONS, WATCHED, filter_of},
};
use crate::{
    anomaly::{AnomalyRow, AnomalyRun},
    error::{Kind, Result},
};

/// What was judged, and what was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watched {
    /// What was judged: one for all calls, and one for each column that makes slices.
    pub runs: Vec<AnomalyRun>,
    /// What was found.
    pub anomalies: Vec<AnomalyRow>,
}

impl Engine {
    /// Judges the hours of a range (whole hours) by the days before their week: all that is watched unless KPIs are named, of
    /// all calls, each agent, each tenant and each model. A KPI that is too much to be judged is told in its run.
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
                match self.anomalies(&AnomalyRequest::of_hours(kpi, by, range, history_days)?).await {
                    Ok(answer) => {
                        count(&mut run, kpi, &answer);
                        watched.anomalies.extend(answer.anomalies.into_iter().map(|found| row(slice_by, found)));
                    }
                    Err(error) if error.kind() == Kind::Exhausted => run.not_judged.push(format!("{kpi}: {error}")),
                    Err(error) => return Err(error),
                }
            }
            watched.runs.push(run);
        }
        Ok(watched)
    }
}

fn count(run: &mut AnomalyRun, kpi: &str, answer: &AnomalyAnswer) {
    run.kpis.push(kpi.to_owned());
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
        kpi: found.kpi,
        unit: found.unit,
        slice_by: slice_by.to_owned(),
        slice: found.key.filter(|_| slice_by != "all"),
        value: found.finding.value,
        expected: found.finding.expected,
        samples: found.finding.samples,
        score: found.finding.score,
        p_value: found.finding.p_value,
        measure: found.finding.measure,
        part_by: part.as_ref().map(|part| filter_of(part.dimension).to_owned()),
        part_share: part.as_ref().map(|part| part.share),
        part: part.and_then(|part| part.key),
        request_ids: found.examples.into_iter().map(|call| call.request_id).collect(),
    }
}
