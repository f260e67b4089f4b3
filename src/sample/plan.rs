//! What to generate: a seed, a span of time, a volume, and the incidents in it.
//!
//! A plan is a value. It never looks at a clock; the caller says when it starts.

use super::incident::{Incident, IncidentKind};
use super::line::Line;
use super::rhythm::{DAY_US, HOUR_US, Rhythm};

/// 1900-01-01 and 9999-12-31, between which plans must lie.
const START_MIN_US: i64 = -2_208_988_800_000_000;
const END_MAX_US: i64 = 253_402_214_400_000_000;

const CALLS_PER_DAY_MAX: f64 = 1e10;
const WINDOW_MAX_US: i64 = 6 * HOUR_US;

/// What to generate. Equal plans give equal bytes, on every machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Chooses one of the possible courses of events.
    pub seed: u64,
    /// The first moment, µs since the epoch, UTC; taken as within the years 1900 to 9999.
    pub start_us: i64,
    /// How long it lasts.
    pub days: f64,
    /// The mean number of calls per day over whole weeks without incidents; single days follow the
    /// weekly rhythm. Taken as at most 10¹⁰.
    pub calls_per_day: f64,
    /// What goes wrong, and when.
    pub incidents: Vec<Incident>,
}

impl Plan {
    /// Adds one incident of each kind, spread over the last third of the plan.
    ///
    /// The third is divided evenly, so that windows don't overlap. A window is at most six hours
    /// and at most 0.7 of its part, at the busiest place there; a replaced model stays to the end.
    #[must_use]
    pub fn with_default_windows(mut self, kinds: &[IncidentKind]) -> Self {
        let (start_us, end_us) = self.range_us();
        let third_us = (end_us - start_us) / 3;
        let part_us = third_us / kinds.len().max(1) as i64;
        let rhythm = Rhythm::new();
        for (index, &kind) in kinds.iter().enumerate() {
            let part_start_us = end_us - third_us + index as i64 * part_us;
            let window = busiest_window(&rhythm, part_start_us, part_us);
            let end_us = if kind == IncidentKind::ModelReplaced { end_us } else { window.1 };
            self.incidents.push(Incident { kind, start_us: window.0, end_us });
        }
        self
    }

    /// The incidents as a JSON array of objects with the keys `kind`, `agent_id`, `from` and `to`
    /// (RFC 3339), `what` (one sentence) and `query` (a SQL aggregate over `agent_logs` that shows
    /// it when the agent's window is compared with its other hours).
    pub fn labels_json(&self) -> String {
        let mut out = Vec::new();
        let mut line = Line(&mut out);
        line.text("[");
        for (index, incident) in self.incidents.iter().enumerate() {
            line.text(if index == 0 { "\n" } else { ",\n" });
            write_label(&mut line, incident);
        }
        line.text(if self.incidents.is_empty() { "]\n" } else { "\n]\n" });
        // Only ASCII was written.
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The first moment and the first moment after the plan, µs since the epoch.
    pub(super) fn range_us(&self) -> (i64, i64) {
        let start_us = self.start_us.clamp(START_MIN_US, END_MAX_US);
        // The cast saturates and takes NaN for 0.
        let length_us = (self.days.max(0.0) * DAY_US as f64) as i64;
        (start_us, start_us.saturating_add(length_us).min(END_MAX_US))
    }

    /// The volume without what can't be meant.
    pub(super) fn calls_per_day_clamped(&self) -> f64 {
        self.calls_per_day.clamp(0.0, CALLS_PER_DAY_MAX)
    }
}

/// The window inside a part of the plan in which most happens.
fn busiest_window(rhythm: &Rhythm, part_start_us: i64, part_us: i64) -> (i64, i64) {
    const PLACES: i64 = 24;
    let length_us = WINDOW_MAX_US.min(part_us / 10 * 7);
    let slack_us = part_us - length_us;
    let activity = |start_us: i64| -> f64 { (0..=6).map(|sixth| rhythm.at(start_us + length_us / 6 * sixth)).sum() };
    let places = (0..=PLACES).map(|place| part_start_us + slack_us / PLACES * place);
    let start_us = places.max_by(|a, b| activity(*a).total_cmp(&activity(*b)));
    let start_us = start_us.unwrap_or(part_start_us);
    (start_us, start_us + length_us)
}

fn write_label(line: &mut Line<'_>, incident: &Incident) {
    line.text(r#"  {"kind":""#);
    line.text(incident.kind.name());
    line.text(r#"","agent_id":""#);
    line.text(incident.kind.agent_id());
    line.text(r#"","from":""#);
    line.timestamp(incident.start_us);
    line.text(r#"","to":""#);
    line.timestamp(incident.end_us);
    line.text(r#"","what":""#);
    line.text(incident.kind.what());
    line.text(r#"","query":""#);
    line.text(incident.kind.query());
    line.text(r#""}"#);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const START_US: i64 = 1_778_716_800_000_000;

    fn plan(days: f64, kinds: &[IncidentKind]) -> Plan {
        Plan { seed: 1, start_us: START_US, days, calls_per_day: 1000.0, incidents: vec![] }.with_default_windows(kinds)
    }

    #[test]
    fn default_windows_lie_apart_in_the_last_third() {
        for days in [0.01, 0.5, 2.0, 14.0, 90.0] {
            let plan = plan(days, &IncidentKind::ALL);
            let (start_us, end_us) = plan.range_us();
            let mut free_from_us = start_us + (end_us - start_us) / 3 * 2;
            for (incident, kind) in plan.incidents.iter().zip(IncidentKind::ALL) {
                assert_eq!(incident.kind, kind);
                assert!(incident.start_us >= free_from_us, "{days} {incident:?}");
                assert!(incident.end_us > incident.start_us && incident.end_us <= end_us);
                if kind == IncidentKind::ModelReplaced {
                    assert_eq!(incident.end_us, end_us);
                } else {
                    free_from_us = incident.end_us;
                    assert!(incident.end_us - incident.start_us <= WINDOW_MAX_US);
                }
            }
        }
    }

    #[test]
    fn long_plans_have_windows_in_working_hours() {
        let rhythm = Rhythm::new();
        let plan = plan(28.0, &IncidentKind::ALL);
        let busy = plan.incidents.iter().filter(|incident| rhythm.at(incident.start_us) > 0.6);
        assert!(busy.count() >= 5, "{:?}", plan.incidents);
    }

    #[test]
    fn labels_are_json_with_one_object_per_incident() {
        let kinds = [IncidentKind::RetryLoop, IncidentKind::GuardrailSurge];
        let plan = plan(9.0, &kinds);
        let labels: serde_json::Value = serde_json::from_str(&plan.labels_json()).unwrap();
        let labels = labels.as_array().unwrap();
        assert_eq!(labels.len(), 2);
        for (label, incident) in labels.iter().zip(&plan.incidents) {
            let text = |key: &str| label[key].as_str().unwrap().to_owned();
            assert_eq!(text("kind").parse(), Ok(incident.kind));
            assert_eq!(text("agent_id"), incident.kind.agent_id());
            let time = |key| chrono::DateTime::parse_from_rfc3339(&text(key)).unwrap();
            assert_eq!(time("from").timestamp_micros(), incident.start_us);
            assert_eq!(time("to").timestamp_micros(), incident.end_us);
            assert!(text("what").ends_with('.') && !text("query").is_empty());
        }
        assert_eq!(Plan { incidents: vec![], ..plan }.labels_json(), "[]\n");
    }
}
