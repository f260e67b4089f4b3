//! The statistics as SQL aggregates: `ks_test(value, is_current)` and
//! `chi2_test(category, is_current)`. Each returns a struct {statistic, p_value, effect_size,
//! n_reference, n_current}; with an empty side the first three are null. Rows with a null value, a
//! NaN or a null `is_current` count on neither side.

use std::{collections::HashMap, mem::size_of, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, ListArray},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use crate::stats::{Outcome, chi2_test, ks_test};

/// All aggregates of this crate.
pub fn aggregates() -> Vec<AggregateUDF> {
    vec![
        AggregateUDF::from(TwoSample::new("ks_test", Test::KolmogorovSmirnov)),
        AggregateUDF::from(TwoSample::new("chi2_test", Test::ChiSquared)),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Test {
    KolmogorovSmirnov,
    ChiSquared,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TwoSample {
    name: &'static str,
    test: Test,
    signature: Signature,
}

impl TwoSample {
    fn new(name: &'static str, test: Test) -> Self {
        Self { name, test, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn value_type(&self) -> DataType {
        match self.test {
            Test::KolmogorovSmirnov => DataType::Float64,
            Test::ChiSquared => DataType::Utf8,
        }
    }
}

impl AggregateUDFImpl for TwoSample {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [value, DataType::Boolean | DataType::Null] => {
                if self.test == Test::KolmogorovSmirnov && !value.is_numeric() && *value != DataType::Null {
                    return exec_err!("ks_test compares numbers; for categories use chi2_test");
                }
                Ok(vec![self.value_type(), DataType::Boolean])
            }
            _ => exec_err!("{} takes (value, is_current boolean)", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(result_fields()))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match self.test {
            Test::KolmogorovSmirnov => Box::<Samples>::default(),
            Test::ChiSquared => Box::<Counts>::default(),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: DataType| {
            Arc::new(Field::new_list(format!("{}[{part}]", args.name), Field::new_list_field(item, true), true))
        };
        Ok(match self.test {
            Test::KolmogorovSmirnov => {
                vec![list("reference", DataType::Float64), list("current", DataType::Float64)]
            }
            Test::ChiSquared => vec![
                list("category", DataType::Utf8),
                list("reference", DataType::Int64),
                list("current", DataType::Int64),
            ],
        })
    }
}

fn result_fields() -> Fields {
    Fields::from(vec![
        Field::new("statistic", DataType::Float64, true),
        Field::new("p_value", DataType::Float64, true),
        Field::new("effect_size", DataType::Float64, true),
        Field::new("n_reference", DataType::Int64, true),
        Field::new("n_current", DataType::Int64, true),
    ])
}

fn result(outcome: Outcome) -> ScalarValue {
    let (test, n_reference, n_current) = match outcome {
        Outcome::Tested(test) => (Some(test), test.n_reference, test.n_current),
        Outcome::Insufficient { n_reference, n_current } => (None, n_reference, n_current),
    };
    let values = vec![
        ScalarValue::Float64(test.map(|test| test.statistic)),
        ScalarValue::Float64(test.map(|test| test.p_value)),
        ScalarValue::Float64(test.map(|test| test.effect_size)),
        ScalarValue::Int64(Some(n_reference as i64)),
        ScalarValue::Int64(Some(n_current as i64)),
    ];
    let mut builder = datafusion::common::scalar::ScalarStructBuilder::new();
    for (field, value) in result_fields().iter().zip(values) {
        builder = builder.with_scalar(Arc::clone(field), value);
    }
    builder.build().expect("the values were made from the fields")
}

/// The values of both sides; the exact test needs them all.
#[derive(Debug, Default)]
struct Samples {
    reference: Vec<f64>,
    current: Vec<f64>,
}

impl Accumulator for Samples {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let numbers = values[0].as_primitive::<Float64Type>();
        let sides = values[1].as_boolean();
        for (number, side) in numbers.iter().zip(sides.iter()) {
            match (number.filter(|number| !number.is_nan()), side) {
                (Some(number), Some(true)) => self.current.push(number),
                (Some(number), Some(false)) => self.reference.push(number),
                _ => {}
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(result(ks_test(&mut self.reference, &mut self.current)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + (self.reference.capacity() + self.current.capacity()) * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |values: &[f64]| {
            let values: Vec<ScalarValue> = values.iter().map(|value| ScalarValue::from(*value)).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Float64))
        };
        Ok(vec![list(&self.reference), list(&self.current)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (state, side) in states.iter().zip([&mut self.reference, &mut self.current]) {
            for values in lists(state) {
                side.extend_from_slice(values.as_primitive::<Float64Type>().values());
            }
        }
        Ok(())
    }
}

/// How often each category stands on either side.
#[derive(Debug, Default)]
struct Counts {
    categories: HashMap<String, (u64, u64)>,
    text_bytes: usize,
}

impl Counts {
    fn add(&mut self, category: &str, reference: u64, current: u64) {
        if let Some(counts) = self.categories.get_mut(category) {
            counts.0 += reference;
            counts.1 += current;
        } else {
            self.text_bytes += category.len();
            self.categories.insert(category.to_owned(), (reference, current));
        }
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let categories = cast(&values[0], &DataType::Utf8)?;
        let sides = values[1].as_boolean();
        for (category, side) in categories.as_string::<i32>().iter().zip(sides.iter()) {
            if let (Some(category), Some(is_current)) = (category, side) {
                self.add(category, u64::from(!is_current), u64::from(is_current));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut counts: Vec<_> = self.categories.iter().collect();
        // In a fixed order, so that equal data gives equal sums to the last bit.
        counts.sort_unstable();
        let counts: Vec<(u64, u64)> = counts.into_iter().map(|(_, counts)| *counts).collect();
        Ok(result(chi2_test(&counts)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.text_bytes + self.categories.capacity() * size_of::<(String, (u64, u64))>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |values: Vec<ScalarValue>, item: DataType| {
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &item))
        };
        let counts: Vec<_> = self.categories.iter().collect();
        Ok(vec![
            list(counts.iter().map(|(name, _)| ScalarValue::from(name.as_str())).collect(), DataType::Utf8),
            list(counts.iter().map(|(_, counts)| ScalarValue::from(counts.0 as i64)).collect(), DataType::Int64),
            list(counts.iter().map(|(_, counts)| ScalarValue::from(counts.1 as i64)).collect(), DataType::Int64),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (names, references, currents) = (lists(&states[0]), lists(&states[1]), lists(&states[2]));
        for ((names, references), currents) in names.iter().zip(&references).zip(&currents) {
            let references = references.as_primitive::<Int64Type>().values();
            let currents = currents.as_primitive::<Int64Type>().values();
            for (index, name) in names.as_string::<i32>().iter().enumerate() {
                self.add(name.unwrap_or_default(), references[index] as u64, currents[index] as u64);
            }
        }
        Ok(())
    }
}

fn lists(state: &ArrayRef) -> Vec<ArrayRef> {
    let lists: &ListArray = state.as_list();
    lists.iter().flatten().collect()
}
