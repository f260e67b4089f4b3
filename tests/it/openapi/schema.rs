//! Does a value have a shape of the description? Knows the words of JSON Schema that the description uses, and fails at
//! any other.

use serde_json::Value;

/// Words that say nothing about whether a value fits.
const SILENT: &[&str] = &["description", "example", "examples", "default", "title", "format", "$schema"];

/// What does not fit, each with where.
pub fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    fit(document, schema, value, "$", &mut found);
    found
}

fn fit(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if schema == &Value::Bool(false) {
        found.push(format!("{at}: nothing may be here"));
    }
    let Some(words) = schema.as_object() else { return };
    for (word, says) in words {
        let before = found.len();
        match word.as_str() {
            "$ref" => fit(document, target(document, says), value, at, found),
            "type" => {
                let is_one = match says {
                    Value::Array(several) => several.iter().any(|one| is(one, value)),
                    one => is(one, value),
                };
                if !is_one {
                    found.push(format!("{at}: {} is no {says}", shown(value)));
                }
            }
            "enum" if !says.as_array().unwrap().contains(value) => {
                found.push(format!("{at}: {} is none of {says}", shown(value)));
            }
            "required" => {
                for name in says.as_array().unwrap() {
                    if value.as_object().is_some_and(|object| !object.contains_key(name.as_str().unwrap())) {
                        found.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, one) in says.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        fit(document, one, value, &format!("{at}.{name}"), found);
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if !known.is_some_and(|known| known.contains_key(name)) {
                        fit(document, says, value, &format!("{at}.{name}"), found);
                    }
                }
            }
            "prefixItems" => {
                for (index, (one, value)) in says.as_array().unwrap().iter().zip(array(value)).enumerate() {
                    fit(document, one, value, &format!("{at}[{index}]"), found);
                }
            }
            "items" => {
                let first = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                for (index, value) in array(value).iter().enumerate().skip(first) {
                    fit(document, says, value, &format!("{at}[{index}]"), found);
                }
            }
            "allOf" => says.as_array().unwrap().iter().for_each(|one| fit(document, one, value, at, found)),
            "oneOf" => {
                let fitting = says.as_array().unwrap().iter().filter(|one| problems(document, one, value).is_empty());
                let count = fitting.count();
                if count != 1 {
                    found.push(format!("{at}: {} has {count} of the shapes {says}", shown(value)));
                }
            }
            "minimum" if value.as_f64().is_some_and(|number| number < says.as_f64().unwrap()) => {
                found.push(format!("{at}: {value} is below {says}"));
            }
            "maxItems" if array(value).len() as u64 > says.as_u64().unwrap() => {
                found.push(format!("{at}: more than {says} items"));
            }
            "enum" | "minimum" | "maximum" | "maxItems" | "minItems" | "minLength" | "pattern" | "propertyNames" => {}
            word if SILENT.contains(&word) || word.starts_with("x-") => {}
            word => found.push(format!("{at}: the word {word} is not known here")),
        }
        // One that fails says it all.
        if found.len() > before + 20 {
            return;
        }
    }
}

/// What a `$ref` names.
pub fn target<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
    document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type of JSON Schema"),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

#[test]
fn what_does_not_fit_is_found() {
    let document = serde_json::json!({ "components": { "schemas": { "A": {
        "allOf": [{ "type": "object", "required": ["a"], "properties": { "a": { "type": ["integer", "null"] } } }],
    } } } });
    let check = |schema: &Value, value: Value, expected: Option<&str>| {
        let found = problems(&document, schema, &value);
        assert_eq!(found.first().map(String::as_str), expected, "{value}");
    };
    let a = serde_json::json!({ "type": "array", "items": { "$ref": "#/components/schemas/A" } });
    check(&a, serde_json::json!([{ "a": 1 }, { "a": null }]), None);
    check(&a, serde_json::json!([{}]), Some("$[0]: \"a\" is missing"));
    check(&a, serde_json::json!([{ "a": "x" }]), Some("$[0].a: \"x\" is no [\"integer\",\"null\"]"));
    let pair = serde_json::json!({ "prefixItems": [{ "type": "number" }], "items": false });
    check(&pair, serde_json::json!([1, 2]), Some("$[1]: nothing may be here"));
    let closed = serde_json::json!({ "properties": { "a": {} }, "additionalProperties": false });
    check(&closed, serde_json::json!({ "b": 1 }), Some("$.b: nothing may be here"));
    let one = serde_json::json!({ "oneOf": [{ "type": "number" }, { "type": "integer" }], "odd": 1 });
    assert_eq!(problems(&document, &one, &serde_json::json!(1)).len(), 2);
}
