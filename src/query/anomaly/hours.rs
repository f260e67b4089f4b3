//! The rows of a KPI's file, by hour, as series that are judged and as parts of a slice. Pure arithmetic.

use std::collections::BTreeMap;

use chrono::DateTime;

use super::DAY_US;
use crate::{
    anomaly::{Hour, Kind, Part, Series},
    error::{Context, Result},
    kpi::Figure,
};

/// Days before a finding whose same hour says what each part of its slice usually brings.
pub const USUAL_DAYS: i64 = 7;
/// An hour of which more than this share is not known has no sum.
const UNKNOWN_MAX: f64 = 0.1;

/// One series before it is judged.
pub struct Watched {
    /// The KPI, or `traffic`.
    pub kpi: String,
    /// Agent, tenant or model, as the question groups.
    pub key: Option<String>,
    /// Its hours.
    pub series: Series,
}

/// The series of a KPI's rows.
pub fn series_of(kpi: &str, kind: Kind, rows: Vec<Figure>) -> Result<Vec<Watched>> {
    let mut hours: BTreeMap<Option<String>, Vec<Hour>> = BTreeMap::new();
    for row in rows {
        let start_us = start_us(&row.window_start)?;
        let share = share_of(&row);
        let value = row.value.filter(|_| !is_unknown(&row));
        let hour = Hour { start_us, value, samples: row.samples.unwrap_or(0), share };
        hours.entry(row.key).or_default().push(hour);
    }
    let of_key = |(key, hours)| Watched { kpi: kpi.to_owned(), key, series: Series { kind, hours } };
    Ok(hours.into_iter().map(of_key).collect())
}

/// Whether too much of a sum is not known: what a model without a price costs is no fall.
fn is_unknown(row: &Figure) -> bool {
    let (samples, unknown) = (row.samples.unwrap_or(0), row.unknown.unwrap_or(0));
    unknown as f64 > UNKNOWN_MAX * samples.saturating_add(unknown) as f64
}

/// How many of how many, where the figure is a share of what was counted.
fn share_of(row: &Figure) -> Option<(u64, u64)> {
    let (count, of) = (row.numerator?, row.denominator?);
    let is_share = count >= 0.0 && count <= of && count.fract() == 0.0 && of.fract() == 0.0 && of > 0.0;
    (is_share && (row.value? - count / of).abs() < 1e-9).then_some((count as u64, of as u64))
}

/// The parts of a slice: their hour, and the mean of the same hour of the days before. Other hours say nothing: who is
/// awake by day alone is above its mean of all hours whenever anything happens.
pub fn parts_of(dimension: &'static str, kind: Kind, window_us: i64, rows: Vec<Figure>) -> Result<Vec<Part>> {
    #[derive(Default)]
    struct Sums {
        now: Option<(f64, u64)>,
        sum: f64,
        samples: u64,
    }
    let mut sums: BTreeMap<Option<String>, Sums> = BTreeMap::new();
    for Figure { window_start, key, value, samples, .. } in rows {
        let (Some(value), samples) = (value, samples.unwrap_or(0)) else { continue };
        let before_us = window_us - start_us(&window_start)?;
        if before_us % DAY_US != 0 {
            continue;
        }
        let part = sums.entry(key).or_default();
        if before_us == 0 {
            part.now = Some((value, samples));
        } else {
            part.sum += match kind {
                Kind::Sum => value,
                Kind::Mean => value * samples as f64,
            };
            part.samples += samples;
        }
    }
    let part = |(key, Sums { now, sum, samples }): (Option<String>, Sums)| {
        let count = match kind {
            Kind::Sum => USUAL_DAYS as f64,
            Kind::Mean => samples as f64,
        };
        // Who has no calls in the hour brings nothing to a mean, and all that it lacks to a sum.
        let now = now.or((kind == Kind::Sum).then_some((0.0, 0)))?;
        Some(Part { dimension, key, now, before: (samples > 0).then(|| (sum / count, samples)) })
    };
    Ok(sums.into_iter().filter_map(part).collect())
}

/// When a window begins, µs since the epoch, UTC.
pub fn start_us(text: &str) -> Result<i64> {
    let time = DateTime::parse_from_rfc3339(text).context("a window has no start")?;
    Ok(time.timestamp_micros())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{anomaly::contributions, query::moment::text_of};

    const NOON_US: i64 = 1_772_409_600_000_000 + DAY_US / 2;

    /// The figure of an agent so many hours before noon.
    fn figure(agent: &str, hours_before: i64, calls: u64) -> Figure {
        Figure {
            window_start: text_of(NOON_US - hours_before * DAY_US / 24).unwrap(),
            key: Some(agent.to_owned()),
            value: Some(calls as f64),
            samples: Some(calls),
            numerator: None,
            denominator: None,
            outside: None,
            unknown: None,
        }
    }

    #[test]
    fn a_sum_of_which_much_is_not_known_is_missing() {
        let row = |unknown: u64| Figure { unknown: Some(unknown), ..figure("steady", 0, 90) };
        let watched = series_of("cost", Kind::Sum, vec![row(10)]).unwrap();
        assert_eq!(watched[0].series.hours[0].value, Some(90.0));
        let watched = series_of("cost", Kind::Sum, vec![row(11)]).unwrap();
        assert_eq!(watched[0].series.hours[0].value, None);
    }

    #[test]
    fn who_works_by_day_is_not_blamed_at_noon() {
        let mut rows = Vec::new();
        for before in 1..=USUAL_DAYS * 24 {
            rows.push(figure("steady", before, 20));
            if before % 24 == 0 {
                rows.push(figure("noon", before, 100));
            }
        }
        rows.extend([figure("steady", 0, 80), figure("noon", 0, 100)]);
        let parts = parts_of("agent", Kind::Sum, NOON_US, rows).unwrap();
        let told = contributions(Kind::Sum, (180.0, 120.0), &parts, 3);
        let told: Vec<_> = told.iter().map(|one| (one.key.as_deref(), one.share, one.usual)).collect();
        assert_eq!(told, [(Some("steady"), 1.0, Some(20.0))]);
    }
}
