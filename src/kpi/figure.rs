//! One row of a KPI's file.

use serde::Deserialize;

/// What a KPI's SQL says of one window and one key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Figure {
    /// The window's start, as answers write times.
    pub window_start: String,
    /// Agent, tenant or model; `all` where nothing is told apart; null where the calls name none.
    pub key: Option<String>,
    /// The figure, in the KPI's unit; null where there is nothing to make it of.
    pub value: Option<f64>,
    /// What the value is made of, counted; null is none.
    pub samples: Option<u64>,
    /// What would be samples if more were known of it, where the file counts them.
    #[serde(default)]
    pub unknown: Option<u64>,
    /// Samples that are not on the scale, where the file counts them.
    #[serde(default)]
    pub outside: Option<u64>,
    /// What is divided.
    #[serde(default)]
    pub numerator: Option<f64>,
    /// By what.
    #[serde(default)]
    pub denominator: Option<f64>,
}
