//! A clock that jumps: nothing is lost, nothing counts twice, and nothing that is not past its age by any clock
//! goes.

use serde_json::json;

use crate::app::{NOW_US, TestApp, record};

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
