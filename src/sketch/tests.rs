//! What all sketches promise, held on many distributions against exact computation: the error, one
//! result whatever the order, and no trust in bytes.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, strategy::Union};
use sketches_ddsketch::{Config, DDSketch};

use super::{Buckets, DistinctSketch, Histogram, QuantileSketch, Sketch};
use crate::error::Kind;

const QS: [f64; 9] = [0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0];

/// Deterministic numbers for tests of a fixed size: SplitMix64.
struct Mixer(u64);

impl Mixer {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

fn quantiles_of(values: &[f64]) -> QuantileSketch {
    let mut sketch = QuantileSketch::new();
    values.iter().for_each(|value| sketch.add(*value));
    sketch
}

fn histogram_of(buckets: Buckets, values: &[f64]) -> Histogram {
    let mut histogram = Histogram::new(buckets);
    values.iter().for_each(|value| histogram.add(*value));
    histogram
}

fn distinct_of<T: AsRef<str>>(texts: &[T]) -> DistinctSketch {
    let mut sketch = DistinctSketch::new();
    texts.iter().for_each(|text| sketch.add(text.as_ref()));
    sketch
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|user| format!("user-{user}")).collect()
}

/// Every quantile lies within the bound of the value that has its rank, of the values that are finite.
#[track_caller]
fn within_bound(sketch: &QuantileSketch, values: &[f64]) {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sketch.count(), sorted.len() as u64);
    assert_eq!((sketch.least(), sketch.greatest()), (sorted.first().copied(), sorted.last().copied()));
    let bytes = sketch.encode();
    for q in QS {
        assert_eq!(QuantileSketch::quantile_of_encoded(&bytes, q).unwrap(), sketch.quantile(q), "q {q}");
        let Some(found) = sketch.quantile(q) else {
            assert!(sorted.is_empty());
            continue;
        };
        let exact = sorted[(q * (sorted.len() - 1) as f64) as usize];
        // The last term is what the logarithm itself is off by.
        let allowed = (QuantileSketch::RELATIVE_ERROR * exact.abs()).max(QuantileSketch::ZERO_MAX) + 1e-9 * exact.abs();
        assert!((found - exact).abs() <= allowed, "q {q}: {found} for {exact}");
    }
}

/// What holds of every sketch of every kind: one form, which reads back.
fn round_trip<S: Sketch + PartialEq + std::fmt::Debug>(sketch: &S) {
    let bytes = sketch.encode();
    let again = S::decode(&bytes).unwrap();
    assert_eq!(again, *sketch);
    assert_eq!(again.encode(), bytes);
}

