//! Where tables live: a directory of this machine, or an object store by URL. Never reads the
//! environment: what a cloud's client takes from there is handed in.

use std::{collections::BTreeMap, path::Path as FilePath, sync::Arc, time::Duration};

use bytes::Bytes;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, aws::AmazonS3Builder,
    path::Path, prefix::PrefixStore,
};
use url::{Position, Url};

use super::{
    remote::RemoteStore,
    store::{FsyncStore, settle},
};
use crate::{
    disk::{self, Disk, SystemDisk},
    error::{Context, Error, Kind, Result},
    record::Table,
};

/// The object that says whose the tables are.
const OWNER: &str = "driftline-owner";

/// How a store over the network is reached.
#[derive(Debug, Clone)]
pub struct Remote {
    /// A request without an answer is given up after this.
    pub request_timeout: Duration,
    /// A request that fails is tried again for so long.
    pub retry_timeout: Duration,
    /// Variables of the cloud's own names: `AWS_ENDPOINT_URL`, `AWS_REGION`, keys.
    pub environment: BTreeMap<String, String>,
}

/// Where the tables live: a store whose root is the root of all paths, and the URL of the directory
/// that holds the tables.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The directory of the tables; ends with a slash.
    pub root: Url,
}

/// One table's directory.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The directory; ends with a slash.
    pub url: Url,
    /// The directory in the store.
    pub prefix: Path,
}

impl Storage {
    /// Tables under a local directory, which must exist, on the machine's own disk.
    pub fn local(directory: &FilePath) -> Result<Self> {
        Self::local_on(directory, Arc::new(SystemDisk))
    }

    /// Tables under a local directory, which must exist and be nobody else's: what an upload of an
    /// earlier process left half done is removed.
    pub fn local_on(directory: &FilePath, disk: Arc<dyn Disk>) -> Result<Self> {
        let storage = Self::found_on(directory, Arc::clone(&disk))?;
        let absolute = storage.root.to_file_path().unwrap_or_else(|()| directory.to_owned());
        settle(disk.as_ref(), &absolute)
            .context(format!("cannot take over the tables under {}", directory.display()))?;
        Ok(storage)
    }

    /// Takes over what an earlier process left at a [URL](Self::at): its half uploads are removed from the tables'
    /// directories, and what it named in the tables' logs is made durable. Not before the tables are ours: the uploads
    /// may be another one's, which runs. Elsewhere than on a local disk there is nothing to do.
    pub fn settle(&self, disk: &dyn Disk) -> Result<()> {
        let Ok(directory) = self.root.to_file_path() else { return Ok(()) };
        let tables = Table::ALL.iter().map(|table| directory.join(table.name())).filter(|table| table.is_dir());
        for table in tables {
            settle(disk, &table).context(format!("cannot take over the table under {}", table.display()))?;
        }
        Ok(())
    }

    fn found_on(directory: &FilePath, disk: Arc<dyn Disk>) -> Result<Self> {
        let absolute =
            directory.canonicalize().context(format!("cannot find the directory {}", directory.display()))?;
        let root = Url::from_directory_path(&absolute)
            .map_err(|()| Error::invalid(format!("{} cannot be written as a URL", absolute.display())))?;
        Ok(Self { store: Arc::new(FsyncStore::new(disk, &absolute)), root })
    }

    /// Tables below a URL: `s3://bucket/path`, `file:///path`, and `gs://` and `az://` where they are
    /// built in. A local directory is created.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that says what is wrong with the URL or which variable the cloud's client
    /// misses. Whether the store answers is not asked, and a local one is not [settled](Self::settle).
    pub fn at(url: &str, remote: &Remote, disk: Arc<dyn Disk>) -> Result<Self> {
        let mut root = Url::parse(url).kind_context(Kind::Invalid, || format!("{url} is no URL of a store"))?;
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        let store: Arc<dyn ObjectStore> = match root.scheme() {
            "file" => {
                let directory =
                    root.to_file_path().map_err(|()| Error::invalid(format!("{url} names no local directory")))?;
                disk::create_directories(disk.as_ref(), &directory)
                    .context(format!("cannot create the directory {}", directory.display()))?;
                return Self::found_on(&directory, disk);
            }
            "s3" | "s3a" => s3(&root, remote)?,
            #[cfg(feature = "gcs")]
            "gs" => gcs(&root, remote)?,
            #[cfg(feature = "azure")]
            "az" | "azure" | "abfs" | "abfss" => azure(&root, remote)?,
            other => return Err(Error::invalid(format!("this build has no store for {other}:// ({url})"))),
        };
        Ok(Self { store, root })
    }

    /// Takes the tables for one data directory, by its name. Two that write to the same tables would
    /// delete each other's files. Whether they were nobody's before.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when they are another one's.
    pub async fn claim(&self, owner: &str) -> Result<bool> {
        let path = self.path()?.join(OWNER);
        if let Some(found) = self.owner(&path).await? {
            return self.is_ours(&found, owner).map(|()| false);
        }
        let payload = PutPayload::from(format!("{owner}\n"));
        let Err(error) = self.store.put_opts(&path, payload, PutOptions::from(PutMode::Create)).await else {
            return Ok(true);
        };
        // Perhaps by ourselves: the store may have taken what it was sent and lost its answer.
        match self.owner(&path).await? {
            Some(found) => self.is_ours(&found, owner).map(|()| true),
            None => Err(error).context(format!("cannot write to {}", self.root)),
        }
    }

