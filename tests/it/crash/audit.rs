//! The whole store against the ledger, while the clients stand still: rows, batch by batch and day by day;
//! what is derived from rows; the books. Never changes the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    batch::{COST_UNITS, Cell, SESSION_BATCHES, Sums},
    ledger::{Entry, Ledger, Passing},
    server::Api,
};

const SUMS: &str = "count(*) as calls, cast(coalesce(sum(cost), 0) * 1024 as bigint) as cost, \
                    sum(prompt_tokens) as prompt, sum(completion_tokens) as completion, \
                    count(*) filter (where is_error) as errors";
/// The same columns of a view that has added them up.
const ADDED: &str = "cast(sum(calls) as bigint) as calls, cast(sum(cost) * 1024 as bigint) as cost, \
                     sum(prompt_tokens) as prompt, sum(completion_tokens) as completion, \
                     cast(sum(errors) as bigint) as errors";

/// What must have become of rows past their retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// As the ledger says: all are there, or any part of them.
    Underway,
    /// None is left, and nothing else is due.
    Done,
}

/// Figures under a name.
type Figures<T> = BTreeMap<String, T>;

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    sums: Sums,
}

/// What is derived from rows. Each is dear in a debug build, so that in a short run a start looks at one of them in
/// turn; where everything stands still, all are looked at.
const DERIVED: u64 = 7;

/// Compares everything, of what is derived only the part whose turn it is, unless all is at rest or the run is
/// `thorough`; the error names what differs.
pub async fn audit(api: &Api, ledger: &mut Ledger, expiry: Expiry, turn: u64, thorough: bool) -> Result<(), String> {
    let passing = batches(api, ledger, expiry).await?;
    cells(api, ledger).await?;
    rejected(api, ledger).await?;
    metrics(api).await?;
    books(api, ledger, passing, expiry).await?;
    let turns = if thorough || expiry == Expiry::Done { 0..DERIVED } else { turn % DERIVED..turn % DERIVED + 1 };
    for part in turns {
        match part {
            0 => sessions(api, ledger).await?,
            1 => traces(api, ledger).await?,
            2 => tools(api, ledger).await?,
            3 => daily(api, ledger).await?,
            4 => distinct(api).await?,
            5 => rollups(api).await?,
            _ => reports(api, ledger, expiry, turn).await?,
        }
    }
    Ok(())
}

/// Batch by batch: acknowledged ones are there, whole and once; others whole or not at all; and nothing
/// else. Returns how many rows that pass were found.
async fn batches(api: &Api, ledger: &mut Ledger, expiry: Expiry) -> Result<u64, String> {
    #[derive(Debug, Deserialize)]
    struct Row {
        batch: String,
        variant: String,
        #[serde(flatten)]
        sums: Sums,
        first_seq: u64,
        last_seq: u64,
    }
    let statement = format!(
        "select correlation_id as batch, variant, {SUMS}, min(ingest_seq) as first_seq, \
         max(ingest_seq) as last_seq from agent_logs group by correlation_id, variant"
    );
    let mut found: BTreeMap<(usize, bool), Row> = BTreeMap::new();
    for row in rows::<Row>(api, &statement).await? {
        let number = row.batch.trim_start_matches('b').parse().unwrap_or(usize::MAX);
        if number >= ledger.entries.len() {
            return Err(format!("rows of a batch that nobody sent: {row:?}"));
        }
        found.insert((number, row.variant == "passing"), row);
    }
    let mut passing = 0;
    for number in 0..ledger.entries.len() {
        let of = |passing: bool| found.get(&(number, passing));
        let entry = &ledger.entries[number];
        let seqs: BTreeSet<u64> =
            [of(false), of(true)].into_iter().flatten().flat_map(|row| [row.first_seq, row.last_seq]).collect();
        let sums = |passing: bool| of(passing).map(|row| row.sums).unwrap_or_default();
        passing += sums(true).calls;
        if entry.stored.is_none() {
            ledger.found(number, seqs.first().copied())?;
        }
        let entry = &ledger.entries[number];
        let is_whole = sums(false) == entry.sums(false) && is_due(entry, sums(true), ledger.passing, expiry);
        let is_right = match entry.stored {
            Some(seq) => is_whole && seqs.iter().all(|found| *found == seq),
            None => seqs.is_empty(),
        };
        if !is_right {
            let (kept, passing) = (of(false), of(true));
            return Err(format!("batch {number} is not as it was sent: kept {kept:?}, passing {passing:?}; {entry:?}"));
        }
    }
    Ok(passing)
}

