//! The report as facts and tables, for the formats that people read.
//!
//! Decides which figures are shown, in which order and words, and with which sample. Never escapes
//! and never aligns: a cell that holds a user's name says so, and each format makes it safe.

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    CostReport,
    compare::{Comparability, Comparison, Spike, Verdict},
    figures::{Breakdown, CallFigures, DayFigures, NameFigures, Part, Rest, SessionFigures},
    money::{
        count, counted, milliseconds, money, percent, signed_money, signed_percent, tokens,
    },
    name,
    serialize::rfc3339,
};

/// Stands for a figure that is not there.
const ABSENT: &str = "-";
/// Marks a cost that not all calls are part of.
const PARTIAL: &str = "*";

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

/// Where a column goes. Only the text format, which has 100 columns, tells the last three apart from
/// the first two.
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
    /// Not in text.
    Wide,
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
        let mut sections = vec![totals(day), comparisons(report), parts(day), history(report)];
        sections.push(breakdown("tenant", &report.tenants));
        sections.push(breakdown("agent", &report.agents));
        sections.push(breakdown("model", &report.models));
        sections.push(sessions(&report.sessions));
        sections.push(calls(&report.calls));
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
        matches!(self.place, Place::Figure | Place::Spare)
            || (self.place == Place::Wide && self.head != "trace")
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
        "{} to {} (UTC, end not included); made {}. Costs in US dollars.",
        minute(&report.from),
        minute(&report.until),
        rfc3339(&report.generated_at),
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

fn totals(day: &DayFigures) -> Section {
    const COLUMNS: &[Column] = &[
        words("figure"),
        figure("value"),
        words("unit"),
        words("made of"),
    ];
    let priced = format!("{} with a known cost", counted(day.calls_with_cost, "call"));
    let all = counted(day.calls, "call");
    let row = |figure: &str, value: String, unit: &str, sample: &str| {
        vec![own(figure), own(value), own(unit), own(sample)]
    };
    let in_sessions = counted(day.sessions, "session");
    let rows = vec![
        row("cost", optional(day.cost_usd, money), "USD", &priced),
        row("cost per call", optional(day.cost_per_call_usd, money), "USD / call", &priced),
        row(
            "cost per session",
            optional(day.cost_per_session_usd, money),
            "USD / session",
            &in_sessions,
        ),
        row("calls", count(day.calls), "calls", &all),
        row("sessions", count(day.sessions), "sessions", &all),
        row("prompt tokens", tokens(day.prompt_tokens), "tokens", &all),
        row("completion tokens", tokens(day.completion_tokens), "tokens", &all),
        row("total tokens", tokens(day.total_tokens), "tokens", &all),
    ];
    section("The day", COLUMNS, rows_if(day.calls > 0, rows))
}

fn comparisons(report: &CostReport) -> Section {
    const COLUMNS: &[Column] = &[
        words("against"),
        words("UTC days"),
        figure("with cost"),
        figure("calls"),
        figure("cost"),
        figure("change"),
        figure("change %"),
    ];
    let against = &report.comparisons;
    let rows = vec![
        comparison("day before", &against.day_before),
        comparison("same weekday", &against.same_weekday),
        comparison("7-day mean", &against.mean_7_days),
    ];
    let note = "with cost: days that have a known cost, of all days. The mean is made of those days \
                only: a day without data is not a day of $0.";
    Section { notes: vec![note.to_owned()], ..section("Against earlier days", COLUMNS, rows) }
}

fn comparison(against: &str, to: &Comparison) -> Vec<Cell> {
    let days = if to.from == to.to {
        to.from.to_string()
    } else {
        format!("{} to {}", to.from, to.to)
    };
    let cost = match to.status {
        Comparability::NoBaselineData => "no data".to_owned(),
        Comparability::BaselineCostUnknown => "unknown".to_owned(),
        _ => optional(to.cost_usd, money),
    };
    let change = match to.status {
        Comparability::NoBaselineData => "no data".to_owned(),
        _ => optional(to.change_usd, signed_money),
    };
    vec![
        own(against),
        own(days),
        own(format!("{} of {}", to.days_with_cost, to.days)),
        own(count(to.calls)),
        own(partial(cost, to.cost_usd.is_some() && to.calls_with_cost < to.calls)),
        own(change),
        own(optional(to.change_ratio, signed_percent)),
    ]
}

