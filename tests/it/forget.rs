//! Somebody's records go on request, and do not come back.

use serde_json::{Value, json};

use crate::{
    app::{NOW_US, TestApp, failure, json as json_of, record},
    maintain::files,
};

const DAY_S: i64 = 86_400;
const HOUR_US: i64 = 3_600_000_000;
const BY_USER: &str = "select user_id, count(*) as n from agent_logs group by user_id order by user_id";

fn of(user: &str, tenant: &str, day: i64, n: i64) -> String {
    record(-day * DAY_S - n, &format!("{user}-{day}-{n}"), "rag", 0.5)
        .replace("\"t1\"", &format!("\"{tenant}\",\"user_id\":\"{user}\""))
}

/// Two users of two tenants on three days in files, the buffer and the log; and lines that are no records.
async fn filled(app: &TestApp) {
    for day in 0..3 {
        let body: String = (0..4).map(|n| of("ann", "t-a", day, n) + &of("bob", "t-b", day, n)).collect();
        app.logs(body).await;
        app.flush().await;
    }
    app.logs("ann's phone: no record\n{}\n".to_owned() + &of("ann", "t-a", 0, 100)).await;
    app.logs(of("bob", "t-b", 0, 100)).await;
}

async fn forget(app: &TestApp, body: Value) -> Value {
    json_of(app.post("/api/v1/forget").json(&body)).await["forgotten"].clone()
}

fn wal_holds(app: &TestApp, name: &str) -> bool {
    let segments = std::fs::read_dir(app.data().join("wal")).unwrap().map(|entry| entry.unwrap().path());
    segments.filter(|path| path.is_file()).any(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(name.len()).any(|window| window == name.as_bytes())
    })
}

async fn books_balance(app: &TestApp) {
    let books = json_of(app.get("/api/v1/status")).await["books"].clone();
    let of = |name: &str| books[name].as_u64().unwrap();
    assert_eq!(of("accepted"), of("committed") + of("buffered"), "{books}");
    let rows = app.sql("select count(*) as n from agent_logs").await[0]["n"].as_u64().unwrap();
    assert_eq!(of("committed") + of("buffered") - of("deleted"), rows, "{books}");
}

#[tokio::test]
async fn one_users_records_go_from_files_buffer_and_log() {
    let app = TestApp::start().await;
    filled(&app).await;
    assert!(wal_holds(&app, "ann"));
    let expected = json!({"records": 13, "rejected_lines": 1, "files": 5, "results": 0});
    assert_eq!(forget(&app, json!({"user_id": "ann", "dry_run": true})).await, expected);
    assert_eq!(app.sql(BY_USER).await[0], json!({"user_id": "ann", "n": 13}));
    assert_eq!(forget(&app, json!({"user_id": "ann"})).await, expected);
    let left = json!([{"user_id": "bob", "n": 13}]);
    assert_eq!(app.sql(BY_USER).await, left);
    assert_eq!(app.sql("select raw from rejected_logs").await, json!([{"raw": "{}"}]));
    assert!(!wal_holds(&app, "ann"));
    books_balance(&app).await;
    // A second time there is nothing; a retry of an old batch does not bring it back.
    assert_eq!(forget(&app, json!({"user_id": "ann"})).await["records"], 0);
    let again: String = (0..4).map(|n| of("ann", "t-a", 0, n) + &of("bob", "t-b", 0, n)).collect();
    assert_eq!(app.logs(again).await["duplicate"], true);
    let crashed = app.crash().await;
    assert_eq!(crashed.sql(BY_USER).await, left);
    books_balance(&crashed).await;
    // New records are new records.
    crashed.logs(of("ann", "t-a", 0, 200)).await;
    assert_eq!(crashed.sql(BY_USER).await[0], json!({"user_id": "ann", "n": 1}));
    books_balance(&crashed).await;
}

#[tokio::test]
async fn one_tenants_records_go_and_files_of_nobody_else() {
    let app = TestApp::start_with(|config| config.lifecycle.file_grace_minutes = 0).await;
    filled(&app).await;
    assert_eq!(forget(&app, json!({"tenant_id": "t-b"})).await["records"], 13);
    assert_eq!(app.sql(BY_USER).await, json!([{"user_id": "ann", "n": 13}]));
    // The files they were in go with the next pass.
    let done = json_of(app.post("/api/v1/maintenance")).await;
    assert_eq!(done["done"]["swept_files"], 4);
    assert_eq!(app.sql(BY_USER).await, json!([{"user_id": "ann", "n": 13}]));
    books_balance(&app).await;
}

/// What is wrong with one file keeps nobody else's rows, and the answer names it.
#[tokio::test]
async fn a_file_that_cannot_be_read_keeps_its_own_rows_only() {
    let app = TestApp::start_with(|config| config.lifecycle.interval_s = 0).await;
    filled(&app).await;
    let first = files(&app).into_iter().min().unwrap();
    let content = std::fs::read(&first).unwrap();
    std::fs::write(&first, b"no Parquet").unwrap();
    let (status, message) = failure(app.post("/api/v1/forget").json(&json!({"user_id": "ann"}))).await;
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(status == 500 && message.contains(name) && message.contains("driftline verify"), "{status} {message}");
    std::fs::write(&first, content).unwrap();
    // Those of the file's day: the first of three.
    assert_eq!(app.sql(BY_USER).await, json!([{"user_id": "ann", "n": 4}, {"user_id": "bob", "n": 13}]));
    assert_eq!(app.sql("select count(*) as n from rejected_logs").await[0]["n"], 1);
    assert_eq!(forget(&app, json!({"user_id": "ann"})).await["records"], 4);
    books_balance(&app).await;
}

/// It can take hours, and passes wait for it.
#[tokio::test]
async fn what_nobody_needs_is_removed_as_a_forget_goes() {
    let app = TestApp::start().await;
    filled(&app).await;
    app.flush().await;
    let held = files(&app);
    forget(&app, json!({"user_id": "ann"})).await;
    assert!(held.is_subset(&files(&app)), "others may still read them");
    app.clock.set(NOW_US + 3 * HOUR_US);
    forget(&app, json!({"user_id": "bob"})).await;
    assert!(held.is_disjoint(&files(&app)), "{held:?}");
    let done = app.daemon.as_ref().unwrap().maintainer().done();
    assert!(done.swept_files >= held.len() as u64, "{done:?}");
    assert_eq!(app.sql(BY_USER).await, json!([]));
    books_balance(&app).await;
}

#[tokio::test]
async fn a_request_without_a_name_is_refused() {
    let app = TestApp::start().await;
    let check = async |body: &str, expected: &str| {
        let (status, message) =
            failure(app.post("/api/v1/forget").header("content-type", "application/json").body(body.to_owned())).await;
        assert!(status == 400 && message.contains(expected), "{status} {message}");
    };
    check("{}", "name one of user_id and tenant_id").await;
    check(r#"{"user_id":"a","tenant_id":"b"}"#, "name one of").await;
    check(r#"{"user_id":""}"#, "the name is empty").await;
    check(r#"{"user":"a"}"#, "the body is not {\"user_id\"}").await;
    let (status, message) = failure(app.post("/api/v1/forget").body(r#"{"user_id":"a"}"#)).await;
    assert!(status == 415 && message.contains("application/json"), "{status} {message}");
}