    /// Whether the tables are free, or taken by this name.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when they are another one's.
    pub async fn check_owner(&self, owner: &str) -> Result<()> {
        let found = self.owner(&self.path()?.join(OWNER)).await?;
        found.map_or(Ok(()), |found| self.is_ours(&found, owner))
    }

    async fn owner(&self, path: &Path) -> Result<Option<Bytes>> {
        let context = || format!("cannot read {}{OWNER}", self.root);
        match self.store.get(path).await {
            Ok(found) => found.bytes().await.map(Some).context(context()),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).context(context()),
        }
    }

    fn is_ours(&self, found: &[u8], owner: &str) -> Result<()> {
        if found.trim_ascii() == owner.as_bytes() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!(
                "{0} holds the tables of another data directory: choose another URL, or delete {0}{OWNER} if that \
                 directory is gone for good",
                self.root
            ),
        ))
    }

    fn table_url(&self, name: &str) -> Result<Url> {
        self.root.join(&format!("{name}/")).context("cannot name a table's directory")
    }

    /// A table's directory.
    pub(super) fn place(&self, name: &str) -> Result<Place> {
        let url = self.table_url(name)?;
        let prefix = path_of(&url)?;
        Ok(Place { store: Arc::clone(&self.store), url, prefix })
    }

    pub(super) fn path(&self) -> Result<Path> {
        path_of(&self.root)
    }
}

/// Whether one directory of tables lies within the other. Local ones are as [`Storage::root`] has them.
pub fn overlap(one: &Url, other: &Url) -> bool {
    // One scheme goes by two names.
    let [one, other] = [one, other].map(|url| url.as_str().replacen("s3a://", "s3://", 1));
    one.starts_with(&other) || other.starts_with(&one)
}

impl Place {
    /// The log of a table here.
    pub fn log_store(&self) -> LogStoreRef {
        let prefixed = Arc::new(PrefixStore::new(Arc::clone(&self.store), self.prefix.clone()));
        default_logstore(prefixed, Arc::clone(&self.store), &self.url, &StorageConfig::default())
    }

    /// Where a file of the directory is in the store.
    pub fn path_of(&self, relative: &str) -> Path {
        relative.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// The part of a path that is below the directory.
    pub fn relative(&self, path: &Path) -> Option<String> {
        let parts: Vec<_> = path.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }

    /// The absolute name of a file of the directory, as a Delta log holds it: decoded.
    pub fn absolute(&self, relative: &str) -> String {
        let decoded = Path::from_url_path(self.url.path()).map_or_else(|_| String::new(), String::from);
        let root = &self.url[..Position::BeforePath];
        format!("{root}/{decoded}/{relative}")
    }
}

fn path_of(url: &Url) -> Result<Path> {
    Path::from_url_path(url.path()).context(format!("cannot read the path of {url}"))
}

fn retries(remote: &Remote) -> RetryConfig {
    RetryConfig { retry_timeout: remote.retry_timeout, ..RetryConfig::default() }
}

fn client(remote: &Remote) -> ClientOptions {
    ClientOptions::new().with_timeout(remote.request_timeout)
}

/// The variables that a cloud's client knows, by its own reading of their names.
fn options<K: std::str::FromStr>(remote: &Remote) -> impl Iterator<Item = (K, &str)> {
    remote
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.as_str())))
}

fn s3(root: &Url, remote: &Remote) -> Result<Arc<dyn ObjectStore>> {
    let builder = AmazonS3Builder::new().with_client_options(client(remote)).with_retry(retries(remote));
    let builder = options(remote).fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let store = builder.with_url(root.as_str()).build();
    let store = store.kind_context(Kind::Invalid, || format!("cannot use {root}"))?;
    Ok(Arc::new(RemoteStore::new(store, remote.retry_timeout)))
}

#[cfg(feature = "gcs")]
fn gcs(root: &Url, remote: &Remote) -> Result<Arc<dyn ObjectStore>> {
    let builder = object_store::gcp::GoogleCloudStorageBuilder::new()
        .with_client_options(client(remote))
        .with_retry(retries(remote));
    let builder = options(remote).fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let store = builder.with_url(root.as_str()).build();
    let store = store.kind_context(Kind::Invalid, || format!("cannot use {root}"))?;
    Ok(Arc::new(RemoteStore::new(store, remote.retry_timeout)))
}

#[cfg(feature = "azure")]
fn azure(root: &Url, remote: &Remote) -> Result<Arc<dyn ObjectStore>> {
    let builder = object_store::azure::MicrosoftAzureBuilder::new()
        .with_client_options(client(remote))
        .with_retry(retries(remote));
    let builder = options(remote).fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let store = builder.with_url(root.as_str()).build();
    let store = store.kind_context(Kind::Invalid, || format!("cannot use {root}"))?;
    Ok(Arc::new(RemoteStore::new(store, remote.retry_timeout)))
}
