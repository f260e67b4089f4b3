//! `driftline detect`: a score for each row as soon as the row is there, from what came before it.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    process::{Command, Output, Stdio},
};

/// Hours with a daily rhythm and a value that is out of it.
fn series(hours: usize, odd: usize) -> String {
    let mut text = "timestamp,value\n".to_owned();
    for hour in 0..hours {
        let value = if hour == odd { 900 } else { 100 + 7 * (hour % 24) + hour * 37 % 11 };
        writeln!(text, "{},{value}", 1_767_225_600 + 3_600 * hour).unwrap();
    }
    text
}

fn detect(text: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("series.csv");
    std::fs::write(&file, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_driftline")).arg("detect").arg(file).output().unwrap()
}

fn scores(output: &Output) -> Vec<f64> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("anomaly_score"));
    lines.map(|line| line.parse().unwrap()).collect()
}

#[test]
fn an_odd_value_is_found_and_what_comes_after_it_changes_no_score() {
    let whole = detect(&series(400, 350));
    assert!(whole.status.success());
    let all = scores(&whole);
    assert_eq!(all.len(), 400);
    let anomalies: Vec<usize> = (0..400).filter(|at| all[*at] >= 0.5).collect();
    assert_eq!(anomalies, [350]);
    assert_eq!(scores(&detect(&series(351, 350))), all[..351]);
}

#[test]
fn a_row_is_answered_before_the_next_one_is_there() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_driftline"))
        .args(["detect", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for (line, answer) in
        series(20, 0).lines().zip(std::iter::once("anomaly_score").chain(std::iter::repeat("0.000000")))
    {
        writeln!(input, "{line}").unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), answer);
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_bad_line_is_named_after_the_scores_before_it() {
    let output = detect("timestamp,value\n2026-05-01,1\n2026-05-02,lots\n2026-05-03,1\n");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(scores(&output), [0.0]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("series.csv:3: value `lots` is no number"), "{said}");
    let missing = Command::new(env!("CARGO_BIN_EXE_driftline")).args(["detect", "no-such.csv"]).output().unwrap();
    assert!(!missing.status.success());
    assert!(String::from_utf8(missing.stderr).unwrap().contains("cannot open no-such.csv"));
}
