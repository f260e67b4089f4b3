//! How far apart the distribution functions of two samples get that are in no order, without sorting them.
//!
//! Values are counted in bins that are fine where values are many. At the end of a bin both functions are known, and
//! within one they cannot get further apart than its two counts allow. So only the values of bins where that is
//! more than what ends of bins reach are sorted: of many values a few. Never rounds: the distance is that of all values.

use super::order::{key_of, sort_part, ties};

/// Bits of a coarse bin's number: as many counters as stay in a core's first cache.
const COARSE_BITS: u32 = 12;
/// Bits of the number of fine bins, about: as many counters of a sample as stay in a core's second cache.
const FINE_BITS: u32 = 16;

/// By how much two distribution functions differ, in units in which each value moves one of them by whole steps.
pub(super) struct Distance {
    /// Of a value of the reference sample, and of one of the current.
    steps: (i128, i128),
    difference: i128,
    largest: i128,
}

impl Distance {
    /// Before any value.
    pub(super) fn new(steps: (i128, i128)) -> Self {
        Self { steps, difference: 0, largest: 0 }
    }

    /// The largest so far, whatever its sign.
    pub(super) fn largest(&self) -> i128 {
        self.largest
    }

    /// The next higher value, so often in each sample; or all values up to some end.
    pub(super) fn pass(&mut self, reference: usize, current: usize) {
        self.difference += reference as i128 * self.steps.0 - current as i128 * self.steps.1;
        self.largest = self.largest.max(self.difference.abs());
    }

    /// Whether so many values after this difference can be further apart than any before, in some order.
    fn may_exceed(&self, start: i128, reference: usize, current: usize) -> bool {
        let above = (start + reference as i128 * self.steps.0).abs();
        let below = (start - current as i128 * self.steps.1).abs();
        above.max(below) > self.largest
    }
}

/// Passes to `distance` what decides its largest difference. Each sample is some slices, without NaNs; both have at
/// least one value, and less than 2³² of them.
pub(super) fn measure(reference: &[&[f64]], current: &[&[f64]], distance: &mut Distance) {
    let samples = [reference, current];
    let bins = Bins::of(&samples);
    let [reference_counts, current_counts] = samples.map(|sample| bins.counts(sample));
    let mut starts = Vec::with_capacity(reference_counts.len());
    for (reference, current) in reference_counts.iter().zip(&current_counts) {
        starts.push(distance.difference);
        distance.pass(*reference as usize, *current as usize);
    }
    let may_decide = |bin: usize| {
        let (reference, current) = (reference_counts[bin] as usize, current_counts[bin] as usize);
        !bins.of_one_value[bin] && distance.may_exceed(starts[bin], reference, current)
    };
    let deciding: Vec<usize> = (0..starts.len()).filter(|bin| may_decide(*bin)).collect();
    if deciding.is_empty() {
        return;
    }
    let mut reference = bins.gathered(reference, &reference_counts, &deciding);
    let mut current = bins.gathered(current, &current_counts, &deciding);
    let (mut reference, mut current) = (reference.as_mut_slice(), current.as_mut_slice());
    for bin in deciding {
        let (reference_head, reference_tail) = reference.split_at_mut(reference_counts[bin] as usize);
        let (current_head, current_tail) = current.split_at_mut(current_counts[bin] as usize);
        sort_part(reference_head);
        sort_part(current_head);
        distance.difference = starts[bin];
        ties(reference_head, current_head).for_each(|tie| distance.pass(tie.reference, tie.current));
        (reference, current) = (reference_tail, current_tail);
    }
}

/// Bins in the order of values. The range of all is cut into coarse bins of the same width, as bits measure it, and
/// each of these into a power of two of fine ones, by how many values it has.
struct Bins {
    /// The key of the least value.
    least: u64,
    /// Bits in which a coarse bin's keys may differ.
    coarse_shift: u32,
    /// What each coarse bin is cut into.
    coarse: Vec<Cut>,
    /// By fine bin, whether all that it can hold is one value.
    of_one_value: Vec<bool>,
}

/// How a coarse bin is cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Bits in which a fine bin's keys may differ.
    shift: u32,
    /// What is added to the bits above for the fine bin's number, modulo 2⁶⁴.
    base: u64,
}

