//! Opens gzip and zstd bodies without ever holding more than the limit.

use std::io::{self, Read};

use crate::error::{Context, Error, Kind, Result};

/// How a body or a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952; several members in a row are one stream.
    Gzip,
    /// RFC 8878; several frames in a row are one stream.
    Zstd,
}

impl Encoding {
    /// From a `Content-Encoding` value.
    pub fn from_header(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// From the first bytes, for files: their names lie more often than their magic numbers.
    pub fn from_magic(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Identity,
        }
    }

    /// A reader of a file's plain bytes.
    ///
    /// # Errors
    ///
    /// When the decompressor cannot be set up.
    pub fn reader<'a, R: Read + Send + 'a>(self, inner: R) -> Result<Box<dyn Read + Send + 'a>> {
        self.open(inner, FILE_WINDOW_LOG_MAX)
    }

    fn open<'a, R: Read + Send + 'a>(self, inner: R, window_log_max: u32) -> Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::Identity => Box::new(inner),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(inner)),
            Self::Zstd => {
                let context = "cannot start zstd";
                let mut decoder = zstd::stream::read::Decoder::new(inner).context(context)?;
                decoder.window_log_max(window_log_max).context(context)?;
                Box::new(decoder)
            }
        })
    }
}

/// The window that a body's zstd may want, 8 MiB, which RFC 9659 sets for HTTP: a few bytes can announce one of
/// gigabytes, and it is memory beside that of the body. As many bodies are opened at the same time as there are cores.
const BODY_WINDOW_LOG_MAX: u32 = 23;
/// Of a file, which is the operator's own: 128 MiB, zstd's own bound.
const FILE_WINDOW_LOG_MAX: u32 = 27;
/// What zstd says of a window beyond the bound.
const WINDOW_TOO_LARGE: &str = "Frame requires too much memory for decoding";

/// The plain bytes of a body, at most `bytes_max` of them.
///
/// # Errors
///
/// [`Kind::TooLarge`] past the limit or where zstd wants too large a window, [`Kind::Invalid`] when the bytes are not what the encoding says.
pub fn decompress(body: &[u8], encoding: Encoding, bytes_max: usize) -> Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(body.len().saturating_mul(4).min(bytes_max));
    encoding
        .open(body, BODY_WINDOW_LOG_MAX)?
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| unreadable(error, encoding))?;
    if plain.len() > bytes_max {
        return Err(Error::new(
            Kind::TooLarge,
            format!("the body is larger than {bytes_max} bytes once decompressed: send smaller batches"),
        ));
    }
    Ok(plain)
}

fn unreadable(error: io::Error, encoding: Encoding) -> Error {
    if encoding == Encoding::Zstd && error.to_string() == WINDOW_TOO_LARGE {
        let window_mib = (1 << BODY_WINDOW_LOG_MAX) >> 20;
        return Error::new(
            Kind::TooLarge,
            format!(
                "the zstd body wants a window larger than {window_mib} MiB: compress it without --long and --ultra"
            ),
        );
    }
    Error::invalid(format!("the body is not whole {encoding:?} data")).with_source(error)
}
