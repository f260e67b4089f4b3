//! An experiment's answer: arms in, judged figures out, each with its unit, sample sizes and range of time. Its
//! serialization is the JSON format. Never asks for figures, and never reads a clock.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    boundary::Boundary,
    compare::{Adjustment, Compared, Finding, Method, Side, compare},
    metric::{Better, COST_PER_CALL, METRICS, Metric},
    moments::Moments,
    ratio::DENOMINATOR,
    split::{SplitCheck, SplitState, check_split},
    verdict::{MetricState, Told, Verdict, e_benjamini_hochberg},
};

/// A difference of nothing is called one with this probability at most, over all looks: for each metric on its own,
/// and for all verdicts of an experiment together.
pub const FALSE_POSITIVE_RATE: f64 = 0.05;
/// Units of both arms for which intervals are narrowest, unless others are planned.
pub const PLANNED_UNITS: f64 = 2_000.0;
/// Names that are taken for the control, the first of them that is there.
const CONTROL_NAMES: [&str; 6] = ["control", "baseline", "default", "off", "a", "0"];

/// What was randomised: whose figures are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExperimentUnit)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// `user_id`, within its tenant.
    User,
    /// `session_id`, within its tenant.
    Session,
    /// Each call.
    Call,
}

impl Unit {
    /// All, the coarsest first.
    pub const ALL: [Self; 3] = [Self::User, Self::Session, Self::Call];

    /// The name, as parameters have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Session => "session",
            Self::Call => "call",
        }
    }
}

/// One variant's calls, summed up.
pub struct Arm {
    /// The variant.
    pub variant: String,
    /// Units that met no other variant.
    pub units: u64,
    /// Of them, those that had calls before the experiment; 0 where there is no such time.
    pub units_before: u64,
    /// Their calls.
    pub calls: u64,
    /// Moments of numerator and denominator, during and before, one for each of [`METRICS`].
    pub moments: Vec<Moments>,
    /// Quantiles of `latency_ms` by level.
    pub latency_ms: Box<dyn Fn(f64) -> Option<f64> + Send + Sync>,
    /// How far these may be off, as a share of the value.
    pub latency_error: f64,
}

/// What was asked, and what was found out about the experiment before its metrics.
#[derive(Debug, Clone)]
pub struct Design {
    /// The experiment.
    pub experiment_id: String,
    /// Range of the calls, µs since the epoch, UTC; the end exclusive.
    pub range_us: [i64; 2],
    /// First and last call in it.
    pub seen_us: [i64; 2],
    /// The unit, and why this one.
    pub unit: Unit,
    /// Why this unit.
    pub unit_reason: String,
    /// The variant that the others are compared with, if one was named.
    pub control: Option<String>,
    /// Weights of the variants as they were meant; equal ones where none are named.
    pub split: Vec<(String, f64)>,
    /// Units of both arms for which intervals are to be narrowest. Chosen before the data are seen.
    pub planned_units: f64,
    /// The time before, or why there is none.
    pub before: Result<[i64; 2], String>,
    /// What counts for no variant.
    pub left_out: LeftOut,
}

/// What counts for no variant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExperimentLeftOut)]
pub struct LeftOut {
    /// Calls of the experiment that name no variant.
    pub calls_without_variant: u64,
    /// Calls that do not carry the unit's id.
    pub calls_without_unit: u64,
    /// Units that met several variants.
    pub units_in_several_variants: u64,
}

