//! `driftline demo`: days of traffic with known incidents through the real path, then served live.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::serve::until_signal;
use crate::{
    access::Scope,
    clock::Clock,
    config::Config,
    daemon::Daemon,
    decode::{Encoding, Shape},
    error::{Context, Result},
    ingest::{Ingestor, Request},
    sample::{Call, IncidentKind, Plan, Traffic},
};

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Address of the main port
    #[arg(long, default_value = "127.0.0.1:7717")]
    listen: SocketAddr,
    /// Keeps the data here [default: a temporary directory that is removed at the end]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Mean records per day
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// Stops after the traffic is ingested and the questions are printed
    #[arg(long, hide = true)]
    once: bool,
}

/// Days of history.
const DAYS: f64 = 3.0;
/// Days of traffic that comes while the demo runs.
const LIVE_DAYS: f64 = 1.0;
const BATCH_BYTES: usize = 2 << 20;

/// Runs the demo until SIGINT.
pub async fn run(args: DemoArgs) -> Result<ExitCode> {
    let temporary =
        tempfile::Builder::new().prefix("driftline-demo-").tempdir().context("cannot make a temporary directory")?;
    let data = args.data.unwrap_or_else(|| temporary.path().to_owned());
    let flags = [("server.data", data.display().to_string()), ("server.listen", args.listen.to_string())];
    let daemon = Daemon::start(&Config::load(None, &flags)?, Clock::System).await?;
    let now_us = Clock::System.now_us();
    let start_us = now_us - (DAYS * 86_400e6) as i64;
    let history = Plan { seed: 7, start_us, days: DAYS, calls_per_day: args.rate, incidents: Vec::new() }
        .with_default_windows(&IncidentKind::ALL);
    let plan = Plan { days: DAYS + LIVE_DAYS, ..history };
    eprintln!("generating {DAYS} days of agent traffic with {} incidents …", plan.incidents.len());
    let mut traffic = Traffic::new(&plan).peekable();
    let mut records = 0;
    while let Some(batch) = batch_until(&mut traffic, now_us) {
        records += ingest(daemon.ingestor(), batch).await?;
    }
    daemon.ingestor().flush().await?;
    println!("{}", guide(&format!("http://{}", daemon.address()), records, &plan));
    if !args.once {
        tokio::select! {
            stopped = until_signal() => stopped?,
            live = live(daemon.ingestor(), &mut traffic) => live?,
        }
    }
    eprintln!("stopping");
    daemon.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Traffic as its time comes, once a second.
async fn live(ingestor: &Ingestor, traffic: &mut std::iter::Peekable<Traffic>) -> Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        while let Some(batch) = batch_until(traffic, Clock::System.now_us()) {
            ingest(ingestor, batch).await?;
        }
    }
}

fn batch_until(traffic: &mut std::iter::Peekable<Traffic>, until_us: i64) -> Option<Vec<u8>> {
    let mut batch = Vec::new();
    while batch.len() < BATCH_BYTES {
        let Some(call) = traffic.next_if(|call: &Call| call.timestamp_us() <= until_us) else { break };
        call.write_json(&mut batch);
    }
    (!batch.is_empty()).then_some(batch)
}

async fn ingest(ingestor: &Ingestor, batch: Vec<u8>) -> Result<u64> {
    let request = Request {
        body: batch.into(),
        encoding: Encoding::Identity,
        shape: Shape::Lines,
        idempotency_key: None,
        scope: Scope::Everybody,
    };
    Ok(ingestor.ingest(request).await?.accepted)
}

fn guide(url: &str, records: u64, plan: &Plan) -> String {
    let labels: Vec<serde_json::Value> = serde_json::from_str(&plan.labels_json()).unwrap_or_default();
    let text = |label: &serde_json::Value, key: &str| label[key].as_str().unwrap_or_default().to_owned();
    let rise = labels.iter().find(|label| label["kind"] == IncidentKind::HallucinationRise.name());
    let window = rise.map_or_else(Default::default, |label| (minute(&text(label, "from")), minute(&text(label, "to"))));
    let incidents: Vec<String> = labels
        .iter()
        .map(|label| {
            format!(
                "  {:<20} {:<16} {} to {}\n    {}",
                text(label, "kind"),
                text(label, "agent_id"),
                minute(&text(label, "from")),
                minute(&text(label, "to")),
                text(label, "what"),
            )
        })
        .collect();
    format!(
        "\n{records} records are in and more come as you watch. What went wrong in them:\n{}\n\n\
         Open  {url}/\n      {url}/api/v1/reports/cost?format=html\n      {url}/metrics\n\n\
         Ask   curl '{url}/api/v1/queries/cost_by_agent_hourly?from=now-12h&format=csv'\n\
         \x20     curl '{url}/api/v1/queries/latency_by_agent_hourly?from=now-24h&format=csv'\n\
         \x20     curl '{url}/api/v1/queries/guardrail_decisions?from=now-24h&format=csv'\n\
         \x20     curl '{url}/api/v1/drift?column=hallucination_probability&by=agent_id&reference=now-3d/{}&current={}/{}'\n\
         \x20     driftline query --url {url} 'select agent_id, count(*) as calls, sum(cost) as cost_usd from agent_logs group by 1 order by 3 desc'\n\n\
         Ctrl-C ends it.",
        incidents.join("\n"),
        window.0,
        window.0,
        window.1,
    )
}

/// An RFC 3339 time to the minute.
fn minute(time: &str) -> String {
    time.get(..16).map_or_else(|| time.to_owned(), |minute| format!("{minute}Z"))
}
