//! The life cycle of committed files: what `lifecycle` plans is carried out, one commit after the other,
//! while ingest and queries go on. One pass runs at a time. Never plans itself, and never touches what
//! is not committed.

mod forget;
mod pace;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    datatypes::DataType,
};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    clock::AgeClock,
    error::{Error, Kind, Result},
    lake::{DataFile, LakeTable, Replacement, Rewrite, Rewriter, Rewritten, Snapshot},
    lifecycle::{self, Action, Policy, TenantSet, Tier, Work},
    record::{Table, col},
};

pub use forget::{Forgotten, Subject};

use pace::Pace;

/// In a pass, files and log entries that nobody needs are removed so often, µs.
const TENDED_EVERY_US: i64 = 60_000_000;

/// Ages and times that bound maintenance.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What becomes of files.
    pub policy: Policy,
    /// How long a file stays in the store once no commit needs it, µs.
    pub file_grace_us: i64,
    /// How long entries of the Delta log stay once a checkpoint replaces them, µs.
    pub log_retention_us: i64,
    /// While more files wait to be joined, ingest waits for them.
    pub waiting_files_max: usize,
    /// Most memory that a pass may take to join files, bytes.
    pub memory_bytes_max: usize,
}

/// Something that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MaintenanceDue)]
pub struct Due {
    /// The table.
    pub table: String,
    /// The day of the files, UTC.
    pub date: String,
    /// What it is, for people.
    pub action: String,
    /// Files that go.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Due {
    fn new(table: Table, action: &Action) -> Self {
        Self {
            table: table.name().to_owned(),
            date: NaiveDate::from_epoch_days(action.day).map(|date| date.to_string()).unwrap_or_default(),
            action: action.to_string(),
            files: action.files.len() as u64,
            rows: action.rows,
            bytes: action.bytes,
        }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.table, self.date, self.action)
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MaintenanceDone)]
pub struct Done {
    /// Commits.
    pub actions: u64,
    /// Bytes of files that were written again.
    pub rewritten_bytes: u64,
    /// Rows past their retention that are gone.
    pub deleted_rows: u64,
    /// Files that were deleted from the store.
    pub swept_files: u64,
    /// Entries of the Delta logs that were deleted.
    pub trimmed_entries: u64,
}

/// Maintenance of the tables.
pub struct Maintainer {
    settings: Settings,
    lake: Vec<Arc<LakeTable>>,
    rewriter: Rewriter,
    ages: AgeClock,
    pass: tokio::sync::Mutex<()>,
    pace: Pace,
    /// When files and log entries were last removed within a pass, µs.
    tended_us: AtomicI64,
    stopping: AtomicBool,
    failed: AtomicBool,
    done: Mutex<Done>,
}

impl Maintainer {
    /// Maintenance of tables that are open.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names a setting.
    pub fn new(settings: Settings, lake: Vec<Arc<LakeTable>>, ages: AgeClock) -> Result<Self> {
        settings.policy.check().map_err(Error::invalid)?;
        let rewriter = Rewriter::new(settings.memory_bytes_max)?;
        Ok(Self {
            settings,
            lake,
            rewriter,
            tended_us: AtomicI64::new(ages.now_us()),
            ages,
            pass: tokio::sync::Mutex::default(),
            pace: Pace::default(),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            done: Mutex::default(),
        })
    }

    /// What a pass would do now.
    pub fn due(&self) -> Vec<Due> {
        let now_us = self.ages.now_us();
        let due = |lake: &Arc<LakeTable>| {
            let table = lake.table();
            self.plan_for(lake, now_us).into_iter().map(move |action| Due::new(table, &action))
        };
        self.lake.iter().flat_map(due).collect()
    }

    /// One pass: every action that is due, then the files and log entries that nobody needs. A pass
    /// that fails or is stopped has done whole actions only, and the next one goes on.
    pub async fn run(&self) -> Result<Done> {
        let _alone = self.pass.lock().await;
        let _pass = self.pace.pass();
        let mut done = Done::default();
        let mut result = Ok(());
        for lake in &self.lake {
            // What is wrong with one table or file must not let the others grow.
            result = result.and(self.maintain(lake, &mut done).await);
        }
        self.failed.store(result.is_err(), Ordering::Relaxed);
        self.count(&done);
        result.map(|()| done)
    }

    fn count(&self, done: &Done) {
        let mut total = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        total.actions += done.actions;
        total.rewritten_bytes += done.rewritten_bytes;
        total.deleted_rows += done.deleted_rows;
        total.swept_files += done.swept_files;
        total.trimmed_entries += done.trimmed_entries;
    }

