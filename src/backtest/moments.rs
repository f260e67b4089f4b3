//! The moments at which a rule is asked. Pure arithmetic of times.

use super::duration::shown_duration;
use crate::error::{Error, Result};

/// Most moments of one replay: a quarter by the minute, and some days.
pub const MOMENTS_MAX: i64 = 150_000;

/// Whole steps of UTC after a start up to an end, which is one of them where it is a whole step. A moment knows what
/// happened before it; so the first one knows a whole step of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    first_us: i64,
    step_us: i64,
    count: i64,
}

impl Moments {
    /// The moments of a range, µs since the epoch, UTC.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for a range without a moment, or with more than `most`.
    pub fn new(from_us: i64, to_us: i64, step_us: i64, most: i64) -> Result<Self> {
        if step_us <= 0 {
            return Err(Error::invalid("step is more than nothing"));
        }
        let first_us = (from_us.div_euclid(step_us) + 1) * step_us;
        let count = (to_us - first_us).div_euclid(step_us) + 1;
        let step = shown_duration(step_us);
        if count < 1 {
            return Err(Error::invalid(format!(
                "no step of {step} is over between from and to: ask for a longer range"
            )));
        }
        if count > most {
            return Err(Error::invalid(format!(
                "from and to are {count} steps of {step} apart and at most {most} are replayed: ask for a shorter range \
                 or a longer step"
            )));
        }
        Ok(Self { first_us, step_us, count })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count.unsigned_abs()
    }

    /// The first.
    pub fn first_us(&self) -> i64 {
        self.first_us
    }

    /// The last.
    pub fn last_us(&self) -> i64 {
        self.first_us + (self.count - 1) * self.step_us
    }

    /// Time from one to the next.
    pub fn step_us(&self) -> i64 {
        self.step_us
    }

    /// Each of them, rising.
    pub fn iter(&self) -> impl Iterator<Item = i64> + use<> {
        let Self { first_us, step_us, count } = *self;
        (0..count).map(move |place| first_us + place * step_us)
    }

    /// The same in parts that are no longer than this, and of one moment at least.
    pub fn parts(&self, length_us: i64) -> impl Iterator<Item = Self> + use<> {
        let Self { first_us, step_us, count } = *self;
        let most = (length_us / step_us).max(1);
        (0..count).step_by(usize::try_from(most).unwrap_or(usize::MAX)).map(move |place| Self {
            first_us: first_us + place * step_us,
            step_us,
            count: most.min(count - place),
        })
    }
}
