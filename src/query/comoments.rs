//! The moments of experiments as a SQL aggregate: `comoments(x, y, x_before, y_before)`, a list of count, means and
//! products of deviations as [`Moments::parts`] has them. Rows whose x is null or no number count nowhere; a null
//! among the others is 0.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use crate::experiment::{FIGURES, Moments};

/// The aggregate.
pub fn aggregate() -> AggregateUDF {
    AggregateUDF::from(Comoments { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Comoments {
    signature: Signature,
}

impl AggregateUDFImpl for Comoments {
    fn name(&self) -> &str {
        "comoments"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |kind: &DataType| kind.is_numeric() || *kind == DataType::Null;
        if given.len() != FIGURES || !given.iter().all(is_number) {
            return exec_err!("comoments takes (x, y, x_before, y_before), four numbers");
        }
        Ok(vec![DataType::Float64; FIGURES])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Float64, true))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::<MomentsOf>::default())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let item = Field::new_list_field(DataType::Float64, true);
        Ok(vec![Arc::new(Field::new_list(format!("{}[moments]", args.name), item, true))])
    }
}

#[derive(Debug, Default)]
struct MomentsOf(Moments);

impl MomentsOf {
    fn parts(&self) -> ScalarValue {
        let parts: Vec<ScalarValue> = self.0.parts().into_iter().map(ScalarValue::from).collect();
        ScalarValue::List(ScalarValue::new_list_nullable(&parts, &DataType::Float64))
    }
}

impl Accumulator for MomentsOf {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let columns: Vec<_> = values.iter().map(|values| values.as_primitive::<Float64Type>()).collect();
        for row in 0..columns[0].len() {
            let figures: [f64; FIGURES] = std::array::from_fn(|column| match columns[column].is_valid(row) {
                true => columns[column].value(row),
                false => 0.0,
            });
            if columns[0].is_valid(row) && figures.iter().all(|figure| figure.is_finite()) {
                self.0.add(figures);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.parts())
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.parts()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for parts in states[0].as_list::<i32>().iter().flatten() {
            let Some(moments) = Moments::from_parts(parts.as_primitive::<Float64Type>().values()) else {
                return exec_err!("a state of comoments has {} parts", parts.len());
            };
            self.0.merge(&moments);
        }
        Ok(())
    }
}
