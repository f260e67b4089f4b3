//! Other files for the same rows, and the end of files that nobody needs. Never decides what is worth
//! doing: that is `lifecycle`'s.
//!
//! A file that a commit takes out of the table stays for a grace period, for readers of other kinds,
//! and for as long as a snapshot that has it is read from.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use deltalake_core::{
    kernel::{Action, Add, Remove, Transaction, transaction::CommitProperties},
    protocol::{DeltaOperation, checkpoints::cleanup_expired_logs_for},
    table::state::DeltaTableState,
};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{
    sidecar::DERIVED,
    storage::Place,
    table::{DELETED_APP_ID, DataFile, LakeTable, Snapshot, seq_version},
};
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
    /// Rows of the files that come.
    pub rows: u64,
    /// Whether the rows that come are fewer than those that go.
    pub loses_rows: bool,
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
        let lost = if replacement.loses_rows {
            let going: usize = replacement.removed.iter().filter_map(|file| file.rows).sum();
            (going as u64).saturating_sub(replacement.rows)
        } else {
            0
        };
        let operation = if replacement.loses_rows {
            DeltaOperation::Delete { predicate: None }
        } else {
            DeltaOperation::Optimize { predicate: None, target_size: 0 }
        };
        let removes = replacement.removed.iter().map(|file| {
            Action::Remove(Remove {
                path: file.name.clone(),
                data_change: replacement.loses_rows,
                deletion_timestamp: Some(now_us / 1_000),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::from([(PARTITION.to_owned(), file.date())])),
                size: Some(file.bytes as i64),
                ..Remove::default()
            })
        });
        let adds =
            replacement.added.into_iter().map(|add| Action::Add(Add { data_change: replacement.loses_rows, ..add }));
        let gone: Vec<String> = replacement.removed.iter().map(|file| file.name.clone()).collect();
        let actions = removes.chain(adds).collect();
        let mut properties = CommitProperties::default();
        if lost > 0 {
            let deleted = seq_version(snapshot.deleted_rows + lost)?;
            properties = properties.with_application_transaction(Transaction::new(DELETED_APP_ID, deleted));
        }
        let committed = self.commit_actions(&mut state, properties, actions, operation).await;
        // Nobody else takes files out.
        let stands = |now: &Snapshot| !now.files.iter().any(|file| gone.contains(&file.name));
        self.settle(&mut state, committed, stands).await
    }

    /// Deletes the files below the table's directory that no snapshot in use has, once they were taken
    /// out, or where no commit ever named them written, `grace_us` ago. Returns how many.
    pub async fn sweep(&self, now_us: i64, grace_us: i64) -> Result<usize> {
        // First, and without the lock: a store may take long to list its files, and commits must not wait for it.
        let listed = list(&self.places.home, str::to_owned).await?;
        let cold = match &self.places.cold {
            Some(cold) => list(cold, |relative| cold.absolute(relative)).await?,
            None => Vec::new(),
        };
        let (state, snapshots) = {
            // A flush holds this from before it writes files until its commit names them. So what was listed is named
            // by now, or never will be: no two files have one name.
            let mut state = self.writer.lock().await;
            self.refresh(&mut state).await?;
            (state.clone(), self.snapshots_in_use())
        };
        let kept: HashSet<&str> =
            snapshots.iter().flat_map(|snapshot| &snapshot.files).map(|file| file.name.as_str()).collect();
        let taken_out_us = self.taken_out(&state).await?;
        let is_over = |file: &Listed| {
            let since_us = taken_out_us.get(&file.name).copied().unwrap_or(file.written_us);
            !kept.contains(file.name.as_str()) && since_us <= now_us - grace_us
        };
        let going: Vec<_> = listed.into_iter().filter(is_over).collect();
        let cold: Vec<_> = cold.into_iter().filter(is_over).collect();
        let deleted = delete_all(&going).await;
        if cold.is_empty() {
            return deleted;
        }
        self.begin_cold_change().await?;
        Ok(deleted? + delete_all(&cold).await?)
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

    /// When files were taken out, µs since the epoch, by name.
    async fn taken_out(&self, state: &DeltaTableState) -> Result<HashMap<String, i64>> {
        let mut taken_out = HashMap::new();
        let mut tombstones = state.all_tombstones(self.log_store.as_ref());
        while let Some(tombstone) = tombstones.next().await {
            let tombstone = tombstone.context("cannot read which files were taken out")?;
            let us = tombstone.deletion_timestamp().unwrap_or_default().saturating_mul(1_000);
            taken_out.insert(tombstone.path().into_owned(), us);
        }
        Ok(taken_out)
    }
}

/// One that cannot be deleted keeps none of the others; the first error, once all have been tried.
async fn delete_all(files: &[Listed]) -> Result<usize> {
    let mut result = Ok(files.len());
    for file in files {
        result = file.delete().await.and(result);
    }
    result
}

/// A file in a store.
struct Listed {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// What the Delta log calls it, if it does.
    name: String,
    /// µs since the epoch, UTC.
    written_us: i64,
}

impl Listed {
    async fn delete(&self) -> Result<()> {
        match self.store.delete(&self.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).context(format!("cannot delete the data file {}", self.path)),
        }
    }
}

/// The data files of a directory.
async fn list(place: &Place, name_of: impl Fn(&str) -> String) -> Result<Vec<Listed>> {
    let mut files = place.store.list(Some(&place.prefix));
    let mut listed = Vec::new();
    while let Some(file) = files.try_next().await.context("cannot list the data files")? {
        let Some(relative) = place.relative(&file.location) else { continue };
        if relative.starts_with("_delta_log/") || relative.starts_with(DERIVED) {
            continue;
        }
        listed.push(Listed {
            store: Arc::clone(&place.store),
            name: name_of(&relative),
            written_us: file.last_modified.timestamp_micros(),
            path: file.location,
        });
    }
    Ok(listed)
}
