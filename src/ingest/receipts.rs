//! The receipts of batches that SQLite does not have yet, or has only just got.
//! Pure bookkeeping: what counts as the same batch is the caller's rule.

use std::collections::HashMap;

use crate::{
    catalog::Stored,
    error::{Error, Kind},
    record::{Digest, Receipt},
    wal::Frame,
};

/// What a batch is to the one that was stored under its receipt.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// The same batch.
    Repeat(Stored),
    /// Another one: its sender used the key before, for another body.
    OtherBody(Stored),
}

impl Known {
    /// Compares the bodies, where both are known. One that an earlier version stored is taken for the same.
    pub fn new(stored: Stored, sent: &Receipt) -> Self {
        match (stored.body, sent.body) {
            (Some(before), Some(now)) if before != now => Self::OtherBody(stored),
            _ => Self::Repeat(stored),
        }
    }
}

/// The answer to a batch under a used key.
pub fn key_reused(key: &str, first: &Stored) -> Error {
    let mut shown: String = key.chars().take(KEY_SHOWN_MAX).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    Error::new(
        Kind::KeyReused,
        format!(
            "the Idempotency-Key {shown:?} came before with another body, which is batch {}; nothing of this one is \
             stored: send it with a key of its own",
            first.seq
        ),
    )
}

/// Letters of a key that an error shows.
const KEY_SHOWN_MAX: usize = 100;

/// Receipts since the last flush but one. The generation before the current one is kept although it
/// is being saved: a request may have asked SQLite just before and arrive here just after.
#[derive(Debug, Default)]
pub struct Recent {
    current: HashMap<Digest, Stored>,
    before: HashMap<Digest, Stored>,
}

impl Recent {
    /// Remembers a frame that is durable.
    pub fn note(&mut self, seq: u64, frame: &Frame) {
        if let Some(receipt) = frame.receipt {
            let stored = Stored {
                seq,
                accepted: frame.accepted,
                rejected: frame.rejected,
                received_at_us: frame.received_at_us,
                body: receipt.body,
            };
            self.current.insert(receipt.identity, stored);
        }
    }

    /// What the batch is to the one that was stored under its receipt, if there is one.
    pub fn find(&self, receipt: &Receipt) -> Option<Known> {
        let stored = self.current.get(&receipt.identity).or_else(|| self.before.get(&receipt.identity))?;
        Some(Known::new(*stored, receipt))
    }

    /// Starts a new generation; returns the receipts of the one that ends.
    pub fn seal(&mut self) -> Vec<(Digest, Stored)> {
        self.before = std::mem::take(&mut self.current);
        self.before.iter().map(|(identity, stored)| (*identity, *stored)).collect()
    }
}
