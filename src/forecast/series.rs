//! A daily series with gaps, as models see it: without. Pure arithmetic on slices.

use chrono::NaiveDate;

/// A week: calls follow it.
pub(super) const WEEK: usize = 7;
/// Days whose mean is what a day is measured by: four weeks, so that each weekday counts alike.
pub(super) const LEVEL_DAYS: usize = 4 * WEEK;

/// Days of UTC, one after the other.
#[derive(Debug, Clone)]
pub struct Series {
    first: NaiveDate,
    known: Vec<Option<f64>>,
    filled: Vec<f64>,
}

impl Series {
    /// The values of the days from `first` on, 0 or more; none where a day's value is not known.
    pub fn new(first: NaiveDate, known: Vec<Option<f64>>) -> Self {
        let mut filled: Vec<f64> = Vec::with_capacity(known.len());
        for (day, value) in known.iter().enumerate() {
            // The same weekday of the week before; in the first week, of the first week that has it.
            let earlier = day.checked_sub(WEEK).map(|before| filled[before]);
            let later = || known[day..].iter().step_by(WEEK).find_map(|value| *value);
            filled.push(value.or(earlier).or_else(later).unwrap_or(0.0));
        }
        Self { first, known, filled }
    }

    /// How many days it has.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Days whose value is not known.
    pub fn gaps(&self) -> usize {
        self.known.iter().filter(|value| value.is_none()).count()
    }

    /// The first day.
    pub fn first(&self) -> NaiveDate {
        self.first
    }

    /// The day so many after the first, whether the series has it or not.
    pub fn date(&self, day: usize) -> NaiveDate {
        self.first + chrono::Days::new(day as u64)
    }

    /// All values, gaps filled with those of the week before.
    pub fn filled(&self) -> &[f64] {
        &self.filled
    }

    /// That of a date, if it has it.
    pub fn filled_on(&self, date: NaiveDate) -> Option<f64> {
        let day = usize::try_from((date - self.first).num_days()).ok()?;
        self.filled.get(day).copied()
    }

    /// A day's value, if it is known.
    pub fn known(&self, day: usize) -> Option<f64> {
        self.known.get(day).copied().flatten()
    }

    /// The mean of the last [`LEVEL_DAYS`] before a day: errors are told as shares of it, so that those of a time
    /// when less was spent say something of today.
    pub fn level(&self, day: usize) -> f64 {
        let days = &self.filled[day.saturating_sub(LEVEL_DAYS)..day];
        days.iter().sum::<f64>() / days.len().max(1) as f64
    }
}
