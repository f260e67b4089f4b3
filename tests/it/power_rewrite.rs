//! One rewrite of files, its commit and the sweep after it, on a disk that loses its power, or fails, at
//! each of their steps; and the same where the new file is so large that it is uploaded in parts. Tables
//! alone, without log and queries: whole passes over whole stores are in `power_maintenance.rs`.

use std::{
    fs,
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use driftline::{
    clock::{AgeClock, Clock},
    decode::{Options, Shape, decode},
    disk::{Disk, SystemDisk},
    lake::{LakeTable, Storage},
    lifecycle::Policy,
    maintain::{Maintainer, Settings},
    record::{Table, col},
};
use futures::{StreamExt, stream};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::{
    app::copy,
    power_maintenance::{TODAY_US, check_leftovers, every},
    simulated_disk::{INPUT_OUTPUT, Mode, NO_SPACE, SimulatedDisk, lot},
};

const HOUR_US: i64 = 3_600_000_000;
/// Files that are to be one: of two, the larger would be left alone.
const FILES: u64 = 3;
const ROWS: u64 = 4;
/// A text of so many bytes in each row makes the files together larger than what is written at once,
/// which is 10 MiB.
const LARGE_NOTE_BYTES: usize = 1 << 20;

/// A table's directory with files of one day, which are to be one.
struct Prepared {
    _directory: TempDir,
    root: PathBuf,
    note_bytes: usize,
}

/// An open table and what was committed to it.
struct Open {
    lake: Arc<LakeTable>,
    maintainer: Maintainer,
    note_bytes: usize,
    commits: u64,
}

/// Text that LZ4 does not compress, the same each time: what repeats in it is further apart than LZ4 looks
/// back, which is 64 KiB.
fn note(seed: u64, bytes: usize) -> String {
    const PERIOD_BYTES: usize = 96 << 10;
    let words = bytes.min(PERIOD_BYTES).div_ceil(8) as u64;
    let period: String = (0..words).map(|index| format!("{:08x}", lot(seed, index))).collect();
    period.repeat(bytes.div_ceil(period.len()))
}

/// Id and attributes of the rows of a commit. What comes after a failure is small.
fn rows(commit: u64, note_bytes: usize) -> impl Iterator<Item = (String, String)> {
    let note_bytes = if commit > FILES { 8 } else { note_bytes };
    // The notes need no escapes; a search for what to escape would take most of the test's time.
    let attributes = move |row| format!("{{\"note\":\"{}\"}}", note(10 * commit + row, note_bytes));
    (0..ROWS).map(move |row| (format!("{commit}-{row}"), attributes(row)))
}

fn batch(commit: u64, note_bytes: usize) -> RecordBatch {
    let line = |(index, (id, attributes)): (usize, (String, String))| {
        let timestamp = TODAY_US - 20 * HOUR_US + (2 * index as i64 + commit as i64) * 1_000_000;
        format!("{{\"timestamp\":{timestamp},\"request_id\":\"{id}\",{}\n", &attributes[1..])
    };
    let body: String = rows(commit, note_bytes).enumerate().map(line).collect();
    let options = Options {
        received_at_us: TODAY_US,
        record_bytes_max: 4 << 20,
        future_max_us: 0,
        oldest: Default::default(),
        shape: Shape::Lines,
        scope: Default::default(),
    };
    let records = decode(body.as_bytes(), options).unwrap().records;
    let seqs: ArrayRef = Arc::new(Int64Array::from_value(commit as i64, records.num_rows()));
    let schema: &SchemaRef = Table::AgentLogs.schema();
    RecordBatch::try_new(Arc::clone(schema), records.columns().iter().cloned().chain([seqs]).collect()).unwrap()
}

impl Open {
    async fn on(root: &Path, disk: Arc<dyn Disk>, hour: i64, prepared: (u64, usize), context: &str) -> Self {
        let storage = Storage::local_on(&root.join("data/tables"), disk).unwrap();
        let lake = LakeTable::open(&storage, None, Table::AgentLogs).await;
        let lake = Arc::new(lake.unwrap_or_else(|error| panic!("{}: {context}", error.chain())));
        let policy = Policy { merge_files_min: 2, ..Policy::default() };
        let settings = Settings {
            policy,
            file_grace_us: 0,
            log_retention_us: 0,
            waiting_files_max: usize::MAX,
            memory_bytes_max: 256 << 20,
        };
        let clock = Clock::manual(TODAY_US + hour * HOUR_US);
        let maintainer = Maintainer::new(settings, vec![Arc::clone(&lake)], AgeClock::new(clock)).unwrap();
        let (commits, note_bytes) = prepared;
        Self { lake, maintainer, note_bytes, commits }
    }

    async fn commit(&mut self, hour: i64, context: &str) {
        self.commits += 1;
        let batch = batch(self.commits, self.note_bytes);
        let committed = self.lake.commit(&[batch], self.commits, TODAY_US + hour * HOUR_US).await;
        committed.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
    }

    /// The files that the log names hold each row once, as it was.
    fn check_rows(&self, context: &str) {
        let mut found = Vec::new();
        for file in &self.lake.snapshot().files {
            let file = File::open(format!("/{}", file.path)).unwrap_or_else(|error| panic!("{error}: {context}"));
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
            for batch in reader.unwrap_or_else(|error| panic!("{error}: {context}")) {
                let batch = batch.unwrap();
                let column = |name| batch.column_by_name(name).unwrap().as_string_view();
                let rows = column(col::REQUEST_ID).iter().zip(column(col::ATTRIBUTES).iter());
                found.extend(rows.map(|(id, attributes)| (id.unwrap().to_owned(), attributes.unwrap().to_owned())));
            }
        }
        found.sort();
        let expected: Vec<_> = (1..=self.commits).flat_map(|commit| rows(commit, self.note_bytes)).collect();
        let ids = |rows: &[(String, String)]| rows.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&expected), "{context}");
        assert!(found == expected, "rows have changed: {context}");
    }

    async fn check_pass(&self, root: &Path, context: &str) {
        let passed = self.maintainer.run().await;
        passed.unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
        self.check_rows(context);
        check_leftovers(root, &[Table::AgentLogs], context).await;
    }
}

