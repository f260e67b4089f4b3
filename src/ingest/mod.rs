//! Bytes in, acknowledgement out: decode → WAL → buffer → answer, and later buffer → lake.
//!
//! The order of steps is the promise: an answer is sent after the fsync and after the rows can be
//! queried; rows leave the buffer after the table holds them; the WAL forgets them after the receipts
//! and totals are saved. At start the same order is read backwards. This room decides what is a
//! duplicate; it never looks at HTTP and never plans a query.

mod committer;
mod cut;
mod receipts;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::array::{Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    access::Scope,
    buffer::Buffer,
    catalog::{Books, Catalog, Forget, Stored, Totals},
    clock::{AgeClock, Clock},
    decode::{self, Decoded, Encoding, Oldest, Options, Reject, Shape},
    disk::Disk,
    error::{Context, Error, Kind, Result},
    lake::LakeTable,
    lifecycle::Policy,
    metrics::{Limits, LiveMetrics},
    record::{Digest, Receipt, Table},
    wal::{self, Frame, Pending, Resume, Section, Writer},
};

pub use cut::Cut;

use committer::{Append, Appended, Committer, Replayed, Sealed, Taken};
use receipts::{Known, Recent, key_reused, stored};

/// Sizes and times that bound ingest.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most bytes of one body, plain.
    pub body_bytes_max: usize,
    /// Most bytes of one record.
    pub record_bytes_max: usize,
    /// So many bytes are committed at once, about.
    pub flush_bytes: usize,
    /// Bytes of one WAL segment.
    pub segment_bytes_max: u64,
    /// How long a request waits for room before it is told to come back.
    pub wait_max: Duration,
    /// How far ahead of now a record's time may lie, µs.
    pub future_max_us: i64,
    /// Records that are past their retention are rejected.
    pub retention: Policy,
    /// How long a batch is remembered, µs.
    pub receipt_horizon_us: i64,
    /// How many batches are remembered, the last ones.
    pub receipts_max: u64,
    /// Bounds of the live metrics.
    pub metrics: Limits,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// The body as received.
    pub body: bytes::Bytes,
    /// How it is compressed.
    pub encoding: Encoding,
    /// How the records stand in it.
    pub shape: Shape,
    /// The identity the sender gives the batch.
    pub idempotency_key: Option<String>,
    /// Whose records the sender may send.
    pub scope: Scope,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Records stored, now or when the batch came first.
    pub accepted: u64,
    /// Lines that were no record.
    pub rejected: Vec<Reject>,
    /// The batch's WAL seq.
    pub seq: u64,
    /// Whether the batch was stored before.
    pub duplicate: bool,
}

/// What an operator wants to know.
#[derive(Debug, Clone)]
pub struct Status {
    /// Everything received.
    pub books: Books,
    /// Rows of `agent_logs` that commits brought.
    pub committed: u64,
    /// How many of them were deleted since: at their age, or on request.
    pub deleted: u64,
    /// Rows of `agent_logs` that wait.
    pub buffered: u64,
    /// Bytes that wait.
    pub buffer_bytes: u64,
    /// Bytes of the WAL.
    pub wal_bytes: u64,
    /// Whether the WAL failed and takes no more.
    pub wal_failed: bool,
    /// Why the last flush failed, if it did.
    pub flush_error: Option<String>,
    /// Flushes that succeeded since start.
    pub flushes: u64,
    /// The last acknowledged seq.
    pub last_seq: u64,
    /// Receipts that were forgotten before their time since start, because there were too many.
    pub receipts_dropped: u64,
    /// How far the machine's clock is ahead of the time that passed, µs: 0 unless it stepped.
    pub clock_ahead_us: i64,
}

/// The rooms that ingest joins.
pub struct Parts {
    /// Where rows wait.
    pub buffer: Arc<Buffer>,
    /// Where rows end, in the order of [`Table::ALL`].
    pub lake: Vec<Arc<LakeTable>>,
    /// Receipts and totals.
    pub catalog: Catalog,
    /// The time.
    pub clock: Clock,
    /// The time by which receipts and records are old.
    pub ages: AgeClock,
    /// Where the WAL writes.
    pub disk: Arc<dyn Disk>,
}

