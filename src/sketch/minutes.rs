//! How many rows each minute has, and how many of them are flagged: exact, mergeable, and a few bytes a minute. For
//! what begins and ends at a minute, and so cannot be told by sums of hours: outages.
//!
//! **Error.** None, up to 4 billion rows a minute.
//!
//! **Shape.** Unit: rows. Minutes and hours are counted from the epoch, UTC. The version byte; how many hours have rows;
//! for each of them, rising:
//!
//! | part | bytes |
//! | --- | --- |
//! | hour | the first zigzag; then each less the one before, less 1 |
//! | minutes that have rows | how many, 1 to 60 |
//! | their rows | of up to 20 minutes: how many minutes without come before it, its rows; of more: the rows of each of the hour's 60 |
//! | minutes that have flagged rows | how many |
//! | their flagged rows | how many minutes without come before it, its flagged rows |
//!
//! Integers are LEB128.

use super::{
    Sketch,
    bytes::{Reader, put_integer},
};
use crate::error::Result;

const NAME: &str = "minute sketch";
const VERSION: u8 = 1;

const HOUR_MINUTES: usize = 60;
/// Of so many minutes, places and rows take fewer bytes than the rows of all.
const SPARSE_MAX: usize = 20;
const MINUTE_US: i64 = 60_000_000;
/// The fewest bytes of an hour: its place, one minute with its place and rows, none flagged.
const HOUR_BYTES_MIN: usize = 5;

/// A mergeable count of rows and flagged rows by the minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MinuteSketch {
    /// Rising; each has rows.
    hours: Vec<Hour>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hour {
    /// Hours since the epoch.
    hour: i64,
    rows: [u32; HOUR_MINUTES],
    flagged: [u32; HOUR_MINUTES],
}

/// A time in which half or more of the rows of its minutes are flagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Start of its first minute, µs since the epoch, UTC.
    pub began_us: i64,
    /// Start of the minute that ended it; none where none did yet.
    pub ended_us: Option<i64>,
    /// Rows of its minutes that had enough.
    pub rows: u64,
    /// Those of them that are flagged.
    pub flagged: u64,
}

impl MinuteSketch {
    /// Of no rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row at a time, µs since the epoch.
    pub fn add(&mut self, us: i64, is_flagged: bool) {
        let minute = us.div_euclid(MINUTE_US);
        let place = minute.rem_euclid(HOUR_MINUTES as i64) as usize;
        let hour = self.hour(minute.div_euclid(HOUR_MINUTES as i64));
        hour.rows[place] = hour.rows[place].saturating_add(1);
        hour.flagged[place] = hour.flagged[place].saturating_add(u32::from(is_flagged));
    }

    /// Outages, in the order of time: each begins with a minute of at least so many rows of which half or more are
    /// flagged, and ends with the next minute of which fewer are, however few rows it has.
    pub fn outages(&self, rows_min: u64) -> Vec<Outage> {
        let mut outages = Outages::of(rows_min);
        self.hours.iter().for_each(|hour| outages.take(hour));
        outages.finish()
    }

    /// The same of an encoded sketch, of which no more than an hour is decoded at a time.
    pub fn outages_of_encoded(bytes: &[u8], rows_min: u64) -> Result<Vec<Outage>> {
        let mut outages = Outages::of(rows_min);
        read_hours(bytes, |hour| outages.take(&hour))?;
        Ok(outages.finish())
    }

    /// The hour, which is made where it has no rows yet.
    fn hour(&mut self, hour: i64) -> &mut Hour {
        // Rows come mostly in the order of time.
        let index = match self.hours.last() {
            Some(last) if last.hour == hour => self.hours.len() - 1,
            Some(last) if last.hour > hour => match self.hours.binary_search_by_key(&hour, |hour| hour.hour) {
                Ok(index) => index,
                Err(index) => {
                    self.hours.insert(index, Hour::new(hour));
                    index
                }
            },
            _ => {
                self.hours.push(Hour::new(hour));
                self.hours.len() - 1
            }
        };
        &mut self.hours[index]
    }

    /// Takes hours, rising, of another sketch. A sketch of a quarter has a megabyte: what comes after their first is moved
    /// once, and not for each of them.
    fn merge_hours(&mut self, others: Vec<Hour>) {
        let Some(first) = others.first() else { return };
        let later = self.hours.split_off(self.hours.partition_point(|own| own.hour < first.hour));
        self.hours.reserve(later.len() + others.len());
        let mut others = others.into_iter().peekable();
        for mut own in later {
            self.hours.extend(std::iter::from_fn(|| others.next_if(|other| other.hour < own.hour)));
            if let Some(other) = others.next_if(|other| other.hour == own.hour) {
                own.add(&other);
            }
            self.hours.push(own);
        }
        self.hours.extend(others);
    }
}

/// Outages that are found in hours, rising.
struct Outages {
    rows_min: u64,
    ended: Vec<Outage>,
    /// One that has not ended yet.
    open: Option<Outage>,
}

impl Outages {
    fn of(rows_min: u64) -> Self {
        Self { rows_min: rows_min.max(1), ended: Vec::new(), open: None }
    }

