//! The log written, damaged in every way, and read again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Int64Array, MapArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
        new_null_array,
    },
    datatypes::{Field, Schema},
};
use tempfile::TempDir;

use super::{
    reader::{Content, read_segment},
    segment::{
        FLAGS_REQUEST, FLAGS_TOMBSTONE, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES, segment_head, segment_path,
    },
    *,
};
use crate::{
    disk::{Disk, DiskFile, SystemDisk},
    error::{Error, Kind, Result},
    record::{Receipt, Table, col},
};

/// One segment takes it all.
const ONE_SEGMENT: u64 = 1 << 30;
/// The place of the first section's table tag in a payload.
const TAG_OFFSET: usize = 8 + 1 + 16 + 4 + 4 + 1;

/// The machine's disk without its fsyncs, which take most of the time and change nothing here.
#[derive(Debug)]
struct UnsyncedDisk;

impl Disk for UnsyncedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.create_directory(path)
    }
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.create_file(path)?)))
    }
    fn create_new_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.create_new_file(path)?)))
    }
    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.open_file(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        SystemDisk.hard_link(original, link)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_file(path)
    }
    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct UnsyncedFile(Box<dyn DiskFile>);

impl DiskFile for UnsyncedFile {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(offset, bytes)
    }
    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_length(bytes)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Rejected lines, the smallest rows there are.
fn rejects(marks: &[&str]) -> RecordBatch {
    let fields = Table::RejectedLogs.schema().fields();
    let schema = Arc::new(Schema::new(fields[..fields.len() - 1].to_vec()));
    let text = || Arc::new(StringViewArray::from_iter_values(marks)) as ArrayRef;
    let times = Arc::new(TimestampMicrosecondArray::from_value(1, marks.len())) as ArrayRef;
    let lines = Arc::new(Int64Array::from_iter_values(1..=marks.len() as i64)) as ArrayRef;
    RecordBatch::try_new(schema, vec![times, lines, text(), text()]).unwrap()
}

/// Rows of `agent_logs` where only these columns hold something.
fn logs(rows: usize, held: &[(&str, ArrayRef)]) -> RecordBatch {
    let fields = Table::AgentLogs.schema().fields();
    let fields = fields[..fields.len() - 1].to_vec();
    let column = |field: &Arc<Field>| match held.iter().find(|(name, _)| name == field.name()) {
        Some((_, column)) => Arc::clone(column),
        None if field.is_nullable() => new_null_array(field.data_type(), rows),
        None => Arc::new(TimestampMicrosecondArray::from_value(-5, rows)),
    };
    let columns = fields.iter().map(column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn frame(mark: &str) -> Frame {
    let sections = vec![Section { table: Table::RejectedLogs, batch: rejects(&[mark]) }];
    Frame { received_at_us: 7, receipt: None, accepted: 0, rejected: 1, sections }
}

fn pending(mark: &str) -> Pending {
    Pending::new(&frame(mark)).unwrap()
}

fn mark(frame: &Frame) -> String {
    let raw = frame.sections[0].batch.column_by_name(col::RAW).unwrap();
    raw.as_any().downcast_ref::<StringViewArray>().unwrap().value(0).to_owned()
}

/// What recovery hands out, as `seq:mark` words.
fn recovered(directory: &Path, after_seq: u64) -> Result<(String, Recovered)> {
    let mut words = Vec::new();
    let recovered = recover(&UnsyncedDisk, directory, after_seq, |seq, frame| {
        words.push(format!("{seq}:{}", mark(&frame)));
        Ok(())
    })?;
    Ok((words.join(" "), recovered))
}

/// Recovers, and goes on writing after it.
fn reopen(directory: &Path, segment_bytes_max: u64) -> (String, Writer) {
    let (words, recovered) = recovered(directory, 0).unwrap();
    let next_seq = recovered.last_seq + 1;
    (words, writer(directory, segment_bytes_max, Resume { segments: recovered.segments, next_seq }))
}

fn writer(directory: &Path, segment_bytes_max: u64, resume: Resume) -> Writer {
    Writer::new(Arc::new(UnsyncedDisk), directory, segment_bytes_max, resume)
}

/// What a writer of an empty log starts with.
fn from_the_start() -> Resume {
    Resume { segments: Vec::new(), next_seq: 1 }
}

/// A log of groups of marks, each group a list of words, each segment at most `segment_bytes_max`
/// and a group long.
fn log(segment_bytes_max: u64, groups: &[&str]) -> (TempDir, Writer) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path(), segment_bytes_max, from_the_start());
    for group in groups {
        append(&mut writer, group);
    }
    (directory, writer)
}

fn append(writer: &mut Writer, group: &str) -> u64 {
    let group: Vec<_> = group.split(' ').map(pending).collect();
    writer.append_group(&group).unwrap()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The offsets where the frames of a whole segment start, and its end.
fn frame_offsets(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let end = read_segment(Path::new("whole.wal"), bytes, true, &mut |frame, _| {
        offsets.push(frame.offset);
        Ok(())
    });
    assert_eq!(end.unwrap(), bytes.len());
    offsets.push(bytes.len());
    offsets
}

fn seqs(bytes: &[u8], is_last: bool) -> (Vec<u64>, Result<usize>) {
    let mut seqs = Vec::new();
    let end = read_segment(Path::new("damaged.wal"), bytes, is_last, &mut |frame, content| {
        let Content::Request(payload) = content else { panic!("no frame was quarantined") };
        Frame::decode(payload)?;
        seqs.push(frame.head.seq);
        Ok(())
    });
    (seqs, end)
}

#[track_caller]
fn check_error(error: &Error, kind: Kind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part} is missing: {error}");
    }
}

