//! Acknowledged rows that are not committed yet, ready to be queried.
//!
//! Rows arrive in the order of their WAL seq and leave together: [`Buffer::seal`] closes the
//! generation that is filling, and once its rows are committed [`Buffer::release`] drops it; several may wait
//! for that, in their order. A reader
//! takes the buffer **first** and the table's snapshot second, and leaves out what the snapshot
//! already holds; so no row is seen twice and none is missed, whatever a flush does meanwhile.
//!
//! Memory is bounded by permits that requests take before they decode; each generation holds its
//! permits until it is released. This room never writes anything.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{Array, ArrayData, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    error::{Context, Error, Kind, Result},
    record::{PARTITION, Table},
};

/// The unit that permits are counted in.
const PERMIT_BYTES: usize = 1024;
/// Small batches are merged in steps of so many, so that a thousand one-line requests a second stay
/// cheap to hold and to scan.
const MERGE_FAN_IN: usize = 32;
/// Batches of this size are left alone.
const MERGED_ROWS_MAX: usize = 1_000;
const DAY_US: i64 = 86_400_000_000;

/// Room that a request has taken.
#[derive(Debug)]
pub struct Reservation {
    rows: OwnedSemaphorePermit,
    until_added: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// The room of rows that are added.
    fn added(self) -> OwnedSemaphorePermit {
        drop(self.until_added);
        self.rows
    }
}

/// The buffer.
#[derive(Debug)]
pub struct Buffer {
    space: Arc<Semaphore>,
    held: watch::Sender<bool>,
    bytes_max: usize,
    /// Requests that wait for room.
    waiting: AtomicUsize,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    sealed: Vec<Arc<Generation>>,
    filling: Generation,
}

/// Rows that are committed together.
#[derive(Debug, Default)]
pub struct Generation {
    through_seq: u64,
    rows: [Vec<RecordBatch>; Table::ALL.len()],
    reservations: Vec<OwnedSemaphorePermit>,
    bytes: usize,
    row_count: usize,
}

/// Rows of one table with the seq that bounds them.
#[derive(Debug, Clone)]
pub struct Buffered {
    /// The highest WAL seq in the rows; a table that has committed it has them all.
    pub through_seq: u64,
    /// The rows, in the schema a query sees.
    pub batches: Vec<RecordBatch>,
}

impl Buffer {
    /// An empty buffer of bounded size.
    pub fn new(bytes_max: usize) -> Self {
        let space = Arc::new(Semaphore::new(permits_for(bytes_max) as usize));
        let held = watch::Sender::new(false);
        Self { space, held, bytes_max, waiting: AtomicUsize::new(0), state: RwLock::default() }
    }

    /// Room for so many bytes; waits for a flush to make some, but not longer than `wait_max`.
    ///
    /// # Errors
    ///
    /// [`Kind::Busy`] when there is no room in time, [`Kind::TooLarge`] when there never will be.
    pub async fn reserve(&self, bytes: usize, wait_max: Duration) -> Result<Reservation> {
        self.reserve_with(bytes, 0, wait_max, || {}).await
    }

    /// The same, with more bytes that are needed only until the rows are added: what the log is given of them.
    /// Where the buffer is too small for both, as many as there are. `wake` is called where it [is stuck](Self::is_stuck).
    pub async fn reserve_with(
        &self,
        rows: usize,
        until_added: usize,
        wait_max: Duration,
        wake: impl FnOnce(),
    ) -> Result<Reservation> {
        let bytes = rows.saturating_add(until_added).min(self.bytes_max.max(rows));
        if bytes > self.bytes_max {
            return Err(Error::new(
                Kind::TooLarge,
                format!(
                    "the body's records take {bytes} bytes of memory, the whole ingest buffer has {}: send smaller batches",
                    self.bytes_max
                ),
            ));
        }
        let mut held = self.held.subscribe();
        let room = async {
            // The sender is this buffer's own.
            let _ = held.wait_for(|held| !held).await;
            let permits = permits_for(bytes);
            if let Ok(permit) = Arc::clone(&self.space).try_acquire_many_owned(permits) {
                return Ok(permit);
            }
            let _waiting = Waiting::new(&self.waiting);
            if self.is_stuck() {
                wake();
            }
            Arc::clone(&self.space).acquire_many_owned(permits).await
        };
        match tokio::time::timeout(wait_max, room).await {
            Ok(Ok(mut permit)) => {
                let until_added = permit.split(permit.num_permits().saturating_sub(permits_for(rows) as usize));
                Ok(Reservation { rows: permit, until_added })
            }
            _ if *self.held.borrow() => Err(Error::new(
                Kind::Busy,
                "too many data files wait to be joined (lifecycle.waiting_files_max): rows come faster than that goes",
            )),
            _ => Err(Error::new(Kind::Busy, "the ingest buffer is full: the flush to storage is behind")),
        }
    }

