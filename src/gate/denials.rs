//! Who was turned away: counted always, logged as often as a log can bear. Never sees a secret.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::access::Allowance;

/// Lines in a second that a flood of such requests may write.
const LINES_PER_SECOND: u32 = 5;

/// Why somebody was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No key.
    Missing,
    /// A key that is none of ours.
    Unknown,
    /// A key that was ended.
    Revoked,
    /// A key whose time is up.
    Expired,
    /// A key without the scope.
    Scope,
    /// Too many requests.
    Rate,
    /// Too many statements.
    Statements,
    /// A name that is none of the server's, while there are no keys.
    Host,
    /// A key would have come unencrypted.
    Unencrypted,
    /// No seat among the clients of Postgres.
    Seats,
    /// A statement that the key's tenants may not ask.
    Forbidden,
    /// Records of a tenant that is none of the key's.
    Tenant,
}

impl Reason {
    const ALL: [Reason; 12] = [
        Reason::Missing,
        Reason::Unknown,
        Reason::Revoked,
        Reason::Expired,
        Reason::Scope,
        Reason::Rate,
        Reason::Statements,
        Reason::Host,
        Reason::Unencrypted,
        Reason::Seats,
        Reason::Forbidden,
        Reason::Tenant,
    ];

    /// As metrics and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Missing => "missing",
            Reason::Unknown => "unknown",
            Reason::Revoked => "revoked",
            Reason::Expired => "expired",
            Reason::Scope => "scope",
            Reason::Rate => "rate",
            Reason::Statements => "statements",
            Reason::Host => "host",
            Reason::Unencrypted => "unencrypted",
            Reason::Seats => "seats",
            Reason::Forbidden => "forbidden",
            Reason::Tenant => "tenant",
        }
    }
}

/// The counts, and the log.
#[derive(Debug, Default)]
pub struct Denials {
    counts: [AtomicU64; Reason::ALL.len()],
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    lines: Allowance,
    left_out: u64,
}

impl Denials {
    /// Counts one, and logs it if there is room. The id is the public part of a key.
    pub fn note(&self, reason: Reason, what: &str, key_id: Option<&str>, now_us: i64) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        let Some(left_out) = self.line(now_us) else { return };
        let key = key_id.unwrap_or("none");
        tracing::warn!(reason = reason.name(), what, key, left_out, "access was denied");
    }

    /// Each reason and how many it turned away.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::ALL.iter().zip(&self.counts).map(|(reason, count)| (reason.name(), count.load(Ordering::Relaxed)))
    }

    /// Room for a line, with how many were left out before it.
    fn line(&self, now_us: i64) -> Option<u64> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.lines.take(LINES_PER_SECOND, now_us) {
            return Some(std::mem::take(&mut log.left_out));
        }
        log.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let denials = Denials::default();
        let lines = |now_us| (0..100).filter_map(|_| denials.line(now_us)).collect::<Vec<_>>();
        assert_eq!(lines(0), [0; 5]);
        assert_eq!(lines(1_000_000), [95, 0, 0, 0, 0]);
        for _ in 0..3 {
            denials.note(Reason::Scope, "/", None, 0);
        }
        let counts: Vec<_> = denials.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [("scope", 3)]);
    }
}
