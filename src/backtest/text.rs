//! The answers as text for a terminal. Only arranges what they say.

use std::fmt::Write as _;

use super::{
    answer::{Answer, Answers, EpisodeLine, State},
    duration::shown_duration,
};

impl Answers {
    /// A table for each rule, times in UTC.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (place, answer) in self.rules.iter().enumerate() {
            if place > 0 {
                out.push('\n');
            }
            // Writing to a string does not fail.
            let _ = answer.write(&mut out);
        }
        out
    }
}

impl Answer {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let length = |seconds: i64| shown_duration(seconds * 1_000_000);
        writeln!(out, "rule       {}: {}", visible(&self.rule), visible(&self.condition))?;
        writeln!(
            out,
            "replayed   {} to {}: {} moments, {} apart, of {} series",
            minute(&self.from),
            minute(&self.to),
            self.moments,
            length(self.step_s),
            self.series
        )?;
        writeln!(out, "judged     {} times, {} times too little was known", self.judged, self.insufficient)?;
        let fired = self.episodes.iter().filter(|episode| episode.state != State::Pending).count() as u64;
        write!(out, "fired      {} times", fired + self.left_out)?;
        if self.for_s > 0 {
            write!(out, ", held for {}; pending for less {} times", length(self.for_s), self.pending_only)?;
        }
        if self.left_out > 0 {
            write!(out, "; {} of them are left out: ask for a shorter range", self.left_out)?;
        }
        out.push('\n');
        for reason in &self.not_looked_at {
            writeln!(out, "left out   {}", visible(reason))?;
        }
        if !self.episodes.is_empty() {
            out.push('\n');
            table(out, &self.episodes)?;
        }
        Ok(())
    }
}

const HEAD: [&str; 9] = ["state", "firing from", "until", "what", "slice", "peak", "against", "n", "at"];

fn table(out: &mut String, episodes: &[EpisodeLine]) -> std::fmt::Result {
    let rows: Vec<[String; 9]> = std::iter::once(HEAD.map(str::to_owned)).chain(episodes.iter().map(row)).collect();
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn row(line: &EpisodeLine) -> [String; 9] {
    let state = match line.state {
        State::Pending => "pending",
        State::Firing => "firing",
        State::Resolved => "resolved",
    };
    let score = line.score.map_or_else(String::new, |score| format!(", score {score:.2}"));
    let value = if line.unit.is_empty() { number(line.value) } else { format!("{} {}", number(line.value), line.unit) };
    let or_dash = |time: &Option<String>| time.as_deref().map_or_else(|| "-".to_owned(), minute);
    [
        state.to_owned(),
        or_dash(&line.firing_at),
        or_dash(&line.resolved_at),
        visible(&line.what),
        line.key.as_deref().map_or_else(|| if line.by == "all" { "all" } else { "none" }.to_owned(), visible),
        value + &score,
        line.limit.map_or_else(|| "-".to_owned(), number),
        line.samples.to_string(),
        minute(&line.peak_at),
    ]
}

/// Three digits after the first that is not 0; a whole number as it is.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value}");
    }
    let places = (2 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.places$}")
}

/// A moment up to its minute.
fn minute(at: &str) -> String {
    at.get(..16).map_or_else(|| at.to_owned(), |at| format!("{at}Z"))
}

/// A terminal would obey control characters.
fn visible(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
