//! Names that users gave, made safe to show: one line, no control characters, a bounded length.
//!
//! Escaping for a format is that format's work. JSON and CSV carry names as they are.

/// Stands for a name that is not there; calls without a tenant, for one.
const NONE: &str = "(none)";
/// Stands for a name without a character, which would look like an empty cell.
const EMPTY: &str = "\"\"";
/// Where a name was cut; plain ASCII, like all of the text format's own characters.
const CUT: &str = "..";

/// The name on one line. Control characters (a terminal would obey them) and invisible ones that
/// turn the reading direction show as U+FFFD.
pub(super) fn visible(name: Option<&str>) -> String {
    match name {
        None => NONE.to_owned(),
        Some("") => EMPTY.to_owned(),
        Some(name) => name.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect(),
    }
}

/// The name in at most `columns` terminal columns. Cut in the middle: ids and versions tell
/// themselves apart at either end.
pub(super) fn shortened(name: &str, columns: usize) -> String {
    if width(name) <= columns {
        return name.to_owned();
    }
    let room = columns.saturating_sub(CUT.len());
    let head = fitting(name.chars(), room.div_ceil(2));
    let tail = fitting(name.chars().rev(), room - room.div_ceil(2));
    head.into_iter().chain(CUT.chars()).chain(tail.into_iter().rev()).collect()
}

/// Terminal columns of a text.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn fitting(chars: impl Iterator<Item = char>, room: usize) -> Vec<char> {
    let mut used = 0;
    chars
        .take_while(|&c| {
            used += columns(c);
            used <= room
        })
        .collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Columns of one character: two in the wide blocks of East Asian scripts and emoji. Combining
/// marks count as one, so that a pile of them is bounded too; a rare miss only moves an edge.
fn columns(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_visible_line() {
        let expected = [
            (None, "(none)"),
            (Some(""), "\"\""),
            (Some("a\nb\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m"),
            (Some("evil\u{202e}gpj"), "evil\u{fffd}gpj"),
        ];
        for (name, shown) in expected {
            assert_eq!(visible(name), shown);
        }
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shortened("support-bot", 11), "support-bot");
        assert_eq!(shortened("support-bot", 8), "sup..bot");
        assert_eq!(shortened("顧客対応エージェント", 10), "顧客..ント");
        assert_eq!(width("顧客"), 4);
    }
}
