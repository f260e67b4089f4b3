//! The batches that the clients send. All that a batch holds follows from the seed, its number, the time at
//! which it was made and whether it may hold rows that will pass, so that it can be sent again, byte for
//! byte, without being kept. Never talks to a server.

use std::{collections::BTreeMap, ops::AddAssign};

use chrono::DateTime;
use serde::Deserialize;

use crate::random::Random;

/// The tenant whose rows pass at an age. A row between two that stay: a file holds both.
pub const BRIEF: &str = "brief";
/// The tenants.
pub const TENANTS: [&str; 3] = ["alpha", BRIEF, "steady"];
/// Days before today of rows that nobody's retention has reached.
const RECENT_DAYS: [i64; 2] = [1, 3];
/// Days before today that are past the retention of [`BRIEF`].
const OLD_DAYS: [i64; 2] = [12, 13];
/// The retention of [`BRIEF`], days. Far from both, so that a midnight changes nothing.
pub const BRIEF_DAYS: i64 = 7;
/// Batches that share a session.
pub const SESSION_BATCHES: usize = 16;
const DAY_US: i64 = 86_400_000_000;
/// Costs are whole multiples of 1/1024 USD, so that their sums are exact in any order.
pub const COST_UNITS: f64 = 1024.0;

/// What a batch is made of.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    pub seed: u64,
    pub number: usize,
    pub made_at_us: i64,
    /// Whether there may be rows that a retention will delete.
    pub passing: bool,
}

/// Figures of some rows, as the ledger adds them up and as SQL says them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Sums {
    pub calls: u64,
    /// In units of 1/1024 USD.
    pub cost: u64,
    pub prompt: u64,
    pub completion: u64,
    pub errors: u64,
}

/// Rows that are told apart: a tenant's of one day, and whether a retention will delete them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub tenant: &'static str,
    /// Days since the epoch.
    pub day: i64,
    pub passing: bool,
}

/// A batch, ready to be sent, and what has to be found of it.
#[derive(Debug)]
pub struct Batch {
    pub key: Option<String>,
    pub content_type: &'static str,
    pub body: String,
    pub cells: BTreeMap<Cell, Sums>,
    /// Tool calls of rows that stay, and how many of them failed.
    pub tools: (u64, u64),
    /// The lines that are no records.
    pub rejected: Vec<String>,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.cost += other.cost;
        self.prompt += other.prompt;
        self.completion += other.completion;
        self.errors += other.errors;
    }
}

impl Cell {
    /// Its day as SQL writes it.
    pub fn date(&self) -> String {
        DateTime::from_timestamp(self.day * 86_400, 0).unwrap().date_naive().to_string()
    }

    /// The value of `variant` in its rows.
    pub fn variant(&self) -> &'static str {
        if self.passing { "passing" } else { "kept" }
    }
}

impl Batch {
    pub fn new(recipe: Recipe) -> Self {
        let mut random = Random::new(recipe.seed, recipe.number as u64 + 1_000);
        let records = match random.below(40) {
            // Larger than a segment of the log.
            0 => random.within(600..1_200),
            1..10 => 1,
            _ => random.within(2..30),
        };
        let mut batch = Self {
            key: random.once_in(2).then(|| format!("key-{}-{}", recipe.seed, recipe.number)),
            content_type: "application/x-ndjson",
            body: String::new(),
            cells: BTreeMap::new(),
            tools: (0, 0),
            rejected: Vec::new(),
        };
        let lines: Vec<String> = (0..records).map(|index| batch.record(recipe, index, &mut random)).collect();
        if random.once_in(8) {
            batch.content_type = "application/json";
            batch.body = format!("[{}]", lines.join(",\n"));
            return batch;
        }
        if random.once_in(6) {
            batch.rejected.push(format!("broken b{}", recipe.number));
        }
        batch.body = lines.iter().chain(&batch.rejected).map(|line| format!("{line}\n")).collect();
        batch
    }

    /// All rows together.
    pub fn calls(&self) -> u64 {
        self.cells.values().map(|sums| sums.calls).sum()
    }

    fn record(&mut self, recipe: Recipe, index: u64, random: &mut Random) -> String {
        let Recipe { number, made_at_us, .. } = recipe;
        let tenant = *random.pick(&TENANTS);
        let back_us = match random.below(20) {
            0..8 => random.within(1..5_000_000) as i64,
            8..14 => RECENT_DAYS[random.below(2) as usize] * DAY_US,
            _ if tenant == BRIEF && !recipe.passing => RECENT_DAYS[random.below(2) as usize] * DAY_US,
            _ => OLD_DAYS[random.below(2) as usize] * DAY_US,
        };
        let time_us = made_at_us - back_us;
        let day = time_us.div_euclid(DAY_US);
        let passing = tenant == BRIEF && back_us > BRIEF_DAYS * DAY_US;
        let cell = Cell { tenant, day, passing };
        let is_error = random.once_in(10);
        let sums = Sums {
            calls: 1,
            cost: random.below(4_096),
            prompt: random.below(5_000),
            completion: random.below(900),
            errors: u64::from(is_error),
        };
        *self.cells.entry(cell).or_default() += sums;
        let tool = random.once_in(4).then(|| random.once_in(5));
        if let (Some(failed), false) = (tool, passing) {
            self.tools.0 += 1;
            self.tools.1 += u64::from(failed);
        }
        let tool_calls = tool.map_or(String::new(), |failed| {
            let status = if failed { "timeout" } else { "ok" };
            format!(r#","tool_calls":[{{"name":"search","latency_ms":12.5,"status":"{status}"}}]"#)
        });
        let error = if is_error { r#","error":"it broke","error_type":"broken""# } else { "" };
        // Rows that pass are in no session and no trace that has others.
        let session = format!("{}{}", if passing { "p" } else { "s" }, number / SESSION_BATCHES);
        let trace = if passing { String::new() } else { format!(r#","trace_id":"b{number}""#) };
        format!(
            concat!(
                r#"{{"timestamp":"{}","request_id":"b{}-{}","correlation_id":"b{}","session_id":"{}"{},"tenant_id":"{}","#,
                r#""agent_id":"agent-{}","model":"model-{}","operation":"chat","variant":"{}","prompt_tokens":{},"#,
                r#""completion_tokens":{},"cost_usd":{},"latency_ms":{},"guardrail_status":"{}","weight":{}{}{}}}"#
            ),
            DateTime::from_timestamp_micros(time_us).unwrap().to_rfc3339(),
            number,
            index,
            number,
            session,
            trace,
            tenant,
            random.below(3),
            random.below(2),
            cell.variant(),
            sums.prompt,
            sums.completion,
            sums.cost as f64 / COST_UNITS,
            random.within(1..40) * 125,
            if random.once_in(9) { "blocked" } else { "passed" },
            random.next(),
            error,
            tool_calls,
        )
    }
}
