//! KPIs as questions: the rows of their files, judged by `kpi`. Decides nothing itself.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Float64Array, RecordBatch, StringViewArray, UInt64Array},
    datatypes::{DataType, Field, Schema},
};
use chrono::NaiveDate;
use datafusion::{catalog::TableProvider, datasource::MemTable, error::DataFusionError};
use futures::{StreamExt, TryStreamExt, stream, try_join};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{
    Condition, Engine, LibraryKind, Options, Page, Question, Range,
    moment::{outside_calendar, text_of},
    slo::is_seen,
};
use crate::{
    config::SloConfig,
    error::{Error, Kind, Result},
    kpi::{
        AgentCoverage, AgentFields, CardLine, CountedAmong, Coverage, Definition, Figure, Grain, Need, OBJECTIVE,
        RETURN_ON_COST, ReturnLine, ScoreCard, TASK_COMPLETION, TOKEN_DAILY_QUOTA, Window, Windows,
    },
    named::ParamValue,
    record::col,
};

/// The table of what an agent's tasks are worth, from the settings.
pub const TASK_VALUES: &str = "task_values";

/// The table of what tenants may use in a day, from the settings.
pub const TOKEN_QUOTAS: &str = "token_quotas";

/// So many KPIs of one answer are asked for at a time.
const KPIS_AT_ONCE: usize = 4;
/// Most windows of one answer, keys not counted: a year of hours.
const WINDOWS_MAX: i64 = 24 * 366;
/// Most rows of one answer.
const ROWS_MAX: usize = 50_000;

/// A KPI with what it is asked with.
#[derive(Debug)]
pub struct KpiQuestion {
    /// Its name.
    pub name: String,
    /// The arguments of its named query; `from` is moved back to the start of its window.
    pub arguments: Vec<(String, String)>,
    /// What the calls have to fulfil besides.
    pub conditions: Vec<Condition>,
}

/// A KPI over a range, window by window.
#[derive(Debug, Serialize, ToSchema)]
pub struct KpiAnswer {
    /// What is measured, and how.
    #[serde(flatten)]
    pub definition: Definition,
    /// Start of the first window, UTC.
    pub from: String,
    /// End of the range, exclusive.
    pub to: String,
    /// How long a window lasts.
    pub grain: Grain,
    /// What has figures of its own: `all`, `agent`, `tenant` or `model`.
    pub by: String,
    /// Needs that no call of the range fulfils; `a|b` is one of them.
    pub lacks: Vec<String>,
    /// The windows that have calls.
    pub windows: Vec<Window>,
}

/// What a KPI's file is asked with.
struct Asked {
    from_us: i64,
    to_us: i64,
    grain: Grain,
    by: String,
    /// `tenant_id`, `agent_id` and `model`, where given.
    filters: Vec<(String, String)>,
    /// What the calls have to fulfil besides.
    conditions: Vec<Condition>,
}

/// Calls of which it is asked which fields they carry.
struct Calls<'a> {
    range: Range,
    asked: &'a Asked,
    with_tools: bool,
}

