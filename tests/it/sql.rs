//! SQL over HTTP: formats, parameters, what is refused, bounds.

use std::io::Read;

use arrow::{array::RecordBatch, ipc::reader::StreamReader};
use driftline::query::QueryParams;
use serde_json::{Value, json};

use crate::app::{TestApp, failure, json as json_of, record};

async fn app_with_rows() -> TestApp {
    let app = TestApp::start().await;
    app.logs(record(-3, "a", "rag", 0.5) + &record(-2, "b", "code", 0.25)).await;
    app.flush().await;
    app.logs(record(-1, "c", "rag", 0.125)).await;
    app
}

#[tokio::test]
async fn committed_and_buffered_rows_are_one_table() {
    let app = app_with_rows().await;
    let statement = "select agent_id, count(*) as calls, sum(cost) as cost from agent_logs group by 1 order by 1";
    let rows = app.sql(statement).await;
    assert_eq!(
        rows,
        json!([{"agent_id": "code", "calls": 1, "cost": 0.25}, {"agent_id": "rag", "calls": 2, "cost": 0.625}])
    );
}

/// A statement holds what it was planned with, while the buffer fills anew.
#[tokio::test]
async fn buffered_rows_of_other_times_are_not_held() {
    let app = app_with_rows().await;
    let check = async |condition: &str, holds: bool, expected: Value| {
        let statement = format!("select request_id, timestamp from agent_logs where {condition} order by 1");
        let plan = app.sql(&format!("explain {statement}")).await.to_string();
        assert_eq!(plan.contains("partition_sizes"), holds, "{plan}");
        let rows = app.sql(&statement).await;
        let ids: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["request_id"]).collect();
        assert_eq!(json!(ids), expected, "{condition}");
    };
    check("timestamp < '2026-05-14T11:59:59'", false, json!(["a", "b"])).await;
    check("timestamp <= '2026-05-14T11:59:59'", true, json!(["a", "b", "c"])).await;
    check("timestamp >= '2026-05-14T11:59:59' and agent_id = 'rag'", true, json!(["c"])).await;
    check("timestamp > '2026-05-14T12:00:00'", true, json!([])).await;
    check("agent_id = 'rag'", true, json!(["a", "c"])).await;
    assert_eq!(app.sql("select count(*) as n from agent_logs").await, json!([{"n": 3}]));
}

#[tokio::test]
async fn every_format_carries_the_rows() {
    let app = app_with_rows().await;
    let statement = "select request_id, timestamp, tool_calls from agent_logs order by timestamp";
    let fetch = async |format: &str| {
        let request = app.get("/api/v1/sql").query(&[("q", statement), ("format", format)]);
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("x-query-id"));
        response.bytes().await.unwrap()
    };
    let rows: Value = serde_json::from_slice(&fetch("json").await).unwrap();
    assert_eq!(rows[0], json!({"request_id": "a", "timestamp": "2026-05-14T11:59:57.000000Z", "tool_calls": null}));
    assert_eq!(fetch("jsonl").await.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 3);
    let csv = String::from_utf8(fetch("csv").await.to_vec()).unwrap();
    assert_eq!(csv.lines().next_back().unwrap(), "c,2026-05-14T11:59:59.000000Z,");
    let arrow = fetch("arrow").await;
    let batches = StreamReader::try_new(arrow.as_ref(), None).unwrap();
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 3);
    assert_eq!(&fetch("parquet").await[..4], b"PAR1");
    let empty = app.get("/api/v1/sql").query(&[("q", "select 1 as one where false"), ("format", "csv")]);
    assert_eq!(empty.send().await.unwrap().text().await.unwrap(), "one\n");
}

/// Beyond what is held back before the head is sent, packed or not.
#[tokio::test]
async fn a_streamed_result_is_whole_in_any_packing() {
    let app = TestApp::start().await;
    let statement = "select value, md5(cast(value as varchar)) as text from generate_series(1, 20000) order by value";
    for format in ["json", "jsonl", "csv"] {
        let ask = async |packing: &str| {
            let query = [("q", statement), ("format", format)];
            let request = app.get("/api/v1/sql").query(&query).header("accept-encoding", packing);
            request.send().await.unwrap().bytes().await.unwrap()
        };
        let (plain, packed) = (ask("identity").await, ask("gzip").await);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert!(plain.len() > 512 * 1024 && unpacked == plain, "{format}: {} of {} bytes", unpacked.len(), plain.len());
        assert!(packed.len() < plain.len());
    }
}

