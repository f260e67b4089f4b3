//! When a change began: the hour that divides the time before from the time after best.

/// What an hour had: values, and how many of them lie on the side that gained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hour {
    /// Values.
    pub values: u64,
    /// Those on the side that gained.
    pub gained: u64,
}

/// Hours of a week, after which a rhythm repeats.
const SEASON: usize = 168;
/// So many values of the whole history weigh as much as those of the same hour of the week: an hour at night has few.
const SHRUNK_BY: f64 = 20.0;

/// The first hour of the change, among the hours from `from` on; those before say what each hour of a week is like.
/// None where no division has more gained after it than before.
///
/// An hour's excess is what gained beyond the share that its hour of the week usually has. Of two means of excess the
/// square of their difference, times the effective size, is largest at the change: the likelihood ratio of Hinkley
/// (1970), "Inference about the change-point in a sequence of random variables".
pub fn onset(hours: &[Hour], from: usize) -> Option<usize> {
    let from = from.min(hours.len());
    let excesses = excesses(hours, from);
    let all: f64 = excesses.iter().sum();
    let values: f64 = hours[from..].iter().map(|hour| hour.values as f64).sum();
    let (mut before, mut values_before) = (0.0, 0.0);
    let mut best: Option<(f64, usize)> = None;
    for (place, excess) in excesses.iter().enumerate() {
        let values_after = values - values_before;
        if values_before > 0.0 && values_after > 0.0 {
            let rise = (all - before) / values_after - before / values_before;
            let score = rise * rise * values_before * values_after / values;
            if rise > 0.0 && best.is_none_or(|(found, _)| score > found) {
                best = Some((score, from + place));
            }
        }
        before += excess;
        values_before += hours[from + place].values as f64;
    }
    best.map(|(_, hour)| hour)
}

/// What gained in each hour from `from` on, beyond its usual share.
fn excesses(hours: &[Hour], from: usize) -> Vec<f64> {
    let usual = |of: &mut dyn Iterator<Item = &Hour>| {
        of.fold((0.0, 0.0), |(values, gained), hour| (values + hour.values as f64, gained + hour.gained as f64))
    };
    let (values, gained) = usual(&mut hours[..from].iter());
    let share = if values > 0.0 { gained / values } else { 0.0 };
    let by_hour: Vec<f64> = (0..SEASON)
        .map(|hour_of_week| {
            let (values, gained) = usual(&mut hours[..from].iter().skip(hour_of_week).step_by(SEASON));
            (gained + SHRUNK_BY * share) / (values + SHRUNK_BY)
        })
        .collect();
    let excess = |(hour, found): (usize, &Hour)| found.gained as f64 - found.values as f64 * by_hour[hour % SEASON];
    hours.iter().enumerate().skip(from).map(excess).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Four weeks with days and nights, in which the share that gained has a rhythm of its own.
    fn hours(count: usize, share_of: impl Fn(usize) -> f64) -> Vec<Hour> {
        let hour = |hour: usize| {
            let values = if hour % 24 < 7 { 4 } else { 200 };
            Hour { values, gained: (values as f64 * share_of(hour)).round() as u64 }
        };
        (0..count).map(hour).collect()
    }

    fn usual(hour: usize) -> f64 {
        if hour % 168 < 48 { 0.4 } else { 0.1 }
    }

    #[test]
    fn the_hour_of_a_step_is_found_through_the_rhythm() {
        let step = 28 * 24 + 131;
        let hours = hours(35 * 24, |hour| usual(hour) + if hour >= step { 0.15 } else { 0.0 });
        assert_eq!(onset(&hours, 28 * 24), Some(step));
    }

    #[test]
    fn an_incident_that_ends_begins_where_it_begins() {
        let during = 28 * 24 + 104..28 * 24 + 140;
        let hours = hours(28 * 24 + 140, |hour| usual(hour) + if during.contains(&hour) { 0.5 } else { 0.0 });
        assert_eq!(onset(&hours, 28 * 24), Some(during.start));
    }

    #[test]
    fn without_values_nothing_began() {
        assert_eq!(onset(&[], 0), None);
        assert_eq!(onset(&[Hour::default(); 400], 300), None);
        assert_eq!(onset(&hours(35 * 24, |_| 0.0), 28 * 24), None);
    }
}
