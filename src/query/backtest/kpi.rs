//! A KPI that leaves a bound. Its own file is asked for each window; where windows are no hours or days of UTC, or
//! overlap, the file's plan is given other windows.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use arrow::datatypes::IntervalMonthDayNano;
use chrono::DateTime;
use datafusion::{
    common::{
        ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    execution::FunctionRegistry,
    logical_expr::{Expr, LogicalPlan, expr::Placeholder, expr_rewriter::NamePreserver, lit},
};

use super::{Given, shown_filters, text_of};
use crate::{
    backtest::{Answer, MOMENTS_MAX, Moments, Reading, Replay, Seen, Subject, shown_duration},
    error::{Context, Error, Kind, Result},
    kpi::{Bound, Definition, Figure, Grain},
    query::{
        Engine, LibraryKind, Range, engine::bind_named, error::from_engine, options::Options, series::TIME_BUCKET,
    },
};

pub(super) const PARAMETERS: &str = "name, window, step, above, below, samples_min, by, tenant_id, agent_id, model";

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
const WINDOWS_US: RangeInclusive<i64> = MINUTE_US..=31 * DAY_US;
/// A file is asked so often for windows that overlap: once for each step of a window.
const STEPS_MAX: i64 = 60;
/// Windows that a file is asked for at once.
const WINDOWS_AT_ONCE: i64 = 200;
/// Most keys: agents, tenants or models.
const SERIES_MAX: usize = 500;
/// The placeholder of a file's windows.
const GRAIN: &str = "$grain";

/// A KPI with a bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KpiRule {
    pub name: String,
    /// That at which its alert holds, else an hour.
    pub window_us: Option<i64>,
    /// A window, but a minute for those that are shorter than an hour.
    pub step_us: Option<i64>,
    pub hold_us: i64,
    /// Where it fires; the KPI's own alert where it is absent.
    pub bound: Option<Bound>,
    /// Fewer say nothing; the KPI's own number where it is absent.
    pub samples_min: Option<u64>,
    pub by: String,
    pub filters: BTreeMap<&'static str, String>,
}

/// What of it the KPI says.
struct Settled<'a> {
    definition: &'a Definition,
    bound: Bound,
    samples_min: u64,
    window_us: i64,
    step_us: i64,
}

impl KpiRule {
    /// One that fires above a bound, and is as the KPI says otherwise.
    pub fn above(name: &str, by: &str, bound: f64) -> Self {
        Self {
            name: name.to_owned(),
            window_us: None,
            step_us: None,
            hold_us: 0,
            bound: Some(Bound::Above(bound)),
            samples_min: None,
            by: by.to_owned(),
            filters: BTreeMap::new(),
        }
    }

    pub fn parse(given: &mut Given) -> Result<Self> {
        let name = given.take("name").ok_or_else(|| Error::invalid("name is missing: the KPI"))?;
        let bound = match (given.number::<f64>("above")?, given.number::<f64>("below")?) {
            (Some(_), Some(_)) => return Err(Error::invalid("above and below: a rule has one of them")),
            (above, below) => above.map(Bound::Above).or(below.map(Bound::Below)),
        };
        if let Some(Bound::Above(bound) | Bound::Below(bound)) = bound
            && !bound.is_finite()
        {
            return Err(Error::invalid(format!("{bound} is no bound")));
        }
        Ok(Self {
            name,
            window_us: given.duration_us("window")?,
            step_us: given.duration_us("step")?,
            hold_us: given.hold_us()?,
            bound,
            samples_min: given.number("samples_min")?,
            by: given.take("by").unwrap_or_else(|| "all".to_owned()),
            filters: given.filters(),
        })
    }

