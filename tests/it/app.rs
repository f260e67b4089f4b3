//! A daemon for a test: its own directory, its own port, a clock that the test moves.

use std::{path::Path, sync::Arc};

use driftline::{
    clock::Clock,
    config::Config,
    daemon::Daemon,
    disk::SystemDisk,
    sample::{Plan, Traffic},
};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// 2026-05-14T12:00:00Z, when every test begins.
pub const NOW_US: i64 = 1_778_760_000_000_000;

/// Bodies of traffic are a little longer than this.
const BODY_BYTES: usize = 1 << 20;

/// A running daemon.
pub struct TestApp {
    pub daemon: Option<Daemon>,
    pub clock: Clock,
    pub config: Config,
    client: reqwest::Client,
    directory: TempDir,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With settings of its own. Flushes, rollups and jobs that judge happen only when a test asks for them.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.data = directory.path().join("a path with spaces");
        config.buffer.flush_interval_ms = 3_600_000;
        config.rollup.interval_s = 0;
        config.anomaly.interval_s = 0;
        config.drift.interval_s = 0;
        config.metrics.sql_interval_s = 0;
        change(&mut config);
        let mut app =
            Self { daemon: None, clock: Clock::manual(NOW_US), config, client: reqwest::Client::new(), directory };
        app.open().await;
        app
    }

    /// Starts after a stop.
    pub async fn reopen(&mut self) {
        self.open().await;
    }

    pub async fn open(&mut self) {
        self.daemon = Some(Daemon::start_on(&self.config, self.clock.clone(), Arc::new(SystemDisk)).await.unwrap());
    }

    /// Stops with a flush and starts again.
    pub async fn restart(&mut self) {
        self.daemon.take().unwrap().stop().await.unwrap();
        self.open().await;
    }

    /// What a crash leaves: a copy of the directory as it is now, without a stop, in a daemon of its own.
    pub async fn crash(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(&self.config.server.data, &directory.path().join("data"));
        self.beside(directory).await
    }

    /// Another daemon with the same settings and the same clock, on `data` in a directory.
    pub async fn beside(&self, directory: TempDir) -> Self {
        let mut config = self.config.clone();
        config.server.data = directory.path().join("data");
        let mut app =
            Self { daemon: None, clock: self.clock.clone(), config, client: reqwest::Client::new(), directory };
        app.open().await;
        app
    }

    pub async fn flush(&self) {
        self.daemon.as_ref().unwrap().ingestor().flush().await.unwrap();
    }

    pub fn data(&self) -> &Path {
        assert!(self.config.server.data.starts_with(self.directory.path()));
        &self.config.server.data
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.daemon.as_ref().unwrap().address())
    }

    /// Posts NDJSON that must be accepted.
    pub async fn logs(&self, body: impl Into<String>) -> Value {
        let response = self.post("/api/v1/logs").body(body.into()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// Posts what a plan makes, in bodies of about a MiB.
    pub async fn traffic(&self, plan: &Plan) {
        let mut body = Vec::new();
        for call in Traffic::new(plan) {
            call.write_json(&mut body);
            if body.len() > BODY_BYTES {
                self.logs(String::from_utf8(std::mem::take(&mut body)).unwrap()).await;
            }
        }
        self.logs(String::from_utf8(body).unwrap()).await;
    }

    /// Rows of a statement that must succeed.
    pub async fn sql(&self, statement: &str) -> Value {
        json(self.get("/api/v1/sql").query(&[("q", statement)])).await
    }
}

/// The JSON of a request that must succeed.
pub async fn json(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Status and message of a request that must fail.
pub async fn failure(request: RequestBuilder) -> (u16, String) {
    let response: Response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["error"]["message"].as_str().unwrap_or_default().to_owned())
}

/// A short record: seconds after the start of the test's day, id, agent, cost.
pub fn record(second: i64, id: &str, agent: &str, cost: f64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOW_US + second * 1_000_000).unwrap();
    format!(
        r#"{{"timestamp":"{}","request_id":"{id}","session_id":"s-{agent}","agent_id":"{agent}","tenant_id":"t1","model":"m1","operation":"chat","prompt_tokens":100,"completion_tokens":20,"cost_usd":{cost},"latency_ms":{},"ttft_ms":120,"guardrail_status":"passed","error":null}}"#,
        time.to_rfc3339(),
        500 + second.rem_euclid(7) * 100,
    ) + "\n"
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
