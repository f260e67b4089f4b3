//! The one thread that gives out seqs: it gathers what waits, fsyncs it as one group, makes it
//! visible, and only then answers. Seals happen on the same thread, so that totals, receipts and
//! rows are cut at exactly the same seq.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use arrow::array::RecordBatch;
use tokio::sync::{mpsc, oneshot, watch};

use super::receipts::{self, Known, Recent};
use crate::{
    buffer::{Buffer, Generation, Reservation},
    catalog::{Books, Stored},
    error::{Context, Error, Kind, Result},
    metrics::{LiveMetrics, Totals as MetricTotals},
    record::{Digest, Table},
    wal::{Frame, Pending, SegmentFile, Writer},
};

/// Requests that wait for their turn; more are held back by the channel.
const QUEUE: usize = 256;
/// Bytes that one fsync takes at most, so that its wait stays bounded.
const GROUP_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A request that is ready to be written.
pub struct Append {
    /// What it holds.
    pub frame: Frame,
    /// Its encoded form.
    pub pending: Pending,
    /// Its room in the buffer.
    pub reservation: Reservation,
    /// Batches before this time are not what it repeats, µs since the epoch.
    pub receipts_from_us: i64,
}

/// What became of an append.
#[derive(Debug, Clone, Copy)]
pub enum Appended {
    /// It is stored.
    Stored(Stored),
    /// It is not, because of an earlier batch.
    Known(Known),
}

/// Rows, receipts and totals, all cut at one seq.
pub struct Sealed {
    /// The rows.
    pub generation: Arc<Generation>,
    /// The receipts of its frames.
    pub receipts: Vec<(Digest, Stored)>,
    /// The books at its end.
    pub books: Books,
    /// The metrics at its end.
    pub metrics: MetricTotals,
}

/// What the thread shows of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    /// Everything received.
    pub books: Books,
    /// Bytes of the WAL.
    pub wal_bytes: u64,
    /// Whether the WAL takes no more.
    pub wal_failed: bool,
    /// The last acknowledged seq.
    pub last_seq: u64,
    /// Sealed generations that nobody has taken yet.
    pub sealed: usize,
}

/// Where everything stands between two groups.
#[derive(Debug)]
pub struct Mark {
    /// The last acknowledged seq.
    pub last_seq: u64,
    /// The log's segments, which end with that seq.
    pub segments: Vec<SegmentFile>,
    /// Rows of `agent_logs` that wait, with the seq that bounds them.
    pub buffered: Vec<(u64, u64)>,
}

enum Command {
    Append(Box<Append>, oneshot::Sender<Result<Appended>>),
    Take(Taken, oneshot::Sender<Option<Sealed>>),
    CloseSegment(oneshot::Sender<()>),
    Mark(oneshot::Sender<Mark>),
    Forget(u64, oneshot::Sender<Result<()>>),
    Stop(oneshot::Sender<()>),
}

/// What is to be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A generation that is full.
    Full,
    /// One that is full, else the one that is filling.
    Any,
}

/// A handle on the thread.
pub struct Committer {
    commands: mpsc::Sender<Command>,
    live: Arc<Mutex<LiveMetrics>>,
    state: Arc<Mutex<State>>,
    /// Has no sender once the thread is over, and its state says why.
    over: watch::Receiver<()>,
}

impl Committer {
    /// Starts the thread; a generation of so many bytes is full.
    pub fn start(writer: Writer, buffer: Arc<Buffer>, full_bytes: usize, replayed: Replayed) -> Result<Self> {
        let Replayed { live, books, recent, sealed } = replayed;
        let (commands, inbox) = mpsc::channel(QUEUE);
        let live = Arc::new(Mutex::new(live));
        let position = writer.position();
        let last_seq = position.next_seq - 1;
        let state = State { books, wal_bytes: position.bytes, wal_failed: false, last_seq, sealed: sealed.len() };
        let state = Arc::new(Mutex::new(state));
        let (live_of, state_of) = (Arc::clone(&live), Arc::clone(&state));
        let worker = Worker { writer, buffer, full_bytes, recent, live: live_of, state: state_of, sealed };
        let (sender, over) = watch::channel(());
        thread::Builder::new()
            .name("wal-committer".to_owned())
            .spawn(move || {
                let _mark = MarkPanic { state: Arc::clone(&worker.state), _over: sender };
                worker.run(inbox);
            })
            .context("cannot start the WAL thread")?;
        Ok(Self { commands, live, state, over })
    }

