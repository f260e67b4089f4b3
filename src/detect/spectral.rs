//! Spectral residual: how much the newest value stands out of its trailing window once the window's usual frequencies
//! are taken away. It keeps no state of its own.
//!
//! After Ren and others, "Time-Series Anomaly Detection Service at Microsoft", KDD 2019.

use std::f64::consts::PI;

/// Values that are looked at.
pub const WINDOW: usize = SIZE - EXTENDED;

/// Length of the transform.
const SIZE: usize = 64;
/// Values that are put after the newest, so that it is not at the edge; the trend of those before gives them.
const EXTENDED: usize = 5;
/// Saliences before the newest to which it is compared.
const COMPARED: usize = 21;

/// How far the newest value's salience is above the mean of those before, in units of that mean; at least 0. None
/// while there are fewer than [`WINDOW`] values.
pub fn residual(values: &[f32]) -> Option<f64> {
    let window: Vec<f64> = values[values.len().checked_sub(WINDOW)?..].iter().map(|value| f64::from(*value)).collect();
    let salience = saliences(&window);
    let (newest, before) = salience.split_last()?;
    let near = mean(&before[before.len() - COMPARED..]);
    // A stretch that is flat for a moment makes no mountain of a molehill.
    let unit = near.max(0.2 * mean(before));
    Some(if unit > 0.0 { ((newest - near) / unit).max(0.0) } else { 0.0 })
}

/// The salience of each value of the window.
fn saliences(window: &[f64]) -> Vec<f64> {
    let mut real = window.to_vec();
    real.resize(SIZE, continued(window));
    let level = mean(&real);
    real.iter_mut().for_each(|value| *value -= level);
    let mut imaginary = vec![0.0; SIZE];
    transform(&mut real, &mut imaginary, -1.0);
    let amplitudes: Vec<f64> = real.iter().zip(&imaginary).map(|(re, im)| re.hypot(*im)).collect();
    // Amplitudes of rounding errors are no frequencies.
    let floor = 1e-9 * amplitudes.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut logs: Vec<f64> = amplitudes.iter().map(|amplitude| amplitude.max(floor).ln()).collect();
    // The level was taken away: the frequency 0 has no amplitude, which would make its neighbours stand out.
    logs[0] = logs[1];
    for at in 0..SIZE {
        let around = (logs[(at + SIZE - 1) % SIZE] + logs[at] + logs[(at + 1) % SIZE]) / 3.0;
        let factor = (logs[at] - around).exp() / amplitudes[at].max(floor);
        real[at] *= factor;
        imaginary[at] *= factor;
    }
    transform(&mut real, &mut imaginary, 1.0);
    real.iter().zip(&imaginary).take(WINDOW).map(|(re, im)| re.hypot(*im)).collect()
}

/// The value that the mean slope before the newest value leads to. That one is not asked: a spike would lead to a
/// higher one, beside which it is nothing.
fn continued(window: &[f64]) -> f64 {
    let (anchor, before) = (window[WINDOW - 2], &window[WINDOW - 2 - EXTENDED..WINDOW - 2]);
    let slopes = before.iter().rev().zip(1_u32..).map(|(value, steps)| (anchor - value) / f64::from(steps));
    before[1] + slopes.sum::<f64>()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The discrete Fourier transform in place (−1), or its inverse times the length (+1); lengths are powers of two.
fn transform(real: &mut [f64], imaginary: &mut [f64], direction: f64) {
    let length = real.len();
    let bits = length.trailing_zeros();
    for at in 0..length {
        let swapped = at.reverse_bits() >> (usize::BITS - bits);
        if at < swapped {
            real.swap(at, swapped);
            imaginary.swap(at, swapped);
        }
    }
    let mut half = 1;
    while half < length {
        for start in (0..length).step_by(2 * half) {
            for step in 0..half {
                let (sin, cos) = (direction * PI * step as f64 / half as f64).sin_cos();
                let (low, high) = (start + step, start + step + half);
                let re = real[high] * cos - imaginary[high] * sin;
                let im = real[high] * sin + imaginary[high] * cos;
                (real[high], imaginary[high]) = (real[low] - re, imaginary[low] - im);
                real[low] += re;
                imaginary[low] += im;
            }
        }
        half *= 2;
    }
}
