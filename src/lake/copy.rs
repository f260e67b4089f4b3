//! A table as of one version, copied to a local directory where it opens like any other. The log comes
//! first and at once, the files later and at leisure: the snapshot holds them. Never decides which
//! version: it is the newest there is.

use std::{
    ops::Add,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, path::Path};

use super::{
    storage::Place,
    store::{DELTA_LOG, FsyncStore},
    table::{LakeTable, Snapshot},
};
use crate::{
    disk::Disk,
    error::{Context, Error, Kind, Result},
};

/// Bytes of one file that are in memory at once.
const PART_BYTES: u64 = 8 << 20;
/// Files that are copied at the same time.
const AT_ONCE: usize = 4;
/// The file in the log that says which checkpoint is the newest.
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// A local directory that tables are copied into.
#[derive(Debug)]
pub struct CopyTarget {
    store: FsyncStore,
    root: Path,
}

/// What was copied, fsynced with its names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Add for Copied {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { files: self.files + other.files, bytes: self.bytes + other.bytes }
    }
}

impl CopyTarget {
    /// A directory that is there, will last, and is nobody else's.
    pub fn new(disk: Arc<dyn Disk>, directory: &FilePath) -> Result<Self> {
        let cannot = || format!("cannot write to the directory {}", directory.display());
        let absolute: PathBuf = directory.canonicalize().context(cannot())?;
        let root = Path::from_absolute_path(&absolute).context(cannot())?;
        Ok(Self { store: FsyncStore::new(disk, &absolute), root })
    }

    /// Where a table's file goes, by its name below the table's directory.
    fn path(&self, table: &LakeTable, name: &str) -> Path {
        let directory = self.root.clone().join(table.table().name());
        name.split('/').fold(directory, |path, part| path.join(part))
    }

    async fn copy_all(&self, sources: Vec<Source>) -> Result<Copied> {
        let copies = stream::iter(sources).map(|source| self.copy(source)).buffer_unordered(AT_ONCE);
        copies.try_fold(Copied::default(), async |sum, copied| Ok(sum + copied)).await
    }

    /// Copies a file, a part at a time.
    async fn copy(&self, source: Source) -> Result<Copied> {
        let Source { store, path, bytes, target } = source;
        let context = || format!("cannot copy {path}");
        let mut upload = self.store.put_multipart(&target).await.context(context())?;
        let mut offset = 0;
        while offset < bytes {
            let end = bytes.min(offset + PART_BYTES);
            let part = store.get_range(&path, offset..end).await.context(context())?;
            if part.len() as u64 != end - offset {
                return Err(Error::new(
                    Kind::Corrupt,
                    format!("{path} is shorter than the {bytes} bytes it should be"),
                ));
            }
            upload.put_part(part.into()).await.context(context())?;
            offset = end;
        }
        upload.complete().await.context(context())?;
        Ok(Copied { files: 1, bytes })
    }
}

/// A file to be copied.
struct Source {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
    /// Where its copy goes.
    target: Path,
}

impl LakeTable {
    /// Copies the log from its newest checkpoint on. The snapshot that comes back is what the copied log
    /// says, and keeps its files where they are until they are copied too.
    pub async fn copy_log(&self, target: &CopyTarget) -> Result<(Arc<Snapshot>, Copied)> {
        // Nobody commits to the log, checkpoints it or trims it while this is held.
        let mut state = self.writer.lock().await;
        // A commit whose outcome was unknown is in both, the snapshot and the copy, or in none.
        self.refresh(&mut state).await?;
        let snapshot = self.snapshot();
        let Place { store, prefix, .. } = &self.places.home;
        let directory = prefix.clone().join(DELTA_LOG);
        let listed: Vec<_> = store.list(Some(&directory)).try_collect().await.context("cannot list the Delta log")?;
        let entries: Vec<Entry> = listed
            .iter()
            .filter_map(|meta| Entry::new(name_in(&directory, &meta.location)?, meta.size))
            .filter(|entry| entry.version <= snapshot.version)
            .collect();
        let checkpoint = newest_checkpoint(&entries);
        let needed = entries.iter().filter(|entry| checkpoint.is_none_or(|version| entry.version >= version));
        let mut sources: Vec<_> =
            needed.map(|entry| self.log_source(&directory, &entry.name, entry.bytes, target)).collect();
        let hint = directory.clone().join(LAST_CHECKPOINT);
        if let Some(meta) = listed.iter().find(|meta| meta.location == hint) {
            let context = "cannot read the log's last checkpoint";
            let text = store.get(&hint).await.context(context)?.bytes().await.context(context)?;
            // Without it a reader lists the log, and finds the checkpoint that is there.
            if checkpoint.is_some() && version_of(&text) == checkpoint {
                sources.push(self.log_source(&directory, LAST_CHECKPOINT, meta.size, target));
            }
        }
        Ok((snapshot, target.copy_all(sources).await?))
    }

