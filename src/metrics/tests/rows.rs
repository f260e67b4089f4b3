//! Which families a row moves, and how its words are understood.

use super::*;

#[test]
fn every_family_moves() {
    check(
        &[json!({
            "agent_id": "a", "model": "m", "operation": "chat", "tenant_id": "t", "session_id": "s",
            "latency_ms": 100.0, "ttft_ms": 60.0, "prompt_tokens": 120, "completion_tokens": 30,
            "cost_usd": 0.25, "hallucination_probability": 0.3,
            "guardrail_status": "blocked", "guardrail_reason": "pii",
            "error": "it broke", "error_type": "timeout",
        })],
        r#"
llm_active_sessions{agent_id="a"} 1
llm_cost_usd_total{agent_id="a",model="m",tenant_id="t"} 0.25
llm_errors_total{agent_id="a",model="m",error_type="timeout"} 1
llm_guardrail_decisions_total{agent_id="a",decision="block",reason="pii"} 1
llm_hallucination_score_bucket{agent_id="a",le="0.0"} 0
llm_hallucination_score_bucket{agent_id="a",le="0.1"} 0
llm_hallucination_score_bucket{agent_id="a",le="0.2"} 0
llm_hallucination_score_bucket{agent_id="a",le="0.3"} 1
llm_hallucination_score_bucket{agent_id="a",le="0.5"} 1
llm_hallucination_score_bucket{agent_id="a",le="0.7"} 1
llm_hallucination_score_bucket{agent_id="a",le="1.0"} 1
llm_hallucination_score_bucket{agent_id="a",le="+Inf"} 1
llm_hallucination_score_sum{agent_id="a"} 0.3
llm_hallucination_score_count{agent_id="a"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="0.1"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="0.25"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="0.5"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="1.0"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="2.0"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="5.0"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="10.0"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="30.0"} 1
llm_request_duration_seconds_bucket{agent_id="a",model="m",operation="chat",le="+Inf"} 1
llm_request_duration_seconds_sum{agent_id="a",model="m",operation="chat"} 0.1
llm_request_duration_seconds_count{agent_id="a",model="m",operation="chat"} 1
llm_tokens_total{agent_id="a",model="m",tenant_id="t",token_type="input"} 120
llm_tokens_total{agent_id="a",model="m",tenant_id="t",token_type="output"} 30
llm_ttft_seconds_bucket{agent_id="a",model="m",le="0.05"} 0
llm_ttft_seconds_bucket{agent_id="a",model="m",le="0.1"} 1
llm_ttft_seconds_bucket{agent_id="a",model="m",le="0.25"} 1
llm_ttft_seconds_bucket{agent_id="a",model="m",le="0.5"} 1
llm_ttft_seconds_bucket{agent_id="a",model="m",le="1.0"} 1
llm_ttft_seconds_bucket{agent_id="a",model="m",le="2.0"} 1
llm_ttft_seconds_bucket{agent_id="a",model="m",le="5.0"} 1
llm_ttft_seconds_bucket{agent_id="a",model="m",le="+Inf"} 1
llm_ttft_seconds_sum{agent_id="a",model="m"} 0.06
llm_ttft_seconds_count{agent_id="a",model="m"} 1
"#,
    );
}

#[test]
fn a_row_without_values_moves_nothing() {
    check(&[json!({"agent_id": "a", "model": "m"})], "");
}

#[test]
fn every_live_row_is_a_request() {
    let rows = [
        json!({"agent_id": "a", "model": "m", "tenant_id": "t"}),
        json!({"agent_id": "a", "model": "m", "tenant_id": "t", "error": "it broke"}),
        json!({"agent_id": "a", "timestamp": NOW_US - 61 * MINUTE_US}),
        json!({}),
    ];
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&rows));
    let text = encode(&families(&live), Format::Text004);
    let requests: Vec<&str> = text.lines().filter(|line| line.starts_with("llm_requests_total{")).collect();
    assert_eq!(
        requests,
        [
            r#"llm_requests_total{agent_id="",model="",tenant_id=""} 1"#,
            r#"llm_requests_total{agent_id="a",model="m",tenant_id="t"} 2"#,
        ]
    );
}

#[test]
fn context_overflows_have_many_words() {
    let overflows = ["context_length_exceeded", "Context_Window_Exceeded", "ContextWindowExceededError"];
    let mut rows: Vec<Json> = overflows.iter().map(|word| json!({"agent_id": "a", "error_type": word})).collect();
    rows.push(json!({"agent_id": "a", "model": "m", "finish_reason": "model_context_window_exceeded"}));
    rows.push(json!({"agent_id": "a", "model": "m", "finish_reason": "length"}));
    check(
        &rows,
        r#"
llm_context_overflow_total{agent_id="a",model=""} 3
llm_context_overflow_total{agent_id="a",model="m"} 1
llm_errors_total{agent_id="a",model="",error_type="ContextWindowExceededError"} 1
llm_errors_total{agent_id="a",model="",error_type="Context_Window_Exceeded"} 1
llm_errors_total{agent_id="a",model="",error_type="context_length_exceeded"} 1
"#,
    );
}

