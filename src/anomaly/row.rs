//! An anomaly in one flat row, and what a run of the job has judged: what is kept, and what SQL shows.

use serde::{Deserialize, Serialize};

use super::finding::MeasureName;

/// What makes slices of tenants.
const TENANT: &str = "tenant_id";

/// What an anomaly is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An hour of a slice's KPI.
    #[default]
    Hour,
    /// A session, or a part of it.
    Session,
    /// A single call.
    Call,
}

impl Subject {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Session => "session",
            Self::Call => "call",
        }
    }
}

/// An hour of a slice that its past does not explain, or a session or a call that the others do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnomalyRow {
    /// Start of the hour, µs since the epoch, UTC; of a session, of the hour of its last call.
    pub window_start_us: i64,
    /// What it is about.
    #[serde(default)]
    pub subject: Subject,
    /// The KPI, or `traffic`; of a session or a call, the named query that finds it.
    pub kpi: String,
    /// The unit of `value` and `expected`.
    pub unit: String,
    /// What makes the slice: `all`, `agent_id`, `tenant_id` or `model`.
    pub slice_by: String,
    /// The slice; none of all calls, and where the calls name none.
    pub slice: Option<String>,
    /// The figure.
    pub value: f64,
    /// What the hours before let expect; of a session or a call, what is usual, or what nine in ten do not exceed.
    pub expected: Option<f64>,
    /// What the figure is made of, counted; of a session or a call, those that say what is usual, or its own calls.
    pub samples: u64,
    /// 0.5 to below 1; none of a session or a call.
    pub score: Option<f64>,
    /// About the probability of one as odd as this where nothing is wrong.
    pub p_value: Option<f64>,
    /// What is most odd about an hour.
    pub measure: Option<MeasureName>,
    /// What makes the part of the slice from which most of the deviation comes, as in `slice_by`.
    pub part_by: Option<String>,
    /// That part.
    pub part: Option<String>,
    /// Its share of the deviation, 0 to 1.
    pub part_share: Option<f64>,
    /// The session that it is, or that it is in.
    #[serde(default)]
    pub session_id: Option<String>,
    /// Calls that show it.
    pub request_ids: Vec<String>,
}

impl AnomalyRow {
    /// The tenant by whose calls alone it was found. What is usual of sessions and calls is of all tenants.
    pub fn tenant(&self) -> Option<&str> {
        let is_own = self.subject == Subject::Hour && self.slice_by == TENANT;
        self.slice.as_deref().filter(|_| is_own)
    }

    /// Whether it is about a tenant, or about a slice whose deviation comes from the tenant.
    pub fn names_tenant(&self, tenant: &str) -> bool {
        let is_of = |by: Option<&str>, name: &Option<String>| by == Some(TENANT) && name.as_deref() == Some(tenant);
        is_of(Some(&self.slice_by), &self.slice) || is_of(self.part_by.as_deref(), &self.part)
    }
}

/// What a run has judged of the slices that one column makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnomalyRun {
    /// Start of the first hour that was judged, µs since the epoch, UTC.
    pub judged_from_us: i64,
    /// End of the last one.
    pub judged_to_us: i64,
    /// What makes the slices: `all`, `agent_id`, `tenant_id` or `model`.
    pub slice_by: String,
    /// KPIs that were judged, and what sessions and calls were looked through for.
    pub kpis: Vec<String>,
    /// Series of which some hour could be judged.
    pub series_judged: u64,
    /// Series of which too little is known.
    pub series_insufficient: u64,
    /// Hours that were judged, of all series.
    pub hours_judged: u64,
    /// Anomalies that were found and kept.
    pub anomalies: u64,
    /// Anomalies that were found and not kept, those with the least scores.
    pub left_out: u64,
    /// KPIs that could not be judged, each with the reason.
    pub not_judged: Vec<String>,
}

impl AnomalyRun {
    /// A run over these hours, µs since the epoch, that has judged nothing yet.
    pub fn new(judged_from_us: i64, judged_to_us: i64, slice_by: &str) -> Self {
        Self {
            judged_from_us,
            judged_to_us,
            slice_by: slice_by.to_owned(),
            kpis: Vec::new(),
            series_judged: 0,
            series_insufficient: 0,
            hours_judged: 0,
            anomalies: 0,
            left_out: 0,
            not_judged: Vec::new(),
        }
    }

    /// Whether the run has judged again what the row says, which is thereby out of date.
    pub fn replaces(&self, row: &AnomalyRow) -> bool {
        (self.judged_from_us..self.judged_to_us).contains(&row.window_start_us)
            && self.slice_by == row.slice_by
            && self.kpis.contains(&row.kpi)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(slice_by: &str, slice: Option<&str>, part_by: Option<&str>, part: Option<&str>) -> AnomalyRow {
        AnomalyRow {
            window_start_us: 1_000,
            subject: Subject::Hour,
            kpi: "cost".to_owned(),
            unit: "USD".to_owned(),
            slice_by: slice_by.to_owned(),
            slice: slice.map(str::to_owned),
            value: 1.5,
            expected: None,
            samples: 7,
            score: Some(0.75),
            p_value: Some(1e-6),
            measure: Some(MeasureName::ResidualWindow),
            part_by: part_by.map(str::to_owned),
            part: part.map(str::to_owned),
            part_share: part.map(|_| 1.0),
            session_id: None,
            request_ids: vec!["a".to_owned()],
        }
    }

    #[test]
    fn a_tenant_is_named_as_a_slice_and_as_a_part() {
        let check = |row: AnomalyRow, expected: bool| {
            assert_eq!(row.names_tenant("acme"), expected, "{row:?}");
            let text = serde_json::to_string(&row).unwrap();
            assert!(text.contains(&format!("\"measure\":\"{}\"", row.measure.unwrap().name())), "{text}");
            assert_eq!(serde_json::from_str::<AnomalyRow>(&text).unwrap(), row);
        };
        check(row("tenant_id", Some("acme"), None, None), true);
        check(row("agent_id", Some("rag"), Some("tenant_id"), Some("acme")), true);
        // An agent of the same name, and another tenant.
        check(row("agent_id", Some("acme"), Some("model"), Some("acme")), false);
        check(row("tenant_id", Some("other"), Some("agent_id"), Some("acme")), false);
        check(row("all", None, None, None), false);
    }

    #[test]
    fn what_was_kept_before_there_were_sessions_is_read() {
        let text = serde_json::to_string(&row("all", None, None, None)).unwrap();
        let before = text.replace("\"subject\":\"hour\",", "").replace("\"session_id\":null,", "");
        assert_ne!(before, text);
        assert_eq!(serde_json::from_str::<AnomalyRow>(&before).unwrap(), row("all", None, None, None));
    }

    #[test]
    fn a_run_replaces_what_it_judged_again() {
        let check = |from_us: i64, to_us: i64, slice_by: &str, kpi: &str, expected: bool| {
            let run = AnomalyRun { kpis: vec![kpi.to_owned()], ..AnomalyRun::new(from_us, to_us, slice_by) };
            assert_eq!(run.replaces(&row("all", None, None, None)), expected, "{run:?}");
        };
        check(1_000, 2_000, "all", "cost", true);
        check(0, 1_000, "all", "cost", false);
        check(1_001, 2_000, "all", "cost", false);
        check(1_000, 2_000, "agent_id", "cost", false);
        check(1_000, 2_000, "all", "traffic", false);
    }
}
