//! Looks at a database that nobody has open, and changes nothing: not its shape, and not the files
//! beside it. Says what is wrong with the database itself; what its numbers mean is for others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sqlx::{
    Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tempfile::TempDir;

use super::{Books, MIGRATOR, Stored, Totals};
use crate::{
    error::{Context, Result},
    finding::Findings,
    record::Digest,
};

const RESTORE: &str = "restore catalog.sqlite from a copy that was made together with the rest of the directory";
/// Most problems that SQLite is asked for; the first says enough.
const PROBLEMS_MAX: usize = 20;

/// A database that is only read.
pub struct Look {
    connection: SqliteConnection,
    /// What is wrong; places are the database's own.
    pub findings: Findings,
    /// The totals that were saved last, where they can be read.
    pub totals: Option<Totals>,
    /// Receipts in it.
    pub receipts: u64,
    /// Whether its numbers can be believed: it is whole, and of the shape that this version reads.
    pub is_sound: bool,
    _copy: Option<TempDir>,
}

impl Look {
    /// Opens the database and looks at all of it.
    ///
    /// # Errors
    ///
    /// When it cannot be opened at all; what else is wrong is a finding.
    pub async fn open(path: &Path) -> Result<Self> {
        let (readable, copy) = readable(path)?;
        let options = SqliteConnectOptions::new().filename(&readable).read_only(copy.is_none());
        // SQLite would make files beside a database that it only reads; of a copy it may.
        let options = options.immutable(copy.is_none());
        let connection =
            SqliteConnection::connect_with(&options).await.context(format!("cannot open {}", path.display()))?;
        let findings = Findings::default();
        let mut look = Self { connection, findings, totals: None, receipts: 0, is_sound: false, _copy: copy };
        if let Err(error) = look.check().await {
            look.is_sound = false;
            look.findings.wrong("", error.chain(), RESTORE);
        }
        Ok(look)
    }

    /// What was stored under the receipt.
    pub async fn stored(&mut self, identity: &Digest) -> Result<Option<Stored>> {
        let row = sqlx::query("select seq, accepted, rejected, received_at, body from receipts where key = ?")
            .bind(identity.as_slice())
            .fetch_optional(&mut self.connection)
            .await
            .context("cannot look up a batch receipt")?;
        Ok(row.as_ref().map(Stored::from_row))
    }

    /// Closes the database.
    pub async fn close(self) {
        let _ = self.connection.close().await;
    }

    async fn check(&mut self) -> Result<()> {
        for problem in self.rows("pragma integrity_check").await?.iter().take(PROBLEMS_MAX) {
            let problem: String = problem.get(0);
            if problem != "ok" {
                self.findings.wrong("", problem, RESTORE);
            }
        }
        for row in self.rows("pragma foreign_key_check").await?.iter().take(PROBLEMS_MAX) {
            let table: String = row.get(0);
            self.findings.wrong("", format!("a row of {table} refers to one that is not there"), RESTORE);
        }
        self.is_sound = self.findings.is_clean() && self.shape().await?;
        if self.is_sound {
            self.totals().await?;
            self.receipts().await?;
        }
        Ok(())
    }

    /// Whether it has the shape that this version reads.
    async fn shape(&mut self) -> Result<bool> {
        let statement = "select version, success, checksum from _sqlx_migrations order by version";
        let applied = self.rows(statement).await?;
        let mut is_readable = true;
        for row in &applied {
            let (version, success, checksum): (i64, bool, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
            let known = MIGRATOR.iter().find(|migration| migration.version == version);
            let problem = match known {
                None => format!("its shape {version} is newer than this version knows"),
                Some(_) if !success => format!("its change to shape {version} broke off"),
                Some(known) if *known.checksum != *checksum => format!("its shape {version} is another one than ours"),
                Some(_) => continue,
            };
            self.findings.wrong("", problem, "start the version that wrote it");
            is_readable = false;
        }
        let pending = MIGRATOR.iter().filter(|known| !applied.iter().any(|row| row.get::<i64, _>(0) == known.version));
        let pending = pending.count();
        if pending > 0 {
            self.findings.note("", format!("the next start changes its shape in {pending} steps"));
        }
        Ok(is_readable && pending == 0)
    }

    async fn totals(&mut self) -> Result<()> {
        let statement = "select seq, accepted, rejected, duplicate, metrics from totals where id = 1";
        let Some(row) = self.rows(statement).await?.pop() else { return Ok(()) };
        let numbers: Vec<i64> = (0..4).map(|column| row.get(column)).collect();
        let &[seq, accepted, rejected, duplicate] = numbers.as_slice() else { return Ok(()) };
        if numbers.iter().any(|number| *number < 0) {
            self.findings.wrong("", format!("its totals are below zero: {numbers:?}"), RESTORE);
            self.is_sound = false;
            return Ok(());
        }
        let books = Books { accepted: accepted as u64, rejected: rejected as u64, duplicate: duplicate as u64 };
        self.totals = Some(Totals { seq: seq as u64, books, metrics: row.get(4) });
        Ok(())
    }

    async fn receipts(&mut self) -> Result<()> {
        let row = sqlx::query(
            "select count(*), coalesce(max(seq), 0), coalesce(sum(seq < 1 or accepted < 0 or rejected < 0
               or accepted > 4294967295 or rejected > 4294967295 or length(key) != 16 or length(body) != 16), 0) from receipts",
        )
        .fetch_one(&mut self.connection)
        .await
        .context("cannot read the receipts")?;
        let (count, last_seq, odd): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        self.receipts = count as u64;
        if odd > 0 {
            self.findings.wrong("", format!("receipts hold what no batch has: {odd}"), RESTORE);
        }
        // Receipts are saved together with the totals that count their batches.
        let saved_seq = self.totals.as_ref().map_or(0, |totals| totals.seq);
        if last_seq > saved_seq as i64 {
            let what = format!("has a receipt of batch {last_seq}, but counts only through batch {saved_seq}");
            self.findings.wrong("", what, RESTORE);
        }
        let statement = "select seq, count(*) from receipts group by seq having count(*) > 1 order by seq limit 20";
        for row in self.rows(statement).await? {
            let (seq, receipts): (i64, i64) = (row.get(0), row.get(1));
            self.findings.wrong("", format!("has {receipts} receipts of batch {seq}, which can have one"), RESTORE);
        }
        Ok(())
    }

    async fn rows(&mut self, statement: &'static str) -> Result<Vec<SqliteRow>> {
        sqlx::query(statement).fetch_all(&mut self.connection).await.context("cannot read it")
    }
}

/// The database as it can be read without a change to it. What was written last may be in the file
/// `-wal` alone, which only a copy brings in.
fn readable(path: &Path) -> Result<(PathBuf, Option<TempDir>)> {
    let written_last = beside(path, "-wal");
    if fs::metadata(&written_last).is_ok_and(|metadata| metadata.len() == 0) || !written_last.exists() {
        return Ok((path.to_owned(), None));
    }
    let context = || format!("cannot copy {} to a temporary directory", path.display());
    let directory = TempDir::new().context(context())?;
    let copy = directory.path().join("catalog.sqlite");
    fs::copy(path, &copy).context(context())?;
    fs::copy(&written_last, beside(&copy, "-wal")).context(context())?;
    Ok((copy, Some(directory)))
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
