//! What survives a stop and a crash: rows, once; receipts; counters; the books.

use std::sync::{Arc, Mutex};

use driftline::{clock::Clock, config::Config, daemon::Store, error::Kind};
use serde_json::json;

use crate::app::{NOW_US, TestApp, json as json_of, record};

const HOUR_US: i64 = 3_600_000_000;

const TOTALS: &str = "select count(*) as n, count(distinct request_id) as ids, sum(cost) as cost, max(ingest_seq) as seq from agent_logs";

#[tokio::test]
async fn a_crash_loses_nothing_and_doubles_nothing() {
    let app = TestApp::start().await;
    let mut expected = 0;
    for step in 0..6 {
        app.logs(
            record(-60, &format!("a{step}"), "rag", 0.5)
                + "broken\n"
                + &record(-86_400, &format!("b{step}"), "code", 0.5),
        )
        .await;
        expected += 2;
        // Crash before the flush, and right after it.
        for flushed in [false, true] {
            if flushed && step % 2 == 0 {
                app.flush().await;
            }
            let crashed = app.crash().await;
            let rows = crashed.sql(TOTALS).await;
            assert_eq!(
                rows,
                json!([{"n": expected, "ids": expected, "cost": f64::from(expected) * 0.5, "seq": step + 1}])
            );
            let rejected = crashed.sql("select count(*) as n from rejected_logs").await;
            assert_eq!(rejected, json!([{"n": step + 1}]));
            let books = json_of(crashed.get("/api/v1/status")).await["books"].clone();
            assert_eq!(books["accepted"], expected);
            assert_eq!(books["rejected"], step + 1);
            assert_eq!(books["committed"].as_i64().unwrap() + books["buffered"].as_i64().unwrap(), i64::from(expected));
            // The books of a crashed daemon go on: the same batch is still known.
            let again = crashed
                .logs(
                    record(-60, &format!("a{step}"), "rag", 0.5)
                        + "broken\n"
                        + &record(-86_400, &format!("b{step}"), "code", 0.5),
                )
                .await;
            assert_eq!(again["duplicate"], true, "step {step}, flushed {flushed}");
        }
    }
}

#[tokio::test]
async fn counters_never_go_back() {
    let mut app = TestApp::start().await;
    app.logs(record(-10, "a", "rag", 0.5) + &record(-5, "b", "code", 0.25)).await;
    let families = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("llm_")).map(str::to_owned).collect()
    };
    let before = families(&app.get("/metrics").send().await.unwrap().text().await.unwrap());
    assert!(before.iter().any(|line| line.starts_with("llm_cost_usd_total") && line.ends_with(" 0.5")));
    let crashed = app.crash().await;
    assert_eq!(families(&crashed.get("/metrics").send().await.unwrap().text().await.unwrap()), before);
    app.restart().await;
    assert_eq!(families(&app.get("/metrics").send().await.unwrap().text().await.unwrap()), before);
}

#[tokio::test]
async fn a_stop_commits_everything() {
    let mut app = TestApp::start().await;
    app.logs(record(-10, "a", "rag", 0.5)).await;
    app.restart().await;
    let books = json_of(app.get("/api/v1/status")).await["books"].clone();
    assert_eq!((&books["committed"], &books["buffered"]), (&json!(1), &json!(0)));
    app.logs(record(-9, "b", "rag", 0.5)).await;
    assert_eq!(app.sql(TOTALS).await, json!([{"n": 2, "ids": 2, "cost": 1.0, "seq": 2}]));
}

#[tokio::test]
async fn a_second_daemon_and_a_newer_format_are_refused() {
    let app = TestApp::start().await;
    let mut config = Config::default();
    config.server.data = app.data().to_owned();
    let refused = async |config: &Config, words: &str| {
        let error = Store::open(config, Clock::System).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.chain().contains(words), "{}", error.chain());
    };
    refused(&config, "another driftline").await;
    let newer = tempfile::tempdir().unwrap();
    std::fs::write(newer.path().join("FORMAT"), "driftline-data 2\n").unwrap();
    config.server.data = newer.path().to_owned();
    refused(&config, "driftline-data 2").await;
}

#[tokio::test]
async fn history_goes_to_its_own_days() {
    let app = TestApp::start().await;
    let days: String = (0..40).map(|day| record(-day * 86_400, &format!("d{day}"), "rag", 1.0)).collect();
    app.logs(days).await;
    app.flush().await;
    let rows = app.sql("select count(distinct date) as days, min(date) as first, count(*) as n from agent_logs").await;
    assert_eq!(rows, json!([{"days": 40, "first": "2026-04-05", "n": 40}]));
    let plan =
        app.sql("explain select * from agent_logs where timestamp >= '2026-05-14T00:00:00' and tenant_id = 't1'").await;
    let text = plan.to_string();
    assert!(
        text.contains("date=2026-05-14") && !text.contains("date=2026-05-13"),
        "files of other days are not opened: {text}"
    );
    // History moves no counter.
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.lines().any(|line| line.starts_with("llm_cost_usd_total") && line.ends_with(" 1")), "{metrics}");
}

