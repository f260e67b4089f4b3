//! An object store over the network, where its client leaves things open: a read that breaks off in the middle
//! of its answer is made again, and an upload that nobody ends is given up, so that its parts do not stay in
//! the store. Never makes a write again: whether one counts is asked of the Delta log.

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart, client::HttpError, path::Path,
};
use tokio::{runtime::Handle, time::Instant};

/// The pause before a read is made again; it doubles from one to the next.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A store over the network. Its client tries requests again that get no answer or a bad one, but no answer
/// that ends too early: of a listing, or of an error.
#[derive(Debug)]
pub(super) struct RemoteStore {
    inner: Arc<dyn ObjectStore>,
    retry_timeout: Duration,
    pause: Duration,
}

impl RemoteStore {
    /// Reads are made again until so long after their beginning.
    pub fn new(inner: impl ObjectStore, retry_timeout: Duration) -> Self {
        Self { inner: Arc::new(inner), retry_timeout, pause: PAUSE }
    }

    fn patience(&self) -> Patience {
        Patience { ends: Instant::now() + self.retry_timeout, pause: self.pause }
    }

    fn listing(&self, prefix: Option<&Path>, after: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let listing = Listing {
            store: Arc::clone(&self.inner),
            prefix: prefix.cloned(),
            after: after.cloned(),
            page: None,
            patience: self.patience(),
        };
        stream::try_unfold(listing, Listing::next).boxed()
    }
}

impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for RemoteStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(RemoteUpload { location: location.clone(), open: Some(upload) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let mut patience = self.patience();
        loop {
            match self.inner.get_opts(location, options.clone()).await {
                Err(error) => patience.wait_after(error).await?,
                found => return found,
            }
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.listing(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.listing(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let mut patience = self.patience();
        loop {
            match self.inner.list_with_delimiter(prefix).await {
                Err(error) => patience.wait_after(error).await?,
                found => return found,
            }
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A listing that goes on behind the last name where it breaks off: names come in their order.
struct Listing {
    store: Arc<dyn ObjectStore>,
    prefix: Option<Path>,
    /// Names up to this one are not asked for, or known.
    after: Option<Path>,
    page: Option<BoxStream<'static, StoreResult<ObjectMeta>>>,
    patience: Patience,
}

impl Listing {
    async fn next(mut self) -> StoreResult<Option<(ObjectMeta, Self)>> {
        loop {
            let mut page = self.page.take().unwrap_or_else(|| self.ask());
            match page.try_next().await {
                Ok(Some(found)) => {
                    self.after = Some(found.location.clone());
                    self.page = Some(page);
                    return Ok(Some((found, self)));
                }
                Ok(None) => return Ok(None),
                Err(error) => self.patience.wait_after(error).await?,
            }
        }
    }

    fn ask(&self) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match &self.after {
            Some(after) => self.store.list_with_offset(self.prefix.as_ref(), after),
            None => self.store.list(self.prefix.as_ref()),
        }
    }
}

/// How long a read is made again.
struct Patience {
    ends: Instant,
    pause: Duration,
}

impl Patience {
    /// Waits before the read is made again.
    ///
    /// # Errors
    ///
    /// This one, where it says that no other try would help, or where the time is over.
    async fn wait_after(&mut self, error: object_store::Error) -> StoreResult<()> {
        if !is_of_transport(&error) || Instant::now() + self.pause > self.ends {
            return Err(error);
        }
        tracing::debug!(error = %error, "a read of the store broke off and is made again");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// Whether an answer did not come, or not to its end. What the store says in a whole answer is another matter.
fn is_of_transport(error: &object_store::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An upload that is given up where it is let go before it is complete.
#[derive(Debug)]
struct RemoteUpload {
    location: Path,
    /// `None` once it is complete or given up.
    open: Option<Box<dyn MultipartUpload>>,
}

impl RemoteUpload {
    fn ended(&self) -> object_store::Error {
        let source = format!("the upload of {} has ended", self.location).into();
        object_store::Error::Generic { store: "RemoteStore", source }
    }
}

#[async_trait::async_trait]
impl MultipartUpload for RemoteUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match &mut self.open {
            Some(upload) => upload.put_part(data),
            None => future::ready(Err(self.ended())).boxed(),
        }
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let Some(upload) = &mut self.open else { return Err(self.ended()) };
        let completed = upload.complete().await?;
        self.open = None;
        Ok(completed)
    }

    async fn abort(&mut self) -> StoreResult<()> {
        match self.open.take() {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

impl Drop for RemoteUpload {
    /// A writer that fails may let go of its upload without a word.
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) = (self.open.take(), Handle::try_current()) else { return };
        let location = std::mem::take(&mut self.location);
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%location, %error, "an upload that failed could not be given up: its parts stay");
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
