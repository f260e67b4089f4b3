//! Replays against ones that look at the whole past again at each moment.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const STEP_US: i64 = 60_000_000;

fn subject(place: usize) -> Subject {
    Subject { what: "error_rate".to_owned(), by: "agent".to_owned(), key: Some(format!("a{place}")) }
}

fn reading(value: f64) -> Reading {
    Reading { value, limit: Some(0.5), samples: 1, score: None, excess: value }
}

/// The state of a series at a moment, told from all that was seen up to it.
fn state(seen: &[Option<f64>], hold_us: i64) -> Option<State> {
    let broken = seen.iter().rev().take_while(|value| value.is_some()).count() as i64;
    match broken {
        0 => None,
        _ if (broken - 1) * STEP_US >= hold_us => Some(State::Firing),
        _ => Some(State::Pending),
    }
}

/// The state at a moment by the episodes.
fn state_by(episodes: &[(Subject, Episode)], of: &Subject, at_us: i64) -> Option<State> {
    let mut own = episodes.iter().filter(|(subject, episode)| {
        subject == of && episode.pending_us <= at_us && episode.resolved_us.is_none_or(|end_us| at_us < end_us)
    });
    let (_, episode) = own.next()?;
    assert!(own.next().is_none(), "episodes of a series are apart");
    Some(if episode.firing_us.is_some_and(|start_us| start_us <= at_us) { State::Firing } else { State::Pending })
}

proptest! {
    #[test]
    fn a_replay_says_what_a_look_at_the_whole_past_says(
        series in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.7, 0.6_f64..1.0), 30), 1..4),
        hold in 0_i64..5, odd_us in prop::sample::select(vec![0, 1, STEP_US / 2]),
    ) {
        let hold_us = hold * STEP_US + odd_us;
        let mut replay = Replay::new(hold_us);
        for moment in 0..30 {
            let values = series.iter().enumerate().filter_map(|(place, values)| Some((place, values[moment]?)));
            let broken = values.map(|(place, value)| (subject(place), reading(value)));
            replay.evaluate(moment as i64 * STEP_US, broken.collect());
        }
        let replayed = replay.finish();
        let mut ends_pending = 0;
        for (place, values) in series.iter().enumerate() {
            for moment in 0..30 {
                let naive = state(&values[..=moment], hold_us);
                let by = state_by(&replayed.episodes, &subject(place), moment as i64 * STEP_US);
                match naive {
                    // Those that never fired are counted alone.
                    Some(State::Pending) => prop_assert!(by != Some(State::Firing)),
                    _ => prop_assert_eq!(naive, by, "{} of {:?}", moment, values),
                }
                let ends = values.get(moment + 1).is_some_and(Option::is_none);
                ends_pending += u64::from(ends && naive == Some(State::Pending));
            }
        }
        prop_assert_eq!(replayed.pending_only, ends_pending);
        for (subject, episode) in &replayed.episodes {
            let place: usize = subject.key.as_ref().unwrap()[1..].parse().unwrap();
            let end_us = episode.resolved_us.unwrap_or(30 * STEP_US);
            let own = &series[place][(episode.pending_us / STEP_US) as usize..(end_us / STEP_US) as usize];
            let worst = own.iter().map(|value| value.unwrap()).fold(0.0, f64::max);
            prop_assert_eq!((episode.peak.value, episode.moments), (worst, own.len() as u64));
            prop_assert_eq!(series[place][(episode.peak_us / STEP_US) as usize], Some(worst));
        }
    }

    #[test]
    fn parts_are_the_whole(from in -10_000_i64..10_000, length in 0_i64..5_000, step in 1_i64..40, part in 0_i64..400) {
        let Ok(moments) = Moments::new(from, from + length, step, 10_000) else { return Ok(()) };
        let all: Vec<i64> = moments.iter().collect();
        let naive: Vec<i64> = (from + 1..=from + length).filter(|at| at.rem_euclid(step) == 0).collect();
        prop_assert_eq!(&all, &naive);
        let parts: Vec<Moments> = moments.parts(part).collect();
        prop_assert_eq!(parts.iter().flat_map(Moments::iter).collect::<Vec<_>>(), all);
        for part_of in parts {
            prop_assert!(part_of.count() == 1 || part_of.last_us() - part_of.first_us() < part.max(1));
        }
    }
}

#[test]
fn episodes_beyond_the_bound_are_counted() {
    let mut replay = Replay::new(0);
    let many = EPISODES_MAX + 7;
    replay.evaluate(0, (0..many).map(|place| (subject(place), reading(1.0))).collect());
    replay.evaluate(STEP_US, BTreeMap::new());
    let replayed = replay.finish();
    assert_eq!((replayed.episodes.len(), replayed.left_out), (EPISODES_MAX, 7));
}

#[test]
fn too_many_moments_are_refused_with_what_to_change() {
    let refused = Moments::new(0, 100 * STEP_US, STEP_US, 99).unwrap_err().to_string();
    assert!(refused.contains("100 steps of 1m apart and at most 99"), "{refused}");
    assert!(refused.contains("a shorter range or a longer step"), "{refused}");
    let refused = Moments::new(1, 1, STEP_US, 99).unwrap_err().to_string();
    assert!(refused.starts_with("no step of 1m is over between from and to"), "{refused}");
}

#[test]
fn lengths_read_as_written() {
    for (text, us) in [("90s", 90_000_000), ("10m", 600_000_000), ("1h", 3_600_000_000), ("7d", 604_800_000_000)] {
        assert_eq!((duration_us(text), shown_duration(us).as_str()), (Ok(us), text));
    }
    assert_eq!((duration_us("0s"), shown_duration(0).as_str()), (Ok(0), "0s"));
    for text in ["", "m", "-1m", "+1m", "1.5h", "10", "10 m", "1w", "367d", "99999999999999999d"] {
        assert!(duration_us(text).unwrap_err().contains("is no length of time"), "{text}");
    }
}
