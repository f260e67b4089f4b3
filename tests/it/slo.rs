//! Objectives from plain logs: counts against those of SQL, windows, gauges, and what the settings may say.

use driftline::config::Config;
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, failure, json as json_of};

const HOUR_S: i64 = 3_600;

const SETTINGS: &str = r#"
[[slo]]
name = "quick"
kind = "latency"
threshold_ms = 1000.0
target = 0.9
window_days = 30

[[slo]]
name = "quick, by calls"
kind = "latency"
threshold_ms = 1000.5
target = 0.9
window_days = 30

[[slo]]
name = "works"
kind = "errors"
target = 0.99
window_days = 7
agent_id = "rag"

[[slo]]
name = "grounded"
kind = "quality"
score = "groundedness"
score_bound = 0.7
target = 0.95
window_days = 30

[[slo]]
name = "made up"
kind = "quality"
score = "hallucination_probability"
score_bound = 0.5
target = 0.95
window_days = 30
tenant_id = "t2"

[[slo]]
name = "cheap"
kind = "cost"
usd_per_day = 20.0
window_days = 3
"#;

/// A call every two minutes of the last four days, and one of long ago. In the last hour, all calls of `rag` fail.
fn body() -> String {
    let call = |place: i64, second: i64| {
        let time = chrono::DateTime::from_timestamp_micros(NOW_US + second * 1_000_000).unwrap();
        let failed = second > -HOUR_S && place % 2 == 0;
        json!({
            "timestamp": time.to_rfc3339(), "request_id": format!("r{place}"), "model": "m1",
            "agent_id": if place % 2 == 0 { "rag" } else { "bot" },
            "tenant_id": if place % 5 == 0 { "t2" } else { "t1" },
            "latency_ms": 800 + (place % 10) * 40, "cost_usd": 0.02, "http_status": if failed { 500 } else { 200 },
            "groundedness": if place % 3 == 0 { Some(0.5 + 0.001 * (place % 400) as f64) } else { None },
            "hallucination_probability": 0.1 * (place % 7) as f64,
        })
        .to_string()
            + "\n"
    };
    (0..2_880).map(|place| call(place, -place * 120 - 30)).chain([call(4_000, -40 * 24 * HOUR_S)]).collect()
}

fn objective<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["objectives"].as_array().unwrap().iter().find(|objective| objective["name"] == name).unwrap()
}

async fn app() -> TestApp {
    let app = TestApp::start_with(|config| config.slo = toml::from_str::<Config>(SETTINGS).unwrap().slo).await;
    let body = body();
    let lines: Vec<&str> = body.split_inclusive('\n').collect();
    app.logs(lines[1_500..].concat()).await;
    app.flush().await;
    app.logs(lines[..1_500].concat()).await;
    app
}

