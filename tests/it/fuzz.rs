//! Bytes that nobody meant to send: the corpus in `testdata/fuzz`, as it is and mutated, through the decoders, the
//! log's readers, SQL headers and time literals. Nothing may panic, and each target's own promises must hold.
//! Never asks the clock and keeps nothing between cases: case n of a seed is the same everywhere.
//!
//! A long run: `DRIFTLINE_FUZZ_CASES=100000 DRIFTLINE_FUZZ_SEED=7 cargo test --release --locked --test it fuzz::`.

mod bodies;
mod compressed;
mod corpus;
mod damage;
mod generate;
mod mutate;
mod segments;
mod texts;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use self::{
    corpus::{Entry, entries, lines, logs},
    damage::Case,
    mutate::{JSON, NONE, SQL, TIME, mutate},
};
use crate::{
    app::{TestApp, json as json_of},
    random::Random,
};

const SEED: u64 = 1;

/// Something that a target is given, and that can be kept where it fails.
trait Input {
    /// Writes it down at a path that is free; a file or a directory.
    fn keep(&self, path: &Path);
}

impl Input for Vec<u8> {
    fn keep(&self, path: &Path) {
        fs::write(path, self).unwrap();
    }
}

/// Keeps the input of a case that panics, and says where.
struct Witness<'a> {
    name: String,
    input: &'a dyn Input,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
            let path = free_path(&directory, &self.name);
            self.input.keep(&path);
            eprintln!("what failed is kept as {}", path.display());
        }
    }
}

fn free_path(directory: &Path, name: &str) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let names = (0..).map(|attempt| if attempt == 0 { name.to_owned() } else { format!("{name}.{attempt}") });
    names.map(|name| directory.join(name)).find(|path| !path.exists()).unwrap()
}

/// Runs a target: each case is made from its number and a stream of its own, and checked.
fn fuzz<I: Input>(target: &str, cases: u64, make: impl Fn(usize, &mut Random) -> I, check: impl Fn(&I, &mut Random)) {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let (cases, seed) = (number("DRIFTLINE_FUZZ_CASES", cases), number("DRIFTLINE_FUZZ_SEED", SEED));
    for case in 0..cases {
        let mut random = Random::new(seed, (u64::from(crc32fast::hash(target.as_bytes())) << 32) ^ case);
        let input = make(case as usize, &mut random);
        let _witness = Witness { name: format!("{target}-seed-{seed}-case-{case}"), input: &input };
        check(&input, &mut random);
    }
}

/// The corpus as it is, and then mutated.
fn from_corpus<'a>(corpus: &'a [Entry], tokens: &'a [&'a str]) -> impl Fn(usize, &mut Random) -> Vec<u8> + 'a {
    move |case, random| match corpus.get(case) {
        Some(entry) => entry.bytes.clone(),
        None => mutate(&random.pick(corpus).bytes, corpus, tokens, random),
    }
}

#[test]
fn every_line_of_a_body_is_a_record_or_a_reject() {
    let corpus = [entries("ndjson"), entries("json")].concat();
    fuzz("bodies", 1_500, from_corpus(&corpus, JSON), |body, random| bodies::check(body, random));
}

#[test]
fn a_bad_line_never_changes_its_neighbours() {
    let corpus = lines("ndjson");
    let make = |_: usize, random: &mut Random| bodies::with_one_bad_line(&corpus, random);
    fuzz("neighbours", 1_000, make, |body, random| bodies::check(body, random));
}

#[test]
fn opening_a_body_stops_at_the_limit() {
    let corpus = [entries("gzip"), entries("zstd")].concat();
    fuzz("compressed", 600, from_corpus(&corpus, NONE), |body, _| compressed::check(body));
}

#[test]
fn a_damaged_log_loses_nothing_in_silence() {
    let logs = logs();
    let known = segments::Known::new(&logs);
    let make = |case: usize, random: &mut Random| match logs.get(case) {
        Some(log) => Case::intact(log),
        None => Case::damaged(&logs, random),
    };
    fuzz("wal", 500, make, |case, random| segments::check(case, &known, random));
}

#[test]
fn a_payload_is_a_request_or_damage() {
    let logs = logs();
    let payloads: Vec<Entry> = logs.iter().flat_map(segments::payloads).collect();
    let make = |case: usize, random: &mut Random| match payloads.get(case) {
        Some(payload) => payload.bytes.clone(),
        None => damage::forged_payload(&random.pick(&payloads).bytes, random),
    };
    fuzz("payloads", 600, make, |payload, _| segments::check_payload(payload));
}

#[test]
fn a_file_of_sql_is_named_or_refused_with_its_line() {
    let corpus = entries("named");
    fuzz("named", 2_000, from_corpus(&corpus, SQL), |text, random| texts::check_named(text, random));
}

#[test]
fn a_time_is_one_or_none() {
    let corpus = lines("time");
    fuzz("time", 4_000, from_corpus(&corpus, TIME), |text, _| texts::check_time(text));
}

/// What is acknowledged can be flushed and read back, however odd: one record that cannot would stop all others.
#[tokio::test]
async fn every_body_that_is_taken_reaches_the_tables() {
    let app = TestApp::start().await;
    for Entry { name, bytes } in [entries("ndjson"), entries("json")].concat() {
        let status = app.post("/api/v1/logs").body(bytes).send().await.unwrap().status().as_u16();
        assert!(matches!(status, 200 | 400), "{name}: {status}");
    }
    app.flush().await;
    let books = json_of(app.get("/api/v1/status")).await["books"].clone();
    assert!(books["accepted"].as_u64().unwrap() > 100 && books["rejected"].as_u64().unwrap() > 50, "{books}");
    for (table, count) in [("agent_logs", "accepted"), ("rejected_logs", "rejected")] {
        let rows = app.sql(&format!("select count(*) as n from {table}")).await;
        assert_eq!(rows, json!([{ "n": books[count] }]), "{table}");
        let rows = app.sql(&format!("select * from {table}")).await;
        assert_eq!(rows.as_array().unwrap().len() as u64, books[count].as_u64().unwrap(), "{table}");
    }
}
