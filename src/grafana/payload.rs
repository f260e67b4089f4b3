//! What a target says beside its metric: a small object whose values Grafana sends as texts, as lists of texts or as
//! they are. Reads; decides nothing.

use serde_json::{Map, Value};

use super::pattern;

/// The columns by whose values series are told apart.
pub const GROUP_BY: &str = "group_by";
/// The columns that are shown.
pub const VALUES: &str = "values";
/// `series` or `table`.
pub const FORMAT: &str = "format";
/// Conditions on the calls, one a line, or a list of them.
pub const FILTERS: &str = "filters";
/// The statement of the metric `sql`.
pub const STATEMENT: &str = "q";

/// A payload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Payload(Map<String, Value>);

impl Payload {
    /// Reads an object, or the text of one. Everything else is nothing, as the plugin has it.
    pub fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::Object(fields)) => Self(fields.clone()),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Object(fields)) => Self(fields),
                _ => Self::default(),
            },
            _ => Self::default(),
        }
    }

    /// A field as it was sent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A field's text, as it was sent; none where it is empty.
    pub fn text(&self, name: &str) -> Option<String> {
        texts(self.0.get(name)?).into_iter().next().filter(|text| !text.trim().is_empty())
    }

    /// The values that a field stands for; none where it asks for nothing in particular.
    pub fn values(&self, name: &str) -> Vec<String> {
        let texts = self.0.get(name).map(texts).unwrap_or_default();
        if texts.iter().any(|text| pattern::is_anything(text)) {
            return Vec::new();
        }
        texts.iter().flat_map(|text| pattern::values(text)).collect()
    }

    /// The names in a field: several values, or one text with commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self.values(name);
        let parts = values.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }
}

/// A value as texts: itself, or its elements. What an option of a select is, is its `value`.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(flag) => vec![flag.to_string()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.get("value").map(texts).unwrap_or_default(),
        Value::Null => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_is_read() {
        let payload = Payload::of(Some(&json!({
            "a": "(x|y)", "b": ["p", "(q|r)"], "c": 7, "d": null, "e": "", "f": ".*", "g": "one, two",
            "h": {"label": "L", "value": "v"}, "i": true,
        })));
        let values = |name: &str| payload.values(name).join(" ");
        assert_eq!([values("a"), values("b"), values("c"), values("h")], ["x y", "p q r", "7", "v"]);
        assert_eq!([values("d"), values("e"), values("f"), values("none")], ["", "", "", ""]);
        assert_eq!((payload.list("g").join(" "), values("i")), ("one two".into(), "true".into()));
        assert_eq!(payload.text("a").as_deref(), Some("(x|y)"));
        assert_eq!(Payload::of(Some(&json!(r#"{"a": 1}"#))).text("a").as_deref(), Some("1"));
        for nothing in [json!("not json"), json!("[1]"), json!(null), json!([1]), json!(3)] {
            assert_eq!(Payload::of(Some(&nothing)), Payload::default(), "{nothing}");
        }
    }
}