#[tokio::test]
async fn parameters_are_bound_not_pasted() {
    let app = app_with_rows().await;
    let check = async |body: Value, expected: Value| {
        let rows = json_of(app.post("/api/v1/sql").json(&body)).await;
        assert_eq!(rows, expected, "{body}");
    };
    let by_agent = "select count(*) as n from agent_logs where agent_id = $1";
    check(json!({"q": by_agent, "params": ["rag"]}), json!([{"n": 2}])).await;
    check(json!({"q": by_agent, "params": ["rag' or '1'='1"]}), json!([{"n": 0}])).await;
    check(
        json!({"q": "select count(*) as n from agent_logs where timestamp >= $from and cost > $cost",
               "params": {"from": "2026-05-14T11:59:58Z", "cost": 0.2}}),
        json!([{"n": 1}]),
    )
    .await;
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let app = app_with_rows().await;
    for statement in [
        "drop table agent_logs",
        "delete from agent_logs",
        "insert into agent_logs select * from agent_logs",
        "create table x as select 1",
        "create view x as select 1",
        "create external table x stored as csv location '/etc/passwd'",
        "copy agent_logs to '/tmp/x.csv'",
        "set datafusion.execution.batch_size = 1",
        "update agent_logs set cost_usd = 0",
        "explain analyze delete from agent_logs",
        "prepare p as select 1",
        "select 1; select 2",
        "select * from '/etc/passwd'",
        "select nothing_of_that_name from agent_logs",
        "selec 1",
        "",
    ] {
        let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", statement)])).await;
        assert_eq!(status, 400, "{statement}: {message}");
        assert!(!message.is_empty());
    }
    for statement in ["explain select 1", "show tables", "describe agent_logs", "with a as (select 1) select * from a"]
    {
        app.sql(statement).await;
    }
    let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", "delete from agent_logs")])).await;
    assert_eq!((status, message.contains("read-only")), (400, true), "{message}");
}

#[tokio::test]
async fn statements_are_bounded() {
    let app = TestApp::start_with(|config| {
        config.query.rows_max = 10;
        config.query.memory_bytes_max = 4 << 20;
        config.query.spill_bytes_max = 1 << 20;
        config.query.timeout_s = 1;
    })
    .await;
    let check = async |statement: &str, status: u16, words: &str| {
        let (found, message) = failure(app.get("/api/v1/sql").query(&[("q", statement)])).await;
        assert_eq!(found, status, "{message}");
        assert!(message.contains(words), "{message}");
    };
    check("select * from generate_series(1, 11)", 422, "more than 10 rows").await;
    check("select count(*) from (select distinct value, cast(value as varchar) || repeat('x', 200) from generate_series(1, 1000000))", 422, "").await;
    check("select count(*) from generate_series(1, 1000000000000) where value % 3 = 5", 408, "longer than 1 s").await;
    // The next one runs.
    assert_eq!(app.sql("select 1 as one").await, json!([{"one": 1}]));
}

#[tokio::test]
async fn statements_end_at_their_time_whatever_they_do() {
    let app = TestApp::start_with(|config| {
        config.query.rows_max = usize::MAX;
        config.query.concurrency = 1;
        config.query.timeout_s = 1;
    })
    .await;
    // A join that makes rows without an end of few.
    let join = "select count(*) from generate_series(1, 30000) a join generate_series(1, 30000) b \
                on a.value % 2 = b.value % 2 where a.value + b.value > 1 and a.value * b.value <> 7";
    let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", join)])).await;
    assert_eq!(status, 408, "{message}");
    // There is one turn: it is free again.
    assert_eq!(app.sql("select 1 as one").await, json!([{"one": 1}]));
    // A reader that does not read: the turn is free once the time of its statement is up.
    let endless = "select value, repeat('x', 1000) from generate_series(1, 1000000000000)";
    let unread = app.get("/api/v1/sql").query(&[("q", endless)]).send().await.unwrap();
    assert_eq!(unread.status(), 200);
    assert_eq!(app.sql("select 2 as two").await, json!([{"two": 2}]));
    assert!(unread.bytes().await.is_err(), "half a result looks whole");
}

#[tokio::test]
async fn a_value_of_any_kind_has_to_be_told() {
    let app = app_with_rows().await;
    for format in ["json", "jsonl", "csv", "parquet"] {
        let query = [("q", "select json_get(attributes, 'a') as odd from agent_logs"), ("format", format)];
        let (status, message) = failure(app.get("/api/v1/sql").query(&query)).await;
        assert!(status == 400 && message.contains("odd") && message.contains("json_as_text"), "{status} {message}");
    }
    assert_eq!(
        app.sql("select json_as_text(attributes, 'a') as a from agent_logs limit 1").await,
        json!([{"a": null}])
    );
}

#[tokio::test]
async fn a_type_that_a_format_lacks_is_the_statements_fault() {
    let app = TestApp::start().await;
    for (statement, format) in [("select map {1: 2} as odd", "json"), ("select interval '1 day' as odd", "parquet")] {
        let query = [("q", statement), ("format", format)];
        let (status, message) = failure(app.get("/api/v1/sql").query(&query)).await;
        assert!(status == 400 && message.contains("no place for"), "{status} {message}");
    }
}

#[tokio::test]
async fn what_the_engine_has_no_plan_for_is_the_statements_fault() {
    let app = app_with_rows().await;
    for unplanned in
        ["values (1), ((select 2))", "select * from (values (1), ((select count(*) from agent_logs))) as t(a)"]
    {
        let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", unplanned)])).await;
        assert!(status == 400 && message.contains("cannot plan the statement"), "{unplanned}: {status} {message}");
    }
}

