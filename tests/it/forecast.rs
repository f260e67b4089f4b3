//! Forecasts from plain logs: the days before, the filters, the month against its budget, and what is refused.

use std::fmt::Write as _;

use driftline::config::Config;
use serde_json::{Value, json};

use crate::app::{TestApp, failure, json as json_of, record};

const DAY_S: i64 = 86_400;

/// A call of each of two agents on each of so many days, and today: `rag` costs a dollar, at weekends a third of it,
/// `bot` a tenth of that.
fn body(days: std::ops::Range<i64>) -> String {
    let mut body = String::new();
    for day in days {
        // Noon of 2026-05-14, a Thursday, less the days.
        let weekday = (day - 4).rem_euclid(7);
        let cost = if (0..=1).contains(&weekday) { 0.3 } else { 1.0 } * (1.0 + 0.02 * (day % 3) as f64);
        let second = -day * DAY_S - 60;
        let _ = write!(body, "{}", record(second, &format!("r{day}"), "rag", cost));
        let _ = write!(body, "{}", record(second, &format!("b{day}"), "bot", cost / 10.0));
    }
    body
}

async fn app(change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::start_with(change).await;
    // The older half is committed, the newer waits; it is one history.
    app.logs(body(50..101)).await;
    app.flush().await;
    app.logs(body(0..50)).await;
    app
}

async fn forecast(app: &TestApp, query: &[(&str, &str)]) -> Value {
    json_of(app.get("/api/v1/forecast").query(query)).await
}

#[tokio::test]
async fn days_to_come_and_the_month_are_forecast() {
    let settings = "[budget]\nmonthly_usd = 24.0\n[budget.agents.rag]\nmonthly_usd = 100.0";
    let app = app(|config| config.budget = toml::from_str::<Config>(settings).unwrap().budget).await;
    let answer = forecast(&app, &[]).await;
    assert_eq!(
        (&answer["state"], &answer["unit"], &answer["metric"]),
        (&json!("forecast"), &json!("USD"), &json!("cost"))
    );
    // The first day may not be whole, and today is not.
    let history = json!({
        "from": "2026-02-04", "to": "2026-05-14", "days": 99, "days_without_calls": 0, "days_unknown": 0,
        "samples": 198, "calls_unknown": 0,
    });
    assert_eq!(answer["history"], history);
    let total = &answer["forecast"]["totals"][0];
    assert_eq!((&total["from"], &total["to"]), (&json!("2026-05-14"), &json!("2026-06-13")));
    // 22 working days and 8 days of weekends, two agents, and 2 % on average.
    let expected = (22.0 + 8.0 * 0.3) * 1.1 * 1.02;
    let value = total["value"].as_f64().unwrap();
    assert!((value / expected - 1.0).abs() < 0.03, "{total} {expected}");
    assert!(total["low"].as_f64().unwrap() <= value && value <= total["high"].as_f64().unwrap());
    assert!(answer["forecast"]["backtest"].is_null());

    let so_far =
        app.sql("select sum(cost) as usd, count(*) as calls from agent_logs where timestamp >= '2026-05-01'").await;
    let month = &answer["month"];
    assert!((month["so_far"].as_f64().unwrap() - so_far[0]["usd"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!((&month["samples"], &month["end"]["days_forecast"]), (&so_far[0]["calls"], &json!(18)));
    let month_expected = (21.0 + 10.0 * 0.3) * 1.1 * 1.02;
    assert!((month["end"]["value"].as_f64().unwrap() / month_expected - 1.0).abs() < 0.05, "{month}");
    assert_eq!((&month["budget"], &month["state"]), (&json!(24.0), &json!("over")), "{month}");

    // One agent, with its own budget; the forecasts of the past where they are asked for.
    let rag = forecast(&app, &[("agent_id", "rag"), ("backtest", "true")]).await;
    assert!((rag["forecast"]["totals"][0]["value"].as_f64().unwrap() / (expected / 1.1) - 1.0).abs() < 0.03);
    assert_eq!((&rag["agent_id"], &rag["month"]["state"]), (&json!("rag"), &json!("within")));
    assert_eq!(rag["forecast"]["backtest"]["days"], 30);
    assert!(!rag["forecast"]["backtest"]["forecasts"].as_array().unwrap().is_empty());

    let tokens = forecast(&app, &[("metric", "input_tokens"), ("model", "m1")]).await;
    assert_eq!((&tokens["unit"], &tokens["month"]["state"]), (&json!("tokens"), &json!("no_budget")));
    assert!((tokens["forecast"]["totals"][0]["value"].as_f64().unwrap() - 6_000.0).abs() < 1e-6, "{tokens}");

    let text = app.get("/api/v1/forecast?format=text&backtest=true").send().await.unwrap().text().await.unwrap();
    assert!(text.starts_with("forecast of cost (USD), all calls, said at 2026-05-14T12:00:00"), "{text}");
    assert!(text.contains("\nbudget   24.00 USD: will be exceeded"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_forecast_is_refused() {
    let app = app(|_| {}).await;
    let longer = forecast(&app, &[("days", "60")]).await;
    assert_eq!(longer["state"], "insufficient");
    assert_eq!(longer["reason"], "99 whole days are there, 148 are needed for 60 days; 30 days can be forecast");
    assert!(longer["forecast"]["totals"].is_null() && longer["month"]["so_far"].as_f64().unwrap() > 10.0);
    let nobody = forecast(&app, &[("agent_id", "nobody")]).await;
    assert_eq!(nobody["reason"], "no call on any whole day of the last 400");
    assert_eq!(nobody["history"]["from"], Value::Null);
    for (query, message) in [
        ("days=7", "days=7 is not one of 30, 60, 90"),
        ("metric=calls", "metric=calls is not one of cost, input_tokens, output_tokens"),
        ("by=agent", "by is no parameter of a forecast"),
        ("format=xml", "format=xml is not one of json, text"),
    ] {
        let (status, found) = failure(app.get(&format!("/api/v1/forecast?{query}"))).await;
        assert!(status == 400 && found.starts_with(message), "{query}: {status} {found}");
    }
}
