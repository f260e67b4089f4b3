//! Fewer points of a series without losing what stands out: of each bucket of time, the first of its lowest and the
//! first of its highest points stay, in the order of time, and so do the first and the last of all. Pure.

/// A point: ms since 1970, and the value.
pub type Point = (i64, Option<f64>);

/// At most `points_max` of the points, which are in the order of time. Fewer than four have no room for both ends and
/// both extremes; four are kept then.
pub fn thinned(points: Vec<Point>, points_max: usize) -> Vec<Point> {
    let points_max = points_max.max(4);
    if points.len() <= points_max {
        return points;
    }
    let buckets = (points_max - 2) / 2;
    let inner = &points[1..points.len() - 1];
    let (from, to) = (inner[0].0, inner[inner.len() - 1].0);
    // In i128: a range of all times does not fit otherwise.
    let width = (i128::from(to) - i128::from(from)) / buckets as i128 + 1;
    let bucket_of = |time: i64| (i128::from(time) - i128::from(from)) / width;
    let mut kept = Vec::with_capacity(points_max);
    kept.push(points[0]);
    for bucket in inner.chunk_by(|left, right| bucket_of(left.0) == bucket_of(right.0)) {
        let known = || bucket.iter().enumerate().filter_map(|(at, (_, value))| Some((at, (*value)?)));
        let lowest = known().min_by(|left, right| left.1.total_cmp(&right.1).then(left.0.cmp(&right.0)));
        let highest = known().max_by(|left, right| left.1.total_cmp(&right.1).then(right.0.cmp(&left.0)));
        match lowest.zip(highest) {
            Some(((low, _), (high, _))) => {
                kept.push(bucket[low.min(high)]);
                if low != high {
                    kept.push(bucket[low.max(high)]);
                }
            }
            // A gap stays one.
            None => kept.push(bucket[0]),
        }
    }
    kept.push(points[points.len() - 1]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_stay_and_the_bound_holds() {
        let wave = |count: i64| -> Vec<Point> {
            let value = |n: i64| match n {
                777 => Some(1e6),
                1_234 => Some(-1e6),
                n if n % 97 == 0 => None,
                n => Some(((n * 31) % 101) as f64),
            };
            (0..count).map(|n| (1_000 * n, value(n))).collect()
        };
        for points_max in [0, 1, 4, 5, 10, 100, 999, 4_999] {
            let points = wave(5_000);
            let kept = thinned(points.clone(), points_max);
            assert!(kept.len() <= points_max.max(4), "{points_max}: {}", kept.len());
            assert!(kept.is_sorted_by_key(|point| point.0));
            assert!(kept.iter().all(|point| points.contains(point)));
            assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[4_999]));
            for extreme in [(777_000, Some(1e6)), (1_234_000, Some(-1e6))] {
                assert!(kept.contains(&extreme), "{points_max}");
            }
        }
        assert_eq!(thinned(wave(50), 50), wave(50));
    }

    #[test]
    fn points_of_one_moment_are_one_bucket() {
        let points: Vec<Point> = (0..100).map(|n| (5, Some(f64::from(n)))).collect();
        assert_eq!(thinned(points, 10), [(5, Some(0.0)), (5, Some(1.0)), (5, Some(98.0)), (5, Some(99.0))]);
        assert_eq!(thinned(vec![(i64::MIN, None), (0, None), (1, None), (2, None), (i64::MAX, None)], 4).len(), 3);
    }
}
