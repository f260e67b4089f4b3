//! `top_k(value, k)`: the k values that come most often, as a list of {value, count, error}, the most frequent
//! first and equal ones by value. A value came at least `count` times, and at most `count + error`.
//!
//! Up to 10,000 different values are counted exactly, and the error is 0. Of more, those that come least are
//! let go: when 20,000 are held, the 10,001st largest count is taken off all of them, and what is then 0 is
//! forgotten (Agarwal et al., "Mergeable summaries", PODS 2012). The error is what was taken off in all: at most
//! one 10,001st of the rows, whatever their order, and so for partial states put together. Nulls count nowhere.

use std::{collections::HashMap, mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray},
    datatypes::{DataType, Field, FieldRef, Fields, Int64Type},
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
pub fn top_k() -> AggregateUDF {
    let aliases = ["topk", "approx_top_k"].map(str::to_owned).to_vec();
    AggregateUDF::from(TopK { aliases, signature: Signature::user_defined(Volatility::Immutable) })
}

const NAME: &str = "top_k";
const K_MAX: i64 = 1_000;
/// So many different values are counted exactly.
const EXACT_MAX: usize = 10_000;

#[derive(Debug, PartialEq, Eq, Hash)]
struct TopK {
    aliases: Vec<String>,
    signature: Signature,
}

impl AggregateUDFImpl for TopK {
    fn name(&self) -> &str {
        NAME
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [value, _] if value.is_nested() => plan_err!("{NAME} counts plain values, not {value}"),
            [value, k] if k.is_integer() || *k == DataType::Null => Ok(vec![value.clone(), DataType::Int64]),
            _ => plan_err!("{NAME} takes (value, k), k a whole number"),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Struct(fields(&given[0])), true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = args.input_fields[0].data_type().clone();
        let field = |part: &str, data_type| Arc::new(Field::new(format!("{}[{part}]", args.name), data_type, true));
        Ok(vec![
            field("values", DataType::new_list(value, true)),
            field("counts", DataType::new_list(DataType::Int64, true)),
            field("error", DataType::Int64),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("{NAME} counts every value; distinct is not for it");
        }
        let k = match constant(&args, 1) {
            Some(ScalarValue::Int64(Some(k))) if (1..=K_MAX).contains(k) => *k as usize,
            Some(ScalarValue::Int64(Some(k))) => return plan_err!("{NAME}: k is from 1 to {K_MAX}, not {k}"),
            _ => return plan_err!("{NAME}: k is a constant from 1 to {K_MAX}"),
        };
        let value_type = args.expr_fields[0].data_type().clone();
        Ok(Box::new(Frequent { k, value_type, counts: HashMap::new(), text_bytes: 0, error: 0, exact_max: EXACT_MAX }))
    }
}

fn fields(value: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("value", value.clone(), true),
        Field::new("count", DataType::Int64, true),
        Field::new("error", DataType::Int64, true),
    ])
}

#[derive(Debug)]
struct Frequent {
    k: usize,
    value_type: DataType,
    counts: HashMap<ScalarValue, i64>,
    /// Memory of the values beside the map.
    text_bytes: usize,
    /// What was taken off the counts.
    error: i64,
    exact_max: usize,
}

impl Frequent {
    fn add(&mut self, value: ScalarValue, count: i64) {
        if let Some(own) = self.counts.get_mut(&value) {
            *own = own.saturating_add(count);
            return;
        }
        self.text_bytes += value.size() - size_of::<ScalarValue>();
        self.counts.insert(value, count);
        if self.counts.len() >= 2 * self.exact_max {
            self.let_go();
        }
    }

    /// Back to as many values as are counted exactly.
    fn let_go(&mut self) {
        if self.counts.len() <= self.exact_max {
            return;
        }
        let mut counts: Vec<i64> = self.counts.values().copied().collect();
        let (_, taken, _) = counts.select_nth_unstable_by(self.exact_max, |one, other| other.cmp(one));
        let taken = *taken;
        self.error = self.error.saturating_add(taken);
        self.counts.retain(|_, count| {
            *count -= taken;
            *count > 0
        });
        self.text_bytes = self.counts.keys().map(|value| value.size() - size_of::<ScalarValue>()).sum();
    }

