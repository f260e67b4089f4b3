//! Which fields an agent's calls carry, which KPIs that makes, and what is blind for it.
//!
//! A field counts as arriving when one call of the range carries it. `error`, `error_type` and `http_status` are told
//! apart from nothing having failed only by `http_status` on answers that went well: send it always.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Definition, FIELDS, Need, Needs, PANELS, SURFACES, field::CountedAmong};

/// One row of `sql/reports/coverage.sql`: how many of an agent's calls carry each field.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AgentFields {
    /// The agent; null for calls that name none.
    pub agent: Option<String>,
    /// All of its calls.
    pub calls: u64,
    /// The entries of their `tool_calls`.
    pub tool_entries: u64,
    /// By the field's name.
    #[serde(flatten)]
    counts: Map<String, Value>,
}

/// What arrives of every agent.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Coverage {
    /// Start of the range, UTC.
    pub from: String,
    /// Its end, exclusive.
    pub to: String,
    /// Each agent with a call in the range.
    pub agents: Vec<AgentCoverage>,
}

/// What arrives of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AgentCoverage {
    /// The agent; null for calls that name none.
    pub agent_id: Option<String>,
    /// Its calls.
    pub calls: u64,
    /// Every field.
    pub fields: Vec<FieldCoverage>,
    /// KPIs that it has.
    pub measured: Vec<String>,
    /// KPIs that it does not have.
    pub not_measured: Vec<Lacking>,
    /// What watches and cannot see it.
    pub blind: Vec<Blind>,
}

/// How much of a field arrives.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldCoverage {
    /// Its name.
    pub field: &'static str,
    /// How many carry it.
    pub carried: u64,
    /// Of so many: calls, or entries of their `tool_calls`.
    pub of: u64,
    /// The share; null of nothing.
    pub share: Option<f64>,
}

/// A KPI and what it lacks.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Lacking {
    /// Its name.
    pub kpi: String,
    /// Fields that do not arrive; `a|b` is one of them.
    pub lacks: Vec<String>,
    /// What to add.
    pub add: Vec<String>,
}

/// Something that watches, and what it would have to see.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Blind {
    /// `prometheus_alert`, `dashboard`, `kpi_alert` or `score_card`.
    pub kind: &'static str,
    /// The alert, the dashboard and its panel, or the KPI.
    pub name: String,
    /// Fields that do not arrive.
    pub lacks: Vec<String>,
}

impl AgentFields {
    /// Notes a field that the settings tell of, and not the calls.
    pub fn tell(&mut self, field: &str, carried: u64) {
        self.counts.insert(field.to_owned(), Value::from(carried));
    }

    /// How many carry the field.
    pub fn carried(&self, field: &str) -> u64 {
        self.counts.get(field).and_then(Value::as_u64).unwrap_or(0)
    }

    /// All agents together.
    pub fn sum(rows: &[Self]) -> Self {
        let total = |of: &dyn Fn(&Self) -> u64| rows.iter().map(of).sum::<u64>();
        let counts = FIELDS.iter().map(|field| {
            let carried = total(&|row| row.carried(field.name));
            (field.name.to_owned(), Value::from(carried))
        });
        Self {
            agent: None,
            calls: total(&|row| row.calls),
            tool_entries: total(&|row| row.tool_entries),
            counts: counts.collect(),
        }
    }

    /// What a KPI needs and none of these calls carries.
    pub fn lacking<'a>(&self, definition: &'a Definition) -> Vec<&'a Need> {
        let is_lacking = |need: &&Need| need.0.iter().all(|field| self.carried(field.name) == 0);
        definition.needs.iter().filter(is_lacking).collect()
    }
}

impl AgentCoverage {
    /// The coverage of one agent.
    pub fn new<'a>(row: AgentFields, kpis: impl IntoIterator<Item = &'a Definition>) -> Self {
        let fields = FIELDS.iter().map(|field| {
            let of = match field.of {
                CountedAmong::Calls => row.calls,
                CountedAmong::ToolCalls => row.tool_entries,
            };
            let carried = row.carried(field.name);
            let share = (of > 0).then(|| carried as f64 / of as f64);
            FieldCoverage { field: field.name, carried, of, share }
        });
        let fields = fields.collect();
        let (mut measured, mut not_measured, mut blind) = (Vec::new(), Vec::new(), surfaces(&row));
        for kpi in kpis {
            let lacking = row.lacking(kpi);
            if lacking.is_empty() {
                measured.push(kpi.name.clone());
                continue;
            }
            let lacks: Vec<String> = lacking.iter().map(|need| need.text()).collect();
            let watches = [("kpi_alert", kpi.alert.is_some()), ("score_card", kpi.tiers.is_some())];
            for (kind, _) in watches.into_iter().filter(|(_, watches)| *watches) {
                blind.push(Blind { kind, name: kpi.name.clone(), lacks: lacks.clone() });
            }
            let add = lacking.iter().map(|need| need.advice()).collect();
            not_measured.push(Lacking { kpi: kpi.name.clone(), lacks, add });
        }
        Self { agent_id: row.agent, calls: row.calls, fields, measured, not_measured, blind }
    }
}

