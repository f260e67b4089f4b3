//! Writes the binary part of the corpus, which no editor can. Runs only when a person asks for it, and never touches
//! a file that it does not write itself.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::Schema;
use driftline::{
    decode::{Oldest, Options, Shape, decode},
    disk::SystemDisk,
    record::{Receipt, Table},
    wal::{Frame, Pending, Resume, Section, Writer, quarantine, recover},
};
use flate2::{Compression, GzBuilder, write::GzEncoder};

use super::{
    corpus::root,
    damage::{HEAD, Log, walk},
};
use crate::app::NOW_US;

const RECORD: &str = r#"{"timestamp":"2026-05-14T09:59:58.25Z","request_id":"r-1","agent_id":"support","model":"m-1","prompt_tokens":12,"tool_calls":["search"],"guardrail_checks":{"pii":"clean"},"custom":{"a":[1,2]}}"#;

#[test]
#[ignore = "writes testdata/fuzz"]
fn write_the_binary_corpus() {
    write_compressed();
    write_logs();
}

fn write_compressed() {
    let put = |name: &str, bytes: &[u8]| fs::write(root().join(name), bytes).unwrap();
    for directory in ["gzip", "zstd"] {
        fs::create_dir_all(root().join(directory)).unwrap();
    }
    let plain = format!("{RECORD}\n{RECORD}\n").into_bytes();
    let bomb = vec![b'['; 300_000];

    let whole = gzip(&plain, Compression::best());
    put("gzip/plain.gz", &whole);
    put("gzip/empty.gz", &gzip(b"", Compression::best()));
    put("gzip/stored.gz", &gzip(&plain, Compression::none()));
    put("gzip/two-members.gz", &[&whole[..], &gzip(b"{\"model\":\"m\"}\n", Compression::fast())].concat());
    put("gzip/bomb.gz", &gzip(&bomb, Compression::best()));
    put("gzip/cut.gz", &whole[..whole.len() - 9]);
    put("gzip/zeros-behind.gz", &[&whole[..], &[0; 20]].concat());
    put("gzip/text-behind.gz", &[&whole[..], b"{\"model\":\"m\"}\n"].concat());
    put("gzip/not-compressed.gz", &plain);
    let mut wrong = whole.clone();
    let crc = wrong.len() - 8;
    wrong[crc] ^= 1;
    put("gzip/wrong-crc.gz", &wrong);
    let mut named = GzBuilder::new()
        .filename("a.ndjson")
        .comment("odd")
        .extra(vec![7; 9])
        .mtime(1)
        .write(Vec::new(), Compression::fast());
    named.write_all(&plain).unwrap();
    put("gzip/every-head-field.gz", &named.finish().unwrap());

    let whole = zstd::encode_all(&plain[..], 19).unwrap();
    put("zstd/plain.zst", &whole);
    put("zstd/empty.zst", &zstd::encode_all(&b""[..], 1).unwrap());
    put("zstd/two-frames.zst", &[&whole[..], &zstd::encode_all(&b"{\"model\":\"m\"}\n"[..], 1).unwrap()].concat());
    put("zstd/skipped-frame.zst", &[&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &whole].concat());
    put("zstd/bomb.zst", &zstd::encode_all(&bomb[..], 19).unwrap());
    put("zstd/cut.zst", &whole[..whole.len() - 5]);
    put("zstd/text-behind.zst", &[&whole[..], b"{\"model\":\"m\"}\n"].concat());
    put("zstd/not-compressed.zst", &plain);
    put("zstd/shorter-than-it-says.zst", &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x20, 1, 0, 0]);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&plain).unwrap();
    put("zstd/checksum-and-large-window.zst", &encoder.finish().unwrap());
}