    fn settle<'a>(&self, definition: &'a Definition) -> Result<Settled<'a>> {
        let own_us = match definition.judged_at {
            Some(Grain::Day) => DAY_US,
            Some(Grain::Month) => 31 * DAY_US,
            Some(Grain::Hour) | None => HOUR_US,
        };
        let window_us = self.window_us.unwrap_or(own_us);
        if !WINDOWS_US.contains(&window_us) || window_us % MINUTE_US != 0 {
            return Err(Error::invalid("window is a whole number of minutes, from 1m to 31d"));
        }
        let step_us = self.step_us.unwrap_or(if window_us < HOUR_US { MINUTE_US } else { window_us });
        if step_us <= 0 || window_us % step_us != 0 || window_us / step_us > STEPS_MAX {
            return Err(Error::invalid(format!(
                "step={} is no part of window={}: it is the window, or a half, a third and so on, down to a {STEPS_MAX}th",
                shown_duration(step_us),
                shown_duration(window_us)
            )));
        }
        if self.bound.is_none() && definition.judged_at.is_some() && window_us != own_us {
            return Err(Error::invalid(format!(
                "window={}: the alert of {} holds over {}; give above or below for others",
                shown_duration(window_us),
                self.name,
                shown_duration(own_us)
            )));
        }
        let missing = || Error::invalid(format!("KPI {} has no alert of its own: give above or below", self.name));
        Ok(Settled {
            definition,
            bound: self.bound.or(definition.alert).ok_or_else(missing)?,
            samples_min: self.samples_min.unwrap_or(definition.samples_min),
            window_us,
            step_us,
        })
    }
}

impl Engine {
    pub(super) async fn backtest_kpi(&self, range: Range, rule: &KpiRule) -> Result<Answer> {
        let settled = rule.settle(self.library().kpi(&rule.name)?)?;
        let moments = Moments::new(range.from_us, range.to_us, settled.step_us, MOMENTS_MAX)?;
        let mut replay = Replay::new(rule.hold_us);
        let (mut judged, mut insufficient, mut keys) = (0, 0, BTreeSet::new());
        for part in moments.parts(WINDOWS_AT_ONCE * settled.window_us) {
            let mut figures = self.figures_at(rule, &settled, &part).await?;
            for at_us in part.iter() {
                let mut broken = BTreeMap::new();
                for figure in figures.remove(&at_us).unwrap_or_default() {
                    let known = figure.value.filter(|_| settled.is_known(&figure));
                    match known {
                        Some(_) => judged += 1,
                        None => insufficient += 1,
                    }
                    keys.insert(figure.key.clone());
                    if let Some(reading) = known.and_then(|value| settled.reading(value, figure.samples)) {
                        broken.insert(rule.subject(figure.key), reading);
                    }
                }
                if keys.len() > SERIES_MAX {
                    let message = format!("more than {SERIES_MAX} series: name a tenant_id, an agent_id or a model");
                    return Err(Error::new(Kind::Exhausted, message));
                }
                replay.evaluate(at_us, broken);
            }
        }
        let seen = Seen {
            rule: rule.name.clone(),
            condition: settled.words(rule),
            moments,
            hold_us: rule.hold_us,
            series: keys.len() as u64,
            judged,
            insufficient,
            not_looked_at: Vec::new(),
        };
        Ok(Answer::new(seen, replay.finish(), |_| settled.definition.unit.clone()))
    }

    /// The figures of the windows that end at each moment.
    async fn figures_at(
        &self,
        rule: &KpiRule,
        settled: &Settled<'_>,
        moments: &Moments,
    ) -> Result<BTreeMap<i64, Vec<Figure>>> {
        let mut found: BTreeMap<i64, Vec<Figure>> = BTreeMap::new();
        let (window_us, step_us) = (settled.window_us, settled.step_us);
        // Windows that do not overlap are asked for at once, from each step on.
        for shift in 0..window_us / step_us {
            let end_us = moments.first_us() + shift * step_us;
            if end_us > moments.last_us() {
                break;
            }
            let windows = (moments.last_us() - end_us) / window_us + 1;
            let from_us = end_us - window_us;
            let range = Range { from_us, to_us: from_us + windows * window_us };
            for figure in self.windows_of(rule, settled, range).await? {
                let start = DateTime::parse_from_rfc3339(&figure.window_start).context("a window has no start")?;
                found.entry(start.timestamp_micros() + window_us).or_default().push(figure);
            }
        }
        Ok(found)
    }

