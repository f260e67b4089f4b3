//! Results as structs: their fields, and the values in them. What a test does not say is null.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, new_empty_array},
    datatypes::{DataType, Field, FieldRef, Fields},
};
use datafusion::{
    common::{Result, ScalarValue, scalar::ScalarStructBuilder},
    logical_expr::ColumnarValue,
};

use crate::stats::{BinnedKs, FisherTest, Interval, Outcome, Psi, SamplesOutcome, TwoSampleTest, WelchTest};

/// Fields of a result, and values of the same number.
pub(super) type Named = Vec<(&'static str, ScalarValue)>;

/// The struct of these fields and values.
pub(super) fn structure(named: Named) -> Result<ScalarValue> {
    let mut builder = ScalarStructBuilder::new();
    for (name, value) in named {
        builder = builder.with_scalar(field(name, &value), value);
    }
    builder.build()
}

/// The type of a struct, told by any of its values.
pub(super) fn structure_type(named: &Named) -> DataType {
    DataType::Struct(named.iter().map(|(name, value)| field(name, value)).collect::<Fields>())
}

fn field(name: &str, value: &ScalarValue) -> FieldRef {
    Arc::new(Field::new(name, value.data_type(), true))
}

/// A column of results.
pub(super) fn column(answer_type: &DataType, answers: Vec<ScalarValue>) -> Result<ColumnarValue> {
    let array: ArrayRef =
        if answers.is_empty() { new_empty_array(answer_type) } else { ScalarValue::iter_to_array(answers)? };
    Ok(ColumnarValue::Array(array))
}

fn number(value: Option<f64>) -> ScalarValue {
    ScalarValue::Float64(value)
}

/// Counts beyond the range of SQL's integers show as its end.
fn count(value: u64) -> ScalarValue {
    ScalarValue::Int64(Some(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn two_samples(test: Option<TwoSampleTest>, n_reference: u64, n_current: u64) -> Named {
    vec![
        ("statistic", number(test.map(|test| test.statistic))),
        ("p_value", number(test.map(|test| test.p_value))),
        ("effect_size", number(test.map(|test| test.effect_size))),
        ("n_reference", count(n_reference)),
        ("n_current", count(n_current)),
        ("insufficient", ScalarValue::from(test.is_none())),
    ]
}

/// A test of two samples.
pub(super) fn outcome(outcome: Outcome) -> Named {
    match outcome {
        Outcome::Tested(test) => two_samples(Some(test), test.n_reference, test.n_current),
        Outcome::Insufficient { n_reference, n_current } => two_samples(None, n_reference, n_current),
    }
}

/// Welch's test, with the means where a side has values.
pub(super) fn welch(tested: Result<WelchTest, Outcome>, means: [Option<f64>; 2]) -> Named {
    let degrees_of_freedom = tested.ok().map(|welch| welch.degrees_of_freedom);
    let mut named = outcome(tested.map_or_else(|insufficient| insufficient, |welch| Outcome::Tested(welch.test)));
    named.push(("degrees_of_freedom", number(degrees_of_freedom)));
    named.push(("mean_reference", number(means[0])));
    named.push(("mean_current", number(means[1])));
    named
}

/// The population stability index; the counts are told where there is none. What chance makes of so few values may not
/// be known although there is an index.
pub(super) fn psi(found: Option<Psi>, n_reference: u64, n_current: u64) -> Named {
    let index = found.map(|psi| psi.index);
    let p_value = found.and_then(|psi| psi.p_value);
    let mut named = vec![
        ("statistic", number(index)),
        ("p_value", number(p_value)),
        ("effect_size", number(index)),
        ("n_reference", count(n_reference)),
        ("n_current", count(n_current)),
        ("insufficient", ScalarValue::from(p_value.is_none())),
    ];
    named.push(("null_threshold", number(found.and_then(|psi| psi.null_threshold))));
    named.push(("bins", found.map_or(ScalarValue::Int64(None), |psi| count(psi.bins))));
    named
}

/// A test of several samples.
pub(super) fn samples(outcome: SamplesOutcome) -> Named {
    let (test, samples, n) = match outcome {
        SamplesOutcome::Tested(test) => (Some(test), test.samples, test.n),
        SamplesOutcome::Insufficient { samples, n } => (None, samples, n),
    };
    vec![
        ("statistic", number(test.map(|test| test.statistic))),
        ("p_value", number(test.map(|test| test.p_value))),
        ("samples", count(samples)),
        ("n", count(n)),
        ("insufficient", ScalarValue::from(test.is_none())),
    ]
}

/// Fisher's test of two shares: the effect is the current share less that of the reference.
pub(super) fn fisher(test: Option<FisherTest>, [[a, b], [c, d]]: [[u64; 2]; 2]) -> Named {
    let (n_reference, n_current) = (a.saturating_add(b), c.saturating_add(d));
    let is_sufficient = n_reference > 0 && n_current > 0;
    let test = test.filter(|_| is_sufficient).map(|test| TwoSampleTest {
        statistic: test.odds_ratio,
        p_value: test.p_value,
        effect_size: c as f64 / n_current as f64 - a as f64 / n_reference as f64,
        n_reference,
        n_current,
    });
    let mut named = two_samples(test, n_reference, n_current);
    // Of two equal and certain shares there is no ratio.
    let odds_ratio = test.map(|test| test.statistic).filter(|ratio| !ratio.is_nan());
    named[0].1 = number(odds_ratio);
    named
}

/// What bins say of a Kolmogorov-Smirnov test: the least D and the largest p-value, and the other ends.
pub(super) fn binned(found: Option<BinnedKs>, n_reference: u64, n_current: u64) -> Named {
    let mut named = two_samples(found.map(|binned| binned.least), n_reference, n_current);
    let greatest = found.map(|binned| binned.greatest);
    named.push(("statistic_max", number(greatest.map(|test| test.statistic))));
    named.push(("p_value_min", number(greatest.map(|test| test.p_value))));
    named
}

/// A confidence interval.
pub(super) fn interval(found: Option<Interval>) -> Named {
    vec![("low", number(found.map(|interval| interval.low))), ("high", number(found.map(|interval| interval.high)))]
}
