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

use super::{App, access::CallerScope, error::Failure};
use crate::{
    decode::{Encoding, Shape},
    error::{Context, Error, Kind, Result},
    ingest::{Answer, Request},
};

/// Rejected lines that an answer lists; all of them are in `rejected_logs`.
const REJECTED_SHOWN_MAX: usize = 1_000;

/// The answer to a batch.
#[derive(Serialize)]
pub struct LogsAnswer {
    /// Records stored, now or when the batch came first.
    accepted: u64,
    /// Lines that were no record; the first thousand.
    rejected: Vec<RejectedLine>,
    /// The batch's place in the order of everything acknowledged.
    seq: u64,
    /// Present when the batch was stored before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

#[derive(Serialize)]
struct RejectedLine {
    line: u64,
    reason: String,
}

/// Takes a batch; the answer comes when it is durable and can be queried.
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
    Ok(Json(LogsAnswer::from(answer)))
}

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
