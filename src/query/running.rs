//! Statements that run. They have threads of their own: what computes for long without a pause keeps no
//! request and no commit waiting. A statement runs until its time is up, whether or not somebody reads what it
//! answers; then all that it holds is given back. One that was refused memory, or stopped, because the process was near
//! its bound runs again with the right of way, if nobody has seen any of its rows.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    json::{ArrayWriter, WriterBuilder, writer::JsonArray},
};
use datafusion::{
    execution::{SendableRecordBatchStream, SessionState},
    logical_expr::LogicalPlan,
    physical_plan::execute_stream,
};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{
    error::{from_engine, from_planning},
    memory::Share,
    provider::LongestRow,
    readers::{Reader, Readers},
    turns::Turn,
    write::TIMESTAMP_FORMAT,
};
use crate::error::{Context, Error, Kind, Result};

/// Results that wait for their reader.
const WAITING: usize = 1;
/// Rows that are handed out at a time: as text they are about a megabyte, and as such wait for slow readers.
const PART_ROWS: usize = 1024;
/// What a batch of long rows may hold.
const BATCH_BYTES: usize = 32 << 20;
/// The least rows of a batch: below, the work for each batch is more than that for its rows.
const BATCH_ROWS_MIN: usize = 64;
/// How often a statement runs again that was in the way.
const AGAIN_MAX: usize = 2;
/// How long it waits for those before it that were as well, and then for room: a burst of ingest is over by then.
const WAY_WAIT: Duration = Duration::from_secs(5);

/// Where batches go, and nothing once there are no more.
type Batches = mpsc::Sender<Result<Option<RecordBatch>>>;

/// The threads of statements.
#[derive(Debug)]
pub struct Workers(Option<Runtime>);

/// A statement that is to run.
pub struct Statement {
    /// What it says.
    pub plan: LogicalPlan,
    /// The session it is planned in.
    pub state: SessionState,
    /// Its part of the memory.
    pub share: Arc<Share>,
    /// Its turn, until it ends.
    pub turn: Turn,
    /// How long it may run.
    pub timeout: Duration,
    /// Most rows of its result.
    pub rows_max: usize,
}

/// A result that is running. Dropping it cancels the statement.
pub struct Rows {
    schema: SchemaRef,
    /// Batches, and nothing once there are no more.
    batches: mpsc::Receiver<Result<Option<RecordBatch>>>,
    /// What of the last batch was not handed out yet.
    rest: Option<RecordBatch>,
    running: AbortHandle,
    readers: Arc<Readers>,
    /// Where it gives way to others while nobody reads it.
    reader: Option<Reader>,
    deadline: Instant,
    timeout: Duration,
    rows_left: usize,
    rows_max: usize,
}

impl Workers {
    /// As many threads as the machine computes with.
    pub fn start() -> Result<Self> {
        let threads = available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("statement")
            .enable_all()
            .build()
            .context("cannot start the statements' threads")?;
        Ok(Self(Some(runtime)))
    }

