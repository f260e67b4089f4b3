//! `POST /grafana/query`: every target asked and shaped, one after the other. A target that fails fails the request:
//! the plugin has no place for an error beside answers.

use axum::{Json, body::Body, extract::State};
use serde_json::Value;

use super::{read, shapes};
use crate::{
    error::{Error, Kind, Result},
    grafana::{
        Element, Frame, FrameBuilder, Prepared, QueryRequest, RowsQuestion, Target, card_table, drift_table, shaped,
        windows_table,
    },
    http::{App, access::CallerEngine, error::GrafanaFailure},
    query::{Engine, Options, Page},
};

/// Answers all targets of a panel.
///
/// One target that fails fails the request: an answer has no place for an error beside series.
#[utoipa::path(
    post, path = "/grafana/query", tag = "grafana", operation_id = "grafana_query",
    request_body(content = shapes::Query, description = "JSON whatever the content type says"),
    responses(
        (status = 200, description = "Series and tables, in the order of the targets", body = Vec<shapes::Element>),
        (status = 400, description = "`invalid`: the body is not JSON, the range is none, or a target is wrong; the message names the target"),
        (status = 404, description = "`not_found`: a target names no metric that there is"),
        (status = 413, description = "`too_large`: the body is larger than 1 MiB (`grafana.body_bytes_max`)"),
        (status = 422, description = "`resources_exhausted`: more targets, rows, series or points than `[grafana]` of the settings allows, or a statement needs more than it may have"),
    ),
)]
pub async fn query(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    body: Body,
) -> Result<Json<Vec<Value>>, GrafanaFailure> {
    let body = read(&app, body).await?;
    let request = QueryRequest::of(&body, &app.grafana, engine.now_us())?;
    let mut elements = Vec::new();
    let mut points = 0;
    for target in &request.targets {
        let answered = answer(&app, &engine, target, &request).await;
        let of_target = |error: Error| Error::new(error.kind(), format!("target {}", target.ref_id)).with_source(error);
        for element in answered.map_err(of_target)? {
            points += element.points;
            elements.push(element.json);
        }
        if points > app.grafana.points_max {
            let most = app.grafana.points_max;
            let message = format!("the answer has more than {most} points (grafana.points_max): ask for less at once");
            return Err(Error::new(Kind::Exhausted, message).into());
        }
    }
    Ok(Json(elements))
}

async fn answer(app: &App, engine: &Engine, target: &Target, request: &QueryRequest) -> Result<Vec<Element>> {
    let mut elements = Vec::new();
    for prepared in target.questions(request, engine.library(), engine.now_us())? {
        let (frame, shape, notices) = match prepared {
            Prepared::Rows(question) => {
                let (frame, notices) = rows(app, engine, &question, &question.shape.values).await?;
                (frame, question.shape, notices)
            }
            Prepared::KpiAlerts { questions, is_all, shape } => {
                (windows_table(&engine.kpis(&questions).await?, is_all), shape, Vec::new())
            }
            Prepared::KpiCard { month, conditions, shape } => {
                (card_table(&engine.score_card(month, &conditions).await?), shape, Vec::new())
            }
            Prepared::Drift { request, is_all, shape } => {
                let current = request.current;
                (drift_table(&engine.drift(request).await?, current, is_all), shape, Vec::new())
            }
        };
        elements.extend(shaped(frame, &shape, notices, &app.grafana)?);
    }
    Ok(elements)
}

/// The rows of a question with these figures, all where none is named, and what has to be said about them.
pub(super) async fn rows(
    app: &App,
    engine: &Engine,
    question: &RowsQuestion,
    figures: &[String],
) -> Result<(Frame, Vec<String>)> {
    let asked = engine.ask(question.question(), &question.conditions, figures, Page::default(), Options::default());
    let mut answer = asked.await?;
    let mut notices = question.notices.clone();
    if !answer.is_narrowed {
        notices.push("it reads no calls, so filters do not hold for it".to_owned());
    }
    let mut builder = FrameBuilder::new(&answer.rows.schema(), app.grafana.rows_max);
    while let Some(batch) = answer.rows.next().await {
        builder.add(&batch?)?;
    }
    Ok((builder.finish(), notices))
}
