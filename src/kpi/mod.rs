//! Key performance indicators: what a KPI's file promises, whether a figure keeps it, how it moved, which tier of
//! the score card it reaches, what a task's value brings, and which figures an agent's log can carry at all.
//!
//! Pure: rows in, judgements out. It never asks the clock, the store or the settings, and never runs the SQL whose
//! rows it judges. Too little data is `insufficient` and a field that nobody sends `not_measured`: neither is fine.

mod bound;
mod card;
mod coverage;
mod definition;
mod field;
mod figure;
mod grain;
mod judge;
mod panel;
mod surface;

pub use bound::Bound;
pub use card::{CardLine, RETURN_ON_COST, ReturnLine, ScoreCard, TASK_COMPLETION, Tier};
pub use coverage::{AgentCoverage, AgentFields, Blind, Coverage, FieldCoverage, Lacking};
pub use definition::{Definition, Group, Need};
pub use field::{CountedAmong, FIELDS, Field, OBJECTIVE, TOKEN_DAILY_QUOTA};
pub use figure::Figure;
pub use grain::Grain;
pub use judge::{Direction, Judged, State, Trend, Window, Windows};
pub use panel::{PANELS, Panels};
pub use surface::{Needs, SURFACES, Surface};
