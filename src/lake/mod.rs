//! The committed data: Delta Lake tables of plain, sorted Parquet files on an object store.
//!
//! The Delta log is the single truth about which files count. Every commit that brings ingested rows
//! carries the highest WAL seq in them as its application transaction, so the table itself says what
//! a replay must still do. This room never reads rows back (that is the query room's) and never
//! knows what waits in the buffer.

mod copy;
mod file;
mod remote;
mod rewrite;
mod run;
mod scan;
mod schema;
mod sidecar;
mod sidecar_columns;
mod statistics;
mod storage;
mod store;
mod table;
mod tags;
mod transfer;
mod turn;
mod upkeep;
mod verify;

pub use copy::{Copied, CopyTarget};
pub use file::sort_by_time;
pub use rewrite::{Keep, Rewrite, Rewriter, Rewritten};
pub use run::{LastCommit, Run, Runs};
pub use scan::Scan;
pub use sidecar::{Sidecar, SidecarScan, Sidecars};
pub use sidecar_columns::SidecarColumns;
pub use storage::{Remote, Storage, overlap};
pub use store::FsyncStore;
pub use table::{DataFile, LakeTable, Snapshot, query_schema};
pub use turn::Turn;
pub use upkeep::Replacement;
pub use verify::Look;
