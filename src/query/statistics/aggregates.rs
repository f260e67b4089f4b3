//! The aggregates. Each takes `(value, is_current)`, but for those that compare more than two samples.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::{
    common::{Result, ScalarValue, exec_err, not_impl_err, plan_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::{
    counts::{Counts, Pairs},
    groups::{Answer, Collection, Groups, Single},
    results::{self, structure, structure_type},
    samples::{NamedSamples, Samples, TwoMoments, Unsorted},
};
use crate::stats::{
    EXACT_COUNT_MAX, Moments, Outcome, SamplesOutcome, anderson_darling_test, chi2_test, cliffs_delta,
    cramer_von_mises_test, cramers_v, decile_counts, fisher_exact_test, g_test, jensen_shannon_distance,
    ks_test_of_parts, mann_whitney_test, psi, wasserstein_distance, welch_t_test,
};

/// All statistical aggregates.
pub fn aggregates() -> Vec<AggregateUDF> {
    Statistic::ALL.into_iter().map(|statistic| AggregateUDF::from(Statistical::new(statistic))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Statistic {
    KolmogorovSmirnov,
    MannWhitney,
    CramerVonMises,
    AndersonDarling,
    Welch,
    ChiSquared,
    G,
    Fisher,
    Psi,
    Wasserstein,
    JensenShannon,
    CliffsDelta,
    CramersV,
}

/// What an aggregate collects of its rows, and how that is answered.
enum Collected {
    Samples(Answer<Samples>),
    Unsorted(Answer<Unsorted>),
    NamedSamples(Answer<NamedSamples>),
    Moments(Answer<TwoMoments>),
    Counts(Answer<Counts>),
    Pairs(Answer<Pairs>),
}

impl Statistic {
    const ALL: [Self; 13] = [
        Self::KolmogorovSmirnov,
        Self::MannWhitney,
        Self::CramerVonMises,
        Self::AndersonDarling,
        Self::Welch,
        Self::ChiSquared,
        Self::G,
        Self::Fisher,
        Self::Psi,
        Self::Wasserstein,
        Self::JensenShannon,
        Self::CliffsDelta,
        Self::CramersV,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::KolmogorovSmirnov => "ks_test",
            Self::MannWhitney => "mann_whitney_test",
            Self::CramerVonMises => "cramer_von_mises_test",
            Self::AndersonDarling => "anderson_darling_test",
            Self::Welch => "welch_t_test",
            Self::ChiSquared => "chi2_test",
            Self::G => "g_test",
            Self::Fisher => "fisher_exact_test",
            Self::Psi => "psi",
            Self::Wasserstein => "wasserstein_distance",
            Self::JensenShannon => "jensen_shannon_distance",
            Self::CliffsDelta => "cliffs_delta",
            Self::CramersV => "cramers_v",
        }
    }

    /// The types in which it takes its arguments; none for what it does not take. It takes these as they are: the
    /// engine asks more than once.
    fn arguments(self, value: &DataType, other: &DataType) -> Option<[DataType; 2]> {
        let number = || is_number(value).then_some(DataType::Float64);
        let is_current = || matches!(other, DataType::Boolean | DataType::Null).then_some(DataType::Boolean);
        let numbers = || Some([number()?, is_current()?]);
        let categories = || Some([category(value)?, is_current()?]);
        match self {
            Self::KolmogorovSmirnov
            | Self::MannWhitney
            | Self::CramerVonMises
            | Self::Welch
            | Self::Wasserstein
            | Self::CliffsDelta => numbers(),
            Self::ChiSquared | Self::G => categories(),
            Self::Psi | Self::JensenShannon => numbers().or_else(categories),
            Self::Fisher => match value {
                DataType::Boolean | DataType::Null => Some([DataType::Boolean, is_current()?]),
                _ => None,
            },
            Self::AndersonDarling => Some([number()?, category(other)?]),
            Self::CramersV => Some([category(value)?, category(other)?]),
        }
    }

    fn takes(self) -> &'static str {
        match self {
            Self::KolmogorovSmirnov => {
                "(value, is_current), a number and a boolean; categories are compared by chi2_test"
            }
            Self::MannWhitney | Self::CramerVonMises | Self::Welch | Self::Wasserstein | Self::CliffsDelta => {
                "(value, is_current), a number and a boolean"
            }
            Self::ChiSquared | Self::G => "(category, is_current), what can be written as text and a boolean",
            Self::Psi | Self::JensenShannon => "(value, is_current), a number or a category, and a boolean",
            Self::Fisher => "(outcome, is_current), two booleans",
            Self::AndersonDarling => "(value, sample), a number and what can be written as text",
            Self::CramersV => "(category, category), what can be written as text",
        }
    }

    /// As the arguments' types, once they are taken, say.
    fn collected(self, value: &DataType) -> Collected {
        let is_number = *value == DataType::Float64;
        match self {
            Self::KolmogorovSmirnov => Collected::Unsorted(|samples| {
                let [reference, current] = samples.values();
                structure(results::outcome(ks_test_of_parts(&reference, &current)))
            }),
            Self::MannWhitney => Collected::Samples(|samples| {
                let [reference, current] = samples.whole();
                structure(results::outcome(mann_whitney_test(reference, current)))
            }),
            Self::CramerVonMises => Collected::Samples(|samples| {
                let [reference, current] = samples.whole();
                structure(results::outcome(cramer_von_mises_test(reference, current)))
            }),
            Self::Wasserstein => Collected::Samples(wasserstein),
            Self::CliffsDelta => Collected::Samples(|samples| {
                let [reference, current] = samples.whole();
                Ok(ScalarValue::Float64(cliffs_delta(reference, current)))
            }),
            Self::Psi if is_number => Collected::Samples(|s| psi_of(&deciles(s))),
            Self::Psi => Collected::Counts(|counts| psi_of(&counts.sorted())),
            Self::JensenShannon if is_number => {
                Collected::Samples(|s| Ok(ScalarValue::Float64(jensen_shannon_distance(&deciles(s)))))
            }
            Self::JensenShannon => {
                Collected::Counts(|counts| Ok(ScalarValue::Float64(jensen_shannon_distance(&counts.sorted()))))
            }
            Self::ChiSquared => Collected::Counts(|counts| structure(results::outcome(chi2_test(&counts.sorted())))),
            Self::G => Collected::Counts(|counts| structure(results::outcome(g_test(&counts.sorted())))),
            Self::Fisher => Collected::Counts(fisher),
            Self::AndersonDarling => Collected::NamedSamples(anderson_darling),
            Self::Welch => Collected::Moments(|sides| structure(welch(&sides.reference, &sides.current))),
            Self::CramersV => Collected::Pairs(|pairs| Ok(ScalarValue::Float64(cramers_v(&pairs.cells())))),
        }
    }

    /// The type of its answer, whatever the rows.
    fn answer_type(self) -> DataType {
        let nothing = Outcome::Insufficient { n_reference: 0, n_current: 0 };
        let nothing_of_samples = SamplesOutcome::Insufficient { samples: 0, n: 0 };
        match self {
            Self::Wasserstein | Self::JensenShannon | Self::CliffsDelta | Self::CramersV => DataType::Float64,
            Self::Welch => structure_type(&results::welch(Err(nothing), [None, None])),
            Self::Psi => structure_type(&results::psi(None, 0, 0)),
            Self::AndersonDarling => structure_type(&results::samples(nothing_of_samples)),
            _ => structure_type(&results::outcome(nothing)),
        }
    }
}

fn is_number(given: &DataType) -> bool {
    given.is_numeric() || *given == DataType::Null
}

/// The type of a category: texts and flags as they are stored, so that nothing is copied.
fn category(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Boolean | DataType::Utf8 | DataType::Utf8View => Some(given.clone()),
        given if given.is_nested() || given.is_binary() => None,
        _ => Some(DataType::Utf8),
    }
}

