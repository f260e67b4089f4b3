//! Other files for the same rows, and the end of files that nobody needs. Never decides what is worth
//! doing: that is `lifecycle`'s.
//!
//! A file that a commit takes out of the table stays for a grace period, for readers of other kinds,
//! and for as long as a snapshot that has it is read from.

use std::collections::{HashMap, HashSet};

use deltalake_core::{
    kernel::{Action, Add, Remove, transaction::CommitProperties},
    protocol::{DeltaOperation, checkpoints::cleanup_expired_logs_for},
    table::state::DeltaTableState,
};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::table::{DELETED_APP_ID, DataFile, LakeTable, transaction};
use crate::{
    error::{Context, Error, Kind, Result},
    record::PARTITION,
};

/// Files that come in the place of others, in one commit.
#[derive(Debug)]
pub struct Replacement {
    /// The files that go.
    pub removed: Vec<DataFile>,
    /// The files that come; they are in the store already.
    pub added: Vec<Add>,
    /// How many fewer the rows are that come than those that go.
    pub lost_rows: u64,
}

impl LakeTable {
    /// Commits a replacement.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when a file that should go is not in the table any more; nothing is changed
    /// then. After any other error the commit may stand or not; the next one finds out.
    pub async fn replace(&self, replacement: Replacement, now_us: i64) -> Result<()> {
        let mut state = self.writer.lock().await;
        self.refresh(&mut state).await?;
        let snapshot = self.snapshot();
        let names: HashSet<&str> = snapshot.files.iter().map(|file| file.name.as_str()).collect();
        if let Some(gone) = replacement.removed.iter().find(|file| !names.contains(file.name.as_str())) {
            return Err(Error::new(Kind::Conflict, format!("the file {} is not in the table any more", gone.name)));
        }
        let loses_rows = replacement.lost_rows > 0;
        let mut properties = CommitProperties::default();
        if loses_rows {
            // In the same commit, so that what is missing from the files is always accounted for.
            let deleted = transaction(DELETED_APP_ID, snapshot.deleted_rows + replacement.lost_rows)?;
            properties = properties.with_application_transaction(deleted);
        }
        let operation = if loses_rows {
            DeltaOperation::Delete { predicate: None }
        } else {
            DeltaOperation::Optimize { predicate: None, target_size: 0 }
        };
        let removes = replacement.removed.iter().map(|file| {
            Action::Remove(Remove {
                path: file.name.clone(),
                data_change: loses_rows,
                deletion_timestamp: Some(now_us / 1_000),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::from([(PARTITION.to_owned(), file.date())])),
                size: Some(file.bytes as i64),
                ..Remove::default()
            })
        });
        let adds = replacement.added.into_iter().map(|add| Action::Add(Add { data_change: loses_rows, ..add }));
        let actions = removes.chain(adds).collect();
        self.commit_actions(&mut state, properties, actions, operation).await
    }

    /// Deletes the files below the table's directory that no snapshot in use has, once they were taken
    /// out, or where no commit ever named them written, `grace_us` ago. Returns how many.
    pub async fn sweep(&self, now_us: i64, grace_us: i64) -> Result<usize> {
        // A flush writes files before its commit names them: none is on its way while this is held.
        let mut state = self.writer.lock().await;
        self.refresh(&mut state).await?;
        let snapshots = self.snapshots_in_use();
        let kept: HashSet<&Path> =
            snapshots.iter().flat_map(|snapshot| &snapshot.files).map(|file| &file.path).collect();
        let taken_out_us = self.taken_out(&state).await?;
        let log = self.prefix.clone().join("_delta_log");
        let mut listed = self.store.list(Some(&self.prefix));
        let mut unneeded = Vec::new();
        while let Some(found) = listed.try_next().await.context("cannot list the data files")? {
            let since_us = taken_out_us.get(&found.location).copied().unwrap_or(found.last_modified.timestamp_micros());
            let in_use = found.location.prefix_matches(&log) || kept.contains(&found.location);
            if !in_use && since_us <= now_us - grace_us {
                unneeded.push(found.location);
            }
        }
        for path in &unneeded {
            match self.store.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error).context(format!("cannot delete the data file {path}")),
            }
        }
        Ok(unneeded.len())
    }

    /// Deletes entries of the Delta log that are older than `before_us` and that a checkpoint replaces.
    pub async fn trim_log(&self, before_us: i64) -> Result<usize> {
        let mut state = self.writer.lock().await;
        let trimmed = cleanup_expired_logs_for(state.version(), self.log_store.as_ref(), before_us / 1_000, None)
            .await
            .context("cannot trim the Delta log")?;
        if trimmed > 0 {
            // The loaded state still names what is gone.
            *state = DeltaTableState::try_new(self.log_store.as_ref(), Some(state.version()))
                .await
                .context("cannot read the trimmed Delta log")?;
        }
        Ok(trimmed)
    }

    /// When files were taken out, µs since the epoch, by path.
    async fn taken_out(&self, state: &DeltaTableState) -> Result<HashMap<Path, i64>> {
        let mut taken_out = HashMap::new();
        let mut tombstones = state.all_tombstones(self.log_store.as_ref());
        while let Some(tombstone) = tombstones.next().await {
            let tombstone = tombstone.context("cannot read which files were taken out")?;
            let us = tombstone.deletion_timestamp().unwrap_or_default().saturating_mul(1_000);
            taken_out.insert(self.path_of(&tombstone.path()), us);
        }
        Ok(taken_out)
    }
}