impl Prepared {
    async fn new(note_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("data/tables")).unwrap();
        let disk = SimulatedDisk::new(&root);
        let mut open = Open::on(&root, disk.shared(), 9, (0, note_bytes), "prepared").await;
        for _ in 0..FILES {
            open.commit(9, "prepared").await;
        }
        Self { _directory: directory, root, note_bytes }
    }

    async fn case(&self) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        copy(&self.root, &root);
        let disk = SimulatedDisk::new(&root);
        let open = Open::on(&root, disk.shared(), 12, (FILES, self.note_bytes), "opened").await;
        let start = disk.steps();
        Case { _directory: directory, root, disk, open, start }
    }

    /// What a pass does where nothing fails.
    async fn dry_run(&self) -> Vec<String> {
        let case = self.case().await;
        let done = case.open.maintainer.run().await.unwrap();
        assert_eq!((done.actions, done.swept_files), (1, FILES), "{done:?}");
        case.steps()
    }
}

/// A copy of the prepared directory, and the disk's step at which the pass begins there.
struct Case {
    _directory: TempDir,
    root: PathBuf,
    disk: SimulatedDisk,
    open: Open,
    start: u64,
}

impl Case {
    fn steps(&self) -> Vec<String> {
        self.disk.history().split_off(self.start as usize)
    }

    /// What power loss leaves has all rows; a pass there ends what this one began.
    async fn check_left(&self, mode: Mode, context: &str) {
        let left = tempfile::tempdir().unwrap();
        let root = left.path().canonicalize().unwrap();
        self.disk.materialise(&root, mode);
        let context = format!("{mode:?}, {context}");
        let prepared = (self.open.commits, self.open.note_bytes);
        let open = Open::on(&root, SimulatedDisk::new(&root).shared(), 12, prepared, &context).await;
        open.check_rows(&context);
        open.check_pass(&root, &context).await;
    }

