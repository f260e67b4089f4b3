//! Totals that are saved and restored.

use super::*;

#[test]
fn totals_of_an_earlier_release_are_restored() {
    let row = json!({"agent_id": "a", "cost_usd": 1.0, "circuit_breaker_state": "open",
        "tool_calls": [{"name": "search", "latency_ms": 70.0}]});
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(std::slice::from_ref(&row)));
    // What was saved before these families were: the first eight.
    let mut saved = serde_json::to_value(live.totals()).unwrap();
    saved["families"].as_array_mut().unwrap().truncate(8);
    let mut live = LiveMetrics::restore(Limits::default(), serde_json::from_value(saved).unwrap()).unwrap();
    let cost = r#"llm_cost_usd_total{agent_id="a",model="",tenant_id=""} "#;
    assert_eq!(samples(&live).trim(), format!("{cost}1"));
    live.observe(&batch(&[row]));
    let text = samples(&live);
    for line in [
        format!("{cost}2").as_str(),
        r#"llm_tool_latency_seconds_count{agent_id="a",tool="search"} 1"#,
        r#"llm_circuit_breaker_state{agent_id="a"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn totals_have_a_stable_form() {
    let mut live = LiveMetrics::new(Limits { label_sets_max: 1, ..Limits::default() });
    live.observe(&batch(&[
        json!({"agent_id": "a", "ttft_ms": 70.0, "prompt_tokens": 12, "cost_usd": 0.1}),
        json!({"agent_id": "b", "ttft_ms": -1.0, "cost_usd": 0.2}),
        json!({"agent_id": "b", "cost_usd": 0.1}),
    ]));
    let saved = serde_json::to_value(live.totals()).unwrap();
    assert_eq!(saved["version"], json!(1));
    assert_eq!(
        saved["families"][1],
        json!({
            "name": "llm_ttft_seconds", "labels": ["agent_id", "model"],
            "bounds": ["0.05", "0.1", "0.25", "0.5", "1", "2", "5"],
            "overflow_rows": 0, "skipped_values": 1,
            "series": [{"labels": ["a", ""], "value":
                {"histogram": {"buckets": [0, 1, 0, 0, 0, 0, 0, 0], "sum": "0.07"}}}],
        })
    );
    assert_eq!(
        saved["families"][3],
        json!({
            "name": "llm_cost_usd_total", "labels": ["agent_id", "model", "tenant_id"],
            "bounds": [], "overflow_rows": 2, "skipped_values": 0,
            "series": [
                {"labels": ["__other__", "__other__", "__other__"],
                 "value": {"counter": {"": "0.30000000000000004"}}},
                {"labels": ["a", "", ""], "value": {"counter": {"": "0.1"}}},
            ],
        })
    );
}

#[test]
fn totals_that_do_not_fit_are_refused() {
    let cases: [(&str, Json, &str); 10] = [
        ("/version", json!(2), "totals are of version 2, not 1"),
        ("/families/0/name", json!("llm_else"), "unknown family \"llm_else\""),
        ("/families/1/bounds", json!(["1"]), "llm_ttft_seconds: bounds were"),
        ("/families/1/labels", json!(["agent_id"]), "llm_ttft_seconds: labels were"),
        ("/families/7/series/0/labels", json!([]), "llm_active_sessions: label count of"),
        ("/families/1/series/0/labels", json!(["a"]), "llm_ttft_seconds: label count of"),
        ("/families/1/series/0/value/histogram/buckets", json!([1]), "1 buckets"),
        ("/families/1/series/0/value/histogram/sum", json!("-1"), "-1 cannot be a total"),
        ("/families/2/series/0/value", json!({"counter": {"x": "1"}}), "unknown value \"x\""),
        ("/families/2/series/0/value", json!({"histogram": {"buckets": [], "sum": "0"}}), "not a counter"),
    ];
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&[json!({"ttft_ms": 70.0, "prompt_tokens": 12, "session_id": "s"})]));
    let saved = serde_json::to_value(live.totals()).unwrap();
    for (pointer, value, expected) in cases {
        let mut spoiled = saved.clone();
        *spoiled.pointer_mut(pointer).unwrap() = value;
        let totals: Totals = serde_json::from_value(spoiled).unwrap();
        let reason = LiveMetrics::restore(Limits::default(), totals).unwrap_err();
        assert!(reason.contains(expected), "{pointer}: {reason}");
    }
}