/// What is said of an experiment.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ExperimentAnswer)]
pub struct Answer {
    /// The experiment.
    pub experiment_id: String,
    /// Start of the range, UTC.
    pub from: String,
    /// End of the range, exclusive.
    pub to: String,
    /// First call of the experiment in the range.
    pub first_call: String,
    /// Last call of the experiment in the range.
    pub last_call: String,
    /// What was randomised.
    pub unit: Unit,
    /// Why this unit.
    pub unit_reason: String,
    /// The variant that the others are compared with.
    pub control: String,
    /// Probability that nothing is called a difference, over all looks, of each metric of each variant on its own.
    pub false_positive_rate: f64,
    /// That of each interval: the former divided by the number of variants that are compared.
    pub interval_level: f64,
    /// Units of both arms for which intervals are narrowest.
    pub planned_units: f64,
    /// The variants, the control first.
    pub variants: Vec<VariantSize>,
    /// Whether they have the shares that were meant.
    pub split: SplitCheck,
    /// What counts for no variant.
    pub left_out: LeftOut,
    /// The time before, which differences are adjusted by.
    pub before: Before,
    /// Every variant but the control.
    pub comparisons: Vec<VariantAnswer>,
}

/// How large a variant is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ExperimentVariantSize)]
pub struct VariantSize {
    /// The variant.
    pub variant: String,
    /// Units that met no other variant.
    pub units: u64,
    /// Of them, those with calls in the time before.
    pub units_before: u64,
    /// Their calls.
    pub calls: u64,
    /// Of them, those of which no cost is known.
    pub calls_without_cost: u64,
    /// Share of the units.
    pub share: f64,
    /// Share that was meant.
    pub share_meant: f64,
}

/// The time before the experiment.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ExperimentBefore)]
pub struct Before {
    /// Its start, UTC; null without one.
    pub from: Option<String>,
    /// Its end, exclusive: the first call of the experiment.
    pub to: Option<String>,
    /// Why there is none.
    pub reason: Option<String>,
}

/// A variant against the control.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ExperimentVariantAnswer)]
pub struct VariantAnswer {
    /// The variant.
    pub variant: String,
    /// In words.
    pub verdict: Verdict,
    /// Metric by metric.
    pub metrics: Vec<MetricAnswer>,
}

/// A metric of a variant against the control.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ExperimentMetricAnswer)]
pub struct MetricAnswer {
    /// The metric.
    pub name: &'static str,
    /// Unit of all its figures but shares and counts.
    pub unit: &'static str,
    /// Which side is better.
    pub better: Better,
    /// What its samples are.
    pub samples: &'static str,
    /// The control's figure.
    pub control: SideFigure,
    /// The variant's figure.
    pub variant: SideFigure,
    /// What is said.
    pub state: MetricState,
    /// Why nothing is said, where too little is known.
    pub reason: Option<String>,
    /// Whether the difference holds for the experiment as a whole: its e-value at the false discovery rate.
    pub holds_for_all: bool,
    /// The difference, where enough is known.
    #[serde(flatten)]
    #[schema(value_type = DifferenceFigure)]
    pub difference: Option<DifferenceFigure>,
}

/// A metric's figure of one variant.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = ExperimentSideFigure)]
pub struct SideFigure {
    /// The figure; null without samples.
    pub value: Option<f64>,
    /// Units with a sample.
    pub units: u64,
    /// Samples.
    pub samples: u64,
}

/// A difference and how sure it is. Its fields are absent together, where too little is known.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = ExperimentDifferenceFigure)]
pub struct DifferenceFigure {
    /// Variant less control, adjusted where `adjustment` is there.
    #[schema(required = false)]
    pub difference: f64,
    /// Bounds that hold at all looks together.
    #[schema(required = false)]
    pub low: f64,
    /// The upper one.
    #[schema(required = false)]
    pub high: f64,
    /// The same three as shares of the control's figure; null where that is 0.
    #[schema(required = false)]
    pub change: Option<[f64; 3]>,
    /// Evidence against "no difference", as a bet's return: 1 is none, 20 is the false positive rate. At most e⁷⁰⁰.
    #[schema(required = false)]
    pub e_value: f64,
    /// The difference that this look alone would find with a probability of 80 %.
    #[schema(required = false)]
    pub detectable: Option<f64>,
    /// How it was bounded.
    #[schema(required = false)]
    pub method: Method,
    /// What the time before took off.
    #[schema(required = false)]
    pub adjustment: Option<Adjustment>,
}

