//! Families to text: Prometheus 0.0.4 and OpenMetrics 1.0.0.
//!
//! What both have in common: one group per family, families sorted by name, series sorted by their
//! written labels, buckets cumulative with `+Inf` equal to `_count`, no timestamps, floats as the
//! shortest decimal that reads back the same, never with an exponent. Where they differ:
//!
//! |                   | 0.0.4               | OpenMetrics                |
//! |-------------------|---------------------|----------------------------|
//! | counter metadata  | with `_total`       | without                    |
//! | UNIT line         | none                | where the name ends in one |
//! | exemplars         | none                | on counters and buckets    |
//! | HELP escapes      | backslash, newline  | double quote as well       |
//! | end               | nothing             | `# EOF`                    |
//!
//! A family without samples still gets its metadata lines. This file never checks names: families
//! are written by people who run the lint.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use super::model::{Exemplar, Family, Histogram, Kind, Sample, Value};
use super::negotiate::Format;

/// Writes families as one exposition. Families of one name are joined into one group.
pub fn encode(families: &[Family], format: Format) -> String {
    let mut families: Vec<&Family> = families.iter().collect();
    families.sort_by(|left, right| left.name.cmp(&right.name));
    let mut out = String::with_capacity(families.iter().map(|family| size_hint(family)).sum());
    for group in families.chunk_by(|left, right| left.name == right.name) {
        write_metadata(&mut out, group[0], format);
        write_group(&mut out, group, format);
    }
    if format == Format::OpenMetrics100 {
        out.push_str("# EOF\n");
    }
    out
}

fn write_metadata(out: &mut String, family: &Family, format: Format) {
    let open_metrics = format == Format::OpenMetrics100;
    let name = if open_metrics { family.base_name() } else { &family.name };
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    push_all(out, &["# HELP ", name, " "]);
    push_escaped(out, &family.help, open_metrics);
    push_all(out, &["\n# TYPE ", name, " ", kind, "\n"]);
    if let Some(unit) = family.unit.filter(|_| open_metrics) {
        push_all(out, &["# UNIT ", name, " ", unit, "\n"]);
    }
}

fn write_group(out: &mut String, group: &[&Family], format: Format) {
    // Labels are written once, into one buffer; the text is both what is sorted by and what every
    // line of a histogram repeats.
    let mut text = String::new();
    let mut series: Vec<(Range<usize>, &Sample)> = Vec::new();
    for sample in group.iter().flat_map(|family| &family.samples) {
        let start = text.len();
        push_labels(&mut text, &sample.labels);
        series.push((start..text.len(), sample));
    }
    series.sort_by(|(left, _), (right, _)| text[left.clone()].cmp(&text[right.clone()]));

    let name = &*group[0].name;
    let bounds = BoundTexts::of(&series);
    for (labels, sample) in series {
        let labels = &text[labels];
        let exemplars: &[Option<Exemplar>] = match format {
            Format::Text004 => &[],
            Format::OpenMetrics100 => sample.exemplars.as_slice(),
        };
        match &sample.value {
            Value::Number(number) => {
                push_name(out, name, "", labels);
                push_number(out, *number);
                push_line_end(out, exemplars.first());
            }
            Value::Histogram(histogram) => {
                let buckets = Buckets { labels, bounds: &bounds, exemplars };
                push_histogram(out, name, histogram, &buckets);
            }
        }
    }
}

/// The `le` values of a group's bounds, written once.
struct BoundTexts<'a> {
    bounds: &'a [f64],
    texts: Vec<String>,
}

