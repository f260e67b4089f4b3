//! The report as CSV in long form: `section,name,metric,value,unit`, one figure per line.
//!
//! Numbers are written as they are, an unknown one as an empty value. Text that a spreadsheet would
//! run as a formula gets a leading apostrophe.

use super::{
    CostReport,
    compare::Comparison,
    figures::{Breakdown, CallFigures, DayFigures, Part, SessionFigures},
    serialize::rfc3339,
};

const HEADER: [&str; 5] = ["section", "name", "metric", "value", "unit"];

pub(super) fn render(report: &CostReport) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut lines = Lines(vec![]);
    head(&mut lines, report);
    day(&mut lines, "total", &report.totals);
    report.history.iter().for_each(|of| day(&mut lines, "history", of));
    comparison(&mut lines, "day_before", &report.comparisons.day_before);
    comparison(&mut lines, "same_weekday", &report.comparisons.same_weekday);
    comparison(&mut lines, "mean_7_days", &report.comparisons.mean_7_days);
    breakdown(&mut lines, ["tenant", "tenant_rest"], &report.tenants);
    breakdown(&mut lines, ["agent", "agent_rest"], &report.agents);
    breakdown(&mut lines, ["model", "model_rest"], &report.models);
    for (index, of) in report.sessions.iter().enumerate() {
        session(&mut lines, index + 1, of);
    }
    for (index, of) in report.calls.iter().enumerate() {
        call(&mut lines, index + 1, of);
    }
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(HEADER)?;
    for line in &lines.0 {
        writer.write_record(line)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

struct Lines(Vec<[String; 5]>);

/// The lines of one section and name.
struct Group<'a> {
    lines: &'a mut Lines,
    section: &'static str,
    name: String,
}

impl Lines {
    fn group(&mut self, section: &'static str, name: &str) -> Group<'_> {
        Group { lines: self, section, name: inert(name) }
    }
}

impl Group<'_> {
    fn number(&mut self, metric: &str, value: impl Into<Option<Number>>, unit: &str) -> &mut Self {
        let value = value.into().map(|Number(text)| text).unwrap_or_default();
        self.push(metric, value, unit)
    }

    fn text(&mut self, metric: &str, value: Option<&str>) -> &mut Self {
        self.push(metric, inert(value.unwrap_or_default()), "text")
    }

    fn time(&mut self, metric: &str, at: Option<&chrono::DateTime<chrono::Utc>>) -> &mut Self {
        self.push(metric, at.map(rfc3339).unwrap_or_default(), "time")
    }

    fn flag(&mut self, metric: &str, value: Option<bool>) -> &mut Self {
        self.push(metric, value.map(|value| value.to_string()).unwrap_or_default(), "flag")
    }

    fn push(&mut self, metric: &str, value: String, unit: &str) -> &mut Self {
        let line = [self.section.into(), self.name.clone(), metric.into(), value, unit.into()];
        self.lines.0.push(line);
        self
    }
}

/// A number as text; only numbers go without the apostrophe, since a leading minus is theirs.
struct Number(String);

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(value.to_string())
    }
}

fn real(value: Option<f64>) -> Option<Number> {
    value.map(Number::from)
}

fn whole(value: u64) -> Number {
    Number(value.to_string())
}

fn signed(value: i64) -> Number {
    Number(value.to_string())
}

/// Text no spreadsheet takes for a formula.
fn inert(text: &str) -> String {
    // Tab, carriage return and line feed are skipped before a formula by some; the full-width signs
    // are read as the ASCII ones by others.
    let starts = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.trim_start_matches(' ').starts_with(starts) { format!("'{text}") } else { text.to_owned() }
}

fn head(lines: &mut Lines, report: &CostReport) {
    let verdict = serde_json::to_value(report.verdict).unwrap_or_default();
    let day = report.day.to_string();
    let spike = &report.spike;
    lines
        .group("report", &day)
        .time("from", Some(&report.from))
        .time("until", Some(&report.until))
        .time("generated_at", Some(&report.generated_at))
        .flag("day_is_over", Some(report.day_is_over))
        .text("verdict", verdict.as_str())
        .text("verdict_reason", Some(&report.verdict_reason))
        .flag("spike_judged", Some(spike.judged))
        .number("spike_limit", real(spike.limit_usd), "USD");
}

fn day(lines: &mut Lines, section: &'static str, of: &DayFigures) {
    let mut group = lines.group(section, &of.date.to_string());
    group
        .number("calls", whole(of.calls), "calls")
        .number("calls_with_cost", whole(of.calls_with_cost), "calls")
        .number("calls_without_cost", whole(of.calls_without_cost), "calls")
        .number("sessions", whole(of.sessions), "sessions")
        .number("prompt_tokens", signed(of.prompt_tokens), "tokens")
        .number("completion_tokens", signed(of.completion_tokens), "tokens")
        .number("total_tokens", signed(of.total_tokens), "tokens")
        .number("cost", real(of.cost_usd), "USD")
        .number("cost_per_call", real(of.cost_per_call_usd), "USD/call")
        .number("cost_per_session", real(of.cost_per_session_usd), "USD/session");
    part(&mut group, ["errors", "error_call_share", "error_cost", "error_cost_share"], &of.errors);
    part(&mut group, ["retries", "retry_call_share", "retry_cost", "retry_cost_share"], &of.retries);
}

