//! A local object store whose success means "on disk": object_store's own never fsyncs, and a file
//! that the Delta log names must not vanish with the power. Reads go straight through.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart, local::LocalFileSystem,
    path::Path,
};
use url::Url;

use crate::error::{Context, Error, Result};

/// Where the tables live: a store whose root is the root of all paths, and the URL of the directory
/// that holds the tables.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The directory of the tables; ends with a slash.
    pub root: Url,
}

impl Storage {
    /// Tables under a local directory, which must exist.
    pub fn local(directory: &FilePath) -> Result<Self> {
        let absolute =
            directory.canonicalize().context(format!("cannot find the directory {}", directory.display()))?;
        let root = Url::from_directory_path(&absolute)
            .map_err(|()| Error::invalid(format!("{} cannot be written as a URL", absolute.display())))?;
        Ok(Self { store: Arc::new(FsyncStore::default()), root })
    }

    /// The URL of a table.
    pub fn table_url(&self, name: &str) -> Result<Url> {
        self.root.join(&format!("{name}/")).context("cannot name a table's directory")
    }
}

/// A local file system that fsyncs the file and its directory before it reports success.
#[derive(Debug, Default)]
pub struct FsyncStore {
    inner: LocalFileSystem,
    staged: AtomicU64,
}

impl fmt::Display for FsyncStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FsyncStore({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for FsyncStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let mode = match options.mode {
            PutMode::Overwrite => Placement::Replace,
            PutMode::Create => Placement::Create,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, options).await,
        };
        let path = self.inner.path_to_filesystem(location)?;
        // object_store's listing hides names that end in `#` and digits.
        let staging = suffixed(&path, &format!("#{}", self.staged.fetch_add(1, Ordering::Relaxed)));
        blocking(move || put_durably(&path, &staging, &payload, mode)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let directory = path.clone();
        blocking(move || {
            directory.parent().map_or(Ok(()), ensure_directory).map_err(|source| failed(&directory, source))
        })
        .await?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(FsyncUpload { inner, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        // A deletion that power loss undoes leaves an unreferenced file, which is no loss.
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        let source = self.inner.path_to_filesystem(from)?;
        let target = self.inner.path_to_filesystem(to)?;
        let staging = suffixed(&target, &format!("#{}", self.staged.fetch_add(1, Ordering::Relaxed)));
        let placement = match options.mode {
            CopyMode::Overwrite => Placement::Replace,
            CopyMode::Create => Placement::Create,
        };
        blocking(move || {
            let bytes = fs::read(&source).map_err(|error| failed(&source, error))?;
            put_durably(&target, &staging, &PutPayload::from(bytes), placement)
        })
        .await
    }
}

/// What happens to a file that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    Replace,
    Create,
}

/// Writes beside, fsyncs, then gives the file its name and fsyncs the directory: at no point can the
/// name show half a file, not even after power loss.
fn put_durably(path: &FilePath, staging: &FilePath, payload: &PutPayload, placement: Placement) -> StoreResult<()> {
    let directory = path.parent().unwrap_or(FilePath::new("/"));
    let written = (|| {
        ensure_directory(directory)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(staging)?;
        payload.iter().try_for_each(|chunk| file.write_all(chunk))?;
        file.sync_all()
    })();
    let placed = written.and_then(|()| match placement {
        Placement::Replace => fs::rename(staging, path),
        // A hard link fails where the name is taken; a rename would replace it.
        Placement::Create => fs::hard_link(staging, path).and_then(|()| fs::remove_file(staging)),
    });
    if let Err(source) = placed.and_then(|()| sync_directory(directory)) {
        let _ = fs::remove_file(staging);
        return Err(if source.kind() == io::ErrorKind::AlreadyExists {
            object_store::Error::AlreadyExists { path: path.display().to_string(), source: source.into() }
        } else {
            failed(path, source)
        });
    }
    Ok(())
}

/// Creates a directory and its parents, each fsynced into its own parent.
fn ensure_directory(directory: &FilePath) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        ensure_directory(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_directory(parent)?,
        }
    }
    Ok(())
}

fn sync_directory(directory: &FilePath) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn suffixed(path: &FilePath, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(path: &FilePath, source: io::Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "FsyncStore",
        source: Box::new(io::Error::new(source.kind(), format!("{}: {source}", path.display()))),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> StoreResult<T> + Send + 'static) -> StoreResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| object_store::Error::Generic { store: "FsyncStore", source: Box::new(error) })?
}

/// A multipart upload that is on disk when it completes.
#[derive(Debug)]
struct FsyncUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait::async_trait]
impl MultipartUpload for FsyncUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let result = self.inner.complete().await?;
        let path = self.path.clone();
        blocking(move || {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .and_then(|()| path.parent().map_or(Ok(()), sync_directory))
                .map_err(|source| failed(&path, source))
        })
        .await?;
        Ok(result)
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.inner.abort().await
    }
}
