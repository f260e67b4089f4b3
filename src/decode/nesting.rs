//! How deep a JSON text may nest. The JSON library skips nested values by recursion, so a few
//! kilobytes of brackets would end the process; they are turned away before it sees them. That holds
//! only where both see the same strings, so what it would read as another string is turned away too.
//! Never judges whether the text is JSON otherwise.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Levels that a text may nest, the outermost value being the first. An unoptimised build of the parser
/// takes 40 kB of stack a level, so this fits a worker's 2 MiB in every build.
pub const DEPTH_MAX: usize = 32;

/// Whether the text opens more levels than that at once. Text without that many brackets, which is
/// nearly all, costs one vectorised search.
pub fn too_deep(text: &[u8]) -> bool {
    is_deeper_than(DEPTH_MAX, text)
}

fn is_deeper_than(levels_max: usize, text: &[u8]) -> bool {
    if memchr::memchr2_iter(b'{', b'[', text).nth(levels_max).is_none() {
        return false;
    }
    let mut level = 0_usize;
    let mut index = 0;
    while let Some(byte) = text.get(index) {
        match byte {
            b'"' => index = string_end(text, index + 1),
            b'{' | b'[' if level == levels_max => return true,
            b'{' | b'[' => level += 1,
            b'}' | b']' => level = level.saturating_sub(1),
            _ => {}
        }
        index += 1;
    }
    false
}

/// Whether a `\u` in the text lacks its four hexadecimal digits. The JSON library skips the four bytes behind it
/// whatever they are: with a quote among them it would leave the string elsewhere than [`too_deep`], and find
/// brackets that were not counted. Text without a `\u` costs one vectorised search.
pub fn has_broken_escape(text: &[u8]) -> bool {
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u"));
    if ESCAPE.find(text).is_none() {
        return false;
    }
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let escape = &rest[at + 1..];
        let has_digits = || escape.get(1..5).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if escape.first() == Some(&b'u') && !has_digits() {
            return true;
        }
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

/// The index of the quote that closes a string whose contents start here; an open string has no end.
fn string_end(text: &[u8], mut start: usize) -> usize {
    while let Some(offset) = text.get(start..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if text[start + offset] == b'"' {
            return start + offset;
        }
        start += offset + 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_outside_of_strings() {
        for (text, levels) in [
            ("", 0),
            ("1", 0),
            ("{}", 1),
            ("[[],[],[[]]]", 3),
            (r#"{"a":{"b":[1]}}"#, 3),
            (r#"["[[[","\"[[[","\\",["]]]"]]"#, 2),
            (r#"["open [[["#, 1),
            (r#"["open \"#, 1),
            ("[[[", 3),
            ("]]][", 1),
        ] {
            assert!(!is_deeper_than(levels, text.as_bytes()), "{text} has more than {levels} levels");
            assert!(
                levels == 0 || is_deeper_than(levels - 1, text.as_bytes()),
                "{text} has fewer than {levels} levels"
            );
        }
    }

    #[test]
    fn escapes_are_broken_without_four_digits() {
        for (text, expected) in [
            ("", false),
            (r#""\n""#, false),
            (r#""\u00e9\uD83D\ude00""#, false),
            (r#""\\u""#, false),
            (r#""\\\u""#, true),
            (r#""\u""#, true),
            (r#""\u00e""#, true),
            (r#""\u00eg""#, true),
            (r#""\u+0e9""#, true),
            ("\\u", true),
            ("\\", false),
        ] {
            assert_eq!(has_broken_escape(text.as_bytes()), expected, "{text}");
        }
    }
}
