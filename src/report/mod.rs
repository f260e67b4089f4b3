//! The nightly cost report: a day's cost, where it went, and how it compares with the week before.
//!
//! Rows come in, text goes out. Never reads a lake, a server, a file or a clock: the caller runs
//! the statements of `sql/reports`, passes the time, prints the text and chooses the exit code.

mod compare;
mod csv;
mod document;
mod figures;
mod html;
mod markdown;
mod money;
mod name;
mod rows;
mod serialize;
mod tables;
mod text;

use std::{error::Error as StdError, fmt, str::FromStr};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use self::document::Document;
pub use self::{
    compare::{Comparability, Comparison, Comparisons, Spike, Verdict},
    figures::{Breakdown, CallFigures, DayFigures, NameFigures, Part, Rest, SessionFigures},
    rows::{CallRow, CostRows, DayTotals, DimensionRow, SessionRow},
};

/// Raised when a field of the JSON changes its meaning or leaves; a new field does not raise it.
const FORMAT_VERSION: u32 = 1;

/// The cost report of one UTC day. Its serialization is the JSON format: costs in USD, shares and
/// ratios as parts of 1, times in RFC 3339, and null for what is not known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CostReport {
    /// Version of this format.
    pub format_version: u32,
    /// The reported UTC day.
    #[serde(serialize_with = "serialize::date")]
    #[schema(value_type = String, format = Date)]
    pub day: NaiveDate,
    /// Start of the day.
    #[serde(serialize_with = "serialize::time")]
    #[schema(value_type = String, format = DateTime)]
    pub from: DateTime<Utc>,
    /// End of the day, not included.
    #[serde(serialize_with = "serialize::time")]
    #[schema(value_type = String, format = DateTime)]
    pub until: DateTime<Utc>,
    /// When the report was made.
    #[serde(serialize_with = "serialize::time")]
    #[schema(value_type = String, format = DateTime)]
    pub generated_at: DateTime<Utc>,
    /// Whether the day was over when the report was made.
    pub day_is_over: bool,
    /// What the report says about the day.
    pub verdict: Verdict,
    /// The verdict's reason, one English sentence with its figures.
    pub verdict_reason: String,
    /// The figures behind the verdict.
    pub spike: Spike,
    /// The day's totals.
    pub totals: DayFigures,
    /// The day against earlier days.
    pub comparisons: Comparisons,
    /// The 7 days before, oldest first; a day without data has 0 calls.
    pub history: Vec<DayFigures>,
    /// Cost by tenant.
    pub tenants: Breakdown,
    /// Cost by agent.
    pub agents: Breakdown,
    /// Cost by model.
    pub models: Breakdown,
    /// The dearest sessions, dearest first.
    pub sessions: Vec<SessionFigures>,
    /// The dearest calls, dearest first.
    pub calls: Vec<CallFigures>,
}

/// The forms a report is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(as = ReportFormat, rename_all = "lowercase")]
pub enum Format {
    /// Aligned tables of at most 100 columns, for a terminal and for cron mail.
    Text,
    /// Markdown with tables.
    #[schema(rename = "md")]
    Markdown,
    /// One HTML file with inline styles and no scripts, for mail and browser.
    Html,
    /// The report's serialization.
    Json,
    /// One figure per line: `section,name,metric,value,unit`.
    Csv,
}

/// A report could not be written in its format: a bug, nothing the caller can change.
#[derive(Debug)]
pub struct RenderError {
    format: Format,
    source: Box<dyn StdError + Send + Sync>,
}

/// A format that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFormat(String);

impl CostReport {
    /// Makes the report of `day` from its rows. Days are found by date, so their order and days
    /// beyond the week do not matter; a missing day has no data. A `generated_at_us` (microseconds
    /// since 1970, UTC) beyond the calendar reads as 1970.
    pub fn new(day: NaiveDate, rows: CostRows, generated_at_us: i64) -> Self {
        let week: Vec<_> = rows.totals.into_iter().map(DayFigures::from).collect();
        let totals = figures_of(day, &week);
        let history: Vec<_> = (1..=7)
            .rev()
            .filter_map(|days| day.checked_sub_days(Days::new(days)))
            .map(|date| figures_of(date, &week))
            .collect();
        let comparisons = Comparisons::new(&totals, &history);
        let spike = Spike::new(&totals, &comparisons.mean_7_days);
        let verdict = spike.verdict(totals.cost_usd);
        let until = midnight(day.succ_opt().unwrap_or(NaiveDate::MAX));
        let generated_at = DateTime::from_timestamp_micros(generated_at_us).unwrap_or_default();
        Self {
            format_version: FORMAT_VERSION,
            day,
            from: midnight(day),
            until,
            generated_at,
            day_is_over: generated_at >= until,
            verdict,
            verdict_reason: document::verdict_reason(verdict, &totals, &spike),
            spike,
            tenants: Breakdown::new(rows.tenants, &totals),
            agents: Breakdown::new(rows.agents, &totals),
            models: Breakdown::new(rows.models, &totals),
            sessions: rows.sessions.into_iter().map(SessionFigures::from).collect(),
            calls: rows.calls.into_iter().map(CallFigures::from).collect(),
            totals,
            comparisons,
            history,
        }
    }

    /// Writes the report, which ends with a line feed in every format.
    pub fn render(&self, format: Format) -> Result<String, RenderError> {
        match format {
            Format::Text => Ok(text::render(&Document::new(self))),
            Format::Markdown => Ok(markdown::render(&Document::new(self))),
            Format::Html => html::render(&Document::new(self)).map_err(in_format(format)),
            Format::Json => serde_json::to_string_pretty(self).map(|json| json + "\n").map_err(in_format(format)),
            Format::Csv => csv::render(self).map_err(in_format(format)),
        }
    }

    /// What the report says about its day.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

impl Format {
    /// Every format, as listed to users.
    pub const ALL: [Format; 5] = [Format::Text, Format::Markdown, Format::Html, Format::Json, Format::Csv];

    /// The name users give it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Markdown => "md",
            Format::Html => "html",
            Format::Json => "json",
            Format::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write the cost report as {}", self.format)
    }
}

impl StdError for RenderError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown format {:?}: expected text, md, html, json or csv", self.0)
    }
}

impl StdError for UnknownFormat {}

fn in_format<E: Into<Box<dyn StdError + Send + Sync>>>(format: Format) -> impl Fn(E) -> RenderError {
    move |source| RenderError { format, source: source.into() }
}

fn figures_of(date: NaiveDate, week: &[DayFigures]) -> DayFigures {
    week.iter().find(|row| row.date == date).cloned().unwrap_or_else(|| DayFigures::empty(date))
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests;
