//! A request's place in the register, and its answer on the way to its reader: in pieces, so that one who reads at
//! all is told from one who does not.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::{
    Connection,
    register::{Held, Number},
};

/// A piece of an answer: what one that reads slowly has to take within `clients.answer_timeout_s`.
const PIECE_BYTES: usize = 16 * 1024;

/// Says that a request came when as many were open as may be.
#[derive(Debug, Clone, Copy)]
pub struct Crowded;

/// Says that an answer keeps a statement's turn until it is read.
#[derive(Debug, Clone, Copy)]
pub struct OfStatement;

/// Keeps a request's place until its answer was handed over. Stands within the compression, which would hide what
/// an answer holds.
pub async fn counted(mut request: Request, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<Arc<Connection>>().map(Arc::clone) else {
        return next.run(request).await;
    };
    let has_room = connection.begin();
    if !has_room {
        request.extensions_mut().insert(Crowded);
    }
    let mut place = Place { connection, has_room, is_statement: false, piece: None };
    let response = next.run(request).await;
    place.is_statement = response.extensions().get::<OfStatement>().is_some();
    response.map(|body| Body::new(Answer::new(body, place)))
}

/// A request's place.
struct Place {
    connection: Arc<Connection>,
    has_room: bool,
    is_statement: bool,
    piece: Option<Number>,
}

impl Place {
    fn hands_over(&mut self, bytes: usize) {
        let Connection { register, number, .. } = &*self.connection;
        let held = Held { bytes, is_statement: self.is_statement };
        self.piece = register.unread(*number, self.piece.take(), held, Instant::now());
    }

    fn is_read(&mut self) {
        self.connection.register.read(self.piece.take());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_read();
        self.connection.register.end(self.connection.number, self.has_room, Instant::now());
    }
}

/// An answer's body in pieces.
struct Answer {
    body: Body,
    /// What of the last chunk is to come.
    rest: Bytes,
    /// Bytes that are held for as long as any of them are to come.
    held: usize,
    place: Place,
}

impl Answer {
    fn new(body: Body, mut place: Place) -> Self {
        // The head is the first piece.
        let held = body.size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        place.hands_over(held);
        Self { body, rest: Bytes::new(), held, place }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(context) else {
                // It is the reader who waits.
                self.place.is_read();
                return Poll::Pending;
            };
            match next.transpose()?.map(Frame::into_data) {
                Some(Ok(chunk)) => {
                    self.held = self.held.max(chunk.len());
                    self.rest = chunk;
                }
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => {
                    self.place.hands_over(0);
                    return Poll::Ready(None);
                }
            }
        }
        let held = self.held;
        self.place.hands_over(held);
        let bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(bytes);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
