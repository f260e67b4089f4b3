//! Reads a log back at start: whole frames in order, torn tails cut, damage reported.
//! Never repairs acknowledged data and never skips a frame.

use std::{
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{
    frame::Frame,
    segment::{
        FLAGS_REQUEST, FLAGS_REQUEST_WITH_BODY, FLAGS_TOMBSTONE, FRAME_MAGIC, FrameRef, SEGMENT_HEAD_BYTES,
        SEGMENT_MAGIC, SEGMENT_VERSION, SEQ_END, tombstone_seqs,
    },
    writer::SegmentFile,
};
use crate::{
    disk::Disk,
    error::{Context, Error, Kind, Result},
};

/// What recovery leaves behind for the writer.
#[derive(Debug)]
pub struct Recovered {
    /// The segments on disk, oldest first.
    pub segments: Vec<SegmentFile>,
    /// The highest seq in the log, 0 when it is empty.
    pub last_seq: u64,
    /// Torn tails that were cut: file, offset, bytes.
    pub cut: Vec<(PathBuf, u64, u64)>,
    /// Seqs above `after_seq` whose frames a quarantine took away.
    pub quarantined: Vec<RangeInclusive<u64>>,
}

/// Reads every segment of the directory and hands each whole frame above `after_seq` to `visit`, in
/// order. Torn tails are cut off the files. After `Ok`, all that was handed out survives power loss.
///
/// # Errors
///
/// [`Kind::Corrupt`] with file and offset when acknowledged data is damaged or a seq is missing,
/// unless a tombstone stands for it; whatever `visit` returns.
pub fn recover(
    disk: &dyn Disk,
    directory: &Path,
    after_seq: u64,
    mut visit: impl FnMut(u64, Frame) -> Result<()>,
) -> Result<Recovered> {
    let mut recovered = Recovered { segments: Vec::new(), last_seq: 0, cut: Vec::new(), quarantined: Vec::new() };
    let paths = segment_paths(directory)?;
    for (index, path) in paths.iter().enumerate() {
        let is_last = index + 1 == paths.len();
        let first_seq = first_seq_of(path)?;
        // Up to `after_seq` the caller has everything, so only there may frames be missing.
        if first_seq <= recovered.last_seq || first_seq > recovered.last_seq.max(after_seq) + 1 {
            return Err(damage(path, 0, &format!("the log jumps from seq {} to {first_seq}", recovered.last_seq)));
        }
        let bytes = read(path)?;
        let mut expected_seq = first_seq;
        let mut last_group = 0;
        let end = read_segment(path, &bytes, is_last, &mut |frame, content| {
            let seq = frame.head.seq;
            if seq != expected_seq {
                return Err(damage(path, frame.offset, &format!("frame {seq} stands where {expected_seq} belongs")));
            }
            last_group = frame.head.group_start;
            match content {
                Content::Request(payload) => {
                    expected_seq += 1;
                    if seq > after_seq {
                        visit(seq, Frame::decode(payload).map_err(|error| undecodable(error, path, frame.offset))?)?;
                    }
                }
                Content::Tombstone(seqs) => {
                    expected_seq = seqs.end() + 1;
                    if *seqs.end() > after_seq {
                        recovered.quarantined.push(seqs);
                    }
                }
            }
            Ok(())
        })?;
        if is_last {
            settle(disk, path, &bytes[..end], last_group)
                .context(format!("cannot fsync the end of the WAL segment {}", path.display()))?;
        }
        if end < bytes.len() {
            recovered.cut.push((path.clone(), end as u64, (bytes.len() - end) as u64));
        }
        recovered.last_seq = expected_seq - 1;
        recovered.segments.push(SegmentFile { path: path.clone(), first_seq, bytes: end as u64 });
    }
    Ok(recovered)
}

/// Cuts what is torn off the log's end and makes the rest durable, before anybody is told of it. The
/// process that wrote the last group may have died before its fsync, or after one that failed. Then
/// the group is only in the page cache, perhaps already marked as clean: it is written once more, the
/// same bytes at the same place, because an fsync alone would have nothing to do.
fn settle(disk: &dyn Disk, path: &Path, whole: &[u8], last_group: u64) -> io::Result<()> {
    let mut file = disk.open_file(path)?;
    file.set_length(whole.len() as u64)?;
    let group = usize::try_from(last_group).ok().and_then(|start| whole.get(start..)).unwrap_or(whole);
    file.write_all_at((whole.len() - group.len()) as u64, group)?;
    file.sync_all()
}

/// What a frame holds.
pub(super) enum Content<'a> {
    /// A request's payload.
    Request(&'a [u8]),
    /// Nothing: the seqs were quarantined.
    Tombstone(RangeInclusive<u64>),
}

/// Takes a frame and what it holds.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&FrameRef<'_>, Content<'_>) -> Result<()>;

/// Visits the whole frames of one segment; returns the offset where they end.
pub(super) fn read_segment(path: &Path, bytes: &[u8], is_last: bool, visit: Visit<'_>) -> Result<usize> {
    match check_head(path, bytes)? {
        true => {}
        // The head is fsynced before the first group is written: a last segment may have half of it.
        false if is_last && bytes.len() <= SEGMENT_HEAD_BYTES as usize => return Ok(0),
        false => return Err(damage(path, 0, "its head is damaged")),
    }
    let mut offset = SEGMENT_HEAD_BYTES as usize;
    while offset < bytes.len() {
        match FrameRef::at(bytes, offset) {
            Some(frame) => {
                visit(&frame, content(path, &frame)?)?;
                offset = frame.end();
            }
            None if is_last && !acknowledged_beyond(bytes, offset) => return Ok(offset),
            None => return Err(damage(path, offset, "a frame is damaged")),
        }
    }
    Ok(offset)
}

/// What a whole frame holds.
pub(super) fn content<'a>(path: &Path, frame: &FrameRef<'a>) -> Result<Content<'a>> {
    match frame.head.flags {
        FLAGS_REQUEST | FLAGS_REQUEST_WITH_BODY => Ok(Content::Request(frame.payload)),
        FLAGS_TOMBSTONE => tombstone_seqs(frame.head.seq, frame.payload)
            .map(Content::Tombstone)
            .ok_or_else(|| damage(path, frame.offset, "a tombstone does not say where it ends")),
        flags => Err(Error::new(
            Kind::Conflict,
            format!(
                "{}, offset {}: a frame of a kind ({flags}) that this version does not know: start the version \
                 that wrote it",
                path.display(),
                frame.offset
            ),
        )),
    }
}

