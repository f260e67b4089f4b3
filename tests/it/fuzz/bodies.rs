//! What decoding a body must keep to: every line is one record or one reject, decodes the same in any company, and
//! is JSON exactly if another parser says so. Never says which values a record has.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use driftline::{
    decode::{Decoded, Oldest, Options, Shape, decode},
    error::{Kind, Result},
    record::{Table, col},
    wal::{Frame, Section},
};
use serde::de::IgnoredAny;

use super::{
    corpus::Entry,
    mutate::{JSON, mutate},
};
use crate::{app::NOW_US, random::Random};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// A body of several lines of the corpus, one of them mutated.
pub fn with_one_bad_line(corpus: &[Entry], random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = (0..random.within(2..7)).map(|_| random.pick(corpus).bytes.clone()).collect();
    let bad = random.below(lines.len() as u64) as usize;
    lines[bad] = mutate(&lines[bad], corpus, JSON, random);
    lines.join(&b'\n')
}

/// One body, as lines and as whatever it looks like.
pub fn check(body: &[u8], random: &mut Random) {
    let oldest = match random.below(4) {
        0 => Oldest { others_us: Some(NOW_US - DAY_US), tenants_us: BTreeMap::new() },
        1 => Oldest { others_us: None, tenants_us: BTreeMap::from([("v9".to_owned(), Some(NOW_US))]) },
        _ => Oldest::default(),
    };
    let decode = |body: &[u8], shape| {
        let options = Options {
            received_at_us: NOW_US,
            record_bytes_max: 4 << 20,
            future_max_us: HOUR_US,
            oldest: oldest.clone(),
            shape,
            scope: Default::default(),
        };
        decode(body, options)
    };
    let as_lines = decode(body, Shape::Lines);
    check_lines(body, &as_lines, |line| decode(line, Shape::Lines));
    let detected = decode(body, Shape::Detect);
    check_detected(body, &detected, &as_lines);
    for decoded in [as_lines, detected].into_iter().flatten() {
        check_batch(&decoded, random.once_in(8));
    }
}

/// The lines that hold anything, with their numbers.
fn lines(body: &[u8]) -> Vec<(u64, &[u8])> {
    let lines = without_mark(body).split(|byte| *byte == b'\n');
    (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty()).collect()
}

fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn check_lines(body: &[u8], found: &Result<Decoded>, decode: impl Fn(&[u8]) -> Result<Decoded>) {
    let lines = lines(body);
    // A line of its own, the second: a byte order mark would count in the first.
    let alone: Vec<_> = lines.iter().map(|(_, line)| decode(&[b"\n", *line].concat())).collect();
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(alone.iter().all(Result::is_err), "refused as a whole, but a line of it is JSON: {error}");
            return;
        }
    };
    assert_eq!(found.records.num_rows() + found.rejects.len(), lines.len(), "each line is one record or one reject");
    let (mut row, mut identified) = (0, true);
    let mut rejects = found.rejects.iter();
    for ((number, line), alone) in lines.into_iter().zip(alone) {
        match alone {
            Ok(alone) if alone.records.num_rows() == 1 => {
                assert_eq!(found.records.slice(row, 1), alone.records, "line {number} differs in company");
                row += 1;
                identified &= alone.identified;
                assert!(is_object(line), "line {number} was taken and is no JSON object");
            }
            alone => {
                let reject = rejects.next().unwrap();
                assert_eq!(reject.line, number, "{}", reject.reason);
                if let Ok(alone) = alone {
                    assert_eq!((&alone.rejects[0].reason, &alone.rejects[0].raw), (&reject.reason, &reject.raw));
                }
                check_reason(line, &reject.reason);
            }
        }
    }
    assert_eq!(found.identified, identified && row > 0);
}

/// What another parser says.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Behind an object, white space may be any that there is.
fn is_object(line: &[u8]) -> bool {
    str::from_utf8(line.trim_ascii()).is_ok_and(|text| text.starts_with('{') && is_json(text.trim_end()))
}

fn check_reason(line: &[u8], reason: &str) {
    let Ok(text) = str::from_utf8(line.trim_ascii()) else { return assert_eq!(reason, "not UTF-8") };
    if reason.starts_with("not an object") {
        assert!(is_json(text) && !text.starts_with('{'), "{reason}: {text}");
    } else if reason.starts_with("not ") {
        // A key with half a surrogate pair is no text, and the other parser does not look.
        assert!(!is_json(text) || text.contains("\\u"), "{reason}: {text}");
    } else {
        assert!(is_object(line) || reason.starts_with("nested deeper"), "{reason}: {text}");
    }
}

fn check_detected(body: &[u8], found: &Result<Decoded>, as_lines: &Result<Decoded>) {
    if let Err(error) = found {
        assert_eq!(error.kind(), Kind::Invalid);
    }
    let body = without_mark(body);
    match body.trim_ascii_start().first() {
        None => assert!(found.is_err(), "nothing was taken for something"),
        Some(b'[') => {
            let elements =
                str::from_utf8(body).ok().and_then(|text| serde_json::from_str::<Vec<IgnoredAny>>(text).ok());
            match (found, elements) {
                (Ok(found), Some(elements)) => {
                    assert_eq!(found.records.num_rows() + found.rejects.len(), elements.len());
                }
                (Ok(_), None) => panic!("an array was taken that is none"),
                (Err(error), Some(_)) => assert!(error.to_string().contains("nested deeper"), "{error}"),
                (Err(_), None) => {}
            }
        }
        // An object in the first line means lines, whatever follows.
        Some(b'{') if str::from_utf8(lines(body)[0].1.trim_ascii()).is_ok_and(is_json) => same(found, as_lines),
        Some(b'{') => {
            if let Ok(found) = found {
                let count = found.records.num_rows() + found.rejects.len();
                assert!((1..=lines(body).len()).contains(&count), "{count} records and rejects");
            }
        }
        Some(_) => same(found, as_lines),
    }
}

fn same(found: &Result<Decoded>, as_lines: &Result<Decoded>) {
    match (found, as_lines) {
        (Ok(found), Ok(as_lines)) => {
            assert_eq!((&found.records, &found.rejects), (&as_lines.records, &as_lines.rejects));
        }
        (found, as_lines) => assert_eq!(found.is_ok(), as_lines.is_ok()),
    }
}

/// A batch is what the table and the log take, and what SQL reads as JSON.
fn check_batch(decoded: &Decoded, through_the_log: bool) {
    let batch = &decoded.records;
    let fields = Table::AgentLogs.schema().fields();
    assert_eq!(batch.schema_ref().fields()[..], fields[..fields.len() - 1]);
    let attributes = batch.column_by_name(col::ATTRIBUTES).unwrap().as_string_view();
    for text in attributes.iter().flatten() {
        assert!(is_json(text), "attributes are no JSON: {text}");
    }
    if through_the_log && batch.num_rows() > 0 {
        let sections = vec![Section { table: Table::AgentLogs, batch: batch.clone() }];
        let sent = Frame { received_at_us: NOW_US, receipt: None, accepted: 1, rejected: 0, sections };
        let found = Frame::decode(&sent.encode().unwrap()).unwrap();
        assert_eq!(&found.sections[0].batch, batch, "the log changes it");
    }
}
