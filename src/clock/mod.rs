//! Where "now" comes from. Everything that needs the time is handed a [`Clock`]; tests hand in one
//! that they move themselves. Nothing else in the crate reads the system's clock.
//!
//! What is forgotten or deleted at an age goes by an [`AgeClock`], which a step of the machine's clock
//! does not move ahead.

mod age;

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

pub use age::AgeClock;

/// A source of the current time, in µs since the epoch, UTC.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's own clock.
    #[default]
    System,
    /// A clock that stands still until it is set.
    Manual(Arc<Hands>),
}

/// Where a manual clock stands.
#[derive(Debug)]
pub struct Hands {
    wall_us: AtomicI64,
    monotonic_us: AtomicI64,
}

/// What the machine's monotonic times are counted from.
static FIRST_LOOK: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// A clock that stands at the given time.
    pub fn manual(now_us: i64) -> Self {
        Self::Manual(Arc::new(Hands { wall_us: AtomicI64::new(now_us), monotonic_us: AtomicI64::new(0) }))
    }

    /// µs since the epoch, UTC.
    pub fn now_us(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)),
            Clock::Manual(hands) => hands.wall_us.load(Ordering::SeqCst),
        }
    }

    /// µs since some moment, which no step of the clock changes. Time that the machine sleeps may be missing.
    pub fn monotonic_us(&self) -> i64 {
        match self {
            Clock::System => i64::try_from(FIRST_LOOK.elapsed().as_micros()).unwrap_or(i64::MAX),
            Clock::Manual(hands) => hands.monotonic_us.load(Ordering::SeqCst),
        }
    }

    /// Lets time pass on a manual clock up to this moment, or steps it back; the machine's own is left alone.
    pub fn set(&self, now_us: i64) {
        if let Clock::Manual(hands) = self {
            let before_us = hands.wall_us.swap(now_us, Ordering::SeqCst);
            hands.monotonic_us.fetch_add((now_us - before_us).max(0), Ordering::SeqCst);
        }
    }

    /// Steps a manual clock to another time without any having passed.
    pub fn step(&self, now_us: i64) {
        if let Clock::Manual(hands) = self {
            hands.wall_us.store(now_us, Ordering::SeqCst);
        }
    }
}
