//! Anomalies: those of KPIs by their hours, and those of sessions and calls by named queries; found where something is
//! wrong, and not where nothing is.

use std::path::Path;

use driftline::sample::{IncidentKind, Plan, Traffic};
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, failure, json as json_of};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// A call so many seconds from noon of 2026-05-14, with what is special about it.
fn call(second: i64, id: &str, special: &Value) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOW_US + second * 1_000_000).unwrap();
    let mut record = json!({
        "timestamp": time.to_rfc3339(), "request_id": id, "session_id": format!("s-{id}"), "agent_id": "rag",
        "tenant_id": "t1", "model": "m1", "prompt_tokens": 1_000, "completion_tokens": 100, "cost_usd": 0.01,
        "latency_ms": 1_000, "retry_count": 0, "http_status": 200,
    });
    record.as_object_mut().unwrap().extend(special.as_object().unwrap().clone());
    format!("{record}\n")
}

/// So many ordinary calls a second apart, of which no two are quite alike.
fn ordinary(second: i64, count: i64) -> String {
    let vary = |n: i64, most: i64| n * 7_919 % most;
    let special = |n: i64| {
        let (prompt, completion) = (800 + vary(n, 401), 70 + vary(n, 31));
        json!({
            "prompt_tokens": prompt, "completion_tokens": completion,
            "cost_usd": (prompt as f64 + 4.0 * completion as f64) * 1e-6, "latency_ms": 900 + vary(n, 201),
        })
    };
    (0..count).map(|n| call(second + n, &format!("o-{second}-{n}"), &special(n))).collect()
}

async fn rows(app: &TestApp, query: &str, arguments: &[(&str, &str)]) -> Vec<Value> {
    let rows = json_of(app.get(&format!("/api/v1/queries/{query}")).query(arguments)).await;
    rows.as_array().unwrap().clone()
}

