//! A bound as a header writes it, `< 500` or `3 to 8`, and whether a value keeps it.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// `< x`.
    Below(f64),
    /// `<= x`.
    AtMost(f64),
    /// `> x`.
    Above(f64),
    /// `>= x`.
    AtLeast(f64),
    /// `x to y`, both included.
    Within(f64, f64),
}

impl Bound {
    /// The value lies there.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Bound::Below(bound) => value < bound,
            Bound::AtMost(bound) => value <= bound,
            Bound::Above(bound) => value > bound,
            Bound::AtLeast(bound) => value >= bound,
            Bound::Within(least, most) => (least..=most).contains(&value),
        }
    }

    /// Smaller values are more of it: `Some(true)`; greater ones: `Some(false)`; `None` for a range.
    pub fn is_upper(self) -> Option<bool> {
        match self {
            Bound::Below(_) | Bound::AtMost(_) => Some(true),
            Bound::Above(_) | Bound::AtLeast(_) => Some(false),
            Bound::Within(..) => None,
        }
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse().ok().filter(|value: &f64| value.is_finite());
        let sided = |sign: &str, bound: fn(f64) -> Bound| Some(number(text.strip_prefix(sign)?).map(bound));
        let range = || {
            let (least, most) = text.split_once(" to ")?;
            let (least, most) = (number(least)?, number(most)?);
            (least <= most).then_some(Bound::Within(least, most))
        };
        let found = sided("<=", Bound::AtMost)
            .or_else(|| sided(">=", Bound::AtLeast))
            .or_else(|| sided("<", Bound::Below))
            .or_else(|| sided(">", Bound::Above))
            .unwrap_or_else(range);
        found.ok_or_else(|| format!("`{text}` is no bound; write `< 500`, `<= 500`, `> 0.9`, `>= 0.9` or `3 to 8`"))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Below(bound) => write!(out, "< {bound}"),
            Bound::AtMost(bound) => write!(out, "<= {bound}"),
            Bound::Above(bound) => write!(out, "> {bound}"),
            Bound::AtLeast(bound) => write!(out, ">= {bound}"),
            Bound::Within(least, most) => write!(out, "{least} to {most}"),
        }
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The text reads as itself, and these values keep it or not.
    #[track_caller]
    fn check(text: &str, kept: &[f64], broken: &[f64]) {
        let bound: Bound = text.parse().unwrap();
        assert_eq!(bound.to_string(), text);
        assert!(kept.iter().all(|value| bound.holds(*value)), "{text}: {kept:?}");
        assert!(!broken.iter().any(|value| bound.holds(*value)), "{text}: {broken:?}");
    }

    #[test]
    fn bounds_read_as_written() {
        check("< 500", &[499.9, -1.0], &[500.0, f64::NAN]);
        check("<= 500", &[500.0], &[500.1]);
        check("> 0.9", &[0.91], &[0.9]);
        check(">= 0.9", &[0.9], &[0.89]);
        check("3 to 8", &[3.0, 8.0], &[2.9, 8.1, f64::NAN]);
        check("< -0.3", &[-0.31], &[-0.3]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "500", "< many", "< inf", "<> 3", "8 to 3", "3 to", "= 3", "3..8"] {
            assert!(text.parse::<Bound>().unwrap_err().contains("is no bound"), "{text}");
        }
    }
}
