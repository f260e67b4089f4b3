//! The keys as they were read last, for as long as nobody wrote to the database since. Whoever writes, in whatever
//! process, appends to SQLite's log beside it or begins that anew (<https://sqlite.org/wal.html>), and so changes its
//! size or time: a look at both is a system call in place of two trips to SQLite's thread.
//!
//! A file's time goes in ticks of up to 10 ms. A write within the tick of the one before could look the same, so the
//! log is believed only once it was seen to stay as it is for [`SETTLED_US`]; until then SQLite is asked.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::access::KeyRecord;

/// Some times a tick of any file system's clock.
const SETTLED_US: i64 = 100_000;

/// All keys by id.
pub type Table = HashMap<String, KeyRecord>;

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mark: Option<Mark>,
    since_us: i64,
    table: Option<Arc<Table>>,
}

/// Size and time of the log; None where there is none.
type Mark = Option<(u64, SystemTime)>;

/// What a look at the log says.
#[derive(Debug)]
pub enum Found {
    /// It is as it was when these were read.
    Unchanged(Arc<Table>),
    /// It stays as it is: what is read from here on may be kept with this mark.
    Settled(Mark),
    /// It was written just now.
    Moving,
}

impl Seen {
    /// Nothing yet, of the database at a path.
    pub fn new(database: &Path) -> Self {
        let mut log = OsString::from(database);
        log.push("-wal");
        Self { log: log.into(), state: Mutex::default() }
    }

    /// Looks; the time is of a clock that only goes ahead, µs.
    pub fn look(&self, now_us: i64) -> Found {
        let mark = fs::metadata(&self.log).and_then(|log| Ok((log.len(), log.modified()?))).ok();
        let mut state = self.state();
        if state.mark != Some(mark) {
            *state = State { mark: Some(mark), since_us: now_us, table: None };
        }
        match &state.table {
            Some(table) => Found::Unchanged(Arc::clone(table)),
            None if now_us - state.since_us < SETTLED_US => Found::Moving,
            None => Found::Settled(mark),
        }
    }

    /// Keeps what was read after a look that gave this mark.
    pub fn keep(&self, mark: Mark, table: Table) {
        let mut state = self.state();
        if state.mark == Some(mark) {
            state.table = Some(Arc::new(table));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_moves_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a b.sqlite");
        let seen = Seen::new(&database);
        let check = |now_us: i64, expected: &str| {
            let found = seen.look(now_us);
            let name = match &found {
                Found::Unchanged(_) => "unchanged",
                Found::Settled(_) => "settled",
                Found::Moving => "moving",
            };
            assert_eq!(name, expected, "at {now_us}");
            found
        };
        check(0, "moving");
        check(SETTLED_US - 1, "moving");
        let Found::Settled(nothing) = check(SETTLED_US, "settled") else { unreachable!() };
        seen.keep(nothing, Table::new());
        check(SETTLED_US, "unchanged");
        fs::write(directory.path().join("a b.sqlite-wal"), "1").unwrap();
        check(2 * SETTLED_US, "moving");
        // What was read before the write is not kept for what is there after it.
        seen.keep(nothing, Table::new());
        check(2 * SETTLED_US, "moving");
        let Found::Settled(one) = check(3 * SETTLED_US, "settled") else { unreachable!() };
        seen.keep(one, Table::new());
        check(9 * SETTLED_US, "unchanged");
        fs::write(directory.path().join("a b.sqlite-wal"), "22").unwrap();
        check(9 * SETTLED_US, "moving");
    }
}
