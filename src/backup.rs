//! A copy of the whole data directory, taken while the daemon runs, which opens like any other. Never
//! decides what belongs together (that is `ingest`'s cut), and never removes anything but its own mark.
//!
//! A copy that is not finished holds the file [`INCOMPLETE`], from before its first byte until after its
//! last one is durable. No daemon opens such a directory: what is in it may lack acknowledged records.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    clock::Clock,
    disk::{self, Disk},
    error::{Context, Error, Kind, Result},
    ingest::Ingestor,
    lake::{Copied, CopyTarget},
};

/// The mark of a copy that is not finished.
const INCOMPLETE: &str = "BACKUP-INCOMPLETE";
/// What the mark says to those who look into it.
const EXPLANATION: &[u8] = b"This backup was not finished. Remove the directory and make another one.\n";
/// What the directory says of its format. It is the last file that a copy gets.
const FORMAT: &str = "FORMAT";

/// A backup that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = BackupDone)]
pub struct Done {
    /// Where it is, with all links followed.
    #[schema(value_type = String)]
    pub directory: PathBuf,
    /// The last batch in it: every batch up to this one is there, and none above.
    pub seq: u64,
    /// Rows of `agent_logs` in it.
    pub rows: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the cold store, which it names and does not have.
    pub cold_files: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Backups of one data directory, one at a time.
pub struct Backup {
    ingestor: Arc<Ingestor>,
    held: Held,
    disk: Arc<dyn Disk>,
    clock: Clock,
    running: tokio::sync::Mutex<()>,
}

/// Directories that are in use; no backup goes there.
#[derive(Debug)]
pub struct Held {
    /// The data directory.
    pub data: PathBuf,
    /// Where tables are, if it is on this machine and not in the data directory.
    pub tables: Vec<PathBuf>,
}

impl Backup {
    /// Backups of an open data directory onto a disk.
    pub fn new(ingestor: Arc<Ingestor>, held: Held, disk: Arc<dyn Disk>, clock: Clock) -> Result<Self> {
        let real = |path: PathBuf| path.canonicalize().context(format!("cannot find {}", path.display()));
        let held = Held { data: real(held.data)?, tables: held.tables.into_iter().map(real).collect::<Result<_>>()? };
        Ok(Self { ingestor, held, disk, clock, running: tokio::sync::Mutex::default() })
    }

    /// Writes a copy into a directory that is missing or empty; returns once all of it is durable. Requests
    /// go on meanwhile; flushes wait until all but the data files is copied.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] when the directory is not one to write to, [`Kind::Conflict`] when another backup
    /// is being written. After any other error the directory holds a part that no daemon opens.
    pub async fn run(&self, directory: &Path) -> Result<Done> {
        let Ok(_alone) = self.running.try_lock() else {
            return Err(Error::new(Kind::Conflict, "a backup is being written: try again once it is done"));
        };
        let started_us = self.clock.now_us();
        let directory = place(directory, &self.held)?;
        self.blocking(&directory, begin).await?;
        let target = CopyTarget::new(Arc::clone(&self.disk), &directory.join("tables"))?;
        let cut = self.ingestor.cut(&directory, &target).await?;
        let mut copied = cut.copied;
        let mut cold_files = 0;
        for (table, snapshot) in &cut.tables {
            cold_files += snapshot.files_elsewhere();
            copied = copied + table.copy_files(snapshot, &target).await?;
        }
        let data = self.held.data.clone();
        copied = copied + self.blocking(&directory, move |disk, directory| finish(disk, &data, directory)).await?;
        let Copied { files, bytes } = copied;
        tracing::info!(directory = %directory.display(), seq = cut.seq, files, bytes, "wrote a backup");
        let seconds = (self.clock.now_us() - started_us).max(0) as f64 / 1e6;
        Ok(Done { directory, seq: cut.seq, rows: cut.rows, files, bytes, cold_files, seconds })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        directory: &Path,
        work: impl FnOnce(&dyn Disk, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (disk, directory) = (Arc::clone(&self.disk), directory.to_owned());
        let context = format!("cannot write the backup to {}", directory.display());
        let written = tokio::task::spawn_blocking(move || work(disk.as_ref(), &directory)).await;
        written.context("a backup stopped")?.context(context)
    }
}

/// Refuses a directory that holds a backup which was not finished.
///
/// # Errors
///
/// [`Kind::Conflict`], or [`Kind::Internal`] when it cannot be told.
pub fn refuse_incomplete(directory: &Path) -> Result<()> {
    let mark = directory.join(INCOMPLETE);
    if !mark.try_exists().context(format!("cannot look for {}", mark.display()))? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        format!(
            "{} holds a backup that was not finished and may lack records: remove it, and restore another one",
            directory.display()
        ),
    ))
}

