//! Drift: has what agents do changed, surely enough, by enough to matter, and for long enough? Counts of windows in,
//! verdicts out.
//!
//! Traffic has a rhythm and its weeks differ among themselves, so a plain test of two samples calls everything
//! different. Here a window is compared with the same hours of earlier weeks ([`Windows`]), and the distance is
//! measured by how far those weeks are from each other ([`Null`]). Works on counts by bin, which rollups keep. Never
//! runs a query, reads a clock or draws a random number.

mod answer;
mod column;
mod detail;
mod distance;
mod judge;
mod null;
mod onset;
mod row;
mod run;
mod segment;
mod series;
mod silent;
mod slice;
mod text;
mod windows;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use answer::{
    Answer, Change, LeftOut, Moved, Segment, SilentChange, Spread, Totals, Verdict, VerdictLine, WindowLine,
};
pub use column::{By, COLUMNS, Column, Holds, Role};
pub use detail::Detail;
pub use judge::{Finding, PERSISTENT, POWER, WindowFinding, judge};
pub use null::Null;
pub use row::{ResultRow, SILENT_CHANGE};
pub use run::{DETECTABLE_MAX, FALSE_DISCOVERY_RATE, Found, HIDDEN_MAX, Run, Subject};
pub use segment::Parts;
pub use series::{Kind, Series};
pub use slice::Slice;
pub use windows::{JUDGED, VALUES_MIN, Windows};
