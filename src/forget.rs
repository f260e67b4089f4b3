//! Somebody's records go: those that wait, those in the tables, and what jobs found of a tenant. Never decides which
//! records are whose.
//!
//! What it does not do: calls that show an anomaly are kept by their ids, and an id stays until its row goes.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{
    anomaly::AnomalyRow,
    catalog::{KeptResult, ResultKind, Results},
    drift::ResultRow,
    error::Result,
    ingest::Ingestor,
    maintain::{Forgotten, Maintainer, Subject},
    query::Engine,
};

/// All places that remember somebody.
pub struct Forgetter {
    /// What waits.
    pub ingestor: Arc<Ingestor>,
    /// The tables.
    pub maintainer: Arc<Maintainer>,
    /// What jobs found, as statements see it.
    pub engine: Arc<Engine>,
    /// What jobs found.
    pub results: Results,
}

impl Forgetter {
    /// Deletes the subject's records and the results that name it, or with `dry_run` only counts them.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Invalid`] for an empty name. After any other error a part may be done: ask again.
    pub async fn forget(&self, subject: &Subject, dry_run: bool) -> Result<Forgotten> {
        // A job that runs may have read the records that go; what it finds is kept first, and goes with them.
        let _alone = self.results.alone().await;
        self.ingestor.drain().await?;
        let mut forgotten = self.maintainer.forget(subject, dry_run).await?;
        if let Subject::TenantId(tenant) = subject {
            let verdict = |row: &ResultRow| row.names_tenant(tenant);
            forgotten.results += self.forget_results(ResultKind::Drift, dry_run, verdict).await?;
            let anomaly = |row: &AnomalyRow| row.names_tenant(tenant);
            forgotten.results += self.forget_results(ResultKind::Anomalies, dry_run, anomaly).await?;
        }
        Ok(forgotten)
    }

    /// Results of another version, which nobody can read, go as well: they may name anybody.
    async fn forget_results<R: DeserializeOwned>(
        &self,
        kind: ResultKind,
        dry_run: bool,
        names: impl Fn(&R) -> bool,
    ) -> Result<u64> {
        let goes = |kept: &KeptResult| serde_json::from_str(&kept.result).map_or(true, |row| names(&row));
        let (going, staying): (Vec<_>, Vec<_>) = self.results.all(kind).await?.into_iter().partition(goes);
        if !dry_run && !going.is_empty() {
            let ids: Vec<i64> = going.iter().map(|kept| kept.id).collect();
            self.results.remove(&ids).await?;
            self.engine.show_results(kind, &staying).await?;
        }
        Ok(going.len() as u64)
    }
}
