//! The write-ahead log: what is in it and fsynced is acknowledged, and only that.
//!
//! # Files
//!
//! A directory of segments named `{first seq, 20 digits}.wal`, each a 16-byte head (`DRIFTWAL`,
//! version, CRC) and then frames:
//!
//! ```text
//! offset  size  field
//!      0     4  magic "FRM1"
//!      4     4  payload length, bytes
//!      8     4  CRC-32 of the payload
//!     12     4  flags: 0 a request, 1 a tombstone, 2 a request with its body's digest; a reader refuses any other
//!     16     8  seq: 1, 2, 3, … over all segments, no gaps, below 2^63
//!     24     8  group start: the file offset of the first frame of this frame's group commit
//!     32     4  CRC-32 of bytes 0..32
//!     36     …  payload
//! ```
//!
//! All numbers are little endian. A payload is one accepted request:
//!
//! ```text
//! received_at µs i64 | receipt u8: 0 none, 1 present, 2 present with the body's digest | identity [16]
//!   | digest [16], if present | accepted u32 | rejected u32
//!   | sections u8 | { table tag u8 | rows u32 | length u32 | Arrow IPC stream }*
//! ```
//!
//! Columns that are null in every row are left out of a section; a reader fills them in. The same
//! rule lets it read frames that an older version wrote before a column existed.
//!
//! A tombstone stands in the place of frames that a quarantine took away: its seq is the first of
//! them, and its payload the last (u64). The next frame has the seq after that. So a log has no gap
//! that it does not document.
//!
//! # What damage means
//!
//! Everything before a frame's group start was fsynced when the frame was written. So a damaged
//! frame at offset `o` is a torn tail exactly if no whole frame after it has a group start above
//! `o`: it belonged to the last, unacknowledged group, and is cut with a log line. Otherwise
//! acknowledged data is damaged, and opening fails with file and offset.
//!
//! # Quarantine
//!
//! Only when an operator asks for it, [`quarantine`] takes a damaged segment out of the log. The file
//! as it was found stays under `quarantine/`, and one takes its place that has all its whole frames,
//! before and after the damage, and a tombstone for each run of seqs that is missing. There every
//! frame is a group of its own, because all of the file is fsynced before it gets its name. At each
//! step the log's directory holds the old file or the new one under the segment's name.
//!
//! A whole frame is kept even where recovery would cut it as part of a torn last group: whoever asks
//! for a quarantine suspects the medium, and a batch that was never acknowledged may be there, once.
//! What follows the last whole frame of the log stays a torn tail, and is recovery's.
//!
//! This room never decides what a frame is for, and never deletes a segment on its own.

mod copy;
mod frame;
mod inspect;
mod quarantine;
mod reader;
mod segment;
mod writer;

pub use copy::copy;
pub use frame::{Frame, Section};
pub use inspect::{Inspection, inspect};
pub use quarantine::{Loss, Quarantined, quarantine};
pub use reader::{Recovered, recover};
pub use writer::{Pending, Position, Resume, SegmentFile, Writer};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
