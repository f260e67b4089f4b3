//! How far a figure may stray before chance is no explanation, however often somebody looks. Pure arithmetic on
//! counts and deviations; knows no metric.
//!
//! Every comparison here is an e-process: a figure that is 1 at the start and whose mean never grows where nothing
//! differs. By Ville's inequality it ever reaches 1/α with probability α at most, so α holds for all looks together.
//! Each is a mixture of likelihood ratios over sizes of the difference. The mixture has one width, which says for how
//! many units the interval is narrowest; it has to be chosen before the data are seen, and costs little when missed.

/// The level of a comparison and the number of units that it is planned for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Boundary {
    /// ln 1/α.
    ln_threshold: f64,
    /// Variance of the mixture, in variances of one unit: ρ² of Waudby-Smith et al.
    mixture: f64,
    /// Units of both arms together for which the interval is narrowest.
    planned_units: f64,
}

/// Bounds of a difference; infinite where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower bound, in the metric's unit.
    pub low: f64,
    /// Upper bound, in the metric's unit.
    pub high: f64,
}

impl Interval {
    /// Whether the value lies inside, bounds included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// What lies in both. Where nothing does, the empty interval between them, as one point.
    pub fn and(&self, other: &Self) -> Self {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        if low <= high { Self { low, high } } else { Self { low: low.midpoint(high), high: low.midpoint(high) } }
    }
}

impl Boundary {
    /// A boundary that is ever crossed by chance with probability `alpha` (above 0, below 1) at most.
    ///
    /// With u = units · ρ², the interval is narrowest where u − ln(1 + u) = −2 ln α, which sets ρ by the plan as in
    /// Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024), "Time-uniform central limit theory and asymptotic
    /// confidence sequences", Annals of Statistics 52(6).
    pub fn new(alpha: f64, planned_units: f64) -> Self {
        let target = -2.0 * alpha.ln();
        // The step has the slope 1 / (1 + u), so it converges for every α below 1.
        let width = (0..200).fold(target, |u: f64, _| target + u.ln_1p());
        Self { ln_threshold: -alpha.ln(), mixture: width / planned_units, planned_units }
    }

    /// The same plan at a share of the level.
    pub fn at_share(&self, share: f64) -> Self {
        Self::new(share * (-self.ln_threshold).exp(), self.planned_units)
    }

    /// ln 1/α: what the logarithm of an e-process has to reach.
    pub fn ln_threshold(&self) -> f64 {
        self.ln_threshold
    }

    /// Logarithm of the e-process of a difference that is so many standard errors from nothing, after so many units
    /// of both arms. Asymptotic: it holds for figures that are near normal at the first look.
    ///
    /// Source: the Gaussian mixture of Waudby-Smith et al. (2024), with the influence of each unit on the difference as
    /// the observation, as for the average effect in a randomised experiment there.
    pub fn ln_e(&self, standard_errors: f64, units: f64) -> f64 {
        let u = units * self.mixture;
        standard_errors * standard_errors * u / (2.0 * (1.0 + u)) - u.ln_1p() / 2.0
    }

    /// Standard errors at which that e-process reaches the threshold.
    pub fn standard_errors(&self, units: f64) -> f64 {
        let u = units * self.mixture;
        ((1.0 + u) / u * (u.ln_1p() + 2.0 * self.ln_threshold)).sqrt()
    }

    /// Precision of the beta mixtures over one arm's proportion, as a number of observations that a proportion is
    /// worth before the first: the same width, each arm being half of the units and so having twice the variance.
    pub(super) fn prior_observations(&self) -> f64 {
        (0.5 / self.mixture - 1.0).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_narrowest_where_it_was_planned() {
        let boundary = Boundary::new(0.05, 2_000.0);
        // Half the width is proportional to this.
        let width = |units: f64| boundary.standard_errors(units);
        let least = width(2_000.0);
        // The figure itself narrows with the units; the number of standard errors has its least at the plan.
        assert!((least - 3.035).abs() < 0.001, "{least}");
        for units in [20.0, 200.0, 1_500.0, 2_600.0, 20_000.0, 2e6] {
            assert!(width(units) > least, "{units}");
        }
        // What a plan that is missed by ten costs.
        assert!(width(200.0) / least < 1.27 && width(20_000.0) / least < 1.08);
    }

    #[test]
    fn the_boundary_is_where_the_e_process_reaches_its_threshold() {
        for (alpha, units) in [(0.05, 10.0), (0.05, 4e5), (0.01, 100.0), (0.9, 100.0)] {
            let boundary = Boundary::new(alpha, 2_000.0);
            let ln_e = boundary.ln_e(boundary.standard_errors(units), units);
            assert!((ln_e - boundary.ln_threshold()).abs() < 1e-9, "{alpha} {units}");
            let half = boundary.at_share(0.5);
            assert!((half.ln_threshold() - (2.0 / alpha).ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn what_two_intervals_share_is_one() {
        let wide = Interval { low: -1.0, high: 2.0 };
        assert_eq!(wide.and(&Interval { low: 0.0, high: 3.0 }), Interval { low: 0.0, high: 2.0 });
        assert_eq!(wide.and(&Interval { low: 4.0, high: 5.0 }), Interval { low: 3.0, high: 3.0 });
        assert!(wide.contains(2.0) && !wide.contains(2.5));
    }
}
