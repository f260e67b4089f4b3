//! `POST /api/v1/logs`.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{
        HeaderMap,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
};
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Array, OneOfBuilder, RefOr, Schema,
        schema::{AdditionalProperties, ObjectBuilder},
    },
};

use super::{
    App,
    access::{CallerScope, key_of},
    error::Failure,
    openapi::Binary,
};
use crate::{
    decode::{Encoding, Reject, Shape},
    error::{Context, Error, Kind, Result},
    gate::Reason,
    ingest::{Answer, Request},
};

/// Rejected lines that an answer lists; all of them are in `rejected_logs`.
const REJECTED_SHOWN_MAX: usize = 1_000;

/// The answer to a batch.
#[derive(Serialize, ToSchema)]
pub struct LogsAnswer {
    /// Records stored, now or when the batch came first.
    accepted: u64,
    /// Lines that were no record; the first thousand.
    #[schema(max_items = 1000)]
    rejected: Vec<RejectedLine>,
    /// The batch's place in the order of everything acknowledged.
    seq: u64,
    /// Present when the batch was stored before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// A line that was no record.
#[derive(Serialize, ToSchema)]
struct RejectedLine {
    /// The line of NDJSON, or the element of an array, from 1.
    line: u64,
    /// Why.
    reason: String,
}

/// Takes a batch; the answer comes when it is durable and can be queried.
///
/// The shape is found out from the bytes, whatever the content type says: one JSON object a line, one JSON array of
/// objects, or one object over several lines. UTF-8. No field of a record is required; fields without a column are kept
/// in `attributes`. A 200 may carry rejected lines. After a 500 or a broken connection, send the same batch again.
#[utoipa::path(
    post, path = "/api/v1/logs", tag = "ingest", operation_id = "logs",
    params(
        ("Content-Encoding" = Option<String>, Header, nullable = false,
            description = "How the body is packed: `gzip` (`x-gzip`), `zstd` with a window of at most 8 MiB, or `identity`"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, pattern = "^[!-~]([ -~]*[!-~])?$",
            description = "ASCII, unique to the batch: a batch whose key came in the last 24 hours (`ingest.receipt_hours`) is not stored again. Without it, batches whose records all have a time and an id of their own are told by their content"),
    ),
    request_body(
        description = "Records, at most 64 MiB as sent and unpacked (`ingest.body_bytes_max`)",
        content(
            (String = "application/x-ndjson"), (String = "application/ndjson"), (String = "application/jsonl"),
            (String = "application/x-jsonlines"), (String = "application/jsonlines"), (String = "application/json-seq"),
            (Records = "application/json"), (String = "text/json"), (String = "text/plain"),
            (Binary = "application/octet-stream"),
        ),
    ),
    responses(
        (status = 200, description = "Stored, or stored before", body = LogsAnswer),
        (status = 400, description = "`invalid`: no line is JSON, the body breaks off or is empty, it is not whole gzip or zstd data, or `Idempotency-Key` is empty or not ASCII"),
        (status = 408, description = "`timeout`: the body comes more slowly than 16 KiB/s, 10 s allowed for"),
        (status = 413, description = "`too_large`: more than 64 MiB as sent or unpacked, a zstd window above 8 MiB, or more records than the buffer has room for"),
        (status = 415, description = "`unsupported_media_type`: another content type or encoding"),
        (status = 422, description = "`idempotency_key_reused`: the key came before with another body; nothing of this one is stored"),
        (status = 503, description = "`busy`: there is no room within 5 s (`ingest.wait_ms_max`), the disk is full, the server stops, or more than `clients.requests_max` (512) requests are open"),
    ),
)]
pub async fn ingest(
    State(app): State<App>,
    CallerScope(scope): CallerScope,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LogsAnswer>, Failure> {
    let shape = shape_of(&headers)?;
    let encoding = encoding_of(&headers)?;
    let idempotency_key = match headers.get("idempotency-key") {
        Some(value) => {
            let key = value.to_str().kind_context(Kind::Invalid, || "Idempotency-Key is not ASCII text".into())?;
            if key.trim().is_empty() {
                return Err(Error::invalid("Idempotency-Key is empty: leave it out, or name the batch").into());
            }
            Some(key.to_owned())
        }
        None => None,
    };
    let read = app.bodies.read(body, app.body_bytes_max, "send smaller batches").await?;
    let request = Request { body: read.bytes.clone(), encoding, shape, idempotency_key, scope };
    let answer = app.ingestor.ingest(request).await?;
    if answer.rejected.iter().any(Reject::is_of_another_tenant) {
        app.gate.note(Reason::Tenant, "/api/v1/logs", key_of(&headers).as_deref());
    }
    Ok(Json(LogsAnswer::from(answer)))
}

/// Records as one JSON text, for the description: an array of them, or one alone.
enum Records {}

impl PartialSchema for Records {
    fn schema() -> RefOr<Schema> {
        let record = || ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true)));
        OneOfBuilder::new().item(Array::new(record())).item(record()).into()
    }
}

impl ToSchema for Records {}

impl From<Answer> for LogsAnswer {
    fn from(answer: Answer) -> Self {
        let rejected = answer.rejected.into_iter().take(REJECTED_SHOWN_MAX);
        Self {
            accepted: answer.accepted,
            rejected: rejected.map(|reject| RejectedLine { line: reject.line, reason: reject.reason }).collect(),
            seq: answer.seq,
            duplicate: answer.duplicate,
        }
    }
}

fn shape_of(headers: &HeaderMap) -> Result<Shape> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Shape::Detect) };
    let text = value.to_str().unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/jsonlines"
        | "application/json-seq" => Ok(Shape::Detect),
        "application/json" | "text/json" | "text/plain" | "application/octet-stream" => Ok(Shape::Detect),
        other => Err(Error::new(
            Kind::UnsupportedMedia,
            format!(
                "content type {other} is not understood: send application/x-ndjson or application/json \
                 (with curl: -H 'Content-Type: application/x-ndjson')"
            ),
        )),
    }
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    let text = value.to_str().unwrap_or_default();
    Encoding::from_header(text).ok_or_else(|| {
        Error::new(Kind::UnsupportedMedia, format!("content encoding {text} is not one of gzip, zstd, identity"))
    })
}
