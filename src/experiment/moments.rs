//! Means and products of deviations of four figures of a unit: all that a comparison needs of it. Merges in any
//! order, to rounding. Never keeps a unit, and never looks at what the figures mean.

/// Figures of one unit: numerator and denominator of a metric, and the same two from before the experiment.
pub const FIGURES: usize = 4;
/// Different pairs of figures, each with itself included.
const PAIRS: usize = FIGURES * (FIGURES + 1) / 2;
/// Numbers in [`Moments::parts`].
pub const PARTS: usize = 1 + FIGURES + PAIRS;

/// Count, means and summed products of deviations from the means.
///
/// Updated and merged without sums of squares, which cancel: Chan, Golub, LeVeque (1979), "Updating Formulae and a
/// Pairwise Algorithm for Computing Sample Variances".
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    count: f64,
    means: [f64; FIGURES],
    products: [f64; PAIRS],
}

impl Moments {
    /// Adds a unit.
    pub fn add(&mut self, figures: [f64; FIGURES]) {
        self.merge(&Self { count: 1.0, means: figures, products: [0.0; PAIRS] });
    }

    /// Adds the units of another.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        let count = self.count + other.count;
        let steps: [f64; FIGURES] = std::array::from_fn(|figure| other.means[figure] - self.means[figure]);
        let weight = self.count * (other.count / count);
        for (index, (one, two)) in pairs().enumerate() {
            self.products[index] += other.products[index] + steps[one] * steps[two] * weight;
        }
        for (mean, step) in self.means.iter_mut().zip(steps) {
            *mean += step * (other.count / count);
        }
        self.count = count;
    }

    /// Units.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Mean of a figure over the units; 0 without units.
    pub fn mean(&self, figure: usize) -> f64 {
        self.means[figure]
    }

    /// Sum of a figure over the units.
    pub fn sum(&self, figure: usize) -> f64 {
        self.means[figure] * self.count
    }

    /// Sum of the squares of a figure over the units.
    pub fn sum_of_squares(&self, figure: usize) -> f64 {
        self.products[place(figure, figure)] + self.means[figure] * self.sum(figure)
    }

    /// Covariance over the units of two linear combinations of the figures, by n − 1; 0 below two units.
    pub fn covariance(&self, one: &[f64; FIGURES], two: &[f64; FIGURES]) -> f64 {
        if self.count < 2.0 {
            return 0.0;
        }
        let terms = (0..FIGURES).flat_map(|i| (0..FIGURES).map(move |j| (i, j)));
        let sum: f64 = terms.map(|(i, j)| one[i] * two[j] * self.products[place(i, j)]).sum();
        sum / (self.count - 1.0)
    }

    /// Count, means and products as plain numbers, for what carries them between threads and rows.
    pub fn parts(&self) -> [f64; PARTS] {
        let mut parts = [self.count; PARTS];
        parts[1..=FIGURES].copy_from_slice(&self.means);
        parts[1 + FIGURES..].copy_from_slice(&self.products);
        parts
    }

    /// From [`Moments::parts`]; `None` for another number of them.
    pub fn from_parts(parts: &[f64]) -> Option<Self> {
        let parts: &[f64; PARTS] = parts.try_into().ok()?;
        Some(Self {
            count: parts[0],
            means: std::array::from_fn(|figure| parts[1 + figure]),
            products: std::array::from_fn(|pair| parts[1 + FIGURES + pair]),
        })
    }
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..FIGURES).flat_map(|one| (one..FIGURES).map(move |two| (one, two)))
}

/// Where the product of two figures stands: the upper triangle, row by row.
fn place(one: usize, two: usize) -> usize {
    let (low, high) = (one.min(two), one.max(two));
    low * FIGURES - low * (low + 1) / 2 + high
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_stand_in_their_places() {
        for (index, (one, two)) in pairs().enumerate() {
            assert_eq!((place(one, two), place(two, one)), (index, index));
        }
    }

    #[test]
    fn large_means_lose_no_variance() {
        let mut moments = Moments::default();
        for value in [1e9, 1e9 + 1.0, 1e9 + 2.0] {
            moments.add([value, 1.0, 0.0, 0.0]);
        }
        let x = [1.0, 0.0, 0.0, 0.0];
        assert_eq!(moments.covariance(&x, &x), 1.0);
        assert_eq!(Moments::from_parts(&moments.parts()), Some(moments));
        assert_eq!(Moments::from_parts(&[1.0]), None);
    }

    proptest! {
        #[test]
        fn merged_parts_are_the_whole(
            units in prop::collection::vec(prop::array::uniform4(-10.0..10.0_f64), 2..40),
            cut in 0..40_usize,
        ) {
            let cut = cut.min(units.len());
            let of = |units: &[[f64; FIGURES]]| {
                let mut moments = Moments::default();
                units.iter().for_each(|unit| moments.add(*unit));
                moments
            };
            let mut merged = of(&units[..cut]);
            merged.merge(&of(&units[cut..]));
            let count = units.len() as f64;
            let sum = |f: &dyn Fn(&[f64; FIGURES]) -> f64| units.iter().map(f).sum::<f64>();
            for (i, j) in pairs() {
                let (a, b) = (sum(&|unit| unit[i]) / count, sum(&|unit| unit[j]) / count);
                let expected = sum(&|unit| (unit[i] - a) * (unit[j] - b)) / (count - 1.0);
                let (mut one, mut two) = ([0.0; FIGURES], [0.0; FIGURES]);
                (one[i], two[j]) = (1.0, 1.0);
                prop_assert!((merged.covariance(&one, &two) - expected).abs() < 1e-9);
                prop_assert!((merged.sum_of_squares(i) - sum(&|unit| unit[i] * unit[i])).abs() < 1e-8);
            }
        }
    }
}
