//! Copies of the data directory that are taken while it is in use, and what they are worth: each opens as
//! a daemon, with every record that was acknowledged before it was asked for, once.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use driftline::{daemon::Store, error::Kind};
use futures::{StreamExt, future, stream};
use reqwest::{StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    app::{NOW_US, TestApp, failure, json as json_of, record},
    disk::empty,
    power::{Told, check_left, check_shown, clock, config, send},
    simulated_disk::{INPUT_OUTPUT, Mode, SimulatedDisk},
};

const TOTALS: &str = "select count(*) as n, count(distinct request_id) as ids, sum(cost) as cost, max(ingest_seq) as seq from agent_logs";
/// 2100, when the log's files are older than any retention: they carry the system's time.
const LATER_US: i64 = 4_102_444_800_000_000;

/// Has the daemon write a backup; where it is, below `data`, and what it says of it.
async fn back_up(app: &TestApp) -> (TempDir, Value) {
    let directory = tempfile::tempdir().unwrap();
    let body = json!({ "directory": directory.path().join("data") });
    let done = json_of(app.post("/api/v1/backup").json(&body)).await;
    (directory, done)
}

/// A batch that was acknowledged.
#[derive(Debug, Clone)]
struct Batch {
    key: String,
    ids: Vec<String>,
    body: String,
    seq: u64,
}

impl Batch {
    /// What is in it follows from its number: one to four records, and now and then a line that is none.
    fn new(client: usize, number: usize) -> Self {
        let key = format!("{client}-{number}");
        let ids: Vec<_> = (0..1 + number % 4).map(|index| format!("{key}-{index}")).collect();
        let second = -((client * 40_000 + number * 7) as i64);
        let mut body: String = ids.iter().map(|id| record(second, id, "rag", 0.5)).collect();
        if number.is_multiple_of(3) {
            body += "no record\n";
        }
        Self { key, ids, body, seq: 0 }
    }

    async fn send(&self, app: &TestApp) -> Value {
        let request = app.post("/api/v1/logs").header("Idempotency-Key", &self.key).body(self.body.clone());
        json_of(request).await
    }
}

/// Clients that send batch after batch, until they are told to stop.
struct Clients<'a> {
    app: &'a TestApp,
    acknowledged: Mutex<Vec<Batch>>,
    count: watch::Sender<usize>,
    is_over: AtomicBool,
}

impl<'a> Clients<'a> {
    fn new(app: &'a TestApp) -> Self {
        Self { app, acknowledged: Mutex::default(), count: watch::Sender::new(0), is_over: AtomicBool::new(false) }
    }

    fn go_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    async fn send(&self, client: usize, number: usize) {
        let mut batch = Batch::new(client, number);
        let answer = batch.send(self.app).await;
        assert!(answer.get("duplicate").is_none(), "{answer}");
        batch.seq = answer["seq"].as_u64().unwrap();
        self.acknowledged.lock().unwrap().push(batch);
        self.count.send_modify(|count| *count += 1);
    }

    async fn send_all(&self, client: usize) {
        let mut number = 0;
        while self.go_on() {
            self.send(client, number).await;
            number += 1;
        }
    }

    /// How many batches are acknowledged, once they are so many.
    async fn wait_for(&self, count: usize) -> usize {
        *self.count.subscribe().wait_for(|found| *found >= count).await.unwrap()
    }

    async fn flush(&self) {
        while self.go_on() {
            self.app.flush().await;
            self.app.daemon.as_ref().unwrap().ingestor().drain().await.unwrap();
        }
    }

