//! What bodies become: each test is a table of bodies and what is stored of them.

mod hostile;

use arrow::{
    array::{Array, AsArray},
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::{Value, json};

use super::{
    batch::COLUMNS,
    fields::{SPELLINGS, Unit, target},
    *,
};
use crate::{
    error::Kind,
    record::{Table, col},
};

/// 2026-05-14T10:00:00Z.
const RECEIVED_AT_US: i64 = 1_778_752_800_000_000;
const HOUR_US: i64 = 3_600_000_000;

const RECORDS: &str = include_str!("../../testdata/decode/records.ndjson");
const RECORDS_DECODED: &str = include_str!("../../testdata/decode/records.txt");

fn options(shape: Shape) -> Options {
    Options {
        received_at_us: RECEIVED_AT_US,
        record_bytes_max: 4 << 20,
        future_max_us: HOUR_US,
        oldest: Oldest::default(),
        shape,
        scope: Scope::Everybody,
    }
}

fn decode_lines(body: impl AsRef<[u8]>) -> Result<Decoded> {
    decode(body.as_ref(), options(Shape::Lines))
}

fn detect(body: impl AsRef<[u8]>) -> Result<Decoded> {
    decode(body.as_ref(), options(Shape::Detect))
}

/// The columns of one row that hold something, but not the time of receipt, nor a timestamp that is
/// that same time.
fn row(records: &RecordBatch, row: usize) -> Vec<String> {
    let format = FormatOptions::default();
    let mut cells = Vec::new();
    for (field, column) in records.schema_ref().fields().iter().zip(records.columns()) {
        let is_receipt = matches!(field.data_type(), DataType::Timestamp(..))
            && column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(row) == RECEIVED_AT_US;
        if !is_receipt && column.is_valid(row) {
            let cell = ArrayFormatter::try_new(column.as_ref(), &format).unwrap();
            cells.push(format!("{}: {}", field.name(), cell.value(row)));
        }
    }
    cells
}

/// A row a line, then a reject a line; or the error.
fn outcome(decoded: Result<Decoded>) -> String {
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return format!("{}: {error}", error.kind().code()),
    };
    let rows = (0..decoded.records.num_rows()).map(|index| row(&decoded.records, index).join("; "));
    let rejects = decoded.rejects.iter().map(|reject| format!("line {}: {}", reject.line, reject.reason));
    rows.chain(rejects).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(body: impl AsRef<[u8]>, expected: &str) {
    let body = body.as_ref();
    assert_eq!(outcome(detect(body)), expected, "{}", String::from_utf8_lossy(body));
}

fn text_column(decoded: &Decoded, name: &str, row: usize) -> Option<String> {
    let column = decoded.records.column_by_name(name).unwrap().as_string_view();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

#[test]
fn every_column_but_the_seq_is_decoded() {
    assert_eq!(COLUMNS, Table::AgentLogs.schema().fields().len() - 1);
    assert_eq!(Table::AgentLogs.schema().field(COLUMNS).name(), col::INGEST_SEQ);
}

/// Ingest reserves as much for a batch, and it waits for its commit among thousands like it.
#[test]
fn a_batch_of_one_record_is_small() {
    let record = RECORDS.lines().next().unwrap();
    let bytes = decode_lines(record).unwrap().records.get_array_memory_size();
    assert!(bytes < (16 << 10) + 2 * record.len(), "{bytes} bytes of {}", record.len());
}

#[test]
fn standard_and_short_records_fill_their_columns() {
    let decoded = detect(RECORDS).unwrap();
    let rows: Vec<_> = (0..2).map(|index| row(&decoded.records, index).join("\n")).collect();
    assert_eq!(rows.join("\n\n"), RECORDS_DECODED.trim_end());
    assert!(decoded.rejects.is_empty());
    let received = decoded.records.column_by_name(col::RECEIVED_AT).unwrap();
    let received = received.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(received.values().as_ref(), [RECEIVED_AT_US; 2]);
}

/// A value of the column's type, and another one, and how the first shows.
fn samples(column: &str) -> (Value, Value, String) {
    let schema = Table::AgentLogs.schema();
    match schema.field_with_name(column).unwrap().data_type() {
        DataType::Timestamp(..) => {
            (json!("2026-05-14T09:00:00Z"), json!("2026-05-14T08:00:00Z"), "2026-05-14T09:00:00".into())
        }
        DataType::Int64 => (json!(7), json!(8), "7".into()),
        DataType::Float64 => (json!(1.5), json!(2.5), "1.5".into()),
        DataType::Boolean => (json!(true), json!(false), "true".into()),
        DataType::Map(..) => (json!({"a": "b"}), json!({"a": "c"}), "{a: b}".into()),
        DataType::List(_) => (json!(["t"]), json!(["u"]), "[{name: t, latency_ms: , status: }]".into()),
        DataType::Struct(_) => (
            json!({"chunks_retrieved": 3}),
            json!({"chunks_retrieved": 4}),
            "{chunks_retrieved: 3, top_similarity_score: , retrieval_latency_ms: }".into(),
        ),
        _ => (json!("v"), json!("w"), "v".into()),
    }
}

/// The value in as many objects as its dotted path names.
fn nested(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |inner, name| json!({ name: inner }))
}

fn spelled(spelling: &str) -> (&str, bool) {
    spelling.strip_suffix(" [s]").map_or((spelling, false), |path| (path, true))
}

#[test]
fn every_spelling_fills_its_column_flat_and_nested() {
    for (column, spellings) in SPELLINGS {
        let (value, _, shown) = samples(column);
        for spelling in *spellings {
            let (path, in_seconds) = spelled(spelling);
            let shown = if in_seconds { "1500.0" } else { &shown };
            let mut expected = vec![format!("{column}: {shown}")];
            if *column == col::MODEL_VERSION {
                expected.insert(0, "model: v".into());
            }
            let flat = json!({ path: value });
            for record in [&flat, &nested(path, &value), &json!({ "attributes": flat })] {
                check(record.to_string(), &expected.join("; "));
            }
        }
    }
}

#[test]
fn conventions_of_others_are_understood() {
    for (record, expected) in [
        (
            json!({"gen_ai": {"operation": {"name": "chat"}, "usage": {"input_tokens": 1, "cache_read": {"input_tokens": 2}},
                "response": {"finish_reasons": ["stop"], "time_to_first_chunk": 0.25}, "conversation": {"id": "c"}}}),
            "operation: chat; session_id: c; prompt_tokens: 1; cache_read_tokens: 2; ttft_ms: 250.0; finish_reason: stop",
        ),
        (
            json!({"gen_ai.system": "aws", "gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 1,
                "gen_ai.usage.completion_tokens": 2, "gen_ai.usage.reasoning_tokens": 1, "error.type": "timeout"}),
            "model: m; provider: aws; prompt_tokens: 1; completion_tokens: 2; total_tokens: 3; reasoning_tokens: 1; \
             error_type: timeout",
        ),
        (
            json!({"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.token_count.prompt": 3,
                "llm.token_count.prompt_details.cache_read": 1, "llm.cost.total": 0.5, "session.id": "s"}),
            "model: m; operation: LLM; session_id: s; prompt_tokens: 3; cache_read_tokens: 1; cost_usd: 0.5",
        ),
        (
            json!({"traceloop.span.kind": "agent", "traceloop.association.properties.session_id": "s",
                "llm.usage.total_tokens": 9, "langfuse.environment": "live", "langsmith.metadata.thread_id": "t"}),
            "operation: agent; environment: live; session_id: s; total_tokens: 9; \
             attributes: {\"langsmith.metadata.thread_id\":\"t\"}",
        ),
        (
            json!({"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0}}}),
            "model: m; prompt_tokens: 1; completion_tokens: 2; total_tokens: 3; cache_read_tokens: 1; \
             attributes: {\"usage.prompt_tokens_details.audio_tokens\":0}",
        ),
    ] {
        check(record.to_string(), expected);
    }
}

#[test]
fn the_better_spelling_wins_and_the_other_stays_in_attributes() {
    for (column, spellings) in SPELLINGS {
        let (value, other, _) = samples(column);
        for (rank, better) in spellings.iter().enumerate() {
            let Some(worse) = spellings.get(rank + 1) else { break };
            let (better, worse) = (spelled(better).0, spelled(worse).0);
            let alone = row(&detect(json!({ better: value }).to_string()).unwrap().records, 0).join("; ");
            let expected = format!("{alone}; attributes: {}", json!({ worse: other }));
            for (first, second) in [((better, &value), (worse, &other)), ((worse, &other), (better, &value))] {
                check(format!("{{{},{}}}", pair(first), pair(second)), &expected);
            }
        }
    }
}

fn pair((name, value): (&str, &Value)) -> String {
    format!("{}:{value}", json!(name))
}

#[test]
fn fields_that_meet_in_one_column() {
    for (body, expected) in [
        // The same said twice is said once; the same digits in another unit are something else.
        (r#"{"model":"m","model_name":"m"}"#, "model: m"),
        (r#"{"latency_ms":2,"latency_s":2}"#, r#"latency_ms: 2.0; attributes: {"latency_s":2}"#),
        // Of a duplicate key the last one counts, as in other readers, and the first is kept.
        (r#"{"model":"a","model":"b"}"#, r#"model: b; attributes: {"model":"a"}"#),
        (r#"{"x":1,"x":2}"#, r#"attributes: {"x":1,"x":2}"#),
        // Null says nothing, so it hides nothing.
        (r#"{"model":null,"model_name":"m"}"#, "model: m"),
        // Nor does an empty text.
        (
            r#"{"model":"","model_name":"m","session_id":"","latency_ms":"","x":""}"#,
            r#"model: m; attributes: {"x":""}"#,
        ),
        (r#"{"model_version":"m-1"}"#, "model: m-1; model_version: m-1"),
        (r#"{"prompt_tokens":1,"completion_tokens":"2"}"#, "prompt_tokens: 1; completion_tokens: 2; total_tokens: 3"),
        (
            r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":9}"#,
            "prompt_tokens: 1; completion_tokens: 2; total_tokens: 9",
        ),
        (
            r#"{"prompt_tokens":9223372036854775807,"completion_tokens":1}"#,
            "prompt_tokens: 9223372036854775807; completion_tokens: 1",
        ),
        (r#"{"error":false,"error_type":""}"#, ""),
        (r#"{"error":{"message":"m","code":5}}"#, r#"error: m; attributes: {"error.code":5}"#),
    ] {
        check(body, expected);
    }
}

#[test]
fn values_of_the_wrong_type_are_cast_or_kept() {
    for (body, expected) in [
        (r#"{"prompt_tokens":"12"}"#, "prompt_tokens: 12"),
        (r#"{"prompt_tokens":12.0}"#, "prompt_tokens: 12"),
        (r#"{"prompt_tokens":1.5}"#, r#"attributes: {"prompt_tokens":1.5}"#),
        (r#"{"prompt_tokens":9007199254740993.0}"#, r#"attributes: {"prompt_tokens":9007199254740993.0}"#),
        (r#"{"prompt_tokens":{"text":1}}"#, r#"attributes: {"prompt_tokens":{"text":1}}"#),
        (r#"{"cost_usd":"0.5"}"#, "cost_usd: 0.5"),
        (r#"{"cost_usd":"free"}"#, r#"attributes: {"cost_usd":"free"}"#),
        (r#"{"latency_s":"0.5"}"#, "latency_ms: 500.0"),
        (r#"{"latency_ms":1e999}"#, r#"attributes: {"latency_ms":1e999}"#),
        (r#"{"task_completed":"true"}"#, "task_completed: true"),
        (r#"{"task_completed":0}"#, "task_completed: false"),
        (r#"{"task_completed":"perhaps"}"#, r#"attributes: {"task_completed":"perhaps"}"#),
        (r#"{"user_id":42}"#, "user_id: 42"),
        (r#"{"version":1.10}"#, "version: 1.10"),
        (r#"{"model":["a","b"]}"#, r#"attributes: {"model":["a","b"]}"#),
        (r#"{"finish_reason":["stop"]}"#, "finish_reason: stop"),
        (r#"{"user_id":"\ud800"}"#, r#"attributes: {"user_id":"\ud800"}"#),
        (r#"{"guardrail_checks":"all clean"}"#, r#"attributes: {"guardrail_checks":"all clean"}"#),
        (r#"{"guardrail_checks":{"pii":{"found":2},"len":3}}"#, r#"guardrail_checks: {pii: {"found":2}, len: 3}"#),
        (r#"{"tool_calls":"search"}"#, r#"attributes: {"tool_calls":"search"}"#),
        (r#"{"tool_calls":[]}"#, "tool_calls: []"),
        (
            r#"{"tool_calls":[7,"a"]}"#,
            "tool_calls: [{name: , latency_ms: , status: }, {name: a, latency_ms: , status: }]; \
             attributes: {\"tool_calls\":[7,\"a\"]}",
        ),
        (
            r#"{"tool_calls":[{"tool":"a","duration_ms":"5","success":false}]}"#,
            "tool_calls: [{name: a, latency_ms: 5.0, status: error}]",
        ),
        (
            r#"{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#,
            "tool_calls: [{name: f, latency_ms: , status: }]; \
             attributes: {\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}",
        ),
        (
            r#"{"rag_context":{"chunks_retrieved":"many","top_similarity_score":0.5}}"#,
            "rag_context: {chunks_retrieved: , top_similarity_score: 0.5, retrieval_latency_ms: }; \
             attributes: {\"rag_context\":{\"chunks_retrieved\":\"many\",\"top_similarity_score\":0.5}}",
        ),
        (
            r#"{"rag_context":5,"quality_scores":6,"attributes":"x"}"#,
            r#"attributes: {"quality_scores":6,"attributes":"x","rag_context":5}"#,
        ),
    ] {
        check(body, expected);
    }
}

#[test]
fn unknown_fields_are_kept_byte_for_byte() {
    for (body, expected) in [
        (r#"{"a": [1,  2.50, 1e3], "b" : {"c":"\u00e9\/"} }"#, r#"{"a":[1,  2.50, 1e3],"b":{"c":"\u00e9\/"}}"#),
        (r#"{"k\"ey\n\u00e9":1,"back\\slash":2}"#, r#"{"k\"ey\né":1,"back\\slash":2}"#),
        (
            r#"{"big":123456789012345678901234567890,"none":null}"#,
            r#"{"big":123456789012345678901234567890,"none":null}"#,
        ),
        (
            r#"{"gen_ai":{"tool":{"x":1},"usage":{"text":{"input_tokens":3}}}}"#,
            r#"{"gen_ai.tool":{"x":1},"gen_ai.usage.text":{"input_tokens":3}}"#,
        ),
        (r#"{"":0,"received_at":"then","price_id":"p"}"#, r#"{"":0,"received_at":"then","price_id":"p"}"#),
        // A key that is no text stops the look into its object, never the object.
        (r#"{"usage":{"\ud800":1,"prompt_tokens":5}}"#, r#"{"usage":{"\ud800":1,"prompt_tokens":5}}"#),
        (r#"{"guardrail_checks":7,"mo\u0064el_":1}"#, r#"{"model_":1,"guardrail_checks":7}"#),
    ] {
        check(body, &format!("attributes: {expected}"));
    }
    check(r#"{"mod\u0065l":"m"}"#, "model: m");
}

#[test]
fn nested_columns_keep_what_they_cannot_read() {
    for column in ["guardrail_checks", "rag_context"] {
        let body = format!(r#"{{"{column}":{{"\ud800":1,"chunks_retrieved":2}}}}"#);
        let decoded = detect(&body).unwrap();
        assert_eq!(text_column(&decoded, col::ATTRIBUTES, 0), Some(body));
    }
    for body in [
        r#"{"tool_calls":[{"\ud800":1,"name":"a"}]}"#,
        r#"{"tool_calls":["a","\ud800"]}"#,
        // What is said twice fills one place.
        r#"{"tool_calls":[{"name":"a","tool":"b"}]}"#,
        r#"{"tool_calls":[{"status":"slow","success":true}]}"#,
        r#"{"tool_calls":[{"name":"a","function":{"name":"b"}}]}"#,
        r#"{"rag_context":{"chunks_retrieved":1,"chunks_retrieved":2}}"#,
    ] {
        assert_eq!(text_column(&detect(body).unwrap(), col::ATTRIBUTES, 0).as_deref(), Some(body));
    }
}

#[test]
fn null_everywhere_is_a_record_of_nothing() {
    let names = SPELLINGS.iter().flat_map(|(_, spellings)| *spellings).map(|spelling| spelled(spelling).0);
    let record: serde_json::Map<String, Value> = names.map(|name| (name.to_owned(), Value::Null)).collect();
    check(Value::Object(record).to_string(), "");
}

#[test]
fn timestamps() {
    for (body, expected, identified) in [
        (
            r#"{"timestamp":"2026-05-14T09:00:00Z","request_id":"r"}"#,
            "timestamp: 2026-05-14T09:00:00; request_id: r",
            true,
        ),
        (
            r#"{"time_unix_nano":"1778749200000000000","spanId":"s"}"#,
            "timestamp: 2026-05-14T09:00:00; span_id: s",
            true,
        ),
        (r#"{"ts":1778749200.5,"request_id":"r"}"#, "timestamp: 2026-05-14T09:00:00.500; request_id: r", true),
        (r#"{"timestamp":"2026-05-14T09:00:00Z"}"#, "timestamp: 2026-05-14T09:00:00", false),
        (r#"{"request_id":"r"}"#, "request_id: r", false),
        (r#"{"timestamp":null,"request_id":"r"}"#, "request_id: r", false),
        (r#"{"ts":"soon","request_id":"r"}"#, "request_id: r; attributes: {\"ts\":\"soon\"}", false),
        (r#"{"ts":{"a":1},"request_id":"r"}"#, "request_id: r; attributes: {\"ts\":{\"a\":1}}", false),
        (r#"{"timestamp":"1969-12-31T23:59:59Z","span_id":"s"}"#, "timestamp: 1969-12-31T23:59:59; span_id: s", true),
        (r#"{"timestamp":"2026-05-14T11:00:00Z","span_id":"s"}"#, "timestamp: 2026-05-14T11:00:00; span_id: s", true),
        (r#"{"ts":"2026-05-14T11:00:00.000001Z"}"#, "line 1: ts lies more than 1 hours in the future", false),
        // A time that no calendar has would keep its batch from the tables.
        (r#"{"ts":"0001-01-01T00:00:00Z","span_id":"s"}"#, "timestamp: 0001-01-01T00:00:00; span_id: s", true),
        (r#"{"ts":-62135596801,"span_id":"s"}"#, "span_id: s; attributes: {\"ts\":-62135596801}", false),
        (r#"{"ts":-9e16,"span_id":"s"}"#, "span_id: s; attributes: {\"ts\":-9e16}", false),
        (
            r#"{"ts":"-262143-01-01 00:00:00","span_id":"s"}"#,
            "span_id: s; attributes: {\"ts\":\"-262143-01-01 00:00:00\"}",
            false,
        ),
        (r#"{"timestamp":9223372036854775807}"#, "line 1: timestamp lies more than 1 hours in the future", false),
    ] {
        check(body, expected);
        assert_eq!(detect(body).unwrap().identified, identified, "{body}");
    }
}

#[test]
fn a_batch_is_identified_only_if_every_record_is() {
    let record = r#"{"timestamp":"2026-05-14T09:00:00Z","request_id":"r"}"#;
    for (body, expected) in [
        (format!("{record}\n{record}\n"), true),
        (format!("{record}\nnonsense\n"), true),
        (format!("{record}\n{{\"heartbeat\":1}}\n"), false),
        ("42\n".to_owned(), false),
    ] {
        assert_eq!(detect(&body).unwrap().identified, expected, "{body}");
    }
}

#[test]
fn bodies_are_split_into_records() {
    for (body, expected) in [
        ("{\"model\":\"a\"}\n{\"model\":\"b\"}", "model: a\nmodel: b"),
        ("{\"model\":\"a\"}\r\n{\"model\":\"b\"}\r\n", "model: a\nmodel: b"),
        ("\u{feff}{\"model\":\"a\"}\n", "model: a"),
        ("\n \r\n{\"model\":\"a\"}\n\n\t\n{\"model\":\"b\"}\n\n", "model: a\nmodel: b"),
        (
            "\n\n{}\n[1]\n\"x\"",
            "line 3: an object without fields is no record\nline 4: not an object: a record is a JSON object\nline 5: not an object: a record is a JSON object",
        ),
        (
            "{\n  \"model\": \"a\",\n  \"x\": {\n    \"y\": 1\n  }\n}\n",
            "model: a; attributes: {\"x\":{\n    \"y\": 1\n  }}",
        ),
        (
            "[{\"model\":\"a\"},\n {\"model\":\"b\"}, 7]\n",
            "model: a\nmodel: b\nline 3: not an object: a record is a JSON object",
        ),
        ("[]", ""),
        ("{\"model\":\"a\"}\n{\"model\":", "model: a\nline 2: not JSON: "),
        ("{\"model\"\n{\"model\":\"b\"}\n", "model: b\nline 1: not JSON: "),
        ("what\n{\"model\":\"b\"}\n", "model: b\nline 1: not JSON: "),
        (
            "{\"model\":\"a\"} {\"model\":\"b\"}\n{\"model\":\"c\"}\n",
            "model: c\nline 1: not one JSON object: something follows its closing brace",
        ),
        (
            "{\"model\":\"a\"} x\n{\"model\":\"c\"}\n",
            "model: c\nline 1: not one JSON object: something follows its closing brace",
        ),
        ("", "invalid: the body is empty"),
        (" \r\n\t", "invalid: the body is empty"),
        ("\u{feff}", "invalid: the body is empty"),
        ("garbage", "invalid: no line of the body is JSON"),
        ("<html>\n<body>\n", "invalid: no line of the body is JSON"),
        ("{\"a\":1} {\"b\":2}", "invalid: the body is not JSON, in line 1"),
        ("{\"a\":1", "invalid: the body is not JSON, in line 1"),
        ("[{\"a\":1},\n{\"a\":2}", "invalid: the body is not JSON, in line 2"),
        ("[{\"a\":1}] x", "invalid: the body is not JSON, in line 1"),
        ("[{\"a\":1},]", "invalid: the body is not JSON, in line 1"),
    ] {
        let found = outcome(detect(body));
        let matches = found.lines().count() == expected.lines().count()
            && found.lines().zip(expected.lines()).all(|(found, expected)| found.starts_with(expected));
        assert!(matches, "{body}\nfound: {found}\nexpected: {expected}");
    }
}

#[test]
fn one_line_that_is_not_utf8_is_one_reject() {
    let body = b"{\"model\":\"a\"}\n{\"model\":\"\xff\"}\n{\"model\":\"b\"}\n";
    check(body, "model: a\nmodel: b\nline 2: not UTF-8");
    assert_eq!(detect(body).unwrap().rejects[0].raw, "{\"model\":\"\u{fffd}\"}");
    check(b"{\"model\":\"\xff\"}\n{\"model\":\"b\"}\n", "model: b\nline 1: not UTF-8");
    check(b"[{\"model\":\"\xff\"}]", "invalid: the body is not UTF-8 from byte 11 on");
}

#[test]
fn a_rejected_line_is_kept_up_to_its_limit() {
    let line = "é".repeat(REJECT_BYTES_MAX);
    let decoded = decode_lines(format!("{{\"a\":1}}\n{line}\n")).unwrap();
    assert_eq!(decoded.rejects[0].raw, line[..REJECT_BYTES_MAX]);
}

#[test]
fn a_record_that_is_too_long_is_rejected_alone() {
    let of = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let (fits, too_long) = (of(4 << 20), of((4 << 20) + 1));
    let said = "4194305 bytes, and a record may have 4194304 (ingest.record_bytes_max): keep long texts elsewhere";
    let decoded = decode_lines(format!("{fits}\n{too_long}\n{{\"a\":1}}\n")).unwrap();
    assert_eq!((decoded.records.num_rows(), decoded.rejects.len()), (2, 1));
    assert_eq!((decoded.rejects[0].line, decoded.rejects[0].reason.as_str()), (2, said));
    // Alone it is no body that is wrong as a whole.
    for body in [too_long.clone(), format!("[{too_long}]")] {
        let decoded = detect(body).unwrap();
        assert_eq!((decoded.records.num_rows(), decoded.rejects[0].reason.as_str()), (0, said));
    }
}

#[test]
fn shape_lines_never_looks_across_lines() {
    assert_eq!(outcome(decode_lines("{\"a\":1} {\"b\":2}\n{\"model\":\"m\"}")).lines().count(), 2);
    assert!(outcome(decode_lines("[{\"model\":\"a\"}]\n")).starts_with("line 1: not an object"));
    assert_eq!(decode_lines("[{\"a\":1},\n{\"b\":2}]\n").unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn only_durations_have_units_of_their_own() {
    for (column, spellings) in SPELLINGS {
        for spelling in *spellings {
            let (path, in_seconds) = spelled(spelling);
            let unit = target(path).slot.unwrap().unit;
            assert_eq!(unit == Unit::Seconds, in_seconds && column.ends_with("_ms"), "{spelling}");
        }
    }
}

#[test]
fn a_bound_sender_writes_for_its_own_tenants_only() {
    let check = |tenants: &[&str], body: &str, expected: &[Result<&str, &str>]| {
        let scope = Scope::of(tenants.iter().map(|tenant| (*tenant).to_owned()));
        let decoded = decode(body.as_bytes(), Options { scope, ..options(Shape::Lines) }).unwrap();
        let stored = decoded.records.column_by_name(col::TENANT_ID).unwrap().as_string_view().clone();
        let found: Vec<&str> = stored.iter().map(Option::unwrap_or_default).collect();
        let wanted: Vec<&str> = expected.iter().filter_map(|expected| expected.ok()).collect();
        assert_eq!(found, wanted, "{body}");
        let reasons: Vec<&str> = expected.iter().filter_map(|expected| expected.err()).collect();
        assert_eq!(decoded.rejects.len(), reasons.len(), "{:?}", decoded.rejects);
        for (reject, reason) in decoded.rejects.iter().zip(reasons) {
            assert!(reject.reason.contains(reason), "{reject:?}");
        }
    };
    let body = r#"{"agent_id":"x"}
{"agent_id":"x","tenant_id":"a"}
{"agent_id":"x","tenant_id":"b"}
{"agent_id":"x","tenant_id":{"a":1}}
{"agent_id":"x","tenant_id":null}"#;
    let (other, missing) = ("tenant_id is none of the tenants", "tenant_id is missing");
    check(&["a"], body, &[Ok("a"), Ok("a"), Err(other), Err(other), Ok("a")]);
    check(&["a", "b"], body, &[Err(missing), Ok("a"), Ok("b"), Err(other), Err(missing)]);
    check(&[], body, &[Ok(""), Ok("a"), Ok("b"), Ok(""), Ok("")]);
}
