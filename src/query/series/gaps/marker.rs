//! The names that stand in a statement until the rule has turned them into a plan. They never run: where one is
//! left over, it says where it belongs.

use arrow::datatypes::DataType;
use datafusion::{
    common::{Result, plan_err, tree_node::TreeNode},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use crate::query::series::time_bucket::{TIME, time_type, width_type};

/// A bucket of time, of a row for each of which there is one.
pub const GAPFILL: &str = "time_bucket_gapfill";
/// The last value observed, carried forward.
pub const LOCF: &str = "locf";
/// The value on the line between the one before and the one after.
pub const INTERPOLATE: &str = "interpolate";

/// All of them.
pub fn functions() -> Vec<ScalarUDF> {
    // Volatile, so that nothing takes them for a constant before they are replaced.
    let marker = |name| Marker { name, signature: Signature::user_defined(Volatility::Volatile) };
    [GAPFILL, LOCF, INTERPOLATE].into_iter().map(|name| ScalarUDF::from(marker(name))).collect()
}

/// The arguments, if this is a call of the name.
pub fn arguments<'a>(expr: &'a Expr, name: &str) -> Option<&'a [Expr]> {
    match expr {
        Expr::ScalarFunction(function) if function.name() == name => Some(&function.args),
        Expr::Alias(alias) => arguments(&alias.expr, name),
        _ => None,
    }
}

/// Whether the name is called anywhere within.
pub fn is_within(expr: &Expr, name: &str) -> bool {
    expr.exists(|node| Ok(matches!(node, Expr::ScalarFunction(function) if function.name() == name))).unwrap_or(false)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    signature: Signature,
}

impl Marker {
    fn misplaced<T>(&self) -> Result<T> {
        match self.name {
            GAPFILL => plan_err!("{GAPFILL} is a column of `group by`"),
            name => plan_err!("{name} is a column of a `select` that groups by {GAPFILL}"),
        }
    }
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match (self.name, given) {
            (GAPFILL, [width, times @ ..]) if matches!(times.len(), 1 | 3) => {
                let times = times.iter().map(|time| time_type(GAPFILL, time));
                std::iter::once(width_type(GAPFILL, width)).chain(times).collect()
            }
            (GAPFILL, _) => plan_err!("{GAPFILL} takes (width, timestamp [, start, finish])"),
            (LOCF, [value]) => Ok(vec![value.clone()]),
            (INTERPOLATE, [value]) if value.is_numeric() || *value == DataType::Null => Ok(vec![DataType::Float64]),
            (INTERPOLATE, _) => plan_err!("{INTERPOLATE} takes a number"),
            (name, _) => plan_err!("{name} takes one value"),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok(match self.name {
            GAPFILL => TIME,
            LOCF => given.first().cloned().unwrap_or(DataType::Null),
            _ => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.misplaced()
    }
}
