//! Numbers, collected as they are or as moments. What is null, NaN or of no sample counts nowhere.
//!
//! Tests on ranks need all values, 8 bytes each. Parts stay as they were collected until somebody wants the whole
//! sample; where that is to be sorted, they are sorted where they are collected, on as many threads as scan.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray},
    buffer::ScalarBuffer,
    datatypes::{DataType, Float64Type, Int64Type},
};
use datafusion::common::{Result, exec_err};

use super::{
    counts::Texts,
    groups::{Collection, items, list_type, lists},
};
use crate::stats::{Moments, sort, sort_part};

/// Shorter parts of a state are copied.
const PART_MIN: usize = 4_096;

/// The values of two samples, for what sorts them.
pub(super) type Samples = TwoSamples<true>;

/// The values of two samples, for what needs no order.
pub(super) type Unsorted = TwoSamples<false>;

/// The values of two samples. `SORTED` is whether they are sorted in its state.
#[derive(Debug, Default)]
pub(super) struct TwoSamples<const SORTED: bool> {
    reference: Sample,
    current: Sample,
}

/// The values of one: as they came, and what was collected elsewhere.
#[derive(Debug, Default)]
struct Sample {
    values: Vec<f64>,
    parts: Vec<ScalarBuffer<f64>>,
}

impl<const SORTED: bool> TwoSamples<SORTED> {
    #[inline]
    fn push(&mut self, number: f64, is_current: bool) {
        if number.is_nan() {
            return;
        }
        let side = if is_current { &mut self.current } else { &mut self.reference };
        side.values.push(number);
    }
}

impl Samples {
    /// All values of both, the reference's first, in no order.
    pub(super) fn whole(&mut self) -> [&mut [f64]; 2] {
        [self.reference.whole(), self.current.whole()]
    }

    /// The same without infinities, for what measures distances: they are at none that could be told.
    pub(super) fn finite(&mut self) -> [&mut [f64]; 2] {
        [self.reference.finite(), self.current.finite()]
    }
}

impl Unsorted {
    /// All values of both, the reference's first, in parts.
    pub(super) fn values(&self) -> [Vec<&[f64]>; 2] {
        [self.reference.parts(), self.current.parts()]
    }
}

impl Sample {
    fn whole(&mut self) -> &mut Vec<f64> {
        for part in self.parts.drain(..) {
            self.values.extend_from_slice(&part);
        }
        &mut self.values
    }

    fn finite(&mut self) -> &mut [f64] {
        self.whole().retain(|value| value.is_finite());
        &mut self.values
    }

    fn parts(&self) -> Vec<&[f64]> {
        std::iter::once(self.values.as_slice()).chain(self.parts.iter().map(|part| part.as_ref())).collect()
    }

    /// All values, sorted.
    fn sorted(mut self) -> Vec<f64> {
        if self.parts.is_empty() {
            sort_part(&mut self.values);
        } else {
            sort(self.whole());
        }
        self.values
    }

    /// With what computing a statistic takes, at most: as much again, for sorting or for putting parts together.
    fn heap_bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| part.len()).sum();
        (2 * self.values.capacity() + 2 * parts) * size_of::<f64>()
    }
}

impl<const SORTED: bool> Collection for TwoSamples<SORTED> {
    fn fields() -> Vec<(&'static str, DataType)> {
        vec![("reference", list_type(DataType::Float64)), ("current", list_type(DataType::Float64))]
    }

    fn add(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        each_number(values, rows, |group, number, is_current| groups[group].push(number, is_current));
        Ok(())
    }

    fn add_all(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (numbers, sides) = numbers_and_sides(values);
        if numbers.null_count() + sides.null_count() > 0 {
            each_number(values, (0..numbers.len()).map(|row| (row, 0)), |_, number, side| self.push(number, side));
            return Ok(());
        }
        for (number, side) in numbers.values().iter().zip(sides.values()) {
            self.push(*number, side);
        }
        Ok(())
    }

    fn merge(states: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        for (row, group) in rows {
            let samples = &mut groups[group];
            for (state, side) in states.iter().zip([&mut samples.reference, &mut samples.current]) {
                let part = items(state, row).as_primitive::<Float64Type>().values().clone();
                match part.len() {
                    0 => {}
                    // A part of its own keeps the state that it is of, so few values are better copied.
                    1..PART_MIN => side.values.extend_from_slice(&part),
                    _ => side.parts.push(part),
                }
            }
        }
        Ok(())
    }

    fn into_state(groups: Vec<Self>) -> Result<Vec<ArrayRef>> {
        let values = |mut sample: Sample| if SORTED { sample.sorted() } else { std::mem::take(sample.whole()) };
        let both = |samples: Self| (values(samples.reference), values(samples.current));
        let (references, currents) = groups.into_iter().map(both).unzip::<_, _, Vec<_>, Vec<_>>();
        [references, currents].into_iter().map(number_lists).collect()
    }

    fn heap_bytes(&self) -> usize {
        self.reference.heap_bytes() + self.current.heap_bytes()
    }
}

/// A list a group; the values of one group are not copied.
fn number_lists(mut groups: Vec<Vec<f64>>) -> Result<ArrayRef> {
    let lengths: Vec<usize> = groups.iter().map(Vec::len).collect();
    let values = if groups.len() == 1 { groups.pop().unwrap_or_default() } else { groups.concat() };
    lists(Arc::new(Float64Array::from(values)), lengths.into_iter())
}

fn numbers_and_sides(values: &[ArrayRef]) -> (&Float64Array, &BooleanArray) {
    (values[0].as_primitive::<Float64Type>(), values[1].as_boolean())
}

