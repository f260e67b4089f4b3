//! Changes to bytes, each drawn from a stream of numbers. Never knows what the bytes mean, but for words that its
//! caller hands it.

use super::corpus::Entry;
use crate::random::Random;

/// Longer inputs only cost time.
const BYTES_MAX: usize = 8 * 1024;

/// Bytes that parsers treat in their own way.
const BYTES: &[u8] = &[
    0x00, 0x01, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1f, 0x20, 0x22, 0x27, 0x2c, 0x2d, 0x2e, 0x30, 0x39, 0x3a, 0x5b, 0x5c,
    0x5d, 0x65, 0x7b, 0x7d, 0x7f, 0x80, 0xa0, 0xbf, 0xc0, 0xc2, 0xed, 0xef, 0xf4, 0xff,
];

/// Numbers at the edges of types and formats.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "01",
    "1e400",
    "-1e-400",
    "1E+3",
    "0.1e1",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "99999999999",
    "100000000000",
    "-62135596801",
    "-9e15",
    "2147483648",
    "1.7976931348623157e308",
    "0.30000000000000004",
];

/// Lengths and counts as binary formats write them.
const INTEGERS: &[u64] = &[
    0,
    1,
    2,
    15,
    16,
    36,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// For formats without words.
pub const NONE: &[&str] = &[];

/// Of records.
pub const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\\"",
    "\n",
    "\r\n",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
    "null",
    "true",
    "false",
    "NaN",
    "Infinity",
    "\"\"",
    "\"nan\"",
    "\"-inf\"",
    "\"\\ud800\"",
    "\\udc00",
    "\\u0000",
    "\\u",
    "{}",
    "[]",
    "[null]",
    "{\"a\":1}",
    "{\"\":0}",
    "\"timestamp\":",
    "\"model\":\"m\",",
    "\"gen_ai\":{",
    "\"usage\":{",
    "\"attributes\":{",
    "\"error\":false",
    "\"tool_calls\":[",
    "\"rag_context\":{",
    "\"guardrail_checks\":{",
    "\"quality_scores\":{",
    "\"latency_s\":",
    "\"cost_usd\":",
    "\"prompt_tokens\":",
    "\"task_completed\":",
    "\"2026-05-14T09:59:58Z\"",
];

/// Of files of SQL.
pub const SQL: &[&str] = &[
    "-- question: q\n",
    "-- grain: day\n",
    "-- param: a int = 1 -- one\n",
    "-- param: b text = 'it''s'\n",
    "-- param: ",
    "-- column: x USD\n",
    "--",
    " -- ",
    "timestamp",
    "text",
    "float",
    "bool",
    " = ",
    "null",
    "now-7d",
    "$",
    "$a",
    "$$",
    "$t$",
    "'",
    "''",
    "\"",
    "/*",
    "*/",
    ";",
    ":",
    "\n",
    "\r\n",
    "\u{feff}",
    "ü",
    "💰",
    "select ",
];

/// Of times.
pub const TIME: &[&str] = &[
    "now", "today", "tomorrow", "-", "+", "/", "T", "t", " ", "Z", "z", ":", ".", ",", "+00:00", "-00:00", "+23:59",
    "0000", "9999", "-0001", "24", "60", "59", "29", "02", "00", "1d", "w", "h", "s", "é", "٣", "e9",
];

/// The bytes with some changes.
pub fn mutate(bytes: &[u8], corpus: &[Entry], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    // Mostly one or two: more rarely get past the first check of a parser.
    let changes = 1 + random.below(2) + if random.once_in(4) { random.below(6) } else { 0 };
    for _ in 0..changes {
        change(&mut bytes, corpus, words, random);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Entry], words: &[&str], random: &mut Random) {
    match random.below(12) {
        0 => flip(bytes, random),
        1 => set(bytes, random),
        2 => bytes.truncate(place(bytes, random)),
        3 => {
            let other = &random.pick(corpus).bytes;
            bytes.truncate(place(bytes, random));
            bytes.extend_from_slice(&other[place(other, random)..]);
        }
        4 => {
            let chunk = bytes[chunk(bytes, random)].to_vec();
            insert(bytes, &chunk, random);
        }
        5 => drop(bytes.drain(chunk(bytes, random))),
        6 => {
            let other = &random.pick(corpus).bytes;
            insert(bytes, &other[chunk(other, random)], random);
        }
        7 => integer(bytes, random),
        8 => {
            // Nesting, and what repeats without an end.
            let chunk = bytes[chunk(bytes, random)].to_vec();
            let chunk = &chunk[..chunk.len().min(16)];
            insert(bytes, &chunk.repeat(random.within(2..70) as usize), random);
        }
        9 => number(bytes, random),
        _ if words.is_empty() => flip(bytes, random),
        10 => insert(bytes, random.pick(words).as_bytes(), random),
        _ => {
            let range = chunk(bytes, random);
            let range = range.start..range.end.min(range.start + 12);
            bytes.splice(range, random.pick(words).bytes());
        }
    }
}

/// Flips one bit.
pub fn flip(bytes: &mut [u8], random: &mut Random) {
    if let Some(at) = index(bytes, random) {
        bytes[at] ^= 1 << random.below(8);
    }
}

fn set(bytes: &mut [u8], random: &mut Random) {
    if let Some(at) = index(bytes, random) {
        bytes[at] = *random.pick(BYTES);
    }
}

/// Overwrites a little-endian integer of some width.
pub fn integer(bytes: &mut [u8], random: &mut Random) {
    let width = *random.pick(&[2, 4, 8]);
    if let Some(last) = bytes.len().checked_sub(width) {
        let at = random.below(last as u64 + 1) as usize;
        bytes[at..at + width].copy_from_slice(&an_integer(random).to_le_bytes()[..width]);
    }
}

/// A number that some format has its trouble with.
pub fn an_integer(random: &mut Random) -> u64 {
    if random.once_in(4) { random.next() } else { *random.pick(INTEGERS) }
}

/// Puts an odd number in the place of the digits at a place, or where there are none, there.
fn number(bytes: &mut Vec<u8>, random: &mut Random) {
    let start = place(bytes, random);
    let start = start + bytes[start..].iter().position(u8::is_ascii_digit).unwrap_or(0);
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(start..start + digits, random.pick(NUMBERS).bytes());
}

fn insert(bytes: &mut Vec<u8>, chunk: &[u8], random: &mut Random) {
    let at = place(bytes, random);
    bytes.splice(at..at, chunk.iter().copied());
}

/// Where a byte stands, if there is one.
fn index(bytes: &[u8], random: &mut Random) -> Option<usize> {
    (!bytes.is_empty()).then(|| random.below(bytes.len() as u64) as usize)
}

/// A place before, between or behind bytes.
pub fn place(bytes: &[u8], random: &mut Random) -> usize {
    random.below(bytes.len() as u64 + 1) as usize
}

/// A part, short more often than long; it may be empty.
pub fn chunk(bytes: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let start = place(bytes, random);
    let longest = if random.once_in(3) { bytes.len() } else { 24 };
    let length = random.below(longest as u64 + 1) as usize;
    start..bytes.len().min(start + length)
}
