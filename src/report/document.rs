//! The report as facts and tables, for the formats that people read.
//!
//! Decides which tables are shown, in which order, and what is said about all of them. Never
//! escapes and never aligns: a cell that holds a user's name says so, and each format makes it safe.

use chrono::{DateTime, Utc};

use super::{
    CostReport,
    compare::{Spike, Verdict},
    figures::DayFigures,
    money::{count, counted, money, percent},
    name, tables,
};

pub(super) struct Document {
    pub(super) title: String,
    pub(super) verdict: &'static str,
    /// Sentences about the whole report; the verdict's reason first.
    pub(super) facts: Vec<String>,
    pub(super) sections: Vec<Section>,
}

pub(super) struct Section {
    pub(super) title: String,
    /// Sentences below the table: samples, and how to read it.
    pub(super) notes: Vec<String>,
    pub(super) columns: &'static [Column],
    /// A cell for each column; no rows are "no data".
    pub(super) rows: Vec<Vec<Cell>>,
}

pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) place: Place,
}

/// Where a column goes. Only the text format, which has 100 columns, does more with it than align.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Left-aligned words, cut where the table is too wide.
    Words,
    /// Right-aligned, never cut.
    Figure,
    /// Like `Figure`, dropped first where the table is too wide.
    Spare,
    /// On a line of its own below the row.
    Below,
    /// A figure that is not in text.
    Wide,
    /// Words that are not in text.
    WideWords,
}

pub(super) enum Cell {
    /// Our own words and figures.
    Own(String),
    /// What a user called it.
    Name(Option<String>),
}

impl Document {
    pub(super) fn new(report: &CostReport) -> Self {
        let day = &report.totals;
        let sections = match day.calls {
            // A day without calls has no figures; tables of zeros would only hide that.
            0 => vec![tables::comparisons(report), tables::history(report)],
            _ => vec![
                tables::totals(day),
                tables::comparisons(report),
                tables::parts(day),
                tables::history(report),
                tables::breakdown("tenant", &report.tenants),
                tables::breakdown("agent", &report.agents),
                tables::breakdown("model", &report.models),
                tables::sessions(&report.sessions),
                tables::calls(&report.calls),
            ],
        };
        Self {
            title: format!("Driftline cost report, {}", report.day.format("%A %Y-%m-%d")),
            verdict: verdict_words(report.verdict),
            facts: facts(report),
            sections,
        }
    }
}

impl Column {
    /// Whether figures stand in it.
    pub(super) fn is_figure(&self) -> bool {
        matches!(self.place, Place::Figure | Place::Spare | Place::Wide)
    }
}

impl Cell {
    /// The cell's text on one line, not escaped.
    pub(super) fn shown(&self) -> String {
        match self {
            Cell::Own(text) => text.clone(),
            Cell::Name(name) => name::visible(name.as_deref()),
        }
    }
}

/// Why the verdict is what it is, with the figures and their sample.
pub(super) fn verdict_reason(verdict: Verdict, day: &DayFigures, spike: &Spike) -> String {
    let Some(cost) = day.cost_usd else {
        return match day.calls {
            0 => format!("There are no calls on {} (UTC).", day.date),
            calls => format!("None of the day's {} has a known cost.", counted(calls, "call")),
        };
    };
    let days = counted(spike.days_with_cost, "day");
    let (Some(mean), Some(limit), true) = (spike.mean_usd, spike.limit_usd, spike.judged) else {
        return format!(
            "{} for the day. Not judged: {days} of the 7 before with a known cost, {} needed.",
            money(cost),
            spike.days_with_cost_min,
        );
    };
    let side = if verdict == Verdict::CostSpike { "above" } else { "not above" };
    format!(
        "{} for the day, {side} {}: 150 % of {}, the mean of {days} of the 7 before.",
        money(cost),
        money(limit),
        money(mean),
    )
}

fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Normal => "normal",
        Verdict::CostSpike => "COST SPIKE",
        Verdict::NoData => "no data",
    }
}

fn facts(report: &CostReport) -> Vec<String> {
    let day = &report.totals;
    let mut facts = vec![report.verdict_reason.clone()];
    if day.calls > 0 {
        facts.push(coverage(day));
    }
    facts.push(format!(
        "From {} until {} UTC, costs in US dollars; made {} UTC.",
        minute(&report.from),
        minute(&report.until),
        minute(&report.generated_at),
    ));
    if !report.day_is_over {
        facts.push("The day was not over when this was made: its figures will grow.".to_owned());
    }
    facts
}

fn coverage(day: &DayFigures) -> String {
    let share = percent(day.calls_with_cost as f64 / day.calls as f64);
    let of = format!("{} of {}", count(day.calls_with_cost), counted(day.calls, "call"));
    match day.calls_without_cost {
        0 => format!("Cost covers {of} ({share})."),
        missing => {
            format!("Cost covers {of} ({share}); {} without a known cost.", count(missing))
        }
    }
}

fn minute(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}
