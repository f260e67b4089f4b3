//! Two samples in the order of their values: sorting, and the walk over their distinct values that
//! every test on ranks takes. Never drops a value.

/// Sorts as `f64::total_cmp` orders. What already consists of sorted runs is only merged, so samples
/// that were sorted in parts take time proportional to their length.
pub fn sort(values: &mut [f64]) {
    // The stable sort finds runs; the unstable one does not.
    values.sort_by(f64::total_cmp);
}

/// Fewer values are compared with each other: counting digits pays for many only.
const DIGITS_MIN: usize = 1 << 14;
/// Most bits of a digit: as many counters as stay in a core's first cache.
const DIGIT_BITS_MAX: u32 = 12;

/// Sorts a part of a sample as `f64::total_cmp` orders. Many values take as much memory again while they are sorted.
///
/// By digits, the least first (Knuth, The Art of Computer Programming 3, 5.2.5), of those bits alone in which the
/// values differ: whole numbers differ in few.
pub fn sort_part(values: &mut [f64]) {
    if values.len() < DIGITS_MIN {
        return values.sort_unstable_by(f64::total_cmp);
    }
    let (mut any, mut all, mut before, mut is_sorted) = (0, u64::MAX, 0, true);
    for value in values.iter() {
        let key = key_of(value.to_bits());
        (any, all) = (any | key, all & key);
        is_sorted &= before <= key;
        before = key;
    }
    let differing = any & !all;
    if is_sorted || differing == 0 {
        return;
    }
    let (low, high) = (differing.trailing_zeros(), u64::BITS - differing.leading_zeros());
    let passes = (high - low).div_ceil(DIGIT_BITS_MAX);
    let bits = (high - low).div_ceil(passes);
    // From here on both hold keys, as the bits of numbers.
    values.iter_mut().for_each(|value| *value = f64::from_bits(key_of(value.to_bits())));
    let mut others = vec![0.0; values.len()];
    let mut places = vec![0_usize; 1 << bits];
    for pass in 0..passes {
        let shift = low + pass * bits;
        match pass % 2 {
            0 => distribute(values, &mut others, &mut places, shift),
            _ => distribute(&others, values, &mut places, shift),
        }
    }
    if passes % 2 == 1 {
        values.copy_from_slice(&others);
    }
    values.iter_mut().for_each(|value| *value = f64::from_bits(bits_of(value.to_bits())));
}

/// Writes keys in the order of one digit, and as they come where it is the same. There are as many places as digits.
fn distribute(from: &[f64], to: &mut [f64], places: &mut [usize], shift: u32) {
    let mask = places.len() as u64 - 1;
    let digit = |key: f64| ((key.to_bits() >> shift) & mask) as usize;
    places.fill(0);
    from.iter().for_each(|key| places[digit(*key)] += 1);
    let mut first = 0;
    for place in places.iter_mut() {
        first += std::mem::replace(place, first);
    }
    for key in from {
        let place = &mut places[digit(*key)];
        to[*place] = *key;
        *place += 1;
    }
}

/// Bits that are ordered as whole numbers as `f64::total_cmp` orders what they stand for.
#[inline]
pub(super) fn key_of(bits: u64) -> u64 {
    bits ^ ((bits as i64 >> 63) as u64 | 1 << 63)
}

/// The bits of such a key.
#[inline]
fn bits_of(key: u64) -> u64 {
    key ^ (!(key as i64 >> 63) as u64 | 1 << 63)
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
    use super::{DIGITS_MIN, sort, sort_part, ties};

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

    #[test]
    fn many_are_sorted_as_few_are() {
        let check = |value: &dyn Fn(u64) -> f64| {
            for count in [DIGITS_MIN - 1, DIGITS_MIN, 3 * DIGITS_MIN + 7] {
                let mut state = 1_u64;
                let mut values: Vec<f64> = (0..count)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        value(state >> 8)
                    })
                    .collect();
                let mut expected = values.clone();
                expected.sort_unstable_by(f64::total_cmp);
                sort_part(&mut values);
                let bits = |values: &[f64]| -> Vec<u64> { values.iter().map(|value| value.to_bits()).collect() };
                assert!(bits(&values) == bits(&expected), "{count} values such as {}", value(1));
            }
        };
        check(&|number| (number % 5_000) as f64);
        check(&|number| (number % 5_000) as f64 - 2_500.0);
        check(&|number| number as f64 / 7.0);
        check(&|number| f64::from_bits(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        check(&|number| [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, 1.0][(number % 7) as usize]);
        check(&|_| 3.5);
        check(&|number| if number % 2 == 0 { 0.25 } else { 0.5 });
    }
}
