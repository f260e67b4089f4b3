//! Numbers for simulations in tests: the same on every machine.

/// A fixed sequence between 0 and 1, by its seed. Linear congruential, with Knuth's factor of MMIX.
pub struct Uniform(pub u64);

impl Uniform {
    /// The next one.
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
