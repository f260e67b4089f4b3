//! Where "now" comes from. Everything that needs the time is handed a [`Clock`]; tests hand in one
//! that they move themselves. Nothing else in the crate reads the system's clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// A source of the current time, in µs since the epoch, UTC.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's own clock.
    #[default]
    System,
    /// A clock that stands still until it is set.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at the given time.
    pub fn manual(now_us: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now_us)))
    }

    /// µs since the epoch, UTC.
    pub fn now_us(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)),
            Clock::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock; the machine's own is left alone.
    pub fn set(&self, now_us: i64) {
        if let Clock::Manual(now) = self {
            now.store(now_us, Ordering::SeqCst);
        }
    }
}