    fn take(&mut self, hour: &Hour) {
        if self.open.is_none() && hour.flagged.iter().all(|flagged| *flagged == 0) {
            return;
        }
        for (place, (rows, flagged)) in hour.rows.iter().zip(&hour.flagged).enumerate() {
            let (rows, flagged) = (u64::from(*rows), u64::from(*flagged));
            let minute = hour.hour * HOUR_MINUTES as i64 + place as i64;
            let at_us = minute.saturating_mul(MINUTE_US);
            if flagged * 2 < rows {
                self.ended.extend(self.open.take().map(|outage| Outage { ended_us: Some(at_us), ..outage }));
            } else if rows >= self.rows_min {
                let outage = self.open.get_or_insert(Outage { began_us: at_us, ended_us: None, rows: 0, flagged: 0 });
                outage.rows += rows;
                outage.flagged += flagged;
            }
        }
    }

    fn finish(mut self) -> Vec<Outage> {
        self.ended.extend(self.open);
        self.ended
    }
}

fn add_all(own: &mut [u32; HOUR_MINUTES], other: &[u32; HOUR_MINUTES]) {
    own.iter_mut().zip(other).for_each(|(own, other)| *own = own.saturating_add(*other));
}

impl Hour {
    fn new(hour: i64) -> Self {
        Self { hour, rows: [0; HOUR_MINUTES], flagged: [0; HOUR_MINUTES] }
    }

    fn add(&mut self, other: &Self) {
        add_all(&mut self.rows, &other.rows);
        add_all(&mut self.flagged, &other.flagged);
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) {
        let minutes = self.rows.iter().filter(|rows| **rows > 0).count();
        put_integer(bytes, minutes as u64);
        if minutes > SPARSE_MAX {
            match self.rows.iter().all(|rows| *rows < 0x80) {
                true => bytes.extend(self.rows.map(|rows| rows as u8)),
                false => self.rows.iter().for_each(|rows| put_integer(bytes, u64::from(*rows))),
            }
        } else {
            put_places(bytes, &self.rows);
        }
        put_integer(bytes, self.flagged.iter().filter(|flagged| **flagged > 0).count() as u64);
        put_places(bytes, &self.flagged);
    }

    fn read(reader: &mut Reader, hour: i64) -> Result<Self> {
        let mut read = Self::new(hour);
        let minutes = reader.length(1, "minutes")?;
        if minutes > SPARSE_MAX {
            match reader.small_integers::<HOUR_MINUTES>() {
                Some(small) => read.rows = small.map(u32::from),
                None => read.rows.iter_mut().try_for_each(|rows| count(reader).map(|count| *rows = count))?,
            }
            if read.rows.iter().filter(|rows| **rows > 0).count() != minutes {
                return Err(reader.damaged("an hour has other minutes than it says"));
            }
        } else if minutes == 0 {
            return Err(reader.damaged("an hour that is written has no rows"));
        } else {
            read_places(reader, minutes, &mut read.rows)?;
        }
        let flagged = reader.length(2, "minutes")?;
        read_places(reader, flagged, &mut read.flagged)?;
        if read.flagged.iter().zip(&read.rows).any(|(flagged, rows)| flagged > rows) {
            return Err(reader.damaged("a minute has more flagged rows than rows"));
        }
        Ok(read)
    }
}

/// Those that count anything: how many that do not come before each, and its count.
fn put_places(bytes: &mut Vec<u8>, counts: &[u32; HOUR_MINUTES]) {
    let mut next = 0;
    for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        put_integer(bytes, (place - next) as u64);
        put_integer(bytes, u64::from(*count));
        next = place + 1;
    }
}

fn read_places(reader: &mut Reader, length: usize, counts: &mut [u32; HOUR_MINUTES]) -> Result<()> {
    let mut next = 0_usize;
    for _ in 0..length {
        let gap = reader.integer("minute's place")?;
        let count = count(reader)?;
        let place = usize::try_from(gap).ok().and_then(|gap| next.checked_add(gap));
        let Some((place, slot)) = place.and_then(|place| Some((place, counts.get_mut(place)?))) else {
            return Err(reader.damaged("an hour has only 60 minutes"));
        };
        if count == 0 {
            return Err(reader.damaged("a minute that is written counts nothing"));
        }
        *slot = count;
        next = place + 1;
    }
    Ok(())
}

fn count(reader: &mut Reader) -> Result<u32> {
    let count = reader.integer("minute's count")?;
    u32::try_from(count).map_err(|_| reader.damaged("a minute counts more than 4 billion"))
}

/// The hours of an encoded sketch, rising.
fn read_hours(bytes: &[u8], mut take: impl FnMut(Hour)) -> Result<()> {
    let mut reader = Reader::new(NAME, VERSION, bytes)?;
    let hours = reader.length(HOUR_BYTES_MIN, "hours")?;
    let mut before: Option<i64> = None;
    for _ in 0..hours {
        let told = reader.integer("hour")?;
        let hour = match before {
            None => Some((told >> 1) as i64 ^ -((told & 1) as i64)),
            Some(before) => i64::try_from(told).ok().and_then(|gap| before.checked_add(1)?.checked_add(gap)),
        };
        // No time is outside: i64::MAX µs are 2.6 billion hours.
        let Some(hour) = hour.filter(|hour| hour.unsigned_abs() <= HOURS_MAX) else {
            return Err(reader.damaged("an hour is outside of time"));
        };
        take(Hour::read(&mut reader, hour)?);
        before = Some(hour);
    }
    reader.end()
}

