//! Appends groups of frames and makes them durable. One thread owns the writer.
//! Never reads a frame back, never decides when a segment may go.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    frame::Frame,
    segment::{
        FLAGS_REQUEST, FLAGS_REQUEST_WITH_BODY, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES, segment_head,
        segment_path,
    },
};
use crate::{
    disk::{Disk, DiskFile},
    error::{Context, Error, Kind, Result},
};

/// A frame that waits for its group: the payload and its CRC, computed outside the writer's thread.
#[derive(Debug)]
pub struct Pending {
    payload: Vec<u8>,
    crc: u32,
    flags: u32,
}

impl Pending {
    /// Encodes a frame.
    pub fn new(frame: &Frame) -> Result<Self> {
        let has_body = frame.receipt.is_some_and(|receipt| receipt.body.is_some());
        let flags = if has_body { FLAGS_REQUEST_WITH_BODY } else { FLAGS_REQUEST };
        Ok(Self::of_payload(frame.encode()?, flags))
    }

    pub(super) fn of_payload(payload: Vec<u8>, flags: u32) -> Self {
        let crc = crc32fast::hash(&payload);
        Self { payload, crc, flags }
    }

    /// Bytes that the frame will take in the log.
    pub fn bytes(&self) -> u64 {
        (self.payload.len() + FRAME_HEAD_BYTES) as u64
    }
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The seq the next frame gets.
    pub next_seq: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// The open end of the log.
#[derive(Debug)]
pub struct Writer {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    segment_bytes_max: u64,
    segments: Vec<SegmentFile>,
    active: Option<Active>,
    next_seq: u64,
    poisoned: bool,
}

/// Where a writer goes on.
#[derive(Debug)]
pub struct Resume {
    /// The segments on disk, oldest first, as recovery found them.
    pub segments: Vec<SegmentFile>,
    /// The seq that the next frame gets.
    pub next_seq: u64,
}

/// A segment on disk.
#[derive(Debug, Clone)]
pub struct SegmentFile {
    /// Its path.
    pub path: PathBuf,
    /// The seq of its first frame.
    pub first_seq: u64,
    /// Its length.
    pub bytes: u64,
}

#[derive(Debug)]
struct Active {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl Writer {
    /// Goes on after the segments that recovery found; the next group opens a new one, so bytes that
    /// recovery has seen are never written over.
    pub fn new(disk: Arc<dyn Disk>, directory: &Path, segment_bytes_max: u64, resume: Resume) -> Self {
        let Resume { segments, next_seq } = resume;
        let directory = directory.to_owned();
        Self { disk, directory, segment_bytes_max, segments, active: None, next_seq, poisoned: false }
    }

    /// The log's end.
    pub fn position(&self) -> Position {
        Position { next_seq: self.next_seq, bytes: self.segments.iter().map(|segment| segment.bytes).sum() }
    }

    /// The log's segments, oldest first, each as long as it is known to be durable.
    pub fn segments(&self) -> &[SegmentFile] {
        &self.segments
    }

    /// Writes the frames as one group and fsyncs it; returns the seq of the first. After `Ok` they
    /// survive power loss; after `Err` none of them is acknowledged, and if what is on disk is not
    /// known any more, the writer refuses all further groups.
    pub fn append_group(&mut self, group: &[Pending]) -> Result<u64> {
        if self.poisoned {
            return Err(Error::new(
                Kind::Internal,
                "the write-ahead log failed before and takes no more writes: restart once its disk is healthy",
            ));
        }
        if self.active.as_ref().is_none_or(|active| active.offset >= self.segment_bytes_max) {
            self.rotate()?;
        }
        let first_seq = self.next_seq;
        let active = self.active.as_mut().expect("rotate opened a segment");
        let group_start = active.offset;
        let written = write_group(active.file.as_mut(), group, first_seq, group_start);
        let end = match written {
            Ok(end) => end,
            Err(error) => {
                // A full disk heals: take the half group back and go on once there is room. Of one that fails
                // otherwise nothing is known.
                let taken_back = active.file.set_length(group_start).and_then(|()| active.file.sync_data());
                let error = write_error(error);
                self.poisoned = taken_back.is_err() || error.kind() != Kind::Busy;
                return Err(error);
            }
        };
        if let Err(error) = active.file.sync_data() {
            return Err(self.poison(error));
        }
        active.offset = end;
        self.next_seq += group.len() as u64;
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes = end;
        }
        Ok(first_seq)
    }

