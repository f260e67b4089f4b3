//! The aggregates that build sketches from values and merge sketches into one.
//!
//! Their states are the sketches' bytes, so partial and final aggregation, spilling and stored columns
//! are all one merge. Rows with a null count nowhere.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, StringArray, StringViewArray},
    datatypes::{DataType, Field, FieldRef, Float64Type, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, not_impl_err, plan_err, resources_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
    physical_expr::expressions::Literal,
};

use super::{Blobs, binary_type, number_type, refused};
use crate::sketch::{Buckets, DistinctSketch, Histogram, MinuteSketch, QuantileSketch, Sketch};

/// The aggregates that make sketches.
pub fn aggregates() -> Vec<AggregateUDF> {
    use {Input::*, Of::*};
    let aggregates = [
        ("quantile_sketch", Quantiles, Values),
        ("quantile_sketch_merge", Quantiles, Sketches),
        ("histogram_sketch", Counts, Values),
        ("histogram_sketch_merge", Counts, Sketches),
        ("distinct_sketch", Distinct, Values),
        ("distinct_sketch_merge", Distinct, Sketches),
        ("minute_sketch", Minutes, Values),
        ("minute_sketch_merge", Minutes, Sketches),
    ];
    aggregates.into_iter().map(|(name, of, input)| AggregateUDF::from(SketchAggregate::new(name, of, input))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Quantiles,
    Counts,
    Distinct,
    Minutes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Input {
    Values,
    Sketches,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SketchAggregate {
    name: &'static str,
    of: Of,
    input: Input,
    signature: Signature,
}

impl SketchAggregate {
    fn new(name: &'static str, of: Of, input: Input) -> Self {
        Self { name, of, input, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// What a group without values answers; a merge of no histograms does not know their boundaries.
    fn of_nothing(&self, args: &AccumulatorArgs) -> Result<Nothing> {
        Ok(match (self.of, self.input) {
            (Of::Quantiles, _) => Nothing::Quantiles(QuantileSketch::new()),
            (Of::Distinct, _) => Nothing::Distinct(DistinctSketch::new()),
            (Of::Minutes, _) => Nothing::Minutes(MinuteSketch::new()),
            (Of::Counts, Input::Values) => Nothing::Counts(Some(Histogram::new(self.buckets(args)?))),
            (Of::Counts, Input::Sketches) => Nothing::Counts(None),
        })
    }

    fn buckets(&self, args: &AccumulatorArgs) -> Result<Buckets> {
        let literal = args.exprs.get(1).and_then(|argument| argument.downcast_ref::<Literal>());
        let name = literal.and_then(|literal| literal.value().try_as_str().flatten());
        match name.and_then(Buckets::named) {
            Some(buckets) => Ok(buckets),
            None => {
                let names = Buckets::ALL.map(Buckets::name).join("', '");
                plan_err!("{} takes (value, boundaries), the boundaries being one of '{names}'", self.name)
            }
        }
    }
}

/// An empty sketch of one of the kinds.
enum Nothing {
    Quantiles(QuantileSketch),
    Counts(Option<Histogram>),
    Distinct(DistinctSketch),
    Minutes(MinuteSketch),
}

impl AggregateUDFImpl for SketchAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match (self.input, self.of, given) {
            (Input::Sketches, _, [sketch]) => Ok(vec![binary_type(self.name, sketch)?]),
            (Input::Values, Of::Quantiles, [value]) => Ok(vec![number_type(self.name, value)?]),
            (Input::Values, Of::Counts, [value, _]) => Ok(vec![number_type(self.name, value)?, DataType::Utf8]),
            (Input::Values, Of::Distinct, [value]) => Ok(vec![match value {
                DataType::Utf8 | DataType::Utf8View => value.clone(),
                value if value.is_nested() => return plan_err!("{} takes what can be written as text", self.name),
                _ => DataType::Utf8,
            }]),
            (Input::Values, Of::Minutes, [_, _]) => {
                Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, None), DataType::Boolean])
            }
            (Input::Values, Of::Counts, _) => plan_err!("{} takes (value, boundaries)", self.name),
            (Input::Values, Of::Minutes, _) => plan_err!("{} takes (time, flag)", self.name),
            _ => plan_err!("{} takes one argument", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sketch]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct && self.of != Of::Distinct {
            return not_impl_err!("{} counts every value; distinct is not for it", self.name);
        }
        Ok(match self.of_nothing(&args)? {
            Nothing::Quantiles(nothing) => Box::new(Single(Groups::new(Some(nothing), self.input))),
            Nothing::Counts(nothing) => Box::new(Single(Groups::new(nothing, self.input))),
            Nothing::Distinct(nothing) => Box::new(Single(Groups::new(Some(nothing), self.input))),
            Nothing::Minutes(nothing) => Box::new(Single(Groups::new(Some(nothing), self.input))),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct || self.of == Of::Distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match self.of_nothing(&args)? {
            Nothing::Quantiles(nothing) => Box::new(Groups::new(Some(nothing), self.input)),
            Nothing::Counts(nothing) => Box::new(Groups::new(nothing, self.input)),
            Nothing::Distinct(nothing) => Box::new(Groups::new(Some(nothing), self.input)),
            Nothing::Minutes(nothing) => Box::new(Groups::new(Some(nothing), self.input)),
        })
    }
}

/// A sketch that knows how to take its values out of columns.
trait Built: Sketch + Clone + Send + 'static {
    /// Adds rows to the groups that they belong to; a group's first value makes its sketch.
    fn add_rows(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: Filled<Self>) -> Result<()>;
}

/// The groups while values are added to them.
struct Filled<'a, S> {
    nothing: &'a S,
    groups: &'a mut [Option<S>],
}