impl Bins {
    fn of(samples: &[&[&[f64]]]) -> Self {
        let (mut least, mut greatest, mut any, mut all) = (u64::MAX, 0, 0, u64::MAX);
        each_key(samples, |key| {
            (least, greatest) = (least.min(key), greatest.max(key));
            (any, all) = (any | key, all & key);
        });
        // Below the lowest bit in which keys differ, they differ from the least key in nothing.
        let low = (any & !all).trailing_zeros().min(u64::BITS - 1);
        let span = greatest - least;
        let coarse_shift = (u64::BITS - span.leading_zeros()).saturating_sub(COARSE_BITS).max(low);
        let mut counts = vec![0_u64; (span >> coarse_shift) as usize + 1];
        each_key(samples, |key| counts[((key - least) >> coarse_shift) as usize] += 1);
        let total: u64 = counts.iter().sum();
        let (mut coarse, mut of_one_value) = (Vec::with_capacity(counts.len()), Vec::new());
        for (number, count) in counts.into_iter().enumerate() {
            // Its share of the fine bins, down to a power of two.
            let share = ((u128::from(count) << FINE_BITS) / u128::from(total)).max(1);
            let bits = share.ilog2().min(coarse_shift - low);
            let shift = coarse_shift - bits;
            let base = (of_one_value.len() as u64).wrapping_sub((number as u64) << bits);
            coarse.push(Cut { shift, base });
            of_one_value.extend(std::iter::repeat_n(shift == low, 1 << bits));
        }
        Self { least, coarse_shift, coarse, of_one_value }
    }

    #[inline]
    fn bin(&self, key: u64) -> usize {
        let above = key - self.least;
        let Cut { shift, base } = self.coarse[(above >> self.coarse_shift) as usize];
        (above >> shift).wrapping_add(base) as usize
    }

    /// A sample's values by bin.
    fn counts(&self, sample: &[&[f64]]) -> Vec<u32> {
        let mut counts = vec![0; self.of_one_value.len()];
        each_key(&[sample], |key| counts[self.bin(key)] += 1);
        counts
    }

    /// A sample's values in some rising bins, bin by bin.
    fn gathered(&self, sample: &[&[f64]], counts: &[u32], wanted: &[usize]) -> Vec<f64> {
        const UNWANTED: usize = usize::MAX;
        let (mut places, mut total) = (vec![UNWANTED; counts.len()], 0);
        for bin in wanted {
            places[*bin] = total;
            total += counts[*bin] as usize;
        }
        let mut gathered = vec![0.0; total];
        for value in sample.iter().flat_map(|part| part.iter()) {
            let place = &mut places[self.bin(key(*value))];
            if *place != UNWANTED {
                gathered[*place] = *value;
                *place += 1;
            }
        }
        gathered
    }
}

/// The key of a value; both zeros are one.
#[inline]
fn key(value: f64) -> u64 {
    key_of((value + 0.0).to_bits())
}

#[inline]
fn each_key(samples: &[&[&[f64]]], mut tell: impl FnMut(u64)) {
    for part in samples.iter().flat_map(|parts| parts.iter()) {
        for value in part.iter() {
            tell(key(*value));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::stats::{ks_test, ks_test_of_parts, uniform::Uniform};

    /// How a number between 0 and 1 becomes a value.
    const SHAPES: [fn(f64) -> f64; 10] = [
        |u| (u * 2.0).floor(),
        |u| (u * 5_000.0).floor(),
        |u| (u * 5_000.0).floor() - 2_500.0,
        |u| (u * 2_147_483_647.0).floor(),
        |u| u,
        |u| (u * 80.0 - 40.0).exp(),
        // Nearly all alike but for a few far off.
        |u| if u > 0.9999 { 1e300 * u } else { 1e9 + u },
        |u| {
            if u < 0.01 {
                f64::NEG_INFINITY
            } else if u > 0.99 {
                f64::INFINITY
            } else {
                -u
            }
        },
        |u| if u < 0.5 { 0.0 } else { -0.0 },
        |u| [0.0, -0.0, 5e-324, -5e-324, 1e300, 1.0][(u * 5.99) as usize],
    ];

    fn slices(parts: &[Vec<f64>]) -> Vec<&[f64]> {
        parts.iter().map(Vec::as_slice).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_in_no_order_say_what_sorted_samples_do(
            (seed, shape, size) in (any::<u64>(), prop::sample::select(SHAPES.to_vec()), 0..120_000_usize),
            // In percent: of values that are current, and by how much these are moved.
            (share, moved) in (0..=100_u32, prop::sample::select(vec![0_u32, 0, 1, 30])),
            part_len in 1..50_000_usize,
        ) {
            let mut uniform = Uniform(seed);
            let (mut reference, mut current) = (Vec::new(), Vec::new());
            for _ in 0..size {
                if uniform.next() * 100.0 < f64::from(share) {
                    current.push(shape((uniform.next() + f64::from(moved) / 100.0).min(1.0)));
                } else {
                    reference.push(shape(uniform.next()));
                }
            }
            let parts = |sample: &[f64]| -> Vec<Vec<f64>> { sample.chunks(part_len).map(<[f64]>::to_vec).collect() };
            let (reference_parts, current_parts) = (parts(&reference), parts(&current));
            let found = ks_test_of_parts(&slices(&reference_parts), &slices(&current_parts));
            prop_assert_eq!(found, ks_test(&mut reference, &mut current));
        }
    }
}
