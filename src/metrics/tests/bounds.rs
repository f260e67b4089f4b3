//! What stays bounded: label sets, values, exemplars, sums.

use super::*;

#[test]
fn many_tools_share_one_series() {
    let rows = ["a", "b", "c"].map(|tool| json!({"tool_calls": [{"name": tool, "latency_ms": 1.0}]}));
    let mut live = LiveMetrics::new(Limits { label_sets_max: 1, ..Limits::default() });
    live.observe(&batch(&rows));
    let text = samples(&live);
    let line = r#"llm_tool_latency_seconds_count{agent_id="__other__",tool="__other__"} 2"#;
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[test]
fn exemplars_are_short_enough() {
    let longest = "x".repeat(super::model::TRACE_ID_BYTES_MAX);
    assert!("trace_id".len() + longest.len() <= 128);
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&[json!({"trace_id": longest, "cost_usd": 0.5})]));
    let text = encode(&families(&live), Format::OpenMetrics100);
    assert!(text.contains(&format!("}} 0.5 # {{trace_id=\"{longest}\"}} 0.5 1800000000\n")), "{text}");
}

#[test]
fn values_that_no_total_can_hold_are_skipped_and_counted() {
    check(
        &[
            json!({"latency_ms": "NaN", "ttft_ms": "inf", "cost_usd": -0.01, "prompt_tokens": -1}),
            json!({"hallucination_probability": -0.1, "completion_tokens": 5}),
            json!({"cost_usd": "NaN", "cost_computed_usd": 1.0, "prompt_tokens": -1}),
        ],
        r#"
driftline_metrics_skipped_values_total{family="llm_cost_usd_total"} 2
driftline_metrics_skipped_values_total{family="llm_hallucination_score"} 1
driftline_metrics_skipped_values_total{family="llm_request_duration_seconds"} 1
driftline_metrics_skipped_values_total{family="llm_tokens_total"} 2
driftline_metrics_skipped_values_total{family="llm_ttft_seconds"} 1
llm_tokens_total{agent_id="",model="",tenant_id="",token_type="output"} 5
"#,
    );
}

#[test]
fn a_sum_stays_finite() {
    let rows = vec![json!({"cost_usd": f64::MAX}); 3];
    let text = format!("llm_cost_usd_total{{agent_id=\"\",model=\"\",tenant_id=\"\"}} {}", f64::MAX);
    check(&rows, &text);
}

#[test]
fn label_sets_past_the_limit_share_one_series() {
    let limits = Limits { label_sets_max: 2, ..Limits::default() };
    let row = |agent: &str| {
        json!({"agent_id": agent, "prompt_tokens": 1, "completion_tokens": 2, "session_id": "s",
            "guardrail_status": "passed"})
    };
    // The last row has a label set of its own that happens to be called like the shared one.
    let rows = ["a", "b", "c", "a", "d", "c", "__other__"].map(row);
    check_limited(
        limits,
        &rows,
        r#"
driftline_metrics_label_overflow_total{family="llm_active_sessions"} 4
driftline_metrics_label_overflow_total{family="llm_guardrail_decisions_total"} 4
driftline_metrics_label_overflow_total{family="llm_tokens_total"} 4
llm_active_sessions{agent_id="__other__"} 3
llm_active_sessions{agent_id="a"} 1
llm_active_sessions{agent_id="b"} 1
llm_guardrail_decisions_total{agent_id="__other__",decision="allow",reason="__other__"} 4
llm_guardrail_decisions_total{agent_id="a",decision="allow",reason=""} 2
llm_guardrail_decisions_total{agent_id="b",decision="allow",reason=""} 1
llm_tokens_total{agent_id="__other__",model="__other__",tenant_id="__other__",token_type="input"} 4
llm_tokens_total{agent_id="__other__",model="__other__",tenant_id="__other__",token_type="output"} 8
llm_tokens_total{agent_id="a",model="",tenant_id="",token_type="input"} 2
llm_tokens_total{agent_id="a",model="",tenant_id="",token_type="output"} 4
llm_tokens_total{agent_id="b",model="",tenant_id="",token_type="input"} 1
llm_tokens_total{agent_id="b",model="",tenant_id="",token_type="output"} 2
"#,
    );
}

#[test]
fn label_values_are_bounded_and_escaped() {
    let long = format!("{}é", "x".repeat(127));
    let cut = "x".repeat(127);
    check(
        &[
            json!({"agent_id": long, "cost_usd": 1.0}),
            json!({"agent_id": cut, "cost_usd": 1.0}),
            json!({"agent_id": "quote\" slash\\ line\n", "cost_usd": 1.0}),
        ],
        &format!(
            r#"
llm_cost_usd_total{{agent_id="quote\" slash\\ line\n",model="",tenant_id=""}} 1
llm_cost_usd_total{{agent_id="{cut}",model="",tenant_id=""}} 2
"#
        ),
    );
}

#[test]
fn more_combinations_than_the_route_cache_holds() {
    let limits = Limits { label_sets_max: 1, ..Limits::default() };
    let rows: Vec<Json> = (0..50)
        .map(|tenant| json!({"agent_id": "a", "tenant_id": format!("t{}", tenant % 25), "ttft_ms": 1e9, "cost_usd": 1.0}))
        .collect();
    let mut live = LiveMetrics::new(limits);
    live.observe(&batch(&rows));
    let text = samples(&live);
    assert!(text.contains("llm_ttft_seconds_count{agent_id=\"a\",model=\"\"} 50\n"), "{text}");
    assert!(text.contains("tenant_id=\"t0\"} 2\n"), "{text}");
    assert!(text.contains("tenant_id=\"__other__\"} 48\n"), "{text}");
}
