//! Bodies of requests, within bounds: how large one may be, how many are read at the same time, and how
//! many bytes all of them hold.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header::CONTENT_LENGTH},
};
use futures::StreamExt;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use crate::{
    config::IngestConfig,
    error::{Error, Kind, Result},
};

/// The unit in which bytes are given out.
const PERMIT_BYTES: usize = 1024;
/// A body takes room in such steps.
const STEP_BYTES: usize = 1 << 20;
/// A sender may be so late, and then has to keep to a rate. One that is slower holds a place that others need.
const PATIENCE: Duration = Duration::from_secs(10);
const BYTES_PER_SECOND_MIN: usize = 16 * 1024;

/// The bounds, and what is taken of them.
pub struct Bodies {
    readers: Semaphore,
    room: Semaphore,
    body_bytes_max: usize,
    wait_max: Duration,
}

/// A body with the room it takes until it is dropped.
pub struct Read<'a> {
    /// The body.
    pub bytes: Bytes,
    _reader: SemaphorePermit<'a>,
    _room: Option<SemaphorePermit<'a>>,
}

impl Bodies {
    /// Nothing taken yet.
    pub fn new(config: &IngestConfig, bytes_max: usize) -> Self {
        Self {
            readers: Semaphore::new(config.concurrent_requests_max.max(1)),
            room: Semaphore::new(permits(bytes_max.max(config.body_bytes_max)) as usize),
            body_bytes_max: config.body_bytes_max,
            wait_max: Duration::from_millis(config.wait_ms_max),
        }
    }

    /// All of a body. Waits a bounded time for room, and for a sender as long as it is not slower than
    /// [`BYTES_PER_SECOND_MIN`]. A body takes room as it comes: one that is only announced takes none.
    ///
    /// # Errors
    ///
    /// [`Kind::TooLarge`], [`Kind::Busy`] when there is no room in time, [`Kind::Timeout`] when the sender is too
    /// slow, [`Kind::Invalid`] when it breaks off.
    pub async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Read<'_>> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > self.body_bytes_max) {
            return Err(self.too_large());
        }
        let reader = self.take(&self.readers, 1).await?;
        let mut room: Option<SemaphorePermit<'_>> = None;
        let mut held = 0;
        let mut bytes = Vec::new();
        let mut chunks = body.into_data_stream();
        let mut waited = Duration::ZERO;
        loop {
            let patience = PATIENCE + Duration::from_secs((bytes.len() / BYTES_PER_SECOND_MIN) as u64);
            let began = Instant::now();
            let Ok(chunk) = timeout(patience.saturating_sub(waited), chunks.next()).await else {
                return Err(Error::new(
                    Kind::Timeout,
                    format!(
                        "the body comes too slowly: {} bytes in {} s",
                        bytes.len(),
                        waited.as_secs() + began.elapsed().as_secs()
                    ),
                ));
            };
            // Waiting for room is not the sender's fault.
            waited += began.elapsed();
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|error| Error::invalid("the body broke off").with_source(error))?;
            if bytes.len() + chunk.len() > self.body_bytes_max {
                return Err(self.too_large());
            }
            if bytes.len() + chunk.len() > held {
                // What is announced need not be more than what comes.
                let step = announced
                    .unwrap_or(usize::MAX)
                    .saturating_sub(held)
                    .clamp(chunk.len(), STEP_BYTES.max(chunk.len()));
                let more = self.take(&self.room, permits(step)).await?;
                held += step;
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Read { bytes: bytes.into(), _reader: reader, _room: room })
    }

    async fn take<'a>(&self, from: &'a Semaphore, count: u32) -> Result<SemaphorePermit<'a>> {
        match timeout(self.wait_max, from.acquire_many(count)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::new(Kind::Busy, "too many bodies are being read at the same time")),
        }
    }

    fn too_large(&self) -> Error {
        let message = format!("the body is larger than {} bytes: send smaller batches", self.body_bytes_max);
        Error::new(Kind::TooLarge, message)
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX >> 4)
}
