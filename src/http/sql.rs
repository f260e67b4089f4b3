//! `GET|POST /api/v1/sql`, and results as streamed bodies for every route that answers with rows.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::Response,
};
use futures::{StreamExt, stream};
use serde::Deserialize;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Array, Object, OneOfBuilder, RefOr, Schema,
        schema::{ObjectBuilder, SchemaType, Type},
    },
};

use super::{App, access::CallerEngine, error::Failure, openapi::Binary, params::Params};
use crate::{
    error::{Context, Error, Kind, Result},
    query::{Engine, Format, Options, Output, QueryParams, Rows},
};

/// Most bytes of a statement with its parameters.
const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// A result up to this size is made before its first byte is sent, so that an error in it is still a
/// status code.
const HELD_BYTES: usize = 256 * 1024;

/// A statement.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SqlRequest {
    /// One statement, and only one that reads.
    #[schema(example = "select model, count(*) as calls from agent_logs where agent_id = $agent group by 1")]
    q: String,
    /// An array for `$1`, `$2`, …, or an object for `$name`; of texts, numbers, booleans and null.
    #[serde(default)]
    #[schema(schema_with = params_schema)]
    params: Option<serde_json::Value>,
    /// That of `Accept` where it is absent, else `json`.
    #[serde(default)]
    #[schema(value_type = Option<Format>)]
    format: Option<String>,
    /// Whether rollups may answer.
    #[serde(default)]
    #[schema(pattern = "^(on|off)$", default = "on")]
    rollups: Option<String>,
}

/// The query string of a GET; `params` is JSON text.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SqlQuery {
    /// One statement, and only one that reads.
    #[param(required = true, nullable = false, example = "select count(*) as calls from agent_logs")]
    q: Option<String>,
    /// JSON text: an array for `$1`, `$2`, …, or an object for `$name`.
    #[param(nullable = false, example = "[]")]
    params: Option<String>,
    /// That of `Accept` where it is absent, else `json`.
    #[param(nullable = false, inline, value_type = Option<Format>)]
    format: Option<String>,
    /// Whether rollups may answer.
    #[param(nullable = false, pattern = "^(on|off)$", default = "on")]
    rollups: Option<String>,
}

/// The shape of `params` in a body.
fn params_schema() -> RefOr<Schema> {
    let any = || ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    let named = ObjectBuilder::new().additional_properties(Some(any()));
    let shapes = OneOfBuilder::new().item(Array::new(any())).item(named).item(Object::with_type(Type::Null));
    let says = "An array for `$1`, `$2`, …, or an object for `$name`; of texts, numbers, booleans and null.";
    shapes.description(Some(says)).examples([serde_json::json!({ "agent": "rag_agent_v2" })]).into()
}

/// Runs the statement in `q`.
///
/// SELECT, EXPLAIN, SHOW and DESCRIBE, in the dialect of DataFusion, which is close to PostgreSQL's.
#[utoipa::path(
    get, path = "/api/v1/sql", tag = "sql", operation_id = "sql", params(SqlQuery),
    responses(
        (status = 200, description = "Rows, as they come. A result above 256 KiB is streamed; when it fails in the middle, the connection breaks off",
            headers(("x-query-id" = String, description = "An id of this answer, for logs")),
            content(
                (Vec<BTreeMap<String, serde_json::Value>> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
                (Binary = "application/vnd.apache.arrow.stream"), (Binary = "application/vnd.apache.parquet"),
            ),
        ),
        (status = 400, description = "`invalid`: the statement is wrong or does not read, or a field is none of these; the message says what and where"),
    ),
)]
pub async fn get(
    CallerEngine(engine): CallerEngine,
    Params(query): Params<SqlQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let params = match query.params {
        Some(text) => Some(serde_json::from_str(&text).kind_context(Kind::Invalid, || "params is not JSON".into())?),
        None => None,
    };
    let q = query.q.ok_or_else(|| Error::invalid("q is missing: the statement goes there"))?;
    run(&engine, SqlRequest { q, params, format: query.format, rollups: query.rollups }, &headers).await
}

