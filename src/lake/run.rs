//! Which run of a server brought a commit. Servers on copies of one data directory own the same tables and count
//! their batches alike: each would take the other's commits for its own, and let go of acknowledged rows that are
//! in no file. So every commit to tables that are elsewhere says which run made it, and whoever finds a stranger's
//! commits no more.

use std::{fmt, str::FromStr, sync::Arc};

use deltalake_core::{kernel::Transaction, table::state::DeltaTableState};

use super::table::LakeTable;
use crate::error::{Context, Error, Kind, Result};

/// The application id of the transaction that names the run of the last commit.
const RUN_APP_ID: &str = "driftline-run";

/// A number of one run of a server, by chance: no two have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run(i64);

/// The last commit to a table that says whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCommit {
    table: String,
    run: Run,
    /// The highest WAL seq of the table.
    seq: u64,
}

/// Whose commits tables may have: those of one run, and what was there before it, as it was. As text a line for
/// each; the data directory keeps it from before the run's first commit on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    own: Run,
    before: Vec<LastCommit>,
}

impl Run {
    /// A new number.
    pub fn random() -> Self {
        // The last bits of this id are by chance; a transaction's version is not negative.
        Self((uuid::Uuid::now_v7().as_u64_pair().1 >> 2) as i64)
    }
}

impl Runs {
    /// A run that finds these commits.
    pub fn new(own: Run, before: Vec<LastCommit>) -> Self {
        Self { own, before }
    }

    /// Whether a table's last commit is of this run, or the one that it found. An earlier run that has gone on
    /// since is another server's.
    pub fn has(&self, last: &LastCommit) -> bool {
        last.run == self.own || self.before.contains(last)
    }

    pub(super) fn transaction(&self) -> Transaction {
        Transaction::new(RUN_APP_ID, self.own.0)
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.own.0)?;
        self.before.iter().try_for_each(|last| writeln!(f, "{} {} {}", last.table, last.run.0, last.seq))
    }
}

impl FromStr for Runs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let before = |line: &str| {
            let mut words = line.split(' ');
            let last = LastCommit {
                table: words.next()?.to_owned(),
                run: Run(words.next()?.parse().ok()?),
                seq: words.next()?.parse().ok()?,
            };
            words.next().is_none().then_some(last)
        };
        let mut lines = text.lines();
        let own = lines.next().and_then(|line| line.parse().ok()).map(Run);
        own.and_then(|own| Some(Self { own, before: lines.map(before).collect::<Option<_>>()? }))
            .ok_or_else(|| Error::new(Kind::Corrupt, "it does not say whose commits the tables may have"))
    }
}

impl LakeTable {
    /// The last commit that says whose it is, as far as the log was read.
    pub async fn last_commit(&self) -> Result<Option<LastCommit>> {
        let state = self.writer.lock().await;
        self.last_commit_in(&state, self.snapshot().committed_seq).await
    }

    /// From now on commits are of this run, and a stranger's are not taken for its own.
    pub fn hold(&mut self, runs: Arc<Runs>) {
        self.runs = Some(runs);
    }

    /// Whether the log as it was read, up to a WAL seq, is ours.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when another server has committed since this one began.
    pub(super) async fn check_run(&self, state: &DeltaTableState, seq: u64) -> Result<()> {
        let Some(runs) = &self.runs else { return Ok(()) };
        if self.last_commit_in(state, seq).await?.is_none_or(|last| runs.has(&last)) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!(
                "another server has committed to {} since this one began: both run on copies of one data directory. \
                 Nothing more is committed from here, and what was acknowledged stays in the write-ahead log: stop one \
                 of them",
                self.url()
            ),
        ))
    }

    async fn last_commit_in(&self, state: &DeltaTableState, seq: u64) -> Result<Option<LastCommit>> {
        let run = state
            .transaction_version(self.log_store.as_ref(), RUN_APP_ID)
            .await
            .context(format!("cannot read whose the commits to {} are", self.url()))?;
        Ok(run.map(|number| LastCommit { table: self.table().name().to_owned(), run: Run(number), seq }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn last(table: &str, run: i64, seq: u64) -> LastCommit {
        LastCommit { table: table.to_owned(), run: Run(run), seq }
    }

    fn runs() -> Runs {
        Runs::new(Run(1), vec![last("calls", 2, 17), last("rest", 3, 4)])
    }

    #[test]
    fn a_strangers_commits_are_told_from_ours() {
        for (found, ours) in [
            (last("calls", 1, 17), true),
            (last("calls", 1, 99), true),
            (last("calls", 2, 17), true),
            (last("calls", 2, 18), false),
            (last("rest", 2, 17), false),
            (last("calls", 4, 17), false),
        ] {
            assert_eq!(runs().has(&found), ours, "{found:?}");
        }
    }

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        assert_eq!(runs().to_string(), "1\ncalls 2 17\nrest 3 4\n");
        for runs in [runs(), Runs::new(Run::random(), Vec::new())] {
            assert_eq!(runs.to_string().parse::<Runs>().unwrap(), runs);
        }
        for text in ["", "x", "1\ncalls", "1\ncalls 2", "1\ncalls 2 x", "1\ncalls 2 3 4", "1\n\n"] {
            assert!(text.parse::<Runs>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_by_chance_and_not_negative() {
        let numbers: std::collections::HashSet<i64> = (0..100).map(|_| Run::random().0).collect();
        assert_eq!(numbers.len(), 100);
        assert!(numbers.iter().all(|number| *number >= 0));
    }
}
