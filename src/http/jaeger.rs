//! `/jaeger`: the JSON API of Jaeger's query service, over what calls know of traces. Decides nothing.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    access::CallerEngine,
    error::JaegerFailure,
    params::{Named, Params},
};
use crate::{
    error::{Error, Kind, Result},
    jaeger::{AGENT_UNKNOWN, Call, OPERATION_UNKNOWN, Search, Trace, traces},
    query::{Comparison, Condition, Engine, LibraryKind, Options, Page, Question, Range, Subject, text_of},
};

/// Most names of services and operations.
const NAMES_MAX: usize = 10_000;
const DAY_US: i64 = 86_400_000_000;

type Fields = Params<Vec<(String, String)>>;

/// What stands beside `data`.
#[derive(Serialize, ToSchema)]
pub struct JaegerListed {
    /// Always null: an answer with errors has another shape.
    #[schema(value_type = Option<Object>)]
    errors: Option<()>,
    /// Always 0.
    limit: u64,
    /// Always 0.
    offset: u64,
    /// What `data` has.
    total: usize,
}

/// Names.
#[derive(Serialize, ToSchema)]
pub struct JaegerNames {
    data: Vec<String>,
    #[serde(flatten)]
    listed: JaegerListed,
}

/// Operations.
#[derive(Serialize, ToSchema)]
pub struct JaegerOperations {
    data: Vec<JaegerOperation>,
    #[serde(flatten)]
    listed: JaegerListed,
}

/// A kind of calls.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JaegerOperation {
    name: String,
    /// `client`.
    span_kind: &'static str,
}

/// Traces.
#[derive(Serialize, ToSchema)]
pub struct JaegerTraces {
    data: Vec<Trace>,
    #[serde(flatten)]
    listed: JaegerListed,
}

/// The agents.
///
/// Those of the last `jaeger.services_days` (7) days, and `unknown_agent`, which stands for none.
#[utoipa::path(
    get, path = "/jaeger/api/services", tag = "jaeger", operation_id = "jaeger_services",
    responses((status = 200, description = "Their names", body = JaegerNames)),
)]
pub async fn services(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
) -> Result<Json<JaegerNames>, JaegerFailure> {
    let names = engine.values_of(&Subject::of("agent_id")?, lately(&app, &engine), &[], NAMES_MAX).await?;
    Ok(Json(names_of(with(names, AGENT_UNKNOWN))))
}

/// The kinds of an agent's calls.
#[utoipa::path(
    get, path = "/jaeger/api/services/{service}/operations", tag = "jaeger", operation_id = "jaeger_operations",
    params(("service" = String, Path, description = "An agent", example = "rag_agent_v2")),
    responses(
        (status = 200, description = "Their names, and `call`, which stands for none", body = JaegerNames),
        (status = 400, description = "`invalid`: the agent's name is not UTF-8"),
    ),
)]
pub async fn operations(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Named(service): Named,
) -> Result<Json<JaegerNames>, JaegerFailure> {
    let names = operation_names(&app, &engine, &service).await?;
    Ok(Json(names_of(names)))
}

/// The same, as newer clients ask for them.
///
/// Other fields of the query string are passed over.
#[utoipa::path(
    get, path = "/jaeger/api/operations", tag = "jaeger", operation_id = "jaeger_operations_of",
    params(("service" = String, Query, description = "An agent", example = "rag_agent_v2")),
    responses(
        (status = 200, description = "Their names, and `call`, which stands for none", body = JaegerOperations),
        (status = 400, description = "`invalid`: no service"),
    ),
)]
pub async fn operations_of(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Params(fields): Fields,
) -> Result<Json<JaegerOperations>, JaegerFailure> {
    let service = fields.iter().find(|(name, _)| name == "service").map(|(_, service)| service.as_str());
    let service = service.ok_or_else(|| Error::invalid("service is missing"))?;
    let names = operation_names(&app, &engine, service).await?;
    let data: Vec<_> = names.into_iter().map(|name| JaegerOperation { name, span_kind: "client" }).collect();
    Ok(Json(JaegerOperations { listed: listed(data.len()), data }))
}

/// What is searched for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described and never made; `jaeger` reads the fields")]
struct JaegerSearch {
    /// An agent.
    #[param(nullable = false, example = "rag_agent_v2")]
    service: Option<String>,
    /// A kind of calls; all of them for `all`.
    #[param(nullable = false)]
    operation: Option<String>,
    /// A JSON object of texts: columns of `agent_logs`, `error`, or fields of `attributes`.
    #[param(nullable = false, example = "{\"error\":\"true\"}")]
    tags: Option<String>,
    /// `key:value`, as in `tags`; may be there more than once.
    #[param(nullable = false)]
    tag: Option<Vec<String>>,
    /// A duration like `1.2s` or `100ms`.
    #[param(nullable = false, rename = "minDuration")]
    min_duration: Option<String>,
    /// A duration like `1.2s` or `100ms`.
    #[param(nullable = false, rename = "maxDuration")]
    max_duration: Option<String>,
    /// µs since 1970; an hour before `end` where it is absent.
    #[param(nullable = false)]
    start: Option<i64>,
    /// µs since 1970; now where it is absent.
    #[param(nullable = false)]
    end: Option<i64>,
    /// Most traces, at most `jaeger.traces_max` (1,000).
    #[param(nullable = false, default = 20)]
    limit: Option<i64>,
    /// Traces that are known by their ids, however old; then nothing else is searched by. May be there more than once.
    #[param(nullable = false, rename = "traceID")]
    trace_id: Option<Vec<String>>,
}

