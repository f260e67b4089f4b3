//! Which metrics there are and what each takes, as the plugin's query builder shows them. Reads the files' headers.

use serde_json::{Value, json};

use super::{
    payload,
    question::{KINDS, REFERENCE_DAYS, Special, find, has_by},
};
use crate::{
    error::Result,
    named::{NamedSql, Param, ParamKind},
    query::{Library, LibraryKind, Subject, filterable},
};

/// Parameters that follow from the dashboard's range, and are seldom set by hand.
const OF_RANGE: [&str; 3] = ["from", "to", "by"];
/// Columns by which most people filter; the others are reached by `filters`.
const DIMENSIONS: [&str; 3] = ["tenant_id", "agent_id", "model"];

/// What a field of a payload may be set to.
#[derive(Debug, PartialEq)]
pub enum Options {
    /// These.
    Listed(Vec<String>),
    /// The values of a column.
    Values(Subject),
}

/// Every metric.
pub fn metrics(library: &Library) -> Vec<Value> {
    let files = KINDS.into_iter().flat_map(|kind| library.of(kind).map(move |entry| (kind, &entry.named)));
    let files = files.map(|(kind, named)| {
        let word = match kind {
            LibraryKind::Kpis => "KPI ",
            LibraryKind::Metrics => "gauge ",
            _ => "",
        };
        let label = format!("{word}{}: {}", named.name, named.question);
        json!({ "value": named.name, "label": label, "payloads": file_fields(named) })
    });
    Special::ALL.into_iter().map(special).chain(files).collect()
}

/// What a field of a metric's payload may be set to.
///
/// # Errors
///
/// As for a metric that is not there.
pub fn options_of(library: &Library, metric: &str, field: &str) -> Result<Options> {
    let listed = |names: &[&str]| Options::Listed(names.iter().map(|name| (*name).to_owned()).collect());
    match field {
        payload::FORMAT => return Ok(listed(&["series", "table"])),
        "kpi" => return Ok(Options::Listed(library.kpis().map(|kpi| kpi.name.clone()).collect())),
        "state" => return Ok(listed(&["alert", "all"])),
        "verdict" => return Ok(listed(&["drifting", "all"])),
        "column" => return Ok(Options::Listed(filterable().map(|(column, _)| column.to_owned()).collect())),
        _ => {}
    }
    if let Some(special) = Special::ALL.into_iter().find(|special| special.name() == metric) {
        return Ok(match (field, special) {
            (payload::GROUP_BY, Special::KpiAlerts) => listed(&DIMENSIONS),
            (payload::GROUP_BY, Special::Drift) => Options::Listed(
                filterable().filter(|(_, is_number)| !is_number).map(|(column, _)| column.to_owned()).collect(),
            ),
            (field, _) => Subject::of(field).map_or_else(|_| Options::Listed(Vec::new()), Options::Values),
        });
    }
    let (_, named) = find(library, metric)?;
    let columns = |is_text: bool| {
        let fits = move |unit: &str| (unit == "text") == is_text && unit != "time";
        named.columns.iter().filter(move |column| fits(&column.unit)).map(|column| column.name.clone()).collect()
    };
    Ok(match field {
        payload::GROUP_BY if has_by(named) => Options::Listed(groups_of(named)),
        payload::GROUP_BY => Options::Listed(columns(true)),
        payload::VALUES => Options::Listed(columns(false)),
        field => match named.params.iter().find(|param| param.name == field) {
            Some(param) if !param.one_of.is_empty() => Options::Listed(param.one_of.clone()),
            Some(param) if param.kind == ParamKind::Bool => listed(&["true", "false"]),
            _ => Subject::of(field).map_or_else(|_| Options::Listed(Vec::new()), Options::Values),
        },
    })
}

