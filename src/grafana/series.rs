//! Rows as time series: a series for each number column and each combination of labels. Thins out what has more points
//! than the panel, and says so; never adds figures up.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::{
    downsample::{Point, thinned},
    frame::{Column, Frame, Holds},
    table,
};
use crate::{
    config::GrafanaConfig,
    error::{Error, Kind, Result},
};

/// What a KPI and a gauge call their figure.
pub(super) const VALUE: &str = "value";
/// What files with a parameter `by` call the column of its values.
pub(super) const KEY: &str = "key";

/// In which form rows are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Series.
    Series,
    /// A table.
    Table,
    /// Series where the first column is a time and there are numbers, else a table.
    ByColumns,
}

/// How rows become an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// What the answer is marked with.
    pub ref_id: String,
    /// What it is called.
    pub metric: String,
    /// Its form.
    pub format: Format,
    /// The columns that tell series apart; all texts where none is named.
    pub group_by: Vec<String>,
    /// The columns that are shown; all where none is named.
    pub values: Vec<String>,
    /// What the column [`KEY`] is called; where that is nothing, it is left out. None where it stays as it is.
    pub key: Option<Option<&'static str>>,
    /// Units of columns, Grafana's.
    pub units: BTreeMap<String, &'static str>,
    /// Most points of a series.
    pub points_max: usize,
    /// The time of rows that have none, ms.
    pub at_ms: i64,
}

/// One element of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// As it is sent.
    pub json: Value,
    /// Points or rows that it has.
    pub points: usize,
}

/// Rows in the form that is asked for. What has to be said about them stands with the first element.
///
/// # Errors
///
/// [`Kind::Invalid`] for columns that are not there, for rows that make no series, and for series that are not told
/// apart; [`Kind::Exhausted`] for too many.
pub fn shaped(
    mut frame: Frame,
    shape: &Shape,
    mut notices: Vec<String>,
    limits: &GrafanaConfig,
) -> Result<Vec<Element>> {
    match shape.key {
        Some(Some(name)) => {
            frame
                .columns
                .iter_mut()
                .filter(|column| column.name == KEY)
                .for_each(|column| name.clone_into(&mut column.name));
        }
        Some(None) => frame.columns.retain(|column| column.name != KEY),
        None => {}
    }
    let is_series = match shape.format {
        Format::Series => true,
        Format::Table => false,
        Format::ByColumns => {
            frame.columns.first().is_some_and(|column| column.holds == Holds::Times)
                && frame.columns.iter().any(|column| column.holds == Holds::Numbers)
        }
    };
    let mut elements =
        if is_series { series(&frame, shape, &mut notices, limits)? } else { vec![table::table(&frame, shape)?] };
    if !notices.is_empty() {
        if elements.is_empty() {
            elements.push(element(shape, &shape.metric, &[], Vec::new(), None));
        }
        let notices: Vec<Value> = notices.iter().map(|text| json!({ "severity": "info", "text": text })).collect();
        elements[0].json["meta"] = json!({ "notices": notices });
    }
    Ok(elements)
}

