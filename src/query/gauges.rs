//! Gauges by SQL: each file of `metrics/` is a Prometheus family of its name, with a series for each row; and those of
//! the objectives. They are asked for beside the scrapes, so that a scrape never waits for a statement. Never counts
//! anything itself.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Schema},
};

use super::{Engine, LibraryKind, library::Entry, slo};
use crate::{
    access::Scope,
    error::{Context, Error, Result},
    metrics::{FAMILIES, Family, TOKEN_QUOTA},
};

/// The column that is the gauge's value; all others are labels.
const VALUE: &str = "value";
/// Endings that Prometheus keeps for other types.
const OTHER_TYPES: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];
/// Labels that mean something of their own.
const KEPT_LABELS: [&str; 2] = ["le", "quantile"];

/// How often a scope's gauges are asked for after somebody has looked at them; then they are none until the next look.
const ROUNDS_AFTER_A_LOOK: u32 = 15;

/// The families as they were last asked for.
#[derive(Debug, Default)]
pub struct Gauges {
    families: RwLock<Arc<Vec<Family>>>,
    /// How often they are still to be asked for unless somebody looks again.
    rounds: AtomicU32,
    /// How many failed then.
    failed: AtomicUsize,
}

impl Gauges {
    /// The families.
    pub fn families(&self) -> Arc<Vec<Family>> {
        self.rounds.store(ROUNDS_AFTER_A_LOOK, Ordering::Relaxed);
        Arc::clone(&self.families.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many families failed when they were last asked for, in whole or in part.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether they are to be asked for once more; where not, what they were is forgotten.
    fn is_wanted(&self) -> bool {
        let one_less = |rounds: u32| rounds.checked_sub(1);
        let is_wanted = self.rounds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if !is_wanted {
            self.show(Vec::new(), 0);
        }
        is_wanted
    }

    fn show(&self, families: Vec<Family>, failed: usize) {
        self.failed.store(failed, Ordering::Relaxed);
        *self.families.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(families);
    }
}

impl Engine {
    /// Asks for all gauges, and for those of the scopes in which somebody has looked at them of late; a
    /// family has at most `series_max` series. One that fails is absent until it succeeds again: an old value would look
    /// like a new one. Of one that has several values for the same labels these alone are absent. Returns what failed.
    pub async fn refresh_gauges(&self, series_max: usize) -> Vec<Error> {
        let mut failed = self.refresh_own_gauges(series_max).await;
        for engine in self.scoped_engines() {
            if engine.gauges().is_wanted() {
                failed.extend(engine.refresh_own_gauges(series_max).await);
            }
        }
        failed
    }

    async fn refresh_own_gauges(&self, series_max: usize) -> Vec<Error> {
        let is_bound = self.scope() != &Scope::Everybody;
        let (mut families, mut failed) = (Vec::new(), Vec::new());
        for entry in self.library().of(LibraryKind::Metrics) {
            // Files that need what a tenant does not see are not there for it: no problem of theirs.
            if is_bound && self.plan_of(entry).await.is_err() {
                continue;
            }
            match self.gauge(entry, series_max).await {
                Ok(mut family) => {
                    if let Some(labels) = family.leave_out_alike() {
                        let alike = format!("{} has two rows of the labels {labels}", entry.file);
                        failed.push(Error::invalid(alike));
                    }
                    families.push(family);
                }
                Err(error) => failed.push(error),
            }
        }
        match self.objective_families().await {
            Ok(own) => families.extend(own),
            Err(error) => failed.push(error),
        }
        self.gauges().show(families, failed.len());
        failed
    }

    async fn gauge(&self, entry: &Entry, series_max: usize) -> Result<Family> {
        let context = || format!("the gauge of {}", entry.file);
        let named = &entry.named;
        let mut rows = self.named(LibraryKind::Metrics, &named.name, []).await.context(context())?;
        if let Some(problem) = problem(&named.name, &rows.schema()) {
            return Err(Error::invalid(format!("{}: {problem}", entry.file)));
        }
        let mut family = Family::gauge(named.name.clone(), named.question.clone());
        while let Some(batch) = rows.next().await {
            for (labels, value) in series(&batch.context(context())?)? {
                if family.samples.len() == series_max {
                    return Err(Error::invalid(format!("{} has more than {series_max} series", entry.file)));
                }
                family = family.with_labels(labels, value);
            }
        }
        Ok(family)
    }
}

/// What keeps a file's result from being a family, if something does.
pub(super) fn problem(name: &str, schema: &Schema) -> Option<String> {
    if !is_name(name) {
        return Some(format!("{name} cannot be a family's name: ASCII letters, digits and _ make one, no digit first"));
    }
    if let Some(ending) = OTHER_TYPES.iter().find(|ending| name.ends_with(**ending)) {
        return Some(format!("a gauge's name does not end in {ending}"));
    }
    // OpenMetrics writes a counter's metadata without its ending.
    let is_counters = |own: &str| own.strip_suffix("_total").is_some_and(|base| base == name);
    let is_own = FAMILIES.iter().any(|family| family.name == name || is_counters(family.name))
        || slo::FAMILIES.iter().any(|(own, _)| *own == name)
        || name == TOKEN_QUOTA;
    if is_own || name.starts_with("driftline_") {
        return Some(format!("{name} is a family of the server's own: choose another name for the file"));
    }
    match schema.field_with_name(VALUE) {
        Ok(field) if field.data_type().is_numeric() => {}
        Ok(field) => return Some(format!("the column {VALUE} is a number, not {}", field.data_type())),
        Err(_) => return Some(format!("one column is called {VALUE}, and all others are labels")),
    }
    let mut names = HashSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        return Some(format!("two columns are called {}: give one another name", twice.name()));
    }
    schema.fields().iter().filter(|field| field.name() != VALUE).find_map(|field| {
        let (label, data_type) = (field.name(), field.data_type());
        let is_label = !label.starts_with("__") && is_name(label) && !KEPT_LABELS.contains(&label.as_str());
        if !is_label {
            return Some(format!("{label} cannot be a label's name"));
        }
        let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        (!is_text).then(|| format!("the label {label} is a text, not {data_type}: cast it"))
    })
}

/// Whether Prometheus's text format takes it as a name, of a family or a label.
fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

type Series = (Vec<(String, String)>, f64);

/// Rows as series; one whose value is null is none.
fn series(batch: &RecordBatch) -> Result<Vec<Series>> {
    let context = "cannot read a gauge's rows";
    let schema = batch.schema();
    let (mut labels, mut values) = (Vec::new(), None);
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.name() == VALUE {
            values = Some(cast(column, &DataType::Float64).context(context)?);
        } else {
            labels.push((field.name(), cast(column, &DataType::Utf8).context(context)?));
        }
    }
    let values = values.ok_or_else(|| Error::invalid(context))?;
    let values = values.as_primitive::<Float64Type>();
    let of_row = |row: usize| {
        let label = |(name, column): &(&String, arrow::array::ArrayRef)| {
            let column = column.as_string::<i32>();
            let value = if column.is_valid(row) { column.value(row) } else { "" };
            ((*name).clone(), value.to_owned())
        };
        (labels.iter().map(label).collect(), values.value(row))
    };
    Ok((0..batch.num_rows()).filter(|row| values.is_valid(*row)).map(of_row).collect())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn what_is_no_family_is_named() {
        let check = |name: &str, columns: &[(&str, DataType)], expected: Option<&str>| {
            let fields: Vec<Field> =
                columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect();
            let found = problem(name, &Schema::new(fields));
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        let value = (VALUE, DataType::Float64);
        check("a_ratio", &[("agent", DataType::Utf8View), value.clone()], None);
        check("a_ratio", &[(VALUE, DataType::Int64)], None);
        check("a_ratio", &[("agent", DataType::Utf8)], Some("called value"));
        check("a_ratio", &[(VALUE, DataType::Utf8)], Some("is a number"));
        check("a_ratio", &[("n", DataType::Int64), value.clone()], Some("cast it"));
        check("a_ratio", &[("le", DataType::Utf8), value.clone()], Some("le cannot be"));
        check("a_ratio", &[("a b", DataType::Utf8), value.clone()], Some("a b cannot be"));
        check("a_ratio", &[("a", DataType::Utf8), ("a", DataType::Utf8), value.clone()], Some("two columns"));
        check("a-ratio", std::slice::from_ref(&value), Some("family's name"));
        check("2xx_ratio", std::slice::from_ref(&value), Some("family's name"));
        check("llm_errors", std::slice::from_ref(&value), Some("the server's own"));
        check("llm_token_daily_quota", std::slice::from_ref(&value), Some("the server's own"));
        check("a_total", std::slice::from_ref(&value), Some("_total"));
        check("llm_active_sessions", std::slice::from_ref(&value), Some("the server's own"));
        check("llm_slo_burn_rate", std::slice::from_ref(&value), Some("the server's own"));
    }
}
