//! `histogram(value, min, max, nbuckets)`: how many values are in each of so many equal buckets from min up to
//! max, and below and above them: a list of nbuckets + 2 counts, as TimescaleDB gives it and by PostgreSQL's
//! `width_bucket`. A bucket has its lower end and not its upper. What is null or not finite counts nowhere.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, ListArray},
    datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, not_impl_err, plan_err, utils::SingleRowListArrayBuilder},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::constant;

/// The aggregate.
pub fn histogram() -> AggregateUDF {
    AggregateUDF::from(Histogram { signature: Signature::user_defined(Volatility::Immutable) })
}

const NAME: &str = "histogram";
const BUCKETS_MAX: i64 = 10_000;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Histogram {
    signature: Signature,
}

impl AggregateUDFImpl for Histogram {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |given: &DataType| given.is_numeric() || *given == DataType::Null;
        match given {
            [value, min, max, buckets] if [value, min, max, buckets].into_iter().all(is_number) => {
                Ok(vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int64])
            }
            _ => plan_err!("{NAME} takes (value, min, max, nbuckets), four numbers"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Int64, true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let counts = DataType::new_list(DataType::Int64, true);
        Ok(vec![Arc::new(Field::new(format!("{}[counts]", args.name), counts, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("{NAME} counts every value; distinct is not for it");
        }
        let (min, max, buckets) = (constant(&args, 1), constant(&args, 2), constant(&args, 3));
        let (
            Some(ScalarValue::Float64(Some(min))),
            Some(ScalarValue::Float64(Some(max))),
            Some(ScalarValue::Int64(Some(buckets))),
        ) = (min, max, buckets)
        else {
            return plan_err!("{NAME}: min, max and nbuckets are constants and not null");
        };
        Ok(Box::new(Counts::new(*min, *max, *buckets)?))
    }
}

#[derive(Debug)]
struct Counts {
    min: f64,
    max: f64,
    /// That below min first, and that from max on last.
    counts: Vec<i64>,
}

impl Counts {
    fn new(min: f64, max: f64, buckets: i64) -> Result<Self> {
        if !min.is_finite() || !max.is_finite() || min >= max {
            return plan_err!("{NAME}: min is below max, and both are finite; they are {min} and {max}");
        }
        if !(1..=BUCKETS_MAX).contains(&buckets) {
            return plan_err!("{NAME}: nbuckets is from 1 to {BUCKETS_MAX}, not {buckets}");
        }
        Ok(Self { min, max, counts: vec![0; buckets as usize + 2] })
    }

    fn add(&mut self, value: f64) {
        let buckets = self.counts.len() - 2;
        let index = if value < self.min {
            0
        } else if value >= self.max {
            buckets + 1
        } else {
            // Halves, so that the distance of far ends is finite; a share that rounds to 1 is in the last.
            let share = (value / 2.0 - self.min / 2.0) / (self.max / 2.0 - self.min / 2.0);
            ((share * buckets as f64) as usize).min(buckets - 1) + 1
        };
        self.counts[index] = self.counts[index].saturating_add(1);
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        values.iter().flatten().filter(|value| value.is_finite()).for_each(|value| self.add(value));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let counts: Int64Array = self.counts.iter().copied().map(Some).collect();
        Ok(SingleRowListArrayBuilder::new(Arc::new(counts)).build_list_scalar())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists: &ListArray = states[0].as_list();
        for counts in lists.iter().flatten() {
            for (own, other) in self.counts.iter_mut().zip(counts.as_primitive::<Int64Type>().values()) {
                *own = own.saturating_add(*other);
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.counts.capacity() * size_of::<i64>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(min: f64, max: f64, buckets: i64, values: &[f64]) -> Vec<i64> {
        let mut counts = Counts::new(min, max, buckets).unwrap();
        values.iter().for_each(|value| counts.add(*value));
        counts.counts
    }

    #[test]
    fn a_bucket_has_its_lower_end() {
        assert_eq!(counts(0.0, 10.0, 2, &[-1.0, 0.0, 4.9, 5.0, 9.9, 10.0, 99.0]), [1, 2, 2, 2]);
        assert_eq!(counts(0.0, 1.0, 1, &[]), [0, 0, 0]);
        assert_eq!(counts(f64::MIN, f64::MAX, 2, &[-1e300, 1e300, f64::MAX]), [0, 1, 1, 1]);
        // The value next below max is in the last bucket, whatever rounding makes of its share.
        assert_eq!(counts(0.0, 0.3, 3, &[0.3_f64.next_down()]), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn ends_and_counts_that_make_no_sense_are_refused() {
        for (min, max, buckets, words) in [
            (1.0, 1.0, 3, "min is below max"),
            (2.0, 1.0, 3, "min is below max"),
            (f64::NAN, 1.0, 3, "min is below max"),
            (0.0, f64::INFINITY, 3, "both are finite"),
            (0.0, 1.0, 0, "from 1 to 10000, not 0"),
            (0.0, 1.0, -1, "from 1 to 10000, not -1"),
            (0.0, 1.0, 10_001, "from 1 to 10000, not 10001"),
        ] {
            let refused = Counts::new(min, max, buckets).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    proptest! {
        /// Whole numbers in buckets of whole width, where integers say the same.
        #[test]
        fn counts_are_those_of_integers(values in prop::collection::vec(-50_i64..150, 0..80), buckets in 1_i64..20, width in 1_i64..9) {
            let max = buckets * width;
            let mut expect = vec![0; buckets as usize + 2];
            for value in &values {
                let index = if *value < 0 { 0 } else if *value >= max { buckets + 1 } else { value / width + 1 };
                expect[index as usize] += 1;
            }
            let values: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            prop_assert_eq!(counts(0.0, max as f64, buckets, &values), expect);
        }
    }
}
