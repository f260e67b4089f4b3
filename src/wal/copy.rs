//! The log's segments, copied elsewhere while the writer goes on. Never decides which: it is handed what
//! the writer said of itself.

use std::path::Path;

use super::{segment::segment_path, writer::SegmentFile};
use crate::{
    disk::{self, Disk},
    error::{Context, Result},
};

/// Copies each segment as long as it is said to be into a directory, under its own name, and syncs all of
/// it; returns the bytes. Nothing may forget a segment meanwhile.
///
/// A length that the writer gives ends with a group that it fsynced, and bytes below are never written
/// again. So the copy has whole frames only, whatever the writer appends or takes back meanwhile.
pub fn copy(disk: &dyn Disk, segments: &[SegmentFile], directory: &Path) -> Result<u64> {
    for segment in segments {
        let context = || format!("cannot copy the WAL segment {}", segment.path.display());
        let copy = segment_path(directory, segment.first_seq);
        disk::copy_file(disk, &segment.path, &copy, segment.bytes).context(context())?;
    }
    disk.sync_directory(directory).context(format!("cannot sync the directory {}", directory.display()))?;
    Ok(segments.iter().map(|segment| segment.bytes).sum())
}
