//! The JSON datasource of Grafana: every route, shape, operator and error, and the dashboards that ship.

use std::{collections::BTreeSet, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, json as json_of};

/// A call so many seconds from noon of 2026-05-14, with what is special about it.
fn call(second: i64, id: &str, special: &Value) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOW_US + second * 1_000_000).unwrap();
    let mut record = json!({
        "timestamp": time.to_rfc3339(), "request_id": id, "session_id": format!("s-{id}"), "agent_id": "rag",
        "tenant_id": "t1", "model": "gpt-4.1", "cost_usd": 0.25, "latency_ms": 1_000.0, "prompt_tokens": 100,
        "completion_tokens": 20, "http_status": 200,
    });
    record.as_object_mut().unwrap().extend(special.as_object().unwrap().clone());
    format!("{record}\n")
}

/// Five calls of two agents, two tenants and three models; one names no model. The last two wait for their commit.
async fn five() -> TestApp {
    let app = TestApp::start().await;
    app.logs(
        call(-3_600, "a", &json!({}))
            + &call(
                -1_800,
                "b",
                &json!({ "agent_id": "code", "model": "gpt-4.1-mini", "tenant_id": "t2", "cost_usd": 0.5 }),
            )
            + &call(-900, "c", &json!({ "model": "o'3|x", "latency_ms": 5_000.0, "region": "eu" })),
    )
    .await;
    app.flush().await;
    let tool = json!({ "name": "search", "latency_ms": 7.0, "status": "error" });
    app.logs(
        call(-600, "d", &json!({ "model": null, "error": "no", "error_type": "provider_error", "http_status": 503 }))
            + &call(-60, "e", &json!({ "agent_id": "code", "tool_calls": [tool], "cost_usd": 1.0 })),
    )
    .await;
    app
}

