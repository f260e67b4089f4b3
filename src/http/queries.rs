//! `GET /api/v1/queries` and `GET /api/v1/queries/{name}`.

use axum::{Json, extract::Path, http::HeaderMap, response::Response};

use super::{access::CallerEngine, error::Failure, params::Params, sql};
use crate::{
    named::NamedSql,
    query::{LibraryKind, Page, Question},
};

/// Lists the named queries and the KPIs with their questions, parameters and columns.
pub async fn list(CallerEngine(engine): CallerEngine) -> Json<Vec<NamedSql>> {
    let library = engine.library();
    let kinds = [LibraryKind::Queries, LibraryKind::Kpis];
    Json(kinds.into_iter().flat_map(|kind| library.of(kind)).map(|entry| entry.named.clone()).collect())
}

/// Runs one; `offset` and `limit` make pages of its rows, and every other field of the query string is a parameter of
/// it.
pub async fn run(
    CallerEngine(engine): CallerEngine,
    Path(name): Path<String>,
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
    let answer = engine.ask(Question::Named { kind, name: &name, arguments }, &[], page, options).await?;
    Ok(sql::respond(answer.rows, format).await?)
}
