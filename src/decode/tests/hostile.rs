//! Bodies that are cut, nested, compressed and nearly JSON: no panic, nothing lost in silence.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;

#[test]
fn bodies_cut_at_every_byte() {
    let first_line_end = RECORDS.find('\n').unwrap();
    for end in 1..RECORDS.len() {
        let body = &RECORDS[..end];
        match detect(body) {
            Ok(decoded) => {
                let whole = 1 + usize::from(end >= RECORDS.len() - 1);
                assert_eq!(decoded.records.num_rows(), whole, "cut at {end}");
                assert_eq!(decoded.rejects.len(), body.lines().count() - whole, "cut at {end}");
            }
            Err(error) => assert!(error.kind() == Kind::Invalid && end < first_line_end, "cut at {end}: {error}"),
        }
    }
    let record: Value = serde_json::from_str(RECORDS.lines().next().unwrap()).unwrap();
    for text in [serde_json::to_string_pretty(&record).unwrap(), json!([record, {"a": 1}]).to_string()] {
        for end in 1..text.len() {
            assert!(outcome(detect(&text[..end])).starts_with("invalid: "), "{}", &text[..end]);
        }
    }
}

#[test]
fn deep_nesting_is_rejected_before_it_is_parsed() {
    const LEVELS: usize = 100_000;
    let arrays = format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let objects = format!("{}1{}", r#"{"usage":"#.repeat(LEVELS), "}".repeat(LEVELS));
    let bodies = [
        arrays.clone(),
        objects.clone(),
        format!(r#"{{"a":{arrays}}}"#),
        format!(r#"{{"tool_calls":{arrays}}}"#),
        format!("[{objects}]"),
        "[".repeat(LEVELS),
        r#"{"a":"#.repeat(LEVELS),
        "{\"a\":\n".repeat(LEVELS),
    ];
    let good = r#"{"model":"m"}"#;
    let decode_all = move || {
        for body in bodies {
            for shape in [Shape::Detect, Shape::Lines] {
                let alone = decode(body.as_bytes(), options(shape));
                assert!(alone.is_err() || alone.unwrap().records.num_rows() == 0);
            }
            if !body.contains('\n') {
                let among = decode_lines(format!("{good}\n{body}\n{good}\n")).unwrap();
                assert_eq!((among.records.num_rows(), among.rejects.len()), (2, 1));
                assert!(among.rejects[0].reason.contains("nested deeper"), "{}", among.rejects[0].reason);
            }
        }
    };
    in_a_stack_of(2 << 20, decode_all);
}

/// The JSON library would skip the quote behind `\u`, and see an array where there is a string.
#[test]
fn brackets_behind_a_broken_escape_are_never_parsed() {
    let bad = format!(r#"{{"x":"\u"AAA","y":{}"#, "[".repeat(200_000));
    in_a_stack_of(2 << 20, move || {
        let good = r#"{"model":"m"}"#;
        for body in [format!("{good}\n{bad}"), format!("{bad}}}\n{good}")] {
            for shape in [Shape::Detect, Shape::Lines] {
                let decoded = decode(body.as_bytes(), options(shape)).unwrap();
                assert_eq!((decoded.records.num_rows(), decoded.rejects.len()), (1, 1));
                assert!(decoded.rejects[0].reason.starts_with("not JSON: an escape"), "{}", decoded.rejects[0].reason);
            }
        }
        for body in [bad.clone(), format!("[{bad}"), format!("[{bad}}}]")] {
            assert!(outcome(detect(&body)).starts_with("invalid: "));
        }
    });
}

#[test]
fn nesting_up_to_the_limit_is_kept() {
    // The stack of a worker, also where the JSON library is not optimised.
    in_a_stack_of(2 << 20, || {
        let nest = |levels| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let decoded = decode_lines(format!("{}\n{}\n", nest(31), nest(32))).unwrap();
        assert_eq!(text_column(&decoded, col::ATTRIBUTES, 0), Some(nest(31)));
        assert_eq!(decoded.rejects[0].reason, "nested deeper than 32 levels");
    });
}

fn in_a_stack_of(bytes: usize, run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(bytes).spawn(run).unwrap().join().unwrap();
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_bodies_open_to_what_they_were() {
    let plain = RECORDS.as_bytes();
    for (body, encoding) in [
        (plain.to_vec(), Encoding::Identity),
        (gzip(plain), Encoding::Gzip),
        ([gzip(&plain[..100]), gzip(&plain[100..])].concat(), Encoding::Gzip),
        (zstd::encode_all(plain, 1).unwrap(), Encoding::Zstd),
        (
            [zstd::encode_all(&plain[..100], 1).unwrap(), zstd::encode_all(&plain[100..], 1).unwrap()].concat(),
            Encoding::Zstd,
        ),
    ] {
        assert_eq!(Encoding::from_magic(&body), encoding);
        assert_eq!(decompress(&body, encoding, plain.len()).unwrap(), plain, "{encoding:?}");
        assert_eq!(decompress(&body, encoding, plain.len() - 1).unwrap_err().kind(), Kind::TooLarge, "{encoding:?}");
    }
    for (header, expected) in
        [("GZIP", Some(Encoding::Gzip)), (" zstd", Some(Encoding::Zstd)), ("", Some(Encoding::Identity)), ("br", None)]
    {
        assert_eq!(Encoding::from_header(header), expected, "{header}");
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 4 << 20];
    for (bomb, encoding) in [(gzip(&zeros), Encoding::Gzip), (zstd::encode_all(&zeros[..], 1).unwrap(), Encoding::Zstd)]
    {
        assert!(bomb.len() < 64 << 10);
        assert_eq!(decompress(&bomb, encoding, 64 << 10).unwrap_err().kind(), Kind::TooLarge, "{encoding:?}");
    }
}

#[test]
fn compressed_bodies_cut_at_every_byte_are_invalid() {
    let plain = &RECORDS.as_bytes()[..600];
    for (body, encoding) in [(gzip(plain), Encoding::Gzip), (zstd::encode_all(plain, 1).unwrap(), Encoding::Zstd)] {
        for end in 1..body.len() {
            let error = decompress(&body[..end], encoding, 1 << 20).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{encoding:?} cut at {end}");
        }
        assert_eq!(decompress(plain, encoding, 1 << 20).unwrap_err().kind(), Kind::Invalid);
    }
}

/// Text that is nearly JSON more often than chance would have it.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\n",
        "\r\n",
        " ",
        "1",
        "-",
        "1.5e3",
        "null",
        "true",
        "\"a\"",
        "\"model\"",
        "\"timestamp\"",
        "\"gen_ai\"",
        "\"usage\"",
        "\"\\ud800\"",
        "{\"a\":1}",
        "\u{feff}",
        "é",
    ];
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Names that mean nothing to anybody.
fn unknown_fields() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    proptest::collection::btree_map("x.{0,8}", json_value(), 1..6).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken(body in prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), nearly_json()]) {
        let _ = detect(&body);
        let body_text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&body);
        let lines = body_text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        match decode_lines(&body) {
            Ok(decoded) => prop_assert_eq!(decoded.records.num_rows() + decoded.rejects.len(), lines),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Invalid),
        }
    }

    #[test]
    fn unknown_fields_are_the_same_json_again(fields in unknown_fields()) {
        let body = Value::Object(fields).to_string();
        let decoded = detect(&body).unwrap();
        let attributes = text_column(&decoded, col::ATTRIBUTES, 0).unwrap();
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        prop_assert_eq!(parse(&attributes), parse(&body));
    }

    #[test]
    fn any_value_of_a_known_field_is_stored_or_kept(place in 0..SPELLINGS.len(), value in json_value()) {
        let (column, spellings) = SPELLINGS[place];
        prop_assume!(!spellings.is_empty() && column != col::TIMESTAMP && !value.is_null());
        let (name, container) = (spelled(spellings[0]).0, target(spelled(spellings[0]).0).container);
        prop_assume!(!(container && value.is_object()) && value != json!(false) && value != json!(""));
        let decoded = detect(json!({ name: value }).to_string()).unwrap();
        let stored = decoded.records.column_by_name(column).unwrap().is_valid(0);
        prop_assert!(stored || text_column(&decoded, col::ATTRIBUTES, 0).is_some());
    }
}
