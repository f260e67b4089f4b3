//! What Grafana's JSON datasource asks, and the shapes in which it takes answers: requests and their filters as typed
//! questions, rows as series and tables, KPIs and drift as tables. Pure: it runs nothing, knows no HTTP, and never
//! makes SQL of what it is sent.
//!
//! A request has targets; a target names a metric, which is a named query, a KPI, a gauge, a statement or one of
//! [`Special`]. What a metric takes is its payload: options of this room ([`payload`]), parameters of the file, and
//! columns of the calls to filter by. Grafana puts variables in as regular expressions, `(a|b)` with escapes; they are
//! read back to the values that they stand for ([`pattern`]) wherever values and no expressions are asked for.

mod catalog;
mod downsample;
mod filter;
mod frame;
mod judged;
mod pattern;
mod payload;
mod question;
mod request;
mod series;
mod step;
mod table;

pub use catalog::{Options, metrics, options_of};
pub use filter::conditions;
pub use frame::{Frame, FrameBuilder};
pub use judged::{card_table, drift_table, windows_table};
pub use payload::Payload;
pub use question::{Prepared, RowsQuestion, Special, Variable, variable};
pub use request::{QueryRequest, Target, ValuesRequest};
pub use series::{Element, Format, Shape, shaped};

/// Most bytes of a payload's or a filter's text that a message repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// As much of a text as a message should repeat.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
