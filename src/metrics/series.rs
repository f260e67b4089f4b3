//! The series of one family: label sets to slots, slots to cumulative cells, bounded.
//!
//! A label set gets a slot once and keeps it for good, because a counter that vanishes and comes
//! back reads as a reset. So there is a limit: past it, every new set shares [`OTHER_SLOT`]. This
//! file never knows what a value means, only that it must be finite and not negative.

use std::borrow::Cow;
use std::collections::HashMap;

use super::families::{BOUNDS_MAX, FamilySpec, VARIANTS_MAX};
use super::hash::FastHash;
use super::model::{Exemplar, Family, Histogram, Sample, TRACE_ID_BYTES_MAX, Value};
use super::totals::{CellTotals, Exact, FamilyTotals, SeriesTotals};

/// The value of every free label in the series that takes the overflow.
pub(super) const OTHER: &str = "__other__";

/// Longest label value, in bytes; the rest is cut off.
pub(super) const LABEL_BYTES_MAX: usize = 128;

/// All series of one family.
#[derive(Debug)]
pub(super) struct Series<C> {
    pub(super) spec: &'static FamilySpec,
    pub(super) slots: Slots,
    pub(super) skipped_values: u64,
    cells: Vec<C>,
}

impl<C: Cell> Series<C> {
    pub(super) fn new(spec: &'static FamilySpec, label_sets_max: usize) -> Self {
        Self {
            spec,
            slots: Slots::new(spec.free_labels().count(), label_sets_max),
            skipped_values: 0,
            cells: vec![C::default()],
        }
    }

    /// The family with one sample per series that has a value.
    pub(super) fn family(&self) -> Family {
        let mut family = Family::new(self.spec.name, self.spec.kind, self.spec.help);
        for (labels, cell) in self.slots.labels.iter().zip(&self.cells) {
            for (variant, value, exemplars) in cell.values(self.spec) {
                let labels = named_labels(self.spec, labels, variant);
                family.samples.push(Sample { labels, value, exemplars });
            }
        }
        family
    }

    pub(super) fn totals(&self) -> FamilyTotals {
        let mut series: Vec<SeriesTotals> = self
            .slots
            .labels
            .iter()
            .zip(&self.cells)
            .enumerate()
            .filter(|(slot, (_, cell))| *slot != OTHER_SLOT || !cell.is_empty())
            .map(|(_, (labels, cell))| SeriesTotals {
                labels: labels.iter().map(|label| label.to_string()).collect(),
                value: cell.totals(self.spec),
            })
            .collect();
        series.sort_by(|left, right| left.labels.cmp(&right.labels));
        FamilyTotals {
            name: self.spec.name.to_owned(),
            labels: self.spec.free_labels().map(str::to_owned).collect(),
            bounds: self.spec.bounds.iter().copied().map(Exact).collect(),
            overflow_rows: self.slots.overflow_rows,
            skipped_values: self.skipped_values,
            series,
        }
    }

    /// Fills an empty family. Every saved label set keeps its series, even above the limit.
    pub(super) fn restore(&mut self, totals: FamilyTotals) -> Result<(), String> {
        totals.check_shape(self.spec)?;
        self.slots.overflow_rows = totals.overflow_rows;
        self.skipped_values = totals.skipped_values;
        for SeriesTotals { labels, value } in totals.series {
            let slot = self.slots.insert(&labels);
            self.cells.resize_with(self.slots.len(), C::default);
            self.cells[slot] =
                C::restore(self.spec, value).map_err(|reason| format!("{} {labels:?}: {reason}", self.spec.name))?;
        }
        Ok(())
    }

    /// Passes on a value that may be added, counts one that may not.
    fn accept(&mut self, value: Option<f64>) -> Option<f64> {
        let value = value?;
        let storable = value.is_finite() && value >= 0.0;
        self.skipped_values += u64::from(!storable);
        storable.then_some(value)
    }

