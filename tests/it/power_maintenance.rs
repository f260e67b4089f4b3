//! The life cycle of committed files on a disk that loses its power, or fails, at the steps of a whole
//! pass: merge, split, warm, expire, delete, checkpoint, sweep, trim. What was cut short lost nothing and doubled
//! nothing, the store goes on, and the next pass ends it and leaves nothing lying about. Every step of one
//! rewrite is in `power_rewrite.rs`, ingest and flush in `power.rs`.

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use driftline::{
    clock::Clock,
    config::{Config, TenantLifecycleConfig},
    daemon::Store,
    decode::{Encoding, Shape},
    disk::Disk,
    ingest::Request,
    lake::{LakeTable, Storage},
    query::QueryParams,
    record::Table,
};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    app::copy,
    simulated_disk::{INPUT_OUTPUT, Mode, NO_SPACE, SimulatedDisk},
};

/// Steps of the pass that are tried, every so many: with power loss, in three modes by turns, and with
/// errors, of two codes by turns.
const STRIDES: [u64; 2] = [16, 11];
/// Stores that are open at the same time.
const AT_ONCE: usize = 4;
const HOUR_US: i64 = 3_600_000_000;
/// 2100-01-01T00:00:00Z: what the machine's clock says of a file is long ago, so that each may be swept.
pub const TODAY_US: i64 = 4_102_444_800_000_000;
/// Commits between checkpoints: so few that the pass writes one between two of its actions.
const CHECKPOINT_INTERVAL: &str = "7";

/// How many days ago a record is of, and whose it is. Before the pass four batches are committed, the
/// next lies in the buffer during the pass, and the last comes after it.
const BATCHES: [&[(i64, &str)]; 6] = [
    &[(1, "kept"), (1, "brief"), (2, "kept"), (2, "brief"), (3, "kept")],
    &[(1, "kept"), (2, "brief"), (2, "kept")],
    &[(1, "brief"), (2, "kept"), (2, "never-warm")],
    &[(1, "kept"), (3, "brief")],
    &[(1, "kept"), (1, "brief")],
    &[(1, "kept")],
];
const COMMITTED: usize = 4;