/// Bytes cut anywhere, or with one more, are an error that says what of.
fn damaged_at_every_byte<S: Sketch + std::fmt::Debug>(sketch: &S, name: &str) {
    let bytes = sketch.encode();
    for length in 0..bytes.len() {
        let error = S::decode(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{length}");
        assert!(error.to_string().starts_with(&format!("the {name} of {length} bytes is damaged at byte ")), "{error}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(S::decode(&longer).unwrap_err().kind(), Kind::Corrupt);
    let newer = [&[bytes[0] + 1], &bytes[1..]].concat();
    let error = S::decode(&newer).unwrap_err();
    assert!(error.to_string().contains("version 2 where 1 is known"), "{error}");
}

/// Bytes that read are the one form of what they say, and it is no more memory than whole bytes take.
fn read_or_refused<S: Sketch>(bytes: &[u8]) {
    match S::decode(bytes) {
        Ok(sketch) => {
            assert_eq!(sketch.encode(), bytes);
            assert!(sketch.heap_bytes() <= 2 << 20, "{} bytes of memory", sketch.heap_bytes());
        }
        Err(error) => assert_eq!(error.kind(), Kind::Corrupt),
    }
}

/// Samples of very different shapes: even, log-normal, Pareto, of few values, over all magnitudes, of both
/// signs with zeros, with what is not finite.
fn samples() -> impl Strategy<Value = Vec<f64>> {
    Union::new([
        vec(0.0..10_000.0, 0..400).boxed(),
        vec(any::<u64>().prop_map(|seed| (6.0 + 1.5 * Mixer(seed).normal()).exp()), 0..400).boxed(),
        vec((1e-6..1.0_f64).prop_map(|unit| 20.0 / unit.powf(0.8)), 0..400).boxed(),
        vec(prop::sample::select(vec![0.0, 1.0, 2.5, 250.0]), 0..400).boxed(),
        vec((-320.0..308.0_f64).prop_map(|power| 10_f64.powf(power)), 0..100).boxed(),
        vec(-100.0..100.0, 0..400).boxed(),
        vec(prop_oneof![8 => -5.0..5.0, 1 => Just(0.0), 1 => Just(-0.0)], 0..100).boxed(),
        vec(any::<f64>(), 0..100).boxed(),
    ])
}

proptest! {
    #[test]
    fn quantiles_keep_their_bound(values in samples()) {
        let sketch = quantiles_of(&values);
        within_bound(&sketch, &values);
        round_trip(&sketch);
    }

    #[test]
    fn merged_quantiles_are_those_of_all(left in samples(), middle in samples(), right in samples()) {
        let all = [left.as_slice(), &middle, &right].concat();
        let whole = quantiles_of(&all).encode();
        let reversed: Vec<f64> = all.iter().rev().copied().collect();
        prop_assert_eq!(&quantiles_of(&reversed).encode(), &whole);
        let parts = [left, middle, right].map(|values| quantiles_of(&values));
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut merged = QuantileSketch::new();
            let mut merged_bytes = QuantileSketch::new();
            for part in order {
                merged.merge(&parts[part]).unwrap();
                merged_bytes.merge_encoded(&parts[part].encode()).unwrap();
            }
            prop_assert_eq!(&merged.encode(), &whole);
            prop_assert_eq!(&merged_bytes.encode(), &whole);
        }
    }

    /// The crate that the mapping is from, with bins enough never to collapse any, says the same.
    #[test]
    fn quantiles_are_those_of_the_crate(values in vec(0.001..1e6_f64, 1..400)) {
        let config = Config::new(QuantileSketch::RELATIVE_ERROR, 65_536, QuantileSketch::ZERO_MAX);
        let mut theirs = DDSketch::new(config);
        values.iter().for_each(|value| theirs.add(*value));
        let ours = quantiles_of(&values);
        for q in QS {
            let expected = theirs.quantile(q).unwrap().unwrap();
            let clamped = expected.clamp(ours.least().unwrap(), ours.greatest().unwrap());
            let rank = (q * (values.len() - 1) as f64) as usize;
            let exact = rank == 0 || rank == values.len() - 1;
            prop_assert!(exact || ours.quantile(q) == Some(clamped), "q {}: {:?}, {}", q, ours.quantile(q), expected);
        }
    }

    #[test]
    fn histograms_count_exactly(left in samples(), right in samples()) {
        for buckets in Buckets::ALL {
            let all = [left.as_slice(), &right].concat();
            let whole = histogram_of(buckets, &all);
            let finite: Vec<f64> = all.iter().copied().filter(|value| value.is_finite()).collect();
            let mut through = 0;
            for (bound, count) in buckets.bounds().iter().zip(whole.counts()) {
                through += count;
                prop_assert_eq!(through as usize, finite.iter().filter(|value| *value <= bound).count());
            }
            prop_assert_eq!(whole.count(), finite.len() as u64);
            round_trip(&whole);
            let mut merged = histogram_of(buckets, &right);
            merged.merge(&histogram_of(buckets, &left)).unwrap();
            prop_assert_eq!(&merged, &whole);
            let mut merged = histogram_of(buckets, &left);
            merged.merge_encoded(&histogram_of(buckets, &right).encode()).unwrap();
            prop_assert_eq!(&merged, &whole);
        }
    }

    #[test]
    fn the_distance_is_between_its_bounds(left in samples(), right in samples()) {
        let finite = |values: Vec<f64>| -> Vec<f64> { values.into_iter().filter(|value| value.is_finite()).collect() };
        let (left, right) = (finite(left), finite(right));
        for buckets in Buckets::ALL {
            let distance = histogram_of(buckets, &left).distance(&histogram_of(buckets, &right)).unwrap();
            let Some(distance) = distance else {
                prop_assert!(left.is_empty() || right.is_empty());
                continue;
            };
            let share = |values: &[f64], at: f64| {
                values.iter().filter(|value| **value <= at).count() as f64 / values.len() as f64
            };
            let exact = left.iter().chain(&right).map(|at| (share(&left, *at) - share(&right, *at)).abs());
            let exact = exact.fold(0.0, f64::max);
            let (least, greatest) = (distance.least - 1e-12, distance.greatest + 1e-12);
            prop_assert!(least <= exact && exact <= greatest, "{} in {:?}", exact, distance);
        }
    }

    #[test]
    fn bins_beside_each_other_rise_and_lose_nothing(left in samples(), right in samples()) {
        let (one, other) = (quantiles_of(&left), quantiles_of(&right));
        let bins = one.bins_beside(&other);
        prop_assert!(bins.iter().all(|bin| *bin != (0, 0)));
        prop_assert_eq!(bins.iter().map(|bin| bin.0).sum::<u64>(), one.count());
        prop_assert_eq!(bins.iter().map(|bin| bin.1).sum::<u64>(), other.count());
        for (a, b) in left.iter().zip(&right).filter(|(a, b)| a.is_finite() && b.is_finite()) {
            let bins = quantiles_of(&[*a]).bins_beside(&quantiles_of(&[*b]));
            let expected = if a < b { [(1, 0), (0, 1)] } else { [(0, 1), (1, 0)] };
            prop_assert!(bins == [(1, 1)] || bins == expected, "{} {} {:?}", a, b, bins);
        }
    }

    #[test]
    fn bins_of_one_whole_number_are_told(left in vec(0..90_u16, 1..60), right in vec(0..90_u16, 1..60)) {
        let numbers = |values: &[u16]| quantiles_of(&values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
        let bins = numbers(&left).bins_of_whole_numbers_beside(&numbers(&right));
        let counts: Vec<(u64, u64)> = bins.iter().map(|(counts, _)| *counts).collect();
        prop_assert_eq!(counts, numbers(&left).bins_beside(&numbers(&right)));
        // Read by rising values, a bin that holds one has all of that value.
        let mut values: Vec<(u16, bool)> = left.iter().map(|value| (*value, true)).collect();
        values.extend(right.iter().map(|value| (*value, false)));
        values.sort_unstable();
        let mut rest = values.as_slice();
        for ((reference, current), is_one) in bins {
            let (bin, after) = rest.split_at((reference + current) as usize);
            prop_assert!(!is_one || bin.iter().all(|value| value.0 == bin[0].0), "{:?}", bin);
            prop_assert!(is_one || bin[0].0 >= 50, "{:?}", bin);
            rest = after;
        }
    }

    /// Texts repeat; as long as coupons are kept the count is exact.
    #[test]
    fn few_distinct_texts_are_counted_exactly(users in vec(0..512_u16, 0..900)) {
        let texts: Vec<String> = users.iter().map(|user| format!("user-{user}")).collect();
        let sketch = distinct_of(&texts);
        prop_assert_eq!(sketch.count(), texts.iter().collect::<HashSet<_>>().len() as u64);
        round_trip(&sketch);
    }

    #[test]
    fn merged_distinct_counts_are_those_of_all(sizes in vec((0..1_500_usize, 0..900_usize), 1..6)) {
        let all = users(3_000);
        let parts: Vec<&[String]> = sizes.iter().map(|(from, length)| &all[*from..from + length]).collect();
        let whole = distinct_of(&parts.concat()).encode();
        let mut merged = DistinctSketch::new();
        parts.iter().for_each(|part| merged.merge(&distinct_of(part)).unwrap());
        prop_assert_eq!(&merged.encode(), &whole);
        let mut merged = DistinctSketch::new();
        parts.iter().rev().for_each(|part| merged.merge_encoded(&distinct_of(part).encode()).unwrap());
        prop_assert_eq!(&merged.encode(), &whole);
        round_trip(&merged);
    }

    #[test]
    fn damaged_bytes_are_refused(values in samples(), at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let damage = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            bytes
        };
        read_or_refused::<QuantileSketch>(&damage(quantiles_of(&values).encode()));
        read_or_refused::<Histogram>(&damage(histogram_of(Buckets::Logarithmic, &values).encode()));
        let texts: Vec<String> = values.iter().map(f64::to_string).collect();
        read_or_refused::<DistinctSketch>(&damage(distinct_of(&texts).encode()));
    }

    #[test]
    fn arbitrary_bytes_are_refused(second in 0..16_u8, rest in prop_oneof![vec(any::<u8>(), 0..2_200), vec(0..4_u8, 0..40)]) {
        for bytes in [rest.clone(), [&[1, second], rest.as_slice()].concat()] {
            read_or_refused::<QuantileSketch>(&bytes);
            let read = QuantileSketch::quantile_of_encoded(&bytes, 0.5).ok();
            assert_eq!(read, QuantileSketch::decode(&bytes).ok().map(|sketch| sketch.quantile(0.5)));
            read_or_refused::<Histogram>(&bytes);
            read_or_refused::<DistinctSketch>(&bytes);
        }
    }
}

#[test]
fn large_samples_keep_their_bound() {
    let mut mixer = Mixer(7);
    let log_normal: Vec<f64> = (0..200_000).map(|_| (6.5 + mixer.normal()).exp()).collect();
    let pareto: Vec<f64> = (0..200_000).map(|_| 3.0 / mixer.unit()).collect();
    let two_peaks: Vec<f64> =
        (0..200_000).map(|index| if index % 10 == 0 { 5_000.0 } else { 120.0 } + 10.0 * mixer.normal()).collect();
    for values in [log_normal, pareto, two_peaks] {
        let sketch = quantiles_of(&values);
        within_bound(&sketch, &values);
        round_trip(&sketch);
        assert!(sketch.encode().len() < 4_096, "{} bytes", sketch.encode().len());
    }
}

/// The estimate's error over many sets, against the standard error that is stated: a mean square far
/// above it, or one far outlier, is a broken register.
#[test]
fn many_distinct_texts_keep_their_error() {
    for count in [513, 700, 1_500, 4_000, 12_000, 40_000] {
        let sets = 40;
        let (mut squares, mut worst) = (0.0, 0.0_f64);
        for set in 0..sets {
            let mut sketch = DistinctSketch::new();
            (0..count).for_each(|user| sketch.add(&format!("{set}/{user}")));
            let error = sketch.count() as f64 / f64::from(count) - 1.0;
            squares += error * error;
            worst = worst.max(error.abs());
        }
        let deviation = (squares / f64::from(sets)).sqrt();
        // 40 sets estimate a deviation to within a quarter or so.
        assert!(deviation < 1.3 * DistinctSketch::STANDARD_ERROR, "{count}: {deviation}");
        assert!(worst < 4.0 * DistinctSketch::STANDARD_ERROR, "{count}: {worst}");
    }
}

#[test]
fn nothing_and_one_value() {
    let nothing = QuantileSketch::new();
    assert_eq!((nothing.count(), nothing.quantile(0.5), nothing.least(), nothing.greatest()), (0, None, None, None));
    assert_eq!(nothing.encode(), [1, 0]);
    round_trip(&nothing);
    for value in [0.0, -0.0, 1e-12, -1e-12, 1.0, -273.15, 1e300, f64::MIN_POSITIVE, f64::MAX, f64::MIN] {
        let one = quantiles_of(&[value]);
        QS.iter().for_each(|q| assert_eq!(one.quantile(*q), Some(value), "{value}"));
        round_trip(&one);
    }
    assert_eq!(quantiles_of(&[-0.0]).encode(), quantiles_of(&[0.0]).encode());
    let one = quantiles_of(&[3.0]);
    assert_eq!([-0.1, 1.1, f64::NAN].map(|q| one.quantile(q)), [None; 3]);

    let nothing = Histogram::new(Buckets::LatencyMs);
    assert_eq!((nothing.count(), nothing.encode()), (0, vec![1, 1, 0]));
    assert_eq!(nothing.distance(&nothing).unwrap(), None);
    round_trip(&nothing);
    let one = histogram_of(Buckets::LatencyMs, &[50.0]);
    assert_eq!((one.counts()[0], one.encode()), (1, vec![1, 1, 1, 0, 1]));
    assert_eq!(one.distance(&nothing).unwrap(), None);

    let nothing = DistinctSketch::new();
    assert_eq!((nothing.count(), nothing.encode()), (0, vec![1, 0, 0]));
    round_trip(&nothing);
    assert_eq!(distinct_of(&["", ""]).count(), 1);
    assert_eq!(distinct_of(&users(512)).count(), DistinctSketch::EXACT_MAX);
}

#[test]
fn what_is_not_finite_is_left_out() {
    let odd = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    assert_eq!(quantiles_of(&odd), QuantileSketch::new());
    assert_eq!(histogram_of(Buckets::Ratio, &odd), Histogram::new(Buckets::Ratio));
    let mixed = [&odd[..], &[1.0, 2.0], &odd].concat();
    assert_eq!(quantiles_of(&mixed).encode(), quantiles_of(&[1.0, 2.0]).encode());
}

#[test]
fn bytes_that_end_early_are_refused() {
    let mut mixer = Mixer(3);
    let few = [-2.0, -1.0, 0.0, 0.5, 700.0];
    let many: Vec<f64> = (0..2_000).map(|_| 300.0 * mixer.normal()).collect();
    for values in [&few[..], &many, &[], &[4.0]] {
        damaged_at_every_byte(&quantiles_of(values), "quantile sketch");
        damaged_at_every_byte(&histogram_of(Buckets::Logarithmic, values), "histogram");
    }
    for count in [0, 1, 100, 30_000] {
        damaged_at_every_byte(&distinct_of(&users(count)), "distinct sketch");
    }
}

/// Stored bytes are read by later versions: these may not change.
#[test]
fn the_bytes_stay_as_they_are() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(quantiles_of(&[-1.5, 0.0, 120.0, 121.0, 900.0]).encode()), QUANTILES);
    assert_eq!(hex(histogram_of(Buckets::LatencyMs, &[20.0, 120.0, 121.0, 90_000.0]).encode()), HISTOGRAM);
    assert_eq!(hex(distinct_of(&["a", "b", "user-1"]).encode()), DISTINCT);
    assert_eq!(Buckets::Logarithmic.bounds()[..4], [0.1, 0.125, 0.16, 0.2]);
    assert_eq!(Buckets::Logarithmic.bounds()[80], 1e7);
    for buckets in Buckets::ALL {
        assert!(buckets.bounds().is_sorted_by(|a, b| a < b));
        assert_eq!(Buckets::named(buckets.name()), Some(buckets));
    }
}

const QUANTILES: &str = "010f0128010102de03026501000000000000f8bf0000000000208c40";
const HISTOGRAM: &str = "010103000101020601";
const DISTINCT: &str = "010003af84ee21dbf99502ec86ad0d";

#[test]
fn other_buckets_do_not_merge() {
    let mut latency = histogram_of(Buckets::LatencyMs, &[1.0]);
    let ratio = histogram_of(Buckets::Ratio, &[1.0]);
    let before = latency.clone();
    assert_eq!(latency.merge(&ratio).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(latency.merge_encoded(&ratio.encode()).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(latency.distance(&ratio).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(latency, before);
}
