//! Which pieces of an answer share no group with any other, because each is of periods of its own: these are whole as
//! they are, and need not be put together. Pure.

use crate::query::series::Buckets;

/// For each span of time, µs and both ends inclusive, whether the periods that it touches are touched by no other.
pub fn apart(spans: &[(i64, i64)], periods: Buckets) -> Vec<bool> {
    let touched = |(first_us, last_us): &(i64, i64)| Some((periods.start_of(*first_us)?, periods.start_of(*last_us)?));
    let Some(touched) = spans.iter().map(touched).collect::<Option<Vec<_>>>() else { return vec![false; spans.len()] };
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|index| touched[*index]);
    let mut apart = vec![true; spans.len()];
    // The one that ends last of those that begin earlier: if any of them is touched, it is.
    let mut reaching: Option<usize> = None;
    for index in order {
        let (first, last) = touched[index];
        let longest = reaching.filter(|longest| touched[*longest].1 >= first);
        if let Some(longest) = longest {
            apart[index] = false;
            apart[longest] = false;
        }
        if reaching.is_none_or(|longest| touched[longest].1 < last) {
            reaching = Some(index);
        }
    }
    apart
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
    fn a_piece_is_apart_where_no_other_has_its_periods() {
        assert_eq!(apart(&[], periods()), Vec::<bool>::new());
        assert_eq!(apart(&[(0, 9), (10, 19)], periods()), [true, true]);
        assert_eq!(apart(&[(30, 39), (0, 15), (19, 22)], periods()), [true, false, false]);
        assert_eq!(apart(&[(0, 99), (10, 11), (50, 51), (100, 100)], periods()), [false, false, false, true]);
    }

    proptest! {
        #[test]
        fn as_each_compared_with_each(spans in vec((-200_i64..200, 0_i64..40), 0..12)) {
            let spans: Vec<(i64, i64)> = spans.into_iter().map(|(first, length)| (first, first + length)).collect();
            let touched = |(first, last): (i64, i64)| (first.div_euclid(10), last.div_euclid(10));
            let meets = |one: (i64, i64), other: (i64, i64)| one.0 <= other.1 && other.0 <= one.1;
            let expect: Vec<bool> = (0..spans.len())
                .map(|one| {
                    let others = (0..spans.len()).filter(|other| *other != one);
                    !others.clone().any(|other| meets(touched(spans[one]), touched(spans[other])))
                })
                .collect();
            prop_assert_eq!(apart(&spans, periods()), expect);
        }
    }
}
