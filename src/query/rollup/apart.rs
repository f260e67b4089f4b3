//! Which pieces of an answer share no group with any other, because they are of periods of their own: these are put
//! together once and for all, whatever else is asked. Pure.

use crate::query::series::Buckets;

/// Spans of time, µs and both ends inclusive, by the periods that they touch. A cluster is of spans that such periods
/// link, by rising number, and touches none that another one does. None where periods are beyond the calendar.
pub fn clusters(spans: &[(i64, i64)], periods: Buckets) -> Option<Vec<Vec<usize>>> {
    let touched = |(first_us, last_us): &(i64, i64)| Some((periods.start_of(*first_us)?, periods.start_of(*last_us)?));
    let touched = spans.iter().map(touched).collect::<Option<Vec<_>>>()?;
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|index| touched[*index]);
    let mut clusters: Vec<Vec<usize>> = Vec::new();
    let mut reached: Option<i64> = None;
    for index in order {
        let (first, last) = touched[index];
        match clusters.last_mut() {
            Some(cluster) if reached >= Some(first) => cluster.push(index),
            _ => clusters.push(vec![index]),
        }
        reached = reached.max(Some(last));
    }
    clusters.iter_mut().for_each(|cluster| cluster.sort_unstable());
    Some(clusters)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::IntervalMonthDayNano;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn periods() -> Buckets {
        Buckets::new(IntervalMonthDayNano::new(0, 0, 10_000), Some(0)).unwrap()
    }

    #[test]
    fn spans_that_share_a_period_are_together() {
        let check = |spans: &[(i64, i64)], expect: &[&[usize]]| {
            assert_eq!(clusters(spans, periods()).unwrap(), expect, "{spans:?}");
        };
        check(&[], &[]);
        check(&[(0, 9), (10, 19)], &[&[0], &[1]]);
        check(&[(30, 39), (0, 15), (19, 22)], &[&[1, 2], &[0]]);
        check(&[(0, 99), (10, 11), (50, 51), (100, 100)], &[&[0, 1, 2], &[3]]);
    }

    proptest! {
        #[test]
        fn as_each_compared_with_each(spans in vec((-200_i64..200, 0_i64..40), 0..12)) {
            let spans: Vec<(i64, i64)> = spans.into_iter().map(|(first, length)| (first, first + length)).collect();
            let touched = |(first, last): (i64, i64)| (first.div_euclid(10), last.div_euclid(10));
            let meets = |one: (i64, i64), other: (i64, i64)| one.0 <= other.1 && other.0 <= one.1;
            // Each takes the least number of all that it meets, until no number changes.
            let mut least: Vec<usize> = (0..spans.len()).collect();
            for _ in 0..spans.len() {
                for (one, other) in (0..spans.len()).flat_map(|one| (0..spans.len()).map(move |other| (one, other))) {
                    if meets(touched(spans[one]), touched(spans[other])) {
                        least[one] = least[one].min(least[other]);
                    }
                }
            }
            let mut found = vec![usize::MAX; spans.len()];
            for cluster in clusters(&spans, periods()).unwrap() {
                let first = *cluster.iter().min().unwrap();
                cluster.into_iter().for_each(|index| found[index] = first);
            }
            prop_assert_eq!(found, least);
        }
    }
}
