//! Test support: reads gold values and compares against them. Compiled for tests only; it never
//! computes an expected value itself.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{Outcome, TwoSampleTest};

/// Asserts equality to 1e-9 relative; a gold value of at most 1e-300 only asks for as tiny a value.
pub fn assert_close(label: &str, actual: f64, expected: f64) {
    let tolerance = if expected.abs() > 1e-300 { 1e-9 * expected.abs() } else { 1e-300 };
    assert!((actual - expected).abs() <= tolerance, "{label}: got {actual:e}, gold {expected:e}");
}

/// Asserts equality to an absolute and relative tolerance, whichever is the wider.
pub fn assert_within(label: &str, actual: f64, expected: f64, tolerance: f64) {
    let bound = tolerance * expected.abs().max(1.0);
    assert!((actual - expected).abs() <= bound, "{label}: got {actual:e}, gold {expected:e}");
}

/// The result inside, or a failed test.
pub fn tested(label: &str, outcome: Outcome) -> TwoSampleTest {
    match outcome {
        Outcome::Tested(test) => test,
        Outcome::Insufficient { .. } => panic!("{label}: {outcome:?}"),
    }
}

/// A file of the larger gold set that may lie beside the repository; says so when it does not.
pub fn shared_path(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(name);
    if !path.exists() {
        println!("skipped: {name} is not beside the repository");
        return None;
    }
    Some(path)
}

/// The larger gold set, when present. Its infinities and NaNs, which JSON has no words for, become
/// null; no value compared here is one.
pub fn shared() -> Option<Value> {
    let text = fs::read_to_string(shared_path("scipy-gold.json")?).unwrap();
    Some(parse(&["-Infinity", "Infinity", "NaN"].iter().fold(text, |text, word| text.replace(word, "null"))))
}

/// JSON text as a value.
pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The elements of a JSON array.
pub fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A JSON array of numbers.
pub fn numbers(value: &Value) -> Vec<f64> {
    rows(value).iter().map(|number| number.as_f64().unwrap()).collect()
}

/// A table of two rows, reference and current, as a pair for each category.
pub fn counts(table: &Value) -> Vec<(u64, u64)> {
    let row = |index: usize| rows(&table[index]).iter().map(|count| count.as_u64().unwrap());
    row(0).zip(row(1)).collect()
}

/// A sample written as `[n, multiplier, modulus, shift]`: the values i·multiplier mod modulus +
/// shift for i below n. A modulus below n makes ties.
pub fn sample(recipe: &Value) -> Vec<f64> {
    let recipe: Vec<i64> = rows(recipe).iter().map(|number| number.as_i64().unwrap()).collect();
    (0..recipe[0]).map(|i| (i * recipe[1] % recipe[2] + recipe[3]) as f64).collect()
}

/// A named pair of samples, reference and current, and what is known of it.
pub type Case = (String, Vec<f64>, Vec<f64>, Value);

/// The pairs of samples of this repository.
pub fn two_samples() -> Vec<Case> {
    let cases = parse(include_str!("../../testdata/stats/two_samples.json"));
    let case = |case: &Value| {
        (case["name"].as_str().unwrap().to_owned(), sample(&case["reference"]), sample(&case["current"]), case.clone())
    };
    rows(&cases).iter().map(case).collect()
}

/// The pairs of the larger gold set, those of production requests included; none where it is not present.
pub fn shared_two_samples() -> Vec<Case> {
    let Some(gold) = shared() else { return Vec::new() };
    let name = |case: &Value| case["name"].as_str().unwrap().to_owned();
    let inline = rows(&gold["two_sample_inline"]);
    let mut cases: Vec<Case> =
        inline.iter().map(|case| (name(case), numbers(&case["a"]), numbers(&case["b"]), case.clone())).collect();
    if let (Some(conv), Some(code)) = (requests("azure-conv.ndjson.gz"), requests("azure-code.ndjson.gz")) {
        for case in rows(&gold["two_sample_azure"]) {
            let (reference, current) = slices(&name(case), &conv, &code);
            cases.push((name(case), reference, current, case.clone()));
        }
    }
    cases
}

fn slices(name: &str, conv: &[Vec<f64>; 2], code: &[Vec<f64>; 2]) -> (Vec<f64>, Vec<f64>) {
    let (column, slices) = name.split_once(':').unwrap();
    let column = ["ContextTokens", "GeneratedTokens"].iter().position(|name| *name == column).unwrap();
    let (conv, code) = (&conv[column], &code[column]);
    let (reference, current) = match slices {
        "conv_vs_code" => (&conv[..], &code[..]),
        "conv_first1000_vs_next1000" => (&conv[..1000], &conv[1000..2000]),
        "conv_first200_code_first200" => (&conv[..200], &code[..200]),
        "conv_half_vs_half" => conv.split_at(9683),
        "code_first3000_vs_last3000" => (&code[..3000], &code[code.len() - 3000..]),
        unknown => panic!("no such slices: {unknown}"),
    };
    (reference.to_vec(), current.to_vec())
}

#[derive(serde::Deserialize)]
struct Request {
    prompt_tokens: f64,
    completion_tokens: f64,
}

/// Prompt and completion tokens of a file of requests, in file order.
fn requests(name: &str) -> Option<[Vec<f64>; 2]> {
    let file = File::open(shared_path(name)?).unwrap();
    let mut columns = [Vec::new(), Vec::new()];
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let request: Request = serde_json::from_str(&line.unwrap()).unwrap();
        columns[0].push(request.prompt_tokens);
        columns[1].push(request.completion_tokens);
    }
    Some(columns)
}

/// Checks a test of two samples on this repository's pairs, where `field` holds `[statistic, p]`, or `null` for
/// what is insufficient. P-values keep 1e-9, or `tolerance` where that is wider.
pub fn check_two_samples(field: &str, tolerance: f64, test: impl Fn(&mut [f64], &mut [f64]) -> Outcome) {
    for (label, mut reference, mut current, case) in two_samples() {
        check(&label, &case[field], tolerance, test(&mut reference, &mut current));
    }
}

/// As [`check_two_samples`] on the larger gold set. A pair that has no such result, or that the test says nothing
/// about, is passed over; some are left.
pub fn check_shared_two_samples(field: &str, tolerance: f64, test: impl Fn(&mut [f64], &mut [f64]) -> Outcome) {
    let cases = shared_two_samples();
    let mut checked = 0;
    for (label, mut reference, mut current, case) in cases.iter().cloned() {
        let outcome = test(&mut reference, &mut current);
        if case[field][0].is_f64() && matches!(outcome, Outcome::Tested(_)) {
            check(&label, &case[field], tolerance, outcome);
            checked += 1;
        }
    }
    assert!(checked > 0 || cases.is_empty());
}

fn check(label: &str, expected: &Value, tolerance: f64, outcome: Outcome) {
    if expected.is_null() {
        assert!(matches!(outcome, Outcome::Insufficient { .. }), "{label}: {outcome:?}");
        return;
    }
    let (test, expected) = (tested(label, outcome), rows(expected));
    let (statistic, p_value) = (expected[0].as_f64().unwrap(), expected[1].as_f64().unwrap());
    assert_within(label, test.statistic, statistic, 1e-9);
    if tolerance > 1e-9 {
        assert_within(label, test.p_value, p_value, tolerance);
    } else {
        assert_close(label, test.p_value, p_value);
    }
}