fn series(frame: &Frame, shape: &Shape, notices: &mut Vec<String>, limits: &GrafanaConfig) -> Result<Vec<Element>> {
    let time = frame.columns.iter().find(|column| column.holds == Holds::Times);
    let values = picked(frame, &shape.values, &[Holds::Numbers], "values")?;
    let labels = picked(frame, &shape.group_by, &[Holds::Texts, Holds::Flags], "group_by")?;
    if values.is_empty() {
        return Err(Error::invalid(format!("{} has no numbers to make series of: ask for a table", shape.metric)));
    }
    let mut positions: HashMap<Vec<String>, usize> = HashMap::new();
    let mut sets: Vec<(Vec<String>, Vec<usize>)> = Vec::new();
    for row in 0..frame.rows() {
        let set: Vec<String> = labels.iter().map(|column| label(&column.cells[row])).collect();
        let position = *positions.entry(set.clone()).or_insert_with(|| {
            sets.push((set, Vec::new()));
            sets.len() - 1
        });
        sets[position].1.push(row);
        if sets.len() * values.len() > limits.series_max {
            let most = limits.series_max;
            let message =
                format!("{} has more than {most} series (grafana.series_max): group by less, or filter", shape.metric);
            return Err(Error::new(Kind::Exhausted, message));
        }
    }
    let (mut elements, mut without_time, mut thinned_out) = (Vec::new(), 0, 0);
    for (set, rows) in &sets {
        for column in &values {
            let at = |row: usize| time.map_or(Some(shape.at_ms), |time| time.cells[row].as_i64());
            let points = rows.iter().filter_map(|row| Some((at(*row)?, column.cells[*row].as_f64())));
            let mut points: Vec<Point> = points.collect();
            without_time += rows.len() - points.len();
            points.sort_by_key(|point| point.0);
            let is_ambiguous = points.windows(2).any(|pair| pair[0].0 == pair[1].0);
            if is_ambiguous && !shape.group_by.is_empty() {
                return Err(Error::invalid(format!(
                    "{}: several rows of one time have the same {}; group_by needs more columns, or none",
                    shape.metric,
                    shape.group_by.join(", ")
                )));
            }
            let all = points.len();
            let points = thinned(points, shape.points_max);
            thinned_out += usize::from(points.len() < all);
            let tags: Vec<(&str, &str)> =
                labels.iter().map(|label| label.name.as_str()).zip(set.iter().map(String::as_str)).collect();
            let name = if column.name == VALUE { &shape.metric } else { &column.name };
            let unit = shape.units.get(&column.name).copied();
            let mut element = element(shape, name, &tags, points, unit);
            element.json["title"] = title(name, set, values.len()).into();
            elements.push(element);
        }
    }
    if thinned_out > 0 {
        let most = shape.points_max;
        notices.push(format!(
            "{thinned_out} of {} series have more than {most} points: of each stretch of time the lowest and the highest \
             value are shown",
            elements.len()
        ));
    }
    if without_time > 0 {
        notices.push(format!("{without_time} rows have no time and are in no series"));
    }
    Ok(elements)
}

/// The columns of these names; all that hold the right thing where none is named.
fn picked<'a>(frame: &'a Frame, names: &[String], holds: &[Holds], option: &str) -> Result<Vec<&'a Column>> {
    let fit: Vec<&Column> = frame.columns.iter().filter(|column| holds.contains(&column.holds)).collect();
    if names.is_empty() {
        return Ok(fit);
    }
    let of = |name: &String| {
        fit.iter().find(|column| column.name == *name).copied().ok_or_else(|| {
            let there: Vec<&str> = fit.iter().map(|column| column.name.as_str()).collect();
            Error::invalid(format!("{option}: {} is none of {}", super::shown(name), there.join(", ")))
        })
    };
    names.iter().map(of).collect()
}

fn element(shape: &Shape, name: &str, tags: &[(&str, &str)], points: Vec<Point>, unit: Option<&str>) -> Element {
    let tags: Map<String, Value> = tags.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    let count = points.len();
    let points: Vec<Value> = points.into_iter().map(|(time, value)| json!([value, time])).collect();
    let mut json = json!({ "target": name, "refId": shape.ref_id, "tags": tags, "datapoints": points });
    if let Some(unit) = unit {
        json["unit"] = unit.into();
    }
    Element { json, points: count }
}

/// What a legend shows: the labels' values, and the column where there are several.
fn title(name: &str, set: &[String], columns: usize) -> String {
    let labels: Vec<&str> = set.iter().map(|value| if value.is_empty() { "(none)" } else { value }).collect();
    match (labels.is_empty(), columns) {
        (true, _) => name.to_owned(),
        (false, 1) => labels.join(", "),
        (false, _) => format!("{name} {}", labels.join(", ")),
    }
}

