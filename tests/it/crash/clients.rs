//! Everything that goes on while the server runs: writers that send each batch until it is acknowledged,
//! readers whose every answer has to be right, and one that asks for maintenance. They stand still while the
//! server is down.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use driftline::clock::Clock;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::{
    batch::{Batch, Cell, TENANTS},
    ledger::Ledger,
    server::{Api, PATIENCE, Trouble},
};
use crate::random::Random;

/// The server as clients see it.
#[derive(Debug, Clone)]
pub struct Life {
    pub api: Api,
    /// Set before the server is ended: from then on answers may be missing.
    pub ending: Arc<AtomicBool>,
}

/// What writers may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    /// Whether to begin new batches.
    pub new: bool,
    /// Whether these may hold rows that pass.
    pub passing: bool,
}

/// What was seen of the work behind the requests in one life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    pub flushes: u64,
    pub actions: u64,
    pub swept: u64,
    pub trimmed: u64,
}

/// What the clients share.
pub struct Shared {
    /// Each client holds it for one exchange; who holds it alone has them all standing still.
    pub gate: Arc<RwLock<Option<Life>>>,
    pub ledger: Mutex<Ledger>,
    pub orders: Mutex<Orders>,
    pub work: Mutex<Work>,
    pub queries: AtomicU64,
    pub failure: Mutex<Option<String>>,
    pub over: AtomicBool,
}

impl Shared {
    pub fn new(seed: u64) -> Self {
        Self {
            gate: Arc::default(),
            ledger: Mutex::new(Ledger::new(seed)),
            orders: Mutex::new(Orders { new: true, passing: true }),
            work: Mutex::default(),
            queries: AtomicU64::new(0),
            failure: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub fn order(&self, orders: Orders) {
        *self.orders.lock().unwrap() = orders;
    }

    pub fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap()
    }

    /// The first failure counts; what follows may follow from it.
    fn note(&self, result: Result<(), String>) {
        if let Err(reason) = result {
            self.failure.lock().unwrap().get_or_insert(reason);
        }
    }

    /// One exchange after the other until all is over. An exchange gets the server that runs, and ends
    /// before that server's successor starts.
    async fn repeat<Exchange: Future<Output = Result<(), String>>>(
        &self,
        mut random: Random,
        pause_ms: u64,
        mut exchange: impl FnMut(Life, Random) -> Exchange,
    ) {
        while !self.over.load(Ordering::Relaxed) {
            let gate: RwLockReadGuard<Option<Life>> = self.gate.read().await;
            if let Some(life) = gate.clone() {
                let seed = random.next();
                self.note(exchange(life, Random::new(seed, 0)).await);
            }
            drop(gate);
            tokio::time::sleep(Duration::from_millis(random.below(pause_ms))).await;
        }
    }
}

impl Life {
    /// Without an answer there is nothing to judge, but only a server that ends may owe one.
    fn answer<T>(&self, what: &str, answer: Result<T, Trouble>) -> Result<Option<T>, String> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(_) if self.ending.load(Ordering::Acquire) => Ok(None),
            Err(trouble) => Err(format!("{what}: {trouble}")),
        }
    }
}

/// Sends batches, each until it is acknowledged.
pub async fn write(shared: Arc<Shared>, random: Random) {
    // The batch that is sent again and again until its answer comes.
    let begun: Mutex<Option<usize>> = Mutex::default();
    let (shared, begun) = (&shared, &begun);
    shared
        .repeat(random, 15, |life, mut random| async move {
            let Some((number, batch)) = next(shared, *begun.lock().unwrap(), &mut random) else { return Ok(()) };
            let copies = if random.once_in(12) { 2 } else { 1 };
            let gives_up = random.once_in(15);
            let patience = if gives_up { Duration::from_millis(random.within(1..30)) } else { PATIENCE };
            let sends = (0..copies).map(|_| tokio::time::timeout(patience, life.api.send(&batch)));
            let mut answers = Vec::new();
            for sent in futures::future::join_all(sends).await {
                answers.push(match sent {
                    Err(_) if gives_up => None,
                    Err(_) => return Err(format!("batch {number} gets no answer")),
                    // The buffer is full, or the server is stopping.
                    Ok(Err(Trouble::Refused(503, _))) => None,
                    Ok(answer) => life.answer(&format!("batch {number}"), answer)?,
                });
            }
            let mut ledger = shared.ledger();
            ledger.answered(number, &batch, &answers)?;
            *begun.lock().unwrap() = (!ledger.entries[number].acknowledged).then_some(number);
            Ok(())
        })
        .await;
}

/// The batch to send: the one that was begun, else now and then one that has long been acknowledged, else a
/// new one.
fn next(shared: &Shared, begun: Option<usize>, random: &mut Random) -> Option<(usize, Batch)> {
    let orders = *shared.orders.lock().unwrap();
    let mut ledger = shared.ledger();
    let again = |ledger: &Ledger, number: usize| Some((number, Batch::new(ledger.entries[number].recipe)));
    if let Some(number) = begun {
        return again(&ledger, number);
    }
    if !orders.new {
        return None;
    }
    if !ledger.entries.is_empty() && random.once_in(10) {
        let number = random.below(ledger.entries.len() as u64) as usize;
        let entry = &ledger.entries[number];
        // A retention may refuse what it would delete.
        if entry.acknowledged && (orders.passing || !entry.recipe.passing) {
            return again(&ledger, number);
        }
    }
    Some(ledger.make(Clock::System.now_us(), orders.passing))
}

