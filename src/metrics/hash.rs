//! A fast seeded hash for label strings and session keys.
//!
//! The hot path hashes some 50 bytes per row, where the standard hasher would take a good part of
//! the whole budget. The seed is drawn per instance, because labels come from clients and a known
//! hash invites collisions on purpose. The hash decides where an entry lies, never what is written
//! out, and it is never stored.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds [`Folded`] hashers that agree with each other.
#[derive(Debug, Clone)]
pub(super) struct FastHash {
    seed: [u64; 2],
}

impl FastHash {
    /// The hash of several strings as a tuple.
    #[inline]
    pub(super) fn strings<const N: usize>(&self, strings: [&str; N]) -> u64 {
        let mut hasher = self.build_hasher();
        for string in strings {
            hasher.write(string.as_bytes());
        }
        hasher.finish()
    }
}

impl Default for FastHash {
    fn default() -> Self {
        let random = RandomState::new();
        Self { seed: [0_u64, 1].map(|position| random.hash_one(position)) }
    }
}

impl BuildHasher for FastHash {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        let [state, step] = self.seed;
        Folded { state, step }
    }
}

/// Mixes 16 bytes per step by folding the halves of a 128-bit product, as wyhash does. Both factors
/// carry a part of the seed: a known one could be made zero, and with it the whole state.
#[derive(Debug)]
pub(super) struct Folded {
    state: u64,
    step: u64,
}

/// An odd number with balanced bits, from the fraction of pi.
const LENGTH: u64 = 0x1319_8a2e_0370_7345;

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let state = self.state ^ (bytes.len() as u64).wrapping_mul(LENGTH);
        self.state = match bytes.last_chunk::<16>() {
            Some(last) => {
                // The last block overlaps the one before rather than being padded.
                let (blocks, _) = bytes[..bytes.len() - 1].as_chunks::<16>();
                let state = blocks.iter().fold(state, |state, block| {
                    let (low, high) = halves(block);
                    fold(low ^ state, high ^ self.step)
                });
                let (low, high) = halves(last);
                fold(low ^ state, high ^ self.step)
            }
            None => {
                let (low, high) = short(bytes);
                fold(low ^ state, high ^ self.step)
            }
        };
    }

    fn write_u64(&mut self, value: u64) {
        self.state = fold(self.state ^ value, self.step);
    }

    // The length of a slice, which `write` already mixes in.
    fn write_usize(&mut self, _value: usize) {}

    fn finish(&self) -> u64 {
        self.state
    }
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let (words, _) = block.as_chunks::<8>();
    (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
}

/// Every byte of less than a block, in two overlapping reads instead of a copy.
fn short(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
    } else {
        let at = |position| bytes.get(position).copied().map_or(0, u64::from);
        (at(0) | at(1) << 8 | at(2) << 16, 0)
    }
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}