#[inline]
fn each_number(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, mut add: impl FnMut(usize, f64, bool)) {
    let (numbers, sides) = numbers_and_sides(values);
    for (row, group) in rows {
        if numbers.is_valid(row) && sides.is_valid(row) {
            add(group, numbers.value(row), sides.value(row));
        }
    }
}

/// The moments of two samples. Infinities have none and count nowhere.
#[derive(Debug, Default)]
pub(super) struct TwoMoments {
    pub(super) reference: Moments,
    pub(super) current: Moments,
}

impl Collection for TwoMoments {
    fn fields() -> Vec<(&'static str, DataType)> {
        vec![
            ("n_reference", DataType::Int64),
            ("mean_reference", DataType::Float64),
            ("squares_reference", DataType::Float64),
            ("n_current", DataType::Int64),
            ("mean_current", DataType::Float64),
            ("squares_current", DataType::Float64),
        ]
    }

    fn add(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        each_number(values, rows, |group, number, is_current| {
            if number.is_finite() {
                let moments = &mut groups[group];
                let side = if is_current { &mut moments.current } else { &mut moments.reference };
                side.add(number);
            }
        });
        Ok(())
    }

    fn merge(states: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        let side = |first: usize, row: usize| Moments {
            count: states[first].as_primitive::<Int64Type>().value(row) as u64,
            mean: states[first + 1].as_primitive::<Float64Type>().value(row),
            squares: states[first + 2].as_primitive::<Float64Type>().value(row),
        };
        for (row, group) in rows {
            groups[group].reference.merge(&side(0, row));
            groups[group].current.merge(&side(3, row));
        }
        Ok(())
    }

    fn into_state(groups: Vec<Self>) -> Result<Vec<ArrayRef>> {
        let sides: [fn(&Self) -> &Moments; 2] = [|groups| &groups.reference, |groups| &groups.current];
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(6);
        for side in sides {
            let moments = || groups.iter().map(side);
            columns.push(Arc::new(Int64Array::from_iter_values(moments().map(|moments| moments.count as i64))));
            columns.push(Arc::new(Float64Array::from_iter_values(moments().map(|moments| moments.mean))));
            columns.push(Arc::new(Float64Array::from_iter_values(moments().map(|moments| moments.squares))));
        }
        Ok(columns)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The values of samples that have names.
#[derive(Debug, Default)]
pub(super) struct NamedSamples {
    pub(super) samples: BTreeMap<String, Vec<f64>>,
}

impl NamedSamples {
    /// Most samples that are compared at once: the time grows with values times samples.
    const SAMPLES_MAX: usize = 100;

    fn sample(&mut self, name: &str) -> Result<&mut Vec<f64>> {
        if !self.samples.contains_key(name) {
            if self.samples.len() == Self::SAMPLES_MAX {
                return exec_err!(
                    "anderson_darling_test compares at most {} samples; the second argument has more values",
                    Self::SAMPLES_MAX
                );
            }
            self.samples.insert(name.to_owned(), Vec::new());
        }
        Ok(self.samples.entry(name.to_owned()).or_default())
    }
}

impl Collection for NamedSamples {
    fn fields() -> Vec<(&'static str, DataType)> {
        vec![
            ("sample", list_type(DataType::Utf8)),
            ("n", list_type(DataType::Int64)),
            ("values", list_type(DataType::Float64)),
        ]
    }

    fn add(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        let (numbers, names) = (values[0].as_primitive::<Float64Type>(), Texts::of(&values[1])?);
        for (row, group) in rows {
            let (true, Some(name)) = (numbers.is_valid(row), names.at(row)) else { continue };
            let number = numbers.value(row);
            if number.is_nan() {
                continue;
            }
            // Found by a borrowed name: rows of one sample are many.
            match groups[group].samples.get_mut(name) {
                Some(sample) => sample.push(number),
                None => groups[group].sample(name)?.push(number),
            }
        }
        Ok(())
    }

    fn merge(states: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        for (row, group) in rows {
            let (names, lengths, values) = (items(&states[0], row), items(&states[1], row), items(&states[2], row));
            let mut rest = values.as_primitive::<Float64Type>().values().as_ref();
            let lengths = lengths.as_primitive::<Int64Type>().values();
            for (name, length) in names.as_string::<i32>().iter().zip(lengths) {
                let (sample, others) = rest.split_at(*length as usize);
                groups[group].sample(name.unwrap_or_default())?.extend_from_slice(sample);
                rest = others;
            }
        }
        Ok(())
    }

    fn into_state(groups: Vec<Self>) -> Result<Vec<ArrayRef>> {
        let counts: Vec<usize> = groups.iter().map(|group| group.samples.len()).collect();
        let totals: Vec<usize> = groups.iter().map(|group| group.samples.values().map(Vec::len).sum()).collect();
        let (mut names, mut lengths) = (Vec::new(), Vec::new());
        let mut values = Vec::with_capacity(totals.iter().sum());
        for (name, mut sample) in groups.into_iter().flat_map(|group| group.samples) {
            sort_part(&mut sample);
            names.push(name);
            lengths.push(sample.len() as i64);
            values.extend(sample);
        }
        Ok(vec![
            lists(Arc::new(StringArray::from(names)), counts.iter().copied())?,
            lists(Arc::new(Int64Array::from(lengths)), counts.iter().copied())?,
            lists(Arc::new(Float64Array::from(values)), totals.into_iter())?,
        ])
    }

    fn heap_bytes(&self) -> usize {
        let entry = size_of::<(String, Vec<f64>)>();
        let longest = self.samples.values().map(Vec::len).max().unwrap_or_default();
        let values: usize = self.samples.values().map(Vec::capacity).sum();
        let names: usize = self.samples.keys().map(|name| name.capacity() + entry).sum();
        // The test copies the samples, to sort them, and sorting takes one again.
        names + (2 * values + longest) * size_of::<f64>()
    }
}