    /// Makes one request durable and visible.
    pub async fn append(&self, append: Append) -> Result<Appended> {
        let append = Box::new(append);
        self.ask(|reply| Command::Append(append, reply)).await?
    }

    /// Cuts off the oldest that waits.
    pub async fn take(&self, what: Taken) -> Result<Option<Sealed>> {
        self.ask(|reply| Command::Take(what, reply)).await
    }

    /// Ends the WAL's present segment.
    pub async fn close_segment(&self) -> Result<()> {
        self.ask(Command::CloseSegment).await
    }

    /// Where everything stands now.
    pub async fn mark(&self) -> Result<Mark> {
        self.ask(Command::Mark).await
    }

    /// Lets the WAL forget what is committed and saved.
    pub async fn forget_through(&self, seq: u64) -> Result<()> {
        self.ask(|reply| Command::Forget(seq, reply)).await?
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(command(reply)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return Ok(answer);
        }
        // Whoever is told so finds it in the state.
        let mut over = self.over.clone();
        while over.changed().await.is_ok() {}
        Err(stopped())
    }

    /// Ends the thread after what is queued before.
    pub async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Stop(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Counts the records of a batch that SQLite knows already.
    pub fn count_duplicate(&self, records: u64) {
        lock(&self.state).books.duplicate += records;
    }

    /// The live metrics.
    pub fn live(&self) -> MutexGuard<'_, LiveMetrics> {
        lock(&self.live)
    }

    /// What the thread shows of itself.
    pub fn state(&self) -> State {
        self.at_rest(|state| *state)
    }

    /// Looks while no batch becomes visible.
    pub fn at_rest<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&lock(&self.state))
    }
}

/// A panic of the thread ends all writing: what is on disk is not known any more. It is shown like a log that failed.
struct MarkPanic {
    state: Arc<Mutex<State>>,
    /// Goes after the mark: whoever hears of it sees the mark.
    _over: watch::Sender<()>,
}

impl Drop for MarkPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the thread of the write-ahead log panicked: a bug; ingest is refused until a restart");
            lock(&self.state).wal_failed = true;
        }
    }
}

/// What the log and what was saved say at the start.
pub struct Replayed {
    /// The live metrics.
    pub live: LiveMetrics,
    /// The books.
    pub books: Books,
    /// What is a duplicate.
    pub recent: Recent,
    /// Generations that were full, the oldest first.
    pub sealed: VecDeque<Sealed>,
}

struct Worker {
    writer: Writer,
    buffer: Arc<Buffer>,
    full_bytes: usize,
    recent: Recent,
    live: Arc<Mutex<LiveMetrics>>,
    state: Arc<Mutex<State>>,
    sealed: VecDeque<Sealed>,
}

type Waiting = (Box<Append>, oneshot::Sender<Result<Appended>>);

impl Worker {
    fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut next = inbox.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Append(append, reply) => {
                    let mut bytes = append.pending.bytes();
                    let mut group = vec![(append, reply)];
                    while bytes < GROUP_BYTES_MAX {
                        match inbox.try_recv() {
                            Ok(Command::Append(append, reply)) => {
                                bytes += append.pending.bytes();
                                group.push((append, reply));
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(group);
                }
                Command::Take(what, reply) => {
                    let _ = reply.send(self.take(what));
                }
                Command::CloseSegment(reply) => {
                    self.writer.close_segment();
                    let _ = reply.send(());
                }
                Command::Mark(reply) => {
                    let _ = reply.send(self.mark());
                }
                Command::Forget(seq, reply) => {
                    self.recent.saved(seq);
                    let forgotten = self.writer.forget_through(seq);
                    self.show();
                    let _ = reply.send(forgotten);
                }
                Command::Stop(reply) => {
                    let _ = reply.send(());
                    return;
                }
            }
            if next.is_none() {
                next = inbox.blocking_recv();
            }
        }
    }

