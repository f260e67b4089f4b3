//! The receipts of batches that SQLite does not have yet, or has only just got.
//! Pure bookkeeping: what counts as the same batch is the caller's rule.

use std::collections::{HashMap, VecDeque};

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

/// What is kept of a frame.
pub fn stored(seq: u64, frame: &Frame) -> Stored {
    Stored {
        seq,
        accepted: frame.accepted,
        rejected: frame.rejected,
        received_at_us: frame.received_at_us,
        body: frame.receipt.and_then(|receipt| receipt.body),
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

/// Receipts that are not saved, and those that were saved last: a request may have asked SQLite just before and
/// arrive here just after.
#[derive(Debug, Default)]
pub struct Recent {
    current: HashMap<Digest, Stored>,
    /// Generations that have ended, each with its last seq, the oldest first.
    ended: VecDeque<(u64, HashMap<Digest, Stored>)>,
}

impl Recent {
    /// Remembers a batch that is durable and can be seen.
    pub fn note(&mut self, receipt: Receipt, stored: Stored) {
        self.current.insert(receipt.identity, stored);
    }

    /// What the batch is to the one that was stored under its receipt since then, if there is one.
    pub fn find(&self, receipt: &Receipt, since_us: i64) -> Option<Known> {
        let mut generations = self.ended.iter().rev().map(|(_, receipts)| receipts);
        let stored = std::iter::once(&self.current).chain(&mut generations).find_map(|of| of.get(&receipt.identity))?;
        // Of those under one receipt the newest is found first.
        (stored.received_at_us >= since_us).then(|| Known::new(*stored, receipt))
    }

    /// Starts a new generation; returns the receipts of the one that ends, with this seq.
    pub fn seal(&mut self, through_seq: u64) -> Vec<(Digest, Stored)> {
        let ended = std::mem::take(&mut self.current);
        let receipts = ended.iter().map(|(identity, stored)| (*identity, *stored)).collect();
        self.ended.push_back((through_seq, ended));
        receipts
    }

    /// SQLite has all receipts through this seq: of their generations the last one stays.
    pub fn saved(&mut self, through_seq: u64) {
        while self.ended.get(1).is_some_and(|(seq, _)| *seq <= through_seq) {
            self.ended.pop_front();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn receipts_stay_until_they_are_saved() {
        let receipt = |seq: u64| Receipt { identity: [seq as u8; 16], body: None };
        let mut recent = Recent::default();
        let end = |recent: &mut Recent, seqs: std::ops::RangeInclusive<u64>| {
            let through_seq = *seqs.end();
            let sent = seqs.count();
            for seq in through_seq + 1 - sent as u64..=through_seq {
                let stored = Stored { seq, accepted: 1, rejected: 0, received_at_us: 0, body: None };
                recent.note(receipt(seq), stored);
            }
            assert_eq!(recent.seal(through_seq).len(), sent);
        };
        // However many generations wait to be saved.
        for seqs in [1..=2, 3..=4, 5..=5, 6..=9] {
            end(&mut recent, seqs);
        }
        let known =
            |recent: &Recent| (1..=9).filter(|seq| recent.find(&receipt(*seq), 0).is_some()).collect::<Vec<_>>();
        assert_eq!(known(&recent), (1..=9).collect::<Vec<_>>());
        recent.saved(2);
        assert_eq!(known(&recent), (1..=9).collect::<Vec<_>>());
        recent.saved(4);
        assert_eq!(known(&recent), (3..=9).collect::<Vec<_>>());
        recent.saved(9);
        assert_eq!(known(&recent), (6..=9).collect::<Vec<_>>());
        // Those that are kept may be too old to count.
        assert!(recent.find(&receipt(9), 1).is_none());
    }
}