/// Whether so many of a batch's rows that pass may be there.
fn is_due(entry: &Entry, found: Sums, passing: Passing, expiry: Expiry) -> bool {
    let all = entry.sums(true);
    match passing {
        _ if entry.purged || expiry == Expiry::Done => found.calls == 0,
        Passing::Stay => found == all,
        Passing::Go => found.calls <= all.calls && found.cost <= all.cost,
    }
}

async fn distinct(api: &Api) -> Result<(), String> {
    let statement = "select count(*) as calls, count(distinct request_id) as ids from agent_logs";
    let counts = rows::<Value>(api, statement).await?;
    same("distinct rows", &one(counts[0]["calls"].clone()), &one(counts[0]["ids"].clone()))
}

async fn cells(api: &Api, ledger: &Ledger) -> Result<(), String> {
    let statement = format!(
        "select tenant_id || ' ' || cast(date as varchar) as name, {SUMS} from agent_logs \
         where variant = 'kept' group by tenant_id, date"
    );
    let expected = kept(ledger, |_, cell| format!("{} {}", cell.tenant, cell.date()));
    same("rows by tenant and day", &expected, &figures(api, &statement).await?)
}

/// A named query: days of which no rows pass.
async fn daily(api: &Api, ledger: &Ledger) -> Result<(), String> {
    let daily: Vec<Value> = parsed(api.get("/api/v1/queries/cost_by_tenant_daily?from=today-2d").await)?;
    let mut found = Figures::new();
    for row in daily {
        let name = format!("{} {:.10}", text(&row["tenant_id"]), text(&row["day"]));
        found.insert(name, row["cost_usd"].as_f64().map(units));
    }
    let expected = kept(ledger, |_, cell| format!("{} {}", cell.tenant, cell.date()));
    let expected = expected.into_iter().map(|(name, sums)| (name, Some(sums.cost)));
    let days: BTreeSet<String> = found.keys().cloned().collect();
    same("the named query", &expected.filter(|(name, _)| days.contains(name)).collect(), &found)
}

/// What rollups answer against the same from the calls.
async fn rollups(api: &Api) -> Result<(), String> {
    for question in ["cost_by_tenant_daily", "token_usage_by_model_daily", "errors_by_type"] {
        let ask = async |how: &str| {
            let path = format!("/api/v1/queries/{question}?from=today-2d&to=now%2B2d&rollups={how}");
            parsed::<Vec<Value>>(api.get(&path).await)
        };
        let by_row = |rows: Vec<Value>| rows.iter().map(|row| (row.to_string(), 1)).collect::<Figures<u8>>();
        same(question, &by_row(ask("off").await?), &by_row(ask("on").await?))?;
    }
    Ok(())
}

async fn rejected(api: &Api, ledger: &Ledger) -> Result<(), String> {
    let statement = "select raw, count(*) as n from rejected_logs group by raw";
    let found = rows::<Value>(api, statement).await?;
    let found: Figures<Value> = found.into_iter().map(|row| (text(&row["raw"]), row["n"].clone())).collect();
    let lines = stored(ledger).flat_map(|(_, entry)| &entry.rejected);
    same("rejected lines", &lines.map(|line| (line.clone(), Value::from(1))).collect(), &found)
}

async fn sessions(api: &Api, ledger: &Ledger) -> Result<(), String> {
    let statement = format!(
        "select tenant_id || ' ' || session_id as name, {ADDED} from sessions where session_id like 's%' \
         group by tenant_id, session_id"
    );
    let sessions = kept(ledger, |number, cell| format!("{} s{}", cell.tenant, number / SESSION_BATCHES));
    same("sessions", &sessions, &figures(api, &statement).await?)
}

async fn traces(api: &Api, ledger: &Ledger) -> Result<(), String> {
    let statement =
        format!("select tenant_id || ' ' || trace_id as name, {ADDED} from traces group by tenant_id, trace_id");
    let traces = kept(ledger, |number, cell| format!("{} b{number}", cell.tenant));
    same("traces", &traces, &figures(api, &statement).await?)
}

