//! Figures for readers: US dollars, counts and percentages with thousands separators.
//!
//! Never used for JSON or CSV, which carry the numbers as they are.

/// US dollars: two decimals from $1 up, three significant digits below, `$0` only for exactly zero.
pub(super) fn money(usd: f64) -> String {
    let sign = if usd < 0.0 { "-" } else { "" };
    format!("{sign}{}", unsigned_money(usd.abs()))
}

/// A change of US dollars, always with its sign unless it is zero.
pub(super) fn signed_money(usd: f64) -> String {
    let plus = if usd > 0.0 { "+" } else { "" };
    format!("{plus}{}", money(usd))
}

/// A part of a whole (0.042) as a percentage (`4.2 %`).
pub(super) fn percent(ratio: f64) -> String {
    let sign = if ratio < 0.0 { "-" } else { "" };
    let value = ratio.abs() * 100.0;
    if value == 0.0 {
        return "0 %".to_owned();
    }
    if value < 0.05 {
        return format!("{sign}<0.1 %");
    }
    format!("{sign}{} %", decimal(value, 1))
}

/// A relative change (0.042) as a percentage with its sign (`+4.2 %`).
pub(super) fn signed_percent(ratio: f64) -> String {
    let plus = if ratio > 0.0 { "+" } else { "" };
    format!("{plus}{}", percent(ratio))
}

/// A count with thousands separators.
pub(super) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// Tokens with thousands separators; a signed count, since clients log them.
pub(super) fn tokens(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", count(value.unsigned_abs()))
}

/// A count with its noun: `1 call`, `4,300 calls`.
pub(super) fn counted(value: u64, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(value))
}

/// Milliseconds, whole.
pub(super) fn milliseconds(value: f64) -> String {
    format!("{} ms", decimal(value, 0))
}

fn unsigned_money(usd: f64) -> String {
    if usd == 0.0 {
        return "$0".to_owned();
    }
    // The exponent after rounding to three digits, so $0.9999 reads $1.00 and not $1.000.
    let exponent: i32 =
        format!("{usd:.2e}").split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    match exponent {
        0.. => format!("${}", decimal(usd, 2)),
        -9..0 => format!("${usd:.*}", usize::from(exponent.unsigned_abs() as u16) + 2),
        _ => format!("${usd:.2e}"),
    }
}

/// A number with so many decimals, its whole part grouped; beyond 10^15 a float has no digits left
/// to group, and a table no room for them.
fn decimal(value: f64, decimals: usize) -> String {
    if value.abs() >= 1e15 {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", grouped(whole)),
        None => grouped(&text),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_the_digits_that_matter() {
        let expected = [
            (0.0, "$0"),
            (-0.0, "$0"),
            (1.0, "$1.00"),
            (0.9999, "$1.00"),
            (0.5, "$0.500"),
            (0.09996, "$0.100"),
            (0.001234, "$0.00123"),
            (0.000_000_012, "$0.0000000120"),
            (1.2e-15, "$1.20e-15"),
            (999.999, "$1,000.00"),
            (1_234_567.891, "$1,234,567.89"),
            (-12.5, "-$12.50"),
            (1.5e300, "$1.500e300"),
        ];
        for (usd, text) in expected {
            assert_eq!(money(usd), text, "{usd}");
        }
        assert_eq!(signed_money(3.0), "+$3.00");
        assert_eq!(signed_money(-3.0), "-$3.00");
        assert_eq!(signed_money(0.0), "$0");
    }

    #[test]
    fn shares_and_counts_are_grouped() {
        let expected = [
            (0.0, "0 %"),
            (0.0001, "<0.1 %"),
            (0.0425, "4.2 %"),
            (1.0, "100.0 %"),
            (123.45, "12,345.0 %"),
            (-0.5, "-50.0 %"),
        ];
        for (ratio, text) in expected {
            assert_eq!(percent(ratio), text, "{ratio}");
        }
        assert_eq!(signed_percent(0.5), "+50.0 %");
        assert_eq!(signed_percent(0.0), "0 %");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
        assert_eq!(tokens(-123_456), "-123,456");
        assert_eq!(counted(1, "call"), "1 call");
        assert_eq!(counted(4_300, "call"), "4,300 calls");
        assert_eq!(milliseconds(1_234.4), "1,234 ms");
        assert_eq!(milliseconds(-123_456.0), "-123,456 ms");
    }
}
