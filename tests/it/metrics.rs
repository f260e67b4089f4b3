//! `/metrics`: both formats, the families, the daemon's own series.

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
