//! The log written, damaged in every way, and read again.

use std::{
    fs,
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
    reader::read_segment,
    writer::{FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES, segment_head, segment_path},
    *,
};
use crate::{
    error::{Error, Kind, Result},
    record::{Table, col},
};

/// One segment takes it all.
const ONE_SEGMENT: u64 = 1 << 30;
/// The place of the first section's table tag in a payload.
const TAG_OFFSET: usize = 8 + 1 + 16 + 4 + 4 + 1;

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
    Pending::new(frame(mark).encode().unwrap())
}

fn mark(frame: &Frame) -> String {
    let raw = frame.sections[0].batch.column_by_name(col::RAW).unwrap();
    raw.as_any().downcast_ref::<StringViewArray>().unwrap().value(0).to_owned()
}

/// What recovery hands out, as `seq:mark` words.
fn recovered(directory: &Path, after_seq: u64) -> Result<(String, Recovered)> {
    let mut words = Vec::new();
    let recovered = recover(directory, after_seq, |seq, frame| {
        words.push(format!("{seq}:{}", mark(&frame)));
        Ok(())
    })?;
    Ok((words.join(" "), recovered))
}

/// Recovers, and goes on writing after it.
fn reopen(directory: &Path, segment_bytes_max: u64) -> (String, Writer) {
    let (words, recovered) = recovered(directory, 0).unwrap();
    let next_seq = recovered.last_seq + 1;
    (words, Writer::new(directory, segment_bytes_max, recovered.segments, next_seq))
}

/// A log of groups of marks, each group a list of words, each segment at most `segment_bytes_max`
/// and a group long.
fn log(segment_bytes_max: u64, groups: &[&str]) -> (TempDir, Writer) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), segment_bytes_max, Vec::new(), 1);
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
    let end = read_segment(Path::new("whole.wal"), bytes, true, &mut |_, _, offset| {
        offsets.push(offset as usize);
        Ok(())
    });
    assert_eq!(end.unwrap(), bytes.len() as u64);
    offsets.push(bytes.len());
    offsets
}

fn seqs(bytes: &[u8], is_last: bool) -> (Vec<u64>, Result<u64>) {
    let mut seqs = Vec::new();
    let end = read_segment(Path::new("damaged.wal"), bytes, is_last, &mut |seq, payload, _| {
        Frame::decode(payload)?;
        seqs.push(seq);
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
    let no_checks = MapArray::from(new_null_array(&checks, 2).to_data());
    for (receipt, batches) in [
        (None, vec![]),
        (Some([7; 16]), vec![(Table::RejectedLogs, rejects(&["a line that is longer than a view", "b"]))]),
        (Some([0; 16]), vec![(Table::AgentLogs, logs(2, &[])), (Table::RejectedLogs, rejects(&["x"]))]),
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
    writer.append_group(&[Pending::new(payload)]).unwrap();
    let error = recovered(directory.path(), 0).unwrap_err();
    check_error(&error, Kind::Conflict, &["00000000000000000001.wal", "offset 16"]);
    assert!(error.chain().contains("tag 200"), "{}", error.chain());
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
        assert_eq!((seqs.len(), found.unwrap()), (whole, kept as u64), "cut at {end}");
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
            Ok(end) => assert!(in_frame >= 2 && end == offsets[in_frame] as u64, "flip at {flipped}"),
            Err(error) if flipped < offsets[0] => {
                let is_version = (8..12).contains(&flipped);
                let kind = if is_version { Kind::Conflict } else { Kind::Corrupt };
                check_error(&error, kind, &["damaged.wal"]);
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

    for name in ["00000000000000000000.wal", "first.wal"] {
        let (directory, _) = log(ONE_SEGMENT, &[]);
        fs::write(directory.path().join(name), segment_head()).unwrap();
        check_error(&recovered(directory.path(), 0).unwrap_err(), Kind::Corrupt, &[name]);
    }
}

#[test]
fn a_visitor_that_fails_ends_recovery() {
    let (directory, _) = log(ONE_SEGMENT, &["a", "b"]);
    let error = recover(directory.path(), 0, |_, _| Err(Error::new(Kind::Busy, "no room"))).unwrap_err();
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
    let mut writer = Writer::new(&directory, ONE_SEGMENT, Vec::new(), 1);
    check_error(&writer.append_group(&[pending("a")]).unwrap_err(), Kind::Internal, &["cannot write"]);
    assert!(!writer.is_poisoned());
    fs::create_dir(&directory).unwrap();
    assert_eq!(append(&mut writer, "a"), 1);
    assert_eq!(recovered(&directory, 0).unwrap().0, "1:a");
}
