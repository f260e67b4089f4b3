//! `driftline anomalies`.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{Filters, Source, client, print};
use crate::{
    clock::Clock,
    daemon::Store,
    error::{Context, Result},
    query::AnomalyRequest,
};

/// Flags of `anomalies`.
#[derive(Debug, Args)]
pub struct AnomaliesArgs {
    /// Start of the range, inclusive (RFC 3339 or now-7d, today, …) [default: now-24h]
    #[arg(long)]
    from: Option<String>,
    /// End of the range, exclusive [default: now]
    #[arg(long)]
    to: Option<String>,
    /// Days before the week of an hour that it is judged by [default: 42]
    #[arg(long)]
    history_days: Option<u32>,
    /// KPIs, parted by commas; traffic is the number of calls [default: one for each thing that goes wrong]. Sessions and
    /// calls are found by runaway_sessions, tool_loops, retry_loops, stuck_calls, mispriced_calls and outlier_calls
    #[arg(long)]
    kpi: Option<String>,
    /// What has series of its own: all, agent, tenant or model [default: agent]
    #[arg(long)]
    by: Option<String>,
    #[command(flatten)]
    filters: Filters,
    /// The least score that is an anomaly, 0.1 to below 1 [default: 0.5]
    #[arg(long)]
    score_min: Option<f64>,
    /// Most anomalies, those with the highest scores [default: 20]
    #[arg(long)]
    limit: Option<u32>,
    /// json instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Prints what was found.
pub async fn run(args: AnomaliesArgs) -> Result<ExitCode> {
    let given = args.parameters();
    let parameters: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = match args.source.directory()? {
        Some(config) => {
            let store = Store::open_existing(&config, Clock::System).await?;
            let answer = match AnomalyRequest::parse(parameters, store.engine.now_us()) {
                Ok(request) => store.engine.anomalies(&request).await,
                Err(error) => Err(error),
            };
            store.close().await?;
            serde_json::to_value(answer?).context("cannot write the answer")?
        }
        None => {
            let request = args.source.client()?.get(args.source.endpoint("/api/v1/anomalies")?).query(&parameters);
            client::send(request).await?.json().await.context("the answer is not JSON")?
        }
    };
    let body = if args.json {
        serde_json::to_string_pretty(&answer).context("cannot write the answer")? + "\n"
    } else {
        text(&answer)
    };
    print(body.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl AnomaliesArgs {
    /// Parameters as the server has them.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let given = [
            text("from", &self.from),
            text("to", &self.to),
            self.history_days.map(|days| ("history_days", days.to_string())),
            text("kpi", &self.kpi),
            text("by", &self.by),
            self.score_min.map(|score| ("score_min", score.to_string())),
            self.limit.map(|limit| ("limit", limit.to_string())),
        ];
        let filters = self.filters.parameters().map(|(name, value)| (name, value.to_owned()));
        given.into_iter().flatten().chain(filters).collect()
    }
}

/// A few lines for each anomaly, and one that says what was looked at.
fn text(answer: &Value) -> String {
    let mut out = String::new();
    for anomaly in answer["anomalies"].as_array().into_iter().flatten() {
        let field = |name: &str| shown(&anomaly[name]);
        let hour: String = field("window_start").chars().take(16).collect();
        out += &format!(
            "{hour}  {} of {}: {} {}, expected {}  (score {}, p {}, {} samples)\n",
            field("kpi"),
            field("key"),
            field("value"),
            field("unit"),
            field("expected"),
            field("score"),
            field("p_value"),
            field("samples"),
        );
        let parts = anomaly["contributions"].as_array().into_iter().flatten().map(|part| {
            let percent = part["share"].as_f64().unwrap_or_default() * 100.0;
            format!("{} {} {percent:.0} %", shown(&part["dimension"]), shown(&part["key"]))
        });
        let calls = anomaly["examples"].as_array().into_iter().flatten().map(|call| shown(&call["request_id"]));
        for (name, list) in [("from", parts.collect::<Vec<_>>()), ("calls", calls.collect())] {
            if !list.is_empty() {
                out += &format!("    {name:5} {}\n", list.join(", "));
            }
        }
    }
    for event in answer["events"].as_array().into_iter().flatten() {
        let field = |name: &str| shown(&event[name]);
        let hour: String = field("window_start").chars().take(16).collect();
        let expected =
            if event["expected"].is_null() { String::new() } else { format!(", expected {}", field("expected")) };
        out += &format!(
            "{hour}  {} of {}: {} {}{expected}  ({} samples)\n",
            field("kpi"),
            field("agent_id"),
            field("value"),
            field("unit"),
            field("samples"),
        );
        let calls: Vec<String> = event["request_ids"].as_array().into_iter().flatten().map(shown).collect();
        let session = event["session_id"].as_str().map(|_| format!(" in session {}", field("session_id")));
        out += &format!("    calls {}{}\n", calls.join(", "), session.unwrap_or_default());
    }
    let count = |name: &str| answer[name].as_u64().unwrap_or_default();
    out += &format!(
        "{} anomalies, {} more left out; {} hours of {} series judged, {} series have too little past{}\n",
        answer["anomalies"].as_array().map_or(0, Vec::len),
        count("left_out"),
        count("hours_judged"),
        count("series_judged"),
        count("series_insufficient"),
        answer["events"]
            .as_array()
            .filter(|events| !events.is_empty())
            .map_or_else(String::new, |events| format!("; {} sessions and calls", events.len())),
    );
    out
}

/// A value for a terminal: numbers of four digits, names without control characters.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.chars().filter(|letter| !letter.is_control()).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float != 0.0 => {
                let places = (3 - float.abs().log10().floor() as i32).clamp(0, 12) as usize;
                if float.abs() < 1e-6 { format!("{float:.1e}") } else { format!("{float:.places$}") }
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}