impl<'a> BoundTexts<'a> {
    fn of(series: &[(Range<usize>, &'a Sample)]) -> Self {
        let bounds = series.iter().find_map(|(_, sample)| match &sample.value {
            Value::Histogram(histogram) => Some(histogram.bounds),
            Value::Number(_) => None,
        });
        let bounds = bounds.unwrap_or_default();
        // `{:?}` writes 1 as 1.0, which OpenMetrics demands of `le`. 0.0.4 gets the same text, so
        // that the series stay the same when a scraper changes format.
        let texts = bounds.iter().map(|bound| format!("{bound:?}")).collect();
        Self { bounds, texts }
    }
}

/// What the lines of one histogram have beside its counts.
struct Buckets<'a> {
    labels: &'a str,
    bounds: &'a BoundTexts<'a>,
    exemplars: &'a [Option<Exemplar>],
}

fn push_histogram(out: &mut String, name: &str, histogram: &Histogram, buckets: &Buckets) {
    let Buckets { labels, bounds: known, exemplars } = *buckets;
    debug_assert_eq!(known.bounds, histogram.bounds, "{name}: one set of bounds");
    let separator = if labels.is_empty() { "" } else { "," };
    let bounds = known.texts.iter().map(String::as_str).chain(["+Inf"]);
    let mut cumulative = 0;
    for (position, (bound, count)) in bounds.zip(&histogram.counts).enumerate() {
        cumulative += count;
        push_all(out, &[name, "_bucket{", labels, separator, "le=\"", bound, "\"} "]);
        push_integer(out, cumulative);
        push_line_end(out, exemplars.get(position));
    }
    push_name(out, name, "_sum", labels);
    push_number(out, histogram.sum);
    out.push('\n');
    push_name(out, name, "_count", labels);
    push_integer(out, cumulative);
    out.push('\n');
}

/// Ends a sample's line, with its exemplar where it has one.
fn push_line_end(out: &mut String, exemplar: Option<&Option<Exemplar>>) {
    const SECOND_US: f64 = 1_000_000.0;
    if let Some(Some(exemplar)) = exemplar {
        out.push_str(" # {trace_id=\"");
        push_escaped(out, &exemplar.trace_id, true);
        out.push_str("\"} ");
        push_number(out, exemplar.value);
        out.push(' ');
        push_number(out, exemplar.at_us as f64 / SECOND_US);
    }
    out.push('\n');
}

fn push_name(out: &mut String, name: &str, suffix: &str, labels: &str) {
    if labels.is_empty() {
        push_all(out, &[name, suffix, " "]);
    } else {
        push_all(out, &[name, suffix, "{", labels, "} "]);
    }
}

/// Labels without their braces.
fn push_labels(out: &mut String, labels: &[(Cow<'static, str>, String)]) {
    for (position, (name, value)) in labels.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        push_all(out, &[name, "=\""]);
        push_escaped(out, value, true);
        out.push('"');
    }
}

fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '\n', '"']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        match special.as_bytes()[0] {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            _ if quotes => out.push_str("\\\""),
            _ => out.push('"'),
        }
        rest = &special[1..];
    }
    out.push_str(rest);
}

fn push_number(out: &mut String, number: f64) {
    // Up to here every integer has its own float, and the integer path is the fast one.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else if (0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0 {
        push_integer(out, number as u64);
    } else {
        write!(out, "{number}").expect("a String takes every write");
    }
}

fn push_integer(out: &mut String, mut integer: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (integer % 10) as u8;
        integer /= 10;
        if integer == 0 {
            break;
        }
    }
    let text = std::str::from_utf8(&digits[start..]).expect("digits are ASCII");
    out.push_str(text);
}

fn push_all(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// Roughly the bytes a family takes, so that the buffer is not copied as it grows.
fn size_hint(family: &Family) -> usize {
    let lines = |value: &Value| match value {
        Value::Number(_) => 1,
        Value::Histogram(histogram) => histogram.counts.len() + 2,
    };
    let sample_bytes = |sample: &Sample| {
        let labels: usize = sample.labels.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        lines(&sample.value) * (family.name.len() + labels + 30)
    };
    200 + family.help.len() + family.samples.iter().map(sample_bytes).sum::<usize>()
}
