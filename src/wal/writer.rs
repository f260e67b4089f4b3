//! Appends groups of frames and makes them durable. One thread owns the writer.
//! Never reads a frame back, never decides when a segment may go.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::error::{Context, Error, Kind, Result};

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

/// A frame that waits for its group: the payload and its CRC, computed outside the writer's thread.
#[derive(Debug)]
pub struct Pending {
    payload: Vec<u8>,
    crc: u32,
}

impl Pending {
    /// Takes an encoded payload.
    pub fn new(payload: Vec<u8>) -> Self {
        let crc = crc32fast::hash(&payload);
        Self { payload, crc }
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
    directory: PathBuf,
    segment_bytes_max: u64,
    segments: Vec<SegmentFile>,
    active: Option<Active>,
    next_seq: u64,
    poisoned: bool,
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
    file: File,
    offset: u64,
}

impl Writer {
    /// Goes on after the segments that recovery found; the next group opens a new one, so bytes that
    /// recovery has seen are never written over.
    pub fn new(directory: &Path, segment_bytes_max: u64, segments: Vec<SegmentFile>, next_seq: u64) -> Self {
        Self { directory: directory.to_owned(), segment_bytes_max, segments, active: None, next_seq, poisoned: false }
    }

    /// The log's end.
    pub fn position(&self) -> Position {
        Position { next_seq: self.next_seq, bytes: self.segments.iter().map(|segment| segment.bytes).sum() }
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
        let written = write_group(&mut active.file, group, first_seq, group_start);
        let end = match written {
            Ok(bytes) => group_start + bytes,
            Err(error) => {
                // A full disk heals: take the half group back and go on once there is room.
                let taken_back = active.file.set_len(group_start).and_then(|()| active.file.sync_data());
                self.poisoned = taken_back.is_err() || seek_end(&mut active.file, group_start).is_err();
                return Err(write_error(error));
            }
        };
        if let Err(error) = active.file.sync_data() {
            // After a failed fsync the kernel may have dropped the pages and marked them clean:
            // trying again would report success for data that is gone.
            self.poisoned = true;
            return Err(Error::new(Kind::Internal, "cannot fsync the write-ahead log").with_source(error));
        }
        active.offset = end;
        self.next_seq += group.len() as u64;
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes = end;
        }
        Ok(first_seq)
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
            fs::remove_file(&oldest.path)
                .context(format!("cannot remove the WAL segment {}", oldest.path.display()))?;
            self.segments.remove(0);
            removed = true;
        }
        if removed { sync_directory(&self.directory) } else { Ok(()) }
    }

    /// Whether a failure left the log's end unknown.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    fn rotate(&mut self) -> Result<()> {
        let path = segment_path(&self.directory, self.next_seq);
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            file.write_all(&segment_head())?;
            file.sync_all()?;
            Ok(file)
        };
        let file = open().map_err(write_error)?;
        sync_directory(&self.directory)?;
        // Recovery may have left a segment of the same first seq: one whose every frame was torn.
        self.segments.retain(|segment| segment.path != path);
        self.segments.push(SegmentFile { path, first_seq: self.next_seq, bytes: SEGMENT_HEAD_BYTES });
        self.active = Some(Active { file, offset: SEGMENT_HEAD_BYTES });
        Ok(())
    }
}

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

/// Fsyncs a directory, so that names made in it survive power loss.
pub fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .context(format!("cannot fsync the directory {}", directory.display()))
}

fn write_group(file: &mut File, group: &[Pending], first_seq: u64, group_start: u64) -> io::Result<u64> {
    let mut bytes = 0;
    for (index, pending) in group.iter().enumerate() {
        file.write_all(&frame_head(pending, first_seq + index as u64, group_start)?)?;
        file.write_all(&pending.payload)?;
        bytes += pending.bytes();
    }
    Ok(bytes)
}

fn frame_head(pending: &Pending, seq: u64, group_start: u64) -> io::Result<[u8; FRAME_HEAD_BYTES]> {
    let length = u32::try_from(pending.payload.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a frame is limited to 4 GiB"))?;
    let mut head = [0; FRAME_HEAD_BYTES];
    head[0..4].copy_from_slice(FRAME_MAGIC);
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..12].copy_from_slice(&pending.crc.to_le_bytes());
    head[16..24].copy_from_slice(&seq.to_le_bytes());
    head[24..32].copy_from_slice(&group_start.to_le_bytes());
    let crc = crc32fast::hash(&head[..32]);
    head[32..].copy_from_slice(&crc.to_le_bytes());
    Ok(head)
}

fn seek_end(file: &mut File, offset: u64) -> io::Result<u64> {
    io::Seek::seek(file, io::SeekFrom::Start(offset))
}

fn write_error(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Busy,
        _ => Kind::Internal,
    };
    Error::new(kind, "cannot write the write-ahead log").with_source(error)
}
