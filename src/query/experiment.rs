//! Experiments as questions: how large the variants are, what was randomised, what came before, and each unit's
//! figures. What they say is judged by `experiment`.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::DataType,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Engine, LibraryKind, Range, moment::text_of};
use crate::{
    error::{Context, Error, Kind, Result},
    experiment::{Answer, Arm, Design, LATENCY_LEVEL, LeftOut, METRICS, Moments, PLANNED_UNITS, Unit},
    named::parse_time,
    sketch::{QuantileSketch, Sketch},
};

/// Most variants of an experiment that is compared.
const VARIANTS_MAX: usize = 20;
/// Most rows of the list, each an experiment's variant.
const LIST_MAX: usize = 1_000;
/// Share of the calls that carry an id, from which on it may be what was randomised.
const CARRIED_MIN: f64 = 0.9;
/// Share of the units in several variants, above which something else was randomised.
const SEVERAL_MAX: f64 = 0.1;
/// Length of the time before an experiment unless another is named, days.
const BEFORE_DAYS: i64 = 28;
const BEFORE_DAYS_MAX: i64 = 366;
const DAY_US: i64 = 86_400_000_000;

/// What to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRequest {
    experiment_id: String,
    range: Range,
    tenant_id: Option<String>,
    agent_id: Option<String>,
    /// What was randomised; found out where it is not named.
    unit: Option<Unit>,
    control: Option<String>,
    split: Vec<(String, f64)>,
    before_days: i64,
    planned_units: f64,
}

impl ExperimentRequest {
    /// The request of parameters as text. Empty values are as if they were not there.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names the parameter.
    pub fn parse<'a>(
        experiment_id: &str,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
        now_us: i64,
    ) -> Result<Self> {
        let time = |name: &str, text: &str| {
            parse_time(text, now_us).map_err(|reason| Error::invalid(format!("{name}: {reason}")))
        };
        let mut request = Self {
            experiment_id: experiment_id.to_owned(),
            range: Range { from_us: time("from", "now-90d")?, to_us: time("to", "now")? },
            tenant_id: None,
            agent_id: None,
            unit: None,
            control: None,
            split: Vec::new(),
            before_days: BEFORE_DAYS,
            planned_units: PLANNED_UNITS,
        };
        for (name, text) in parameters.into_iter().filter(|(_, text)| !text.is_empty()) {
            match name {
                "from" => request.range.from_us = time(name, text)?,
                "to" => request.range.to_us = time(name, text)?,
                "tenant_id" => request.tenant_id = Some(text.to_owned()),
                "agent_id" => request.agent_id = Some(text.to_owned()),
                "unit" => request.unit = Some(unit_of(text)?),
                "control" => request.control = Some(text.to_owned()),
                "split" => request.split = split_of(text)?,
                "before_days" => request.before_days = before_days_of(text)?,
                "planned_units" => request.planned_units = planned_units_of(text)?,
                _ => {
                    return Err(Error::invalid(format!(
                        "{name} is no parameter of an experiment; there are from, to, tenant_id, agent_id, unit, \
                         control, split, before_days, planned_units"
                    )));
                }
            }
        }
        if request.range.from_us >= request.range.to_us {
            return Err(Error::invalid("from is not before to"));
        }
        Ok(request)
    }
}

fn unit_of(text: &str) -> Result<Unit> {
    Unit::ALL
        .into_iter()
        .find(|unit| unit.name() == text)
        .ok_or_else(|| Error::invalid(format!("unit={text} is not one of user, session, call")))
}

/// `control=9,treatment=1`.
fn split_of(text: &str) -> Result<Vec<(String, f64)>> {
    let part = |part: &str| {
        let (name, weight) = part.rsplit_once('=')?;
        let weight: f64 = weight.trim().parse().ok()?;
        (weight.is_finite() && weight > 0.0).then(|| (name.trim().to_owned(), weight))
    };
    let wrong = || Error::invalid(format!("split={text} is no split: write the weights, as control=9,treatment=1"));
    text.split(',').map(|text| part(text).ok_or_else(wrong)).collect()
}

fn before_days_of(text: &str) -> Result<i64> {
    let days = text.parse().ok().filter(|days| (0..=BEFORE_DAYS_MAX).contains(days));
    days.ok_or_else(|| Error::invalid(format!("before_days={text} is not from 0, for none, to {BEFORE_DAYS_MAX}")))
}

