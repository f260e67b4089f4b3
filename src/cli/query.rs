//! `driftline query`.

use std::process::ExitCode;

use arrow::{array::RecordBatch, ipc::reader::StreamReader, util::pretty::pretty_format_batches};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Kind, Result},
    query::{Format, Output, QueryParams},
};

/// Flags of `query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The statement; agent_logs is the table to start with
    sql: String,
    /// Values for $1, $2, … as a JSON array, or for $name as a JSON object
    #[arg(long)]
    params: Option<String>,
    /// How the rows are printed
    #[arg(long, value_enum, default_value_t = Printed::Table)]
    format: Printed,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Printed {
    Table,
    Json,
    Jsonl,
    Csv,
}

/// Runs the statement and prints its rows.
pub async fn run(args: QueryArgs) -> Result<ExitCode> {
    let params: Option<serde_json::Value> = match &args.params {
        Some(text) => Some(serde_json::from_str(text).kind_context(Kind::Invalid, || "--params is not JSON".into())?),
        None => None,
    };
    let batches = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let params = match params {
                Some(serde_json::Value::Array(values)) => QueryParams::Positional(values),
                Some(serde_json::Value::Object(values)) => QueryParams::Named(values),
                _ => QueryParams::None,
            };
            let rows = store.engine.sql(&args.sql, params).await?;
            let empty = RecordBatch::new_empty(rows.schema());
            let mut batches = rows.collect().await?;
            batches.push(empty);
            store.close().await?;
            batches
        }
        None => {
            let body = json!({ "q": args.sql, "params": params, "format": "arrow" });
            let request = args.source.client()?.post(format!("{}/api/v1/sql", args.source.url())).json(&body);
            let bytes = client::send(request).await?.bytes().await.context("the result broke off")?;
            let reader = StreamReader::try_new(bytes.as_ref(), None).context("the result is not Arrow")?;
            let empty = RecordBatch::new_empty(reader.schema());
            let mut batches = reader.collect::<Result<Vec<_>, _>>().context("the result broke off")?;
            batches.push(empty);
            batches
        }
    };
    print(&shown(&batches, args.format)?)?;
    Ok(ExitCode::SUCCESS)
}

fn shown(batches: &[RecordBatch], printed: Printed) -> Result<Vec<u8>> {
    let format = match printed {
        Printed::Table => {
            let table = pretty_format_batches(batches).context("cannot draw the table")?;
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            return Ok(format!("{table}\n{rows} rows, times in UTC\n").into_bytes());
        }
        Printed::Json => Format::Json,
        Printed::Jsonl => Format::JsonLines,
        Printed::Csv => Format::Csv,
    };
    let mut bytes = Vec::new();
    let Some(first) = batches.first() else { return Ok(bytes) };
    let mut output = Output::new(format, &first.schema())?;
    for batch in batches {
        output.write(batch)?;
        bytes.extend(output.take());
    }
    bytes.extend(output.finish()?);
    Ok(bytes)
}
