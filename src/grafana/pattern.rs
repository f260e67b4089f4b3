//! Values as Grafana writes them into texts: one value with its special letters escaped, or several as `(a|b)`.
//! Reads them back; never matches anything.

/// Letters that Grafana escapes by a backslash.
const ESCAPED: &[char] = &['\\', '^', '$', '*', '+', '?', '.', '(', ')', '|', '[', ']', '{', '}', '/', '-'];
/// What stands for any value.
const ANYTHING: [&str; 6] = ["", ".*", ".+", "(.*)", "(.+)", "$__all"];

/// Whether a text asks for nothing in particular: an empty field, or a variable that is set to all.
pub fn is_anything(text: &str) -> bool {
    ANYTHING.contains(&text.trim())
}

/// The values that a text stands for, at least one.
pub fn values(text: &str) -> Vec<String> {
    let text = text.trim();
    match group(text) {
        Some(parts) => parts.into_iter().map(unescaped).collect(),
        None => vec![unescaped(text)],
    }
}

/// The parts of `(a|b)`; none where the text is no such group as a whole.
fn group(text: &str) -> Option<Vec<&str>> {
    let inside = text.strip_prefix('(')?;
    let mut parts = Vec::new();
    let (mut start, mut is_escaped) = (0, false);
    for (at, letter) in inside.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '(' => return None,
            '|' => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            ')' if at + 1 == inside.len() => {
                parts.push(&inside[start..at]);
                return Some(parts);
            }
            ')' => return None,
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some(next) if letter == '\\' && ESCAPED.contains(next) => out.extend(letters.next()),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back() {
        let check = |text: &str, expect: &[&str]| assert_eq!(values(text), expect, "{text}");
        check("a", &["a"]);
        check("gpt-4.1", &["gpt-4.1"]);
        check(r"gpt-4\.1", &["gpt-4.1"]);
        check("(a|b)", &["a", "b"]);
        check(r"(gpt-4\.1|a\|b|c\\d|\(x\))", &["gpt-4.1", "a|b", r"c\d", "(x)"]);
        check(r"\(a\|b\)", &["(a|b)"]);
        check("(a", &["(a"]);
        check("(a)b", &["(a)b"]);
        check("a|b", &["a|b"]);
        check("()", &[""]);
        check(r"C:\new", &[r"C:\new"]);
        check("", &[""]);
        check("(ü|ö)", &["ü", "ö"]);
        check(r"a\", &[r"a\"]);
    }

    #[test]
    fn anything_is_known() {
        for text in ["", " ", ".*", ".+", "(.*)", "$__all"] {
            assert!(is_anything(text), "{text}");
        }
        assert!(!is_anything("all") && !is_anything("(a|b)"));
    }
}