    /// Starts a statement; returns once it is planned.
    pub async fn run(&self, statement: Statement) -> Result<Rows> {
        let runtime = self.0.as_ref().ok_or_else(broken)?;
        let Statement { plan, state, share, turn, timeout, rows_max } = statement;
        let deadline = Instant::now() + timeout;
        let readers = Arc::clone(turn.readers());
        let (planned, schema) = oneshot::channel();
        let (sender, batches) = mpsc::channel(WAITING);
        let run = async move {
            let _turn = turn;
            let started = timeout_at(deadline, start(&state, &plan)).await;
            let stream = match started.unwrap_or_else(|_| Err(timed_out(timeout))) {
                Ok(stream) => stream,
                Err(error) => {
                    let _ = planned.send(Err(error));
                    return;
                }
            };
            if planned.send(Ok(stream.schema())).is_err() {
                return;
            }
            let answered = async {
                let Some(refused) = pump(stream, &share, &sender).await else { return };
                if let Some(refused) = run_again((&state, &plan), &share, &sender, refused).await {
                    let _ = sender.send(Err(refused)).await;
                }
            };
            // A reader that does not read holds the statement no longer than its time.
            let _ = timeout_at(deadline, answered).await;
        };
        let running = runtime.spawn(run).abort_handle();
        let mut rows = Rows {
            schema: SchemaRef::new(arrow::datatypes::Schema::empty()),
            batches,
            rest: None,
            running,
            readers,
            reader: None,
            deadline,
            timeout,
            rows_left: rows_max,
            rows_max,
        };
        rows.schema = schema.await.map_err(|_| broken())??;
        Ok(rows)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Threads must not be waited for where futures run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a statement again that was in the way, with the right of way. Returns why it ended, if it was in the way still.
async fn run_again(
    (state, plan): (&SessionState, &LogicalPlan),
    share: &Share,
    sender: &Batches,
    mut refused: Error,
) -> Option<Error> {
    let soon = || Instant::now() + WAY_WAIT;
    let Ok(_way) = timeout_at(soon(), share.right_of_way()).await else { return Some(refused) };
    for _ in 0..AGAIN_MAX {
        // With the right of way it may do without.
        let _ = timeout_at(soon(), share.room()).await;
        share.begin_again();
        refused = match start(state, plan).await {
            Ok(stream) => pump(stream, share, sender).await?,
            Err(error) => error,
        };
    }
    Some(refused)
}

async fn start(state: &SessionState, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
    let planned = async |state: &SessionState| {
        let planned = state.create_physical_plan(plan).await;
        planned.map_err(|error| from_planning("cannot plan the statement", error))
    };
    let run = |planned, state: &SessionState| {
        execute_stream(planned, state.task_ctx()).map_err(|error| from_engine("cannot run the statement", error))
    };
    let first = planned(state).await?;
    let longest = state.config().get_extension::<LongestRow>().map_or(0, |longest| longest.bytes());
    let rows = BATCH_BYTES.checked_div(longest).map_or(usize::MAX, |rows| rows.max(BATCH_ROWS_MIN));
    if rows >= state.config().batch_size() {
        return run(first, state);
    }
    // Operators hold batches of so many rows, however long these are. What the scans read is known only now.
    let mut state = state.clone();
    *state.config_mut() = state.config().clone().with_batch_size(rows);
    run(planned(&state).await?, &state)
}

/// Hands out what the statement answers. Returns why it ended where it was in the way before it had any rows.
async fn pump(mut stream: SendableRecordBatchStream, share: &Share, sender: &Batches) -> Option<Error> {
    let mut is_seen = false;
    loop {
        let next = tokio::select! {
            biased;
            () = share.stopped() => Err(stopped()),
            next = stream.next() => next.transpose().map_err(|error| from_engine("the statement failed", error)),
        };
        if !matches!(next, Ok(Some(_))) {
            // What it held is free before anybody hears of its end.
            drop(stream);
            return match next {
                Err(error) if !is_seen && error.kind() == Kind::Exhausted && share.was_in_the_way() => Some(error),
                next => {
                    let _ = sender.send(next).await;
                    None
                }
            };
        }
        if sender.send(next).await.is_err() {
            return None;
        }
        is_seen = true;
    }
}

impl Rows {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// When the statement's time is up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same rows, of a statement that ends when somebody waits for a turn and these are not asked for: for readers
    /// that may stay away between two of them.
    pub fn giving_way(mut self) -> Self {
        self.reader = Some(Reader::new(Arc::clone(&self.readers), self.running.clone(), Instant::now()));
        self
    }

    /// The next rows.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(reader) = &mut self.reader {
            reader.reads();
            if reader.is_ended() {
                return Some(Err(gave_way()));
            }
        }
        let next = self.received().await;
        if let Some(reader) = &mut self.reader {
            reader.rests(Instant::now());
        }
        next
    }