impl Engine {
    /// KPIs, in the order of their questions.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] for a KPI that is not there, [`Kind::Invalid`] for arguments that do not fit,
    /// [`Kind::Exhausted`] for too long an answer.
    pub async fn kpis(&self, questions: &[KpiQuestion]) -> Result<Vec<KpiAnswer>> {
        let mut all = Vec::with_capacity(questions.len());
        for question in questions {
            let asked = self.asked(question)?;
            let windows = self.windows(&asked)?;
            all.push((self.library().kpi(&question.name)?, asked, windows));
        }
        // KPIs of the same calls lack the same fields.
        let mut calls: Vec<Calls> = Vec::new();
        let mut calls_of = Vec::with_capacity(all.len());
        for (definition, asked, windows) in &all {
            let with_tools = definition.names(|field| field.of == CountedAmong::ToolCalls);
            let own = Calls { range: Range { from_us: windows.from_us, to_us: asked.to_us }, asked, with_tools };
            let index = calls.iter().position(|calls| calls.are(&own)).unwrap_or(calls.len());
            match calls.get_mut(index) {
                Some(calls) => calls.with_tools |= with_tools,
                None => calls.push(own),
            }
            calls_of.push(index);
        }
        let (mut figures, mut fields) = (Vec::new(), Vec::new());
        for (definition, asked, windows) in &all {
            figures.push(self.figures(&definition.name, asked, windows));
        }
        for Calls { range, asked, with_tools } in calls {
            fields.push(self.fields(range, asked, with_tools));
        }
        let (figures, fields): (Vec<_>, Vec<_>) = try_join!(
            stream::iter(figures).buffered(KPIS_AT_ONCE).try_collect(),
            stream::iter(fields).buffered(KPIS_AT_ONCE).try_collect(),
        )?;
        let answers = all.into_iter().zip(figures).zip(calls_of);
        answers
            .map(|(((definition, asked, windows), figures), index)| {
                let fields: &[AgentFields] = &fields[index];
                judged(definition, asked, &windows, figures, fields)
            })
            .collect()
    }

    fn asked(&self, KpiQuestion { name, arguments, conditions }: &KpiQuestion) -> Result<Asked> {
        let invalid = |reason: &dyn std::fmt::Display| Error::invalid(format!("KPI {name}: {reason}"));
        // What is no KPI is told with the names of those that are.
        self.library().kpi(name)?;
        let entry = self.library().get(LibraryKind::Kpis, name)?;
        let arguments = arguments.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let values = entry.named.bind(arguments, self.now_us()).map_err(|error| invalid(&error))?;
        let asked = Asked::of(values).map_err(|reason| invalid(&reason))?;
        Ok(Asked { conditions: conditions.clone(), ..asked })
    }

    /// The score card of the month that begins on this day, of calls that fulfil the conditions.
    pub async fn score_card(&self, first: NaiveDate, conditions: &[Condition]) -> Result<ScoreCard> {
        let from_us = first.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
        let to_us = Grain::Month.step(from_us, 1).ok_or_else(outside_calendar)?;
        let month = |by: &str| Asked {
            grain: Grain::Month,
            by: by.to_owned(),
            conditions: conditions.to_vec(),
            ..Asked::within(Range { from_us, to_us })
        };
        let (all_calls, by_agent) = (month("all"), month("agent"));
        let windows = self.windows(&all_calls)?;
        let returns = self.library().kpi(RETURN_ON_COST).ok();
        let mut asked = Vec::new();
        for definition in self.library().kpis() {
            asked.push(self.figures(&definition.name, &all_calls, &windows));
        }
        let kpis = asked.len();
        for name in returns.iter().flat_map(|_| [RETURN_ON_COST, TASK_COMPLETION]) {
            asked.push(self.figures(name, &by_agent, &windows));
        }
        let (of_agents, mut figures): (_, Vec<_>) = try_join!(
            self.fields(Range { from_us, to_us }, &all_calls, true),
            stream::iter(asked).buffered(KPIS_AT_ONCE).try_collect(),
        )?;
        let fields = AgentFields::sum(&of_agents);
        let mut by_agent = figures.split_off(kpis).into_iter();
        let lines =
            self.library().kpis().zip(figures).map(|(definition, figures)| {
                CardLine::new(definition, &windows, figures, &lacking(&fields, definition))
            });
        let (card, metrics) = lines.partition(|line| line.definition.tiers.is_some());
        let returns = match (returns, by_agent.next(), by_agent.next()) {
            (Some(definition), Some(figures), Some(done)) => {
                let of_key = |key: Option<&str>| {
                    let own = of_agents.iter().find(|row| row.agent.as_deref() == key);
                    lacking(own.unwrap_or(&fields), definition)
                };
                ReturnLine::all(definition, &windows, figures, &done, of_key)
            }
            _ => Vec::new(),
        };
        Ok(ScoreCard {
            month: first.format("%Y-%m").to_string(),
            from: text_of(from_us)?,
            to: text_of(to_us)?,
            is_complete: windows.is_complete(from_us),
            calls: fields.calls,
            card,
            metrics,
            returns,
        })
    }