#[tokio::test]
async fn what_a_body_hides_in_the_query_string_has_to_be_right() {
    let app = app_with_rows().await;
    for (wrong, name) in [("rollups=", "rollups"), ("rollups=yes", "rollups"), ("format=xml", "format")] {
        let body = json!({"q": "select 1 as one", "rollups": "off", "format": "json"});
        let (status, message) = failure(app.post(&format!("/api/v1/sql?{wrong}")).json(&body)).await;
        assert!(status == 400 && message.contains(name), "{wrong}: {status} {message}");
    }
}

#[tokio::test]
async fn what_one_step_makes_is_bounded() {
    let app = app_with_rows().await;
    for (much, name) in [
        ("select length(repeat('x', 2000000000))", "repeat"),
        ("select count(*) from agent_logs where repeat(agent_id, 100000000) <> 'x'", "repeat"),
        ("select lpad('x', 2000000000) as a", "lpad"),
        ("select rpad(agent_id, 2000000000, 'ab') as a from agent_logs", "rpad"),
        ("select array_repeat(1, 1000000000)", "array_repeat"),
        ("select array_resize([1], 1000000000)", "array_resize"),
        ("select cardinality(range(1000000000000))", "range"),
        ("select unnest(generate_series(1, 1000000000000))", "generate_series"),
        (
            "select unnest(generate_series(timestamp '2000-01-01', timestamp '2100-01-01', interval '1 second'))",
            "generate_series",
        ),
        // A constant is there once for each row.
        ("select repeat('x', 30000000) as a from (values (1), (2), (3)) as t(n)", "repeat"),
    ] {
        let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", much)])).await;
        assert_eq!(status, 422, "{much}: {message}");
        assert!(message.contains(&format!("{name} would make")), "{much}: {message}");
    }
    for (little, expected) in [
        ("select length(repeat('ab', 1000)) as n", 2000),
        ("select sum(length(lpad(agent_id, 20, '.')) + length(rpad('x', 5))) as n from agent_logs limit 1", 75),
        ("select count(*) as n from (select unnest(generate_series(1, 100000)))", 100_000),
        ("select count(*) as n from generate_series(1, 1000)", 1_000),
        ("select cardinality(array_repeat('x', 7)) + cardinality(list_resize([1], 3, 0)) as n", 10),
        (
            "select count(*) as n from (select unnest(generate_series(timestamp '2026-01-01', timestamp '2026-02-01', interval '1 hour')))",
            745,
        ),
    ] {
        assert_eq!(app.sql(little).await[0]["n"], expected, "{little}");
    }
}

#[tokio::test]
async fn views_unnest_and_sum_up() {
    let app = TestApp::start().await;
    let record = r#"{"timestamp":"2026-05-14T11:00:00Z","request_id":"r1","session_id":"s1","agent_id":"rag","guardrail_checks":{"pii_detection":"no_pii"},"tool_calls":[{"name":"search","latency_ms":120,"status":"success"},{"name":"write","latency_ms":80,"status":"error"}],"cost_usd":0.1}"#;
    app.logs(record).await;
    let tools = app.sql("select tool, latency_ms, failed from tool_calls order by tool").await;
    assert_eq!(
        tools,
        json!([{"tool": "search", "latency_ms": 120.0, "failed": false}, {"tool": "write", "latency_ms": 80.0, "failed": true}])
    );
    let sessions = app.sql("select session_id, calls, cost from sessions").await;
    assert_eq!(sessions, json!([{"session_id": "s1", "calls": 1, "cost": 0.1}]));
    let checks = "select guardrail_checks['pii_detection'] as pii, attributes from agent_logs";
    for _ in ["buffered", "committed"] {
        assert_eq!(app.sql(checks).await, json!([{"pii": "no_pii", "attributes": null}]));
        app.flush().await;
    }
}

/// Operators hold a batch at least, however long its rows are.
#[tokio::test]
async fn batches_of_long_rows_have_few_of_them() {
    let app = TestApp::start().await;
    let text = "y".repeat(100_000);
    let records = (0..400).map(|n| format!("{{\"request_id\":\"r-{n:03}\",\"text\":\"{text}\"}}\n"));
    app.logs(records.collect::<String>()).await;
    app.flush().await;
    let most = async |columns: &str| {
        let statement = format!("select {columns} from agent_logs order by request_id desc");
        let engine = app.daemon.as_ref().unwrap().engine();
        let batches = engine.sql(&statement, QueryParams::None).await.unwrap().collect().await.unwrap();
        let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows.iter().sum::<usize>(), 400);
        rows.into_iter().max().unwrap()
    };
    assert_eq!(most("request_id").await, 400);
    let long = most("request_id, attributes").await;
    assert!((64..400).contains(&long), "{long} rows in a batch");
}