impl<S: Built> Filled<'_, S> {
    #[inline]
    fn at(&mut self, group: usize) -> &mut S {
        self.groups[group].get_or_insert_with(|| self.nothing.clone())
    }

    fn add_numbers(
        mut self,
        numbers: &ArrayRef,
        rows: impl Iterator<Item = (usize, usize)>,
        add: impl Fn(&mut S, f64),
    ) -> Result<()> {
        let numbers = numbers.as_primitive::<Float64Type>();
        for (row, group) in rows {
            if numbers.is_valid(row) {
                add(self.at(group), numbers.value(row));
            }
        }
        Ok(())
    }
}

impl Built for QuantileSketch {
    fn add_rows(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: Filled<Self>) -> Result<()> {
        groups.add_numbers(&values[0], rows, Self::add)
    }
}

impl Built for Histogram {
    fn add_rows(values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, groups: Filled<Self>) -> Result<()> {
        groups.add_numbers(&values[0], rows, Self::add)
    }
}

impl Built for DistinctSketch {
    fn add_rows(
        values: &[ArrayRef],
        rows: impl Iterator<Item = (usize, usize)>,
        mut groups: Filled<Self>,
    ) -> Result<()> {
        let texts = Texts::of(&values[0])?;
        for (row, group) in rows {
            if let Some(text) = texts.at(row) {
                groups.at(group).add(text);
            }
        }
        Ok(())
    }
}

impl Built for MinuteSketch {
    fn add_rows(
        values: &[ArrayRef],
        rows: impl Iterator<Item = (usize, usize)>,
        mut groups: Filled<Self>,
    ) -> Result<()> {
        let (times, flags) = (values[0].as_primitive::<TimestampMicrosecondType>(), values[1].as_boolean());
        for (row, group) in rows {
            if times.is_valid(row) {
                groups.at(group).add(times.value(row), kept(flags, row));
            }
        }
        Ok(())
    }
}

/// A sketch a group.
struct Groups<S> {
    /// What a group without values answers; null if that is not known.
    nothing: Option<S>,
    input: Input,
    groups: Vec<Option<S>>,
    /// Memory of the groups' sketches when it was last counted.
    heap_bytes: usize,
    /// Rows since then. Counting takes a step a group, so it is done once in so many rows as there are groups.
    rows_uncounted: usize,
}

impl<S: Built> Groups<S> {
    fn new(nothing: Option<S>, input: Input) -> Self {
        Self { nothing, input, groups: Vec::new(), heap_bytes: 0, rows_uncounted: 0 }
    }

