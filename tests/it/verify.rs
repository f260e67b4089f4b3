//! `driftline verify`: what is whole is called whole, what is damaged is named, and nothing is changed.

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

#[tokio::test]
async fn damage_is_named() {
    let bases = bases().await;
    let mut problems = Vec::new();
    let mut check = async |name, base, damage, content, expected: &[_]| {
        problems.extend(check(&bases, Case { name, base, damage, content, expected }).await.err());
    };
    check("nothing, crashed", Crashed, Files(|_| {}), true, &[]).await;
    check("nothing, stopped", Stopped, Files(|_| {}), true, &[]).await;

    // The log. Batches 11 and 12 are counted, 13 to 16 are not.
    check(
        "a segment's middle",
        Crashed,
        Files(|data| flip(&segments(data)[3], |bytes| bytes / 2)),
        false,
        &[("wal/00000000000000000014.wal", "bytes are damaged, batch 14 with them")],
    )
    .await;
    check(
        "a segment's head",
        Crashed,
        Files(|data| flip(&segments(data)[3], |_| 3)),
        false,
        &[("wal/00000000000000000014.wal", "offset 0: its head is damaged")],
    )
    .await;
    check(
        "a segment's tail",
        Crashed,
        Files(|data| edit(&segments(data)[3], |bytes| bytes.truncate(bytes.len() - 9))),
        false,
        &[("wal/00000000000000000014.wal", "bytes are damaged, batch 14 with them")],
    )
    .await;
    check(
        "the log's tail",
        Crashed,
        Files(|data| edit(&segments(data)[5], |bytes| bytes.truncate(bytes.len() - 9))),
        false,
        &[],
    )
    .await;
    check(
        "a segment",
        Crashed,
        Files(|data| fs::remove_file(&segments(data)[3]).unwrap()),
        false,
        &[("wal/00000000000000000015.wal", "batches 14 to 14 before it are missing")],
    )
    .await;
    check(
        "the first segments",
        Crashed,
        Files(|data| {
            segments(data)[..3].iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        false,
        &[("wal/00000000000000000014.wal", "batches 13 to 13 before it are missing")],
    )
    .await;
    check(
        "segments that are not needed",
        Crashed,
        Files(|data| {
            segments(data)[..2].iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        false,
        &[],
    )
    .await;
    check(
        "a segment twice",
        Crashed,
        Files(|data| {
            fs::copy(&segments(data)[3], data.join("wal/00000000000000000015.wal")).unwrap();
        }),
        false,
        &[
            ("wal/00000000000000000015.wal", "batch 14 stands where 15 belongs"),
            ("wal/00000000000000000016.wal", "batches 15 to 15 before it are missing"),
        ],
    )
    .await;
    check(
        "a file that is no segment",
        Crashed,
        Files(|data| fs::write(data.join("wal/a.wal"), "").unwrap()),
        false,
        &[("wal/a.wal", "is not the name of a segment")],
    )
    .await;
    check(
        "the log",
        Crashed,
        Files(|data| fs::remove_dir_all(data.join("wal")).unwrap()),
        false,
        &[("wal", "the directory is missing")],
    )
    .await;

    // Files.
    check(
        "a file",
        Crashed,
        Files(|data| fs::remove_file(live_file(data)).unwrap()),
        false,
        &[(".parquet", "the file is missing")],
    )
    .await;
    check(
        "a file's end",
        Crashed,
        Files(|data| edit(&live_file(data), |bytes| bytes.truncate(bytes.len() - 1))),
        false,
        &[(".parquet", "bytes, the log says")],
    )
    .await;
    check(
        "a file's footer",
        Crashed,
        Files(|data| flip(&live_file(data), |bytes| bytes - 6)),
        false,
        &[(".parquet", "the footer cannot be read")],
    )
    .await;
    check("a page, footers only", Crashed, Files(|data| flip(&live_file(data), |_| 4)), false, &[]).await;
    check(
        "a page, rows as well",
        Crashed,
        Files(|data| flip(&live_file(data), |_| 4)),
        true,
        &[(".parquet", "its rows cannot be read, from 0 on")],
    )
    .await;
    check(
        "another file in its place",
        Crashed,
        Files(|data| {
            let path = live_file(data);
            let length = fs::metadata(&path).unwrap().len() as usize;
            fs::write(path, vec![b'x'; length]).unwrap();
        }),
        false,
        &[(".parquet", "the footer cannot be read")],
    )
    .await;

    // The tables' logs.
    check(
        "a count",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"numRecords\":2"#, r#"\"numRecords\":3"#)),
        false,
        &[
            (".parquet", "the footer counts 2 rows, the log 3"),
            ("tables/agent_logs", "97 rows are there or were deleted, but only 96 are in the books"),
        ],
    )
    .await;
    check(
        "a bound",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"tenant_id\":\"t1\""#, r#"\"tenant_id\":\"t0\""#)),
        false,
        &[(".parquet", "the greatest tenant_id is t1, the log says t0")],
    )
    .await;
    check(
        "a bound, rows as well",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"cost_usd\":0.5"#, r#"\"cost_usd\":0.25"#)),
        true,
        &[(".parquet", "the greatest cost_usd is 0.5, the log says 0.25")],
    )
    .await;
    check(
        "nulls",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"tenant_id\":0"#, r#"\"tenant_id\":1"#)),
        true,
        &[
            (".parquet", "the column tenant_id has 0 nulls, the log says 1"),
            (".parquet", "the column tenant_id holds 0 nulls, the log says 1"),
        ],
    )
    .await;
    check(
        "a day",
        Crashed,
        Files(|data| {
            let path = entries(data).pop().unwrap();
            replace(
                &path,
                "\"partitionValues\":{\"date\":\"2026-05-12\"}",
                "\"partitionValues\":{\"date\":\"2026-05-11\"}",
            );
        }),
        false,
        &[(".parquet", "which is not of its day")],
    )
    .await;
    check(
        "an entry",
        Crashed,
        Files(|data| fs::remove_file(&entries(data)[4]).unwrap()),
        false,
        &[("tables/agent_logs/_delta_log/00000000000000000004.json", "is missing")],
    )
    .await;
    check(
        "the first entries",
        Crashed,
        Files(|data| {
            entries(data)[..2].iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        false,
        &[("tables/agent_logs/_delta_log/00000000000000000000.json", "and with it the entries up to 1")],
    )
    .await;
    check(
        "the last entry",
        Crashed,
        Files(|data| fs::remove_file(entries(data).last().unwrap()).unwrap()),
        false,
        &[("tables/agent_logs", "a start passes over 12 rows of the log")],
    )
    .await;
    check(
        "the last entry, stopped",
        Stopped,
        Files(|data| fs::remove_file(entries(data).last().unwrap()).unwrap()),
        false,
        &[("tables/agent_logs", "96 rows are in the books, but only 72 are there")],
    )
    .await;
    check(
        "half an entry",
        Crashed,
        Files(|data| edit(&entries(data)[4], |bytes| bytes.truncate(bytes.len() / 2))),
        false,
        &[
            ("tables/agent_logs/_delta_log/00000000000000000004.json", "is not JSON"),
            ("tables/agent_logs/_delta_log", ""),
        ],
    )
    .await;
    check(
        "a protocol",
        Crashed,
        Files(|data| replace(&entries(data)[0], "\"minWriterVersion\":2", "\"minWriterVersion\":3")),
        false,
        &[("tables/agent_logs/_delta_log", "the table's protocol is not ours")],
    )
    .await;
    check(
        "a log",
        Crashed,
        Files(|data| fs::remove_dir_all(data.join("tables/agent_logs/_delta_log")).unwrap()),
        false,
        &[("tables/agent_logs", "but its _delta_log is missing")],
    )
    .await;
    check(
        "a table",
        Crashed,
        Files(|data| fs::remove_dir_all(data.join("tables/rejected_logs")).unwrap()),
        false,
        &[("tables/rejected_logs", "a start passes over 2 rows of the log")],
    )
    .await;

    // SQLite.
    check(
        "a page of SQLite",
        Stopped,
        Files(|data| edit(&data.join("catalog.sqlite"), |bytes| bytes[4_096..].fill(0x5a))),
        false,
        &[("catalog.sqlite", "")],
    )
    .await;
    check(
        "SQLite's head",
        Stopped,
        Files(|data| flip(&data.join("catalog.sqlite"), |_| 3)),
        false,
        &[("catalog.sqlite", "")],
    )
    .await;
    check(
        "all of SQLite",
        Crashed,
        Files(|data| fs::remove_file(data.join("catalog.sqlite")).unwrap()),
        false,
        &[("catalog.sqlite", "the file is missing")],
    )
    .await;
    check(
        "a seq",
        Stopped,
        Sql("update totals set seq = seq + 100"),
        false,
        &[("catalog.sqlite", "counts through batch 116, but the tables hold only through 16")],
    )
    .await;
    check(
        "an earlier seq",
        Stopped,
        Sql("update totals set seq = seq - 1"),
        false,
        &[
            ("catalog.sqlite", "has a receipt of batch 16, but counts only through batch 15"),
            ("wal", "ends with batch 15, but the tables hold batches through 16"),
        ],
    )
    .await;
    check(
        "books with a row more",
        Stopped,
        Sql("update totals set accepted = accepted + 1"),
        false,
        &[("tables/agent_logs", "97 rows are in the books, but only 96 are there")],
    )
    .await;
    check(
        "books with a row less",
        Stopped,
        Sql("update totals set rejected = rejected - 1"),
        false,
        &[("tables/rejected_logs", "16 rows are there or were deleted, but only 15 are in the books")],
    )
    .await;
    check("a receipt twice", Stopped, Sql("insert into receipts select randomblob(16), seq, accepted, rejected, received_at, body from receipts where seq = 3"), false, &[
        ("catalog.sqlite", "has 2 receipts of batch 3"),
    ]).await;
    check(
        "a receipt of nothing",
        Stopped,
        Sql("update receipts set accepted = -1 where seq = 3"),
        false,
        &[("catalog.sqlite", "receipts hold what no batch has: 1")],
    )
    .await;
    check(
        "a receipt that says something else",
        Crashed,
        Sql("update receipts set accepted = 1 where seq = 12"),
        false,
        &[(
            "catalog.sqlite",
            "its receipt of batch 12 says batch 12 with 1 accepted and 1 rejected, the log says 6 and 1",
        )],
    )
    .await;
    check("a shape of tomorrow", Stopped, Sql("insert into _sqlx_migrations select 99999999, description, installed_on, success, checksum, execution_time from _sqlx_migrations limit 1"), false, &[
        ("catalog.sqlite", "its shape 99999999 is newer than this version knows"),
    ]).await;

    // The directory.
    check(
        "a format of tomorrow",
        Stopped,
        Files(|data| fs::write(data.join("FORMAT"), "driftline-data 2\n").unwrap()),
        false,
        &[("FORMAT", "says \"driftline-data 2\", this version knows \"driftline-data 1\"")],
    )
    .await;
    check(
        "the format",
        Stopped,
        Files(|data| fs::remove_file(data.join("FORMAT")).unwrap()),
        false,
        &[("FORMAT", "cannot be read")],
    )
    .await;
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// Asserts that the directory is whole as it is now, with these notes; returns what was looked at.
async fn whole(app: &TestApp, notes: &[&str]) -> Figures {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy(app.data(), &data);
    let report = verify(&data, true).await;
    let said: Vec<String> = report.notes.iter().map(|note| format!("{}: {}", note.place, note.what)).collect();
    let as_expected = said.len() == notes.len() && said.iter().zip(notes).all(|(said, note)| said.contains(note));
    assert!(report.is_clean() && as_expected, "{notes:?}\n{report}");
    report.figures
}

#[tokio::test]
async fn what_is_whole_is_called_whole() {
    let app = TestApp::start_with(|config| {
        small_segments(config);
        config.lifecycle.log_retention_minutes = 0;
        config.lifecycle.delete_after_days = 5;
    })
    .await;
    assert_eq!(whole(&app, &[]).await.segments, 0);
    for number in 0..55 {
        app.logs(batch(number)).await;
        if number == 0 {
            let figures = whole(&app, &[]).await;
            assert_eq!((figures.segments, figures.frames, figures.counted_seq), (1, 1, 0));
        }
        app.flush().await;
    }
    let figures = whole(&app, &[]).await;
    assert_eq!((figures.segments, figures.counted_seq, figures.receipts), (0, 55, 55));
    assert_eq!((figures.tables[0].files, figures.tables[0].rows, figures.tables[1].rows), (110, 330, 55));
    maintain(&app).await;
    // What was merged lies beside for a while.
    let figures = whole(&app, &["agent_logs: holds files that no version counts (110,"]).await;
    assert!(figures.tables[0].files < 10 && figures.tables[0].rows == 330, "{figures:?}");
    // Later the oldest rows are past their age, and the oldest of a batch are rejected for it.
    app.clock.set(NOW_US + 4 * DAY_US);
    maintain(&app).await;
    app.logs(batch(55)).await;
    app.flush().await;
    let leftovers = [
        "agent_logs: 55 of the 335 rows that came were deleted",
        "agent_logs: holds files that no version counts (1,",
        "rejected_logs: holds files that no version counts (55,",
    ];
    assert_eq!(whole(&app, &leftovers).await.tables[0].rows, 280);
    // The log's files carry the system's time, which is after the test's. Now it is trimmed.
    app.clock.set(4_102_444_800_000_000);
    maintain(&app).await;
    let leftovers = [
        "agent_logs: 335 of the 335 rows that came were deleted",
        "agent_logs: holds files that no version counts (",
        "rejected_logs: 57 of the 57 rows that came were deleted",
        "rejected_logs: holds files that no version counts (",
    ];
    assert_eq!(whole(&app, &leftovers).await.tables[0].files, 0);
}

#[tokio::test]
async fn tables_and_cold_files_are_found_where_the_settings_say() {
    let elsewhere = tempfile::tempdir().unwrap();
    let url = |name: &str| Some(url::Url::from_directory_path(elsewhere.path().join(name)).unwrap().to_string());
    let mut app = TestApp::start_with(|config| {
        small_segments(config);
        config.storage.url = url("home");
        config.storage.cold_url = url("cold");
        config.lifecycle.warm_after_days = 1;
        config.lifecycle.cold_after_days = 1;
        config.lifecycle.file_grace_minutes = 0;
    })
    .await;
    for number in 0..3 {
        app.logs(batch(number)).await;
        app.flush().await;
    }
    app.clock.set(NOW_US + 30 * DAY_US);
    for _ in 0..3 {
        maintain(&app).await;
    }
    app.daemon.take().unwrap().stop().await.unwrap();
    let before = bytes_below(elsewhere.path());
    let report = daemon::verify(&app.config, true).await.unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report}");
    assert_eq!(report.figures.tables[0].rows, 18);
    assert!(before == bytes_below(elsewhere.path()), "something was changed");

    let cold = files(elsewhere.path().join("cold/agent_logs"), ".parquet");
    assert!(!cold.is_empty());
    fs::remove_file(&cold[0]).unwrap();
    let report = daemon::verify(&app.config, false).await.unwrap();
    let found = &report.findings[0];
    let name = cold[0].file_name().unwrap().to_str().unwrap();
    assert!(found.place.starts_with("file:///") && found.place.ends_with(name), "{report}");
    assert_eq!((report.findings.len(), found.what.as_str()), (1, "the file is missing"));

    let refused = async |change: &dyn Fn(&mut Config), words: &str| {
        let mut config = app.config.clone();
        change(&mut config);
        let error = daemon::verify(&config, false).await.err().unwrap();
        assert!(error.kind() == Kind::Conflict && error.chain().contains(words), "{}", error.chain());
    };
    refused(&|config| config.storage.cold_url = None, "see storage.cold_url").await;
    refused(&|config| config.storage.url = None, "put storage.url back").await;
    fs::write(elsewhere.path().join("cold/driftline-owner"), "somebody else").unwrap();
    refused(&|_| {}, "the tables of another data directory").await;
}

#[tokio::test]
async fn a_quarantine_ends_the_complaint() {
    let bases = bases().await;
    let mut config = Config::default();
    config.server.data = bases.crashed.clone();
    flip(&segments(&bases.crashed)[3], |bytes| bytes / 2);
    assert_eq!(verify(&bases.crashed, false).await.findings.len(), 1);
    assert_eq!(daemon::quarantine(&config).await.unwrap().losses.len(), 1);
    let report = verify(&bases.crashed, false).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.to_string().contains("note: wal/00000000000000000014.wal: batches 14 to 14 were quarantined"));
    assert!(report.to_string().contains("note: wal/quarantine: damaged segments are kept as they were found: 1"));
}

#[tokio::test]
async fn a_directory_that_a_server_has_open_is_left_alone() {
    let app = TestApp::start().await;
    let error = daemon::verify(&app.config, false).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Conflict);
    let mut config = app.config.clone();
    config.server.data = app.data().join("nothing");
    assert_eq!(daemon::verify(&config, false).await.err().unwrap().kind(), Kind::NotFound);
}

#[tokio::test]
async fn the_command_says_it_with_its_exit_code() {
    let bases = bases().await;
    let run = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_driftline"))
            .args(["verify", "--data"])
            .arg(&bases.stopped)
            .args(flags)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&["--content"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\nnothing is wrong: ") && text.contains("16 receipts"), "{text}");
    let path = live_file(&bases.stopped);
    fs::remove_file(&path).unwrap();
    let (code, text) = run(&[]);
    assert_eq!(code, Some(1), "{text}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains("\nwrong: tables/agent_logs/date=") && text.contains(name), "{text}");
    let (code, text) = run(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["findings"][0]["what"]), (Some(1), &"the file is missing".into()));
    assert_eq!(report["figures"]["tables"][0]["rows"], 96);
    assert_eq!(run(&["--quarantine"]), (Some(0), "the write-ahead log is whole\n".to_owned()));
}
