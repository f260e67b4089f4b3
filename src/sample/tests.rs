//! The promises of the whole generator, checked on its calls and its bytes.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::call::{Call, Failure, Guardrail};
use super::rhythm::{DAY_US, HOUR_US};
use super::tokens::{CHAT, CODE};
use super::{IncidentKind, Plan, Traffic};

/// 2026-05-11, a Monday.
const START_US: i64 = 1_778_457_600_000_000;

fn plan(seed: u64, days: f64, calls_per_day: f64) -> Plan {
    Plan { seed, start_us: START_US, days, calls_per_day, incidents: vec![] }
}

fn lines(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    Traffic::new(plan).for_each(|call| call.write_json(&mut out));
    out
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

#[test]
fn bytes_depend_on_the_plan_alone() {
    let bytes = lines(&plan(1, 0.5, 2000.0));
    assert_eq!(bytes, lines(&plan(1, 0.5, 2000.0)));
    assert_ne!(bytes, lines(&plan(2, 0.5, 2000.0)));
}

/// The bytes of one plan, pinned: a change here means that every recorded expectation about
/// generated data changes too.
#[test]
fn bytes_are_the_same_everywhere() {
    let hash = lines(&plan(42, 1.0, 1500.0).with_default_windows(&IncidentKind::ALL))
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    assert_eq!(format!("{hash:016x}"), "4aa2bfebc40ebcf7");
}

#[test]
fn calls_come_in_time_order_within_the_plan() {
    let plan = plan(3, 1.0, 8000.0).with_default_windows(&IncidentKind::ALL);
    let times: Vec<i64> = Traffic::new(&plan).map(|call| call.timestamp_us()).collect();
    assert!(times.is_sorted());
    assert!(times[0] >= START_US && times[times.len() - 1] < START_US + DAY_US);
}

#[test]
fn plans_that_mean_nothing_give_nothing() {
    let broken = f64::NAN;
    for (days, calls_per_day) in [(0.0, 1e3), (-1.0, 1e3), (broken, 1e3), (1.0, 0.0), (1.0, broken)] {
        assert_eq!(Traffic::new(&plan(1, days, calls_per_day)).count(), 0, "{days} {calls_per_day}");
    }
    let late = Plan { start_us: i64::MAX, ..plan(1, f64::INFINITY, 1e3) };
    assert_eq!(Traffic::new(&late).count(), 0);
    let early = Plan { start_us: i64::MIN, ..plan(1, f64::INFINITY, 1e3) };
    assert_eq!(Traffic::new(&early).take(10).count(), 10);
}

#[test]
fn lines_are_standard_records() {
    let keys = "timestamp level service version environment request_id session_id correlation_id \
        trace_id span_id agent_id tenant_id user_id provider model model_version operation \
        task_type prompt_version prompt_tokens completion_tokens total_tokens cost_usd latency_ms \
        ttft_ms queue_wait_ms guardrail_status guardrail_checks tool_calls rag_context \
        quality_scores finish_reason error error_type retry_count";
    let sometimes = "parent_span_id experiment_id variant cache_read_tokens reasoning_tokens \
        guardrail_reason user_satisfaction task_completed escalated http_status";
    let bytes = lines(&plan(4, 0.5, 6000.0).with_default_windows(&IncidentKind::ALL));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_ascii() && text.ends_with("}\n"));
    let mut seen = HashSet::new();
    for line in text.lines() {
        let record: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        for key in keys.split_whitespace() {
            assert!(record.contains_key(key), "{key} is missing in {line}");
        }
        let total = record["prompt_tokens"].as_u64().unwrap() + record["completion_tokens"].as_u64().unwrap();
        assert_eq!(record["total_tokens"], total, "{line}");
        assert_eq!(record["error"].is_null(), record["level"] != "ERROR", "{line}");
        chrono::DateTime::parse_from_rfc3339(record["timestamp"].as_str().unwrap()).unwrap();
        seen.extend(record.keys().cloned());
    }
    let known: HashSet<_> = keys.split_whitespace().chain(sometimes.split_whitespace()).collect();
    let seen: HashSet<_> = seen.iter().map(String::as_str).collect();
    assert_eq!(seen, known);
    let size = text.len() as f64 / text.lines().count() as f64;
    assert!((900.0..1300.0).contains(&size), "{size} bytes per record");
}

