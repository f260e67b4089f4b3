//! Two samples in the order of their values: sorting, and the walk over their distinct values that
//! every test on ranks takes. Never drops a value.

/// Sorts as `f64::total_cmp` orders. What already consists of sorted runs is only merged, so samples
/// that were sorted in parts take time proportional to their length.
pub fn sort(values: &mut [f64]) {
    // The stable sort finds runs; the unstable one does not.
    values.sort_by(f64::total_cmp);
}

/// Sorts a part of a sample, in place and without further memory.
pub fn sort_part(values: &mut [f64]) {
    values.sort_unstable_by(f64::total_cmp);
}

/// One of the distinct values of two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tie {
    /// The value; of both zeros the first.
    pub value: f64,
    /// How often the reference sample has it.
    pub reference: usize,
    /// How often the current sample has it.
    pub current: usize,
}

impl Tie {
    pub(super) fn both(&self) -> usize {
        self.reference + self.current
    }
}

/// The distinct values of two sorted samples, rising. Both zeros are one value, and so are NaNs with
/// the same bits.
pub(super) fn ties<'a>(mut reference: &'a [f64], mut current: &'a [f64]) -> impl Iterator<Item = Tie> + 'a {
    std::iter::from_fn(move || {
        let value = match (reference.first(), current.first()) {
            (Some(left), Some(right)) if left.total_cmp(right).is_le() => *left,
            (_, Some(right)) => *right,
            (Some(left), None) => *left,
            (None, None) => return None,
        };
        let tie = Tie { value, reference: leading(reference, value), current: leading(current, value) };
        reference = &reference[tie.reference..];
        current = &current[tie.current..];
        Some(tie)
    })
}

/// How many of the leading values equal `value`, which is not above the first of them. Both orders
/// are asked: `==` makes the two zeros one value, `total_cmp` makes a NaN equal to itself.
#[inline]
fn leading(sorted: &[f64], value: f64) -> usize {
    sorted.iter().take_while(|&&other| other == value || other.total_cmp(&value).is_eq()).count()
}

#[cfg(test)]
mod tests {
    use super::{sort, sort_part, ties};

    #[test]
    fn distinct_values_rise_and_count() {
        let found = |left: &[f64], right: &[f64]| -> Vec<(f64, usize, usize)> {
            ties(left, right).map(|tie| (tie.value, tie.reference, tie.current)).collect()
        };
        assert_eq!(found(&[], &[]), []);
        assert_eq!(found(&[1.0, 1.0, 3.0], &[1.0, 2.0]), [(1.0, 2, 1), (2.0, 0, 1), (3.0, 1, 0)]);
        assert_eq!(found(&[-0.0], &[0.0, f64::INFINITY]), [(0.0, 1, 1), (f64::INFINITY, 0, 1)]);
        assert_eq!(found(&[f64::NAN], &[f64::NAN]).len(), 1);
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let values: Vec<f64> = (0..5_000).map(|i| f64::from(i * 7_919 % 4_001 - 2_000)).collect();
        let mut whole = values.clone();
        sort(&mut whole);
        let mut parts = values;
        let (left, right) = parts.split_at_mut(1_700);
        sort_part(left);
        sort_part(right);
        sort(&mut parts);
        assert_eq!(parts, whole);
    }
}
