//! `GET /api/v1/backtest?rule=drift|anomalies|kpi|slo|alert&from=…&to=…&format=json|text`.

use axum::response::Response;
use utoipa::IntoParams;

use super::{
    access::CallerEngine,
    error::Failure,
    params::Params,
    shape::{Parameters, Shape},
};
use crate::{backtest::Answers, query::BacktestRequest};

/// What is replayed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described and never made; `query` reads the fields")]
struct BacktestQuery {
    /// What is replayed.
    #[param(pattern = "^(drift|anomalies|kpi|slo|alert)$", example = "kpi")]
    rule: String,
    /// Start of the range.
    #[param(default = "now-7d")]
    from: Option<String>,
    /// Its end; no later than now.
    #[param(default = "now")]
    to: Option<String>,
    /// How long a series has to break the rule before it fires, such as `10m`. An alert has its own.
    #[param(rename = "for", default = "0s")]
    hold: Option<String>,
    /// The KPI, the objective or the alert; all objectives, or all alerts that can be replayed, where it is absent.
    #[param(example = "error_rate")]
    name: Option<String>,
    /// Time from one moment to the next. Of drift whole hours, `1h` where it is absent; of objectives whole minutes, `1m`;
    /// of a KPI the window or an equal part of it, down to a 60th: `1m` for windows of less than an hour, else the window.
    #[param(example = "1h")]
    step: Option<String>,
    /// Of a KPI: the time over which each figure is made, 1m to 31d. That of its alert where it is absent, else `1h`.
    #[param(example = "10m")]
    window: Option<String>,
    /// Of a KPI: it fires above this, in the KPI's unit. Its own alert where neither is given.
    above: Option<f64>,
    /// Of a KPI: it fires below this.
    below: Option<f64>,
    /// Of a KPI: windows with fewer samples say nothing. The KPI's own number where it is absent.
    #[param(minimum = 0)]
    samples_min: Option<u64>,
    /// What has series of its own: of KPIs and anomalies `all`, `agent`, `tenant` or `model`; of drift a list of `all`,
    /// `agent_id`, `model`, `tenant_id`.
    by: Option<String>,
    /// Of KPIs and anomalies: only this one.
    tenant_id: Option<String>,
    /// The same.
    agent_id: Option<String>,
    /// The same.
    model: Option<String>,
    /// Of anomalies: KPIs, parted by commas.
    kpi: Option<String>,
    /// Of anomalies: the least score that is one, from 0.1 to below 1.
    score_min: Option<f64>,
    /// Of anomalies: days before the week of an hour that it is judged by.
    #[param(minimum = 7, maximum = 182)]
    history_days: Option<i64>,
    /// Of drift: length of a window, hours.
    window_hours: Option<u32>,
    /// Of drift: earlier windows of the same hours of the week that each is compared with.
    references: Option<u32>,
    /// Of drift: columns that are told, parted by commas; `silent_model_change` is one. All are judged.
    column: Option<String>,
    /// The format of the answer.
    #[param(default = "json", pattern = "^(json|text)?$")]
    format: Option<String>,
}

/// When a rule would have fired over stored history.
///
/// Each moment is judged with the calls before it, by their own time.
#[utoipa::path(
    get, path = "/api/v1/backtest", tag = "analytics", operation_id = "backtest", params(BacktestQuery),
    responses(
        (status = 200, description = "The episodes of each rule", content((Answers = "application/json"), (String = "text/plain"))),
        (status = 400, description = "`invalid`: a field that is not here or belongs to another rule, or more moments than are replayed"),
        (status = 404, description = "`not_found`: there is no KPI or objective of that name"),
    ),
)]
pub async fn replay(
    CallerEngine(engine): CallerEngine,
    Params(parameters): Params<Parameters>,
) -> Result<Response, Failure> {
    let (shape, rest) = Shape::of(parameters)?;
    let given = rest.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = BacktestRequest::parse(given, engine.now_us())?;
    Ok(shape.answer(&engine.backtest(&request).await?, Answers::text))
}
