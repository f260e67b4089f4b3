//! How often something may happen: a bucket of tokens that fills at a rate, kept as one number.
//! The time is handed in.

/// The time, µs of a clock that only goes ahead, at which the bucket would be full again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowance {
    full_at_us: i64,
}

impl Allowance {
    /// Takes a token; false where there is none. A bucket holds one second's worth.
    pub fn take(&mut self, per_second: u32, now_us: i64) -> bool {
        let step_us = 1_000_000 / i64::from(per_second.max(1));
        let full_at_us = self.full_at_us.max(now_us) + step_us;
        if full_at_us - now_us > 1_000_000 {
            return false;
        }
        self.full_at_us = full_at_us;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_at_once_and_then_the_rate() {
        let mut allowance = Allowance::default();
        let mut taken = |now_us: i64| (0..100).filter(|_| allowance.take(10, now_us)).count();
        assert_eq!(taken(5_000_000), 10);
        assert_eq!(taken(5_099_999), 0);
        assert_eq!(taken(5_100_000), 1);
        assert_eq!(taken(5_600_000), 5);
        assert_eq!(taken(60_000_000), 10);
        // A clock that starts below zero, or stands still, gives nothing away.
        assert_eq!(taken(60_000_000), 0);
    }

    #[test]
    fn one_in_a_second() {
        let mut allowance = Allowance::default();
        assert!(allowance.take(1, 0) && !allowance.take(1, 999_999) && allowance.take(1, 1_000_000));
    }
}
