//! Targets as questions: which file or statement is asked, with which arguments, over which calls, and how its rows are
//! shown. Whatever a target says becomes an argument, a bound value or a typed condition, and never part of a text.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate};

use super::{
    filter, pattern,
    payload::{self, Payload},
    request::{QueryRequest, Target, ValuesRequest},
    series::{Format, KEY, Shape, VALUE, unit_of},
    shown,
    step::Step,
};
use crate::{
    error::{Error, Kind, Result},
    kpi::Grain,
    named::{NamedSql, Param, ParamKind, ParamValue, parse_time},
    query::{
        Condition, DriftRequest, KpiQuestion, Library, LibraryKind, Question, Range, Subject, filterable, text_of,
    },
};

/// Metrics that are no files. A file of such a name is not reached here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A statement of the payload.
    Sql,
    /// Windows in which KPIs call for someone.
    KpiAlerts,
    /// The score card of the month in which the range ends.
    KpiCard,
    /// Whether a column has changed against the days before the range.
    Drift,
}

impl Special {
    /// All of them.
    pub const ALL: [Special; 4] = [Special::Sql, Special::KpiAlerts, Special::KpiCard, Special::Drift];

    /// Its name as a metric.
    pub fn name(self) -> &'static str {
        match self {
            Special::Sql => "sql",
            Special::KpiAlerts => "kpi_alerts",
            Special::KpiCard => "kpi_card",
            Special::Drift => "drift",
        }
    }
}

/// The kinds of files that are metrics; where two have one name, the earlier is meant.
pub(super) const KINDS: [LibraryKind; 3] = [LibraryKind::Queries, LibraryKind::Kpis, LibraryKind::Metrics];
/// How many days before the range drift is measured against, unless the payload says otherwise.
pub(super) const REFERENCE_DAYS: u32 = 7;
const DAY_US: i64 = 86_400_000_000;

/// What a target asks.
#[derive(Debug)]
pub enum Prepared {
    /// Rows.
    Rows(RowsQuestion),
    /// Windows of KPIs, judged.
    KpiAlerts {
        /// The KPIs.
        questions: Vec<KpiQuestion>,
        /// Windows that call for nobody are shown as well.
        is_all: bool,
        /// The answer's shape.
        shape: Shape,
    },
    /// A score card.
    KpiCard {
        /// The first day of its month.
        month: NaiveDate,
        /// What the calls have to fulfil.
        conditions: Vec<Condition>,
        /// The answer's shape.
        shape: Shape,
    },
    /// Verdicts of drift.
    Drift {
        /// What is compared.
        request: DriftRequest,
        /// Groups that are stable or have too few values are shown as well.
        is_all: bool,
        /// The answer's shape.
        shape: Shape,
    },
}

/// A question whose answer is rows.
#[derive(Debug)]
pub struct RowsQuestion {
    asked: Asked,
    /// What the calls have to fulfil.
    pub conditions: Vec<Condition>,
    /// The answer's shape.
    pub shape: Shape,
    /// What has to be said.
    pub notices: Vec<String>,
}

#[derive(Debug)]
enum Asked {
    Named { kind: LibraryKind, name: String, arguments: Vec<(String, String)> },
    Sql { text: String, values: Vec<(String, ParamValue)> },
}

/// What `/variable` asks.
#[derive(Debug)]
pub enum Variable {
    /// The values of a column.
    Values(Subject, Vec<Condition>),
    /// A column of rows; the first of texts where none is named.
    Rows(Box<RowsQuestion>, Option<String>),
}

impl RowsQuestion {
    /// As the engine takes it.
    pub fn question(&self) -> Question<'_> {
        match &self.asked {
            Asked::Sql { text, values } => Question::Sql { text, values: values.clone() },
            Asked::Named { kind, name, arguments } => Question::Named {
                kind: *kind,
                name,
                arguments: arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            },
        }
    }
}

impl Target {
    /// What it asks: one question for each metric that its name stands for.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for a metric that is not there, [`Kind::Invalid`] for a payload that cannot be meant.
    pub fn questions(&self, request: &QueryRequest, library: &Library, now_us: i64) -> Result<Vec<Prepared>> {
        pattern::values(&self.metric)
            .iter()
            .map(|metric| Asking { target: self, request, library, now_us }.of(metric))
            .collect()
    }
}

