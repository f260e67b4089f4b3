//! What maintenance should do with a table: the files of one snapshot, a policy and the time go in, a
//! list of actions comes out. Never touches a file, never reads the clock, never remembers anything
//! between two passes: what a pass must know about the last one stands in the files themselves.
//!
//! # Days
//!
//! A file belongs to one UTC day, and so do all its rows. Ages count whole days from the day's end:
//! day `d` is `n` days old from `end(d) + n · 24 h` on. So all rows of a tenant on a day come of age
//! together, retention of `n` days keeps today and the `n` days before it, and a cutoff is always a
//! midnight. A file whose times leave its day is left alone by everything: its day says nothing
//! about its rows.
//!
//! An hour or a day is *closed* [`Policy::closed_after_minutes`] after its end. A day is *settled*
//! when it is closed and for just as long no hot file of it was written. Ingest writes hot files only,
//! so a day that is being filled again is not settled.
//!
//! # Files
//!
//! A file is *hot* as ingest or a merge wrote it, *warm* when it is compressed harder, *cold* when it
//! is also in the cold store. It is *full* from half of [`Policy::file_bytes_target`] on. A rewrite
//! splits its rows evenly into as many files as its input holds targets, rounded up, so that each of
//! several is full; and two files that are not full always fit into one.
//!
//! # Tenants
//!
//! Every tenant can have ages of its own; whoever has none is treated like a row without a tenant. So
//! the rows of one file may *belong* into different tiers: where their age says, but never back. Files
//! that belong into the same tiers are *alike*, as far as their statistics and [`FileInfo::removed`]
//! tell. Only alike files of one day and tier are joined, so nobody's rows come together that have to
//! be taken apart at once. As long as all tenants have the same ages, all files of a day and tier are
//! alike.
//!
//! # Rules
//!
//! A file is in at most one action. In the order in which they win:
//!
//! 1. **Delete** a file if nobody whose rows it may hold keeps them.
//! 2. **Expire** a file if some keep their rows and some do not: it is written again without the
//!    latter. Tenants can keep their rows for a longer or a shorter time than the rest.
//! 3. On a settled day, a file leaves its tier:
//!    - **Move** it to the cold store if all its rows belong there, being
//!      [`Policy::cold_after_days`] old or what their tenant's own age says;
//!    - **Warm** it if it is hot and all its rows belong there, being [`Policy::warm_after_days`] old,
//!      together with warm files that are small beside them;
//!    - **Split** it if its rows belong into several tiers: all go where they belong at once.
//! 4. **Merge** files of one day and tier that are alike and not full:
//!    - where [`Policy::merge_files_min`] files are about as large as each other (within a factor of
//!      four), or where such files make a file of the target's size. A file waits until the hour of its
//!      last row or the hour in which it was written is closed, whichever is first: the former says
//!      that its neighbours are there, the latter that a record from the future holds nothing up. It waits
//!      no longer than until such files make a file of the target's size, or [`FILES_MAX`] of them are
//!      there: however fast rows come, an open hour has few files;
//!    - on a settled day, not in the cold store: whatever there is, but for a file that is larger than
//!      all it would join.
//!
//! Either way a byte that is merged comes into a full file, or into one at least twice as large, mostly
//! eight times: it is rewritten a logarithmic number of times, and a late row never drags a large file
//! along. And what no rule touches doubles from file to file: besides the full ones, a settled day has
//! at most one hot or warm file for each doubling below them, and fewer than
//! [`Policy::merge_files_min`] cold files for each factor of four.
//!
//! Each age that a tenant has of its own adds at most one rewrite: the day's files are split when it
//! comes, and what remains is known not to hold that tenant's rows. Where statistics do not tell that a
//! tenant has no rows in a file, that one rewrite is for nothing.
//!
//! # The clock
//!
//! Only ages decide. If the clock stands before the data, no day is old and no hour is closed, and
//! nothing is done. If it is ahead, days are as old as it says, and what is past its retention by that clock is
//! deleted; which clock to believe, and since when, is the caller's ([`AgeClock`](crate::clock::AgeClock)). If it is
//! behind, files that were written "later" do not settle their day until it has caught up; nothing is lost by that.
//!
//! # What an executor owes
//!
//! - An action becomes one commit, or several of parts of its files where all of them are too much at
//!   once: the new files in, the old ones out. Any prefix of a plan is good,
//!   and a plan stays good while files are added; it is void once anything else has removed files.
//! - Each of [`Action::parts`] becomes files of its own, and every row of the input is in one part, but
//!   for those that an [`Work::Expire`] leaves out.
//! - [`Part::removed`] is stored with every file that is written for a part, and read back as
//!   [`FileInfo::removed`]: a file that was once written without a tenant's rows is then never written
//!   again for that reason, nor split. It names whoever is in none of the action's files, also by what
//!   was known of each, and whoever is in another part. Another writer that drops it costs one more
//!   rewrite; an executor that never stores it would expire or split the same files in every pass,
//!   unless their tenants are listed.
//! - At most [`Action::files_out_max`] files are written, those of a part of about equal size. That the
//!   number of files falls, but for what is split once, is why passes come to an end.
//! - [`FileInfo::written_us`] is when a file was written, by whatever action.

mod placement;
mod plan;
mod policy;
mod tenants;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;

pub use plan::{Action, BYTES_MAX, DELETED_FILES_MAX, FILES_MAX, Part, Work, plan};
pub use policy::{Policy, TenantPolicy};
pub use tenants::{TenantSet, Tenants};

/// A committed file, as far as maintenance needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// What the table calls it; no two files share a name.
    pub name: String,
    /// Its partition: days since the epoch, UTC.
    pub day: i32,
    /// How it is stored.
    pub tier: Tier,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The least time of its rows, µs since the epoch; the start of its day where that is unknown.
    pub first_us: i64,
    /// The greatest time of its rows, µs since the epoch; the end of its day less 1 µs where that is
    /// unknown.
    pub last_us: i64,
    /// When the file was written, µs since the epoch.
    pub written_us: i64,
    /// Whose rows it may hold.
    pub tenants: Tenants,
    /// Whose rows it does not hold, because the action that wrote it left them out.
    pub removed: TenantSet,
}

/// How a file is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// As ingest or a merge wrote it: cheap to write.
    #[default]
    Hot,
    /// Compressed harder.
    Warm,
    /// Compressed harder, and in the cold store.
    Cold,
}

impl Tier {
    /// The name that is stored and printed.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Hot => "hot",
            Tier::Warm => "warm",
            Tier::Cold => "cold",
        }
    }

    /// The tier of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Tier::Hot, Tier::Warm, Tier::Cold].into_iter().find(|tier| tier.name() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
