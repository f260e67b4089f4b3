//! The report as plain text: aligned tables of at most 100 columns, our own words in ASCII.
//!
//! Figures are never cut. Where a table is too wide, names are cut in the middle first, then the
//! spare columns go, and a line says which.

use super::{
    document::{Cell, Column, Document, Place, Section},
    name::{shortened, width},
};

const COLUMNS_MAX: usize = 100;
const GAP: &str = "  ";
/// Names are not cut below this.
const WORDS_WIDTH_MIN: usize = 12;
const BELOW_INDENT: &str = "      ";
/// Longest name on the line below a row.
const BELOW_NAME_MAX: usize = 40;

pub(super) fn render(document: &Document) -> String {
    let mut lines = vec![document.title.clone(), "=".repeat(width(&document.title))];
    lines.extend([String::new(), format!("Verdict: {}", document.verdict)]);
    for fact in &document.facts {
        lines.extend(wrapped(fact.split(' '), " ", ""));
    }
    for section in &document.sections {
        lines.extend([String::new(), section.title.clone()]);
        lines.extend(table(section));
        for note in &section.notes {
            lines.extend(wrapped(note.split(' '), " ", ""));
        }
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A column with its place in the row and its width.
struct Fitted {
    index: usize,
    place: Place,
    width: usize,
}

fn table(section: &Section) -> Vec<String> {
    if section.rows.is_empty() {
        return vec!["no data".to_owned()];
    }
    let (fitted, dropped) = fit(section);
    let head = |column: &Fitted| section.columns[column.index].head.to_owned();
    let rule = |column: &Fitted| "-".repeat(column.width);
    let mut lines = vec![line(&fitted, head), line(&fitted, rule)];
    for row in &section.rows {
        lines.push(line(&fitted, |column| row[column.index].shown()));
        lines.extend(below(section.columns, row));
    }
    if !dropped.is_empty() {
        lines.push(format!("Left out for lack of room: {}.", dropped.join(", ")));
    }
    lines
}

fn line(fitted: &[Fitted], cell: impl Fn(&Fitted) -> String) -> String {
    let cells: Vec<_> = fitted
        .iter()
        .map(|column| {
            let text = shortened(&cell(column), column.width);
            let padding = " ".repeat(column.width.saturating_sub(width(&text)));
            match column.place {
                Place::Words => text + &padding,
                _ => padding + &text,
            }
        })
        .collect();
    cells.join(GAP)
}

/// The columns that fit, and the heads of those that do not.
fn fit(section: &Section) -> (Vec<Fitted>, Vec<&'static str>) {
    let mut fitted: Vec<_> = section
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| matches!(column.place, Place::Words | Place::Figure | Place::Spare))
        .map(|(index, column)| natural(section, index, column))
        .collect();
    let mut dropped = vec![];
    loop {
        shrink_words(&mut fitted);
        let spare = fitted.iter().rposition(|column| column.place == Place::Spare);
        match spare {
            Some(spare) if total(&fitted) > COLUMNS_MAX => {
                dropped.insert(0, section.columns[fitted.remove(spare).index].head);
            }
            _ => return (fitted, dropped),
        }
    }
}

fn natural(section: &Section, index: usize, column: &Column) -> Fitted {
    let cells = section.rows.iter().map(|row| width(&row[index].shown()));
    let width = cells.chain([column.head.len()]).max().unwrap_or(0);
    Fitted { index, place: column.place, width }
}

fn shrink_words(fitted: &mut [Fitted]) {
    let excess = total(fitted).saturating_sub(COLUMNS_MAX);
    let widest = fitted.iter_mut().filter(|column| column.place == Place::Words).max_by_key(|column| column.width);
    if let Some(column) = widest {
        let least = WORDS_WIDTH_MIN.min(column.width);
        column.width = column.width.saturating_sub(excess).max(least);
    }
}

fn total(fitted: &[Fitted]) -> usize {
    let gaps = GAP.len() * fitted.len().saturating_sub(1);
    fitted.iter().map(|column| column.width).sum::<usize>() + gaps
}

/// What stands below a row: its names, and what else is worth a word there.
fn below(columns: &[Column], row: &[Cell]) -> Vec<String> {
    let parts: Vec<_> = columns
        .iter()
        .zip(row)
        .filter(|(column, _)| column.place == Place::Below)
        .map(|(column, cell)| (column.head, cell))
        .filter(|(_, cell)| is_worth_a_word(cell))
        .map(|(head, cell)| format!("{head} {}", shortened(&cell.shown(), BELOW_NAME_MAX)))
        .collect();
    wrapped(parts.iter().map(String::as_str), ", ", BELOW_INDENT)
}

fn is_worth_a_word(cell: &Cell) -> bool {
    match cell {
        Cell::Own(text) => !matches!(text.as_str(), "-" | "0" | "no"),
        Cell::Name(name) => name.is_some(),
    }
}

/// Parts on as few lines as they fit.
fn wrapped<'a>(parts: impl Iterator<Item = &'a str>, separator: &str, indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for part in parts {
        match lines.last_mut() {
            Some(line) if width(line) + width(separator) + width(part) < COLUMNS_MAX => {
                line.push_str(separator);
                line.push_str(part);
            }
            Some(line) => {
                line.push_str(separator.trim_end());
                lines.push(format!("{indent}{part}"));
            }
            None => lines.push(format!("{indent}{part}")),
        }
    }
    lines
}
