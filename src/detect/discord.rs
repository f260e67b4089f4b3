//! Left-discord: how far the newest window of a series is from the nearest window of its past. It never looks ahead and
//! keeps no state of its own.
//!
//! Windows are compared as they are, not normalised: a level that was never there is as odd as a shape. After Keogh, Lin
//! and Fu, "HOT SAX: Efficiently Finding the Most Unusual Time Series Subsequence", ICDM 2005, and the left matrix
//! profile of Yeh and others, "Matrix Profile I", ICDM 2016.

/// Values after which a distance is given up, once it is too large.
const STRIDE: usize = 8;

/// The root mean square distance between the last `length` values and the nearest earlier window of as many, that does
/// not overlap them; none where there is no earlier window.
pub fn distance(values: &[f32], length: usize) -> Option<f64> {
    let (past, newest) = values.split_at(values.len().checked_sub(length)?);
    let mut nearest = f64::INFINITY;
    // Newest first: what resembles most is often near, and then most others are given up early.
    for earlier in past.windows(length).rev() {
        nearest = squared_within(newest, earlier, nearest);
    }
    nearest.is_finite().then(|| (nearest / length as f64).sqrt())
}

/// The squared distance of two windows, or `bound` where it is not below.
fn squared_within(newest: &[f32], earlier: &[f32], bound: f64) -> f64 {
    let mut sum = 0.0;
    // From the end: what is new is what differs.
    for (a, b) in newest.rchunks(STRIDE).zip(earlier.rchunks(STRIDE)) {
        for (a, b) in a.iter().zip(b) {
            let difference = f64::from(*a) - f64::from(*b);
            sum += difference * difference;
        }
        if sum >= bound {
            return bound;
        }
    }
    sum
}
