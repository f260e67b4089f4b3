//! Takes damage out of a log that recovery refuses: keeps every whole frame, sets the damaged file
//! aside, and writes down what is missing. Runs only when an operator asks for it, on a log that
//! nobody has open. Never deletes a byte of what it finds.

use std::{
    fmt, io,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use super::{
    frame::Frame,
    reader::{Content, acknowledged_beyond, check_head, content, first_seq_of, read, segment_paths},
    segment::{
        FLAGS_TOMBSTONE, FRAME_HEAD_BYTES, FRAME_MAGIC, FrameHead, FrameRef, SEGMENT_HEAD_BYTES, segment_head,
        segment_path, tombstone_payload,
    },
};
use crate::{
    disk::{self, Disk},
    error::{Context, Kind, Result},
};

/// The directory of the damaged segments, in the log's directory.
pub(super) const DIRECTORY: &str = "quarantine";

/// What a quarantine found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// What the log has lost, in its order; empty when nothing is damaged.
    pub losses: Vec<Loss>,
}

/// A place of the log that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The file as it was found, in its new place; where a whole segment is missing, the one that
    /// now says so.
    pub path: PathBuf,
    /// Where the unreadable bytes start.
    pub offset: u64,
    /// How many they are: 0 where frames are missing without a trace.
    pub bytes: u64,
    /// The seqs above `after_seq` that were there; `None` where only bytes are lost, and no frame.
    pub missing: Option<RangeInclusive<u64>>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes at offset {} cannot be read", self.path.display(), self.bytes, self.offset)?;
        match &self.missing {
            Some(seqs) => write!(f, "; batches {} to {} are lost", seqs.start(), seqs.end()),
            None => write!(f, "; no batch is lost"),
        }
    }
}

/// Replaces each damaged segment by one of its whole frames, and moves the damaged file to
/// `quarantine/`. After `Ok`, recovery with the same `after_seq` accepts the log. Safe to call again
/// after a crash, and does nothing to a log that recovery accepts as it is.
///
/// # Errors
///
/// [`Kind::Conflict`] when another version wrote the log; [`Kind::Corrupt`] when a file's name is not
/// that of a segment; whatever the disk says. Each file is then as it was or wholly done.
pub fn quarantine(disk: &dyn Disk, directory: &Path, after_seq: u64) -> Result<Quarantined> {
    let paths = segment_paths(directory)?;
    let first_seqs = paths.iter().map(|path| first_seq_of(path)).collect::<Result<Vec<_>>>()?;
    let mut found = Quarantined::default();
    if let Some(first_seq) = first_seqs.first().copied().filter(|first_seq| *first_seq > after_seq + 1) {
        // Seqs from before the first segment: a segment of its own says that they are gone.
        let path = segment_path(directory, after_seq + 1);
        let missing = after_seq + 1..=first_seq - 1;
        replace(disk, &path, &encode(&[Kept::Tombstone(missing.clone())]))?;
        found.losses.push(Loss { path, offset: 0, bytes: 0, missing: Some(missing) });
    }
    for (index, path) in paths.iter().enumerate() {
        let next_seq = first_seqs.get(index + 1).copied();
        let bytes = read(path)?;
        let salvage = Salvage::new(Bounds { path, first_seq: first_seqs[index], next_seq, after_seq }, &bytes)?;
        if salvage.losses.is_empty() {
            continue;
        }
        let aside = set_aside(disk, directory, path)?;
        replace(disk, path, &encode(&salvage.kept))?;
        found.losses.extend(salvage.losses.into_iter().map(|loss| Loss { path: aside.clone(), ..loss }));
    }
    Ok(found)
}

/// A frame of the new segment.
enum Kept<'a> {
    Frame(FrameRef<'a>),
    Tombstone(RangeInclusive<u64>),
}

/// What a segment may hold.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    path: &'a Path,
    first_seq: u64,
    /// The first seq of the segment behind it, if there is one.
    next_seq: Option<u64>,
    /// Up to here nothing is lost: the tables have it.
    after_seq: u64,
}

