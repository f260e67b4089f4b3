//! The life cycle of committed files: fewer of them, the same rows; retention; readers that are not disturbed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use driftline::config::TenantLifecycleConfig;
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, json as json_of, record};

const DAY_S: i64 = 86_400;
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const TOTALS: &str = "select count(*) as n, count(distinct request_id) as ids, sum(cost) as cost, min(timestamp) as first, max(timestamp) as last, sum(latency_ms) as latency from agent_logs";

/// Data files of `agent_logs` in the directory, whether the log names them or not.
pub fn files(app: &TestApp) -> BTreeSet<PathBuf> {
    fn visit(directory: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("_delta_log") {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.insert(path);
            }
        }
    }
    let mut found = BTreeSet::new();
    visit(&app.data().join("tables/agent_logs"), &mut found);
    found
}

fn log_entries(app: &TestApp) -> usize {
    std::fs::read_dir(app.data().join("tables/agent_logs/_delta_log")).unwrap().count()
}

/// A batch in each flush, some records of yesterday and some of the day before, out of order.
pub async fn flushes(app: &TestApp, count: i64) {
    for flush in 0..count {
        let line = |day: i64, n: i64| {
            let second = -day * DAY_S - (n * 37 + flush * 11) % 20_000;
            record(second, &format!("f{flush}-d{day}-{n}"), "rag", 0.5)
        };
        let body: String = (0..6).map(|n| line(1, n) + &line(2, n)).collect();
        app.logs(body).await;
        app.flush().await;
    }
}

async fn maintain(app: &TestApp) -> driftline::maintain::Done {
    app.daemon.as_ref().unwrap().maintainer().run().await.unwrap()
}

/// A tenant's own retention.
fn kept_for(days: u32) -> TenantLifecycleConfig {
    TenantLifecycleConfig { delete_after_days: Some(days), ..TenantLifecycleConfig::default() }
}

#[tokio::test]
async fn many_files_become_few_and_the_rows_stay() {
    let app = TestApp::start().await;
    flushes(&app, 12).await;
    let before = app.sql(TOTALS).await;
    assert_eq!((before[0]["n"].clone(), files(&app).len()), (json!(144), 24));

    let done = maintain(&app).await;
    assert_eq!((done.actions, done.swept_files), (2, 0));
    assert_eq!(app.sql(TOTALS).await, before);
    // Two new files; the old ones stay for others who may be reading them.
    assert_eq!(files(&app).len(), 26);
    let ordered = app.sql("select request_id from agent_logs order by timestamp, request_id").await;
    assert_eq!(ordered.as_array().unwrap().len(), 144);

    app.clock.set(NOW_US + 3 * HOUR_US);
    let done = maintain(&app).await;
    assert_eq!((done.actions, done.swept_files), (0, 24));
    assert_eq!(files(&app).len(), 2);
    assert_eq!(app.sql(TOTALS).await, before);
    // A crash now finds the same, and ingest goes on.
    let crashed = app.crash().await;
    assert_eq!(crashed.sql(TOTALS).await, before);
    crashed.logs(record(-60, "late", "rag", 0.5)).await;
    crashed.flush().await;
    assert_eq!(crashed.sql(TOTALS).await[0]["n"], 145);
}

#[tokio::test]
async fn what_is_due_is_said_before_it_is_done() {
    let app = TestApp::start().await;
    flushes(&app, 9).await;
    let due = json_of(app.get("/api/v1/maintenance")).await;
    let actions: Vec<&str> = due["due"].as_array().unwrap().iter().map(|due| due["action"].as_str().unwrap()).collect();
    assert!(actions.len() == 2 && actions.iter().all(|action| action.starts_with("merge 9 hot files into 1: 54 rows")));
    assert_eq!(due["due"][0]["date"], "2026-05-12");
    assert_eq!(files(&app).len(), 18);
    let done = json_of(app.post("/api/v1/maintenance")).await;
    assert_eq!(done["done"]["actions"], 2);
    assert_eq!(json_of(app.get("/api/v1/maintenance")).await["due"], json!([]));
}

