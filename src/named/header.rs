//! Reads the `-- key: value` lines at the head of a file; the format is specified in the parent.
//! It never looks at the SQL below them.

use super::{At, ColumnDoc, HeaderError, OtherLine, Param, ParamKind, bind, shown};

/// A header as it is written, each part with its line where a later check may need it.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) question: String,
    pub(super) grain: Option<String>,
    pub(super) params: Vec<At<Param>>,
    pub(super) columns: Vec<At<ColumnDoc>>,
    pub(super) other: Vec<OtherLine>,
}

/// Reads the header of a file's text.
pub(super) fn read(text: &str) -> Result<Header, HeaderError> {
    let mut question = None;
    let mut grain = None;
    let mut params = Vec::new();
    let mut columns = Vec::new();
    let mut other = Vec::new();
    for (index, text) in text.lines().take_while(|text| text.starts_with("--")).enumerate() {
        let line = index + 1;
        let fail = |message| HeaderError::new(line, message);
        let (key, value) = key_value(text).map_err(fail)?;
        match key {
            "question" => once(&mut question, key, value).map_err(fail)?,
            "grain" => once(&mut grain, key, value).map_err(fail)?,
            "param" => {
                let param = param(value).map_err(fail)?;
                add(&mut params, line, param, |param| &param.name)?;
            }
            "column" => {
                let column = column(value).map_err(fail)?;
                add(&mut columns, line, column, |column| &column.name)?;
            }
            _ => other.push(OtherLine { key: key.to_owned(), value: value.to_owned(), line }),
        }
    }
    let question = question
        .ok_or_else(|| HeaderError::new(1, "the header has no `-- question: …` line; it is the first in the file"))?;
    Ok(Header { question, grain, params, columns, other })
}

/// `-- key: value`.
fn key_value(text: &str) -> Result<(&str, &str), String> {
    let form = || {
        let text = shown(text);
        format!("{text} is no header line: write `-- key: value`, and a blank line before other comments")
    };
    let (key, value) = text.strip_prefix("-- ").and_then(|rest| rest.split_once(':')).ok_or_else(form)?;
    if !is_name(key) {
        return Err(form());
    }
    let value = value.trim();
    if value.is_empty() {
        return Err(format!("`{key}` has no value"));
    }
    Ok((key, value))
}

fn once(slot: &mut Option<String>, key: &str, value: &str) -> Result<(), String> {
    match slot.replace(value.to_owned()) {
        None => Ok(()),
        Some(_) => Err(format!("`{key}` is given a second time")),
    }
}

/// Adds a named thing that must not be there yet.
fn add<T>(list: &mut Vec<At<T>>, line: usize, value: T, name: fn(&T) -> &str) -> Result<(), HeaderError> {
    if let Some(first) = list.iter().find(|at| name(&at.value) == name(&value)) {
        let message = format!("`{}` is already declared on line {}", name(&value), first.line);
        return Err(HeaderError::new(line, message));
    }
    list.push(At { line, value });
    Ok(())
}

/// `name type[(one|of|these)] [= default] [-- doc]`.
fn param(value: &str) -> Result<Param, String> {
    let (name, rest) = name_and_rest(value)?;
    let (kind, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()));
    let kind = ParamKind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(|| {
        let known = ParamKind::ALL.map(ParamKind::name).join(", ");
        format!("parameter `{name}` has no known type; write `{name} type`, the type one of {known}")
    })?;
    let (one_of, rest) = one_of_and_rest(rest, kind).map_err(|message| format!("parameter `{name}`: {message}"))?;
    let rest = rest.trim();
    let (default, rest) = match rest.strip_prefix('=') {
        Some(rest) => {
            let (default, rest) = default_and_rest(rest.trim(), kind)
                .ok_or_else(|| format!("the default of parameter `{name}` has no end or no value"))?;
            (Some(default), rest)
        }
        None => (None, rest),
    };
    let doc = doc(rest)?;
    let param = Param {
        name: name.to_owned(),
        kind,
        one_of,
        default: default.map(str::to_owned),
        doc: doc.to_owned(),
        required: default.is_none(),
    };
    if let Some(default) = default {
        // Only the form is of interest here, and no form depends on the time of day.
        bind::default_value(&param, default, 0)
            .map_err(|message| format!("the default of parameter `{name}`: {message}"))?;
    }
    Ok(param)
}

