//! Which part of a slice a change comes from: one of the agents, models or tenants that are in it.

use super::{
    answer::Segment,
    column::{By, Column},
    distance::distance,
    judge::Finding,
    series::total,
    slice::Slice,
    windows::{VALUES_MIN, Windows},
};

/// A dimension of which one part has more of the values than this divides nothing.
const DIVIDED_MAX: f64 = 0.99;

/// The parts of a slice, as far as one of its columns goes. They are looked at one by one, because all of them together
/// are large.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    column: &'static Column,
    /// The windows that changed.
    after: Vec<usize>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
struct Part {
    by: By,
    name: String,
    /// Values in the windows that changed.
    n: u64,
    /// How far these are from their references; none where either side has too few.
    effect: Option<f64>,
}

impl Parts {
    /// None yet, of a column of which this was found.
    pub fn new(windows: &Windows, column: &'static Column, finding: &Finding) -> Self {
        let after = finding.changed(column.effect_min).map(|place| windows.judged().start + place).collect();
        Self { column, after, parts: Vec::new() }
    }

    /// Adds a part: what an agent, a model or a tenant has of the slice, window by window.
    pub fn add(&mut self, windows: &Windows, by: By, part: &Slice) {
        let (Some(name), Some((_, series))) = (part.name(), part.series(self.column)) else { return };
        let current = series.sum(self.after.iter().copied());
        let reference = series.sum(self.after.iter().flat_map(|window| windows.like(*window)));
        let n = total(&current);
        let has_enough = n >= VALUES_MIN && total(&reference) >= VALUES_MIN;
        let effect = distance(series.kind(), &reference, &current).filter(|_| has_enough);
        self.parts.push(Part { by, name: name.to_owned(), n, effect });
    }

    /// The part that moved most, by its own distance times its share of the values; none where no part has enough of
    /// them and a distance that matters.
    pub fn most(&self) -> Option<Segment> {
        let share = |part: &Part| {
            let all: u64 = self.parts.iter().filter(|other| other.by == part.by).map(|other| other.n).sum();
            part.n as f64 / all.max(1) as f64
        };
        let weighed = self.parts.iter().filter_map(|part| {
            let (share, effect) = (share(part), part.effect?);
            (share <= DIVIDED_MAX).then_some((share * effect, part, effect))
        });
        let (_, part, effect) = weighed.max_by(|left, right| left.0.total_cmp(&right.0))?;
        let segment = Segment { by: part.by, slice: part.name.clone(), effect };
        (effect >= self.column.effect_min).then_some(segment)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::drift::judge::WindowFinding;

    /// Of each part: its dimension, its name, and how many of its calls in a window ended by `stop` and by `length`, in
    /// references and in the windows that changed.
    #[track_caller]
    fn check(parts: &[(By, &str, [u64; 2], [u64; 2])], expected: Option<(By, &str)>) {
        let windows = Windows::new(1_772_409_600_000_000, 24, 4).unwrap();
        let column = Column::named("finish_reason").unwrap();
        let changed = WindowFinding { n_current: 100, effect: Some(0.4), p: Some(0.0), ..WindowFinding::default() };
        let finding = Finding { windows: [WindowFinding::default(), changed, changed], ..Finding::default() };
        let mut found = Parts::new(&windows, column, &finding);
        for (by, name, before, after) in parts {
            let mut slice = Slice::new(*by, Some((*name).to_owned()), windows.count());
            for place in 0..windows.count() {
                let counts = if place > windows.judged().start { after } else { before };
                slice.add_category(column, place, "stop", counts[0]);
                slice.add_category(column, place, "length", counts[1]);
            }
            found.add(&windows, *by, &slice);
        }
        let most = found.most();
        assert_eq!(most.as_ref().map(|segment| (segment.by, segment.slice.as_str())), expected, "{found:?}");
    }

    #[test]
    fn the_part_that_moved_most_is_named_where_one_did() {
        let (tenant, model) = (By::TenantId, By::Model);
        let (steady, moved) = ([80, 20], [20, 80]);
        check(&[(tenant, "a", steady, steady), (tenant, "b", steady, moved)], Some((tenant, "b")));
        // One model that all use says nothing.
        check(
            &[(tenant, "a", steady, steady), (tenant, "b", steady, moved), (model, "m", steady, [50, 50])],
            Some((tenant, "b")),
        );
        // A few calls that changed altogether tell less than many that changed somewhat.
        check(&[(tenant, "few", [20, 0], [0, 20]), (tenant, "many", [800, 200], [400, 600])], Some((tenant, "many")));
        // All the same, and too few calls to say so.
        check(&[(tenant, "a", steady, steady), (tenant, "b", steady, steady)], None);
        check(&[(tenant, "a", [8, 2], [2, 8]), (tenant, "b", [8, 2], [2, 8])], None);
    }
}