    /// The cell of a row. `memo` spares the next row with these labels the lookup.
    fn cell<'l, const L: usize>(&mut self, memo: &mut Option<u32>, labels: impl FnOnce() -> [&'l str; L]) -> &mut C {
        let slot = self.slots.of_row(memo, labels);
        if slot >= self.cells.len() {
            self.cells.resize_with(slot + 1, C::default);
        }
        &mut self.cells[slot]
    }
}

impl Series<CounterCell> {
    /// Adds one row's amounts, by the position of the fixed label's value.
    pub(super) fn add<'l, const L: usize, const N: usize>(
        &mut self,
        memo: &mut Option<u32>,
        labels: impl FnOnce() -> [&'l str; L],
        mut amounts: [Option<f64>; N],
        trace: Option<Trace>,
    ) {
        for amount in &mut amounts {
            *amount = self.accept(*amount);
        }
        if amounts.iter().all(Option::is_none) {
            return;
        }
        let cell = self.cell(memo, labels);
        for (variant, amount) in amounts.into_iter().enumerate() {
            if let Some(amount) = amount {
                cell.grow(variant, amount, trace);
            }
        }
    }

    /// Counts one row under one value of the fixed label.
    pub(super) fn count<'l, const L: usize>(
        &mut self,
        memo: &mut Option<u32>,
        labels: impl FnOnce() -> [&'l str; L],
        variant: usize,
        trace: Option<Trace>,
    ) {
        self.cell(memo, labels).grow(variant, 1.0, trace);
    }
}

impl Series<HistogramCell> {
    /// Counts one row's value into its bucket.
    pub(super) fn observe<'l, const L: usize>(
        &mut self,
        memo: &mut Option<u32>,
        labels: impl FnOnce() -> [&'l str; L],
        value: Option<f64>,
        trace: Option<Trace>,
    ) {
        let Some(value) = self.accept(value) else {
            return;
        };
        let bounds = self.spec.bounds;
        let cell = self.cell(memo, labels);
        // Counting beats searching at eight bounds: no branch to mispredict.
        let bucket: usize = bounds.iter().map(|bound| usize::from(value > *bound)).sum();
        cell.counts[bucket] += 1;
        cell.sum = grown(cell.sum, value);
        cell.exemplars.offer(bucket, value, trace);
    }
}

/// The trace that a row belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace<'a> {
    trace_id: &'a str,
    at_us: i64,
}

impl<'a> Trace<'a> {
    /// `None` where the id is empty or too long to be shown.
    pub(super) fn new(trace_id: &'a str, at_us: i64) -> Option<Self> {
        let fits = !trace_id.is_empty() && trace_id.len() <= TRACE_ID_BYTES_MAX;
        fits.then_some(Self { trace_id, at_us })
    }
}

/// The newest traced row per position of a cell. Not saved: after a start the next rows bring new ones.
#[derive(Debug, Default)]
struct Exemplars(Vec<Option<Exemplar>>);

impl Exemplars {
    /// Takes the row's trace where it is newer than the one at `position`.
    fn offer(&mut self, position: usize, value: f64, trace: Option<Trace>) {
        let Some(Trace { trace_id, at_us }) = trace else { return };
        if self.0.len() <= position {
            self.0.resize(position + 1, None);
        }
        match &mut self.0[position] {
            Some(kept) if kept.at_us >= at_us => (),
            // The text's memory is used again: a row costs a copy of its id.
            Some(kept) => {
                kept.trace_id.clear();
                kept.trace_id.push_str(trace_id);
                (kept.value, kept.at_us) = (value, at_us);
            }
            empty => *empty = Some(Exemplar { trace_id: trace_id.to_owned(), value, at_us }),
        }
    }

    /// The one at `position`, alone.
    fn only(&self, position: usize) -> Vec<Option<Exemplar>> {
        match self.0.get(position) {
            Some(Some(exemplar)) => vec![Some(exemplar.clone())],
            _ => Vec::new(),
        }
    }
}

