//! Counts by bucket, exact and mergeable, over boundaries that never change.
//!
//! A bucket counts the values above the boundary before its own, and up to its own, inclusive, as
//! Prometheus' `le` does. The last counts those above all boundaries.
//!
//! **Error.** None: a bucket's count is the count of values in it. What the buckets do not say is where
//! in them values lie, so a statistic that needs it comes as two bounds that the exact one is between:
//! see [`Histogram::distance`].
//!
//! **Shape.** Unit: that of the values, which for [`Buckets::LatencyMs`] is ms. The version byte; the
//! number of the boundaries; how many buckets count anything; for each of them how many empty ones come
//! before it, and its count. Integers are LEB128.

use super::{
    Sketch,
    bytes::{Reader, put_integer},
};
use crate::error::{Error, Result};

const NAME: &str = "histogram";
const VERSION: u8 = 1;

/// Boundaries. Their numbers and values are stored: a change is a new one, beside those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Buckets {
    /// Those of the Prometheus families of latency and time to first token together, in ms.
    LatencyMs,
    /// Those of the Prometheus family of hallucination scores, for what is 0 to 1.
    Ratio,
    /// Ten for each factor of ten, from 0.1 to 10,000,000: the preferred numbers R10 of ISO 3. Each is
    /// 1.23 to 1.29 times the one before. For times in ms up to 2.8 hours, for tokens, for counts.
    Logarithmic,
    /// Fiftieths from 0.02 to 1, then whole numbers to 10. For scores, on whatever of the usual scales they are.
    Score,
}

const LATENCY_MS: [f64; 9] = [50.0, 100.0, 250.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 30_000.0];
const RATIO: [f64; 7] = [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0];
const LOGARITHMIC: [f64; 81] = preferred_numbers();
const SCORE: [f64; 59] = scores();

/// Whole thousandths, so that each is the double next to the decimal number.
const fn preferred_numbers() -> [f64; 81] {
    let decade = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
    let mut numbers = [0.0; 81];
    let mut scale = 1_u64;
    let mut index = 0;
    while index < numbers.len() {
        numbers[index] = (decade[index % 10] * scale) as f64 / 1_000.0;
        index += 1;
        if index % 10 == 0 {
            scale *= 10;
        }
    }
    numbers
}

const fn scores() -> [f64; 59] {
    let mut numbers = [0.0; 59];
    let mut index = 0;
    while index < numbers.len() {
        numbers[index] = if index < 50 { (index + 1) as f64 / 50.0 } else { (index - 48) as f64 };
        index += 1;
    }
    numbers
}

impl Buckets {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::LatencyMs, Self::Ratio, Self::Logarithmic, Self::Score];

    /// The upper boundaries, rising; one more bucket is above the last.
    pub fn bounds(self) -> &'static [f64] {
        match self {
            Self::LatencyMs => &LATENCY_MS,
            Self::Ratio => &RATIO,
            Self::Logarithmic => &LOGARITHMIC,
            Self::Score => &SCORE,
        }
    }

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::LatencyMs => "latency_ms",
            Self::Ratio => "ratio",
            Self::Logarithmic => "logarithmic",
            Self::Score => "score",
        }
    }

    /// Those of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|buckets| buckets.name() == name)
    }

    fn number(self) -> u8 {
        match self {
            Self::LatencyMs => 1,
            Self::Ratio => 2,
            Self::Logarithmic => 3,
            Self::Score => 4,
        }
    }
}

/// How many values are in each bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: Buckets,
    counts: Box<[u64]>,
}

/// What two histograms say of the Kolmogorov-Smirnov distance of the values behind them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// It is at least this: the largest distance at a boundary.
    pub least: f64,
    /// It is at most this: the largest distance that values in the same buckets could have.
    pub greatest: f64,
}

impl Histogram {
    /// Of no values.
    pub fn new(buckets: Buckets) -> Self {
        Self { buckets, counts: vec![0; buckets.bounds().len() + 1].into() }
    }

