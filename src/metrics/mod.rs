//! Prometheus families fed from ingested Arrow batches, and their two text formats.
//!
//! [`LiveMetrics`] keeps cumulative totals per label set: `observe` moves them, `totals` saves
//! them, `restore` brings them back bit for bit. A restart is therefore no counter reset, and rows
//! that are history (see [`Limits::live_window_us`]) are no spike. [`encode`] writes any slice of
//! [`Family`] as text 0.0.4 or OpenMetrics 1.0.0.
//!
//! Why not a crate: totals are restored from the store, and no crate writes both formats from
//! seeded values.
//!
//! This module never does I/O, never reads a clock and never sees a row twice by itself: batches
//! and times are passed in, and the caller stores the totals together with its own position.

mod breakers;
mod columns;
mod exposition;
mod families;
mod hash;
mod live;
mod model;
mod negotiate;
mod routes;
mod series;
mod sessions;
mod totals;

#[cfg(test)]
mod tests;

pub use exposition::encode;
pub use families::{FAMILIES, FamilySpec, Fixed, TOKEN_QUOTA};
pub use live::{Limits, LiveMetrics};
pub use model::{Family, Histogram, Kind, Sample, Value};
pub use negotiate::Format;
pub use totals::Totals;