#[test]
fn whole_weeks_have_the_volume_asked_for_and_the_rhythm() {
    let calls_per_day = 6000.0;
    let mut by_hour = [0.0; 168];
    for call in Traffic::new(&plan(5, 7.0, calls_per_day)) {
        by_hour[((call.timestamp_us() - START_US) / HOUR_US) as usize] += 1.0;
    }
    let total: f64 = by_hour.iter().sum();
    assert!((total / (7.0 * calls_per_day) - 1.0).abs() < 0.05, "{total} calls");
    let (work, weekend) = by_hour.split_at(120);
    assert!(mean(work.iter().copied()) > 2.0 * mean(weekend.iter().copied()));
    let at = |hour: usize| mean((0..5).map(|day| work[day * 24 + hour]));
    assert!(at(10) > 3.0 * at(3));
}

#[test]
fn quiet_traffic_is_as_described() {
    let calls: Vec<Call> = Traffic::new(&plan(6, 1.0, 20_000.0)).collect();
    let share = |holds: &dyn Fn(&Call) -> bool| mean(calls.iter().map(|call| f64::from(holds(call))));
    let check = |name: &str, value: f64, low: f64, high: f64| {
        assert!((low..high).contains(&value), "{name}: {value}");
    };
    check("failed", share(&|call| call.failure.is_some()), 0.004, 0.008);
    check("passed", share(&|call| call.guardrail == Guardrail::Passed), 0.975, 0.985);
    check("blocked", share(&|call| matches!(call.guardrail, Guardrail::Blocked(_))), 0.012, 0.018);
    check("retried", share(&|call| call.retry_count > 0), 0.002, 0.01);
    check("delegated", share(&|call| call.ids.parent_span.is_some()), 0.05, 0.2);
    check("rated", share(&|call| call.user_satisfaction.is_some()), 0.06, 0.09);
    check("largest tenant", share(&|call| call.tenant.id == "tenant-healthcare-001"), 0.36, 0.46);
    check("production", share(&|call| call.environment == "production"), 0.9, 0.96);

    let distinct = |key: fn(&Call) -> u64| calls.iter().map(key).collect::<HashSet<_>>().len();
    assert_eq!(distinct(|call| call.ids.request), calls.len());
    assert_eq!(distinct(|call| call.ids.span), calls.len());
    check("people", distinct(|call| call.ids.user) as f64, 1000.0, 4000.0);
    check("sessions", distinct(|call| call.ids.session) as f64, 3000.0, 6500.0);

    // A child names a span of its own trace.
    let spans: HashMap<u64, [u64; 2]> = calls.iter().map(|call| (call.ids.span, call.ids.trace)).collect();
    for call in &calls {
        if let Some(trace) = call.ids.parent_span.and_then(|parent| spans.get(&parent)) {
            assert_eq!(*trace, call.ids.trace);
        }
    }
}

#[test]
fn tokens_follow_the_tables() {
    let calls: Vec<Call> = Traffic::new(&plan(7, 2.0, 20_000.0)).collect();
    let check = |agent: &str, table: &[u32; 37], tokens: fn(&Call) -> u32| {
        let answered = |call: &&Call| call.failure.is_none() && !matches!(call.guardrail, Guardrail::Blocked(_));
        let used = calls.iter().filter(answered).filter(|call| call.agent.id == agent);
        let mut used: Vec<u32> = used.map(tokens).collect();
        used.sort_unstable();
        // The share of calls below the quantile at a normal score: Φ(−1.6), …, Φ(1.6).
        let probabilities = [(10, 0.0548), (14, 0.2119), (18, 0.5), (22, 0.7881), (26, 0.9452)];
        for (entry, probability) in probabilities {
            let quantile = table[entry];
            let below = used.partition_point(|tokens| *tokens < quantile) as f64;
            let up_to = used.partition_point(|tokens| *tokens <= quantile) as f64;
            let count = used.len() as f64;
            let tolerance = 0.03;
            assert!(
                below / count - tolerance < probability && probability < up_to / count + tolerance,
                "{agent}: {quantile} has {below} to {up_to} of {count} below, not {probability}"
            );
        }
    };
    check("code_assistant", &CODE.prompt, |call| call.prompt_tokens);
    check("code_assistant", &CODE.completion, |call| call.completion_tokens);
    check("support_triage", &CHAT.prompt, |call| call.prompt_tokens);
    check("support_triage", &CHAT.completion, |call| call.completion_tokens);
}

