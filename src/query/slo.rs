//! Objectives as questions: what each hour and minute of their windows counted. What that says is judged by `slo`.

use serde::Deserialize;

use super::{Engine, LibraryKind, moment::text_of};
use crate::{
    access::Scope,
    config::{SloConfig, SloIndicator},
    error::{Context, Result},
    metrics::Family,
    sketch::Buckets,
    slo::{Answer, Answers, Counts, Severity, Slot, Span, State},
};

/// The families of objectives, and what their values are.
pub(super) const FAMILIES: [(&str, &str); 4] = [
    ("llm_slo_target_ratio", "Share of the calls that are to be good."),
    (
        "llm_slo_error_budget_left_ratio",
        "Share of what is allowed to go wrong that is left; below 0 where the objective is missed.",
    ),
    ("llm_slo_burn_rate", "How fast what is allowed is used; 1 uses it up in just the objective's window."),
    ("llm_slo_is_burning", "1 where both windows of a pair are above its threshold and that is no chance."),
];

#[derive(Deserialize)]
struct SlotRow {
    start_us: i64,
    /// All calls, where some are no samples and that is told.
    calls: Option<u64>,
    samples: u64,
    bad: f64,
}

impl Engine {
    /// The objectives as they stand. A caller that is bound to tenants sees those of its own.
    ///
    /// # Errors
    ///
    /// Those of the statements that count.
    pub async fn objectives(&self) -> Result<Answers> {
        let now_us = self.now_us();
        let mut answers = Vec::new();
        for objective in self.objective_settings().iter().filter(|objective| is_seen(objective, self.scope())) {
            let answer = self.objective(objective, now_us).await;
            answers.push(answer.context(format!("the objective {}", objective.name))?);
        }
        Ok(Answers::new(now_us, answers))
    }

    async fn objective(&self, objective: &SloConfig, now_us: i64) -> Result<Answer> {
        let spans = Span::of(objective.window_days, now_us);
        let hours = self.slots(objective, "hour", spans[0]).await?;
        let minutes = self.slots(objective, "minute", spans[1]).await?;
        Ok(Answer::new(objective, &Counts::new([hours, minutes], spans)))
    }

    /// What each hour or minute of a span counted; those that counted nothing are left out.
    pub(super) async fn slots(&self, objective: &SloConfig, grain: &'static str, span: Span) -> Result<Vec<Slot>> {
        let (name, mut arguments) = question(&objective.indicator);
        arguments.extend([("grain", grain.to_owned()), ("from", text_of(span.from_us)?), ("to", text_of(span.to_us)?)]);
        let filters =
            [("tenant_id", &objective.tenant_id), ("agent_id", &objective.agent_id), ("model", &objective.model)];
        arguments.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        let arguments = arguments.iter().map(|(name, value)| (*name, value.as_str()));
        let rows: Vec<SlotRow> = self.named(LibraryKind::Reports, name, arguments).await?.collect_as().await?;
        let slots = rows.into_iter().map(|SlotRow { start_us, calls, samples, bad }| {
            let unknown = calls.map_or(0, |calls| calls.saturating_sub(samples));
            Slot { start_us, samples, unknown, bad }
        });
        Ok(slots.filter(|slot| slot.samples + slot.unknown > 0).collect())
    }

    /// The gauges of the objectives.
    pub(super) async fn objective_families(&self) -> Result<Vec<Family>> {
        if self.objective_settings().is_empty() {
            return Ok(Vec::new());
        }
        Ok(families(&self.objectives().await?.objectives))
    }
}

/// The file that counts, and what it is asked beside range and filters.
fn question(indicator: &SloIndicator) -> (&'static str, Vec<(&'static str, String)>) {
    match indicator {
        SloIndicator::Errors { .. } => ("slo_errors", Vec::new()),
        SloIndicator::Cost { .. } => ("slo_cost", Vec::new()),
        SloIndicator::Latency { threshold_ms, .. } => {
            // At a boundary of the rollups' histograms these are exact; for any other, calls are read.
            let is_boundary = Buckets::LatencyMs.bounds().contains(threshold_ms);
            let name = if is_boundary { "slo_latency_bucket" } else { "slo_latency" };
            (name, vec![("threshold_ms", threshold_ms.to_string())])
        }
        SloIndicator::Quality { score, bound, .. } => {
            ("slo_quality", vec![("score", score.name().to_owned()), ("bound", bound.to_string())])
        }
    }
}

/// Whether a scope may see an objective: what it says of all calls is nothing for one tenant.
pub(super) fn is_seen(objective: &SloConfig, scope: &Scope) -> bool {
    objective.tenant_id.as_ref().map_or(scope.tenants().is_none(), |tenant| scope.sees(tenant))
}

fn families(answers: &[Answer]) -> Vec<Family> {
    let [mut target, mut left, mut rates, mut burning] = FAMILIES.map(|(name, help)| Family::gauge(name, help));
    for answer in answers {
        let objective = &answer.objective;
        let labels = |others: &[(&str, &str)]| -> Vec<(String, String)> {
            let own =
                [("slo", objective.name.as_str()), ("tenant_id", objective.tenant_id.as_deref().unwrap_or_default())];
            own.iter().chain(others).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        if let Some(share) = objective.target {
            target = target.with_labels(labels(&[]), share);
        }
        // What is left of a budget that nothing can be said of would look like a good figure.
        if let Some(budget) = answer.budget.filter(|_| answer.state != State::Insufficient) {
            left = left.with_labels(labels(&[]), budget.left);
        }
        let mut windows: Vec<_> = answer.burn_rates.iter().flat_map(|pair| [&pair.short, &pair.long]).collect();
        // One window is the short one of a pair and the long one of another.
        windows.sort_by(|one, other| one.name.cmp(&other.name));
        windows.dedup_by(|one, other| one.name == other.name);
        for (window, rate) in windows.into_iter().filter_map(|window| Some((window, window.burn_rate?))) {
            rates = rates.with_labels(labels(&[("window", &window.name)]), rate);
        }
        for pair in &answer.burn_rates {
            let severity = if pair.severity == Severity::Page { "page" } else { "ticket" };
            let pair_labels = labels(&[("severity", severity), ("window", &pair.long.name)]);
            burning = burning.with_labels(pair_labels, f64::from(u8::from(pair.is_burning)));
        }
    }
    vec![target, left, rates, burning]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::access::Tenants;

    #[test]
    fn callers_see_the_objectives_of_their_own() {
        let scope = Scope::Tenants(Tenants::new(["a".to_owned()]).unwrap());
        let check = |tenant_id: Option<&str>, expected: [bool; 2]| {
            let objective = SloConfig {
                name: "slo".to_owned(),
                indicator: SloIndicator::Errors { target: 0.99 },
                window_days: 30,
                tenant_id: tenant_id.map(str::to_owned),
                agent_id: None,
                model: None,
            };
            assert_eq!(
                [is_seen(&objective, &Scope::Everybody), is_seen(&objective, &scope)],
                expected,
                "{tenant_id:?}"
            );
        };
        check(None, [true, false]);
        check(Some("a"), [true, true]);
        check(Some("b"), [true, false]);
    }

    #[test]
    fn boundaries_of_rollups_are_asked_of_rollups() {
        let file = |threshold_ms: f64| question(&SloIndicator::Latency { threshold_ms, target: 0.9 }).0;
        assert_eq!((file(5_000.0), file(2_500.0)), ("slo_latency_bucket", "slo_latency"));
    }
}
