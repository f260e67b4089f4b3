//! `GET /api/v1/reports/cost?day=YYYY-MM-DD&format=text|md|html|json|csv`.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Days, NaiveDate};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{access::CallerEngine, error::Failure, params::Params};
use crate::{
    error::{Context, Error, Kind, Result},
    report::{CostReport, Format},
};

/// The query string.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CostQuery {
    /// A UTC day; yesterday where it is absent.
    #[param(nullable = false, format = Date)]
    day: Option<String>,
    /// The format of the answer; `json` where it is absent.
    #[param(nullable = false, inline, value_type = Option<Format>)]
    format: Option<String>,
}

/// The cost report of a day.
#[utoipa::path(
    get, path = "/api/v1/reports/cost", tag = "analytics", operation_id = "report_cost", params(CostQuery),
    responses(
        (status = 200, description = "The report", headers(("x-report-verdict" = String, description = "`normal`, `costspike` or `nodata`")),
            content(
                (CostReport = "application/json"), (String = "text/plain"), (String = "text/markdown"),
                (String = "text/html"), (String = "text/csv"),
            ),
        ),
        (status = 400, description = "`invalid`: a field that is not here, a day that is none, or another format"),
    ),
)]
pub async fn cost(CallerEngine(engine): CallerEngine, Params(query): Params<CostQuery>) -> Result<Response, Failure> {
    let day = match query.day {
        Some(text) => parse_day(&text)?,
        None => yesterday(engine.now_us())?,
    };
    let format: Format = query
        .format
        .as_deref()
        .unwrap_or("json")
        .parse()
        .kind_context(Kind::Invalid, || "format is not one of text, md, html, json, csv".into())?;
    let report = engine.cost_report(day).await?;
    let body = report.render(format).context("cannot render the report")?;
    let verdict = format!("{:?}", report.verdict()).to_ascii_lowercase();
    Ok(([(CONTENT_TYPE.as_str(), content_type(format)), ("x-report-verdict", &verdict)], body).into_response())
}

/// A UTC day.
pub fn parse_day(text: &str) -> Result<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .kind_context(Kind::Invalid, || format!("day={text} is not a date like 2026-05-14"))
}

fn yesterday(now_us: i64) -> Result<NaiveDate> {
    DateTime::from_timestamp_micros(now_us)
        .and_then(|now| now.date_naive().checked_sub_days(Days::new(1)))
        .ok_or_else(|| Error::new(Kind::Internal, "the clock is outside the calendar"))
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Markdown => "text/markdown; charset=utf-8",
        Format::Html => "text/html; charset=utf-8",
        Format::Json => "application/json",
        Format::Csv => "text/csv; charset=utf-8",
    }
}