    /// Whether somebody waits for room that only the generation that is filling can give: one that wants much, and waits
    /// until that is as full as what is committed at once, would wait for the next flush by time.
    pub fn is_stuck(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        self.waiting.load(Ordering::Relaxed) > 0 && state.sealed.is_empty() && state.filling.through_seq > 0
    }

    /// Gives nobody room, or gives it again.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Takes room for rows that were added without any: as much as there is. New rows wait until these have
    /// left.
    pub fn hold_unreserved(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let available = u32::try_from(self.space.available_permits()).unwrap_or(u32::MAX);
        let wanted = permits_for(state.filling.bytes).min(available);
        if let Ok(permit) = Arc::clone(&self.space).try_acquire_many_owned(wanted) {
            state.filling.reservations.push(permit);
        }
    }

    /// Adds the rows of one WAL frame. Frames come in the order of their seq; those that are read from the log have no room.
    pub fn push(&self, seq: u64, rows: &[(Table, RecordBatch)], reservation: Option<Reservation>) -> Result<()> {
        let rows = rows
            .iter()
            .map(|(table, batch)| Ok((*table, complete(*table, batch, seq)?)))
            .collect::<Result<Vec<_>>>()?;
        let is_from_log = reservation.is_none();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let filling = &mut state.filling;
        filling.through_seq = seq;
        filling.reservations.extend(reservation.map(Reservation::added));
        for (table, batch) in rows {
            filling.bytes += match is_from_log {
                // Its arrays are slices of one frame, each of which has the capacity of all of it.
                true => batch.columns().iter().map(|column| slice_bytes(&column.to_data())).sum(),
                false => batch.get_array_memory_size(),
            };
            filling.row_count += batch.num_rows();
            let batches = &mut filling.rows[position(table)];
            batches.push(batch);
            merge_small(batches)?;
        }
        Ok(())
    }

    /// The rows of one table, oldest first.
    pub fn rows(&self, table: Table) -> Vec<Buffered> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let generations = state.sealed.iter().map(Arc::as_ref).chain([&state.filling]);
        generations
            .filter(|generation| !generation.rows[position(table)].is_empty())
            .map(|generation| Buffered {
                through_seq: generation.through_seq,
                batches: generation.rows[position(table)].clone(),
            })
            .collect()
    }

    /// Closes the generation that is filling; none if no frame came to it.
    pub fn seal(&self) -> Option<Arc<Generation>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.filling.through_seq == 0 {
            return None;
        }
        let sealed = Arc::new(std::mem::take(&mut state.filling));
        state.sealed.push(Arc::clone(&sealed));
        Some(sealed)
    }

    /// Drops the generations whose rows are committed through `seq`.
    pub fn release(&self, seq: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.sealed.retain(|generation| generation.through_seq > seq);
    }

    /// Bytes and rows that wait, sealed ones included.
    pub fn size(&self) -> (usize, usize) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let generations = state.sealed.iter().map(Arc::as_ref).chain([&state.filling]);
        generations.fold((0, 0), |(bytes, rows), generation| (bytes + generation.bytes, rows + generation.row_count))
    }

    /// Bytes of the generation that is filling.
    pub fn filling_bytes(&self) -> usize {
        self.state.read().unwrap_or_else(PoisonError::into_inner).filling.bytes
    }
}

impl Generation {
    /// The highest WAL seq in it.
    pub fn through_seq(&self) -> u64 {
        self.through_seq
    }