#[test]
fn frames_are_the_same_after_a_round_trip() {
    let text = |values: &[Option<&str>]| Arc::new(values.iter().copied().collect::<StringViewArray>()) as ArrayRef;
    let checks = Table::AgentLogs.schema().field_with_name(col::GUARDRAIL_CHECKS).unwrap().data_type().clone();
    let receipt = |identity, body| Some(Receipt { identity: [identity; 16], body });
    let no_checks = MapArray::from(new_null_array(&checks, 2).to_data());
    for (receipt, batches) in [
        (None, vec![]),
        (receipt(7, Some([8; 16])), vec![(Table::RejectedLogs, rejects(&["a line that is longer than a view", "b"]))]),
        (receipt(0, None), vec![(Table::AgentLogs, logs(2, &[])), (Table::RejectedLogs, rejects(&["x"]))]),
        (None, vec![(Table::AgentLogs, logs(0, &[]))]),
        (None, vec![(Table::AgentLogs, logs(2, &[(col::MODEL, text(&[Some("m"), None]))]).slice(1, 1))]),
        (
            None,
            vec![(
                Table::AgentLogs,
                logs(2, &[(col::MODEL, text(&[None, Some("m")])), (col::GUARDRAIL_CHECKS, Arc::new(no_checks))]),
            )],
        ),
    ] {
        let sections = batches.into_iter().map(|(table, batch)| Section { table, batch }).collect();
        let sent = Frame { received_at_us: -1, receipt, accepted: 3, rejected: u32::MAX, sections };
        let found = Frame::decode(&sent.encode().unwrap()).unwrap();
        assert_eq!((found.received_at_us, found.receipt), (-1, receipt));
        assert_eq!((found.accepted, found.rejected), (3, u32::MAX));
        let tables = |frame: &Frame| -> Vec<_> {
            frame.sections.iter().map(|section| (section.table, section.batch.clone())).collect()
        };
        assert_eq!(tables(&found), tables(&sent));
    }
}

/// A segment as the first version wrote it: one frame, with a receipt that knows no body.
const OLDER_SEGMENT: &str = "445249465457414c010000000359e07146524d3122000000a63151fc0000000001000000000000001000000000000000\
    c175a72200d0f0d5c55106000107070707070707070707070707070707030000000100000000";

#[test]
fn a_segment_without_digests_of_bodies_is_read_and_gone_on_from() {
    let digits = OLDER_SEGMENT.as_bytes().chunks(2);
    let bytes: Vec<u8> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    let directory = tempfile::tempdir().unwrap();
    fs::write(segment_path(directory.path(), 1), bytes).unwrap();
    let read = |directory: &Path| {
        let mut found = Vec::new();
        let recovered = recover(&UnsyncedDisk, directory, 0, |_, frame| {
            found.push((frame.received_at_us, frame.receipt.unwrap(), frame.accepted, frame.rejected));
            Ok(())
        });
        (found, recovered.unwrap())
    };
    let older = (1_778_760_000_000_000, Receipt { identity: [7; 16], body: None }, 3, 1);
    let (found, recovered) = read(directory.path());
    assert_eq!(found, [older]);

    let resume = Resume { segments: recovered.segments, next_seq: 2 };
    let receipt = Receipt { identity: [1; 16], body: Some([2; 16]) };
    let newer = Frame { received_at_us: 5, receipt: Some(receipt), accepted: 0, rejected: 0, sections: Vec::new() };
    writer(directory.path(), ONE_SEGMENT, resume).append_group(&[Pending::new(&newer).unwrap()]).unwrap();
    assert_eq!(read(directory.path()).0, [older, (5, receipt, 0, 0)]);
    // A version that knows no digests refuses the frame by its flags, which are not those of damage.
    let bytes = fs::read(segment_path(directory.path(), 2)).unwrap();
    assert_eq!(FrameHead::decode(&bytes[SEGMENT_HEAD_BYTES as usize..]).unwrap().flags, 2);
}

#[test]
fn columns_that_are_all_null_take_no_room() {
    let bytes = |batch| {
        let sections = vec![Section { table: Table::AgentLogs, batch }];
        Frame { received_at_us: 0, receipt: None, accepted: 1, rejected: 0, sections }.encode().unwrap().len()
    };
    let few = bytes(logs(1, &[]));
    let more = bytes(logs(1, &[(col::MODEL, Arc::new(StringViewArray::from(vec!["m"])))]));
    assert!(few < more && few < 1_024, "{few} {more}");
}

/// A section as another version would have written it.
fn foreign(table: Table, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let sections = vec![Section { table, batch }];
    let sent = Frame { received_at_us: 0, receipt: None, accepted: 1, rejected: 0, sections };
    Frame::decode(&sent.encode()?).map(|mut frame| frame.sections.remove(0).batch)
}

