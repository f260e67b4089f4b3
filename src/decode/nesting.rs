//! How deep a JSON text may nest. The JSON library skips nested values by recursion, so a few
//! kilobytes of brackets would end the process; they are turned away before it sees them.
//! Never judges whether the text is JSON.

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
}
