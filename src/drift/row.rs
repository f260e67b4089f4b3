//! A verdict in one flat row: what is kept of each run, and what SQL shows.

use serde::{Deserialize, Serialize};

use super::{
    answer::{Answer, Change, SilentChange, Verdict, VerdictLine},
    column::By,
};

/// What stands for a column where a model was exchanged under its name.
pub const SILENT_CHANGE: &str = "silent_model_change";

/// One verdict of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// End of the windows that were judged, RFC 3339.
    pub window_end: String,
    /// Length of each, hours.
    pub window_hours: u32,
    /// The column, or [`SILENT_CHANGE`].
    pub column: String,
    /// What makes the slice.
    pub by: String,
    /// The slice; none of all calls.
    pub slice: Option<String>,
    /// What is said.
    pub verdict: Verdict,
    /// How large the change is, 0 to 1.
    pub effect: Option<f64>,
    /// How large it is at most, by the buckets' width.
    pub effect_max: Option<f64>,
    /// The least change that the run would have found in four cases of five.
    pub detectable: Option<f64>,
    /// Its probability if nothing changed.
    pub p: Option<f64>,
    /// Corrected for all tests of the run.
    pub q: Option<f64>,
    /// Values of the references of the newest window.
    pub n_reference: Option<u64>,
    /// Values of the newest window.
    pub n_current: Option<u64>,
    /// The part of the distribution that moved most; the columns that changed, where a model was exchanged.
    pub moved: Option<String>,
    /// Its share before.
    pub moved_before: Option<f64>,
    /// Its share after.
    pub moved_after: Option<f64>,
    /// The spread of numbers before: 5 % are below, the median, 5 % are above.
    #[serde(default)]
    pub before_p05: Option<f64>,
    /// Likewise.
    pub before_p50: Option<f64>,
    /// Likewise.
    #[serde(default)]
    pub before_p95: Option<f64>,
    /// The same after.
    #[serde(default)]
    pub after_p05: Option<f64>,
    /// Likewise.
    pub after_p50: Option<f64>,
    /// Likewise.
    #[serde(default)]
    pub after_p95: Option<f64>,
    /// When it began, RFC 3339.
    pub began_at: Option<String>,
    /// What makes the part of the slice that moved most.
    #[serde(default)]
    pub segment_by: Option<String>,
    /// That part.
    #[serde(default)]
    pub segment: Option<String>,
    /// Which columns changed with it, from what to what and when, with commas; those that explain it, where a model was
    /// exchanged.
    pub changed_then: Option<String>,
}

impl ResultRow {
    /// The tenant by whose calls alone it was found.
    pub fn tenant(&self) -> Option<&str> {
        self.slice.as_deref().filter(|_| self.by == By::TenantId.name())
    }

    /// Whether it is about a tenant, or names the tenant as the part of a slice, or of a mix of tenants, that moved most.
    pub fn names_tenant(&self, tenant: &str) -> bool {
        let is_of = |by: &str, name: &Option<String>| by == By::TenantId.name() && name.as_deref() == Some(tenant);
        let is_segment = self.segment_by.as_deref().is_some_and(|by| is_of(by, &self.segment));
        let mix = format!("{} from ", By::TenantId.name());
        let change = self.changed_then.as_deref().and_then(|text| text.split_once(&mix));
        let is_in_mix = change.is_some_and(|(_, rest)| {
            rest.starts_with(&format!("{tenant} to ")) || rest.contains(&format!(" to {tenant} at "))
        });
        is_of(&self.by, &self.slice) || is_of(&self.column, &self.moved) || is_segment || is_in_mix
    }
}

impl Answer {
    /// All verdicts, silent changes first.
    pub fn rows(&self) -> Vec<ResultRow> {
        let silent = self.silent_changes.iter().map(|silent| self.silent_row(silent));
        silent.chain(self.verdicts.iter().map(|line| self.verdict_row(line))).collect()
    }

