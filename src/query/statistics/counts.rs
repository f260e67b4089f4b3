//! Categories, counted. What is null counts nowhere. Memory grows with the number of categories, not of rows.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray, StringViewArray},
    datatypes::{DataType, Int64Type},
};
use datafusion::common::{Result, exec_err};

use super::groups::{Collection, items, list_type, lists};

/// A column of categories: texts in either form that a column has, or flags, which are written as SQL writes them.
pub(super) enum Texts<'a> {
    Flags(&'a BooleanArray),
    Offsets(&'a StringArray),
    Views(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Boolean => Ok(Self::Flags(array.as_boolean())),
            DataType::Utf8 => Ok(Self::Offsets(array.as_string())),
            DataType::Utf8View => Ok(Self::Views(array.as_string_view())),
            other => exec_err!("a category is a text, not {other}"),
        }
    }

    #[inline]
    pub(super) fn at(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Flags(array) => array.is_valid(row).then(|| if array.value(row) { "true" } else { "false" }),
            Self::Offsets(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Views(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

/// How often each category stands in either sample: `(reference, current)`.
#[derive(Debug, Default)]
pub(super) struct Counts {
    categories: HashMap<String, (u64, u64)>,
    text_bytes: usize,
}

impl Counts {
    #[inline]
    fn count(&mut self, category: &str, reference: u64, current: u64) {
        if let Some(counts) = self.categories.get_mut(category) {
            counts.0 = counts.0.saturating_add(reference);
            counts.1 = counts.1.saturating_add(current);
        } else {
            self.text_bytes += category.len();
            self.categories.insert(category.to_owned(), (reference, current));
        }
    }

    /// In the order of the categories, so that equal data gives equal sums to the last bit.
    pub(super) fn sorted(&self) -> Vec<(u64, u64)> {
        let mut counts: Vec<_> = self.categories.iter().collect();
        counts.sort_unstable();
        counts.into_iter().map(|(_, counts)| *counts).collect()
    }

    /// The counts of one category.
    pub(super) fn of(&self, category: &str) -> (u64, u64) {
        self.categories.get(category).copied().unwrap_or_default()
    }
}

impl Collection for Counts {
    fn fields() -> Vec<(&'static str, DataType)> {
        vec![
            ("category", list_type(DataType::Utf8)),
            ("reference", list_type(DataType::Int64)),
            ("current", list_type(DataType::Int64)),
        ]
    }

    fn add(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        let (categories, sides) = (Texts::of(&values[0])?, values[1].as_boolean());
        for (row, group) in rows {
            if let (Some(category), true) = (categories.at(row), sides.is_valid(row)) {
                let is_current = sides.value(row);
                groups[group].count(category, u64::from(!is_current), u64::from(is_current));
            }
        }
        Ok(())
    }

    fn merge(states: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        for (row, group) in rows {
            let (names, references, currents) =
                (items(&states[0], row), items(&states[1], row), items(&states[2], row));
            let counts = references.as_primitive::<Int64Type>().values().iter();
            let counts = counts.zip(currents.as_primitive::<Int64Type>().values());
            for (name, (reference, current)) in names.as_string::<i32>().iter().zip(counts) {
                groups[group].count(name.unwrap_or_default(), *reference as u64, *current as u64);
            }
        }
        Ok(())
    }

    fn into_state(groups: Vec<Self>) -> Result<Vec<ArrayRef>> {
        let lengths: Vec<usize> = groups.iter().map(|group| group.categories.len()).collect();
        let (mut names, mut references, mut currents) = (Vec::new(), Vec::new(), Vec::new());
        for (name, (reference, current)) in groups.into_iter().flat_map(|group| group.categories) {
            names.push(name);
            references.push(reference as i64);
            currents.push(current as i64);
        }
        Ok(vec![
            lists(Arc::new(StringArray::from(names)), lengths.iter().copied())?,
            lists(Arc::new(Int64Array::from(references)), lengths.iter().copied())?,
            lists(Arc::new(Int64Array::from(currents)), lengths.iter().copied())?,
        ])
    }

    fn heap_bytes(&self) -> usize {
        self.text_bytes + self.categories.capacity() * size_of::<(String, (u64, u64))>()
    }
}

/// How often two categories stand together.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// By the first, then by the second.
    pairs: HashMap<String, HashMap<String, u64>>,
    heap_bytes: usize,
}

impl Pairs {
    fn count(&mut self, one: &str, other: &str, count: u64) {
        if let Some(found) = self.pairs.get_mut(one).and_then(|others| others.get_mut(other)) {
            *found = found.saturating_add(count);
            return;
        }
        let others = self.pairs.entry(one.to_owned()).or_insert_with(|| {
            self.heap_bytes += 2 * size_of::<(String, HashMap<String, u64>)>() + one.len();
            HashMap::new()
        });
        self.heap_bytes += 2 * size_of::<(String, u64)>() + other.len();
        others.insert(other.to_owned(), count);
    }

    /// The cells of the table that are not empty: row, column and count, both numbered in the order of their names.
    pub(super) fn cells(&self) -> Vec<(usize, usize, u64)> {
        let mut rows: Vec<_> = self.pairs.iter().collect();
        rows.sort_unstable_by_key(|(name, _)| name.as_str());
        let mut columns: Vec<&str> = self.pairs.values().flat_map(|others| others.keys().map(String::as_str)).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut cells = Vec::new();
        for (row, (_, others)) in rows.into_iter().enumerate() {
            let mut others: Vec<_> = others.iter().collect();
            others.sort_unstable();
            for (name, count) in others {
                if let Ok(column) = columns.binary_search(&name.as_str()) {
                    cells.push((row, column, *count));
                }
            }
        }
        cells
    }
}

impl Collection for Pairs {
    fn fields() -> Vec<(&'static str, DataType)> {
        vec![
            ("one", list_type(DataType::Utf8)),
            ("other", list_type(DataType::Utf8)),
            ("n", list_type(DataType::Int64)),
        ]
    }

    fn add(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        let (ones, others) = (Texts::of(&values[0])?, Texts::of(&values[1])?);
        for (row, group) in rows {
            if let (Some(one), Some(other)) = (ones.at(row), others.at(row)) {
                groups[group].count(one, other, 1);
            }
        }
        Ok(())
    }

    fn merge(states: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: &mut [Self]) -> Result<()> {
        for (row, group) in rows {
            let (ones, others, counts) = (items(&states[0], row), items(&states[1], row), items(&states[2], row));
            let names = ones.as_string::<i32>().iter().zip(others.as_string::<i32>());
            for ((one, other), count) in names.zip(counts.as_primitive::<Int64Type>().values()) {
                groups[group].count(one.unwrap_or_default(), other.unwrap_or_default(), *count as u64);
            }
        }
        Ok(())
    }

    fn into_state(groups: Vec<Self>) -> Result<Vec<ArrayRef>> {
        let lengths: Vec<usize> = groups.iter().map(|group| group.pairs.values().map(HashMap::len).sum()).collect();
        let (mut ones, mut others, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (one, row) in groups.into_iter().flat_map(|group| group.pairs) {
            for (other, count) in row {
                ones.push(one.clone());
                others.push(other);
                counts.push(count as i64);
            }
        }
        Ok(vec![
            lists(Arc::new(StringArray::from(ones)), lengths.iter().copied())?,
            lists(Arc::new(StringArray::from(others)), lengths.iter().copied())?,
            lists(Arc::new(Int64Array::from(counts)), lengths.iter().copied())?,
        ])
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}
