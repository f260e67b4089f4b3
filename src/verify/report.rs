//! What a check says in the end: for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{
    finding::{Finding, Findings, Note},
    lake::Look,
    record::Table,
    wal::Inspection,
};

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is wrong, by place.
    pub findings: Vec<Finding>,
    /// What is as it may be, by place.
    pub notes: Vec<Note>,
    /// What was looked at.
    pub figures: Figures,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Segments of the write-ahead log.
    pub segments: u64,
    /// Whole frames in them.
    pub frames: u64,
    /// Their bytes, all of which were read.
    pub wal_bytes: u64,
    /// The tables.
    pub tables: Vec<TableFigures>,
    /// Receipts in SQLite.
    pub receipts: u64,
    /// The seq through which SQLite counts.
    pub counted_seq: u64,
    /// Whether all rows of all files were read, and not their footers alone.
    pub content: bool,
}

/// What was looked at of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableFigures {
    /// Its name.
    pub table: String,
    /// Its newest version, where it can be read.
    pub version: Option<u64>,
    /// The files of that version.
    pub files: u64,
    /// Their rows, as the log counts them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Report {
    /// Puts what was found in order.
    pub(super) fn new(findings: Findings, figures: Figures) -> Self {
        let Findings { wrong: mut findings, mut notes } = findings;
        findings.sort();
        findings.dedup();
        notes.sort();
        notes.dedup();
        Self { findings, notes, figures }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Bytes of everything that was looked at.
    pub fn bytes(&self) -> u64 {
        self.figures.wal_bytes + self.figures.tables.iter().map(|table| table.bytes).sum::<u64>()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let (segments, frames) = (count(figures.segments, "segment", "s"), count(figures.frames, "batch", "es"));
        writeln!(f, "write-ahead log: {segments}, {frames}, {}", count(figures.wal_bytes, "byte", "s"))?;
        for TableFigures { table, version, files, rows, bytes } in &figures.tables {
            let Some(version) = version else {
                writeln!(f, "{table}: no version can be read")?;
                continue;
            };
            let (files, rows) = (count(*files, "file", "s"), count(*rows, "row", "s"));
            writeln!(f, "{table}: version {version}, {files}, {rows}, {}", count(*bytes, "byte", "s"))?;
        }
        let receipts = count(figures.receipts, "receipt", "s");
        writeln!(f, "catalog.sqlite: counts through batch {}, {receipts}", figures.counted_seq)?;
        for Note { place, what } in &self.notes {
            writeln!(f, "note: {place}: {what}")?;
        }
        for Finding { place, what, advice } in &self.findings {
            writeln!(f, "wrong: {place}: {what}: {advice}")?;
        }
        Ok(())
    }
}

/// So many of a thing.
fn count(number: u64, thing: &str, plural: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { plural })
}

impl Figures {
    pub(super) fn take_log(&mut self, log: &Inspection) {
        self.segments = log.segments as u64;
        self.frames = log.frames as u64;
        self.wal_bytes = log.bytes;
    }
}

impl TableFigures {
    pub(super) fn new(table: Table, look: &Look) -> Self {
        Self {
            table: table.name().to_owned(),
            version: look.version,
            files: look.files as u64,
            rows: look.rows,
            bytes: look.bytes,
        }
    }
}
