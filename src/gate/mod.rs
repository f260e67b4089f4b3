//! Who is let in: a key in, a caller with a scope out, or the reason why not. Counts and logs whom it turns away,
//! and holds each key to its limits. It knows no protocol: HTTP and all other ways in ask it the same.
//!
//! Each request looks its key up in the state database, which remembers the keys for as long as nobody writes to it.
//! So a key that is made or revoked, by whatever process, counts from the next request on, and keys that are none
//! cost little.

mod denials;
mod names;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    access::{Allowance, ENTROPY_BYTES, KeyRecord, NewKey, Permission, Scope, Token},
    catalog::Keys,
    clock::Clock,
    error::{Context, Error, Kind, Result},
};

use denials::Denials;
pub use denials::Reason;
use names::Foreign;
pub use names::Names;

/// A use is noted if the last one is older than this: a write for each request would cost more than it tells.
const USE_NOTED_EVERY_US: i64 = 10 * 60 * 1_000_000;

/// What one key may take.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Requests in a second; 0 is any number.
    pub requests_per_second: u32,
    /// Statements at the same time; 0 is any number.
    pub statements_max: usize,
    /// Seats among the clients of Postgres at the same time; 0 is any number.
    pub seats_max: usize,
}

/// The gate.
pub struct Gate {
    keys: Keys,
    clock: Clock,
    settings: Settings,
    /// Once there was a key, there always was one.
    has_keys: AtomicBool,
    /// Bounded by the keys there are: only those that were let in have limits.
    limits: Mutex<HashMap<String, Arc<Limits>>>,
    denials: Denials,
}

/// Somebody who was let in.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    scope: Scope,
    limits: Option<Arc<Limits>>,
}

impl Caller {
    /// Whose rows the caller sees and writes.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The id of the caller's key, where there are keys.
    pub fn key_id(&self) -> Option<&str> {
        self.limits.as_ref().map(|limits| limits.key_id.as_str())
    }
}

/// What one key has taken.
#[derive(Debug)]
struct Limits {
    key_id: String,
    requests: Mutex<Allowance>,
    statements: Arc<Semaphore>,
    seats: Arc<Semaphore>,
}

impl Gate {
    /// A gate over the keys of a directory.
    pub fn new(keys: Keys, clock: Clock, settings: Settings) -> Self {
        let has_keys = AtomicBool::new(false);
        Self { keys, clock, settings, has_keys, limits: Mutex::default(), denials: Denials::default() }
    }

    /// Whether callers need a key: as soon as there is one, and for ever after. A revoked key is still one:
    /// revoking the last must not open the door.
    pub async fn needs_keys(&self) -> Result<bool> {
        if !self.has_keys.load(Ordering::Relaxed) && self.keys.any(self.clock.monotonic_us()).await? {
            self.has_keys.store(true, Ordering::Relaxed);
        }
        Ok(self.has_keys.load(Ordering::Relaxed))
    }

    /// As long as there are no keys, lets only those by who ask for this machine by a name that no web site can have:
    /// `own` are names that were set. A key is nothing that a page could send along.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`] that says which name and what to do.
    pub async fn check_names(&self, names: Names<'_>, own: &[String], what: &str) -> Result<()> {
        let Some(foreign) = names.foreign(own) else { return Ok(()) };
        if self.needs_keys().await? {
            return Ok(());
        }
        let message = match foreign {
            Foreign::Host(host) => format!(
                "{host} is no name of this server, and a web page can make one up: as long as there are no keys, ask \
                 for localhost or an address, make a key (driftline key create), or name the host in server.hosts"
            ),
            Foreign::Origin(origin) => format!(
                "the request comes from a page of {origin}: as long as there are no keys, only pages of this machine \
                 may ask; make a key (driftline key create), or name the page's host in server.hosts"
            ),
        };
        Err(self.deny(Reason::Host, what, None, &message))
    }

    /// Lets the holder of a key in, or anybody where there are no keys; `what` is asked for, for the log.
    ///
    /// # Errors
    ///
    /// [`Kind::Unauthenticated`], [`Kind::Forbidden`] or [`Kind::TooMany`].
    pub async fn admit(&self, key: Option<&str>, permission: Permission, what: &str) -> Result<Caller> {
        if !self.needs_keys().await? {
            return Ok(Caller::default());
        }
        let Some(key) = key else {
            let message = "a key is needed: send it as `Authorization: Bearer KEY`, as `X-API-Key`, or as the \
                           password of Basic authentication";
            return Err(self.deny(Reason::Missing, what, None, message));
        };
        let record = self.record(key, what).await?;
        let now_us = self.clock.now_us();
        let id = Some(record.id.as_str());
        match record.ended(now_us) {
            Some("revoked") => return Err(self.deny(Reason::Revoked, what, id, "the key was revoked")),
            Some(_) => return Err(self.deny(Reason::Expired, what, id, "the key has expired")),
            None => {}
        }
        let limits = self.limits_of(&record.id);
        let per_second = self.settings.requests_per_second;
        if per_second > 0 && !limits.take(per_second, self.clock.monotonic_us()) {
            let message = format!("the key may be used {per_second} times in a second: slow down");
            return Err(self.deny(Reason::Rate, what, id, &message));
        }
        if !record.key.permissions.has(permission) {
            let message = format!("the key lacks the scope {}; it has {}", permission.name(), record.key.permissions);
            return Err(self.deny(Reason::Scope, what, id, &message));
        }
        if record.used_at_us.is_none_or(|used_us| now_us - used_us >= USE_NOTED_EVERY_US)
            && let Err(error) = self.keys.note_use(&record.id, now_us).await
        {
            // That a key was used is worth a note, and not a refused request.
            tracing::warn!(error = error.chain(), key = record.id, "the use of a key was not noted");
        }
        Ok(Caller { scope: record.key.scope, limits: Some(limits) })
    }

