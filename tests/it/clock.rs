//! A clock that jumps: nothing is lost, nothing counts twice, and nothing that is not past its age by any clock
//! goes.

use serde_json::json;

use crate::app::{NOW_US, TestApp, json as json_of, record};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const COUNT: &str = "select count(*) as n, count(distinct request_id) as ids from agent_logs";

async fn check(app: &TestApp, records: i64) {
    assert_eq!(app.sql(COUNT).await, json!([{ "n": records, "ids": records }]));
}

#[tokio::test]
async fn a_clock_that_jumps_back_and_ahead_loses_nothing() {
    let mut app = TestApp::start().await;
    app.logs(record(0, "a", "rag", 1.0)).await;
    app.flush().await;
    app.clock.set(NOW_US - 12 * HOUR_US);
    app.logs(record(-43_200, "b", "rag", 1.0)).await;
    // By this clock the first batch came in the future. It is the same batch all the same.
    assert_eq!(app.logs(record(0, "a", "rag", 1.0)).await["duplicate"], true);
    app.flush().await;
    app = app.crash().await;
    check(&app, 2).await;
    app.clock.set(NOW_US + 12 * HOUR_US);
    assert_eq!(app.logs(record(-43_200, "b", "rag", 1.0)).await["duplicate"], true);
    app.logs(record(43_200, "c", "rag", 1.0)).await;
    app.flush().await;
    app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
    app.clock.set(NOW_US);
    app.logs(record(1, "d", "rag", 1.0)).await;
    app.restart().await;
    check(&app, 4).await;
}

#[tokio::test]
async fn a_clock_at_the_epoch_or_years_ahead_deletes_nothing_without_a_retention() {
    let mut app = TestApp::start().await;
    app.logs(record(0, "a", "rag", 1.0)).await;
    app.flush().await;
    for now_us in [0, NOW_US + 4_000 * DAY_US, NOW_US] {
        app.clock.set(now_us);
        app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
        app.restart().await;
        check(&app, 1).await;
    }
    app.logs(record(2, "b", "rag", 1.0)).await;
    check(&app, 2).await;
}

/// Seconds that the clock is said to be ahead, in the status and in the series.
async fn ahead_s(app: &TestApp) -> i64 {
    let said = json_of(app.get("/api/v1/status")).await["clock_ahead_s"].as_i64().unwrap();
    let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let series = text.lines().find_map(|line| line.strip_prefix("driftline_clock_ahead_seconds ")).unwrap();
    assert_eq!(series.parse::<f64>().unwrap() as i64, said);
    said
}

async fn maintain(app: &TestApp) {
    app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_steps_ahead_deletes_and_forgets_nothing_until_it_is_believed() {
    const YEAR_US: i64 = 365 * DAY_US;
    let app = TestApp::start_with(|config| config.lifecycle.delete_after_days = 30).await;
    let later = |hours: i64| app.clock.set(app.clock.now_us() + hours * HOUR_US);
    app.logs(record(0, "a", "rag", 1.0)).await;
    app.flush().await;
    app.clock.step(NOW_US + YEAR_US);
    assert_eq!(ahead_s(&app).await, 365 * 86_400);
    // By the wrong clock the batch is forgotten and the record a year old.
    later(20);
    assert_eq!(app.logs(record(0, "a", "rag", 1.0)).await["duplicate"], true);
    assert_eq!(app.logs(record(1, "b", "rag", 1.0)).await["rejected"], json!([]));
    app.flush().await;
    maintain(&app).await;
    assert_eq!(app.logs(record(0, "a", "rag", 1.0)).await["duplicate"], true);
    check(&app, 2).await;

    // Back where it belongs: as if nothing had been.
    app.clock.step(NOW_US + 20 * HOUR_US);
    assert_eq!(ahead_s(&app).await, 0);
    assert_eq!(app.logs(record(0, "a", "rag", 1.0)).await["duplicate"], true);
    maintain(&app).await;
    check(&app, 2).await;

    // A clock that stays ahead for a day is right after all.
    app.clock.step(NOW_US + YEAR_US);
    assert_eq!(ahead_s(&app).await, 365 * 86_400 - 20 * 3_600);
    later(23);
    maintain(&app).await;
    check(&app, 2).await;
    later(1);
    assert_eq!(ahead_s(&app).await, 0);
    maintain(&app).await;
    check(&app, 0).await;
}