#[test]
fn prices_times_tokens_are_the_cost() {
    let mut checked = 0;
    for call in Traffic::new(&plan(8, 0.2, 5000.0)) {
        if call.model.name == "gpt-4o" {
            let fresh = f64::from(call.prompt_tokens - call.cached_tokens);
            let cost =
                2.5e-6 * fresh + 1.25e-6 * f64::from(call.cached_tokens) + 10e-6 * f64::from(call.completion_tokens);
            assert!((call.cost_e8() as f64 * 1e-8 - cost).abs() < 1e-8);
            checked += 1;
        }
    }
    assert!(checked > 50);
}

/// The same hours with and without the incidents: each must show in its measure, and nowhere else.
#[test]
fn incidents_show_in_their_windows_and_only_there() {
    let quiet_plan = plan(9, 1.0, 20_000.0);
    let plan = quiet_plan.clone().with_default_windows(&IncidentKind::ALL);
    let quiet: Vec<Call> = Traffic::new(&quiet_plan).collect();
    let hit: Vec<Call> = Traffic::new(&plan).collect();
    for incident in &plan.incidents {
        let kind = incident.kind;
        let measured = |calls: &[Call], inside: bool| {
            let in_window =
                |call: &&Call| (incident.start_us..incident.end_us).contains(&call.timestamp_us()) == inside;
            measure(kind, calls.iter().filter(in_window).filter(|call| call.agent.id == kind.agent_id()))
        };
        let (inside, quiet_inside) = (measured(&hit, true), measured(&quiet, true));
        let (outside, quiet_outside) = (measured(&hit, false), measured(&quiet, false));
        let (factor, floor) = match kind {
            IncidentKind::RetryLoop => (5.0, 0.0),
            IncidentKind::ModelReplaced => (1.4, 0.0),
            IncidentKind::HallucinationRise => (3.0, 0.0),
            IncidentKind::LatencyDegradation => (3.0, 0.0),
            IncidentKind::GuardrailSurge => (5.0, 0.25),
            IncidentKind::ContextOverflow => (5.0, 0.10),
        };
        assert!(inside > factor * quiet_inside && inside > floor, "{kind}: {inside}, {quiet_inside}");
        assert!((outside / quiet_outside - 1.0).abs() < 0.2, "{kind}: {outside}, {quiet_outside}");
    }

    // Sessions that no incident hits stay as they were, to the byte.
    let untouched = |calls: &[Call]| {
        let mut lines = Vec::new();
        let of_summarizer = calls.iter().filter(|call| call.agent.id == "summarizer");
        let own = of_summarizer.filter(|call| call.ids.parent_span.is_none());
        own.for_each(|call| call.write_json(&mut lines));
        lines
    };
    assert!(untouched(&quiet) == untouched(&hit));
}

fn measure<'a>(kind: IncidentKind, calls: impl Iterator<Item = &'a Call>) -> f64 {
    let flag = |holds: bool| f64::from(holds);
    match kind {
        IncidentKind::RetryLoop => calls.map(|call| call.cost_e8() as f64).sum(),
        IncidentKind::ModelReplaced => mean(calls.map(|call| f64::from(call.completion_tokens))),
        IncidentKind::HallucinationRise => {
            mean(calls.filter_map(|call| call.quality).map(|quality| quality.hallucination.value()))
        }
        IncidentKind::LatencyDegradation => mean(calls.map(|call| f64::from(call.timing.latency_ms))),
        IncidentKind::GuardrailSurge => mean(calls.map(|call| flag(matches!(call.guardrail, Guardrail::Blocked(_))))),
        IncidentKind::ContextOverflow => {
            mean(calls.map(|call| flag(matches!(call.failure, Some(Failure::ContextLength { .. })))))
        }
    }
}
