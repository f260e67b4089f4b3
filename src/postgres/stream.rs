//! A client's bytes: in the clear or in TLS, within bounds. A message that says to be longer than one may be is not
//! read, and a client that takes nothing for a while is cut off. Knows no message but by its length.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::TlsAcceptor;

/// Most bytes of a message: a statement with its parameters.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long a client may take nothing of what it is sent.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Requests in front of the first message: eight bytes, their length and one of these.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// The first byte of a TLS handshake, from clients that do not ask before.
const TLS_HANDSHAKE: u8 = 0x16;
/// What clients of TLS name this protocol.
pub const PROTOCOL: &str = "postgresql";

trait Bytes: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Bytes for T {}

/// A connection whose first message is next.
pub struct Stream {
    bytes: Box<dyn Bytes>,
    /// What was read before it was known to be of the first message.
    head: Vec<u8>,
    lengths: Lengths,
    stalled: Option<Pin<Box<Sleep>>>,
    is_secure: bool,
}

impl Stream {
    /// Answers what a client asks of encryption, and shakes hands.
    ///
    /// # Errors
    ///
    /// When the client breaks off or does not keep to the protocol.
    pub async fn open(mut tcp: TcpStream, tls: Option<&TlsAcceptor>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        // Once each, at most.
        for _ in 0..3 {
            let mut head = [0; 8];
            if tcp.peek(&mut head[..1]).await? == 1 && head[0] == TLS_HANDSHAKE {
                let Some(tls) = tls else { return Err(refused("TLS is not set up here")) };
                let stream = tls.accept(tcp).await?;
                // Else a page of some web site could make a browser speak to this port.
                if stream.get_ref().1.alpn_protocol() != Some(PROTOCOL.as_bytes()) {
                    return Err(refused("a client that starts with TLS names the protocol"));
                }
                return Ok(Self::over(stream, true));
            }
            tcp.read_exact(&mut head).await?;
            let [a, b, c, d, code @ ..] = head;
            let length = u32::from_be_bytes([a, b, c, d]);
            match (length, u32::from_be_bytes(code), tls) {
                (8, SSL_REQUEST, Some(tls)) => {
                    tcp.write_all(b"S").await?;
                    return Ok(Self::over(tls.accept(tcp).await?, true));
                }
                (8, SSL_REQUEST | GSS_REQUEST, _) => tcp.write_all(b"N").await?,
                _ => return Ok(Self { head: head.to_vec(), ..Self::over(tcp, false) }),
            }
        }
        Err(refused("a client asks once for each kind of encryption"))
    }

    fn over(bytes: impl Bytes + 'static, is_secure: bool) -> Self {
        let (bytes, head) = (Box::new(bytes), Vec::new());
        Self { bytes, head, lengths: Lengths::default(), stalled: None, is_secure }
    }

    /// Whether nobody on the way reads along.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Lets a write wait no longer than it may.
    fn within<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.head.is_empty() {
            ready!(Pin::new(&mut this.bytes).poll_read(context, buffer))?;
        } else {
            let taken = this.head.len().min(buffer.remaining());
            buffer.put_slice(&this.head[..taken]);
            this.head.drain(..taken);
        }
        Poll::Ready(this.lengths.pass(&buffer.filled()[before..]))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.bytes).poll_write(context, bytes);
        this.within(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.bytes).poll_flush(context);
        this.within(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.bytes).poll_shutdown(context);
        this.within(ended, context)
    }
}

/// Where messages begin: the first is its length and its body, all others have a byte for their kind in front.
#[derive(Debug, Default)]
struct Lengths {
    is_started: bool,
    head: [u8; 5],
    head_bytes: usize,
    body_bytes: usize,
}

impl Lengths {
    fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.body_bytes > 0 {
                let passed = self.body_bytes.min(bytes.len());
                self.body_bytes -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.head[self.head_bytes] = *first;
            self.head_bytes += 1;
            bytes = rest;
            let kind_bytes = usize::from(self.is_started);
            if self.head_bytes < kind_bytes + 4 {
                continue;
            }
            let [.., a, b, c, d] = self.head;
            let [e, f, g, h, _] = self.head;
            let length = u32::from_be_bytes(if self.is_started { [a, b, c, d] } else { [e, f, g, h] }) as usize;
            if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
                return Err(refused("a message is longer than one may be"));
            }
            *self = Self { is_started: true, body_bytes: length - 4, ..Self::default() };
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(kind: Option<u8>, length: u32, body: usize) -> Vec<u8> {
        kind.into_iter().chain(length.to_be_bytes()).chain(std::iter::repeat_n(b'x', body)).collect()
    }

    #[test]
    fn messages_may_be_so_long() {
        let check = |messages: &[Vec<u8>], expected: bool| {
            let bytes = messages.concat();
            for step in [1, 3, bytes.len()] {
                let mut lengths = Lengths::default();
                let passed = bytes.chunks(step).try_for_each(|chunk| lengths.pass(chunk));
                assert_eq!(passed.is_ok(), expected, "{messages:?} by {step}");
            }
        };
        let start = message(None, 12, 8);
        check(&[start.clone(), message(Some(b'Q'), 9, 5), message(Some(b'S'), 4, 0), message(Some(b'X'), 4, 0)], true);
        check(&[start.clone(), message(Some(b'Q'), MESSAGE_BYTES_MAX as u32, 9)], true);
        check(&[start.clone(), message(Some(b'Q'), MESSAGE_BYTES_MAX as u32 + 1, 0)], false);
        check(&[start.clone(), message(Some(b'Q'), 3, 0)], false);
        check(&[start, message(Some(b'Q'), u32::MAX, 0)], false);
        check(&[message(None, 3, 0)], false);
    }

    #[tokio::test]
    async fn what_was_read_before_is_read_again() {
        let (client, server) = tokio::io::duplex(64);
        let mut stream = Stream { head: message(None, 12, 4), ..Stream::over(server, false) };
        let mut client = client;
        client.write_all(b"yyyyQ").await.unwrap();
        let mut read = [0; 13];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"\0\0\0\x0cxxxxyyyyQ");
    }
}
