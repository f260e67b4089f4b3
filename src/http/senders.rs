//! Who sends a body right now: how long one may take for it, and who gives way when others want the place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::{BodyDataStream, Bytes};
use futures::StreamExt;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::error::{Error, Kind, Result};

/// A sender may be so late, and then has to keep to a rate. One that is slower holds a place that others need.
const PATIENCE: Duration = Duration::from_secs(10);
const BYTES_PER_SECOND_MIN: usize = 16 * 1024;
/// One that was waited for so long may have to give way, however fast it is.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(1);

/// The senders.
#[derive(Debug, Default)]
pub struct Senders(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    last: u64,
    sending: HashMap<u64, Sender>,
}

#[derive(Debug)]
struct Sender {
    bytes: usize,
    /// How long its sender was waited for. Waiting for room is not the sender's fault.
    waited: Duration,
    waits_since: Option<Instant>,
    door: Arc<Notify>,
}

impl Sender {
    fn waited(&self, now: Instant) -> Duration {
        self.waited + self.waits_since.map_or(Duration::ZERO, |since| now - since)
    }

    /// How long it may still take for what comes next.
    fn patience(&self) -> Duration {
        let due = PATIENCE + Duration::from_secs((self.bytes / BYTES_PER_SECOND_MIN) as u64);
        due.saturating_sub(self.waited)
    }

    fn bytes_per_second(&self, now: Instant) -> f64 {
        self.bytes as f64 / self.waited(now).as_secs_f64().max(f64::EPSILON)
    }
}

/// One sender's entry, until it is dropped.
pub struct Sending<'a> {
    senders: &'a Senders,
    number: u64,
    door: Arc<Notify>,
}

impl Senders {
    /// A body is about to be read.
    pub fn enter(&self) -> Sending<'_> {
        let door = Arc::new(Notify::new());
        let mut book = self.book();
        book.last += 1;
        let number = book.last;
        let sender = Sender { bytes: 0, waited: Duration::ZERO, waits_since: None, door: Arc::clone(&door) };
        book.sending.insert(number, sender);
        Sending { senders: self, number, door }
    }

    /// Somebody else wants a place: the slowest of those that are waited for loses its own.
    pub fn slowest_gives_way(&self) {
        self.book().slowest_gives_way(Instant::now());
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn slowest_gives_way(&mut self, now: Instant) {
        let waited_for =
            self.sending.iter().filter(|(_, s)| s.waits_since.is_some() && s.waited(now) >= GIVES_WAY_AFTER);
        let slowest = waited_for.min_by(|(_, a), (_, b)| a.bytes_per_second(now).total_cmp(&b.bytes_per_second(now)));
        if let Some(number) = slowest.map(|(number, _)| *number)
            && let Some(sender) = self.sending.remove(&number)
        {
            sender.door.notify_one();
        }
    }
}

impl Sending<'_> {
    /// The next bytes; None at the end.
    ///
    /// # Errors
    ///
    /// [`Kind::Timeout`] when they come too slowly, [`Kind::Busy`] when others need the place, [`Kind::Invalid`] when
    /// the body breaks off.
    pub async fn next(&self, chunks: &mut BodyDataStream) -> Result<Option<Bytes>> {
        let patience = self.waits();
        let next = tokio::select! {
            biased;
            next = timeout(patience, chunks.next()) => next,
            () = self.door.notified() => {
                let message = "others want to send, and this body came the slowest: send it again in a moment";
                return Err(Error::new(Kind::Busy, message));
            }
        };
        let (waited, bytes) = self.came(next.as_ref().ok());
        let Ok(chunk) = next else {
            let message = format!("the body comes too slowly: {bytes} bytes in {} s", waited.as_secs());
            return Err(Error::new(Kind::Timeout, message));
        };
        chunk.transpose().map_err(|error| Error::invalid("the body broke off").with_source(error))
    }

    fn waits(&self) -> Duration {
        let mut book = self.senders.book();
        let Some(sender) = book.sending.get_mut(&self.number) else { return PATIENCE };
        sender.waits_since = Some(Instant::now());
        sender.patience()
    }

    /// How long the sender was waited for, and its bytes, with what came.
    fn came(&self, next: Option<&Option<std::result::Result<Bytes, axum::Error>>>) -> (Duration, usize) {
        let mut book = self.senders.book();
        let Some(sender) = book.sending.get_mut(&self.number) else { return (PATIENCE, 0) };
        if let Some(Some(Ok(chunk))) = next {
            sender.bytes += chunk.len();
        }
        sender.waited = sender.waited(Instant::now());
        sender.waits_since = None;
        (sender.waited, sender.bytes)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.senders.book().sending.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_those_waited_for_gives_way() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        // Bytes, ms waited before, waiting since ms of the start; what is left at 5 s.
        let check = |senders: &[(usize, u64, Option<u64>)], gone: Option<u64>| {
            let mut book = Book::default();
            for (number, (bytes, waited, since)) in senders.iter().enumerate() {
                let (waited, waits_since) = (Duration::from_millis(*waited), since.map(at));
                let sender = Sender { bytes: *bytes, waited, waits_since, door: Arc::default() };
                book.sending.insert(number as u64, sender);
            }
            book.slowest_gives_way(at(5_000));
            let lost: Vec<u64> =
                (0..senders.len() as u64).filter(|number| !book.sending.contains_key(number)).collect();
            assert_eq!(lost, gone.into_iter().collect::<Vec<_>>(), "{senders:?}");
        };
        check(&[], None);
        // Nobody was waited for long.
        check(&[(0, 0, Some(4_500)), (0, 900, Some(4_950))], None);
        check(&[(0, 0, Some(4_000)), (0, 0, Some(4_500))], Some(0));
        check(&[(9_000, 1_000, Some(4_000)), (100, 1_000, Some(4_000))], Some(1));
        // The slowest waits for room itself.
        check(&[(9_000, 1_000, Some(4_000)), (100, 1_000, None)], Some(0));
    }

    #[test]
    fn patience_grows_with_what_came() {
        let check = |bytes: usize, waited_s: u64, expected_s: u64| {
            let waited = Duration::from_secs(waited_s);
            let sender = Sender { bytes, waited, waits_since: None, door: Arc::default() };
            assert_eq!(sender.patience(), Duration::from_secs(expected_s), "{bytes} in {waited_s} s");
        };
        check(0, 0, 10);
        check(0, 10, 0);
        check(160 * 1024, 10, 10);
        check(160 * 1024, 30, 0);
    }
}