    fn verdict_row(&self, line: &VerdictLine) -> ResultRow {
        let moved = line.moved.as_ref();
        ResultRow {
            window_end: self.to.clone(),
            window_hours: self.window_hours,
            column: line.column.clone(),
            by: line.by.name().to_owned(),
            slice: line.slice.clone(),
            verdict: line.verdict,
            effect: line.effect,
            effect_max: line.effect_max,
            detectable: line.detectable,
            p: line.p,
            q: line.q,
            n_reference: Some(line.n_reference),
            n_current: Some(line.n_current),
            moved: moved.map(|moved| moved.part.clone()),
            moved_before: moved.map(|moved| moved.before),
            moved_after: moved.map(|moved| moved.after),
            before_p05: line.before.map(|spread| spread.p05),
            before_p50: line.before.map(|spread| spread.p50),
            before_p95: line.before.map(|spread| spread.p95),
            after_p05: line.after.map(|spread| spread.p05),
            after_p50: line.after.map(|spread| spread.p50),
            after_p95: line.after.map(|spread| spread.p95),
            began_at: line.began_at.clone(),
            segment_by: line.segment.as_ref().map(|segment| segment.by.name().to_owned()),
            segment: line.segment.as_ref().map(|segment| segment.slice.clone()),
            changed_then: joined(line.changed_then.iter().map(told)),
        }
    }

    fn silent_row(&self, silent: &SilentChange) -> ResultRow {
        ResultRow {
            window_end: self.to.clone(),
            window_hours: self.window_hours,
            column: SILENT_CHANGE.to_owned(),
            by: silent.by.name().to_owned(),
            slice: Some(silent.slice.clone()),
            verdict: silent.verdict,
            effect: None,
            effect_max: None,
            detectable: None,
            p: Some(silent.p),
            q: Some(silent.q),
            n_reference: None,
            n_current: None,
            moved: joined(silent.columns.iter().cloned()),
            moved_before: None,
            moved_after: None,
            before_p05: None,
            before_p50: None,
            before_p95: None,
            after_p05: None,
            after_p50: None,
            after_p95: None,
            began_at: silent.began_at.clone(),
            segment_by: None,
            segment: None,
            changed_then: joined(silent.explained_by.iter().cloned()),
        }
    }
}

fn joined(names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A change in words: `model_version from 2026-01 to 2026-02 at 2026-03-02T09:00:00Z`.
fn told(change: &Change) -> String {
    let Change { column, lost, gained, began_at } = change;
    format!("{column} from {lost} to {gained} at {began_at}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_the_tenants_that_it_tells_of() {
        let row = |change: serde_json::Value| -> ResultRow {
            let mut row = serde_json::json!({
                "window_end": "2026-05-14T12:00:00Z", "window_hours": 24, "column": "cost", "by": "all", "verdict": "drifting",
            });
            row.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            serde_json::from_value(row).unwrap()
        };
        let check = |change: serde_json::Value, expected: &[&str], own: Option<&str>| {
            let row = row(change);
            let names = ["acme", "acme-eu", "2026", "to"].into_iter().filter(|tenant| row.names_tenant(tenant));
            assert_eq!(names.collect::<Vec<_>>(), expected, "{row:?}");
            assert_eq!(row.tenant(), own);
        };
        let told_change = |lost: &str, gained: &str| {
            let (lost, gained) = (lost.to_owned(), gained.to_owned());
            told(&Change { column: "tenant_id".to_owned(), lost, gained, began_at: "2026-05-13T10:00:00Z".to_owned() })
        };
        check(serde_json::json!({}), &[], None);
        check(serde_json::json!({"by": "tenant_id", "slice": "acme"}), &["acme"], Some("acme"));
        check(serde_json::json!({"by": "agent_id", "slice": "acme"}), &[], None);
        check(serde_json::json!({"column": "tenant_id", "moved": "acme-eu"}), &["acme-eu"], None);
        check(serde_json::json!({"segment_by": "tenant_id", "segment": "acme"}), &["acme"], None);
        check(serde_json::json!({"changed_then": told_change("acme", "b")}), &["acme"], None);
        check(serde_json::json!({"changed_then": told_change("b", "acme-eu")}), &["acme-eu"], None);
        check(serde_json::json!({"changed_then": "model from acme to 2026 at 2026-05-13T10:00:00Z"}), &[], None);
    }
}
