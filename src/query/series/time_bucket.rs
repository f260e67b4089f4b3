//! `time_bucket(width, timestamp [, origin])`: the start of the bucket that a time is in. What buckets are is
//! decided in [`super::bucket`].

use std::sync::Arc;

use arrow::{
    array::{AsArray, TimestampMicrosecondArray},
    datatypes::{DataType, IntervalUnit, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_datafusion_err, plan_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        sort_properties::{ExprProperties, SortProperties},
    },
};

use super::bucket::Buckets;

/// The name in SQL.
pub const NAME: &str = "time_bucket";
/// How times are seen: without zone, UTC.
pub const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const WIDTH: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The function.
pub fn time_bucket() -> ScalarUDF {
    ScalarUDF::from(TimeBucket { signature: Signature::user_defined(Volatility::Immutable) })
}

/// The buckets of a call's width and origin; none where one of these is no constant, or no width.
pub fn buckets_of(width: &Expr, origin: Option<&Expr>) -> Option<Buckets> {
    let constant = |expr: &Expr| match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        _ => None,
    };
    let origin = match origin {
        Some(origin) => Some(constant(origin)?),
        None => None,
    };
    buckets(NAME, &constant(width)?, origin.as_ref()).ok().flatten()
}

/// The buckets of constants; none where one of them is null.
pub fn buckets(function: &str, width: &ScalarValue, origin: Option<&ScalarValue>) -> Result<Option<Buckets>> {
    let width = match width {
        ScalarValue::IntervalMonthDayNano(Some(width)) => *width,
        width if width.is_null() => return Ok(None),
        other => return exec_err!("{function}: its width is an interval, not {}", other.data_type()),
    };
    let origin_us = match origin {
        None => None,
        Some(ScalarValue::TimestampMicrosecond(Some(us), _)) => Some(*us),
        Some(origin) if origin.is_null() => return Ok(None),
        Some(other) => return exec_err!("{function}: its origin is a timestamp, not {}", other.data_type()),
    };
    Buckets::new(width, origin_us).map(Some).map_err(|refused| exec_datafusion_err!("{function}: {refused}"))
}

/// The type in which a width is taken.
pub fn width_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Interval(_) | DataType::Duration(_) | DataType::Null => Ok(WIDTH),
        given if given.is_string() => Ok(WIDTH),
        other => plan_err!("{function}: its width is an interval such as '1 hour', not {other}"),
    }
}

/// The type in which a time is taken.
pub fn time_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null => Ok(TIME),
        given if given.is_string() => Ok(TIME),
        other => plan_err!("{function} takes a timestamp or a date, not {other}"),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBucket {
    signature: Signature,
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let [width, times @ ..] = given else { return plan_err!("{NAME} takes (width, timestamp [, origin])") };
        if times.is_empty() || times.len() > 2 {
            return Err(plan_datafusion_err!("{NAME} takes (width, timestamp [, origin])"));
        }
        let times = times.iter().map(|time| time_type(NAME, time));
        std::iter::once(width_type(NAME, width)).chain(times).collect()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(TIME)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(value) => Ok(value.clone()),
            ColumnarValue::Array(_) => exec_err!("{NAME}: its width and its origin are constants"),
        };
        let origin = args.args.get(2).map(constant).transpose()?;
        let Some(buckets) = buckets(NAME, &constant(&args.args[0])?, origin.as_ref())? else {
            return Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(None, None)));
        };
        let start_of = |us: i64| {
            buckets.start_of(us).ok_or_else(|| {
                let far = ScalarValue::TimestampMicrosecond(Some(us), None);
                exec_datafusion_err!("{NAME}: the bucket of {far} starts earlier than a timestamp can be")
            })
        };
        match &args.args[1] {
            ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(us, _)) => {
                let start = us.map(start_of).transpose()?;
                Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(start, None)))
            }
            times => {
                let times = times.to_array(args.number_rows)?;
                let starts: TimestampMicrosecondArray =
                    times.as_primitive::<TimestampMicrosecondType>().try_unary(start_of)?;
                Ok(ColumnarValue::Array(Arc::new(starts)))
            }
        }
    }

    /// Later times are never in earlier buckets.
    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        Ok(input.get(1).map_or(SortProperties::Unordered, |time| time.sort_properties))
    }
}
