//! Looks through a log and says what a start would refuse and what it would cut. Changes nothing, and
//! goes on behind damage, so that one look finds all of it.

use std::{fs, path::Path};

use super::{
    frame::Frame,
    quarantine::{DIRECTORY, next_candidate},
    reader::{Content, acknowledged_beyond, check_head, content, first_seq_of, read, segment_paths},
    segment::{FrameRef, SEGMENT_HEAD_BYTES},
};
use crate::{
    error::{Error, Kind, Result},
    finding::Findings,
};

const RESTORE: &str = "restore the file from a copy, or run `driftline verify --quarantine`, which keeps every whole \
                       frame, sets the damaged file aside and says what is lost";
const UPGRADE: &str = "start the version that wrote it";

/// What is in a log.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What is wrong; places are names below the log's directory.
    pub findings: Findings,
    /// Segments.
    pub segments: usize,
    /// Whole frames, tombstones left out.
    pub frames: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// The seq of the first segment, 0 where there is none.
    pub first_seq: u64,
    /// The highest seq, 0 in an empty log.
    pub last_seq: u64,
    /// Segments that a quarantine set aside.
    pub set_aside: usize,
}

/// Looks at every segment of a log whose rows are counted through `after_seq`, if that is known, and
/// hands each whole frame to `visit`, in order, those at or below `after_seq` included.
///
/// # Errors
///
/// When the directory cannot be listed; all else is a finding.
pub fn inspect(directory: &Path, after_seq: Option<u64>, visit: &mut dyn FnMut(u64, &Frame)) -> Result<Inspection> {
    let mut inspector = Inspector { found: Inspection::default(), after_seq, next_seq: None, visit };
    let mut segments = Vec::new();
    for path in segment_paths(directory)? {
        match first_seq_of(&path) {
            Ok(first_seq) => segments.push((path, first_seq)),
            Err(_) => inspector.found.findings.wrong(name_of(&path), "is not the name of a segment", "move it away"),
        }
    }
    for (index, (path, first_seq)) in segments.iter().enumerate() {
        let place = Place { path, first_seq: *first_seq, next_seq: segments.get(index + 1).map(|(_, seq)| *seq) };
        inspector.segment(place);
    }
    let mut found = inspector.found;
    found.segments = segments.len();
    found.first_seq = segments.first().map_or(0, |(_, first_seq)| *first_seq);
    found.set_aside = fs::read_dir(directory.join(DIRECTORY)).map_or(0, Iterator::count);
    if found.set_aside > 0 {
        found.findings.note(DIRECTORY, format!("damaged segments are kept as they were found: {}", found.set_aside));
    }
    Ok(found)
}

/// A segment and its neighbour.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    first_seq: u64,
    /// The first seq of the segment behind it, if there is one.
    next_seq: Option<u64>,
}

struct Inspector<'a> {
    found: Inspection,
    after_seq: Option<u64>,
    /// The seq that comes next, once a segment was read.
    next_seq: Option<u64>,
    visit: &'a mut dyn FnMut(u64, &Frame),
}

