//! `/jaeger`: the JSON API of Jaeger's query service, over what calls know of traces. Decides nothing.

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use super::{App, access::CallerEngine, error::JaegerFailure, params::Params};
use crate::{
    error::{Error, Kind, Result},
    jaeger::{AGENT_UNKNOWN, Call, OPERATION_UNKNOWN, Search, Trace, traces},
    query::{Comparison, Condition, Engine, LibraryKind, Options, Page, Question, Range, Subject},
};

/// Most names of services and operations.
const NAMES_MAX: usize = 10_000;
const DAY_US: i64 = 86_400_000_000;

type Fields = Params<Vec<(String, String)>>;

/// The agents.
pub async fn services(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
) -> Result<Json<Value>, JaegerFailure> {
    let names = engine.values_of(&Subject::of("agent_id")?, lately(&app, &engine), &[], NAMES_MAX).await?;
    Ok(Json(listed(with(names, AGENT_UNKNOWN).into_iter().map(Value::from).collect())))
}

/// The kinds of an agent's calls.
pub async fn operations(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Path(service): Path<String>,
) -> Result<Json<Value>, JaegerFailure> {
    let names = operation_names(&app, &engine, &service).await?;
    Ok(Json(listed(names.into_iter().map(Value::from).collect())))
}

/// The same, as newer clients ask for them.
pub async fn operations_of(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Params(fields): Fields,
) -> Result<Json<Value>, JaegerFailure> {
    let service = fields.iter().find(|(name, _)| name == "service").map(|(_, service)| service.as_str());
    let service = service.ok_or_else(|| Error::invalid("service is missing"))?;
    let names = operation_names(&app, &engine, service).await?;
    let named = |name: String| json!({ "name": name, "spanKind": "client" });
    Ok(Json(listed(names.into_iter().map(named).collect())))
}

/// Traces that have a call like this, the latest first.
pub async fn search(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Params(fields): Fields,
) -> Result<Json<Value>, JaegerFailure> {
    let search = Search::of(&fields, app.jaeger.traces_max, engine.now_us())?;
    let (ids, range) = match search.ids.is_empty() {
        true => (found(&engine, &search).await?, Some(search.range)),
        false => (search.ids.clone(), None),
    };
    let (traces, is_cut) = of_ids(&app, &engine, &ids, range).await?;
    Ok(Json(shown(traces, is_cut)?))
}

/// One trace.
pub async fn trace(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Path(id): Path<String>,
) -> Result<Json<Value>, JaegerFailure> {
    let (traces, is_cut) = of_ids(&app, &engine, std::slice::from_ref(&id), None).await?;
    if traces.is_empty() {
        // With 200 and no data, clients look for the first of nothing.
        return Err(Error::new(Kind::NotFound, "trace not found").into());
    }
    Ok(Json(shown(traces, is_cut)?))
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
    let asked = engine.ask(question, &search.conditions, Page::default(), Options::default());
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
    let asked = engine.ask(question, &of_traces, Page::default(), Options::default());
    let mut calls: Vec<Call> = asked.await?.rows.collect_as().await?;
    let is_cut = calls.len() > app.jaeger.calls_max;
    calls.truncate(app.jaeger.calls_max);
    Ok((traces(ids, calls), is_cut))
}

fn shown(mut traces: Vec<Trace>, is_cut: bool) -> Result<Value> {
    if is_cut {
        let warning = "there are more calls than jaeger.calls_max: later ones are left out";
        traces.iter_mut().for_each(|trace| trace.warnings = Some(vec![warning.to_owned()]));
    }
    let traces = traces.into_iter().map(serde_json::to_value).collect::<std::result::Result<Vec<_>, _>>();
    let traces = traces.map_err(|error| Error::new(Kind::Internal, "cannot write a trace").with_source(error))?;
    Ok(listed(traces))
}

fn listed(data: Vec<Value>) -> Value {
    let total = data.len();
    json!({ "data": data, "total": total, "limit": 0, "offset": 0, "errors": null })
}

/// The days whose agents are services.
fn lately(app: &App, engine: &Engine) -> Range {
    let to_us = engine.now_us().saturating_add(DAY_US);
    Range { from_us: to_us.saturating_sub((i64::from(app.jaeger.services_days) + 1) * DAY_US), to_us }
}

fn text_of(us: i64) -> Result<String> {
    let time =
        chrono::DateTime::from_timestamp_micros(us).ok_or_else(|| Error::invalid("a time outside the calendar"))?;
    Ok(time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}
