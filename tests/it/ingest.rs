//! The way in: bodies, encodings, refusals, receipts, the books.

use std::io::Write;

use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, failure, json as json_of, record};

#[tokio::test]
async fn a_batch_is_answered_and_visible() {
    let app = TestApp::start().await;
    let body = format!("{}not json\n{}[1]\n", record(-2, "a", "rag", 0.5), record(-1, "b", "rag", 0.25));
    let answer = app.logs(body).await;
    assert_eq!(answer["accepted"], 2);
    assert_eq!(answer["seq"], 1);
    let lines: Vec<&Value> = answer["rejected"].as_array().unwrap().iter().map(|reject| &reject["line"]).collect();
    assert_eq!(lines, [2, 4]);
    let rows = app.sql("select request_id, cost, date, ingest_seq from agent_logs order by timestamp").await;
    assert_eq!(
        rows,
        json!([
            {"request_id": "a", "cost": 0.5, "date": "2026-05-14", "ingest_seq": 1},
            {"request_id": "b", "cost": 0.25, "date": "2026-05-14", "ingest_seq": 1},
        ])
    );
    let rejected = app.sql("select line, raw from rejected_logs order by line").await;
    assert_eq!(rejected, json!([{"line": 2, "raw": "not json"}, {"line": 4, "raw": "[1]"}]));
}

#[tokio::test]
async fn every_form_of_body_is_taken() {
    let app = TestApp::start().await;
    let line = |id: &str| record(-1, id, "rag", 0.1);
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let bodies: Vec<(&str, Option<&str>, Vec<u8>)> = vec![
        ("application/x-ndjson", None, line("1").into_bytes()),
        ("application/json", None, format!("[{},{}]", line("2").trim(), line("3").trim()).into_bytes()),
        ("application/json", None, line("4").replace(',', ",\n  ").into_bytes()),
        ("application/x-ndjson", Some("gzip"), gzip(&line("5"))),
        ("application/x-ndjson; charset=utf-8", Some("zstd"), zstd::encode_all(line("6").as_bytes(), 1).unwrap()),
    ];
    for (content_type, encoding, body) in bodies {
        let mut request = app.post("/api/v1/logs").header("content-type", content_type).body(body);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        assert_eq!(json_of(request).await["rejected"], json!([]));
    }
    let rows = app.sql("select string_agg(request_id, '' order by request_id) as ids from agent_logs").await;
    assert_eq!(rows, json!([{"ids": "123456"}]));
}

#[tokio::test]
async fn refusals_name_the_reason_and_store_nothing() {
    let app = TestApp::start_with(|config| config.ingest.body_bytes_max = 10_000).await;
    let check = async |content_type: &str, encoding: &str, body: Vec<u8>, status: u16, words: &str| {
        let request = app
            .post("/api/v1/logs")
            .header("content-type", content_type)
            .header("content-encoding", encoding)
            .body(body);
        let (found, message) = failure(request).await;
        assert_eq!(found, status, "{message}");
        assert!(message.contains(words), "{message}");
    };
    check("application/x-ndjson", "identity", b"hello\nworld".to_vec(), 400, "JSON").await;
    check("application/json", "identity", b"[{\"a\":1},{\"a\"".to_vec(), 400, "JSON").await;
    check("application/json", "identity", Vec::new(), 400, "empty").await;
    check("application/x-www-form-urlencoded", "identity", b"{}".to_vec(), 415, "x-ndjson").await;
    check("application/json", "br", b"{}".to_vec(), 415, "br").await;
    check("application/json", "identity", vec![b' '; 10_001], 413, "10000").await;
    check("application/json", "zstd", zstd::encode_all(&[b' '; 50_000][..], 1).unwrap(), 413, "decompressed").await;
    check("application/json", "gzip", b"{}".to_vec(), 400, "Gzip").await;
    check("application/json", "zstd", with_window(24), 413, "window larger than 8 MiB").await;
    check("application/json", "zstd", with_window(27), 413, "window larger than 8 MiB").await;
    // As large as may be: its one line is no record.
    check("application/json", "zstd", with_window(23), 400, "JSON").await;
    assert_eq!(app.sql("select count(*) as n from agent_logs").await, json!([{"n": 0}]));
    let unnamed = app.post("/api/v1/logs").header("idempotency-key", " ").body(record(-1, "a", "rag", 0.1));
    assert_eq!(failure(unnamed).await.0, 400);
    let books = &json_of(app.get("/api/v1/status")).await["books"];
    assert_eq!(books["received"], 0);
}