    /// Adds a value; NaN and the infinities are left out.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            let index = self.buckets.bounds().partition_point(|bound| *bound < value);
            self.counts[index] = self.counts[index].saturating_add(1);
        }
    }

    /// The boundaries.
    pub fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// Each bucket's count, the one above all boundaries last.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// The Kolmogorov-Smirnov distance D of both sides' values, from below and above; none if a side has
    /// no values.
    ///
    /// At a boundary both distribution functions are known, so D is at least their largest distance there.
    /// Within a bucket each rises from its value at the lower boundary to that at the upper, so there they
    /// are never further apart than one's upper from the other's lower value. Both bounds are reached.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for other boundaries.
    pub fn distance(&self, other: &Self) -> Result<Option<Distance>> {
        self.same_buckets(other.buckets)?;
        let (n_self, n_other) = (self.count(), other.count());
        if n_self == 0 || n_other == 0 {
            return Ok(None);
        }
        let mut distance = Distance { least: 0.0, greatest: 0.0 };
        let (mut through_self, mut through_other) = (0_u64, 0_u64);
        let (mut lower_self, mut lower_other) = (0.0_f64, 0.0_f64);
        for (count_self, count_other) in self.counts.iter().zip(&other.counts) {
            through_self = through_self.saturating_add(*count_self);
            through_other = through_other.saturating_add(*count_other);
            let upper_self = through_self as f64 / n_self as f64;
            let upper_other = through_other as f64 / n_other as f64;
            distance.least = distance.least.max((upper_self - upper_other).abs());
            distance.greatest = distance.greatest.max(upper_self - lower_other).max(upper_other - lower_self);
            (lower_self, lower_other) = (upper_self, upper_other);
        }
        Ok(Some(distance))
    }

    /// Counts of this and of another histogram's values in each bucket, `(this, other)` each, by rising value.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for other boundaries.
    pub fn buckets_beside(&self, other: &Self) -> Result<Vec<(u64, u64)>> {
        self.same_buckets(other.buckets)?;
        Ok(self.counts.iter().copied().zip(other.counts.iter().copied()).collect())
    }

    fn same_buckets(&self, other: Buckets) -> Result<()> {
        if self.buckets == other {
            return Ok(());
        }
        let (own, other) = (self.buckets.name(), other.name());
        Err(Error::invalid(format!("a histogram of {own} buckets and one of {other} buckets do not compare")))
    }

    fn merge_pairs(&mut self, reader: &mut Reader) -> Result<()> {
        let used = reader.length(2, "buckets")?;
        let mut next = 0_usize;
        for _ in 0..used {
            let gap = reader.integer("bucket's place")?;
            let index = usize::try_from(gap).ok().and_then(|gap| next.checked_add(gap));
            let count = reader.integer("bucket's count")?;
            let Some((index, bucket)) = index.and_then(|index| Some((index, self.counts.get_mut(index)?))) else {
                return Err(reader.damaged(format!("there are only {} buckets", self.buckets.bounds().len() + 1)));
            };
            if count == 0 {
                return Err(reader.damaged("a bucket that is written counts nothing"));
            }
            *bucket = bucket.saturating_add(count);
            next = index + 1;
        }
        Ok(())
    }
}

impl Sketch for Histogram {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.same_buckets(other.buckets)?;
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*other);
        }
        Ok(())
    }

    fn merge_encoded(&mut self, bytes: &[u8]) -> Result<()> {
        let (mut reader, buckets) = open(bytes)?;
        self.same_buckets(buckets)?;
        self.merge_pairs(&mut reader)?;
        reader.end()
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend([VERSION, self.buckets.number()]);
        put_integer(bytes, self.counts.iter().filter(|count| **count > 0).count() as u64);
        let mut gap = 0;
        for count in &self.counts {
            if *count == 0 {
                gap += 1;
                continue;
            }
            put_integer(bytes, gap);
            put_integer(bytes, *count);
            gap = 0;
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut reader, buckets) = open(bytes)?;
        let mut histogram = Self::new(buckets);
        histogram.merge_pairs(&mut reader)?;
        reader.end()?;
        Ok(histogram)
    }

    fn heap_bytes(&self) -> usize {
        self.counts.len() * size_of::<u64>()
    }
}

fn open(bytes: &[u8]) -> Result<(Reader<'_>, Buckets)> {
    let mut reader = Reader::new(NAME, VERSION, bytes)?;
    let number = reader.byte("boundaries")?;
    match Buckets::ALL.into_iter().find(|buckets| buckets.number() == number) {
        Some(buckets) => Ok((reader, buckets)),
        None => Err(reader.damaged(format!("boundaries {number} are not known"))),
    }
}
