//! The state of each series from moment to moment.

use std::collections::BTreeMap;

/// Most episodes that are kept, those that ended first.
pub const EPISODES_MAX: usize = 1_000;

/// What a rule watches: a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The column, the KPI, or the pair of windows.
    pub what: String,
    /// What makes the slice: all, agent, model, tenant, slo.
    pub by: String,
    /// The slice; none of all calls, or of those that name none.
    pub key: Option<String>,
}

/// What a rule saw of a series that broke it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The figure.
    pub value: f64,
    /// What it was held against; none where nothing was expected.
    pub limit: Option<f64>,
    /// What the figure is made of, counted.
    pub samples: u64,
    /// Of an anomaly, how odd it is.
    pub score: Option<f64>,
    /// How far it is from fine: the peak of an episode is where this is greatest.
    pub excess: f64,
}

/// The time from the first moment at which a series broke the rule to the first at which it did not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// The first moment.
    pub pending_us: i64,
    /// The moment from which on it fired; none where it never did.
    pub firing_us: Option<i64>,
    /// The first moment at which the rule held again; none at the end of the replay.
    pub resolved_us: Option<i64>,
    /// When it was worst.
    pub peak_us: i64,
    /// What was seen then.
    pub peak: Reading,
    /// Moments at which the rule was broken.
    pub moments: u64,
}

/// A rule on its way through time.
#[derive(Debug, Clone)]
pub struct Replay {
    hold_us: i64,
    open: BTreeMap<Subject, Episode>,
    replayed: Replayed,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replayed {
    /// What fired, and what is pending at the end, in the order of their beginnings.
    pub episodes: Vec<(Subject, Episode)>,
    /// Times that a series was pending and never fired.
    pub pending_only: u64,
    /// Episodes beyond [`EPISODES_MAX`].
    pub left_out: u64,
}

impl Replay {
    /// A rule that fires where it is broken for so long.
    pub fn new(hold_us: i64) -> Self {
        Self { hold_us, open: BTreeMap::new(), replayed: Replayed::default() }
    }

    /// The next moment, with all that breaks the rule then. What is not among it is fine, or has nothing to say.
    pub fn evaluate(&mut self, at_us: i64, mut broken: BTreeMap<Subject, Reading>) {
        let open = std::mem::take(&mut self.open);
        for (subject, mut episode) in open {
            match broken.remove(&subject) {
                Some(reading) => {
                    episode.go_on(at_us, reading, self.hold_us);
                    self.open.insert(subject, episode);
                }
                None => {
                    episode.resolved_us = Some(at_us);
                    self.replayed.close(subject, episode);
                }
            }
        }
        for (subject, reading) in broken {
            self.open.insert(subject, Episode::begin(at_us, reading, self.hold_us));
        }
    }

    /// What came of it, at the end.
    pub fn finish(self) -> Replayed {
        let Self { open, mut replayed, .. } = self;
        for (subject, episode) in open {
            replayed.close(subject, episode);
        }
        replayed.episodes.sort_by(|(a, one), (b, other)| one.pending_us.cmp(&other.pending_us).then_with(|| a.cmp(b)));
        replayed
    }
}

impl Replayed {
    fn close(&mut self, subject: Subject, episode: Episode) {
        if episode.firing_us.is_none() && episode.resolved_us.is_some() {
            self.pending_only += 1;
        } else if self.episodes.len() < EPISODES_MAX {
            self.episodes.push((subject, episode));
        } else {
            self.left_out += 1;
        }
    }
}

impl Episode {
    fn begin(at_us: i64, reading: Reading, hold_us: i64) -> Self {
        Self {
            pending_us: at_us,
            firing_us: (hold_us == 0).then_some(at_us),
            resolved_us: None,
            peak_us: at_us,
            peak: reading,
            moments: 1,
        }
    }

    fn go_on(&mut self, at_us: i64, reading: Reading, hold_us: i64) {
        self.moments += 1;
        if self.firing_us.is_none() && at_us - self.pending_us >= hold_us {
            self.firing_us = Some(at_us);
        }
        if reading.excess > self.peak.excess {
            (self.peak, self.peak_us) = (reading, at_us);
        }
    }
}