/// `(one|of|these)`, or nothing, which is no limit.
fn one_of_and_rest(text: &str, kind: ParamKind) -> Result<(Vec<String>, &str), String> {
    let Some(inside) = text.strip_prefix('(') else { return Ok((Vec::new(), text)) };
    if kind != ParamKind::Text {
        return Err(format!("only a text lists its values, not a {kind}"));
    }
    let (values, rest) = inside.split_once(')').ok_or("the list of values has no end; write `text(one|other)`")?;
    let values: Vec<String> = values.split('|').map(|value| value.trim().to_owned()).collect();
    match values.iter().find(|value| !is_name(value)) {
        Some(value) => Err(format!("{} is no value; a value is lower case letters, digits and `_`", shown(value))),
        None => Ok((values, rest)),
    }
}

/// Splits a default, as written, from what follows it. A quoted text may hold anything.
fn default_and_rest(text: &str, kind: ParamKind) -> Option<(&str, &str)> {
    let quoted = kind == ParamKind::Text && text.starts_with(['\'', '"']);
    let end = if quoted {
        bind::quoted_len(text)?
    } else if text.starts_with("--") {
        0
    } else {
        text.find(" --").unwrap_or(text.len())
    };
    let (default, rest) = text.split_at(end);
    let default = default.trim();
    (!default.is_empty()).then_some((default, rest.trim()))
}

