//! Results of jobs in the state database. It has a connection of its own: a run of thousands of results must not wait
//! in front of batches. It never reads what a result says.

use std::{path::Path, sync::Arc};

use sqlx::{Row, Sqlite, SqlitePool, Transaction, sqlite::SqlitePoolOptions};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{connection, migrate};
use crate::error::{Context, Result};

/// What is kept of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// Verdicts of drift.
    Drift,
    /// Hours of KPIs that do not fit.
    Anomalies,
    /// What the runs that look for those have judged.
    AnomalyRuns,
}

impl ResultKind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Drift, Self::Anomalies, Self::AnomalyRuns];

    fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Anomalies => "anomalies",
            Self::AnomalyRuns => "anomaly_runs",
        }
    }
}

/// A result as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResult {
    /// By this it is removed.
    pub id: i64,
    /// When its run ended, µs since the epoch, UTC.
    pub run_at_us: i64,
    /// JSON.
    pub result: String,
}

/// What a run found.
#[derive(Debug, Clone, Copy)]
pub struct NewResults<'a> {
    /// When the run ended, µs since the epoch, UTC.
    pub run_at_us: i64,
    /// JSON, each.
    pub results: &'a [String],
    /// Ids of those in whose place they come.
    pub replaced: &'a [i64],
    /// Results of all runs that are kept, the newest.
    pub kept_max: u32,
}

/// The results of a data directory.
#[derive(Debug, Clone)]
pub struct Results {
    pool: SqlitePool,
    alone: Arc<Mutex<()>>,
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
        Ok(Self { pool, alone: Arc::default() })
    }

    /// A run holds this from when it reads calls until what it found of them is kept; so does who deletes calls. Else
    /// a run might keep what it found of calls that were deleted meanwhile.
    pub async fn alone(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.alone).lock_owned().await
    }

    /// Keeps what a run found, and of all runs the newest; all of it or nothing.
    pub async fn save(&self, kind: ResultKind, new: NewResults<'_>) -> Result<()> {
        let context = "cannot keep the results of a job";
        let mut transaction = self.pool.begin().await.context(context)?;
        delete(&mut transaction, new.replaced).await?;
        for result in new.results {
            sqlx::query("insert into results (kind, run_at, result) values (?, ?, ?)")
                .bind(kind.name())
                .bind(new.run_at_us)
                .bind(result)
                .execute(&mut *transaction)
                .await
                .context(context)?;
        }
        let statement = "delete from results where kind = ?1
             and id <= (select id from results where kind = ?1 order by id desc limit 1 offset ?2)";
        sqlx::query(statement)
            .bind(kind.name())
            .bind(i64::from(new.kept_max))
            .execute(&mut *transaction)
            .await
            .context(context)?;
        transaction.commit().await.context(context)
    }

    /// Removes results; all of them or none.
    pub async fn remove(&self, ids: &[i64]) -> Result<()> {
        let context = "cannot remove results of jobs";
        let mut transaction = self.pool.begin().await.context(context)?;
        delete(&mut transaction, ids).await?;
        transaction.commit().await.context(context)
    }

    /// All results of a kind, the oldest first.
    pub async fn all(&self, kind: ResultKind) -> Result<Vec<KeptResult>> {
        let rows = sqlx::query("select id, run_at, result from results where kind = ? order by id")
            .bind(kind.name())
            .fetch_all(&self.pool)
            .await
            .context("cannot read the results of a job")?;
        let kept =
            |row: &sqlx::sqlite::SqliteRow| KeptResult { id: row.get(0), run_at_us: row.get(1), result: row.get(2) };
        Ok(rows.iter().map(kept).collect())
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn delete(transaction: &mut Transaction<'_, Sqlite>, ids: &[i64]) -> Result<()> {
    for id in ids {
        sqlx::query("delete from results where id = ?")
            .bind(id)
            .execute(&mut **transaction)
            .await
            .context("cannot remove a result of a job")?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn said(results: &Results, kind: ResultKind) -> Vec<(i64, String)> {
        results.all(kind).await.unwrap().into_iter().map(|kept| (kept.run_at_us, kept.result)).collect()
    }

    fn expected(kept: &[(i64, &str)]) -> Vec<(i64, String)> {
        kept.iter().map(|(run_at_us, result)| (*run_at_us, (*result).to_owned())).collect()
    }

    #[tokio::test]
    async fn the_newest_results_of_each_kind_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.sqlite");
        let results = Results::open(&path).await.unwrap();
        let (drift, anomalies) = (ResultKind::Drift, ResultKind::Anomalies);
        assert_eq!(results.all(drift).await.unwrap(), []);
        for run_at_us in 0..4 {
            let texts: Vec<String> = (0..3).map(|number| format!("{{\"a\":{}}}", 3 * run_at_us + number)).collect();
            let new = NewResults { run_at_us, results: &texts, replaced: &[], kept_max: 5 };
            results.save(drift, new).await.unwrap();
            results.save(anomalies, NewResults { results: &texts[..1], ..new }).await.unwrap();
        }
        results.close().await;
        let results = Results::open(&path).await.unwrap();
        let newest = [(2, r#"{"a":7}"#), (2, r#"{"a":8}"#), (3, r#"{"a":9}"#), (3, r#"{"a":10}"#), (3, r#"{"a":11}"#)];
        assert_eq!(said(&results, drift).await, expected(&newest));
        assert_eq!(said(&results, anomalies).await.len(), 4);

        let ids: Vec<i64> = results.all(anomalies).await.unwrap().iter().map(|kept| kept.id).collect();
        let texts = ["new".to_owned()];
        let new = NewResults { run_at_us: 9, results: &texts, replaced: &ids[1..3], kept_max: 5 };
        results.save(anomalies, new).await.unwrap();
        let left = [(0, r#"{"a":0}"#), (3, r#"{"a":9}"#), (9, "new")];
        assert_eq!(said(&results, anomalies).await, expected(&left));
        results.remove(&ids[..1]).await.unwrap();
        assert_eq!(said(&results, anomalies).await, expected(&left[1..]));
        assert_eq!(said(&results, drift).await.len(), 5);
    }
}
