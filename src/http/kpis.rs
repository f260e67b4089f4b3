//! `GET /api/v1/kpis?month=YYYY-MM` and `GET /api/v1/kpis/{name}`.

use axum::Json;
use chrono::{DateTime, Datelike, NaiveDate};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    access::CallerEngine,
    error::Failure,
    params::{Named, Params},
};
use crate::{
    error::{Context, Error, Kind, Result},
    kpi::ScoreCard,
    query::{KpiAnswer, KpiQuestion},
};

/// The query string.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CardQuery {
    /// `YYYY-MM`; the running month (UTC) where it is absent.
    #[param(nullable = false, example = "2026-05")]
    month: Option<String>,
}

/// The score card of a month.
#[utoipa::path(
    get, path = "/api/v1/kpis", tag = "analytics", operation_id = "kpi_card", params(CardQuery),
    responses(
        (status = 200, description = "Every KPI in its month", body = ScoreCard),
        (status = 400, description = "`invalid`: a field that is not here, or a month that is none"),
    ),
)]
pub async fn card(
    CallerEngine(engine): CallerEngine,
    Params(query): Params<CardQuery>,
) -> Result<Json<ScoreCard>, Failure> {
    let first = match query.month.as_deref().filter(|month| !month.is_empty()) {
        Some(text) => parse_month(text)?,
        None => this_month(engine.now_us())?,
    };
    Ok(Json(engine.score_card(first, &[]).await?))
}

/// One KPI, each window judged.
///
/// `GET /api/v1/queries` lists what the KPI takes: `from`, `to`, `grain`, `by`, `tenant_id`, `agent_id`, `model`.
/// `from` is moved back to the start of its window. At most 8,784 windows and 50,000 rows.
#[utoipa::path(
    get, path = "/api/v1/kpis/{name}", tag = "analytics", operation_id = "kpi",
    params(
        ("name" = String, Path, description = "The KPI", example = "error_rate"),
        ("arguments" = Option<BTreeMap<String, String>>, Query, nullable = false, style = Form, explode,
            description = "The parameters of the KPI, each under its own name", example = json!({"by": "agent"})),
    ),
    responses(
        (status = 200, description = "The windows that have calls", body = KpiAnswer),
        (status = 400, description = "`invalid`: a parameter that the KPI does not have, or a value that does not fit"),
        (status = 404, description = "`not_found`: there is no such KPI; the message names those that there are"),
    ),
)]
pub async fn one(
    CallerEngine(engine): CallerEngine,
    Named(name): Named,
    Params(arguments): Params<Vec<(String, String)>>,
) -> Result<Json<KpiAnswer>, Failure> {
    let question = KpiQuestion { name, arguments, conditions: Vec::new() };
    let answer = engine.kpis(&[question]).await?.pop();
    Ok(Json(answer.ok_or_else(|| Error::new(Kind::Internal, "a KPI has no answer"))?))
}

/// The first day of a month.
fn parse_month(text: &str) -> Result<NaiveDate> {
    NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d")
        .kind_context(Kind::Invalid, || format!("month={text} is no month like 2026-05"))
}

fn this_month(now_us: i64) -> Result<NaiveDate> {
    DateTime::from_timestamp_micros(now_us)
        .and_then(|now| now.date_naive().with_day(1))
        .ok_or_else(|| Error::new(Kind::Internal, "the clock is outside the calendar"))
}
