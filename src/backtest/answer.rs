//! What a backtest says, as data. Its serialization is the JSON format.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    moments::Moments,
    replay::{Episode, Replayed, Subject},
};

/// All rules that were replayed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = BacktestAnswers)]
pub struct Answers {
    /// Rule by rule.
    pub rules: Vec<Answer>,
}

/// When a rule would have fired.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = BacktestAnswer)]
pub struct Answer {
    /// `drift`, `anomalies`, or the name of the KPI, the objective or the alert.
    pub rule: String,
    /// What it asks, in words.
    pub condition: String,
    /// The first moment at which it was asked, UTC. Each moment knows the calls before it, by their own time.
    pub from: String,
    /// The last one.
    pub to: String,
    /// Time from one moment to the next, s.
    pub step_s: i64,
    /// How long a series has to break the rule before it fires, s.
    pub for_s: i64,
    /// How many moments there were.
    pub moments: u64,
    /// Series of which something was asked; of drift, the most of one moment.
    pub series: u64,
    /// Verdicts of all series at all moments. Of drift they are the tests, of which each moment's are corrected for
    /// their number.
    pub judged: u64,
    /// Verdicts that were none because too little was known. It does not mean that nothing was wrong.
    pub insufficient: u64,
    /// Times that a series broke the rule and never did so for long enough.
    pub pending_only: u64,
    /// Episodes beyond the first 1,000.
    pub left_out: u64,
    /// What was not looked at, and why.
    pub not_looked_at: Vec<String>,
    /// The times that it fired, and what is pending at the end, in the order of their beginnings.
    pub episodes: Vec<EpisodeLine>,
}

/// From where a series broke the rule to where it did not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = BacktestEpisode)]
pub struct EpisodeLine {
    /// The column, the KPI, or the pair of windows with what it calls for.
    pub what: String,
    /// The unit of `value` and `limit`; empty for a number without one.
    pub unit: String,
    /// What makes the slice.
    pub by: String,
    /// The slice; null of all calls, and of those that name none.
    pub key: Option<String>,
    /// Its state at the end of the replay.
    pub state: State,
    /// The first moment at which the rule was broken, UTC.
    pub pending_at: String,
    /// The moment at which it fired; null where it is pending.
    pub firing_at: Option<String>,
    /// The first moment at which the rule held again; null where it does not at the end.
    pub resolved_at: Option<String>,
    /// Moments at which the rule was broken.
    pub moments: u64,
    /// When it was worst.
    pub peak_at: String,
    /// The figure then: a distance, a KPI's value, or the burn rate of the long window.
    pub value: f64,
    /// What it was held against: the least effect, a bound, the threshold, or what was expected.
    pub limit: Option<f64>,
    /// What the figure is made of, counted.
    pub samples: u64,
    /// Of an anomaly, its score.
    pub score: Option<f64>,
}

/// The state of an episode, as Prometheus names those of alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BacktestState)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The rule is broken, and not for long enough.
    Pending,
    /// It fires.
    Firing,
    /// It fired, and does not any more.
    Resolved,
}

/// What was asked, and of how much.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// [`Answer::rule`].
    pub rule: String,
    /// [`Answer::condition`].
    pub condition: String,
    /// The moments.
    pub moments: Moments,
    /// How long a series has to break the rule before it fires, µs.
    pub hold_us: i64,
    /// [`Answer::series`].
    pub series: u64,
    /// [`Answer::judged`].
    pub judged: u64,
    /// [`Answer::insufficient`].
    pub insufficient: u64,
    /// [`Answer::not_looked_at`].
    pub not_looked_at: Vec<String>,
}

impl Answer {
    /// The answer; `unit_of` is the unit of what a series is about.
    pub fn new(seen: Seen, replayed: Replayed, unit_of: impl Fn(&Subject) -> String) -> Self {
        let line = |(subject, episode): (Subject, Episode)| EpisodeLine::new(unit_of(&subject), subject, &episode);
        Self {
            rule: seen.rule,
            condition: seen.condition,
            from: shown(seen.moments.first_us()),
            to: shown(seen.moments.last_us()),
            step_s: seen.moments.step_us() / 1_000_000,
            for_s: seen.hold_us / 1_000_000,
            moments: seen.moments.count(),
            series: seen.series,
            judged: seen.judged,
            insufficient: seen.insufficient,
            pending_only: replayed.pending_only,
            left_out: replayed.left_out,
            not_looked_at: seen.not_looked_at,
            episodes: replayed.episodes.into_iter().map(line).collect(),
        }
    }
}

impl EpisodeLine {
    fn new(unit: String, subject: Subject, episode: &Episode) -> Self {
        let state = match (episode.firing_us, episode.resolved_us) {
            (None, _) => State::Pending,
            (Some(_), None) => State::Firing,
            (Some(_), Some(_)) => State::Resolved,
        };
        Self {
            what: subject.what,
            unit,
            by: subject.by,
            key: subject.key,
            state,
            pending_at: shown(episode.pending_us),
            firing_at: episode.firing_us.map(shown),
            resolved_at: episode.resolved_us.map(shown),
            moments: episode.moments,
            peak_at: shown(episode.peak_us),
            value: episode.peak.value,
            limit: episode.peak.limit,
            samples: episode.peak.samples,
            score: episode.peak.score,
        }
    }
}

/// RFC 3339, in seconds; empty outside the calendar.
fn shown(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