fn planned_units_of(text: &str) -> Result<f64> {
    let units: Option<f64> = text.parse().ok().filter(|units| (100.0..=1e9).contains(units));
    units.ok_or_else(|| Error::invalid(format!("planned_units={text} is not from 100 to 1000000000")))
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ExperimentLine {
    /// The experiment.
    pub experiment_id: String,
    /// First call in the range, UTC.
    pub first_call: String,
    /// Last call in the range, UTC.
    pub last_call: String,
    /// Calls, those without a variant included.
    pub calls: u64,
    /// Its variants, by name; null for calls that name none.
    pub variants: Vec<VariantLine>,
}

/// A variant of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ExperimentVariantLine)]
pub struct VariantLine {
    /// The variant.
    pub variant: Option<String>,
    /// Its calls.
    pub calls: u64,
    /// Different users; exact for a few hundred, above with a standard error of 1.6 %.
    pub users: u64,
    /// Different sessions; the same.
    pub sessions: u64,
}

#[derive(Deserialize)]
struct ListRow {
    experiment_id: String,
    first_call: String,
    last_call: String,
    #[serde(flatten)]
    variant: VariantLine,
}

#[derive(Deserialize)]
struct OverviewRow {
    variant: Option<String>,
    calls: u64,
    first_us: i64,
    last_us: i64,
    calls_with_user: u64,
    calls_with_session: u64,
}

#[derive(Deserialize)]
struct UnitsRow {
    variant: Option<String>,
    units: u64,
    units_before: u64,
    calls: u64,
    #[serde(flatten)]
    moments: BTreeMap<String, Vec<f64>>,
}

/// The experiment before its figures.
struct Overview {
    rows: Vec<OverviewRow>,
    /// First call of all, those before the range included.
    first_us: i64,
    last_us: i64,
    /// Calls of the range that name a variant.
    calls: u64,
}

/// The units' rows: those of each variant, and how many met several.
struct Units {
    arms: Vec<(String, UnitsRow)>,
    in_several: u64,
    /// Calls of all of them.
    calls: u64,
}

impl Units {
    fn of(rows: Vec<UnitsRow>) -> Self {
        let calls = rows.iter().map(|row| row.calls).sum();
        let several = rows.iter().filter(|row| row.variant.is_none());
        let in_several = several.map(|row| row.units).sum();
        let arms = rows.into_iter().filter_map(|mut row| Some((row.variant.take()?, row))).collect();
        Self { arms, in_several, calls }
    }

    /// Whether few enough met several variants.
    fn are_randomised(&self) -> bool {
        let total = self.in_several + self.arms.iter().map(|(_, row)| row.units).sum::<u64>();
        self.in_several as f64 <= SEVERAL_MAX * total as f64
    }
}

/// The time before, µs since the epoch, or why there is none.
type Before = Result<[i64; 2], String>;

impl Engine {
    /// The experiments that have calls in a range.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for parameters that do not fit, [`Kind::Exhausted`] for too many variants.
    pub async fn experiments<'a>(
        &self,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<ExperimentLine>> {
        let limit = (LIST_MAX + 1).to_string();
        let mut arguments = vec![("limit", limit.as_str())];
        for (name, text) in parameters.into_iter().filter(|(name, text)| *name != "limit" && !text.is_empty()) {
            arguments.push((name, text));
        }
        let rows: Vec<ListRow> = self.named(LibraryKind::Queries, "experiments", arguments).await?.collect_as().await?;
        if rows.len() > LIST_MAX {
            let message = format!("more than {LIST_MAX} variants of experiments: ask for a shorter range");
            return Err(Error::new(Kind::Exhausted, message));
        }
        let mut lines: Vec<ExperimentLine> = Vec::new();
        for row in rows {
            match lines.last_mut().filter(|line| line.experiment_id == row.experiment_id) {
                Some(line) => line.add(row),
                None => lines.push(ExperimentLine {
                    experiment_id: row.experiment_id,
                    first_call: row.first_call,
                    last_call: row.last_call,
                    calls: row.variant.calls,
                    variants: vec![row.variant],
                }),
            }
        }
        Ok(lines)
    }

    /// An experiment's variants, compared.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for an experiment without calls in the range, [`Kind::Invalid`] for a request that does
    /// not fit it, [`Kind::Exhausted`] for too many variants.
    pub async fn experiment(&self, request: &ExperimentRequest) -> Result<Answer> {
        let overview = self.experiment_overview(request).await?;
        let mut candidates = overview.candidates(request.unit).into_iter();
        let mut asked = candidates.next();
        while let Some((unit, reason)) = asked {
            let before = overview.before(request, unit);
            let latencies = self.latencies(request, unit).await?;
            let units = Units::of(self.units(request, unit, &before, slow_ms(&latencies)).await?);
            asked = candidates.next();
            if units.are_randomised() || asked.is_none() {
                let design = overview.design(request, (unit, reason), before, &units);
                let arms = units.arms.into_iter().map(|(variant, row)| arm(variant, row, &latencies));
                return Answer::new(design, arms.collect::<Result<_>>()?)
                    .map_err(|reason| Error::invalid(format!("experiment {}: {reason}", request.experiment_id)));
            }
        }
        Err(Error::new(Kind::Internal, "an experiment has no unit"))
    }

    async fn experiment_overview(&self, request: &ExperimentRequest) -> Result<Overview> {
        let look_from_us = request.range.from_us.saturating_sub(request.before_days * DAY_US);
        let look_from = text_of(look_from_us)?;
        let mut arguments = request.arguments()?;
        arguments.push(("look_from", look_from));
        let rows: Vec<OverviewRow> =
            self.experiment_rows("experiment_overview", &arguments).await?.collect_as().await?;
        let calls: u64 = rows.iter().map(|row| row.calls).sum();
        let (Some(first_us), Some(last_us), true) =
            (rows.iter().map(|row| row.first_us).min(), rows.iter().map(|row| row.last_us).max(), calls > 0)
        else {
            let message = format!("no call of experiment {} is in the range", request.experiment_id);
            return Err(Error::new(Kind::NotFound, message));
        };
        if rows.len() > VARIANTS_MAX + 1 {
            let message =
                format!("experiment {} has more than {VARIANTS_MAX} variants: is it one?", request.experiment_id);
            return Err(Error::new(Kind::Exhausted, message));
        }
        let calls = rows.iter().filter(|row| row.variant.is_some()).map(|row| row.calls).sum();
        Ok(Overview { rows, first_us, last_us, calls })
    }

    async fn latencies(&self, request: &ExperimentRequest, unit: Unit) -> Result<BTreeMap<String, QuantileSketch>> {
        let mut arguments = request.arguments()?;
        arguments.push(("unit", unit.name().to_owned()));
        let batches = self.experiment_rows("experiment_latency", &arguments).await?.collect().await?;
        batches.iter().map(sketches).collect::<Result<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
    }

    async fn units(
        &self,
        request: &ExperimentRequest,
        unit: Unit,
        before: &Before,
        slow_ms: Option<f64>,
    ) -> Result<Vec<UnitsRow>> {
        let mut arguments = request.arguments()?;
        arguments.push(("unit", unit.name().to_owned()));
        if let Ok([from_us, to_us]) = before {
            arguments.push(("before_from", text_of(*from_us)?));
            arguments.push(("before_to", text_of(*to_us)?));
        }
        arguments.extend(slow_ms.map(|slow_ms| ("slow_ms", slow_ms.to_string())));
        self.experiment_rows("experiment_units", &arguments).await?.collect_as().await
    }

    async fn experiment_rows(&self, name: &str, arguments: &[(&'static str, String)]) -> Result<super::Rows> {
        let arguments = arguments.iter().map(|(name, value)| (*name, value.as_str()));
        self.named(LibraryKind::Reports, name, arguments).await
    }
}

impl ExperimentLine {
    fn add(&mut self, row: ListRow) {
        // RFC 3339 in one form sorts as the times do.
        self.first_call = std::mem::take(&mut self.first_call).min(row.first_call);
        self.last_call = std::mem::take(&mut self.last_call).max(row.last_call);
        self.calls += row.variant.calls;
        self.variants.push(row.variant);
    }
}

impl ExperimentRequest {
    /// What all files of an experiment are asked with.
    fn arguments(&self) -> Result<Vec<(&'static str, String)>> {
        let mut arguments = vec![
            ("experiment_id", self.experiment_id.clone()),
            ("from", text_of(self.range.from_us)?),
            ("to", text_of(self.range.to_us)?),
        ];
        arguments.extend(self.tenant_id.clone().map(|tenant| ("tenant_id", tenant)));
        arguments.extend(self.agent_id.clone().map(|agent| ("agent_id", agent)));
        Ok(arguments)
    }
}

impl Overview {
    /// What may have been randomised, the coarsest first, with why. There is always one.
    fn candidates(&self, asked: Option<Unit>) -> Vec<(Unit, String)> {
        if let Some(unit) = asked {
            return vec![(unit, "asked for".to_owned())];
        }
        let carried = |count: fn(&OverviewRow) -> u64| {
            let named = self.rows.iter().filter(|row| row.variant.is_some());
            named.map(count).sum::<u64>() as f64 / self.calls.max(1) as f64
        };
        let (user, session) = (carried(|row| row.calls_with_user), carried(|row| row.calls_with_session));
        let mut found = Vec::new();
        let mut passed_over = String::new();
        for (unit, id, share) in [(Unit::User, "user_id", user), (Unit::Session, "session_id", session)] {
            let percent = (1_000.0 * share).floor() / 10.0;
            if share >= CARRIED_MIN {
                found.push((unit, format!("{percent} % of the calls carry {id}{passed_over}")));
                passed_over += &format!("; too many {}s meet several variants", unit.name());
            } else {
                passed_over += &format!("; only {percent} % carry {id}");
            }
        }
        found.push((Unit::Call, format!("each call for itself{passed_over}")));
        found
    }

    fn design(&self, request: &ExperimentRequest, unit: (Unit, String), before: Before, units: &Units) -> Design {
        let nameless = self.rows.iter().filter(|row| row.variant.is_none());
        let (unit, unit_reason) = unit;
        Design {
            experiment_id: request.experiment_id.clone(),
            range_us: [request.range.from_us, request.range.to_us],
            seen_us: [self.first_us.max(request.range.from_us), self.last_us],
            unit,
            unit_reason,
            control: request.control.clone(),
            split: request.split.clone(),
            planned_units: request.planned_units,
            before,
            left_out: LeftOut {
                calls_without_variant: nameless.map(|row| row.calls).sum(),
                // Calls may have come since the first look.
                calls_without_unit: self.calls.saturating_sub(units.calls),
                units_in_several_variants: units.in_several,
            },
        }
    }

    /// The time before the first call, if the units are known from it.
    fn before(&self, request: &ExperimentRequest, unit: Unit) -> Before {
        if request.before_days == 0 {
            Err("not asked for".to_owned())
        } else if unit != Unit::User {
            Err("only users are known from before".to_owned())
        } else if self.first_us < request.range.from_us {
            Err("the experiment began before the range".to_owned())
        } else {
            Ok([self.first_us.saturating_sub(request.before_days * DAY_US), self.first_us])
        }
    }
}

/// The 95th percentile of all variants together: a latency above it is slow.
fn slow_ms(latencies: &BTreeMap<String, QuantileSketch>) -> Option<f64> {
    let mut all = QuantileSketch::new();
    for sketch in latencies.values() {
        // Sketches of one kind always merge.
        all.merge(sketch).ok()?;
    }
    all.quantile(LATENCY_LEVEL)
}

fn arm(variant: String, row: UnitsRow, latencies: &BTreeMap<String, QuantileSketch>) -> Result<Arm> {
    let moments = METRICS.iter().map(|metric| {
        let parts = row.moments.get(metric.name).map(Vec::as_slice).unwrap_or_default();
        let missing = || Error::new(Kind::Internal, format!("experiment_units has no moments {}", metric.name));
        Moments::from_parts(parts).ok_or_else(missing)
    });
    let sketch = latencies.get(&variant).cloned();
    Ok(Arm {
        units: row.units,
        units_before: row.units_before,
        calls: row.calls,
        moments: moments.collect::<Result<_>>()?,
        latency_ms: Box::new(move |level| sketch.as_ref()?.quantile(level)),
        latency_error: QuantileSketch::RELATIVE_ERROR,
        variant,
    })
}

/// Variants and sketches of the rows of `experiment_latency`.
fn sketches(batch: &RecordBatch) -> Result<Vec<(String, QuantileSketch)>> {
    let column = |name: &str, kind: &DataType| {
        let column = batch
            .column_by_name(name)
            .ok_or_else(|| Error::new(Kind::Internal, format!("experiment_latency has no column {name}")))?;
        cast(column, kind).context("experiment_latency has another form")
    };
    let (variants, sketches) = (column("variant", &DataType::Utf8)?, column("sketch", &DataType::Binary)?);
    let (variants, sketches) = (variants.as_string::<i32>(), sketches.as_binary::<i32>());
    let rows = (0..batch.num_rows()).filter(|row| variants.is_valid(*row) && sketches.is_valid(*row));
    rows.map(|row| Ok((variants.value(row).to_owned(), QuantileSketch::decode(sketches.value(row))?))).collect()
}
