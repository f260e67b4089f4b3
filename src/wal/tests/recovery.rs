//! Logs read back, whole, torn and damaged.

use super::*;

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
