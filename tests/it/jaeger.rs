//! The JSON API of Jaeger: services, operations, search and one trace.

use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, json as json_of};

/// A call so many seconds from noon of 2026-05-14, with what is special about it.
fn call(second: i64, trace: &str, special: &Value) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOW_US + second * 1_000_000).unwrap();
    let mut record = json!({
        "timestamp": time.to_rfc3339(), "request_id": format!("r{second}"), "trace_id": trace, "agent_id": "rag",
        "tenant_id": "t1", "model": "m1", "operation": "chat", "latency_ms": 1_500.5,
    });
    record.as_object_mut().unwrap().extend(special.as_object().unwrap().clone());
    format!("{record}\n")
}

async fn app() -> TestApp {
    let app = TestApp::start().await;
    let tools = json!([
        {"name": "search", "latency_ms": 20.0, "status": "ok"},
        {"name": "read", "latency_ms": 5.0, "status": "error"},
    ]);
    app.logs(
        call(-600, "one", &json!({"span_id": "a", "tool_calls": tools, "region": "eu"}))
            + &call(-599, "one", &json!({"span_id": "b", "parent_span_id": "a", "agent_id": "code", "model": "m2"}))
            + &call(-598, "one", &json!({"parent_span_id": "gone", "agent_id": null, "operation": null})),
    )
    .await;
    app.flush().await;
    let failed = json!({"error": "no answer", "error_type": "timeout", "http_status": 504, "latency_ms": 30_000.0});
    app.logs(call(-300, "two", &failed) + &call(-40 * 86_400, "old", &json!({"span_id": "o"}))).await;
    app.logs(call(-10, "three", &json!({"operation": "embeddings", "latency_ms": 50.0}))).await;
    app
}

