//! Circuit breakers: the state of the newest record.

use super::*;

#[test]
fn a_breaker_is_as_its_newest_record_says() {
    let at = |agent: &str, state: &str, minute: i64| json!({"agent_id": agent, "circuit_breaker_state": state, "timestamp": NOW_US - minute * MINUTE_US});
    check(
        &[
            at("open", "closed", 3),
            at("open", "OPEN", 1),
            at("open", "half_open", 2),
            at("open", "ajar", 0),
            at("tie", "open", 1),
            at("tie", "half-open", 1),
            at("closed", "closed", 60),
        ],
        r#"
llm_circuit_breaker_state{agent_id="closed"} 0
llm_circuit_breaker_state{agent_id="open"} 2
llm_circuit_breaker_state{agent_id="tie"} 1
"#,
    );
}

#[test]
fn a_breaker_without_records_has_no_state() {
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&[json!({"agent_id": "a", "circuit_breaker_state": "open"})]));
    let series = |now_us: i64| {
        let text = encode(&live.families(now_us), Format::Text004);
        text.lines().filter(|line| line.starts_with("llm_circuit_breaker_state{")).count()
    };
    assert_eq!((series(NOW_US + 60 * MINUTE_US), series(NOW_US + 60 * MINUTE_US + 1)), (1, 0));
}

#[test]
fn breakers_past_the_limit_have_no_state() {
    let row = |agent: &str| json!({"agent_id": agent, "circuit_breaker_state": "open"});
    check_limited(
        Limits { label_sets_max: 1, ..Limits::default() },
        &["a", "b", "a", "c"].map(row),
        r#"
driftline_metrics_label_overflow_total{family="llm_circuit_breaker_state"} 2
llm_circuit_breaker_state{agent_id="a"} 2
"#,
    );
}

#[test]
fn a_breaker_outlives_a_restart() {
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&[json!({"agent_id": "a", "circuit_breaker_state": "open"})]));
    let saved = serde_json::to_value(live.totals()).unwrap();
    assert_eq!(
        saved["families"][11]["series"],
        json!([{"labels": ["a"], "value": {"latest": {"state": 2, "at_us": NOW_US}}}])
    );
    let mut live = LiveMetrics::restore(Limits::default(), serde_json::from_value(saved.clone()).unwrap()).unwrap();
    assert_eq!(samples(&live).trim(), r#"llm_circuit_breaker_state{agent_id="a"} 2"#);
    let older = json!({"agent_id": "a", "circuit_breaker_state": "closed", "timestamp": NOW_US - 1});
    live.observe(&batch(&[older]));
    assert_eq!(samples(&live).trim(), r#"llm_circuit_breaker_state{agent_id="a"} 2"#);
    let mut spoiled = saved;
    spoiled["families"][11]["series"][0]["value"]["latest"]["state"] = json!(3);
    let reason = LiveMetrics::restore(Limits::default(), serde_json::from_value(spoiled).unwrap()).unwrap_err();
    assert!(reason.contains("not a state"), "{reason}");
}