fn wasserstein(samples: &mut Samples) -> Result<ScalarValue> {
    let [reference, current] = samples.finite();
    Ok(ScalarValue::Float64(wasserstein_distance(reference, current)))
}

fn deciles(samples: &mut Samples) -> Vec<(u64, u64)> {
    let [reference, current] = samples.finite();
    decile_counts(reference, current)
}

fn psi_of(counts: &[(u64, u64)]) -> Result<ScalarValue> {
    let (n_reference, n_current) = counts.iter().fold((0, 0), |(reference, current), count| {
        (u64::saturating_add(reference, count.0), u64::saturating_add(current, count.1))
    });
    structure(results::psi(psi(counts), n_reference, n_current))
}

fn fisher(counts: &mut Counts) -> Result<ScalarValue> {
    let (happened, not) = (counts.of("true"), counts.of("false"));
    let table = [[happened.0, not.0], [happened.1, not.1]];
    match fisher_exact_test(table) {
        Some(test) => structure(results::fisher(Some(test), table)),
        None => exec_err!("fisher_exact_test takes at most {EXACT_COUNT_MAX} rows; chi2_test takes any number"),
    }
}

fn anderson_darling(named: &mut NamedSamples) -> Result<ScalarValue> {
    let mut samples: Vec<Vec<f64>> = named.samples.values().cloned().collect();
    structure(results::samples(anderson_darling_test(&mut samples)))
}

