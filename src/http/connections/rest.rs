//! The rest of a body that was answered before it came: too large, from an unknown key, while there is no room. A client
//! that is still sending reads its answer only if the connection stays: closed with bytes unread, TCP resets it, and
//! the answer is lost (RFC 9112, section 9.6). So the connection says that it closes, and takes what comes for a while.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::{
    HeaderMap,
    header::{CONNECTION, HeaderValue},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long the rest of a body is taken. A client that reads while it sends needs a moment; one that does not would
/// send all of it, which is not worth waiting for.
const REST: Duration = Duration::from_secs(3);
/// What is read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Bodies of so many bytes come with the head or right after it, and hyper takes them by itself.
const SMALL_BYTES: u64 = 8 * 1024;

/// Whether a body is still to come on a connection.
#[derive(Debug, Clone, Default)]
pub struct ToCome(Arc<AtomicBool>);

impl ToCome {
    /// Watches the body of the next request of HTTP/1, of which a connection has one at a time.
    pub fn watch(
        &self,
        body: impl HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
    ) -> Body {
        let is_small = body.size_hint().exact().is_some_and(|bytes| bytes <= SMALL_BYTES);
        self.set(!is_small);
        Body::new(Arriving { body, to_come: self.clone() })
    }

    /// Says in an answer that the connection closes if the body is still to come.
    pub fn say(&self, headers: &mut HeaderMap) {
        if self.get() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    fn set(&self, to_come: bool) {
        self.0.store(to_come, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that says when all of it came.
struct Arriving<B> {
    body: B,
    to_come: ToCome,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Arriving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(context));
        if next.is_none() || self.body.is_end_stream() {
            self.to_come.set(false);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that, once it is to be closed, first takes what is still to come.
pub struct Taking<S> {
    stream: S,
    to_come: ToCome,
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Taking<S> {
    /// Takes the rest of what this watches.
    pub fn new(stream: S, to_come: ToCome) -> Self {
        Self { stream, to_come, until: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, to_come, until } = &mut *self;
        if until.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            if !to_come.get() {
                return Poll::Ready(Ok(()));
            }
        }
        let until = until.get_or_insert_with(|| Box::pin(sleep(REST)));
        let mut bytes = [0; READ_BYTES];
        while until.as_mut().poll(context).is_pending() {
            let mut read = ReadBuf::new(&mut bytes);
            // An end, or a reset: there is nobody to wait for.
            let is_over =
                ready!(Pin::new(&mut *stream).poll_read(context, &mut read)).is_err() || read.filled().is_empty();
            if is_over {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
