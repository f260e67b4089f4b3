//! Tables in places of their own: a cold store beside the first, a URL in the place of the data directory.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

use arrow::{array::AsArray, compute::cast, datatypes::DataType};
use driftline::{
    clock::Clock,
    config::{Config, TenantLifecycleConfig},
    daemon::{self, Store},
    error::Kind,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use crate::app::{NOW_US, TestApp, json as json_of, record};

const DAY_S: i64 = 86_400;
const DAY_US: i64 = DAY_S * 1_000_000;
const TOTALS: &str = "select count(*) as n, count(distinct request_id) as ids, sum(cost) as cost, min(timestamp) as first, max(timestamp) as last from agent_logs";

/// Names of Parquet files below a directory.
fn files(directory: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut found: Vec<String> = paths(directory).into_iter().map(name).collect();
    found.sort();
    found
}

fn paths(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("_delta_log") {
            found.extend(paths(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found
}

/// Whose rows are in the files below a directory; `-` for those without a tenant.
fn tenants(directory: &Path) -> String {
    let mut found = BTreeSet::new();
    for path in paths(directory) {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap() {
            let column = cast(batch.unwrap().column_by_name("tenant_id").unwrap(), &DataType::Utf8).unwrap();
            found.extend(column.as_string::<i32>().iter().map(|tenant| tenant.unwrap_or("-").to_owned()));
        }
    }
    found.into_iter().collect::<Vec<_>>().join(" ")
}

/// A daemon whose files go to a cold directory at the age of a month.
async fn cold_app(directory: &Path) -> TestApp {
    let url = url::Url::from_directory_path(directory).unwrap();
    TestApp::start_with(|config| {
        config.storage.cold_url = Some(url.to_string());
        config.lifecycle.cold_after_days = 30;
        config.lifecycle.file_grace_minutes = 0;
    })
    .await
}

async fn load(app: &TestApp, name: &str, days: i64) {
    let body: String = (0..days).map(|day| record(-day * DAY_S, &format!("{name}-{day}"), "rag", 0.5)).collect();
    app.logs(body).await;
    app.flush().await;
}

async fn maintain(app: &TestApp) -> driftline::maintain::Done {
    app.daemon.as_ref().unwrap().maintainer().run().await.unwrap()
}

/// Passes until nothing is due or left over.
async fn maintain_all(app: &TestApp) {
    for _ in 0..10 {
        let done = maintain(app).await;
        if (done.actions, done.swept_files) == (0, 0) {
            return;
        }
        app.clock.set(app.clock.now_us() + 60_000_000);
    }
    panic!("maintenance does not come to an end");
}

#[tokio::test]
async fn cold_files_move_and_are_queried_as_before() {
    let archive = tempfile::tempdir().unwrap();
    let cold = archive.path().join("a cold place");
    let mut app = cold_app(&cold).await;
    load(&app, "a", 3).await;
    // Warm first, then as it is to the cold store.
    app.clock.set(NOW_US + 12 * DAY_US);
    maintain_all(&app).await;
    let before = app.sql(TOTALS).await;
    let home = app.data().join("tables/agent_logs");
    let (warm, nothing) = (files(&home), files(&cold));
    assert_eq!((warm.len(), nothing.len()), (3, 0));
    app.clock.set(NOW_US + 40 * DAY_US);
    maintain_all(&app).await;
    assert_eq!((files(&home), files(&cold)), (Vec::new(), warm), "the same files in the other place");
    assert_eq!(app.sql(TOTALS).await, before);
    // Hot files of that age are joined and compressed on their way.
    load(&app, "b", 3).await;
    load(&app, "c", 3).await;
    assert_eq!(files(&home).len(), 6);
    app.clock.set(NOW_US + 42 * DAY_US);
    maintain_all(&app).await;
    assert_eq!(files(&home).len(), 0);
    let by_day = app.sql("select date, count(*) as n from agent_logs group by date order by date").await;
    let day = |date: &str| json!({"date": date, "n": 3});
    assert_eq!(by_day, json!([day("2026-05-12"), day("2026-05-13"), day("2026-05-14")]));
    // A restart and a crash know where the files are.
    app.restart().await;
    assert_eq!(app.sql(TOTALS).await[0]["ids"], 9);
    let found = app.sql("select agent_id from agent_logs where request_id = 'a-2'").await;
    assert_eq!(found, json!([{"agent_id": "rag"}]));
}

#[tokio::test]
async fn rows_in_the_cold_store_are_deleted_at_their_age() {
    let archive = tempfile::tempdir().unwrap();
    let mut app = cold_app(archive.path()).await;
    load(&app, "a", 3).await;
    app.clock.set(NOW_US + 40 * DAY_US);
    maintain_all(&app).await;
    assert_eq!(files(archive.path()).len(), 3);
    app.config.lifecycle.delete_after_days = 41;
    app.restart().await;
    maintain_all(&app).await;
    assert_eq!(app.sql(TOTALS).await[0]["n"], 2);
    assert_eq!(files(archive.path()).len(), 2, "what nobody keeps is gone from the cold store");
}

/// Three days of three tenants and of nobody, in three files a day.
async fn load_tenants(app: &TestApp, name: &str) {
    for flush in 0..3 {
        let mut body = String::new();
        for day in 0..3 {
            for tenant in ["quick", "usual", "kept"] {
                let line = record(-day * DAY_S, &format!("{name}-{flush}-{day}-{tenant}"), "rag", 0.5);
                body += &line.replace("\"t1\"", &format!("\"{tenant}\""));
            }
            body += &record(-day * DAY_S, &format!("{name}-{flush}-{day}"), "rag", 0.5)
                .replace("\"tenant_id\":\"t1\",", "");
        }
        app.logs(body).await;
        app.flush().await;
    }
}

/// The directory is whole; the daemon is started again.
async fn check_whole(app: &mut TestApp) {
    app.daemon.take().unwrap().stop().await.unwrap();
    assert_eq!(daemon::verify(&app.config, true).await.unwrap().findings, []);
    app.reopen().await;
}

#[tokio::test]
async fn tenants_rows_move_at_ages_of_their_own() {
    const BY_TENANT: &str = "select tenant_id, date, count(*) as n, sum(cost) as cost, min(request_id) as first from agent_logs group by tenant_id, date order by date, tenant_id";
    let archive = tempfile::tempdir().unwrap();
    let cold = archive.path().join("archive");
    let mut app = cold_app(&cold).await;
    let own = TenantLifecycleConfig::default();
    let quick = TenantLifecycleConfig { warm_after_days: Some(1), cold_after_days: Some(2), ..own.clone() };
    let kept = TenantLifecycleConfig { cold_after_days: Some(0), ..own };
    app.config.lifecycle.tenants.insert("quick".to_owned(), quick);
    app.config.lifecycle.tenants.insert("kept".to_owned(), kept);
    app.restart().await;
    load_tenants(&app, "a").await;
    let (home, before) = (app.data().join("tables/agent_logs"), app.sql(BY_TENANT).await);
    assert_eq!((files(&home).len(), before.as_array().unwrap().len()), (9, 12));

    // The eldest day is two days old, the next one; the last is not over for a day.
    app.clock.set(NOW_US + DAY_US);
    let due = json_of(app.get("/api/v1/maintenance")).await;
    let due: Vec<&str> = due["due"].as_array().unwrap().iter().map(|due| due["action"].as_str().unwrap()).collect();
    let split = |end: &str| format!("split 3 hot files, the rows of quick {end}: 12 rows, ");
    assert!(due.len() == 3 && due[0].starts_with("merge 3 hot files into 1: 12 rows"), "{due:?}");
    assert!(due[1].starts_with(&split("go to the cold store")), "{due:?}");
    assert!(due[2].starts_with(&split("become warm")), "{due:?}");
    let done = maintain(&app).await;
    assert_eq!((done.actions, done.deleted_rows), (3, 0));
    assert_eq!(json_of(app.get("/api/v1/maintenance")).await["due"], json!([]));
    assert_eq!(app.sql(BY_TENANT).await, before);
    maintain_all(&app).await;
    assert_eq!((files(&home).len(), files(&cold).len(), tenants(&cold)), (4, 1, "quick".to_owned()));
    assert_eq!(tenants(&home.join("date=2026-05-12")), "- kept usual");

    // Each day in its turn; what the others have left is not written again.
    app.clock.set(NOW_US + 3 * DAY_US);
    maintain_all(&app).await;
    assert_eq!((files(&home).len(), files(&cold).len(), tenants(&cold)), (3, 3, "quick".to_owned()));
    assert_eq!(tenants(&home), "- kept usual");
    assert!(files(&home).iter().all(|name| name.ends_with(".lz4.parquet")), "they are hot as before");
    check_whole(&mut app).await;
    assert_eq!((maintain(&app).await.actions, app.sql(BY_TENANT).await), (0, before));

    // Late rows go where those before them are, and nothing of the old is touched for them.
    let old = files(&home);
    load_tenants(&app, "b").await;
    let before = app.sql(BY_TENANT).await;
    app.clock.set(NOW_US + 4 * DAY_US);
    maintain_all(&app).await;
    assert!(files(&home).len() == 6 && old.iter().all(|name| files(&home).contains(name)));
    assert_eq!((tenants(&cold), tenants(&home)), ("quick".to_owned(), "- kept usual".to_owned()));
    app.clock.set(NOW_US + 12 * DAY_US);
    maintain_all(&app).await;
    assert_eq!((files(&home).len(), tenants(&home)), (3, "- kept usual".to_owned()));
    app.clock.set(NOW_US + 40 * DAY_US);
    maintain_all(&app).await;
    assert_eq!((files(&home).len(), tenants(&home)), (3, "kept".to_owned()));
    assert_eq!(tenants(&cold), "- quick usual");
    check_whole(&mut app).await;
    assert_eq!((maintain(&app).await.actions, app.sql(BY_TENANT).await), (0, before));
    let totals = app.sql(TOTALS).await;
    assert_eq!((&totals[0]["n"], &totals[0]["ids"]), (&json!(72), &json!(72)));
}

/// What a start with these settings says.
async fn refusal(config: &Config) -> String {
    match Store::open(config, Clock::manual(NOW_US)).await {
        Ok(_) => panic!("it starts"),
        Err(error) => error.chain(),
    }
}

#[tokio::test]
async fn a_start_that_would_lose_sight_of_rows_is_refused() {
    let archive = tempfile::tempdir().unwrap();
    let mut app = cold_app(archive.path()).await;
    load(&app, "a", 1).await;
    app.clock.set(NOW_US + 40 * DAY_US);
    maintain_all(&app).await;
    app.daemon.take().unwrap().stop().await.unwrap();
    let config = |change: &dyn Fn(&mut Config)| {
        let mut config = app.config.clone();
        change(&mut config);
        config
    };
    let elsewhere = format!("file://{}/elsewhere", archive.path().display());
    let check = async |change: &dyn Fn(&mut Config), expected: &str| {
        let message = refusal(&config(change)).await;
        assert!(message.contains(expected), "{message}");
    };
    check(&|config| config.storage.cold_url = None, "set both or none").await;
    let only_a_tenants = |config: &mut Config| {
        config.storage.cold_url = None;
        config.lifecycle.cold_after_days = 0;
        let own = TenantLifecycleConfig { cold_after_days: Some(30), ..TenantLifecycleConfig::default() };
        config.lifecycle.tenants.insert("t1".to_owned(), own);
    };
    check(&only_a_tenants, "set both or none").await;
    let forget = |config: &mut Config| {
        config.storage.cold_url = None;
        config.lifecycle.cold_after_days = 0;
    };
    check(&forget, "storage.cold_url").await;
    check(&|config| config.storage.cold_url = Some("ftp://archive".to_owned()), "no store for ftp://").await;
    let overlapping = "must not lie within";
    check(&|config| config.storage.url = Some(elsewhere.clone()), overlapping).await;
    // The tables of the data directory itself, around them, and below them, by whatever name.
    let alias = archive.path().with_extension("alias");
    std::os::unix::fs::symlink(app.data(), &alias).unwrap();
    for place in
        [app.data().join("tables"), app.data().join("tables/cold"), app.data().to_owned(), alias.join("tables")]
    {
        let url = format!("file://{}", place.display());
        check(&|config| config.storage.cold_url = Some(url.clone()), overlapping).await;
    }
    std::fs::remove_file(alias).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let outside = format!("file://{}", outside.path().display());
    check(&|config| config.storage.url = Some(outside.clone()), "put storage.url back").await;
    // Another data directory must not take the same place.
    let other: PathBuf = archive.path().with_extension("other");
    // And leaves alone what the other one is uploading.
    let upload = archive.path().join("agent_logs/part.parquet#7");
    std::fs::write(&upload, "half").unwrap();
    check(&|config| config.server.data = other.clone(), "another data directory").await;
    assert!(upload.exists());
    std::fs::remove_dir_all(other).unwrap();
    // The settings as they were work on.
    let store = Store::open(&app.config, Clock::manual(NOW_US)).await.unwrap();
    store.close().await.unwrap();
    assert!(!upload.exists());
}

#[tokio::test]
async fn tables_can_be_at_a_url() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}/tables of mine", place.path().display());
    let mut app = TestApp::start_with(|config| config.storage.url = Some(url)).await;
    load(&app, "a", 2).await;
    assert_eq!(files(&place.path().join("tables of mine/agent_logs")).len(), 2);
    assert!(!app.data().join("tables").exists());
    app.restart().await;
    assert_eq!(app.sql(TOTALS).await[0]["n"], 2);
    let local = Config { storage: Default::default(), ..app.config.clone() };
    app.daemon.take().unwrap().stop().await.unwrap();
    assert!(refusal(&local).await.contains("put storage.url back"));
}

#[tokio::test]
async fn a_copy_of_a_directory_takes_no_commits_for_its_own() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}/tables", place.path().display());
    let mut app = TestApp::start_with(|config| config.storage.url = Some(url)).await;
    load(&app, "before", 1).await;
    // Copies that never commit are none.
    let mut copy = app.crash().await;
    load(&app, "after", 1).await;
    // Both give the same number to a batch of their own.
    copy.logs(record(0, "of-the-copy", "rag", 0.5)).await;
    app.logs(record(0, "of-the-first", "rag", 0.5)).await;
    let refused = copy.daemon.as_ref().unwrap().ingestor().flush().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(refused.to_string().contains("another server has committed"), "{refused}");
    let ready = copy.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(copy.daemon.take().unwrap().stop().await.is_err());
    // The first goes on, and the copy does not start again.
    app.flush().await;
    app.restart().await;
    assert_eq!(app.sql(TOTALS).await[0]["ids"], 3);
    assert!(refusal(&copy.config).await.contains("from a copy of"), "the copy starts");
    // The first may also be the one that stops: whoever commits first goes on.
    let mut copy = app.crash().await;
    load(&copy, "of-the-next-copy", 1).await;
    app.logs(record(0, "late", "rag", 0.5)).await;
    assert_eq!(app.daemon.as_ref().unwrap().ingestor().flush().await.unwrap_err().kind(), Kind::Conflict);
    copy.restart().await;
    assert_eq!(copy.sql(TOTALS).await[0]["ids"], 4);
}