fn welch(reference: &Moments, current: &Moments) -> results::Named {
    let mean = |moments: &Moments| (moments.count > 0).then_some(moments.mean);
    results::welch(welch_t_test(reference, current), [mean(reference), mean(current)])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Statistical {
    statistic: Statistic,
    signature: Signature,
}

impl Statistical {
    fn new(statistic: Statistic) -> Self {
        Self { statistic, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn collected(&self, args: &AccumulatorArgs) -> Result<Collected> {
        match args.expr_fields {
            [value, _] => Ok(self.statistic.collected(value.data_type())),
            _ => plan_err!("{} takes {}", self.name(), self.statistic.takes()),
        }
    }
}

impl AggregateUDFImpl for Statistical {
    fn name(&self) -> &str {
        self.statistic.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let taken = match given {
            [value, other] => self.statistic.arguments(value, other),
            _ => None,
        };
        match taken {
            Some(types) => Ok(types.into()),
            None => plan_err!("{} takes {}", self.name(), self.statistic.takes()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.statistic.answer_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = args.input_fields.first().map_or(&DataType::Null, |field| field.data_type());
        let fields = match self.statistic.collected(value) {
            Collected::Samples(_) => Samples::fields(),
            Collected::Unsorted(_) => Unsorted::fields(),
            Collected::NamedSamples(_) => NamedSamples::fields(),
            Collected::Moments(_) => TwoMoments::fields(),
            Collected::Counts(_) => Counts::fields(),
            Collected::Pairs(_) => Pairs::fields(),
        };
        let named = |(part, data_type)| Arc::new(Field::new(format!("{}[{part}]", args.name), data_type, true));
        Ok(fields.into_iter().map(named).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("{} counts every row; distinct is not for it", self.name());
        }
        Ok(match self.collected(&args)? {
            Collected::Samples(answer) => Box::new(Single::new(answer)),
            Collected::Unsorted(answer) => Box::new(Single::new(answer)),
            Collected::NamedSamples(answer) => Box::new(Single::new(answer)),
            Collected::Moments(answer) => Box::new(Single::new(answer)),
            Collected::Counts(answer) => Box::new(Single::new(answer)),
            Collected::Pairs(answer) => Box::new(Single::new(answer)),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let answer_type = self.statistic.answer_type();
        Ok(match self.collected(&args)? {
            Collected::Samples(answer) => Box::new(Groups::new(answer, answer_type)),
            Collected::Unsorted(answer) => Box::new(Groups::new(answer, answer_type)),
            Collected::NamedSamples(answer) => Box::new(Groups::new(answer, answer_type)),
            Collected::Moments(answer) => Box::new(Groups::new(answer, answer_type)),
            Collected::Counts(answer) => Box::new(Groups::new(answer, answer_type)),
            Collected::Pairs(answer) => Box::new(Groups::new(answer, answer_type)),
        })
    }
}
