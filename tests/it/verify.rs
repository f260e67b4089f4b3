//! `driftline verify`: what is whole is called whole, what is damaged is named, and nothing is changed.

mod damage;
mod whole;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use driftline::{
    config::Config,
    daemon,
    error::Kind,
    finding::Finding,
    verify::{Figures, Report},
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::app::{NOW_US, TestApp, copy, record};

const DAY_S: i64 = 86_400;
const DAY_US: i64 = DAY_S * 1_000_000;

/// What is done to a copy of a directory.
enum Damage {
    Files(fn(&Path)),
    Sql(&'static str),
}

/// Which directory is damaged.
#[derive(Clone, Copy)]
enum Base {
    /// What a crash leaves: rows in files and in the log, frames that are committed and not forgotten.
    Crashed,
    /// What a stop leaves.
    Stopped,
}

/// What is done to which directory, and what is found then.
struct Case<'a> {
    name: &'a str,
    base: Base,
    damage: Damage,
    content: bool,
    expected: &'a [(&'a str, &'a str)],
}

use Base::{Crashed, Stopped};
use Damage::{Files, Sql};

struct Bases {
    crashed: PathBuf,
    stopped: PathBuf,
    _directory: TempDir,
}

/// A batch of some records of the day before, one of two days before, and a line that is no record.
fn batch(number: i64) -> String {
    let line = |n: i64| record(-DAY_S - n * 60 - number, &format!("b{number}-{n}"), "rag", 0.25 + n as f64);
    (0..5).map(line).collect::<String>() + &record(-2 * DAY_S, &format!("b{number}-old"), "code", 0.5) + "no record\n"
}

/// Every group in a segment of its own, so that a log has several, and no maintenance but a test's own.
fn small_segments(config: &mut Config) {
    config.lifecycle.interval_s = 0;
    config.wal.segment_bytes_max = 1;
}

async fn bases() -> Bases {
    let directory = tempfile::tempdir().unwrap();
    let (crashed, stopped) = (directory.path().join("crashed"), directory.path().join("stopped"));
    let mut app = TestApp::start_with(small_segments).await;
    for number in 0..10 {
        app.logs(batch(number)).await;
        app.flush().await;
    }
    maintain(&app).await;
    for number in 10..12 {
        app.logs(batch(number)).await;
    }
    copy(&app.data().join("wal"), &crashed.join("wal"));
    app.flush().await;
    for number in 12..16 {
        app.logs(batch(number)).await;
    }
    copy(app.data(), &crashed);
    let data = app.data().to_owned();
    app.daemon.take().unwrap().stop().await.unwrap();
    copy(&data, &stopped);
    Bases { crashed, stopped, _directory: directory }
}

async fn maintain(app: &TestApp) {
    app.daemon.as_ref().unwrap().maintainer().run().await.unwrap();
}

/// The report on a directory; asserts that it is left as it was.
async fn verify(data: &Path, content: bool) -> Report {
    let before = bytes_below(data);
    let mut config = Config::default();
    config.server.data = data.to_owned();
    let report = daemon::verify(&config, content).await.unwrap();
    let after = bytes_below(data);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, bytes) in before {
        assert!(after[&path] == bytes, "{} was changed", path.display());
    }
    report
}

/// Every file below a directory.
fn bytes_below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(bytes_below(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Files below a directory whose name has this ending, in order.
fn files(directory: PathBuf, ending: &str) -> Vec<PathBuf> {
    let is_wanted = |path: &PathBuf| path.is_file() && path.to_string_lossy().ends_with(ending);
    bytes_below(&directory).into_keys().filter(is_wanted).collect()
}

fn segments(data: &Path) -> Vec<PathBuf> {
    files(data.join("wal"), ".wal")
}

fn entries(data: &Path) -> Vec<PathBuf> {
    files(data.join("tables/agent_logs/_delta_log"), ".json")
}

/// A data file that the newest version of the table has.
fn live_file(data: &Path) -> PathBuf {
    let entry = fs::read_to_string(entries(data).last().unwrap()).unwrap();
    let name = entry.split("\"path\":\"").nth(1).unwrap().split('"').next().unwrap();
    data.join("tables/agent_logs").join(name.replace("%3D", "="))
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, place: impl FnOnce(usize) -> usize) {
    edit(path, |bytes| {
        let place = place(bytes.len());
        bytes[place] ^= 0xff;
    });
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has no {from}: {text}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

async fn sql(data: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(data.join("catalog.sqlite"));
    let mut connection = options.connect().await.unwrap();
    assert!(sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected() > 0, "{statement}");
    connection.close().await.unwrap();
}

/// Damages a copy. Each finding must be one of those that are expected, and each of those be there: part
/// of its place, part of what is wrong.
async fn check(bases: &Bases, case: Case<'_>) -> Result<(), String> {
    let Case { name, base, damage, content, expected } = case;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let from = match base {
        Crashed => &bases.crashed,
        Stopped => &bases.stopped,
    };
    copy(from, &data);
    match damage {
        Files(damage) => damage(&data),
        Sql(statement) => sql(&data, statement).await,
    }
    let report = verify(&data, content).await;
    let fits = |finding: &Finding, (place, what): &(&str, &str)| {
        finding.place.contains(place) && finding.what.contains(what) && !finding.advice.is_empty()
    };
    let is_odd = |finding: &&Finding| !expected.iter().any(|expected| fits(finding, expected));
    let is_missing = |expected: &&(&str, &str)| !report.findings.iter().any(|finding| fits(finding, expected));
    let odd = report.findings.iter().find(is_odd).map(|finding| format!("unexpected {finding:?}"));
    let missing = expected.iter().find(is_missing).map(|expected| format!("no {expected:?}"));
    odd.or(missing).map_or(Ok(()), |problem| Err(format!("{name}: {problem}\n{report}")))
}