    /// What all passes since the start did.
    pub fn done(&self) -> Done {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last pass failed.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Lets a pass that runs end after its present action.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The tables' files and their bytes, as their logs have them now.
    pub fn sizes(&self) -> Vec<(Table, usize, u64)> {
        let size = |lake: &Arc<LakeTable>| {
            let files = &lake.snapshot().files;
            (lake.table(), files.len(), files.iter().map(|file| file.bytes).sum())
        };
        self.lake.iter().map(size).collect()
    }

    /// Files that waited to be joined when ingest last asked.
    pub fn waiting_files(&self) -> usize {
        self.pace.waiting()
    }

    /// Waits until a pass is wanted before its time.
    pub async fn wanted(&self) {
        self.pace.wanted().await;
    }

    /// Whether more files wait to be joined than may, as long as passes join some: what cannot be joined holds
    /// nothing up. Needs somebody who runs passes when they are [`wanted`](Self::wanted).
    pub fn is_behind(&self) -> bool {
        self.pace.is_behind(self.settings.waiting_files_max, || self.count_waiting())
    }

    /// Waits until it no longer [is behind](Self::is_behind).
    pub async fn caught_up(&self) {
        self.pace.caught_up(self.settings.waiting_files_max, || self.count_waiting()).await;
    }

    fn count_waiting(&self) -> usize {
        self.lake.iter().map(|lake| self.waiting_in(lake)).sum()
    }

    fn waiting_in(&self, lake: &LakeTable) -> usize {
        let merges = self.plan_for(lake, self.ages.now_us()).into_iter().filter(is_merge);
        merges.map(|action| action.files.len()).sum()
    }

    fn plan_for(&self, lake: &LakeTable, now_us: i64) -> Vec<Action> {
        let files: Vec<_> = lake.snapshot().files.iter().map(|file| file.info(lake.table())).collect();
        lifecycle::plan(&files, &self.settings.policy, now_us)
    }

    /// The first error, once all has been tried.
    async fn maintain(&self, lake: &LakeTable, done: &mut Done) -> Result<()> {
        let now_us = self.ages.now_us();
        let mut result = Ok(());
        for action in self.plan_for(lake, now_us) {
            if self.stopping.load(Ordering::Relaxed) {
                return result;
            }
            if !matches!(action.work, Work::Delete | Work::Merge { .. }) {
                result = result.and(self.join_waiting(done).await);
            }
            result = result.and(self.step(lake, &action, now_us, done).await);
            result = result.and(self.tend_if_due(done).await);
        }
        result.and(self.tend(lake, done).await)
    }

    /// Removes the files and the log entries that nobody needs.
    async fn tend(&self, lake: &LakeTable, done: &mut Done) -> Result<()> {
        let now_us = self.ages.now_us();
        let swept = lake.sweep(now_us, self.settings.file_grace_us).await;
        let trimmed = lake.trim_log(now_us - self.settings.log_retention_us).await;
        done.swept_files += *swept.as_ref().unwrap_or(&0) as u64;
        done.trimmed_entries += *trimmed.as_ref().unwrap_or(&0) as u64;
        swept.and(trimmed).map(drop)
    }

    /// The same in all tables, if the last time was [`TENDED_EVERY_US`] ago: all steps can take hours, and each leaves
    /// files behind.
    async fn tend_if_due(&self, done: &mut Done) -> Result<()> {
        if self.ages.now_us() - self.tended_us.load(Ordering::Relaxed) < TENDED_EVERY_US {
            return Ok(());
        }
        let mut result = Ok(());
        for lake in &self.lake {
            result = result.and(self.tend(lake, done).await);
        }
        self.tended_us.store(self.ages.now_us(), Ordering::Relaxed);
        result
    }

    /// Joins what has come to wait during a pass, if ingest waits for it: the rest of a pass can take hours.
    async fn join_waiting(&self, done: &mut Done) -> Result<()> {
        let mut result = Ok(());
        for lake in &self.lake {
            if self.waiting_in(lake) <= self.settings.waiting_files_max {
                continue;
            }
            let now_us = self.ages.now_us();
            for action in self.plan_for(lake, now_us).iter().filter(|action| is_merge(action)) {
                if self.stopping.load(Ordering::Relaxed) {
                    return result;
                }
                result = result.and(self.step(lake, action, now_us, done).await);
            }
        }
        result
    }

    async fn step(&self, lake: &LakeTable, action: &Action, now_us: i64, done: &mut Done) -> Result<()> {
        let rewritten_bytes = done.rewritten_bytes;
        self.carry_out(lake, action, now_us, done).await?;
        tracing::info!(table = lake.table().name(), %action, "maintained");
        done.actions += 1;
        if is_merge(action) && done.rewritten_bytes > rewritten_bytes {
            self.pace.joined();
        }
        Ok(())
    }

    async fn carry_out(&self, lake: &LakeTable, action: &Action, now_us: i64, done: &mut Done) -> Result<()> {
        let snapshot = lake.snapshot();
        let files: Vec<_> = snapshot.files.iter().filter(|file| action.files.contains(&file.name)).cloned().collect();
        if files.len() < action.files.len() {
            // They were joined meanwhile; the next plan knows by what.
            return Ok(());
        }
        match action.work {
            Work::Delete => {
                let replacement = Replacement { removed: files, added: Vec::new(), rows: 0, loses_rows: true };
                lake.replace(replacement, now_us).await?;
                done.deleted_rows += action.rows;
            }
            Work::Move { from: Tier::Warm | Tier::Cold } => {
                let added = lake.copy_to_cold(&files, now_us).await?;
                let replacement = Replacement { removed: files, added, rows: action.rows, loses_rows: false };
                lake.replace(replacement, now_us).await?;
                done.rewritten_bytes += action.bytes;
            }
            Work::Expire { .. } | Work::Merge { .. } | Work::Warm | Work::Move { .. } | Work::Split { .. } => {
                // What does not fit into memory at once becomes several commits.
                let mut left = files;
                while !left.is_empty() {
                    let files = self.rewriter.take(&mut left);
                    if files.len() > 1 || !matches!(action.work, Work::Merge { .. }) {
                        self.exchange(lake, action, &snapshot, files, done).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes files again, all of an action's or some, and commits what became of them.
    async fn exchange(
        &self,
        lake: &LakeTable,
        action: &Action,
        snapshot: &Arc<Snapshot>,
        files: Vec<DataFile>,
        done: &mut Done,
    ) -> Result<()> {
        let (before, bytes) = files
            .iter()
            .fold((0, 0), |(rows, bytes), file| (rows + file.rows.unwrap_or_default() as u64, bytes + file.bytes));
        let Rewritten { added, rows } = self.write_again(lake, action, snapshot, &files).await?;
        let rows = rows as u64;
        let loses_rows = matches!(action.work, Work::Expire { .. });
        if !loses_rows && rows != before {
            return Err(Error::new(Kind::Internal, format!("the parts of {action} hold {rows} rows of {before}")));
        }
        lake.replace(Replacement { removed: files, added, rows, loses_rows }, self.ages.now_us()).await?;
        done.rewritten_bytes += bytes;
        done.deleted_rows += before.saturating_sub(rows);
        Ok(())
    }

    /// Writes the parts of an action one after the other: each reads all of the files, so that several
    /// parts need no more memory than one.
    async fn write_again(
        &self,
        lake: &LakeTable,
        action: &Action,
        snapshot: &Arc<Snapshot>,
        files: &[DataFile],
    ) -> Result<Rewritten> {
        let now_us = self.ages.now_us();
        let files_max = self.settings.policy.files_of(files.iter().map(|file| file.bytes).sum());
        let mut all = Rewritten::default();
        for part in &action.parts {
            let whose = part.whose.clone();
            let keep = move |batch: &RecordBatch| are_of(batch, &whose);
            let rewrite = Rewrite {
                snapshot: Arc::clone(snapshot),
                files: files.to_vec(),
                tier: part.tier,
                files_max: part.files_max.min(files_max),
                removed: part.removed.clone(),
                keep: (!part.whose.is_everybody()).then_some(&keep),
            };
            let Rewritten { added, rows } = self.rewriter.rewrite(lake, rewrite, now_us).await?;
            all.added.extend(added);
            all.rows += rows;
        }
        Ok(all)
    }
}

fn is_merge(action: &Action) -> bool {
    matches!(action.work, Work::Merge { .. })
}

/// Which rows are of these tenants.
fn are_of(batch: &RecordBatch, whose: &TenantSet) -> Result<BooleanArray> {
    let tenants = batch
        .column_by_name(col::TENANT_ID)
        .filter(|column| *column.data_type() == DataType::Utf8View)
        .ok_or_else(|| Error::new(Kind::Internal, "a table without tenants has none to tell apart"))?
        .as_string_view();
    Ok((0..tenants.len()).map(|row| Some(whose.contains(tenants.is_valid(row).then(|| tenants.value(row))))).collect())
}