    async fn received(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Some(Ok(self.part_of(rest)));
        }
        let batch = match timeout_at(self.deadline, self.batches.recv()).await {
            Ok(Some(Ok(Some(batch)))) => batch,
            Ok(Some(Ok(None))) => return None,
            Ok(Some(Err(error))) => return Some(Err(error)),
            Ok(None) if Instant::now() < self.deadline => return Some(Err(broken())),
            Ok(None) | Err(_) => return Some(Err(timed_out(self.timeout))),
        };
        match self.rows_left.checked_sub(batch.num_rows()) {
            Some(left) => self.rows_left = left,
            None => {
                return Some(Err(Error::new(
                    Kind::Exhausted,
                    format!("the result has more than {} rows: add a limit or aggregate", self.rows_max),
                )));
            }
        }
        Some(Ok(self.part_of(batch)))
    }

    fn part_of(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = batch.num_rows();
        if rows <= PART_ROWS {
            return batch;
        }
        self.rest = Some(batch.slice(PART_ROWS, rows - PART_ROWS));
        batch.slice(0, PART_ROWS)
    }

    /// All rows at once.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    /// All rows as values of a type that reads row objects.
    pub async fn collect_as<T: DeserializeOwned>(self) -> Result<Vec<T>> {
        let batches = self.collect().await?;
        let builder = WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(TIMESTAMP_FORMAT.to_owned());
        let mut writer: ArrayWriter<Vec<u8>> = builder.build::<_, JsonArray>(Vec::new());
        writer.write_batches(&batches.iter().collect::<Vec<_>>()).context("cannot read the rows")?;
        writer.finish().context("cannot read the rows")?;
        let text = writer.into_inner();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&text).context("the rows are not of the expected shape")
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn timed_out(after: Duration) -> Error {
    Error::new(Kind::Timeout, format!("the statement ran longer than {} s and was stopped", after.as_secs_f64()))
}

fn gave_way() -> Error {
    Error::new(
        Kind::Timeout,
        "the statement was ended: others waited for their turn, and its rows were not read. Read them at once, or ask \
         for fewer",
    )
}

fn stopped() -> Error {
    Error::new(
        Kind::Exhausted,
        "the statement was stopped: the server is at its memory.bytes_max, and this statement held the most. Ask for \
         fewer rows, columns or groups",
    )
}

fn broken() -> Error {
    Error::new(Kind::Internal, "the statement broke off")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use datafusion::{
        execution::{context::SessionContext, memory_pool::MemoryPool, runtime_env::RuntimeEnvBuilder},
        prelude::SessionConfig,
    };

    use super::*;
    use crate::{
        access::Scope,
        query::{
            memory::{Bounds, Memory},
            turns::{Place, Turns},
        },
    };

    const MIB: usize = 1 << 20;

    /// Counts pairs, of which one side is in memory, while the process has as much resident as the closure says.
    async fn pairs(resident: impl Fn(&Share) -> usize) -> Result<Vec<RecordBatch>> {
        let memory = Memory::new(64 * MIB, Bounds { refuse: 800, stop: 900 });
        let share = memory.share();
        let pool: Arc<dyn MemoryPool> = Arc::clone(&share) as _;
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime);
        let series = "generate_series(1, 300000)";
        let text = format!("select count(*) from {series} a join {series} b on a.value = b.value");
        let statement = Statement {
            plan: context.sql(&text).await.unwrap().into_unoptimized_plan(),
            state: context.state(),
            share: Arc::clone(&share),
            turn: Arc::new(Turns::new(1)).take(Place::of(&Scope::Everybody), Duration::ZERO).await.unwrap(),
            timeout: Duration::from_secs(60),
            rows_max: 10,
        };
        let workers = Workers::start().unwrap();
        let answered = async { workers.run(statement).await?.collect().await };
        tokio::select! {
            biased;
            () = memory.watch(|| Some(resident(&share))) => panic!("it watches for ever"),
            answered = answered => answered,
        }
    }

    #[tokio::test]
    async fn what_was_in_the_way_runs_again() {
        for (at_first, then) in [(801, 800), (901, 800)] {
            let was_seen = AtomicBool::new(false);
            let resident = |share: &Share| {
                let in_the_way = was_seen.fetch_or(share.was_in_the_way(), Ordering::Relaxed);
                if in_the_way { then } else { at_first }
            };
            let answered = pairs(resident).await.unwrap();
            assert_eq!(answered.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
            assert!(was_seen.into_inner(), "it was never in the way");
        }
    }
}
