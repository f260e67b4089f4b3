//! The promise as a whole: a store on a disk that loses its power, or fails, at each of its steps.
//! What was acknowledged is there, once; what was not is there once or not at all, and can be sent
//! again; the books agree with the tables. The log and the files alone are in `disk.rs`.

use std::{collections::BTreeMap, future::Future, path::Path};

use bytes::Bytes;
use driftline::{
    clock::Clock,
    config::Config,
    daemon::{Daemon, Store},
    decode::{Encoding, Shape},
    error::{Kind, Result},
    ingest::{Answer, Request},
    query::QueryParams,
};
use futures::{StreamExt, stream};
use serde::Deserialize;

use crate::{
    app::{NOW_US, json, record},
    disk::empty,
    power_maintenance::every,
    simulated_disk::{INPUT_OUTPUT, Mode, NO_SPACE, SimulatedDisk, lot},
};

/// Steps of the workload that are tried beside those of the flush that is tried step by step: every
/// so many.
const STRIDE: u64 = 9;
/// Stores that are open at the same time.
const AT_ONCE: usize = 4;

/// What the workload does, one after the other. Segments are so small that each batch ends one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Ingest,
    Flush,
}

const ACTS: [Act; 9] = {
    use Act::{Flush, Ingest};
    [Ingest, Ingest, Flush, Ingest, Flush, Ingest, Ingest, Ingest, Flush]
};

/// The batches of a workload: which were sent, and which were acknowledged.
#[derive(Debug, Default, Clone)]
pub struct Told {
    pub sent: usize,
    pub acknowledged: Vec<usize>,
}

/// One to three records and now and then a line that is none; what is in a batch follows from its number.
pub fn batch(number: usize) -> String {
    let records = 1 + lot(7, number as u64) % 3;
    let mut body: String =
        (0..records).map(|index| record(-(number as i64), &format!("{number}-{index}"), "rag", 0.5)).collect();
    if number % 3 != 1 {
        body += "no record\n";
    }
    body
}

fn ids(number: usize) -> impl Iterator<Item = String> {
    (0..1 + lot(7, number as u64) % 3).map(move |index| format!("{number}-{index}"))
}

pub fn config(root: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.data = root.join("data");
    config.buffer.flush_interval_ms = 3_600_000;
    config.wal.segment_bytes_max = 1;
    // No small part of what a store costs to open.
    config.metrics.sessions_max = 100;
    config
}

pub fn clock() -> Clock {
    Clock::manual(NOW_US)
}

pub async fn send(store: &Store, number: usize) -> Result<Answer> {
    let body = Bytes::from(batch(number));
    let request = Request {
        body,
        encoding: Encoding::Identity,
        shape: Shape::Lines,
        idempotency_key: None,
        scope: Default::default(),
    };
    store.ingestor.ingest(request).await
}

/// What the tables show: how often each record is there.
async fn shown(store: &Store) -> BTreeMap<String, i64> {
    #[derive(Deserialize)]
    struct Seen {
        request_id: String,
        n: i64,
    }
    let statement = "select request_id, count(*) as n from agent_logs group by request_id";
    let rows = store.engine.sql(statement, QueryParams::Positional(Vec::new())).await.unwrap();
    rows.collect_as::<Seen>().await.unwrap().into_iter().map(|seen| (seen.request_id, seen.n)).collect()
}

/// Does all acts; what fails is not tried again. Reads must go on whatever fails.
async fn work(store: &Store, told: &mut Told) {
    for act in ACTS {
        match act {
            Act::Flush => drop(store.ingestor.flush().await),
            Act::Ingest => {
                let number = told.sent;
                told.sent += 1;
                if send(store, number).await.is_ok() {
                    told.acknowledged.push(number);
                }
            }
        }
    }
    check_shown(store, told, "while it runs").await;
}

/// Each acknowledged record is there once, each other one once or not at all, a batch as a whole.
pub async fn check_shown(store: &Store, told: &Told, context: &str) {
    let shown = shown(store).await;
    let mut rows = 0;
    for number in 0..told.sent {
        let found: Vec<i64> = ids(number).map(|id| shown.get(&id).copied().unwrap_or(0)).collect();
        let all = |times: i64| found.iter().all(|found| *found == times);
        let is_due = told.acknowledged.contains(&number);
        assert!(all(1) || !is_due && all(0), "batch {number} of {told:?} is there {found:?} times: {context}");
        rows += found.iter().sum::<i64>();
    }
    assert_eq!(shown.values().sum::<i64>(), rows, "records that nobody sent: {context}");
    let status = store.ingestor.status();
    assert_eq!(
        (status.books.accepted, status.committed + status.buffered),
        (rows as u64, rows as u64),
        "{status:?}: {context}"
    );
}

