//! A bug that panics beside requests is seen, and stops no more than it must.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use driftline::{
    daemon::Daemon,
    disk::{Disk, DiskFile, SystemDisk},
};

use crate::app::{TestApp, failure, record};

async fn ready(app: &TestApp) -> (u16, String) {
    let response = app.get("/readyz").send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn metric(app: &TestApp, series: &str) -> Option<String> {
    let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

#[tokio::test]
async fn a_background_job_that_panics_is_shown() {
    let app = TestApp::start().await;
    assert_eq!(ready(&app).await, (200, "ready\n".to_owned()));
    assert_eq!(metric(&app, "driftline_job_panics_total{job_name=\"flush\"}").await.as_deref(), Some("0"));
    let panicked = AtomicBool::new(false);
    let job = || {
        let first = !panicked.swap(true, Ordering::SeqCst);
        async move { assert!(!first, "a bug of the test's") }
    };
    app.daemon.as_ref().unwrap().background().run("a job", job).await;
    let said = "the background job a job panicked and was started again: the server's log says why\n";
    assert_eq!(ready(&app).await, (503, said.to_owned()));
    assert_eq!(metric(&app, "driftline_job_panics_total{job_name=\"a job\"}").await.as_deref(), Some("1"));
    app.logs(record(0, "a", "rag", 1.0)).await;
}

/// A disk that panics where the log is written, once it is told to.
#[derive(Debug)]
struct Fragile(Arc<AtomicBool>);

#[derive(Debug)]
struct FragileFile(Box<dyn DiskFile>, Arc<AtomicBool>);

impl Disk for Fragile {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.create_directory(path)
    }
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FragileFile(SystemDisk.create_file(path)?, Arc::clone(&self.0))))
    }
    fn create_new_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.create_new_file(path)
    }
    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.open_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        SystemDisk.hard_link(original, link)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_file(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_directory(path)
    }
}

impl DiskFile for FragileFile {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(!self.1.load(Ordering::SeqCst), "a bug of the test's");
        self.0.write_all_at(offset, bytes)
    }
    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_length(bytes)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[tokio::test]
async fn a_panic_of_the_logs_thread_refuses_ingest_until_a_restart() {
    let mut app = TestApp::start().await;
    app.daemon.take().unwrap().stop().await.unwrap();
    let breaks = Arc::new(AtomicBool::new(false));
    let disk = Arc::new(Fragile(Arc::clone(&breaks)));
    app.daemon = Some(Daemon::start_on(&app.config, app.clock.clone(), disk).await.unwrap());
    app.logs(record(0, "a", "rag", 1.0)).await;

    breaks.store(true, Ordering::SeqCst);
    for id in ["b", "c"] {
        let (status, message) = failure(app.post("/api/v1/logs").body(record(1, id, "rag", 1.0))).await;
        assert_eq!(status, 503, "{message}");
        assert!(message.contains("write-ahead log failed"), "{message}");
    }
    assert_eq!(ready(&app).await, (503, "the write-ahead log failed: ingest is refused\n".to_owned()));
    assert_eq!(metric(&app, "driftline_wal_failed").await.as_deref(), Some("1"));
    assert_eq!(app.sql("select request_id as id from agent_logs").await, serde_json::json!([{"id": "a"}]));

    breaks.store(false, Ordering::SeqCst);
    let app = app.crash().await;
    assert_eq!(ready(&app).await.0, 200);
    app.logs(record(1, "b", "rag", 1.0)).await;
    assert_eq!(app.sql("select count(*) as n from agent_logs").await, serde_json::json!([{"n": 2}]));
}
