//! Who may call what, and who sees whose rows: keys, scopes, limits, tenants.

mod doors;
pub mod escape;
mod tools;

use driftline::{access::NewKey, config::Config};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, json as answer};

/// Makes a key in the running daemon.
pub async fn key(app: &TestApp, scopes: &str, tenants: &[&str]) -> String {
    key_until(app, scopes, tenants, None).await
}

async fn key_until(app: &TestApp, scopes: &str, tenants: &[&str], expires_at_us: Option<i64>) -> String {
    let tenants = tenants.iter().map(|tenant| (*tenant).to_owned()).collect();
    let key = NewKey::new("a test's", scopes, tenants, expires_at_us).unwrap();
    app.daemon.as_ref().unwrap().gate().create(&key).await.unwrap().reveal()
}

/// Status and body.
async fn said(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Status and body of a statement.
async fn asked(app: &TestApp, key: &str, statement: &str) -> (u16, String) {
    said(app.get("/api/v1/sql").query(&[("q", statement)]).bearer_auth(key)).await
}

/// Rows of a statement that must succeed.
async fn rows(app: &TestApp, key: &str, statement: &str) -> Value {
    answer(app.get("/api/v1/sql").query(&[("q", statement)]).bearer_auth(key)).await
}

async fn sends(app: &TestApp, key: &str, body: String) -> Value {
    answer(app.post("/api/v1/logs").bearer_auth(key).body(body)).await
}

/// A call of a tenant; what only this tenant may see has its name in it.
pub fn call(tenant: &str, second: i64, user: &str) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOW_US + second * 1_000_000).unwrap().to_rfc3339();
    json!({
        "timestamp": time, "tenant_id": tenant, "agent_id": format!("agent-{tenant}"), "model": format!("m-{tenant}"),
        "request_id": format!("{tenant}{second}"), "session_id": format!("s-{tenant}"), "user_id": user,
        "trace_id": format!("trace-{tenant}"), "operation": "chat", "prompt_tokens": 100, "completion_tokens": 20,
        "cost_usd": 1.0, "latency_ms": 500, "guardrail_status": "passed", "hallucination_probability": 0.1,
        "tool_calls": [{"name": format!("tool-{tenant}"), "latency_ms": 5, "status": "ok"}],
        "secret_of": tenant, "experiment_id": "both", "variant": format!("v-{tenant}"),
    })
    .to_string()
        + "\n"
}

/// Two tenants' calls, in files with rollups, in files without, and in the buffer; and the keys of both.
/// Users of the first are numbers, those of the second are not.
pub struct TwoTenants {
    pub app: TestApp,
    pub admin: String,
    pub alpha: String,
    pub beta: String,
}

/// Calls of each tenant.
pub const CALLS: i64 = 6;

