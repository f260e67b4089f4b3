//! What the clients know: which batches were sent, which were acknowledged and with which seq, and what must
//! therefore be found. Judges answers and counts; never talks to a server.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::batch::{Batch, Cell, Recipe, Sums};

/// What becomes of rows past their retention at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Passing {
    /// No retention is set: they stay.
    #[default]
    Stay,
    /// They go, sooner or later.
    Go,
}

/// A batch as the ledger remembers it.
#[derive(Debug)]
pub struct Entry {
    pub recipe: Recipe,
    pub cells: Vec<(Cell, Sums)>,
    /// Tool calls of rows that stay, and how many of them failed.
    pub tools: (u64, u64),
    pub rejected: Vec<String>,
    /// Its rows that pass are deleted for good.
    pub purged: bool,
    pub acknowledged: bool,
    /// Its seq, once an answer or a look at the table has told it.
    pub stored: Option<u64>,
    /// Tries without an answer since the batch was last known not to be there.
    pub unanswered: u64,
}

/// Answers and duplicates, for the books.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub acknowledged: u64,
    /// Answers that said the batch was stored before.
    pub duplicates: u64,
    /// Records and lines that the books of this life must at least and may at most have as duplicates.
    pub duplicate_lines_min: u64,
    pub duplicate_lines_max: u64,
}

/// All batches.
#[derive(Debug, Default)]
pub struct Ledger {
    seed: u64,
    pub passing: Passing,
    pub entries: Vec<Entry>,
    pub counts: Counts,
    posted: BTreeMap<Cell, u64>,
    acknowledged: BTreeMap<Cell, u64>,
    purged: BTreeMap<Cell, u64>,
    seqs: HashMap<u64, usize>,
}

impl Entry {
    /// Its rows that stay, or those that pass.
    pub fn sums(&self, passing: bool) -> Sums {
        let mut sums = Sums::default();
        self.cells.iter().filter(|(cell, _)| cell.passing == passing).for_each(|(_, cell)| sums += *cell);
        sums
    }

    /// Records and lines.
    pub fn lines(&self) -> u64 {
        self.sums(false).calls + self.sums(true).calls + self.rejected.len() as u64
    }
}

impl Ledger {
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A new batch, which may be sent from now on.
    pub fn make(&mut self, made_at_us: i64, passing: bool) -> (usize, Batch) {
        let number = self.entries.len();
        let recipe = Recipe { seed: self.seed, number, made_at_us, passing };
        let batch = Batch::new(recipe);
        for (cell, sums) in &batch.cells {
            *self.posted.entry(*cell).or_default() += sums.calls;
        }
        self.entries.push(Entry {
            recipe,
            cells: batch.cells.iter().map(|(cell, sums)| (*cell, *sums)).collect(),
            tools: batch.tools,
            rejected: batch.rejected.clone(),
            purged: false,
            acknowledged: false,
            stored: None,
            unanswered: 0,
        });
        (number, batch)
    }

    /// Batches that were sent and are not acknowledged; those with rows that pass, or all.
    pub fn open(&self, only_passing: bool) -> usize {
        self.entries.iter().filter(|entry| !entry.acknowledged && (!only_passing || entry.recipe.passing)).count()
    }