/// A request as the plugin sends it.
fn request(targets: Value, more: Value) -> Value {
    let mut body = json!({
        "requestId": "Q101", "app": "dashboard", "panelId": 2, "dashboardUID": "d", "timezone": "browser",
        "range": {"from": "2026-05-14T10:00:00.000Z", "to": "2026-05-14T12:00:00.000Z",
                  "raw": {"from": "now-2h", "to": "now"}},
        "rangeRaw": {"from": "now-2h", "to": "now"}, "interval": "1m", "intervalMs": 60_000, "maxDataPoints": 1_440,
        "targets": targets, "scopedVars": {"team": {"selected": false, "text": ["a"], "value": ["a", "b"]}},
        "filters": [], "startTime": 1_778_760_000_000_i64,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn target(metric: &str, payload: Value) -> Value {
    json!({"refId": "A", "target": metric, "payload": payload, "editorMode": "builder", "datasource": {"uid": "d"}})
}

async fn query(app: &TestApp, body: &Value) -> Vec<Value> {
    json_of(app.post("/grafana/query").json(body)).await.as_array().unwrap().clone()
}

async fn one(app: &TestApp, metric: &str, payload: Value) -> Value {
    query(app, &request(json!([target(metric, payload)]), json!({}))).await[0].clone()
}

/// Status, message and code of a request that must fail, in the shape that Grafana shows.
async fn refused(app: &TestApp, path: &str, body: &Value) -> (u16, String, String) {
    let response = app.post(path).json(body).send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["message"], body["error"]["message"], "{body}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (status, text(&body["message"]), text(&body["error"]["code"]))
}

/// The values of a table's column.
fn column(table: &Value, name: &str) -> Vec<Value> {
    let at = table["columns"].as_array().unwrap().iter().position(|column| column["text"] == name).unwrap();
    table["rows"].as_array().unwrap().iter().map(|row| row[at].clone()).collect()
}

fn notices(element: &Value) -> Vec<&str> {
    let notices = element["meta"]["notices"].as_array().map(Vec::as_slice).unwrap_or_default();
    notices.iter().map(|notice| notice["text"].as_str().unwrap()).collect()
}

/// What Grafana's `toDataFrame` takes: a series, or a table with rows.
#[track_caller]
fn check_element(element: &Value, context: &str) {
    assert!(element["refId"].is_string(), "{context}: {element}");
    if let Some(points) = element["datapoints"].as_array() {
        assert!(element["target"].is_string() && element["tags"].is_object(), "{context}: {element}");
        for point in points {
            assert!(point[0].is_number() || point[0].is_null(), "{context}: {point}");
            assert!(point[1].as_i64().is_some_and(|ms| ms > 1_000_000_000_000), "{context}: {point}");
        }
        return;
    }
    assert_eq!(element["type"], "table", "{context}: {element}");
    let columns = element["columns"].as_array().unwrap();
    for column in columns {
        let known = ["time", "number", "string", "boolean"];
        assert!(column["text"].is_string() && known.contains(&column["type"].as_str().unwrap()), "{context}: {column}");
    }
    for row in element["rows"].as_array().unwrap() {
        assert_eq!(row.as_array().unwrap().len(), columns.len(), "{context}: {row}");
    }
}

#[tokio::test]
async fn somebody_is_there() {
    let app = TestApp::start().await;
    for path in ["/grafana", "/grafana/"] {
        assert_eq!(app.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    let response = app.get("/grafana/nothing").send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert!(response.json::<Value>().await.unwrap()["message"].as_str().unwrap().contains("/grafana/nothing"));
}

#[tokio::test]
async fn every_metric_is_listed_and_answers() {
    let app = five().await;
    let metrics = json_of(app.post("/grafana/metrics").json(&json!({}))).await;
    assert_eq!(metrics, json_of(app.post("/grafana/metrics")).await);
    assert_eq!(metrics, json_of(app.post("/grafana/metrics").json(&json!({"metric": "x", "payload": {}}))).await);
    let metrics = metrics.as_array().unwrap();
    let names: Vec<&str> = metrics.iter().map(|metric| metric["value"].as_str().unwrap()).collect();
    for name in
        ["sql", "kpi_alerts", "kpi_card", "drift", "cost_total", "cost_over_time", "ttft_p95", "llm_error_ratio"]
    {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    let searched = json_of(app.post("/grafana/search").json(&json!({"target": ""}))).await;
    assert_eq!(searched, json!(names));
    let mut columns = BTreeSet::new();
    for metric in metrics {
        let name = metric["value"].as_str().unwrap();
        let fields = metric["payloads"].as_array().unwrap();
        for field in fields {
            let kinds = ["input", "select", "multi-select", "textarea"];
            assert!(kinds.contains(&field["type"].as_str().unwrap()) && field["name"].is_string(), "{name}: {field}");
            // What a column may be set to is the same for every metric.
            let field_name = field["name"].as_str().unwrap();
            if ["tenant_id", "agent_id", "model"].contains(&field_name) && !columns.insert(field_name) {
                continue;
            }
            let body = json!({"metric": name, "payload": {}, "name": field["name"]});
            let options = json_of(app.post("/grafana/metric-payload-options").json(&body)).await;
            for option in options.as_array().unwrap() {
                assert!(option["value"].is_string() && option["label"].is_string(), "{name}: {option}");
            }
            let needs = field["type"] == "select";
            assert!(!needs || !options.as_array().unwrap().is_empty(), "{name}: {field} has no options");
        }
        let payload = match name {
            "sql" => json!({"q": "select 1 as one"}),
            "session_calls" => json!({"session_id": "s-a"}),
            "trace_calls" => json!({"trace_id": "t"}),
            _ => json!({}),
        };
        for format in ["", "table"] {
            let mut payload = payload.clone();
            payload["format"] = format.into();
            let body = request(json!([target(name, payload)]), json!({}));
            let answer = tokio::time::timeout(Duration::from_secs(90), query(&app, &body)).await;
            for element in answer.unwrap_or_else(|_| panic!("{name} does not end")) {
                check_element(&element, name);
            }
        }
    }
}

#[tokio::test]
async fn rows_become_series() {
    let app = five().await;
    let answer = query(
        &app,
        &request(
            json!([
                {"refId": "A", "target": "cost_over_time", "payload": {"values": "cost_usd", "interval": "1 hour"}},
                {"refId": "B", "target": "cost_over_time",
                 "payload": {"values": ["cost_usd"], "group_by": "agent_id", "interval": "1 hour"}},
                {"refId": "C", "target": "error_rate", "payload": {"group_by": "model", "grain": "day"}},
            ]),
            json!({}),
        ),
    )
    .await;
    let hour = |hour: i64| 1_778_760_000_000 + (hour - 12) * 3_600_000;
    assert_eq!(
        answer[0],
        json!({"target": "cost_usd", "title": "cost_usd", "refId": "A", "unit": "currencyUSD", "tags": {},
               "datapoints": [[2.25, hour(11)]]}),
    );
    let told: Vec<Value> = answer[1..]
        .iter()
        .map(|series| json!([series["refId"], series["title"], series["tags"], series["datapoints"], series["unit"]]))
        .collect();
    assert_eq!(
        Value::from(told),
        json!([
            ["B", "code", {"agent_id": "code"}, [[1.5, hour(11)]], "currencyUSD"],
            ["B", "rag", {"agent_id": "rag"}, [[0.75, hour(11)]], "currencyUSD"],
            ["C", "gpt-4.1", {"model": "gpt-4.1"}, [[0.0, hour(0)]], "percentunit"],
            ["C", "gpt-4.1-mini", {"model": "gpt-4.1-mini"}, [[0.0, hour(0)]], "percentunit"],
            ["C", "o'3|x", {"model": "o'3|x"}, [[0.0, hour(0)]], "percentunit"],
            ["C", "(none)", {"model": ""}, [[1.0, hour(0)]], "percentunit"],
        ])
    );
    // The panel's width decides how long a bucket is: two hours in six points are buckets of half an hour.
    let narrow = request(json!([target("traffic_over_time", json!({"values": "calls"}))]), json!({"maxDataPoints": 6}));
    assert_eq!(query(&app, &narrow).await[0]["datapoints"], json!([[1.0, hour(11)], [4.0, hour(11) + 1_800_000]]));
}

#[tokio::test]
async fn rows_become_tables() {
    let app = five().await;
    let table = one(&app, "cost_by_agent_hourly", json!({"format": "table", "values": "hour,agent_id,cost_usd"})).await;
    assert_eq!(
        table,
        json!({
            "type": "table", "refId": "A", "name": "cost_by_agent_hourly",
            "columns": [{"text": "hour", "type": "time"}, {"text": "agent_id", "type": "string"},
                        {"text": "cost_usd", "type": "number", "unit": "currencyUSD"}],
            "rows": [[1_778_756_400_000_i64, "code", 1.5], [1_778_756_400_000_i64, "rag", 0.75]],
        })
    );
    // What older versions send, and what is no series by nature.
    let old =
        json!([{"refId": "B", "target": "cost_over_time", "type": "table"}, {"refId": "C", "target": "cost_total"}]);
    let answer = query(&app, &request(old, json!({}))).await;
    assert_eq!(answer.iter().map(|table| table["type"].clone()).collect::<Vec<_>>(), ["table", "table"]);
    assert_eq!(column(&answer[1], "calls"), [5]);
}

#[tokio::test]
async fn every_filter_holds() {
    let app = five().await;
    let check = async |key: &str, operator: &str, value: Value, values: Value, expect: &[&str]| {
        let mut filter = json!({"key": key, "operator": operator, "value": value});
        if !values.is_null() {
            filter["values"] = values.clone();
        }
        let statement = "select request_id from agent_logs order by 1";
        let body = request(json!([target("sql", json!({ "q": statement }))]), json!({ "filters": [filter] }));
        let table = query(&app, &body).await[0].clone();
        assert_eq!(column(&table, "request_id"), expect, "{key} {operator} {value} {values}");
    };
    let none = Value::Null;
    check("model", "=", json!("gpt-4.1"), none.clone(), &["a", "e"]).await;
    check("model", "!=", json!("gpt-4.1"), none.clone(), &["b", "c", "d"]).await;
    check("model", "=~", json!("gpt-.*"), none.clone(), &["a", "b", "e"]).await;
    check("model", "=~", json!("gpt"), none.clone(), &[]).await;
    check("model", "=~", json!("gpt-4.1|o'3\\|x"), none.clone(), &["a", "c", "e"]).await;
    check("model", "!~", json!("gpt-.*"), none.clone(), &["c", "d"]).await;
    check("model", "=|", json!("gpt-4.1"), json!(["gpt-4.1", "o'3|x"]), &["a", "c", "e"]).await;
    check("model", "!=|", json!("gpt-4.1"), json!(["gpt-4.1", "o'3|x"]), &["b", "d"]).await;
    check("model", "<", json!("gpt-4.1-m"), none.clone(), &["a", "e"]).await;
    check("model", ">", json!("gpt-4.1"), none.clone(), &["b", "c"]).await;
    check("model", "=", json!(""), none.clone(), &["d"]).await;
    check("model", "!=", json!(""), none.clone(), &["a", "b", "c", "e"]).await;
    check("model", "=|", json!(""), json!(["", "gpt-4.1-mini"]), &["b", "d"]).await;
    check("model", "!=|", json!(""), json!(["", "gpt-4.1-mini"]), &["a", "c", "e"]).await;
    check("model", "=", json!("' or true --"), none.clone(), &[]).await;
    check("latency_ms", ">", json!("1000"), none.clone(), &["c"]).await;
    check("latency_ms", "<", json!(1000.5), none.clone(), &["a", "b", "d", "e"]).await;
    check("latency_ms", "=", json!("5e3"), none.clone(), &["c"]).await;
    check("http_status", "!=", json!("200"), none.clone(), &["d"]).await;
    check("http_status", "=|", json!("200"), json!(["503", "404"]), &["d"]).await;
    check("http_status", "!=|", json!("200"), json!(["200"]), &["d"]).await;
    check("http_status", "=~", json!("5.."), none.clone(), &["d"]).await;
    check("http_status", "!~", json!("5.."), none.clone(), &["a", "b", "c", "e"]).await;
    check("task_completed", "=", json!("true"), none.clone(), &[]).await;
    check("task_completed", "!=", json!("true"), none.clone(), &["a", "b", "c", "d", "e"]).await;
    check("attributes.region", "=", json!("eu"), none.clone(), &["c"]).await;
    check("attributes.region", "!=", json!("eu"), none, &["a", "b", "d", "e"]).await;
}

#[tokio::test]
async fn filters_hold_below_views_and_subqueries() {
    let app = five().await;
    let filters = json!({ "filters": [{"key": "agent_id", "operator": "=", "value": "code"}] });
    let check = async |statement: &str, expect: Value| {
        let body = request(json!([target("sql", json!({"q": statement, "format": "table"}))]), filters.clone());
        assert_eq!(query(&app, &body).await[0]["rows"], expect, "{statement}");
    };
    check("select count(*) from agent_logs", json!([[2]])).await;
    check("select count(*) from stored.agent_logs", json!([[2]])).await;
    check("select count(*), sum(calls) from sessions", json!([[2, 2]])).await;
    check("select tool from tool_calls", json!([["search"]])).await;
    check(
        "with a as (select * from agent_logs) select count(*) from a union all select count(*) from a",
        json!([[2], [2]]),
    )
    .await;
    check("select 1 where exists (select 1 from agent_logs where agent_id = 'rag')", json!([])).await;
    check("select count(*) from agent_logs l join agent_logs r on l.request_id = r.request_id", json!([[2]])).await;
    check(
        "select (select max(agent_id) from agent_logs), (select min(agent_id) from agent_logs)",
        json!([["code", "code"]]),
    )
    .await;
    let body = request(json!([target("rejected_lines", json!({}))]), filters.clone());
    assert_eq!(notices(&query(&app, &body).await[0]), ["it reads no calls, so filters do not hold for it"]);
    // From rollups as from the calls.
    app.flush().await;
    let before = query(&app, &request(json!([target("cost", json!({}))]), filters.clone())).await;
    let engine = app.daemon.as_ref().unwrap().engine();
    while engine.rollups().unwrap().build_next(engine, Duration::ZERO).await.unwrap() {}
    assert_eq!(query(&app, &request(json!([target("cost", json!({}))]), filters)).await, before);
    assert_eq!(before[0]["datapoints"][0][0], 1.5);
}

#[tokio::test]
async fn variables_are_read_back() {
    let app = five().await;
    let calls = async |payload: Value| {
        let table = one(&app, "cost_total", payload).await;
        column(&table, "calls")[0].as_i64().unwrap()
    };
    for (payload, expect) in [
        (json!({"model": "gpt-4\\.1"}), 2),
        (json!({"model": "(gpt-4\\.1|o'3\\|x)"}), 3),
        (json!({"model": ["gpt-4\\.1", "gpt-4\\.1-mini"]}), 3),
        (json!({"model": ".*", "tenant_id": "", "agent_id": "$__all"}), 5),
        (json!({"tenant_id": "(t1|t2)", "agent_id": "code"}), 2),
        (json!({"provider": "x"}), 0),
        (json!({"attributes.region": "(eu|us)"}), 1),
        (json!({"filters": "model =~ gpt.*\ntenant_id = (t1|t3)"}), 2),
        (json!({"filters": [{"key": "model", "operator": "!=", "value": "gpt-4.1"}]}), 3),
        (json!("{\"tenant_id\": \"t2\"}"), 1),
        (json!("not json"), 5),
        (json!(null), 5),
        (json!({"unknown": "x"}), 5),
    ] {
        assert_eq!(calls(payload.clone()).await, expect, "{payload}");
    }
    let unknown = one(&app, "cost_total", json!({"unknown": "x"})).await;
    assert_eq!(notices(&unknown), ["unknown is neither a parameter nor a column, and is passed over"]);
    // A variable of metrics is several of them.
    let several = query(&app, &request(json!([target("(cost_total|errors_by_type)", json!({}))]), json!({}))).await;
    assert_eq!(several.iter().map(|table| table["name"].clone()).collect::<Vec<_>>(), ["cost_total", "errors_by_type"]);
}

#[tokio::test]
async fn requests_may_lack_and_add_fields() {
    let app = five().await;
    let check = async |body: Value, expect: usize| {
        let answer = query(&app, &body).await;
        assert_eq!(answer.len(), expect, "{body}");
        answer.iter().for_each(|element| check_element(element, "tolerated"));
    };
    check(json!({}), 0).await;
    check(json!({"targets": []}), 0).await;
    check(json!({"targets": [{"refId": "A"}, {"refId": "B", "target": ""}]}), 0).await;
    check(json!({"targets": [{"target": "cost_total"}]}), 1).await;
    check(json!({"targets": [{"target": "cost_total", "hide": true}]}), 0).await;
    check(json!({"panelId": "x", "maxDataPoints": "7", "intervalMs": "1", "targets": [{"refId": 3, "target": "cost_total"}]}), 1).await;
    check(
        json!({"panelId": null, "filters": null, "scopedVars": 5, "range": {}, "targets": [{"target": "cost_total"}]}),
        1,
    )
    .await;
    let from_ms =
        json!({"range": {"from": 1_778_752_800_000_i64, "to": "1778760000000"}, "targets": [{"target": "cost_total"}]});
    assert_eq!(column(&query(&app, &from_ms).await[0], "calls"), [5]);
    assert_eq!(query(&app, &from_ms).await[0]["refId"], "A");
    let response = app.post("/grafana/query").body("").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, "[]"));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let app = five().await;
    let check = async |body: Value, status: u16, code: &str, words: &str| {
        let (found, message, found_code) = refused(&app, "/grafana/query", &body).await;
        assert_eq!((found, found_code.as_str()), (status, code), "{message}");
        assert!(message.contains(words), "{message}");
    };
    let of = |metric: &str, payload: Value| request(json!([target(metric, payload)]), json!({}));
    check(of("nothing", json!({})), 404, "not_found", "target A: there is no metric nothing; there are sql,").await;
    check(of("sql", json!({})), 400, "invalid", "the payload's q is empty").await;
    check(of("sql", json!({"q": "drop table agent_logs"})), 400, "invalid", "read-only").await;
    check(of("sql", json!({"q": "select 1; select 2"})), 400, "invalid", "").await;
    check(of("trace_calls", json!({})), 400, "invalid", "parameter `trace_id`: required").await;
    check(of("slow_requests", json!({"limit": "many"})), 400, "invalid", "`many` is no int").await;
    check(of("cost_total", json!({"format": "pie"})), 400, "invalid", "format: pie is none of series, table").await;
    check(of("errors_by_type", json!({"format": "series", "values": "x"})), 400, "invalid", "values: x is none of")
        .await;
    check(of("cost", json!({"group_by": "region"})), 400, "invalid", "group_by: region is none of").await;
    check(of("cost", json!({"grain": "week"})), 400, "invalid", "`week` is none of hour, day, month").await;
    check(of("cost_total", json!({"filters": "model ~ x"})), 400, "invalid", "filter model ~ x").await;
    check(of("drift", json!({"column": "nothing"})), 400, "invalid", "no column nothing").await;
    check(of("kpi_alerts", json!({"kpi": "nothing"})), 404, "not_found", "there is no KPI nothing").await;
    let filtered = |filter: Value| request(json!([target("cost_total", json!({}))]), json!({ "filters": [filter] }));
    check(filtered(json!({"key": "nothing", "operator": "="})), 400, "invalid", "no column to filter by").await;
    check(filtered(json!({"key": "model", "operator": "~"})), 400, "invalid", "operator ~ is none of").await;
    check(filtered(json!({"key": "latency_ms", "value": "x"})), 400, "invalid", "holds numbers, and x is none").await;
    check(filtered(json!({"key": "model", "operator": "=~", "value": "("})), 400, "invalid", "regular expression")
        .await;
    check(request(json!([]), json!({"range": {"from": "now", "to": "now-1h"}})), 400, "invalid", "not before").await;
    let response = app.post("/grafana/query").body("{").send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.json::<Value>().await.unwrap()["message"].as_str().unwrap().contains("not JSON"));
}

#[tokio::test]
async fn everything_is_bounded() {
    let app = TestApp::start_with(|config| {
        config.grafana.body_bytes_max = 4_096;
        config.grafana.targets_max = 2;
        config.grafana.rows_max = 5_000;
        config.grafana.series_max = 3;
        config.grafana.points_max = 1_000;
        config.grafana.values_max = 2;
    })
    .await;
    app.logs(
        (0..5).map(|n| call(-60 - n, &format!("r{n}"), &json!({ "agent_id": format!("a{n}") }))).collect::<String>(),
    )
    .await;
    let check = async |body: Value, status: u16, words: &str| {
        let (found, message, _) = refused(&app, "/grafana/query", &body).await;
        assert_eq!(found, status, "{message}");
        assert!(message.contains(words), "{message}");
    };
    let of = |metric: &str, payload: Value| request(json!([target(metric, payload)]), json!({}));
    check(of("sql", json!({"q": format!("select '{}'", "x".repeat(5_000))})), 413, "grafana.body_bytes_max").await;
    let three =
        json!([target("cost_total", json!({})), target("cost_total", json!({})), target("cost_total", json!({}))]);
    check(request(three, json!({})), 422, "3 targets, at most 2").await;
    check(of("sql", json!({"q": "select * from generate_series(1, 5001)"})), 422, "grafana.rows_max").await;
    check(of("sql", json!({"q": "select * from generate_series(1, 1001)"})), 422, "grafana.points_max").await;
    check(of("cost", json!({"group_by": "agent_id"})), 422, "grafana.series_max").await;
    let values = json_of(app.post("/grafana/tag-values").json(&json!({"key": "agent_id"}))).await;
    assert_eq!(values.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn long_series_keep_their_extremes() {
    let app = TestApp::start().await;
    let statement = "select to_timestamp_seconds(1778752800 + value) as time, case value when 777 then 1e6 \
                     when 1234 then -1e6 else value % 7 end as v from generate_series(0, 4999)";
    let body = request(json!([target("sql", json!({ "q": statement }))]), json!({"maxDataPoints": 100}));
    let series = query(&app, &body).await[0].clone();
    let points = series["datapoints"].as_array().unwrap();
    assert!(points.len() <= 100 && points.len() > 50, "{}", points.len());
    let from_ms = 1_778_752_800_000_i64;
    assert!(points.contains(&json!([1e6, from_ms + 777_000])) && points.contains(&json!([-1e6, from_ms + 1_234_000])));
    assert!(notices(&series)[0].starts_with("1 of 1 series have more than 100 points"), "{series}");
}

#[tokio::test]
async fn statements_take_the_range_and_values() {
    let app = five().await;
    let check = async |payload: Value, expect: Value| {
        assert_eq!(one(&app, "sql", payload.clone()).await["rows"], expect, "{payload}");
    };
    check(
        json!({"q": "select $from as f, $to as t, $interval as i, $interval_ms as ms", "format": "table"}),
        json!([[1_778_752_800_000_i64, 1_778_760_000_000_i64, "60 seconds", 60_000]]),
    )
    .await;
    check(json!({"q": "select count(*) from agent_logs where timestamp >= $from and timestamp < $to and cost > cast($least as double)",
                 "least": "0.3", "format": "table"}), json!([[2]])).await;
    check(json!({"q": "select $word", "word": "a'b", "format": "table"}), json!([["a'b"]])).await;
    check(json!({"q": "select count(*) from agent_logs", "tenant_id": "(t2|t3)"}), json!([[1]])).await;
    let series = one(
        &app,
        "sql",
        json!({
            "q": "select time_bucket($interval, timestamp) as time, agent_id, count(*) as calls from agent_logs \
                  where timestamp >= $from and timestamp < $to group by 1, 2",
            "group_by": "agent_id",
        }),
    )
    .await;
    check_element(&series, "a statement of series");
}

#[tokio::test]
async fn there_is_something_to_choose_from() {
    let app = five().await;
    let keys = json_of(app.post("/grafana/tag-keys")).await;
    assert_eq!(keys, json_of(app.post("/grafana/tag-keys").json(&json!({"filters": []}))).await);
    let keys = keys.as_array().unwrap();
    assert!(keys.contains(&json!({"type": "string", "text": "model"})));
    assert!(keys.contains(&json!({"type": "number", "text": "latency_ms"})));
    assert!(!keys.iter().any(|key| ["attributes", "timestamp", "tool_calls"].contains(&key["text"].as_str().unwrap())));
    let values = async |path: &str, body: Value, field: &str| {
        let values = json_of(app.post(path).json(&body)).await;
        values.as_array().unwrap().iter().map(|value| value[field].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let tags = async |body: Value| values("/grafana/tag-values", body, "text").await;
    assert_eq!(tags(json!({"key": "model"})).await, ["gpt-4.1", "gpt-4.1-mini", "o'3|x"]);
    let filters =
        json!([{"key": "agent_id", "operator": "=", "value": "code"}, {"key": "model", "operator": "=", "value": "x"}]);
    assert_eq!(tags(json!({"key": "model", "filters": filters})).await, ["gpt-4.1", "gpt-4.1-mini"]);
    assert_eq!(tags(json!({"key": "attributes.region"})).await, ["eu"]);
    let lately = json!({"from": "now-20m", "to": "now"});
    assert_eq!(tags(json!({"key": "agent_id", "timeRange": lately})).await, ["rag", "code"]);
    let variable = async |body: Value| values("/grafana/variable", body, "__value").await;
    assert_eq!(variable(json!({"payload": {"target": "agent_id"}})).await, ["rag", "code"]);
    assert_eq!(variable(json!({"payload": "agent_id", "range": lately})).await, ["rag", "code"]);
    assert_eq!(variable(json!({"payload": {"target": "model where tenant_id = (t2|t9)"}})).await, ["gpt-4.1-mini"]);
    assert_eq!(variable(json!({"payload": {"target": "tenant_id where agent_id = .*"}})).await, ["t1", "t2"]);
    assert_eq!(variable(json!({"payload": {"target": "model", "agent_id": ["rag"]}})).await, ["gpt-4.1", "o'3|x"]);
    assert_eq!(variable(json!({"payload": {"target": "cost_by_agent_daily"}})).await, ["code", "rag"]);
    assert_eq!(variable(json!({"payload": {"target": "errors_by_type", "text": "http_status"}})).await, ["503"]);
    assert_eq!(variable(json!({"payload": {"target": "attributes\\.region"}})).await, ["eu"]);
    let wrong = async |path: &str, body: Value| refused(&app, path, &body).await.0;
    assert_eq!(wrong("/grafana/variable", json!({"payload": {"target": "nothing"}})).await, 404);
    assert_eq!(wrong("/grafana/variable", json!({})).await, 400);
    assert_eq!(wrong("/grafana/tag-values", json!({})).await, 400);
    assert_eq!(wrong("/grafana/tag-values", json!({"key": "nothing"})).await, 400);
    assert_eq!(wrong("/grafana/metric-payload-options", json!({"metric": "nothing", "name": "x"})).await, 404);
}

#[tokio::test]
async fn what_is_judged_comes_as_annotations() {
    let app = TestApp::start().await;
    let failed = json!({"error": "overloaded", "error_type": "provider_error", "http_status": 503});
    let calls = |second: i64, count: i64, name: &str, special: &Value| -> String {
        (0..count).map(|n| call(second + n, &format!("{name}-{n}"), special)).collect()
    };
    app.logs(
        calls(-3 * 3_600, 40, "a", &json!({})) + &calls(-3_600, 20, "b", &failed) + &calls(-3_480, 40, "c", &json!({})),
    )
    .await;
    app.logs(
        calls(-90_000, 60, "d", &json!({"latency_ms": 10.0})) + &calls(-1_800, 60, "e", &json!({"latency_ms": 900.0})),
    )
    .await;
    let alerts = one(&app, "kpi_alerts", json!({"kpi": "error_rate", "group_by": "agent_id"})).await;
    assert_eq!(column(&alerts, "title"), ["error_rate of rag"]);
    assert_eq!(column(&alerts, "time"), [1_778_756_400_000_i64]);
    assert_eq!(column(&alerts, "timeEnd"), [1_778_760_000_000_i64]);
    assert_eq!(column(&alerts, "text"), ["0.1667 ratio, alert > 0.05, 120 samples"]);
    // Whatever a variable is set to narrows what is judged.
    let asked = |tenants: &str| json!({"kpi": "(error_rate|latency_p95)", "state": "all", "tenant_id": tenants});
    let all = one(&app, "kpi_alerts", asked("(t1|t2)")).await;
    assert!(notices(&all).is_empty() && !column(&all, "title").is_empty(), "{all}");
    assert!(column(&one(&app, "kpi_alerts", asked("(a|b)")).await, "title").is_empty());
    check_element(&one(&app, "kpi_alerts", json!({})).await, "all KPIs");
    // KPIs that are asked together are judged as each alone, also what no call carries.
    let asked = |kpi: &str| json!({"kpi": kpi, "state": "all"});
    let together = one(&app, "kpi_alerts", asked("(error_rate|groundedness|tool_failure_rate)")).await;
    for name in ["kpi", "tags", "value", "samples"] {
        let mut alone = Vec::new();
        for kpi in ["error_rate", "groundedness", "tool_failure_rate"] {
            alone.extend(column(&one(&app, "kpi_alerts", asked(kpi)).await, name));
        }
        assert_eq!(column(&together, name), alone, "{name}");
    }
    assert!(column(&together, "tags").contains(&json!("not_measured")), "{together}");
    let outages = one(&app, "outages", json!({"agent_id": "rag"})).await;
    assert_eq!(
        (column(&outages, "began"), column(&outages, "ended")),
        (vec![json!(1_778_756_400_000_i64)], vec![json!(1_778_756_520_000_i64)])
    );
    assert_eq!((column(&outages, "length"), column(&outages, "unanswered")), (vec![json!(2.0)], vec![json!(20)]));
    let drift = json!({"column": "latency_ms", "group_by": "agent_id", "reference_days": 7, "verdict": "all"});
    let drift = one(&app, "drift", drift).await;
    assert_eq!((column(&drift, "group"), column(&drift, "n_reference")), (vec![json!("rag")], vec![json!(100)]));
    assert_eq!(column(&drift, "time"), [1_778_752_800_000_i64]);
    let of_none = json!({"column": "latency_ms", "agent_id": "(a|b)", "verdict": "all"});
    assert!(column(&one(&app, "drift", of_none).await, "group").is_empty());
    let card = one(&app, "kpi_card", json!({"tenant_id": "t1"})).await;
    assert!(column(&card, "kpi").contains(&json!("error_rate")));
    let samples = |card: &Value| column(card, "samples").iter().filter_map(Value::as_u64).sum::<u64>();
    let of_none = one(&app, "kpi_card", json!({"tenant_id": "(a|b)"})).await;
    assert!(notices(&card).is_empty() && samples(&card) > 0 && samples(&of_none) == 0, "{card} {of_none}");
    assert_eq!(
        column(&card, "kpi").len(),
        column(&one(&app, "kpi_card", json!({"month": "2026-04"})).await, "kpi").len()
    );
}

#[tokio::test]
async fn rows_come_in_pages() {
    let app = five().await;
    let ids = async |name: &str, arguments: &[(&str, &str)], field: &str| {
        let rows = json_of(app.get(&format!("/api/v1/queries/{name}")).query(arguments)).await;
        rows.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    // One without a limit of its own, and one with.
    let models = async |arguments: &[(&str, &str)]| ids("cost_by_model_daily", arguments, "model").await;
    let all = models(&[]).await;
    assert_eq!(all.len(), 4);
    assert_eq!(models(&[("offset", "1"), ("limit", "2")]).await, all[1..3]);
    assert_eq!(models(&[("offset", "3")]).await, all[3..]);
    assert_eq!(models(&[("offset", "9"), ("limit", "9")]).await, [""; 0]);
    assert_eq!(models(&[("limit", "")]).await, all);
    let slow = async |arguments: &[(&str, &str)]| {
        let wanted = [&[("threshold_ms", "1")][..], arguments].concat();
        ids("slow_requests", &wanted, "request_id").await
    };
    let all = slow(&[]).await;
    assert_eq!(all.len(), 5);
    assert_eq!(slow(&[("limit", "2")]).await, all[..2]);
    assert_eq!(slow(&[("offset", "2"), ("limit", "2")]).await, all[2..4]);
    assert_eq!(slow(&[("offset", "4")]).await, all[4..]);
    // Times as Grafana's macros write them.
    for (from, to) in [("2026-05-14T11:00:00.000Z", "2026-05-14T11:45:00Z"), ("1778756400000", "1778759100000")] {
        assert_eq!(slow(&[("from", from), ("to", to)]).await.len(), 2, "{from}");
    }
    let response = app.get("/api/v1/queries/cost_by_model_daily?offset=x").send().await.unwrap();
    assert_eq!(response.status(), 400);
}

fn dashboards(variant: &str) -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/grafana").join(variant);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        found.push((name, serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()));
    }
    assert_eq!(found.len(), 6, "{variant}");
    found
}

/// The targets of a dashboard's panels and annotations.
fn targets(dashboard: &Value) -> Vec<Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let annotations = annotations.filter(|one| one["builtIn"].is_null()).map(|one| &one["target"]);
    panels.chain(annotations).cloned().collect()
}

#[tokio::test]
async fn every_target_of_every_dashboard_answers() {
    let app = five().await;
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards("driftline") {
        assert_eq!(dashboard["schemaVersion"], 42);
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()));
        for mut target in targets(&dashboard) {
            assert_eq!(target["datasource"]["uid"], "driftline");
            // As the plugin puts variables in, several values and all.
            for (tenant, days) in [(".*", "7"), ("(t1|t2)", "1")] {
                for value in target["payload"].as_object_mut().unwrap().values_mut() {
                    let text = value.as_str().unwrap();
                    let text = text.replace("$tenant", tenant).replace("$agent", ".*").replace("$model", ".*");
                    *value = text.replace("$reference_days", days).into();
                }
                let body = request(json!([target]), json!({}));
                for element in query(&app, &body).await {
                    check_element(&element, &format!("{name}: {target}"));
                }
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            if variable["type"] == "query" {
                let asked = variable["query"]["query"].as_str().unwrap().replace("$tenant", "(t1|t2)");
                let values = json_of(app.post("/grafana/variable").json(&json!({"payload": {"target": asked}}))).await;
                assert!(!values.as_array().unwrap().is_empty(), "{name}: {variable}");
            }
        }
    }
}

#[test]
fn prometheus_dashboards_name_series_that_exist() {
    let documented = include_str!("../../docs/metrics.md");
    let mut names = BTreeSet::new();
    for (name, dashboard) in dashboards("prometheus") {
        for target in targets(&dashboard) {
            assert_eq!(target["datasource"]["uid"], "driftline-prometheus");
            let expr = target["expr"].as_str().unwrap();
            let words = expr.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            for word in words.filter(|word| word.starts_with("llm_") || word.starts_with("driftline_")) {
                let family =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
                assert!(documented.contains(&format!("`{family}`")), "{name}: {word} in {expr}");
                names.insert(family.to_owned());
            }
        }
    }
    assert!(names.len() > 15, "{names:?}");
}

#[test]
fn dashboards_are_what_their_script_makes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/grafana/dashboards.py");
    // Where there is no Python, `scripts/check-grafana.sh` cannot run either.
    let Ok(output) = std::process::Command::new("python3").arg(script).arg("--check").output() else { return };
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