    async fn maintain(&self) {
        while self.go_on() {
            self.app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

/// A backup has exactly the batches through its seq, those that were acknowledged before among them, and
/// knows them when they come again.
async fn check(app: &TestApp, backup: TempDir, done: &Value, batches: &[Batch], acknowledged_before: usize) {
    let restored = app.beside(backup).await;
    let seq = done["seq"].as_u64().unwrap();
    let is_in = |batch: &Batch| batch.seq <= seq;
    assert!(batches[..acknowledged_before].iter().all(is_in), "{done} lacks what was acknowledged before");
    check_rows(&restored, batches, is_in).await;
    let status = json_of(restored.get("/api/v1/status")).await;
    assert_eq!((&status["books"]["accepted"], &status["last_seq"]), (&done["rows"], &done["seq"]));
    let chosen: Vec<_> =
        batches.iter().filter(|batch| batch.seq.is_multiple_of(9) || batch.seq.abs_diff(seq) < 9).collect();
    for batch in &chosen {
        let answer = batch.send(&restored).await;
        assert_eq!(answer["duplicate"] == true, is_in(batch), "{batch:?}: {answer}");
        assert!(!is_in(batch) || answer["seq"] == batch.seq, "{batch:?}: {answer}");
    }
    for _ in 0..2 {
        check_rows(&restored, batches, |batch| is_in(batch) || chosen.iter().any(|sent| sent.seq == batch.seq)).await;
        restored.flush().await;
    }
}

/// The batches that should be there are, each record once, and no other; the books say so.
async fn check_rows(app: &TestApp, batches: &[Batch], should_be_in: impl Fn(&Batch) -> bool) {
    let rows = app.sql("select request_id as id, count(*) as n from agent_logs group by 1").await;
    let found = rows.as_array().unwrap().iter().map(|row| (row["id"].as_str().unwrap(), row["n"].clone()));
    let expected = batches.iter().filter(|batch| should_be_in(batch));
    let records = expected.clone().flat_map(|batch| &batch.ids).map(|id| (id.as_str(), json!(1)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), records.collect::<BTreeMap<_, _>>());
    let rejected = app.sql("select count(*) as n from rejected_logs").await[0]["n"].clone();
    let books = json_of(app.get("/api/v1/status")).await["books"].clone();
    let count = |name: &str| books[name].as_u64().unwrap();
    let accepted: usize = expected.clone().map(|batch| batch.ids.len()).sum();
    assert_eq!(
        (count("accepted"), count("committed") + count("buffered")),
        (accepted as u64, accepted as u64),
        "{books}"
    );
    assert_eq!(count("received"), count("accepted") + count("rejected") + count("duplicate"));
    let broken = expected.filter(|batch| batch.body.contains("no record")).count();
    assert_eq!((books["rejected"].clone(), rejected), (json!(broken), json!(broken)));
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_a_daemon_at_work_have_each_record_once() {
    let app = TestApp::start_with(|config| {
        // Segments come and go, files are joined and swept, logs are trimmed.
        config.wal.segment_bytes_max = 8 << 10;
        config.lifecycle.file_grace_minutes = 0;
        config.lifecycle.log_retention_minutes = 0;
        config.lifecycle.merge_files_min = 2;
        config.lifecycle.interval_s = 0;
    })
    .await;
    app.clock.set(LATER_US);
    let clients = Clients::new(&app);
    // The next commits bring the first checkpoint.
    for number in 0..45 {
        clients.send(4, number).await;
        app.flush().await;
    }
    let backups = async {
        let mut backups = Vec::new();
        for step in 1..=6 {
            let before = clients.wait_for(45 + step * 40).await;
            let (backup, done) = back_up(&app).await;
            backups.push((backup, done, before));
        }
        clients.is_over.store(true, Ordering::Relaxed);
        backups
    };
    let sending = future::join_all((0..4).map(|client| clients.send_all(client)));
    let (backups, _, (), ()) = tokio::join!(backups, sending, clients.flush(), clients.maintain());
    let batches = clients.acknowledged.into_inner().unwrap();
    let status = json_of(app.get("/api/v1/status")).await;
    let done = app.daemon.as_ref().unwrap().maintainer().done();
    println!("{} batches, {status}, {done:?}", batches.len());
    assert!(done.actions > 0 && done.swept_files > 0 && done.trimmed_entries > 0, "{done:?}");
    assert!(status["flushes"].as_u64().unwrap() > 8);
    for (backup, done, before) in backups {
        check(&app, backup, &done, &batches, before).await;
    }
}

/// The status, the counters and the totals of a daemon.
async fn picture(app: &TestApp) -> (Value, Value, Vec<String>) {
    let mut status = json_of(app.get("/api/v1/status")).await;
    // How often and where to is the process's own.
    for own in ["flushes", "buffer_bytes", "wal_bytes"] {
        status[own] = Value::Null;
    }
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let families = metrics.lines().filter(|line| line.starts_with("llm_")).map(str::to_owned).collect();
    (status, app.sql(TOTALS).await, families)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_restored_daemon_is_as_the_first_one_was() {
    let mut app = TestApp::start_with(|config| config.lifecycle.log_retention_minutes = 0).await;
    for state in 0..5 {
        match state {
            0 => {}
            1 => drop(app.logs(record(-10, "a", "rag", 0.5) + "no record\n").await),
            2 => app.flush().await,
            3 => {
                for flush in 0..60 {
                    app.logs(record(-flush, &format!("f{flush}"), "code", 0.25)).await;
                    app.flush().await;
                }
                app.clock.set(LATER_US);
                app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
                app.logs(record(-5, "b", "rag", 0.5)).await;
            }
            _ => {
                // A repetition is counted, and forgotten by a crash until a flush has saved it.
                assert_eq!(app.logs(record(-5, "b", "rag", 0.5)).await["duplicate"], true);
                app.restart().await;
            }
        }
        let before = picture(&app).await;
        let (backup, done) = back_up(&app).await;
        assert_eq!(picture(&app).await, before);
        let data = backup.path().join("data");
        assert_eq!(names(&data), ["FORMAT", "catalog.sqlite", "tables", "wal"]);
        if state >= 3 {
            let log = names(&data.join("tables/agent_logs/_delta_log"));
            let checkpoint = log.iter().position(|name| name.ends_with(".checkpoint.parquet")).unwrap();
            assert!(checkpoint == 0 && log.len() < 40 && log.contains(&"_last_checkpoint".to_owned()), "{log:?}");
        }
        let (files, bytes) = (done["files"].as_u64().unwrap(), done["bytes"].as_u64().unwrap());
        assert_eq!((files, bytes), size(&data), "{done}");
        assert_eq!((&done["rows"], &done["seq"]), (&before.1[0]["n"], &before.0["last_seq"]));

        let restored = app.beside(backup).await;
        assert_eq!(picture(&restored).await, before, "state {state}");
        // They go on alike.
        for app in [&app, &restored] {
            app.logs(record(-3, &format!("more{state}"), "rag", 0.5)).await;
        }
        assert_eq!(picture(&restored).await, picture(&app).await);
        restored.flush().await;
        assert_eq!(picture(&restored).await.1, picture(&app).await.1);
    }
}

/// How many files are below a directory, and their bytes.
fn size(directory: &Path) -> (u64, u64) {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let sizes = entries.map(|path| if path.is_dir() { size(&path) } else { (1, fs::metadata(path).unwrap().len()) });
    sizes.fold((0, 0), |(files, bytes), (more_files, more_bytes)| (files + more_files, bytes + more_bytes))
}

/// Cold files stay where they are, and with them the owner: a copy of a daemon that lives must not delete
/// what the other one needs.
#[tokio::test]
async fn cold_files_stay_and_are_taken_over_by_hand() {
    let archive = tempfile::tempdir().unwrap();
    let mut app = TestApp::start_with(|config| {
        config.storage.cold_url = Some(format!("file://{}", archive.path().display()));
        config.lifecycle.cold_after_days = 30;
    })
    .await;
    let day_s = 86_400;
    app.logs((0..3).map(|day| record(-day * day_s, &format!("a{day}"), "rag", 0.5)).collect::<String>()).await;
    app.flush().await;
    app.clock.set(NOW_US + 40 * day_s * 1_000_000);
    app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
    app.logs(record(-5, "b", "rag", 0.5)).await;
    app.flush().await;
    app.logs(record(-4, "c", "rag", 0.5)).await;
    let inside = json!({ "directory": archive.path().join("backup") });
    assert!(failure(app.post("/api/v1/backup").json(&inside)).await.1.contains("where the data is"));

    let before = picture(&app).await;
    let (backup, done) = back_up(&app).await;
    assert_eq!((&done["cold_files"], &done["rows"]), (&json!(3), &json!(5)));
    let data = backup.path().join("data");
    assert_eq!((done["files"].as_u64().unwrap(), done["bytes"].as_u64().unwrap()), size(&data));
    let mut config = app.config.clone();
    config.server.data = data;
    let error = Store::open(&config, app.clock.clone()).await.err().unwrap();
    assert!(error.kind() == Kind::Conflict && error.chain().contains("another data directory"), "{}", error.chain());
    app.daemon.take().unwrap().stop().await.unwrap();
    fs::remove_file(archive.path().join("driftline-owner")).unwrap();
    assert_eq!(picture(&app.beside(backup).await).await, before);
}

/// Tables that are at a URL come home.
#[tokio::test]
async fn tables_at_a_url_are_copied_into_the_backup() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}/tables of mine", place.path().display());
    let mut app = TestApp::start_with(|config| config.storage.url = Some(url)).await;
    app.logs(record(-10, "a", "rag", 0.5)).await;
    app.flush().await;
    app.logs(record(-5, "b", "rag", 0.5)).await;
    let before = picture(&app).await;
    let (backup, done) = back_up(&app).await;
    assert_eq!(done["rows"], 2);
    let mut config = app.config.clone();
    config.server.data = backup.path().join("data");
    let error = Store::open(&config, app.clock.clone()).await.err().unwrap();
    assert!(error.kind() == Kind::Conflict, "{}", error.chain());
    app.config.storage.url = None;
    assert_eq!(picture(&app.beside(backup).await).await, before);
}

#[tokio::test]
async fn a_place_that_is_none_for_a_backup_is_refused() {
    let app = TestApp::start().await;
    app.logs(record(-10, "a", "rag", 0.5)).await;
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("mine"), "").unwrap();
    let refused = async |directory: &Path, words: &str| {
        let request = app.post("/api/v1/backup").json(&json!({ "directory": directory }));
        let (status, message) = failure(request).await;
        assert!(status == 400 && message.contains(words), "{status} {message}");
    };
    refused(Path::new("backup"), "is a relative path").await;
    refused(other.path(), "is not empty").await;
    refused(app.data(), "where the data is").await;
    refused(&app.data().join("backups/today"), "where the data is").await;
    refused(app.data().parent().unwrap(), "or around it").await;
    refused(&other.path().join("mine/below"), "cannot be a directory").await;
    assert_eq!(names(other.path()), ["mine"]);

    let post = |body: &str| app.post("/api/v1/backup").body(body.to_owned());
    let named = |body: &str| post(body).header(CONTENT_TYPE, "application/json");
    assert_eq!(failure(post("{}").header(CONTENT_TYPE, "text/plain")).await.0, 415);
    assert_eq!(failure(post("{}")).await.0, 415);
    for body in ["", "{}", "{\"directory\":1}", "{\"directory\":\"/x\",\"more\":1}"] {
        assert_eq!(failure(named(body)).await.0, 400, "{body}");
    }
    assert_eq!(failure(named(&" ".repeat(70_000))).await.0, 413);
    assert_eq!(app.get("/api/v1/backup").send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    // An empty directory is a place, and so is one that is missing under one that is missing.
    let (_backup, _) = back_up(&app).await;
    let below = json!({ "directory": other.path().join("new/../x/../y") });
    assert_eq!(failure(app.post("/api/v1/backup").json(&below)).await.0, 400);
    let below = json!({ "directory": other.path().join("new/below") });
    json_of(app.post("/api/v1/backup").json(&below)).await;
}

#[tokio::test]
async fn one_backup_is_written_at_a_time() {
    let (_directory, root, disk) = empty();
    let store = Store::open_on(&config(&root), clock(), disk.shared()).await.unwrap();
    send(&store, 0).await.unwrap();
    let (first, second) = (root.join("first"), root.join("second"));
    let both = async { tokio::join!(biased; store.backup.run(&first), store.backup.run(&second)) };
    let (written, refused) = both.await;
    written.unwrap();
    assert_eq!(refused.unwrap_err().kind(), Kind::Conflict);
    assert!(!second.exists());
    store.backup.run(&second).await.unwrap();
}

/// Rows in files and rows in the log only.
async fn filled(disk: &SimulatedDisk, root: &Path) -> (Store, Told) {
    let store = Store::open_on(&config(root), clock(), disk.shared()).await.unwrap();
    for number in 0..4 {
        send(&store, number).await.unwrap();
        if number == 1 {
            store.ingestor.flush().await.unwrap();
        }
    }
    (store, Told { sent: 4, acknowledged: (0..4).collect() })
}

/// The message with which a directory is refused.
async fn refusal(left: &Path) -> String {
    let error = Store::open(&config(left), clock()).await.err().expect("half a backup is opened");
    assert_eq!(error.kind(), Kind::Conflict, "{error:?}");
    error.chain()
}

/// What is left of a backup in `data`, where all that was acknowledged before was to be: all of it, or
/// nothing that could be taken for it.
async fn check_half(left: &Path, told: &Told, context: &str) -> bool {
    let data = left.join("data");
    let is_whole = data.exists() && !names(&data).is_empty() && !names(&data).contains(&"BACKUP-INCOMPLETE".to_owned());
    if is_whole {
        check_left(left, told, context).await;
    } else if data.exists() && !names(&data).is_empty() {
        let message = refusal(left).await;
        assert!(message.contains("holds a backup that was not finished"), "{message}: {context}");
    }
    is_whole
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_backup_is_refused_after_power_loss_at_every_step() {
    let begin = {
        let (_directory, root, disk) = empty();
        let (_store, _) = filled(&disk, &root).await;
        disk.steps()
    };
    let steps = {
        let (_directory, root, disk) = empty();
        let (store, _) = filled(&disk, &root).await;
        store.backup.run(&root.join("copy/data")).await.unwrap();
        disk.steps()
    };
    println!("steps {begin} to {steps}");
    assert!(steps > begin + 60);
    let check = async |step: u64| {
        let (_directory, root, disk) = empty();
        let (store, told) = filled(&disk, &root).await;
        disk.lose_power_at(step);
        let written = store.backup.run(&root.join("copy/data")).await;
        assert_eq!(written.is_ok(), disk.steps() <= step, "{written:?}");
        for mode in [Mode::DropUnsynced, Mode::NamesOnly, Mode::Mixed(step)] {
            let left = tempfile::tempdir().unwrap();
            disk.materialise(left.path(), mode);
            let context = format!("{mode:?} after {:#?}", &disk.history()[begin as usize..]);
            let is_whole = check_half(&left.path().join("copy"), &told, &context).await;
            assert!(is_whole || written.is_err(), "{context}");
        }
    };
    stream::iter(begin..=steps).map(check).buffer_unordered(4).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_at_any_step_hurts_nobody() {
    let (_directory, root, disk) = empty();
    let (store, mut told) = filled(&disk, &root).await;
    for attempt in 0.. {
        let copy = root.join(format!("copy{attempt}"));
        let step = disk.steps() + attempt;
        disk.fail_at(step..step + 1, INPUT_OUTPUT);
        let written = store.backup.run(&copy.join("data")).await;
        disk.heal();
        let context = format!("{written:?} at {attempt}: {:#?}", &disk.history()[(step - attempt) as usize..]);
        let is_over = disk.steps() <= step;
        let is_whole = check_half(&copy, &told, &context).await;
        assert!(is_whole || written.is_err(), "{context}");
        if is_over {
            assert!(attempt > 60 && is_whole, "{context}");
            break;
        }
        if attempt % 20 == 0 {
            send(&store, told.sent).await.unwrap();
            told.acknowledged.push(told.sent);
            told.sent += 1;
            check_shown(&store, &told, &context).await;
        }
    }
    store.ingestor.flush().await.unwrap();
    check_shown(&store, &told, "after all").await;
}

/// A flush that failed midway leaves a table, or both, ahead of SQLite, or SQLite ahead of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_right_after_a_failed_flush_is_whole() {
    let mut failures = 0;
    for failed_at in 0.. {
        let (_directory, root, disk) = empty();
        let (store, told) = filled(&disk, &root).await;
        let step = disk.steps() + failed_at;
        disk.fail_at(step..step + 1, INPUT_OUTPUT);
        let flushed = store.ingestor.flush().await;
        failures += u64::from(flushed.is_err());
        let is_over = disk.steps() <= step;
        disk.heal();
        let context = format!("{flushed:?}: {:#?}", disk.history());
        let done = store.backup.run(&root.join("copy/data")).await.unwrap();
        let status = store.ingestor.status();
        assert_eq!((done.rows, done.seq), (status.books.accepted, status.last_seq), "{context}");
        check_left(&root.join("copy"), &told, &context).await;
        if is_over {
            break;
        }
    }
    assert!(failures > 20, "{failures} flushes failed");
}

/// Both tables are ahead, and SQLite says when it was asked last.
#[tokio::test]
async fn a_backup_is_whole_where_receipts_could_not_be_saved() {
    let (_directory, root, disk) = empty();
    let (store, told) = filled(&disk, &root).await;
    let execute = async |root: &Path, statement: &'static str| {
        use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
        let options = SqliteConnectOptions::new().filename(root.join("data/catalog.sqlite"));
        let mut connection = options.connect().await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    let stop = "create trigger stop before update on totals begin select raise(abort, 'no'); end";
    execute(&root, stop).await;
    let error = store.ingestor.flush().await.unwrap_err();
    assert!(error.chain().contains("cannot save receipts"), "{}", error.chain());
    let copy = root.join("copy");
    store.backup.run(&copy.join("data")).await.unwrap();
    execute(&copy, "drop trigger stop").await;
    check_left(&copy, &told, "both tables ahead").await;
    execute(&root, "drop trigger stop").await;
    store.ingestor.flush().await.unwrap();
    check_shown(&store, &told, "flushed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_writes_backups_with_a_server_and_without() {
    let app = TestApp::start().await;
    app.logs(record(-10, "a", "rag", 0.5) + &record(-5, "b", "rag", 0.5)).await;
    let directory = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
        command.current_dir(directory.path()).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (code, text) = run(&["backup", "one", "--url", &app.url("/")]).await;
    let one = directory.path().canonicalize().unwrap().join("one");
    assert!(code == 0 && text.starts_with("2 rows, through batch 1, in "), "{text}");
    assert!(text.ends_with(&format!("restore with: driftline serve --data {}\n", one.display())), "{text}");
    let (code, text) = run(&["backup", "one", "--url", &app.url("/")]).await;
    assert!(code == 2 && text.contains("is not empty"), "{text}");
    let (code, text) = run(&["backup", "two/../../two", "--data", "one"]).await;
    assert!(code == 2 && text.contains("is missing"), "{text}");
    let (code, text) = run(&["backup", "two", "--data", "one"]).await;
    assert!(code == 0 && text.starts_with("2 rows, through batch 1, in "), "{text}");
    let question = "select count(*) as n from agent_logs";
    let (code, text) = run(&["query", "--format", "csv", "--data", "two", question]).await;
    assert_eq!((code, text.as_str()), (0, "n\n2\n"));
}