#[test]
fn a_lower_limit_keeps_what_was_saved_and_folds_what_is_new() {
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&["a", "b"].map(|agent| json!({"agent_id": agent, "cost_usd": 1.0}))));
    let limits = Limits { label_sets_max: 1, ..Limits::default() };
    let mut live = LiveMetrics::restore(limits, live.totals()).unwrap();
    live.observe(&batch(&["b", "c"].map(|agent| json!({"agent_id": agent, "cost_usd": 1.0}))));
    assert_eq!(
        samples(&live),
        r#"driftline_metrics_label_overflow_total{family="llm_cost_usd_total"} 1
llm_cost_usd_total{agent_id="__other__",model="__other__",tenant_id="__other__"} 1
llm_cost_usd_total{agent_id="a",model="",tenant_id=""} 1
llm_cost_usd_total{agent_id="b",model="",tenant_id=""} 2
"#
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_at_any_point_is_invisible(
        stream in prop::collection::vec(prop::collection::vec(any_row(), 0..8), 1..8),
        restart_after in any::<prop::sample::Index>(),
        label_sets_max in 0_usize..6,
    ) {
        let limits = Limits { label_sets_max, ..Limits::default() };
        let restart_after = restart_after.index(stream.len());
        let mut steady = LiveMetrics::new(limits);
        let mut restarted = LiveMetrics::new(limits);
        let mut before = HashMap::new();
        for (position, rows) in stream.iter().enumerate() {
            let rows = batch(rows);
            steady.observe(&rows);
            restarted.observe(&rows);
            if position == restart_after {
                let saved = serde_json::to_string(&restarted.totals()).unwrap();
                let totals: Totals = serde_json::from_str(&saved).unwrap();
                restarted = LiveMetrics::restore(limits, totals).unwrap();
                prop_assert_eq!(serde_json::to_string(&restarted.totals()).unwrap(), saved);
            }
            for format in [Format::Text004, Format::OpenMetrics100] {
                prop_assert_eq!(
                    encode(&cumulative(&steady), format),
                    encode(&cumulative(&restarted), format)
                );
            }
            let now = values(&restarted);
            for (series, value) in &before {
                prop_assert!(now.get(series).is_some_and(|now| now >= value), "{}", series);
            }
            before = now;
        }
    }
}

/// A row from few labels, so that they meet again, and from any values.
fn any_row() -> impl Strategy<Value = Json> {
    let label = || prop::option::of(prop::sample::select(vec!["a", "b", "c\"\n", "d\0", "__other__"]));
    let float = || {
        prop::option::of(prop_oneof![
            4 => (0.0..40_000.0_f64).prop_map(|value| json!(value)),
            2 => (0.0..1.5_f64).prop_map(|value| json!(value)),
            1 => prop::num::f64::ANY.prop_map(|value| json!(value.to_string())),
        ])
    };
    let labels = (label(), label(), label(), label(), label());
    let floats = (float(), float(), float(), float(), float());
    let tokens = (prop::option::of(-5..100_000_i64), prop::option::of(any::<i64>()));
    let state = prop::option::of(prop::sample::select(vec!["open", "half_open", "closed", "ajar"]));
    let rest = (label(), label(), label(), 0..70_i64, state);
    (labels, floats, tokens, rest).prop_map(|(labels, floats, tokens, rest)| {
        json!({
            "agent_id": labels.0, "model": labels.1, "operation": labels.2, "tenant_id": labels.3,
            "session_id": labels.4,
            "latency_ms": floats.0, "ttft_ms": floats.1, "cost_usd": floats.2,
            "cost_computed_usd": floats.3, "hallucination_probability": floats.4,
            "prompt_tokens": tokens.0, "completion_tokens": tokens.1,
            "guardrail_status": rest.0, "guardrail_reason": rest.1, "error_type": rest.2,
            "tool_calls": [{"name": labels.1, "latency_ms": floats.4.as_ref().and_then(Json::as_f64)}],
            "circuit_breaker_state": rest.4, "timestamp": NOW_US - rest.3 * MINUTE_US,
        })
    })
}
