//! Test support: reads gold values and compares against them. Compiled for tests only; it never
//! computes an expected value itself.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::{Outcome, TwoSampleTest};

/// Asserts equality to 1e-9 relative; a gold value of at most 1e-300 only asks for as tiny a value.
pub fn assert_close(label: &str, actual: f64, expected: f64) {
    let tolerance = if expected.abs() > 1e-300 { 1e-9 * expected.abs() } else { 1e-300 };
    assert!((actual - expected).abs() <= tolerance, "{label}: got {actual:e}, gold {expected:e}");
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