/// The open ingest path.
pub struct Ingestor {
    settings: Settings,
    parts: Parts,
    committer: Committer,
    decoders: Arc<Semaphore>,
    flush: tokio::sync::Mutex<Option<Sealed>>,
    flush_wanted: Notify,
    outcome: Mutex<FlushOutcome>,
    receipts_dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct FlushOutcome {
    flushes: u64,
    error: Option<String>,
}

impl Ingestor {
    /// Opens the WAL in its directory, replays what the tables lack, and starts the committer.
    pub async fn open(wal_directory: &Path, settings: Settings, parts: Parts) -> Result<Self> {
        let saved = parts.catalog.totals().await?;
        let saved_seq = saved.as_ref().map_or(0, |totals| totals.seq);
        let mut live = match &saved {
            Some(totals) => restore(settings.metrics, &totals.metrics)?,
            None => LiveMetrics::new(settings.metrics),
        };
        let mut books = saved.map(|totals| totals.books).unwrap_or_default();
        let mut recent = Recent::default();
        let mut sealed = VecDeque::new();
        let buffer = &parts.buffer;
        let committed: Vec<u64> = parts.lake.iter().map(|lake| lake.snapshot().committed_seq).collect();
        let recovered = wal::recover(parts.disk.as_ref(), wal_directory, saved_seq, |seq, frame| {
            books.accepted += u64::from(frame.accepted);
            books.rejected += u64::from(frame.rejected);
            if let Some(receipt) = frame.receipt {
                recent.note(receipt, stored(seq, &frame));
            }
            let mut rows = Vec::new();
            for section in frame.sections {
                if section.table == Table::AgentLogs {
                    live.observe(&section.batch);
                }
                let position = parts.lake.iter().position(|lake| lake.table() == section.table);
                if position.is_none_or(|position| seq > committed[position]) {
                    rows.push((section.table, section.batch));
                }
            }
            buffer.push(seq, &rows, None)?;
            if buffer.filling_bytes() >= settings.flush_bytes {
                // As what comes from outside: a commit takes several times the memory of what it commits.
                buffer.hold_unreserved();
                sealed.extend(buffer.seal().map(|generation| {
                    let receipts = recent.seal(generation.through_seq());
                    Sealed { generation, receipts, books, metrics: live.totals() }
                }));
            }
            Ok(())
        })?;
        // What came from the log takes room like what comes from outside, as far as there is room.
        buffer.hold_unreserved();
        for (path, offset, bytes) in &recovered.cut {
            tracing::warn!(path = %path.display(), offset, bytes, "cut the torn tail of the write-ahead log");
        }
        for seqs in &recovered.quarantined {
            tracing::warn!(first = seqs.start(), last = seqs.end(), "batches were quarantined and are not stored");
        }
        let last_seq = committed.iter().copied().fold(recovered.last_seq.max(saved_seq), u64::max);
        let resume = Resume { segments: recovered.segments, next_seq: last_seq + 1 };
        let writer = Writer::new(Arc::clone(&parts.disk), wal_directory, settings.segment_bytes_max, resume);
        let replayed = Replayed { live, books, recent, sealed };
        let flush_wanted = Notify::new();
        // It takes room that new batches wait for.
        if !replayed.sealed.is_empty() {
            flush_wanted.notify_one();
        }
        let committer = Committer::start(writer, Arc::clone(buffer), settings.flush_bytes, replayed)?;
        let decoders = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            settings,
            parts,
            committer,
            decoders: Arc::new(Semaphore::new(decoders)),
            flush: tokio::sync::Mutex::default(),
            flush_wanted,
            outcome: Mutex::default(),
            receipts_dropped: AtomicU64::new(0),
        })
    }

    /// Takes one request; returns once it is durable and can be queried.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`], [`Kind::TooLarge`] and [`Kind::KeyReused`] for the sender, [`Kind::Busy`] when there is no room
    /// (nothing is stored then), [`Kind::Internal`] when the WAL failed.
    pub async fn ingest(&self, request: Request) -> Result<Answer> {
        let received_at_us = self.parts.clock.now_us();
        if request.body.len() > self.settings.body_bytes_max {
            return Err(Error::new(
                Kind::TooLarge,
                format!("the body is larger than {} bytes: send smaller batches", self.settings.body_bytes_max),
            ));
        }
        // One turn for all of it: what is decompressed and waits for room is in memory as well. Turn and room go
        // along with the work, which goes on when the request is dropped.
        let turn = self.turn().await?;
        let (plain, records, turn) = self.plain(&request, turn).await?;
        let room = plain.len().max(records.saturating_mul(ROW_BYTES)) + BATCH_OVERHEAD_BYTES;
        // Rows are in memory twice until the log has them: a frame is about as long as its records' text.
        let wake = || self.flush_wanted.notify_one();
        let reservation = self.parts.buffer.reserve_with(room, plain.len(), self.settings.wait_max, wake).await?;
        let options = Options {
            received_at_us,
            record_bytes_max: self.settings.record_bytes_max,
            future_max_us: self.settings.future_max_us,
            oldest: oldest(&self.settings.retention, self.parts.ages.now_us()),
            shape: request.shape,
            scope: request.scope,
        };
        let key: Option<Arc<str>> = request.idempotency_key.map(Arc::from);
        let keyed = key.clone();
        let decoding = tokio::task::spawn_blocking(move || {
            let prepared = Prepared::new(plain, options, keyed.as_deref());
            drop(turn);
            prepared.map(|prepared| (prepared, reservation))
        });
        let (prepared, reservation) = decoding.await.context("a decoder stopped")??;
        let Prepared { frame, pending, rejects } = prepared;
        let appended = match self.saved(&frame).await? {
            Some(known) => Appended::Known(known),
            None => {
                let receipts_from_us = self.receipts_from_us();
                self.committer.append(Append { frame, pending, reservation, receipts_from_us }).await?
            }
        };
        if self.committer.state().sealed > 0 {
            self.flush_wanted.notify_one();
        }
        let (stored, duplicate) = match appended {
            Appended::Stored(stored) => (stored, false),
            Appended::Known(Known::Repeat(stored)) => (stored, true),
            Appended::Known(Known::OtherBody(stored)) => {
                return Err(key_reused(key.as_deref().unwrap_or_default(), &stored));
            }
        };
        Ok(Answer { accepted: u64::from(stored.accepted), rejected: rejects, seq: stored.seq, duplicate })
    }

    /// What the batch is to one whose receipt SQLite has; a repeat is counted.
    async fn saved(&self, frame: &Frame) -> Result<Option<Known>> {
        let Some(receipt) = &frame.receipt else { return Ok(None) };
        let stored = self.parts.catalog.receipt(&receipt.identity, self.receipts_from_us()).await?;
        let known = stored.map(|stored| Known::new(stored, receipt));
        if matches!(known, Some(Known::Repeat(_))) {
            self.committer.count_duplicate(u64::from(frame.accepted + frame.rejected));
        }
        Ok(known)
    }

    /// Commits all that was acknowledged before to the lake. Safe to call again after an error.
    pub async fn flush(&self) -> Result<()> {
        self.flush_all(Taken::Any).await
    }

    /// Commits what is as much as is committed at once, and leaves the rest unless somebody waits for its room.
    pub async fn flush_full(&self) -> Result<()> {
        self.flush_all(Taken::Full).await?;
        match self.parts.buffer.is_stuck() {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush_all(&self, what: Taken) -> Result<()> {
        let mut unfinished = self.flush.lock().await;
        let last_seq = self.committer.state().last_seq;
        loop {
            if unfinished.is_none() {
                *unfinished = self.committer.take(what).await?;
            }
            let Some(sealed) = unfinished.as_ref() else { return Ok(()) };
            let is_last = sealed.generation.through_seq() >= last_seq;
            let flushed = self.commit(sealed).await;
            {
                let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
                outcome.error = flushed.as_ref().err().map(Error::chain);
                outcome.flushes += u64::from(flushed.is_ok());
            }
            flushed?;
            *unfinished = None;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Takes no more batches, or takes them again.
    pub fn hold(&self, held: bool) {
        self.parts.buffer.hold(held);
    }

    /// Commits all that was acknowledged before, and leaves none of it in the WAL's files.
    pub async fn drain(&self) -> Result<()> {
        self.committer.close_segment().await?;
        self.flush().await?;
        // Whoever copies the log keeps it from forgetting by the same lock.
        let _no_flush = self.flush.lock().await;
        let saved_seq = self.parts.catalog.totals().await?.map_or(0, |totals| totals.seq);
        self.committer.forget_through(saved_seq).await
    }

    /// Waits until the buffer is large enough to flush.
    pub async fn flush_wanted(&self) {
        self.flush_wanted.notified().await;
    }

    /// The live families at this moment.
    pub fn live_families(&self) -> Vec<crate::metrics::Family> {
        self.committer.live().families(self.parts.clock.now_us())
    }

    /// Tells the live metrics of a session that was active before the start.
    pub fn seed_session(&self, agent_id: &str, session_id: &str, last_seen_us: i64) {
        self.committer.live().seed_session(agent_id, session_id, last_seen_us);
    }

    /// How it stands: one cut, in which accepted = committed + buffered.
    pub fn status(&self) -> Status {
        let (state, buffered, snapshot) = self.committer.at_rest(|state| {
            // The buffer first: rows that leave it after this are in a newer snapshot.
            let waiting = self.parts.buffer.rows(Table::AgentLogs);
            let snapshot = self.parts.lake[0].snapshot();
            let buffered: usize = waiting
                .iter()
                .filter(|buffered| buffered.through_seq > snapshot.committed_seq)
                .flat_map(|buffered| &buffered.batches)
                .map(RecordBatch::num_rows)
                .sum();
            (*state, buffered as u64, snapshot)
        });
        let kept: usize = snapshot.files.iter().filter_map(|file| file.rows).sum();
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            books: state.books,
            committed: kept as u64 + snapshot.deleted_rows,
            deleted: snapshot.deleted_rows,
            buffered,
            buffer_bytes: self.parts.buffer.size().0 as u64,
            wal_bytes: state.wal_bytes,
            wal_failed: state.wal_failed,
            flush_error: outcome.error.clone(),
            flushes: outcome.flushes,
            last_seq: state.last_seq,
            receipts_dropped: self.receipts_dropped.load(Ordering::Relaxed),
            clock_ahead_us: self.parts.ages.ahead_us(),
        }
    }

    /// Flushes and stops; later requests are refused.
    pub async fn close(&self) -> Result<()> {
        self.flush().await?;
        self.save_books().await?;
        self.committer.stop().await;
        self.parts.catalog.close().await;
        Ok(())
    }

    /// Saves duplicates that came since the last flush: they leave no trace in the log.
    async fn save_books(&self) -> Result<()> {
        let state = self.committer.state();
        let Some(saved) = self.parts.catalog.totals().await? else { return Ok(()) };
        if saved.seq != state.last_seq || saved.books == state.books {
            return Ok(());
        }
        let totals = Totals { books: state.books, ..saved };
        self.save(&totals, &[]).await
    }

    /// Saves totals and receipts, and forgets those that are too old or too many.
    async fn save(&self, totals: &Totals, receipts: &[(Digest, Stored)]) -> Result<()> {
        let through_seq = totals.seq.saturating_sub(self.settings.receipts_max);
        let forget = Forget { before_us: self.receipts_from_us(), through_seq };
        let dropped = self.parts.catalog.save(totals, receipts, forget).await?;
        self.receipts_dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok(())
    }

    /// Receipts of before are forgotten.
    fn receipts_from_us(&self) -> i64 {
        self.parts.ages.now_us() - self.settings.receipt_horizon_us
    }

    /// A turn to decode; waits for it as long as for room.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        match timeout(self.settings.wait_max, Arc::clone(&self.decoders).acquire_owned()).await {
            Ok(turn) => turn.context("ingest has stopped"),
            Err(_) => Err(Error::new(Kind::Busy, "ingest has more to decode than it can: send less at a time")),
        }
    }

    /// The body as text, how many records it has at most, and the turn.
    async fn plain(
        &self,
        request: &Request,
        turn: OwnedSemaphorePermit,
    ) -> Result<(bytes::Bytes, usize, OwnedSemaphorePermit)> {
        let (body, encoding, shape) = (request.body.clone(), request.encoding, request.shape);
        let bytes_max = self.settings.body_bytes_max;
        let work = move || {
            let plain = match encoding {
                Encoding::Identity => body,
                _ => bytes::Bytes::from(decode::decompress(&body, encoding, bytes_max)?),
            };
            let records = decode::count(&plain, shape);
            Ok((plain, records, turn))
        };
        if request.encoding == Encoding::Identity && request.body.len() <= COUNTED_AT_ONCE_BYTES_MAX {
            return work();
        }
        tokio::task::spawn_blocking(work).await.context("a decompressor stopped")?
    }

    async fn commit(&self, sealed: &Sealed) -> Result<()> {
        let seq = sealed.generation.through_seq();
        for lake in &self.parts.lake {
            let rows = sealed.generation.rows(lake.table())?;
            if !rows.is_empty() {
                lake.commit(&rows, seq, self.parts.clock.now_us()).await?;
            }
        }
        let totals = Totals {
            seq,
            books: sealed.books,
            metrics: serde_json::to_string(&sealed.metrics).context("cannot write the metric totals")?,
        };
        self.save(&totals, &sealed.receipts).await?;
        self.parts.buffer.release(seq);
        self.committer.forget_through(seq).await
    }
}

