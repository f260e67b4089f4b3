//! Rows against the books. Pure: numbers in, findings out.
//!
//! A record that was accepted is a row of `agent_logs`, a line that was rejected one of
//! `rejected_logs`. SQLite counts both through the seq of its totals, and a start counts the frames
//! above that seq onto them. A start takes rows from the frames above both that seq and the one through
//! which the table has everything. What is deleted, at its age or on request, stays in the books, and
//! the commit that deletes it counts it. So, for each table,
//!
//! ```text
//! rows of its files + rows that were deleted + rows of frames that a start would take
//!   = SQLite's books + counts of the frames above its seq
//! ```
//!
//! Too many rows came twice or lost their count, too few are lost: both are wrong. One exception: a
//! quarantine may take away frames whose rows a table had already and the books had not. Where one set
//! segments aside, too many rows are a note.

use super::{CATALOG, FrameNote, TableState, WAL};
use crate::{
    catalog::{Books, Totals},
    finding::Findings,
    record::Table,
    wal::Inspection,
};

const RESTORE: &str = "restore the directory from a copy; files from different copies do not fit together";

impl Totals {
    /// The totals before the first batch.
    pub(super) fn none() -> Self {
        Self { seq: 0, books: Books::default(), metrics: String::new() }
    }
}

/// Compares what SQLite, the tables and the log say of each other.
pub(super) fn compare(
    totals: &Totals,
    tables: &[TableState],
    log: &Inspection,
    frames: &[FrameNote],
    findings: &mut Findings,
) {
    // What is missing is said already; sums over the rest mean nothing.
    if !log.findings.is_clean() || !tables.iter().all(TableState::is_known) {
        findings.note(CATALOG, "is not compared with the tables and the log, because those are damaged");
        return;
    }
    let committed_seq = tables.iter().map(|table| table.look.committed_seq).max().unwrap_or_default();
    if totals.seq > committed_seq {
        let what = format!("counts through batch {}, but the tables hold only through {committed_seq}", totals.seq);
        findings.wrong(CATALOG, what, RESTORE);
    }
    let last_seq = log.last_seq.max(totals.seq);
    if committed_seq > last_seq {
        let what = format!("ends with batch {last_seq}, but the tables hold batches through {committed_seq}");
        findings.wrong(WAL, what, RESTORE);
    }
    for table in tables {
        compare_table(totals, table, log, frames, findings);
    }
}

fn compare_table(
    totals: &Totals,
    TableState { table, place, look }: &TableState,
    log: &Inspection,
    frames: &[FrameNote],
    findings: &mut Findings,
) {
    let sum = |after_seq: u64, through_seq: u64| -> u64 {
        let between = |frame: &&FrameNote| frame.seq > after_seq && frame.seq <= through_seq;
        frames.iter().filter(between).map(|frame| frame.rows(*table)).sum()
    };
    let passed_over = sum(look.committed_seq, totals.seq);
    if passed_over > 0 {
        let what = format!(
            "holds batches through {} only, but SQLite counts through {}: a start passes over {passed_over} rows of the \
             log between them",
            look.committed_seq, totals.seq
        );
        findings.wrong(place, what, RESTORE);
        return;
    }
    let waiting = sum(look.committed_seq.max(totals.seq), u64::MAX);
    let came = look.rows + look.deleted_rows + waiting;
    let counted = book(&totals.books, *table) + sum(totals.seq, u64::MAX);
    if came < counted {
        let what = format!("{counted} rows are in the books, but only {came} are there or were deleted");
        findings.wrong(place, what, RESTORE);
    } else if came > counted {
        let what = format!("{came} rows are there or were deleted, but only {counted} are in the books");
        match log.set_aside {
            0 => findings.wrong(place, what, "look for rows that are there twice; restore the directory from a copy"),
            _ => findings.note(place, format!("{what}: a quarantine took the count of the others away")),
        }
    }
    if look.deleted_rows > 0 {
        findings.note(place, format!("{} of the {counted} rows that came were deleted", look.deleted_rows));
    }
    if !look.exists {
        findings.note(place, "is not there; the next start creates it");
    }
}

fn book(books: &Books, table: Table) -> u64 {
    match table {
        Table::AgentLogs => books.accepted,
        Table::RejectedLogs => books.rejected,
    }
}
