//! A full check of a data directory that no server has open: each part by itself, and then the parts
//! against each other. Reads only: what a start would repair is a note, and stays as it is.

mod books;
mod receipts;
mod report;

use std::{fs, io, path::Path};

use crate::{
    catalog::{self, Totals},
    error::Result,
    finding::Findings,
    lake::{self, Storage},
    record::{Receipt, Table},
    wal::{self, Frame, Inspection},
};

pub use report::{Figures, Report, TableFigures};

const CATALOG: &str = "catalog.sqlite";
const FORMAT: &str = "FORMAT";
const WAL: &str = "wal";

/// What is checked.
pub struct Subject<'a> {
    /// The data directory; the caller sees to it that no server opens it meanwhile.
    pub data: &'a Path,
    /// What a directory of this version says in its file `FORMAT`.
    pub format: &'a str,
    /// Where the tables are.
    pub home: &'a Storage,
    /// Where their cold files are, if in a place of their own.
    pub cold: Option<&'a Storage>,
    /// What the place of the tables is called: a directory's name, or a URL.
    pub tables: &'a str,
    /// Whether all rows are read as well.
    pub content: bool,
}

/// Checks everything.
///
/// # Errors
///
/// When the check itself cannot go on; what is wrong with the data is in the report.
pub async fn verify(subject: Subject<'_>) -> Result<Report> {
    let mut findings = Findings::default();
    let mut figures = Figures { content: subject.content, ..Figures::default() };
    if !knows_format(subject.data, subject.format, &mut findings) {
        return Ok(Report::new(findings, figures));
    }
    let mut catalog = look_at_catalog(subject.data, &mut findings).await;
    let totals = catalog.as_ref().filter(|look| look.is_sound).map(|look| look.totals.clone());
    let mut tables = Vec::new();
    for table in Table::ALL {
        let look = lake::Look::at(subject.home, subject.cold, table, subject.content).await?;
        figures.tables.push(TableFigures::new(table, &look));
        tables.push(TableState { table, place: format!("{}/{}", subject.tables, table.name()), look });
    }
    let (log, frames) = look_at_log(subject.data, totals.as_ref(), &mut findings)?;
    figures.take_log(&log);
    if let Some(look) = &catalog {
        figures.receipts = look.receipts;
        figures.counted_seq = look.totals.as_ref().map_or(0, |totals| totals.seq);
    }
    let is_new = log.frames == 0 && tables.iter().all(|table| table.look.version.unwrap_or_default() == 0);
    if catalog.is_none() && is_new {
        findings.wrong.retain(|finding| finding.place != CATALOG);
        findings.note(CATALOG, "is not there yet: a first start was interrupted");
    }
    if let Some(totals) = totals {
        let totals = totals.unwrap_or_else(Totals::none);
        books::compare(&totals, &tables, &log, &frames, &mut findings);
        if let Some(look) = catalog.as_mut() {
            receipts::compare(look, totals.seq, &frames, &mut findings).await?;
        }
    }
    findings.extend(log.findings.below(WAL));
    for TableState { place, look, .. } in tables {
        findings.extend(look.findings.below(&place));
    }
    if let Some(look) = catalog {
        findings.extend(look.findings.clone().below(CATALOG));
        look.close().await;
    }
    Ok(Report::new(findings, figures))
}

/// A table as it was found.
struct TableState {
    table: Table,
    place: String,
    look: lake::Look,
}

impl TableState {
    /// Whether its numbers can be believed: it was read, or there is none.
    fn is_known(&self) -> bool {
        self.look.version.is_some() || !self.look.exists && self.look.findings.is_clean()
    }
}

/// What the comparisons need of a frame.
struct FrameNote {
    seq: u64,
    receipt: Option<Receipt>,
    accepted: u32,
    rejected: u32,
}

impl FrameNote {
    fn rows(&self, table: Table) -> u64 {
        u64::from(match table {
            Table::AgentLogs => self.accepted,
            Table::RejectedLogs => self.rejected,
        })
    }
}

/// Whether the directory is one that this version can read.
fn knows_format(data: &Path, format: &str, findings: &mut Findings) -> bool {
    match fs::read_to_string(data.join(FORMAT)) {
        Ok(found) if found == format => return true,
        Ok(found) => {
            let what = format!("says {:?}, this version knows {:?}", found.trim(), format.trim());
            findings.wrong(FORMAT, what, "start the version that wrote it");
        }
        Err(error) => {
            let advice = "name a data directory; where this is one, restore the file from a copy";
            findings.wrong(FORMAT, format!("cannot be read: {error}"), advice);
        }
    }
    false
}

async fn look_at_catalog(data: &Path, findings: &mut Findings) -> Option<catalog::Look> {
    let path = data.join(CATALOG);
    let looked = match fs::metadata(&path) {
        Ok(_) => catalog::Look::open(&path).await.map_err(|error| error.chain()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("the file is missing".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    looked
        .map_err(|what| {
            let advice = "restore the directory from a copy: without it, batches that are sent again are stored again, \
                          and all counters begin anew";
            findings.wrong(CATALOG, what, advice);
        })
        .ok()
}

/// Reads the log, and what the comparisons need of its frames.
fn look_at_log(
    data: &Path,
    totals: Option<&Option<Totals>>,
    findings: &mut Findings,
) -> Result<(Inspection, Vec<FrameNote>)> {
    let directory = data.join(WAL);
    if !directory.is_dir() {
        findings.wrong(WAL, "the directory is missing", "restore it from a copy");
        return Ok((Inspection::default(), Vec::new()));
    }
    let counted_seq = totals.map(|totals| totals.as_ref().map_or(0, |totals| totals.seq));
    let mut frames = Vec::new();
    let mut odd = Findings::default();
    let mut visit = |seq: u64, frame: &Frame| {
        let note = FrameNote { seq, receipt: frame.receipt, accepted: frame.accepted, rejected: frame.rejected };
        for table in Table::ALL {
            let sections = frame.sections.iter().filter(|section| section.table == table);
            let rows: usize = sections.map(|section| section.batch.num_rows()).sum();
            if rows as u64 != note.rows(table) {
                let what =
                    format!("batch {seq} counts {} rows of {}, but holds {rows}", note.rows(table), table.name());
                odd.wrong(WAL, what, "keep the log for a bug report");
            }
        }
        frames.push(note);
    };
    let log = wal::inspect(&directory, counted_seq, &mut visit)?;
    findings.extend(odd);
    Ok((log, frames))
}
