//! A segment's bytes: its name, its head, the frames in it. Never touches a file, and never decides
//! what damage means.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// The first bytes of every segment.
pub const SEGMENT_MAGIC: &[u8; 8] = b"DRIFTWAL";
/// The version of the format above.
pub const SEGMENT_VERSION: u32 = 1;
/// Length of a segment's head.
pub const SEGMENT_HEAD_BYTES: u64 = 16;
/// The first bytes of every frame.
pub const FRAME_MAGIC: &[u8; 4] = b"FRM1";
/// Length of a frame's head.
pub const FRAME_HEAD_BYTES: usize = 36;
/// The flags of a frame that holds a request.
pub const FLAGS_REQUEST: u32 = 0;
/// The flags of a frame that stands where others were quarantined.
pub const FLAGS_TOMBSTONE: u32 = 1;

/// The flags of a frame that holds a request with its body's digest. A version that does not know digests refuses
/// the frame by its flags, and does not take it for damage.
pub const FLAGS_REQUEST_WITH_BODY: u32 = 2;

/// No seq reaches this: Delta's transactions and the tables hold seqs as signed numbers. So what says it does was
/// not written by us, and whatever is said can be counted on from.
pub const SEQ_END: u64 = 1 << 63;

/// The path of the segment that starts with this seq.
pub fn segment_path(directory: &Path, first_seq: u64) -> PathBuf {
    directory.join(format!("{first_seq:020}.wal"))
}

/// The head of every segment.
pub fn segment_head() -> [u8; SEGMENT_HEAD_BYTES as usize] {
    let mut head = [0; SEGMENT_HEAD_BYTES as usize];
    head[..8].copy_from_slice(SEGMENT_MAGIC);
    head[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
    let crc = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// What a frame says before its payload.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead {
    /// The payload's length.
    pub payload_bytes: u32,
    /// The payload's CRC.
    pub crc: u32,
    /// What the payload is.
    pub flags: u32,
    /// The frame's seq; of a tombstone the first that it stands for.
    pub seq: u64,
    /// The file offset of the first frame of the group.
    pub group_start: u64,
}

impl FrameHead {
    /// Its bytes.
    pub fn encode(&self) -> [u8; FRAME_HEAD_BYTES] {
        let mut head = [0; FRAME_HEAD_BYTES];
        head[0..4].copy_from_slice(FRAME_MAGIC);
        head[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        head[8..12].copy_from_slice(&self.crc.to_le_bytes());
        head[12..16].copy_from_slice(&self.flags.to_le_bytes());
        head[16..24].copy_from_slice(&self.seq.to_le_bytes());
        head[24..32].copy_from_slice(&self.group_start.to_le_bytes());
        let crc = crc32fast::hash(&head[..32]);
        head[32..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// The head at the front of the bytes, if it is whole.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..FRAME_HEAD_BYTES)?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let is_whole = &head[..4] == FRAME_MAGIC && crc32fast::hash(&head[..32]) == number(32) && long(16) < SEQ_END;
        is_whole.then(|| Self {
            payload_bytes: number(4),
            crc: number(8),
            flags: number(12),
            seq: long(16),
            group_start: long(24),
        })
    }
}

/// A whole frame of a segment: head and payload have the CRCs that they say.
#[derive(Debug, Clone, Copy)]
pub struct FrameRef<'a> {
    /// What it says of itself.
    pub head: FrameHead,
    /// Where it starts.
    pub offset: usize,
    /// What it holds.
    pub payload: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// The whole frame at this offset, if there is one.
    pub fn at(bytes: &'a [u8], offset: usize) -> Option<Self> {
        let head = FrameHead::decode(bytes.get(offset..)?)?;
        let start = offset + FRAME_HEAD_BYTES;
        let payload = bytes.get(start..start.checked_add(head.payload_bytes as usize)?)?;
        (crc32fast::hash(payload) == head.crc).then_some(Self { head, offset, payload })
    }

    /// Where it ends.
    pub fn end(&self) -> usize {
        self.offset + FRAME_HEAD_BYTES + self.payload.len()
    }
}

/// The payload of a tombstone that stands for seqs through this one.
pub fn tombstone_payload(last_seq: u64) -> [u8; 8] {
    last_seq.to_le_bytes()
}

/// The seqs that a tombstone of this first seq stands for, if its payload is one.
pub fn tombstone_seqs(seq: u64, payload: &[u8]) -> Option<RangeInclusive<u64>> {
    let last_seq = u64::from_le_bytes(payload.try_into().ok()?);
    (last_seq >= seq && last_seq < SEQ_END).then_some(seq..=last_seq)
}
