//! A store whose answers break off, and what comes through.

use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::{ObjectStoreExt, client::HttpErrorKind, memory::InMemory};

use super::*;

/// A store whose listings break off after their first name, as often as is left, and whose uploads count
/// how many were given up.
#[derive(Debug, Default)]
struct Frail {
    inner: InMemory,
    breaks_left: AtomicUsize,
    given_up: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct FrailUpload {
    inner: Box<dyn MultipartUpload>,
    given_up: Arc<AtomicUsize>,
}

fn broken_off() -> object_store::Error {
    let source = HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("reset"));
    object_store::Error::Generic { store: "Frail", source: Box::new(source) }
}

impl Frail {
    fn breaks(&self) -> bool {
        self.breaks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn frail(&self, names: BoxStream<'static, StoreResult<ObjectMeta>>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        if self.breaks() { names.take(1).chain(stream::iter([Err(broken_off())])).boxed() } else { names }
    }
}

impl fmt::Display for Frail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Frail")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Frail {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        if self.breaks() { Err(broken_off()) } else { self.inner.put_opts(location, payload, options).await }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(FrailUpload { inner, given_up: Arc::clone(&self.given_up) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if self.breaks() { Err(broken_off()) } else { self.inner.get_opts(location, options).await }
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.frail(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.frail(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        if self.breaks() { Err(broken_off()) } else { self.inner.list_with_delimiter(prefix).await }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait::async_trait]
impl MultipartUpload for FrailUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.given_up.fetch_add(1, Ordering::Relaxed);
        self.inner.abort().await
    }
}

/// Five objects in a store that breaks off so many reads.
async fn store(breaks: usize, retry_timeout: Duration) -> RemoteStore {
    let frail = Frail::default();
    for name in ["t/a", "t/b", "t/c", "t/d", "t/e"] {
        frail.put(&Path::from(name), PutPayload::from(name)).await.unwrap();
    }
    frail.breaks_left.store(breaks, Ordering::Relaxed);
    RemoteStore { inner: Arc::new(frail), retry_timeout, pause: Duration::ZERO }
}

const LONG: Duration = Duration::from_secs(3_600);

async fn listed(store: &RemoteStore, offset: Option<&str>) -> StoreResult<Vec<String>> {
    let prefix = Path::from("t");
    let names = match offset {
        Some(offset) => store.list_with_offset(Some(&prefix), &Path::from(offset)),
        None => store.list(Some(&prefix)),
    };
    names.map_ok(|found| found.location.to_string()).try_collect().await
}

#[tokio::test]
async fn a_listing_that_breaks_off_goes_on_where_it_was() {
    for breaks in 0..5 {
        let names = listed(&store(breaks, LONG).await, None).await.unwrap();
        assert_eq!(names, ["t/a", "t/b", "t/c", "t/d", "t/e"], "{breaks} breaks");
        let names = listed(&store(breaks, LONG).await, Some("t/c")).await.unwrap();
        assert_eq!(names, ["t/d", "t/e"], "{breaks} breaks");
    }
}

#[tokio::test]
async fn a_read_that_breaks_off_is_made_again() {
    let store = store(3, LONG).await;
    assert_eq!(store.get(&Path::from("t/a")).await.unwrap().bytes().await.unwrap(), "t/a");
    assert!(matches!(store.get(&Path::from("t/x")).await, Err(object_store::Error::NotFound { .. })));
}

#[tokio::test]
async fn tries_come_to_an_end() {
    let store = store(usize::MAX, Duration::ZERO).await;
    assert!(listed(&store, None).await.is_err());
    assert!(store.get(&Path::from("t/a")).await.is_err());
}

#[tokio::test]
async fn a_write_is_not_made_again() {
    let store = store(1, LONG).await;
    assert!(store.put(&Path::from("t/a"), PutPayload::from("new")).await.is_err());
}

#[tokio::test]
async fn an_upload_that_is_let_go_is_given_up() {
    let frail = Frail::default();
    let given_up = Arc::clone(&frail.given_up);
    let store = RemoteStore::new(frail, LONG);
    let mut complete = store.put_multipart(&Path::from("t/complete")).await.unwrap();
    complete.put_part(PutPayload::from("x")).await.unwrap();
    complete.complete().await.unwrap();
    assert!(complete.complete().await.is_err());
    drop(complete);
    let mut dropped = store.put_multipart(&Path::from("t/dropped")).await.unwrap();
    dropped.put_part(PutPayload::from("x")).await.unwrap();
    drop(dropped);
    // The only other task of this runtime gives it up.
    tokio::task::yield_now().await;
    assert_eq!(given_up.load(Ordering::Relaxed), 1);
}