#[tokio::test]
async fn old_days_are_compressed_harder_and_late_rows_join_them() {
    let app = TestApp::start().await;
    flushes(&app, 3).await;
    let before = app.sql(TOTALS).await;
    app.clock.set(NOW_US + 10 * DAY_US);
    assert_eq!(maintain(&app).await.actions, 2);
    app.clock.set(NOW_US + 11 * DAY_US);
    maintain(&app).await;
    let warm = files(&app);
    assert!(warm.len() == 2 && warm.iter().all(|path| path.to_str().unwrap().ends_with(".zstd.parquet")), "{warm:?}");
    assert_eq!(app.sql(TOTALS).await, before);
    // Tiers are known again after a crash: nothing is written twice.
    let crashed = app.crash().await;
    assert_eq!(maintain(&crashed).await.actions, 0);
    // What comes late lies beside, and then joins.
    crashed.logs(record(-DAY_S, "late", "rag", 0.5)).await;
    crashed.flush().await;
    crashed.clock.set(NOW_US + 12 * DAY_US);
    maintain(&crashed).await;
    crashed.clock.set(NOW_US + 13 * DAY_US);
    maintain(&crashed).await;
    assert!(files(&crashed).len() <= 3);
    assert_eq!(crashed.sql(TOTALS).await[0]["n"], 37);
}

#[tokio::test]
async fn a_query_that_has_begun_is_not_disturbed() {
    let app = TestApp::start_with(|config| config.lifecycle.file_grace_minutes = 0).await;
    flushes(&app, 12).await;
    let before = app.sql(TOTALS).await;
    let engine = app.daemon.as_ref().unwrap().engine();
    let mut rows = engine.sql("select request_id from agent_logs", Default::default()).await.unwrap();
    let first = rows.next().await.unwrap().unwrap().num_rows();
    let done = maintain(&app).await;
    assert_eq!((done.actions, done.swept_files), (2, 0), "the query still reads from the files");
    assert_eq!(first + rows.collect_as::<Value>().await.unwrap().len(), 144);
    assert_eq!(maintain(&app).await.swept_files, 24);
    assert_eq!((app.sql(TOTALS).await, files(&app).len()), (before, 2));
}

#[tokio::test]
async fn rows_are_deleted_at_their_age_and_not_before() {
    let mut app = TestApp::start().await;
    let kept = |line: String| line.replace("\"t1\"", "\"t-kept\"");
    for flush in 0..3 {
        let id = |day: i64, tenant: &str| format!("{flush}-{day}-{tenant}");
        let body: String = (1..=4_i64)
            .map(|day| {
                record(-day * DAY_S, &id(day, "t1"), "rag", 0.5)
                    + &kept(record(-day * DAY_S, &id(day, "kept"), "rag", 0.5))
            })
            .collect();
        app.logs(body).await;
        app.flush().await;
    }
    app.config.lifecycle.delete_after_days = 3;
    app.config.lifecycle.tenants.insert("t-kept".to_owned(), kept_for(0));
    app.restart().await;
    let by_tenant = "select tenant_id, count(*) as n, max(timestamp) < timestamp '2026-05-14' as old from agent_logs group by tenant_id order by tenant_id";
    maintain(&app).await;
    // Of four days the oldest is past its age for all but one.
    let expected = json!([{"tenant_id": "t-kept", "n": 12, "old": true}, {"tenant_id": "t1", "n": 9, "old": true}]);
    assert_eq!(app.sql(by_tenant).await, expected);
    app.clock.set(NOW_US + 2 * DAY_US);
    maintain(&app).await;
    let expected = json!([{"tenant_id": "t-kept", "n": 12, "old": true}, {"tenant_id": "t1", "n": 3, "old": true}]);
    assert_eq!(app.sql(by_tenant).await, expected);
    app.clock.set(NOW_US + 30 * DAY_US);
    maintain(&app).await;
    assert_eq!(app.sql(by_tenant).await, json!([{"tenant_id": "t-kept", "n": 12, "old": true}]));
    // What went is in the books, through restarts and crashes.
    let books = json!({"received": 24, "accepted": 24, "rejected": 0, "duplicate": 0, "committed": 24, "buffered": 0, "deleted": 12});
    assert_eq!(json_of(app.get("/api/v1/status")).await["books"], books);
    assert_eq!(json_of(app.crash().await.get("/api/v1/status")).await["books"], books);
    // It is done once.
    app.clock.set(NOW_US + 31 * DAY_US);
    maintain(&app).await;
    app.clock.set(NOW_US + 32 * DAY_US);
    assert_eq!(maintain(&app).await.actions, 0);
}