#[tokio::test]
async fn equal_tool_calls_in_a_row_are_a_loop() {
    let app = TestApp::start().await;
    let tool = |arguments: Value| json!({ "name": "search", "status": "success", "arguments": arguments });
    let of = |session: &str, tools: Value| json!({ "session_id": session, "tool_calls": tools });
    let mut lines = String::new();
    for n in 0..6 {
        // The same six times, two of them in one call and one in the chat completion form.
        let tools = match n {
            0 => json!([tool(json!({ "q": "a" })), tool(json!({ "q": "a" }))]),
            1 => json!([{ "function": { "name": "search", "arguments": { "q": "a" } } }]),
            4 | 5 => json!([tool(json!({ "q": "b" }))]),
            _ => json!([tool(json!({ "q": "a" }))]),
        };
        lines += &call(n - 900, &format!("loop-{n}"), &of("loop", tools));
        // Other arguments each time, another tool between, and arguments that nobody knows.
        lines += &call(n - 900, &format!("page-{n}"), &of("pages", json!([tool(json!({ "page": n }))])));
        let other = json!([tool(json!({})), { "name": "fetch", "arguments": { "n": 1 } }]);
        lines += &call(n - 900, &format!("turn-{n}"), &of("turns", other));
        lines += &call(n - 900, &format!("bare-{n}"), &of("bare", json!([{ "name": "search", "status": "error" }])));
    }
    app.logs(lines).await;
    let found = rows(&app, "tool_loops", &[]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let run = &found[0];
    assert_eq!((&run["session_id"], &run["tool"]), (&json!("loop"), &json!("search")));
    assert_eq!((&run["arguments"], &run["tool_calls"], &run["calls"]), (&json!(r#"{"q":"a"}"#), &json!(5), &json!(4)));
    assert_eq!(run["request_ids"], json!(["loop-0", "loop-1", "loop-2", "loop-3"]));
    assert_eq!(rows(&app, "tool_loops", &[("calls_min", "6")]).await.len(), 0);
}

#[tokio::test]
async fn retries_and_failures_in_a_row_are_a_loop() {
    let app = TestApp::start().await;
    let failed = json!({ "error": "no such table", "error_type": "tool_error", "http_status": 502 });
    let mut lines = String::new();
    for n in 0..8_i64 {
        let mut again = if n % 2 == 0 { failed.clone() } else { json!({}) };
        again["session_id"] = json!("again");
        again["retry_count"] = json!(n);
        lines += &call(n - 900, &format!("again-{n}"), &again);
        // Failures that are not in a row are none of one.
        let mut now_and_then = if n % 4 == 3 { json!({}) } else { failed.clone() };
        now_and_then["session_id"] = json!("now and then");
        lines += &call(n - 900, &format!("then-{n}"), &now_and_then);
    }
    app.logs(lines).await;
    let found = rows(&app, "retry_loops", &[]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let told = ["session_id", "calls", "errors", "retry_count_max", "total_tokens", "error_type"];
    let expect = [json!("again"), json!(8), json!(4), json!(7), json!(8_800), json!("tool_error")];
    assert_eq!(told.map(|name| found[0][name].clone()), expect);
    assert_eq!(found[0]["request_ids"], json!(["again-0", "again-1", "again-2", "again-3", "again-4"]));
}

#[tokio::test]
async fn calls_that_take_far_longer_than_their_tokens_explain_are_stuck() {
    let app = TestApp::start().await;
    let long = json!({ "completion_tokens": 90, "latency_ms": 45_000, "reasoning_tokens": 20 });
    let timeout = json!({ "latency_ms": 60_000, "completion_tokens": 90, "error_type": "timeout", "http_status": 504 });
    app.logs(ordinary(-2 * DAY_S, 200) + &call(-900, "stuck", &long) + &call(-800, "timed out", &timeout)).await;
    let found = rows(&app, "stuck_calls", &[]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["request_id"], &found[0]["agent_id"]), (&json!("stuck"), &json!("rag")));
    assert!((900.0..1_100.0).contains(&found[0]["usual_ms"].as_f64().unwrap()), "{found:?}");
    // So many tokens are not usual here: nothing is known about their time.
    app.logs(call(-700, "long", &json!({ "completion_tokens": 9_000, "latency_ms": 90_000 }))).await;
    assert_eq!(rows(&app, "stuck_calls", &[]).await.len(), 1);
}

#[tokio::test]
async fn costs_that_tokens_contradict_are_told() {
    let app = TestApp::start().await;
    let dear = json!({ "cost_usd": 12.5 });
    let free = json!({ "cost_usd": 0 });
    let unknown = json!({ "cost_usd": 12.5, "model": "m2" });
    let dear_and_large = json!({ "cost_usd": 0.14, "prompt_tokens": 100_000, "completion_tokens": 10_000 });
    let lines = ordinary(-2 * DAY_S, 100)
        + &call(-900, "dear", &dear)
        + &call(-800, "free", &free)
        + &call(-700, "unknown model", &unknown)
        + &call(-600, "large", &dear_and_large);
    app.logs(lines).await;
    let found = rows(&app, "mispriced_calls", &[]).await;
    let ids: Vec<&str> = found.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["dear", "free"]);
    assert_eq!(found[0]["basis"], "usual_price");
    assert!((found[0]["expected_cost_usd"].as_f64().unwrap() - 0.0014).abs() < 2e-4, "{found:?}");
}

#[tokio::test]
async fn sessions_and_calls_beyond_the_tail_are_told() {
    let app = TestApp::start().await;
    let runaway: String = (0..40)
        .map(|n| call(n - 900, &format!("run-{n}"), &json!({ "session_id": "runaway", "prompt_tokens": 20_000 })))
        .collect();
    // Of another agent and model too little is known.
    let new = json!({ "agent_id": "new", "model": "m9", "prompt_tokens": 9_000_000, "cost_usd": 999 });
    let dear = call(-60, "dear", &json!({ "cost_usd": 99 }));
    app.logs(ordinary(-2 * DAY_S, 400) + &runaway + &dear + &call(-50, "new", &new)).await;
    let sessions = rows(&app, "runaway_sessions", &[]).await;
    let ids: Vec<&str> = sessions.iter().map(|row| row["session_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["runaway"]);
    assert_eq!((&sessions[0]["calls"], &sessions[0]["agent_id"]), (&json!(40), &json!("rag")));
    assert_eq!(sessions[0]["request_ids"].as_array().unwrap().len(), 5);
    let calls = rows(&app, "outlier_calls", &[("limit", "1")]).await;
    assert_eq!((&calls[0]["request_id"], &calls[0]["measure"]), (&json!("dear"), &json!("cost_usd")));
}

/// Three days of generated traffic that end at noon.
fn generated(seed: u64, kinds: &[IncidentKind]) -> String {
    let start_us = NOW_US - 3 * DAY_S * 1_000_000;
    let plan = Plan { seed, start_us, days: 3.0, calls_per_day: 2_000.0, incidents: Vec::new() };
    let mut bytes = Vec::new();
    for call in Traffic::new(&plan.with_default_windows(kinds)) {
        call.write_json(&mut bytes);
    }
    String::from_utf8(bytes).unwrap()
}

const OF_CALLS: [&str; 6] =
    ["runaway_sessions", "tool_loops", "retry_loops", "stuck_calls", "mispriced_calls", "outlier_calls"];

#[tokio::test]
async fn quiet_traffic_has_no_odd_sessions_and_calls() {
    for seed in 1..=2 {
        let app = TestApp::start().await;
        app.logs(generated(seed, &[])).await;
        for query in OF_CALLS {
            let found = rows(&app, query, &[("from", "now-3d")]).await;
            assert!(found.is_empty(), "seed {seed}, {query}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_generated_retry_loop_is_found() {
    let app = TestApp::start().await;
    app.logs(generated(1, &[IncidentKind::RetryLoop])).await;
    let found = rows(&app, "retry_loops", &[("from", "now-1d")]).await;
    assert!(found.len() >= 3, "{found:?}");
    for run in &found {
        assert_eq!((&run["agent_id"], &run["tenant_id"]), (&json!("sql_analyst"), &json!("tenant-healthcare-001")));
    }
}

#[tokio::test]
async fn the_odd_calls_of_real_logs_are_told() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/aider.ndjson.gz");
    if !file.exists() {
        println!("skipped: {} is not there", file.display());
        return;
    }
    let app = TestApp::start().await;
    let body = std::fs::read(file).unwrap();
    json_of(app.post("/api/v1/logs").header("content-encoding", "gzip").body(body)).await;
    app.flush().await;
    let range = [("from", "2024-08-01"), ("to", "2026-05-01")];
    let outliers = rows(&app, "outlier_calls", &[range[0], range[1], ("limit", "3")]).await;
    let told: Vec<_> = outliers.iter().map(|row| (row["measure"].as_str().unwrap(), &row["size"])).collect();
    // The second call is beyond its model's costs as well as its tokens.
    let (dear, large) = (json!(9_990.01252875), json!(913_414.0));
    assert_eq!((told[0], told[1].0, told[2]), (("cost_usd", &dear), "cost_usd", ("total_tokens", &large)));
    assert_eq!(outliers[1]["request_id"], outliers[2]["request_id"]);
    let mispriced = rows(&app, "mispriced_calls", &[range[0], range[1], ("limit", "1")]).await;
    assert_eq!(mispriced[0]["reported_cost_usd"], json!(9_990.01252875));
    assert!(mispriced[0]["expected_cost_usd"].as_f64().unwrap() < 0.1, "{mispriced:?}");
}

/// Five weeks of calls, eight an hour of two tenants and two models, the errors of the last hour but one named.
fn weeks(failing: impl Fn(&str) -> bool) -> String {
    let mut lines = String::new();
    for hour in 1..=35 * 24_i64 {
        for n in 0..8 {
            let (tenant, model) = (["t1", "t2"][usize::from(n % 2 == 0)], ["m1", "m2"][usize::from(n < 4)]);
            // One call in some forty fails, another one each time.
            let fails = if hour == 2 { failing(tenant) } else { (hour * 8 + n) * 7_919 % 41 == 0 };
            let mut special = json!({ "tenant_id": tenant, "model": model });
            if fails {
                special["error_type"] = json!("provider_error");
                special["http_status"] = json!(503);
            }
            lines += &call(-hour * HOUR_S + n * 60, &format!("c-{hour}-{n}"), &special);
        }
    }
    lines
}

#[tokio::test]
async fn odd_hours_of_kpis_are_told_with_where_they_come_from() {
    let mut app = TestApp::start().await;
    app.logs(weeks(|tenant| tenant == "t2")).await;
    let ask = [("kpi", "error_rate,traffic"), ("from", "now-12h")];
    let answer = json_of(app.get("/api/v1/anomalies").query(&ask)).await;
    let found = answer["anomalies"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{answer}");
    let odd = &found[0];
    assert_eq!((&odd["kpi"], &odd["unit"], &odd["key"]), (&json!("error_rate"), &json!("ratio"), &json!("rag")));
    assert_eq!(odd["window_start"], "2026-05-14T10:00:00.000000Z");
    assert_eq!((&odd["value"], &odd["samples"]), (&json!(0.5), &json!(8)));
    assert!(odd["expected"].as_f64().unwrap() < 0.1 && odd["score"].as_f64().unwrap() >= 0.5, "{odd}");
    assert_eq!((&odd["contributions"][0]["key"], &odd["contributions"][0]["share"]), (&json!("t2"), &json!(1.0)));
    let calls: Vec<&str> =
        odd["examples"].as_array().unwrap().iter().map(|call| call["request_id"].as_str().unwrap()).collect();
    assert_eq!(calls[..4], ["c-2-0", "c-2-2", "c-2-4", "c-2-6"]);
    assert_eq!((&answer["series_judged"], &answer["hours_judged"]), (&json!(2), &json!(24)));
    // What was found is computed from what is stored, so a restart does not change it.
    app.restart().await;
    assert_eq!(json_of(app.get("/api/v1/anomalies").query(&ask)).await, answer);
    // An hour that is not over is not judged, and a series without a past is said to be none.
    let now = [("kpi", "traffic"), ("from", "now")];
    let (status, message) = failure(app.get("/api/v1/anomalies").query(&now)).await;
    assert_eq!((status, message.as_str()), (400, "no whole hour is over between from and to"));
    let young = [("kpi", "error_rate"), ("by", "all"), ("from", "now-35d"), ("to", "now-34d")];
    let answer = json_of(app.get("/api/v1/anomalies").query(&young)).await;
    assert_eq!((&answer["series_judged"], &answer["series_insufficient"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn wrong_questions_are_told() {
    let app = TestApp::start().await;
    let check = async |query: &[(&str, &str)], expect: (u16, &str)| {
        let (status, message) = failure(app.get("/api/v1/anomalies").query(query)).await;
        assert_eq!(status, expect.0, "{message}");
        assert!(message.contains(expect.1), "{message}");
    };
    check(&[("form", "now")], (400, "form is no parameter of anomalies; there are from, to")).await;
    check(&[("from", "soon")], (400, "from: ")).await;
    check(&[("by", "user")], (400, "by=user is not one of all, agent, tenant, model")).await;
    check(&[("kpi", "none_such")], (404, "none_such")).await;
    check(&[("score_min", "1")], (400, "score_min=1 is not from 0.1 to below 1")).await;
    check(&[("limit", "0")], (400, "limit=0 is no whole number from 1 to 100")).await;
    check(&[("history_days", "400")], (400, "history_days=400 is no whole number from 7 to 182")).await;
    check(&[("from", "now-100d")], (400, "more than 92 days apart")).await;
}
