//! Opens gzip and zstd bodies without ever holding more than the limit.

use std::io::Read;

use crate::error::{Error, Kind, Result};

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

    /// A reader of the plain bytes.
    ///
    /// # Errors
    ///
    /// When the decompressor cannot be set up.
    pub fn reader<'a, R: Read + Send + 'a>(self, inner: R) -> Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::Identity => Box::new(inner),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(inner)),
            Self::Zstd => Box::new(
                zstd::stream::read::Decoder::new(inner)
                    .map_err(|error| Error::new(Kind::Internal, "cannot start zstd").with_source(error))?,
            ),
        })
    }
}

/// The plain bytes of a body, at most `bytes_max` of them.
///
/// # Errors
///
/// [`Kind::TooLarge`] past the limit, [`Kind::Invalid`] when the bytes are not what the encoding says.
pub fn decompress(body: &[u8], encoding: Encoding, bytes_max: usize) -> Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(body.len().saturating_mul(4).min(bytes_max));
    encoding
        .reader(body)?
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| Error::invalid(format!("the body is not whole {encoding:?} data")).with_source(error))?;
    if plain.len() > bytes_max {
        return Err(Error::new(
            Kind::TooLarge,
            format!("the body is larger than {bytes_max} bytes once decompressed: send smaller batches"),
        ));
    }
    Ok(plain)
}