#[test]
fn frames_of_an_older_version_are_read() {
    let time = || Arc::new(TimestampMicrosecondArray::from(vec![-5])) as ArrayRef;
    let older = foreign(
        Table::AgentLogs,
        vec![
            (col::MODEL, Arc::new(StringArray::from(vec!["m"]))),
            (col::RECEIVED_AT, time()),
            (col::TIMESTAMP, time()),
            ("no_column_any_more", time()),
        ],
    );
    assert_eq!(older.unwrap(), logs(1, &[(col::MODEL, Arc::new(StringViewArray::from(vec!["m"])))]));

    let without_time = foreign(Table::AgentLogs, vec![(col::TIMESTAMP, time())]).unwrap_err();
    check_error(&without_time, Kind::Corrupt, &["does not fit its table"]);
}

#[test]
fn a_table_of_a_newer_version_is_a_conflict() {
    let mut payload = frame("a").encode().unwrap();
    payload[TAG_OFFSET] = 200;
    check_error(&Frame::decode(&payload).unwrap_err(), Kind::Conflict, &["tag 200"]);

    let (directory, mut writer) = log(ONE_SEGMENT, &[]);
    writer.append_group(&[Pending::of_payload(payload, FLAGS_REQUEST)]).unwrap();
    let error = recovered(directory.path(), 0).unwrap_err();
    check_error(&error, Kind::Conflict, &["00000000000000000001.wal", "offset 16"]);
    assert!(error.chain().contains("tag 200"), "{}", error.chain());
}

#[test]
fn a_section_of_another_length_than_it_says_is_corrupt() {
    let mut payload = frame("a").encode().unwrap();
    for rows in [0, 2, u32::MAX] {
        payload[TAG_OFFSET + 1..TAG_OFFSET + 5].copy_from_slice(&rows.to_le_bytes());
        check_error(&Frame::decode(&payload).unwrap_err(), Kind::Corrupt, &["number of rows"]);
    }
}

#[test]
fn a_payload_cut_at_every_byte_is_corrupt() {
    let payload = frame("a").encode().unwrap();
    for end in 0..payload.len() {
        check_error(&Frame::decode(&payload[..end]).unwrap_err(), Kind::Corrupt, &[]);
    }
    check_error(&Frame::decode(&[&payload[..], b"x"].concat()).unwrap_err(), Kind::Corrupt, &["bytes follow"]);
}