    /// Which fields each agent's calls carry in a range, and what is blind for it.
    pub async fn coverage(&self, range: Range) -> Result<Coverage> {
        check_range(range.from_us, range.to_us).map_err(Error::invalid)?;
        let mut rows = self.fields(range, &Asked::within(range), true).await?;
        for row in &mut rows {
            let is_of = |objective: &SloConfig| {
                let agent = objective.agent_id.as_deref();
                is_seen(objective, self.scope()) && agent.is_none_or(|agent| row.agent.as_deref() == Some(agent))
            };
            let has_objective = self.objective_settings().iter().any(is_of);
            row.tell(OBJECTIVE, if has_objective { row.calls } else { 0 });
        }
        let agents = rows.into_iter().map(|row| AgentCoverage::new(row, self.library().kpis()));
        Ok(Coverage { from: text_of(range.from_us)?, to: text_of(range.to_us)?, agents: agents.collect() })
    }

    fn windows(&self, asked: &Asked) -> Result<Windows> {
        let from_us = asked.grain.start_of(asked.from_us).ok_or_else(outside_calendar)?;
        Ok(Windows { grain: asked.grain, from_us, to_us: asked.to_us, now_us: self.now_us() })
    }

    /// The rows of a KPI's file, from the window before the first on.
    async fn figures(&self, name: &str, asked: &Asked, windows: &Windows) -> Result<Vec<Figure>> {
        let before_us = asked.grain.step(windows.from_us, -1).ok_or_else(outside_calendar)?;
        let (from, to) = (text_of(before_us)?, text_of(asked.to_us)?);
        let mut arguments =
            vec![("from", from.as_str()), ("to", &to), ("grain", asked.grain.name()), ("by", asked.by.as_str())];
        arguments.extend(asked.filters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let question = Question::Named { kind: LibraryKind::Kpis, name, arguments };
        let figures: Vec<Figure> = self.narrowly(question, asked).await?;
        if figures.len() > ROWS_MAX {
            let message = format!("KPI {name}: the answer has more than {ROWS_MAX} rows: ask for a shorter range");
            return Err(Error::new(Kind::Exhausted, message));
        }
        Ok(figures)
    }

    async fn fields(&self, range: Range, asked: &Asked, with_tools: bool) -> Result<Vec<AgentFields>> {
        let (from, to) = (text_of(range.from_us)?, text_of(range.to_us)?);
        let with_tools = with_tools.to_string();
        let mut arguments = vec![("from", from.as_str()), ("to", &to), ("with_tools", &with_tools)];
        arguments.extend(asked.filters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let question = Question::Named { kind: LibraryKind::Reports, name: "coverage", arguments };
        let mut rows: Vec<AgentFields> = self.narrowly(question, asked).await?;
        for row in &mut rows {
            let of_tenants = if self.has_token_quotas() { row.carried(col::TENANT_ID) } else { 0 };
            row.tell(TOKEN_DAILY_QUOTA, of_tenants);
        }
        Ok(rows)
    }

    /// The rows of a question, of calls that fulfil the conditions.
    async fn narrowly<R: DeserializeOwned>(&self, question: Question<'_>, asked: &Asked) -> Result<Vec<R>> {
        let answer = self.ask(question, &asked.conditions, &[], Page::default(), Options::default());
        answer.await?.rows.collect_as().await
    }
}

impl Asked {
    /// All calls of a range.
    fn within(range: Range) -> Self {
        let Range { from_us, to_us } = range;
        let (filters, conditions) = (Vec::new(), Vec::new());
        Self { from_us, to_us, grain: Grain::Day, by: String::new(), filters, conditions }
    }

    /// The values of a KPI's parameters, whose names and types its definition has checked.
    fn of(values: Vec<(String, ParamValue)>) -> Result<Self, String> {
        let mut asked = Self::within(Range { from_us: 0, to_us: 0 });
        for (name, value) in values {
            match (name.as_str(), value) {
                ("from", ParamValue::Timestamp(us)) => asked.from_us = us,
                ("to", ParamValue::Timestamp(us)) => asked.to_us = us,
                ("grain", ParamValue::Text(text)) => {
                    asked.grain = Grain::of(&text).ok_or_else(|| format!("grain: {text} is no grain"))?;
                }
                ("by", ParamValue::Text(text)) => asked.by = text,
                ("tenant_id" | "agent_id" | "model", ParamValue::Text(text)) => asked.filters.push((name, text)),
                ("tenant_id" | "agent_id" | "model", _) => {}
                _ => return Err(format!("{name} is no parameter of a judged KPI; ask /api/v1/queries")),
            }
        }
        check_range(asked.from_us, asked.to_us)?;
        let start_us = asked.grain.start_of(asked.from_us).ok_or("from is outside the calendar")?;
        let last_us = i32::try_from(WINDOWS_MAX).ok().and_then(|windows| asked.grain.step(start_us, windows));
        match last_us {
            Some(last_us) if asked.to_us <= last_us => Ok(asked),
            _ => Err(format!("more than {WINDOWS_MAX} windows: ask for a shorter range or a coarser grain")),
        }
    }
}

impl Calls<'_> {
    /// Whether these are the same calls.
    fn are(&self, other: &Self) -> bool {
        let of = |calls: &Self| (calls.range.from_us, calls.range.to_us);
        of(self) == of(other)
            && self.asked.filters == other.asked.filters
            && self.asked.conditions == other.asked.conditions
    }
}

/// The answer to a KPI's question; `fields` are those of each agent.
fn judged(
    definition: &Definition,
    asked: Asked,
    windows: &Windows,
    figures: Vec<Figure>,
    fields: &[AgentFields],
) -> Result<KpiAnswer> {
    let all = AgentFields::sum(fields);
    // Each agent's own where agents are told apart: what one sends says nothing of another.
    let of_key = |key: Option<&str>| {
        let own = fields.iter().find(|row| asked.by == "agent" && row.agent.as_deref() == key);
        lacking(own.unwrap_or(&all), definition)
    };
    Ok(KpiAnswer {
        definition: definition.clone(),
        from: text_of(windows.from_us)?,
        to: text_of(asked.to_us)?,
        grain: asked.grain,
        lacks: lacking(&all, definition).iter().map(|need| need.text()).collect(),
        windows: windows.judge(definition, figures, of_key),
        by: asked.by,
    })
}

/// What the KPI needs and no call carries; without calls nothing can be said.
fn lacking<'a>(fields: &AgentFields, definition: &'a Definition) -> Vec<&'a Need> {
    if fields.calls > 0 { fields.lacking(definition) } else { Vec::new() }
}

fn check_range(from_us: i64, to_us: i64) -> Result<(), String> {
    if from_us < to_us { Ok(()) } else { Err("from is not before to".to_owned()) }
}

/// The table [`TOKEN_QUOTAS`].
pub fn token_quotas<'a>(
    quotas: impl Iterator<Item = (&'a String, &'a u64)>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("tenant_id", DataType::Utf8View, false),
        Field::new("token_daily_quota", DataType::UInt64, false),
    ]));
    let (tenants, quotas): (Vec<&String>, Vec<u64>) = quotas.map(|(tenant, quota)| (tenant, *quota)).unzip();
    let tenants = StringViewArray::from_iter_values(tenants);
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(tenants), Arc::new(UInt64Array::from(quotas))])?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

/// The table [`TASK_VALUES`].
pub fn task_values(values_usd: &BTreeMap<String, f64>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("agent_id", DataType::Utf8View, false),
        Field::new("task_value_usd", DataType::Float64, false),
    ]));
    let agents = StringViewArray::from_iter_values(values_usd.keys());
    let values = Float64Array::from_iter_values(values_usd.values().copied());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(agents), Arc::new(values)])?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}