/// `name unit [-- doc]`.
fn column(value: &str) -> Result<ColumnDoc, String> {
    let (name, rest) = name_and_rest(value)?;
    let (unit, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if unit.is_empty() || unit.starts_with("--") {
        return Err(format!("column `{name}` has no unit; write `{name} USD -- what it says`"));
    }
    let doc = doc(rest.trim())?;
    Ok(ColumnDoc { name: name.to_owned(), unit: unit.to_owned(), doc: doc.to_owned() })
}

fn name_and_rest(value: &str) -> Result<(&str, &str), String> {
    let (name, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    if !is_name(name) {
        let name = shown(name);
        return Err(format!("{name} is no name; a name is lower case letters, digits and `_`"));
    }
    Ok((name, rest.trim()))
}

/// `-- doc`, or nothing.
fn doc(rest: &str) -> Result<&str, String> {
    match rest.strip_prefix("--") {
        Some(doc) => Ok(doc.trim()),
        None if rest.is_empty() => Ok(""),
        None => Err(format!("{} is unexpected here; a remark follows ` -- `", shown(rest))),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One header line under a question reads as this, or is refused with this.
    #[track_caller]
    fn check(line: &str, expect: &str) {
        let got = match read(&format!("-- question: q\n{line}\nselect 1")) {
            Err(error) => error.to_string(),
            Ok(header) => {
                let params = header.params.iter().map(|at| {
                    let Param { name, kind, one_of, default, doc, required } = &at.value;
                    let default = default.as_deref().unwrap_or("-");
                    format!("{name}|{kind}{}|{default}|{doc}|{required}", one_of.join("/"))
                });
                let columns = header.columns.iter().map(|at| {
                    let ColumnDoc { name, unit, doc } = &at.value;
                    format!("{name}|{unit}|{doc}")
                });
                let other = header.other.iter().map(|OtherLine { key, value, line }| format!("{key}={value}@{line}"));
                params.chain(columns).chain(other).chain(header.grain.clone()).collect::<Vec<_>>().join(" ")
            }
        };
        assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{line}\n got {got}");
    }

    #[test]
    fn lines_read_as_written() {
        check("-- param: from timestamp = now-7d -- start, inclusive", "from|timestamp|now-7d|start, inclusive|false");
        check("-- param: limit int=100", "limit|int|100||false");
        check("-- param: id text -- the one", "id|text|-|the one|true");
        check("-- param: id text", "id|text|-||true");
        check("-- param: t text = null -- any", "t|text|null|any|false");
        check("-- param: t text = 'it''s -- here' -- doc", "t|text|'it''s -- here'|doc|false");
        check("-- param: t text = \"a b\"", "t|text|\"a b\"||false");
        check("-- param: t text = a b -- doc", "t|text|a b|doc|false");
        check("-- param: r float = -0.5 -- below -- zero", "r|float|-0.5|below -- zero|false");
        check("-- param: at timestamp = null", "at|timestamp|null||false");
        check("-- param: b bool = true", "b|bool|true||false");
        check("-- column: cost_usd USD -- money: spent", "cost_usd|USD|money: spent");
        check("-- column: rate tokens/s", "rate|tokens/s|");
        check("-- grain: day", "day");
        check("-- runbook: https://example.com/a", "runbook=https://example.com/a@2");
        check("-- param: g text(hour | day) = day -- grain", "g|texthour/day|day|grain|false");
        check("-- param: g text(hour)", "g|texthour|-||true");
        check("-- param: g text(hour|day) = null", "g|texthour/day|null||false");
        check("", "");
        check("  -- an indented comment is not of the header", "");
    }

    #[test]
    fn other_lines_are_refused() {
        check("--", "line 2: `--` is no header line");
        check("-- just a remark", "line 2: `-- just a remark` is no header line");
        check("--grain: day", "line 2: `--grain: day` is no header line");
        check("-- Grain: day", "line 2: `-- Grain: day` is no header line");
        check("-- grain:  ", "line 2: `grain` has no value");
        check("-- question: again", "line 2: `question` is given a second time");
        check("-- grain: day\n-- grain: hour", "line 3: `grain` is given a second time");
        check("-- param: a int\n\n-- a comment", "a|int|-||true");
        check("-- param: a int\n-- param: a text", "line 3: `a` is already declared on line 2");
        check("-- column: a ms\n-- column: a ms", "line 3: `a` is already declared on line 2");
        check("-- param: From timestamp", "line 2: `From` is no name");
        check("-- param: $from timestamp", "line 2: `$from` is no name");
        check("-- param: a", "line 2: parameter `a` has no known type");
        check("-- param: a integer", "line 2: parameter `a` has no known type");
        check("-- param: a int 100", "line 2: `100` is unexpected here");
        check("-- param: a int = -- doc", "line 2: the default of parameter `a` has no end or no value");
        check("-- param: a text = 'open", "line 2: the default of parameter `a` has no end or no value");
        check("-- param: a text = 'b' c", "line 2: `c` is unexpected here");
        check("-- param: a int = many", "line 2: the default of parameter `a`: `many` is no int");
        check("-- param: a int = 99999999999999999999", "line 2: the default of parameter `a`: ");
        check("-- param: a float = nan", "line 2: the default of parameter `a`: `nan` is no float");
        check("-- param: a bool = yes", "line 2: the default of parameter `a`: `yes` is no bool");
        check("-- param: a timestamp = soon", "line 2: the default of parameter `a`: `soon` is no time");
        check("-- param: a int(1|2)", "line 2: parameter `a`: only a text lists its values, not a int");
        check("-- param: a text(b|c", "line 2: parameter `a`: the list of values has no end");
        check("-- param: a text(b||c)", "line 2: parameter `a`: `` is no value");
        check("-- param: a text(b|c) = d", "line 2: the default of parameter `a`: `d` is none of b, c");
        check("-- column: a", "line 2: column `a` has no unit");
        check("-- column: a -- doc", "line 2: column `a` has no unit");
    }

    #[test]
    fn a_question_is_required() {
        for text in ["", "select 1", "\n-- question: late\nselect 1", "-- grain: day\nselect 1"] {
            assert_eq!(read(text).unwrap_err().line, 1, "{text}");
        }
    }
}
