//! Which text format an `Accept` header asks for.
//!
//! The rule of RFC 9110 (the most specific range decides a type's weight), for the two types that
//! are offered. Whatever cannot be read is passed over: a scrape is never refused over its header.

/// A format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text004,
    /// OpenMetrics text 1.0.0.
    OpenMetrics100,
}

impl Format {
    /// OpenMetrics where it is named and weighs more than text, or as much and is named first;
    /// else text.
    pub fn negotiate(accept: Option<&str>) -> Format {
        let ranges: Vec<Range> = accept.unwrap_or_default().split(',').filter_map(Range::parse).collect();
        let Some((named_at, open_metrics)) = best(&ranges, Range::names_open_metrics) else {
            return Format::Text004;
        };
        let matches: [fn(&Range) -> bool; 3] =
            [Range::names_text, |range| range.media_type == "text/*", |range| range.media_type == "*/*"];
        let text = matches.iter().find_map(|matches| best(&ranges, matches));
        let preferred = match text {
            // A wildcard never outranks a name of the same weight.
            Some((text_at, text)) if text == open_metrics => named_at < text_at || !ranges[text_at].names_text(),
            Some((_, text)) => open_metrics > text,
            None => true,
        };
        if preferred && open_metrics > 0.0 { Format::OpenMetrics100 } else { Format::Text004 }
    }

    /// The `Content-Type` to answer with. Prometheus 3 fails a scrape without a known one.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One element of the header.
#[derive(Debug)]
struct Range {
    /// In lower case.
    media_type: String,
    version: Option<String>,
    weight: f32,
}

impl Range {
    fn parse(element: &str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let mut range = Self { media_type: parts.next()?.to_ascii_lowercase(), version: None, weight: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("q") {
                range.weight = value.parse().ok().filter(|weight: &f32| !weight.is_nan())?;
                range.weight = range.weight.clamp(0.0, 1.0);
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value.to_owned());
            }
        }
        Some(range)
    }

    fn names_open_metrics(&self) -> bool {
        self.media_type == "application/openmetrics-text"
            && matches!(self.version.as_deref(), None | Some("0.0.1" | "1.0.0"))
    }

    fn names_text(&self) -> bool {
        self.media_type == "text/plain" && matches!(self.version.as_deref(), None | Some("0.0.4"))
    }
}

/// The position and weight of the heaviest range that matches, the first among equals.
fn best(ranges: &[Range], matches: impl Fn(&Range) -> bool) -> Option<(usize, f32)> {
    let mut best: Option<(usize, f32)> = None;
    for (position, range) in ranges.iter().enumerate().filter(|(_, range)| matches(range)) {
        if best.is_none_or(|(_, weight)| range.weight > weight) {
            best = Some((position, range.weight));
        }
    }
    best
}
