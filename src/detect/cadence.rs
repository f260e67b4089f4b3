//! How often the values of a series come, and where some are missing. It never knows the values.

use serde::{Deserialize, Serialize};

/// Gaps of which the interval is the median.
const GAPS: usize = 31;
/// A gap of more intervals than this ends a run: windows that reach across it are not judged.
const INTERVALS_MAX: i64 = 4;

/// The last gaps between values, in µs, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cadence {
    newest_us: Option<i64>,
    gaps_us: Vec<i64>,
}

impl Cadence {
    /// Takes the time of the next value; whether values are missing before it. One that is not later than the newest
    /// says nothing.
    pub fn advance(&mut self, time_us: i64) -> bool {
        let newest_us = *self.newest_us.get_or_insert(time_us);
        let gap_us = time_us.saturating_sub(newest_us);
        if gap_us <= 0 {
            return false;
        }
        let interval_us = self.interval_us();
        self.newest_us = Some(time_us);
        if self.gaps_us.len() == GAPS {
            self.gaps_us.remove(0);
        }
        self.gaps_us.push(gap_us);
        interval_us > 0 && gap_us / interval_us >= INTERVALS_MAX
    }

    /// The usual time between two values; 0 while there is none.
    pub fn interval_us(&self) -> i64 {
        let mut sorted = self.gaps_us.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}