    async fn check_power_loss(self, step: u64, modes: &[Mode]) {
        self.disk.lose_power_at(self.start + step);
        let _ = self.open.maintainer.run().await;
        for mode in modes {
            self.check_left(*mode, &format!("{:#?}", self.steps())).await;
        }
    }

    /// The pass may fail; once the disk works, the same process commits, and ends what the pass began.
    async fn check_error(mut self, steps: Range<u64>, code: i32) {
        self.disk.fail_at(self.start + steps.start..self.start.saturating_add(steps.end), code);
        let passed = self.open.maintainer.run().await.map_err(|error| error.chain());
        self.disk.heal();
        let context = format!("error {code} at steps {steps:?}, {passed:?}: {:#?}", self.steps());
        self.open.check_rows(&context);
        self.open.commit(12, &context).await;
        self.open.check_pass(&self.root, &context).await;
        let left = tempfile::tempdir().unwrap();
        self.disk.materialise(left.path(), Mode::DropUnsynced);
        let prepared = (self.open.commits, self.open.note_bytes);
        Open::on(left.path(), Arc::new(SystemDisk), 12, prepared, &context).await.check_rows(&context);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_survives_power_loss_at_every_step() {
    let prepared = Prepared::new(8).await;
    let steps = prepared.dry_run().await.len() as u64;
    for step in 0..=steps {
        let modes = [Mode::DropUnsynced, Mode::NamesOnly, Mode::Mixed(step)];
        prepared.case().await.check_power_loss(step, &modes).await;
    }
}

/// An error once, and from there on until the disk heals.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_survives_an_error_at_every_step() {
    let prepared = Prepared::new(8).await;
    let steps = prepared.dry_run().await.len() as u64;
    for step in 0..steps {
        let codes = [INPUT_OUTPUT, NO_SPACE];
        let codes = if every() == Some(1) { &codes[..] } else { &codes[(step % 2) as usize..][..1] };
        for code in codes {
            prepared.case().await.check_error(step..step + 1, *code).await;
        }
        if step % 2 == 0 || every() == Some(1) {
            prepared.case().await.check_error(step..u64::MAX, NO_SPACE).await;
        }
    }
}

/// The steps of a file that is written in parts: those that begin it, its parts, and those that give it its
/// name.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_survives_errors_and_power_loss_at_every_step() {
    let prepared = Prepared::new(LARGE_NOTE_BYTES).await;
    let steps = prepared.dry_run().await;
    let begins = steps.iter().position(|step| step.contains("create_new_file") && step.contains(".parquet#")).unwrap();
    let ends = begins + steps[begins..].iter().position(|step| step.contains("sync_directory")).unwrap() + 1;
    let parts = steps[begins..ends].iter().filter(|step| step.contains("write ")).count();
    assert!(parts >= 2 && steps[begins..ends].iter().any(|step| step.contains("rename")), "{steps:#?}");
    let check = async |step: usize| {
        let at = step as u64;
        let modes = [Mode::DropUnsynced, Mode::NamesOnly, Mode::Mixed(at)];
        let (modes, codes) = match every() {
            Some(1) => (&modes[..], &[INPUT_OUTPUT, NO_SPACE][..]),
            _ => (&modes[step / 2 % 3..][..1], &[[INPUT_OUTPUT, NO_SPACE][step % 2]][..]),
        };
        if step.is_multiple_of(2) || every() == Some(1) {
            prepared.case().await.check_power_loss(at, modes).await;
        }
        for code in codes {
            prepared.case().await.check_error(at..at + 1, *code).await;
        }
    };
    stream::iter(begins..ends).map(check).buffer_unordered(2).collect::<()>().await;
}
