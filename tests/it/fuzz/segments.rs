//! What the log's readers must keep to, whatever its files hold: nothing panics, nothing is lost in silence, and a
//! quarantine ends in a log that opens. Judges by the bytes that were there before, never by what one reader says of
//! another alone.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use driftline::{
    error::{Error, Kind as ErrorKind, Result},
    wal::{Frame, Inspection, Loss, Quarantined, Recovered, inspect, quarantine, recover},
};

use super::{
    corpus::Entry,
    damage::{Case, HEAD, Kind, Log, Whole, walk},
};
use crate::{random::Random, simulated_disk::SimulatedDisk};

/// A seq and what its frame holds.
type Numbered = (u64, Vec<u8>);

/// All requests of the corpus' logs: seq and payload → the payload as it is encoded today.
pub struct Known(HashMap<Numbered, Vec<u8>>);

impl Known {
    /// Of these logs.
    pub fn new(logs: &[Log]) -> Self {
        let mut known = HashMap::new();
        for bytes in logs.iter().flat_map(|log| log.segments.values()) {
            for frame in walk(bytes).into_iter().filter(|frame| !frame.is_tombstone) {
                let payload = frame.payload(bytes).to_vec();
                let today = Frame::decode(&payload).unwrap().encode().unwrap();
                known.insert((frame.seq, payload), today);
            }
        }
        Self(known)
    }

    fn today(&self, frame: Whole, bytes: &[u8]) -> Numbered {
        (frame.seq, self.0[&(frame.seq, frame.payload(bytes).to_vec())].clone())
    }

    fn has(&self, found: &Numbered) -> bool {
        self.0.iter().any(|((seq, _), today)| *seq == found.0 && *today == found.1)
    }
}

/// The requests of a log.
pub fn payloads(log: &Log) -> Vec<Entry> {
    let mut payloads = Vec::new();
    for (name, bytes) in &log.segments {
        for frame in walk(bytes).into_iter().filter(|frame| !frame.is_tombstone) {
            payloads.push(Entry { name: name.clone(), bytes: frame.payload(bytes).to_vec() });
        }
    }
    payloads
}

/// A payload whose checksum is right is a request, which stays the same when it is written again, or is refused.
pub fn check_payload(payload: &[u8]) {
    match Frame::decode(payload) {
        Ok(frame) => {
            let again = Frame::decode(&frame.encode().unwrap()).unwrap();
            let head = |frame: &Frame| (frame.received_at_us, frame.receipt, frame.accepted, frame.rejected);
            assert_eq!(head(&again), head(&frame));
            let rows = |frame: &Frame| -> Vec<_> {
                frame.sections.iter().map(|section| (section.table, section.batch.clone())).collect()
            };
            assert_eq!(rows(&again), rows(&frame));
        }
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Conflict), "{}", error.chain()),
    }
}

/// A log on a disk, and how far the tables have it.
struct Place {
    directory: PathBuf,
    disk: SimulatedDisk,
    after_seq: u64,
}

/// What recovery hands out, and how it ends.
struct Read {
    frames: Vec<Numbered>,
    end: Result<Recovered>,
}

impl Place {
    fn read(&self) -> Read {
        let mut frames = Vec::new();
        let end = recover(&self.disk, &self.directory, self.after_seq, |seq, frame| {
            frames.push((seq, frame.encode()?));
            Ok(())
        });
        Read { frames, end }
    }

    fn inspect(&self, after_seq: Option<u64>) -> Inspection {
        inspect(&self.directory, after_seq, &mut |_, _| {}).unwrap()
    }

    fn quarantine(&self) -> Result<Quarantined> {
        quarantine(&self.disk, &self.directory, self.after_seq)
    }
}

/// One log.
pub fn check(case: &Case, known: &Known, random: &mut Random) {
    let kept = tempfile::tempdir().unwrap();
    let directory = kept.path().canonicalize().unwrap();
    case.found.write(&directory);
    let after_seq = if random.once_in(3) { random.below(12) } else { case.intact.first_seq() - 1 };
    let place = Place { disk: SimulatedDisk::new(&directory), directory, after_seq };
    let inspection = place.inspect(Some(after_seq));
    place.inspect(None);
    assert_eq!(Log::read(&place.directory), case.found, "a look changed the log");
    let Read { frames, end } = place.read();
    check_frames(case, known, &frames, after_seq);
    check_promised(case, known, &frames, after_seq);
    match end {
        Ok(recovered) => {
            check_accepted(case, &place, &frames, &recovered);
            check_inspection(case, &inspection, &frames, &recovered);
        }
        Err(error) => {
            check_refused(case, &error);
            assert_eq!(Log::read(&place.directory), case.found, "a log that was refused was changed");
            assert!(!inspection.findings.is_clean(), "a look finds nothing wrong: {error}");
            check_quarantine(case, known, &place);
        }
    }
}