async fn tools(api: &Api, ledger: &Ledger) -> Result<(), String> {
    let statement = "select count(*) as calls, count(*) filter (where failed) as failed from tool_calls \
                     where session_id like 's%'";
    let tools = stored(ledger).map(|(_, entry)| entry.tools).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let found = rows::<Value>(api, statement).await?;
    same("tool calls", &one(tools), &one((number(&found[0]["calls"]), number(&found[0]["failed"]))))
}

/// The cumulative families against the same made of rows. Rows that pass are too old to be in them.
async fn metrics(api: &Api) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Row {
        agent_id: String,
        model: String,
        tenant_id: String,
        operation: String,
        error_type: Option<String>,
        guardrail_status: String,
        calls: u64,
        prompt: f64,
        completion: f64,
        cost: f64,
        seconds: f64,
    }
    let statement = "select agent_id, model, tenant_id, operation, error_type, guardrail_status, count(*) as calls, \
                     sum(prompt_tokens) as prompt, sum(completion_tokens) as completion, sum(cost) as cost, \
                     sum(latency_ms) / 1000 as seconds from agent_logs \
                     where received_at - timestamp <= interval '60 minutes' group by 1, 2, 3, 4, 5, 6";
    let mut expected: Figures<f64> = Figures::new();
    let mut add = |name: String, value: f64| *expected.entry(name).or_default() += value;
    for row in rows::<Row>(api, statement).await? {
        let Row { agent_id, model, tenant_id, operation, .. } = &row;
        let made = format!("agent_id=\"{agent_id}\",model=\"{model}\"");
        add(format!("llm_cost_usd_total{{{made},tenant_id=\"{tenant_id}\"}}"), row.cost);
        for (kind, tokens) in [("input", row.prompt), ("output", row.completion)] {
            let labels = format!("{made},tenant_id=\"{tenant_id}\",token_type=\"{kind}\"");
            add(format!("llm_tokens_total{{{labels}}}"), tokens);
        }
        let duration = |part: &str| format!("llm_request_duration_seconds_{part}{{{made},operation=\"{operation}\"}}");
        add(duration("count"), row.calls as f64);
        add(duration("sum"), row.seconds);
        if let Some(error_type) = &row.error_type {
            add(format!("llm_errors_total{{{made},error_type=\"{error_type}\"}}"), row.calls as f64);
        }
        let decision = if row.guardrail_status == "passed" { "allow" } else { "block" };
        let labels = format!("agent_id=\"{agent_id}\",decision=\"{decision}\",reason=\"\"");
        add(format!("llm_guardrail_decisions_total{{{labels}}}"), row.calls as f64);
    }
    let text = answered(api.text("/metrics").await)?;
    let families: BTreeSet<&str> = expected.keys().filter_map(|name| name.split('{').next()).collect();
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let found = samples.filter(|(name, _)| name.split('{').next().is_some_and(|family| families.contains(family)));
    let rounded = |value: f64| (value * 1e6).round() as i64;
    let found = found.map(|(name, value)| (name.to_owned(), rounded(value.parse().unwrap_or(f64::NAN)))).collect();
    same("live families", &expected.into_iter().map(|(name, value)| (name, rounded(value))).collect(), &found)
}

/// The cost report of a day against the rows that the day must have.
async fn reports(api: &Api, ledger: &Ledger, expiry: Expiry, turn: u64) -> Result<(), String> {
    let days = kept(ledger, |_, cell| cell.date());
    let passing: BTreeSet<String> = ledger
        .entries
        .iter()
        .flat_map(|entry| entry.cells.iter().filter(|(cell, _)| cell.passing).map(|(cell, _)| cell.date()))
        .collect();
    // A report costs a second in a debug build: one day, and at rest one that rows have left.
    let days: Vec<_> = days.iter().filter(|(day, _)| passing.contains(*day) == (expiry == Expiry::Done)).collect();
    let chosen = days.get((turn / DERIVED) as usize % days.len().max(1));
    if let Some((day, sums)) = chosen {
        let report: Value = parsed(api.get(&format!("/api/v1/reports/cost?day={day}")).await)?;
        let totals = &report["totals"];
        let found = Sums {
            calls: number(&totals["calls"]),
            cost: units(totals["cost_usd"].as_f64().unwrap_or(-1.0)),
            prompt: number(&totals["prompt_tokens"]),
            completion: number(&totals["completion_tokens"]),
            errors: number(&totals["errors"]["calls"]),
        };
        same(&format!("the report of {day}"), &one(**sums), &one(found))?;
        let tenants = report["tenants"]["rows"].as_array().cloned().unwrap_or_default();
        let found = tenants
            .iter()
            .map(|row| (text(&row["name"]), (number(&row["calls"]), row["cost_usd"].as_f64().map(units))))
            .collect();
        let of_day = kept(ledger, |_, cell| format!("{} {}", cell.date(), cell.tenant));
        let expected = of_day.into_iter().filter_map(|(name, sums)| {
            Some((name.strip_prefix(day.as_str())?.trim().to_owned(), (sums.calls, Some(sums.cost))))
        });
        same(&format!("tenants in the report of {day}"), &expected.collect(), &found)?;
    }
    Ok(())
}