    /// Writes no more to the present segment: so it can be removed although it is not full.
    pub fn close_segment(&mut self) {
        self.active = None;
    }

    /// Removes the segments all of whose frames are at or below `seq`.
    pub fn forget_through(&mut self, seq: u64) -> Result<()> {
        let mut removed = false;
        while let Some(oldest) = self.segments.first() {
            let last_seq = self.segments.get(1).map_or(self.next_seq, |next| next.first_seq) - 1;
            let is_active = self.segments.len() == 1 && self.active.is_some();
            if last_seq > seq || (is_active && oldest.bytes < self.segment_bytes_max) {
                break;
            }
            if is_active {
                self.active = None;
            }
            match self.disk.remove_file(&oldest.path) {
                // An earlier attempt may have failed after it removed the name.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context(format!("cannot remove the WAL segment {}", oldest.path.display()));
                }
                _ => self.segments.remove(0),
            };
            removed = true;
        }
        if removed { self.sync_directory() } else { Ok(()) }
    }

    /// Whether a failure left the log's end unknown.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    fn rotate(&mut self) -> Result<()> {
        let path = segment_path(&self.directory, self.next_seq);
        let mut file = self.disk.create_file(&path).map_err(write_error)?;
        file.write_all_at(0, &segment_head()).map_err(write_error)?;
        file.sync_all().map_err(|error| self.poison(error))?;
        self.sync_directory()?;
        // Recovery may have left a segment of the same first seq: one whose every frame was torn.
        self.segments.retain(|segment| segment.path != path);
        self.segments.push(SegmentFile { path, first_seq: self.next_seq, bytes: SEGMENT_HEAD_BYTES });
        self.active = Some(Active { file, offset: SEGMENT_HEAD_BYTES });
        Ok(())
    }

    /// Makes the names of segments last.
    fn sync_directory(&mut self) -> Result<()> {
        let synced = self.disk.sync_directory(&self.directory);
        synced.map_err(|error| self.poison(error))
    }

    /// Takes no more until a restart has read what the log holds.
    pub fn refuse(&mut self) {
        self.poisoned = true;
    }

    /// After a failed fsync the kernel may have dropped the pages and marked them clean: trying
    /// again would report success for data that is gone.
    fn poison(&mut self, error: io::Error) -> Error {
        self.poisoned = true;
        Error::new(Kind::Internal, "cannot fsync the write-ahead log").with_source(error)
    }
}

/// Writes the frames one behind the other; returns where they end.
fn write_group(file: &mut dyn DiskFile, group: &[Pending], first_seq: u64, group_start: u64) -> io::Result<u64> {
    let mut offset = group_start;
    for (index, pending) in group.iter().enumerate() {
        let payload_bytes = u32::try_from(pending.payload.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a frame is limited to 4 GiB"))?;
        let seq = first_seq + index as u64;
        let head = FrameHead { payload_bytes, crc: pending.crc, flags: pending.flags, seq, group_start };
        file.write_all_at(offset, &head.encode())?;
        file.write_all_at(offset + FRAME_HEAD_BYTES as u64, &pending.payload)?;
        offset += pending.bytes();
    }
    Ok(offset)
}

fn write_error(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Busy,
        _ => Kind::Internal,
    };
    Error::new(kind, "cannot write the write-ahead log").with_source(error)
}