/// What is handed out stands in order, and was written so.
fn check_frames(case: &Case, known: &Known, frames: &[Numbered], after_seq: u64) {
    assert!(frames.iter().all(|(seq, _)| *seq > after_seq));
    assert!(frames.is_sorted_by(|(before, _), (seq, _)| before < seq));
    if case.kind != Kind::Forged {
        for frame in frames {
            assert!(known.has(frame), "frame {} was never written like this", frame.0);
        }
    }
}

/// All whole frames before the first difference are handed out.
fn check_promised(case: &Case, known: &Known, frames: &[Numbered], after_seq: u64) {
    let mut promised = Vec::new();
    for ((name, intact), (found_name, found)) in case.intact.segments.iter().zip(&case.found.segments) {
        if name != found_name || case.intact.first_seq() > after_seq + 1 {
            break;
        }
        let same = intact.iter().zip(found).take_while(|(before, after)| before == after).count();
        let whole = walk(intact).into_iter().filter(|frame| frame.end <= same);
        let requests = whole.filter(|frame| !frame.is_tombstone && frame.seq > after_seq);
        promised.extend(requests.map(|frame| known.today(frame, intact)));
        // A log of the corpus may have its own damage.
        let end = walk(intact).last().map_or(HEAD, |frame| frame.end);
        if same < intact.len().max(found.len()) || end != intact.len() {
            break;
        }
    }
    assert!(frames.starts_with(&promised), "{} of {} frames before the damage", frames.len(), promised.len());
}

/// A log that opens has all of its whole frames in order, and what was cut was never acknowledged.
fn check_accepted(case: &Case, place: &Place, frames: &[Numbered], recovered: &Recovered) {
    check_contiguous(frames, &recovered.quarantined, place.after_seq, recovered.last_seq);
    let mut left = case.found.clone();
    let segments = || case.found.segments.iter().filter(|(name, _)| is_segment(name));
    assert_eq!(recovered.segments.len(), segments().count());
    let whole = segments().flat_map(|(_, bytes)| walk(bytes));
    let requests = whole.filter(|frame| !frame.is_tombstone && frame.seq > place.after_seq);
    assert!(requests.map(|frame| frame.seq).eq(frames.iter().map(|(seq, _)| *seq)), "a whole frame was passed over");
    assert!(recovered.cut.len() <= 1);
    for (path, offset, cut) in &recovered.cut {
        let (name, bytes) = segments().next_back().unwrap();
        let offset = *offset as usize;
        assert_eq!((file_name(path), *cut), (name.clone(), (bytes.len() - offset) as u64));
        let acknowledged = (offset + 1..bytes.len())
            .filter_map(|at| Whole::at(bytes, at))
            .find(|frame| frame.group_start > offset as u64);
        assert_eq!(acknowledged, None, "{offset} was cut, but a later group was written after it");
        left.segments.get_mut(name).unwrap().truncate(offset);
    }
    assert_eq!(Log::read(&place.directory), left, "recovery changed more than the torn tail");
    let again = place.read();
    let recovered = again.end.unwrap();
    assert!(again.frames == frames && recovered.cut.is_empty(), "the second time is another");
}

/// The names that the readers look at.
fn is_segment(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "wal")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Every seq from the first that counts is there or is said to be quarantined, once.
fn check_contiguous(frames: &[Numbered], quarantined: &[RangeInclusive<u64>], after_seq: u64, last_seq: u64) {
    let there = frames.iter().map(|(seq, _)| (*seq, *seq));
    let gone = quarantined.iter().map(|seqs| (*seqs.start().max(&(after_seq + 1)), *seqs.end()));
    let mut runs: Vec<(u64, u64)> = there.chain(gone).collect();
    runs.sort_unstable();
    let end = runs.iter().fold(after_seq + 1, |next, (start, end)| {
        assert_eq!(*start, next, "{runs:?}");
        end + 1
    });
    assert!(runs.is_empty() || end == last_seq + 1, "{runs:?} do not end at {last_seq}");
}