    /// A turn for one of the caller's statements, to be kept until it ends.
    ///
    /// # Errors
    ///
    /// [`Kind::TooMany`] while as many of the key run as may.
    pub fn statement(&self, caller: &Caller, what: &str) -> Result<Option<OwnedSemaphorePermit>> {
        self.take(caller, Reason::Statements, what)
    }

    /// A seat for one of the caller's connections, to be kept until it ends.
    ///
    /// # Errors
    ///
    /// [`Kind::TooMany`] while as many of the key are open as may.
    pub fn seat(&self, caller: &Caller, what: &str) -> Result<Option<OwnedSemaphorePermit>> {
        self.take(caller, Reason::Seats, what)
    }

    /// One of what a key may hold of something, or the refusal for this reason.
    fn take(&self, caller: &Caller, reason: Reason, what: &str) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(limits) = caller.limits.as_ref() else { return Ok(None) };
        let (free, most, held) = match reason {
            Reason::Seats => (&limits.seats, self.settings.seats_max, "connections of the key are open"),
            _ => (&limits.statements, self.settings.statements_max, "statements of the key are running"),
        };
        if most == 0 {
            return Ok(None);
        }
        let taken = Arc::clone(free).try_acquire_owned();
        taken
            .map(Some)
            .map_err(|_| self.deny(reason, what, Some(&limits.key_id), &format!("{most} {held}: that is the most")))
    }

    /// Notes a refusal that was decided elsewhere; `key` is what came as one.
    pub fn note(&self, reason: Reason, what: &str, key: Option<&str>) {
        let token = key.and_then(Token::parse);
        self.denials.note(reason, what, token.as_ref().map(Token::id), self.clock.monotonic_us());
    }

    /// How many were turned away since the start, and why.
    pub fn denied(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.denials.counts()
    }

    /// Makes a key.
    pub async fn create(&self, key: &NewKey) -> Result<Token> {
        create(&self.keys, key, self.clock.now_us()).await
    }

    /// All keys.
    pub async fn list(&self) -> Result<Vec<KeyRecord>> {
        self.keys.list().await
    }

    /// Ends a key.
    pub async fn revoke(&self, id: &str) -> Result<()> {
        self.keys.revoke(id, self.clock.now_us()).await
    }

    /// Now, µs since the epoch, UTC.
    pub fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Closes the database of keys.
    pub async fn close(&self) {
        self.keys.close().await;
    }

    /// What is kept of the key, where it is one.
    async fn record(&self, key: &str, what: &str) -> Result<KeyRecord> {
        // One message for all that is wrong with it: nobody learns whether an id is one.
        let unknown = |id| self.deny(Reason::Unknown, what, id, "the key is not one of this server's");
        let Some(token) = Token::parse(key) else { return Err(unknown(None)) };
        match self.keys.find(token.id(), self.clock.monotonic_us()).await? {
            Some(record) if record.hash == token.hash() => Ok(record),
            _ => Err(unknown(Some(token.id()))),
        }
    }

    fn limits_of(&self, id: &str) -> Arc<Limits> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = limits.get(id) {
            return Arc::clone(found);
        }
        let made = Arc::new(Limits {
            key_id: id.to_owned(),
            requests: Mutex::default(),
            statements: Arc::new(Semaphore::new(self.settings.statements_max)),
            seats: Arc::new(Semaphore::new(self.settings.seats_max)),
        });
        limits.insert(id.to_owned(), Arc::clone(&made));
        made
    }

    fn deny(&self, reason: Reason, what: &str, id: Option<&str>, message: &str) -> Error {
        self.denials.note(reason, what, id, self.clock.monotonic_us());
        let kind = match reason {
            Reason::Missing | Reason::Unknown | Reason::Revoked | Reason::Expired | Reason::Unencrypted => {
                Kind::Unauthenticated
            }
            Reason::Scope | Reason::Host | Reason::Forbidden | Reason::Tenant => Kind::Forbidden,
            Reason::Rate | Reason::Statements | Reason::Seats => Kind::TooMany,
        };
        Error::new(kind, message)
    }
}

impl Limits {
    fn take(&self, per_second: u32, now_us: i64) -> bool {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take(per_second, now_us)
    }
}

/// Makes a key of the system's random bytes. What is returned is shown once and kept nowhere.
pub async fn create(keys: &Keys, key: &NewKey, now_us: i64) -> Result<Token> {
    let mut entropy = [0; ENTROPY_BYTES];
    getrandom::fill(&mut entropy)
        .map_err(|error| Error::new(Kind::Internal, format!("the system gives no random bytes: {error}")))?;
    let token = Token::of(entropy);
    keys.add(&token, key, now_us).await.context(format!("cannot make the key {}", key.name))?;
    Ok(token)
}
