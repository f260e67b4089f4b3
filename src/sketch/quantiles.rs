//! Quantiles of numbers with a relative error, mergeable: DDSketch (Masson, Rim and Lee, "DDSketch: a
//! fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019).
//!
//! A value's bin is the floor of its logarithm to a fixed base; a quantile is the middle of the bin
//! that its rank falls into. The mapping is that of `sketches_ddsketch`, so bins mean what they mean
//! in Datadog's sketches. Bins and bytes are our own: that crate's collapse bins, and its bytes carry
//! a sum whose last digit depends on the order.
//!
//! **Error.** [`QuantileSketch::quantile`] lies within 1 % of a value that was added, the one whose
//! rank is ⌊q·(n−1)⌋ counted from 0; no interpolation. It holds for every finite value of a magnitude
//! above 10⁻⁹; those below count as 0, so there the error is 10⁻⁹. The least and the greatest are exact.
//! No value collapses into another's bin: the bins are 35 for each doubling, 115 for each factor of ten.
//!
//! **Shape.** Unit: that of the values. After the version byte comes one that says which parts follow:
//!
//! | part | bit | bytes |
//! | --- | --- | --- |
//! | zeros | 1 | how many, an integer |
//! | negative bins | 2 | how many bins; the first's key, zigzag; its count; then for each: key less the one before, count |
//! | positive bins | 4 | the same |
//! | least value | any of the above | 8 bytes, little-endian |
//! | greatest value | 8: it is another than the least | 8 bytes |
//!
//! Bins stand by rising key, which is by magnitude. Integers are LEB128.

use std::{collections::BTreeMap, sync::LazyLock};

use sketches_ddsketch::Config;

use super::{
    Sketch,
    bytes::{Reader, put_integer},
};
use crate::error::Result;

const NAME: &str = "quantile sketch";
const VERSION: u8 = 1;

const HAS_ZEROS: u8 = 1;
const HAS_NEGATIVE: u8 = 2;
const HAS_POSITIVE: u8 = 4;
const HAS_GREATEST: u8 = 8;

/// The mapping of values to bins. The count of bins belongs to the crate's own store, which is not used.
static MAPPING: LazyLock<Config> =
    LazyLock::new(|| Config::new(QuantileSketch::RELATIVE_ERROR, 0, QuantileSketch::ZERO_MAX));
/// Keys of the least and the greatest magnitude that have a bin.
static KEYS: LazyLock<(i32, i32)> = LazyLock::new(|| (MAPPING.key(QuantileSketch::ZERO_MAX), MAPPING.key(f64::MAX)));

/// Up to so many different bins of a sign are kept as a list: 10 values over three decades need 10
/// entries there, and 350 in a row of counts.
const LISTED_MAX: usize = 32;

/// A mergeable sketch of a set of numbers that answers for their quantiles.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileSketch {
    zeros: u64,
    positive: Bins,
    /// Rare: latencies are not negative.
    negative: Option<Box<Bins>>,
    least: f64,
    greatest: f64,
}

/// Where a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Negative(i32),
    Zero,
    Positive(i32),
}

impl Default for QuantileSketch {
    fn default() -> Self {
        Self::new()
    }
}

impl QuantileSketch {
    /// The bound of the error, as a share of the value.
    pub const RELATIVE_ERROR: f64 = 0.01;
    /// Magnitudes up to this count as zero.
    pub const ZERO_MAX: f64 = 1e-9;

    /// Of no values.
    pub fn new() -> Self {
        Self { zeros: 0, positive: Bins::default(), negative: None, least: f64::INFINITY, greatest: f64::NEG_INFINITY }
    }