/// Runs the statement in the body: JSON `{q, params, format}`, or the statement itself as text.
///
/// A body that begins with `{` is JSON, whatever its content type says. `format` and `rollups` may
/// stand in the query string as well; those of a JSON body come first.
#[utoipa::path(
    post, path = "/api/v1/sql", tag = "sql", operation_id = "sql_post",
    params(
        ("format" = inline(Option<Format>), Query, nullable = false, description = "As in a JSON body, whose own comes first"),
        ("rollups" = Option<String>, Query, nullable = false, pattern = "^(on|off)$", description = "As in a JSON body, whose own comes first"),
    ),
    request_body(
        description = "At most 1 MiB",
        content((SqlRequest = "application/json"), (String = "text/plain", example = "select count(*) as calls from agent_logs")),
    ),
    responses(
        (status = 200, description = "Rows, as they come. A result above 256 KiB is streamed; when it fails in the middle, the connection breaks off",
            headers(("x-query-id" = String, description = "An id of this answer, for logs")),
            content(
                (Vec<BTreeMap<String, serde_json::Value>> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
                (Binary = "application/vnd.apache.arrow.stream"), (Binary = "application/vnd.apache.parquet"),
            ),
        ),
        (status = 400, description = "`invalid`: the statement is wrong or does not read, or the body is not of this form; the message says what and where"),
        (status = 413, description = "`too_large`: the body is larger than 1 MiB"),
    ),
)]
pub async fn post(
    State(app): State<App>,
    CallerEngine(engine): CallerEngine,
    Params(query): Params<SqlQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let read = app.small_bodies.read(body, STATEMENT_BYTES_MAX, "a statement has to be shorter").await?;
    let text = std::str::from_utf8(&read.bytes).kind_context(Kind::Invalid, || "the body is not UTF-8".into())?;
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
        || text.trim_start().starts_with('{');
    let mut request = if is_json {
        serde_json::from_str(text)
            .kind_context(Kind::Invalid, || "the body is not {\"q\", \"params\", \"format\", \"rollups\"}".into())?
    } else {
        SqlRequest { q: text.to_owned(), params: None, format: None, rollups: None }
    };
    drop(read);
    // What a body's own hides has to be right as well.
    if let Some(format) = &query.format {
        format.parse::<Format>()?;
    }
    options_of(query.rollups.as_deref())?;
    request.format = request.format.or(query.format);
    request.rollups = request.rollups.or(query.rollups);
    run(&engine, request, &headers).await
}

async fn run(engine: &Engine, request: SqlRequest, headers: &HeaderMap) -> Result<Response, Failure> {
    let format = format_of(request.format.as_deref(), headers)?;
    let params = match request.params {
        None | Some(serde_json::Value::Null) => QueryParams::None,
        Some(serde_json::Value::Array(values)) => QueryParams::Positional(values),
        Some(serde_json::Value::Object(values)) => QueryParams::Named(values),
        Some(_) => {
            return Err(Error::invalid("params is an array for $1, $2, … or an object for $name").into());
        }
    };
    let options = options_of(request.rollups.as_deref())?;
    let rows = engine.sql_with(&request.q, params, options).await?;
    Ok(respond(rows, format).await?)
}

/// Whether rollups may be used: `on`, the default, or `off`.
pub fn options_of(rollups: Option<&str>) -> Result<Options> {
    match rollups {
        None | Some("on") => Ok(Options::default()),
        Some("off") => Ok(Options::with_rollups(false)),
        Some(other) => Err(Error::invalid(format!("rollups is on or off, not {other}"))),
    }
}

/// The format that was asked for by name, else by the Accept header, else JSON.
pub fn format_of(name: Option<&str>, headers: &HeaderMap) -> Result<Format> {
    if let Some(name) = name {
        return name.parse();
    }
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = accept.split([',', ';']).map(str::trim).find_map(|media| match media {
        "application/json" => Some(Format::Json),
        "application/x-ndjson" | "application/jsonl" => Some(Format::JsonLines),
        "text/csv" => Some(Format::Csv),
        "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
        "application/vnd.apache.parquet" => Some(Format::Parquet),
        _ => None,
    });
    Ok(wanted.unwrap_or_default())
}

/// Rows as a response. Small results are whole before the status is sent; larger ones stream, and an
/// error in the middle breaks the connection off, so that half a result never looks whole.
pub async fn respond(mut rows: Rows, format: Format) -> Result<Response> {
    let mut output = Output::new(format, &rows.schema())?;
    let mut held = output.take();
    let mut whole = false;
    while held.len() < HELD_BYTES {
        match rows.next().await {
            Some(batch) => output.write(&batch?)?,
            None => {
                whole = true;
                break;
            }
        }
        held.extend_from_slice(&output.take());
    }
    let id = uuid::Uuid::now_v7().to_string();
    let body = if whole {
        held.extend_from_slice(&output.finish()?);
        Body::from(held)
    } else {
        let running = Running { id: id.clone(), rows, output, held };
        // What packs answers asks once more after the end.
        Body::from_stream(stream::unfold(Some(running), next_chunk).fuse())
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(HeaderName::from_static("x-query-id"), HeaderValue::from_str(&id).context("a query id is ASCII")?);
    Ok(response)
}

/// A result that is streamed.
struct Running {
    /// As the client was told.
    id: String,
    rows: Rows,
    output: Output,
    /// What was written before the head was sent.
    held: Vec<u8>,
}

async fn next_chunk(running: Option<Running>) -> Option<(Result<Bytes>, Option<Running>)> {
    let mut running = running?;
    let held = std::mem::take(&mut running.held);
    if !held.is_empty() {
        return Some((Ok(Bytes::from(held)), Some(running)));
    }
    loop {
        match running.rows.next().await {
            None => return Some((running.output.finish().map(Bytes::from), None)),
            Some(batch) => {
                if let Err(error) = batch.and_then(|batch| running.output.write(&batch)) {
                    tracing::warn!(query_id = running.id, error = error.chain(), "a streamed result broke off");
                    return Some((Err(error), None));
                }
            }
        }
        let chunk = running.output.take();
        if !chunk.is_empty() {
            return Some((Ok(Bytes::from(chunk)), Some(running)));
        }
    }
}
