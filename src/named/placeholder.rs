//! Finds the `$name` placeholders of a SQL text: those outside strings, quoted names and comments.
//! It never checks the SQL otherwise; that is the planner's work.

use super::{At, HeaderError};

/// The placeholders in the order of the text, repeated as often as they are used.
pub(super) fn scan(text: &str) -> Result<Vec<At<&str>>, HeaderError> {
    let mut scanner = Scanner { text, at: 0, has_sql: false };
    let mut found = Vec::new();
    while scanner.at < text.len() {
        let start = scanner.at;
        if let Some(name) = scanner
            .step()
            .map_err(|what| HeaderError::new(line_of(text, start), format!("{what} that opens here is never closed")))?
        {
            found.push(At { line: line_of(text, start), value: name });
        }
    }
    if !scanner.has_sql {
        return Err(HeaderError::new(text.lines().count().max(1), "there is no SQL under the header"));
    }
    Ok(found)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
}

/// A position in the text, always between two characters: every byte that is acted on is ASCII, and
/// bytes of longer characters are taken as parts of a name, whole characters at a time.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    has_sql: bool,
}

impl<'a> Scanner<'a> {
    /// Passes one token. `Ok(Some(name))` was a placeholder, `Err(what)` one without an end.
    fn step(&mut self) -> Result<Option<&'a str>, &'static str> {
        let rest = &self.text[self.at..];
        if rest.starts_with("--") {
            self.at += rest.find('\n').unwrap_or(rest.len());
            return Ok(None);
        }
        if rest.starts_with("/*") {
            self.at += comment_len(rest).ok_or("a comment")?;
            return Ok(None);
        }
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        self.has_sql |= !first.is_whitespace() && first != ';';
        match first {
            // A doubled quote reads as two texts side by side, which ends at the same place.
            '\'' => self.at += delimited_len(rest, "'").ok_or("a text")?,
            '"' => self.at += delimited_len(rest, "\"").ok_or("a quoted name")?,
            '$' => return self.dollar(rest),
            _ if is_name_part(first) => self.at += name_len(rest),
            _ => self.at += first.len_utf8(),
        }
        Ok(None)
    }

    /// `$name`, or a text between two `$$` or `$tag$`.
    fn dollar(&mut self, rest: &'a str) -> Result<Option<&'a str>, &'static str> {
        let name = rest[1..].split(|c: char| c == '$' || !is_name_part(c)).next().unwrap_or_default();
        let end = 1 + name.len();
        if rest[end..].starts_with('$') {
            self.at += delimited_len(rest, &rest[..=end]).ok_or("a dollar-quoted text")?;
            return Ok(None);
        }
        self.at += end;
        Ok((!name.is_empty()).then_some(name))
    }
}

/// The length of a text that starts and ends with `mark`.
fn delimited_len(rest: &str, mark: &str) -> Option<usize> {
    rest[mark.len()..].find(mark).map(|len| len + 2 * mark.len())
}

/// The length of a comment, which may hold others.
fn comment_len(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The length of a name or number. A `$` within belongs to it.
fn name_len(rest: &str) -> usize {
    rest.find(|c: char| c != '$' && !is_name_part(c)).unwrap_or(rest.len())
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = match scan(text) {
            Ok(found) => found.iter().map(|at| format!("{}:{}", at.line, at.value)).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn placeholders_are_found_where_sql_has_them() {
        check("select $a,\n  $b+$a", "1:a 2:b 2:a");
        check("select $limit;", "1:limit");
        check("select f($a)::text", "1:a");
        check("select '$a', 'it''s $b', $c", "1:c");
        check("select \"$a\" -- $b\n, $c", "2:c");
        check("select /* $a /* $b */ $c */ $d /**/ $e", "1:d 1:e");
        check("select $$ $a $$, $t$ $b $$ $t$, $c", "1:c");
        check("select a$b, ü$c, $ü", "1:ü");
        check("select $ 1 - 1 / $a * 2", "1:a");
        check("select $1", "1:1");
    }

    #[test]
    fn what_has_no_end_is_told_with_its_line() {
        check("select\n'$a\n", "line 2: a text that opens here is never closed");
        check("select \"$a", "line 1: a quoted name that opens here is never closed");
        check("select /* /* */", "line 1: a comment that opens here is never closed");
        check("select $t$ $a $", "line 1: a dollar-quoted text that opens here is never closed");
        check("-- question: q\n\n-- a comment\n", "line 3: there is no SQL under the header");
        check(" ; /* */", "line 1: there is no SQL under the header");
        check("", "line 1: there is no SQL under the header");
    }
}
