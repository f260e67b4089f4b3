//! The time by which things are old. Never later than time has passed: what goes by it is deleted or
//! forgotten, and a wrong clock must not do that.
//!
//! The clock is believed as it stands when an [`AgeClock`] is made. From then on it should move as the
//! monotonic clock does. If it gets ahead of that by more than ten minutes, ages go by the monotonic
//! clock instead, until the two agree again or the clock has stayed where it is for a day: then it is
//! believed. A step back is believed at once, because it only makes things younger.

use std::sync::{Arc, Mutex, PoisonError};

use super::Clock;

/// A step ahead that is small beside every age, µs: those of time synchronization are.
const STEP_US_MAX: i64 = 10 * 60 * 1_000_000;
/// After so much time a clock that stepped ahead is believed, µs.
const WAIT_US: i64 = 24 * 3_600 * 1_000_000;

/// A clock for ages. Its copies share what they have seen.
#[derive(Debug, Clone)]
pub struct AgeClock {
    clock: Clock,
    belief: Arc<Mutex<Belief>>,
}

impl AgeClock {
    /// Believes the clock as it stands.
    pub fn new(clock: Clock) -> Self {
        let belief = Belief { offset_us: clock.now_us() - clock.monotonic_us(), ahead: None };
        Self { clock, belief: Arc::new(Mutex::new(belief)) }
    }

    /// µs since the epoch, UTC, by which ages are counted.
    pub fn now_us(&self) -> i64 {
        self.look().0
    }

    /// How far the machine's clock is ahead of this one, µs: 0 unless it stepped and is not believed yet.
    pub fn ahead_us(&self) -> i64 {
        self.look().1
    }

    fn look(&self) -> (i64, i64) {
        let monotonic_us = self.clock.monotonic_us();
        let wall_us = self.clock.now_us();
        let mut belief = self.belief.lock().unwrap_or_else(PoisonError::into_inner);
        let was_ahead = belief.ahead.is_some();
        let ahead_us = belief.look(monotonic_us, wall_us - monotonic_us);
        match (was_ahead, belief.ahead.is_some()) {
            (false, true) => tracing::warn!(
                ahead_s = ahead_us / 1_000_000,
                "the clock stepped ahead: nothing is deleted or forgotten by it until it agrees with the time that \
                 passed, has stayed so for a day, or Driftline is started again"
            ),
            (true, false) => tracing::info!("the clock is believed again"),
            _ => {}
        }
        (wall_us - ahead_us, ahead_us)
    }
}

/// What is taken for the time.
#[derive(Debug)]
struct Belief {
    /// The wall clock less the monotonic one, µs.
    offset_us: i64,
    /// Another offset, which is not believed yet.
    ahead: Option<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    offset_us: i64,
    /// When it was first seen, by the monotonic clock, µs.
    since_us: i64,
}

impl Belief {
    /// Takes an offset in; returns how far it is ahead of what is believed, µs.
    fn look(&mut self, monotonic_us: i64, offset_us: i64) -> i64 {
        let is_known = |ahead: &Ahead| (offset_us - ahead.offset_us).abs() <= STEP_US_MAX;
        if offset_us - self.offset_us <= STEP_US_MAX {
            self.offset_us = self.offset_us.min(offset_us);
            self.ahead = None;
            return 0;
        }
        let ahead = self.ahead.take().filter(is_known).unwrap_or(Ahead { offset_us, since_us: monotonic_us });
        if monotonic_us - ahead.since_us >= WAIT_US {
            self.offset_us = offset_us;
            return 0;
        }
        self.ahead = Some(ahead);
        offset_us - self.offset_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: i64 = 60_000_000;
    const HOUR_US: i64 = 60 * MINUTE_US;

    /// Looks after so many minutes at a clock that is so many minutes off what it was; says how many
    /// minutes it is ahead of ages.
    fn check(looks: &[(i64, i64, i64)]) {
        let mut belief = Belief { offset_us: 1_000, ahead: None };
        for (index, (minute, offset, expected)) in looks.iter().enumerate() {
            let ahead_us = belief.look(minute * MINUTE_US, 1_000 + offset * MINUTE_US);
            assert_eq!(ahead_us, expected * MINUTE_US, "look {index} of {looks:?}");
        }
    }

    #[test]
    fn a_step_ahead_is_believed_after_a_day() {
        let day = 24 * 60;
        // A clock that keeps time, and one that is corrected a little.
        check(&[(0, 0, 0), (9 * day, 0, 0), (9 * day + 1, 10, 0), (9 * day + 2, -3, 0)]);
        check(&[(5, 11, 11), (6, 11, 11), (5 + day - 1, 11, 11), (5 + day, 11, 0), (5 + day, 21, 0)]);
        // It agrees again: the next step waits anew.
        check(&[(0, 60, 60), (day - 1, 0, 0), (day, 60, 60), (2 * day - 1, 60, 60), (2 * day, 60, 0)]);
        // It steps on: what comes last has to stay a day.
        check(&[(0, 60, 60), (day - 1, 600, 600), (day, 600, 600), (2 * day - 1, 600, 0)]);
        // Back at once, and then ahead from there, although it was believed before.
        check(&[(0, -600, 0), (1, 0, 600), (day, 0, 600), (day + 1, 0, 0)]);
        // Small steps add up.
        check(&[(0, 8, 0), (1, 16, 16)]);
    }

    #[test]
    fn ages_go_on_by_the_time_that_passes() {
        let clock = Clock::manual(100 * HOUR_US);
        let ages = AgeClock::new(clock.clone());
        clock.set(101 * HOUR_US);
        assert_eq!((ages.now_us(), ages.ahead_us()), (101 * HOUR_US, 0));
        clock.step(901 * HOUR_US);
        clock.set(902 * HOUR_US);
        assert_eq!((ages.now_us(), ages.ahead_us()), (102 * HOUR_US, 800 * HOUR_US));
        clock.step(50 * HOUR_US);
        assert_eq!((ages.now_us(), ages.ahead_us()), (50 * HOUR_US, 0));
        // A start believes what the clock says.
        clock.step(901 * HOUR_US);
        assert_eq!(AgeClock::new(clock).now_us(), 901 * HOUR_US);
    }
}
