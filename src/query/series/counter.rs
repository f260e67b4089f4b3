//! `increase(counter, time)` and `rate(counter, time)`: what a counter that only rises, but for its restarts,
//! went up by, and that a second.
//!
//! As Prometheus defines it, a value below the one before is a restart from 0, so the value itself is what was
//! added since. Unlike Prometheus, nothing is extrapolated to the ends of a range: the increase is that between
//! the first and the last reading, and the rate is over the time between these two.
//!
//! Readings come in any order, so all are kept until the end, 16 bytes each. Rows with a null, and readings that
//! are not finite, count nowhere. Readings at one time are taken from the least to the greatest.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, ListArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, FieldRef, Float64Type, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, not_impl_err, plan_err, utils::SingleRowListArrayBuilder},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::time_bucket::{TIME, time_type};

/// Both aggregates.
pub fn aggregates() -> Vec<AggregateUDF> {
    [Of::Increase, Of::Rate].into_iter().map(|of| AggregateUDF::from(Counter::new(of))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Increase,
    Rate,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Counter {
    of: Of,
    signature: Signature,
}

impl Counter {
    fn new(of: Of) -> Self {
        Self { of, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Counter {
    fn name(&self) -> &str {
        match self.of {
            Of::Increase => "increase",
            Of::Rate => "rate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [counter, time] if counter.is_numeric() || *counter == DataType::Null => {
                Ok(vec![DataType::Float64, time_type(self.name(), time)?])
            }
            _ => plan_err!("{} takes (counter, time), a number and a timestamp", self.name()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: DataType| {
            Arc::new(Field::new_list(format!("{}[{part}]", args.name), Field::new_list_field(item, true), true))
        };
        Ok(vec![list("times", TIME), list("values", DataType::Float64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("{} takes every reading; distinct is not for it", self.name());
        }
        Ok(Box::new(Readings { of: self.of, all: Vec::new() }))
    }
}

/// Times, µs, and what the counter was.
#[derive(Debug)]
struct Readings {
    of: Of,
    all: Vec<(i64, f64)>,
}

impl Readings {
    fn add(&mut self, times: &ArrayRef, values: &ArrayRef) -> Result<()> {
        let (times, values) = (times.as_primitive::<TimestampMicrosecondType>(), values.as_primitive::<Float64Type>());
        for (time, value) in times.iter().zip(values) {
            match (time, value) {
                (Some(_), Some(value)) if value < 0.0 && value.is_finite() => {
                    return exec_err!("a counter is never below 0, and one here is {value}");
                }
                (Some(time), Some(value)) if value.is_finite() => self.all.push((time, value)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What the counter went up by, and in how many seconds; none for fewer than two readings.
fn increase(readings: &mut [(i64, f64)]) -> Option<(f64, f64)> {
    readings.sort_unstable_by(|(time, value), (other_time, other)| time.cmp(other_time).then(value.total_cmp(other)));
    let ((from_us, first), (to_us, last)) = (*readings.first()?, *readings.last()?);
    let before_restarts: f64 = readings.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum();
    (readings.len() > 1).then(|| (last - first + before_restarts, to_us.abs_diff(from_us) as f64 / 1e6))
}

impl Accumulator for Readings {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[1], &values[0])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = increase(&mut self.all).and_then(|(increase, seconds)| match self.of {
            Of::Increase => Some(increase),
            Of::Rate => (seconds > 0.0).then(|| increase / seconds),
        });
        Ok(ScalarValue::Float64(answer))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let times: TimestampMicrosecondArray = self.all.iter().map(|(time, _)| Some(*time)).collect();
        let values: Float64Array = self.all.iter().map(|(_, value)| Some(*value)).collect();
        let list = |values: ArrayRef| SingleRowListArrayBuilder::new(values).build_list_scalar();
        Ok(vec![list(Arc::new(times)), list(Arc::new(values))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (times, values): (&ListArray, &ListArray) = (states[0].as_list(), states[1].as_list());
        for row in 0..times.len() {
            self.add(&times.value(row), &values.value(row))?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.all.capacity() * size_of::<(i64, f64)>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[f64], expect: Option<f64>) {
        let mut readings: Vec<(i64, f64)> =
            values.iter().enumerate().map(|(n, value)| (n as i64 * 10_000_000, *value)).collect();
        let seconds = (values.len().max(1) - 1) as f64 * 10.0;
        assert_eq!(increase(&mut readings), expect.map(|increase| (increase, seconds)), "{values:?}");
    }

    #[test]
    fn a_fall_is_a_restart_from_nothing() {
        check(&[], None);
        check(&[7.0], None);
        check(&[7.0, 7.0], Some(0.0));
        check(&[3.0, 5.0, 9.0], Some(6.0));
        check(&[3.0, 5.0, 2.0, 4.0], Some(2.0 + 4.0));
        check(&[5.0, 0.0, 0.0, 1.0, 0.5], Some(1.5));
        check(&[9.0, 8.0, 7.0], Some(15.0));
    }

    proptest! {
        /// The sum of all steps, a fall being a step from 0.
        #[test]
        fn it_is_the_sum_of_steps(values in prop::collection::vec(0_u32..1_000, 2..60), swaps in prop::collection::vec((0_usize..60, 0_usize..60), 0..60)) {
            let steps = values.windows(2).map(|pair| if pair[1] >= pair[0] { pair[1] - pair[0] } else { pair[1] });
            let expect: f64 = steps.map(f64::from).sum();
            let mut readings: Vec<(i64, f64)> = values.iter().enumerate().map(|(n, value)| (n as i64, f64::from(*value))).collect();
            for (one, other) in swaps {
                let n = readings.len();
                readings.swap(one % n, other % n);
            }
            prop_assert_eq!(increase(&mut readings).unwrap().0, expect);
        }
    }
}