/// Opens what was left, on a disk that works: nothing is lost or doubled, and every batch can be sent
/// again, with the answer that it deserves.
pub async fn check_left(left: &Path, told: &Told, context: &str) {
    let store = Store::open(&config(left), clock()).await;
    let store = store.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
    check_shown(&store, told, context).await;
    for number in 0..told.sent {
        let answer = send(&store, number).await.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
        let is_due = told.acknowledged.contains(&number);
        assert!(answer.duplicate || !is_due, "batch {number} of {told:?} was stored again: {context}");
    }
    let all = Told { sent: told.sent, acknowledged: (0..told.sent).collect() };
    check_shown(&store, &all, context).await;
    store.ingestor.flush().await.unwrap();
    check_shown(&store, &all, context).await;
    assert_eq!(store.ingestor.status().buffered, 0, "{context}");
}

async fn check_modes(disk: &SimulatedDisk, told: &Told, modes: &[Mode]) {
    for mode in modes {
        let left = tempfile::tempdir().unwrap();
        disk.materialise(left.path(), *mode);
        check_left(left.path(), told, &format!("{mode:?} after {:#?}", disk.history())).await;
    }
}

/// The workload on a disk where nothing fails: its steps, and those of the second flush.
async fn dry_run() -> (u64, std::ops::Range<u64>) {
    let (_directory, root, disk) = empty();
    let store = Store::open_on(&config(&root), clock(), disk.shared()).await.unwrap();
    let mut told = Told::default();
    work(&store, &mut told).await;
    assert_eq!(told.acknowledged.len(), told.sent);
    let history = disk.history();
    let committed = |step: &String| step.contains("sync_directory") && step.ends_with("_delta_log");
    let opened = history.iter().position(|step| step.contains("wal/")).unwrap();
    // The flush ends where the log has forgotten: with the sync after a removal.
    let forgotten: Vec<usize> = (opened + 1..history.len())
        .filter(|step| history[*step].ends_with("data/wal") && history[step - 1].contains("remove_file"))
        .collect();
    assert_eq!(forgotten.len(), 3, "{history:#?}");
    let between = forgotten[0]..forgotten[1] + 1;
    assert_eq!(history[between.clone()].iter().filter(|step| committed(step)).count(), 2, "{history:#?}");
    println!("{} steps, {between:?} one by one", history.len());
    (disk.steps(), between.start as u64..between.end as u64)
}

