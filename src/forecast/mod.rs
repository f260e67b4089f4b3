//! Forecasts: what the days to come will bring, by a daily series of what the past ones did. Values of days in, a
//! judged forecast out, with bounds that come from what the same method got wrong before.
//!
//! Never runs a query, reads a clock or draws a random number. A history that is too short is refused, not stretched.

mod answer;
mod backtest;
mod bound;
mod judge;
mod method;
mod month;
mod series;
mod text;

#[cfg(test)]
mod tests;

pub use answer::{Answer, CalledDay, Candidate, Day, Design, Forecast, ForecastState, History, Metric, Past, Total};
pub use backtest::OriginFigure;
pub use bound::COVERAGE;
pub use judge::{HISTORY_DAYS_MAX, HORIZONS, days_needed};
pub use method::Method;
pub use month::{BudgetState, Month, MonthEnd};
