//! Damage taken out of a log, and what is kept of it.

use super::*;

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