/// What can be kept of a segment, and what cannot.
struct Salvage<'a> {
    bounds: Bounds<'a>,
    kept: Vec<Kept<'a>>,
    losses: Vec<Loss>,
    expected_seq: u64,
}

impl<'a> Salvage<'a> {
    fn new(bounds: Bounds<'a>, bytes: &'a [u8]) -> Result<Self> {
        let mut salvage = Self { bounds, kept: Vec::new(), losses: Vec::new(), expected_seq: bounds.first_seq };
        let mut offset = bytes.len().min(SEGMENT_HEAD_BYTES as usize);
        if !check_head(bounds.path, bytes)? {
            if bounds.next_seq.is_none() && offset == bytes.len() {
                // A torn head: recovery cuts it, because the first group came after it.
                return Ok(salvage);
            }
            // Also where nothing is left of it: recovery refuses a segment without a head.
            salvage.note(0..offset, None);
        }
        while let Some((frame, last_seq)) = salvage.next_frame(bytes, offset)? {
            let seq = frame.head.seq;
            let missing = (seq > salvage.expected_seq).then(|| salvage.expected_seq..=seq - 1);
            salvage.lose(offset..frame.offset, missing);
            salvage.kept.push(match frame.head.flags {
                FLAGS_TOMBSTONE => Kept::Tombstone(seq..=last_seq),
                _ => Kept::Frame(frame),
            });
            salvage.expected_seq = last_seq + 1;
            offset = frame.end();
        }
        let end_seq = match bounds.next_seq {
            Some(next_seq) if next_seq <= bounds.after_seq + 1 => salvage.expected_seq,
            Some(next_seq) => next_seq,
            // In the last segment the rest is a torn tail, unless recovery would refuse it.
            None if is_torn(bytes, offset) => return Ok(salvage),
            None => end_seq(bytes, offset),
        };
        let missing = (end_seq > salvage.expected_seq).then(|| salvage.expected_seq..=end_seq - 1);
        salvage.lose(offset..bytes.len(), missing);
        Ok(salvage)
    }

    /// Notes what is lost, if something is, and leaves a tombstone for what is missing.
    fn lose(&mut self, bytes: Range<usize>, missing: Option<RangeInclusive<u64>>) {
        if !bytes.is_empty() || missing.is_some() {
            self.note(bytes, missing);
        }
    }

    fn note(&mut self, bytes: Range<usize>, missing: Option<RangeInclusive<u64>>) {
        self.kept.extend(missing.clone().map(Kept::Tombstone));
        self.losses.push(Loss {
            path: PathBuf::new(),
            offset: bytes.start as u64,
            bytes: bytes.len() as u64,
            missing: missing
                .map(|seqs| *seqs.start().max(&(self.bounds.after_seq + 1))..=*seqs.end())
                .filter(|seqs| !seqs.is_empty()),
        });
    }

