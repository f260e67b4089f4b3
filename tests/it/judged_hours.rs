//! Hours of KPIs that the job judges: kept over restarts, replaced when judged again, shown as rows and gauges, and gone
//! with the tenant that they name.

use std::time::Duration;

use driftline::{
    anomaly::Pace,
    jobs::{AnomalySettings, DriftSettings, judge_hours, judge_once},
    sample::{Incident, IncidentKind, Plan},
};
use serde_json::{Value, json};

use crate::{
    app::{NOW_US, TestApp, failure, json as json_of},
    keys::key,
};

const HOUR_US: i64 = 3_600_000_000;
const DAYS: i64 = 31;
/// The tenant and the agent whose sessions loop.
const TENANT: &str = "tenant-healthcare-001";
const AGENT: &str = "sql_analyst";
const ROWS: &str = "select window_start, kpi, slice_by, slice, value, score, part_by, part, request_ids from anomalies
    order by window_start, kpi, slice_by, slice";
const SETTINGS: AnomalySettings = AnomalySettings {
    interval: Duration::ZERO,
    pace: Pace { settle_minutes: 5, overlap_hours: 3 },
    history_days: 28,
    results_max: 1_000,
    kpis: Vec::new(),
};

/// A month of generated calls, in which sessions of one tenant loop in the last two hours.
async fn month() -> TestApp {
    let app = TestApp::start().await;
    let incident = Incident { kind: IncidentKind::RetryLoop, start_us: NOW_US - 2 * HOUR_US, end_us: NOW_US };
    let plan = Plan {
        seed: 11,
        start_us: NOW_US - DAYS * 24 * HOUR_US,
        days: DAYS as f64,
        calls_per_day: 900.0,
        incidents: vec![incident],
    };
    app.traffic(&plan).await;
    app
}

async fn judge(app: &TestApp) {
    let daemon = app.daemon.as_ref().unwrap();
    judge_hours(daemon.engine(), daemon.results(), &SETTINGS).await.unwrap();
}

/// The gauges as they are now.
async fn scraped(app: &TestApp) -> String {
    let failed = app.daemon.as_ref().unwrap().engine().refresh_gauges(2_000).await;
    assert!(failed.is_empty(), "{failed:?}");
    app.get("/metrics").send().await.unwrap().text().await.unwrap()
}

async fn count(app: &TestApp, of: &str) -> i64 {
    app.sql(&format!("select count(*) as n from {of}")).await[0]["n"].as_i64().unwrap()
}