    /// The rows of one table in the table's own schema, without the partition column.
    pub fn rows(&self, table: Table) -> Result<Vec<RecordBatch>> {
        let columns: Vec<usize> = (0..table.schema().fields().len()).collect();
        self.rows[position(table)]
            .iter()
            .map(|batch| batch.project(&columns).context("buffered rows lack a column"))
            .collect()
    }
}

/// Counts as one who waits until it is dropped, however the wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of an array's parts of the buffers that it may share with others.
fn slice_bytes(array: &ArrayData) -> usize {
    let own: usize = array.buffers().iter().map(|buffer| buffer.len()).sum();
    let nulls = array.nulls().map_or(0, |nulls| nulls.buffer().len());
    own + nulls + array.child_data().iter().map(slice_bytes).sum::<usize>()
}

/// The schema of buffered rows: the table's columns and its partition column.
fn buffered_schema(table: Table) -> SchemaRef {
    let mut fields = table.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(PARTITION, DataType::Date32, false)));
    Arc::new(Schema::new(fields))
}

/// Adds the columns that are known only now: the frame's seq and the day.
fn complete(table: Table, batch: &RecordBatch, seq: u64) -> Result<RecordBatch> {
    let times = batch
        .column_by_name(table.time_column())
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| Error::new(Kind::Internal, "a batch lacks its time column"))?;
    let days: Date32Array = times.values().iter().map(|time| Some(time.div_euclid(DAY_US) as i32)).collect();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_value(seq as i64, batch.num_rows())));
    columns.push(Arc::new(days));
    RecordBatch::try_new(buffered_schema(table), columns).context("a batch does not fit its table")
}

/// Whenever the newest batches are of one size class and many, they become one of the next class.
fn merge_small(batches: &mut Vec<RecordBatch>) -> Result<()> {
    loop {
        let Some(last) = batches.last() else { return Ok(()) };
        let class = size_class(last.num_rows());
        let alike = batches.iter().rev().take_while(|batch| size_class(batch.num_rows()) <= class).count();
        if alike < MERGE_FAN_IN || last.num_rows() >= MERGED_ROWS_MAX {
            return Ok(());
        }
        let tail = batches.split_off(batches.len() - alike);
        batches.push(concat_batches(&tail[0].schema(), &tail).context("cannot merge buffered batches")?);
    }
}

fn size_class(rows: usize) -> u32 {
    rows.max(1).ilog(MERGE_FAN_IN)
}

fn position(table: Table) -> usize {
    Table::ALL.iter().position(|other| *other == table).expect("ALL lists every table")
}

