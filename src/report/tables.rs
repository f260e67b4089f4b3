//! The report's tables, each with its columns, rows and notes.
//!
//! A figure that is not known is never a zero: it is "no data", "unknown" or "-".

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    CostReport,
    compare::{Comparability, Comparison},
    document::{Cell, Column, Place, Section},
    figures::{Breakdown, CallFigures, DayFigures, NameFigures, Part, Rest, SessionFigures},
    money::{count, counted, milliseconds, money, percent, signed_money, signed_percent, tokens},
};

/// Stands for a figure that is not there.
const ABSENT: &str = "-";
/// Marks a cost that not all calls are part of.
const PARTIAL: &str = "*";

pub(super) fn totals(day: &DayFigures) -> Section {
    const COLUMNS: &[Column] = &[words("figure"), figure("value"), words("unit"), words("made of")];
    let priced = format!("{} with a known cost", counted(day.calls_with_cost, "call"));
    let all = counted(day.calls, "call");
    let row =
        |figure: &str, value: String, unit: &str, sample: &str| vec![own(figure), own(value), own(unit), own(sample)];
    let in_sessions = counted(day.sessions, "session");
    let rows = vec![
        row("cost", optional(day.cost_usd, money), "USD", &priced),
        row("cost per call", optional(day.cost_per_call_usd, money), "USD / call", &priced),
        row("cost per session", optional(day.cost_per_session_usd, money), "USD / session", &in_sessions),
        row("calls", count(day.calls), "calls", &all),
        row("sessions", count(day.sessions), "sessions", &all),
        row("prompt tokens", tokens(day.prompt_tokens), "tokens", &all),
        row("completion tokens", tokens(day.completion_tokens), "tokens", &all),
        row("total tokens", tokens(day.total_tokens), "tokens", &all),
    ];
    section("The day", COLUMNS, rows)
}

pub(super) fn comparisons(report: &CostReport) -> Section {
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
    let mut notes = vec![note.to_owned()];
    let against = [&against.day_before, &against.same_weekday, &against.mean_7_days];
    if against.iter().any(|to| to.is_partial()) {
        notes.push(format!("{PARTIAL} without the calls of unknown cost."));
    }
    Section { notes, ..section("Against earlier days", COLUMNS, rows) }
}

fn comparison(against: &str, to: &Comparison) -> Vec<Cell> {
    let days = if to.from == to.to { to.from.to_string() } else { format!("{} to {}", to.from, to.to) };
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
        own(partial(cost, to.is_partial())),
        own(change),
        own(optional(to.change_ratio, signed_percent)),
    ]
}

pub(super) fn parts(day: &DayFigures) -> Section {
    const COLUMNS: &[Column] =
        &[words("part"), figure("calls"), figure("of all calls"), figure("cost"), figure("of all cost")];
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
        Some(cost) => {
            format!("Of {} and {}. A retry that failed is in both rows.", counted(day.calls, "call"), money(cost),)
        }
        None => format!("Of {}.", counted(day.calls, "call")),
    };
    Section { notes: vec![note], ..section("Errors and retries", COLUMNS, rows) }
}

pub(super) fn history(report: &CostReport) -> Section {
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
    let note = "no cost: calls without a known cost, absent from the cost; * marks such a cost.";
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

pub(super) fn breakdown(noun: &'static str, of: &Breakdown) -> Section {
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
        let note = "change: of the cost, against the day before; in USD where that was $0.";
        notes.push(note.to_owned());
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

pub(super) fn sessions(of: &[SessionFigures]) -> Section {
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

pub(super) fn calls(of: &[CallFigures]) -> Section {
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
        Column { head: "trace", place: Place::WideWords },
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
    let note = "Of the calls whose cost is known; times in UTC.";
    Section { notes: vec![note.to_owned()], ..section(most_expensive("call", of.len()), COLUMNS, rows) }
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

fn second(at: &DateTime<Utc>) -> String {
    at.format("%H:%M:%S").to_string()
}

fn weekday(date: NaiveDate) -> String {
    date.format("%A").to_string()
}

fn own(text: impl Into<String>) -> Cell {
    Cell::Own(text.into())
}

fn section(title: impl Into<String>, columns: &'static [Column], rows: Vec<Vec<Cell>>) -> Section {
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
