//! The bytes that all sketches are made of: integers in as few bytes as they need (LEB128), read
//! with care. A number has one form, so bytes that differ are sketches that differ. It never knows
//! which sketch it reads, beyond the name that its errors carry.

use crate::error::{Error, Kind, Result};

/// Appends an integer, seven bits a byte, the lowest first; the top bit says that more follow.
pub fn put_integer(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads from the front, and knows where it is.
pub struct Reader<'a> {
    sketch: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader behind the version byte, which must be this one.
    pub fn new(sketch: &'static str, version: u8, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Self { sketch, bytes, at: 0 };
        let found = reader.byte("version")?;
        if found != version {
            return Err(reader.damaged(format!("version {found} where {version} is known")));
        }
        Ok(reader)
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next bytes.
    pub fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8]> {
        if self.left() < length {
            return Err(self.damaged(format!("ends within its {what}")));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    pub fn byte(&mut self, what: &str) -> Result<u8> {
        Ok(self.take(1, what)?[0])
    }

    pub fn float(&mut self, what: &str) -> Result<f64> {
        let mut eight = [0; 8];
        eight.copy_from_slice(self.take(8, what)?);
        Ok(f64::from_le_bytes(eight))
    }

    /// What [`put_integer`] wrote.
    #[inline]
    pub fn integer(&mut self, what: &str) -> Result<u64> {
        // Most are of one byte.
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_integer(what),
        }
    }

    /// The next so many integers, where each is of one byte: read at once, as one by one takes several times as long.
    pub fn small_integers<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let bytes: &[u8; N] = self.bytes.get(self.at..)?.first_chunk()?;
        let is_small = bytes.iter().fold(0, |all, byte| all | byte) < 0x80;
        self.at += if is_small { N } else { 0 };
        is_small.then_some(bytes)
    }

    fn long_integer(&mut self, what: &str) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(self.damaged(format!("its {what} is no integer")))
    }

    /// How many parts follow, each of at least so many bytes: never more than there are bytes for.
    pub fn length(&mut self, bytes_each: usize, what: &str) -> Result<usize> {
        let length = self.integer(what)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left() / bytes_each => Ok(length),
            _ => Err(self.damaged(format!("ends before its {length} {what}"))),
        }
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.damaged(format!("has {left} bytes after its end"))),
        }
    }

    /// The error for bytes that are no sketch.
    pub fn damaged(&self, what: impl AsRef<str>) -> Error {
        Error::new(
            Kind::Corrupt,
            format!(
                "the {} of {} bytes is damaged at byte {}: {}",
                self.sketch,
                self.bytes.len(),
                self.at,
                what.as_ref()
            ),
        )
    }
}