fn permits_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES).min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::{
        array::{StringViewArray, TimestampMicrosecondArray},
        datatypes::{Date32Type, Int64Type},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::record::col;

    const TABLE: Table = Table::RejectedLogs;
    const NO_WAIT: Duration = Duration::ZERO;
    const LONG_WAIT: Duration = Duration::from_secs(3_600);

    /// As many rows, all at one time, numbered from `first_line` on.
    fn batch(rows: usize, first_line: i64, time_us: i64) -> RecordBatch {
        let fields = TABLE.schema().fields();
        let schema = Schema::new(fields[..fields.len() - 1].to_vec());
        let text = Arc::new(StringViewArray::from(vec!["text"; rows])) as ArrayRef;
        let lines = Int64Array::from_iter_values(first_line..first_line + rows as i64);
        let times = TimestampMicrosecondArray::from_value(time_us, rows);
        let columns = vec![Arc::new(times) as ArrayRef, Arc::new(lines), Arc::clone(&text), text];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn push(buffer: &Buffer, seq: u64, rows: usize, first_line: i64) {
        buffer.push(seq, &[(TABLE, batch(rows, first_line, 0))], None).unwrap();
    }

    fn numbers(batches: &[RecordBatch], column: &str) -> Vec<i64> {
        let column = |batch: &RecordBatch| batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().clone();
        batches.iter().flat_map(|batch| column(batch).values().to_vec()).collect()
    }

    /// Each generation that is visible, as `through seq: seqs of its rows`.
    fn visible(buffer: &Buffer) -> String {
        let generations = buffer.rows(TABLE);
        let shown = generations.iter().map(|generation| {
            let seqs = numbers(&generation.batches, col::INGEST_SEQ);
            format!("{}: {}", generation.through_seq, seqs.iter().map(i64::to_string).collect::<Vec<_>>().join(" "))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn rows_are_visible_in_order_until_they_are_released() {
        let buffer = Buffer::new(1 << 20);
        assert!(buffer.seal().is_none());
        assert_eq!(visible(&buffer), "");
        push(&buffer, 1, 2, 0);
        push(&buffer, 2, 1, 2);
        assert_eq!(visible(&buffer), "2: 1 1 2");

        let sealed = buffer.seal().unwrap();
        assert_eq!((sealed.through_seq(), buffer.filling_bytes()), (2, 0));
        push(&buffer, 3, 1, 3);
        assert_eq!(visible(&buffer), "2: 1 1 2, 3: 3");
        assert_eq!(buffer.size().1, 4);
        buffer.release(1);
        assert_eq!(visible(&buffer), "2: 1 1 2, 3: 3");
        // Another one can be closed before the first is released.
        let sealed = buffer.seal().unwrap();
        assert_eq!((sealed.through_seq(), visible(&buffer).as_str()), (3, "2: 1 1 2, 3: 3"));
        assert!(buffer.seal().is_none());
        buffer.release(2);
        assert_eq!(visible(&buffer), "3: 3");

        assert_eq!(sealed.rows(TABLE).unwrap()[0].schema(), *TABLE.schema());
        assert_eq!(numbers(&sealed.rows(TABLE).unwrap(), col::LINE), [3]);
        buffer.release(3);
        assert_eq!((visible(&buffer).as_str(), buffer.size(), buffer.seal().is_none()), ("", (0, 0), true));
    }

    #[test]
    fn tables_are_kept_apart() {
        let buffer = Buffer::new(1 << 20);
        buffer.push(1, &[], None).unwrap();
        assert!(buffer.rows(TABLE).is_empty());
        push(&buffer, 2, 1, 0);
        assert_eq!((buffer.rows(TABLE).len(), buffer.rows(Table::AgentLogs).len()), (1, 0));
        // A frame without rows is sealed and released like any other.
        assert_eq!(buffer.seal().unwrap().through_seq(), 2);
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused_whole() {
        let buffer = Buffer::new(1 << 20);
        let rows = [(TABLE, batch(1, 0, 0)), (Table::AgentLogs, batch(1, 0, 0))];
        assert_eq!(buffer.push(1, &rows, None).unwrap_err().kind(), Kind::Internal);
        assert_eq!((visible(&buffer).as_str(), buffer.size()), ("", (0, 0)));
    }

    /// As they come from the log: slices of what is much longer.
    #[test]
    fn rows_from_the_log_take_what_is_theirs() {
        let frames = batch(100_000, 0, 0);
        let buffer = Buffer::new(64 << 20);
        for seq in 1..=100 {
            buffer.push(seq, &[(TABLE, frames.slice(seq as usize, 10))], None).unwrap();
        }
        assert!(buffer.filling_bytes() < 1_000 * 200, "{} bytes of 1,000 rows", buffer.filling_bytes());
    }

    #[tokio::test]
    async fn who_waits_for_what_is_filling_says_so() {
        let buffer = Buffer::new(64 << 10);
        let small = buffer.reserve(40 << 10, NO_WAIT).await.unwrap();
        let woken = || buffer.seal().map(|sealed| buffer.release(sealed.through_seq())).unwrap();
        assert!(buffer.reserve_with(60 << 10, 0, NO_WAIT, || panic!("nothing fills")).await.is_err());
        buffer.push(1, &[(TABLE, batch(1, 0, 0))], Some(small)).unwrap();
        assert!(!buffer.is_stuck());
        buffer.reserve_with(60 << 10, 0, LONG_WAIT, woken).await.unwrap();
        assert!(!buffer.is_stuck());
    }

    #[test]
    fn many_small_pushes_become_few_batches() {
        let buffer = Buffer::new(1 << 20);
        for seq in 1..=5_000 {
            push(&buffer, seq, 1, seq as i64);
            assert!(buffer.state.read().unwrap().filling.rows[position(TABLE)].len() <= 3 * MERGE_FAN_IN, "at {seq}");
        }
        let batches = &buffer.rows(TABLE)[0].batches;
        assert_eq!(numbers(batches, col::LINE), (1..=5_000).collect::<Vec<_>>());
        assert_eq!(numbers(batches, col::INGEST_SEQ), (1..=5_000).collect::<Vec<_>>());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn merges_keep_every_row_in_its_place(sizes in proptest::collection::vec(
            prop_oneof![8 => 0..4_usize, 2 => 20..50_usize, 1 => 990..1_100_usize], 1..200,
        )) {
            let buffer = Buffer::new(1 << 20);
            let mut next_line = 0;
            for (index, rows) in sizes.iter().enumerate() {
                push(&buffer, index as u64 + 1, *rows, next_line);
                next_line += *rows as i64;
            }
            let batches = &buffer.rows(TABLE)[0].batches;
            prop_assert_eq!(numbers(batches, col::LINE), (0..next_line).collect::<Vec<_>>());
            prop_assert_eq!(buffer.size().1 as i64, next_line);
            let large = sizes.iter().filter(|rows| **rows >= MERGED_ROWS_MAX).count();
            prop_assert!(batches.len() <= next_line as usize / MERGED_ROWS_MAX + 3 * MERGE_FAN_IN * (large + 1));
        }
    }

    #[test]
    fn days_are_utc_days_before_1970_too() {
        for (time_us, day) in [
            (0, 0),
            (DAY_US - 1, 0),
            (DAY_US, 1),
            (-1, -1),
            (-DAY_US, -1),
            (-DAY_US - 1, -2),
            (1_778_752_800_000_000, 20_587),
        ] {
            let complete = complete(TABLE, &batch(1, 0, time_us), 9).unwrap();
            let found = complete.column_by_name(PARTITION).unwrap().as_primitive::<Date32Type>().value(0);
            assert_eq!(found, day, "{time_us}");
        }
    }

    #[tokio::test]
    async fn room_is_bounded_and_comes_back_with_the_release() {
        let buffer = Buffer::new(4_096);
        assert_eq!(buffer.reserve(4_097, LONG_WAIT).await.unwrap_err().kind(), Kind::TooLarge);
        let held = buffer.reserve(3_072, NO_WAIT).await.unwrap();
        // Room is counted in whole KiB.
        assert_eq!(buffer.reserve(1_025, NO_WAIT).await.unwrap_err().kind(), Kind::Busy);
        drop(buffer.reserve(1_024, NO_WAIT).await.unwrap());

        buffer.push(1, &[(TABLE, batch(1, 0, 0))], Some(held)).unwrap();
        let sealed = buffer.seal().unwrap();
        assert_eq!(buffer.reserve(4_096, NO_WAIT).await.unwrap_err().kind(), Kind::Busy);
        drop(sealed);
        // One who waits gets the room as soon as the release makes it, long before the wait is over.
        let (waited, ()) = tokio::join!(biased; buffer.reserve(4_096, LONG_WAIT), async { buffer.release(1) });
        let all = waited.unwrap();
        assert_eq!(buffer.reserve(1, NO_WAIT).await.unwrap_err().kind(), Kind::Busy);
        drop(all);
        assert!(buffer.reserve(4_096, NO_WAIT).await.is_ok());
        // While it is held there is none, however much is free.
        buffer.hold(true);
        let busy = buffer.reserve(1, NO_WAIT).await.unwrap_err();
        assert!(busy.kind() == Kind::Busy && busy.to_string().contains("waiting_files_max"), "{busy}");
        let (waited, ()) = tokio::join!(biased; buffer.reserve(1, LONG_WAIT), async { buffer.hold(false) });
        drop(waited.unwrap());
        // What is needed until the rows are added is free then.
        assert_eq!(buffer.reserve_with(4_097, 0, LONG_WAIT, || {}).await.unwrap_err().kind(), Kind::TooLarge);
        let held = buffer.reserve_with(3_072, 9_000, NO_WAIT, || {}).await.unwrap();
        assert_eq!(buffer.reserve(1, NO_WAIT).await.unwrap_err().kind(), Kind::Busy);
        buffer.push(2, &[], Some(held)).unwrap();
        assert!(buffer.reserve(1_024, NO_WAIT).await.is_ok());
        assert_eq!(buffer.reserve(1_025, NO_WAIT).await.unwrap_err().kind(), Kind::Busy);
    }
}
