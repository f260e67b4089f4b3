//! The functions that read sketches. A null sketch answers null; bytes that are no sketch of the kind
//! end the statement.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int64Array, Int64Builder, ListArray, ListBuilder,
        StructArray, StructBuilder, TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Fields, Float64Type, Int64Type, TimeUnit},
};
use datafusion::{
    common::{Result, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::{Blobs, binary_type, number_type, refused};
use crate::sketch::{DistinctSketch, Histogram, MinuteSketch, Outage, QuantileSketch, Sketch};

/// All functions that read sketches.
pub fn functions() -> Vec<ScalarUDF> {
    let questions = [
        ("quantile_of", Question::Quantile),
        ("quantile_sketch_count", Question::Count),
        ("distinct_of", Question::Distinct),
        ("histogram_of", Question::Buckets),
        ("histogram_distance", Question::Distance),
        ("outages_of", Question::Outages),
    ];
    questions.into_iter().map(|(name, question)| ScalarUDF::from(SketchFunction::new(name, question))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    Quantile,
    Count,
    Distinct,
    Buckets,
    Distance,
    Outages,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SketchFunction {
    name: &'static str,
    question: Question,
    signature: Signature,
}

impl SketchFunction {
    fn new(name: &'static str, question: Question) -> Self {
        Self { name, question, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SketchFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match (self.question, given) {
            (Question::Quantile, [sketch, q]) => Ok(vec![binary_type(self.name, sketch)?, number_type(self.name, q)?]),
            (Question::Distance, [left, right]) => {
                Ok(vec![binary_type(self.name, left)?, binary_type(self.name, right)?])
            }
            (Question::Count | Question::Distinct | Question::Buckets, [sketch]) => {
                Ok(vec![binary_type(self.name, sketch)?])
            }
            (Question::Outages, [sketch, _]) => Ok(vec![binary_type(self.name, sketch)?, DataType::Int64]),
            (Question::Outages, _) => plan_err!("{} takes (sketch, rows a minute has at least)", self.name),
            (Question::Quantile, _) => plan_err!("{} takes (sketch, q), q from 0 to 1", self.name),
            (Question::Distance, _) => plan_err!("{} takes two sketches", self.name),
            _ => plan_err!("{} takes one sketch", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.question {
            Question::Quantile => DataType::Float64,
            Question::Count | Question::Distinct => DataType::Int64,
            Question::Buckets => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Struct(bucket_fields()), true)))
            }
            Question::Distance => DataType::Struct(distance_fields()),
            Question::Outages => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Struct(outage_fields()), true)))
            }
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Vec<ArrayRef> = args.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<_>>()?;
        let answer: ArrayRef = match self.question {
            Question::Quantile => Arc::new(quantiles(&arrays[0], &arrays[1])?),
            Question::Count => Arc::new(counts(&arrays[0], |sketch: QuantileSketch| sketch.count())?),
            Question::Distinct => Arc::new(counts(&arrays[0], |sketch: DistinctSketch| sketch.count())?),
            Question::Buckets => buckets(&arrays[0])?,
            Question::Distance => distances(&arrays[0], &arrays[1])?,
            Question::Outages => outages(&arrays[0], &arrays[1])?,
        };
        Ok(ColumnarValue::Array(answer))
    }
}

fn quantiles(sketches: &ArrayRef, qs: &ArrayRef) -> Result<Float64Array> {
    let (blobs, qs) = (Blobs::of(sketches)?, qs.as_primitive::<Float64Type>());
    (0..sketches.len())
        .map(|row| {
            let (Some(bytes), true) = (blobs.at(row), qs.is_valid(row)) else { return Ok(None) };
            let q = qs.value(row);
            if !(0.0..=1.0).contains(&q) {
                return exec_err!("a quantile is from 0 to 1, not {q}");
            }
            QuantileSketch::quantile_of_encoded(bytes, q).map_err(refused)
        })
        .collect()
}

fn counts<S: Sketch>(sketches: &ArrayRef, count: impl Fn(S) -> u64) -> Result<Int64Array> {
    let blobs = Blobs::of(sketches)?;
    (0..sketches.len())
        .map(|row| {
            let Some(bytes) = blobs.at(row) else { return Ok(None) };
            Ok(Some(shown(count(S::decode(bytes).map_err(refused)?))))
        })
        .collect()
}

