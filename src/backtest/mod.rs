//! When a rule would have fired: moments, each with what broke the rule then, in; episodes out.
//!
//! States are those of alerts in Prometheus: what breaks the rule is pending, firing once it has done so for long
//! enough, and resolved at the first moment at which it does not. What breaks a rule is decided by the caller's judges.
//! Never runs a query and never reads a clock.

mod alert;
mod answer;
mod duration;
mod moments;
mod replay;
mod text;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use alert::{ALERTS, Alert, Replays};
pub use answer::{Answer, Answers, EpisodeLine, Seen, State};
pub use duration::{duration_us, shown_duration};
pub use moments::{MOMENTS_MAX, Moments};
pub use replay::{EPISODES_MAX, Episode, Reading, Replay, Replayed, Subject};
