//! The past of one quantity, within a bound, and how far back it goes without a gap. It never knows times.

use serde::{Deserialize, Serialize};

/// Values that windows are compared with: half a year of hours, two weeks of five minutes.
const HISTORY: usize = 4_096;
/// Values beyond that which may wait, so that the oldest are dropped many at once.
const SLACK: usize = 1_024;

/// The last values, and how many of them follow the last gap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Newest last.
    values: Vec<f32>,
    run: usize,
}

impl Track {
    /// Adds the newest value.
    pub fn push(&mut self, value: f32) {
        if self.values.len() >= HISTORY + SLACK {
            self.values.drain(..self.values.len() - HISTORY);
        }
        self.values.push(value);
        self.run = (self.run + 1).min(self.values.len());
    }

    /// Says that the next value does not follow the newest.
    pub fn interrupt(&mut self) {
        self.run = 0;
    }

    /// The past, if its newest values are so many without a gap.
    pub fn whole(&self, length: usize) -> Option<&[f32]> {
        (self.run >= length).then(|| &self.values[self.values.len().saturating_sub(HISTORY)..])
    }
}