impl TwoTenants {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With settings of its own.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let app = TestApp::start_with(change).await;
        let admin = key(&app, "ingest,query,admin", &[]).await;
        let (alpha, beta) = (key(&app, "ingest,query", &["alpha"]).await, key(&app, "ingest,query", &["beta"]).await);
        for part in 0..3 {
            for at in [2 * part, 2 * part + 1] {
                let second = -90_000 + at * 7_000;
                let body = call("alpha", second, &at.to_string()) + &call("beta", second, "a-beta-user");
                // And a line that is none, with a tenant's name in it.
                sends(&app, &admin, body + "no JSON of beta\n").await;
            }
            if part < 2 {
                app.flush().await;
            }
            if part == 0 {
                let engine = app.daemon.as_ref().unwrap().engine();
                let rollups = engine.rollups().unwrap();
                while rollups.build_next(engine, std::time::Duration::ZERO).await.unwrap() {}
            }
        }
        app.daemon.as_ref().unwrap().engine().refresh_gauges(100).await;
        Self { app, admin, alpha, beta }
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_in_every_surface() {
    let two = TwoTenants::start().await;
    let at = "from=2026-05-12&to=2026-05-15";
    let mut paths = vec![
        "/metrics".to_owned(),
        "/api/v1/status".to_owned(),
        "/api/v1/queries".to_owned(),
        "/api/v1/kpis".to_owned(),
        format!("/api/v1/coverage?{at}"),
        "/api/v1/reports/cost?day=2026-05-14&format=text".to_owned(),
        "/api/v1/reports/cost?day=2026-05-13&format=json".to_owned(),
        "/api/v1/drift?column=latency_ms&by=agent_id".to_owned(),
        "/api/v1/drift?column=model&by=tenant_id".to_owned(),
        "/api/v1/drift".to_owned(),
        format!("/api/v1/anomalies?{at}&kpi=traffic,outlier_calls,tool_loops&by=tenant"),
        format!("/api/v1/backtest?{at}&rule=kpi&name=latency_mean&above=0&by=tenant"),
        format!("/api/v1/experiments?{at}"),
        format!("/api/v1/experiments/both?{at}"),
        "/api/v1/forecast".to_owned(),
        "/api/v1/slo".to_owned(),
    ];
    let engine = two.app.daemon.as_ref().unwrap().engine();
    let named = engine.library().all().map(|(kind, entry)| (kind.directory(), entry.named.name.clone()));
    for (directory, name) in named {
        match directory {
            "queries" => paths.push(format!("/api/v1/queries/{name}?{at}")),
            "kpis" => {
                paths.push(format!("/api/v1/queries/{name}?{at}"));
                paths.push(format!("/api/v1/kpis/{name}?{at}&by=tenant"));
                paths.push(format!("/api/v1/kpis/{name}?{at}&by=agent"));
            }
            _ => {}
        }
    }
    // Whatever can be read is asked here, by an administrator alone, or in the test that is named.
    let document = answer(two.app.get("/openapi.json").bearer_auth(&two.admin)).await;
    let elsewhere = [
        ("/api/v1/sql", "escape"),
        ("/api/v1/keys", "doors"),
        ("/api/v1/maintenance", "doors"),
        ("/api/openapi.json", "openapi"),
    ];
    for (route, methods) in document["paths"].as_object().unwrap() {
        let is_asked = paths.iter().any(|path| is_at(route, path));
        let is_elsewhere = elsewhere.iter().any(|(prefix, _)| route.starts_with(prefix));
        let is_read = methods.get("get").is_some() && (route.starts_with("/api/") || route == "/metrics");
        assert!(is_asked || is_elsewhere || !is_read, "nobody asks for {route} with a tenant's key");
    }
    let (mut of_alpha, mut of_all) = (0, 0);
    for path in &paths {
        let (_, text) = said(two.app.get(path).bearer_auth(&two.alpha)).await;
        assert!(!text.contains("beta"), "{path}: {text}");
        of_alpha += usize::from(text.contains("alpha"));
        let (_, text) = said(two.app.get(path).bearer_auth(&two.admin)).await;
        of_all += usize::from(text.contains("beta") && text.contains("alpha"));
    }
    // The test looks where there is something to see.
    assert!(of_all > 20 && of_alpha > 20, "{of_alpha} of {of_all} of {}", paths.len());
}

/// Whether a path is one of a route, such as `/api/v1/queries/{name}`.
fn is_at(route: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let same = |(wanted, found): (&str, &str)| wanted.starts_with('{') || wanted == found;
    route.split('/').count() == path.split('/').count() && route.split('/').zip(path.split('/')).all(same)
}

const OBJECTIVES: &str = r#"
[[slo]]
name = "of alpha"
kind = "errors"
target = 0.9
window_days = 7
tenant_id = "alpha"
[[slo]]
name = "of beta"
kind = "errors"
target = 0.9
window_days = 7
tenant_id = "beta"
"#;

/// What judges looks at the tenant's calls alone, and names nobody else's.
#[tokio::test]
async fn a_tenant_is_judged_by_its_own() {
    let two = TwoTenants::start_with(|config| config.slo = toml::from_str::<Config>(OBJECTIVES).unwrap().slo).await;
    let at = "from=2026-05-13&to=2026-05-14T12:00:00Z";
    for (path, is_named) in [
        (format!("/api/v1/anomalies?by=tenant&{at}"), false),
        (format!("/api/v1/anomalies?by=agent&kpi=cost,traffic&{at}"), false),
        (format!("/api/v1/backtest?rule=kpi&name=cost&above=0.5&by=tenant&window=1h&samples_min=1&{at}"), true),
        (format!("/api/v1/backtest?rule=kpi&name=cost&above=0.5&by=agent&window=1h&samples_min=1&{at}"), true),
        (format!("/api/v1/backtest?rule=anomalies&by=tenant&{at}"), false),
        (format!("/api/v1/backtest?rule=drift&by=tenant_id&{at}"), false),
        (format!("/api/v1/backtest?rule=slo&{at}"), true),
        ("/api/v1/drift".to_owned(), true),
        ("/api/v1/drift?by=tenant_id&window_hours=12".to_owned(), true),
        ("/api/v1/forecast".to_owned(), false),
        ("/api/v1/slo".to_owned(), true),
    ] {
        let (status, of_alpha) = said(two.app.get(&path).bearer_auth(&two.alpha)).await;
        assert_eq!(status, 200, "{path}: {of_alpha}");
        assert!(!of_alpha.contains("beta"), "{path}: {of_alpha}");
        let (_, of_all) = said(two.app.get(&path).bearer_auth(&two.admin)).await;
        assert!(!is_named || of_all.contains("alpha") && of_all.contains("beta"), "{path}: {of_all}");
        // Where nobody is named, the figures say whose they are: as if nobody else were there.
        if !is_named && !path.contains("backtest") {
            let own = two.app.get(&path).query(&[("tenant_id", "alpha")]).bearer_auth(&two.admin);
            let figures = |text: &str| serde_json::from_str::<Value>(&text.replace("\"alpha\"", "null")).unwrap();
            assert_eq!(figures(&of_alpha), figures(&said(own).await.1), "{path}");
        }
    }
}

/// Refusals that the gate itself does not decide are counted and logged with the others.
#[tokio::test]
async fn refusals_elsewhere_are_counted() {
    let app = TestApp::start().await;
    let alpha = key(&app, "ingest,query", &["alpha"]).await;
    sends(&app, &alpha, call("alpha", 0, "1") + &call("beta", 0, "2") + &call("gamma", 0, "3")).await;
    sends(&app, &alpha, call("alpha", 1, "1") + "no JSON\n").await;
    assert_eq!(asked(&app, &alpha, "explain analyze select 1").await.0, 403);
    let gate = app.daemon.as_ref().unwrap().gate();
    let denied: Vec<_> = gate.denied().filter(|(_, count)| *count > 0).collect();
    assert_eq!(denied, [("forbidden", 1), ("tenant", 1)]);
}

#[tokio::test]
async fn figures_are_of_the_tenant_alone_with_rollups_and_without() {
    let two = TwoTenants::start().await;
    let all = "select count(*) as calls, sum(cost_usd) as cost, count(distinct tenant_id) as tenants from agent_logs";
    let by_day = "select date_trunc('day', timestamp) as day, count(*) as calls, sum(cost_usd) as cost from agent_logs
         group by 1 order by 1";
    for tenant in [&two.alpha, &two.beta] {
        assert_eq!(rows(&two.app, tenant, all).await, json!([{"calls": CALLS, "cost": CALLS as f64, "tenants": 1}]));
        let shown = rows(&two.app, tenant, by_day).await;
        let off = two.app.get("/api/v1/sql").query(&[("q", by_day), ("rollups", "off")]).bearer_auth(tenant);
        assert_eq!(answer(off).await, shown);
        let calls: i64 = shown.as_array().unwrap().iter().map(|row| row["calls"].as_i64().unwrap()).sum();
        assert_eq!(calls, CALLS);
        let (_, plan) = asked(&two.app, tenant, &format!("explain {by_day}")).await;
        assert!(plan.contains("rollup_calls"), "{plan}");
        for statement in ["select count(*) as n from agent_logs", "select count(1) as n from stored.agent_logs"] {
            assert_eq!(rows(&two.app, tenant, statement).await, json!([{"n": CALLS}]));
        }
        let few = rows(&two.app, tenant, "select request_id from agent_logs order by timestamp limit 3").await;
        assert_eq!(few.as_array().unwrap().len(), 3);
        let any = rows(&two.app, tenant, "select 1 as one from agent_logs limit 5").await;
        assert_eq!(any.as_array().unwrap().len(), 5);
    }
    assert_eq!(
        rows(&two.app, &two.admin, all).await,
        json!([{"calls": 2 * CALLS, "cost": 2.0 * CALLS as f64, "tenants": 2}])
    );
    let both = key(&two.app, "query", &["alpha", "beta", "gamma"]).await;
    assert_eq!(
        rows(&two.app, &both, all).await,
        json!([{"calls": 2 * CALLS, "cost": 2.0 * CALLS as f64, "tenants": 2}])
    );
    let none = key(&two.app, "query", &["gamma"]).await;
    assert_eq!(rows(&two.app, &none, all).await, json!([{"calls": 0, "cost": null, "tenants": 0}]));
    // Trace and session look-ups, which readers of files filter themselves.
    let trace = "select count(*) as n from agent_logs where trace_id = 'trace-beta' or session_id = 's-beta'";
    assert_eq!(rows(&two.app, &two.alpha, trace).await, json!([{"n": 0}]));
    let trace = "select count(*) as n from agent_logs where trace_id = 'trace-beta'";
    assert_eq!(rows(&two.app, &two.alpha, trace).await, json!([{"n": 0}]));
    assert_eq!(rows(&two.app, &two.beta, trace).await, json!([{"n": CALLS}]));
}

#[tokio::test]
async fn metrics_of_a_tenant_are_series_of_the_tenant() {
    let two = TwoTenants::start().await;
    sends(&two.app, &two.alpha, call("alpha", -5, "1")).await;
    sends(&two.app, &two.beta, call("beta", -5, "x")).await;
    let (_, text) = said(two.app.get("/metrics").bearer_auth(&two.alpha)).await;
    let own = r#"llm_requests_total{agent_id="agent-alpha",model="m-alpha",tenant_id="alpha"} 1"#;
    assert!(text.lines().any(|line| line == own), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains(r#"tenant_id="alpha""#), "{line}");
    }
    let (_, text) = said(two.app.get("/metrics").bearer_auth(&two.admin)).await;
    assert!(text.contains("agent-beta") && text.contains("driftline_wal_bytes"), "{text}");
    // Whoever has scraped has gauges of SQL files, by its own rows, as soon as they are asked for the next time.
    let failed = two.app.daemon.as_ref().unwrap().engine().refresh_gauges(2_000).await;
    assert!(failed.is_empty(), "{failed:?}");
    let (_, text) = said(two.app.get("/metrics").bearer_auth(&two.alpha)).await;
    assert!(text.lines().any(|line| line == r#"llm_error_ratio{agent_id="agent-alpha"} 0"#), "{text}");
    assert!(!text.contains("beta") && !text.contains("driftline_"), "{text}");
    let (_, text) = said(two.app.get("/metrics").bearer_auth(&two.beta)).await;
    assert!(!text.contains("llm_error_ratio{"), "{text}");
}

#[tokio::test]
async fn a_tenant_writes_for_itself_only() {
    let app = TestApp::start().await;
    let admin = key(&app, "query,admin", &[]).await;
    let alpha = key(&app, "ingest", &["alpha"]).await;
    let both = key(&app, "ingest", &["alpha", "beta"]).await;
    let unnamed = "{\"request_id\":\"u\"}\n".to_owned();
    let done = sends(&app, &alpha, call("alpha", 0, "1") + &call("beta", 0, "2") + &unnamed).await;
    assert_eq!((&done["accepted"], &done["rejected"][0]["line"]), (&json!(2), &json!(2)));
    assert!(done["rejected"][0]["reason"].as_str().unwrap().contains("none of the tenants that the key"), "{done}");
    let done = sends(&app, &both, call("beta", 1, "2") + &unnamed).await;
    assert_eq!(done["accepted"], 1);
    assert!(done["rejected"][0]["reason"].as_str().unwrap().contains("tenant_id is missing"), "{done}");
    let stored = rows(&app, &admin, "select tenant_id, count(*) as n from agent_logs group by 1 order by 1").await;
    assert_eq!(stored, json!([{"tenant_id": "alpha", "n": 2}, {"tenant_id": "beta", "n": 1}]));
    let lines = rows(&app, &admin, "select count(*) as n from rejected_logs").await;
    assert_eq!(lines, json!([{"n": 2}]));
    let (_, text) = said(app.get("/metrics").bearer_auth(&admin)).await;
    assert!(text.contains(r#"driftline_ingest_records_total{outcome="rejected"} 2"#), "{text}");
}

#[tokio::test]
async fn batches_of_one_tenant_are_none_of_another_s() {
    let app = TestApp::start().await;
    let admin = key(&app, "ingest,query", &[]).await;
    let (alpha, beta) = (key(&app, "ingest", &["alpha"]).await, key(&app, "ingest", &["beta"]).await);
    let again = key(&app, "ingest", &["alpha"]).await;
    let send = async |key: &str, body: &str| {
        let request = app.post("/api/v1/logs").bearer_auth(key).header("Idempotency-Key", "batch-1");
        let response = request.body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let body = "{\"request_id\":\"r\"}\n";
    for (key, duplicate) in [(&alpha, false), (&beta, false), (&admin, false), (&alpha, true), (&again, true)] {
        let (status, done) = send(key, body).await;
        assert_eq!((status, done["duplicate"] == true), (200, duplicate), "{done}");
    }
    // Another's body under the key says nothing; one's own is refused.
    assert_eq!(send(&beta, "{\"request_id\":\"other\"}\n").await.0, 422);
    // The same by content alone.
    let content = "{\"timestamp\":\"2026-05-14T11:00:00Z\",\"request_id\":\"c\"}\n";
    for (key, duplicate) in [(&alpha, false), (&beta, false), (&alpha, true)] {
        let done = sends(&app, key, content.to_owned()).await;
        assert_eq!(done["duplicate"] == true, duplicate, "{done}");
    }
    let stored = "select tenant_id, count(*) as n from agent_logs where tenant_id is not null group by 1 order by 1";
    let stored = rows(&app, &admin, stored).await;
    assert_eq!(stored, json!([{"tenant_id": "alpha", "n": 2}, {"tenant_id": "beta", "n": 2}]));
}
