//! The neutral model of an exposition: families and samples, before either text format.
//!
//! It knows names, labels and numbers, and never how a format writes them.

use std::{borrow::Cow, collections::HashMap};

use super::series::{LABEL_BYTES_MAX, OTHER, clip_label};
use crate::record::col;

/// One metric family: everything that shares a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name as it is queried. Counters are stored **with** `_total`; the OpenMetrics encoder
    /// takes it off the metadata lines.
    pub name: Cow<'static, str>,
    /// The type.
    pub kind: Kind,
    /// The HELP text, unescaped. Lint wants it non-empty.
    pub help: Cow<'static, str>,
    /// The unit, where the name ends in one.
    pub unit: Option<&'static str>,
    /// The series, in any order; the encoder sorts them.
    pub samples: Vec<Sample>,
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket, and a sum.
    Histogram,
}

/// One series of a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub(super) labels: Vec<(Cow<'static, str>, String)>,
    pub(super) value: Value,
    /// A record behind the value: of a number at most one, of a histogram one per bucket. May be
    /// shorter than that; what is missing is none.
    pub(super) exemplars: Vec<Option<Exemplar>>,
}

/// One record that moved a series, so that a number leads to a trace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exemplar {
    /// At most [`TRACE_ID_BYTES_MAX`] bytes.
    pub(super) trace_id: String,
    /// By how much the record moved the series, or what it observed.
    pub(super) value: f64,
    /// When the record happened, µs since the epoch.
    pub(super) at_us: i64,
}

/// Longest trace id of an exemplar; W3C ids have 32. OpenMetrics allows 128 characters to an
/// exemplar's names and values together, of which `trace_id` itself takes eight.
pub(super) const TRACE_ID_BYTES_MAX: usize = 64;

/// What a series holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A counter's or a gauge's value.
    Number(f64),
    /// A histogram's.
    Histogram(Histogram),
}

/// The state of one histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bounds, ascending, without `+Inf`.
    pub bounds: &'static [f64],
    /// Observations per bucket, **not** cumulative; one more than `bounds`, for `+Inf`.
    pub counts: Vec<u64>,
    /// The sum of all observations.
    pub sum: f64,
}

impl Family {
    /// A counter without samples yet. `name` ends in `_total`.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        debug_assert!(name.ends_with("_total"), "{name}: counters end in _total");
        Self::new(name, Kind::Counter, help)
    }

    /// A gauge without samples yet.
    pub fn gauge(name: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    /// A histogram without samples yet.
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Histogram, help)
    }

    /// Adds one series of a counter or gauge. Label sets must differ within a family.
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.samples.push(Sample::new(labels, Value::Number(value)));
        self
    }

    /// Adds one series of a gauge whose labels are not known beforehand. Long values are cut.
    pub fn with_labels(mut self, labels: Vec<(String, String)>, value: f64) -> Self {
        let labels =
            labels.into_iter().map(|(name, value)| (Cow::Owned(name), clip_label(&value).to_owned())).collect();
        self.samples.push(Sample { labels, value: Value::Number(value), exemplars: Vec::new() });
        self
    }

    /// Leaves out the series whose labels are those of another one, as the encoder writes them; both, since nobody can
    /// say which is right. Returns the labels of one of them.
    pub fn leave_out_alike(&mut self) -> Option<String> {
        let mut alike: HashMap<_, usize> = HashMap::new();
        for sample in &self.samples {
            *alike.entry(sample.labels.clone()).or_default() += 1;
        }
        self.samples.retain(|sample| alike[&sample.labels] == 1);
        let first = alike.into_iter().filter(|(_, samples)| *samples > 1).map(|(labels, _)| labels).min()?;
        Some(first.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(", "))
    }

    /// Adds one series of a histogram. Label sets must differ within a family.
    pub fn with_histogram(mut self, labels: &[(&'static str, &str)], value: Histogram) -> Self {
        debug_assert_eq!(value.counts.len(), value.bounds.len() + 1);
        self.samples.push(Sample::new(labels, Value::Histogram(value)));
        self
    }

    /// The series of some tenants; none where the family has none of them, or does not tell tenants apart. What is
    /// counted under [`OTHER`] or a name that may have been cut is of several tenants, and so of none of these.
    pub fn of_tenants(mut self, is_own: impl Fn(&str) -> bool) -> Option<Self> {
        let is_own = |name: &str| name != OTHER && name.len() + 4 <= LABEL_BYTES_MAX && is_own(name);
        self.samples
            .retain(|sample| sample.labels.iter().any(|(label, value)| label == col::TENANT_ID && is_own(value)));
        (!self.samples.is_empty()).then_some(self)
    }

    pub(super) fn new(name: impl Into<Cow<'static, str>>, kind: Kind, help: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        debug_assert!(kind == Kind::Counter || !name.ends_with("_total"), "{name}");
        Self { unit: unit_suffix(&name), name, kind, help: help.into(), samples: Vec::new() }
    }

    /// The name without the suffix that only a counter's samples carry in OpenMetrics.
    pub(super) fn base_name(&self) -> &str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            Kind::Gauge | Kind::Histogram => &self.name,
        }
    }
}

impl Sample {
    fn new(labels: &[(&'static str, &str)], value: Value) -> Self {
        let labels = labels.iter().map(|(name, value)| (Cow::Borrowed(*name), (*value).to_owned())).collect();
        Self { labels, value, exemplars: Vec::new() }
    }
}

/// The base unit a name ends in. OpenMetrics allows a UNIT line only for such names.
fn unit_suffix(name: &str) -> Option<&'static str> {
    let base = name.strip_suffix("_total").unwrap_or(name);
    ["seconds", "bytes"].into_iter().find(|unit| base.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
}