impl Inspector<'_> {
    fn wrong(&mut self, path: &Path, what: String, advice: &str) {
        self.found.findings.wrong(name_of(path), what, advice);
    }

    fn segment(&mut self, place: Place<'_>) {
        self.joint(place);
        // A segment that cannot be read says nothing of where the next one belongs.
        self.next_seq = Some(place.next_seq.unwrap_or(place.first_seq));
        let bytes = match read(place.path) {
            Ok(bytes) => bytes,
            Err(error) => return self.wrong(place.path, error.chain(), "look at the disk"),
        };
        self.found.bytes += bytes.len() as u64;
        match check_head(place.path, &bytes) {
            Ok(true) => self.frames(place, &bytes),
            // As recovery sees it: the head was fsynced before anybody was told of a frame.
            Ok(false) if place.next_seq.is_none() && bytes.len() <= SEGMENT_HEAD_BYTES as usize => {
                self.torn(place.path, 0, bytes.len());
            }
            Ok(false) => {
                self.wrong(place.path, "offset 0: its head is damaged".to_owned(), RESTORE);
                self.frames(place, &bytes);
            }
            Err(_) => self.wrong(place.path, "another version wrote it".to_owned(), UPGRADE),
        }
        self.found.last_seq = self.next_seq.map_or(0, |next_seq| next_seq - 1);
    }

    /// Whether the segment goes on where the one before ended, and the first where the totals do.
    fn joint(&mut self, place: Place<'_>) {
        let first_seq = place.first_seq;
        // What is counted and committed may be gone.
        let counted = self.after_seq.map_or(0, |after_seq| after_seq + 1);
        match (self.next_seq, self.after_seq) {
            (Some(next_seq), _) if first_seq < next_seq => {
                self.wrong(place.path, format!("begins with batch {first_seq} again"), "restore the log from a copy");
            }
            (Some(next_seq), _) if first_seq > next_seq.max(counted) => {
                let missing = format!("batches {} to {} before it are missing", next_seq.max(counted), first_seq - 1);
                self.wrong(place.path, missing, RESTORE);
            }
            (None, Some(after_seq)) if first_seq > after_seq + 1 => {
                let missing = format!("batches {} to {} before it are missing", after_seq + 1, first_seq - 1);
                self.wrong(place.path, missing, RESTORE);
            }
            _ => {}
        }
    }

    fn frames(&mut self, place: Place<'_>, bytes: &[u8]) {
        let mut next_seq = place.first_seq;
        let mut offset = SEGMENT_HEAD_BYTES as usize;
        while offset < bytes.len() {
            let Some(frame) = FrameRef::at(bytes, offset) else {
                if place.next_seq.is_none() && !acknowledged_beyond(bytes, offset) {
                    self.torn(place.path, offset, bytes.len() - offset);
                    break;
                }
                let whole = whole_frame_after(bytes, offset);
                let end = whole.map_or(bytes.len(), |frame| frame.offset);
                let seq = whole.map(|frame| frame.head.seq).or(place.next_seq).unwrap_or(next_seq);
                let damage = format!("offset {offset}: {} bytes are damaged{}", end - offset, lost(next_seq, seq));
                self.wrong(place.path, damage, RESTORE);
                next_seq = next_seq.max(seq);
                offset = end;
                continue;
            };
            let seq = frame.head.seq;
            if seq != next_seq {
                let stands = format!("offset {offset}: batch {seq} stands where {next_seq} belongs");
                self.wrong(place.path, stands, RESTORE);
            }
            next_seq = self.frame(place, &frame) + 1;
            offset = frame.end();
        }
        self.next_seq = Some(next_seq);
    }

    /// Looks into a whole frame; returns the last seq that it stands for.
    fn frame(&mut self, place: Place<'_>, frame: &FrameRef<'_>) -> u64 {
        let seq = frame.head.seq;
        let read = content(place.path, frame).and_then(|content| match content {
            Content::Request(payload) => Frame::decode(payload).map(Ok),
            Content::Tombstone(seqs) => Ok(Err(seqs)),
        });
        match read {
            Ok(Ok(request)) => {
                self.found.frames += 1;
                (self.visit)(seq, &request);
                seq
            }
            Ok(Err(seqs)) => {
                let what = format!("batches {} to {} were quarantined and are not stored", seqs.start(), seqs.end());
                self.found.findings.note(name_of(place.path), what);
                *seqs.end()
            }
            Err(error) => {
                self.unreadable(place, frame.offset, &error);
                seq
            }
        }
    }

    fn unreadable(&mut self, place: Place<'_>, offset: usize, error: &Error) {
        match error.kind() {
            Kind::Corrupt => self.wrong(place.path, format!("offset {offset}: {}", error.chain()), RESTORE),
            _ => self.wrong(place.path, format!("offset {offset}: another version wrote it"), UPGRADE),
        }
    }

    fn torn(&mut self, path: &Path, offset: usize, bytes: usize) {
        let what =
            format!("offset {offset}: {bytes} bytes of a write that nobody was told of; the next start cuts them off");
        self.found.findings.note(name_of(path), what);
    }
}

fn whole_frame_after(bytes: &[u8], damaged: usize) -> Option<FrameRef<'_>> {
    let mut offset = damaged;
    loop {
        offset = next_candidate(bytes, offset)?;
        if let Some(frame) = FrameRef::at(bytes, offset) {
            return Some(frame);
        }
    }
}

/// The seqs from one up to another that is there.
fn lost(from: u64, before: u64) -> String {
    match before.checked_sub(from) {
        None | Some(0) => String::new(),
        Some(1) => format!(", batch {from} with them"),
        Some(_) => format!(", batches {from} to {} with them", before - 1),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.display().to_string())
}