/// A look agrees with recovery, where recovery looks at everything.
fn check_inspection(case: &Case, inspection: &Inspection, frames: &[Numbered], recovered: &Recovered) {
    let found = case.found.segments.iter().filter(|(name, _)| is_segment(name));
    let requests = found.flat_map(|(_, bytes)| walk(bytes)).filter(|frame| !frame.is_tombstone).count();
    if requests == frames.len() {
        assert!(inspection.findings.is_clean(), "{:?}", inspection.findings.wrong);
        assert_eq!((inspection.frames, inspection.last_seq), (frames.len(), recovered.last_seq));
    }
}

/// An error says where.
fn check_refused(case: &Case, error: &Error) {
    let text = error.to_string();
    let is_forged = case.kind == Kind::Forged;
    assert!(error.kind() == ErrorKind::Corrupt || is_forged && error.kind() == ErrorKind::Conflict, "{text}");
    assert!(case.found.segments.keys().any(|name| text.contains(name.as_str())), "{text}");
    let has_offset = text.contains("offset ");
    assert!(has_offset || is_no_name(error) || text.contains("another version"), "{text}");
}

fn is_no_name(error: &Error) -> bool {
    error.kind() == ErrorKind::Corrupt && error.to_string().contains("is not the name of a WAL segment")
}

/// After a quarantine the log opens, what is missing was said, and no byte is gone.
fn check_quarantine(case: &Case, known: &Known, place: &Place) {
    let quarantined = place.quarantine();
    check_preserved(case, place);
    let losses = match quarantined {
        Ok(quarantined) => quarantined.losses,
        Err(error) => {
            let is_foreign = case.kind == Kind::Forged && error.kind() == ErrorKind::Conflict;
            return assert!(is_foreign || is_no_name(&error), "{}", error.chain());
        }
    };
    let Read { frames, end } = place.read();
    let recovered = end.unwrap_or_else(|error| panic!("refused after a quarantine: {}\n{losses:?}", error.chain()));
    check_frames(case, known, &frames, place.after_seq);
    check_contiguous(&frames, &recovered.quarantined, place.after_seq, recovered.last_seq);
    check_reported(case, &losses, &recovered.quarantined, place.after_seq);
    if case.kind != Kind::Moved {
        check_promised(case, known, &frames, place.after_seq);
    }
    if case.kind == Kind::InPlace {
        check_kept(case, known, &frames, place.after_seq);
    }
    assert_eq!(place.quarantine().unwrap(), Quarantined::default(), "the second time there is something to do");
    let inspection = place.inspect(Some(place.after_seq));
    assert!(inspection.findings.is_clean(), "{:?}", inspection.findings.wrong);
}

/// Each file is as it was, or set aside.
fn check_preserved(case: &Case, place: &Place) {
    let now = Log::read(&place.directory);
    let aside = place.directory.join("quarantine");
    let aside: Vec<Vec<u8>> =
        if aside.is_dir() { Log::read(&aside).segments.into_values().collect() } else { Vec::new() };
    for (name, bytes) in &case.found.segments {
        assert!(now.segments.get(name) == Some(bytes) || aside.contains(bytes), "{name} is lost");
    }
}

/// What recovery calls quarantined was so before, or is among the losses.
fn check_reported(case: &Case, losses: &[Loss], quarantined: &[RangeInclusive<u64>], after_seq: u64) {
    let mut said: Vec<RangeInclusive<u64>> = losses.iter().filter_map(|loss| loss.missing.clone()).collect();
    for bytes in case.found.segments.values() {
        let whole = memchr::memmem::find_iter(bytes, b"FRM1").filter_map(|at| Whole::at(bytes, at));
        for frame in whole.filter(|frame| frame.is_tombstone) {
            if let Ok(last_seq) = <[u8; 8]>::try_from(frame.payload(bytes)) {
                said.push(frame.seq..=u64::from_le_bytes(last_seq));
            }
        }
    }
    for seqs in quarantined {
        let mut next = *seqs.start().max(&(after_seq + 1));
        while next <= *seqs.end() {
            let covering = said.iter().find(|said| said.contains(&next));
            next = covering.unwrap_or_else(|| panic!("{next} is gone, and only {said:?} are said to be")).end() + 1;
        }
    }
}

/// Every frame whose bytes stand where they stood is kept.
fn check_kept(case: &Case, known: &Known, frames: &[Numbered], after_seq: u64) {
    for (name, intact) in &case.intact.segments {
        let found = &case.found.segments[name];
        for frame in walk(intact).into_iter().filter(|frame| !frame.is_tombstone && frame.seq > after_seq) {
            if found.get(frame.offset..frame.end) == Some(&intact[frame.offset..frame.end]) {
                let frame = known.today(frame, intact);
                assert!(frames.contains(&frame), "the whole frame {} is lost", frame.0);
            }
        }
    }
}
