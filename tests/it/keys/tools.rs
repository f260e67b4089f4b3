//! What Grafana and Jaeger are shown with a tenant's key: the tenant's own.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{TwoTenants, said};

/// Every route of both, asked for what belongs to the other tenant as well.
fn requests(two: &TwoTenants) -> Vec<(String, RequestBuilder)> {
    let mut requests = Vec::new();
    let mut get = |path: &str| requests.push((path.to_owned(), two.app.get(path)));
    get("/jaeger/api/services");
    for tenant in ["alpha", "beta"] {
        get(&format!("/jaeger/api/services/agent-{tenant}/operations"));
        get(&format!("/jaeger/api/operations?service=agent-{tenant}"));
        let (from, to) = (1_778_500_000_000_000_i64, 1_778_900_000_000_000_i64);
        get(&format!("/jaeger/api/traces?service=agent-{tenant}&start={from}&end={to}&limit=100"));
        get(&format!("/jaeger/api/traces?traceID=trace-{tenant}"));
        get(&format!("/jaeger/api/traces/trace-{tenant}"));
    }
    let range = json!({"from": "2026-05-12T00:00:00.000Z", "to": "2026-05-15T00:00:00.000Z"});
    let mut post = |path: &str, body: Value| {
        requests.push((format!("{path} {body}"), two.app.post(path).json(&body)));
    };
    post("/grafana/metrics", json!({}));
    post("/grafana/search", json!({}));
    post("/grafana/tag-keys", json!({}));
    for key in ["tenant_id", "agent_id", "model", "session_id", "trace_id", "user_id", "attributes.secret_of"] {
        post("/grafana/tag-values", json!({"key": key, "range": range, "filters": []}));
        post("/grafana/variable", json!({"payload": {"target": key}, "range": range}));
    }
    for field in ["agent_id", "model", "tenant_id"] {
        let asked = json!({"metric": "cost_over_time", "name": field, "payload": {}});
        post("/grafana/metric-payload-options", asked);
    }
    let mut targets = vec![
        ("sql", json!({"q": "select * from agent_logs where timestamp >= $from"})),
        ("sql", json!({"q": "select tenant_id, count(*) from stored.agent_logs group by 1"})),
        ("sql", json!({"q": "select table_name, column_name from information_schema.columns"})),
        ("sql", json!({"q": "explain select * from agent_logs"})),
        ("kpi_card", json!({})),
        ("kpi_alerts", json!({"kpi": "error_rate", "by": "tenant"})),
        ("drift", json!({"column": "latency_ms", "by": "agent_id"})),
    ];
    let engine = two.app.daemon.as_ref().unwrap().engine();
    let names: Vec<String> = engine.library().all().map(|(_, entry)| entry.named.name.clone()).collect();
    targets.extend(names.iter().map(|name| (name.as_str(), json!({"group_by": "tenant_id", "by": "tenant"}))));
    for (metric, payload) in targets {
        let filters = [json!([]), json!([{"key": "tenant_id", "operator": "=~", "value": ".*"}])];
        for filters in filters {
            let target = json!({"refId": "A", "target": metric, "payload": payload});
            let body = json!({"range": range, "intervalMs": 3_600_000, "targets": [target], "filters": filters});
            post("/grafana/query", body);
        }
    }
    requests
}

#[tokio::test]
async fn grafana_and_jaeger_show_a_tenant_its_own() {
    let two = TwoTenants::start().await;
    let (mut of_alpha, mut of_all, mut closed) = (0, 0, 0);
    let requests = requests(&two);
    let count = requests.len();
    for (name, request) in requests {
        let anonymous = request.try_clone().unwrap();
        let admin = request.try_clone().unwrap().bearer_auth(&two.admin);
        let (status, text) = said(request.bearer_auth(&two.alpha)).await;
        // What a request names itself may come back in what is said about it.
        let told = if name.contains("beta") { text.replace("agent-beta", "").replace("trace-beta", "") } else { text };
        assert!(!told.contains("beta"), "{name}: {status} {told}");
        assert!(status < 500, "{name}: {status} {told}");
        of_alpha += usize::from(told.contains("alpha"));
        let (status_of_all, text) = said(admin).await;
        // What everybody may ask a tenant may ask, of its own, unless it stands on what tells no tenants apart.
        let is_foreign = status == 404 && name.contains("trace-beta");
        let is_of_all = ["rejected_logs", "anomaly_runs", "stored."].iter().any(|table| told.contains(table));
        assert!(status == status_of_all || is_of_all || is_foreign, "{name}: {status} beside {status_of_all}: {told}");
        of_all += usize::from(text.contains("beta") && text.contains("alpha"));
        closed += usize::from(said(anonymous).await.0 == 401);
    }
    assert_eq!(closed, count, "without a key there is nothing");
    // The test looks where there is something to see.
    assert!(of_all > 20 && of_alpha > 20, "{of_alpha} of {of_all} of {count}");
}
