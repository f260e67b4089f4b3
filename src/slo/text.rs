//! The answers as text for a terminal. Only arranges what they say.

use std::fmt::Write as _;

use super::{
    answer::{Answer, Answers, State},
    breach::{Breach, BreachState},
    burn::{BurnRate, Severity, WindowFigure},
};

impl Answers {
    /// Text of at most 110 columns for names of usual length, times in UTC.
    pub fn text(&self) -> String {
        if self.objectives.is_empty() {
            return "no objective is in the settings: [[slo]], docs/slo.md\n".to_owned();
        }
        let mut out = String::new();
        for (place, answer) in self.objectives.iter().enumerate() {
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
        let objective = &self.objective;
        let filters = [("tenant", &objective.tenant_id), ("agent", &objective.agent_id), ("model", &objective.model)];
        let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let filters: String = filters.map(|(name, value)| format!(", {name} {}", visible(value))).collect();
        let state = match self.state {
            State::Met => "met",
            State::Burning => "BURNING",
            State::Missed => "MISSED",
            State::Insufficient => "insufficient",
        };
        writeln!(out, "{}: {state}", visible(&objective.name))?;
        writeln!(out, "  objective  {}{filters}", objective.objective)?;
        writeln!(out, "  window     {} to {}", self.from, self.to)?;
        let Some(budget) = self.budget else {
            return writeln!(out, "  budget     {}", self.reason.as_deref().unwrap_or_default());
        };
        let good = budget.good.map_or_else(String::new, |good| format!("; {:.3} % good", 100.0 * good));
        writeln!(
            out,
            "  budget     {:.1} % left: {} of {} {} used, {} samples{good}",
            100.0 * budget.left,
            amount(budget.used, objective.unit),
            amount(budget.allowed, objective.unit),
            objective.unit,
            budget.samples
        )?;
        if let Some(unknown) = self.calls_unknown.filter(|unknown| *unknown > 0) {
            writeln!(out, "  unknown    {unknown} calls do not say what they cost")?;
        }
        if let Some(reason) = &self.reason {
            writeln!(out, "  because    {reason}")?;
        }
        for pair in &self.burn_rates {
            write_pair(out, pair)?;
        }
        writeln!(out, "  used up    {}", used_up(&self.breach, objective.unit))
    }
}

fn write_pair(out: &mut String, pair: &BurnRate) -> std::fmt::Result {
    let window = |window: &WindowFigure| {
        let rate = window.burn_rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.2}"));
        format!("{rate} in {}", window.name)
    };
    let says = match (pair.is_burning, pair.severity) {
        (true, Severity::Page) => "PAGE",
        (true, Severity::Ticket) => "TICKET",
        (false, _) => "no",
    };
    let standard =
        if pair.threshold_reason.is_some() { format!(" for {}", pair.threshold_standard) } else { String::new() };
    let reason = pair.reason.as_deref().map_or_else(String::new, |reason| format!("; {reason}"));
    writeln!(
        out,
        "  burn       {:<14}  {:<14}  threshold {:.3}{standard}: {says}{reason}",
        window(&pair.long),
        window(&pair.short),
        pair.threshold
    )
}

fn used_up(breach: &Breach, unit: &str) -> String {
    let rate = format!("{:.2} {unit} an hour", breach.present.bad_per_hour);
    let end = |at: &Option<String>| at.as_deref().map_or_else(|| "not within the window".to_owned(), minute);
    match breach.state {
        BreachState::UsedUp => format!("already; {rate} at present"),
        BreachState::Insufficient => "cannot be told: the last six hours have no samples".to_owned(),
        BreachState::Expected => {
            format!("{} at {rate} ({} to {})", end(&breach.at), end(&breach.earliest), end(&breach.latest))
        }
        BreachState::NotBeforeTheWindowEnds => {
            let earliest =
                breach.earliest.as_deref().map_or_else(String::new, |at| format!("; at the earliest {}", minute(at)));
            format!("not before the window ends ({}) at {rate}{earliest}", minute(&breach.window_end))
        }
    }
}

/// A moment up to its minute.
fn minute(at: &str) -> String {
    at.get(..16).map_or_else(|| at.to_owned(), |at| format!("{at}Z"))
}

fn amount(value: f64, unit: &str) -> String {
    if unit == "USD" { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// A terminal would obey control characters.
fn visible(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
