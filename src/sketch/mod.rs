//! Mergeable sketches: a few bytes that stand for many values, so that a quarter is put together
//! from its hours. Quantiles, counts by bucket, distinct counts, counts by the minute.
//!
//! Each is a function of what was added as a whole: the same values give the same bytes, in whatever
//! order they were added or merged. Each states its error, and its bytes carry a version. This module
//! never reads a clock, a file or a table, never draws a random number, and never trusts bytes: what
//! is damaged is an error that names the damage, and takes no more memory than whole bytes would.
//!
//! What is not finite is no measurement: NaN and the infinities are left out everywhere.

mod bytes;
mod distinct;
mod histogram;
mod minutes;
mod quantiles;

pub use distinct::DistinctSketch;
pub use histogram::{Buckets, Distance, Histogram};
pub use minutes::{MinuteSketch, Outage};
pub use quantiles::QuantileSketch;

use crate::error::Result;

/// What all sketches can do, whatever they are of.
pub trait Sketch: Sized {
    /// Adds what another sketch was given. Like adding its values one by one, to the last byte.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for sketches that do not measure alike. This one is then as before.
    fn merge(&mut self, other: &Self) -> Result<()>;

    /// Merges encoded bytes without making a sketch of them first.
    ///
    /// # Errors
    ///
    /// As [`Sketch::merge`] and [`Sketch::decode`]. This one may then hold a part, and is of no more use.
    fn merge_encoded(&mut self, bytes: &[u8]) -> Result<()>;

    /// Appends the bytes. Equal sketches have equal bytes.
    fn encode_into(&self, bytes: &mut Vec<u8>);

    /// Reads what [`Sketch::encode_into`] wrote, and only that: there is one form of each sketch.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Corrupt`], naming what is wrong and where.
    fn decode(bytes: &[u8]) -> Result<Self>;

    /// Memory beside the value itself, bytes.
    fn heap_bytes(&self) -> usize;

    /// The bytes on their own.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
