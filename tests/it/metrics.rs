//! `/metrics`: both formats, the families, the daemon's own series.

use driftline::config::TenantMetricsConfig;

use crate::app::{TestApp, record};

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