    fn update(&mut self, values: &[ArrayRef], rows: impl Iterator<Item = (usize, usize)>, total: usize) -> Result<()> {
        let (Input::Values, Some(nothing)) = (self.input, &self.nothing) else {
            return self.merge(&values[0], rows, total);
        };
        self.groups.resize_with(total.max(self.groups.len()), || None);
        S::add_rows(values, rows, Filled { nothing, groups: &mut self.groups })?;
        self.count_memory(values[0].len());
        Ok(())
    }

    fn merge(&mut self, sketches: &ArrayRef, rows: impl Iterator<Item = (usize, usize)>, total: usize) -> Result<()> {
        self.groups.resize_with(total.max(self.groups.len()), || None);
        let blobs = Blobs::of(sketches)?;
        for (row, index) in rows {
            let Some(bytes) = blobs.at(row) else { continue };
            match &mut self.groups[index] {
                Some(sketch) => sketch.merge_encoded(bytes).map_err(refused)?,
                none => *none = Some(S::decode(bytes).map_err(refused)?),
            }
        }
        self.count_memory(sketches.len());
        Ok(())
    }

    fn count_memory(&mut self, rows: usize) {
        self.rows_uncounted += rows;
        if self.rows_uncounted >= self.groups.len() {
            self.heap_bytes = self.groups.iter().flatten().map(Sketch::heap_bytes).sum();
            self.rows_uncounted = 0;
        }
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = emit_to.take_needed(&mut self.groups);
        let mut array = SketchBuilder::new(emitted.len());
        for sketch in &emitted {
            array.push(sketch.as_ref().or(self.nothing.as_ref()))?;
        }
        self.rows_uncounted = self.groups.len();
        self.count_memory(0);
        Ok(array.finish())
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.groups.capacity() * size_of::<Option<S>>() + self.heap_bytes
    }
}

impl<S: Built> GroupsAccumulator for Groups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let rows = group_indices.iter().copied().enumerate();
        match filter {
            None => self.update(values, rows, total_num_groups),
            Some(filter) => self.update(values, rows.filter(|(row, _)| kept(filter, *row)), total_num_groups),
        }
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.merge(&values[0], group_indices.iter().copied().enumerate(), total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    /// Every row a group of its own.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows: Vec<usize> = (0..values[0].len()).collect();
        let mut single = Self::new(self.nothing.clone(), self.input);
        single.update_batch(values, &rows, filter, rows.len())?;
        single.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.memory_bytes()
    }
}

/// The aggregate without groups: one group.
struct Single<S>(Groups<S>);

impl<S: std::fmt::Debug> std::fmt::Debug for Single<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Single").field(&self.0.groups).finish()
    }
}

impl<S: Built + std::fmt::Debug + Sync> Accumulator for Single<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update(values, (0..values[0].len()).map(|row| (row, 0)), 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(&states[0], (0..states[0].len()).map(|row| (row, 0)), 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sketch = self.0.groups.first().and_then(Option::as_ref).or(self.0.nothing.as_ref());
        Ok(ScalarValue::Binary(sketch.map(Sketch::encode)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        self.0.memory_bytes()
    }
}

/// A column of sketches; a binary array holds at most 2 GiB.
struct SketchBuilder {
    array: BinaryBuilder,
    bytes: Vec<u8>,
}

impl SketchBuilder {
    fn new(rows: usize) -> Self {
        Self { array: BinaryBuilder::with_capacity(rows, 32 * rows), bytes: Vec::new() }
    }

    fn push(&mut self, sketch: Option<&impl Sketch>) -> Result<()> {
        let Some(sketch) = sketch else {
            self.array.append_null();
            return Ok(());
        };
        self.bytes.clear();
        sketch.encode_into(&mut self.bytes);
        if self.array.values_slice().len() + self.bytes.len() > i32::MAX as usize {
            return resources_err!("the sketches of all groups are more than 2 GiB");
        }
        self.array.append_value(&self.bytes);
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(self.array.finish())
    }
}

enum Texts<'a> {
    Offsets(&'a StringArray),
    Views(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Utf8 => Ok(Self::Offsets(array.as_string())),
            DataType::Utf8View => Ok(Self::Views(array.as_string_view())),
            other => exec_err!("a text is not {other}"),
        }
    }

    #[inline]
    fn at(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Offsets(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Views(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

fn kept(filter: &BooleanArray, row: usize) -> bool {
    filter.is_valid(row) && filter.value(row)
}
