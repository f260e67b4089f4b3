//! The scalar functions of counts and of lists of p-values. A null argument answers null; what makes no sense
//! ends the statement with what would.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Builder, ListBuilder},
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::{
    groups::list_type,
    results::{self, column, structure, structure_type},
};
use crate::stats::{
    EXACT_COUNT_MAX, Interval, benjamini_hochberg, benjamini_yekutieli, binomial_interval, binomial_test,
    fisher_exact_test, wilson_interval,
};

/// The functions.
pub(super) fn functions() -> Vec<ScalarUDF> {
    Function::ALL.into_iter().map(|function| ScalarUDF::from(Numeric::new(function))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    BenjaminiHochberg,
    BenjaminiYekutieli,
    WilsonInterval,
    BinomialInterval,
    BinomialTest,
    FisherExact,
}

const CONFIDENCE: f64 = 0.95;

impl Function {
    const ALL: [Self; 6] = [
        Self::BenjaminiHochberg,
        Self::BenjaminiYekutieli,
        Self::WilsonInterval,
        Self::BinomialInterval,
        Self::BinomialTest,
        Self::FisherExact,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::BenjaminiHochberg => "bh_adjust",
            Self::BenjaminiYekutieli => "by_adjust",
            Self::WilsonInterval => "wilson_interval",
            Self::BinomialInterval => "binomial_interval",
            Self::BinomialTest => "binomial_test",
            Self::FisherExact => "fisher_exact",
        }
    }

    fn takes(self) -> &'static str {
        match self {
            Self::BenjaminiHochberg | Self::BenjaminiYekutieli => "(p_values), a list of numbers from 0 to 1",
            Self::WilsonInterval | Self::BinomialInterval => {
                "(successes, trials [, confidence]), two whole numbers and one between 0 and 1"
            }
            Self::BinomialTest => "(successes, trials, probability), two whole numbers and one from 0 to 1",
            Self::FisherExact => "(a, b, c, d), the four whole numbers of the table [[a, b], [c, d]]",
        }
    }

    fn arguments(self, given: &[DataType]) -> Option<Vec<DataType>> {
        use DataType::{Float64, Int64};
        if let Self::BenjaminiHochberg | Self::BenjaminiYekutieli = self {
            let is_list = |given: &DataType| {
                matches!(given, DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                    if item.data_type().is_numeric() || item.data_type().is_null())
            };
            return match given {
                [given] if is_list(given) || given.is_null() => Some(vec![list_type(Float64)]),
                _ => None,
            };
        }
        let types = match (self, given.len()) {
            (Self::WilsonInterval | Self::BinomialInterval, 2) => vec![Int64, Int64],
            (Self::WilsonInterval | Self::BinomialInterval | Self::BinomialTest, 3) => vec![Int64, Int64, Float64],
            (Self::FisherExact, 4) => vec![Int64; 4],
            _ => return None,
        };
        // A whole number is not made of one that is not.
        let fits = |(given, taken): (&DataType, &DataType)| {
            given.is_null() || given.is_integer() || *taken == Float64 && given.is_numeric()
        };
        given.iter().zip(&types).all(fits).then_some(types)
    }

    fn answer_type(self) -> DataType {
        match self {
            Self::BenjaminiHochberg | Self::BenjaminiYekutieli => list_type(DataType::Float64),
            Self::WilsonInterval | Self::BinomialInterval => structure_type(&results::interval(None)),
            Self::BinomialTest => DataType::Float64,
            Self::FisherExact => structure_type(&odds_and_p(None, None)),
        }
    }

    /// One row whose arguments are all there.
    fn answer(self, counts: &[u64], number: f64) -> Result<ScalarValue> {
        let interval = |interval: fn(u64, u64, f64) -> Option<Interval>| match interval(counts[0], counts[1], number) {
            Some(found) => structure(results::interval(Some(found))),
            None if counts[1] == 0 => structure(results::interval(None)),
            None => self.refused(counts, number),
        };
        match self {
            Self::WilsonInterval => interval(wilson_interval),
            Self::BinomialInterval => interval(binomial_interval),
            Self::BinomialTest => match binomial_test(counts[0], counts[1], number) {
                Some(p_value) => Ok(ScalarValue::from(p_value)),
                None => self.refused(counts, number),
            },
            _ => match fisher_exact_test([[counts[0], counts[1]], [counts[2], counts[3]]]) {
                Some(test) => {
                    structure(odds_and_p(Some(test.odds_ratio).filter(|ratio| !ratio.is_nan()), Some(test.p_value)))
                }
                None => exec_err!("{} takes a table of at most {EXACT_COUNT_MAX} in all", self.name()),
            },
        }
    }

    fn refused<T>(self, counts: &[u64], number: f64) -> Result<T> {
        let (name, successes, trials) = (self.name(), counts[0], counts[1]);
        if successes > trials {
            return exec_err!("{name}: there are more successes, {successes}, than trials, {trials}");
        }
        if trials > EXACT_COUNT_MAX {
            return exec_err!("{name} takes at most {EXACT_COUNT_MAX} trials, not {trials}");
        }
        exec_err!("{name} takes {}; the last is {number}", self.takes())
    }
}

