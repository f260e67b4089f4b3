//! Where one record ends and the next begins: NDJSON, a JSON array, or one object.
//! Never looks inside a record.

use super::{
    nesting::{DEPTH_MAX, has_broken_escape, too_deep},
    row::{BROKEN_ESCAPE, Sink},
};
use crate::error::{Error, Result};

/// How the records stand in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Found out from the bytes: `[` opens an array; an object that fills the first line opens
    /// NDJSON; anything else that starts with `{` is one object over several lines.
    #[default]
    Detect,
    /// One record a line, whatever the first byte is.
    Lines,
}

/// What some programs put before UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A guess at the number of records, for the first allocation only.
pub fn estimate_records(body: &[u8]) -> usize {
    const TYPICAL_RECORD_BYTES: usize = 1_000;
    (body.len() / TYPICAL_RECORD_BYTES).clamp(1, 1 << 20)
}

/// How many records and rejects a body can become at most.
pub fn count(body: &[u8], shape: Shape) -> usize {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    match (shape, body.trim_ascii_start().first()) {
        (Shape::Detect, Some(b'[')) => match str::from_utf8(body).map(sonic_rs::to_array_iter) {
            Ok(elements) if !too_deep(body) && !has_broken_escape(body) => elements.take_while(Result::is_ok).count(),
            // Turned away as a whole.
            _ => 1,
        },
        (Shape::Detect, Some(b'{')) if !first_line_is_an_object(body) => 1,
        _ => body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count(),
    }
}

/// Hands every record of the body to the sink, with its line.
pub fn for_each_record(body: &[u8], shape: Shape, sink: &mut Sink) -> Result<()> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    match (shape, body.trim_ascii_start().first()) {
        (_, None) => Err(Error::invalid("the body is empty: send one JSON record a line")),
        (Shape::Detect, Some(b'[')) => array(body, sink),
        (Shape::Detect, Some(b'{')) if !first_line_is_an_object(body) => one_object(body, sink),
        _ => lines(body, sink),
    }
}

fn lines(body: &[u8], sink: &mut Sink) -> Result<()> {
    // Valid as a whole is the normal case and is checked once; else each line is checked alone.
    let text = std::str::from_utf8(body).ok();
    let mut start = 0;
    let mut line_number = 0;
    let mut json_seen = false;
    while start < body.len() {
        let end = memchr(b'\n', &body[start..]).map_or(body.len(), |offset| start + offset);
        line_number += 1;
        let bytes = body[start..end].trim_ascii();
        if !bytes.is_empty() {
            let line = match text {
                Some(text) => Ok(text[start..end].trim_ascii()),
                None => std::str::from_utf8(bytes),
            };
            json_seen |= match line {
                Ok(line) => sink.record(line_number, line),
                Err(_) => {
                    sink.reject(line_number, "not UTF-8".to_owned(), bytes);
                    false
                }
            };
        }
        start = end + 1;
    }
    if json_seen {
        Ok(())
    } else {
        let reason = sink.first_reject_reason().unwrap_or("no line holds anything");
        Err(Error::invalid(format!(
            "no line of the body is JSON ({reason}): send one JSON object a line, a JSON array or one object"
        )))
    }
}

fn array(body: &[u8], sink: &mut Sink) -> Result<()> {
    let text = whole_text(body)?;
    if has_broken_escape(body) {
        return Err(Error::invalid(format!("the body is not JSON: {BROKEN_ESCAPE}")));
    }
    // The whole text is looked at before the first record counts: half an array is not stored.
    sonic_rs::from_str::<sonic_rs::LazyValue<'_>>(text).map_err(|error| not_json(text, &error))?;
    for (index, element) in sonic_rs::to_array_iter(text).enumerate() {
        let element = element.map_err(|error| not_json(text, &error))?;
        sink.record(index as u64 + 1, element.as_raw_str());
    }
    Ok(())
}

fn one_object(body: &[u8], sink: &mut Sink) -> Result<()> {
    let text = whole_text(body)?;
    // Not the parser of the records: this one says exactly where it stopped.
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => {
            sink.record(1, text.trim_ascii());
            Ok(())
        }
        // An object that breaks off; the lines of its inside are no records.
        Err(error) if breaks_off(text, &error) || memchr(b'\n', body.trim_ascii()).is_none() => {
            Err(Error::invalid(format!("the body is not JSON, in line {}: {error}", error.line())))
        }
        // Not one object: then it is lines whose first is broken.
        Err(_) => lines(body, sink),
    }
}

/// Whether the end of the text is what is wrong with it: a number cut behind its point counts too.
fn breaks_off(text: &str, error: &serde_json::Error) -> bool {
    let last_line = text.lines().enumerate().last();
    error.is_eof()
        || last_line.is_some_and(|(index, line)| error.line() == index + 1 && error.column() >= line.trim_end().len())
}

fn first_line_is_an_object(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    let end = memchr(b'\n', body).unwrap_or(body.len());
    // Cheap and sufficient: a pretty-printed object never closes on its first line unless it is whole.
    let line = body[..end].trim_ascii_end();
    line.last() == Some(&b'}')
        // What the JSON library must not see is a bad line, and others may follow.
        && (too_deep(line)
            || has_broken_escape(line)
            || str::from_utf8(line).map_or(true, |line| sonic_rs::from_str::<sonic_rs::LazyValue<'_>>(line).is_ok()))
}

fn whole_text(body: &[u8]) -> Result<&str> {
    // An array of records is one level more than its records.
    if too_deep(body) {
        return Err(Error::invalid(format!("the body is nested deeper than {DEPTH_MAX} levels")));
    }
    std::str::from_utf8(body)
        .map_err(|error| Error::invalid(format!("the body is not UTF-8 from byte {} on", error.valid_up_to())))
}

fn not_json(text: &str, error: &sonic_rs::Error) -> Error {
    let before = &text.as_bytes()[..error.offset().min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    Error::invalid(format!("the body is not JSON, in line {line}: {}", first_line(&error.to_string())))
}

/// The library's messages carry a sketch of the place on further lines; the first says it all.
pub fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn memchr(needle: u8, haystack: &[u8]) -> Option<usize> {
    memchr::memchr(needle, haystack)
}