/// The books: what came in, what became of it, where it is.
async fn books(api: &Api, ledger: &Ledger, passing: u64, expiry: Expiry) -> Result<(), String> {
    let status: Value = parsed(api.get("/api/v1/status").await)?;
    let book = |name: &str| number(&status["books"][name]);
    let mut expected: Figures<u64> = Figures::new();
    let calls = |passing: bool| stored(ledger).map(|(_, entry)| entry.sums(passing).calls).sum::<u64>();
    let rejected: u64 = stored(ledger).map(|(_, entry)| entry.rejected.len() as u64).sum();
    expected.insert("accepted".to_owned(), calls(false) + calls(true));
    expected.insert("rejected".to_owned(), rejected);
    expected.insert("received".to_owned(), calls(false) + calls(true) + rejected + book("duplicate"));
    expected.insert("committed and buffered".to_owned(), calls(false) + calls(true));
    if expiry == Expiry::Done || ledger.passing == Passing::Stay {
        expected.insert("deleted".to_owned(), calls(true) - passing);
    }
    // Only here is what the clients know no exact number: who gave up does not know what became of it.
    let duplicates = ledger.counts.duplicate_lines_min..=ledger.counts.duplicate_lines_max;
    if !duplicates.contains(&book("duplicate")) {
        return Err(format!("the books have other duplicates than {duplicates:?}: {status}"));
    }
    let found = expected.keys().map(|name| {
        let value = match name.as_str() {
            "committed and buffered" => book("committed") + book("buffered"),
            name => book(name),
        };
        (name.clone(), value)
    });
    same("the books", &expected, &found.collect()).map_err(|reason| format!("{reason}: {status}"))
}

/// Sums of the rows that stay, of all stored batches, under names.
fn kept(ledger: &Ledger, name: impl Fn(usize, &Cell) -> String) -> Figures<Sums> {
    let mut figures: Figures<Sums> = Figures::new();
    for (number, entry) in stored(ledger) {
        for (cell, sums) in entry.cells.iter().filter(|(cell, _)| !cell.passing) {
            *figures.entry(name(number, cell)).or_default() += *sums;
        }
    }
    figures
}

fn stored(ledger: &Ledger) -> impl Iterator<Item = (usize, &Entry)> {
    ledger.entries.iter().enumerate().filter(|(_, entry)| entry.stored.is_some())
}

async fn figures(api: &Api, statement: &str) -> Result<Figures<Sums>, String> {
    Ok(rows::<Named>(api, statement).await?.into_iter().map(|row| (row.name, row.sums)).collect())
}

async fn rows<T: DeserializeOwned>(api: &Api, statement: &str) -> Result<Vec<T>, String> {
    api.sql(statement).await.map_err(|trouble| format!("{trouble} to {statement}"))
}

fn answered<T>(answer: Result<T, super::server::Trouble>) -> Result<T, String> {
    answer.map_err(|trouble| format!("{trouble}"))
}

fn parsed<T: DeserializeOwned>(answer: Result<Value, super::server::Trouble>) -> Result<T, String> {
    serde_json::from_value(answered(answer)?).map_err(|error| error.to_string())
}

/// One figure that needs no name.
fn one<T>(value: T) -> Figures<T> {
    Figures::from([(String::new(), value)])
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX / 4)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn units(usd: f64) -> u64 {
    (usd * COST_UNITS).round() as u64
}

/// The one comparison: names a few of the figures that differ.
fn same<T: PartialEq + Debug>(what: &str, expected: &Figures<T>, found: &Figures<T>) -> Result<(), String> {
    const SHOWN: usize = 5;
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let different: Vec<String> = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| format!("{name}: expected {:?}, found {:?}", expected.get(name), found.get(name)))
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    let shown = different.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    Err(format!("{what}: {} differ, {shown}", different.len()))
}
