//! A log's files and what can happen to them. Knows the format that `src/wal/mod.rs` specifies, from that text alone;
//! never asks the reader that is under test.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    Input,
    mutate::{an_integer, chunk, flip, integer, place},
};
use crate::random::Random;

/// The length of a segment's head.
pub const HEAD: usize = 16;
/// The length of a frame's head.
pub const FRAME_HEAD: usize = 36;
/// The bytes of a payload before its first Arrow stream, the stream's length left out.
const PAYLOAD_HEAD: usize = 39;

/// A log's files: name → bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub segments: BTreeMap<String, Vec<u8>>,
}

impl Log {
    /// What is in a directory; what is in directories below is left out.
    pub fn read(directory: &Path) -> Self {
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        Self { segments: paths.map(|path| (name(&path), fs::read(&path).unwrap())).collect() }
    }

    /// Puts the files into a directory.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        for (name, bytes) in &self.segments {
            fs::write(directory.join(name), bytes).unwrap();
        }
    }

    /// The seq that the first segment's name says; 1 where there is none.
    pub fn first_seq(&self) -> u64 {
        self.segments.keys().next().map_or(1, |name| name.trim_end_matches(".wal").parse().unwrap())
    }
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    pub offset: usize,
    pub end: usize,
    pub is_tombstone: bool,
    pub seq: u64,
    pub group_start: u64,
}

impl Whole {
    /// The whole frame at an offset, if there is one.
    pub fn at(bytes: &[u8], offset: usize) -> Option<Self> {
        let head = bytes.get(offset..offset + FRAME_HEAD)?;
        if !head.starts_with(b"FRM1") || crc32fast::hash(&head[..32]) != number(head, 32) {
            return None;
        }
        let end = offset + FRAME_HEAD + number(head, 4) as usize;
        let payload = bytes.get(offset + FRAME_HEAD..end)?;
        (crc32fast::hash(payload) == number(head, 8) && long(head, 16) < 1 << 63).then(|| Self {
            offset,
            end,
            is_tombstone: number(head, 12) == 1,
            seq: long(head, 16),
            group_start: long(head, 24),
        })
    }

    /// What it holds.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.offset + FRAME_HEAD..self.end]
    }
}

/// The whole frames from the segment's head on, up to the first place that has none.
pub fn walk(bytes: &[u8]) -> Vec<Whole> {
    let next = |whole: Option<Whole>| Whole::at(bytes, whole.map_or(HEAD, |whole| whole.end));
    std::iter::successors(next(None), |whole| next(Some(*whole))).collect()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A log and what became of it.
#[derive(Debug)]
pub struct Case {
    pub intact: Log,
    pub found: Log,
    pub kind: Kind,
}

/// What kind of thing happened. The promises are fewer from kind to kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes were overwritten, and ends of files are gone: what is left stands where it stood.
    InPlace,
    /// Bytes came, went or moved within a file.
    Shifted,
    /// Files came, went, or have names that lie.
    Moved,
    /// Somebody made the checksums right again.
    Forged,
}

impl Input for Case {
    fn keep(&self, path: &Path) {
        self.found.write(path);
    }
}

impl Case {
    /// Nothing happened.
    pub fn intact(log: &Log) -> Self {
        Self { intact: log.clone(), found: log.clone(), kind: Kind::InPlace }
    }

    /// One of the logs, damaged in some places in one way or another.
    pub fn damaged(logs: &[Log], random: &mut Random) -> Self {
        let intact = random.pick(logs).clone();
        let mut found = intact.clone();
        let kinds =
            [Kind::InPlace, Kind::InPlace, Kind::InPlace, Kind::Shifted, Kind::Shifted, Kind::Moved, Kind::Moved];
        let kind = if random.once_in(6) { Kind::Forged } else { *random.pick(&kinds) };
        for _ in 0..random.within(1..5) {
            match kind {
                Kind::Moved => move_files(&mut found, logs, random),
                _ => {
                    let Some(bytes) = some_segment(&mut found, random) else { break };
                    match kind {
                        Kind::InPlace => overwrite(bytes, random),
                        Kind::Shifted => shift(bytes, logs, random),
                        _ => forge(bytes, random),
                    }
                }
            }
        }
        // A moved file may have been damaged as well.
        if kind >= Kind::Moved
            && random.once_in(4)
            && let Some(bytes) = some_segment(&mut found, random)
        {
            overwrite(bytes, random);
        }
        Self { intact, found, kind }
    }
}

fn some_name(log: &Log, random: &mut Random) -> Option<String> {
    let names: Vec<&String> = log.segments.keys().collect();
    (!names.is_empty()).then(|| (*random.pick(&names)).clone())
}

fn some_segment<'a>(log: &'a mut Log, random: &mut Random) -> Option<&'a mut Vec<u8>> {
    let name = some_name(log, random)?;
    log.segments.get_mut(&name)
}

/// A frame that stands in order, if there is one.
fn some_frame(bytes: &[u8], random: &mut Random) -> Option<Whole> {
    let frames = walk(bytes);
    (!frames.is_empty()).then(|| *random.pick(&frames))
}

fn overwrite(bytes: &mut Vec<u8>, random: &mut Random) {
    match random.below(6) {
        0 => (0..random.within(1..9)).for_each(|_| flip(bytes, random)),
        1 => {
            // A sector that reads as nothing, or as something else.
            let hit = chunk(bytes, random);
            let fill = *random.pick(&[0x00, 0xff, 0x46]);
            bytes[hit].fill(fill);
        }
        2 => {
            let hit = chunk(bytes, random);
            bytes[hit].fill_with(|| random.next() as u8);
        }
        3 => integer(bytes, random),
        4 => {
            // A field of a frame's head.
            if let Some(frame) = some_frame(bytes, random) {
                integer(&mut bytes[frame.offset..frame.offset + FRAME_HEAD], random);
            }
        }
        _ => bytes.truncate(place(bytes, random)),
    }
}