/// Cumulative state of one label set.
pub(super) trait Cell: Default {
    /// The values to show, each with its value of the fixed label and its exemplars.
    fn values(&self, spec: &FamilySpec) -> Vec<(&'static str, Value, Vec<Option<Exemplar>>)>;
    fn is_empty(&self) -> bool;
    fn totals(&self, spec: &FamilySpec) -> CellTotals;
    fn restore(spec: &FamilySpec, totals: CellTotals) -> Result<Self, String>;
}

/// One number per value of the fixed label; `None` until the first row.
#[derive(Debug, Default)]
pub(super) struct CounterCell {
    values: [Option<f64>; VARIANTS_MAX],
    exemplars: Exemplars,
}

impl CounterCell {
    fn grow(&mut self, variant: usize, amount: f64, trace: Option<Trace>) {
        let value = &mut self.values[variant];
        *value = Some(grown(value.unwrap_or(0.0), amount));
        self.exemplars.offer(variant, amount, trace);
    }

    fn present(&self, spec: &FamilySpec) -> impl Iterator<Item = (&'static str, f64)> {
        let variants = spec.variants().iter().copied();
        variants.zip(self.values).filter_map(|(variant, value)| Some((variant, value?)))
    }
}

impl Cell for CounterCell {
    fn values(&self, spec: &FamilySpec) -> Vec<(&'static str, Value, Vec<Option<Exemplar>>)> {
        let variants = spec.variants().iter().zip(self.values).enumerate();
        variants
            .filter_map(|(position, (variant, value))| {
                Some((*variant, Value::Number(value?), self.exemplars.only(position)))
            })
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    fn totals(&self, spec: &FamilySpec) -> CellTotals {
        CellTotals::Counter(self.present(spec).map(|(variant, value)| (variant.to_owned(), Exact(value))).collect())
    }

    fn restore(spec: &FamilySpec, totals: CellTotals) -> Result<Self, String> {
        let CellTotals::Counter(values) = totals else {
            return Err("not a counter".to_owned());
        };
        let mut cell = Self::default();
        for (variant, value) in values {
            let position = spec
                .variants()
                .iter()
                .position(|known| *known == variant)
                .ok_or_else(|| format!("unknown value {variant:?}"))?;
            cell.values[position] = Some(value.storable()?);
        }
        Ok(cell)
    }
}

/// Observations per bucket, not cumulative, and their sum.
#[derive(Debug, Default)]
pub(super) struct HistogramCell {
    counts: [u64; BOUNDS_MAX + 1],
    sum: f64,
    exemplars: Exemplars,
}

impl Cell for HistogramCell {
    fn values(&self, spec: &FamilySpec) -> Vec<(&'static str, Value, Vec<Option<Exemplar>>)> {
        if self.is_empty() {
            return Vec::new();
        }
        let histogram =
            Histogram { bounds: spec.bounds, counts: self.counts[..=spec.bounds.len()].to_vec(), sum: self.sum };
        vec![("", Value::Histogram(histogram), self.exemplars.0.clone())]
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    fn totals(&self, spec: &FamilySpec) -> CellTotals {
        CellTotals::Histogram { buckets: self.counts[..=spec.bounds.len()].to_vec(), sum: Exact(self.sum) }
    }

    fn restore(spec: &FamilySpec, totals: CellTotals) -> Result<Self, String> {
        let CellTotals::Histogram { buckets, sum } = totals else {
            return Err("not a histogram".to_owned());
        };
        if buckets.len() != spec.bounds.len() + 1 {
            return Err(format!("{} buckets", buckets.len()));
        }
        let mut cell = Self { sum: sum.storable()?, ..Self::default() };
        cell.counts[..buckets.len()].copy_from_slice(&buckets);
        Ok(cell)
    }
}

/// The slot of every label set past the limit, and of a row that says so itself.
pub(super) const OTHER_SLOT: usize = 0;

/// Label sets to dense slots, with a limit.
#[derive(Debug)]
pub(super) struct Slots {
    /// By [`label_key`].
    by_key: HashMap<Box<[u8]>, u32, FastHash>,
    /// By slot: the free labels' values.
    pub(super) labels: Vec<Box<[Box<str>]>>,
    pub(super) overflow_rows: u64,
    label_sets_max: usize,
    scratch: Vec<u8>,
}

impl Slots {
    pub(super) fn new(label_count: usize, label_sets_max: usize) -> Self {
        let mut slots = Self {
            by_key: HashMap::default(),
            labels: Vec::new(),
            overflow_rows: 0,
            label_sets_max,
            scratch: Vec::new(),
        };
        let other = slots.insert(&vec![OTHER; label_count]);
        debug_assert_eq!(other, OTHER_SLOT);
        slots
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The slot of a row, which counts as overflow where it has none of its own.
    pub(super) fn of_row<'l, const L: usize>(
        &mut self,
        memo: &mut Option<u32>,
        labels: impl FnOnce() -> [&'l str; L],
    ) -> usize {
        let slot = match *memo {
            Some(slot) => slot as usize,
            None => {
                let slot = self.resolve(&labels());
                *memo = Some(slot as u32);
                slot
            }
        };
        self.overflow_rows += u64::from(slot == OTHER_SLOT);
        slot
    }

    /// The slot of a label set; a new one while there is room.
    pub(super) fn resolve(&mut self, labels: &[&str]) -> usize {
        label_key(&mut self.scratch, labels);
        if let Some(slot) = self.by_key.get(self.scratch.as_slice()) {
            return *slot as usize;
        }
        // The slot for the overflow is not one of the label sets.
        if self.labels.len() > self.label_sets_max {
            return OTHER_SLOT;
        }
        self.insert(labels)
    }

    /// The slot of a label set, whatever the limit.
    pub(super) fn insert<S: AsRef<str>>(&mut self, labels: &[S]) -> usize {
        label_key(&mut self.scratch, labels);
        if let Some(slot) = self.by_key.get(self.scratch.as_slice()) {
            return *slot as usize;
        }
        let slot = self.labels.len();
        self.by_key
            .insert(self.scratch.as_slice().into(), u32::try_from(slot).expect("label sets are bounded far below u32"));
        self.labels.push(labels.iter().map(|label| clip_label(label.as_ref()).into()).collect());
        slot
    }
}

/// Writes label values, clipped, as one key. 0xFF is in no UTF-8 text, so two sets never share a key.
fn label_key<S: AsRef<str>>(key: &mut Vec<u8>, labels: &[S]) {
    key.clear();
    for label in labels {
        key.extend_from_slice(clip_label(label.as_ref()).as_bytes());
        key.push(0xff);
    }
}

/// The leading part of a label value that is kept.
pub(super) fn clip_label(value: &str) -> &str {
    if value.len() <= LABEL_BYTES_MAX {
        return value;
    }
    &value[..value.floor_char_boundary(LABEL_BYTES_MAX)]
}

/// Free labels and the fixed one, in the order of the list.
pub(super) fn named_labels(spec: &FamilySpec, free: &[Box<str>], variant: &str) -> Vec<(Cow<'static, str>, String)> {
    let fixed = spec.fixed.as_ref().map(|fixed| fixed.label);
    let mut free = free.iter();
    spec.labels
        .iter()
        .map(|label| {
            let value =
                if Some(*label) == fixed { variant } else { free.next().expect("a slot has a value per free label") };
            (Cow::Borrowed(*label), value.to_owned())
        })
        .collect()
}

/// A sum that neither shrinks nor leaves the finite numbers.
fn grown(sum: f64, amount: f64) -> f64 {
    (sum + amount).min(f64::MAX)
}
