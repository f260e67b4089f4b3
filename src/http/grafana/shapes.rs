//! The shapes of Grafana's JSON datasource, for the description. What is read may lack any field, have others and have
//! values of other types: `grafana` takes what it can. `grafana` writes series and tables as JSON of these shapes.

#![expect(dead_code, reason = "shapes are described and never made; `grafana` reads and writes the JSON")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// What a panel asks for.
#[derive(ToSchema)]
#[schema(as = GrafanaQueryRequest, rename_all = "camelCase")]
pub struct Query {
    /// The last 6 hours where it is absent.
    range: Option<RangeShape>,
    /// The shortest bucket, ms.
    interval_ms: Option<f64>,
    /// Most points of a series; 1,000 where it is absent, at most 11,000.
    max_data_points: Option<f64>,
    /// At most `grafana.targets_max` (100).
    #[schema(max_items = 100)]
    targets: Vec<Target>,
    /// Conditions on the calls.
    filters: Option<Vec<Filter>>,
}

/// One thing that is asked for.
#[derive(ToSchema)]
#[schema(as = GrafanaTarget, rename_all = "camelCase")]
struct Target {
    /// What its answer is marked with.
    ref_id: Option<String>,
    /// A metric of `/grafana/metrics`. Targets without one are passed over.
    #[schema(example = "cost_over_time")]
    target: Option<String>,
    /// What the metric takes.
    payload: Option<BTreeMap<String, Value>>,
    /// It is not asked for.
    hide: Option<bool>,
}

/// A range of time.
#[derive(ToSchema)]
#[schema(as = GrafanaRange)]
struct RangeShape {
    /// A time, or relative to now.
    #[schema(example = "now-6h")]
    from: String,
    /// Exclusive.
    #[schema(example = "now")]
    to: String,
}

/// An ad-hoc filter.
#[derive(ToSchema)]
#[schema(as = GrafanaFilter)]
struct Filter {
    /// A column of `/grafana/tag-keys`, or `attributes.` and the name of a field.
    #[schema(example = "model")]
    key: String,
    /// `=`, `!=`, `<`, `>`, `=~`, `!~`, `=|` or `!=|`.
    #[schema(example = "=")]
    operator: Option<String>,
    value: Option<String>,
    /// For `=|` and `!=|`.
    values: Option<Vec<String>>,
}

/// Which values are asked for.
#[derive(ToSchema)]
#[schema(as = GrafanaTagValuesRequest)]
pub struct TagValues {
    /// A column of `/grafana/tag-keys`, or `attributes.` and the name of a field.
    #[schema(example = "model")]
    key: String,
    /// The last `grafana.values_days` (7) days where it is absent.
    range: Option<RangeShape>,
    /// Filters on other keys.
    filters: Option<Vec<Filter>>,
}

/// Which values a variable has.
#[derive(ToSchema)]
#[schema(as = GrafanaVariableRequest)]
pub struct Variable {
    payload: VariablePayload,
    /// The last `grafana.values_days` (7) days where it is absent.
    range: Option<RangeShape>,
    filters: Option<Vec<Filter>>,
}

#[derive(ToSchema)]
#[schema(as = GrafanaVariablePayload)]
struct VariablePayload {
    /// A column of `agent_logs`, with conditions on others, or a named query.
    #[schema(example = "agent_id")]
    target: String,
}

/// Which field of which metric.
#[derive(ToSchema)]
#[schema(as = GrafanaPayloadOptionsRequest)]
pub struct PayloadOptions {
    #[schema(example = "cost_over_time")]
    metric: String,
    /// The field's name.
    #[schema(example = "group_by")]
    name: String,
}

/// A part of an answer.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = GrafanaElement)]
pub enum Element {
    Series(Series),
    Table(Table),
}

/// One line of a panel.
#[derive(ToSchema)]
#[schema(as = GrafanaSeries, rename_all = "camelCase")]
pub struct Series {
    /// Its target's.
    ref_id: String,
    /// The column that it shows.
    target: String,
    /// What a legend shows.
    #[schema(nullable = false)]
    title: Option<String>,
    #[schema(nullable = false)]
    unit: Option<String>,
    /// The columns that tell series apart.
    tags: BTreeMap<String, String>,
    /// Values with their time, ms since 1970.
    datapoints: Vec<(Option<f64>, i64)>,
    #[schema(nullable = false)]
    meta: Option<Meta>,
}

/// A table.
#[derive(ToSchema)]
#[schema(as = GrafanaTable, rename_all = "camelCase")]
pub struct Table {
    /// Its target's.
    ref_id: String,
    /// The metric.
    name: String,
    #[schema(pattern = "^table$")]
    r#type: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    #[schema(nullable = false)]
    meta: Option<Meta>,
}

#[derive(ToSchema)]
#[schema(as = GrafanaColumn)]
struct Column {
    text: String,
    /// `time`, `number`, `string` or `boolean`.
    r#type: String,
    #[schema(nullable = false)]
    unit: Option<String>,
}

/// What has to be said beside an answer.
#[derive(ToSchema)]
#[schema(as = GrafanaMeta)]
struct Meta {
    notices: Vec<Notice>,
}

#[derive(ToSchema)]
#[schema(as = GrafanaNotice)]
struct Notice {
    severity: String,
    text: String,
}

/// A metric with what it takes.
#[derive(ToSchema)]
#[schema(as = GrafanaMetric)]
pub struct Metric {
    /// Its name.
    value: String,
    /// Its question.
    label: String,
    payloads: Vec<PayloadField>,
}

/// A field of a metric's payload.
#[derive(ToSchema)]
#[schema(as = GrafanaPayloadField)]
struct PayloadField {
    name: String,
    label: String,
    /// `input`, `select`, `multi-select` or `textarea`.
    r#type: String,
    placeholder: String,
    #[schema(nullable = false)]
    width: Option<u32>,
}