fn part(group: &mut Group<'_>, metrics: [&str; 4], of: &Part) {
    group
        .number(metrics[0], whole(of.calls), "calls")
        .number(metrics[1], real(of.call_share), "ratio")
        .number(metrics[2], real(of.cost_usd), "USD")
        .number(metrics[3], real(of.cost_share), "ratio");
}

fn comparison(lines: &mut Lines, name: &str, of: &Comparison) {
    let status = serde_json::to_value(of.status).unwrap_or_default();
    lines
        .group("comparison", name)
        .text("status", status.as_str())
        .push("from", of.from.to_string(), "date")
        .push("to", of.to.to_string(), "date")
        .number("days", whole(of.days), "days")
        .number("days_with_cost", whole(of.days_with_cost), "days")
        .number("calls", whole(of.calls), "calls")
        .number("calls_with_cost", whole(of.calls_with_cost), "calls")
        .number("cost", real(of.cost_usd), "USD/day")
        .number("change", real(of.change_usd), "USD")
        .number("change_ratio", real(of.change_ratio), "ratio");
}

fn breakdown(lines: &mut Lines, [section, rest_section]: [&'static str; 2], of: &Breakdown) {
    for row in &of.rows {
        lines
            .group(section, row.name.as_deref().unwrap_or_default())
            .number("calls", whole(row.calls), "calls")
            .number("calls_with_cost", whole(row.calls_with_cost), "calls")
            .number("calls_without_cost", whole(row.calls_without_cost), "calls")
            .number("sessions", whole(row.sessions), "sessions")
            .number("total_tokens", signed(row.total_tokens), "tokens")
            .number("cost", real(row.cost_usd), "USD")
            .number("cost_share", real(row.cost_share), "ratio")
            .number("cost_per_call", real(row.cost_per_call_usd), "USD/call")
            .number("cost_per_session", real(row.cost_per_session_usd), "USD/session")
            .number("previous_calls", whole(row.previous_calls), "calls")
            .number("previous_cost", real(row.previous_cost_usd), "USD")
            .number("change", real(row.change_usd), "USD")
            .number("change_ratio", real(row.change_ratio), "ratio");
    }
    if let Some(rest) = &of.rest {
        lines
            .group(rest_section, "")
            .number("calls", whole(rest.calls), "calls")
            .number("calls_with_cost", whole(rest.calls_with_cost), "calls")
            .number("total_tokens", signed(rest.total_tokens), "tokens")
            .number("cost", real(rest.cost_usd), "USD")
            .number("cost_share", real(rest.cost_share), "ratio");
    }
}

/// Session ids are unique only within a tenant, so the rank is the name.
fn session(lines: &mut Lines, rank: usize, of: &SessionFigures) {
    lines
        .group("session", &rank.to_string())
        .text("session_id", of.session_id.as_deref())
        .text("tenant_id", of.tenant_id.as_deref())
        .text("agent_id", of.agent_id.as_deref())
        .number("calls", whole(of.calls), "calls")
        .number("calls_with_cost", whole(of.calls_with_cost), "calls")
        .number("calls_without_cost", whole(of.calls_without_cost), "calls")
        .number("errors", whole(of.errors), "calls")
        .number("total_tokens", signed(of.total_tokens), "tokens")
        .number("cost", real(of.cost_usd), "USD")
        .time("started_at", of.started_at.as_ref())
        .time("ended_at", of.ended_at.as_ref());
}

fn call(lines: &mut Lines, rank: usize, of: &CallFigures) {
    lines
        .group("call", &rank.to_string())
        .time("timestamp", of.timestamp.as_ref())
        .text("tenant_id", of.tenant_id.as_deref())
        .text("agent_id", of.agent_id.as_deref())
        .text("model", of.model.as_deref())
        .text("request_id", of.request_id.as_deref())
        .text("session_id", of.session_id.as_deref())
        .text("trace_id", of.trace_id.as_deref())
        .number("prompt_tokens", of.prompt_tokens.map(signed), "tokens")
        .number("completion_tokens", of.completion_tokens.map(signed), "tokens")
        .number("total_tokens", of.total_tokens.map(signed), "tokens")
        .number("cost", real(of.cost_usd), "USD")
        .number("latency", real(of.latency_ms), "ms")
        .number("retry_count", of.retry_count.map(signed), "retries")
        .flag("is_error", of.is_error)
        .text("finish_reason", of.finish_reason.as_deref());
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn no_text_is_a_formula() {
        let expected = [
            ("=1+1", "'=1+1"),
            ("  @sum", "'  @sum"),
            ("\t=1", "'\t=1"),
            ("－1", "'－1"),
            ("gpt-4o", "gpt-4o"),
            ("", ""),
        ];
        for (text, written) in expected {
            assert_eq!(inert(text), written);
        }
    }
}
