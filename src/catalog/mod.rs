//! The small state that mutates, in SQLite: batch receipts, the totals that belong to a WAL seq, keys, and
//! results of jobs.
//! The only room that speaks SQLx. It never decides what is a duplicate; it remembers.

mod keys;
mod look;
mod results;
mod seen;

use std::{path::Path, time::Duration};

use sqlx::{
    Row, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};

use crate::{
    error::{Context, Error, Kind, Result},
    record::Digest,
};

pub use keys::Keys;
pub use look::Look;
pub use results::{KeptResult, NewResults, ResultKind, Results};

/// The database's shape, as the migrations of this version make it.
static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Connections that are open at the same time.
const CONNECTIONS_MAX: u32 = 4;

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
    /// Of the body, where the sender gave the batch a key. `None` as well where an earlier version stored it.
    pub body: Option<Digest>,
}

impl Stored {
    /// From seq, accepted, rejected, received_at and body of a receipt.
    fn from_row(row: &SqliteRow) -> Self {
        Self {
            seq: row.get::<i64, _>(0) as u64,
            accepted: row.get::<i64, _>(1) as u32,
            rejected: row.get::<i64, _>(2) as u32,
            received_at_us: row.get(3),
            body: row.get::<Option<Vec<u8>>, _>(4).and_then(|body| body.try_into().ok()),
        }
    }
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

/// Which receipts go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forget {
    /// Those received before this, µs since the epoch, UTC.
    pub before_us: i64,
    /// Those of the batches through this seq, however new.
    pub through_seq: u64,
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
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(connection(path).create_if_missing(true))
            .await
            .context(format!("cannot open {}", path.display()))?;
        migrate(&pool, path).await?;
        Ok(Self { pool })
    }

    /// What was stored under the receipt, if it was received at or after `not_before_us`.
    pub async fn receipt(&self, identity: &Digest, not_before_us: i64) -> Result<Option<Stored>> {
        let statement =
            "select seq, accepted, rejected, received_at, body from receipts where key = ? and received_at >= ?";
        let row = sqlx::query(statement)
            .bind(identity.as_slice())
            .bind(not_before_us)
            .fetch_optional(&self.pool)
            .await
            .context("cannot look up a batch receipt")?;
        Ok(row.as_ref().map(Stored::from_row))
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

    /// Saves the totals and the receipts of the frames they count, and forgets others; all of it or nothing.
    /// Returns how many receipts were forgotten before their time, for their number.
    pub async fn save(&self, totals: &Totals, receipts: &[(Digest, Stored)], forget: Forget) -> Result<u64> {
        let context = "cannot save receipts and totals";
        let mut transaction = self.pool.begin().await.context(context)?;
        for (identity, stored) in receipts {
            sqlx::query(
                "insert into receipts (key, seq, accepted, rejected, received_at, body) values (?, ?, ?, ?, ?, ?)
                 on conflict (key) do update set seq = excluded.seq, accepted = excluded.accepted,
                   rejected = excluded.rejected, received_at = excluded.received_at, body = excluded.body",
            )
            .bind(identity.as_slice())
            .bind(stored.seq as i64)
            .bind(i64::from(stored.accepted))
            .bind(i64::from(stored.rejected))
            .bind(stored.received_at_us)
            .bind(stored.body.as_ref().map(Digest::as_slice))
            .execute(&mut *transaction)
            .await
            .context(context)?;
        }
        sqlx::query("delete from receipts where received_at < ?")
            .bind(forget.before_us)
            .execute(&mut *transaction)
            .await
            .context(context)?;
        let dropped = sqlx::query("delete from receipts where seq <= ?")
            .bind(forget.through_seq as i64)
            .execute(&mut *transaction)
            .await
            .context(context)?;
        let books = &totals.books;
        sqlx::query(
            "insert into totals (id, seq, accepted, rejected, duplicate, metrics)
             values (1, ?, ?, ?, ?, ?)
             on conflict (id) do update set seq = excluded.seq, accepted = excluded.accepted,
               rejected = excluded.rejected, duplicate = excluded.duplicate, metrics = excluded.metrics",
        )
        .bind(totals.seq as i64)
        .bind(books.accepted as i64)
        .bind(books.rejected as i64)
        .bind(books.duplicate as i64)
        .bind(&totals.metrics)
        .execute(&mut *transaction)
        .await
        .context(context)?;
        transaction.commit().await.context(context)?;
        Ok(dropped.rows_affected())
    }

    /// Writes a copy of the database as it is now to a path where nothing is. SQLite does not sync it: the
    /// caller does.
    pub async fn copy_to(&self, path: &Path) -> Result<()> {
        let text = path.to_str().ok_or_else(|| Error::invalid(format!("{} is not UTF-8", path.display())))?;
        sqlx::query("vacuum into ?")
            .bind(text)
            .execute(&self.pool)
            .await
            .context(format!("cannot copy the state database to {}", path.display()))?;
        Ok(())
    }

    /// Closes the database; nothing may use it after.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// How every connection is made.
fn connection(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // Full: a receipt that was reported as written survives power loss.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
}

/// Brings the database to this version's shape.
async fn migrate(pool: &SqlitePool, path: &Path) -> Result<()> {
    MIGRATOR.run(pool).await.map_err(|error| {
        let path = path.display();
        match error {
            sqlx::migrate::MigrateError::VersionMissing(_) => {
                Error::new(Kind::Conflict, format!("a newer version wrote {path}: start that version"))
            }
            error => Error::new(Kind::Internal, format!("cannot migrate {path}")).with_source(error),
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[tokio::test]
    async fn the_state_of_a_newer_version_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.sqlite");
        let catalog = Catalog::open(&path).await.unwrap();
        let tomorrow = "insert into _sqlx_migrations select 99999999, description, installed_on, success, checksum, \
                        execution_time from _sqlx_migrations limit 1";
        sqlx::query(tomorrow).execute(&catalog.pool).await.unwrap();
        catalog.pool.close().await;
        let refused = Catalog::open(&path).await.err().unwrap();
        assert_eq!(refused.kind(), Kind::Conflict);
        assert!(refused.to_string().contains("a newer version wrote"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_saved_is_synced_before_it_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&directory.path().join("catalog.sqlite")).await.unwrap();
        // All connections of the pool at once: each has settings of its own.
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            connections.push(catalog.pool.acquire().await.unwrap());
        }
        for connection in &mut connections {
            let journal = sqlx::query("pragma journal_mode").fetch_one(&mut **connection).await.unwrap();
            let synchronous = sqlx::query("pragma synchronous").fetch_one(&mut **connection).await.unwrap();
            // 2 is full.
            assert_eq!((journal.get::<String, _>(0).as_str(), synchronous.get::<i64, _>(0)), ("wal", 2));
        }
    }

    /// Through batch `seq` in the books, with a receipt of each batch.
    async fn save(catalog: &Catalog, seq: u64) {
        let books = Books { accepted: seq, ..Books::default() };
        let totals = Totals { seq, books, metrics: "x".repeat(3_000) };
        let stored = Stored { seq, accepted: 1, rejected: 0, received_at_us: 0, body: None };
        catalog.save(&totals, &[([seq as u8; 16], stored)], Forget::default()).await.unwrap();
    }

    /// Power loss tears the end of `catalog.sqlite-wal`, which is all that SQLite has not synced.
    #[tokio::test]
    async fn a_torn_log_of_sqlite_leaves_whole_transactions() {
        const SAVES: u64 = 12;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.sqlite");
        let catalog = Catalog::open(&path).await.unwrap();
        let (database, log) =
            (|| std::fs::read(&path).unwrap(), || std::fs::read(look::beside(&path, "-wal")).unwrap());
        // What was synced, and how long the log was when each save was reported.
        let mut synced = Vec::new();
        for seq in 1..=SAVES {
            save(&catalog, seq).await;
            synced.push(log().len());
        }
        let (database, log) = (database(), log());
        let cuts = (0..log.len()).step_by(1_777).chain(synced.iter().flat_map(|end| [*end - 1, *end]));
        for cut in cuts {
            let copy = directory.path().join(format!("copy-{cut}.sqlite"));
            std::fs::write(&copy, &database).unwrap();
            // A part of the last page may be another than was written.
            let mut torn = log[..cut].to_vec();
            if let Some(last) = torn.last_mut().filter(|_| !synced.contains(&cut)) {
                *last ^= 0xff;
            }
            std::fs::write(look::beside(&copy, "-wal"), torn).unwrap();
            let opened = Catalog::open(&copy).await.unwrap();
            let reported = synced.iter().filter(|end| **end <= cut).count() as u64;
            let seq = opened.totals().await.unwrap().map_or(0, |totals| totals.seq);
            assert_eq!(seq, reported, "cut at {cut} of {}", log.len());
            for receipt in 1..=SAVES {
                let found = opened.receipt(&[receipt as u8; 16], 0).await.unwrap();
                assert_eq!(found.is_some(), receipt <= seq, "receipt {receipt} at seq {seq}");
            }
            opened.close().await;
            let found = Look::open(&copy).await.unwrap().findings;
            assert!(found.is_clean(), "{:?}", found.wrong);
        }
        catalog.close().await;
    }

    /// The database of a version that knew the first migrations only.
    async fn older(path: &Path, migrations: usize) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        let known = Cow::Owned(MIGRATOR.migrations[..migrations].to_vec());
        let migrator = sqlx::migrate::Migrator { migrations: known, ..sqlx::migrate::Migrator::DEFAULT };
        migrator.run(&pool).await.unwrap();
        pool
    }

    #[tokio::test]
    async fn what_an_older_version_saved_is_there_after_its_migration() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.sqlite");
        let pool = older(&path, 1).await;
        let statements = "insert into receipts values (x'00112233445566778899aabbccddeeff', 7, 3, 1, 1000);
             insert into totals values (1, 9, 16, 12, 3, 1, '{\"a\":1}');";
        sqlx::raw_sql(statements).execute(&pool).await.unwrap();
        pool.close().await;

        let catalog = Catalog::open(&path).await.unwrap();
        let totals = catalog.totals().await.unwrap().unwrap();
        assert_eq!((totals.seq, totals.books.received(), totals.metrics.as_str()), (9, 16, "{\"a\":1}"));
        let key = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        let stored = Stored { seq: 7, accepted: 3, rejected: 1, received_at_us: 1000, body: None };
        assert_eq!(catalog.receipt(&key, 0).await.unwrap(), Some(stored));
        let with_body = Stored { seq: 8, body: Some([9; 16]), ..stored };
        catalog.save(&totals, &[(key, with_body)], Forget::default()).await.unwrap();
        assert_eq!(catalog.receipt(&key, 0).await.unwrap(), Some(with_body));
        catalog.close().await;
        assert!(!Keys::open(&path, false).await.unwrap().any(0).await.unwrap());
    }

    #[tokio::test]
    async fn verdicts_of_drift_are_there_after_results_got_one_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.sqlite");
        let before = MIGRATOR.migrations.iter().position(|migration| migration.version == 21).unwrap();
        let pool = older(&path, before).await;
        let statement = "insert into drift_results values (4, 1000, '{\"a\":1}'), (5, 1000, '{\"a\":2}')";
        sqlx::raw_sql(statement).execute(&pool).await.unwrap();
        pool.close().await;

        let results = Results::open(&path).await.unwrap();
        let kept = |id, result: &str| KeptResult { id, run_at_us: 1000, result: result.to_owned() };
        assert_eq!(results.all(ResultKind::Drift).await.unwrap(), [kept(4, "{\"a\":1}"), kept(5, "{\"a\":2}")]);
        assert_eq!(results.all(ResultKind::Anomalies).await.unwrap(), []);
    }
}