/// Makes the mark, and only then the rest.
fn begin(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    disk::create_directories(disk, directory)?;
    // The name decides between two servers that were given the same empty directory.
    let mut mark = disk.create_new_file(&directory.join(INCOMPLETE))?;
    mark.write_all_at(0, EXPLANATION)?;
    mark.sync_all()?;
    disk.sync_directory(directory)?;
    for name in ["wal", "tables"] {
        disk::create_directory_durably(disk, directory, &directory.join(name))?;
    }
    Ok(())
}

/// Takes the mark away, once all else lasts.
fn finish(disk: &dyn Disk, data: &Path, directory: &Path) -> io::Result<Copied> {
    let format = data.join(FORMAT);
    let bytes = fs::metadata(&format)?.len();
    disk::copy_file(disk, &format, &directory.join(FORMAT), bytes)?;
    disk.sync_directory(directory)?;
    disk.remove_file(&directory.join(INCOMPLETE))?;
    disk.sync_directory(directory)?;
    Ok(Copied { files: 1, bytes })
}

/// The directory of a copy, with all links followed.
fn place(directory: &Path, held: &Held) -> Result<PathBuf> {
    let shown = directory.display();
    if !directory.is_absolute() {
        return Err(Error::invalid(format!("{shown} is a relative path: name the directory from the root on")));
    }
    let place = resolved(directory).kind_context(Kind::Invalid, || format!("{shown} cannot be a directory"))?;
    let meets = |other: &&PathBuf| place.starts_with(other) || other.starts_with(&place);
    if let Some(other) = held.tables.iter().chain([&held.data]).find(meets) {
        return Err(Error::invalid(format!(
            "{shown} lies in {}, where the data is, or around it: name a directory beside it",
            other.display()
        )));
    }
    let first = match fs::read_dir(&place) {
        Ok(mut entries) => entries.next(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    };
    match first.transpose().kind_context(Kind::Invalid, || format!("{shown} cannot be read"))? {
        None => Ok(place),
        Some(_) if place.join(INCOMPLETE).exists() => Err(Error::invalid(format!(
            "{shown} holds a backup that was not finished: remove it, or name another directory"
        ))),
        Some(_) => Err(Error::invalid(format!("{shown} is not empty: name a directory that is, or that is missing"))),
    }
}

/// The path without links and dots, though its end may be missing.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (parent, last) = path.parent().zip(path.components().next_back()).ok_or(error)?;
            match last {
                Component::Normal(name) => Ok(resolved(parent)?.join(name)),
                _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is missing", parent.display()))),
            }
        }
        found => found,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_goes_beside_the_data_directory() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let data = root.join("data");
        for name in ["data/wal", "tables/agent_logs", "empty", "full/x", "half"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("half").join(INCOMPLETE), "").unwrap();
        fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink(&data, root.join("link")).unwrap();
        let held = Held { data: data.clone(), tables: vec![root.join("tables")] };
        let check = |name: &str, expected: Result<&str, &str>| {
            let found = place(&root.join(name), &held);
            match expected {
                Ok(expected) => assert_eq!(found.unwrap(), root.join(expected), "{name}"),
                Err(words) => {
                    let error = found.unwrap_err();
                    assert!(error.kind() == Kind::Invalid && error.chain().contains(words), "{name}: {error:?}");
                }
            }
        };
        check("empty", Ok("empty"));
        check("new", Ok("new"));
        check("new/below", Ok("new/below"));
        check("data/../new", Ok("new"));
        check("data-of-another-name", Ok("data-of-another-name"));
        check("full", Err("is not empty"));
        check("half", Err("was not finished"));
        check("file", Err("cannot be read"));
        check("file/below", Err("cannot be a directory"));
        check("new/../other", Err("is missing"));
        check("data", Err("where the data is"));
        check("data/wal", Err("where the data is"));
        check("data/backup/new", Err("where the data is"));
        check("tables/agent_logs/backup", Err("where the data is"));
        check("link/backup", Err("where the data is"));
        check("", Err("or around it"));
        let error = place(Path::new("backup"), &held).unwrap_err();
        assert!(error.chain().contains("relative path"), "{error:?}");
    }

    #[test]
    fn a_mark_refuses_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        refuse_incomplete(directory.path()).unwrap();
        refuse_incomplete(&directory.path().join("missing")).unwrap();
        fs::write(directory.path().join(INCOMPLETE), EXPLANATION).unwrap();
        assert_eq!(refuse_incomplete(directory.path()).unwrap_err().kind(), Kind::Conflict);
    }
}
