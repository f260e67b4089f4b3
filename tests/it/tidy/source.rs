//! A source file as the rules see it: code without comments, texts and tests. Knows no rule.

use super::*;

/// What is no code, and what is a test, breaks no rule.
#[test]
fn comments_texts_and_tests_are_passed_over() {
    let text = concat!(
        "//! Never `.unwrap()`, never crate::query.\n",
        "/* axum::Json /* crate::http */ b.unwrap() */\n",
        "let a = \"crate::query \\\" axum:: .unwrap()\";\n",
        "let b = r#\"std::env \" crate::http\"#;\n",
        "let c = ['\"', '\\'']; // '\"' must not open a text: crate::http\n",
        "fn d<'a>(e: &'a str) -> crate::error::Result<&'a str> { e.parquet() }\n",
        "#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests {\n    use crate::query;\n    fn f() { g.unwrap(); axum::h(\"}\") }\n}\n",
        "#[cfg(test)]\nmod gold;\n",
    );
    let sources = vec![Source::new("src/wal/mod.rs", text)];
    for problems in [rank_problems(&sources), confinement_problems(&sources), neglect_problems(&sources)] {
        assert!(problems.is_empty(), "{problems:#?}");
    }
    assert_eq!(test_files(&sources), BTreeSet::from(["src/wal/gold.rs".to_owned()]));
}

/// One source file, in three readings. All have the same length, so an offset means the same place.
pub(super) struct Source {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// Comments and the insides of texts are blank.
    pub(super) code_and_tests: String,
    /// Items under `#[cfg(test)]` are blank as well; a file that is one such item is all blank.
    pub(super) code: String,
    pub(super) test_lines: usize,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code_and_tests = without_comments_and_texts(text);
        let (code, test_lines) = without_tests(&code_and_tests);
        Self { path: path.to_owned(), text: text.to_owned(), code_and_tests, code, test_lines }
    }

    /// The first part of the path below `src`; the crate's own files are in none.
    pub(super) fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        (!COMPOSITION.contains(&self.path.as_str())).then(|| first.trim_end_matches(".rs"))
    }

    /// How many modules deep the file is: so many `super::` reach the crate's root.
    pub(super) fn depth(&self) -> usize {
        let below = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        below.split('/').count()
    }

    /// `path:line` of an offset.
    pub(super) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, 1 + self.text[..offset].matches('\n').count())
    }
}

/// Every `.rs` file below `src`; those that are tests as a whole count as such.
pub(super) fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> =
        files_under(&root().join("src"), &["rs"]).iter().map(|path| Source::new(&shown(path), &read(path))).collect();
    assert!(sources.len() > 50, "only {} source files were found", sources.len());
    let tests = test_files(&sources);
    let is_test = |path: &str| {
        let below =
            |file: &String| path.strip_prefix(file.trim_end_matches(".rs")).is_some_and(|rest| rest.starts_with('/'));
        tests.contains(path) || tests.iter().any(below)
    };
    for source in sources.iter_mut().filter(|source| is_test(&source.path)) {
        source.code = blank(&source.code);
        source.test_lines = source.text.lines().count();
    }
    sources
}

/// The files behind `#[cfg(test)] mod name;`.
fn test_files(sources: &[Source]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for source in sources {
        for item in test_items(&source.code_and_tests) {
            let Some((_, declared)) = source.code_and_tests[item.clone()].rsplit_once("mod ") else { continue };
            if declared.ends_with(';') {
                let directory = match source.path.strip_suffix("/mod.rs") {
                    Some(directory) => directory.to_owned(),
                    None if source.path == "src/lib.rs" => "src".to_owned(),
                    None => source.path.trim_end_matches(".rs").to_owned(),
                };
                files.insert(format!("{directory}/{}.rs", identifier(declared)));
            }
        }
    }
    files
}

