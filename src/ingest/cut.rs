//! What changes while the daemon runs, copied as of one seq: the log, the state database and the logs of
//! the tables. Never copies data files: they do not change, and the snapshots hold them.

use std::{path::Path, sync::Arc};

use super::Ingestor;
use crate::{
    disk::Disk,
    error::{Context, Result},
    lake::{Copied, CopyTarget, LakeTable, Snapshot},
    wal,
};

/// A copy of everything but the data files.
pub struct Cut {
    /// The last batch in it.
    pub seq: u64,
    /// Rows of `agent_logs` in it, in data files and in the log.
    pub rows: u64,
    /// What was copied.
    pub copied: Copied,
    /// The tables with the files that are still to be copied.
    pub tables: Vec<(Arc<LakeTable>, Arc<Snapshot>)>,
}

impl Ingestor {
    /// Copies into a directory that has `wal/` and lasts. Requests go on meanwhile, flushes wait.
    ///
    /// Without the flush's lock, the log forgets nothing and SQLite and the tables' seqs stand still. So the copy
    /// is what a crash at this moment would leave, and opens like it:
    ///
    /// - The log's end is taken on the committer's thread, between two groups, after the request for a
    ///   copy came: every batch acknowledged before has its frame below that end, and is in it.
    /// - Every frame above SQLite's seq is in the log, because it forgets only what SQLite has saved.
    ///   Those frames are counted, and their receipts known, at the copy's start.
    /// - A table's rows are its files through the seq that its own log says, and the log's frames above.
    ///
    /// This holds after a flush that failed midway as well. Then one table or both, by a commit whose
    /// outcome was perhaps unknown, are ahead of SQLite: their log is read anew and copied with the
    /// snapshot that it says, and their rows are not taken from frames at or below its seq. If SQLite had
    /// saved and only the forgetting failed, the log has frames that are passed over.
    pub async fn cut(&self, directory: &Path, tables: &CopyTarget) -> Result<Cut> {
        let _no_flush = self.flush.lock().await;
        let mark = self.committer.mark().await?;
        let (disk, log) = (Arc::clone(&self.parts.disk), directory.join("wal"));
        let files = mark.segments.len() as u64;
        let bytes = blocking(move || wal::copy(disk.as_ref(), &mark.segments, &log)).await?;
        let mut copied = Copied { files, bytes };

        let path = directory.join("catalog.sqlite");
        self.parts.catalog.copy_to(&path).await?;
        let disk = Arc::clone(&self.parts.disk);
        copied = copied + blocking(move || settle(disk.as_ref(), &path)).await?;

        let mut held = Vec::new();
        for lake in &self.parts.lake {
            let (snapshot, log) = lake.copy_log(tables).await?;
            copied = copied + log;
            held.push((Arc::clone(lake), snapshot));
        }
        let agent_logs = &held[0].1;
        let committed: usize = agent_logs.files.iter().filter_map(|file| file.rows).sum();
        let waiting = mark.buffered.iter().filter(|(through_seq, _)| *through_seq > agent_logs.committed_seq);
        let rows = committed as u64 + waiting.map(|(_, rows)| rows).sum::<u64>();
        Ok(Cut { seq: mark.last_seq, rows, copied, tables: held })
    }
}

/// Makes a file last that somebody else wrote.
fn settle(disk: &dyn Disk, path: &Path) -> Result<Copied> {
    let context = || format!("cannot sync {}", path.display());
    disk.open_file(path).and_then(|mut file| file.sync_all()).context(context())?;
    let bytes = std::fs::metadata(path).context(context())?.len();
    Ok(Copied { files: 1, bytes })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a copy stopped")?
}
