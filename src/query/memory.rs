//! The memory of statements. They share one pool, whose parts are fair once half of it is held, and which refuses what is
//! beyond it; what is refused spills or ends. The pool knows what operators say they hold, and they do not say all:
//! what a Parquet reader decodes, what a sort copies while it spills. So the process's resident memory is
//! looked at as well: near its bound no statement gets more than a small part, with a smaller one for each of its
//! operators, which the questions of dashboards and most of what has spilled do with. One that needs more gets a large
//! part, in turn with others that do. At the bound the largest of them is stopped, so that ingest goes on.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use datafusion::{
    common::{Result, resources_datafusion_err},
    execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};
use tokio::{
    sync::{self, MutexGuard, Notify},
    time::sleep,
};

/// How often resident memory is looked at while statements run.
const LOOK: Duration = Duration::from_millis(20);
/// For so many looks, half a second, a stopped statement has to give back what it held, before another is stopped.
const GIVE_BACK_LOOKS: usize = 25;
/// Unless resident memory grows by this part of the way from [`Bounds::refuse`] to [`Bounds::stop`] meanwhile.
const GROWTH_ONE_OF: usize = 8;

/// Each statement gets this part of the pool however near to its bound the process is: one question of a
/// dashboard takes a few MiB, and must be answered just when ingest is at its fullest.
const ALWAYS_ONE_OF: usize = 32;
/// And each of its operators this part, whatever the others of its statement hold: one that has spilled needs some to
/// read that back, while another that got much before asks for nothing, and so never spills. Those that cannot spill
/// share as much as a statement always gets, whatever the others hold.
const LEAST_ONE_OF: usize = 128;
/// And this part of what it holds, more: who holds much and needs a batch more cannot always spill.
const STEP_ONE_OF: usize = 64;
/// An aggregate that gives out its groups needs a batch more than it holds, and cannot spill any more: so much in one
/// step it gets, bytes. One that still collects groups doubles its tables, which are soon larger steps.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// So much where it has the right of way, which one statement has at a time: a batch of rows that are wide.
const FAVOURED_BATCH_BYTES_MAX: usize = 4 << 20;
/// What the engine calls its aggregates of groups.
const AGGREGATE: &str = "HashAggregateStream";
/// The statement that has the right of way gets this part of the pool. There is one at a time, so that what the process
/// takes beyond [`Bounds::refuse`] stays well within what is left up to its bound.
const WAY_ONE_OF: usize = 8;

/// Fair parts are small where many operators are registered, most of which hold nothing. So until this part of the pool
/// is held nobody has to keep to one.
const LENT_ONE_OF: usize = 2;

/// What all statements share.
#[derive(Debug)]
pub struct Memory {
    pool: FairSpillPool,
    bounds: Bounds,
    /// What a statement gets in any case while the pool has it, bytes.
    always: usize,
    /// What an operator that can spill gets likewise, bytes.
    least: usize,
    /// What the statement with the right of way gets, bytes.
    favour: usize,
    /// Up to so much of the pool whoever asks gets, bytes.
    lent: usize,
    way: sync::Mutex<()>,
    /// As it was when it was last looked at, bytes.
    resident: AtomicUsize,
    running: Mutex<Vec<Weak<Share>>>,
    /// A statement began.
    began: Notify,
    /// The process is not near its bound, or not any more.
    room: Notify,
}

/// Bounds of the process's resident memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Above it, statements get nothing more than the small part that each may always have.
    pub refuse: usize,
    /// The largest statement is stopped above it.
    pub stop: usize,
}

impl Bounds {
    /// Those that keep a process within this, with a margin for what comes between two looks.
    pub fn within(bytes_max: usize) -> Self {
        Self { refuse: bytes_max / 16 * 13, stop: bytes_max / 16 * 15 }
    }
}

/// One statement's part.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    reserved: AtomicUsize,
    /// Of it, what operators hold that cannot spill.
    fixed: AtomicUsize,
    stopped: AtomicBool,
    stop: Notify,
    /// Whether something was refused because the process was near its bound.
    refused: AtomicBool,
    /// Whether it has the right of way.
    is_favoured: AtomicBool,
}

/// The right of way of one statement, until it is dropped.
#[derive(Debug)]
pub struct Way<'a> {
    share: &'a Share,
    _held: MutexGuard<'a, ()>,
}