fn gzip(plain: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A log that is being made.
struct Draft {
    directory: PathBuf,
    writer: Writer,
}

impl Draft {
    /// An empty log, each segment at most so many bytes and a group long.
    fn new(name: &str, segment_bytes_max: u64) -> Self {
        let directory = root().join("wal").join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        fs::create_dir_all(&directory).unwrap();
        let resume = Resume { segments: Vec::new(), next_seq: 1 };
        let writer = Writer::new(Arc::new(SystemDisk), &directory, segment_bytes_max, resume);
        Self { directory, writer }
    }

    /// Each group is its requests' marks; see [`request`].
    fn groups(mut self, groups: &[&str]) -> Self {
        for group in groups {
            let group: Vec<_> = group.split(' ').map(|mark| Pending::new(&request(mark)).unwrap()).collect();
            self.writer.append_group(&group).unwrap();
        }
        self
    }

    /// Changes the bytes of the segment with this number.
    fn change(self, segment: usize, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let log = Log::read(&self.directory);
        let (name, bytes) = log.segments.iter().nth(segment).unwrap();
        let mut bytes = bytes.clone();
        change(&mut bytes);
        fs::write(self.directory.join(name), bytes).unwrap();
        self
    }

    /// Takes what is damaged out; leaves what a data directory has then, but for what was set aside.
    fn quarantined(self) {
        let found = quarantine(&SystemDisk, &self.directory, 0).unwrap();
        assert!(!found.losses.is_empty());
        recover(&SystemDisk, &self.directory, 0, |_, _| Ok(())).unwrap();
        let aside = self.directory.join("quarantine");
        if aside.exists() {
            fs::remove_dir_all(aside).unwrap();
        }
    }
}

fn write_logs() {
    const ONE: u64 = 1 << 20;
    Draft::new("one-segment", ONE).groups(&["x", "a b", "x x r", "x"]);
    Draft::new("many-segments", 1).groups(&["x", "x b", "r", "x x x"]);
    Draft::new("records", 2_000).groups(&["r", "r x", "m"]);
    Draft::new("small-frames", 300).groups(&["x x", "x", "x x x", "x", "x x"]);
    Draft::new("torn-tail", ONE).groups(&["x", "a x", "x b"]).change(0, |bytes| bytes.truncate(bytes.len() - 30));
    Draft::new("torn-head", 1).groups(&["x", "x x", "x"]).change(2, |bytes| bytes.truncate(9));
    Draft::new("head-alone", 1).groups(&["x", "a"]).change(1, |bytes| bytes.truncate(HEAD));
    Draft::new("empty-segment", 1).groups(&["x x", "x"]).change(0, Vec::clear);
    let mut forgotten = Draft::new("first-segments-forgotten", 1).groups(&["x", "x x", "a", "x"]);
    forgotten.writer.forget_through(3).unwrap();
    let frames = |numbers: &'static [usize]| {
        move |bytes: &mut Vec<u8>| {
            let whole = walk(bytes);
            numbers.iter().for_each(|number| bytes[whole[*number].offset + 3] ^= 1);
        }
    };
    Draft::new("tombstone-first", 1).groups(&["x x x", "x"]).change(0, frames(&[0])).quarantined();
    Draft::new("tombstones-between", ONE).groups(&["x a x", "x", "b x"]).change(0, frames(&[1, 4])).quarantined();
    let missing = Draft::new("tombstone-of-a-segment", 1).groups(&["x", "x x x", "a"]);
    remove_segment(&missing.directory, 1);
    missing.quarantined();
}

fn remove_segment(directory: &Path, segment: usize) {
    let log = Log::read(directory);
    fs::remove_file(directory.join(log.segments.keys().nth(segment).unwrap())).unwrap();
}

/// `x` is a request of no rows, `r` one of records, `m` one of records and rejects, any other one of a reject.
fn request(mark: &str) -> Frame {
    let records = || Section { table: Table::AgentLogs, batch: records() };
    let rejects = |raw: &str| Section { table: Table::RejectedLogs, batch: rejects(raw) };
    let sections = match mark {
        "x" => Vec::new(),
        "r" => vec![records()],
        "m" => vec![records(), rejects("what")],
        raw => vec![rejects(raw)],
    };
    let receipt = (mark != "x").then_some(Receipt { identity: [7; 16], body: (mark == "m").then_some([8; 16]) });
    Frame { received_at_us: NOW_US, receipt, accepted: 2, rejected: 1, sections }
}

fn records() -> RecordBatch {
    let options = Options {
        received_at_us: NOW_US,
        record_bytes_max: 4 << 20,
        future_max_us: 0,
        oldest: Oldest::default(),
        shape: Shape::Lines,
        scope: Default::default(),
    };
    decode(format!("{RECORD}\n{{\"a\":null}}\n").as_bytes(), options).unwrap().records
}

fn rejects(raw: &str) -> RecordBatch {
    let fields = Table::RejectedLogs.schema().fields();
    let schema = Arc::new(Schema::new(fields[..fields.len() - 1].to_vec()));
    let text = |text: &str| Arc::new(StringViewArray::from_iter_values([text])) as ArrayRef;
    let times = Arc::new(TimestampMicrosecondArray::from_value(NOW_US, 1)) as ArrayRef;
    let lines = Arc::new(Int64Array::from_value(1, 1)) as ArrayRef;
    RecordBatch::try_new(schema, vec![times, lines, text("not JSON"), text(raw)]).unwrap()
}
