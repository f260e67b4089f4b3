//! The receipts of batches that SQLite does not have yet, or has only just got.
//! Pure bookkeeping: what counts as the same batch is the caller's rule.

use std::collections::HashMap;

use crate::{catalog::Stored, record::Receipt, wal::Frame};

/// Receipts since the last flush but one. The generation before the current one is kept although it
/// is being saved: a request may have asked SQLite just before and arrive here just after.
#[derive(Debug, Default)]
pub struct Recent {
    current: HashMap<Receipt, Stored>,
    before: HashMap<Receipt, Stored>,
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
            };
            self.current.insert(receipt, stored);
        }
    }

    /// What was stored under the receipt.
    pub fn find(&self, receipt: &Receipt) -> Option<Stored> {
        self.current.get(receipt).or_else(|| self.before.get(receipt)).copied()
    }

    /// Starts a new generation; returns the receipts of the one that ends.
    pub fn seal(&mut self) -> Vec<(Receipt, Stored)> {
        self.before = std::mem::take(&mut self.current);
        self.before.iter().map(|(receipt, stored)| (*receipt, *stored)).collect()
    }
}