impl Memory {
    /// A pool of so many bytes. The bounds hold while somebody watches.
    pub fn new(bytes_max: usize, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            pool: FairSpillPool::new(bytes_max),
            bounds,
            always: bytes_max / ALWAYS_ONE_OF,
            least: bytes_max / LEAST_ONE_OF,
            favour: bytes_max / WAY_ONE_OF,
            lent: bytes_max / LENT_ONE_OF,
            way: sync::Mutex::new(()),
            resident: AtomicUsize::new(0),
            running: Mutex::default(),
            began: Notify::new(),
            room: Notify::new(),
        })
    }

    /// A statement's part, until it is dropped.
    pub fn share(self: &Arc<Self>) -> Arc<Share> {
        let share = Arc::new(Share {
            memory: Arc::clone(self),
            reserved: AtomicUsize::new(0),
            fixed: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            refused: AtomicBool::new(false),
            is_favoured: AtomicBool::new(false),
        });
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|share| share.strong_count() > 0);
        running.push(Arc::downgrade(&share));
        self.began.notify_one();
        share
    }

    /// Looks at resident memory while statements run, as long as `resident` says it, bytes.
    pub async fn watch(&self, resident: impl Fn() -> Option<usize>) {
        let (mut looks_left, mut bytes_then) = (0, 0);
        loop {
            if !self.is_running() {
                self.began.notified().await;
            }
            let Some(bytes) = resident() else { return };
            self.resident.store(bytes, Ordering::Relaxed);
            if !self.is_full() {
                self.room.notify_waiters();
            }
            // What the last one that was stopped gives back is on its way, unless the others take more meanwhile.
            let grows = bytes > bytes_then + (self.bounds.stop - self.bounds.refuse) / GROWTH_ONE_OF;
            let is_due = bytes > self.bounds.stop && (looks_left == 0 || grows);
            if is_due && self.stop_largest(bytes) {
                (looks_left, bytes_then) = (GIVE_BACK_LOOKS, bytes);
            }
            looks_left = looks_left.saturating_sub(1);
            sleep(LOOK).await;
        }
    }

    fn is_running(&self) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|share| share.strong_count() > 0);
        !running.is_empty()
    }

    /// Whether there was one to stop. Of those that hold alike, the last.
    fn stop_largest(&self, resident: usize) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let live = running.iter().filter_map(Weak::upgrade).filter(|share| !share.is_stopped());
        let Some(largest) = live.max_by_key(|share| share.reserved.load(Ordering::Relaxed)) else { return false };
        drop(running);
        tracing::warn!(
            resident_bytes = resident,
            reserved_bytes = largest.reserved.load(Ordering::Relaxed),
            "stopped a statement: the process is at its memory.bytes_max"
        );
        largest.stopped.store(true, Ordering::Relaxed);
        largest.stop.notify_one();
        true
    }

    fn is_full(&self) -> bool {
        self.resident.load(Ordering::Relaxed) > self.bounds.refuse
    }
}

impl Share {
    /// Ends when the statement has to.
    pub async fn stopped(&self) {
        while !self.is_stopped() {
            self.stop.notified().await;
        }
    }

