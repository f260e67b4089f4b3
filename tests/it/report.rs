//! The nightly cost report over HTTP, in every format.

use crate::app::{TestApp, failure, json, record};

#[tokio::test]
async fn a_day_is_reported_against_the_days_before() {
    let app = TestApp::start().await;
    let body: String =
        (0..9).map(|day| record(-day * 86_400, &format!("d{day}"), "rag", if day == 1 { 9.0 } else { 1.0 })).collect();
    app.logs(body).await;
    let report = json(app.get("/api/v1/reports/cost")).await;
    assert_eq!((&report["day"], &report["verdict"]), (&"2026-05-13".into(), &"cost_spike".into()));
    for (format, words) in [("text", "2026-05-13"), ("md", "|"), ("html", "<table"), ("csv", "section,")] {
        let response = app.get("/api/v1/reports/cost").query(&[("format", format)]).send().await.unwrap();
        assert_eq!(response.headers()["x-report-verdict"], "costspike");
        let text = response.text().await.unwrap();
        assert!(text.contains(words), "{text}");
    }
    let empty = json(app.get("/api/v1/reports/cost").query(&[("day", "2020-01-01")])).await;
    assert_eq!(empty["verdict"], "no_data");
    let (status, message) = failure(app.get("/api/v1/reports/cost").query(&[("day", "yesterday")])).await;
    assert_eq!((status, message.contains("day")), (400, true), "{message}");
}