    /// The windows of a range, one after the other.
    async fn windows_of(&self, rule: &KpiRule, settled: &Settled<'_>, range: Range) -> Result<Vec<Figure>> {
        let grain = match settled.window_us {
            HOUR_US => Some(Grain::Hour),
            DAY_US => Some(Grain::Day),
            _ => None,
        };
        let own = grain.filter(|_| settled.step_us == settled.window_us);
        let (from, to) = (text_of(range.from_us)?, text_of(range.to_us)?);
        let grain = own.unwrap_or(Grain::Hour).name();
        let mut arguments = vec![("from", from.as_str()), ("to", &to), ("grain", grain), ("by", &rule.by)];
        arguments.extend(rule.filters.iter().map(|(name, value)| (*name, value.as_str())));
        if own.is_some() {
            return self.named(LibraryKind::Kpis, &rule.name, arguments).await?.collect_as().await;
        }
        let entry = self.library().get(LibraryKind::Kpis, &rule.name)?;
        let values = entry.named.bind(arguments, self.now_us());
        let values = values.map_err(|error| Error::invalid(format!("KPI {}: {error}", rule.name)))?;
        let turn = self.turn().await?;
        let plan = self.with_windows(self.plan_of(entry).await?.whole, settled.window_us, range.from_us)?;
        let plan = plan.ok_or_else(|| {
            Error::invalid(format!(
                "window: KPI {} can be asked for windows of 1h and 1d with step=window alone, because it compares \
                 windows with others",
                rule.name
            ))
        })?;
        self.run(bind_named(plan, values)?, turn, Options::default()).await?.collect_as().await
    }

    /// The plan of a KPI's file with windows of this length, one of which starts at the origin; none where the file
    /// asks for more about its windows than where a time's begins.
    fn with_windows(&self, plan: LogicalPlan, window_us: i64, origin_us: i64) -> Result<Option<LogicalPlan>> {
        let bucket = self.context().udf(TIME_BUCKET).map_err(|error| from_engine("a function is missing", error))?;
        let width = IntervalMonthDayNano::new(0, 0, window_us * 1_000);
        let width = lit(ScalarValue::IntervalMonthDayNano(Some(width)));
        let origin = lit(ScalarValue::TimestampMicrosecond(Some(origin_us), None));
        let is_grain = |expr: &Expr| matches!(expr, Expr::Placeholder(Placeholder { id, .. }) if id == GRAIN);
        let bucketed = |expr: Expr| match &expr {
            Expr::ScalarFunction(function) if function.name() == "date_trunc" => match function.args.as_slice() {
                [grain, time] if is_grain(grain) => {
                    Transformed::yes(bucket.call(vec![width.clone(), time.clone(), origin.clone()]))
                }
                _ => Transformed::no(expr),
            },
            _ => Transformed::no(expr),
        };
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            let rewritten = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| Ok(bucketed(expr)))?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })?;
            rewritten.map_data(LogicalPlan::recompute_schema)
        });
        let plan = rewritten.map_err(|error| from_engine("cannot plan the KPI's windows", error))?.data;
        let mut asks_more = false;
        let looked = plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                asks_more |= expr.exists(|expr| Ok(is_grain(expr)))?;
                Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
            })
        });
        looked.map_err(|error| from_engine("cannot plan the KPI's windows", error))?;
        Ok((!asks_more).then_some(plan))
    }
}

impl Settled<'_> {
    /// Whether a figure can be held against the bound. A bound of the caller's own is on the scale that the samples have.
    fn is_known(&self, figure: &Figure) -> bool {
        let is_own = self.definition.alert != Some(self.bound);
        figure.samples.unwrap_or(0) >= self.samples_min && (is_own || self.definition.off_scale(figure).is_none())
    }

    /// What is seen where the figure lies in the bound.
    fn reading(&self, value: f64, samples: Option<u64>) -> Option<Reading> {
        let (limit, excess) = match self.bound {
            Bound::Above(limit) | Bound::AtLeast(limit) => (limit, value - limit),
            Bound::Below(limit) | Bound::AtMost(limit) => (limit, limit - value),
            Bound::Within(least, most) => (f64::midpoint(least, most), (value - least).min(most - value)),
        };
        let samples = samples.unwrap_or(0);
        self.bound.holds(value).then_some(Reading { value, limit: Some(limit), samples, score: None, excess })
    }

    fn words(&self, rule: &KpiRule) -> String {
        let by = if rule.by == "all" { "of all calls".to_owned() } else { format!("by {}", rule.by) };
        format!(
            "{} {} {} over {}, {by}{}; {} samples or more",
            rule.name,
            self.bound,
            self.definition.unit,
            shown_duration(self.window_us),
            shown_filters(&rule.filters),
            self.samples_min
        )
    }
}

impl KpiRule {
    fn subject(&self, key: Option<String>) -> Subject {
        let key = key.filter(|_| self.by != "all");
        Subject { what: self.name.clone(), by: self.by.clone(), key }
    }
}
