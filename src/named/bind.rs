//! Turns the arguments a caller gave, and the defaults of the rest, into typed values. It never
//! touches the SQL: a value is bound beside the text, so it can't become part of it.

use std::fmt;

use super::{NamedSql, Param, ParamKind, shown, time};

/// A typed value for one parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// µs since 1970, UTC.
    Timestamp(i64),
    /// Any text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// No value, of this type.
    Null(ParamKind),
}

/// An argument that does not fit; always the caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError {
    /// The parameter or the unknown argument.
    pub param: String,
    /// What is wrong with it, and what is accepted.
    pub message: String,
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "parameter {}: {}", shown(&self.param), self.message)
    }
}

impl std::error::Error for BindError {}

impl NamedSql {
    /// One value for each parameter, in the order of the file.
    ///
    /// An empty argument is as good as none, because forms and dashboards send their empty fields:
    /// the default holds. A text is taken as it is, so `null` is a text of four letters; for the
    /// other types it is null, where the default is.
    pub fn bind<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
        now_us: i64,
    ) -> Result<Vec<(String, ParamValue)>, BindError> {
        let mut texts: Vec<Option<&str>> = vec![None; self.params.len()];
        for (name, text) in given {
            let fail = |message| BindError { param: name.to_owned(), message };
            let index = self.params.iter().position(|param| param.name == name).ok_or_else(|| fail(self.unknown()))?;
            if texts[index].replace(text).is_some() {
                return Err(fail("given twice".to_owned()));
            }
        }
        let bound = self.params.iter().zip(texts).map(|(param, text)| {
            let text = text.filter(|text| !text.trim().is_empty());
            match value(param, text, now_us) {
                Ok(value) => Ok((param.name.clone(), value)),
                Err(message) => Err(BindError { param: param.name.clone(), message }),
            }
        });
        bound.collect()
    }

    fn unknown(&self) -> String {
        let names: Vec<&str> = self.params.iter().map(|param| param.name.as_str()).collect();
        match names.as_slice() {
            [] => format!("unknown; {} takes no parameters", self.name),
            names => format!("unknown; {} takes {}", self.name, names.join(", ")),
        }
    }
}

fn value(param: &Param, text: Option<&str>, now_us: i64) -> Result<ParamValue, String> {
    match (text, param.default.as_deref()) {
        (Some("null"), Some("null")) if param.kind != ParamKind::Text => Ok(ParamValue::Null(param.kind)),
        (Some(text), _) => argument(param, text, now_us),
        (None, Some(default)) => default_value(param, default, now_us),
        (None, None) => Err(format!("required; accepted: {}", accepts(param))),
    }
}

fn accepts(param: &Param) -> String {
    match param.one_of.as_slice() {
        [] => param.kind.accepts().to_owned(),
        values => values.join(", "),
    }
}

/// The value of a default as a header writes it.
pub(super) fn default_value(param: &Param, raw: &str, now_us: i64) -> Result<ParamValue, String> {
    if raw == "null" {
        return Ok(ParamValue::Null(param.kind));
    }
    match param.kind {
        ParamKind::Text => argument(param, &unquoted(raw), now_us),
        _ => argument(param, raw, now_us),
    }
}

fn argument(param: &Param, text: &str, now_us: i64) -> Result<ParamValue, String> {
    let kind = param.kind;
    if !param.one_of.is_empty() && !param.one_of.iter().any(|value| value == text) {
        return Err(format!("{} is none of {}", shown(text), param.one_of.join(", ")));
    }
    let trimmed = text.trim();
    let value = match kind {
        ParamKind::Timestamp => {
            return time::parse_time(trimmed, now_us).map(ParamValue::Timestamp);
        }
        ParamKind::Text => Some(ParamValue::Text(text.to_owned())),
        ParamKind::Int => trimmed.parse().ok().map(ParamValue::Int),
        ParamKind::Float => trimmed.parse().ok().filter(|value: &f64| value.is_finite()).map(ParamValue::Float),
        ParamKind::Bool => trimmed.parse().ok().map(ParamValue::Bool),
    };
    value.ok_or_else(|| format!("{} is no {kind}; accepted: {}", shown(trimmed), kind.accepts()))
}

/// The length of the quoted text that `text` starts with; `None` if it has no end. A doubled quote
/// stands for one and doesn't end it.
pub(super) fn quoted_len(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut at = quote.len_utf8();
    loop {
        at += text[at..].find(quote)? + quote.len_utf8();
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += quote.len_utf8();
    }
}