#[tokio::test]
async fn a_damaged_log_opens_again_after_its_quarantine() {
    let app = TestApp::start().await;
    for id in ["a", "b", "c"] {
        app.logs(record(-60, id, "rag", 0.5)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut config = app.config.clone();
    config.server.data = directory.path().join("data");
    crate::app::copy(app.data(), &config.server.data);
    let segment = std::fs::read_dir(config.server.data.join("wal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();

    let error = Store::open(&config, app.clock.clone()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.chain().contains("driftline verify --data") && error.chain().contains("--quarantine"), "{error:?}");
    let losses = driftline::daemon::quarantine(&config).await.unwrap().losses;
    assert_eq!(losses.len(), 1);
    assert!(losses[0].to_string().ends_with("batches 2 to 2 are lost"), "{}", losses[0]);
    assert!(losses[0].path.exists());
    assert!(driftline::daemon::quarantine(&config).await.unwrap().losses.is_empty());

    let store = Store::open(&config, app.clock.clone()).await.unwrap();
    let ids = store.engine.sql("select request_id as id from agent_logs order by 1", Default::default()).await.unwrap();
    assert_eq!(ids.collect_as::<serde_json::Value>().await.unwrap(), [json!({"id": "a"}), json!({"id": "c"})]);
    store.close().await.unwrap();
}

/// Lines of the log.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_with_a_line_in_the_log() {
    let app = TestApp::start().await;
    app.logs(record(-60, "a", "rag", 0.5)).await;
    app.logs(record(-60, "b", "rag", 0.5)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut config = app.config.clone();
    config.server.data = directory.path().join("data");
    crate::app::copy(app.data(), &config.server.data);
    let segment = std::fs::read_dir(config.server.data.join("wal")).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&segment).unwrap();
    let second = bytes.windows(4).rposition(|window| window == b"FRM1").unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();

    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let listening = tracing::subscriber::set_default(subscriber);
    let store = Store::open(&config, app.clock.clone()).await.unwrap();
    drop(listening);
    store.close().await.unwrap();
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    let line = said.lines().find(|line| line.contains("cut the torn tail of the write-ahead log")).expect(&said);
    let place = format!("path={} offset={second} bytes={}", segment.display(), bytes.len() - 1 - second);
    assert!(line.contains("WARN") && line.contains(&place), "{place} is missing: {line}");
}

#[tokio::test]
async fn duplicates_are_counted_over_a_stop() {
    let mut app = TestApp::start().await;
    app.logs(record(0, "a", "rag", 1.0)).await;
    app.flush().await;
    assert_eq!(app.logs(record(0, "a", "rag", 1.0)).await["duplicate"], true);
    app.restart().await;
    let books = json_of(app.get("/api/v1/status")).await["books"].clone();
    assert_eq!((&books["received"], &books["duplicate"]), (&json!(2), &json!(1)), "{books}");
}

/// The rows of a log that was replayed take room like rows that have just come, until a flush makes some: for the
/// first who waits.
#[tokio::test]
async fn a_restart_does_not_make_room() {
    let app = TestApp::start_with(|config| {
        config.buffer.bytes_max = 1 << 20;
        // Nobody waits for the flush that being refused begins.
        config.ingest.wait_ms_max = 0;
    })
    .await;
    let lines = |sent: i64, count: i64| {
        (0..count).map(|n| record(sent, &format!("r-{sent}-{n}"), "rag", 1.0)).collect::<String>()
    };
    let batch = |sent: i64| lines(sent, 200);
    // As many as there is room for.
    for sent in 0..6 {
        app.logs(batch(sent)).await;
    }
    let mut app = app.crash().await;
    // One that wants nearly all of it.
    let answer = app.post("/api/v1/logs").body(lines(6, 800)).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    app.flush().await;
    app.logs(lines(6, 800)).await;
    app.config.ingest.wait_ms_max = 60_000;
    let app = app.crash().await;
    for sent in 7..20 {
        app.logs(batch(sent)).await;
    }
}

/// As much as is committed at once while the server runs, and no more: a commit takes memory of its own.
#[tokio::test]
async fn what_is_replayed_is_committed_in_parts() {
    let mut app = TestApp::start_with(|config| config.buffer.flush_bytes = 64 << 20).await;
    let mut accepted = 0;
    for batch in 0..20 {
        let records: String = (0..200).map(|n| record(batch, &format!("r-{batch}-{n}"), "rag", 1.0)).collect();
        accepted += app.logs(records).await["accepted"].as_u64().unwrap();
    }
    app.config.buffer.flush_bytes = 256 << 10;
    let mut app = app.crash().await;
    app.flush().await;
    let files = std::fs::read_dir(app.data().join("tables/agent_logs")).unwrap().flatten();
    let days = files.filter(|entry| entry.file_name().to_string_lossy().starts_with("date="));
    let files: usize = days.map(|day| std::fs::read_dir(day.path()).unwrap().count()).sum();
    assert!(files > 3, "all of it was committed at once: {files} files");
    // Cut where totals and receipts were cut as well.
    app.restart().await;
    let status = json_of(app.get("/api/v1/status")).await;
    assert_eq!((&status["books"]["accepted"], &status["books"]["committed"]), (&json!(accepted), &json!(accepted)));
    let last: String = (0..200).map(|n| record(19, &format!("r-19-{n}"), "rag", 1.0)).collect();
    assert_eq!(app.logs(last).await["duplicate"], true);
}

/// However quiet the store is: what is in memory counts no longer than what SQLite has.
#[tokio::test]
async fn a_key_is_known_for_its_horizon_and_no_longer() {
    let app = TestApp::start_with(|config| config.ingest.receipt_hours = 24).await;
    let send = async |id: &str| {
        let request = app.post("/api/v1/logs").header("idempotency-key", "nightly").body(record(0, id, "rag", 1.0));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("monday").await, 200);
    app.flush().await;
    app.clock.set(NOW_US + 23 * HOUR_US);
    assert_eq!(send("monday, again").await, 422);
    app.clock.set(NOW_US + 25 * HOUR_US);
    assert_eq!(send("tuesday").await, 200);
    assert_eq!(app.sql("select count(*) as n from agent_logs").await[0]["n"], 2);
}
