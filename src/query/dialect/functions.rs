//! Functions that clients of Postgres ask for beside those of the catalogs: who and where they are, what a setting is,
//! and what a server has that keeps comments, sequences, locks and indexes.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility},
};

use super::setting;

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let text = |value: Option<&str>| ScalarValue::Utf8(value.map(str::to_owned));
    let truth = |value| ScalarValue::Boolean(Some(value));
    let version = format!("PostgreSQL {} (Driftline {})", setting::SERVER_VERSION, env!("CARGO_PKG_VERSION"));
    let constants = [
        ("version", text(Some(&version))),
        ("obj_description", text(None)),
        ("col_description", text(None)),
        ("shobj_description", text(None)),
        ("pg_get_viewdef", text(None)),
        ("pg_get_indexdef", text(None)),
        ("pg_get_triggerdef", text(None)),
        ("pg_get_ruledef", text(None)),
        ("pg_get_function_arguments", text(None)),
        ("pg_get_function_result", text(None)),
        ("pg_get_serial_sequence", text(None)),
        ("pg_tablespace_location", text(None)),
        ("inet_server_addr", text(None)),
        ("inet_client_addr", text(None)),
        ("inet_server_port", ScalarValue::Int32(None)),
        ("inet_client_port", ScalarValue::Int32(None)),
        ("pg_is_in_recovery", truth(false)),
        ("pg_is_other_temp_schema", truth(false)),
        ("pg_function_is_visible", truth(true)),
        ("pg_type_is_visible", truth(true)),
        ("pg_opclass_is_visible", truth(true)),
        ("pg_operator_is_visible", truth(true)),
        ("pg_collation_is_visible", truth(true)),
        ("has_column_privilege", truth(true)),
        ("has_function_privilege", truth(true)),
        ("has_sequence_privilege", truth(true)),
        ("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        ("pg_table_size", ScalarValue::Int64(Some(0))),
        ("pg_indexes_size", ScalarValue::Int64(Some(0))),
        ("pg_database_size", ScalarValue::Int64(Some(0))),
        ("txid_current", ScalarValue::Int64(Some(1))),
        ("pg_advisory_unlock_all", text(Some(""))),
    ];
    let constants = constants.into_iter().map(|(name, value)| ScalarUDF::from(Constant::new(name, value)));
    let settings = ["current_setting", "set_config"].map(|name| ScalarUDF::from(Settings::new(name)));
    constants.chain(settings).chain([ScalarUDF::from(Format::new())]).collect()
}

/// Says the same, whatever it is asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl Constant {
    fn new(name: &'static str, value: ScalarValue) -> Self {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        Self { name, value, signature: Signature::one_of(any, Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// `current_setting(name[, missing_ok])`: as it is where no session has set it; and `set_config(name, value, is_local)`,
/// which says the value and sets nothing: a function knows no session.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Settings {
    name: &'static str,
    signature: Signature,
}

impl Settings {
    fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::variadic_any(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Settings {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = |at: usize| -> Result<ArrayRef> {
            match arguments.get(at) {
                Some(array) => Ok(cast(array, &DataType::Utf8)?),
                None => exec_err!("{} needs {} arguments", self.name, at + 1),
            }
        };
        if self.name == "set_config" {
            return Ok(ColumnarValue::Array(texts(1)?));
        }
        let is_missing_ok = arguments.len() > 1;
        let found: StringArray = texts(0)?
            .as_string::<i32>()
            .iter()
            .map(|name| {
                let Some(name) = name else { return Ok(None) };
                match setting::default_of(&name.to_lowercase()) {
                    None if !is_missing_ok => exec_err!("unrecognized configuration parameter \"{name}\""),
                    found => Ok(found),
                }
            })
            .collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

/// `format(text, …)`: `%s` is the next argument, `%I` the same as a name and `%L` as a literal, `%%` a percent sign. Widths
/// and positions are not understood.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    signature: Signature,
}

impl Format {
    fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = ColumnarValue::values_to_arrays(&args.args)?
            .iter()
            .map(|array| Ok(cast(array, &DataType::Utf8)?))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let Some((formats, values)) = texts.split_first() else { return exec_err!("format needs a text") };
        let values: Vec<&StringArray> = values.iter().map(|array| array.as_string::<i32>()).collect();
        let formats = formats.as_string::<i32>().iter().enumerate();
        let formatted = formats.map(|(row, format)| {
            let of_row = values.iter().map(|array| array.is_valid(row).then(|| array.value(row)));
            format.map(|format| formatted(format, of_row)).transpose()
        });
        Ok(ColumnarValue::Array(Arc::new(formatted.collect::<Result<StringArray>>()?)))
    }
}

fn formatted<'a>(format: &str, mut values: impl Iterator<Item = Option<&'a str>>) -> Result<String> {
    let mut text = String::with_capacity(format.len());
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let kind = letters.next();
        if kind == Some('%') {
            text.push('%');
            continue;
        }
        let Some(value) = values.next() else { return exec_err!("format: too few arguments") };
        match (kind, value) {
            (Some('s'), value) => text.push_str(value.unwrap_or_default()),
            (Some('I'), Some(value)) => text.push_str(&quoted(value)),
            (Some('I'), None) => return exec_err!("format: null values cannot be formatted as an SQL identifier"),
            (Some('L'), Some(value)) => text.push_str(&format!("'{}'", value.replace('\'', "''"))),
            (Some('L'), None) => text.push_str("NULL"),
            _ => return exec_err!("format: only %s, %I, %L and %% are understood"),
        }
    }
    Ok(text)
}

/// A name as a statement has it: in quotes unless it is plain.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::execution::context::SessionContext;

    use super::*;

    #[tokio::test]
    async fn clients_learn_where_they_are() {
        let context = SessionContext::new();
        all().into_iter().for_each(|function| context.register_udf(function));
        let check = async |expression: &str, expected: &str| {
            let batches = context.sql(&format!("select {expression} as a")).await.unwrap().collect().await.unwrap();
            let shown = arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap();
            assert_eq!(shown, expected, "{expression}");
        };
        check("version() like 'PostgreSQL 16.%Driftline%'", "true").await;
        check("cast(current_setting('server_version_num') as int) / 100", "1600").await;
        check("current_setting('Search_Path')", "\"$user\", public").await;
        check("current_setting('nothing', true)", "").await;
        check("set_config('search_path', '', false)", "").await;
        check("obj_description(1, 'pg_class')", "").await;
        check("pg_is_in_recovery()", "false").await;
        check("format('%s.%I of 100%%, %L, %s', 'a', 'B c', 'it''s', null)", "a.\"B c\" of 100%, 'it''s', ").await;
        check("format('%s', 'a') || coalesce(format(null, 'a'), '-')", "a-").await;
        let unknown = context.sql("select current_setting('nothing')").await.unwrap().collect().await;
        assert!(unknown.unwrap_err().to_string().contains("unrecognized configuration parameter"));
    }
}