    /// Copies the files of a snapshot. Those that the log names by an address of their own stay there.
    pub async fn copy_files(&self, snapshot: &Snapshot, target: &CopyTarget) -> Result<Copied> {
        let files = snapshot.files.iter().filter(|file| !is_elsewhere(&file.name));
        let sources = files.map(|file| Source {
            store: Arc::clone(&file.store),
            path: file.path.clone(),
            bytes: file.bytes,
            target: target.path(self, &file.name),
        });
        target.copy_all(sources.collect()).await
    }

    fn log_source(&self, directory: &Path, name: &str, bytes: u64, target: &CopyTarget) -> Source {
        Source {
            store: Arc::clone(&self.places.home.store),
            path: directory.clone().join(name),
            bytes,
            target: target.path(self, &format!("{DELTA_LOG}/{name}")),
        }
    }
}

impl Snapshot {
    /// Files that the log names by an address of their own: a copy of the table names them too.
    pub fn files_elsewhere(&self) -> u64 {
        self.files.iter().filter(|file| is_elsewhere(&file.name)).count() as u64
    }
}

/// Whether the log names a file by an address of its own, and not by its place below the table.
fn is_elsewhere(name: &str) -> bool {
    name.contains("://")
}

/// A file of the log that belongs to a version.
#[derive(Debug)]
struct Entry {
    name: String,
    version: u64,
    bytes: u64,
}

impl Entry {
    /// A commit, a checkpoint or a part of one, or a checksum; all else is nobody's truth.
    fn new(name: &str, bytes: u64) -> Option<Self> {
        let (version, kind) = name.split_once('.')?;
        let is_entry = kind == "json" || kind == "crc" || kind.starts_with("checkpoint.");
        let version = version.parse().ok().filter(|_| version.len() == 20 && is_entry)?;
        Some(Self { name: name.to_owned(), version, bytes })
    }
}

/// The name of a file directly in a directory.
fn name_in<'a>(directory: &Path, path: &'a Path) -> Option<&'a str> {
    let name = path.as_ref().strip_prefix(directory.as_ref())?.strip_prefix('/')?;
    (!name.contains('/')).then_some(name)
}

/// The newest version that one file alone holds whole.
fn newest_checkpoint(entries: &[Entry]) -> Option<u64> {
    entries.iter().filter(|entry| entry.name.ends_with(".checkpoint.parquet")).map(|entry| entry.version).max()
}

/// The version that the last checkpoint's file says.
fn version_of(hint: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(hint).ok()?.get("version")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_version_is_told_by_its_name() {
        let version = |name: &str| Entry::new(name, 1).map(|entry| entry.version);
        for (name, expected) in [
            ("00000000000000000007.json", Some(7)),
            ("00000000000000000007.crc", Some(7)),
            ("00000000000000000050.checkpoint.parquet", Some(50)),
            ("00000000000000000050.checkpoint.0000000001.0000000002.parquet", Some(50)),
            ("_last_checkpoint", None),
            ("_commit_0.json.tmp", None),
            ("7.json", None),
            ("00000000000000000007.json.tmp", None),
            ("00000000000000000000.00000000000000000009.compacted.json", None),
        ] {
            assert_eq!(version(name), expected, "{name}");
        }
    }

    #[test]
    fn the_newest_checkpoint_is_one_that_is_whole() {
        let newest = |names: &[&str]| {
            newest_checkpoint(&names.iter().filter_map(|name| Entry::new(name, 1)).collect::<Vec<_>>())
        };
        let (json, whole) = ("00000000000000000099.json", "00000000000000000050.checkpoint.parquet");
        let part = "00000000000000000090.checkpoint.0000000001.0000000002.parquet";
        assert_eq!(newest(&[json, part]), None);
        assert_eq!(newest(&[json, part, whole]), Some(50));
        assert_eq!(version_of(br#"{"version":50,"size":9}"#), Some(50));
        assert_eq!((version_of(b"{"), version_of(b"")), (None, None));
    }

    #[test]
    fn files_with_an_address_of_their_own_are_elsewhere() {
        assert!(is_elsewhere("s3://bucket/cold/agent_logs/date=2026-05-14/part-1.parquet"));
        assert!(is_elsewhere("file:///mnt/cold/part-1.parquet"));
        assert!(!is_elsewhere("date=2026-05-14/part-1.zstd.parquet"));
    }
}
