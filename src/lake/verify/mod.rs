//! Looks through a table that nobody has open, and changes nothing: its log, the files that the log
//! names, and on request every row in them. What its numbers mean beside others is for others.

mod content;
mod file;
mod log;
mod reader;

use std::{collections::HashSet, path::Path as FilePath, sync::Arc};

use deltalake_core::{DeltaTable, DeltaTableBuilder, table::state::DeltaTableState};
use futures::TryStreamExt;
use object_store::{ObjectStore, local::LocalFileSystem, path::Path};
use serde_json::{Value, json};
use url::Url;

use super::{
    store::{DELTA_LOG, Storage},
    table::{Snapshot, delta_columns, read_snapshot},
};
use crate::{
    error::{Context, Error, Result},
    finding::Findings,
    record::{PARTITION, Table},
};

const RESTORE: &str = "restore the table's directory from a copy";
/// What the tables are: no feature that would make their files mean something else.
const PROTOCOL: (i64, i64) = (1, 2);

/// What is in a table.
#[derive(Debug, Default)]
pub struct Look {
    /// What is wrong; places are names below the table's directory.
    pub findings: Findings,
    /// The newest version; `None` where there is no table, or none that can be read.
    pub version: Option<u64>,
    /// Whether there is a log.
    pub exists: bool,
    /// Files of the newest version.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows, as the log says.
    pub rows: u64,
    /// Every row of the WAL up to this seq is in the files.
    pub committed_seq: u64,
    /// Rows that ingest ever committed; `None` where the log does not reach back to the beginning.
    pub ingested: Option<u64>,
}

impl Storage {
    /// Tables under a local directory of an absolute path, to be looked at only: nothing is taken over
    /// from an earlier process, and the directory need not exist.
    pub fn local_read_only(directory: &FilePath) -> Result<Self> {
        let absolute = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let root = Url::from_directory_path(&absolute)
            .map_err(|()| Error::invalid(format!("{} cannot be written as a URL", absolute.display())))?;
        Ok(Self { store: Arc::new(LocalFileSystem::new()), root })
    }
}

impl Look {
    /// Looks at a table: its log and each file's footer, and with `content` each file's rows.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached; all else is a finding.
    pub async fn at(storage: &Storage, table: Table, content: bool) -> Result<Self> {
        let url = storage.table_url(table.name())?;
        let prefix = Path::from_url_path(url.path()).context("cannot read the table's path")?;
        let mut look = Self::default();
        let entries = log::Entries::list(&storage.store, &prefix).await?;
        look.exists = !entries.is_empty();
        look.findings.extend(entries.gaps());
        let mut named = HashSet::new();
        if look.exists && look.findings.is_clean() {
            look.ingested = entries.ingested(&storage.store, &mut look.findings).await;
            if let Some((state, snapshot)) = look.load(storage, table, &url, &prefix).await {
                look.shape(table, &state);
                look.data(&storage.store, table, &snapshot, content).await;
                named.extend(snapshot.files.into_iter().map(|file| file.path));
            }
        }
        look.unnamed(&storage.store, &prefix, &named).await?;
        Ok(look)
    }

    async fn load(
        &mut self,
        storage: &Storage,
        table: Table,
        url: &Url,
        prefix: &Path,
    ) -> Option<(DeltaTableState, Snapshot)> {
        let loaded = async {
            let delta = open(storage, url).await?;
            let log_store = delta.log_store();
            let state = delta.snapshot().context("the table has no snapshot after loading")?.clone();
            let snapshot = read_snapshot(table, prefix, &log_store, &state).await?;
            Ok::<_, Error>((state, snapshot))
        };
        match loaded.await {
            Ok((state, snapshot)) => {
                self.version = Some(snapshot.version);
                self.committed_seq = snapshot.committed_seq;
                Some((state, snapshot))
            }
            Err(error) => {
                self.findings.wrong(DELTA_LOG, error.chain(), RESTORE);
                None
            }
        }
    }

    /// Whether the table is one that this version writes and reads.
    fn shape(&mut self, table: Table, state: &DeltaTableState) {
        let mut wrong = |what: String| {
            let advice = "start the version that wrote it; where another program changed it, restore it from a copy";
            self.findings.wrong(DELTA_LOG, what, advice);
        };
        let protocol = serde_json::to_value(state.protocol()).unwrap_or_default();
        let version = |name: &str| protocol.get(name).and_then(Value::as_i64).unwrap_or_default();
        if (version("minReaderVersion"), version("minWriterVersion")) != PROTOCOL {
            wrong(format!("the table's protocol is not ours: {protocol}"));
        }
        let metadata = serde_json::to_value(state.metadata()).unwrap_or_default();
        if metadata.get("partitionColumns") != Some(&json!([PARTITION])) {
            wrong(format!("the table is not partitioned by {PARTITION} alone"));
        }
        let ours = match delta_columns(table) {
            Ok(ours) => ours,
            Err(error) => return wrong(error.chain()),
        };
        let schema = state.schema();
        // A column that is missing came later than the table.
        for field in schema.fields() {
            match ours.iter().find(|column| column.name() == field.name()) {
                Some(column) if column.data_type() != field.data_type() => {
                    wrong(format!("the column {} is {}, not {}", field.name(), field.data_type(), column.data_type()));
                }
                Some(_) => {}
                None => wrong(format!("the table has a column {} that this version does not know", field.name())),
            }
        }
        for view in state.log_data().iter().filter(|view| view.deletion_vector_descriptor().is_some()) {
            wrong(format!(
                "the file {} has rows that count as deleted, which are read as if they were not",
                view.path()
            ));
        }
    }

    /// The files, one after the other.
    async fn data(&mut self, store: &Arc<dyn ObjectStore>, table: Table, snapshot: &Snapshot, content: bool) {
        for data in &snapshot.files {
            self.files += 1;
            self.bytes += data.bytes;
            self.rows += data.rows.unwrap_or_default() as u64;
            let file = file::File { store, table, data, committed_seq: snapshot.committed_seq };
            for problem in file.problems(content).await {
                self.findings.wrong(&data.name, problem, "restore the file from a copy");
            }
        }
    }

    /// Counts what lies below the table's directory and is not in the newest version.
    async fn unnamed(&mut self, store: &Arc<dyn ObjectStore>, prefix: &Path, named: &HashSet<Path>) -> Result<()> {
        let log = prefix.clone().join(DELTA_LOG);
        let mut listed = store.list(Some(prefix));
        let (mut files, mut bytes) = (0_u64, 0_u64);
        while let Some(found) = listed.try_next().await.context("cannot list the data files")? {
            if !found.location.prefix_matches(&log) && !named.contains(&found.location) {
                files += 1;
                bytes += found.size;
            }
        }
        if files > 0 && !self.exists {
            self.findings.wrong("", format!("holds {files} files, but its {DELTA_LOG} is missing"), RESTORE);
        } else if files > 0 && self.version.is_some() {
            let what = format!(
                "holds files that no version counts ({files}, {bytes} bytes): what a commit took out or a crash left; \
                 maintenance removes them in time"
            );
            self.findings.note("", what);
        }
        Ok(())
    }
}

async fn open(storage: &Storage, url: &Url) -> Result<DeltaTable> {
    let mut delta = DeltaTableBuilder::from_url(url.clone())
        .and_then(|builder| builder.with_storage_backend(Arc::clone(&storage.store), url.clone()).build())
        .context("cannot reach the table")?;
    delta.load().await.context("cannot read the Delta log")?;
    Ok(delta)
}
