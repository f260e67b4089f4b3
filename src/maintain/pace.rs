//! Ingest goes no faster than its files are joined: it waits while too many of them wait. Knows how many, not
//! which.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waiting: AtomicUsize,
    joins: AtomicUsize,
    /// The last pass joined nothing: to wait for the next one would be to wait for ever.
    useless: AtomicBool,
    wanted: Notify,
    moved: Notify,
}

/// A pass; whoever waits looks again when it is over, however it ends.
pub(super) struct Pass<'a> {
    pace: &'a Pace,
    joins_before: usize,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let joined = self.pace.joins.load(Ordering::Relaxed) > self.joins_before;
        self.pace.useless.store(!joined, Ordering::Relaxed);
        self.pace.moved.notify_waiters();
    }
}

impl Pace {
    /// To be kept as long as a pass runs.
    pub(super) fn pass(&self) -> Pass<'_> {
        Pass { pace: self, joins_before: self.joins.load(Ordering::Relaxed) }
    }

    /// Some files are one.
    pub(super) fn joined(&self) {
        self.joins.fetch_add(1, Ordering::Relaxed);
        self.useless.store(false, Ordering::Relaxed);
        self.moved.notify_waiters();
    }

    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// How many waited when last counted.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether more than `most` wait, and to wait for a pass would help; one is wanted then.
    pub(super) fn is_behind(&self, most: usize, count: impl Fn() -> usize) -> bool {
        let waiting = count();
        self.waiting.store(waiting, Ordering::Relaxed);
        if waiting <= most {
            return false;
        }
        self.wanted.notify_one();
        !self.useless.load(Ordering::Relaxed)
    }

    /// Waits until that is no longer so.
    pub(super) async fn caught_up(&self, most: usize, count: impl Fn() -> usize) {
        loop {
            let mut moved = pin!(self.moved.notified());
            // What moves from here on is noticed.
            moved.as_mut().enable();
            if !self.is_behind(most, &count) {
                return;
            }
            moved.await;
        }
    }
}