    /// Notes the answers to copies of a batch that were sent at once, `None` for one that never came.
    pub fn answered(&mut self, number: usize, batch: &Batch, answers: &[Option<Value>]) -> Result<(), String> {
        let entry = &mut self.entries[number];
        let lines = entry.lines();
        let wrong = |what: &str, entry: &Entry| Err(format!("{what}: {answers:?} to {entry:?}"));
        let unanswered = answers.iter().filter(|answer| answer.is_none()).count() as u64;
        let mut stored = entry.stored;
        let mut fresh = 0;
        for answer in answers.iter().flatten() {
            let (Some(seq), Some(rejected)) = (answer["seq"].as_u64(), answer["rejected"].as_array()) else {
                return wrong("an answer that is none", entry);
            };
            if answer["accepted"] != batch.calls() || rejected.len() != batch.rejected.len() {
                return wrong("other counts than were sent", entry);
            }
            if *stored.get_or_insert(seq) != seq {
                return wrong("another seq than before", entry);
            }
            let is_duplicate = answer["duplicate"].as_bool().unwrap_or(false);
            fresh += u64::from(!is_duplicate);
            self.counts.duplicates += u64::from(is_duplicate);
            self.counts.duplicate_lines_min += if is_duplicate { lines } else { 0 };
        }
        let answered = answers.len() as u64 - unanswered;
        self.counts.duplicate_lines_max += lines * (answered - fresh + unanswered);
        if fresh > u64::from(entry.stored.is_none()) {
            return wrong("stored again", entry);
        }
        // Nobody can have stored it before, so one of the copies was the first.
        if answered > 0 && fresh == 0 && entry.stored.is_none() && entry.unanswered + unanswered == 0 {
            return wrong("a duplicate of nothing", entry);
        }
        entry.unanswered += unanswered;
        if let (Some(seq), true) = (stored, answered > 0) {
            entry.stored = stored;
            if *self.seqs.entry(seq).or_insert(number) != number {
                return wrong("the seq of another batch", entry);
            }
            if !std::mem::replace(&mut entry.acknowledged, true) {
                self.counts.acknowledged += 1;
                for (cell, sums) in &entry.cells {
                    *self.acknowledged.entry(*cell).or_default() += sums.calls;
                }
            }
        }
        Ok(())
    }

    /// Notes what a look at the table has told of a batch whose last try got no answer.
    pub fn found(&mut self, number: usize, seq: Option<u64>) -> Result<(), String> {
        let entry = &mut self.entries[number];
        entry.stored = seq;
        entry.unanswered = 0;
        match seq.map(|seq| *self.seqs.entry(seq).or_insert(number)) {
            Some(other) if other != number => Err(format!("batches {number} and {other} have one seq")),
            _ => Ok(()),
        }
    }

    /// Rows that a statement must see which begins now.
    pub fn at_least(&self) -> BTreeMap<Cell, u64> {
        let stays = |cell: &Cell| !cell.passing || self.passing == Passing::Stay;
        self.less_purged(&self.acknowledged).into_iter().filter(|(cell, _)| stays(cell)).collect()
    }

    /// Rows that a statement may see which has ended now.
    pub fn at_most(&self) -> BTreeMap<Cell, u64> {
        self.less_purged(&self.posted)
    }

    /// All rows that pass have been deleted, and none of them comes back.
    pub fn purge(&mut self) {
        assert_eq!(self.open(true), 0);
        for entry in &mut self.entries {
            entry.purged = true;
        }
        self.purged =
            self.posted.iter().filter(|(cell, _)| cell.passing).map(|(cell, calls)| (*cell, *calls)).collect();
    }

    /// Rows that were deleted for good.
    pub fn purged_rows(&self) -> u64 {
        self.purged.values().sum()
    }

    /// Notes the duplicates that a server's books begin with: a crash forgets some, but invents none.
    pub fn begin_life(&mut self, duplicate_lines: u64, forgets: bool) -> Result<(), String> {
        let counts = &mut self.counts;
        let least = if forgets { 0 } else { counts.duplicate_lines_min };
        if !(least..=counts.duplicate_lines_max).contains(&duplicate_lines) {
            return Err(format!("the books begin with {duplicate_lines} duplicates after {counts:?}"));
        }
        (counts.duplicate_lines_min, counts.duplicate_lines_max) = (duplicate_lines, duplicate_lines);
        Ok(())
    }

    fn less_purged(&self, cells: &BTreeMap<Cell, u64>) -> BTreeMap<Cell, u64> {
        cells.iter().map(|(cell, calls)| (*cell, calls - self.purged.get(cell).copied().unwrap_or(0))).collect()
    }
}