fn label(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Grafana's name for a unit of a header, where it has one.
pub(super) fn unit_of(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "USD" => "currencyUSD",
        "ms" => "ms",
        "s" => "s",
        "min" => "m",
        "ratio" => "percentunit",
        "tokens" | "count" => "short",
        "bytes" => "bytes",
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let column = |name: &str, holds, cells: Value| Column {
            name: name.to_owned(),
            holds,
            cells: cells.as_array().unwrap().clone(),
        };
        Frame {
            columns: vec![
                column("hour", Holds::Times, json!([2_000, 1_000, 1_000, null])),
                column("key", Holds::Texts, json!(["a", "a", null, "a"])),
                column("calls", Holds::Numbers, json!([3, 1, 5, 9])),
                column("cost_usd", Holds::Numbers, json!([0.5, null, 0.25, 9.0])),
            ],
        }
    }

    fn shape() -> Shape {
        Shape {
            ref_id: "A".into(),
            metric: "m".into(),
            format: Format::Series,
            group_by: Vec::new(),
            values: Vec::new(),
            key: Some(Some("agent_id")),
            units: [("cost_usd".to_owned(), "currencyUSD")].into(),
            points_max: 100,
            at_ms: 9_000,
        }
    }

    /// `target tags points` of each series, or the error.
    fn told(shape: &Shape) -> String {
        match shaped(frame(), shape, Vec::new(), &GrafanaConfig { series_max: 4, ..GrafanaConfig::default() }) {
            Ok(elements) => {
                let each = elements.iter().map(|Element { json, .. }| {
                    format!("{} {} {}", json["title"].as_str().unwrap_or("-"), json["tags"], json["datapoints"])
                });
                each.collect::<Vec<_>>().join("\n")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn columns_and_labels_make_series() {
        assert_eq!(
            told(&shape()),
            "calls a {\"agent_id\":\"a\"} [[1.0,1000],[3.0,2000]]\n\
             cost_usd a {\"agent_id\":\"a\"} [[null,1000],[0.5,2000]]\n\
             calls (none) {\"agent_id\":\"\"} [[5.0,1000]]\n\
             cost_usd (none) {\"agent_id\":\"\"} [[0.25,1000]]"
        );
        let one = Shape { values: vec!["calls".into()], ..shape() };
        assert_eq!(
            told(&one),
            "a {\"agent_id\":\"a\"} [[1.0,1000],[3.0,2000]]\n(none) {\"agent_id\":\"\"} [[5.0,1000]]"
        );
        let elements = shaped(frame(), &one, vec!["said".into()], &GrafanaConfig::default()).unwrap();
        assert_eq!(
            elements[0].json["meta"]["notices"],
            json!([{"severity": "info", "text": "said"}, {"severity": "info", "text": "1 rows have no time and are in no series"}])
        );
        assert_eq!((&elements[0].json["unit"], elements[0].points), (&Value::Null, 2));
    }

    #[test]
    fn what_makes_no_series_is_told() {
        let check = |shape: Shape, expect: &str| assert_eq!(told(&shape), expect);
        check(Shape { values: vec!["x".into()], ..shape() }, "values: x is none of calls, cost_usd");
        check(Shape { group_by: vec!["x".into()], ..shape() }, "group_by: x is none of agent_id");
        let dropped = Shape { key: Some(None), ..shape() };
        assert!(told(&dropped).starts_with("calls {} [[1.0,1000],[5.0,1000],[3.0,2000]]"), "{}", told(&dropped));
        let few = GrafanaConfig { series_max: 3, ..GrafanaConfig::default() };
        assert_eq!(shaped(frame(), &shape(), Vec::new(), &few).unwrap_err().kind(), Kind::Exhausted);
        let nothing = Frame { columns: frame().columns.into_iter().take(2).collect() };
        let refused = shaped(nothing.clone(), &shape(), Vec::new(), &few).unwrap_err().to_string();
        assert_eq!(refused, "m has no numbers to make series of: ask for a table");
        let either = Shape { format: Format::ByColumns, ..shape() };
        assert_eq!(shaped(nothing, &either, Vec::new(), &few).unwrap()[0].json["type"], "table");
    }
}