fn unquoted(raw: &str) -> String {
    let quote = match raw.chars().next() {
        Some(quote @ ('\'' | '"')) if quoted_len(raw) == Some(raw.len()) => quote,
        _ => return raw.to_owned(),
    };
    raw[1..raw.len() - 1].replace(&format!("{quote}{quote}"), &quote.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "-- question: q\n\
        -- param: from timestamp = now-1h\n\
        -- param: name text\n\
        -- param: tenant_id text = null\n\
        -- param: region text = 'it''s \"eu\"'\n\
        -- param: limit int = 100\n\
        -- param: share float = 0.5\n\
        -- param: deep bool = false\n\
        -- param: cap int = null\n\
        -- param: grain text(hour|day) = day\n\
        select $from, $name, $tenant_id, $region, $limit, $share, $deep, $cap, $grain";
    const NOW_US: i64 = 1_778_752_800_000_000;

    /// The values that differ from those of `name=n` alone, or the error.
    #[track_caller]
    fn check(given: &[(&str, &str)], expect: &str) {
        let file = NamedSql::parse("file", FILE).unwrap();
        let plain = file.bind([("name", "n")], NOW_US).unwrap();
        let got = match file.bind(given.iter().copied(), NOW_US) {
            Err(error) => error.to_string(),
            Ok(bound) => {
                let changed = bound.iter().filter(|value| !plain.contains(value));
                changed.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" ")
            }
        };
        assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{given:?}\n got {got}");
    }

    #[test]
    fn defaults_hold_in_the_order_of_the_file() {
        let file = NamedSql::parse("file", FILE).unwrap();
        let values = file.bind([("name", "n")], NOW_US).unwrap();
        let expect = [
            ("from", ParamValue::Timestamp(NOW_US - 3_600_000_000)),
            ("name", ParamValue::Text("n".into())),
            ("tenant_id", ParamValue::Null(ParamKind::Text)),
            ("region", ParamValue::Text("it's \"eu\"".into())),
            ("limit", ParamValue::Int(100)),
            ("share", ParamValue::Float(0.5)),
            ("deep", ParamValue::Bool(false)),
            ("cap", ParamValue::Null(ParamKind::Int)),
            ("grain", ParamValue::Text("day".into())),
        ];
        assert_eq!(values, expect.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn arguments_replace_defaults() {
        check(&[("name", "n"), ("from", "0")], "from=Timestamp(0)");
        check(&[("limit", " 7 "), ("name", "n")], "limit=Int(7)");
        check(&[("share", "1e-3"), ("name", "n")], "share=Float(0.001)");
        check(&[("deep", "true"), ("name", "n")], "deep=Bool(true)");
        check(&[("cap", "3"), ("name", "n")], "cap=Int(3)");
        check(&[("cap", "null"), ("name", "n")], "");
        check(&[("tenant_id", "null"), ("name", "n")], "tenant_id=Text(\"null\")");
        check(&[("tenant_id", "'; drop table x"), ("name", "n")], "tenant_id=Text(\"'; drop table x\")");
        check(&[("tenant_id", ""), ("limit", ""), ("region", " "), ("name", "n")], "");
        check(&[("grain", "hour"), ("name", "n")], "grain=Text(\"hour\")");
        check(&[("name", " n ")], "name=Text(\" n \")");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        check(&[], "parameter `name`: required; accepted: any text");
        check(&[("name", "")], "parameter `name`: required; accepted: any text");
        check(&[("to", "now")], "parameter `to`: unknown; file takes from, name, tenant_id, region, limit,");
        check(&[("name", "a"), ("name", "b")], "parameter `name`: given twice");
        check(&[("name", "n"), ("from", "soon")], "parameter `from`: `soon` is no time; accepted: now,");
        check(&[("name", "n"), ("grain", "week")], "parameter `grain`: `week` is none of hour, day");
        check(&[("name", "n"), ("limit", "1.5")], "parameter `limit`: `1.5` is no int; accepted: a whole number");
        check(&[("name", "n"), ("limit", "null")], "parameter `limit`: `null` is no int");
        check(&[("name", "n"), ("share", "inf")], "parameter `share`: `inf` is no float; accepted: a number");
        check(&[("name", "n"), ("deep", "1")], "parameter `deep`: `1` is no bool; accepted: true or false");
    }
}
