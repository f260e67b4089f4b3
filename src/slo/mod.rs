//! Objectives: how much of what was allowed to go wrong is left, how fast it is used, and when it is used up. Counts by
//! the hour and by the minute in, judged figures out.
//!
//! Never runs a query or reads a clock. What counts as bad is the caller's SQL; what is allowed is the settings'.

mod answer;
mod breach;
mod burn;
mod counts;
mod text;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Answers, BudgetFigure, JUDGED_LEVEL, ObjectiveFigure, State, UNKNOWN_MAX};
pub use breach::{Breach, BreachState, PRESENT_MINUTES};
pub use burn::{BurnRate, GUARD_LEVEL, REACH_HOURS, Severity, WindowFigure};
pub use counts::{Counts, Slot, Span};
