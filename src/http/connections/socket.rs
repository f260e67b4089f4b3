//! A socket that tells the register while it takes no more: an answer that was handed over whole is unread as well, as
//! long as it lies in hyper's buffer because the system's are full.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::{
    Connection,
    register::{Held, Number},
};

/// The socket of a connection.
pub struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// What the register knows it by while it takes nothing.
    full: Option<Number>,
}

impl Socket {
    /// Takes all, so far.
    pub fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, full: None }
    }

    fn tell<T>(&mut self, written: Poll<T>) -> Poll<T> {
        let Connection { register, number, .. } = &*self.connection;
        if written.is_ready() {
            if self.full.is_some() {
                register.read(self.full.take());
            }
        } else if self.full.is_none() {
            // What hyper holds is little, and the same for all.
            let held = Held { bytes: 0, is_statement: false };
            self.full = register.unread(*number, None, held, Instant::now());
        }
        written
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.connection.register.read(self.full.take());
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.tell(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.tell(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