impl Answer {
    /// Judges an experiment's arms.
    ///
    /// # Errors
    ///
    /// What does not fit, in words: fewer than two variants, a control or a split that names others.
    pub fn new(design: Design, mut arms: Vec<Arm>) -> Result<Self, String> {
        arms.sort_unstable_by(|one, two| one.variant.cmp(&two.variant));
        let control = control_of(&arms, design.control.as_deref())?;
        let control = arms.remove(control);
        arms.insert(0, control);
        let shares = shares_of(&arms, &design.split)?;
        let units: Vec<u64> = arms.iter().map(|arm| arm.units).collect();
        let split = check_split(&units, &shares, design.planned_units);
        let (control, others) = (&arms[0], &arms[1..]);
        let interval_level = FALSE_POSITIVE_RATE / others.len() as f64;
        let boundary = Boundary::new(interval_level, design.planned_units);
        let findings: Vec<Vec<Finding>> = others.iter().map(|arm| findings(control, arm, &boundary)).collect();
        let is_mismatched = split.state == SplitState::Mismatch;
        let mut held = held(&findings).into_iter();
        let comparisons = others.iter().zip(findings).map(|(arm, findings)| {
            let answers = METRICS.iter().enumerate().zip(findings).map(|((place, metric), finding)| {
                let holds = matches!(finding, Finding::Compared(_)) && held.next() == Some(true);
                MetricAnswer::new(metric, [control.side(place), arm.side(place)], finding, holds)
            });
            let metrics: Vec<MetricAnswer> = answers.collect();
            let told = metrics.iter().map(MetricAnswer::told).collect::<Vec<_>>();
            VariantAnswer { variant: arm.variant.clone(), verdict: Verdict::new(is_mismatched, &told), metrics }
        });
        let comparisons: Vec<VariantAnswer> = comparisons.collect();
        let total = units.iter().sum::<u64>().max(1) as f64;
        let (before, reason) = match design.before {
            Ok(range) => (Some(range), None),
            Err(reason) => (None, Some(reason)),
        };
        Ok(Self {
            experiment_id: design.experiment_id,
            from: time(design.range_us[0]),
            to: time(design.range_us[1]),
            first_call: time(design.seen_us[0]),
            last_call: time(design.seen_us[1]),
            unit: design.unit,
            unit_reason: design.unit_reason,
            control: control.variant.clone(),
            false_positive_rate: FALSE_POSITIVE_RATE,
            interval_level,
            planned_units: design.planned_units,
            variants: arms
                .iter()
                .zip(&shares)
                .map(|(arm, share)| VariantSize {
                    variant: arm.variant.clone(),
                    units: arm.units,
                    units_before: arm.units_before,
                    calls: arm.calls,
                    calls_without_cost: (arm.calls as f64 - arm.calls_with_cost()).max(0.0) as u64,
                    share: arm.units as f64 / total,
                    share_meant: *share,
                })
                .collect(),
            split,
            left_out: design.left_out,
            before: Before { from: before.map(|range| time(range[0])), to: before.map(|range| time(range[1])), reason },
            comparisons,
        })
    }
}

impl Arm {
    fn side(&self, metric: usize) -> Side<'_> {
        Side {
            name: &self.variant,
            units_before: self.units_before as f64,
            moments: &self.moments[metric],
            quantile: &self.latency_ms,
            quantile_error: self.latency_error,
            calls: self.calls as f64,
            calls_with_cost: self.calls_with_cost(),
        }
    }

    fn calls_with_cost(&self) -> f64 {
        let place = METRICS.iter().position(|metric| metric.name == COST_PER_CALL);
        place.map_or(0.0, |place| self.moments[place].sum(DENOMINATOR).round())
    }
}

