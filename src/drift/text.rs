//! The answer as tables for a terminal. Only arranges what the answer says.

use std::fmt::Write as _;

use super::answer::{Answer, SilentChange, Verdict, VerdictLine};

/// Columns of names that users gave.
const NAME_COLUMNS: usize = 28;

impl Answer {
    /// What drifts, and how many other verdicts there are; times in UTC.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let [persistent, judged] = self.persistent;
        writeln!(
            out,
            "drift      {judged} windows of {} h from {} to {}, each against {} earlier ones of the same hours",
            self.window_hours, self.judged_from, self.to, self.references
        )?;
        writeln!(
            out,
            "verdicts   {} drifting, {} stable, {} insufficient; of {} tests at most {} % of those that drift are false",
            self.totals.drifting,
            self.totals.stable,
            self.totals.insufficient,
            self.totals.tests,
            100.0 * self.false_discovery_rate
        )?;
        self.write_certainty(out)?;
        for left in &self.left_out {
            writeln!(out, "left out   {}: {}", left.by.name(), left.reason)?;
        }
        for silent in &self.silent_changes {
            writeln!(out, "{}", silent_text(silent))?;
        }
        let drifting: Vec<&VerdictLine> =
            self.verdicts.iter().filter(|line| line.verdict == Verdict::Drifting).collect();
        if drifting.is_empty() {
            return Ok(());
        }
        out.push('\n');
        let head = ["column", "slice", "effect", "q", "values", "what moved", "from", "to", "began", "with it"];
        let rows: Vec<Vec<String>> = drifting.iter().map(|line| row(line)).collect();
        table(out, &head, &rows)?;
        writeln!(
            out,
            "\nAn effect is the least of {persistent} windows': a Kolmogorov-Smirnov distance or a Cramér's V."
        )
    }
}

impl Answer {
    /// What `stable` is worth here, and why some are not called so.
    fn write_certainty(&self, out: &mut String) -> std::fmt::Result {
        let of = |verdict: Verdict| self.verdicts.iter().filter(move |line| line.verdict == verdict);
        let mut least: Vec<f64> = of(Verdict::Stable).filter_map(|line| line.detectable).collect();
        least.sort_by(f64::total_cmp);
        if let Some(median) = least.get(least.len() / 2) {
            writeln!(
                out,
                "stable     a change of {} would have been found in {} % of cases, in half of these columns one of {median:.2}",
                self.detectable_max,
                100.0 * self.power
            )?;
        }
        let untold = of(Verdict::Insufficient).filter(|line| line.q.is_some()).count();
        if untold > 0 {
            writeln!(
                out,
                "untold     {untold} of those insufficient have values, but a change might not have been seen; longer \
                 windows tell more"
            )?;
        }
        Ok(())
    }
}

fn silent_text(silent: &SilentChange) -> String {
    let columns = silent.columns.join(", ");
    let began = silent.began_at.as_deref().map_or_else(String::new, |began| format!(" since {began}"));
    let name = visible(&silent.slice);
    let by = silent.by.name();
    match silent.verdict {
        Verdict::Drifting => format!(
            "silent     {by} {name} answers differently{began} although no version, prompt or mix changed: {columns} \
             (q {:.1e})",
            silent.q
        ),
        _ => format!(
            "explained  {by} {name} answers differently{began}: {columns}; so do {}",
            silent.explained_by.join(", ")
        ),
    }
}

fn row(line: &VerdictLine) -> Vec<String> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let moved = line.moved.as_ref();
    let with_it: Vec<String> = line
        .changed_then
        .iter()
        .map(|change| format!("{}: {} to {}", change.column, visible(&change.lost), visible(&change.gained)))
        .chain(line.segment.iter().map(|segment| format!("most of {}", visible(&segment.slice))))
        .collect();
    vec![
        line.column.to_owned(),
        line.slice.as_deref().map_or_else(|| "all".to_owned(), visible),
        line.effect.map_or_else(String::new, |effect| format!("{effect:.3}")),
        line.q.map_or_else(String::new, |q| format!("{q:.0e}")),
        line.n_current.to_string(),
        moved.map_or_else(String::new, |moved| format!("{} {}", visible(&moved.part), line.unit).trim_end().to_owned()),
        moved.map_or_else(String::new, |moved| percent(moved.before)),
        moved.map_or_else(String::new, |moved| percent(moved.after)),
        line.began_at.as_deref().map_or_else(String::new, |began| began.get(..16).unwrap_or(began).replace('T', " ")),
        with_it.join("; "),
    ]
}

/// Without what a terminal would obey, and not longer than a column.
fn visible(text: &str) -> String {
    let mut shown: String = text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if shown.chars().count() > NAME_COLUMNS {
        shown = shown.chars().take(NAME_COLUMNS - 1).chain(['…']).collect();
    }
    shown
}

/// Columns as wide as what is in them; the last is as long as it is.
fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let heads = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
