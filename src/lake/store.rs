//! A local object store whose success means "on disk": object_store's own never fsyncs, and a file
//! that the Delta log names must not vanish with the power. Reads go straight through, but for
//! listings: what they show must last, because others build on it.

use std::{
    collections::HashSet,
    fmt, fs, io,
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart, local::LocalFileSystem,
    path::Path,
};

use crate::disk::{self, Disk, DiskFile};

/// The directory of a table's log, where a name decides what counts.
pub(super) const DELTA_LOG: &str = "_delta_log";

/// Makes durable what an earlier process named in a Delta log and perhaps did not live to fsync:
/// this one takes it as committed. And removes files that never got their names.
pub(super) fn settle(disk: &dyn Disk, directory: &FilePath) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            settle(disk, &entry.path())?;
        } else if is_staging(&entry.file_name().to_string_lossy()) {
            disk.remove_file(&entry.path())?;
        }
    }
    if directory.ends_with(DELTA_LOG) { disk.sync_directory(directory) } else { Ok(()) }
}

/// A local file system that fsyncs the file and its directory before it reports success.
#[derive(Debug)]
pub struct FsyncStore {
    inner: LocalFileSystem,
    places: Arc<Places>,
}

impl FsyncStore {
    /// A store whose writes go to the disk, below a directory that will last.
    pub fn new(disk: Arc<dyn Disk>, root: &FilePath) -> Self {
        let places = Places {
            disk,
            staged: AtomicU64::new(0),
            durable: Mutex::new(HashSet::from([root.to_owned()])),
            unsettled: Mutex::default(),
        };
        Self { inner: LocalFileSystem::new(), places: Arc::new(places) }
    }

    async fn write<T: Send + 'static>(
        &self,
        location: &Path,
        work: impl FnOnce(&Places, &FilePath) -> io::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let path = self.inner.path_to_filesystem(location)?;
        let places = Arc::clone(&self.places);
        blocking(move || work(&places, &path).map_err(|error| failed(&path, error))).await
    }
}