/// Both own the cold store, and each has a log of its own: one would delete what the other moved.
#[tokio::test]
async fn a_copy_of_a_directory_changes_no_cold_store_that_was_changed_since() {
    let archive = tempfile::tempdir().unwrap();
    let mut app = cold_app(archive.path()).await;
    load(&app, "a", 1).await;
    let copied = tempfile::tempdir().unwrap();
    crate::app::copy(app.data(), &copied.path().join("data"));
    app.clock.set(NOW_US + 40 * DAY_US);
    maintain_all(&app).await;
    assert!(!files(archive.path()).is_empty(), "nothing is cold");
    let mut config = app.config.clone();
    config.server.data = copied.path().join("data");
    assert!(refusal(&config).await.contains("start that copy, and set this one aside"));

    // A copy of the present state is as good as the first, until one of them goes on.
    let copied = tempfile::tempdir().unwrap();
    crate::app::copy(app.data(), &copied.path().join("data"));
    let mut copy = app.beside(copied).await;
    load(&copy, "b", 1).await;
    load(&app, "b", 1).await;
    app.clock.set(NOW_US + 80 * DAY_US);
    maintain_all(&copy).await;
    let of_the_copy = files(archive.path());
    let refused = app.daemon.as_ref().unwrap().maintainer().run().await.unwrap_err();
    assert!(refused.kind() == Kind::Conflict && refused.to_string().contains("driftline-turn"), "{refused}");
    assert_eq!(files(archive.path()), of_the_copy);
    copy.restart().await;
    assert_eq!(copy.sql(TOTALS).await[0]["ids"], 2);
    assert!(refusal(&app.config).await.contains("another driftline has"));
    app.daemon.take().unwrap().stop().await.unwrap();
    assert!(refusal(&app.config).await.contains("start that copy"));
}