fn outage_fields() -> Fields {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Fields::from(vec![
        Field::new("began", time.clone(), true),
        Field::new("ended", time, true),
        Field::new("calls", DataType::Int64, true),
        Field::new("unanswered", DataType::Int64, true),
    ])
}

/// Each sketch's outages, in the order of time; one that lasts has no end.
fn outages(sketches: &ArrayRef, rows_min: &ArrayRef) -> Result<ArrayRef> {
    let (blobs, rows_min) = (Blobs::of(sketches)?, rows_min.as_primitive::<Int64Type>());
    let (mut lengths, mut valid, mut all) = (Vec::new(), Vec::new(), Vec::<Outage>::new());
    for row in 0..sketches.len() {
        let asked = blobs.at(row).filter(|_| rows_min.is_valid(row));
        let found = match asked {
            Some(bytes) => {
                let rows_min = u64::try_from(rows_min.value(row)).unwrap_or(0);
                MinuteSketch::outages_of_encoded(bytes, rows_min).map_err(refused)?
            }
            None => Vec::new(),
        };
        lengths.push(found.len());
        valid.push(asked.is_some());
        all.extend(found);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all.iter().map(|outage| Some(outage.began_us)).collect::<TimestampMicrosecondArray>()),
        Arc::new(all.iter().map(|outage| outage.ended_us).collect::<TimestampMicrosecondArray>()),
        Arc::new(all.iter().map(|outage| Some(shown(outage.rows))).collect::<Int64Array>()),
        Arc::new(all.iter().map(|outage| Some(shown(outage.flagged))).collect::<Int64Array>()),
    ];
    let outages = StructArray::new(outage_fields(), columns, None);
    let field = Arc::new(Field::new_list_field(DataType::Struct(outage_fields()), true));
    let (offsets, valid) = (OffsetBuffer::from_lengths(lengths), NullBuffer::from(valid));
    Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(outages), Some(valid))?))
}

fn bucket_fields() -> Fields {
    Fields::from(vec![Field::new("upper_bound", DataType::Float64, true), Field::new("count", DataType::Int64, true)])
}

/// Each bucket with its upper boundary; the last has none.
fn buckets(sketches: &ArrayRef) -> Result<ArrayRef> {
    let blobs = Blobs::of(sketches)?;
    let mut lists = ListBuilder::new(StructBuilder::from_fields(bucket_fields(), 0));
    for row in 0..sketches.len() {
        let Some(bytes) = blobs.at(row) else {
            lists.append_null();
            continue;
        };
        let histogram = Histogram::decode(bytes).map_err(refused)?;
        let bounds = histogram.buckets().bounds().iter().copied().map(Some).chain([None]);
        for (bound, count) in bounds.zip(histogram.counts()) {
            let bucket = lists.values();
            field::<Float64Builder>(bucket, 0).append_option(bound);
            field::<Int64Builder>(bucket, 1).append_value(shown(*count));
            bucket.append(true);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn distance_fields() -> Fields {
    Fields::from(vec![Field::new("least", DataType::Float64, true), Field::new("greatest", DataType::Float64, true)])
}

fn distances(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (left_blobs, right_blobs) = (Blobs::of(left)?, Blobs::of(right)?);
    let mut structs = StructBuilder::from_fields(distance_fields(), left.len());
    for row in 0..left.len() {
        let distance = match (left_blobs.at(row), right_blobs.at(row)) {
            (Some(left), Some(right)) => {
                let (left, right) =
                    (Histogram::decode(left).map_err(refused)?, Histogram::decode(right).map_err(refused)?);
                left.distance(&right).map_err(refused)?
            }
            _ => None,
        };
        field::<Float64Builder>(&mut structs, 0).append_option(distance.map(|distance| distance.least));
        field::<Float64Builder>(&mut structs, 1).append_option(distance.map(|distance| distance.greatest));
        structs.append(distance.is_some());
    }
    Ok(Arc::new(structs.finish()))
}

fn field<B: arrow::array::ArrayBuilder>(structs: &mut StructBuilder, index: usize) -> &mut B {
    structs.field_builder(index).expect("the builder was made from the fields")
}

/// Counts beyond the range of SQL's integers show as its end.
fn shown(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