/// Each of the steps of one flush and of the batch before it, the first, the last, and some of the
/// rest; and whether the step is one of the flush.
async fn at_each_step<Checked: Future<Output = ()>>(check: impl Fn(u64, bool) -> Checked) {
    let (steps, one_by_one) = dry_run().await;
    let stride = every().unwrap_or(STRIDE);
    let chosen = (0..=steps).map(|step| (step, one_by_one.contains(&step)));
    let chosen = chosen.filter(|(step, is_close)| *is_close || step % stride == 0 || *step + 1 >= steps);
    stream::iter(chosen).map(|(step, is_close)| check(step, is_close)).buffer_unordered(AT_ONCE).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn power_loss_at_every_step_loses_nothing() {
    at_each_step(async |step, _| {
        let (_directory, root, disk) = empty();
        disk.lose_power_at(step);
        let mut told = Told::default();
        if let Ok(store) = Store::open_on(&config(&root), clock(), disk.shared()).await {
            work(&store, &mut told).await;
        }
        check_modes(&disk, &told, &[Mode::DropUnsynced, Mode::NamesOnly, Mode::Mixed(step)]).await;
    })
    .await;
}

/// The process lives through the error, is started again, and then the power goes: what the second
/// process found and said must last as well.
async fn check_error(step: u64, code: i32) {
    let (_directory, root, disk) = empty();
    let context = || format!("error {code} at step {step}: {:#?}", disk.history());
    disk.fail_at(step..step + 1, code);
    let mut told = Told::default();
    if let Ok(store) = Store::open_on(&config(&root), clock(), disk.shared()).await {
        work(&store, &mut told).await;
        // It takes what it refused, or it says that it takes no more.
        for number in (0..told.sent).filter(|number| !told.acknowledged.contains(number)).collect::<Vec<_>>() {
            let is_poisoned = store.ingestor.status().wal_failed;
            match send(&store, number).await {
                Ok(_) => told.acknowledged.push(number),
                Err(error) => assert!(is_poisoned, "{}: {}", error.chain(), context()),
            }
        }
        let flushed = store.ingestor.flush().await;
        assert!(flushed.is_ok(), "{}: {}", flushed.unwrap_err().chain(), context());
        check_shown(&store, &told, &context()).await;
    }
    disk.heal();
    let store = Store::open_on(&config(&root), clock(), disk.shared()).await;
    let store = store.unwrap_or_else(|error| panic!("{}: {}", error.chain(), context()));
    check_shown(&store, &told, &context()).await;
    // All that is shown now was told.
    let found = shown(&store).await;
    told.acknowledged = (0..told.sent).filter(|number| ids(*number).all(|id| found.contains_key(&id))).collect();
    check_modes(&disk, &told, &[Mode::DropUnsynced]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_at_every_step_loses_nothing() {
    at_each_step(async |step, is_close| {
        let codes = [INPUT_OUTPUT, NO_SPACE];
        let codes = if is_close { &codes[..] } else { &codes[(step % 2) as usize..][..1] };
        for code in codes {
            check_error(step, *code).await;
        }
    })
    .await;
}

/// The other way out of an error: the log may not be written again, and says so.
#[tokio::test]
async fn a_failed_fsync_of_the_log_refuses_writes_until_the_restart() {
    let (_directory, root, disk) = empty();
    let mut config = config(&root);
    // Else the flush lets the log forget the segment of the failed fsync.
    config.wal.segment_bytes_max = 1 << 20;
    let daemon = Daemon::start_on(&config, clock(), disk.shared()).await.unwrap();
    let url = |path: &str| format!("http://{}{path}", daemon.address());
    let client = reqwest::Client::new();
    let post = async |number: usize| {
        let response = client.post(url("/api/v1/logs")).body(batch(number)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let rows = async || {
        json(client.get(url("/api/v1/sql")).query(&[("q", "select count(*) as n from agent_logs")])).await[0]["n"]
            .as_u64()
            .unwrap()
    };
    let ready = async || client.get(url("/readyz")).send().await.unwrap().status().as_u16();
    let records = |numbers: std::ops::Range<usize>| numbers.map(|number| ids(number).count()).sum::<usize>() as u64;

    assert_eq!((post(0).await.0, ready().await), (200, 200));
    // The frame's head, its payload, and the group's fsync.
    let step = disk.steps() + 2;
    disk.fail_at(step..step + 1, INPUT_OUTPUT);
    let (status, _) = post(1).await;
    assert!(disk.history()[step as usize].contains("sync_data data/wal/"), "{:#?}", disk.history());
    assert_eq!((status, ready().await), (500, 503));
    let steps = disk.steps();
    for _ in 0..2 {
        let (status, text) = post(1).await;
        assert_eq!(status, 500, "{text}");
    }
    assert_eq!(disk.steps(), steps, "a poisoned log is not touched");
    assert_eq!(rows().await, records(0..1));
    // What was acknowledged before can still be committed.
    daemon.ingestor().flush().await.unwrap();
    assert_eq!((rows().await, ready().await), (records(0..1), 503));
    let told = Told { sent: 2, acknowledged: vec![0] };
    check_modes(&disk, &told, &[Mode::DropUnsynced, Mode::NamesOnly]).await;
    daemon.stop().await.unwrap();

    let store = Store::open_on(&config, clock(), disk.shared()).await.unwrap();
    assert!(!store.ingestor.status().wal_failed);
    check_shown(&store, &told, "restarted").await;
    // The frame was whole in the page cache: it is there once, however often it is sent.
    assert!(send(&store, 1).await.unwrap().duplicate);
    assert!(!send(&store, 2).await.unwrap().duplicate);
    let told = Told { sent: 3, acknowledged: vec![0, 1, 2] };
    check_shown(&store, &told, "after the restart").await;
    check_modes(&disk, &told, &[Mode::DropUnsynced, Mode::NamesOnly]).await;
}

/// A disk that is full refuses batches with "come back", and takes them once there is room.
#[tokio::test]
async fn a_full_disk_is_busy_and_heals() {
    let (_directory, root, disk) = empty();
    let store = Store::open_on(&config(&root), clock(), disk.shared()).await.unwrap();
    send(&store, 0).await.unwrap();
    // The frame's payload; what was written of the group is taken back.
    let step = disk.steps() + 5;
    disk.fail_at(step..step + 1, NO_SPACE);
    assert_eq!(send(&store, 1).await.unwrap_err().kind(), Kind::Busy);
    assert!(disk.history()[step as usize].contains("write data/wal/"), "{:#?}", disk.history());
    assert!(!store.ingestor.status().wal_failed);
    let answer = send(&store, 1).await.unwrap();
    assert_eq!((answer.duplicate, answer.seq), (false, 2));
    let told = Told { sent: 2, acknowledged: vec![0, 1] };
    check_shown(&store, &told, "with room again").await;
    check_modes(&disk, &told, &[Mode::DropUnsynced, Mode::NamesOnly, Mode::Mixed(1)]).await;
}