#[tokio::test]
async fn objectives_count_what_sql_counts() {
    let app = app().await;
    let answer = json_of(app.get("/api/v1/slo")).await;
    let check = async |name: &str, bad: &str, samples: &str, filter: &str| {
        let objective = objective(&answer, name);
        let days = objective["window_days"].as_i64().unwrap();
        let statement = format!(
            "select cast({bad} as double) as bad, {samples} as samples from agent_logs
             where timestamp >= timestamp '2026-05-14T12:00:00' - interval '{days} days' and {filter}"
        );
        let expected = app.sql(&statement).await;
        let budget = &objective["budget"];
        assert_eq!(budget["samples"], expected[0]["samples"], "{objective}");
        let (used, bad) = (budget["used"].as_f64().unwrap(), expected[0]["bad"].as_f64().unwrap());
        assert!((used - bad).abs() < 1e-9 && bad > 0.0, "{name}: {used} {bad}");
        budget["left"].as_f64().unwrap()
    };
    check("quick", "count(*) filter (where latency_ms > 1000)", "count(latency_ms)", "true").await;
    check("quick, by calls", "count(*) filter (where latency_ms > 1000.5)", "count(latency_ms)", "true").await;
    let left = check("works", "count(*) filter (where http_status >= 400)", "count(*)", "agent_id = 'rag'").await;
    // 15 of 1,440 calls failed, 14.4 may.
    assert!((left - (1.0 - 15.0 / 14.4)).abs() < 1e-9, "{left}");
    check("grounded", "count(*) filter (where groundedness < 0.7)", "count(groundedness)", "true").await;
    let wrong = "count(*) filter (where hallucination_probability > 0.5)";
    check("made up", wrong, "count(hallucination_probability)", "tenant_id = 't2'").await;
    let left = check("cheap", "sum(cost)", "count(cost)", "true").await;
    // 720 calls a day at 2 cents.
    assert!((left - (1.0 - 14.4 / 20.0)).abs() < 1e-9, "{left}");
    assert_eq!(objective(&answer, "cheap")["calls_unknown"], 0);
    assert_eq!(objective(&answer, "works")["calls_unknown"], Value::Null);

    let works = objective(&answer, "works");
    assert_eq!((&works["state"], &works["breach"]["state"]), (&json!("missed"), &json!("used_up")));
    let pair = &works["burn_rates"][0];
    assert_eq!((&pair["long"]["samples"], &pair["long"]["bad"]), (&json!(15), &json!(15.0)), "{pair}");
    assert_eq!((&pair["is_burning"], &pair["severity"]), (&json!(true), &json!("page")));
    let quick = objective(&answer, "quick");
    assert_eq!((&quick["unit"], &quick["first_samples"]), (&json!("calls"), &json!("2026-05-10T12:00:00.000000Z")));
    let threshold = quick["burn_rates"][0]["threshold"].as_f64().unwrap();
    assert!((threshold - 9.0).abs() < 1e-9, "a target of 90 % allows a burn rate of 10: {threshold}");
}

#[tokio::test]
async fn calls_without_a_cost_are_told() {
    let app = TestApp::start_with(|config| config.slo = toml::from_str::<Config>(SETTINGS).unwrap().slo).await;
    // Every fourth call is of a model that has no price, committed and waiting ones alike.
    let body = body();
    let lines: Vec<String> = body
        .lines()
        .take(800)
        .enumerate()
        .map(|(place, line)| {
            let cost = if place % 4 == 0 { "\"was\":0.02" } else { "\"cost_usd\":0.02" };
            line.replace("\"cost_usd\":0.02", cost) + "\n"
        })
        .collect();
    app.logs(lines[400..].concat()).await;
    app.flush().await;
    app.logs(lines[..400].concat()).await;
    let answer = json_of(app.get("/api/v1/slo")).await;
    let cheap = objective(&answer, "cheap");
    let told = (&cheap["state"], &cheap["calls_unknown"], &cheap["budget"]["samples"]);
    assert_eq!(told, (&json!("insufficient"), &json!(200), &json!(600)), "{cheap}");
    assert_eq!(cheap["reason"], "200 of 800 calls do not say what they cost, 10 % may");
    assert!(app.daemon.as_ref().unwrap().engine().refresh_gauges(100).await.is_empty());
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("llm_slo_error_budget_left_ratio{slo=\"cheap\""), "{metrics}");
}

#[tokio::test]
async fn objectives_are_gauges_and_text() {
    let app = app().await;
    assert!(app.daemon.as_ref().unwrap().engine().refresh_gauges(100).await.is_empty());
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        r#"llm_slo_target_ratio{slo="works",tenant_id=""} 0.99"#,
        r#"llm_slo_is_burning{slo="works",tenant_id="",severity="page",window="1h"} 1"#,
        r#"llm_slo_burn_rate{slo="cheap",tenant_id="",window="6h"} 0.72"#,
        r#"llm_slo_error_budget_left_ratio{slo="made up",tenant_id="t2"} "#,
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line} is not in\n{metrics}");
    }
    let text = app.get("/api/v1/slo?format=text").send().await.unwrap().text().await.unwrap();
    assert!(text.starts_with("quick: "), "{text}");
    assert!(text.contains("objective  99 % of the calls without an error, over 7 days, agent rag\n"), "{text}");
    let (status, message) = failure(app.get("/api/v1/slo?name=works")).await;
    assert_eq!((status, message.as_str()), (400, "name is no parameter of the objectives; there is format"));

    let without = TestApp::start().await;
    assert_eq!(json_of(without.get("/api/v1/slo")).await["objectives"], json!([]));
}
