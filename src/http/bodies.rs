//! Bodies of requests, within bounds: how large one may be, how many are read at the same time, and how
//! many bytes all of them hold. Where there is no place, the slowest sender loses its own.

use std::{pin::pin, time::Duration};

use axum::body::{Body, Bytes, HttpBody};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{interval, timeout},
};

use super::senders::Senders;
use crate::error::{Error, Kind, Result};

/// The unit in which bytes are given out.
const PERMIT_BYTES: usize = 1024;
/// A body takes at most so much more room at a time.
const STEP_BYTES: usize = 1 << 20;
/// How often one that waits for a place looks who might give way.
const LOOKED_EVERY: Duration = Duration::from_millis(500);

/// The bounds, and what is taken of them.
pub struct Bodies {
    readers: Semaphore,
    room: Semaphore,
    bytes_max: usize,
    wait_max: Duration,
    senders: Senders,
}

/// A body with the room it takes until it is dropped.
pub struct Read<'a> {
    /// The body.
    pub bytes: Bytes,
    _reader: SemaphorePermit<'a>,
    _room: Option<SemaphorePermit<'a>>,
}

impl Bodies {
    /// Nothing taken yet: as many readers, as many bytes, and how long one waits for either.
    pub fn new(readers_max: usize, bytes_max: usize, wait_max: Duration) -> Self {
        Self {
            readers: Semaphore::new(readers_max.max(1)),
            room: Semaphore::new(permits(bytes_max) as usize),
            bytes_max,
            wait_max,
            senders: Senders::default(),
        }
    }

    /// All of a body of at most so many bytes; `hint` says what to do about a larger one. Waits a bounded time for
    /// room, and for a sender as long as it is not too slow. A body takes room as it comes: one that is only
    /// announced takes none.
    ///
    /// # Errors
    ///
    /// [`Kind::TooLarge`], [`Kind::Busy`] when there is no room in time or others want the place,
    /// [`Kind::Timeout`] when the sender is too slow, [`Kind::Invalid`] when it breaks off.
    pub async fn read(&self, body: Body, bytes_max: usize, hint: &str) -> Result<Read<'_>> {
        let bytes_max = bytes_max.min(self.bytes_max);
        let too_large = || Error::new(Kind::TooLarge, format!("the body is larger than {bytes_max} bytes: {hint}"));
        let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large());
        }
        let reader = self.take(&self.readers, 1).await?;
        let sending = self.senders.enter();
        let mut room: Option<SemaphorePermit<'_>> = None;
        let mut held = 0;
        let mut bytes = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = sending.next(&mut chunks).await? {
            if bytes.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            if bytes.len() + chunk.len() > held {
                // As much again as came, but not more than is announced.
                let left = announced.unwrap_or(usize::MAX).saturating_sub(held);
                let step = held.min(STEP_BYTES).min(left).max(chunk.len());
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
        if let Ok(permit) = from.try_acquire_many(count) {
            return Ok(permit);
        }
        let mut look = interval(LOOKED_EVERY);
        let mut taken = pin!(timeout(self.wait_max, from.acquire_many(count)));
        loop {
            tokio::select! {
                biased;
                taken = &mut taken => return match taken {
                    Ok(Ok(permit)) => Ok(permit),
                    _ => Err(Error::new(Kind::Busy, "too many bodies are being read at the same time")),
                },
                _ = look.tick() => self.senders.slowest_gives_way(),
            }
        }
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX >> 4)
}