fn parts(day: &DayFigures) -> Section {
    const COLUMNS: &[Column] = &[
        words("part"),
        figure("calls"),
        figure("of all calls"),
        figure("cost"),
        figure("of all cost"),
    ];
    let row = |name: &str, part: &Part| {
        vec![
            own(name),
            own(count(part.calls)),
            own(optional(part.call_share, percent)),
            own(optional(part.cost_usd, money)),
            own(optional(part.cost_share, percent)),
        ]
    };
    let rows = vec![row("calls with an error", &day.errors), row("retries", &day.retries)];
    let note = match day.cost_usd {
        Some(cost) => format!(
            "Of {} and {}. A retry that failed is in both rows.",
            counted(day.calls, "call"),
            money(cost),
        ),
        None => format!("Of {}.", counted(day.calls, "call")),
    };
    let section = section("Errors and retries", COLUMNS, rows_if(day.calls > 0, rows));
    Section { notes: rows_if(day.calls > 0, vec![note]), ..section }
}

fn history(report: &CostReport) -> Section {
    const COLUMNS: &[Column] = &[
        words("UTC day"),
        words("weekday"),
        figure("cost"),
        figure("calls"),
        figure("no cost"),
        figure("sessions"),
        figure("tokens"),
    ];
    let row = |day: &DayFigures| {
        vec![
            own(day.date.to_string()),
            own(weekday(day.date)),
            own(day_cost(day)),
            own(count(day.calls)),
            own(count(day.calls_without_cost)),
            own(count(day.sessions)),
            own(tokens(day.total_tokens)),
        ]
    };
    let rows = report.history.iter().chain([&report.totals]).map(row).collect();
    let note = "no cost: calls without a known cost, absent from the cost.";
    let section = section("The week", COLUMNS, rows);
    Section { notes: vec![note.to_owned()], ..section }
}

fn day_cost(day: &DayFigures) -> String {
    match day.cost_usd {
        Some(cost) => partial(money(cost), day.calls_without_cost > 0),
        None if day.calls == 0 => "no data".to_owned(),
        None => "unknown".to_owned(),
    }
}

fn breakdown(noun: &'static str, of: &Breakdown) -> Section {
    const COLUMNS: &[Column] = &[
        words("name"),
        figure("cost"),
        figure("share"),
        figure("change"),
        figure("calls"),
        wide("no cost"),
        spare("tokens"),
        wide("sessions"),
        figure("per call"),
        spare("per session"),
        wide("day before"),
    ];
    let rows = of.rows.iter().map(name_row).chain(of.rest.iter().map(rest_row)).collect();
    let mut notes = vec![];
    if !of.rows.is_empty() {
        notes.push("change: of the cost, against the day before.".to_owned());
    }
    let costed: u64 = of.rows.iter().map(|row| row.calls_with_cost).sum();
    let calls: u64 = of.rows.iter().map(|row| row.calls).sum();
    if costed < calls {
        notes.push(partial_note(costed, calls));
    }
    if of.rest.is_some() {
        notes.push(format!("(others): the {noun}s beyond the {} listed.", of.rows.len()));
    }
    Section { notes, ..section(format!("By {noun}"), COLUMNS, rows) }
}

fn name_row(row: &NameFigures) -> Vec<Cell> {
    let change = match row.change_ratio {
        Some(ratio) => signed_percent(ratio),
        None if row.previous_calls == 0 => "no data".to_owned(),
        None => optional(row.change_usd, signed_money),
    };
    let previous = match row.previous_calls {
        0 => "no data".to_owned(),
        _ => optional(row.previous_cost_usd, money),
    };
    vec![
        Cell::Name(row.name.clone()),
        own(cost(row.cost_usd, row.calls_without_cost)),
        own(optional(row.cost_share, percent)),
        own(change),
        own(count(row.calls)),
        own(count(row.calls_without_cost)),
        own(tokens(row.total_tokens)),
        own(count(row.sessions)),
        own(optional(row.cost_per_call_usd, money)),
        own(optional(row.cost_per_session_usd, money)),
        own(previous),
    ]
}

fn rest_row(rest: &Rest) -> Vec<Cell> {
    let without_cost = rest.calls.saturating_sub(rest.calls_with_cost);
    vec![
        own("(others)"),
        own(cost(rest.cost_usd, without_cost)),
        own(optional(rest.cost_share, percent)),
        own(ABSENT),
        own(count(rest.calls)),
        own(count(without_cost)),
        own(tokens(rest.total_tokens)),
        own(ABSENT),
        own(ABSENT),
        own(ABSENT),
        own(ABSENT),
    ]
}