fn file_fields(named: &NamedSql) -> Vec<Value> {
    let mut fields = vec![select(payload::FORMAT, "Format", "series or table; by its rows where not set")];
    fields.push(match has_by(named) {
        true => select(payload::GROUP_BY, "Group by", "one series for all where not set"),
        false => multi_select(payload::GROUP_BY, "Group by", "all texts where not set"),
    });
    fields.push(multi_select(payload::VALUES, "Values", "all columns where not set"));
    fields.push(filters());
    let own = |param: &&Param| !OF_RANGE.contains(&param.name.as_str());
    fields.extend(named.params.iter().filter(own).map(|param| {
        let default = param.default.as_deref().filter(|default| *default != "null").unwrap_or("not set");
        let hint = if param.required { param.doc.clone() } else { format!("{} [{default}]", param.doc) };
        let is_listed = !param.one_of.is_empty() || param.kind == ParamKind::Bool;
        match DIMENSIONS.contains(&param.name.as_str()) {
            true => multi_select(&param.name, &param.name, &hint),
            false if is_listed => select(&param.name, &param.name, &hint),
            false => input(&param.name, &param.name, &hint),
        }
    }));
    fields
}

fn special(special: Special) -> Value {
    let (label, fields) = match special {
        Special::Sql => (
            "sql: a statement of your own; $from, $to, $interval and $interval_ms are bound",
            vec![
                json!({ "name": payload::STATEMENT, "label": "SQL", "type": "textarea", "placeholder": "select …", "width": 80 }),
                select(payload::FORMAT, "Format", "series or table; by its rows where not set"),
                input(payload::GROUP_BY, "Group by", "columns, all texts where not set"),
                input(payload::VALUES, "Values", "columns, all where not set"),
                filters(),
            ],
        ),
        Special::KpiAlerts => (
            "kpi_alerts: windows in which KPIs call for someone, for annotations",
            vec![
                multi_select("kpi", "KPI", "all that have an alert where not set"),
                select(payload::GROUP_BY, "Group by", "all calls together where not set"),
                select("state", "State", "alert where not set"),
                input("grain", "Grain", "hour, day or month"),
                filters(),
            ],
        ),
        Special::KpiCard => (
            "kpi_card: the score card of the month in which the range ends",
            vec![input("month", "Month", "like 2026-05"), filters()],
        ),
        Special::Drift => (
            "drift: has a column changed in the range, against the days before it?",
            vec![
                select("column", "Column", "latency_ms where not set"),
                select(payload::GROUP_BY, "Group by", "all calls together where not set"),
                input("reference_days", "Reference days", &REFERENCE_DAYS.to_string()),
                select("verdict", "Verdict", "drifting where not set"),
                filters(),
            ],
        ),
    };
    json!({ "value": special.name(), "label": label, "payloads": fields })
}

/// What a file with `by` can be grouped by, called as its columns are.
fn groups_of(named: &NamedSql) -> Vec<String> {
    let by = named.params.iter().find(|param| param.name == "by").map(|param| param.one_of.as_slice());
    let names = by.unwrap_or_default().iter().filter(|value| *value != "all");
    names
        .map(|value| if ["agent", "tenant"].contains(&value.as_str()) { format!("{value}_id") } else { value.clone() })
        .collect()
}

fn filters() -> Value {
    let hint = "model =~ gpt.*  (one a line: = != < > =~ !~ =| !=|)";
    json!({ "name": payload::FILTERS, "label": "Filters", "type": "textarea", "placeholder": hint, "width": 40 })
}

/// A select without options asks for them when it is opened.
fn select(name: &str, label: &str, hint: &str) -> Value {
    json!({ "name": name, "label": label, "type": "select", "placeholder": hint })
}

fn multi_select(name: &str, label: &str, hint: &str) -> Value {
    json!({ "name": name, "label": label, "type": "multi-select", "placeholder": hint })
}

fn input(name: &str, label: &str, hint: &str) -> Value {
    json!({ "name": name, "label": label, "type": "input", "placeholder": hint })
}