/// Hours from the epoch to the last time, and to the first.
const HOURS_MAX: u64 = i64::MAX as u64 / (MINUTE_US as u64 * HOUR_MINUTES as u64) + 1;

impl Sketch for MinuteSketch {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.merge_hours(other.hours.clone());
        Ok(())
    }

    fn merge_encoded(&mut self, bytes: &[u8]) -> Result<()> {
        self.merge_hours(Self::decode(bytes)?.hours);
        Ok(())
    }

    fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.push(VERSION);
        put_integer(bytes, self.hours.len() as u64);
        let mut before: Option<i64> = None;
        for hour in &self.hours {
            let told = match before {
                None => (hour.hour << 1 ^ hour.hour >> 63) as u64,
                Some(before) => (hour.hour - before - 1) as u64,
            };
            put_integer(bytes, told);
            hour.encode_into(bytes);
            before = Some(hour.hour);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut hours = Vec::new();
        read_hours(bytes, |hour| hours.push(hour))?;
        Ok(Self { hours })
    }

    fn heap_bytes(&self) -> usize {
        self.hours.capacity() * size_of::<Hour>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn of(rows: &[(i64, bool)]) -> MinuteSketch {
        let mut sketch = MinuteSketch::new();
        rows.iter().for_each(|(minute, is_flagged)| sketch.add(minute * MINUTE_US, *is_flagged));
        sketch
    }

    /// Minutes as `minute:rows/flagged`, outages as `began-ended rows/flagged`.
    fn check(minutes: &str, expect: &str) {
        let mut rows = Vec::new();
        for minute in minutes.split_whitespace() {
            let (at, counts) = minute.split_once(':').unwrap();
            let (all, flagged) = counts.split_once('/').unwrap();
            let (all, flagged): (usize, usize) = (all.parse().unwrap(), flagged.parse().unwrap());
            rows.extend((0..all).map(|row| (at.parse().unwrap(), row < flagged)));
        }
        let minute = |us: i64| us / MINUTE_US;
        let told: Vec<String> = of(&rows)
            .outages(5)
            .into_iter()
            .map(|outage| {
                let ended = outage.ended_us.map_or("?".to_owned(), |us| minute(us).to_string());
                format!("{}-{ended} {}/{}", minute(outage.began_us), outage.rows, outage.flagged)
            })
            .collect();
        assert_eq!(told.join(", "), expect, "{minutes}");
        assert_eq!(MinuteSketch::outages_of_encoded(&of(&rows).encode(), 5).unwrap(), of(&rows).outages(5));
    }

    #[test]
    fn an_outage_ends_with_a_minute_that_answers() {
        check("", "");
        check("1:9/0 2:9/4", "");
        check("1:10/5 2:1/0", "1-2 10/5");
        check("1:4/4 2:4/4", "");
        check("1:5/5 2:4/4 3:6/3 900:1/0 901:5/5", "1-900 11/8, 901-? 5/5");
        check("58:5/5 59:1/0 60:5/3 61:5/2 179:7/7 180:1/0", "58-59 5/5, 60-61 5/3, 179-180 7/7");
        check("1:5/5 2:1/1 3:2/1 4:3/1", "1-4 5/5");
        check("-61:5/5 -1:2/0", "-61--1 5/5");
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_in_any_order_and_bytes_are_read_back(
            mut rows in vec((-130_i64..130, any::<bool>()), 0..120),
            at in 0..120_usize,
        ) {
            let whole = of(&rows);
            let (left, right) = rows.split_at(at.min(rows.len()));
            let (mut merged, right) = (of(right), of(left));
            let mut encoded = merged.clone();
            merged.merge(&right).unwrap();
            encoded.merge_encoded(&right.encode()).unwrap();
            rows.reverse();
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(&encoded, &whole);
            prop_assert_eq!(&of(&rows), &whole);
            let bytes = whole.encode();
            prop_assert_eq!(&MinuteSketch::decode(&bytes).unwrap(), &whole);
            for length in 0..bytes.len() {
                prop_assert!(MinuteSketch::decode(&bytes[..length]).is_err());
            }
        }

        #[test]
        fn bytes_that_are_read_are_the_only_ones(bytes in vec(any::<u8>(), 0..40)) {
            let mut whole = vec![VERSION];
            whole.extend(bytes);
            if let Ok(sketch) = MinuteSketch::decode(&whole) {
                prop_assert_eq!(sketch.encode(), whole);
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_hours() {
        let mut sketch = MinuteSketch::new();
        [i64::MIN, 0, i64::MAX].into_iter().for_each(|us| sketch.add(us, true));
        assert_eq!(MinuteSketch::decode(&sketch.encode()).unwrap(), sketch);
        assert_eq!(sketch.outages(1).len(), 1);
    }
}
