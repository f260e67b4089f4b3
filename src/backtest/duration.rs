//! Lengths of time as people write them: `10m`, `1h`, `7d`.

/// Units, the longest first, µs.
const UNITS: [(char, i64); 4] = [('d', 86_400_000_000), ('h', 3_600_000_000), ('m', 60_000_000), ('s', 1_000_000)];
/// The longest length, days.
const DAYS_MAX: i64 = 366;

/// A length, µs.
///
/// # Errors
///
/// A sentence for what is no length.
pub fn duration_us(text: &str) -> Result<i64, String> {
    let parsed = UNITS.iter().find_map(|(unit, us)| {
        let digits = text.strip_suffix(*unit)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let length_us = digits.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(*us)?;
        (length_us <= DAYS_MAX * UNITS[0].1).then_some(length_us)
    });
    parsed.ok_or_else(|| format!("{text} is no length of time; write 90s, 10m, 1h or 7d, at most {DAYS_MAX}d"))
}

/// A length in the largest unit of which it is a whole number.
pub fn shown_duration(us: i64) -> String {
    let unit = UNITS.iter().find(|(_, unit_us)| us % unit_us == 0 && us != 0);
    unit.map_or_else(|| format!("{}s", us as f64 / 1e6), |(unit, unit_us)| format!("{}{unit}", us / unit_us))
}