/// Batches of these numbers have a line that is no record.
fn has_reject(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn config(root: &Path) -> Config {
    let mut config = Config::default();
    config.server.data = root.join("data");
    config.buffer.flush_interval_ms = 3_600_000;
    // No small part of what a store costs to open.
    config.metrics.sessions_max = 100;
    // The first batches come before their records are past their retention.
    config.ingest.future_hours_max = 72;
    config.lifecycle.merge_files_min = 2;
    config.lifecycle.warm_after_days = 1;
    config.lifecycle.delete_after_days = 2;
    let brief = TenantLifecycleConfig { delete_after_days: Some(1), ..TenantLifecycleConfig::default() };
    config.lifecycle.tenants.insert("brief".to_owned(), brief);
    let never_warm = TenantLifecycleConfig { warm_after_days: Some(0), ..TenantLifecycleConfig::default() };
    config.lifecycle.tenants.insert("never-warm".to_owned(), never_warm);
    config.lifecycle.file_grace_minutes = 0;
    config.lifecycle.log_retention_minutes = 0;
    config
}

#[derive(Debug, Clone, PartialEq, PartialOrd, Deserialize)]
struct Row {
    request_id: String,
    tenant_id: String,
    cost: f64,
    attributes: String,
}

/// A record's row, whether a pass removes it, and the line that brings it.
fn records(number: usize) -> impl Iterator<Item = (Row, bool, String)> {
    BATCHES[number].iter().enumerate().map(move |(index, (days, tenant))| {
        let request_id = format!("{number}-{index}");
        let attributes = json!({ "note": format!("of {request_id}") }).to_string();
        let cost = (10 * number + index) as f64 / 8.0;
        let time_us = TODAY_US - days * 24 * HOUR_US + (8 + index as i64) * HOUR_US;
        let line = json!({
            "timestamp": time_us, "request_id": request_id, "tenant_id": tenant, "cost_usd": cost,
            "note": format!("of {request_id}"),
        });
        let goes = *days == 3 || *days == 2 && *tenant == "brief";
        (Row { request_id, tenant_id: (*tenant).to_owned(), cost, attributes }, goes, format!("{line}\n"))
    })
}

/// A store that is open, the time it has, and the disk that it is on.
struct Open {
    store: Store,
    clock: Clock,
    sent: usize,
}

impl Open {
    async fn on(root: &Path, hour: i64, disk: Arc<dyn Disk>, sent: usize, context: &str) -> Self {
        let clock = Clock::manual(TODAY_US + hour * HOUR_US);
        let store = Store::open_on(&config(root), clock.clone(), disk).await;
        let store = store.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
        Self { store, clock, sent }
    }

    async fn send(&mut self) {
        let mut body: String = records(self.sent).map(|(_, _, line)| line).collect();
        if has_reject(self.sent) {
            body += "no record\n";
        }
        let body = Bytes::from(body);
        let request = Request {
            body,
            encoding: Encoding::Identity,
            shape: Shape::Lines,
            idempotency_key: None,
            scope: Default::default(),
        };
        self.store.ingestor.ingest(request).await.unwrap();
        self.sent += 1;
    }

    async fn rows<T: serde::de::DeserializeOwned>(&self, statement: &str) -> Vec<T> {
        let rows = self.store.engine.sql(statement, QueryParams::Positional(Vec::new())).await.unwrap();
        rows.collect_as().await.unwrap()
    }

    /// Each row is there once; those that are past their retention may be, unless a pass is through.
    async fn check_rows(&self, is_through: bool, context: &str) {
        let mut found: Vec<Row> = self.rows("select request_id, tenant_id, cost, attributes from agent_logs").await;
        found.sort_by(|a, b| a.request_id.cmp(&b.request_id));
        let sent = || (0..self.sent).flat_map(records);
        let expected: Vec<Row> = sent()
            .filter(|(row, goes, _)| {
                !goes || !is_through && found.iter().any(|found| found.request_id == row.request_id)
            })
            .map(|(row, _, _)| row)
            .collect();
        assert_eq!(found, expected, "{context}");
        let rejects: Vec<serde_json::Value> = self.rows("select raw from rejected_logs").await;
        let rejected = (0..self.sent).filter(|number| has_reject(*number)).count();
        assert_eq!(rejects, vec![json!({"raw": "no record"}); rejected], "{context}");
        let status = self.store.ingestor.status();
        let books = (status.books.accepted, status.books.rejected, status.committed - status.deleted + status.buffered);
        assert_eq!(books, (sent().count() as u64, rejected as u64, found.len() as u64), "{status:?}: {context}");
    }

    /// A pass on a disk that works does what is left to do, however much that is.
    async fn check_pass(&self, root: &Path, context: &str) {
        let passed = self.store.maintainer.run().await;
        passed.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
        assert_eq!(self.store.maintainer.due(), [], "{context}");
        self.check_rows(true, context).await;
        check_leftovers(root, &Table::ALL, context).await;
    }
}

/// Below these tables, which are all, there is nothing but what their logs name.
pub async fn check_leftovers(root: &Path, open: &[Table], context: &str) {
    let tables = root.join("data/tables");
    let files = files_below(&tables);
    // Whoever opens the tables removes some of what is left over: only now.
    let storage = Storage::local_on(&tables, SimulatedDisk::new(root).shared()).unwrap();
    let mut named = BTreeSet::new();
    for table in open {
        let lake = LakeTable::open(&storage, None, *table)
            .await
            .unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
        named.extend(lake.snapshot().files.iter().map(|file| PathBuf::from(format!("/{}", file.path))));
    }
    let is_of_the_log = |path: &Path| {
        path.parent().unwrap().ends_with("_delta_log")
            && (path.ends_with("_last_checkpoint")
                || path.extension().is_some_and(|extension| extension == "json" || extension == "parquet"))
    };
    let data: BTreeSet<PathBuf> = files.into_iter().filter(|path| !is_of_the_log(path)).collect();
    assert_eq!(data, named, "{context}");
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// A directory in which four batches are committed and much is due, as a process left it that ended well.
async fn prepared() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let disk = SimulatedDisk::new(&root).shared();
    Open::on(&root, 9, Arc::clone(&disk), 0, "created").await.store.close().await.unwrap();
    // How often a checkpoint is written is a property of the table, and stands in its log.
    let first = root.join("data/tables/agent_logs/_delta_log/00000000000000000000.json");
    let created = fs::read_to_string(&first).unwrap();
    let property = |interval: &str| format!("\"delta.checkpointInterval\":\"{interval}\"");
    assert!(created.contains(&property("50")), "{created}");
    fs::write(&first, created.replace(&property("50"), &property(CHECKPOINT_INTERVAL))).unwrap();
    let mut open = Open::on(&root, -39, disk, 0, "prepared").await;
    for _ in 0..COMMITTED {
        open.send().await;
        open.store.ingestor.flush().await.unwrap();
    }
    open.store.close().await.unwrap();
    (directory, root)
}

/// Where a case happens: a copy of the prepared directory, one more batch in its buffer, and the disk's step
/// at which the pass begins.
struct Case {
    _directory: TempDir,
    root: PathBuf,
    disk: SimulatedDisk,
    open: Open,
    start: u64,
}

impl Case {
    async fn of(prepared: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        copy(prepared, &root);
        let disk = SimulatedDisk::new(&root);
        let mut open = Open::on(&root, 12, disk.shared(), COMMITTED, "opened").await;
        open.send().await;
        let start = disk.steps();
        Self { _directory: directory, root, disk, open, start }
    }

    fn steps(&self) -> Vec<String> {
        self.disk.history().split_off(self.start as usize)
    }

    /// What power loss leaves opens, shows every row once, and a pass ends there what this one began.
    async fn check_left(&self, mode: Mode, context: &str) {
        let left = tempfile::tempdir().unwrap();
        let root = left.path().canonicalize().unwrap();
        self.disk.materialise(&root, mode);
        let context = format!("{mode:?}, {context}");
        let disk = SimulatedDisk::new(&root).shared();
        let mut open = Open::on(&root, 12, disk, self.open.sent, &context).await;
        open.check_rows(false, &context).await;
        open.send().await;
        open.store.ingestor.flush().await.unwrap();
        open.check_pass(&root, &context).await;
    }
}

/// The pass on a disk where nothing fails has all kinds of steps; how many.
async fn dry_run(prepared: &Path) -> u64 {
    let case = Case::of(prepared).await;
    let due: Vec<_> = case.open.store.maintainer.due().iter().map(ToString::to_string).collect();
    let words = due.iter().map(|due| due.split(' ').nth(2).unwrap()).collect::<Vec<_>>();
    assert_eq!(words, ["delete", "expire", "merge", "split", "warm"], "{due:#?}");
    case.open.check_rows(false, "dry run").await;
    let done = case.open.store.maintainer.run().await.unwrap();
    let steps = case.steps();
    assert_eq!((done.actions, done.deleted_rows, done.swept_files), (5, 4, 11), "{done:?} {steps:#?}");
    assert!(done.trimmed_entries >= 5, "{done:?}");
    let position = |word: &str| steps.iter().position(|step| step.contains(word)).unwrap_or_else(|| panic!("{word}"));
    let places = [
        position("0006.json"),
        position("0006.checkpoint.parquet"),
        position("_last_checkpoint"),
        position("0007.json"),
        position(".zstd.parquet"),
        position("remove_file data/tables/agent_logs/date=2099-12-29"),
        position("remove_file data/tables/agent_logs/_delta_log/00000000000000000000.json"),
        position("rejected_logs/date="),
    ];
    assert!(places.is_sorted(), "{places:?} {steps:#?}");
    case.open.check_rows(true, "dry run").await;
    check_leftovers(&case.root, &Table::ALL, "dry run").await;
    steps.len() as u64
}

/// Some of the steps of a pass, each in a case of its own; all of them where the environment asks for that.
async fn at_steps<Checked: Future<Output = ()>>(stride: u64, check: impl Fn(Case, u64) -> Checked) {
    let (_directory, prepared) = prepared().await;
    let steps = dry_run(&prepared).await;
    let stride = every().unwrap_or(stride);
    println!("{steps} steps, each {stride}th");
    let check = async |step| check(Case::of(&prepared).await, step).await;
    stream::iter((0..=steps).step_by(stride as usize)).map(check).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// `DRIFTLINE_FAULTS_EVERY=1` tries every step.
pub fn every() -> Option<u64> {
    Some(std::env::var("DRIFTLINE_FAULTS_EVERY").ok()?.parse().expect("DRIFTLINE_FAULTS_EVERY is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn power_loss_during_a_pass_loses_nothing() {
    at_steps(STRIDES[0], async |case, step| {
        case.disk.lose_power_at(case.start + step);
        let _ = case.open.store.maintainer.run().await;
        let all = [Mode::DropUnsynced, Mode::NamesOnly, Mode::Mixed(step)];
        let modes = if every() == Some(1) { &all[..] } else { &all[(step % 3) as usize..][..1] };
        for mode in modes {
            case.check_left(*mode, &format!("{:#?}", case.steps())).await;
        }
    })
    .await;
}

async fn check_error(mut case: Case, step: u64, code: i32) {
    let at = case.start + step;
    case.disk.fail_at(at..at + 1, code);
    let passed = case.open.store.maintainer.run().await;
    let passed = passed.map_err(|error| error.chain());
    case.disk.heal();
    let context = format!("error {code} at step {step}, {passed:?}: {:#?}", case.steps());
    case.open.check_rows(false, &context).await;
    // The same process goes on, and another pass begins.
    case.open.send().await;
    let flushed = case.open.store.ingestor.flush().await;
    flushed.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
    case.open.check_rows(false, &context).await;
    case.open.check_pass(&case.root, &context).await;
    let gone = (0..COMMITTED).flat_map(records).filter(|(_, goes, _)| *goes).count() as u64;
    let done = case.open.store.maintainer.done();
    assert!(done.deleted_rows <= gone, "{done:?}: {context}");
    // Three hours later what was expired is warmed, and by the next pass joined with what was split off.
    case.open.clock.set(TODAY_US + 15 * HOUR_US);
    let passed = case.open.store.maintainer.run().await;
    passed.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
    case.open.check_pass(&case.root, &context).await;
    let left = tempfile::tempdir().unwrap();
    case.disk.materialise(left.path(), Mode::DropUnsynced);
    let disk = SimulatedDisk::new(left.path()).shared();
    let open = Open::on(left.path(), 15, disk, case.open.sent, &context).await;
    open.check_rows(true, &context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_during_a_pass_loses_nothing() {
    at_steps(STRIDES[1], async |case, step| {
        let codes = [INPUT_OUTPUT, NO_SPACE];
        check_error(case, step, codes[(step % 2) as usize]).await;
    })
    .await;
}
