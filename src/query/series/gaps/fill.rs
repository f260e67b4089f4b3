//! Puts rows of nulls where a series has none: a list of rows in, the same list with a row for each bucket of a
//! range out, by time. Rows outside the range stay.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, StructArray, TimestampMicrosecondArray, UInt32Array},
    buffer::OffsetBuffer,
    compute::take,
    datatypes::{DataType, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err, exec_err, internal_err, resources_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::marker::GAPFILL;
use crate::query::series::{
    bucket::Buckets,
    time_bucket::{TIME, buckets, width_type},
};

/// Most buckets of a range.
const BUCKETS_MAX: usize = 100_000;
/// Most rows that are made at once, of all series of a batch.
const ROWS_MAX: usize = 1_000_000;

/// `fill_gaps(rows, width, from, to)`: each of the rows is a struct whose first field is its bucket.
pub fn fill_gaps() -> ScalarUDF {
    ScalarUDF::from(FillGaps { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FillGaps {
    signature: Signature,
}

impl ScalarUDFImpl for FillGaps {
    fn name(&self) -> &str {
        "fill_gaps"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [rows @ DataType::List(_), width, _, _] => Ok(vec![rows.clone(), width_type(GAPFILL, width)?, TIME, TIME]),
            _ => internal_err!("fill_gaps takes (rows, width, from, to)"),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok(given[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [rows, ColumnarValue::Scalar(width), ColumnarValue::Scalar(from), ColumnarValue::Scalar(to)] =
            args.args.as_slice()
        else {
            return exec_err!("{GAPFILL}: its width, its start and its finish are constants");
        };
        let (
            Some(buckets),
            ScalarValue::TimestampMicrosecond(Some(from_us), _),
            ScalarValue::TimestampMicrosecond(Some(to_us), _),
        ) = (buckets(GAPFILL, width, None)?, from, to)
        else {
            return exec_err!("{GAPFILL}: its width, its start and its finish are not null");
        };
        let starts = starts(buckets, *from_us, *to_us)?;
        let rows = rows.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(filled(rows.as_list(), &starts)?)))
    }
}

/// The start of every bucket of a range.
fn starts(buckets: Buckets, from_us: i64, to_us: i64) -> Result<Vec<i64>> {
    let mut starts = Vec::new();
    let mut next = buckets.start_of(from_us);
    while let Some(start) = next.filter(|start| *start < to_us) {
        if starts.len() == BUCKETS_MAX {
            return exec_err!(
                "{GAPFILL}: the range has more than {BUCKETS_MAX} buckets; make them wider or it shorter"
            );
        }
        starts.push(start);
        next = buckets.after(start);
    }
    Ok(starts)
}

/// Every list with a row for each of the starts.
fn filled(lists: &ListArray, starts: &[i64]) -> Result<ListArray> {
    let DataType::List(field) = lists.data_type() else { return internal_err!("a list is no list") };
    let rows = lists.values().as_struct_opt().ok_or_else(|| exec_datafusion_err!("rows are structs"))?;
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let mut made = Made::default();
    let mut lengths = Vec::with_capacity(lists.len());
    for list in 0..lists.len() {
        let before = made.times.len();
        let (first, end) = match lists.is_valid(list) {
            true => (lists.value_offsets()[list] as usize, lists.value_offsets()[list + 1] as usize),
            false => (0, 0),
        };
        let mut own: Vec<(Option<i64>, u32)> =
            (first..end).map(|row| (times.is_valid(row).then(|| times.value(row)), row as u32)).collect();
        own.sort_unstable();
        made.merge(&own, starts);
        lengths.push(made.times.len() - before);
        if made.times.len() > ROWS_MAX {
            return resources_err!("{GAPFILL} makes more than {ROWS_MAX} rows: ask for fewer series or wider buckets");
        }
    }
    let from = UInt32Array::from(made.from);
    let mut columns: Vec<ArrayRef> = vec![Arc::new(TimestampMicrosecondArray::from(made.times))];
    for column in &rows.columns()[1..] {
        columns.push(take(column, &from, None)?);
    }
    let rows = StructArray::try_new(rows.fields().clone(), columns, None)?;
    Ok(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), Arc::new(rows), None)?)
}

/// Rows that are made, each of a bucket and of the row that it is, if it is any.
#[derive(Default)]
struct Made {
    times: Vec<Option<i64>>,
    from: Vec<Option<u32>>,
}

impl Made {
    /// Adds the rows of a series and those that it lacks, both by rising time.
    fn merge(&mut self, own: &[(Option<i64>, u32)], starts: &[i64]) {
        let mut gaps = starts.iter().copied().peekable();
        for (time, row) in own {
            while let Some(gap) = gaps.next_if(|gap| time.is_some_and(|time| *gap < time)) {
                self.push(Some(gap), None);
            }
            gaps.next_if(|gap| Some(*gap) == *time);
            self.push(*time, Some(*row));
        }
        gaps.for_each(|gap| self.push(Some(gap), None));
    }

    fn push(&mut self, time: Option<i64>, row: Option<u32>) {
        self.times.push(time);
        self.from.push(row);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_bucket_has_one_row_and_rows_stay(
            own in prop::collection::btree_map(prop::option::of(-5_i64..25), 0_u32..1_000, 0..20), from in 0_i64..20, length in 0_i64..20,
        ) {
            let starts: Vec<i64> = (from..from + length).collect();
            let mut made = Made::default();
            let rows: Vec<(Option<i64>, u32)> = own.iter().map(|(time, row)| (*time, *row)).collect();
            made.merge(&rows, &starts);
            prop_assert!(made.times.is_sorted());
            let got: BTreeMap<Option<i64>, Option<u32>> = made.times.iter().copied().zip(made.from.iter().copied()).collect();
            prop_assert_eq!(got.len(), made.times.len());
            let mut expect: BTreeMap<Option<i64>, Option<u32>> = starts.iter().map(|start| (Some(*start), None)).collect();
            expect.extend(own.iter().map(|(time, row)| (*time, Some(*row))));
            prop_assert_eq!(got, expect);
        }
    }
}