/// The same text with comments and the insides of texts blanked; lines stay lines.
fn without_comments_and_texts(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = text.to_owned().into_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = at
            + if rest.starts_with(b"//") {
                rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
            } else if rest.starts_with(b"/*") {
                block_comment_length(rest)
            } else if let Some(length) = raw_text_length(rest, at.checked_sub(1).map(|before| bytes[before])) {
                length
            } else if rest[0] == b'"' {
                quoted_length(rest, b'"')
            } else if rest[0] == b'\'' && is_character(rest) {
                quoted_length(rest, b'\'')
            } else {
                at += 1;
                continue;
            };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters were replaced by spaces")
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#` and their byte forms, from the `r` on.
fn raw_text_length(rest: &[u8], before: Option<u8>) -> Option<usize> {
    if rest[0] != b'r' || before.is_some_and(|byte| is_word(byte as char) && byte != b'b') {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let start = 2 + hashes;
    let inside = rest[start..].windows(close.len()).position(|window| window == close);
    Some(inside.map_or(rest.len(), |inside| start + inside + close.len()))
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]);
    let mut characters = text.chars();
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// The same code with every item under `#[cfg(test)]` blanked, and the lines that took.
fn without_tests(code: &str) -> (String, usize) {
    let mut out = code.to_owned();
    let mut lines = 0;
    for item in test_items(code) {
        lines += code[item.clone()].matches('\n').count() + 1;
        out.replace_range(item.clone(), &blank(&code[item]));
    }
    (out, lines)
}

/// Where the items under `#[cfg(test)]` stand, attributes included.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut items: Vec<std::ops::Range<usize>> = Vec::new();
    for (start, _) in code.match_indices(ATTRIBUTE) {
        if items.last().is_some_and(|item| item.contains(&start)) {
            continue;
        }
        let mut depth = 0_usize;
        let body = &code[start + ATTRIBUTE.len()..];
        let length = body.char_indices().find_map(|(at, letter)| {
            match letter {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (depth == 0 && matches!(letter, '}' | ';')).then_some(at + 1)
        });
        items.push(start..start + ATTRIBUTE.len() + length.unwrap_or(body.len()));
    }
    items
}

fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Where a path is used: as written out, or as one name of a `use parent::{…}`.
pub(super) fn uses(code: &str, path: &str) -> Vec<usize> {
    if let Some(name) = path.strip_prefix("std::") {
        return names_below(code, "std").into_iter().filter(|(_, found)| found == name).map(|(at, _)| at).collect();
    }
    let is_function = path.contains("::");
    occurrences(code, path)
        .filter(|at| {
            let before = code[..*at].trim_end();
            let after = &code[at + path.len()..];
            // A part of another path is that path's, unless it is a function of a type.
            let is_part = before.ends_with("::") && !is_function || before.ends_with('.');
            !is_part
                && !after.starts_with(is_word)
                && (is_function || after.starts_with("::") || before.ends_with("use"))
        })
        .collect()
}

/// The first names below a root: of `root::name…` and of `root::{name…, name…}`, with their offsets.
pub(super) fn names_below(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let prefix = format!("{root}::");
    for offset in occurrences(code, &prefix) {
        if code[..offset].ends_with(['$', ':']) {
            continue;
        }
        let start = offset + prefix.len();
        if !code[start..].starts_with('{') {
            names.push((offset, identifier(&code[start..]).to_owned()));
            continue;
        }
        let mut depth = 0_usize;
        let mut expects_name = false;
        for (at, letter) in code[start..].char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && matches!(letter, '{' | ',') {
                expects_name = true;
            } else if expects_name && is_word(letter) {
                names.push((start + at, identifier(&code[start + at..]).to_owned()));
                expects_name = false;
            }
        }
    }
    names
}

/// Where a text stands that does not go on a longer name to its left.
pub(super) fn occurrences<'a>(code: &'a str, wanted: &'a str) -> impl Iterator<Item = usize> + 'a {
    let starts_a_name = wanted.starts_with(is_word);
    code.match_indices(wanted).map(|(at, _)| at).filter(move |at| !starts_a_name || !code[..*at].ends_with(is_word))
}

pub(super) fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|letter| !is_word(letter)).unwrap_or(text.len())]
}

pub(super) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
