//! What opening a compressed body must keep to: at most the limit, and the same bytes whatever the limit is.
//! Never judges which bytes are whole.

use driftline::{
    decode::{Encoding, decompress},
    error::Kind,
};

/// Rising, so that each answer is held against the one before.
const LIMITS: [usize; 8] = [0, 1, 31, 32, 33, 1_000, 20_000, 100_000];

/// One body, said to be compressed in every way.
pub fn check(body: &[u8]) {
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        check_as(body, encoding);
    }
    let _ = decompress(body, Encoding::from_magic(body), 1_000);
}

fn check_as(body: &[u8], encoding: Encoding) {
    let mut before = None;
    for limit in LIMITS {
        let found = decompress(body, encoding, limit).map_err(|error| error.kind());
        match &found {
            Ok(plain) => assert!(plain.len() <= limit, "{encoding:?}: {} bytes past {limit}", plain.len()),
            Err(kind) => assert!(matches!(kind, Kind::TooLarge | Kind::Invalid), "{encoding:?}: {kind:?}"),
        }
        // Too large for one limit says nothing of a larger one; every other answer stays. Only zstd may notice in a
        // larger buffer what it did not in a smaller one: that a frame is shorter than it says.
        if let Some(before) = before.replace(found.clone()).filter(|before| *before != Err(Kind::TooLarge)) {
            let is_noticed = encoding == Encoding::Zstd && found == Err(Kind::Invalid);
            assert!(found == before || is_noticed, "{encoding:?}: {before:?}, and at the limit {limit} {found:?}");
        }
        if encoding == Encoding::Identity {
            assert_eq!(found.is_ok(), body.len() <= limit);
            assert!(found.is_err() || found.is_ok_and(|plain| plain == body));
        }
    }
}