async fn traces(app: &TestApp, query: &[(&str, &str)]) -> Vec<String> {
    let found = json_of(app.get("/jaeger/api/traces").query(query)).await;
    found["data"].as_array().unwrap().iter().map(|trace| trace["traceID"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn agents_are_services_and_kinds_of_calls_operations() {
    let app = app().await;
    let data = async |path: &str| {
        let answer = json_of(app.get(path)).await;
        assert_eq!(answer["errors"], Value::Null);
        assert_eq!(answer["total"], answer["data"].as_array().unwrap().len());
        answer["data"].clone()
    };
    assert_eq!(data("/jaeger/api/services").await, json!(["code", "rag", "unknown_agent"]));
    assert_eq!(data("/jaeger/api/services/rag/operations").await, json!(["call", "chat", "embeddings"]));
    assert_eq!(data("/jaeger/api/services/unknown_agent/operations").await, json!(["call"]));
    assert_eq!(data("/jaeger/api/services/none/operations").await, json!(["call"]));
    assert_eq!(
        data("/jaeger/api/operations?service=code").await,
        json!([{"name": "call", "spanKind": "client"}, {"name": "chat", "spanKind": "client"}])
    );
    assert_eq!(app.get("/jaeger/api/operations").send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_trace_is_its_calls_and_their_tools() {
    let app = app().await;
    let answer = json_of(app.get("/jaeger/api/traces/one")).await;
    let trace = &answer["data"][0];
    assert_eq!((answer["data"].as_array().unwrap().len(), &trace["traceID"]), (1, &json!("one")));
    assert_eq!(
        trace["processes"],
        json!({
            "p1": {"serviceName": "rag", "tags": []}, "p2": {"serviceName": "code", "tags": []},
            "p3": {"serviceName": "unknown_agent", "tags": []},
        })
    );
    let spans = trace["spans"].as_array().unwrap();
    let start = NOW_US - 600_000_000;
    let told: Vec<Value> = spans
        .iter()
        .map(|span| json!([span["operationName"], span["startTime"], span["duration"], span["processID"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["chat", start, 1_500_500, "p1"]),
            json!(["execute_tool search", start, 20_000, "p1"]),
            json!(["execute_tool read", start + 20_000, 5_000, "p1"]),
            json!(["chat", start + 1_000_000, 1_500_500, "p2"]),
            json!(["call", start + 2_000_000, 1_500_500, "p3"]),
        ]
    );
    let child = json!([{"refType": "CHILD_OF", "traceID": "one", "spanID": "a"}]);
    let references: Vec<&Value> = spans.iter().map(|span| &span["references"]).collect();
    assert_eq!(references, [&json!([]), &child, &child, &child, &json!([])]);
    assert_eq!((&spans[0]["spanID"], &spans[3]["spanID"]), (&json!("a"), &json!("b")));
    let tag = |span: &Value, key: &str| {
        span["tags"].as_array().unwrap().iter().find(|tag| tag["key"] == key).map(|tag| tag["value"].clone())
    };
    assert_eq!(tag(&spans[3], "model"), Some(json!("m2")));
    assert_eq!(tag(&spans[4], "parent_span_id"), Some(json!("gone")));
    assert_eq!((tag(&spans[1], "error"), tag(&spans[2], "error")), (None, Some(json!(true))));
    // The same each time, and after a flush.
    app.flush().await;
    assert_eq!(json_of(app.get("/jaeger/api/traces/one?start=1&end=2")).await, answer);
    // However long ago.
    assert_eq!(json_of(app.get("/jaeger/api/traces/old")).await["data"][0]["spans"][0]["spanID"], "o");
}

#[tokio::test]
async fn an_unknown_trace_is_not_found() {
    let app = app().await;
    let response = app.get("/jaeger/api/traces/none").send().await.unwrap();
    assert_eq!(response.status(), 404);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["errors"], json!([{"code": 404, "msg": "trace not found"}]));
    assert_eq!(app.get("/jaeger/api/nothing").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn traces_are_searched_by_every_field() {
    let app = app().await;
    let check = async |query: &[(&str, &str)], expect: &[&str]| {
        assert_eq!(traces(&app, query).await, expect, "{query:?}");
    };
    check(&[("service", "rag")], &["three", "two", "one"]).await;
    check(&[("service", "code")], &["one"]).await;
    check(&[("service", "unknown_agent")], &["one"]).await;
    check(&[("service", "' or true")], &[]).await;
    check(&[("service", "rag"), ("operation", "embeddings")], &["three"]).await;
    check(&[("service", "rag"), ("operation", "all")], &["three", "two", "one"]).await;
    check(&[("service", "rag"), ("limit", "1")], &["three"]).await;
    check(&[("tags", r#"{"error":"true"}"#)], &["two"]).await;
    check(&[("tags", r#"{"error":"false"}"#)], &["three", "one"]).await;
    check(&[("tags", r#"{"model":"m2"}"#)], &["one"]).await;
    check(&[("tags", r#"{"http_status":504,"error_type":"timeout"}"#)], &["two"]).await;
    check(&[("tags", r#"{"region":"eu"}"#)], &["one"]).await;
    check(&[("tag", "region:eu"), ("tag", "model:m2")], &[]).await;
    check(&[("minDuration", "1s"), ("maxDuration", "2s")], &["one"]).await;
    check(&[("minDuration", "10s")], &["two"]).await;
    check(&[("maxDuration", "100ms")], &["three"]).await;
    let (start, end) = ((NOW_US - 400_000_000).to_string(), (NOW_US - 200_000_000).to_string());
    check(&[("service", "rag"), ("start", &start), ("end", &end)], &["two"]).await;
    check(&[("traceID", "one"), ("traceID", "old"), ("traceID", "none")], &["one", "old"]).await;
    check(&[("lookback", "1h"), ("unknown", "x")], &["three", "two", "one"]).await;
    for wrong in ["tags=[1]", "tag=x", "minDuration=long", "start=x", "limit=x", "tags={\"http_status\":\"x\"}"] {
        let response = app.get(&format!("/jaeger/api/traces?{wrong}")).send().await.unwrap();
        assert_eq!(response.status(), 400, "{wrong}");
        assert!(response.json::<Value>().await.unwrap()["errors"][0]["msg"].is_string(), "{wrong}");
    }
}

#[tokio::test]
async fn answers_are_bounded() {
    let app = TestApp::start_with(|config| {
        config.jaeger.traces_max = 2;
        config.jaeger.calls_max = 3;
    })
    .await;
    let records: String = (0..9).map(|n| call(-60 - n, &format!("t{}", n % 3), &json!({}))).collect();
    app.logs(records).await;
    assert_eq!(traces(&app, &[("limit", "50")]).await.len(), 2);
    let answer = json_of(app.get("/jaeger/api/traces").query(&[("limit", "50")])).await;
    let spans: usize =
        answer["data"].as_array().unwrap().iter().map(|trace| trace["spans"].as_array().unwrap().len()).sum();
    assert_eq!(spans, 3);
    assert!(answer["data"][0]["warnings"][0].as_str().unwrap().contains("jaeger.calls_max"));
}
