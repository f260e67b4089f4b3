//! The real binary as a process of its own, killed and started again on one directory, and how it is spoken
//! to. Never judges an answer.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant, SystemTime},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::batch::{BRIEF, BRIEF_DAYS, Batch};

/// How long anything may take before it counts as hanging. The machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What differs from one life of the server to the next.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether rows of [`BRIEF`] are deleted at their age.
    pub retention: bool,
    pub flush_interval_ms: u64,
}

/// Where the server's files are.
#[derive(Debug, Clone)]
pub struct Place {
    pub root: PathBuf,
    /// The URL of the tables, where they are not among these files.
    storage: Option<String>,
}

/// A process.
pub struct Server {
    child: Child,
    log: PathBuf,
}

/// A way to the server.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    url: String,
}

/// Why there is no answer to use.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The connection broke, or there was none.
    Broken(String),
    /// An answer that is an error.
    Refused(u16, String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Broken(reason) => write!(f, "no answer, {reason}"),
            Trouble::Refused(status, text) => write!(f, "{status}, {text}"),
        }
    }
}

impl Place {
    pub fn new(root: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        Self { root, storage: std::env::var("DRIFTLINE_CRASH_STORAGE_URL").ok() }
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data with spaces")
    }

    /// The server's own words since the first start.
    pub fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// Starts the binary. It may be another one than the tests', such as a release build.
    pub fn start(&self, settings: Settings) -> Server {
        let config = self.root.join("driftline.toml");
        fs::write(&config, config_text(settings, self.storage.as_deref())).unwrap();
        let binary = std::env::var_os("DRIFTLINE").unwrap_or_else(|| env!("CARGO_BIN_EXE_driftline").into());
        let log = self.root.join("start.log");
        let mut command = Command::new(binary);
        // The server refuses variables that are no settings, and the harness has some.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DRIFTLINE")) {
            command.env_remove(name);
        }
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Server { child, log }
    }

    /// Whether there is a data file that is younger than its table's last commit: the last kill came
    /// between a file and the commit that names it.
    pub fn has_unnamed_files(&self) -> bool {
        ["agent_logs", "rejected_logs"].into_iter().any(|table| {
            let table = self.data().join("tables").join(table);
            let newest = |files: Vec<PathBuf>| files.iter().filter_map(|file| modified(file)).max();
            let committed = newest(files_below(&table.join("_delta_log"), "json"));
            newest(files_below(&table, "parquet")) > committed
        })
    }

    /// Whether there are rollups; nobody knows of tables that are elsewhere.
    pub fn has_rollups(&self) -> Option<bool> {
        let files = || files_below(&self.data().join("tables/agent_logs/_derived"), "parquet");
        self.storage.is_none().then(|| !files().is_empty())
    }
}

impl Server {
    /// Waits until it listens.
    pub async fn listening(&mut self, client: &reqwest::Client) -> Result<Api, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let url = text.lines().find_map(|line| line.strip_prefix("listening on "));
            if let (Some(url), true) = (url, text.ends_with('\n')) {
                return Ok(Api { client: client.clone(), url: url.to_owned() });
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("the server ended with {status} before it listened:\n{text}"));
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        Err("the server does not listen".to_owned())
    }

    /// As an operator ends it; it may take a while.
    pub fn terminate(&self) {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// How it ended, if it did within the time.
    pub async fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// SIGKILL, as the out-of-memory killer would.
    pub fn kill(&mut self, place: &Place) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let text = fs::read(&self.log).unwrap_or_default();
        let mut all = File::options().create(true).append(true).open(place.log()).unwrap();
        std::io::Write::write_all(&mut all, &text).unwrap();
        fs::write(&self.log, "").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Api {
    /// Sends a batch once.
    pub async fn send(&self, batch: &Batch) -> Result<Value, Trouble> {
        let mut request = self.client.post(format!("{}/api/v1/logs", self.url));
        if let Some(key) = &batch.key {
            request = request.header("idempotency-key", key);
        }
        let request = request.header("content-type", batch.content_type).body(batch.body.clone());
        parsed(&answer(request).await?)
    }

    /// The rows of a statement.
    pub async fn sql<T: DeserializeOwned>(&self, statement: &str) -> Result<Vec<T>, Trouble> {
        let request = self.client.post(format!("{}/api/v1/sql", self.url)).body(statement.to_owned());
        parsed(&answer(request).await?)
    }

    pub async fn get(&self, path: &str) -> Result<Value, Trouble> {
        parsed(&self.text(path).await?)
    }

    pub async fn text(&self, path: &str) -> Result<String, Trouble> {
        answer(self.client.get(format!("{}{path}", self.url))).await
    }

    /// One maintenance pass.
    pub async fn maintain(&self) -> Result<Value, Trouble> {
        parsed(&answer(self.client.post(format!("{}/api/v1/maintenance", self.url))).await?)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<String, Trouble> {
    let broken = |error: reqwest::Error| Trouble::Broken(format!("{error:?}"));
    let response = request.send().await.map_err(broken)?;
    let status = response.status();
    let text = response.text().await.map_err(broken)?;
    if status.is_success() { Ok(text) } else { Err(Trouble::Refused(status.as_u16(), text)) }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| Trouble::Refused(200, format!("{error} in {text:.2000}")))
}

/// Everything happens often, and nothing waits.
fn config_text(settings: Settings, storage: Option<&str>) -> String {
    let storage =
        storage.map(|url| format!("[storage]\nurl = \"{url}\"\nrequest_timeout_s = 10\nretry_timeout_s = 30\n"));
    let tenant = if settings.retention {
        format!("[lifecycle.tenants.{BRIEF}]\ndelete_after_days = {BRIEF_DAYS}\n")
    } else {
        String::new()
    };
    format!(
        "[server]\nshutdown_grace_s = 2\n\
         [ingest]\nwait_ms_max = 500\n\
         [wal]\nsegment_bytes_max = 65536\n\
         [rollup]\ninterval_s = 1\nsettled_s = 0\n\
         [buffer]\nbytes_max = 8388608\nflush_bytes = 2097152\nflush_interval_ms = {}\n\
         [lifecycle]\ninterval_s = 1\nclosed_after_minutes = 0\nmerge_files_min = 2\nfile_bytes_target = 1048576\n\
         warm_after_days = 2\nfile_grace_minutes = 0\nlog_retention_minutes = 0\n{tenant}{}",
        settings.flush_interval_ms,
        storage.unwrap_or_default()
    )
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

fn files_below(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files
}
