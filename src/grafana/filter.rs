//! Ad-hoc filters, and conditions that a payload writes out, as typed conditions on calls. Decides what each operator
//! means; the plan is the engine's.

use serde_json::Value;

use super::{
    pattern,
    payload::{self, Payload, texts},
    shown,
};
use crate::{
    error::{Error, Result},
    query::{Comparison, Condition, Subject},
};

/// The operators, longer ones before those that they begin with.
const OPERATORS: [&str; 8] = ["!=|", "=|", "=~", "!~", "!=", "=", "<", ">"];

/// The conditions of ad-hoc filters, `[{"key", "operator", "value", "values"}]`. One without a key is being typed and
/// says nothing yet.
///
/// # Errors
///
/// [`crate::error::Kind::Invalid`] for a key that is no column and an operator that is none.
pub fn conditions(filters: Option<&Value>) -> Result<Vec<Condition>> {
    let filters = filters.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |filter: &Value, name: &str| filter.get(name).map(texts).and_then(|texts| texts.into_iter().next());
    let keyed = filters.iter().filter_map(|filter| Some((text(filter, "key").filter(|key| !key.is_empty())?, filter)));
    keyed
        .map(|(key, filter)| {
            let operator = text(filter, "operator").unwrap_or_else(|| "=".to_owned());
            let value = text(filter, "value").unwrap_or_default();
            let several = filter.get("values").map(texts).filter(|values| !values.is_empty());
            condition(&key, &operator, value.clone(), several.unwrap_or_else(|| vec![value]))
        })
        .collect()
}

/// The conditions of a payload: its `filters`, a list as above or one a line, `model =~ gpt-4.*`.
///
/// # Errors
///
/// As [`conditions`].
pub fn written_out(payload: &Payload) -> Result<Vec<Condition>> {
    match payload.get(payload::FILTERS) {
        Some(Value::Array(filters)) if filters.iter().any(Value::is_object) => {
            conditions(payload.get(payload::FILTERS))
        }
        Some(value) => {
            let lines = texts(value).iter().flat_map(|text| text.lines().map(str::to_owned)).collect::<Vec<_>>();
            let lines = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
            lines.filter_map(|line| line_condition(line).transpose()).collect()
        }
        None => Ok(Vec::new()),
    }
}

/// What one of these values of a column has to be; nothing where there are none.
pub fn one_of(column: &str, values: Vec<String>) -> Result<Option<Condition>> {
    let subject = Subject::of(column)?;
    let comparison = match <[String; 1]>::try_from(values) {
        Ok([value]) => Comparison::Equal(value),
        Err(values) if values.is_empty() => return Ok(None),
        Err(values) => Comparison::OneOf(values),
    };
    Ok(Some(Condition { subject, comparison }))
}

/// `key operator value`; nothing where the value is anything.
fn line_condition(line: &str) -> Result<Option<Condition>> {
    let wrong = || Error::invalid(format!("filter {}: write `model = gpt-5`, by {}", shown(line), operators()));
    let at = line.find(['=', '!', '<', '>']).ok_or_else(wrong)?;
    let (key, rest) = line.split_at(at);
    let operator = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)).ok_or_else(wrong)?;
    let value = rest[operator.len()..].trim();
    if matches!(operator, "=" | "=|" | "=~") && !value.is_empty() && pattern::is_anything(value) {
        return Ok(None);
    }
    let several = pattern::values(value);
    // An expression is taken as it is written; everything else stands for values.
    let (operator, value) = match (operator, several.as_slice()) {
        ("=~" | "!~", _) => (operator, value.to_owned()),
        (_, [one]) => (operator, one.clone()),
        ("=", _) => ("=|", String::new()),
        ("!=", _) => ("!=|", String::new()),
        _ => (operator, String::new()),
    };
    condition(key.trim(), operator, value, several).map(Some)
}

fn condition(key: &str, operator: &str, value: String, values: Vec<String>) -> Result<Condition> {
    let subject = Subject::of(key)?;
    let comparison = match operator {
        "=" => Comparison::Equal(value),
        "!=" => Comparison::NotEqual(value),
        "<" => Comparison::Less(value),
        ">" => Comparison::Greater(value),
        "=~" => Comparison::Matches(value),
        "!~" => Comparison::NotMatches(value),
        "=|" => Comparison::OneOf(values),
        "!=|" => Comparison::NoneOf(values),
        other => {
            return Err(Error::invalid(format!("operator {} is none of {}", shown(other), operators())));
        }
    };
    Ok(Condition { subject, comparison })
}

fn operators() -> String {
    "= != < > =~ !~ =| !=|".to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(conditions: Result<Vec<Condition>>) -> String {
        match conditions {
            Ok(conditions) => {
                let each = conditions.iter().map(|one| format!("{:?} {:?}", one.subject, one.comparison));
                each.collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_operator_is_typed() {
        let check = |operator: &str, expect: &str| {
            let filters = json!([{"key": "model", "operator": operator, "value": "a", "values": ["a", "b"]}]);
            assert_eq!(told(conditions(Some(&filters))), format!("Column(\"model\") {expect}"));
        };
        check("=", r#"Equal("a")"#);
        check("!=", r#"NotEqual("a")"#);
        check("<", r#"Less("a")"#);
        check(">", r#"Greater("a")"#);
        check("=~", r#"Matches("a")"#);
        check("!~", r#"NotMatches("a")"#);
        check("=|", r#"OneOf(["a", "b"])"#);
        check("!=|", r#"NoneOf(["a", "b"])"#);
    }

    #[test]
    fn filters_may_lack_fields() {
        let check = |filters: Value, expect: &str| {
            let got = told(conditions(Some(&filters)));
            assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{filters}: {got}");
        };
        check(json!(null), "");
        check(json!([]), "");
        check(json!([{"operator": "=", "value": "x"}]), "");
        check(json!([{"key": "", "operator": "=", "value": "x"}]), "");
        check(json!([{"key": "model"}]), r#"Column("model") Equal("")"#);
        check(json!([{"key": "model", "operator": "=|", "value": "x"}]), r#"Column("model") OneOf(["x"])"#);
        check(json!([{"key": "http_status", "value": 500, "more": 1}]), r#"Column("http_status") Equal("500")"#);
        check(json!([{"key": "attributes.region", "value": "eu"}]), r#"Attribute("region") Equal("eu")"#);
        check(json!([{"key": "nothing", "value": "x"}]), "nothing is no column to filter by");
        check(json!([{"key": "model", "operator": "~", "value": "x"}]), "operator ~ is none of");
    }

    #[test]
    fn filters_can_be_written_out() {
        let check = |text: &str, expect: &str| {
            let got = told(written_out(&Payload::of(Some(&json!({ "filters": text })))));
            assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{text}: {got}");
        };
        check("model = a", r#"Column("model") Equal("a")"#);
        check("model = (a|b)", r#"Column("model") OneOf(["a", "b"])"#);
        check("model != (a|b)", r#"Column("model") NoneOf(["a", "b"])"#);
        check("model =~ (a|b).*", r#"Column("model") Matches("(a|b).*")"#);
        check("model = .*\n\n", "");
        check(
            "latency_ms>5\nmodel!=|(x|y)",
            r#"Column("latency_ms") Greater("5"); Column("model") NoneOf(["x", "y"])"#,
        );
        check(r"model = gpt-4\.1", r#"Column("model") Equal("gpt-4.1")"#);
        check("model", "filter model: write");
        check("", "");
    }
}
