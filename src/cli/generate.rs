//! `driftline generate`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use crate::{
    clock::Clock,
    error::{Context, Error, Result},
    named::parse_time,
    sample::{IncidentKind, Plan, Traffic},
};

/// Flags of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Same seed and range, same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many days
    #[arg(long, default_value_t = 7.0)]
    days: f64,
    /// Mean records per day
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// The first moment (RFC 3339 or now-7d, today, …) [default: so that it ends now]
    #[arg(long)]
    start: Option<String>,
    /// What goes wrong, comma-separated, or `all`: retry-loop, model-replaced, hallucination-rise,
    /// latency-degradation, guardrail-surge, context-overflow
    #[arg(long, value_delimiter = ',')]
    incidents: Vec<String>,
    /// Writes the incidents with their windows as JSON to this file
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Writes to this file instead of standard output
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Writes the records.
pub fn run(args: &GenerateArgs) -> Result<ExitCode> {
    let plan = plan(args)?;
    if let Some(path) = &args.labels {
        std::fs::write(path, plan.labels_json()).context(format!("cannot write {}", path.display()))?;
    }
    let out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(File::create(path).context(format!("cannot write {}", path.display()))?),
        None => Box::new(io::stdout().lock()),
    };
    match write(&plan, BufWriter::with_capacity(1 << 20, out)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => other.context("cannot write the records").map(|()| ExitCode::SUCCESS),
    }
}

fn write(plan: &Plan, mut out: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    for call in Traffic::new(plan) {
        line.clear();
        call.write_json(&mut line);
        out.write_all(&line)?;
    }
    out.flush()
}

fn plan(args: &GenerateArgs) -> Result<Plan> {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if !positive(args.days) || args.days > 3_660.0 || !positive(args.rate) {
        return Err(Error::invalid("--days is above 0 and at most 3660, --rate above 0"));
    }
    let now_us = Clock::System.now_us();
    let start_us = match &args.start {
        Some(text) => parse_time(text, now_us).map_err(|reason| Error::invalid(format!("--start: {reason}")))?,
        None => now_us - (args.days * 86_400e6) as i64,
    };
    let plan = Plan { seed: args.seed, start_us, days: args.days, calls_per_day: args.rate, incidents: Vec::new() };
    Ok(plan.with_default_windows(&kinds(&args.incidents)?))
}

fn kinds(names: &[String]) -> Result<Vec<IncidentKind>> {
    if names.iter().any(|name| name == "all") {
        return Ok(IncidentKind::ALL.to_vec());
    }
    names
        .iter()
        .map(|name| name.parse::<IncidentKind>().map_err(|error| Error::invalid(format!("--incidents: {error}"))))
        .collect()
}
