//! Statements whose rows wait for somebody who does not read them, as those of a portal may that its client has put
//! aside. They keep their turns; where somebody waits for one and there is none, the one that was not read for longest
//! ends. Only those are in this book whose readers asked to be; it knows no protocol.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

/// A statement that was not read for so long may end to make room: whoever reads at all is faster.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(1);

/// The book.
#[derive(Debug, Default)]
pub struct Readers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// In the order in which they came to wait.
    unread: BTreeMap<u64, Unread>,
}

#[derive(Debug)]
struct Unread {
    since: Instant,
    statement: AbortHandle,
    is_ended: Arc<AtomicBool>,
}

/// A statement's reader.
#[derive(Debug)]
pub struct Reader {
    readers: Arc<Readers>,
    statement: AbortHandle,
    is_ended: Arc<AtomicBool>,
    /// Where it stands in the book while it does not read.
    place: Option<u64>,
}

impl Readers {
    /// Ends the statement that was not read for longest, if that is long.
    pub fn end_slowest(&self, now: Instant) {
        let mut state = self.state();
        // One that has all its rows keeps no turn.
        state.unread.retain(|_, unread| !unread.statement.is_finished());
        let slowest = state.unread.first_entry().filter(|slowest| now - slowest.get().since >= GIVES_WAY_AFTER);
        if let Some(slowest) = slowest {
            let slowest = slowest.remove();
            slowest.is_ended.store(true, Ordering::Release);
            slowest.statement.abort();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The reader of a statement that runs as this task, and that does not read yet.
    pub fn new(readers: Arc<Readers>, statement: AbortHandle, now: Instant) -> Self {
        let mut reader = Self { readers, statement, is_ended: Arc::default(), place: None };
        reader.rests(now);
        reader
    }

    /// It wants rows.
    pub fn reads(&mut self) {
        if let Some(place) = self.place.take() {
            self.readers.state().unread.remove(&place);
        }
    }

    /// It has what it wanted for now.
    pub fn rests(&mut self, now: Instant) {
        self.reads();
        let mut state = self.readers.state();
        state.last += 1;
        let place = state.last;
        let (statement, is_ended) = (self.statement.clone(), Arc::clone(&self.is_ended));
        state.unread.insert(place, Unread { since: now, statement, is_ended });
        self.place = Some(place);
    }

    /// Whether its statement ended because it did not read.
    pub fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reads();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn who_did_not_read_for_longest_gives_way() {
        let (readers, now) = (Arc::new(Readers::default()), Instant::now());
        let at = |tenths: u32| now + GIVES_WAY_AFTER * tenths / 10;
        let reader = |since| {
            let statement = tokio::spawn(pending::<()>()).abort_handle();
            Reader::new(Arc::clone(&readers), statement, since)
        };
        let mut all = [reader(at(0)), reader(at(1)), reader(at(2)), reader(at(3))];
        let check = |all: &[Reader; 4], expect: [bool; 4]| {
            assert_eq!([0, 1, 2, 3].map(|at: usize| all[at].is_ended()), expect);
        };
        readers.end_slowest(at(9));
        check(&all, [false; 4]);
        // One that reads is quick, and one that has read rests from then on; one whose statement is over has no turn.
        all[0].reads();
        all[1].rests(at(4));
        let over = all[2].statement.clone();
        over.abort();
        while !over.is_finished() {
            tokio::task::yield_now().await;
        }
        readers.end_slowest(at(12));
        check(&all, [false; 4]);
        for _ in 0..2 {
            readers.end_slowest(at(13));
            check(&all, [false, false, false, true]);
        }
        readers.end_slowest(at(14));
        check(&all, [false, true, false, true]);
        drop(all);
        assert!(readers.state().unread.is_empty());
    }
}
