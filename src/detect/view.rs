//! One way to look at a series: its past, and how surprising some measures of its newest value are. It never knows
//! what its values are, nor how the measures are taken.

use serde::{Deserialize, Serialize};

use super::{calibration::Calibration, discord, track::Track};

/// What is measured of a series' newest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Distance of the window of so many newest values from the nearest earlier one.
    Window(usize),
    /// How much the value stands out of the spectrum of its trailing window.
    Spectrum,
    /// Distance of the window of so many newest seasonal residuals from the nearest earlier one.
    ResidualWindow(usize),
    /// The seasonal residual, in units of the usual one.
    Residual,
    /// The mean of the last residuals.
    ResidualLevel,
}

/// A measure, the weight of its surprise beside others', and its size (at least 0); none where it can't be taken.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub measure: Measure,
    pub weight: f64,
    pub size: Option<f64>,
}

/// What the measures say together.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// Weighted quadratic mean of the measures' −log10 p: between Fisher's way to combine p-values, which is their mean,
    /// and Tippett's, their maximum. The measures depend on each other, so it is no exact p-value itself.
    pub surprise: f64,
    /// The measure of the largest surprise.
    pub measure: Measure,
}

/// The past of one quantity and of the measures of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    track: Track,
    /// In the order in which measures are given.
    calibrations: Vec<Calibration>,
}

impl View {
    /// Adds the newest value.
    pub fn push(&mut self, value: f32) {
        self.track.push(value);
    }

    /// Says that the next value does not follow the newest.
    pub fn interrupt(&mut self) {
        self.track.interrupt();
    }

    /// The newest values, if there are so many without a gap.
    pub fn newest(&self, length: usize) -> Option<&[f32]> {
        self.track.whole(length).map(|past| &past[past.len() - length..])
    }

    /// The distances of the newest windows of these lengths and weights from the nearest earlier ones.
    pub fn discords<'a>(
        &'a self,
        windows: &'a [(usize, f64)],
        name: fn(usize) -> Measure,
    ) -> impl Iterator<Item = Reading> + 'a {
        windows.iter().map(move |&(length, weight)| {
            let size = self.track.whole(length).and_then(|past| discord::distance(past, length));
            Reading { measure: name(length), weight, size }
        })
    }

    /// Whether it can judge, and by each measure that the other one can judge by.
    pub fn knows_as_much_as(&self, other: &Self) -> bool {
        let mut pairs = self.calibrations.iter().zip(&other.calibrations);
        self.calibrations.iter().any(Calibration::is_learned)
            && pairs.all(|(own, others)| own.is_learned() || !others.is_learned())
    }

    /// How surprising the measures are, which are learned. The same ones, in the same order, each time. None while
    /// none of them has learned enough.
    pub fn judge(&mut self, sizes: &[Reading]) -> Option<Judged> {
        self.calibrations.resize_with(sizes.len(), Calibration::default);
        let (mut squares, mut weights, mut largest) = (0.0, 0.0, None);
        for (calibration, Reading { measure, weight, size }) in self.calibrations.iter_mut().zip(sizes) {
            let Some(size) = *size else { continue };
            if let Some(surprise) = calibration.surprise(size) {
                squares += weight * surprise * surprise;
                weights += weight;
                if largest.is_none_or(|(most, _)| surprise > most) {
                    largest = Some((surprise, *measure));
                }
            }
            calibration.learn(size);
        }
        largest.map(|(_, measure)| Judged { surprise: (squares / weights).sqrt(), measure })
    }
}