    /// The next frame at or after the offset that can be kept, and the last seq that it stands for.
    fn next_frame(&self, bytes: &'a [u8], mut offset: usize) -> Result<Option<(FrameRef<'a>, u64)>> {
        while offset < bytes.len() {
            if let Some(frame) = FrameRef::at(bytes, offset)
                && let Some(last_seq) = self.last_seq(&frame)?
            {
                return Ok(Some((frame, last_seq)));
            }
            match next_candidate(bytes, offset) {
                Some(next) => offset = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The last seq that a whole frame stands for, if the frame can be kept in this place.
    fn last_seq(&self, frame: &FrameRef<'_>) -> Result<Option<u64>> {
        let seq = frame.head.seq;
        let last_seq = match content(self.bounds.path, frame) {
            Ok(Content::Tombstone(seqs)) => *seqs.end(),
            Ok(Content::Request(payload)) => match Frame::decode(payload) {
                Ok(_) => seq,
                Err(error) if error.kind() == Kind::Corrupt => return Ok(None),
                Err(error) => return Err(error),
            },
            Err(error) if error.kind() == Kind::Corrupt => return Ok(None),
            Err(error) => return Err(error),
        };
        // A frame that is there twice, or that the segment behind has as well, is left out.
        let fits = seq >= self.expected_seq && self.bounds.next_seq.is_none_or(|next_seq| last_seq < next_seq);
        Ok(fits.then_some(last_seq))
    }
}

/// Where the next frame may stand behind a place that holds none that can be kept.
pub(super) fn next_candidate(bytes: &[u8], offset: usize) -> Option<usize> {
    match FrameHead::decode(&bytes[offset..]) {
        // A whole head says how long the damaged payload is. What looks like a frame inside
        // is somebody's record that quotes one.
        Some(head) => {
            let next = offset.saturating_add(FRAME_HEAD_BYTES).saturating_add(head.payload_bytes as usize);
            (next < bytes.len()).then_some(next)
        }
        None => memchr::memmem::find(&bytes[offset + 1..], FRAME_MAGIC).map(|found| offset + 1 + found),
    }
}

/// Whether recovery cuts what is at and behind the offset of a last segment, where no frame can be kept.
fn is_torn(bytes: &[u8], offset: usize) -> bool {
    offset == bytes.len() || FrameRef::at(bytes, offset).is_none() && !acknowledged_beyond(bytes, offset)
}

/// The seq behind the last one that a whole frame at or behind the offset says; 0 where there is none.
fn end_seq(bytes: &[u8], offset: usize) -> u64 {
    let offsets = std::iter::successors(Some(offset), |offset| next_candidate(bytes, *offset));
    offsets.filter_map(|offset| FrameRef::at(bytes, offset)).map(|frame| frame.head.seq + 1).max().unwrap_or(0)
}

/// The bytes of a segment of these frames, each a group of its own.
fn encode(kept: &[Kept<'_>]) -> Vec<u8> {
    let mut bytes = segment_head().to_vec();
    for kept in kept {
        let group_start = bytes.len() as u64;
        match kept {
            Kept::Frame(frame) => {
                bytes.extend_from_slice(&FrameHead { group_start, ..frame.head }.encode());
                bytes.extend_from_slice(frame.payload);
            }
            Kept::Tombstone(seqs) => {
                let payload = tombstone_payload(*seqs.end());
                let head = FrameHead {
                    payload_bytes: payload.len() as u32,
                    crc: crc32fast::hash(&payload),
                    flags: FLAGS_TOMBSTONE,
                    seq: *seqs.start(),
                    group_start,
                };
                bytes.extend_from_slice(&head.encode());
                bytes.extend_from_slice(&payload);
            }
        }
    }
    bytes
}

/// Gives the damaged file a second name under `quarantine/` that lasts; returns it.
fn set_aside(disk: &dyn Disk, directory: &Path, path: &Path) -> Result<PathBuf> {
    let aside = directory.join(DIRECTORY);
    let context = || format!("cannot set the damaged WAL segment {} aside", path.display());
    disk::create_directory_durably(disk, directory, &aside).context(context())?;
    let name = path.file_name().unwrap_or_default();
    let mut link = aside.join(name);
    let mut attempt = 0;
    // The name may be taken by an earlier quarantine of the same segment.
    while let Err(error) = disk.hard_link(path, &link) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error).context(context());
        }
        attempt += 1;
        link.set_file_name(format!("{}.{attempt}", name.display()));
    }
    disk.sync_directory(&aside).context(context())?;
    Ok(link)
}

/// Puts a segment of these bytes in the place of the one at the path, or where there is none.
fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    // No segment has a name that ends like this, so a half one is passed over.
    let staging = path.with_extension("wal-salvage");
    let directory = path.parent().unwrap_or(Path::new("."));
    let replaced = || -> io::Result<()> {
        let mut file = disk.create_file(&staging)?;
        file.write_all_at(0, bytes)?;
        file.sync_all()?;
        drop(file);
        disk.rename(&staging, path)?;
        disk.sync_directory(directory)
    };
    replaced().context(format!("cannot replace the damaged WAL segment {}", path.display()))
}
