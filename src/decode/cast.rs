//! JSON text → the type of a column, only where nothing is lost.

use std::borrow::Cow;

/// From here on, a double may stand for more than one integer.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// A string, number or boolean as text; an array of one such value as that value.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'"' => string(raw),
        b'{' => None,
        b'[' => {
            let mut elements = sonic_rs::to_array_iter(raw);
            let only = elements.next()?.ok()?;
            if elements.next().is_some() || only.as_raw_str().starts_with(['{', '[', 'n']) {
                return None;
            }
            text(only.as_raw_str()).map(|text| Cow::Owned(text.into_owned()))
        }
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// The contents of a JSON string.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    sonic_rs::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// A whole number, also as a float without fraction or as text.
pub fn int(raw: &str) -> Option<i64> {
    let number = number_text(raw)?;
    if let Ok(value) = number.parse::<i64>() {
        return Some(value);
    }
    let value = number.parse::<f64>().ok()?;
    (value.fract() == 0.0 && value.abs() < EXACT_FLOAT_MAX).then_some(value as i64)
}

/// A finite number, also as text.
pub fn float(raw: &str) -> Option<f64> {
    let number = number_text(raw)?;
    let value = number.parse::<f64>().ok().filter(|value| value.is_finite())?;
    // A whole number beyond 2^53 may have no double of its own.
    let exact = value.abs() < EXACT_FLOAT_MAX || number.parse::<i128>().map_or(true, |whole| value as i128 == whole);
    exact.then_some(value)
}

/// A boolean, also as text or as 0 and 1.
pub fn flag(raw: &str) -> Option<bool> {
    match raw.trim_matches('"') {
        "true" | "True" | "TRUE" | "1" => Some(true),
        "false" | "False" | "FALSE" | "0" => Some(false),
        _ => None,
    }
}

/// The digits of a number or of a string that holds one. Rust also reads "inf" and "nan" as floats;
/// neither is a number here.
fn number_text(raw: &str) -> Option<&str> {
    let text = raw.trim_matches('"').trim();
    let first = text.as_bytes().first()?;
    (first.is_ascii_digit()
        || matches!(first, b'-' | b'+' | b'.') && text.len() > 1 && text.as_bytes()[1].is_ascii_digit())
    .then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cast_only_without_loss() {
        for (raw, expected_int, expected_float) in [
            ("12", Some(12), Some(12.0)),
            ("12.0", Some(12), Some(12.0)),
            ("1.2e1", Some(12), Some(12.0)),
            ("\"12\"", Some(12), Some(12.0)),
            ("-7", Some(-7), Some(-7.0)),
            ("12.5", None, Some(12.5)),
            ("9007199254740993", Some(9_007_199_254_740_993), None),
            ("1e400", None, None),
            ("\"inf\"", None, None),
            ("\"-nan\"", None, None),
            ("\"twelve\"", None, None),
            ("true", None, None),
            ("\"\"", None, None),
        ] {
            assert_eq!(int(raw), expected_int, "{raw} as int");
            assert_eq!(float(raw), expected_float, "{raw} as float");
        }
    }

    #[test]
    fn text_is_taken_from_scalars() {
        for (raw, expected) in [
            ("\"a\\u00e9\\n\"", Some("aé\n")),
            ("12.50", Some("12.50")),
            ("true", Some("true")),
            ("[\"stop\"]", Some("stop")),
            ("[\"stop\",\"length\"]", None),
            ("[]", None),
            ("[null]", None),
            ("{\"a\":1}", None),
        ] {
            assert_eq!(text(raw).as_deref(), expected, "{raw}");
        }
    }
}
