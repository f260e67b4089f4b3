//! Receipts of the log's frames against those in SQLite.
//!
//! SQLite has the receipts of the frames at or below the seq of its totals, less those that are past
//! their age. A batch that came again past that age was stored again, and its receipt names the later
//! frame. So a receipt that SQLite lacks is no error; one that says something else of the same frame is.

use super::{CATALOG, FrameNote};
use crate::{catalog::Look, error::Result, finding::Findings};

/// Compares them, one by one.
pub(super) async fn compare(
    look: &mut Look,
    counted_seq: u64,
    frames: &[FrameNote],
    findings: &mut Findings,
) -> Result<()> {
    for frame in frames {
        let Some(receipt) = frame.receipt else { continue };
        let Some(stored) = look.stored(&receipt.identity).await? else { continue };
        let is_same = (stored.accepted, stored.rejected) == (frame.accepted, frame.rejected);
        if stored.seq == frame.seq && is_same && stored.body != receipt.body {
            let what = format!("its receipt of batch {} is of another body than the log's", frame.seq);
            findings.wrong(CATALOG, what, "restore the directory from a copy");
        }
        if stored.seq == frame.seq && !is_same || stored.seq < frame.seq && frame.seq <= counted_seq {
            let what = format!(
                "its receipt of batch {} says batch {} with {} accepted and {} rejected, the log says {} and {}",
                frame.seq, stored.seq, stored.accepted, stored.rejected, frame.accepted, frame.rejected
            );
            findings.wrong(CATALOG, what, "restore the directory from a copy");
        }
    }
    Ok(())
}
