//! `GET /api/v1/queries` and `GET /api/v1/queries/{name}`.

use axum::{Json, http::HeaderMap, response::Response};

use super::{
    access::CallerEngine,
    error::Failure,
    openapi::Binary,
    params::{Named, Params},
    sql,
};
use crate::{
    named::NamedSql,
    query::{Format, LibraryKind, Page, Question},
};

/// Lists the named queries and the KPIs with their questions, parameters and columns.
#[utoipa::path(
    get, path = "/api/v1/queries", tag = "sql", operation_id = "queries",
    responses((status = 200, description = "Queries, then KPIs, by name", body = Vec<NamedSql>)),
)]
pub async fn list(CallerEngine(engine): CallerEngine) -> Json<Vec<NamedSql>> {
    let library = engine.library();
    let kinds = [LibraryKind::Queries, LibraryKind::Kpis];
    Json(kinds.into_iter().flat_map(|kind| library.of(kind)).map(|entry| entry.named.clone()).collect())
}

/// Runs a named query, or a KPI's.
///
/// Every field of the query string that is not here is a parameter of the query: `GET /api/v1/queries` lists them.
#[utoipa::path(
    get, path = "/api/v1/queries/{name}", tag = "sql", operation_id = "query",
    params(
        ("name" = String, Path, description = "The query", example = "cost_by_agent_daily"),
        ("format" = inline(Option<Format>), Query, nullable = false,
            description = "The format of the answer; that of `Accept` where it is absent, else `json`"),
        ("rollups" = Option<String>, Query, nullable = false, pattern = "^(on|off)$", description = "Whether rollups may answer"),
        ("offset" = Option<u64>, Query, nullable = false, description = "Rows that are passed over, at most 2^53"),
        ("limit" = Option<u64>, Query, nullable = false, description = "Most rows, at most 2^53"),
        ("arguments" = Option<BTreeMap<String, String>>, Query, nullable = false, style = Form, explode,
            description = "The parameters of the query, each under its own name", example = json!({"from": "now-7d"})),
    ),
    responses(
        (status = 200, description = "Rows, as they come. A result above 256 KiB is streamed; when it fails in the middle, the connection breaks off",
            headers(("x-query-id" = String, description = "An id of this answer, for logs")),
            content(
                (Vec<BTreeMap<String, serde_json::Value>> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
                (Binary = "application/vnd.apache.arrow.stream"), (Binary = "application/vnd.apache.parquet"),
            ),
        ),
        (status = 400, description = "`invalid`: a parameter that the query does not have, a value that does not fit, or a format that is none"),
        (status = 404, description = "`not_found`: there is no such query; the message names those that there are"),
    ),
)]
pub async fn run(
    CallerEngine(engine): CallerEngine,
    Named(name): Named,
    Params(mut arguments): Params<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut taken =
        |wanted: &str| arguments.iter().position(|(name, _)| name == wanted).map(|index| arguments.remove(index).1);
    let (format, rollups) = (taken("format"), taken("rollups"));
    let format = sql::format_of(format.as_deref(), &headers)?;
    let options = sql::options_of(rollups.as_deref())?;
    let kind = engine.library().kind_of(&name)?;
    let page = Page::taken(&engine.library().get(kind, &name)?.named, &mut arguments)?;
    let arguments = arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = engine.ask(Question::Named { kind, name: &name, arguments }, &[], &[], page, options).await?;
    Ok(sql::respond(answer.rows, format).await?)
}
