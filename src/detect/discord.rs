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
    let (newest_rest, newest) = newest.as_rchunks::<STRIDE>();
    let (earlier_rest, earlier) = earlier.as_rchunks::<STRIDE>();
    let mut sum = 0.0;
    // From the end: what is new is what differs.
    for (a, b) in newest.iter().zip(earlier).rev() {
        let square = |at: usize| squared(a[at], b[at]);
        // As a tree: sums that do not wait for each other are taken at once.
        sum +=
            ((square(0) + square(1)) + (square(2) + square(3))) + ((square(4) + square(5)) + (square(6) + square(7)));
        if sum >= bound {
            return bound;
        }
    }
    sum += newest_rest.iter().zip(earlier_rest).map(|(a, b)| squared(*a, *b)).sum::<f64>();
    sum.min(bound)
}

fn squared(a: f32, b: f32) -> f64 {
    let difference = f64::from(a) - f64::from(b);
    difference * difference
}