#[test]
fn groups_come_back_in_order_over_several_segments() {
    let (directory, writer) = log(1, &["a", "b c", "d"]);
    assert_eq!(segments(directory.path()).len(), 3);
    let bytes: u64 = segments(directory.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(writer.position(), Position { next_seq: 5, bytes });

    assert_eq!(recovered(directory.path(), 0).unwrap().0, "1:a 2:b 3:c 4:d");
    assert_eq!(recovered(directory.path(), 2).unwrap().0, "3:c 4:d");
    let (words, after) = recovered(directory.path(), 9).unwrap();
    assert_eq!((words.as_str(), after.last_seq, after.cut.len()), ("", 4, 0));
    assert_eq!(after.segments.iter().map(|segment| segment.first_seq).collect::<Vec<_>>(), [1, 2, 4]);

    let (_, mut writer) = reopen(directory.path(), ONE_SEGMENT);
    assert_eq!(writer.position(), Position { next_seq: 5, bytes });
    assert_eq!((append(&mut writer, "e f"), append(&mut writer, "g")), (5, 7));
    assert_eq!(recovered(directory.path(), 3).unwrap().0, "4:d 5:e 6:f 7:g");
    assert_eq!(segments(directory.path()).len(), 4);
}

#[test]
fn logs_that_hold_nothing() {
    let (directory, _) = log(ONE_SEGMENT, &[]);
    let (words, after) = recovered(directory.path(), 0).unwrap();
    assert_eq!((words.as_str(), after.last_seq, after.segments.len()), ("", 0, 0));

    // A crash between a segment's head and its first group.
    let head_only = segment_path(directory.path(), 1);
    for length in 0..=SEGMENT_HEAD_BYTES as usize {
        fs::write(&head_only, &segment_head()[..length]).unwrap();
        let (words, mut writer) = reopen(directory.path(), ONE_SEGMENT);
        assert_eq!((words.as_str(), append(&mut writer, "a")), ("", 1), "head cut at {length}");
        assert_eq!(recovered(directory.path(), 0).unwrap().0, "1:a", "head cut at {length}");
        assert_eq!(writer.position().bytes, fs::metadata(&head_only).unwrap().len());
    }
    fs::write(directory.path().join("notes.txt"), "not a segment").unwrap();
    assert_eq!(recovered(directory.path(), 0).unwrap().0, "1:a");
}

#[test]
fn a_segment_cut_at_every_byte_keeps_its_whole_frames() {
    let (directory, _) = log(ONE_SEGMENT, &["a", "b c"]);
    let path = segments(directory.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    let offsets = frame_offsets(&bytes);
    for end in 0..bytes.len() {
        let whole = offsets[1..].iter().filter(|offset| **offset <= end).count();
        let kept = if end < SEGMENT_HEAD_BYTES as usize { 0 } else { offsets[whole] };
        let (seqs, found) = seqs(&bytes[..end], true);
        assert_eq!((seqs.len(), found.unwrap()), (whole, kept), "cut at {end}");
        // The same in a segment that others follow is lost data, unless it ends with a whole frame.
        if end != kept || kept == 0 {
            check_error(&self::seqs(&bytes[..end], false).1.unwrap_err(), Kind::Corrupt, &["damaged.wal", "offset"]);
        }
    }
    // The files, around everything that matters: after each the log goes on, and again.
    let heads = offsets.iter().flat_map(|offset| [*offset, offset + 1, offset + FRAME_HEAD_BYTES]);
    for end in heads.chain([bytes.len() - 1]).filter(|end| *end < bytes.len()) {
        for path in segments(directory.path()) {
            fs::remove_file(path).unwrap();
        }
        fs::write(&path, &bytes[..end]).unwrap();
        let whole = offsets[1..].iter().filter(|offset| **offset <= end).count();
        let mut words = ["1:a", "2:b", "3:c"][..whole].join(" ");
        let (found, after) = recovered(directory.path(), 0).unwrap();
        assert_eq!(found, words, "cut at {end}");
        let torn = (end - offsets[whole]) as u64;
        let cut = (torn > 0).then(|| (path.clone(), offsets[whole] as u64, torn));
        assert_eq!(after.cut, Vec::from_iter(cut), "cut at {end}");
        for mark in ["x", "y"] {
            let (_, mut writer) = reopen(directory.path(), ONE_SEGMENT);
            let seq = append(&mut writer, mark);
            words = format!("{words} {seq}:{mark}").trim_start().to_owned();
            assert_eq!(recovered(directory.path(), 0).unwrap().0, words, "cut at {end}");
        }
    }
}

/// A group is acknowledged when its fsync is done, and only then the next group is written. So damage
/// that a later group follows has hit acknowledged records: nothing may be skipped. Damage in the last
/// group looks the same as a crash in the middle of writing it, which must not keep the log from
/// opening; all of the group's frames from there on go, because the crash may have been there.
#[test]
fn a_flip_of_every_byte_is_an_error_or_a_torn_tail() {
    let (directory, _) = log(ONE_SEGMENT, &["a b", "c d"]);
    let bytes = fs::read(&segments(directory.path())[0]).unwrap();
    let offsets = frame_offsets(&bytes);
    for flipped in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[flipped] ^= 0x40;
        let (seqs, end) = seqs(&damaged, true);
        let in_frame = offsets[1..].iter().filter(|offset| **offset <= flipped).count();
        let expected: Vec<u64> = if flipped < offsets[0] { vec![] } else { (1..=in_frame as u64).collect() };
        assert_eq!(seqs, expected, "flip at {flipped}");
        match end {
            Ok(end) => assert!(in_frame >= 2 && end == offsets[in_frame], "flip at {flipped}"),
            Err(error) if flipped < offsets[0] => {
                check_error(&error, Kind::Corrupt, &["damaged.wal", "head is damaged"]);
            }
            Err(error) => {
                assert!(in_frame < 2, "flip at {flipped}: {error}");
                check_error(&error, Kind::Corrupt, &["damaged.wal", &format!("offset {}:", offsets[in_frame])]);
            }
        }
        // With a segment behind it there is no last group in this one.
        assert!(self::seqs(&damaged, false).1.is_err(), "flip at {flipped}");
    }
}

#[test]
fn damage_of_acknowledged_frames_leaves_the_file_alone() {
    let (directory, _) = log(ONE_SEGMENT, &["a", "b"]);
    let path = segments(directory.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let error = recovered(directory.path(), 0).unwrap_err();
        check_error(&error, Kind::Corrupt, &["00000000000000000001.wal", "offset 16"]);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_seq_that_is_missing_or_there_twice_is_corrupt() {
    // A segment away, in the middle and at the front.
    let (directory, _) = log(1, &["a", "b", "c"]);
    let paths = segments(directory.path());
    fs::remove_file(&paths[1]).unwrap();
    check_error(&recovered(directory.path(), 0).unwrap_err(), Kind::Corrupt, &["3.wal", "from seq 1 to 3"]);
    fs::remove_file(&paths[0]).unwrap();
    check_error(&recovered(directory.path(), 1).unwrap_err(), Kind::Corrupt, &["3.wal", "from seq 0 to 3"]);
    // What the caller has already may be gone.
    assert_eq!(recovered(directory.path(), 2).unwrap().0, "3:c");

    // The same seq in two segments.
    let (directory, mut writer) = log(ONE_SEGMENT, &["a b"]);
    append(&mut writer, "c");
    fs::copy(segment_path(directory.path(), 1), segment_path(directory.path(), 2)).unwrap();
    check_error(&recovered(directory.path(), 0).unwrap_err(), Kind::Corrupt, &["2.wal", "from seq 3 to 2"]);

    // A frame twice in one segment.
    let path = segment_path(directory.path(), 1);
    let bytes = fs::read(&path).unwrap();
    let offsets = frame_offsets(&bytes);
    fs::remove_file(segment_path(directory.path(), 2)).unwrap();
    fs::write(&path, [&bytes[..], &bytes[offsets[2]..]].concat()).unwrap();
    check_error(&recovered(directory.path(), 0).unwrap_err(), Kind::Corrupt, &["frame 3 stands where 4 belongs"]);

    for name in
        ["00000000000000000000.wal", "18446744073709551615.wal", "2.wal", "+0000000000000000002.wal", "first.wal"]
    {
        let (directory, _) = log(ONE_SEGMENT, &[]);
        fs::write(directory.path().join(name), segment_head()).unwrap();
        check_error(&recovered(directory.path(), 0).unwrap_err(), Kind::Corrupt, &[name]);
    }
}

#[test]
fn a_visitor_that_fails_ends_recovery() {
    let (directory, _) = log(ONE_SEGMENT, &["a", "b"]);
    let error = recover(&UnsyncedDisk, directory.path(), 0, |_, _| Err(Error::new(Kind::Busy, "no room"))).unwrap_err();
    check_error(&error, Kind::Busy, &["no room"]);
}

#[test]
fn only_whole_old_segments_are_forgotten() {
    // Segments of seqs 1, 2–3 and 4; the last one is open, and full only where it says so.
    for (full, through, left) in [
        (false, 0, vec![1, 2, 4]),
        (false, 1, vec![2, 4]),
        (false, 2, vec![2, 4]),
        (false, 3, vec![4]),
        (false, 4, vec![4]),
        (true, 4, vec![]),
    ] {
        let (directory, mut writer) = log(1, &["a", "b c", "d"]);
        if !full {
            writer = reopen(directory.path(), ONE_SEGMENT).1;
            append(&mut writer, "e");
        }
        writer.forget_through(through).unwrap();
        let mut left: Vec<_> = left.into_iter().map(|seq| segment_path(directory.path(), seq)).collect();
        if !full {
            // Of segment 4 all is old, once a newer one is open.
            left.retain(|path| through < 4 || *path != segment_path(directory.path(), 4));
            left.push(segment_path(directory.path(), 5));
        }
        assert_eq!(segments(directory.path()), left, "through {through}");
        let bytes: u64 = left.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert_eq!(writer.position().bytes, bytes, "through {through}");

        let seq = append(&mut writer, "z");
        let (words, after) = recovered(directory.path(), through).unwrap();
        assert!(words.ends_with(&format!("{seq}:z")), "{words}");
        assert_eq!(words.split(' ').count() as u64, seq - through, "{words}");
        assert_eq!(after.last_seq, seq);
    }
}

#[test]
fn a_log_that_cannot_open_a_segment_goes_on_once_it_can() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("wal");
    let mut writer = writer(&directory, ONE_SEGMENT, from_the_start());
    check_error(&writer.append_group(&[pending("a")]).unwrap_err(), Kind::Internal, &["cannot write"]);
    assert!(!writer.is_poisoned());
    fs::create_dir(&directory).unwrap();
    assert_eq!(append(&mut writer, "a"), 1);
    assert_eq!(recovered(&directory, 0).unwrap().0, "1:a");
}

/// Requests of no rows: frames of 70 bytes.
fn small_group(frames: usize) -> Vec<Pending> {
    let frame = Frame { received_at_us: 7, receipt: None, accepted: 0, rejected: 0, sections: Vec::new() };
    (0..frames).map(|_| Pending::new(&frame).unwrap()).collect()
}

/// A log of small frames: groups of so many, each segment of so many groups.
fn small_log(segments: &[&[usize]]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut resume = from_the_start();
    for groups in segments {
        let mut writer = writer(directory.path(), ONE_SEGMENT, resume);
        for frames in *groups {
            writer.append_group(&small_group(*frames)).unwrap();
        }
        resume = Resume { segments: Vec::new(), next_seq: writer.position().next_seq };
    }
    directory
}

/// The seqs that recovery hands out, and those that it says were quarantined.
fn recovered_seqs(directory: &Path, after_seq: u64) -> Result<(Vec<u64>, Vec<u64>)> {
    let mut seqs = Vec::new();
    let recovered = recover(&UnsyncedDisk, directory, after_seq, |seq, _| {
        seqs.push(seq);
        Ok(())
    })?;
    Ok((seqs, recovered.quarantined.into_iter().flatten().collect()))
}

/// Quarantines, and says what was lost: `file offset+bytes` and the seqs.
fn lost(directory: &Path, after_seq: u64) -> Vec<String> {
    let found = quarantine(&UnsyncedDisk, directory, after_seq).unwrap();
    let name = |path: &Path| path.strip_prefix(directory).unwrap().display().to_string();
    let losses = found.losses.iter().map(|loss| {
        let missing =
            loss.missing.clone().map_or("nothing".to_owned(), |seqs| format!("{}-{}", seqs.start(), seqs.end()));
        format!("{} {}+{} {missing}", name(&loss.path).replace("000000000000000000", ""), loss.offset, loss.bytes)
    });
    losses.collect()
}

/// Quarantines a log, checks what is said to be lost, and that recovery then yields the rest, again
/// and again, and the log goes on.
#[track_caller]
fn check_quarantine(directory: &Path, losses: &[&str], seqs: &[u64], quarantined: &[u64]) {
    assert_eq!(lost(directory, 0), losses);
    assert_eq!(lost(directory, 0), [""; 0], "the second time there is nothing to do");
    for _ in 0..2 {
        assert_eq!(recovered_seqs(directory, 0).unwrap(), (seqs.to_vec(), quarantined.to_vec()));
    }
    let last_seq = seqs.iter().chain(quarantined).copied().max().unwrap_or(0);
    let (_, after) = recovered_without_content(directory);
    assert_eq!(after.last_seq, last_seq);
    let resume = Resume { segments: after.segments, next_seq: last_seq + 1 };
    writer(directory, ONE_SEGMENT, resume).append_group(&small_group(1)).unwrap();
    assert_eq!(recovered_seqs(directory, last_seq).unwrap(), (vec![last_seq + 1], vec![]));
}

fn recovered_without_content(directory: &Path) -> (u64, Recovered) {
    let mut frames = 0;
    let recovered = recover(&UnsyncedDisk, directory, 0, |_, _| {
        frames += 1;
        Ok(())
    });
    (frames, recovered.unwrap())
}

/// Puts these segments in the place of all that is in the directory.
fn replace_log(directory: &Path, log: &[(u64, &[u8])]) {
    let _ = fs::remove_dir_all(directory.join("quarantine"));
    for path in segments(directory) {
        fs::remove_file(path).unwrap();
    }
    for (first_seq, bytes) in log {
        fs::write(segment_path(directory, *first_seq), bytes).unwrap();
    }
}

/// The rule is kept for each byte of a log: of a segment that is the last, and of one that is not.
#[test]
fn a_flip_of_every_byte_is_quarantined() {
    let directory = small_log(&[&[2, 2], &[1]]);
    let paths = segments(directory.path());
    let [first, second] = [0, 1].map(|index| fs::read(&paths[index]).unwrap());
    let offsets = frame_offsets(&first);
    for flipped in 0..first.len() {
        let mut damaged = first.clone();
        damaged[flipped] ^= 0x40;
        let hit = offsets[1..].iter().filter(|offset| **offset <= flipped).count();
        let hit_seq = (flipped >= offsets[0]).then_some(hit as u64 + 1);
        let (offset, bytes) = if hit_seq.is_some() { (offsets[hit], 70) } else { (0, 16) };
        let missing = hit_seq.map_or("nothing".to_owned(), |seq| format!("{seq}-{seq}"));
        let loss = format!("quarantine/01.wal {offset}+{bytes} {missing}");
        for is_last in [true, false] {
            replace_log(directory.path(), &[(1, &damaged[..]), (5, &second[..])][..if is_last { 1 } else { 2 }]);
            let whole = (1..=if is_last { 4 } else { 5 }).filter(|seq| Some(*seq) != hit_seq).collect::<Vec<u64>>();
            if is_last && hit_seq == Some(4) {
                // The end of the log: as torn as after a crash.
                check_quarantine(directory.path(), &[], &whole, &[]);
                continue;
            }
            check_quarantine(directory.path(), &[&loss], &whole, &Vec::from_iter(hit_seq));
            assert_eq!(
                fs::read(directory.path().join("quarantine").join(paths[0].file_name().unwrap())).unwrap(),
                damaged
            );
        }
    }
}

/// Segments by their first seq.
type Segments = Vec<(u64, Vec<u8>)>;

#[test]
fn larger_damage_is_quarantined() {
    let directory = small_log(&[&[2, 2], &[1, 2], &[3]]);
    let bytes: Vec<_> = segments(directory.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    let check = |change: &dyn Fn(&mut Segments), losses: &[&str], seqs: &[u64], quarantined: &[u64]| {
        let mut log: Vec<_> = [1, 5, 8].into_iter().zip(bytes.clone()).collect();
        change(&mut log);
        let log: Vec<_> = log.iter().map(|(seq, bytes)| (*seq, &bytes[..])).collect();
        replace_log(directory.path(), &log);
        check_quarantine(directory.path(), losses, seqs, quarantined);
    };
    check(&|_| {}, &[], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[]);
    // Over the end of one frame, a whole one, and the start of the next.
    let ones = |log: &mut Segments| log[0].1[80..160].fill(0xff);
    check(&ones, &["quarantine/01.wal 16+210 1-3"], &[4, 5, 6, 7, 8, 9, 10], &[1, 2, 3]);
    // Two places of one file, and one of another.
    let places = |log: &mut Segments| {
        for (segment, offset) in [(0, 20), (0, 200), (2, 60)] {
            log[segment].1[offset] ^= 1;
        }
    };
    let losses = ["quarantine/01.wal 16+70 1-1", "quarantine/01.wal 156+70 3-3", "quarantine/08.wal 16+70 8-8"];
    check(&places, &losses, &[2, 4, 5, 6, 7, 9, 10], &[1, 3, 8]);
    // A file that ends early, in a frame and between two, or has only half a head.
    let end = |segment: usize, end: usize| move |log: &mut Segments| log[segment].1.truncate(end);
    check(&end(0, 200), &["quarantine/01.wal 156+44 3-4"], &[1, 2, 5, 6, 7, 8, 9, 10], &[3, 4]);
    check(&end(0, 156), &["quarantine/01.wal 156+0 3-4"], &[1, 2, 5, 6, 7, 8, 9, 10], &[3, 4]);
    let half = ["quarantine/05.wal 0+9 nothing", "quarantine/05.wal 9+0 5-7"];
    check(&end(1, 9), &half, &[1, 2, 3, 4, 8, 9, 10], &[5, 6, 7]);
    check(&end(2, 9), &[], &[1, 2, 3, 4, 5, 6, 7], &[]);
    check(&end(2, 200), &[], &[1, 2, 3, 4, 5, 6, 7, 8, 9], &[]);
    // A file that is gone.
    let without = |segment: usize| move |log: &mut Segments| drop(log.remove(segment));
    check(&without(1), &["quarantine/01.wal 296+0 5-7"], &[1, 2, 3, 4, 8, 9, 10], &[5, 6, 7]);
    check(&without(0), &["01.wal 0+0 1-4"], &[5, 6, 7, 8, 9, 10], &[1, 2, 3, 4]);
    // The same frame twice, and the same file twice.
    let frame_twice = |log: &mut Segments| {
        let frame = log[0].1[156..226].to_vec();
        log[0].1.splice(226..226, frame);
    };
    check(&frame_twice, &["quarantine/01.wal 226+70 nothing"], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[]);
    let file_twice = |log: &mut Segments| log.insert(1, (3, log[0].1.clone()));
    let losses = ["quarantine/01.wal 156+140 nothing", "quarantine/03.wal 16+140 nothing"];
    check(&file_twice, &losses, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[]);
}

#[test]
fn what_the_caller_has_is_not_missed() {
    let directory = small_log(&[&[2, 2], &[1, 2], &[3]]);
    let paths = segments(directory.path());
    let mut first = fs::read(&paths[0]).unwrap();
    first[20..160].fill(0);
    fs::write(&paths[0], first).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    assert_eq!(lost(directory.path(), 2), ["quarantine/01.wal 16+210 3-3", "quarantine/01.wal 296+0 5-7"]);
    assert_eq!(recovered_seqs(directory.path(), 2).unwrap(), (vec![4, 8, 9, 10], vec![1, 2, 3, 5, 6, 7]));
    // The tombstones go with the segment.
    let (_, after) = recovered_without_content(directory.path());
    let mut writer = writer(directory.path(), ONE_SEGMENT, Resume { segments: after.segments, next_seq: 11 });
    writer.forget_through(7).unwrap();
    assert_eq!(recovered_seqs(directory.path(), 7).unwrap(), (vec![8, 9, 10], vec![]));
}

#[test]
fn an_empty_segment_that_the_caller_has_is_quarantined() {
    let directory = small_log(&[&[2], &[1]]);
    fs::write(segment_path(directory.path(), 1), []).unwrap();
    check_error(&recovered_seqs(directory.path(), 2).unwrap_err(), Kind::Corrupt, &["offset 0", "head is damaged"]);
    assert_eq!(lost(directory.path(), 2), ["quarantine/01.wal 0+0 nothing"]);
    assert_eq!(recovered_seqs(directory.path(), 2).unwrap(), (vec![3], vec![]));
}

/// A record may quote a frame. Damage beside it must not make it one.
#[test]
fn a_frame_inside_a_damaged_frame_stays_inside() {
    let quote = |seq: u64| {
        let payload = Frame { received_at_us: 0, receipt: None, accepted: 0, rejected: 0, sections: vec![] };
        let payload = payload.encode().unwrap();
        let crc = crc32fast::hash(&payload);
        let payload_bytes = payload.len() as u32;
        let head = FrameHead { payload_bytes, crc, flags: FLAGS_REQUEST, seq, group_start: 16 };
        [&head.encode()[..], &payload].concat()
    };
    let (directory, mut writer) = log(ONE_SEGMENT, &["a"]);
    writer.append_group(&[Pending::of_payload([vec![0; 34], quote(3), vec![0; 10]].concat(), FLAGS_REQUEST)]).unwrap();
    append(&mut writer, "c");
    let path = segment_path(directory.path(), 1);
    let bytes = fs::read(&path).unwrap();
    let start = frame_offsets(&bytes)[1];
    // Its payload is no request; its payload is damaged as well.
    for flipped in [None, Some(start + FRAME_HEAD_BYTES + 9)] {
        let mut damaged = bytes.clone();
        if let Some(flipped) = flipped {
            damaged[flipped] ^= 1;
        }
        replace_log(directory.path(), &[(1, &damaged)]);
        check_error(&recovered(directory.path(), 0).unwrap_err(), Kind::Corrupt, &[&format!("offset {start}:")]);
        assert_eq!(lost(directory.path(), 0), [format!("quarantine/01.wal {start}+150 2-2")]);
        assert_eq!(recovered(directory.path(), 0).unwrap().0, "1:a 3:c");
    }
}

#[test]
fn damage_names_the_command_that_takes_it_away() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("it's a path").join("wal");
    fs::create_dir_all(&directory).unwrap();
    writer(&directory, ONE_SEGMENT, from_the_start()).append_group(&small_group(1)).unwrap();
    fs::rename(segment_path(&directory, 1), segment_path(&directory, 3)).unwrap();
    let error = recovered_seqs(&directory, 0).unwrap_err();
    let command = format!("`driftline verify --data '{}/it'\\''s a path' --quarantine`", root.path().display());
    check_error(&error, Kind::Corrupt, &["3.wal, offset 0", "from seq 0 to 3", &command]);
}

#[test]
fn what_another_version_wrote_is_no_damage() {
    let directory = small_log(&[&[1, 1, 1]]);
    let path = segment_path(directory.path(), 1);
    let bytes = fs::read(&path).unwrap();
    let check = |changed: &[u8], words: &str| {
        fs::write(&path, changed).unwrap();
        check_error(&recovered_seqs(directory.path(), 0).unwrap_err(), Kind::Conflict, &["1.wal", words]);
        let error = quarantine(&UnsyncedDisk, directory.path(), 0).unwrap_err();
        check_error(&error, Kind::Conflict, &["1.wal", words]);
        assert_eq!((fs::read(&path).unwrap(), segments(directory.path()).len()), (changed.to_vec(), 1));
    };
    let mut newer = bytes.clone();
    newer[8] = 2;
    let crc = crc32fast::hash(&newer[..12]);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    check(&newer, "another version");
    let mut flagged = bytes.clone();
    let head = FrameHead { flags: 3, ..FrameHead::decode(&bytes[86..]).unwrap() };
    flagged[86..86 + FRAME_HEAD_BYTES].copy_from_slice(&head.encode());
    check(&flagged, "offset 86");
}

#[test]
fn a_tombstone_that_says_nothing_is_damage() {
    let directory = small_log(&[&[1, 1, 1]]);
    let path = segment_path(directory.path(), 1);
    let bytes = fs::read(&path).unwrap();
    // Of seq 2, with every payload that is not the last seq of a run.
    for payload in [&[][..], &[2], &1_u64.to_le_bytes(), &u64::MAX.to_le_bytes(), &[0; 9]] {
        let crc = crc32fast::hash(payload);
        let payload_bytes = payload.len() as u32;
        let head = FrameHead { payload_bytes, crc, flags: FLAGS_TOMBSTONE, seq: 2, group_start: 86 };
        let log = [&bytes[..86], &head.encode(), payload, &bytes[156..]].concat();
        replace_log(directory.path(), &[(1, &log)]);
        check_error(&recovered_seqs(directory.path(), 0).unwrap_err(), Kind::Corrupt, &["offset 86", "tombstone"]);
        let loss = format!("quarantine/01.wal 86+{} 2-2", FRAME_HEAD_BYTES + payload.len());
        check_quarantine(directory.path(), &[&loss], &[1, 3], &[2]);
    }
}

/// At the end of the log whole frames may follow that cannot be kept; no crash leaves those.
#[test]
fn an_end_that_is_not_torn_is_quarantined() {
    let directory = small_log(&[&[1, 1, 1]]);
    let bytes = fs::read(segment_path(directory.path(), 1)).unwrap();
    let check = |first_seq: u64, bytes: &[u8], losses: &[&str], seqs: &[u64], quarantined: &[u64]| {
        replace_log(directory.path(), &[(first_seq, bytes)]);
        check_error(&recovered_seqs(directory.path(), 0).unwrap_err(), Kind::Corrupt, &["offset"]);
        check_quarantine(directory.path(), losses, seqs, quarantined);
    };
    let last = &bytes[156..];
    // The last frame twice, and damaged bytes before the second.
    check(1, &[&bytes[..], last].concat(), &["quarantine/01.wal 226+70 nothing"], &[1, 2, 3], &[]);
    let group_start = 250_u64;
    let later = FrameHead { group_start, ..FrameHead::decode(last).unwrap() };
    let damaged = [&bytes[..], &[0; 24], &later.encode(), &last[FRAME_HEAD_BYTES..]].concat();
    check(1, &damaged, &["quarantine/01.wal 226+94 nothing"], &[1, 2, 3], &[]);
    // The last frame is no request: its seq was given out.
    let crc = crc32fast::hash(b"what");
    let strange = FrameHead { payload_bytes: 4, crc, ..FrameHead::decode(last).unwrap() };
    let strange = [&bytes[..156], &strange.encode(), b"what"].concat();
    check(1, &strange, &["quarantine/01.wal 156+40 3-3"], &[1, 2], &[3]);
    // A name that lies.
    let losses = ["01.wal 0+0 1-8", "quarantine/09.wal 16+210 nothing"];
    check(9, &bytes, &losses, &[], &[1, 2, 3, 4, 5, 6, 7, 8]);
}

/// Nobody gives out such a seq, and what follows it could not be counted.
#[test]
fn a_seq_beyond_the_last_is_damage() {
    let directory = small_log(&[&[1, 1]]);
    let path = segment_path(directory.path(), 1);
    let bytes = fs::read(&path).unwrap();
    for seq in [1 << 63, u64::MAX] {
        let head = FrameHead { seq, ..FrameHead::decode(&bytes[86..]).unwrap() };
        fs::write(&path, [&bytes[..86], &head.encode(), &bytes[86 + FRAME_HEAD_BYTES..]].concat()).unwrap();
        inspect(directory.path(), None, &mut |_, _| {}).unwrap();
        assert_eq!(lost(directory.path(), 0), [""; 0]);
        assert_eq!(recovered_seqs(directory.path(), 0).unwrap().0, [1]);
    }
}

#[test]
fn a_segment_can_be_quarantined_again() {
    let directory = small_log(&[&[1, 1, 1, 1]]);
    let path = segment_path(directory.path(), 1);
    let mut expected = vec![1, 2, 3, 4];
    for (turn, name) in ["01.wal", "01.wal.1", "01.wal.2"].into_iter().enumerate() {
        let mut bytes = fs::read(&path).unwrap();
        let offset = frame_offsets(&bytes)[turn];
        bytes[offset] ^= 1;
        fs::write(&path, bytes).unwrap();
        expected.remove(0);
        let seq = turn + 1;
        assert_eq!(lost(directory.path(), 0), [format!("quarantine/{name} {offset}+70 {seq}-{seq}")]);
        assert_eq!(recovered_seqs(directory.path(), 0).unwrap().0, expected);
    }
}
