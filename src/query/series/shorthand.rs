//! Aggregates under the names that people know, where the engine has what they say: each is planned as the
//! expression it stands for, so that it is answered, merged and spilled as that is, from rollups as well.
//!
//! | it is written | it stands for |
//! |---|---|
//! | `first(value, time)` | `first_value(value order by time, value) filter (where both are there)` |
//! | `last(value, time)` | `last_value(value order by time, value) filter (where both are there)` |
//! | `percentile(value, p)` | `percentile_cont(value, p)` |
//! | `approx_percentile(value, p)` | `quantile_of(quantile_sketch(value), p)` |

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::{Result, internal_datafusion_err, plan_err},
    functions_aggregate::{
        first_last::{first_value_udaf, last_value_udaf},
        percentile_cont::percentile_cont_udaf,
    },
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility,
        expr::AggregateFunction,
        function::{AccumulatorArgs, StateFieldsArgs},
        planner::{ExprPlanner, PlannerResult, RawAggregateExpr},
    },
};

use crate::query::sketches;

/// The names, so that statements may use them.
pub fn aggregates() -> Vec<AggregateUDF> {
    Meaning::ALL.into_iter().map(|meaning| AggregateUDF::from(Name::of(meaning))).collect()
}

/// Plans the names as what they stand for.
#[derive(Debug)]
pub struct Shorthands;

impl ExprPlanner for Shorthands {
    fn plan_aggregate(&self, raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let Some(name) = raw.func.inner().downcast_ref::<Name>() else { return Ok(PlannerResult::Original(raw)) };
        let meaning = name.meaning;
        let written = Expr::AggregateFunction(AggregateFunction::new_udf(
            Arc::clone(&raw.func),
            raw.args.clone(),
            raw.distinct,
            raw.filter.clone(),
            raw.order_by.clone(),
            raw.null_treatment,
        ));
        let shown = written.schema_name().to_string();
        Ok(PlannerResult::Planned(meaning.plan(raw)?.alias(shown)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Meaning {
    First,
    Last,
    Percentile,
    ApproxPercentile,
}

impl Meaning {
    const ALL: [Self; 4] = [Self::First, Self::Last, Self::Percentile, Self::ApproxPercentile];

    /// Its name, and those that other engines give it.
    fn names(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::First => ("first", &["min_by", "arg_min", "argmin"]),
            Self::Last => ("last", &["max_by", "arg_max", "argmax"]),
            Self::Percentile => ("percentile", &[]),
            Self::ApproxPercentile => ("approx_percentile", &["approx_quantile"]),
        }
    }

    fn takes(self) -> &'static str {
        match self {
            Self::First | Self::Last => "(value, time)",
            Self::Percentile | Self::ApproxPercentile => "(value, p), p from 0 to 1",
        }
    }

    fn plan(self, raw: RawAggregateExpr) -> Result<Expr> {
        let (name, _) = self.names();
        if raw.distinct || !raw.order_by.is_empty() || raw.null_treatment.is_some() {
            return plan_err!("{name} takes {} without distinct, order by or treatment of nulls", self.takes());
        }
        let Ok([value, by]) = <[Expr; 2]>::try_from(raw.args) else {
            return plan_err!("{name} takes {}", self.takes());
        };
        let call = |func, args, filter, order_by| {
            Expr::AggregateFunction(AggregateFunction::new_udf(func, args, false, filter, order_by, None))
        };
        Ok(match self {
            Self::First | Self::Last => {
                let func = if self == Self::First { first_value_udaf() } else { last_value_udaf() };
                let whole = value.clone().is_not_null().and(by.clone().is_not_null());
                let filter = raw.filter.map_or(whole.clone(), |filter| filter.and(whole));
                let order = vec![by.sort(true, false), value.clone().sort(true, false)];
                call(func, vec![value], Some(Box::new(filter)), order)
            }
            Self::Percentile => call(percentile_cont_udaf(), vec![value, by], raw.filter, Vec::new()),
            Self::ApproxPercentile => {
                let sketch = sketches::aggregates().into_iter().find(|aggregate| aggregate.name() == "quantile_sketch");
                let read = sketches::functions().into_iter().find(|function| function.name() == "quantile_of");
                let missing = || internal_datafusion_err!("the quantile sketch is not there");
                let sketch = call(Arc::new(sketch.ok_or_else(missing)?), vec![value], raw.filter, Vec::new());
                read.ok_or_else(missing)?.call(vec![sketch, by])
            }
        })
    }
}

/// A name that is planned as something else, and so never runs itself.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Name {
    meaning: Meaning,
    aliases: Vec<String>,
    signature: Signature,
}

impl Name {
    fn of(meaning: Meaning) -> Self {
        let aliases = meaning.names().1.iter().map(|alias| (*alias).to_owned()).collect();
        Self { meaning, aliases, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn refused<T>(&self) -> Result<T> {
        let name = self.name();
        match self.meaning {
            Meaning::First | Meaning::Last => {
                plan_err!("{name} is no window function: write {name}_value(value) over (order by time)")
            }
            _ => plan_err!("{name} is no window function: join the groups' percentiles to the rows"),
        }
    }
}

impl AggregateUDFImpl for Name {
    fn name(&self) -> &str {
        self.meaning.names().0
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        self.refused()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        self.refused()
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.refused()
    }

    fn state_fields(&self, _: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.refused()
    }
}
