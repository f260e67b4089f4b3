//! Results of jobs in the state database. It has a connection of its own: a run of thousands of results must not wait
//! in front of batches. It never reads what a result says.

use std::path::Path;

use sqlx::{Row, SqlitePool, sqlite::SqlitePoolOptions};

use super::{connection, migrate};
use crate::error::{Context, Result};

/// A result as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResult {
    /// When its run ended, µs since the epoch, UTC.
    pub run_at_us: i64,
    /// JSON.
    pub result: String,
}

/// The results of a data directory.
#[derive(Debug, Clone)]
pub struct Results {
    pool: SqlitePool,
}

impl Results {
    /// Opens the database and brings it to this version's shape.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Conflict`] when a newer version wrote it.
    pub async fn open(path: &Path) -> Result<Self> {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(connection(path).create_if_missing(true))
            .await
            .context(format!("cannot open {}", path.display()))?;
        migrate(&pool, path).await?;
        Ok(Self { pool })
    }

    /// Keeps what a run of the drift job found, and of all runs the newest `kept_max` results; all of it or nothing.
    pub async fn save_drift(&self, run_at_us: i64, results: &[String], kept_max: u32) -> Result<()> {
        let context = "cannot keep the results of drift";
        let mut transaction = self.pool.begin().await.context(context)?;
        for result in results {
            sqlx::query("insert into drift_results (run_at, result) values (?, ?)")
                .bind(run_at_us)
                .bind(result)
                .execute(&mut *transaction)
                .await
                .context(context)?;
        }
        sqlx::query("delete from drift_results where id <= (select max(id) from drift_results) - ?")
            .bind(i64::from(kept_max))
            .execute(&mut *transaction)
            .await
            .context(context)?;
        transaction.commit().await.context(context)
    }

    /// All results of the drift job, the oldest first.
    pub async fn drift(&self) -> Result<Vec<KeptResult>> {
        let rows = sqlx::query("select run_at, result from drift_results order by id").fetch_all(&self.pool).await;
        let rows = rows.context("cannot read the results of drift")?;
        Ok(rows.iter().map(|row| KeptResult { run_at_us: row.get(0), result: row.get(1) }).collect())
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_results_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.sqlite");
        let results = Results::open(&path).await.unwrap();
        assert_eq!(results.drift().await.unwrap(), []);
        let texts = |from: usize| (from..from + 3).map(|number| format!("{{\"a\":{number}}}")).collect::<Vec<_>>();
        for run in 0..4 {
            results.save_drift(run, &texts(3 * run as usize), 5).await.unwrap();
        }
        results.close().await;
        let results = Results::open(&path).await.unwrap();
        let kept = results.drift().await.unwrap();
        let said: Vec<(i64, &str)> = kept.iter().map(|kept| (kept.run_at_us, kept.result.as_str())).collect();
        assert_eq!(said, [(2, "{\"a\":7}"), (2, "{\"a\":8}"), (3, "{\"a\":9}"), (3, "{\"a\":10}"), (3, "{\"a\":11}")]);
    }
}