fn sessions(of: &[SessionFigures]) -> Section {
    const COLUMNS: &[Column] = &[
        figure("#"),
        figure("cost"),
        figure("calls"),
        wide("no cost"),
        figure("errors"),
        figure("tokens"),
        figure("first call"),
        figure("last call"),
        words("session"),
        below("tenant"),
        below("agent"),
    ];
    let row = |(index, row): (usize, &SessionFigures)| {
        vec![
            own((index + 1).to_string()),
            own(cost(row.cost_usd, row.calls_without_cost)),
            own(count(row.calls)),
            own(count(row.calls_without_cost)),
            own(count(row.errors)),
            own(tokens(row.total_tokens)),
            own(row.started_at.as_ref().map_or_else(absent, second)),
            own(row.ended_at.as_ref().map_or_else(absent, second)),
            Cell::Name(row.session_id.clone()),
            Cell::Name(row.tenant_id.clone()),
            Cell::Name(row.agent_id.clone()),
        ]
    };
    let rows = of.iter().enumerate().map(row).collect();
    let mut notes = vec![];
    if !of.is_empty() {
        notes.push("Calls of this day only, times in UTC; agent: the first by name.".to_owned());
    }
    let costed: u64 = of.iter().map(|row| row.calls_with_cost).sum();
    let calls: u64 = of.iter().map(|row| row.calls).sum();
    if costed < calls {
        notes.push(partial_note(costed, calls));
    }
    Section { notes, ..section(most_expensive("session", of.len()), COLUMNS, rows) }
}

fn calls(of: &[CallFigures]) -> Section {
    const COLUMNS: &[Column] = &[
        figure("#"),
        figure("cost"),
        figure("tokens"),
        wide("prompt tokens"),
        wide("completion tokens"),
        figure("latency"),
        figure("time"),
        words("request"),
        below("tenant"),
        below("agent"),
        below("model"),
        below("session"),
        wide("trace"),
        below("retries"),
        below("error"),
        below("finish"),
    ];
    let row = |(index, row): (usize, &CallFigures)| {
        let error = row.is_error.map_or(ABSENT, |is_error| if is_error { "yes" } else { "no" });
        vec![
            own((index + 1).to_string()),
            own(optional(row.cost_usd, money)),
            own(row.total_tokens.map_or_else(absent, tokens)),
            own(row.prompt_tokens.map_or_else(absent, tokens)),
            own(row.completion_tokens.map_or_else(absent, tokens)),
            own(optional(row.latency_ms, milliseconds)),
            own(row.timestamp.as_ref().map_or_else(absent, second)),
            Cell::Name(row.request_id.clone()),
            Cell::Name(row.tenant_id.clone()),
            Cell::Name(row.agent_id.clone()),
            Cell::Name(row.model.clone()),
            Cell::Name(row.session_id.clone()),
            Cell::Name(row.trace_id.clone()),
            own(row.retry_count.map_or_else(absent, tokens)),
            own(error),
            Cell::Name(row.finish_reason.clone()),
        ]
    };
    let rows = of.iter().enumerate().map(row).collect();
    let notes = rows_if(!of.is_empty(), vec!["Times in UTC.".to_owned()]);
    Section { notes, ..section(most_expensive("call", of.len()), COLUMNS, rows) }
}

fn most_expensive(noun: &str, rows: usize) -> String {
    match rows {
        0 => format!("Most expensive {noun}s"),
        1 => format!("The most expensive {noun}"),
        rows => format!("The {rows} most expensive {noun}s"),
    }
}

fn partial_note(costed: u64, calls: u64) -> String {
    let of = counted(calls, "call");
    format!("{PARTIAL} without the calls of unknown cost: {} of {of} are in it.", count(costed))
}

fn cost(cost_usd: Option<f64>, calls_without_cost: u64) -> String {
    match cost_usd {
        Some(usd) => partial(money(usd), calls_without_cost > 0),
        None => "unknown".to_owned(),
    }
}

/// The mark goes before the cost, so that the digits stay aligned.
fn partial(cost: String, is_partial: bool) -> String {
    if is_partial { format!("{PARTIAL}{cost}") } else { cost }
}

fn optional(value: Option<f64>, write: fn(f64) -> String) -> String {
    value.map_or_else(absent, write)
}

fn absent() -> String {
    ABSENT.to_owned()
}

fn minute(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

fn second(at: &DateTime<Utc>) -> String {
    at.format("%H:%M:%S").to_string()
}

fn weekday(date: NaiveDate) -> String {
    date.format("%A").to_string()
}

fn own(text: impl Into<String>) -> Cell {
    Cell::Own(text.into())
}

/// A day without calls has no figures; a table of zeros would only hide that.
fn rows_if<T>(there_is_data: bool, rows: Vec<T>) -> Vec<T> {
    if there_is_data { rows } else { vec![] }
}

fn section(
    title: impl Into<String>,
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
) -> Section {
    Section { title: title.into(), notes: vec![], columns, rows }
}

const fn words(head: &'static str) -> Column {
    Column { head, place: Place::Words }
}

const fn figure(head: &'static str) -> Column {
    Column { head, place: Place::Figure }
}

const fn spare(head: &'static str) -> Column {
    Column { head, place: Place::Spare }
}

const fn below(head: &'static str) -> Column {
    Column { head, place: Place::Below }
}

const fn wide(head: &'static str) -> Column {
    Column { head, place: Place::Wide }
}
