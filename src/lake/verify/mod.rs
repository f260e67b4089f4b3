//! Looks through a table that nobody has open, and changes nothing: its log, the files that the log
//! names, and on request every row in them. What its numbers mean beside others is for others.

mod content;
mod file;
mod log;
mod reader;

use std::{collections::HashSet, path::Path as FilePath, sync::Arc};

use deltalake_core::{DeltaTable, table::state::DeltaTableState};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use serde_json::{Value, json};
use url::Url;

use super::{
    schema::delta_columns,
    sidecar::DERIVED,
    storage::{Place, Remote, Storage},
    store::DELTA_LOG,
    table::{Places, Snapshot, read_snapshot},
};
use crate::{
    disk::SystemDisk,
    error::{Context, Error, Kind, Result},
    finding::Findings,
    record::{PARTITION, Table},
};

const RESTORE: &str = "restore the table's directory from a copy";
/// What the tables are: no feature that would make their files mean something else.
const PROTOCOL: (i64, i64) = (1, 2);

/// What is in a table.
#[derive(Debug, Default)]
pub struct Look {
    /// What is wrong; places are names below the table's directory, or whole URLs.
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
    /// Rows that commits brought and that were deleted since.
    pub deleted_rows: u64,
    /// Every row of the WAL up to this seq is in the files.
    pub committed_seq: u64,
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

    /// Tables below a URL, to be looked at only.
    ///
    /// # Errors
    ///
    /// As [`Storage::at`].
    pub fn at_read_only(url: &str, remote: &Remote) -> Result<Self> {
        match Url::parse(url).ok().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok()) {
            Some(directory) => Self::local_read_only(&directory),
            None => Self::at(url, remote, Arc::new(SystemDisk)),
        }
    }
}

impl Look {
    /// Looks at a table: its log and each file's footer, and with `content` each file's rows.
    ///
    /// # Errors
    ///
    /// When a store cannot be reached, or the settings do not say where cold files are; all else is a
    /// finding.
    pub async fn at(storage: &Storage, cold: Option<&Storage>, table: Table, content: bool) -> Result<Self> {
        let home = storage.place(table.name())?;
        let cold = cold.map(|storage| storage.place(table.name())).transpose()?;
        let places = Places { home, cold };
        let mut look = Self::default();
        let entries = log::Entries::list(&places.home).await?;
        look.exists = !entries.is_empty();
        look.findings.extend(entries.gaps());
        let mut named = HashSet::new();
        if look.exists && look.findings.is_clean() {
            look.findings.extend(entries.damage(&places.home.store).await);
            if let Some((state, snapshot)) = look.load(table, &places).await? {
                look.shape(table, &state);
                look.data(table, &snapshot, content).await;
                named.extend(snapshot.files.into_iter().map(|file| file.name));
            }
        }
        look.unnamed(&places, &named).await?;
        Ok(look)
    }

    async fn load(&mut self, table: Table, places: &Places) -> Result<Option<(DeltaTableState, Snapshot)>> {
        let loaded = async {
            let log_store = places.home.log_store();
            let mut delta = DeltaTable::new(Arc::clone(&log_store));
            delta.load().await.context("cannot read the Delta log")?;
            let state = delta.snapshot().context("the table has no snapshot after loading")?.clone();
            let snapshot = read_snapshot(table, places, &log_store, &state).await?;
            Ok::<_, Error>((state, snapshot))
        };
        match loaded.await {
            Ok((state, snapshot)) => {
                self.version = Some(snapshot.version);
                self.committed_seq = snapshot.committed_seq;
                self.deleted_rows = snapshot.deleted_rows;
                Ok(Some((state, snapshot)))
            }
            // The settings are wrong, and not the data.
            Err(error) if error.kind() == Kind::Conflict => Err(error),
            Err(error) => {
                self.findings.wrong(DELTA_LOG, error.chain(), RESTORE);
                Ok(None)
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
    async fn data(&mut self, table: Table, snapshot: &Snapshot, content: bool) {
        for data in &snapshot.files {
            self.files += 1;
            self.bytes += data.bytes;
            self.rows += data.rows.unwrap_or_default() as u64;
            let file = file::File { table, data, committed_seq: snapshot.committed_seq };
            for problem in file.problems(content).await {
                self.findings.wrong(&data.name, problem, "restore the file from a copy");
            }
        }
    }

    /// Counts what lies below the table's directories and is not in the newest version.
    async fn unnamed(&mut self, places: &Places, named: &HashSet<String>) -> Result<()> {
        let (mut files, mut bytes) = count(&places.home, str::to_owned, named).await?;
        if let Some(cold) = &places.cold {
            let found = count(cold, |relative| cold.absolute(relative), named).await?;
            (files, bytes) = (files + found.0, bytes + found.1);
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

/// Files and bytes in a directory that the newest version does not name.
async fn count(place: &Place, name_of: impl Fn(&str) -> String, named: &HashSet<String>) -> Result<(u64, u64)> {
    let mut listed = place.store.list(Some(&place.prefix));
    let (mut files, mut bytes) = (0, 0);
    while let Some(found) = listed.try_next().await.context("cannot list the data files")? {
        let relative = place.relative(&found.location).unwrap_or_default();
        let is_data = !relative.starts_with(DELTA_LOG) && !relative.starts_with(DERIVED);
        if is_data && !named.contains(&name_of(&relative)) {
            files += 1;
            bytes += found.size;
        }
    }
    Ok((files, bytes))
}