#[tokio::test]
async fn hours_are_judged_once_they_are_over_and_kept() {
    let mut app = month().await;
    judge(&app).await;
    let runs = "select slice_by, judged_from, judged_to, series_judged > 0 as any, not_judged from anomaly_runs
        order by slice_by";
    let run = |slice_by: &str| {
        let (from, to) = ("2026-05-13T11:00:00.000000Z", "2026-05-14T11:00:00.000000Z");
        json!({"slice_by": slice_by, "judged_from": from, "judged_to": to, "any": true, "not_judged": []})
    };
    assert_eq!(app.sql(runs).await, json!(["agent_id", "all", "model", "tenant_id"].map(run)));
    let rows = app.sql(ROWS).await;
    let found: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| row["kpi"] == "retry_rate").collect();
    let of_agent = found.iter().find(|row| row["slice"] == AGENT).unwrap_or_else(|| panic!("{rows}"));
    assert_eq!(of_agent["slice_by"], "agent_id");
    // The session that loops asks one model, which tells more than the tenant, who makes many calls anyway.
    assert_eq!((&of_agent["part_by"], &of_agent["part"]), (&json!("model"), &json!("gpt-4o")), "{of_agent}");
    assert_eq!(of_agent["window_start"], "2026-05-14T10:00:00.000000Z");
    assert!(of_agent["score"].as_f64().unwrap() >= 0.5, "{of_agent}");
    let calls = of_agent["request_ids"].as_array().unwrap();
    let known =
        format!("agent_logs where agent_id = '{AGENT}' and request_id = {}", calls[0].to_string().replace('"', "'"));
    assert_eq!((calls.len(), count(&app, &known).await), (5, 1), "{of_agent}");
    sessions_that_loop_are_kept(&app).await;
    assert!(found.iter().any(|row| row["slice"] == TENANT && row["slice_by"] == "tenant_id"), "{rows}");
    assert!(found.iter().any(|row| row["slice"].is_null() && row["slice_by"] == "all"), "{rows}");

    let scrape = scraped(&app).await;
    let series = format!(r#"llm_anomaly_score{{kpi="retry_rate",slice_by="agent_id",slice="{AGENT}"}} 0."#);
    assert!(scrape.contains(&series), "{series} is missing: {scrape}");

    // All hours that are over are judged: nothing is done, before a restart and after it.
    judge(&app).await;
    assert_eq!(count(&app, "anomaly_runs").await, 4);
    app.restart().await;
    assert_eq!(app.sql(ROWS).await, rows);
    judge(&app).await;
    assert_eq!((app.sql(ROWS).await, count(&app, "anomaly_runs").await), (rows, 4));

    // Two hours later the hours between are judged, and those before once more, in place of what was found of them.
    app.clock.set(NOW_US + 2 * HOUR_US);
    judge(&app).await;
    let second =
        app.sql("select distinct judged_from, judged_to from anomaly_runs order by judged_to desc limit 1").await;
    let expected = json!([{"judged_from": "2026-05-14T08:00:00.000000Z", "judged_to": "2026-05-14T13:00:00.000000Z"}]);
    assert_eq!(second, expected);
    assert_eq!(count(&app, "anomaly_runs").await, 8);
    let doubles = "(select kpi from anomalies group by kpi, slice_by, slice, window_start, session_id, request_ids[1] having count(*) > 1) as doubles";
    assert_eq!(count(&app, doubles).await, 0);
    let newest = "(select max(run_at) from anomaly_runs)";
    assert!(count(&app, &format!("anomalies where run_at = {newest}")).await > 0);
    let judged_again = format!("anomalies where run_at < {newest} and window_start >= '2026-05-14T08:00:00'");
    assert_eq!(count(&app, &judged_again).await, 0);

    let scrape = scraped(&app).await;
    for series in
        ["llm_anomaly_run_timestamp_seconds 1778767200", r#"llm_anomaly_series{slice_by="agent_id",state="judged"}"#]
    {
        assert!(scrape.contains(series), "{series} is missing: {scrape}");
    }
    let asked = [("from", "now-1d"), ("agent_id", AGENT)];
    let annotations = json_of(app.get("/api/v1/queries/annotations").query(&asked)).await;
    let titles: Vec<&str> = annotations.as_array().unwrap().iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert!(titles.contains(&format!("retry_rate of {AGENT}").as_str()), "{annotations}");
    assert!(titles.iter().all(|title| title.ends_with(AGENT)), "{annotations}");

    a_bound_key_sees_its_tenants_own(&app).await;
    a_forgotten_tenant_is_named_nowhere(&mut app).await;
}

/// Those that the named query lists, each once, as rows and as a gauge.
async fn sessions_that_loop_are_kept(app: &TestApp) {
    let kept = app
        .sql(
            "select session_id, value, unit, part_by, part, request_ids, window_start >= '2026-05-14T09:00:00' as is_late
             from anomalies where kpi = 'retry_loops' and subject = 'session' and slice = 'sql_analyst'
             order by value desc, session_id",
        )
        .await;
    // The hour that still runs is not judged.
    let asked = [("agent_id", AGENT), ("from", "2026-05-13T11:00:00Z"), ("to", "2026-05-14T11:00:00Z")];
    let mut listed = json_of(app.get("/api/v1/queries/retry_loops").query(&asked)).await;
    let listed = listed.as_array_mut().unwrap();
    assert!((1..=20).contains(&listed.len()), "{listed:?}");
    listed.sort_by_key(|row| (-row["calls"].as_i64().unwrap(), row["session_id"].to_string()));
    let expected: Vec<Value> = listed
        .iter()
        .map(|row| {
            json!({
                "session_id": row["session_id"], "value": row["calls"].as_f64().unwrap(), "unit": "calls",
                "part_by": "tenant_id", "part": TENANT, "request_ids": row["request_ids"], "is_late": true,
            })
        })
        .collect();
    assert_eq!(kept, Value::from(expected));
    let in_hour = "anomalies where kpi = 'retry_loops' and slice = 'sql_analyst'
        and window_start = '2026-05-14T10:00:00'";
    // The same by a question, without the job.
    let asked =
        [("kpi", "retry_loops"), ("agent_id", AGENT), ("from", "2026-05-14T10:00:00Z"), ("to", "2026-05-14T11:00:00Z")];
    let answer = json_of(app.get("/api/v1/anomalies").query(&asked)).await;
    let told = |event: &Value| json!([event["session_id"], event["value"], event["request_ids"]]);
    let kept =
        "select session_id, value, request_ids from anomalies where kpi = 'retry_loops' and slice = 'sql_analyst'
        and window_start = '2026-05-14T10:00:00' order by value desc, session_id";
    let kept: Vec<Value> = app.sql(kept).await.as_array().unwrap().iter().map(told).collect();
    let mut found: Vec<Value> = answer["events"].as_array().unwrap().iter().map(told).collect();
    found.sort_by_key(|event| (-event[1].as_f64().unwrap() as i64, event[0].to_string()));
    assert_eq!((found, &answer["anomalies"], &answer["series_judged"]), (kept, &json!([]), &json!(0)), "{answer:#}");
    // And by a replay, in the two hours in which they loop.
    let asked = [("rule", "anomalies"), ("kpi", "retry_loops"), ("from", "now-2d")];
    let replayed = json_of(app.get("/api/v1/backtest").query(&asked)).await;
    let episodes = replayed["rules"][0]["episodes"].as_array().unwrap();
    let of_agent: Vec<&Value> = episodes.iter().filter(|episode| episode["key"] == AGENT).collect();
    assert_eq!(of_agent.len(), 1, "{replayed:#}");
    assert_eq!(of_agent[0]["firing_at"].as_str().unwrap()[..16], *"2026-05-14T11:00", "{replayed:#}");
    let series = format!(r#"llm_anomaly_events{{kpi="retry_loops",slice="{AGENT}"}} {}"#, count(app, in_hour).await);
    let scrape = scraped(app).await;
    assert!(scrape.contains(&series), "{series} is missing: {scrape}");
}

/// Of the hours, those that were judged by the tenant's calls alone; of sessions none, whose measure is of all tenants; and
/// nothing of what counts all.
async fn a_bound_key_sees_its_tenants_own(app: &TestApp) {
    let (own, foreign) = (key(app, "query", &[TENANT]).await, key(app, "query", &["nobody"]).await);
    let all = key(app, "query", &[]).await;
    let ask = async |key: &str, sql: &str| json_of(app.get("/api/v1/sql").query(&[("q", sql)]).bearer_auth(key)).await;
    let columns = "kpi, window_start, slice_by, slice, tenant_id, value, expected, samples, score, p_value";
    let expected = format!(
        "select {columns} from anomalies where slice_by = 'tenant_id' and slice = '{TENANT}' and subject = 'hour' order by 1, 2"
    );
    let expected = ask(&all, &expected).await;
    assert!(!expected.as_array().unwrap().is_empty(), "there is nothing to see");
    assert_eq!(ask(&own, &format!("select {columns} from anomalies order by 1, 2")).await, expected);
    assert_eq!(ask(&foreign, &format!("select {columns} from anomalies")).await, json!([]));
    let query = [("q", "select count(*) as n from anomaly_runs")];
    let (status, message) = failure(app.get("/api/v1/sql").query(&query).bearer_auth(&own)).await;
    assert!((400..500).contains(&status) && message.contains("anomaly_runs"), "{status} {message}");
    let listed = json_of(app.get("/api/v1/queries/annotations").query(&[("from", "now-1d")]).bearer_auth(&own)).await;
    let listed = listed.as_array().unwrap();
    assert!(
        !listed.is_empty() && listed.iter().all(|row| row["title"].as_str().unwrap().ends_with(TENANT)),
        "{listed:?}"
    );
}

async fn a_forgotten_tenant_is_named_nowhere(app: &mut TestApp) {
    let daemon = app.daemon.as_ref().unwrap();
    let settings = DriftSettings { interval: Duration::ZERO, window_hours: 24, references: 4, results_max: 5_000 };
    judge_once(daemon.engine(), daemon.results(), &settings).await.unwrap();
    let admin = key(app, "admin,query", &[]).await;
    let names = format!("where slice_by = 'tenant_id' and slice = '{TENANT}'");
    let sql = async |app: &TestApp, from: String| {
        let query = [("q", format!("select count(*) as n from {from}"))];
        json_of(app.get("/api/v1/sql").query(&query).bearer_auth(&admin)).await[0]["n"].as_i64().unwrap()
    };
    let named = [format!("anomalies {names}"), format!("drift_results {names}")];
    for table in &named {
        assert!(sql(app, table.clone()).await > 0, "{table}");
    }
    let as_a_part = format!("anomalies where part_by = 'tenant_id' and part = '{TENANT}'");
    let all = [sql(app, "anomalies".to_owned()).await, sql(app, "drift_results".to_owned()).await];
    let forget = async |app: &TestApp, dry_run: bool| {
        let body = json!({"tenant_id": TENANT, "dry_run": dry_run});
        let answer = json_of(app.post("/api/v1/forget").json(&body).bearer_auth(&admin)).await;
        answer["forgotten"]["results"].as_i64().unwrap()
    };
    let going = forget(app, true).await;
    assert_eq!([sql(app, "anomalies".to_owned()).await, sql(app, "drift_results".to_owned()).await], all);
    assert_eq!(forget(app, false).await, going);
    let left = [sql(app, "anomalies".to_owned()).await, sql(app, "drift_results".to_owned()).await];
    assert_eq!(left.iter().sum::<i64>(), all.iter().sum::<i64>() - going);
    // Verdicts on others stay.
    assert!(left[1] > 0, "{left:?}");
    app.restart().await;
    for table in named.iter().chain([&as_a_part]) {
        assert_eq!(sql(app, table.clone()).await, 0, "{table}");
    }
}
