//! Sample traffic: the logs of an invented company whose agents work, fail and drift like real ones.
//!
//! Feeds `driftline generate`, `driftline demo`, tests and benchmarks. A [`Plan`] says what to
//! generate, [`Traffic`] iterates over its [`Call`]s in time order, and each call writes itself as
//! one line of the standard record. Pure: no I/O, no clock, no global randomness; the same plan
//! gives the same bytes on every machine.
//!
//! A plan without incidents is quiet: stationary but for the weekly rhythm. Each [`Incident`] changes
//! one agent in one window, visibly in one field, and leaves the lines of all other sessions as they
//! were; [`Plan::labels_json`] tells a reader, or the test of a detector, where to look.
//!
//! Token counts follow published traces of real services (see `tokens` for sources and licences).
//! Tenants, people, prices and everything else are invented (see `world`).

mod call;
#[cfg(test)]
pub(crate) mod draws;
mod incident;
mod line;
mod plan;
mod random;
mod rhythm;
mod session;
mod tokens;
mod traffic;
mod world;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use call::Call;
pub use incident::{Incident, IncidentKind, UnknownIncident};
pub use plan::Plan;
pub use traffic::Traffic;
