//! The command line on a data directory that is not there: it says so, and makes none.

use std::{
    path::Path,
    process::{Command, Output},
};

fn run(words: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_driftline")).args(words).arg("--data").arg(data).output().unwrap()
}

#[track_caller]
fn check_refused(words: &[&str], data: &Path, said: &str) {
    let output = run(words, data);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words:?}: {text}");
    for part in [data.to_str().unwrap(), said] {
        assert!(text.contains(part), "{words:?}: {part} is missing: {text}");
    }
}

#[test]
fn a_mistyped_directory_is_named_and_not_made() {
    let root = tempfile::tempdir().unwrap();
    let (missing, other) = (root.path().join("drfitline-data"), root.path().join("another thing"));
    std::fs::create_dir(&other).unwrap();
    let copy = root.path().join("copy");
    for words in [
        &["query", "select 1"][..],
        &["report", "cost"],
        &["maintain"],
        &["maintain", "--dry-run"],
        &["forget", "--user", "ann"],
        &["backup", copy.to_str().unwrap()],
        &["verify", "--quarantine"],
    ] {
        check_refused(words, &missing, "does not exist. Nothing was created: check --data");
        check_refused(words, &other, "is no data directory: it has no file FORMAT. Nothing was created: check --data");
    }
    check_refused(&["verify"], &missing, "cannot find");
    assert!(!missing.exists() && !copy.exists());
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0, "something was put into a directory of somebody's");
}

#[test]
fn loading_makes_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let (data, file) = (root.path().join("data"), root.path().join("calls.ndjson"));
    std::fs::write(&file, "{\"agent_id\":\"rag\"}\n").unwrap();
    assert!(run(&["load", file.to_str().unwrap()], &data).status.success());
    assert!(run(&["query", "select count(*) from agent_logs"], &data).status.success());
}
