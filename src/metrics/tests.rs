//! Tests of the families through rows in and text out. A row is a JSON object by column name; only
//! what a test is about is written down. This file never looks at the state in between.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::families::{BOUNDS_MAX, VARIANTS_MAX};
use super::*;
use crate::record::{TOOL_CALL_FIELDS, Table, col, tool_call_item};

/// When rows happen and arrive unless they say otherwise, and when expositions are asked for.
const NOW_US: i64 = 1_800_000_000_000_000;
const MINUTE_US: i64 = 60_000_000;

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
fn many_tools_share_one_series() {
    let rows = ["a", "b", "c"].map(|tool| json!({"tool_calls": [{"name": tool, "latency_ms": 1.0}]}));
    let mut live = LiveMetrics::new(Limits { label_sets_max: 1, ..Limits::default() });
    live.observe(&batch(&rows));
    let text = samples(&live);
    let line = r#"llm_tool_latency_seconds_count{agent_id="__other__",tool="__other__"} 2"#;
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[test]
fn exemplars_lead_to_the_newest_trace() {
    let at = |trace: &str, latency_ms: f64, second: i64| {
        json!({"trace_id": trace, "latency_ms": latency_ms, "prompt_tokens": 7, "error_type": "timeout",
            "timestamp": NOW_US - second * 1_000_000})
    };
    let rows = [
        at("newest", 300.0, 1),
        at("older", 400.0, 2),
        at("quo\"te", 40_000.0, 3),
        at("", 100.0, 0),
        at(&"x".repeat(65), 100.0, 0),
        json!({"latency_ms": 2000.0}),
    ];
    let mut live = LiveMetrics::new(Limits::default());
    live.observe(&batch(&rows));
    let text = encode(&families(&live), Format::OpenMetrics100);
    let duration = r#"llm_request_duration_seconds_bucket{agent_id="",model="",operation="","#;
    for line in [
        format!(r#"{duration}le="0.25"}} 2"#).as_str(),
        format!(r#"{duration}le="0.5"}} 4 # {{trace_id="newest"}} 0.3 1799999999"#).as_str(),
        format!(r#"{duration}le="2.0"}} 5"#).as_str(),
        format!(r#"{duration}le="+Inf"}} 6 # {{trace_id="quo\"te"}} 40 1799999997"#).as_str(),
        r#"llm_errors_total{agent_id="",model="",error_type="timeout"} 5 # {trace_id="newest"} 1 1799999999"#,
        r#"llm_tokens_total{agent_id="",model="",tenant_id="",token_type="input"} 35 # {trace_id="newest"} 7 1799999999"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!encode(&families(&live), Format::Text004).contains("trace_id"));
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
fn an_error_is_one_by_message_or_by_type() {
    check(
        &[
            json!({"model": "m", "error": "boom"}),
            json!({"model": "m", "error_type": "rate_limit"}),
            json!({"model": "m", "error_type": ""}),
            json!({"model": "m"}),
        ],
        r#"
llm_errors_total{agent_id="",model="m",error_type="rate_limit"} 1
llm_errors_total{agent_id="",model="m",error_type="unknown"} 2
"#,
    );
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
fn sessions_are_distinct_per_agent_and_expire() {
    check(
        &[
            json!({"agent_id": "a", "session_id": "s1"}),
            json!({"agent_id": "a", "session_id": "s1", "timestamp": NOW_US - 40 * MINUTE_US}),
            json!({"agent_id": "a", "session_id": "s2", "timestamp": NOW_US - 30 * MINUTE_US}),
            json!({"agent_id": "a", "session_id": "s3", "timestamp": NOW_US - 30 * MINUTE_US - 1}),
            json!({"agent_id": "b", "session_id": "s1"}),
            json!({"agent_id": "b", "session_id": ""}),
            json!({"agent_id": "gone", "session_id": "s1", "timestamp": NOW_US - 31 * MINUTE_US}),
        ],
        r#"
llm_active_sessions{agent_id="a"} 2
llm_active_sessions{agent_id="b"} 1
"#,
    );
}

#[test]
fn a_fast_clock_does_not_hold_a_session_active() {
    let then_us = NOW_US - 31 * MINUTE_US;
    check(&[json!({"session_id": "s", "timestamp": NOW_US * 2, "received_at": then_us})], "");
}

#[test]
fn a_full_session_table_forgets_the_one_unseen_for_longest() {
    let limits = Limits { sessions_max: 3, ..Limits::default() };
    let at = |agent: &str, minute: i64| json!({"agent_id": agent, "session_id": "s", "timestamp": NOW_US - minute * MINUTE_US});
    // `a` comes first but is seen again, so `b` is the one to go; `old` is too old to get in.
    let rows = [at("a", 9), at("b", 8), at("c", 7), at("a", 1), at("d", 2), at("old", 20)];
    check_limited(
        limits,
        &rows,
        r#"
llm_active_sessions{agent_id="a"} 1
llm_active_sessions{agent_id="c"} 1
llm_active_sessions{agent_id="d"} 1
"#,
    );
}

#[test]
fn seeded_sessions_count_once() {
    let mut live = LiveMetrics::new(Limits::default());
    live.seed_session("a", "s1", NOW_US - MINUTE_US);
    live.seed_session("a", "s2", NOW_US - 31 * MINUTE_US);
    live.observe(&batch(&[json!({"agent_id": "a", "session_id": "s1"})]));
    assert_eq!(
        samples(&live),
        r#"llm_active_sessions{agent_id="a"} 1
"#
    );
}

#[test]
fn alike_sessions_are_told_apart() {
    let mut live = LiveMetrics::new(Limits::default());
    for number in 0..20_000 {
        live.seed_session("a", &format!("{number}"), NOW_US);
        live.seed_session("a", &format!("session-{number:032}"), NOW_US);
        live.seed_session(&"a".repeat(number % 3), &format!("{number:016}"), NOW_US);
    }
    assert_eq!(
        samples(&live),
        r#"llm_active_sessions{agent_id=""} 6667
llm_active_sessions{agent_id="a"} 46667
llm_active_sessions{agent_id="aa"} 6666
"#
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

#[test]
fn whole_expositions() {
    let families = [
        Family::gauge("driftline_wal_bytes", "Bytes in \"the log\",\nwith a \\.").with(&[], 1e21),
        Family::histogram("http_wait_seconds", "Waits.")
            .with_histogram(&[], Histogram { bounds: &[0.5, 1.0], counts: vec![1, 0, 2], sum: 1e-7 }),
        Family::counter("driftline_ingest_records_total", "Records.")
            .with(&[("table", "b")], 3.0)
            .with(&[("table", "a\"\\\n")], 2.5),
        Family::gauge("empty", "No series yet."),
        Family::gauge("odd", "Odd values.")
            .with(&[("of", "1")], f64::NAN)
            .with(&[("of", "2")], f64::NEG_INFINITY)
            .with(&[("of", "3")], -0.5),
        // The same family from another part of the program.
        Family::counter("driftline_ingest_records_total", "Records.").with(&[("table", "ab")], 1.0),
    ];
    assert_eq!(
        encode(&families, Format::Text004),
        r#"# HELP driftline_ingest_records_total Records.
# TYPE driftline_ingest_records_total counter
driftline_ingest_records_total{table="a\"\\\n"} 2.5
driftline_ingest_records_total{table="ab"} 1
driftline_ingest_records_total{table="b"} 3
# HELP driftline_wal_bytes Bytes in "the log",\nwith a \\.
# TYPE driftline_wal_bytes gauge
driftline_wal_bytes 1000000000000000000000
# HELP empty No series yet.
# TYPE empty gauge
# HELP http_wait_seconds Waits.
# TYPE http_wait_seconds histogram
http_wait_seconds_bucket{le="0.5"} 1
http_wait_seconds_bucket{le="1.0"} 1
http_wait_seconds_bucket{le="+Inf"} 3
http_wait_seconds_sum 0.0000001
http_wait_seconds_count 3
# HELP odd Odd values.
# TYPE odd gauge
odd{of="1"} NaN
odd{of="2"} -Inf
odd{of="3"} -0.5
"#
    );
    assert_eq!(
        encode(&families, Format::OpenMetrics100),
        r#"# HELP driftline_ingest_records Records.
# TYPE driftline_ingest_records counter
driftline_ingest_records_total{table="a\"\\\n"} 2.5
driftline_ingest_records_total{table="ab"} 1
driftline_ingest_records_total{table="b"} 3
# HELP driftline_wal_bytes Bytes in \"the log\",\nwith a \\.
# TYPE driftline_wal_bytes gauge
# UNIT driftline_wal_bytes bytes
driftline_wal_bytes 1000000000000000000000
# HELP empty No series yet.
# TYPE empty gauge
# HELP http_wait_seconds Waits.
# TYPE http_wait_seconds histogram
# UNIT http_wait_seconds seconds
http_wait_seconds_bucket{le="0.5"} 1
http_wait_seconds_bucket{le="1.0"} 1
http_wait_seconds_bucket{le="+Inf"} 3
http_wait_seconds_sum 0.0000001
http_wait_seconds_count 3
# HELP odd Odd values.
# TYPE odd gauge
odd{of="1"} NaN
odd{of="2"} -Inf
odd{of="3"} -0.5
# EOF
"#
    );
    assert_eq!(encode(&[], Format::Text004), "");
    assert_eq!(encode(&[], Format::OpenMetrics100), "# EOF\n");
}

#[test]
fn formats_are_negotiated() {
    use Format::{OpenMetrics100, Text004};
    // What Prometheus 3 sends by default, and with native histograms; what 2.42 sends.
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let prometheus_3_protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let cases = [
        (prometheus_3, OpenMetrics100),
        (prometheus_3_protobuf, OpenMetrics100),
        (prometheus_2_42, OpenMetrics100),
        ("", Text004),
        ("*/*", Text004),
        ("text/plain", Text004),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Text004),
        ("application/*", Text004),
        ("application/openmetrics-text", OpenMetrics100),
        ("Application/OpenMetrics-Text ; Version=\"0.0.1\"", OpenMetrics100),
        ("application/openmetrics-text; version=2.0.0", Text004),
        ("application/openmetrics-text;q=0", Text004),
        ("application/openmetrics-text;q=0.000, text/plain;q=0", Text004),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Text004),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.4", OpenMetrics100),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.4, */*", OpenMetrics100),
        ("application/openmetrics-text;q=0.5, text/*;q=0.9", Text004),
        ("application/openmetrics-text;q=0.5, */*;q=0.9", Text004),
        ("*/*, application/openmetrics-text", OpenMetrics100),
        ("text/plain, application/openmetrics-text", Text004),
        ("application/openmetrics-text, text/plain", OpenMetrics100),
        ("application/openmetrics-text;q=high, text/plain", Text004),
        ("application/openmetrics-text;q=NaN", Text004),
        (";;,,=;q", Text004),
    ];
    for (accept, format) in cases {
        assert_eq!(Format::negotiate(Some(accept)), format, "{accept}");
    }
    assert_eq!(Format::negotiate(None), Text004);
}

#[test]
fn the_list_of_families_passes_lint() {
    let short = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
    let long = ["minutes", "hours", "days", "weeks", "bits", "counter", "gauge", "histogram"];
    for family in FAMILIES {
        let name = family.name;
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
        assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
        for segment in name.split('_') {
            assert!(!short.contains(&segment) && !long.contains(&segment), "{name}");
        }
        for ending in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(ending), "{name}");
        }
        assert!(!family.help.is_empty(), "{name}");
        assert!(!family.labels.iter().any(|label| ["le", "quantile"].contains(label)), "{name}");
        assert_eq!(family.bounds.is_empty(), family.kind != Kind::Histogram, "{name}");
        assert!(family.bounds.len() <= BOUNDS_MAX && family.bounds.is_sorted(), "{name}");
        assert!(family.variants().len() <= VARIANTS_MAX, "{name}");
    }
    let shown: Vec<&str> = families(&LiveMetrics::new(Limits::default())).iter().map(|family| family.name).collect();
    assert_eq!(shown, FAMILIES.map(|family| family.name));
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

/// Observes rows and compares every sample line, in text 0.0.4, with what is expected. The module's
/// own counters are left out while they are zero, and requests, which every row moves, always.
#[track_caller]
fn check(rows: &[Json], expected: &str) {
    check_limited(Limits::default(), rows, expected);
}

#[track_caller]
fn check_limited(limits: Limits, rows: &[Json], expected: &str) {
    let mut live = LiveMetrics::new(limits);
    live.observe(&batch(rows));
    let samples = samples(&live);
    assert_eq!(samples.trim(), expected.trim(), "got:\n{samples}");
}

fn samples(live: &LiveMetrics) -> String {
    encode(&families(live), Format::Text004)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter(|line| !(line.starts_with("driftline_") && line.ends_with(" 0")))
        .filter(|line| !line.contains("llm_requests_total"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn families(live: &LiveMetrics) -> Vec<Family> {
    live.families(NOW_US)
}

/// Everything but sessions, which are seeded and not restored.
fn cumulative(live: &LiveMetrics) -> Vec<Family> {
    let mut families = families(live);
    families.retain(|family| family.kind != Kind::Gauge);
    families
}

/// Values of all cumulative series, by their written name.
fn values(live: &LiveMetrics) -> HashMap<String, f64> {
    encode(&cumulative(live), Format::Text004)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Rows as a batch of `agent_logs`. Missing columns are null, missing times are [`NOW_US`].
fn batch(rows: &[Json]) -> RecordBatch {
    let schema = Table::AgentLogs.schema();
    let columns = schema.fields().iter().map(|field| column(field, rows)).collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn column(field: &Field, rows: &[Json]) -> ArrayRef {
    let values = rows.iter().map(|row| row.get(field.name()).filter(|value| !value.is_null()));
    match field.data_type() {
        DataType::Timestamp(..) => Arc::new(TimestampMicrosecondArray::from_iter_values(
            values.map(|value| value.map_or(NOW_US, |value| value.as_i64().unwrap())),
        )),
        DataType::Utf8View => {
            Arc::new(StringViewArray::from_iter(values.map(|value| value.map(|value| value.as_str().unwrap()))))
        }
        DataType::Float64 => Arc::new(Float64Array::from_iter(values.map(|value| value.map(any_float)))),
        DataType::Int64 if field.name() == col::INGEST_SEQ => {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|_| 1)))
        }
        DataType::Int64 => {
            Arc::new(Int64Array::from_iter(values.map(|value| value.map(|value| value.as_i64().unwrap()))))
        }
        DataType::List(_) if field.name() == col::TOOL_CALLS => Arc::new(tool_calls(rows)),
        other => new_null_array(other, rows.len()),
    }
}

fn tool_calls(rows: &[Json]) -> ListArray {
    let lists: Vec<Option<&Vec<Json>>> =
        rows.iter().map(|row| row.get(col::TOOL_CALLS).and_then(Json::as_array)).collect();
    let calls: Vec<&Json> = lists.iter().flatten().copied().flatten().collect();
    let text = |field: &str| -> ArrayRef {
        Arc::new(StringViewArray::from_iter(calls.iter().map(|call| call.get(field).and_then(Json::as_str))))
    };
    let latencies = calls.iter().map(|call| call.get("latency_ms").and_then(Json::as_f64));
    let columns = vec![text("name"), Arc::new(Float64Array::from_iter(latencies)), text("status")];
    let calls = StructArray::new(TOOL_CALL_FIELDS.clone(), columns, None);
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.map_or(0, Vec::len)));
    let valid = NullBuffer::from_iter(lists.iter().map(Option::is_some));
    ListArray::new(Arc::new(tool_call_item()), offsets, Arc::new(calls), Some(valid))
}

/// JSON has no NaN and no infinity, so a float may be text.
fn any_float(value: &Json) -> f64 {
    match value {
        Json::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}
