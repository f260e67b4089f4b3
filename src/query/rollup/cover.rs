//! Which time is answered from which windows: the coarsest whole windows inside a range, finer ones at its
//! edges, and calls where no window fits. Pure.

/// A half-open range of time, µs since the epoch; open where a bound is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// Inclusive.
    pub from_us: Option<i64>,
    /// Exclusive.
    pub to_us: Option<i64>,
}

impl Range {
    /// All time.
    pub const ALL: Range = Range { from_us: None, to_us: None };

    /// The times that both have.
    pub fn and(self, other: Range) -> Range {
        Range {
            from_us: self.from_us.max(other.from_us),
            to_us: match (self.to_us, other.to_us) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }
    }

    /// Whether there is no time in it.
    pub fn is_empty(self) -> bool {
        matches!((self.from_us, self.to_us), (Some(from_us), Some(to_us)) if from_us >= to_us)
    }

    /// Whether a time between two, both inclusive, may be in it.
    pub fn meets(self, first_us: i64, last_us: i64) -> bool {
        self.from_us.is_none_or(|from_us| last_us >= from_us) && self.to_us.is_none_or(|to_us| first_us < to_us)
    }

    /// Whether all times between two, both inclusive, are in it.
    pub fn holds(self, first_us: i64, last_us: i64) -> bool {
        self.from_us.is_none_or(|from_us| first_us >= from_us) && self.to_us.is_none_or(|to_us| last_us < to_us)
    }

    /// The part of a span that is in it, both ends inclusive.
    pub fn of(self, (first_us, last_us): (i64, i64)) -> (i64, i64) {
        let first_us = self.from_us.map_or(first_us, |from_us| first_us.max(from_us));
        (first_us, self.to_us.map_or(last_us, |to_us| last_us.min(to_us.saturating_sub(1))))
    }

    /// The whole windows inside, and what is left on both sides.
    fn split(self, grain_us: i64) -> (Range, [Range; 2]) {
        let up = |us: i64| {
            us.div_euclid(grain_us).saturating_add(i64::from(us.rem_euclid(grain_us) > 0)).saturating_mul(grain_us)
        };
        let down = |us: i64| us.div_euclid(grain_us).saturating_mul(grain_us);
        let inner = Range { from_us: self.from_us.map(up), to_us: self.to_us.map(down) };
        if inner.is_empty() {
            let none = Range { from_us: self.to_us, to_us: self.to_us };
            return (none, [self, none]);
        }
        let nothing = Range { from_us: Some(0), to_us: Some(0) };
        let before = match self.from_us {
            Some(_) => Range { from_us: self.from_us, to_us: inner.from_us },
            None => nothing,
        };
        let after = match self.to_us {
            Some(_) => Range { from_us: inner.to_us, to_us: self.to_us },
            None => nothing,
        };
        (inner, [before, after])
    }
}

/// Who answers which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// Position of the grain, and its whole windows.
    pub windows: Vec<(usize, Range)>,
    /// Times for which there is no window.
    pub rest: Vec<Range>,
}

/// Covers a range with windows of these grains (µs), the coarsest first.
pub fn cover(range: Range, grains_us: &[i64]) -> Cover {
    let mut windows = Vec::new();
    let mut rest = vec![range];
    for (position, grain_us) in grains_us.iter().enumerate() {
        let mut left = Vec::new();
        for range in rest {
            let (inner, edges) = range.split(*grain_us);
            windows.extend((!inner.is_empty()).then_some((position, inner)));
            left.extend(edges.into_iter().filter(|edge| !edge.is_empty()));
        }
        rest = left;
    }
    Cover { windows, rest }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(from_us: i64, to_us: i64) -> Range {
        Range { from_us: Some(from_us), to_us: Some(to_us) }
    }

    fn check(of: Range, expect: &[(usize, Range)], rest: &[Range]) {
        assert_eq!(cover(of, &[100, 10]), Cover { windows: expect.to_vec(), rest: rest.to_vec() });
    }

    #[test]
    fn coarse_windows_inside_fine_ones_at_the_edges() {
        check(range(100, 300), &[(0, range(100, 300))], &[]);
        check(
            range(77, 322),
            &[(0, range(100, 300)), (1, range(80, 100)), (1, range(300, 320))],
            &[range(77, 80), range(320, 322)],
        );
        check(range(101, 199), &[(1, range(110, 190))], &[range(101, 110), range(190, 199)]);
        check(range(101, 109), &[], &[range(101, 109)]);
        check(range(-77, 10), &[(1, range(-70, 10))], &[range(-77, -70)]);
        check(Range::ALL, &[(0, Range::ALL)], &[]);
        check(
            Range { from_us: Some(55), to_us: None },
            &[(0, Range { from_us: Some(100), to_us: None }), (1, range(60, 100))],
            &[range(55, 60)],
        );
        check(range(5, 5), &[], &[]);
    }

    proptest! {
        #[test]
        fn every_time_is_answered_once(from_us in -500_i64..500, length_us in 0_i64..700, at_us in -600_i64..1300) {
            let of = range(from_us, from_us + length_us);
            let cover = cover(of, &[100, 10]);
            let all = cover.windows.iter().map(|(_, range)| *range).chain(cover.rest);
            let answers = all.filter(|range| range.meets(at_us, at_us)).count();
            prop_assert_eq!(answers, usize::from(of.meets(at_us, at_us) && !of.is_empty()));
        }
    }
}