fn odds_and_p(odds_ratio: Option<f64>, p_value: Option<f64>) -> results::Named {
    vec![("odds_ratio", ScalarValue::Float64(odds_ratio)), ("p_value", ScalarValue::Float64(p_value))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Numeric {
    function: Function,
    signature: Signature,
}

impl Numeric {
    fn new(function: Function) -> Self {
        Self { function, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Numeric {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match self.function.arguments(given) {
            Some(types) => Ok(types),
            None => plan_err!("{} takes {}", self.name(), self.function.takes()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.function.answer_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // Constants are computed once, and stay constants.
        let is_constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let arrays: Vec<ArrayRef> = args.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<_>>()?;
        let answered = match self.function {
            Function::BenjaminiHochberg => adjusted(&arrays[0], benjamini_hochberg)?,
            Function::BenjaminiYekutieli => adjusted(&arrays[0], benjamini_yekutieli)?,
            function => counted(function, &arrays, rows)?,
        };
        match answered {
            ColumnarValue::Array(array) if is_constant => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            answered => Ok(answered),
        }
    }
}

/// Each list of p-values adjusted on its own, in its order; a null among them is no test.
fn adjusted(lists: &ArrayRef, adjust: fn(&[f64]) -> Vec<f64>) -> Result<ColumnarValue> {
    let lists = lists.as_list::<i32>();
    let mut answers =
        ListBuilder::new(Float64Builder::new()).with_field(Arc::new(Field::new_list_field(DataType::Float64, true)));
    for list in lists.iter() {
        let Some(list) = list else {
            answers.append_null();
            continue;
        };
        let list = list.as_primitive::<Float64Type>();
        let p_values: Vec<f64> = list.iter().flatten().collect();
        if let Some(wrong) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            return exec_err!("a p-value is from 0 to 1, not {wrong}");
        }
        let mut adjusted = adjust(&p_values).into_iter();
        for p_value in list.iter() {
            answers.values().append_option(p_value.and_then(|_| adjusted.next()));
        }
        answers.append(true);
    }
    Ok(ColumnarValue::Array(Arc::new(answers.finish())))
}

/// Whole numbers, and where the function takes one a last number.
fn counted(function: Function, arrays: &[ArrayRef], rows: usize) -> Result<ColumnarValue> {
    let (whole, last) = match function {
        Function::FisherExact => (4, None),
        _ => (2, arrays.get(2)),
    };
    let whole: Vec<ArrayRef> =
        arrays[..whole].iter().map(|array| Ok(cast(array, &DataType::Int64)?)).collect::<Result<_>>()?;
    let answer_type = function.answer_type();
    let mut answers = Vec::with_capacity(rows);
    for row in 0..rows {
        if whole.iter().chain(last).any(|array| array.is_null(row)) {
            answers.push(ScalarValue::try_new_null(&answer_type)?);
            continue;
        }
        let mut counts = Vec::with_capacity(whole.len());
        for array in &whole {
            let count = array.as_primitive::<Int64Type>().value(row);
            match u64::try_from(count) {
                Ok(count) => counts.push(count),
                Err(_) => return exec_err!("{} counts, and {count} is below 0", function.name()),
            }
        }
        let number = last.map_or(CONFIDENCE, |last| last.as_primitive::<Float64Type>().value(row));
        answers.push(function.answer(&counts, number)?);
    }
    column(&answer_type, answers)
}