    /// Adds a value; NaN and the infinities are left out.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        // There is one zero.
        let value = value + 0.0;
        self.count_at(place(value), 1);
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        let negative = self.negative.as_ref().map_or(0, |bins| bins.total());
        self.zeros.saturating_add(negative).saturating_add(self.positive.total())
    }

    /// The least value, exact.
    pub fn least(&self) -> Option<f64> {
        (self.count() > 0).then_some(self.least)
    }

    /// The greatest value, exact.
    pub fn greatest(&self) -> Option<f64> {
        (self.count() > 0).then_some(self.greatest)
    }

    /// The value of rank ⌊q·(n−1)⌋, to within [`QuantileSketch::RELATIVE_ERROR`]; none without values,
    /// and none for a q outside 0 to 1.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        quantile_by(self.count(), q, (self.least, self.greatest), |rank| self.middle_at(rank))
    }

    /// [`QuantileSketch::quantile`] of the sketch that these bytes are, which is not made for it.
    ///
    /// # Errors
    ///
    /// As [`Sketch::decode`].
    pub fn quantile_of_encoded(bytes: &[u8], q: f64) -> Result<Option<f64>> {
        let Encoded { negative, zeros, positive, edges } = read(bytes)?;
        let Some(edges) = edges else { return Ok(None) };
        let negative = negative.iter().rev().map(|(key, count)| (Place::Negative(*key), *count));
        let zeros = std::iter::once((Place::Zero, zeros));
        let bins = negative.chain(zeros).chain(positive.iter().map(|(key, count)| (Place::Positive(*key), *count)));
        let count = bins.clone().fold(0_u64, |total, (_, count)| total.saturating_add(count));
        let middle_at = |rank| {
            let mut through = 0_u64;
            let mut rising = bins;
            let at_rank = rising.find(|(_, count)| {
                through = through.saturating_add(*count);
                through > rank
            });
            at_rank.map_or(edges.1, |(place, _)| place.middle())
        };
        Ok(quantile_by(count, q, edges, middle_at))
    }

    /// Counts of this and of another sketch's values in the same bins, `(this, other)` each, by rising value. Only
    /// bins that hold values are told. A bin is 2 % of its values wide, so a share of one is known of each only
    /// to within what the bin holds.
    pub fn bins_beside(&self, other: &Self) -> Vec<(u64, u64)> {
        let mut bins: BTreeMap<i32, (u64, u64)> = BTreeMap::new();
        self.each_bin(|rank, count| bins.entry(rank).or_default().0 = count);
        other.each_bin(|rank, count| bins.entry(rank).or_default().1 = count);
        bins.into_values().collect()
    }

    /// The same of whole numbers, each with whether but one of these is in the bin: so it is below 50, where bins are
    /// narrower than 1.
    pub fn bins_of_whole_numbers_beside(&self, other: &Self) -> Vec<((u64, u64), bool)> {
        let mut bins: BTreeMap<i32, (u64, u64)> = BTreeMap::new();
        self.each_bin(|rank, count| bins.entry(rank).or_default().0 = count);
        other.each_bin(|rank, count| bins.entry(rank).or_default().1 = count);
        bins.into_iter().map(|(rank, counts)| (counts, holds_one_whole_number(rank))).collect()
    }

    /// Each bin that holds values, under a number that rises with them.
    fn each_bin(&self, mut bin: impl FnMut(i32, u64)) {
        let above_zero = |key: i32| key - KEYS.0 + 1;
        if let Some(negative) = &self.negative {
            negative.each(|key, count| bin(-above_zero(key), count));
        }
        if self.zeros > 0 {
            bin(0, self.zeros);
        }
        self.positive.each(|key, count| bin(above_zero(key), count));
    }

    fn middle_at(&self, rank: u64) -> f64 {
        let mut below = 0_u64;
        if let Some(negative) = &self.negative {
            let count = negative.total();
            if rank < count {
                let key = negative.key_at(count - 1 - rank);
                return key.map_or(0.0, |key| Place::Negative(key).middle());
            }
            below = count;
        }
        below = below.saturating_add(self.zeros);
        if rank < below {
            return 0.0;
        }
        self.positive.key_at(rank - below).map_or(self.greatest, |key| Place::Positive(key).middle())
    }

    #[inline]
    fn count_at(&mut self, place: Place, count: u64) {
        match place {
            Place::Positive(key) => self.positive.add(key, count),
            Place::Zero => self.zeros = self.zeros.saturating_add(count),
            Place::Negative(key) => self.negative.get_or_insert_default().add(key, count),
        }
    }

    fn merge_edges(&mut self, least: f64, greatest: f64) {
        self.least = self.least.min(least);
        self.greatest = self.greatest.max(greatest);
    }
}

