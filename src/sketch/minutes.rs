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

use std::mem;

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
/// A count that needs no second byte where it is encoded.
const ONE_BYTE_MAX: u32 = 0x7f;
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
    counts: Counts,
}

/// What an hour's minutes count. A sketch of a quarter has thousands of hours, and most of them count little: with four
/// bytes a count, it is the copies of them that a merge takes its time for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Counts {
    /// No minute has more than 255 rows.
    Few(Minutes<u8>),
    /// One has.
    Many(Box<Minutes<u32>>),
}

/// Never more flagged rows than rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Minutes<T> {
    rows: [T; HOUR_MINUTES],
    flagged: [T; HOUR_MINUTES],
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
        self.hour(minute.div_euclid(HOUR_MINUTES as i64)).counts.add(place, is_flagged);
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

    /// Takes hours, rising, of another sketch. What comes after their first is moved once, and not for each of them.
    fn merge_hours(&mut self, mut others: Vec<Hour>) {
        let Some(first) = others.first() else { return };
        if self.hours.last().is_none_or(|last| last.hour < first.hour) {
            self.hours.append(&mut others);
            return;
        }
        let later = self.hours.split_off(self.hours.partition_point(|own| own.hour < first.hour));
        self.hours.reserve(later.len() + others.len());
        let mut others = others.into_iter().peekable();
        for mut own in later {
            self.hours.extend(std::iter::from_fn(|| others.next_if(|other| other.hour < own.hour)));
            if let Some(other) = others.next_if(|other| other.hour == own.hour) {
                own.counts.merge(&other.counts);
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
        match &hour.counts {
            Counts::Few(minutes) => self.take_minutes(hour.hour, minutes),
            Counts::Many(minutes) => self.take_minutes(hour.hour, minutes),
        }
    }

    fn take_minutes<T: Copy + Into<u64>>(&mut self, hour: i64, Minutes { rows, flagged }: &Minutes<T>) {
        let counts = || rows.iter().zip(flagged).map(|(rows, flagged)| ((*rows).into(), (*flagged).into()));
        let is_down = |(rows, flagged): (u64, u64)| flagged * 2 >= rows && rows >= self.rows_min;
        // Most hours have no such minute; told without a branch for each.
        if self.open.is_none() && !counts().fold(false, |any, minute| any | is_down(minute)) {
            return;
        }
        for (place, (rows, flagged)) in counts().enumerate() {
            let minute = hour * HOUR_MINUTES as i64 + place as i64;
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

impl Counts {
    fn new() -> Self {
        Self::Few(Minutes { rows: [0; HOUR_MINUTES], flagged: [0; HOUR_MINUTES] })
    }

    /// In as few bytes as they fit into.
    fn of(many: Minutes<u32>) -> Self {
        match many.rows.iter().all(|rows| *rows <= u32::from(u8::MAX)) {
            true => Self::Few(Minutes {
                rows: many.rows.map(|rows| rows as u8),
                flagged: many.flagged.map(|rows| rows as u8),
            }),
            false => Self::Many(Box::new(many)),
        }
    }

    fn as_many(&mut self, change: impl FnOnce(&mut Minutes<u32>)) {
        let mut many = match mem::replace(self, Self::new()) {
            Self::Few(Minutes { rows, flagged }) => {
                Box::new(Minutes { rows: rows.map(u32::from), flagged: flagged.map(u32::from) })
            }
            Self::Many(many) => many,
        };
        change(&mut many);
        *self = Self::Many(many);
    }

    fn add(&mut self, place: usize, is_flagged: bool) {
        match self {
            Self::Few(Minutes { rows, flagged }) if rows[place] < u8::MAX => {
                rows[place] += 1;
                flagged[place] += u8::from(is_flagged);
            }
            _ => self.as_many(|Minutes { rows, flagged }| {
                rows[place] = rows[place].saturating_add(1);
                flagged[place] = flagged[place].saturating_add(u32::from(is_flagged));
            }),
        }
    }

    fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Few(own), Self::Few(other)) if own.has_room_for(other) => {
                own.rows.iter_mut().zip(other.rows).for_each(|(own, other)| *own += other);
                own.flagged.iter_mut().zip(other.flagged).for_each(|(own, other)| *own += other);
            }
            (_, Self::Few(other)) => self.as_many(|own| own.merge(other)),
            (_, Self::Many(other)) => self.as_many(|own| own.merge(other)),
        }
    }
}

impl Minutes<u8> {
    fn has_room_for(&self, other: &Self) -> bool {
        let is_over = |own: u8, other: u8| own.checked_add(other).is_none();
        !self.rows.iter().zip(&other.rows).fold(false, |any, (own, other)| any | is_over(*own, *other))
    }
}

impl Minutes<u32> {
    fn merge<T: Copy + Into<u32>>(&mut self, other: &Minutes<T>) {
        let add = |own: &mut [u32; HOUR_MINUTES], other: &[T; HOUR_MINUTES]| {
            own.iter_mut().zip(other).for_each(|(own, other)| *own = own.saturating_add((*other).into()));
        };
        add(&mut self.rows, &other.rows);
        add(&mut self.flagged, &other.flagged);
    }
}

impl<T: Copy + Into<u32>> Minutes<T> {
    fn encode_into(&self, bytes: &mut Vec<u8>) {
        let minutes = counted(&self.rows);
        put_integer(bytes, minutes as u64);
        if minutes > SPARSE_MAX {
            match self.rows.iter().all(|rows| (*rows).into() <= ONE_BYTE_MAX) {
                true => bytes.extend(self.rows.map(|rows| rows.into() as u8)),
                false => self.rows.iter().for_each(|rows| put_integer(bytes, u64::from((*rows).into()))),
            }
        } else {
            put_places(bytes, &self.rows);
        }
        put_integer(bytes, counted(&self.flagged) as u64);
        put_places(bytes, &self.flagged);
    }
}

impl Hour {
    fn new(hour: i64) -> Self {
        Self { hour, counts: Counts::new() }
    }

    fn read(reader: &mut Reader, hour: i64) -> Result<Self> {
        let minutes = reader.length(1, "minutes")?;
        if minutes > SPARSE_MAX
            && let Some(rows) = reader.small_integers::<HOUR_MINUTES>()
        {
            let few = Minutes { rows: *rows, flagged: [0; HOUR_MINUTES] };
            return Ok(Self { hour, counts: Counts::Few(read_flagged(reader, minutes, few)?) });
        }
        let mut many = Minutes { rows: [0; HOUR_MINUTES], flagged: [0; HOUR_MINUTES] };
        if minutes > SPARSE_MAX {
            many.rows.iter_mut().try_for_each(|rows| count(reader).map(|count| *rows = count))?;
        } else if minutes == 0 {
            return Err(reader.damaged("an hour that is written has no rows"));
        } else {
            read_places(reader, minutes, |place, count| many.rows[place] = count)?;
        }
        Ok(Self { hour, counts: Counts::of(read_flagged(reader, minutes, many)?) })
    }
}

/// Minutes that count anything.
fn counted<T: Copy + Into<u32>>(counts: &[T; HOUR_MINUTES]) -> usize {
    counts.iter().filter(|count| (**count).into() > 0).count()
}

/// The flagged rows of minutes whose rows are read.
fn read_flagged<T>(reader: &mut Reader, minutes: usize, mut read: Minutes<T>) -> Result<Minutes<T>>
where
    T: Copy + Into<u32> + TryFrom<u32>,
{
    if counted(&read.rows) != minutes {
        return Err(reader.damaged("an hour has other minutes than it says"));
    }
    let flagged = reader.length(2, "minutes")?;
    let mut is_over = false;
    read_places(reader, flagged, |place, count| match T::try_from(count) {
        Ok(fits) if count <= read.rows[place].into() => read.flagged[place] = fits,
        _ => is_over = true,
    })?;
    match is_over {
        true => Err(reader.damaged("a minute has more flagged rows than rows")),
        false => Ok(read),
    }
}

/// Those that count anything: how many that do not come before each, and its count.
fn put_places<T: Copy + Into<u32>>(bytes: &mut Vec<u8>, counts: &[T; HOUR_MINUTES]) {
    let mut next = 0;
    for (place, count) in counts.iter().map(|count| (*count).into()).enumerate().filter(|(_, count)| *count > 0) {
        put_integer(bytes, (place - next) as u64);
        put_integer(bytes, u64::from(count));
        next = place + 1;
    }
}

fn read_places(reader: &mut Reader, length: usize, mut take: impl FnMut(usize, u32)) -> Result<()> {
    let mut next = 0_usize;
    for _ in 0..length {
        let gap = reader.integer("minute's place")?;
        let count = count(reader)?;
        let place = usize::try_from(gap).ok().and_then(|gap| next.checked_add(gap));
        let Some(place) = place.filter(|place| *place < HOUR_MINUTES) else {
            return Err(reader.damaged("an hour has only 60 minutes"));
        };
        if count == 0 {
            return Err(reader.damaged("a minute that is written counts nothing"));
        }
        take(place, count);
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
            match &hour.counts {
                Counts::Few(minutes) => minutes.encode_into(bytes),
                Counts::Many(minutes) => minutes.encode_into(bytes),
            }
            before = Some(hour.hour);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut hours = Vec::new();
        read_hours(bytes, |hour| hours.push(hour))?;
        Ok(Self { hours })
    }

    fn heap_bytes(&self) -> usize {
        let many = self.hours.iter().filter(|hour| matches!(hour.counts, Counts::Many(_))).count();
        self.hours.capacity() * size_of::<Hour>() + many * size_of::<Minutes<u32>>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

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
        check("1:255/127 2:255/128 3:256/128 4:256/127", "2-4 511/256");
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_in_any_order_and_bytes_are_read_back(
            parts in vec((-130_i64..130, any::<bool>(), select(vec![1, 1, 1, 100, 300])), 0..80),
            at in 0..400_usize,
        ) {
            let mut rows: Vec<(i64, bool)> = Vec::new();
            parts.into_iter().for_each(|(minute, is_flagged, times)| rows.resize(rows.len() + times, (minute, is_flagged)));
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
