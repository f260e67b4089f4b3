//! SQL over what is committed and what waits: one engine, one table provider, the statistics and the
//! sketches as aggregates, and the named SQL files. Read-only by construction; it never writes a table and never
//! builds SQL from user input.

mod anomaly;
mod backtest;
mod comoments;
mod dialect;
mod drift;
mod engine;
mod error;
mod experiment;
mod forecast;
mod gauges;
mod growing;
mod guard;
mod kpi;
mod late;
mod library;
mod memory;
mod moment;
mod monitor;
mod narrow;
mod needed;
mod options;
mod planned;
mod provider;
mod readers;
mod report;
mod results;
mod rollup;
mod running;
mod scoped;
mod series;
mod session;
mod sketches;
mod slo;
mod statistics;
mod turns;
mod watch;
mod write;
mod yielding;

pub use anomaly::{Anomaly, AnomalyAnswer, AnomalyRequest, Example};
pub use backtest::BacktestRequest;
pub use dialect::{Command, Description, Selection, Values, default_setting};
pub use drift::{DriftAnswer, DriftRequest, DriftVerdict, Range};
pub use engine::{Engine, QueryParams, Settings};
pub use experiment::{ExperimentLine, ExperimentRequest, VariantLine};
pub use forecast::ForecastRequest;
pub use gauges::Gauges;
pub use kpi::{KpiAnswer, KpiQuestion, TASK_VALUES};
pub use library::{Kind as LibraryKind, Library, Problem};
pub use memory::Memory;
pub use moment::text_of;
pub use monitor::MonitorRequest;
pub use narrow::{Answer, Comparison, Condition, Page, Question, Subject, filterable};
pub use options::Options;
pub use rollup::Rollups;
pub use running::Rows;
pub use turns::{Asker, asked_by};
pub use watch::{OddEvent, Watched};
pub use write::{Format, Output};

#[cfg(test)]
mod tests;
