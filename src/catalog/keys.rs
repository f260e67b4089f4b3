//! Keys in the state database. It has connections of its own: requests without a right to anything must not wait
//! in front of batches. It never decides who may do what.

use std::{path::Path, sync::Arc};

use sqlx::{
    Row, SqlitePool,
    sqlite::{SqlitePoolOptions, SqliteRow},
};

use super::{
    connection, migrate,
    seen::{Found, Seen, Table},
};
use crate::{
    access::{KeyRecord, NewKey, Scope, SecretHash, Token},
    error::{Context, Error, Kind, Result},
};

/// Connections that are open at the same time.
const CONNECTIONS_MAX: u32 = 2;

/// The keys of a data directory. It may be open in several processes at the same time.
#[derive(Debug, Clone)]
pub struct Keys {
    pool: SqlitePool,
    seen: Arc<Seen>,
    /// Held while all keys are read.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Keys {
    /// Opens a database that a server of this version has open, or had; with `migrates`, one of before as well.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when an older version has it open, or a newer one wrote it.
    pub async fn open(path: &Path, migrates: bool) -> Result<Self> {
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            // A file needs no ping before it is asked.
            .test_before_acquire(false)
            .connect_with(connection(path).create_if_missing(migrates))
            .await
            .context(format!("cannot open {}", path.display()))?;
        if migrates {
            migrate(&pool, path).await?;
        }
        let keys = Self { pool, seen: Arc::new(Seen::new(path)), reading: Arc::default() };
        keys.ask_any().await.kind_context(Kind::Conflict, || {
            format!("{} knows no keys: start a server of this version on it first", path.display())
        })?;
        Ok(keys)
    }

    /// Whether there is a key, or ever was. The time is of a clock that only goes ahead, µs.
    pub async fn any(&self, now_us: i64) -> Result<bool> {
        match self.unchanged(now_us).await {
            Some(table) => Ok(!table.is_empty()),
            None => self.ask_any().await,
        }
    }

    async fn ask_any(&self) -> Result<bool> {
        let row = sqlx::query("select exists (select 1 from keys)").fetch_one(&self.pool).await;
        Ok(row.map_err(|error| not_looked("cannot look for keys", error))?.get::<bool, _>(0))
    }

    /// The key of this id. The time is of a clock that only goes ahead, µs.
    pub async fn find(&self, id: &str, now_us: i64) -> Result<Option<KeyRecord>> {
        match self.unchanged(now_us).await {
            Some(table) => Ok(table.get(id).cloned()),
            None => self.ask(id).await,
        }
    }

    /// All keys, if nobody wrote since they were read. One request reads them; the others need not wait for it.
    async fn unchanged(&self, now_us: i64) -> Option<Arc<Table>> {
        let mark = match self.seen.look(now_us) {
            Found::Unchanged(table) => return Some(table),
            Found::Settled(mark) => mark,
            Found::Moving => return None,
        };
        let _reading = self.reading.try_lock().ok()?;
        // One damaged key is for those who send it.
        let all = self.list().await.ok()?;
        self.seen.keep(mark, all.into_iter().map(|record| (record.id.clone(), record)).collect());
        None
    }

    async fn ask(&self, id: &str) -> Result<Option<KeyRecord>> {
        let statement = "select id, hash, name, scopes, tenants, created_at, expires_at, used_at, revoked_at from keys
             where id = ?";
        let row = sqlx::query(statement).bind(id).fetch_optional(&self.pool).await;
        let row = row.map_err(|error| not_looked("cannot look up a key", error))?;
        row.as_ref().map(record).transpose()
    }

    /// All keys, the oldest first.
    pub async fn list(&self) -> Result<Vec<KeyRecord>> {
        let statement = "select id, hash, name, scopes, tenants, created_at, expires_at, used_at, revoked_at from keys
             order by created_at, id";
        let rows = sqlx::query(statement).fetch_all(&self.pool).await.context("cannot list the keys")?;
        rows.iter().map(record).collect()
    }

    /// Keeps a new key.
    pub async fn add(&self, token: &Token, key: &NewKey, now_us: i64) -> Result<()> {
        let tenants: Vec<&str> = key.scope.tenants().into_iter().flat_map(|tenants| tenants.names()).collect();
        let tenants = serde_json::to_string(&tenants).context("cannot write a key's tenants")?;
        let statement = "insert into keys (id, hash, name, scopes, tenants, created_at, expires_at)
             values (?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(statement)
            .bind(token.id())
            .bind(token.hash().bytes())
            .bind(&key.name)
            .bind(key.permissions.to_string())
            .bind(tenants)
            .bind(now_us)
            .bind(key.expires_at_us)
            .execute(&self.pool)
            .await
            .context("cannot keep the key")?;
        Ok(())
    }

    /// Ends a key for good; one that is revoked stays revoked since then.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] when there is none of this id.
    pub async fn revoke(&self, id: &str, now_us: i64) -> Result<()> {
        let done = sqlx::query("update keys set revoked_at = coalesce(revoked_at, ?) where id = ?")
            .bind(now_us)
            .bind(id)
            .execute(&self.pool)
            .await
            .context("cannot revoke the key")?;
        match done.rows_affected() {
            0 => Err(Error::new(Kind::NotFound, format!("there is no key {id}"))),
            _ => Ok(()),
        }
    }

    /// Notes that a key was used.
    pub async fn note_use(&self, id: &str, now_us: i64) -> Result<()> {
        sqlx::query("update keys set used_at = ? where id = ?")
            .bind(now_us)
            .bind(id)
            .execute(&self.pool)
            .await
            .context("cannot note a key's use")?;
        Ok(())
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Where too many ask at once, they may come back.
fn not_looked(what: &str, error: sqlx::Error) -> Error {
    let kind = if matches!(error, sqlx::Error::PoolTimedOut) { Kind::Busy } else { Kind::Internal };
    Error::new(kind, what).with_source(error)
}

fn record(row: &SqliteRow) -> Result<KeyRecord> {
    let id: String = row.get(0);
    let damaged = || Error::new(Kind::Corrupt, format!("the key {id} is damaged in catalog.sqlite: revoke it"));
    let hash = SecretHash::from_bytes(&row.get::<Vec<u8>, _>(1)).ok_or_else(damaged)?;
    let permissions = row.get::<String, _>(3).parse().map_err(|_| damaged())?;
    let tenants: Vec<String> = serde_json::from_str(&row.get::<String, _>(4)).map_err(|_| damaged())?;
    let key = NewKey { name: row.get(2), permissions, scope: Scope::of(tenants), expires_at_us: row.get(6) };
    let (created_at_us, used_at_us, revoked_at_us) = (row.get(5), row.get(7), row.get(8));
    Ok(KeyRecord { id, key, hash, created_at_us, used_at_us, revoked_at_us })
}