struct Asking<'a> {
    target: &'a Target,
    request: &'a QueryRequest,
    library: &'a Library,
    now_us: i64,
}

impl Asking<'_> {
    fn of(&self, metric: &str) -> Result<Prepared> {
        match Special::ALL.into_iter().find(|special| special.name() == metric) {
            Some(Special::Sql) => self.sql(),
            Some(Special::KpiAlerts) => self.kpi_alerts(),
            Some(Special::KpiCard) => self.kpi_card(),
            Some(Special::Drift) => self.drift(),
            None => self.named(metric).map(Prepared::Rows),
        }
    }

    fn payload(&self) -> &Payload {
        &self.target.payload
    }

    fn step(&self) -> Step {
        let Range { from_us, to_us } = self.request.range;
        Step::of(to_us.saturating_sub(from_us), self.request.interval_us, self.request.points_max)
    }

    fn named(&self, metric: &str) -> Result<RowsQuestion> {
        let (kind, named) = find(self.library, metric)?;
        let mut built = Built { conditions: self.conditions()?, arguments: Vec::new(), notices: Vec::new() };
        for param in &named.params {
            self.argument(named, param, &mut built)?;
        }
        let mut shape = self.shape(metric)?;
        if shape.format == Format::ByColumns && !is_over_time(kind, named) {
            shape.format = Format::Table;
        }
        if shape.values.is_empty() && kind == LibraryKind::Kpis && shape.format != Format::Table {
            shape.values = vec![VALUE.to_owned()];
        }
        if has_by(named) {
            let by = built.arguments.iter().find(|(name, _)| name == "by").map(|(_, value)| value.as_str());
            shape.key = Some(label_of(by.unwrap_or("all")));
            shape.group_by.clear();
        }
        let units = named.columns.iter().filter_map(|column| Some((column.name.clone(), unit_of(&column.unit)?)));
        shape.units = units.collect();
        self.other_fields(&named.params, &mut built)?;
        let asked = Asked::Named { kind, name: metric.to_owned(), arguments: built.arguments };
        Ok(RowsQuestion { asked, conditions: built.conditions, shape, notices: built.notices })
    }

    /// The argument of one parameter: the payload's, else what follows from the range; where there is neither, the
    /// file's own default holds.
    fn argument(&self, named: &NamedSql, param: &Param, built: &mut Built) -> Result<()> {
        let name = param.name.as_str();
        let own = match param.kind {
            ParamKind::Text => self.payload().values(name),
            _ => self.payload().text(name).into_iter().collect(),
        };
        let Range { from_us, to_us } = self.request.range;
        let value = match (own.as_slice(), name) {
            ([value], _) => Some(value.clone()),
            ([], "from") => Some(text_of(self.start_of(named, from_us))?),
            ([], "to") => Some(text_of(to_us)?),
            ([], "interval") => Some(self.step().text()),
            ([], "grain") if !param.one_of.is_empty() => Some(self.step().grain().name().to_owned()),
            ([], "by") if has_by(named) => self.by(param)?,
            ([], _) => None,
            (values, _) if filterable().any(|(column, _)| column == name) => {
                built.conditions.extend(filter::one_of(name, values.to_vec())?);
                None
            }
            (values, _) => {
                return Err(Error::invalid(format!("{}: {name} takes one value, not {}", named.name, values.len())));
            }
        };
        built.arguments.extend(value.map(|value| (name.to_owned(), value)));
        Ok(())
    }

    /// The start of the bucket or window in which the range begins, so that the first is a whole one.
    fn start_of(&self, named: &NamedSql, from_us: i64) -> i64 {
        let is_bucketed = named.params.iter().any(|param| param.name == "interval");
        let grain = match self.payload().text("grain").and_then(|grain| Grain::of(grain.trim())) {
            Some(grain) => Some(grain),
            None if named.params.iter().any(|param| param.name == "grain") => Some(self.step().grain()),
            None => named.grain.as_deref().and_then(Grain::of),
        };
        match grain.and_then(|grain| grain.start_of(from_us)) {
            Some(start_us) => start_us,
            // A length that the payload gives is the caller's to fit.
            None if is_bucketed && self.payload().values("interval").is_empty() => self.step().start_of(from_us),
            None => from_us,
        }
    }

    /// The value of `by` for what the payload groups by.
    fn by(&self, param: &Param) -> Result<Option<String>> {
        let groups = self.payload().list(payload::GROUP_BY);
        let known = |group: &str| {
            let short = group.strip_suffix("_id").unwrap_or(group);
            param.one_of.iter().find(|value| *value == short).cloned()
        };
        match groups.as_slice() {
            [] => Ok(None),
            [group] => known(group).map(Some).ok_or_else(|| {
                Error::invalid(format!("group_by: {} is none of {}", shown(group), param.one_of.join(", ")))
            }),
            groups => {
                Err(Error::invalid(format!("group_by: one of {}, not {}", param.one_of.join(", "), groups.len())))
            }
        }
    }

    fn sql(&self) -> Result<Prepared> {
        let text = self.payload().text(payload::STATEMENT);
        let text = text.ok_or_else(|| Error::invalid("sql: the payload's q is empty: the statement goes there"))?;
        let Range { from_us, to_us } = self.request.range;
        let mut values = vec![
            ("from".to_owned(), ParamValue::Timestamp(from_us)),
            ("to".to_owned(), ParamValue::Timestamp(to_us)),
            ("interval".to_owned(), ParamValue::Text(self.step().text())),
            ("interval_ms".to_owned(), ParamValue::Int(self.step().ms())),
        ];
        let reserved = [payload::STATEMENT, payload::FILTERS, payload::FORMAT, payload::GROUP_BY, payload::VALUES];
        let mut conditions = self.conditions()?;
        for name in self.payload().names().filter(|name| !reserved.contains(name)) {
            let own = self.payload().values(name);
            if Subject::of(name).is_ok() {
                conditions.extend(filter::one_of(name, own)?);
                continue;
            }
            let value = match <[String; 1]>::try_from(own) {
                Ok([value]) => ParamValue::Text(value),
                Err(own) if own.is_empty() => ParamValue::Null(ParamKind::Text),
                Err(own) => {
                    let message = format!("sql: {} takes one value, not {}", shown(name), own.len());
                    return Err(Error::invalid(message));
                }
            };
            values.retain(|(known, _)| known != name);
            values.push((name.to_owned(), value));
        }
        let shape = self.shape(Special::Sql.name())?;
        let asked = Asked::Sql { text, values };
        Ok(Prepared::Rows(RowsQuestion { asked, conditions, shape, notices: Vec::new() }))
    }

    fn kpi_alerts(&self) -> Result<Prepared> {
        let wanted = self.payload().list("kpi");
        let kpis = self.library.kpis().filter(|definition| match wanted.as_slice() {
            [] => definition.alert.is_some(),
            wanted => wanted.contains(&definition.name),
        });
        let names: Vec<String> = kpis.map(|definition| definition.name.clone()).collect();
        if let Some(name) = wanted.iter().find(|name| !names.contains(name)) {
            // The library's message names what there is.
            self.library.kpi(name)?;
        }
        let conditions = self.all_conditions()?;
        let questions = names.into_iter().map(|name| -> Result<KpiQuestion> {
            let (_, named) = find(self.library, &name)?;
            let grain = self.payload().text("grain").unwrap_or_else(|| self.judged_at(&name).name().to_owned());
            let by = named.params.iter().find(|param| param.name == "by");
            let by = by.map(|param| self.by(param)).transpose()?.flatten().unwrap_or_else(|| "all".to_owned());
            let Range { from_us, to_us } = self.request.range;
            let arguments = [("from", text_of(from_us)?), ("to", text_of(to_us)?), ("grain", grain), ("by", by)];
            let arguments = arguments.map(|(name, value)| (name.to_owned(), value)).into();
            Ok(KpiQuestion { name, arguments, conditions: conditions.clone() })
        });
        let questions = questions.collect::<Result<_>>()?;
        let shape = Shape { format: Format::Table, ..self.shape(Special::KpiAlerts.name())? };
        Ok(Prepared::KpiAlerts { questions, is_all: self.is_all("state"), shape })
    }

    /// The grain at which a KPI is judged: its own, else hours for up to two days and days for more.
    fn judged_at(&self, name: &str) -> Grain {
        let Range { from_us, to_us } = self.request.range;
        let own = self.library.kpi(name).ok().and_then(|definition| definition.judged_at);
        own.unwrap_or(if to_us.saturating_sub(from_us) <= 2 * DAY_US { Grain::Hour } else { Grain::Day })
    }

    fn kpi_card(&self) -> Result<Prepared> {
        let month = match self.payload().text("month") {
            Some(text) => NaiveDate::parse_from_str(&format!("{}-01", text.trim()), "%Y-%m-%d")
                .map_err(|_| Error::invalid(format!("month {} is no month like 2026-05", shown(&text))))?,
            // The end is exclusive.
            None => DateTime::from_timestamp_micros(self.request.range.to_us - 1)
                .and_then(|last| last.date_naive().with_day(1))
                .ok_or_else(|| Error::invalid("the range is outside the calendar"))?,
        };
        let shape = Shape { format: Format::Table, ..self.shape(Special::KpiCard.name())? };
        Ok(Prepared::KpiCard { month, conditions: self.all_conditions()?, shape })
    }

    fn drift(&self) -> Result<Prepared> {
        let days = match self.payload().text("reference_days") {
            Some(text) => text.trim().parse::<u32>().ok().filter(|days| (1..=366).contains(days)).ok_or_else(|| {
                Error::invalid(format!("reference_days {} is no number of days, 1 to 366", shown(&text)))
            })?,
            None => REFERENCE_DAYS,
        };
        let current = self.request.range;
        let from_us = match self.payload().text("reference_from") {
            Some(text) => parse_time(&text, self.now_us).map_err(Error::invalid)?,
            None => current.from_us.saturating_sub(i64::from(days) * DAY_US),
        };
        let request = DriftRequest {
            column: self.payload().values("column").into_iter().next().unwrap_or_else(|| "latency_ms".to_owned()),
            reference: Range { from_us, to_us: current.from_us },
            current,
            by: self.payload().list(payload::GROUP_BY).into_iter().next(),
            is_exact: false,
            conditions: self.all_conditions()?,
        };
        let shape = Shape { format: Format::Table, ..self.shape(Special::Drift.name())? };
        Ok(Prepared::Drift { request, is_all: self.is_all("verdict"), shape })
    }

    /// Whether a field of the payload asks for all, and not for what calls for someone alone.
    fn is_all(&self, field: &str) -> bool {
        self.payload().text(field).is_some_and(|text| text.trim() == "all")
    }

    /// Conditions of the request and of the payload's `filters`.
    fn conditions(&self) -> Result<Vec<Condition>> {
        let mut conditions = self.request.filters.clone();
        conditions.extend(filter::written_out(self.payload())?);
        Ok(conditions)
    }

    /// Those, and those of the payload's fields that are columns.
    fn all_conditions(&self) -> Result<Vec<Condition>> {
        let mut conditions = self.conditions()?;
        conditions.extend(self.dimensions()?);
        Ok(conditions)
    }

    /// Conditions of the payload's fields that are columns.
    fn dimensions(&self) -> Result<Vec<Condition>> {
        let names = self.payload().names().filter(|name| *name != "column" && Subject::of(name).is_ok());
        let each = names.map(|name| filter::one_of(name, self.payload().values(name)));
        Ok(each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Fields of the payload that are no parameters: columns of the calls filter, what nobody knows is told of.
    fn other_fields(&self, params: &[Param], built: &mut Built) -> Result<()> {
        let options = [payload::FILTERS, payload::FORMAT, payload::GROUP_BY, payload::VALUES, payload::STATEMENT];
        let is_own = |name: &&str| params.iter().any(|param| param.name == *name) || options.contains(name);
        for name in self.payload().names().filter(|name| !is_own(name)) {
            if Subject::of(name).is_ok() {
                built.conditions.extend(filter::one_of(name, self.payload().values(name))?);
            } else if self.payload().text(name).is_some() {
                built.notices.push(format!("{} is neither a parameter nor a column, and is passed over", shown(name)));
            }
        }
        Ok(())
    }

    fn shape(&self, metric: &str) -> Result<Shape> {
        let format = match self.payload().text(payload::FORMAT).as_deref().map(str::trim) {
            Some("table") => Format::Table,
            Some("series" | "time_series" | "timeseries" | "timeserie") => Format::Series,
            None if self.target.is_table => Format::Table,
            None => Format::ByColumns,
            Some(other) => return Err(Error::invalid(format!("format: {} is none of series, table", shown(other)))),
        };
        Ok(Shape {
            ref_id: self.target.ref_id.clone(),
            metric: metric.to_owned(),
            format,
            group_by: self.payload().list(payload::GROUP_BY),
            values: self.payload().list(payload::VALUES),
            key: None,
            units: BTreeMap::new(),
            points_max: self.request.points_max,
            at_ms: self.request.range.to_us / 1_000,
        })
    }
}

/// What a named file's question is built of.
struct Built {
    conditions: Vec<Condition>,
    arguments: Vec<(String, String)>,
    notices: Vec<String>,
}

/// What `/variable` asks: a column of the calls, or a named query of whose rows a column is taken. The payload's other
/// fields narrow the calls, and so does what stands behind `where` in its target: `agent_id where tenant_id = $tenant`.
///
/// # Errors
///
/// [`Kind::NotFound`] for what is neither, [`Kind::Invalid`] for a payload that cannot be meant.
pub fn variable(request: &ValuesRequest, library: &Library, now_us: i64) -> Result<Variable> {
    let text = request.payload.text("target").or_else(|| request.key.clone());
    let text = text.ok_or_else(|| Error::invalid("a variable names a column of agent_logs, or a query"))?;
    let (target, narrowing) = match text.split_once(" where ") {
        Some((target, narrowing)) => (target.trim(), Some(narrowing)),
        None => (text.trim(), None),
    };
    let target = pattern::values(target).swap_remove(0);
    let mut conditions = request.filters.clone();
    if let Some(line) = narrowing {
        let payload = Payload::of(Some(&serde_json::json!({ payload::FILTERS: line })));
        conditions.extend(filter::written_out(&payload)?);
    }
    let Ok(subject) = Subject::of(&target) else {
        let is_own = ["target", "text"];
        let fields = request.payload.names().filter(|name| !is_own.contains(name));
        let fields = fields.filter_map(|name| Some((name.to_owned(), request.payload.get(name)?.clone())));
        let payload = serde_json::Value::Object(fields.collect());
        let query = QueryRequest {
            range: request.range,
            interval_us: 0,
            points_max: usize::MAX,
            targets: Vec::new(),
            filters: conditions,
        };
        let target =
            Target { ref_id: String::new(), metric: target, payload: Payload::of(Some(&payload)), is_table: true };
        let asking = Asking { target: &target, request: &query, library, now_us };
        return Ok(Variable::Rows(Box::new(asking.named(&target.metric)?), request.payload.text("text")));
    };
    conditions.extend(filter::written_out(&request.payload)?);
    for name in request.payload.names().filter(|name| Subject::of(name).is_ok()) {
        conditions.extend(filter::one_of(name, request.payload.values(name))?);
    }
    Ok(Variable::Values(subject, conditions))
}

/// The file behind a metric.
pub(super) fn find<'a>(library: &'a Library, metric: &str) -> Result<(LibraryKind, &'a NamedSql)> {
    let found = KINDS.into_iter().find_map(|kind| Some((kind, &library.get(kind, metric).ok()?.named)));
    found.ok_or_else(|| {
        let files = KINDS.into_iter().flat_map(|kind| library.of(kind)).map(|entry| entry.named.name.as_str());
        let names: Vec<&str> = Special::ALL.map(Special::name).into_iter().chain(files).collect();
        Error::new(Kind::NotFound, format!("there is no metric {}; there are {}", shown(metric), names.join(", ")))
    })
}

/// A file whose rows follow one another in time, told by its grain.
fn is_over_time(kind: LibraryKind, named: &NamedSql) -> bool {
    let grain = named.grain.as_deref().unwrap_or_default();
    kind == LibraryKind::Metrics || ["hour", "day", "month", "window", "bucket"].contains(&grain)
}

/// A file with a parameter `by` says in its column `key` what its figures are of.
pub(super) fn has_by(named: &NamedSql) -> bool {
    let by = named.params.iter().any(|param| param.name == "by" && !param.one_of.is_empty());
    by && named.columns.iter().any(|column| column.name == KEY)
}

/// The column that a value of `by` stands for.
fn label_of(by: &str) -> Option<&'static str> {
    match by {
        "agent" => Some("agent_id"),
        "tenant" => Some("tenant_id"),
        "model" => Some("model"),
        "tool" => Some("tool"),
        "all" => None,
        _ => Some(KEY),
    }
}