fn shift(bytes: &mut Vec<u8>, logs: &[Log], random: &mut Random) {
    let other = random.pick(logs).segments.values().next().map(Vec::as_slice).unwrap_or_default();
    match random.below(5) {
        0 => drop(bytes.drain(chunk(bytes, random))),
        1 => {
            let part = bytes[chunk(bytes, random)].to_vec();
            let at = place(bytes, random);
            bytes.splice(at..at, part);
        }
        2 => {
            let at = place(bytes, random);
            bytes.splice(at..at, other[chunk(other, random)].iter().copied());
        }
        3 => {
            bytes.truncate(place(bytes, random));
            bytes.extend_from_slice(&other[place(other, random)..]);
        }
        _ => {
            // A whole frame of this or another log, where a frame ends.
            let source = if random.once_in(2) { bytes.clone() } else { other.to_vec() };
            if let (Some(frame), Some(behind)) = (some_frame(&source, random), some_frame(bytes, random)) {
                bytes.splice(behind.end..behind.end, source[frame.offset..frame.end].iter().copied());
            }
        }
    }
}

fn move_files(log: &mut Log, logs: &[Log], random: &mut Random) {
    let Some(name) = some_name(log, random) else { return };
    match random.below(6) {
        0 => {
            // Two segments change places.
            if let Some(other) = some_name(log, random) {
                let bytes = log.segments[&name].clone();
                let swapped = std::mem::replace(log.segments.get_mut(&other).unwrap(), bytes);
                log.segments.insert(name, swapped);
            }
        }
        1 | 2 => {
            let bytes = log.segments.remove(&name).unwrap();
            log.segments.entry(a_name(random)).or_insert(bytes);
        }
        3 => {
            let bytes = log.segments[&name].clone();
            log.segments.entry(a_name(random)).or_insert(bytes);
        }
        4 => drop(log.segments.remove(&name)),
        _ => {
            let stranger = random.pick(logs);
            if let Some(theirs) = some_name(stranger, random) {
                let to = if random.once_in(2) { name } else { theirs.clone() };
                log.segments.insert(to, stranger.segments[&theirs].clone());
            }
        }
    }
}

/// A file name that says some seq, or none.
fn a_name(random: &mut Random) -> String {
    match random.below(10) {
        0 => random
            .pick(&["first.wal", ".wal", "1.wal", "+0000000000000000002.wal", "00000000000000000000.wal"])
            .to_string(),
        1 => format!("{:020}.wal", an_integer(random)),
        _ => format!("{:020}.wal", random.within(1..14)),
    }
}

/// Changes what a frame or a segment says, and makes its checksums right again.
fn forge(bytes: &mut [u8], random: &mut Random) {
    let Some(frame) = some_frame(bytes, random) else { return };
    let Whole { offset, end, seq, group_start, .. } = frame;
    match random.below(8) {
        0 | 1 => {
            let forged = if random.once_in(3) {
                an_integer(random)
            } else {
                seq.wrapping_add(random.within(0..5)).wrapping_sub(2)
            };
            bytes[offset + 16..offset + 24].copy_from_slice(&forged.to_le_bytes());
        }
        2 | 3 => {
            let forged = if random.once_in(2) { an_integer(random) } else { group_start ^ random.below(256) };
            bytes[offset + 24..offset + 32].copy_from_slice(&forged.to_le_bytes());
        }
        4 => bytes[offset + 12..offset + 16].copy_from_slice(&(random.below(4) as u32).to_le_bytes()),
        5 => {
            let shorter = random.below((end - offset - FRAME_HEAD) as u64 + 1) as u32;
            bytes[offset + 4..offset + 8].copy_from_slice(&shorter.to_le_bytes());
        }
        6 => {
            let payload = &mut bytes[offset + FRAME_HEAD..end];
            let head = payload.len().min(PAYLOAD_HEAD);
            if random.once_in(2) { flip(&mut payload[..head], random) } else { integer(&mut payload[..head], random) }
        }
        _ => {
            bytes[8..12].copy_from_slice(&(random.below(3) as u32).to_le_bytes());
            let crc = crc32fast::hash(&bytes[..12]);
            bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        }
    }
    let payload_end = (offset + FRAME_HEAD + number(bytes, offset + 4) as usize).min(bytes.len());
    let crc = crc32fast::hash(&bytes[offset + FRAME_HEAD..payload_end]);
    bytes[offset + 8..offset + 12].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&bytes[offset..offset + 32]);
    bytes[offset + 32..offset + FRAME_HEAD].copy_from_slice(&crc.to_le_bytes());
}

/// A payload that says other things before its Arrow streams, or ends elsewhere. What is inside of a stream is
/// Arrow's, which trusts its lengths; there the checksum is what protects.
pub fn forged_payload(payload: &[u8], random: &mut Random) -> Vec<u8> {
    let mut payload = payload.to_vec();
    for _ in 0..random.within(1..4) {
        let head = payload.len().min(PAYLOAD_HEAD);
        match random.below(4) {
            0 => flip(&mut payload[..head], random),
            1 => integer(&mut payload[..head], random),
            2 => payload.truncate(place(&payload, random)),
            _ => payload.extend_from_slice(&an_integer(random).to_le_bytes()[..random.within(1..9) as usize]),
        }
    }
    payload
}