impl fmt::Display for FsyncStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FsyncStore({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for FsyncStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let placement = match options.mode {
            PutMode::Overwrite => Placement::Replace,
            PutMode::Create => Placement::Create,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, options).await,
        };
        self.write(location, move |places, path| places.put(path, &payload, placement)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let (file, staging) = self.write(location, Places::stage).await?;
        let upload = Upload { path, staging, places: Arc::clone(&self.places), file: Mutex::new(Some(file)) };
        Ok(Box::new(FsyncUpload { upload: Arc::new(upload), written: Arc::default(), bytes: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let (inner, places) = (self.inner.clone(), Arc::clone(&self.places));
        let delete = move |location: Path| {
            let (path, places) = (inner.path_to_filesystem(&location), Arc::clone(&places));
            async move {
                let path = path?;
                // A deletion that power loss undoes leaves a file that nobody names, which is no loss.
                blocking(move || places.disk.remove_file(&path).map_err(|error| failed(&path, error))).await?;
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (inner, prefix) = (self.inner.clone(), prefix.cloned());
        let listing = settled(Arc::clone(&self.places)).map_ok(move |()| inner.list(prefix.as_ref()));
        listing.try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        settled(Arc::clone(&self.places)).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        let source = self.inner.path_to_filesystem(from)?;
        let placement = match options.mode {
            CopyMode::Overwrite => Placement::Replace,
            CopyMode::Create => Placement::Create,
        };
        let payload = blocking(move || fs::read(&source).map_err(|error| failed(&source, error))).await?;
        self.write(to, move |places, path| places.put(path, &PutPayload::from(payload), placement)).await
    }
}

/// What happens to a file that is already there.
#[derive(Debug, Clone, Copy)]
enum Placement {
    Replace,
    Create,
}

/// The names of files, and which of them last.
#[derive(Debug)]
struct Places {
    disk: Arc<dyn Disk>,
    /// Counts staging files, so that two of one place have different names.
    staged: AtomicU64,
    /// Directories that this process has synced into their parents, or was given as such. That one is
    /// there proves nothing: the sync after it was made may have failed.
    durable: Mutex<HashSet<PathBuf>>,
    /// Directories where a file got its name and the sync that followed failed.
    unsettled: Mutex<HashSet<PathBuf>>,
}

impl Places {
    /// Writes beside, fsyncs, then gives the file its name and fsyncs the directory: at no point can
    /// the name show half a file, not even after power loss.
    fn put(&self, path: &FilePath, payload: &PutPayload, placement: Placement) -> io::Result<()> {
        let (mut file, staging) = self.stage(path)?;
        let mut offset = 0;
        let written = payload.iter().try_for_each(|chunk| {
            let start = offset;
            offset += chunk.len() as u64;
            file.write_all_at(start, chunk)
        });
        let placed = written.and_then(|()| self.place(file, &staging, path, placement));
        if placed.is_err() {
            // It may have its name already; then this one is gone.
            let _ = self.disk.remove_file(&staging);
        }
        placed
    }

    /// Opens a file beside the place where it will stand.
    fn stage(&self, path: &FilePath) -> io::Result<(Box<dyn DiskFile>, PathBuf)> {
        self.ensure_directory(directory_of(path))?;
        loop {
            let mut name = path.as_os_str().to_owned();
            // object_store's listing hides names that end in `#` and digits.
            name.push(format!("#{}", self.staged.fetch_add(1, Ordering::Relaxed)));
            let staging = PathBuf::from(name);
            match self.disk.create_new_file(&staging) {
                // Emptying it instead could empty a file of the log: a crash may have left a staging
                // name beside the final one, both of the same file.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return Ok((opened?, staging)),
            }
        }
    }

    /// Gives a staged file its name, once its bytes last.
    fn place(
        &self,
        mut file: Box<dyn DiskFile>,
        staging: &FilePath,
        path: &FilePath,
        placement: Placement,
    ) -> io::Result<()> {
        file.sync_all()?;
        drop(file);
        match placement {
            Placement::Replace => self.disk.rename(staging, path)?,
            // A hard link fails where the name is taken; a rename would replace it.
            Placement::Create => {
                self.disk.hard_link(staging, path)?;
                // The name decides; a staging name that stays beside it is hidden, and goes at a start.
                let _ = self.disk.remove_file(staging);
            }
        }
        let directory = directory_of(path);
        let synced = self.disk.sync_directory(directory);
        if synced.is_err() {
            lock(&self.unsettled).insert(directory.to_owned());
        }
        synced
    }

    /// Syncs directories whose last sync failed. Until that succeeds they must not be listed: a commit
    /// that was reported as failed is visible there, and whoever takes it as done lets go of the rows.
    fn settle(&self) -> io::Result<()> {
        let mut unsettled = lock(&self.unsettled);
        for directory in unsettled.clone() {
            self.disk.sync_directory(&directory)?;
            unsettled.remove(&directory);
        }
        Ok(())
    }

    /// Makes the directory and those above it, up to one that lasts; each is synced into its parent.
    fn ensure_directory(&self, directory: &FilePath) -> io::Result<()> {
        if lock(&self.durable).contains(directory) {
            return Ok(());
        }
        if let Some(parent) = directory.parent() {
            self.ensure_directory(parent)?;
            disk::create_directory_durably(self.disk.as_ref(), parent, directory)?;
        }
        lock(&self.durable).insert(directory.to_owned());
        Ok(())
    }
}

async fn settled(places: Arc<Places>) -> StoreResult<()> {
    if lock(&places.unsettled).is_empty() {
        return Ok(());
    }
    blocking(move || places.settle().map_err(|error| failed(FilePath::new(DELTA_LOG), error))).await
}

/// Whether this is a name from [`Places::stage`].
fn is_staging(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, count)| !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()))
}

fn directory_of(path: &FilePath) -> &FilePath {
    path.parent().unwrap_or(FilePath::new("/"))
}

fn failed(path: &FilePath, source: io::Error) -> object_store::Error {
    let place = path.display().to_string();
    match source.kind() {
        io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path: place, source: source.into() },
        io::ErrorKind::NotFound => object_store::Error::NotFound { path: place, source: source.into() },
        kind => {
            let source = Box::new(io::Error::new(kind, format!("{place}: {source}")));
            object_store::Error::Generic { store: "FsyncStore", source }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> StoreResult<T> + Send + 'static) -> StoreResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| object_store::Error::Generic { store: "FsyncStore", source: Box::new(error) })?
}

/// A multipart upload that gets its name when it completes, on disk. Parts may be written in any
/// order; each has its place from when it was put.
#[derive(Debug)]
struct FsyncUpload {
    upload: Arc<Upload>,
    /// Bytes of the parts that are written.
    written: Arc<AtomicU64>,
    /// Bytes of all parts.
    bytes: u64,
}

#[derive(Debug)]
struct Upload {
    path: PathBuf,
    staging: PathBuf,
    places: Arc<Places>,
    /// `None` once it is complete or given up.
    file: Mutex<Option<Box<dyn DiskFile>>>,
}

#[async_trait::async_trait]
impl MultipartUpload for FsyncUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (upload, written) = (Arc::clone(&self.upload), Arc::clone(&self.written));
        let mut offset = self.bytes;
        self.bytes += data.content_length() as u64;
        let work = move || {
            let mut open = lock(&upload.file);
            let file = open.as_mut().ok_or_else(|| ended(&upload.path))?;
            for chunk in data.iter() {
                file.write_all_at(offset, chunk).map_err(|error| failed(&upload.path, error))?;
                offset += chunk.len() as u64;
            }
            written.fetch_add(data.content_length() as u64, Ordering::Relaxed);
            Ok(())
        };
        blocking(work).boxed()
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let (upload, written, bytes) = (Arc::clone(&self.upload), Arc::clone(&self.written), self.bytes);
        blocking(move || {
            let file = lock(&upload.file).take().ok_or_else(|| ended(&upload.path))?;
            let placed = if written.load(Ordering::Relaxed) == bytes {
                upload.places.place(file, &upload.staging, &upload.path, Placement::Replace)
            } else {
                Err(io::Error::other("a part of the upload is not written"))
            };
            placed.map_err(|error| {
                let _ = upload.places.disk.remove_file(&upload.staging);
                failed(&upload.path, error)
            })
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let upload = Arc::clone(&self.upload);
        blocking(move || {
            lock(&upload.file).take().ok_or_else(|| ended(&upload.path))?;
            upload.places.disk.remove_file(&upload.staging).map_err(|error| failed(&upload.staging, error))
        })
        .await
    }
}

fn ended(path: &FilePath) -> object_store::Error {
    failed(path, io::Error::other("the upload has ended"))
}