/// What a batch costs in memory beyond its bytes: some fifty columns' bookkeeping.
const BATCH_OVERHEAD_BYTES: usize = 16 * 1024;
/// What a row costs at least, however little is in it: a slot in each column.
const ROW_BYTES: usize = 640;
/// The records of a body up to this size are counted faster than another thread is woken.
const COUNTED_AT_ONCE_BYTES_MAX: usize = 256 * 1024;

/// A request that only waits for its fsync.
struct Prepared {
    frame: Frame,
    pending: Pending,
    rejects: Vec<Reject>,
}

impl Prepared {
    fn new(plain: bytes::Bytes, options: Options, key: Option<&str>) -> Result<Self> {
        let received_at_us = options.received_at_us;
        let scope = identity_of(&options.scope);
        let Decoded { records, rejects, identified } = decode::decode(&plain, options)?;
        let receipt = match key {
            Some(key) => {
                let identity = digest(&[&scope, b"key\0", key.as_bytes()]);
                Some(Receipt { identity, body: Some(digest(&[&plain])) })
            }
            None if identified => Some(Receipt { identity: digest(&[&scope, b"content\0", &plain]), body: None }),
            None => None,
        };
        // The frame is as long as this.
        drop(plain);
        let count = |count: usize| {
            u32::try_from(count).kind_context(Kind::TooLarge, || "a batch is limited to 2^32 lines".into())
        };
        let (accepted, rejected) = (count(records.num_rows())?, count(rejects.len())?);
        let mut sections = Vec::new();
        if accepted > 0 {
            sections.push(Section { table: Table::AgentLogs, batch: records });
        }
        if rejected > 0 {
            let batch = rejected_batch(&rejects, received_at_us)?;
            sections.push(Section { table: Table::RejectedLogs, batch });
        }
        let frame = Frame { received_at_us, receipt, accepted, rejected, sections };
        let pending = Pending::new(&frame)?;
        Ok(Self { frame, pending, rejects })
    }
}

