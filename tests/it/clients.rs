//! Clients that are slow, silent or too many: who is closed, who is refused, and that others are served.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::app::{TestApp, failure, record};

/// Longer than anything here may take; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.daemon.as_ref().unwrap().address()).await.unwrap()
}

/// What comes until the server ends the connection.
async fn last_words(stream: &mut TcpStream) -> String {
    let mut words = Vec::new();
    // One that breaks off has ended as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut words)).await.expect("the connection was not ended");
    String::from_utf8_lossy(&words).into_owned()
}

/// Sends, and reads until the answer has these words.
async fn told(stream: &mut TcpStream, sent: &str, words: &str) -> String {
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains(words) {
        let mut piece = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut piece)).await.expect("no answer came").unwrap();
        assert!(read > 0, "the connection ended after {answer}");
        answer.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    answer
}

async fn series(app: &TestApp, line: &str) -> bool {
    let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    text.lines().any(|found| found == line)
}

fn closed(reason: &str, count: u64) -> String {
    format!(r#"driftline_http_connections_closed_total{{reason="{reason}"}} {count}"#)
}

#[tokio::test]
async fn a_head_has_its_time() {
    let app = TestApp::start_with(|config| config.clients.head_timeout_s = 1).await;
    for sent in ["", "GET /healthz HTTP/1.1\r\nX-Half: ", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut slow = connect(&app).await;
        slow.write_all(sent.as_bytes()).await.unwrap();
        last_words(&mut slow).await;
    }
    assert!(series(&app, &closed("head", 4)).await);
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let app = TestApp::start_with(|config| {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tls");
        config.server.tls_cert = Some(format!("{directory}/cert.pem").into());
        config.server.tls_key = Some(format!("{directory}/key.pem").into());
        config.clients.head_timeout_s = 1;
    })
    .await;
    assert_eq!(last_words(&mut connect(&app).await).await, "");
}

#[tokio::test]
async fn an_idle_connection_has_its_time() {
    let app = TestApp::start_with(|config| config.clients.idle_timeout_s = 1).await;
    let mut idle = connect(&app).await;
    told(&mut idle, HEALTH, "200 OK").await;
    assert!(!last_words(&mut idle).await.contains("HTTP/1.1"));
    assert!(series(&app, &closed("idle", 1)).await);
}

#[tokio::test]
async fn a_connection_too_many_takes_the_place_of_the_one_that_waited_longest() {
    let app = TestApp::start_with(|config| config.clients.connections_max = 3).await;
    let (mut silent, mut second, mut third) = (connect(&app).await, connect(&app).await, connect(&app).await);
    told(&mut second, HEALTH, "200 OK").await;
    told(&mut third, HEALTH, "200 OK").await;
    let mut fourth = connect(&app).await;
    told(&mut fourth, HEALTH, "200 OK").await;
    assert_eq!(last_words(&mut silent).await, "");
    for stream in [&mut second, &mut third, &mut fourth] {
        told(stream, HEALTH, "200 OK").await;
    }
    // Asking for the figure takes the place of the second.
    assert!(series(&app, &closed("connections", 2)).await);
    assert!(!last_words(&mut second).await.contains("HTTP/1.1"));
}

#[tokio::test]
async fn a_request_too_many_is_told_when_to_come_back() {
    let app = TestApp::start_with(|config| config.clients.requests_max = 1).await;
    let mut slow = connect(&app).await;
    let head = "POST /api/v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    told(&mut slow, head, "100 Continue").await;
    let response = app.get("/api/v1/status").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let (_, message) = failure(app.get("/api/v1/status")).await;
    assert!(message.contains("clients.requests_max"), "{message}");
    // Who asks whether the server lives is answered in any case.
    assert_eq!(app.get("/healthz").send().await.unwrap().status(), 200);
    told(&mut slow, "{}\n", "HTTP/1.1").await;
    assert_eq!(app.get("/api/v1/status").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_cut() {
    let app = TestApp::start_with(|config| config.clients.answer_timeout_s = 1).await;
    let statement = "select%20value,repeat('x',1000)%20as%20x%20from%20generate_series(1,200000)";
    let mut slow = connect(&app).await;
    let ask = format!("GET /api/v1/sql?q={statement} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    slow.write_all(ask.as_bytes()).await.unwrap();
    let cut = async { while !series(&app, &closed("unread", 1)).await {} };
    timeout(PATIENCE, cut).await.expect("the answer was not cut");
    // What the system's buffers held is far from the whole, and has no end.
    let words = last_words(&mut slow).await;
    assert!(words.len() < 100_000_000 && !words.ends_with("0\r\n\r\n"), "{} bytes", words.len());
}

/// Each is handed over at once: it is the socket that is full.
#[tokio::test]
async fn small_answers_that_are_not_read_are_cut_as_well() {
    let app = TestApp::start_with(|config| config.clients.answer_timeout_s = 1).await;
    let (_unread, mut asks) = connect(&app).await.into_split();
    let asking = tokio::spawn(async move { while asks.write_all(METRICS.as_bytes()).await.is_ok() {} });
    let cut = async { while !series(&app, &closed("unread", 1)).await {} };
    timeout(PATIENCE, cut).await.expect("the answers were not cut");
    timeout(PATIENCE, asking).await.expect("the connection was not ended").unwrap();
}

#[tokio::test]
async fn the_slowest_sender_gives_way() {
    let app = TestApp::start_with(|config| config.ingest.concurrent_requests_max = 1).await;
    let mut slow = connect(&app).await;
    let head = "POST /api/v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n";
    told(&mut slow, head, "100 Continue").await;
    app.logs(record(0, "a", "rag", 1.0)).await;
    let words = last_words(&mut slow).await;
    assert!(words.starts_with("HTTP/1.1 503") && words.contains("retry-after: 1"), "{words}");
}

#[tokio::test]
async fn heads_and_streams_are_bounded() {
    let app = TestApp::start_with(|config| config.clients.streams_max = 7).await;
    let mut large = connect(&app).await;
    // Exactly what is too much: what the server leaves unread could break the connection off before its answer is read.
    let begin = "GET /healthz HTTP/1.1\r\nX-Large: ";
    let head = begin.to_owned() + &"x".repeat(64 * 1024 - begin.len());
    large.write_all(head.as_bytes()).await.unwrap();
    assert!(last_words(&mut large).await.starts_with("HTTP/1.1 431"));
    // HTTP/2, RFC 9113: the server's first frame is its settings, six bytes each, behind nine bytes of a frame's head.
    let mut http2 = connect(&app).await;
    http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    http2.read_exact(&mut frame).await.unwrap();
    assert_eq!((frame[0], frame[1], frame[3]), (0, 0, 4));
    let mut settings = vec![0; usize::from(frame[2])];
    http2.read_exact(&mut settings).await.unwrap();
    let of = |id: u8| settings.chunks(6).find(|setting| setting[..2] == [0, id]).map(|setting| setting[2..].to_vec());
    const MAX_CONCURRENT_STREAMS: u8 = 3;
    const MAX_HEADER_LIST_SIZE: u8 = 6;
    assert_eq!(of(MAX_CONCURRENT_STREAMS), Some(vec![0, 0, 0, 7]));
    assert_eq!(of(MAX_HEADER_LIST_SIZE), Some(vec![0, 1, 0, 0]));
}

#[tokio::test]
async fn a_stop_waits_for_nobody_who_asks_nothing() {
    let mut app = TestApp::start_with(|config| config.server.shutdown_grace_s = 3_600).await;
    let (mut silent, mut half, mut idle) = (connect(&app).await, connect(&app).await, connect(&app).await);
    half.write_all(b"GET /healthz HTTP/1.1\r\nX-Half: ").await.unwrap();
    told(&mut idle, HEALTH, "200 OK").await;
    timeout(PATIENCE, app.daemon.take().unwrap().stop()).await.expect("the stop waits").unwrap();
    for stream in [&mut silent, &mut half, &mut idle] {
        last_words(stream).await;
    }
}

/// Closed with bytes unread, TCP would reset the connection, and the answer would be lost.
#[tokio::test]
async fn who_still_sends_is_told_why_it_may_not() {
    let app = TestApp::start_with(|config| config.ingest.body_bytes_max = 10_000).await;
    let body = vec![b' '; 32 << 20];
    for length in ["Content-Length: 33554432\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2000000\r\n"] {
        let mut client = connect(&app).await;
        let head = format!("POST /api/v1/logs HTTP/1.1\r\nHost: localhost\r\n{length}");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&body).await.unwrap();
        let words = last_words(&mut client).await;
        assert!(words.starts_with("HTTP/1.1 413") && words.contains("connection: close"), "{words}");
        assert!(words.ends_with('}'), "{words}");
    }
    // What was refused by its head, and is as small as this, costs no connection.
    let mut small = connect(&app).await;
    let head = "POST /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    assert!(!told(&mut small, head, "404").await.contains("connection: close"));
    told(&mut small, HEALTH, "200 OK").await;
}