/// A few bytes of zstd that announce a window of 2^`log` bytes.
fn with_window(log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(log).unwrap();
    encoder.write_all(b"hello").unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_full_buffer_is_busy_until_it_is_flushed() {
    let app = TestApp::start_with(|config| {
        config.buffer.bytes_max = 40 * 1024;
        config.ingest.wait_ms_max = 1;
    })
    .await;
    app.logs(record(-1, "a", "rag", 0.1)).await;
    app.logs(record(-1, "b", "rag", 0.1)).await;
    let response = app.post("/api/v1/logs").body(record(-1, "c", "rag", 0.1)).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(app.sql("select count(*) as n from agent_logs").await, json!([{"n": 2}]));
    app.flush().await;
    app.logs(record(-1, "c", "rag", 0.1)).await;
    assert_eq!(app.sql("select count(*) as n from agent_logs").await, json!([{"n": 3}]));
}

#[tokio::test]
async fn a_batch_sent_twice_is_stored_once() {
    let mut app = TestApp::start().await;
    let batch = record(-1, "a", "rag", 0.1) + &record(-1, "b", "rag", 0.1);
    let heartbeat = "{\"agent_id\":\"rag\",\"level\":\"INFO\"}\n";
    let keyed = |key: &str| app.post("/api/v1/logs").header("idempotency-key", key).body(heartbeat);
    let requests = [keyed("k1"), keyed("k1"), keyed("k2")];
    app.logs(batch.clone()).await;
    for heartbeats in 1..=2 {
        let answer = app.logs(batch.clone()).await;
        assert_eq!((&answer["duplicate"], &answer["seq"], &answer["accepted"]), (&json!(true), &json!(1), &json!(2)));
        // Nothing tells two heartbeats apart, so both count.
        assert!(app.logs(heartbeat).await.get("duplicate").is_none());
        let expected = json!([{"n": 2 + heartbeats}]);
        assert_eq!(app.sql("select count(*) as n from agent_logs").await, expected);
        app.flush().await;
    }
    for (request, duplicate) in requests.into_iter().zip([false, true, false]) {
        assert_eq!(json_of(request).await["duplicate"].as_bool().unwrap_or(false), duplicate);
    }
    app.restart().await;
    assert_eq!(app.logs(batch.clone()).await["duplicate"], true);
    let books = json_of(app.get("/api/v1/status")).await["books"].clone();
    assert_eq!(
        books,
        json!({"received": 13, "accepted": 6, "rejected": 0, "duplicate": 7, "committed": 6, "deleted": 0, "buffered": 0})
    );
    // Past the horizon the same bytes are a new batch.
    app.clock.set(NOW_US + 25 * 3_600_000_000);
    assert!(app.logs(batch).await.get("duplicate").is_none());
}

#[tokio::test]
async fn of_too_many_receipts_the_oldest_go_first() {
    let app = TestApp::start_with(|config| config.ingest.receipts_max = 3).await;
    let send = async |number: i64| app.logs(record(-1, &number.to_string(), "rag", 0.1)).await;
    // Two flushes later, memory has forgotten the first ones as well.
    for numbers in [0..5, 5..6, 6..7] {
        for number in numbers {
            send(number).await;
        }
        app.flush().await;
    }
    let dropped = async || {
        let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix("driftline_receipts_dropped_total ")).unwrap().to_owned()
    };
    assert_eq!(dropped().await, "4");
    for number in 4..7 {
        assert_eq!(send(number).await["duplicate"], true, "{number}");
    }
    assert!(send(3).await.get("duplicate").is_none());
}

#[tokio::test]
async fn a_key_that_comes_again_with_another_body_is_refused() {
    let mut app = TestApp::start().await;
    let send = async |app: &TestApp, key: &str, id: &str| {
        let request = app.post("/api/v1/logs").header("idempotency-key", key).body(record(-1, id, "rag", 0.1));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let check = async |app: &TestApp| {
        let (status, answer) = send(app, "k1", "b").await;
        assert_eq!((status, &answer["error"]["code"]), (422, &json!("idempotency_key_reused")));
        let message = answer["error"]["message"].as_str().unwrap();
        for words in ["\"k1\"", "batch 1", "nothing of this one is stored", "a key of its own"] {
            assert!(message.contains(words), "{words} is missing: {message}");
        }
        assert_eq!(send(app, "k1", "a").await.1["duplicate"], true);
        assert_eq!(app.sql("select request_id as id from agent_logs").await, json!([{"id": "a"}]));
    };
    assert_eq!(send(&app, "k1", "a").await.0, 200);
    // From memory, from the log after a crash, from SQLite, and from there after a restart.
    check(&app).await;
    check(&app.crash().await).await;
    app.flush().await;
    check(&app).await;
    app.flush().await;
    app.restart().await;
    check(&app).await;
    let books = json_of(app.get("/api/v1/status")).await["books"].clone();
    assert_eq!((&books["received"], &books["duplicate"]), (&json!(4), &json!(3)), "what is refused is in no book");
    // A long key is named by its beginning.
    let long = "k".repeat(1_000);
    assert_eq!(send(&app, &long, "c").await.0, 200);
    let (_, answer) = send(&app, &long, "d").await;
    assert!(answer["error"]["message"].as_str().unwrap().len() < 400, "{answer}");
}

#[tokio::test]
async fn of_two_bodies_under_one_key_at_the_same_time_one_is_stored() {
    let app = TestApp::start().await;
    let send = async |id: usize| {
        let body = record(-1, &(id % 2).to_string(), "rag", 0.1);
        let request = app.post("/api/v1/logs").header("idempotency-key", "k").body(body);
        request.send().await.unwrap().status().as_u16()
    };
    let statuses = futures::future::join_all((0..16).map(send)).await;
    let count = |status: u16| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(200), count(422)), (8, 8), "{statuses:?}");
    assert_eq!(app.sql("select count(*) as n from agent_logs").await, json!([{"n": 1}]));
}