/// Asks questions whose answers are known within bounds.
pub async fn read(shared: Arc<Shared>, random: Random) {
    let shared = &shared;
    shared
        .repeat(random, 100, |life, mut random| async move {
            shared.queries.fetch_add(1, Ordering::Relaxed);
            match random.below(5) {
                0 | 1 => by_cell(shared, &life).await,
                2 => distinct(&life).await,
                3 => one_batch(shared, &life, &mut random).await,
                _ => every_id(shared, &life).await,
            }
        })
        .await;
}

/// Looks at the books again and again.
pub async fn watch(shared: Arc<Shared>, random: Random) {
    let shared = &shared;
    shared.repeat(random, 60, |life, _| async move { books(shared, &life).await }).await;
}

/// Asks for maintenance, beside the passes that come on their own.
pub async fn maintain(shared: Arc<Shared>, random: Random) {
    shared
        .repeat(random, 400, |life, _| async move {
            life.answer("maintenance", life.api.maintain().await)?;
            Ok(())
        })
        .await;
}

/// Rows by tenant and day: all that were acknowledged before, none that were not sent.
async fn by_cell(shared: &Shared, life: &Life) -> Result<(), String> {
    #[derive(Debug, Deserialize)]
    struct Row {
        tenant_id: String,
        day: i64,
        variant: String,
        calls: u64,
    }
    let at_least = shared.ledger().at_least();
    let statement = "select tenant_id, cast(date as int) as day, variant, count(*) as calls from agent_logs \
                     group by tenant_id, date, variant";
    let Some(rows) = life.answer("rows by day", life.api.sql::<Row>(statement).await)? else { return Ok(()) };
    let at_most = shared.ledger().at_most();
    let mut found = BTreeMap::new();
    for row in rows {
        let Some(tenant) = TENANTS.into_iter().find(|tenant| *tenant == row.tenant_id) else {
            return Err(format!("a tenant that nobody is: {row:?}"));
        };
        found.insert(Cell { tenant, day: row.day, passing: row.variant == "passing" }, row.calls);
    }
    let missing = at_least.iter().find(|(cell, calls)| found.get(cell).copied().unwrap_or(0) < **calls);
    let beyond = found.iter().find(|(cell, calls)| at_most.get(cell).copied().unwrap_or(0) < **calls);
    match (missing, beyond) {
        (Some(cell), _) => Err(format!("acknowledged rows are not seen: at least {cell:?} in {found:?}")),
        (_, Some(cell)) => Err(format!("more rows than were sent: {cell:?}, at most {at_most:?}")),
        _ => Ok(()),
    }
}

/// No row is seen twice by one statement.
async fn distinct(life: &Life) -> Result<(), String> {
    let statement = "select count(*) as calls, count(distinct request_id) as ids from agent_logs";
    let Some(rows) = life.answer("distinct rows", life.api.sql::<Value>(statement).await)? else { return Ok(()) };
    if rows[0]["calls"] == rows[0]["ids"] { Ok(()) } else { Err(format!("rows are seen twice: {rows:?}")) }
}

/// All rows of an acknowledged batch, by their id.
async fn one_batch(shared: &Shared, life: &Life, random: &mut Random) -> Result<(), String> {
    let (number, calls) = {
        let ledger = shared.ledger();
        let Some(number) = ledger.entries.len().checked_sub(1) else { return Ok(()) };
        let number = random.below(number as u64 + 1) as usize;
        let entry = &ledger.entries[number];
        if !entry.acknowledged {
            return Ok(());
        }
        (number, entry.sums(false).calls)
    };
    let statement =
        format!("select count(*) as calls from agent_logs where trace_id = 'b{number}' and variant = 'kept'");
    let Some(rows) = life.answer("one batch", life.api.sql::<Value>(&statement).await)? else { return Ok(()) };
    if rows[0]["calls"] == calls { Ok(()) } else { Err(format!("batch {number} has {calls} rows: {rows:?}")) }
}

/// A result that is streamed.
async fn every_id(shared: &Shared, life: &Life) -> Result<(), String> {
    let at_least: u64 = shared.ledger().at_least().values().sum();
    let statement = "select request_id from agent_logs limit 20000";
    let Some(rows) = life.answer("every id", life.api.sql::<Value>(statement).await)? else { return Ok(()) };
    if rows.len() as u64 >= at_least.min(20_000) { Ok(()) } else { Err(format!("{} of {at_least} ids", rows.len())) }
}

/// The books balance at any moment, and count what was acknowledged.
async fn books(shared: &Shared, life: &Life) -> Result<(), String> {
    let least: u64 = shared.ledger().at_least().values().sum();
    let Some(status) = life.answer("the status", life.api.get("/api/v1/status").await)? else { return Ok(()) };
    let Some(work) = life.answer("maintenance done", life.api.get("/api/v1/maintenance").await)? else { return Ok(()) };
    let most: u64 = shared.ledger().at_most().values().sum();
    let number = |name: &str| status["books"][name].as_u64().unwrap_or(0);
    let (accepted, came) = (number("accepted"), number("committed") + number("buffered"));
    let there = came - number("deleted");
    if number("received") != accepted + number("rejected") + number("duplicate") {
        return Err(format!("the books do not add up: {status}"));
    }
    if !(least..=most).contains(&there) || accepted < came {
        return Err(format!("the books have {there} rows of {least} to {most}: {status}"));
    }
    let done = |name: &str| work["done"][name].as_u64().unwrap_or(0);
    *shared.work() = Work {
        flushes: status["flushes"].as_u64().unwrap_or(0),
        actions: done("actions"),
        swept: done("swept_files"),
        trimmed: done("trimmed_entries"),
    };
    Ok(())
}
