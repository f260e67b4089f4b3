//! Reads a log back at start: whole frames in order, torn tails cut, damage reported.
//! Never repairs acknowledged data and never skips a frame.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use super::{
    frame::Frame,
    writer::{
        FRAME_HEAD_BYTES, FRAME_MAGIC, SEGMENT_HEAD_BYTES, SEGMENT_MAGIC, SEGMENT_VERSION, SegmentFile, segment_head,
    },
};
use crate::error::{Context, Error, Kind, Result};

/// What recovery leaves behind for the writer.
#[derive(Debug)]
pub struct Recovered {
    /// The segments on disk, oldest first.
    pub segments: Vec<SegmentFile>,
    /// The highest seq in the log, 0 when it is empty.
    pub last_seq: u64,
    /// Torn tails that were cut: file, offset, bytes.
    pub cut: Vec<(PathBuf, u64, u64)>,
}

/// Reads every segment of the directory and hands each whole frame above `after_seq` to `visit`, in
/// order. Torn tails are cut off the files.
///
/// # Errors
///
/// [`Kind::Corrupt`] with file and offset when acknowledged data is damaged or a seq is missing;
/// whatever `visit` returns.
pub fn recover(directory: &Path, after_seq: u64, mut visit: impl FnMut(u64, Frame) -> Result<()>) -> Result<Recovered> {
    let mut recovered = Recovered { segments: Vec::new(), last_seq: 0, cut: Vec::new() };
    let paths = segment_paths(directory)?;
    for (index, path) in paths.iter().enumerate() {
        let is_last = index + 1 == paths.len();
        let first_seq = first_seq_of(path)?;
        // Up to `after_seq` the caller has everything, so only there may frames be missing.
        if first_seq <= recovered.last_seq || first_seq > recovered.last_seq.max(after_seq) + 1 {
            return Err(damage(path, 0, &format!("the log jumps from seq {} to {first_seq}", recovered.last_seq)));
        }
        let bytes = fs::read(path).context(format!("cannot read the WAL segment {}", path.display()))?;
        let mut expected_seq = first_seq;
        let end = read_segment(path, &bytes, is_last, &mut |seq, payload, offset| {
            if seq != expected_seq {
                return Err(damage(path, offset, &format!("frame {seq} stands where {expected_seq} belongs")));
            }
            expected_seq += 1;
            if seq > after_seq {
                visit(seq, Frame::decode(payload).map_err(|error| at(error, path, offset))?)?;
            }
            Ok(())
        })?;
        if end < bytes.len() as u64 {
            cut(path, end)?;
            recovered.cut.push((path.clone(), end, bytes.len() as u64 - end));
        }
        recovered.last_seq = expected_seq - 1;
        recovered.segments.push(SegmentFile { path: path.clone(), first_seq, bytes: end });
    }
    Ok(recovered)
}

/// Takes seq, payload and file offset of a frame.
pub(super) type Visit<'a> = &'a mut dyn FnMut(u64, &[u8], u64) -> Result<()>;

/// Visits the whole frames of one segment; returns the offset where they end.
pub(super) fn read_segment(path: &Path, bytes: &[u8], is_last: bool, visit: Visit<'_>) -> Result<u64> {
    if !check_head(path, bytes, is_last)? {
        return Ok(0);
    }
    let mut offset = SEGMENT_HEAD_BYTES as usize;
    while offset < bytes.len() {
        match frame_at(bytes, offset) {
            Some(frame) => {
                visit(frame.seq, frame.payload, offset as u64)?;
                offset += FRAME_HEAD_BYTES + frame.payload.len();
            }
            None if is_last && !acknowledged_beyond(bytes, offset) => return Ok(offset as u64),
            None => return Err(damage(path, offset as u64, "a frame is damaged")),
        }
    }
    Ok(offset as u64)
}

struct FrameRef<'a> {
    seq: u64,
    group_start: u64,
    payload: &'a [u8],
}

/// The whole frame at this offset, if there is one.
fn frame_at(bytes: &[u8], offset: usize) -> Option<FrameRef<'_>> {
    let head = bytes.get(offset..offset + FRAME_HEAD_BYTES)?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    if &head[..4] != FRAME_MAGIC || crc32fast::hash(&head[..32]) != number(32) {
        return None;
    }
    let start = offset + FRAME_HEAD_BYTES;
    let payload = bytes.get(start..start.checked_add(number(4) as usize)?)?;
    (crc32fast::hash(payload) == number(8)).then(|| FrameRef { seq: long(16), group_start: long(24), payload })
}

/// Whether a whole frame after the damage says that the damaged place had been fsynced before it.
fn acknowledged_beyond(bytes: &[u8], damaged: usize) -> bool {
    let mut from = damaged + 1;
    while let Some(found) = memchr::memmem::find(&bytes[from..], FRAME_MAGIC) {
        let offset = from + found;
        if frame_at(bytes, offset).is_some_and(|frame| frame.group_start > damaged as u64) {
            return true;
        }
        from = offset + 1;
    }
    false
}

/// Whether the segment has its head; a last segment may be torn before it was whole.
fn check_head(path: &Path, bytes: &[u8], is_last: bool) -> Result<bool> {
    let head = segment_head();
    match bytes.get(..head.len()) {
        Some(found) if found == head => Ok(true),
        Some(found) if &found[..8] == SEGMENT_MAGIC && found[8..12] != SEGMENT_VERSION.to_le_bytes() => {
            Err(Error::new(
                Kind::Conflict,
                format!("{} was written by another version: start that version", path.display()),
            ))
        }
        // The head is fsynced before the first group is written.
        _ if is_last && bytes.len() <= head.len() => Ok(false),
        _ => Err(damage(path, 0, "its head is damaged")),
    }
}

fn segment_paths(directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot list the WAL directory {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).context(context())? {
        let path = entry.context(context())?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn first_seq_of(path: &Path) -> Result<u64> {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.parse().ok())
        .filter(|first_seq| *first_seq > 0)
        .ok_or_else(|| Error::new(Kind::Corrupt, format!("{} is not the name of a WAL segment", path.display())))
}

fn cut(path: &Path, end: u64) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(end).and_then(|()| file.sync_all()))
        .context(format!("cannot cut the torn tail of {}", path.display()))
}

fn at(error: Error, path: &Path, offset: u64) -> Error {
    Error::new(error.kind(), format!("{}, offset {offset}", path.display())).with_source(error)
}

fn damage(path: &Path, offset: u64, what: &str) -> Error {
    Error::new(
        Kind::Corrupt,
        format!(
            "the write-ahead log is damaged: {}, offset {offset}: {what}. Acknowledged records are concerned, \
             so nothing is skipped: restore the file from a copy, or move it and all later segments away to \
             start without what they hold",
            path.display()
        ),
    )
}