/// Whether no two whole numbers are in the bin of this number. Of two, one is next to the middle or is it.
fn holds_one_whole_number(rank: i32) -> bool {
    let Some(key) = rank.unsigned_abs().checked_sub(1).map(|above_zero| above_zero as i32 + KEYS.0) else {
        return true;
    };
    let nearest = MAPPING.value(key).round();
    [nearest - 1.0, nearest + 1.0].into_iter().all(|beside| beside < 1.0 || MAPPING.key(beside) != key)
}

impl Sketch for QuantileSketch {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.zeros = self.zeros.saturating_add(other.zeros);
        other.positive.each(|key, count| self.positive.add(key, count));
        if let Some(bins) = &other.negative {
            let negative = self.negative.get_or_insert_default();
            bins.each(|key, count| negative.add(key, count));
        }
        self.merge_edges(other.least, other.greatest);
        Ok(())
    }

    fn merge_encoded(&mut self, bytes: &[u8]) -> Result<()> {
        let Encoded { negative, zeros, positive, edges } = read(bytes)?;
        self.zeros = self.zeros.saturating_add(zeros);
        self.positive.add_all(&positive);
        if !negative.is_empty() {
            self.negative.get_or_insert_default().add_all(&negative);
        }
        if let Some((least, greatest)) = edges {
            self.merge_edges(least, greatest);
        }
        Ok(())
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) {
        let negative = self.negative.as_deref().filter(|bins| bins.total() > 0);
        let mut parts = 0;
        parts |= if self.zeros > 0 { HAS_ZEROS } else { 0 };
        parts |= if negative.is_some() { HAS_NEGATIVE } else { 0 };
        parts |= if self.positive.total() > 0 { HAS_POSITIVE } else { 0 };
        let is_empty = parts == 0;
        parts |= if !is_empty && self.least != self.greatest { HAS_GREATEST } else { 0 };
        bytes.extend([VERSION, parts]);
        if let Some(negative) = negative {
            put_bins(bytes, negative);
        }
        if parts & HAS_ZEROS != 0 {
            put_integer(bytes, self.zeros);
        }
        if parts & HAS_POSITIVE != 0 {
            put_bins(bytes, &self.positive);
        }
        if !is_empty {
            bytes.extend(self.least.to_le_bytes());
        }
        if parts & HAS_GREATEST != 0 {
            bytes.extend(self.greatest.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut sketch = Self::new();
        sketch.merge_encoded(bytes)?;
        Ok(sketch)
    }

    fn heap_bytes(&self) -> usize {
        let negative = self.negative.as_ref().map_or(0, |bins| size_of::<Bins>() + bins.heap_bytes());
        negative + self.positive.heap_bytes()
    }
}

#[inline]
fn place(value: f64) -> Place {
    if value > QuantileSketch::ZERO_MAX {
        Place::Positive(MAPPING.key(value))
    } else if value < -QuantileSketch::ZERO_MAX {
        Place::Negative(MAPPING.key(-value))
    } else {
        Place::Zero
    }
}

impl Place {
    /// The middle of the bin.
    fn middle(self) -> f64 {
        match self {
            Place::Negative(key) => -MAPPING.value(key),
            Place::Zero => 0.0,
            Place::Positive(key) => MAPPING.value(key),
        }
    }
}

/// The value of rank ⌊q·(n−1)⌋ of so many values between two edges, in the middle of the bin that holds it.
fn quantile_by(count: u64, q: f64, (least, greatest): (f64, f64), middle_at: impl FnOnce(u64) -> f64) -> Option<f64> {
    if count == 0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let rank = ((q * (count - 1) as f64) as u64).min(count - 1);
    if rank == 0 {
        return Some(least);
    }
    if rank == count - 1 {
        return Some(greatest);
    }
    // What is known exactly bounds what is not.
    Some(middle_at(rank).clamp(least, greatest))
}

/// What a sketch's bytes say: bins by rising key, and the least and the greatest value, if there are any.
struct Encoded {
    negative: Vec<(i32, u64)>,
    zeros: u64,
    positive: Vec<(i32, u64)>,
    edges: Option<(f64, f64)>,
}

fn read(bytes: &[u8]) -> Result<Encoded> {
    let mut reader = Reader::new(NAME, VERSION, bytes)?;
    let parts = reader.byte("parts")?;
    let has_values = parts & (HAS_ZEROS | HAS_NEGATIVE | HAS_POSITIVE) != 0;
    if parts >= 2 * HAS_GREATEST || parts & HAS_GREATEST != 0 && !has_values {
        return Err(reader.damaged(format!("parts {parts} are not known")));
    }
    let negative = if parts & HAS_NEGATIVE != 0 { read_bins(&mut reader)? } else { Vec::new() };
    let zeros = if parts & HAS_ZEROS != 0 { reader.integer("zeros")? } else { 0 };
    if parts & HAS_ZEROS != 0 && zeros == 0 {
        return Err(reader.damaged("its zeros are none"));
    }
    let positive = if parts & HAS_POSITIVE != 0 { read_bins(&mut reader)? } else { Vec::new() };
    if !has_values {
        reader.end()?;
        return Ok(Encoded { negative, zeros, positive, edges: None });
    }
    let least = reader.float("least value")?;
    let greatest = if parts & HAS_GREATEST != 0 { reader.float("greatest value")? } else { least };
    let in_order = if parts & HAS_GREATEST != 0 { least < greatest } else { least == greatest };
    let whole = least.is_finite() && greatest.is_finite() && in_order;
    // By magnitude, as they stand, negative values fall.
    let [lowest, highest] = [negative.last(), negative.first()].map(|bin| bin.map(|(key, _)| Place::Negative(*key)));
    let [low, high] = [positive.first(), positive.last()].map(|bin| bin.map(|(key, _)| Place::Positive(*key)));
    let zero = (zeros > 0).then_some(Place::Zero);
    let in_bins = lowest.or(zero).or(low) == Some(place(least)) && high.or(zero).or(highest) == Some(place(greatest));
    // A negative zero has the place of a zero and other bytes.
    let one_zero = |value: f64| value != 0.0 || value.is_sign_positive();
    if !whole || !in_bins || !one_zero(least) || !one_zero(greatest) {
        return Err(reader.damaged(format!("its least and greatest, {least} and {greatest}, are not in its bins")));
    }
    reader.end()?;
    Ok(Encoded { negative, zeros, positive, edges: Some((least, greatest)) })
}

fn put_bins(bytes: &mut Vec<u8>, bins: &Bins) {
    put_integer(bytes, bins.used() as u64);
    let mut before = None;
    bins.each(|key, count| {
        match before {
            None => put_integer(bytes, zigzag(key)),
            Some(before) => put_integer(bytes, u64::from(key.abs_diff(before))),
        }
        put_integer(bytes, count);
        before = Some(key);
    });
}

/// Bins by rising key, at least one.
fn read_bins(reader: &mut Reader) -> Result<Vec<(i32, u64)>> {
    let (key_min, key_max) = *KEYS;
    let used = reader.length(2, "bins")?;
    let mut bins: Vec<(i32, u64)> = Vec::with_capacity(used);
    for _ in 0..used {
        let step = reader.integer("bin's key")?;
        let key = match bins.last() {
            None => unzigzag(step),
            Some((before, _)) if step > 0 => i64::from(*before).saturating_add_unsigned(step),
            Some(_) => return Err(reader.damaged("a bin comes twice")),
        };
        if key < i64::from(key_min) || key > i64::from(key_max) {
            return Err(reader.damaged(format!("no value has the bin {key}")));
        }
        let count = reader.integer("bin's count")?;
        if count == 0 {
            return Err(reader.damaged("a bin counts nothing"));
        }
        bins.push((key as i32, count));
    }
    if bins.is_empty() {
        return Err(reader.damaged("its bins are none"));
    }
    Ok(bins)
}

fn zigzag(key: i32) -> u64 {
    u64::from(((key << 1) ^ (key >> 31)) as u32)
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Counts by key, of one sign.
#[derive(Debug, Clone)]
enum Bins {
    /// Few bins, by rising key.
    Listed(Vec<(i32, u64)>),
    /// Counts of the keys from `first` on; those at the ends may be 0.
    Row { first: i32, counts: Vec<u64> },
}

impl Default for Bins {
    fn default() -> Self {
        Bins::Listed(Vec::new())
    }
}

impl PartialEq for Bins {
    fn eq(&self, other: &Self) -> bool {
        self.to_list() == other.to_list()
    }
}

impl Bins {
    #[inline]
    fn add(&mut self, key: i32, count: u64) {
        match self {
            Bins::Row { first, counts } => {
                // A key below the first becomes an index beyond the end.
                let index = key.wrapping_sub(*first) as u32 as usize;
                match counts.get_mut(index) {
                    Some(bin) => *bin = bin.saturating_add(count),
                    None => self.add_beyond(key, count),
                }
            }
            Bins::Listed(list) if list.len() < LISTED_MAX && list.last().is_none_or(|(last, _)| *last < key) => {
                list.push((key, count));
            }
            Bins::Listed(list) => match list.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(index) => list[index].1 = list[index].1.saturating_add(count),
                Err(index) if list.len() < LISTED_MAX => list.insert(index, (key, count)),
                Err(_) => self.add_beyond(key, count),
            },
        }
    }

    /// Adds to a key that there is no room for.
    #[cold]
    fn add_beyond(&mut self, key: i32, count: u64) {
        self.cover(key, key);
        self.add(key, count);
    }

    /// Adds bins that rise, with room made for all of them at once.
    fn add_all(&mut self, rising: &[(i32, u64)]) {
        let (Some((first, _)), Some((last, _))) = (rising.first(), rising.last()) else { return };
        match self {
            Bins::Listed(list) if list.is_empty() && rising.len() <= LISTED_MAX => list.extend_from_slice(rising),
            Bins::Listed(_) if rising.len() <= LISTED_MAX => {
                rising.iter().for_each(|(key, count)| self.add(*key, *count));
            }
            _ => {
                self.cover(*first, *last);
                rising.iter().for_each(|(key, count)| self.add(*key, *count));
            }
        }
    }

    /// Makes it a row that has these keys, and where it was one some more, so that rising or falling keys do not move
    /// it each time.
    fn cover(&mut self, low: i32, high: i32) {
        match self {
            Bins::Listed(list) => {
                let first = list.first().map_or(low, |(first, _)| low.min(*first));
                let last = list.last().map_or(high, |(last, _)| high.max(*last));
                let mut counts = vec![0; last.abs_diff(first) as usize + 1];
                for (key, count) in list {
                    counts[key.abs_diff(first) as usize] = *count;
                }
                *self = Bins::Row { first, counts };
            }
            Bins::Row { first, counts } => {
                let spare = counts.len() as i32 / 4;
                if low < *first {
                    let start = (low - spare).max(KEYS.0);
                    counts.splice(0..0, std::iter::repeat_n(0, first.abs_diff(start) as usize));
                    *first = start;
                }
                if high.abs_diff(*first) as usize >= counts.len() {
                    let last = (high + spare).min(KEYS.1);
                    counts.resize(last.abs_diff(*first) as usize + 1, 0);
                }
            }
        }
    }

    #[inline]
    fn each(&self, mut bin: impl FnMut(i32, u64)) {
        match self {
            Bins::Listed(list) => list.iter().for_each(|(key, count)| bin(*key, *count)),
            Bins::Row { first, counts } => {
                for (key, count) in (*first..).zip(counts) {
                    if *count > 0 {
                        bin(key, *count);
                    }
                }
            }
        }
    }

    fn to_list(&self) -> Vec<(i32, u64)> {
        let mut list = Vec::new();
        self.each(|key, count| list.push((key, count)));
        list
    }

    fn used(&self) -> usize {
        match self {
            Bins::Listed(list) => list.len(),
            Bins::Row { counts, .. } => counts.iter().filter(|count| **count > 0).count(),
        }
    }

    fn total(&self) -> u64 {
        match self {
            Bins::Listed(list) => list.iter().fold(0, |total, (_, count)| total.saturating_add(*count)),
            Bins::Row { counts, .. } => counts.iter().fold(0, |total, count| total.saturating_add(*count)),
        }
    }

    /// The key of the bin that holds the value of this rank, counted from 0 by magnitude.
    fn key_at(&self, rank: u64) -> Option<i32> {
        let mut through = 0_u64;
        let mut found = None;
        self.each(|key, count| {
            through = through.saturating_add(count);
            if found.is_none() && through > rank {
                found = Some(key);
            }
        });
        found
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Bins::Listed(list) => list.capacity() * size_of::<(i32, u64)>(),
            Bins::Row { counts, .. } => counts.capacity() * size_of::<u64>(),
        }
    }
}