impl MetricAnswer {
    fn new(metric: &Metric, sides: [Side<'_>; 2], finding: Finding, holds: bool) -> Self {
        let [control, variant] = sides.map(|side| SideFigure {
            value: side.value(metric).filter(|_| side.moments.count() > 0.0),
            units: side.moments.count().round() as u64,
            samples: side.moments.sum(DENOMINATOR).round() as u64,
        });
        let (state, reason, difference) = match finding {
            Finding::NotMeasured => (MetricState::NotMeasured, None, None),
            Finding::Insufficient(reason) => (MetricState::Insufficient, Some(reason), None),
            Finding::Compared(compared) => {
                let figure = DifferenceFigure::new(&compared, control.value);
                let state = if compared.interval.contains(0.0) {
                    MetricState::Undecided
                } else {
                    MetricState::of_difference(compared.interval.low, metric.better)
                };
                (state, None, Some(figure))
            }
        };
        let is_difference = matches!(state, MetricState::Better | MetricState::Worse | MetricState::Differs);
        Self {
            name: metric.name,
            unit: metric.unit,
            better: metric.better,
            samples: metric.samples,
            control,
            variant,
            state,
            reason,
            holds_for_all: holds && is_difference,
            difference,
        }
    }

    fn told(&self) -> Told {
        Told { name: self.name, state: self.state, holds: self.holds_for_all }
    }
}

impl DifferenceFigure {
    fn new(compared: &Compared, control: Option<f64>) -> Self {
        let Compared { difference, interval, ln_e, detectable, method, adjustment } = *compared;
        let change = control
            .filter(|value| *value != 0.0)
            .map(|value| [difference, interval.low, interval.high].map(|part| part / value.abs()));
        let e_value = ln_e.min(700.0).exp();
        Self { difference, low: interval.low, high: interval.high, change, e_value, detectable, method, adjustment }
    }
}

fn findings(control: &Arm, variant: &Arm, boundary: &Boundary) -> Vec<Finding> {
    let metrics = METRICS.iter().enumerate();
    metrics.map(|(place, metric)| compare(metric, [&control.side(place), &variant.side(place)], boundary)).collect()
}

/// Which of the compared differences hold for all of them together, in their order.
fn held(findings: &[Vec<Finding>]) -> Vec<bool> {
    let compared = findings.iter().flatten().filter_map(|finding| match finding {
        Finding::Compared(compared) => Some(compared.ln_e),
        _ => None,
    });
    e_benjamini_hochberg(&compared.collect::<Vec<_>>(), FALSE_POSITIVE_RATE)
}

/// Where the control stands among the arms.
fn control_of(arms: &[Arm], asked: Option<&str>) -> Result<usize, String> {
    let names = || arms.iter().map(|arm| arm.variant.as_str()).collect::<Vec<_>>().join(", ");
    if arms.len() < 2 {
        return Err(format!(
            "a comparison needs two variants; the range has {}",
            if arms.is_empty() { "none".to_owned() } else { names() }
        ));
    }
    match asked {
        Some(asked) => arms
            .iter()
            .position(|arm| arm.variant == asked)
            .ok_or_else(|| format!("control={asked} is no variant of it; there are {}", names())),
        None => {
            let mut known = CONTROL_NAMES.iter();
            let found = known.find_map(|name| arms.iter().position(|arm| arm.variant.eq_ignore_ascii_case(name)));
            found.ok_or_else(|| format!("no variant is called control: name one with control=; there are {}", names()))
        }
    }
}

/// The shares that were meant, in the order of the arms.
fn shares_of(arms: &[Arm], split: &[(String, f64)]) -> Result<Vec<f64>, String> {
    if split.is_empty() {
        return Ok(vec![1.0 / arms.len() as f64; arms.len()]);
    }
    if let Some((name, _)) = split.iter().find(|(name, _)| arms.iter().all(|arm| arm.variant != *name)) {
        return Err(format!("split: {name} is no variant of it"));
    }
    let weight = |arm: &Arm| {
        let found = split.iter().find(|(name, _)| *name == arm.variant);
        found.map(|(_, weight)| *weight).ok_or_else(|| format!("split: the weight of {} is missing", arm.variant))
    };
    let weights: Vec<f64> = arms.iter().map(weight).collect::<Result<_, _>>()?;
    let sum: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|weight| weight / sum).collect())
}

fn time(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| us.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