#[tokio::test]
async fn records_past_their_retention_are_rejected_and_counted() {
    let app = TestApp::start_with(|config| {
        config.lifecycle.delete_after_days = 3;
        config.lifecycle.tenants.insert("t-long".to_owned(), kept_for(30));
        config.lifecycle.tenants.insert("t-ever".to_owned(), kept_for(0));
    })
    .await;
    let of = |tenant: &str, day: i64| {
        record(-day * DAY_S, &format!("{tenant}-{day}"), "rag", 0.5).replace("\"t1\"", &format!("\"{tenant}\""))
    };
    let body: String =
        [of("t1", 3), of("t1", 4), of("t-long", 30), of("t-long", 31), of("t-ever", 3_000)].into_iter().collect();
    let answer = app.logs(body).await;
    assert_eq!((&answer["accepted"], answer["rejected"].as_array().unwrap().len()), (&json!(3), 2), "{answer}");
    let reason = "timestamp is older than the retention: only records from 2026-05-11 on are kept";
    assert_eq!(answer["rejected"][0]["reason"], reason);
    app.flush().await;
    assert_eq!(maintain(&app).await.deleted_rows, 0, "what was stored is kept");
    let rejected = app.sql("select count(*) as n from rejected_logs where reason like '%retention%'").await;
    assert_eq!(rejected, json!([{"n": 2}]));
}

#[tokio::test]
async fn the_log_of_a_table_is_trimmed_behind_its_checkpoints() {
    let app = TestApp::start_with(|config| config.lifecycle.log_retention_minutes = 0).await;
    for flush in 0..60 {
        app.logs(record(-flush, &format!("r{flush}"), "rag", 0.5)).await;
        app.flush().await;
    }
    let before = app.sql(TOTALS).await;
    assert!(log_entries(&app) > 60);
    // The log's files carry the system's time, which is after the test's.
    app.clock.set(4_102_444_800_000_000);
    let done = maintain(&app).await;
    assert!(done.trimmed_entries > 40, "{done:?}");
    assert!(log_entries(&app) < 25, "{}", log_entries(&app));
    assert_eq!(app.sql(TOTALS).await, before);
    let crashed = app.crash().await;
    assert_eq!(crashed.sql(TOTALS).await, before);
    crashed.logs(record(-1, "after", "rag", 0.5)).await;
    crashed.flush().await;
    assert_eq!(crashed.sql(TOTALS).await[0]["n"], 61);
}

#[tokio::test]
async fn files_that_do_not_fit_into_memory_at_once_are_joined_all_the_same() {
    let app = TestApp::start_with(|config| config.lifecycle.memory_bytes_max = 4 << 20).await;
    flushes(&app, 10).await;
    let before = app.sql(TOTALS).await;
    assert_eq!(files(&app).len(), 20);
    for _ in 0..8 {
        maintain(&app).await;
        app.clock.set(app.clock.now_us() + HOUR_US);
    }
    assert_eq!(app.sql(TOTALS).await, before);
    // A file that is larger than all it would join stays beside it.
    assert!(files(&app).len() <= 4, "at most two for each day: {:?}", files(&app));
}
