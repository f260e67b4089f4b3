//! Frames there and back, of this version and of others.

use super::*;

/// The place of the first section's table tag in a payload.
const TAG_OFFSET: usize = 8 + 1 + 16 + 4 + 4 + 1;

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
