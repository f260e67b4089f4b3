//! What a writer does where it cannot write, and what it may forget.

use super::*;

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
