//! Other files for the same rows, and the end of files that nobody needs. Never decides what is worth
//! doing: that is `lifecycle`'s.
//!
//! A file that a commit takes out of the table stays for a grace period, for readers of other kinds,
//! and for as long as a snapshot that has it is read from.

use std::collections::{HashMap, HashSet};

use deltalake_core::{
    kernel::{Action, Add, Remove, Transaction, transaction::CommitProperties},
    protocol::{DeltaOperation, checkpoints::cleanup_expired_logs_for},
    table::state::DeltaTableState,
};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};

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
        // A flush writes files before its commit names them: none is on its way while this is held.
        let mut state = self.writer.lock().await;
        self.refresh(&mut state).await?;
        let snapshots = self.snapshots_in_use();
        let kept: HashSet<&str> =
            snapshots.iter().flat_map(|snapshot| &snapshot.files).map(|file| file.name.as_str()).collect();
        let taken_out_us = self.taken_out(&state).await?;
        let unneeded = |name: &str, written_us: i64| {
            let since_us = taken_out_us.get(name).copied().unwrap_or(written_us);
            let is_data = !name.starts_with("_delta_log/") && !name.starts_with(DERIVED);
            is_data && !kept.contains(name) && since_us <= now_us - grace_us
        };
        let mut swept = sweep_place(&self.places.home, str::to_owned, &unneeded).await?;
        if let Some(cold) = &self.places.cold {
            swept += sweep_place(cold, |relative| cold.absolute(relative), &unneeded).await?;
        }
        Ok(swept)
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

/// Deletes the files of a directory that nobody needs, by name and by when they were written.
async fn sweep_place(
    place: &Place,
    name_of: impl Fn(&str) -> String,
    unneeded: &impl Fn(&str, i64) -> bool,
) -> Result<usize> {
    let mut listed = place.store.list(Some(&place.prefix));
    let mut found = Vec::new();
    while let Some(file) = listed.try_next().await.context("cannot list the data files")? {
        let relative = place.relative(&file.location);
        if relative.is_some_and(|relative| unneeded(&name_of(&relative), file.last_modified.timestamp_micros())) {
            found.push(file.location);
        }
    }
    for path in &found {
        match place.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error).context(format!("cannot delete the data file {path}")),
        }
    }
    Ok(found.len())
}