#[test]
fn tools_have_latencies() {
    let call = |name: &str, latency_ms: Json| json!({"name": name, "latency_ms": latency_ms, "status": "ok"});
    let rows = [
        json!({"agent_id": "a", "tool_calls": [call("search", json!(50.0)), call("sql", json!(11_000.0))]}),
        json!({"agent_id": "a"}),
        json!({"agent_id": "a", "tool_calls": []}),
        json!({"agent_id": "a", "tool_calls": [call("search", json!(51.0)), call("search", Json::Null)]}),
        json!({"agent_id": "b", "tool_calls": [call("search", json!(-1.0))]}),
    ];
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&rows));
    let text = samples(&live);
    for line in [
        r#"driftline_metrics_skipped_values_total{family="llm_tool_latency_seconds"} 1"#,
        r#"llm_tool_latency_seconds_bucket{agent_id="a",tool="search",le="0.05"} 1"#,
        r#"llm_tool_latency_seconds_bucket{agent_id="a",tool="search",le="0.1"} 2"#,
        r#"llm_tool_latency_seconds_count{agent_id="a",tool="search"} 2"#,
        r#"llm_tool_latency_seconds_bucket{agent_id="a",tool="sql",le="10.0"} 0"#,
        r#"llm_tool_latency_seconds_sum{agent_id="a",tool="sql"} 11"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("agent_id=\"b\""), "{text}");
}

#[test]
fn null_labels_are_empty_and_computed_cost_fills_in() {
    check(
        &[
            json!({"cost_usd": 1.0, "cost_computed_usd": 9.0}),
            json!({"cost_computed_usd": 0.5}),
            json!({"agent_id": "", "prompt_tokens": 7}),
        ],
        r#"
llm_cost_usd_total{agent_id="",model="",tenant_id=""} 1.5
llm_tokens_total{agent_id="",model="",tenant_id="",token_type="input"} 7
"#,
    );
}

#[test]
fn guardrail_statuses_have_synonyms() {
    let words = ["allow", "Allowed", "pass", "PASSED", "block", "blocked", "escalate", "escalated"];
    let mut rows: Vec<Json> = words.iter().map(|word| json!({"agent_id": "a", "guardrail_status": word})).collect();
    rows.push(json!({"agent_id": "a", "guardrail_status": "shrugged", "guardrail_reason": "tired"}));
    check(
        &rows,
        r#"
llm_guardrail_decisions_total{agent_id="a",decision="allow",reason=""} 4
llm_guardrail_decisions_total{agent_id="a",decision="block",reason=""} 2
llm_guardrail_decisions_total{agent_id="a",decision="escalate",reason=""} 2
llm_guardrail_decisions_total{agent_id="a",decision="other",reason="tired"} 1
"#,
    );
}

#[test]
fn an_error_is_one_by_message_by_type_or_by_status() {
    check(
        &[
            json!({"model": "m", "error": "boom"}),
            json!({"model": "m", "error_type": "rate_limit", "http_status": 429}),
            json!({"model": "m", "error_type": ""}),
            json!({"model": "m", "error": "boom", "http_status": 503}),
            json!({"model": "m", "http_status": 503}),
            json!({"model": "m", "http_status": 400}),
            json!({"model": "m", "http_status": 600}),
            json!({"model": "m", "http_status": 399}),
            json!({"model": "m"}),
        ],
        r#"
llm_errors_total{agent_id="",model="m",error_type="http_400"} 1
llm_errors_total{agent_id="",model="m",error_type="http_503"} 2
llm_errors_total{agent_id="",model="m",error_type="rate_limit"} 1
llm_errors_total{agent_id="",model="m",error_type="unknown"} 3
"#,
    );
}

#[test]
fn history_moves_nothing() {
    let hour_us = 60 * MINUTE_US;
    check(
        &[
            json!({"agent_id": "edge", "cost_usd": 1.0, "timestamp": NOW_US - hour_us}),
            json!({"agent_id": "late", "cost_usd": 1.0, "timestamp": NOW_US - hour_us - 1}),
            json!({"agent_id": "late", "session_id": "s", "timestamp": i64::MIN}),
            json!({"agent_id": "early", "cost_usd": 1.0, "timestamp": NOW_US + hour_us}),
        ],
        r#"
llm_cost_usd_total{agent_id="early",model="",tenant_id=""} 1
llm_cost_usd_total{agent_id="edge",model="",tenant_id=""} 1
"#,
    );
}
