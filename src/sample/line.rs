//! Numbers, ids, times and text, appended as JSON has them. Values have no characters that it would escape.

use super::call::Share;

/// A buffer with cheap ways to append what lines are made of.
pub(super) struct Line<'a>(pub(super) &'a mut Vec<u8>);

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

impl Line<'_> {
    pub(super) fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.text(if flag { "true" } else { "false" });
    }

    pub(super) fn number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number;
        while rest >= 100 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(pair(rest % 100));
            rest /= 100;
        }
        start -= 2;
        digits[start..start + 2].copy_from_slice(pair(rest));
        start += usize::from(rest < 10);
        self.0.extend_from_slice(&digits[start..]);
    }

    /// A number in units of 10^−places, without trailing zeros but with at least one place.
    pub(super) fn decimal(&mut self, number: u64, places: u32) {
        let unit = 10u64.pow(places);
        self.number(number / unit);
        let mut fraction = number % unit;
        let mut digits = [b'0'; 20];
        for digit in digits[..places as usize].iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        let used = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
        self.0.push(b'.');
        self.0.extend_from_slice(&digits[..used]);
    }

    pub(super) fn share(&mut self, share: Share) {
        self.decimal(share.0.into(), 4);
    }

    pub(super) fn hex(&mut self, number: u64) {
        self.0.extend_from_slice(&hex_digits(number));
    }

    /// Sixteen hexadecimal digits in groups of eight, four and four.
    pub(super) fn grouped(&mut self, number: u64) {
        let digits = hex_digits(number);
        let mut grouped = [b'-'; 18];
        grouped[..8].copy_from_slice(&digits[..8]);
        grouped[9..13].copy_from_slice(&digits[8..12]);
        grouped[14..].copy_from_slice(&digits[12..]);
        self.0.extend_from_slice(&grouped);
    }

    /// The low six digits to base 36.
    pub(super) fn base36(&mut self, number: u64) {
        let mut rest = number;
        let mut digits = [0; 6];
        for digit in &mut digits {
            *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        self.0.extend_from_slice(&digits);
    }

    /// RFC 3339 with µs; years outside 0 to 9999 don't occur.
    pub(super) fn timestamp(&mut self, timestamp_us: i64) {
        const DAY_US: i64 = 86_400_000_000;
        let (year, month, day) = civil(timestamp_us.div_euclid(DAY_US));
        let of_day = timestamp_us.rem_euclid(DAY_US) as u64;
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let fields = [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, seconds / 3600),
            (14, seconds / 60 % 60),
            (17, seconds % 60),
            (20, micros / 10_000),
            (22, micros / 100 % 100),
            (24, micros % 100),
        ];
        for (at, value) in fields {
            text[at..at + 2].copy_from_slice(pair(value));
        }
        self.0.extend_from_slice(&text);
    }
}

fn pair(number: u64) -> &'static [u8] {
    let at = number as usize % 100 * 2;
    &PAIRS[at..at + 2]
}

fn hex_digits(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (byte, pair) in number.to_be_bytes().iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digits
}

/// Year, month and day of a day counted from the epoch, in the Gregorian calendar (Hinnant's
/// method: years begin in March, so that the leap day comes last).
fn civil(day: i64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year.clamp(0, 9999) as u64, month as u64, day_of_month as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Line(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 99, 100, 101, 12_345, 1_000_000, u64::MAX] {
            assert_eq!(written(|line| line.number(number)), number.to_string());
        }
        let check = |number, places, expected: &str| {
            assert_eq!(written(|line| line.decimal(number, places)), expected);
        };
        check(0, 8, "0.0");
        check(453_000, 8, "0.00453");
        check(1, 8, "0.00000001");
        check(250_000_000, 8, "2.5");
        check(10_000, 4, "1.0");
    }

    #[test]
    fn ids() {
        let number = 0x4bf9_2f35_77b3_4da6;
        assert_eq!(written(|line| line.grouped(number)), "4bf92f35-77b3-4da6");
        assert_eq!(written(|line| line.hex(7)), "0000000000000007");
        assert_eq!(written(|line| line.base36(35 + 36)), "z10000");
    }

    #[test]
    fn timestamps_agree_with_chrono() {
        let (year_1, year_9999): (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);
        let step = (year_9999 - year_1) / 1999;
        for time in (0..=1999).map(|n| year_1 + n * step).chain([0, -1, year_9999]) {
            let expected = chrono::DateTime::from_timestamp_micros(time).unwrap();
            let expected = expected.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            assert_eq!(written(|line| line.timestamp(time)), expected);
        }
    }
}
