//! Bytes → records and rejects. Pure: no I/O, no clock, no async; the time of receipt is passed in.
//!
//! The rules of this room:
//! - a bad line never fails the good ones: it becomes a [`Reject`] with its line and reason;
//! - a field that has no column lands in `attributes`, byte for byte as it was sent;
//! - a value of the wrong type is cast where nothing is lost; where it can't be, the column is null
//!   and the original stays in `attributes`.
//!
//! It never prices, redacts or stores anything.

mod batch;
mod cast;
mod compress;
mod fields;
mod lines;
mod nesting;
mod row;
mod time;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use crate::{access::Scope, error::Result};

pub use compress::{Encoding, decompress};
pub use lines::{Shape, count};
pub use time::parse_timestamp;

/// What decoding needs to know besides the bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// When the bytes reached us, µs since the epoch, UTC. Records without a time of their own get it.
    pub received_at_us: i64,
    /// A record whose text is longer is rejected. Statements hold thousands of rows at a time, so it bounds their memory.
    pub record_bytes_max: usize,
    /// A record whose time lies further ahead of `received_at_us` than this is rejected.
    pub future_max_us: i64,
    /// A record whose time lies before this is rejected.
    pub oldest: Oldest,
    /// How the records stand in the body.
    pub shape: Shape,
    /// Whose records the sender may send. Others are rejected; of a sender with one tenant, records that name none
    /// are that tenant's.
    pub scope: Scope,
}

/// The least times that records may have, µs since the epoch, UTC; none where any may be kept.
#[derive(Debug, Clone, Default)]
pub struct Oldest {
    /// For tenants that are not named here, and for records without one.
    pub others_us: Option<i64>,
    /// For tenants of their own retention.
    pub tenants_us: BTreeMap<String, Option<i64>>,
}

impl Oldest {
    /// The least time for a tenant.
    fn of(&self, tenant: Option<&str>) -> Option<i64> {
        tenant.and_then(|tenant| self.tenants_us.get(tenant)).copied().unwrap_or(self.others_us)
    }

    /// Whether no record is too old.
    fn is_none(&self) -> bool {
        self.others_us.is_none() && self.tenants_us.is_empty()
    }
}

/// A body, taken apart.
#[derive(Debug)]
pub struct Decoded {
    /// The records, in the shape of `agent_logs` without `ingest_seq`.
    pub records: RecordBatch,
    /// What was no record.
    pub rejects: Vec<Reject>,
    /// Whether every record carried its own time and an id. Only then may the content of a batch
    /// stand for its identity: heartbeats that look alike are different events.
    pub identified: bool,
}

/// A line that is no record, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The 1-based line of an NDJSON body, or the 1-based element of a JSON array.
    pub line: u64,
    /// What is wrong with it, for the sender.
    pub reason: String,
    /// The line itself; bytes that are not UTF-8 are replaced, and it is cut at [`REJECT_BYTES_MAX`].
    pub raw: String,
}

/// What ends the reason of a record that names a tenant for whom its sender may not write.
const OF_ANOTHER_TENANT: &str = "is none of the tenants that the key may write for";

impl Reject {
    /// Whether it names a tenant for whom its sender may not write.
    pub fn is_of_another_tenant(&self) -> bool {
        self.reason.ends_with(OF_ANOTHER_TENANT)
    }
}

/// How much of a rejected line is kept.
pub const REJECT_BYTES_MAX: usize = 64 * 1024;

/// Decodes one body.
///
/// # Errors
///
/// [`crate::error::Kind::Invalid`] when the body holds no JSON at all, is one JSON text (an array or an
/// object over several lines) that breaks off, or is one that nests absurdly deep.
pub fn decode(body: &[u8], options: Options) -> Result<Decoded> {
    let shape = options.shape;
    let mut sink = row::Sink::new(options, lines::estimate_records(body));
    lines::for_each_record(body, shape, &mut sink)?;
    Ok(sink.finish())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
