//! Burn rates over several windows: how fast what is allowed to go wrong is used, and whether that calls for someone.
//!
//! A pair of windows burns where both are above its threshold: the long one says that it matters, the short one that
//! it still goes on. Source: Beyer, Murphy, Rensin, Kawahara, Thorne (2018), "The Site Reliability Workbook", chapter 5,
//! "Multiwindow, Multi-Burn-Rate Alerts".

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::time,
    counts::{Allowance, Counts, Sum},
};
use crate::{config::SloConfig, stats::binomial_upper_tail};

/// Bad calls of a long window count only where so many or more would come by chance with a smaller probability than
/// this, if just what is allowed were bad. A month has 720 hours: at a level of 1 % chance alone would pass in up to
/// seven of them.
pub const GUARD_LEVEL: f64 = 0.001;
/// The largest share of bad calls that a threshold asks for.
const BAD_SHARE_MAX: f64 = 0.9;

/// What a pair of windows calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SloSeverity)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Someone, now.
    Page,
    /// Someone, on a working day.
    Ticket,
}

struct Pair {
    long_minutes: i64,
    short_minutes: i64,
    threshold: f64,
    severity: Severity,
}

/// 14.4 uses 2 % of 30 days in an hour, 6 uses 5 % in six hours, 1 uses 10 % in three days.
const PAIRS: [Pair; 3] = [
    Pair { long_minutes: 60, short_minutes: 5, threshold: 14.4, severity: Severity::Page },
    Pair { long_minutes: 6 * 60, short_minutes: 30, threshold: 6.0, severity: Severity::Page },
    Pair { long_minutes: 3 * 24 * 60, short_minutes: 6 * 60, threshold: 1.0, severity: Severity::Ticket },
];

/// No window reaches further back, hours: three days, and its start moved back to a whole hour.
pub const REACH_HOURS: u32 = 3 * 24 + 1;

/// A pair of windows.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SloBurnRate)]
pub struct BurnRate {
    /// What it calls for where it burns.
    pub severity: Severity,
    /// Both windows are above this where it burns.
    pub threshold: f64,
    /// The workbook's threshold.
    pub threshold_standard: f64,
    /// Why the threshold is another, where it is.
    pub threshold_reason: Option<String>,
    /// Whether it matters.
    pub long: WindowFigure,
    /// Whether it still goes on.
    pub short: WindowFigure,
    /// The probability of as many bad calls in the long window or more, if just what is allowed were bad; none for
    /// an objective of cost and without samples.
    pub p_value: Option<f64>,
    /// Whether it calls for someone.
    pub is_burning: bool,
    /// Why it does not although both windows are above the threshold.
    pub reason: Option<String>,
}

/// A window.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SloWindow)]
pub struct WindowFigure {
    /// Its name, such as 5m, 6h and 3d.
    pub name: String,
    /// Its start, UTC.
    pub from: String,
    /// Its end, exclusive.
    pub to: String,
    /// Calls that say whether they were good, or what they cost.
    pub samples: u64,
    /// Those that were not good, or what they cost, USD.
    pub bad: f64,
    /// How fast what is allowed is used: 1 uses it up in just the objective's window. None without samples.
    pub burn_rate: Option<f64>,
}

impl BurnRate {
    /// How many pairs there are.
    pub const PAIRS: usize = PAIRS.len();

    /// All pairs of an objective, the shortest first. Its counts may begin [`REACH_HOURS`] before their end.
    pub fn of(objective: &SloConfig, counts: &Counts) -> Vec<Self> {
        Self::all(counts, Allowance::new(objective))
    }

    /// All pairs, the shortest first.
    pub(super) fn all(counts: &Counts, allowance: Allowance) -> Vec<Self> {
        PAIRS.iter().map(|pair| Self::new(pair, counts, allowance)).collect()
    }

    fn new(pair: &Pair, counts: &Counts, allowance: Allowance) -> Self {
        let (long, short) = (counts.last(pair.long_minutes), counts.last(pair.short_minutes));
        let (threshold, threshold_reason) = threshold(pair.threshold, allowance);
        let is_above = |sum: &Sum| sum.burn_rate(allowance).is_some_and(|rate| rate >= threshold);
        let p_value = match allowance {
            // Whole numbers, as the counts of calls are.
            Allowance::Share(share) if long.samples > 0 => binomial_upper_tail(long.bad as u64, long.samples, share),
            _ => None,
        };
        let are_above = is_above(&long) && is_above(&short);
        let by_chance = p_value.filter(|p_value| are_above && *p_value >= GUARD_LEVEL);
        Self {
            severity: pair.severity,
            threshold,
            threshold_standard: pair.threshold,
            threshold_reason,
            p_value,
            is_burning: are_above && by_chance.is_none(),
            reason: by_chance.map(|p_value| {
                format!(
                    "{} bad of {} calls may be chance: p = {p_value:.4}, less than {GUARD_LEVEL} is needed",
                    long.bad, long.samples
                )
            }),
            long: WindowFigure::new(pair.long_minutes, long, allowance),
            short: WindowFigure::new(pair.short_minutes, short, allowance),
        }
    }
}

impl WindowFigure {
    fn new(minutes: i64, sum: Sum, allowance: Allowance) -> Self {
        let name = match minutes {
            days if days % (24 * 60) == 0 => format!("{}d", days / (24 * 60)),
            hours if hours % 60 == 0 => format!("{}h", hours / 60),
            minutes => format!("{minutes}m"),
        };
        let Sum { span, samples, bad, .. } = sum;
        Self { name, from: time(span.from_us), to: time(span.to_us), samples, bad, burn_rate: sum.burn_rate(allowance) }
    }
}

/// A pair's threshold, lower where the objective lets no burn rate reach it, with the reason: at a share of bad calls
/// of 1 the burn rate is 1 / (1 − target), and no more is possible.
fn threshold(standard: f64, allowance: Allowance) -> (f64, Option<String>) {
    let Allowance::Share(share) = allowance else { return (standard, None) };
    let most = BAD_SHARE_MAX / share;
    // A threshold that is just reached is, whatever rounding makes of it.
    if standard <= most * (1.0 + 1e-9) {
        return (standard, None);
    }
    let reason = format!(
        "{standard} would ask for {:.0} % bad calls, {:.0} % are enough",
        100.0 * standard * share,
        100.0 * BAD_SHARE_MAX
    );
    (most, Some(reason))
}
