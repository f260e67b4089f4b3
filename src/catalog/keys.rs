//! Keys in the state database. It has connections of its own: requests without a right to anything must not wait
//! in front of batches. It never decides who may do what.

use std::path::Path;

use sqlx::{
    Row, SqlitePool,
    sqlite::{SqlitePoolOptions, SqliteRow},
};

use super::{connection, migrate};
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
            .connect_with(connection(path).create_if_missing(migrates))
            .await
            .context(format!("cannot open {}", path.display()))?;
        if migrates {
            migrate(&pool, path).await?;
        }
        let keys = Self { pool };
        keys.any().await.kind_context(Kind::Conflict, || {
            format!("{} knows no keys: start a server of this version on it first", path.display())
        })?;
        Ok(keys)
    }

    /// Whether there is a key, or ever was.
    pub async fn any(&self) -> Result<bool> {
        let row = sqlx::query("select exists (select 1 from keys)").fetch_one(&self.pool).await;
        Ok(row.context("cannot look for keys")?.get::<bool, _>(0))
    }

    /// The key of this id.
    pub async fn find(&self, id: &str) -> Result<Option<KeyRecord>> {
        let statement = "select id, hash, name, scopes, tenants, created_at, expires_at, used_at, revoked_at from keys
             where id = ?";
        let row = sqlx::query(statement).bind(id).fetch_optional(&self.pool).await.context("cannot look up a key")?;
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
