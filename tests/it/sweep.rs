//! Files that nobody needs go, and looking for them stops no commit.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use driftline::{
    clock::Clock,
    daemon::Store,
    lake::{LakeTable, Storage},
    record::Table,
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, path::Path as ObjectPath,
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    app::NOW_US,
    power::{config, send},
    power_maintenance::{TODAY_US, check_leftovers},
    simulated_disk::{INPUT_OUTPUT, SimulatedDisk},
};

const HOUR_US: i64 = 3_600_000_000;
/// Steps of a flush at which it fails, every so many.
const STRIDE: usize = 9;

/// Data files, and what an upload has not given its name yet, below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.to_str().unwrap().contains(".parquet") && !path.to_str().unwrap().contains("_delta_log") {
            found.push(path);
        }
    }
    found
}

/// A flush fails at a step and is tried again. Returns how many files the failed one left behind.
async fn check_failed_flush(step: u64) -> usize {
    let context = format!("step {step}");
    let root = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::new(root.path());
    let clock = Clock::manual(NOW_US);
    let store = Store::open_on(&config(root.path()), clock.clone(), disk.shared()).await.unwrap();
    send(&store, 0).await.unwrap();
    disk.fail_at(disk.steps() + step..disk.steps() + step + 1, INPUT_OUTPUT);
    let _ = store.ingestor.flush().await;
    disk.heal();
    store.ingestor.flush().await.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));

    // The machine's clock says when files were written: by the test's it is not yet.
    let before = files(&root.path().join("data/tables"));
    assert_eq!(store.maintainer.run().await.unwrap().swept_files, 0, "{context}");
    assert_eq!(files(&root.path().join("data/tables")), before, "files went within their grace: {context}");
    clock.set(TODAY_US);
    let swept = store.maintainer.run().await.unwrap().swept_files;
    // What this pass took out of the table has its grace as well.
    clock.set(TODAY_US + 2 * HOUR_US);
    store.maintainer.run().await.unwrap();
    store.close().await.unwrap();
    check_leftovers(root.path(), &Table::ALL, &context).await;
    swept as usize
}

#[tokio::test]
async fn what_failed_flushes_left_goes_after_its_grace() {
    let mut left = 0;
    for step in (0..60).step_by(STRIDE) {
        left += check_failed_flush(step).await;
    }
    assert!(left > 0, "no failed flush left a file behind");
}

/// A store whose listings wait, once it is told to, until they are let go.
#[derive(Debug)]
struct Gated {
    inner: Arc<dyn ObjectStore>,
    is_shut: AtomicBool,
    asked: Notify,
    gate: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
struct Handle(Arc<Gated>);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gated")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Handle {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.inner.put_opts(location, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.inner.put_multipart_opts(location, options).await
    }
    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.0.inner.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.0.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.0.inner.list(prefix);
        if !self.0.is_shut.load(Ordering::SeqCst) {
            return listed;
        }
        self.0.asked.notify_one();
        let gate = Arc::clone(&self.0.gate);
        let wait = async move {
            let _open = gate.acquire_owned().await;
            Ok::<_, object_store::Error>(listed)
        };
        futures::stream::once(wait).try_flatten().boxed()
    }
    fn list_with_offset(
        &self,
        prefix: Option<&ObjectPath>,
        offset: &ObjectPath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.inner.list_with_offset(prefix, offset)
    }
    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.0.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.0.inner.copy_opts(from, to, options).await
    }
}

fn reject(seq: i64) -> RecordBatch {
    let text = || Arc::new(StringViewArray::from_iter_values(["x"])) as ArrayRef;
    let number = |number| Arc::new(Int64Array::from_value(number, 1)) as ArrayRef;
    let time = Arc::new(TimestampMicrosecondArray::from_value(NOW_US, 1)) as ArrayRef;
    let columns = vec![time, number(1), text(), text(), number(seq)];
    RecordBatch::try_new(Arc::clone(Table::RejectedLogs.schema()), columns).unwrap()
}

#[tokio::test]
async fn commits_do_not_wait_for_a_listing() {
    const LONG: Duration = Duration::from_secs(60);
    let root = tempfile::tempdir().unwrap();
    let local = Storage::local_on(root.path(), SimulatedDisk::new(root.path()).shared()).unwrap();
    let gated = Handle(Arc::new(Gated {
        inner: Arc::clone(&local.store),
        is_shut: AtomicBool::new(false),
        asked: Notify::new(),
        gate: Arc::new(Semaphore::new(0)),
    }));
    let storage = Storage { store: Arc::new(gated.clone()), root: local.root.clone() };
    let lake = Arc::new(LakeTable::open(&storage, None, Table::RejectedLogs).await.unwrap());
    lake.commit(&[reject(1)], 1, NOW_US).await.unwrap();

    gated.0.is_shut.store(true, Ordering::SeqCst);
    let sweeping = Arc::clone(&lake);
    let sweep = tokio::spawn(async move { sweeping.sweep(TODAY_US, 0).await });
    gated.0.asked.notified().await;
    let committed = tokio::time::timeout(LONG, lake.commit(&[reject(2)], 2, NOW_US)).await;
    committed.expect("a commit waits for a listing").unwrap();
    gated.0.gate.add_permits(1);
    // What was committed meanwhile is in the table and stays, however old it looks.
    assert_eq!(sweep.await.unwrap().unwrap(), 0);
    assert_eq!((lake.snapshot().files.len(), files(root.path()).len()), (2, 2));
}
