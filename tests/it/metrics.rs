//! `/metrics`: both formats, the families, the daemon's own series.

use driftline::config::TenantMetricsConfig;
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, json as json_of, record};

#[tokio::test]
async fn both_formats_are_negotiated() {
    let app = TestApp::start().await;
    app.logs(record(-10, "a", "rag", 0.5) + &record(-5, "b", "rag", 0.25)).await;
    let fetch = async |accept: &str| {
        let response = app.get("/metrics").header("accept", accept).send().await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (content_type, response.text().await.unwrap())
    };
    let (content_type, text) = fetch("text/plain").await;
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        r#"llm_cost_usd_total{agent_id="rag",model="m1",tenant_id="t1"} 0.75"#,
        r#"llm_tokens_total{agent_id="rag",model="m1",tenant_id="t1",token_type="input"} 200"#,
        r#"llm_request_duration_seconds_count{agent_id="rag",model="m1",operation="chat"} 2"#,
        r#"llm_guardrail_decisions_total{agent_id="rag",decision="allow",reason=""} 2"#,
        r#"llm_active_sessions{agent_id="rag"} 1"#,
        r#"driftline_ingest_records_total{outcome="accepted"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let (content_type, text) = fetch("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n"));
}

/// After a restart the same sessions are active: one whose clock is fast is no longer, and none is without a name.
#[tokio::test]
async fn sessions_stay_active_over_a_restart_and_no_longer() {
    let mut app = TestApp::start().await;
    app.logs(record(20 * 3_600, "a", "rag", 0.5) + &record(-5, "b", "bot", 0.5)).await;
    app.flush().await;
    let sessions = async |app: &TestApp| {
        let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
        let sessions = text.lines().filter(|line| line.starts_with("llm_active_sessions{"));
        sessions.map(str::to_owned).collect::<Vec<_>>()
    };
    let both = [r#"llm_active_sessions{agent_id="bot"} 1"#, r#"llm_active_sessions{agent_id="rag"} 1"#];
    assert_eq!(sessions(&app).await, both);
    app.restart().await;
    assert_eq!(sessions(&app).await, both);
    app.clock.set(NOW_US + 31 * 60 * 1_000_000);
    assert!(sessions(&app).await.iter().all(|line| line.ends_with(" 0")), "{:?}", sessions(&app).await);
    app.restart().await;
    assert!(sessions(&app).await.iter().all(|line| line.ends_with(" 0")), "{:?}", sessions(&app).await);
}

#[tokio::test]
async fn openmetrics_has_exemplars_and_text_has_none() {
    let app = TestApp::start().await;
    let traced = record(-10, "a", "rag", 0.5).replacen('{', r#"{"trace_id":"0af7651916cd43dd8448eb211c80319c","#, 1);
    app.logs(traced).await;
    let fetch = async |accept: &str| app.get("/metrics").header("accept", accept).send().await.unwrap().text().await;
    let exemplar = r#" # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.5 1778759990"#;
    let line = format!(r#"llm_cost_usd_total{{agent_id="rag",model="m1",tenant_id="t1"}} 0.5{exemplar}"#);
    let text = fetch("application/openmetrics-text;version=1.0.0").await.unwrap();
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    assert!(!fetch("text/plain").await.unwrap().contains("0af7651916cd43dd8448eb211c80319c"));
}

#[tokio::test]
async fn tenants_quotas_are_shown() {
    let app = TestApp::start_with(|config| {
        let quota = TenantMetricsConfig { token_daily_quota: 5_000_000 };
        config.metrics.tenants.insert("t1".into(), quota);
    })
    .await;
    let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = r#"llm_token_daily_quota{tenant_id="t1"} 5000000"#;
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

#[tokio::test]
async fn flags_of_calls_know_the_words_for_it() {
    const OVERFLOWS: [&str; 6] = [
        "context_length_exceeded",
        "Context_Window_Exceeded",
        "context_overflow",
        "model_context_window_exceeded",
        "ContextWindowExceededError",
        "prompt_too_long",
    ];
    let app = TestApp::start().await;
    let words = OVERFLOWS.map(|word| format!(r#""error_type":"{word}""#));
    let others = [
        (r#""error_type":"timeout""#, "t"),
        (r#""error_type":"APITimeoutError""#, "t"),
        (r#""http_status":504"#, "t"),
        (r#""error_type":"rate_limit","http_status":429"#, "r"),
        (r#""http_status":429"#, "r"),
        (r#""error_type":"RateLimitError""#, "r"),
        (r#""finish_reason":"model_context_window_exceeded""#, "o"),
        (r#""finish_reason":"length""#, ""),
        (r#""error_type":"it broke","http_status":500"#, ""),
        (r#""http_status":200"#, ""),
    ];
    let fields = words.iter().map(|word| (word.as_str(), "o")).chain(others);
    let (bodies, expect): (Vec<String>, Vec<&str>) =
        fields.enumerate().map(|(n, (fields, expect))| (call(n, fields), expect)).unzip();
    app.logs(bodies.concat()).await;
    let rows = app
        .sql(
            "select case when is_timeout then 't' else '' end || case when is_rate_limited then 'r' else '' end
                || case when is_context_overflow then 'o' else '' end as found
             from agent_logs order by cast(substr(request_id, 2) as int)",
        )
        .await;
    let found: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["found"].as_str().unwrap()).collect();
    assert_eq!(found, expect);
    // The families count the same calls.
    let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let overflows = expect.iter().filter(|flags| **flags == "o").count();
    let line = format!(r#"llm_context_overflow_total{{agent_id="rag",model="m1"}} {overflows}"#);
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

/// A call of the agent `rag` with these fields, ten seconds ago.
fn call(n: usize, fields: &str) -> String {
    record(-10, &format!("r{n}"), "rag", 0.5).replace(r#""error":null"#, fields)
}

/// The series of a family, without the name of it: labels and value.
async fn series(app: &TestApp, family: &str) -> Vec<String> {
    let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let mut found: Vec<String> = text.lines().filter_map(|line| line.strip_prefix(family)).map(str::to_owned).collect();
    found.sort_unstable();
    found
}

/// Whatever word was sent for a decision: the view, what rollups keep, filters and the family know it.
#[tokio::test]
async fn guardrails_have_one_vocabulary() {
    const WORDS: [(&str, &[&str]); 4] = [
        ("passed", &["passed", "Pass", "ALLOWED", "allow"]),
        ("blocked", &["blocked", "BLOCK"]),
        ("escalated", &["Escalated", "escalate"]),
        ("Shrugged", &["Shrugged"]),
    ];
    let app = TestApp::start().await;
    let sent = WORDS.iter().flat_map(|(_, words)| words.iter());
    let body: String =
        sent.enumerate().map(|(n, word)| call(n, "").replace(r#""passed","#, &format!(r#""{word}""#))).collect();
    app.logs(body).await;
    let by_status = "select guardrail_status as status, count(*) as n from agent_logs group by 1 order by 1";
    let expect: Value = json!([
        {"status": "Shrugged", "n": 1}, {"status": "blocked", "n": 2},
        {"status": "escalated", "n": 2}, {"status": "passed", "n": 4},
    ]);
    let check = async || {
        assert_eq!(app.sql(by_status).await, expect);
        let kpi = json_of(app.get("/api/v1/kpis/guardrail_block_rate?from=2026-05-14&by=agent")).await;
        assert_eq!((&kpi["windows"][0]["numerator"], &kpi["windows"][0]["denominator"]), (&json!(2.0), &json!(9.0)));
        let filtered = json!({
            "range": {"from": "2026-05-14T00:00:00Z", "to": "2026-05-15T00:00:00Z"},
            "filters": [{"key": "guardrail_status", "operator": "=", "value": "blocked"}],
            "targets": [{"refId": "A", "target": "sql", "payload": {
                "q": "select count(*) as n from agent_logs where timestamp is not null", "format": "table",
            }}],
        });
        assert_eq!(json_of(app.post("/grafana/query").json(&filtered)).await[0]["rows"], json!([[2]]));
    };
    check().await;
    let counted = series(&app, r#"llm_guardrail_decisions_total{agent_id="rag",decision="#).await;
    let values = ["allow", "block", "escalate", "other"].into_iter().zip([4, 2, 2, 1]);
    let values: Vec<String> = values.map(|(word, n)| format!(r#""{word}",reason=""}} {n}"#)).collect();
    assert_eq!(counted, values);
    app.flush().await;
    let engine = app.daemon.as_ref().unwrap().engine();
    while engine.rollups().unwrap().build_next(engine, std::time::Duration::ZERO).await.unwrap() {}
    check().await;
}

/// A call failed by its message, its type or its status; all that counts failures counts the same calls.
#[tokio::test]
async fn errors_have_one_meaning() {
    let calls = [
        (r#""error":"it broke""#, Some("unknown")),
        (r#""error":"it broke","http_status":500"#, Some("http_500")),
        (r#""error_type":"timeout","http_status":504"#, Some("timeout")),
        (r#""http_status":503"#, Some("http_503")),
        (r#""http_status":400"#, Some("http_400")),
        (r#""http_status":399"#, None),
        (r#""http_status":200"#, None),
        (r#""error":"","http_status":200"#, None),
    ];
    let app = TestApp::start().await;
    app.logs(calls.iter().enumerate().map(|(n, (fields, _))| call(n, fields)).collect::<String>()).await;
    let mut expect: Vec<String> =
        calls.iter().filter_map(|(_, kind)| kind.map(|kind| format!(r#""{kind}"}} 1"#))).collect();
    expect.sort_unstable();
    assert_eq!(series(&app, r#"llm_errors_total{agent_id="rag",model="m1",error_type="#).await, expect);
    let failed = expect.len();
    let counted = app.sql("select count(*) filter (where is_error) as n from agent_logs").await;
    assert_eq!(counted[0]["n"], failed);
    let kpi = json_of(app.get("/api/v1/kpis/error_rate?from=2026-05-14")).await;
    assert_eq!(kpi["windows"][0]["numerator"], failed as f64);
    let by_type = app.get("/api/v1/queries/errors_by_type?from=2026-05-14");
    let by_type: u64 =
        json_of(by_type).await.as_array().unwrap().iter().map(|row| row["errors"].as_u64().unwrap()).sum();
    assert_eq!(by_type, failed as u64);
    app.daemon.as_ref().unwrap().engine().refresh_gauges(100).await;
    let ratio = failed as f64 / calls.len() as f64;
    assert_eq!(series(&app, r#"llm_error_ratio{agent_id="rag"} "#).await, [ratio.to_string()]);
}

/// Each SQL file below `metrics/` is a gauge, ours and the user's; one that fails is left out and told of.
#[tokio::test]
async fn sql_files_are_gauges() {
    let sql = tempfile::tempdir().unwrap();
    std::fs::create_dir(sql.path().join("metrics")).unwrap();
    let file = |name: &str, text: &str| std::fs::write(sql.path().join("metrics").join(name), text).unwrap();
    file(
        "calls_by_model.sql",
        "-- question: How many calls?\n\nselect model, count(*) as value from agent_logs group by model",
    );
    file(
        "two_alike.sql",
        "-- question: Twice?\n\nselect case value when 1 then '' when 3 then 'b' end as label, value\nfrom generate_series(1, 3)",
    );
    file(
        "too_many.sql",
        "-- question: Many?\n\nselect cast(value as varchar) as label, value from generate_series(1, 9)",
    );
    let app = TestApp::start_with(|config| config.query.sql_directory = Some(sql.path().to_owned())).await;
    app.logs(record(-3, "a", "rag", 0.5) + &record(-2, "b", "rag", 0.25)).await;
    let scrape = async || app.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(!scrape().await.contains("calls_by_model"));
    let failed = app.daemon.as_ref().unwrap().engine().refresh_gauges(8).await;
    let failed: Vec<String> = failed.iter().map(|error| error.chain()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].contains("too_many.sql has more than 8 series"), "{failed:?}");
    assert!(failed[1].contains("two_alike.sql has two rows of the labels"), "{failed:?}");
    let text = scrape().await;
    for line in
        ["# HELP calls_by_model How many calls?", "# TYPE calls_by_model gauge", "llm_error_ratio{agent_id=\"rag\"} 0"]
    {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("calls_by_model{model=") && line.ends_with("} 2")), "{text}");
    // Of null and an empty label nobody can say which is right.
    assert!(text.contains("\ntwo_alike{label=\"b\"} 3\n") && !text.contains("two_alike{label=\"\"}"), "{text}");
    assert!(text.contains("\ndriftline_gauges_failed 2\n") && !text.contains("too_many"), "{text}");
}
