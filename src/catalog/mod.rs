//! The small state that mutates, in SQLite: batch receipts, and the totals that belong to a WAL seq.
//! The only room that speaks SQLx. It never decides what is a duplicate; it remembers.

mod look;

use std::{path::Path, time::Duration};

use sqlx::{
    Row, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    error::{Context, Error, Kind, Result},
    record::Receipt,
};

pub use look::Look;

/// The database's shape, as the migrations of this version make it.
static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// What was stored under a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The WAL seq of the batch.
    pub seq: u64,
    /// Records stored.
    pub accepted: u32,
    /// Lines rejected.
    pub rejected: u32,
    /// µs since the epoch, UTC.
    pub received_at_us: i64,
}

/// Everything received so far, in records and lines. Received = accepted + rejected + duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Books {
    /// Records stored.
    pub accepted: u64,
    /// Lines that were no record.
    pub rejected: u64,
    /// Records of batches that were stored before.
    pub duplicate: u64,
}

impl Books {
    /// All that came in.
    pub fn received(&self) -> u64 {
        self.accepted + self.rejected + self.duplicate
    }
}

/// Totals that are true once every WAL frame through `seq` is counted.
#[derive(Debug, Clone)]
pub struct Totals {
    /// The seq.
    pub seq: u64,
    /// The books.
    pub books: Books,
    /// Cumulative Prometheus totals as JSON.
    pub metrics: String,
}

/// The open state database.
#[derive(Debug, Clone)]
pub struct Catalog {
    pool: SqlitePool,
}

impl Catalog {
    /// Opens or creates the database and brings it to this version's shape.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when a newer version wrote it.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Full: a receipt that was reported as written survives power loss.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .context(format!("cannot open {}", path.display()))?;
        MIGRATOR.run(&pool).await.map_err(|error| {
            let kind = match error {
                sqlx::migrate::MigrateError::VersionMissing(_) => Kind::Conflict,
                _ => Kind::Internal,
            };
            Error::new(kind, format!("cannot migrate {}; a newer version may have written it", path.display()))
                .with_source(error)
        })?;
        Ok(Self { pool })
    }

    /// What was stored under the receipt, if it was received at or after `not_before_us`.
    pub async fn receipt(&self, key: &Receipt, not_before_us: i64) -> Result<Option<Stored>> {
        let row =
            sqlx::query("select seq, accepted, rejected, received_at from receipts where key = ? and received_at >= ?")
                .bind(key.as_slice())
                .bind(not_before_us)
                .fetch_optional(&self.pool)
                .await
                .context("cannot look up a batch receipt")?;
        Ok(row.map(|row| Stored {
            seq: row.get::<i64, _>(0) as u64,
            accepted: row.get::<i64, _>(1) as u32,
            rejected: row.get::<i64, _>(2) as u32,
            received_at_us: row.get(3),
        }))
    }

    /// The totals that were saved last.
    pub async fn totals(&self) -> Result<Option<Totals>> {
        let row = sqlx::query("select seq, accepted, rejected, duplicate, metrics from totals where id = 1")
            .fetch_optional(&self.pool)
            .await
            .context("cannot read the saved totals")?;
        Ok(row.map(|row| Totals {
            seq: row.get::<i64, _>(0) as u64,
            books: Books {
                accepted: row.get::<i64, _>(1) as u64,
                rejected: row.get::<i64, _>(2) as u64,
                duplicate: row.get::<i64, _>(3) as u64,
            },
            metrics: row.get(4),
        }))
    }

    /// Saves the totals and the receipts of the frames they count, and forgets receipts from before
    /// `forget_before_us`; all of it or nothing.
    pub async fn save(&self, totals: &Totals, receipts: &[(Receipt, Stored)], forget_before_us: i64) -> Result<()> {
        let context = "cannot save receipts and totals";
        let mut transaction = self.pool.begin().await.context(context)?;
        for (key, stored) in receipts {
            sqlx::query(
                "insert into receipts (key, seq, accepted, rejected, received_at) values (?, ?, ?, ?, ?)
                 on conflict (key) do update set seq = excluded.seq, accepted = excluded.accepted,
                   rejected = excluded.rejected, received_at = excluded.received_at",
            )
            .bind(key.as_slice())
            .bind(stored.seq as i64)
            .bind(i64::from(stored.accepted))
            .bind(i64::from(stored.rejected))
            .bind(stored.received_at_us)
            .execute(&mut *transaction)
            .await
            .context(context)?;
        }
        sqlx::query("delete from receipts where received_at < ?")
            .bind(forget_before_us)
            .execute(&mut *transaction)
            .await
            .context(context)?;
        let books = &totals.books;
        sqlx::query(
            "insert into totals (id, seq, received, accepted, rejected, duplicate, metrics)
             values (1, ?, ?, ?, ?, ?, ?)
             on conflict (id) do update set seq = excluded.seq, received = excluded.received,
               accepted = excluded.accepted, rejected = excluded.rejected, duplicate = excluded.duplicate,
               metrics = excluded.metrics",
        )
        .bind(totals.seq as i64)
        .bind(books.received() as i64)
        .bind(books.accepted as i64)
        .bind(books.rejected as i64)
        .bind(books.duplicate as i64)
        .bind(&totals.metrics)
        .execute(&mut *transaction)
        .await
        .context(context)?;
        transaction.commit().await.context(context)
    }

    /// Closes the database; nothing may use it after.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
