//! `GET /api/v1/kpis?month=YYYY-MM` and `GET /api/v1/kpis/{name}`.

use axum::{Json, extract::Path};
use chrono::{DateTime, Datelike, NaiveDate};
use serde::Deserialize;

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{
    error::{Context, Error, Kind, Result},
    kpi::ScoreCard,
    query::KpiAnswer,
};

/// The query string.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardQuery {
    month: Option<String>,
}

/// The score card of a month; the running one (UTC) unless another is named.
pub async fn card(
    CallerEngine(engine): CallerEngine,
    Params(query): Params<CardQuery>,
) -> Result<Json<ScoreCard>, Failure> {
    let first = match query.month.as_deref().filter(|month| !month.is_empty()) {
        Some(text) => parse_month(text)?,
        None => this_month(engine.now_us())?,
    };
    Ok(Json(engine.score_card(first).await?))
}

/// One KPI, each window judged. The query string is that of the named query.
pub async fn one(
    CallerEngine(engine): CallerEngine,
    Path(name): Path<String>,
    Params(arguments): Params<Vec<(String, String)>>,
) -> Result<Json<KpiAnswer>, Failure> {
    let arguments = arguments.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(Json(engine.kpi(&name, arguments).await?))
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