fn surfaces(row: &AgentFields) -> Vec<Blind> {
    let lacks = |needs: Needs| -> Vec<String> {
        let lacking = needs.iter().filter(|fields| fields.iter().all(|field| row.carried(field) == 0));
        lacking.map(|fields| fields.join("|")).collect()
    };
    let blind = |kind, name: &str, needs| Blind { kind, name: name.to_owned(), lacks: lacks(needs) };
    let alerts = SURFACES.iter().map(|surface| blind("prometheus_alert", surface.name, surface.needs));
    let panels =
        PANELS.iter().flat_map(|panels| panels.names.iter().map(|name| blind("dashboard", name, panels.needs)));
    alerts.chain(panels).filter(|blind| !blind.lacks.is_empty()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kpi::{Field, definition::tests::definition};

    fn row(text: &str) -> AgentFields {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_kpi_is_measured_where_each_need_has_a_field_that_arrives() {
        let kpi = definition(
            "-- group: cost\n-- unit: USD\n-- alert: > 1\n-- tiers: < 3, < 2, < 1\n-- needs: cost error|http_status",
        );
        let check = |counts: &str, lacks: &[&str]| {
            let row = row(&format!(r#"{{"agent":"a","calls":10,"tool_entries":0{counts}}}"#));
            let found: Vec<String> = row.lacking(&kpi).iter().map(|need| need.text()).collect();
            assert_eq!(found, lacks, "{counts}");
        };
        check(r#","cost":1,"http_status":2"#, &[]);
        check(r#","cost":1,"error":1,"http_status":0"#, &[]);
        check(r#","cost":0,"error":1"#, &["cost"]);
        check("", &["cost", "error|http_status"]);
    }

    #[test]
    fn what_watches_is_told_where_it_is_blind() {
        let kpi = definition("-- group: cost\n-- unit: USD\n-- alert: > 1\n-- tiers: < 3, < 2, < 1\n-- needs: cost");
        let row = row(r#"{"agent":"a","calls":4,"tool_entries":3,"latency_ms":4,"tool_status":1}"#);
        let coverage = AgentCoverage::new(row, [&kpi]);
        assert!(coverage.measured.is_empty());
        assert_eq!(coverage.not_measured[0].add, ["cost_usd"]);
        let blind: Vec<(&str, &str)> = coverage.blind.iter().map(|blind| (blind.kind, blind.name.as_str())).collect();
        assert!(blind.contains(&("prometheus_alert", "LlmCostSpike")) && blind.contains(&("kpi_alert", "k")));
        assert!(blind.contains(&("dashboard", "Overview: Cost")) && !blind.contains(&("dashboard", "Overview: Calls")));
        assert!(!blind.contains(&("dashboard", "Agent Health: Latency")));
        assert!(blind.contains(&("score_card", "k")) && !blind.contains(&("prometheus_alert", "LlmLatencyHigh")));
        let share = |name: &str| coverage.fields.iter().find(|field| field.field == name).unwrap().share;
        assert_eq!((share("latency_ms"), share("tool_status")), (Some(1.0), Some(1.0 / 3.0)));
    }

    #[test]
    fn agents_add_up() {
        let rows = [
            row(r#"{"agent":"a","calls":4,"tool_entries":1,"cost":2}"#),
            row(r#"{"agent":null,"calls":1,"tool_entries":0,"cost":1}"#),
        ];
        let sum = AgentFields::sum(&rows);
        assert_eq!((sum.calls, sum.tool_entries, sum.carried("cost"), sum.carried("error")), (5, 1, 3, 0));
    }

    /// Every alert on agents and tenants that the rules have, and no other; all of known fields.
    #[test]
    fn surfaces_are_the_alerts_of_the_rules() {
        let rules = include_str!("../../dashboards/prometheus/rules.yml");
        let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        let mut alerts: Vec<&str> = alerts.filter(|alert| alert.starts_with("Llm")).collect();
        let mut known: Vec<&str> = SURFACES.iter().map(|surface| surface.name).collect();
        alerts.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, alerts);
        let needs = SURFACES.iter().map(|surface| surface.needs).chain(PANELS.iter().map(|panels| panels.needs));
        assert!(needs.flatten().copied().flatten().all(|name| Field::of(name).is_some()));
    }
}
