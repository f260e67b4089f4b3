//! Functions whose result can be any number of times as large as what they are given. The engine's own make
//! it in one step, of which no pool and no watch knows before it is done: `repeat('x', 2000000000)` alone takes
//! more than the process may have. Here each says first what it would make, and is refused beyond a bound.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef, Float64Type, IntervalMonthDayNanoType},
};
use datafusion::{
    common::{Result, resources_err},
    execution::FunctionRegistry,
    logical_expr::{
        ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility,
    },
};

/// Most bytes that one call may make, for all rows of a batch.
const MADE_BYTES_MAX: f64 = (64_u64 << 20) as f64;

/// The same functions, held to [`MADE_BYTES_MAX`].
pub(super) fn functions(registry: &dyn FunctionRegistry) -> Result<Vec<ScalarUDF>> {
    let makes = [
        ("repeat", Makes::Repeats),
        ("lpad", Makes::Pads),
        ("rpad", Makes::Pads),
        ("array_repeat", Makes::Elements),
        ("array_resize", Makes::Resizes),
        ("range", Makes::Range),
        ("generate_series", Makes::Range),
    ];
    makes.into_iter().map(|(name, makes)| Ok(Growing::new(registry.udf(name)?, makes).into())).collect()
}

/// What the arguments say of the result's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Makes {
    /// `(text, times)`
    Repeats,
    /// `(text, length, …)`
    Pads,
    /// `(element, times)`
    Elements,
    /// `(list, length, …)`
    Resizes,
    /// `(stop)`, `(start, stop)` or `(start, stop, step)`
    Range,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Growing {
    inner: Arc<ScalarUDF>,
    makes: Makes,
    signature: Signature,
}

impl Growing {
    fn new(inner: Arc<ScalarUDF>, makes: Makes) -> Self {
        // A constant is copied for each row of a batch. That is counted where it is computed, so it must not be
        // computed before, when the number of rows is not known.
        let signature = Signature { volatility: Volatility::Volatile, ..inner.signature().clone() };
        Self { inner, makes, signature }
    }
}

impl ScalarUDFImpl for Growing {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.inner.return_type(given)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(given)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let (rows, copies) = if is_constant { (1, args.number_rows.max(1)) } else { (args.number_rows, 1) };
        let given = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let made = (0..rows).map(|row| self.makes.bytes(&given, row)).sum::<f64>() * copies as f64;
        if made > MADE_BYTES_MAX {
            return resources_err!(
                "{} would make {:.0} MiB at once, for {} rows; the most is {:.0} MiB: ask for less, or for fewer rows",
                self.name(),
                made / f64::from(1 << 20),
                args.number_rows,
                MADE_BYTES_MAX / f64::from(1 << 20)
            );
        }
        self.inner.invoke_with_args(args)
    }
}

impl Makes {
    fn bytes(self, given: &[ArrayRef], row: usize) -> f64 {
        let number = |argument: usize| given.get(argument).map_or(0.0, |values| number(values, row));
        match self {
            Makes::Repeats => length(&given[0], row) * number(1).max(0.0),
            // A character takes four bytes at most.
            Makes::Pads => 4.0 * number(1).max(0.0),
            Makes::Elements => ELEMENT_BYTES.max(size(&given[0], row)) * number(1).max(0.0),
            Makes::Resizes => ELEMENT_BYTES * number(1).max(0.0),
            Makes::Range => {
                let (start, stop, step) = match given.len() {
                    1 => (0.0, number(0), 1.0),
                    2 => (number(0), number(1), 1.0),
                    _ => (number(0), number(1), number(2)),
                };
                // A step of nothing is the function's to refuse.
                let steps = ((stop - start) / step).max(0.0);
                if steps.is_finite() { ELEMENT_BYTES * steps } else { 0.0 }
            }
        }
    }
}

/// A number, a view of a text, or a time in a list.
const ELEMENT_BYTES: f64 = 16.0;

/// The text's bytes.
fn length(values: &ArrayRef, row: usize) -> f64 {
    if values.is_null(row) {
        return 0.0;
    }
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value_length(row) as f64,
        DataType::LargeUtf8 => values.as_string::<i64>().value_length(row) as f64,
        DataType::Utf8View => values.as_string_view().value(row).len() as f64,
        _ => 0.0,
    }
}

/// What one value takes, whatever it is.
fn size(values: &ArrayRef, row: usize) -> f64 {
    match values.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => length(values, row),
        kind if kind.is_nested() => values.slice(row, 1).to_data().get_slice_memory_size().unwrap_or_default() as f64,
        _ => ELEMENT_BYTES,
    }
}

/// A number, or a time or an interval in ns; nothing is 0.
fn number(values: &ArrayRef, row: usize) -> f64 {
    const DAY_NS: f64 = 86_400e9;
    if values.is_null(row) {
        return 0.0;
    }
    let value = values.slice(row, 1);
    let to_float = |values: &ArrayRef| match cast(values, &DataType::Float64) {
        Ok(number) => number.as_primitive::<Float64Type>().value(0),
        Err(_) => 0.0,
    };
    match values.data_type() {
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => {
            let interval = value.as_primitive::<IntervalMonthDayNanoType>().value(0);
            // The shortest month makes the most steps.
            f64::from(interval.months) * 28.0 * DAY_NS + f64::from(interval.days) * DAY_NS + interval.nanoseconds as f64
        }
        DataType::Date32 => cast(&value, &DataType::Int32).map_or(0.0, |days| to_float(&days) * DAY_NS),
        DataType::Timestamp(unit, _) => {
            let ns = match unit {
                arrow::datatypes::TimeUnit::Second => 1e9,
                arrow::datatypes::TimeUnit::Millisecond => 1e6,
                arrow::datatypes::TimeUnit::Microsecond => 1e3,
                arrow::datatypes::TimeUnit::Nanosecond => 1.0,
            };
            cast(&value, &DataType::Int64).map_or(0.0, |units| to_float(&units) * ns)
        }
        _ => to_float(&value),
    }
}