/// What a batch's identity starts with, so that senders of one scope learn nothing of batches of another and take
/// none of them away. Of unbound senders it is empty, as it always was: their receipts stay what they are.
fn identity_of(scope: &Scope) -> Vec<u8> {
    match scope.tenants() {
        None => Vec::new(),
        Some(tenants) => [b"scope\0".as_slice(), blake3::hash(&tenants.identity()).as_bytes()].concat(),
    }
}

fn oldest(retention: &Policy, now_us: i64) -> Oldest {
    let of = |tenant: &String| (tenant.clone(), retention.oldest_us(Some(tenant), now_us));
    Oldest { others_us: retention.oldest_us(None, now_us), tenants_us: retention.tenants.keys().map(of).collect() }
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

fn rejected_batch(rejects: &[Reject], received_at_us: i64) -> Result<RecordBatch> {
    let fields = Table::RejectedLogs.schema().fields();
    let schema = arrow::datatypes::Schema::new(fields[..fields.len() - 1].to_vec());
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(TimestampMicrosecondArray::from_value(received_at_us, rejects.len())),
            Arc::new(rejects.iter().map(|reject| Some(reject.line as i64)).collect::<Int64Array>()),
            Arc::new(rejects.iter().map(|reject| Some(reject.reason.as_str())).collect::<StringViewArray>()),
            Arc::new(rejects.iter().map(|reject| Some(reject.raw.as_str())).collect::<StringViewArray>()),
        ],
    )
    .context("cannot build the rejected lines")
}

fn restore(limits: Limits, json: &str) -> Result<LiveMetrics> {
    serde_json::from_str(json)
        .map_err(|error| error.to_string())
        .and_then(|totals| LiveMetrics::restore(limits, totals))
        .map_err(|reason| {
            let what = format!(
                "the metric totals that catalog.sqlite saved cannot be read: {reason}. `driftline verify --data DIR` says \
                 what else is damaged; restore the directory from a copy"
            );
            Error::new(Kind::Corrupt, what)
        })
}
