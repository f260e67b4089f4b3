//! The answer as a table for a terminal. Only arranges what the answer says.

use std::fmt::Write as _;

use super::{
    answer::{Answer, DifferenceFigure, MetricAnswer, SideFigure, VariantAnswer},
    split::SplitState,
    verdict::MetricState,
};

/// Columns of names that users gave.
const NAME_COLUMNS: usize = 24;

impl Answer {
    /// Text of at most 150 columns for names of usual length, times in UTC.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write_head(&mut out);
        for comparison in &self.comparisons {
            let _ = self.write_comparison(&mut out, comparison);
        }
        let _ = self.write_foot(&mut out);
        out
    }

    fn write_head(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "experiment {}, {} to {} (UTC)", visible(&self.experiment_id), self.from, self.to)?;
        writeln!(out, "calls      {} to {}", self.first_call, self.last_call)?;
        writeln!(out, "unit       {}: {}", self.unit.name(), self.unit_reason)?;
        let meant = match self.split.state {
            SplitState::AsMeant => "as meant",
            SplitState::Mismatch => "NOT AS MEANT: the figures below cannot be trusted",
        };
        writeln!(out, "split      {meant} (p = {:.3}, mismatch below {})", self.split.p_value, self.split.level)?;
        match (&self.before.from, &self.before.to, &self.before.reason) {
            (Some(from), Some(to), _) => writeln!(out, "before     {from} to {to}")?,
            (_, _, reason) => writeln!(out, "before     none: {}", reason.as_deref().unwrap_or("not looked at"))?,
        }
        let left = self.left_out;
        writeln!(
            out,
            "left out   {} calls without a variant, {} calls without a {}, {} {}s in several variants",
            left.calls_without_variant,
            left.calls_without_unit,
            self.unit.name(),
            left.units_in_several_variants,
            self.unit.name(),
        )?;
        let rows = self.variants.iter().map(|size| {
            vec![
                shown_name(&size.variant),
                size.units.to_string(),
                size.calls.to_string(),
                percent(size.share, 1),
                percent(size.share_meant, 1),
                size.units_before.to_string(),
            ]
        });
        let units = format!("{}s", self.unit.name());
        let head = ["variant", units.as_str(), "calls", "share", "meant", "there before"];
        out.push('\n');
        write_table(out, &head, rows.collect())
    }

    fn write_comparison(&self, out: &mut String, comparison: &VariantAnswer) -> std::fmt::Result {
        let variant = shown_name(&comparison.variant);
        writeln!(out, "\n{variant} against {}: {}\n", shown_name(&self.control), comparison.verdict.text)?;
        let interval = format!("{} interval", percent(1.0 - self.interval_level, 1));
        let samples = "samples".to_owned();
        let control = shown_name(&self.control);
        let head = [
            "metric",
            "unit",
            control.as_str(),
            variant.as_str(),
            "difference",
            &interval,
            "change",
            &samples,
            "verdict",
        ];
        let told = comparison.metrics.iter().filter(|metric| metric.state != MetricState::NotMeasured);
        write_table(out, &head, told.map(row).collect())?;
        let silent: Vec<&str> = comparison
            .metrics
            .iter()
            .filter(|metric| metric.state == MetricState::NotMeasured)
            .map(|metric| metric.name)
            .collect();
        if silent.is_empty() { Ok(()) } else { writeln!(out, "not measured: {}", silent.join(", ")) }
    }

    fn write_foot(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\nIntervals hold at all looks together, each metric taken alone; with *, the difference also holds as one of \
             all in\nthese tables. (c): adjusted by the time before. Intervals are narrowest at {} {}s of both variants.",
            self.planned_units,
            self.unit.name()
        )
    }
}

fn row(metric: &MetricAnswer) -> Vec<String> {
    let side = |figure: SideFigure| figure.value.map_or_else(|| "-".to_owned(), |value| figure_of(value, metric.unit));
    let of =
        |told: &dyn Fn(&DifferenceFigure) -> String| metric.difference.as_ref().map_or_else(|| "-".to_owned(), told);
    let adjusted = |found: &DifferenceFigure| if found.adjustment.is_some() { " (c)" } else { "" };
    vec![
        metric.name.to_owned(),
        if metric.unit == "ratio" { "%".to_owned() } else { metric.unit.to_owned() },
        side(metric.control),
        side(metric.variant),
        of(&|found| format!("{}{}", signed(found.difference, metric.unit), adjusted(found))),
        of(&|found| format!("{} to {}", signed(found.low, metric.unit), signed(found.high, metric.unit))),
        of(&|found| match found.change {
            Some([_, low, high]) => format!("{:+.1} % to {:+.1} %", 100.0 * low, 100.0 * high),
            None => "-".to_owned(),
        }),
        format!("{} + {}", metric.control.samples, metric.variant.samples),
        words(metric),
    ]
}

fn words(metric: &MetricAnswer) -> String {
    let star = if metric.holds_for_all { " *" } else { "" };
    match metric.state {
        MetricState::Better => format!("better{star}"),
        MetricState::Worse => format!("worse{star}"),
        MetricState::Differs => format!("differs{star}"),
        MetricState::Undecided => "undecided".to_owned(),
        MetricState::Insufficient => format!("insufficient: {}", metric.reason.as_deref().unwrap_or_default()),
        MetricState::NotMeasured => "not measured".to_owned(),
    }
}

/// A figure in its unit; shares as percent.
fn figure_of(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => format!("{:.2}", 100.0 * value),
        "ms" => format!("{value:.0}"),
        _ => format!("{value:.6}"),
    }
}

fn signed(value: f64, unit: &str) -> String {
    let sign = if value < 0.0 { "" } else { "+" };
    format!("{sign}{}", figure_of(value, unit))
}

fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$} %", 100.0 * share)
}

/// The first column and the last to the left, figures to the right.
fn write_table(out: &mut String, head: &[&str], rows: Vec<Vec<String>>) -> std::fmt::Result {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = lines[0].len();
    let widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 {
                format!("{cell:<width$}")
            } else if column + 1 == columns {
                cell.clone()
            } else {
                format!("{cell:>width$}")
            }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn shown_name(name: &str) -> String {
    let shown = visible(name);
    if shown.chars().count() <= NAME_COLUMNS {
        return shown;
    }
    shown.chars().take(NAME_COLUMNS - 2).chain("..".chars()).collect()
}

/// A terminal would obey control characters.
fn visible(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