    /// One group: batches that were stored before are answered with their first seq, the others are
    /// written with one fsync. A batch that comes twice in the group is written once.
    fn commit(&mut self, group: Vec<Waiting>) {
        let mut fresh: Vec<(Append, oneshot::Sender<Result<Appended>>)> = Vec::with_capacity(group.len());
        let mut in_group: HashMap<Digest, usize> = HashMap::new();
        let mut repeats = Vec::new();
        for (append, reply) in group {
            let receipt = append.frame.receipt;
            let since_us = append.receipts_from_us;
            if let Some(known) = receipt.and_then(|receipt| self.recent.find(&receipt, since_us)) {
                self.count_repeat(known, &append.frame);
                let _ = reply.send(Ok(Appended::Known(known)));
            } else if let Some(receipt) = receipt
                && let Some(index) = in_group.get(&receipt.identity)
            {
                repeats.push((append, receipt, reply, *index));
            } else {
                if let Some(receipt) = receipt {
                    in_group.insert(receipt.identity, fresh.len());
                }
                fresh.push((*append, reply));
            }
        }
        let (replies, written) = self.write(fresh);
        // Whoever has an answer finds it in the status.
        self.show();
        for (append, receipt, reply, index) in repeats {
            let answer = match &written {
                Ok(stored) => {
                    let known = Known::new(stored[index], &receipt);
                    self.count_repeat(known, &append.frame);
                    Ok(Appended::Known(known))
                }
                Err(error) => Err(again(error)),
            };
            let _ = reply.send(answer);
        }
        for (index, reply) in replies.into_iter().enumerate() {
            let answer = match &written {
                Ok(stored) => Ok(Appended::Stored(stored[index])),
                Err(error) => Err(again(error)),
            };
            let _ = reply.send(answer);
        }
    }

    #[allow(clippy::type_complexity)] // the replies must outlive the frames they answer
    fn write(
        &mut self,
        fresh: Vec<(Append, oneshot::Sender<Result<Appended>>)>,
    ) -> (Vec<oneshot::Sender<Result<Appended>>>, Result<Vec<Stored>>) {
        let mut replies = Vec::with_capacity(fresh.len());
        let mut pending = Vec::with_capacity(fresh.len());
        let mut rows = Vec::with_capacity(fresh.len());
        for (append, reply) in fresh {
            replies.push(reply);
            pending.push(append.pending);
            rows.push((append.frame, append.reservation));
        }
        if pending.is_empty() {
            return (replies, Ok(Vec::new()));
        }
        let written = self.writer.append_group(&pending).and_then(|first_seq| {
            rows.into_iter()
                .zip(first_seq..)
                .map(|((frame, reservation), seq)| self.publish(seq, frame, reservation))
                .collect::<Result<_>>()
                // The log has what nobody sees: only a restart shows it, and nothing may come after it until then.
                .inspect_err(|_| self.writer.refuse())
        });
        (replies, written)
    }

    /// Makes a durable frame visible and counts it.
    fn publish(&mut self, seq: u64, frame: Frame, reservation: Reservation) -> Result<Stored> {
        let (stored, receipt) = (receipts::stored(seq, &frame), frame.receipt);
        let (accepted, rejected) = (u64::from(frame.accepted), u64::from(frame.rejected));
        let rows: Vec<_> = frame.sections.into_iter().map(|section| (section.table, section.batch)).collect();
        for (table, batch) in &rows {
            if *table == Table::AgentLogs {
                lock(&self.live).observe(batch);
            }
        }
        // Whoever looks at the books and at the buffer under this lock sees the batch in both or in none.
        let mut state = lock(&self.state);
        self.buffer.push(seq, &rows, Some(reservation))?;
        state.books.accepted += accepted;
        state.books.rejected += rejected;
        drop(state);
        // Last: what is known has to be there.
        if let Some(receipt) = receipt {
            self.recent.note(receipt, stored);
        }
        if self.buffer.filling_bytes() >= self.full_bytes {
            // A commit takes several times the memory of what it commits.
            let sealed = self.seal();
            self.sealed.extend(sealed);
            lock(&self.state).sealed = self.sealed.len();
        }
        Ok(stored)
    }

