//! The report as Markdown with tables.
//!
//! A user's name can neither leave its cell nor become a link, a mention, markup or HTML.

use super::{
    document::{Cell, Column, Document, Section},
    name::shortened,
};

/// Longest name, in terminal columns.
const NAME_MAX: usize = 200;

pub(super) fn render(document: &Document) -> String {
    let mut text = format!("# {}\n\n", own(&document.title));
    text.push_str(&format!("**Verdict: {}**\n", own(document.verdict)));
    for fact in &document.facts {
        text.push_str(&format!("\n{}\n", own(fact)));
    }
    for section in &document.sections {
        text.push_str(&format!("\n## {}\n\n", own(&section.title)));
        text.push_str(&table(section));
        for note in &section.notes {
            text.push_str(&format!("\n{}\n", own(note)));
        }
    }
    text
}

fn table(section: &Section) -> String {
    if section.rows.is_empty() {
        return "no data\n".to_owned();
    }
    let head = section.columns.iter().map(|column| own(column.head));
    let rule = section.columns.iter().map(rule);
    let mut lines = vec![line(head), line(rule)];
    lines.extend(section.rows.iter().map(|row| line(row.iter().map(cell))));
    lines.concat()
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn rule(column: &Column) -> String {
    if column.is_figure() { "---:".to_owned() } else { "---".to_owned() }
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Own(text) => own(text),
        Cell::Name(_) => name(&shortened(&cell.shown(), NAME_MAX)),
    }
}

/// Our own words: no markup is meant, and no user's text is in them.
fn own(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '<' | '>' | '|' | '[' | ']' | '#' | '~' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A user's name as code, in which nothing is markup. A name with a character that could end the
/// code or the cell is written in character references instead.
fn name(name: &str) -> String {
    let leaves_code = |c| matches!(c, '`' | '|' | '\\');
    if !name.contains(leaves_code) && name.trim() == name {
        return format!("`{name}`");
    }
    name.chars()
        .map(|c| match c {
            ' ' | '!'..='/' | ':'..='@' | '['..='`' | '{'..='~' => format!("&#{};", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_stay_in_their_cell() {
        let expected = [
            ("gpt-4o_mini", "`gpt-4o_mini`"),
            ("<b>@all</b>", "`<b>@all</b>`"),
            ("a|b", "a&#124;b"),
            ("a\\|b", "a&#92;&#124;b"),
            ("`[x](u)", "&#96;&#91;x&#93;&#40;u&#41;"),
            (" ", "&#32;"),
        ];
        for (name, written) in expected {
            assert_eq!(super::name(name), written);
        }
    }
}