#[tokio::test]
async fn concurrent_copies_of_a_batch_are_stored_once() {
    let app = TestApp::start().await;
    let batch: String = (0..50).map(|index| record(-1, &index.to_string(), "rag", 0.1)).collect();
    let copies = (0..16).map(|_| app.logs(batch.clone()));
    let answers = futures::future::join_all(copies).await;
    assert_eq!(answers.iter().filter(|answer| answer.get("duplicate").is_none()).count(), 1);
    assert!(answers.iter().all(|answer| answer["seq"] == 1 && answer["accepted"] == 50));
    assert_eq!(app.sql("select count(*) as n from agent_logs").await, json!([{"n": 50}]));
}

#[tokio::test]
async fn a_million_brackets_cost_a_rejection_and_nothing_else() {
    let app = TestApp::start().await;
    let nest = |open: &str, close: &str| format!("{}1{}", open.repeat(1_000_000), close.repeat(1_000_000));
    let arrays = format!("{{\"a\":{}}}\n", nest("[", "]"));
    let objects = format!("{}\n", nest("{\"a\":", "}"));
    let answer = app.logs(format!("{}{arrays}{objects}", record(-1, "a", "rag", 0.1))).await;
    assert_eq!((&answer["accepted"], answer["rejected"].as_array().unwrap().len()), (&json!(1), 2));
    for body in [
        nest("[", "]"),
        objects.replace(':', ":\n"),
        "[".repeat(1_000_000),
        format!("{{\"a\":{}", "[".repeat(1_000_000)),
    ] {
        let (status, message) = failure(app.post("/api/v1/logs").body(body)).await;
        assert_eq!((status, message.contains("nested")), (400, true), "{message}");
    }
}

#[tokio::test]
async fn a_load_may_be_larger_than_the_buffer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("large.ndjson");
    let lines: String = (0..40_000).map(|n| record(-(n % 3_600), &format!("r{n}"), "rag", 0.25)).collect();
    assert!(lines.len() > 9 << 20);
    std::fs::write(&file, lines).unwrap();
    let driftline = |arguments: &[&str]| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_driftline"))
            .args(arguments)
            .arg("--data")
            .arg(directory.path().join("data"))
            .env("DRIFTLINE_BUFFER_BYTES_MAX", (6 << 20).to_string())
            .env("DRIFTLINE_BUFFER_FLUSH_BYTES", (2 << 20).to_string())
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    driftline(&["load", file.to_str().unwrap()]);
    let counts = "select count(*) as n, count(distinct request_id) as ids from agent_logs";
    assert_eq!(driftline(&["query", "--format", "csv", counts]).trim(), "n,ids\n40000,40000");
}

/// A record of nine bytes takes a row in every column: memory is bounded by records as well as by bytes.
#[tokio::test]
async fn a_body_of_very_many_small_records_is_too_large() {
    let app = TestApp::start_with(|config| config.buffer.bytes_max = 8 << 20).await;
    for body in ["{\"a\":1}\n".repeat(20_000), "x\n".repeat(20_000), format!("[{}{{}}]", "{},".repeat(20_000))] {
        let (status, message) = failure(app.post("/api/v1/logs").body(body)).await;
        assert!(status == 413 && message.contains("send smaller batches"), "{status} {message}");
    }
    app.logs("{\"a\":1}\n".repeat(1_000)).await;
}

/// Places and room belong to those that send.
#[tokio::test]
async fn a_body_that_is_only_announced_takes_no_room() {
    use tokio::io::AsyncWriteExt;
    let app = TestApp::start().await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = tokio::net::TcpStream::connect(app.daemon.as_ref().unwrap().address()).await.unwrap();
        let head = "POST /api/v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 67108864\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    app.logs(record(0, "a", "rag", 1.0)).await;
}