    fn seal(&mut self) -> Option<Sealed> {
        let generation = self.buffer.seal()?;
        let books = lock(&self.state).books;
        let metrics = lock(&self.live).totals();
        let receipts = self.recent.seal(generation.through_seq());
        Some(Sealed { generation, receipts, books, metrics })
    }

    fn take(&mut self, what: Taken) -> Option<Sealed> {
        let full = self.sealed.pop_front();
        lock(&self.state).sealed = self.sealed.len();
        match (full, what) {
            (None, Taken::Any) => self.seal(),
            (full, _) => full,
        }
    }

    fn mark(&self) -> Mark {
        let buffered = self.buffer.rows(Table::AgentLogs).into_iter().map(|buffered| {
            let rows: usize = buffered.batches.iter().map(RecordBatch::num_rows).sum();
            (buffered.through_seq, rows as u64)
        });
        Mark {
            last_seq: self.writer.position().next_seq - 1,
            segments: self.writer.segments().to_vec(),
            buffered: buffered.collect(),
        }
    }

    /// A batch that is refused is in no book.
    fn count_repeat(&self, known: Known, frame: &Frame) {
        if matches!(known, Known::Repeat(_)) {
            lock(&self.state).books.duplicate += u64::from(frame.accepted + frame.rejected);
        }
    }

    fn show(&self) {
        let position = self.writer.position();
        let mut state = lock(&self.state);
        state.wal_bytes = position.bytes;
        state.wal_failed = self.writer.is_poisoned();
        state.last_seq = position.next_seq - 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped() -> Error {
    Error::new(Kind::Busy, "ingest has stopped: the daemon is shutting down, or its write-ahead log failed")
}

/// One failed group fails all its requests, each with an error of its own.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.chain())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;
    use crate::{disk::SystemDisk, metrics::Limits, wal::Resume};

    /// Where a frame's head tells the start of its group, and how long its payload is.
    const GROUP_START: std::ops::Range<usize> = 24..32;
    const PAYLOAD_BYTES: std::ops::Range<usize> = 4..8;
    const HEADS: [usize; 2] = [16, 36];

    #[tokio::test]
    async fn one_fsync_serves_all_that_wait() {
        const WAITING: usize = 40;
        let directory = tempfile::tempdir().unwrap();
        let resume = Resume { segments: Vec::new(), next_seq: 1 };
        let writer = Writer::new(Arc::new(SystemDisk), directory.path(), 1 << 20, resume);
        let worker = Worker {
            writer,
            buffer: Arc::new(Buffer::new(1 << 20)),
            full_bytes: 1 << 20,
            recent: Recent::default(),
            live: Arc::new(Mutex::new(LiveMetrics::new(Limits::default()))),
            state: Arc::default(),
            sealed: VecDeque::new(),
        };
        let (commands, inbox) = mpsc::channel(WAITING);
        let mut answers = Vec::new();
        for _ in 0..WAITING {
            let frame = Frame { received_at_us: 1, receipt: None, accepted: 0, rejected: 1, sections: Vec::new() };
            let pending = Pending::new(&frame).unwrap();
            let reservation = worker.buffer.reserve(1, Duration::ZERO).await.unwrap();
            let (reply, answer) = oneshot::channel();
            let append = Append { frame, pending, reservation, receipts_from_us: 0 };
            commands.send(Command::Append(Box::new(append), reply)).await.unwrap();
            answers.push(answer);
        }
        drop(commands);
        thread::spawn(move || worker.run(inbox)).join().unwrap();
        for (answer, seq) in answers.into_iter().zip(1..) {
            let appended = answer.await.unwrap().unwrap();
            assert!(matches!(appended, Appended::Stored(stored) if stored.seq == seq), "{appended:?}");
        }
        let segment = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(segment).unwrap();
        let [mut at, frame_head] = HEADS;
        let (mut frames, mut groups) = (0, BTreeSet::new());
        while at < bytes.len() {
            let head = &bytes[at..at + frame_head];
            groups.insert(u64::from_le_bytes(head[GROUP_START].try_into().unwrap()));
            at += frame_head + u32::from_le_bytes(head[PAYLOAD_BYTES].try_into().unwrap()) as usize;
            frames += 1;
        }
        // A group is written with one fsync.
        assert_eq!((frames, groups), (WAITING, BTreeSet::from([HEADS[0] as u64])));
    }
}
