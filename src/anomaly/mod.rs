//! Anomalies of KPIs: each hour of a slice's series beside the hours before it, and which part of the slice a
//! deviation comes from; and of sessions and calls that are odd by themselves. Figures in, findings out.
//!
//! What is odd is decided by `detect`; here is what its series are made of: hours with few calls count less, an hour
//! without calls is no figure, but no traffic. Nothing is kept from one question to the next: a series is judged again
//! from its stored hours, and which of them an hour is judged by, it decides alone. So what is found of it is the same
//! whoever asks, when, and after a restart, and after calls that came late it is what it would have been. What a job
//! judges when, and what it keeps, is here as values. Never runs a query and never reads a clock.

mod contribution;
mod due;
mod event;
mod finding;
mod replay;
mod row;
mod series;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use contribution::{Contribution, Part, contributions};
pub use due::{Pace, due};
pub use event::{EVENTS, Event};
pub use finding::{Finding, Judged, MeasureName, judge};
pub use replay::Asked;
pub use row::{AnomalyRow, AnomalyRun, Subject};
pub use series::{Hour, Kind, Series};