    /// The right to more memory than others near the process's bound. Ends when no other statement has it.
    pub async fn right_of_way(&self) -> Way<'_> {
        let held = self.memory.way.lock().await;
        self.is_favoured.store(true, Ordering::Relaxed);
        Way { share: self, _held: held }
    }

    /// Ends when the process is not near its bound any more.
    pub async fn room(&self) {
        loop {
            let room = self.memory.room.notified();
            if !self.memory.is_full() {
                return;
            }
            room.await;
        }
    }

    /// Whether it was refused something, or stopped, because the process was near its bound.
    pub fn was_in_the_way(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.is_stopped()
    }

    /// It holds nothing, and begins anew.
    pub fn begin_again(&self) {
        self.refused.store(false, Ordering::Relaxed);
        self.stopped.store(false, Ordering::Relaxed);
    }

    fn took(&self, reservation: &MemoryReservation, bytes: usize) {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        if !reservation.consumer().can_spill() {
            self.fixed.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        self.share.is_favoured.store(false, Ordering::Relaxed);
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the statements' {}", self.reserved.load(Ordering::Relaxed), self.memory.pool)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.memory.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.memory.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.memory.pool.grow(reservation, additional);
        self.took(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.memory.pool.shrink(reservation, shrink);
        self.reserved.fetch_sub(shrink, Ordering::Relaxed);
        if !reservation.consumer().can_spill() {
            self.fixed.fetch_sub(shrink, Ordering::Relaxed);
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let held = reservation.size();
        let is_favoured = self.is_favoured.load(Ordering::Relaxed);
        let (always, batch_max) = match is_favoured {
            true => (self.memory.favour, FAVOURED_BATCH_BYTES_MAX),
            false => (self.memory.always, BATCH_BYTES_MAX),
        };
        // What cannot spill ends its statement where it gets nothing: it has a part beside that of what can.
        let is_beyond_own = match reservation.consumer().can_spill() {
            true => held.saturating_add(additional) > self.memory.least,
            false => self.fixed.load(Ordering::Relaxed).saturating_add(additional) > always,
        };
        let beyond = self.reserved().saturating_add(additional) > always
            && is_beyond_own
            && additional > held / STEP_ONE_OF
            && !(additional <= batch_max && reservation.consumer().name().contains(AGGREGATE));
        if beyond && self.memory.is_full() {
            self.refused.store(true, Ordering::Relaxed);
            return Err(resources_datafusion_err!(
                "{} wants {additional} bytes more, and the process is near its memory.bytes_max",
                reservation.consumer().name()
            ));
        }
        if self.memory.pool.reserved().saturating_add(additional) <= self.memory.lent {
            self.memory.pool.grow(reservation, additional);
        } else {
            self.memory.pool.try_grow(reservation, additional)?;
        }
        self.took(reservation, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.memory.pool.memory_limit()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const BOUNDS: Bounds = Bounds { refuse: 800, stop: 900 };

    fn reserve(share: &Arc<Share>, bytes: usize) -> Result<MemoryReservation> {
        let pool: Arc<dyn MemoryPool> = Arc::clone(share) as _;
        let reservation = MemoryConsumer::new("test").with_can_spill(true).register(&pool);
        reservation.try_grow(bytes)?;
        Ok(reservation)
    }

    #[test]
    fn what_cannot_spill_shares_as_much_as_a_statement_gets() {
        let memory = Memory::new(1280, BOUNDS);
        let share = memory.share();
        let pool: Arc<dyn MemoryPool> = Arc::clone(&share) as _;
        let _held = reserve(&share, 640).unwrap();
        memory.resident.store(801, Ordering::Relaxed);
        let fixed = || MemoryConsumer::new("TopK").register(&pool);
        let (one, other) = (fixed(), fixed());
        one.try_grow(30).unwrap();
        other.try_grow(10).unwrap();
        assert!(one.try_grow(1).is_err() && other.try_grow(1).is_err());
        drop(one);
        other.try_grow(30).unwrap();
        assert!(reserve(&share, 11).is_err(), "one that can spill has a part of its own");
    }

    #[test]
    fn statements_share_one_pool_and_get_little_near_the_bound() {
        let memory = Memory::new(100, BOUNDS);
        let (one, other) = (memory.share(), memory.share());
        let held = reserve(&one, 60).unwrap();
        assert_eq!((one.reserved(), other.reserved()), (60, 0));
        assert!(reserve(&other, 51).is_err(), "half is its fair part");
        memory.resident.store(801, Ordering::Relaxed);
        assert!(!one.was_in_the_way());
        assert!(reserve(&one, 1).unwrap_err().to_string().contains("memory.bytes_max"));
        assert!(one.was_in_the_way() && !other.was_in_the_way());
        // A thirty-second of 100 is 3, and no more.
        let small = reserve(&other, 2).unwrap();
        assert!(reserve(&other, 2).is_err());
        drop((reserve(&other, 1).unwrap(), small));
        memory.resident.store(800, Ordering::Relaxed);
        drop(held);
        reserve(&other, 50).unwrap();
        assert_eq!((one.reserved(), other.reserved(), memory.pool.reserved()), (0, 0, 0));
    }

    #[test]
    fn fair_parts_count_once_half_of_the_pool_is_held() {
        let memory = Memory::new(1280, BOUNDS);
        let share = memory.share();
        let others: Vec<MemoryReservation> = (0..15).map(|_| reserve(&share, 0).unwrap()).collect();
        let held = reserve(&share, 600).unwrap();
        held.try_grow(40).unwrap();
        assert!(held.try_grow(1).is_err());
        // A sixteenth is the fair part of one that comes later.
        others[0].try_grow(80).unwrap();
        assert!(others[0].try_grow(1).is_err());
        held.shrink(81);
        others[0].try_grow(1).unwrap();
    }

    #[test]
    fn an_operator_gets_the_least_whatever_the_others_of_its_statement_hold() {
        let memory = Memory::new(1280, Bounds { refuse: 8_000, stop: 9_000 });
        let share = memory.share();
        let held = reserve(&share, 640).unwrap();
        memory.resident.store(8_001, Ordering::Relaxed);
        assert!(held.try_grow(11).is_err());
        held.try_grow(10).unwrap();
        let spilled = reserve(&share, 6).unwrap();
        spilled.try_grow(4).unwrap();
        assert!(spilled.try_grow(1).is_err());
        assert!(reserve(&share, 11).is_err());
        drop((held, spilled));
        assert_eq!(memory.pool.reserved(), 0);
    }

    #[test]
    fn an_aggregate_gets_the_batch_that_it_gives_out() {
        let memory = Memory::new(64 << 20, Bounds { refuse: 8_000, stop: 9_000 });
        let share = memory.share();
        let pool: Arc<dyn MemoryPool> = Arc::clone(&share) as _;
        let check = |name: &str, step: usize, [is_given, is_given_favoured]: [bool; 2]| {
            for (is_favoured, is_given) in [(false, is_given), (true, is_given_favoured)] {
                memory.resident.store(0, Ordering::Relaxed);
                share.is_favoured.store(is_favoured, Ordering::Relaxed);
                let held = MemoryConsumer::new(name).with_can_spill(true).register(&pool);
                held.try_grow(16 << 20).unwrap();
                memory.resident.store(8_001, Ordering::Relaxed);
                assert_eq!(held.try_grow(step).is_ok(), is_given, "{name} {step} {is_favoured}");
            }
        };
        check("FinalHashAggregateStream[1]", 327_488, [true, true]);
        check("FinalHashAggregateStream[1]", 1_834_880, [false, true]);
        check("FinalHashAggregateStream[1]", 8 << 20, [false, false]);
        check("ExternalSorter[1]", 1_834_880, [false, false]);
    }

    #[tokio::test]
    async fn one_statement_at_a_time_gets_a_large_part_near_the_bound() {
        let memory = Memory::new(1280, BOUNDS);
        let (one, other) = (memory.share(), memory.share());
        memory.resident.store(801, Ordering::Relaxed);
        assert!(reserve(&one, 160).is_err());
        let way = one.right_of_way().await;
        assert!(other.right_of_way().now_or_never().is_none());
        drop(reserve(&one, 160).unwrap());
        assert!(reserve(&one, 161).is_err());
        assert!(reserve(&other, 160).is_err());
        drop(way);
        assert!(reserve(&one, 160).is_err());
        let _way = other.right_of_way().now_or_never().unwrap();
        reserve(&other, 160).unwrap();
    }

    #[tokio::test]
    async fn more_are_stopped_at_once_where_the_rest_takes_more() {
        let memory = Memory::new(100, BOUNDS);
        let (small, large) = (memory.share(), memory.share());
        let _held = (reserve(&small, 10).unwrap(), reserve(&large, 20).unwrap());
        let looks = AtomicUsize::new(0);
        let resident = || match looks.fetch_add(1, Ordering::Relaxed) {
            0 => Some(901),
            1..4 => Some(912),
            4 => Some(914),
            _ => None,
        };
        memory.watch(resident).await;
        assert!(large.is_stopped() && small.is_stopped());
    }

    #[tokio::test]
    async fn the_largest_is_stopped_at_the_bound_and_others_go_on() {
        let memory = Memory::new(100, BOUNDS);
        let (small, large) = (memory.share(), memory.share());
        let _held = (reserve(&small, 10).unwrap(), reserve(&large, 20).unwrap());
        let watch = memory.watch(|| Some(if large.is_stopped() { 900 } else { 901 }));
        tokio::select! {
            () = watch => panic!("it watches for ever"),
            () = large.stopped() => {}
        }
        assert!(!small.is_stopped());
    }
}
