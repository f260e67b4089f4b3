//! The answer as text for a terminal. Only arranges what the answer says.

use std::fmt::Write as _;

use super::{
    answer::{Answer, Forecast, Past, Total},
    month::{BudgetState, Month},
};

impl Answer {
    /// Text of at most 110 columns for names of usual length.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let filters = [("tenant", &self.tenant_id), ("agent", &self.agent_id), ("model", &self.model)];
        let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let filters: Vec<String> = filters.map(|(name, value)| format!("{name} {}", visible(value))).collect();
        let whose = if filters.is_empty() { "all calls".to_owned() } else { filters.join(", ") };
        writeln!(out, "forecast of {} ({}), {whose}, said at {}", self.metric.name(), self.unit, self.made_at)?;
        let history = &self.history;
        writeln!(
            out,
            "history  {} to {} (UTC), {} whole days, {} without calls, {} unknown; {} calls, {} more do not say",
            history.from.as_deref().unwrap_or("-"),
            history.to,
            history.days,
            history.days_without_calls,
            history.days_unknown,
            history.samples,
            history.calls_unknown,
        )?;
        match &self.forecast {
            Some(forecast) => self.write_forecast(out, forecast)?,
            None => writeln!(out, "insufficient: {}", self.reason.as_deref().unwrap_or_default())?,
        }
        self.write_month(out, &self.month)
    }

    fn write_forecast(&self, out: &mut String, forecast: &Forecast) -> std::fmt::Result {
        writeln!(out, "method   {}: {}", forecast.method.name(), forecast.method_reason)?;
        for candidate in &forecast.candidates {
            let error = candidate.error.map_or_else(|| "cannot be fitted".to_owned(), percent);
            writeln!(out, "           {:<16} {error}", candidate.method.name())?;
        }
        let interval = format!("{:.0} % interval", 100.0 * forecast.coverage);
        writeln!(out, "\n{:<25}  {:>14}  {interval:>32}  of past forecasts", "days", self.unit)?;
        for Total { days, from, to, value, low, high, windows, disjoint_windows } in &forecast.totals {
            let (interval, value) = (format!("{} to {}", self.shown(*low), self.shown(*high)), self.shown(*value));
            writeln!(
                out,
                "{days:>2}, {from} to {to:<10}  {value:>12}  {interval:>32}  {windows}, {disjoint_windows:.1} apart"
            )?;
        }
        forecast.backtest.as_ref().map_or(Ok(()), |past| self.write_past(out, past))
    }

    fn write_past(&self, out: &mut String, past: &Past) -> std::fmt::Result {
        writeln!(
            out,
            "\nforecasts of the past, {} days each: {} of the {} that had bounds were within them",
            past.days, past.within, past.bounded
        )?;
        for figure in &past.forecasts {
            let bounds = match (figure.low, figure.high) {
                (Some(low), Some(high)) => format!("{} to {}", self.shown(low), self.shown(high)),
                _ => "-".to_owned(),
            };
            let outside = if figure.is_within == Some(false) { "  outside" } else { "" };
            writeln!(
                out,
                "{} to {}  {:>12}  {bounds:>32}  came {:>12}  {}{outside}",
                figure.from,
                figure.to,
                self.shown(figure.forecast),
                self.shown(figure.actual),
                figure.method.name()
            )?;
        }
        Ok(())
    }

    fn write_month(&self, out: &mut String, month: &Month) -> std::fmt::Result {
        writeln!(
            out,
            "\nmonth    {} to {}: {} {} so far, of {} calls; {} more do not say",
            month.from,
            month.to,
            self.shown(month.so_far),
            self.unit,
            month.samples,
            month.calls_unknown
        )?;
        if let Some(end) = &month.end {
            writeln!(
                out,
                "at end   {} {}, {} to {} (forecast of {} days; {} past forecasts, {:.1} apart)",
                self.shown(end.value),
                self.unit,
                self.shown(end.low),
                self.shown(end.high),
                end.days_forecast,
                end.windows,
                end.disjoint_windows
            )?;
        }
        let Some(budget) = month.budget else { return Ok(()) };
        let reached = month.end.as_ref().and_then(|end| end.budget_reached_on.as_deref());
        let reached = reached.map_or_else(String::new, |day| format!(", reached on {day} by the forecast"));
        let words = match month.state {
            BudgetState::NoBudget => "",
            BudgetState::Exceeded => "exceeded",
            BudgetState::Over => "will be exceeded: the whole interval is above",
            BudgetState::AtRisk => "at risk: the interval reaches above",
            BudgetState::Within => "kept: the whole interval is within",
            BudgetState::Insufficient if month.end.is_some() => "nothing can be said: too many calls do not say",
            BudgetState::Insufficient => "nothing can be said yet",
        };
        writeln!(out, "budget   {} {}: {words}{reached}", self.shown(budget), self.unit)
    }

    /// A figure in the answer's unit.
    fn shown(&self, value: f64) -> String {
        if self.unit == "USD" { format!("{value:.2}") } else { format!("{value:.0}") }
    }
}

fn percent(share: f64) -> String {
    format!("off by {:.1} %", 100.0 * share)
}

/// A terminal would obey control characters.
fn visible(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