    /// The values with their counts, as arrays.
    fn columns(&self, chosen: &[(&ScalarValue, &i64)]) -> Result<(ArrayRef, ArrayRef)> {
        let values = match chosen {
            [] => arrow::array::new_empty_array(&self.value_type),
            chosen => ScalarValue::iter_to_array(chosen.iter().map(|(value, _)| (*value).clone()))?,
        };
        let counts: Int64Array = chosen.iter().map(|(_, count)| Some(**count)).collect();
        Ok((values, Arc::new(counts)))
    }
}

impl Accumulator for Frequent {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = &values[0];
        for row in (0..values.len()).filter(|row| !values.is_null(*row)) {
            self.add(ScalarValue::try_from_array(values, row)?, 1);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.let_go();
        let mut chosen: Vec<(&ScalarValue, &i64)> = self.counts.iter().collect();
        chosen.sort_unstable_by(|(value, count), (other, other_count)| {
            other_count.cmp(count).then_with(|| value.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal))
        });
        chosen.truncate(self.k);
        let (values, counts) = self.columns(&chosen)?;
        let errors: Int64Array = chosen.iter().map(|_| Some(self.error)).collect();
        let rows = StructArray::try_new(fields(&self.value_type), vec![values, counts, Arc::new(errors)], None)?;
        Ok(SingleRowListArrayBuilder::new(Arc::new(rows)).build_list_scalar())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.let_go();
        let (values, counts) = self.columns(&self.counts.iter().collect::<Vec<_>>())?;
        let list = |values: ArrayRef| SingleRowListArrayBuilder::new(values).build_list_scalar();
        Ok(vec![list(values), list(counts), ScalarValue::Int64(Some(self.error))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts): (&ListArray, &ListArray) = (states[0].as_list(), states[1].as_list());
        let errors = states[2].as_primitive::<Int64Type>();
        for row in 0..values.len() {
            let (values, counts) = (values.value(row), counts.value(row));
            for (index, count) in counts.as_primitive::<Int64Type>().values().iter().enumerate() {
                self.add(ScalarValue::try_from_array(&values, index)?, *count);
            }
            self.error = self.error.saturating_add(errors.value(row));
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.text_bytes + self.counts.capacity() * size_of::<(ScalarValue, i64)>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[i64], exact_max: usize) -> Frequent {
        let (counts, value_type) = (HashMap::new(), DataType::Int64);
        let mut frequent = Frequent { k: 1_000, value_type, counts, text_bytes: 0, error: 0, exact_max };
        frequent.update_batch(&[Arc::new(Int64Array::from(values.to_vec()))]).unwrap();
        frequent
    }

    fn merged(parts: &[&[i64]], exact_max: usize) -> Frequent {
        let mut whole = of(&[], exact_max);
        for part in parts {
            let state = of(part, exact_max).state().unwrap();
            let arrays: Vec<ArrayRef> = state.iter().map(|state| state.to_array().unwrap()).collect();
            whole.merge_batch(&arrays).unwrap();
        }
        whole
    }

    proptest! {
        #[test]
        fn counts_are_within_their_error_and_that_within_its_bound(
            values in prop::collection::vec(0_i64..60, 0..400), cut in 0_usize..400, exact_max in 1_usize..40,
        ) {
            let mut exact: HashMap<i64, i64> = HashMap::new();
            values.iter().for_each(|value| *exact.entry(*value).or_default() += 1);
            let (left, right) = values.split_at(cut.min(values.len()));
            for mut frequent in [of(&values, exact_max), merged(&[left, right], exact_max)] {
                frequent.let_go();
                prop_assert!(frequent.counts.len() <= exact_max);
                prop_assert!(frequent.error as usize * (exact_max + 1) <= values.len());
                if exact.len() <= exact_max {
                    prop_assert_eq!(frequent.error, 0);
                }
                for (value, count) in &exact {
                    let held = frequent.counts.get(&ScalarValue::Int64(Some(*value))).copied().unwrap_or(0);
                    prop_assert!(held <= *count && *count <= held + frequent.error);
                }
            }
        }
    }
}