/// Traces that have a call like this, the latest first.
///
/// Other fields of the query string are passed over. An answer has at most `jaeger.calls_max` (20,000) calls.
#[utoipa::path(
    get, path = "/jaeger/api/traces", tag = "jaeger", operation_id = "jaeger_search", params(JaegerSearch),
    responses(
        (status = 200, description = "The traces, each whole", body = JaegerTraces),
        (status = 400, description = "`invalid`: a field that does not fit, which the message names"),
    ),
)]
pub async fn search(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Params(fields): Fields,
) -> Result<Json<JaegerTraces>, JaegerFailure> {
    let search = Search::of(&fields, app.jaeger.traces_max, engine.now_us())?;
    let (ids, range) = match search.ids.is_empty() {
        true => (found(&engine, &search).await?, Some(search.range)),
        false => (search.ids.clone(), None),
    };
    let (traces, is_cut) = of_ids(&app, &engine, &ids, range).await?;
    Ok(Json(shown(traces, is_cut)))
}

/// One trace, however old.
#[utoipa::path(
    get, path = "/jaeger/api/traces/{id}", tag = "jaeger", operation_id = "jaeger_trace",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The trace alone", body = JaegerTraces),
        (status = 400, description = "`invalid`: the id is not UTF-8"),
        (status = 404, description = "`not_found`: no call has this id"),
    ),
)]
pub async fn trace(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Named(id): Named,
) -> Result<Json<JaegerTraces>, JaegerFailure> {
    let (traces, is_cut) = of_ids(&app, &engine, std::slice::from_ref(&id), None).await?;
    if traces.is_empty() {
        // With 200 and no data, clients look for the first of nothing.
        return Err(Error::new(Kind::NotFound, "trace not found").into());
    }
    Ok(Json(shown(traces, is_cut)))
}

async fn operation_names(app: &App, engine: &Engine, service: &str) -> Result<Vec<String>> {
    let subject = Subject::of("agent_id")?;
    let comparison = match service {
        AGENT_UNKNOWN => Comparison::OneOf(vec![AGENT_UNKNOWN.to_owned(), String::new()]),
        service => Comparison::Equal(service.to_owned()),
    };
    let of_agent = [Condition { subject, comparison }];
    let names = engine.values_of(&Subject::of("operation")?, lately(app, engine), &of_agent, NAMES_MAX).await?;
    Ok(with(names, OPERATION_UNKNOWN))
}

/// Sorted, with the name that stands for none.
fn with(mut names: Vec<String>, none: &str) -> Vec<String> {
    names.push(none.to_owned());
    names.sort();
    names.dedup();
    names
}

/// The ids of traces that fit.
async fn found(engine: &Engine, search: &Search) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Row {
        trace_id: String,
    }
    let (from, to, limit) = (text_of(search.range.from_us)?, text_of(search.range.to_us)?, search.limit.to_string());
    let mut arguments = vec![("from", from.as_str()), ("to", &to), ("limit", &limit)];
    arguments.extend(search.arguments.iter().map(|(name, value)| (*name, value.as_str())));
    let question = Question::Named { kind: LibraryKind::Queries, name: "trace_search", arguments };
    let asked = engine.ask(question, &search.conditions, &[], Page::default(), Options::default());
    let rows: Vec<Row> = asked.await?.rows.collect_as().await?;
    Ok(rows.into_iter().map(|row| row.trace_id).collect())
}

/// The traces of these ids, and whether calls are missing because there are too many. With a range only what lies
/// within a day of it is looked at: a trace is not that long.
async fn of_ids(app: &App, engine: &Engine, ids: &[String], range: Option<Range>) -> Result<(Vec<Trace>, bool)> {
    if ids.is_empty() {
        return Ok((Vec::new(), false));
    }
    let range = range.unwrap_or(Range { from_us: DAY_US, to_us: engine.now_us() });
    let (from, to) = (text_of(range.from_us.saturating_sub(DAY_US))?, text_of(range.to_us.saturating_add(2 * DAY_US))?);
    // One more than there may be tells that there are more.
    let limit = app.jaeger.calls_max.saturating_add(1).to_string();
    let arguments = vec![("from", from.as_str()), ("to", to.as_str()), ("limit", limit.as_str())];
    let question = Question::Named { kind: LibraryKind::Queries, name: "trace_spans", arguments };
    let of_traces = [Condition { subject: Subject::of("trace_id")?, comparison: Comparison::OneOf(ids.to_vec()) }];
    let asked = engine.ask(question, &of_traces, &[], Page::default(), Options::default());
    let mut calls: Vec<Call> = asked.await?.rows.collect_as().await?;
    let is_cut = calls.len() > app.jaeger.calls_max;
    calls.truncate(app.jaeger.calls_max);
    Ok((traces(ids, calls), is_cut))
}

fn shown(mut data: Vec<Trace>, is_cut: bool) -> JaegerTraces {
    if is_cut {
        let warning = "there are more calls than jaeger.calls_max: later ones are left out";
        data.iter_mut().for_each(|trace| trace.warnings = Some(vec![warning.to_owned()]));
    }
    JaegerTraces { listed: listed(data.len()), data }
}

fn names_of(data: Vec<String>) -> JaegerNames {
    JaegerNames { listed: listed(data.len()), data }
}

fn listed(total: usize) -> JaegerListed {
    JaegerListed { errors: None, limit: 0, offset: 0, total }
}

/// The days whose agents are services.
fn lately(app: &App, engine: &Engine) -> Range {
    let to_us = engine.now_us().saturating_add(DAY_US);
    Range { from_us: to_us.saturating_sub((i64::from(app.jaeger.services_days) + 1) * DAY_US), to_us }
}
