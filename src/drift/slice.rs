//! What one slice had, column by column: gathered from rows, then judged.

use std::collections::HashMap;

use super::{
    column::{By, COLUMNS, Column, Holds},
    judge::judge,
    run::{Found, Subject},
    series::{Kind, Series, total},
    windows::Windows,
};

/// Categories that are told apart, those with the largest shares; the others are one together. Many rare ones would
/// hide what the frequent ones do.
const CATEGORIES_MAX: usize = 30;
/// What the others are called.
const OTHERS: &str = "(others)";

/// Counts of a slice, by places that follow each other in time: windows, or hours.
#[derive(Debug, Clone)]
pub struct Slice {
    by: By,
    name: Option<String>,
    places: usize,
    columns: Vec<Counted>,
}

#[derive(Debug, Clone)]
enum Counted {
    Numbers(Series),
    Categories(HashMap<String, Vec<u64>>),
}

impl Slice {
    /// Without any value. The name is that of the agent, model or tenant; none for all calls.
    pub fn new(by: By, name: Option<String>, places: usize) -> Self {
        let counted = |column: &Column| match column.holds {
            Holds::Numbers { buckets, .. } => {
                Counted::Numbers(Series::new(Kind::Ordered, buckets.bounds().len() + 1, places))
            }
            Holds::Categories => Counted::Categories(HashMap::new()),
        };
        Self { by, name, places, columns: COLUMNS.iter().map(counted).collect() }
    }

    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Adds the buckets' counts of a column of numbers. Other columns are left alone.
    pub fn add_numbers(&mut self, column: &Column, place: usize, counts: &[u64]) {
        if let Some(Counted::Numbers(series)) = self.counted(column) {
            for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                series.add(place, bin, *count);
            }
        }
    }

    /// Adds values of a category. Other columns are left alone.
    pub fn add_category(&mut self, column: &Column, place: usize, name: &str, count: u64) {
        let places = self.places;
        if let Some(Counted::Categories(categories)) = self.counted(column) {
            let counts = match categories.get_mut(name) {
                Some(counts) => counts,
                None => categories.entry(name.to_owned()).or_insert_with(|| vec![0; places]),
            };
            counts[place] = counts[place].saturating_add(count);
        }
    }

    /// A column's counts, and the names of its categories, one for each bin; none without values.
    pub fn series(&self, column: &Column) -> Option<(Vec<String>, Series)> {
        let place = COLUMNS.iter().position(|other| other.name == column.name)?;
        let (names, series) = match &self.columns[place] {
            Counted::Numbers(series) => (Vec::new(), series.clone()),
            Counted::Categories(categories) => self.told_apart(categories),
        };
        (!series.is_empty()).then_some((names, series))
    }

    /// Judges each of its columns that has values and tells something of it.
    pub fn judge(&self, windows: &Windows) -> Vec<Found> {
        let told = COLUMNS.iter().filter(|column| column.tells_of(self.by));
        let judged = told.filter_map(|column| {
            let (_, series) = self.series(column)?;
            let subject = Subject { by: self.by, slice: self.name.clone(), column };
            Some(Found { subject, finding: judge(windows, column, &series) })
        });
        judged.collect()
    }

    fn counted(&mut self, column: &Column) -> Option<&mut Counted> {
        let place = COLUMNS.iter().position(|other| other.name == column.name)?;
        self.columns.get_mut(place)
    }

    /// The most frequent of any place, in an order that does not depend on how they came.
    fn told_apart(&self, categories: &HashMap<String, Vec<u64>>) -> (Vec<String>, Series) {
        let mut totals = vec![0_u64; self.places];
        for counts in categories.values() {
            totals.iter_mut().zip(counts).for_each(|(total, count)| *total = total.saturating_add(*count));
        }
        let all = total(&totals).max(1) as f64;
        let newest = self.places - self.places / 4;
        let newest_all = total(&totals[newest..]).max(1) as f64;
        // What is new has a small share of all time, and a large one of late.
        let share = |counts: &[u64]| (total(counts) as f64 / all).max(total(&counts[newest..]) as f64 / newest_all);
        let mut ranked: Vec<(f64, &String, &Vec<u64>)> =
            categories.iter().map(|(name, counts)| (share(counts), name, counts)).collect();
        ranked.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
        let bins = ranked.len().min(CATEGORIES_MAX + 1);
        let mut series = Series::new(Kind::Unordered, bins, self.places);
        for (rank, (_, _, counts)) in ranked.iter().enumerate() {
            for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                series.add(place, rank.min(CATEGORIES_MAX), *count);
            }
        }
        let named = ranked.iter().take(CATEGORIES_MAX).map(|(_, name, _)| (*name).clone());
        let others = (ranked.len() > CATEGORIES_MAX).then(|| OTHERS.to_owned());
        (named.chain(others).collect(), series)
    }
}