/// Whether a whole frame after the damage says that the damaged place had been fsynced before it.
pub(super) fn acknowledged_beyond(bytes: &[u8], damaged: usize) -> bool {
    let mut from = damaged + 1;
    while let Some(found) = memchr::memmem::find(&bytes[from..], FRAME_MAGIC) {
        let offset = from + found;
        if FrameRef::at(bytes, offset).is_some_and(|frame| frame.head.group_start > damaged as u64) {
            return true;
        }
        from = offset + 1;
    }
    false
}

/// Whether the segment has its head.
///
/// # Errors
///
/// [`Kind::Conflict`] when another version wrote it, and not damage.
pub(super) fn check_head(path: &Path, bytes: &[u8]) -> Result<bool> {
    let Some(found) = bytes.get(..SEGMENT_HEAD_BYTES as usize) else { return Ok(false) };
    let is_whole = &found[..8] == SEGMENT_MAGIC && crc32fast::hash(&found[..12]).to_le_bytes() == found[12..];
    if is_whole && found[8..12] != SEGMENT_VERSION.to_le_bytes() {
        return Err(Error::new(
            Kind::Conflict,
            format!("{} was written by another version: start that version", path.display()),
        ));
    }
    Ok(is_whole)
}

/// The segments of the directory, oldest first.
pub(super) fn segment_paths(directory: &Path) -> Result<Vec<PathBuf>> {
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

/// The seq that a segment's name says.
pub(super) fn first_seq_of(path: &Path) -> Result<u64> {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        // In the order of their names only if all have their 20 digits.
        .filter(|stem| stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|stem| stem.parse().ok())
        .filter(|first_seq| (1..SEQ_END).contains(first_seq))
        .ok_or_else(|| Error::new(Kind::Corrupt, format!("{} is not the name of a WAL segment", path.display())))
}

/// All bytes of a segment.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context(format!("cannot read the WAL segment {}", path.display()))
}

fn undecodable(error: Error, path: &Path, offset: usize) -> Error {
    match error.kind() {
        Kind::Corrupt => damage(path, offset, "a frame's content is damaged").with_source(error),
        kind => Error::new(kind, format!("{}, offset {offset}", path.display())).with_source(error),
    }
}

fn damage(path: &Path, offset: usize, what: &str) -> Error {
    // The log is a directory of the data directory.
    let data = path.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    Error::new(
        Kind::Corrupt,
        format!(
            "the write-ahead log is damaged: {}, offset {offset}: {what}. Acknowledged records are concerned, so \
             nothing is skipped: restore the file from a copy, or run `driftline verify --data {} --quarantine`, \
             which keeps every whole frame, sets the damaged file aside and says what is missing",
            path.display(),
            argument(data)
        ),
    )
}

/// A path as a shell takes it.
fn argument(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
