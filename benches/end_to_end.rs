//! The product as its users meet it: the real binary, a directory on disk, HTTP on loopback.
//!
//! ```text
//! cargo bench --bench end_to_end -- [--records 500000] [--rounds 3] [--clients 4] [--batch 1000]
//!                                   [--dir DIRECTORY] [--json FILE]
//! ```
//!
//! 1. `driftline generate` writes the records once; request bodies are slices of that text.
//! 2. Ingest: some connections post all bodies to an empty server; every answer is checked. One
//!    more run posts single records. A latency is what the client waits for an acknowledgement,
//!    refusals (503) and the waits they ask for included.
//! 3. The server is stopped and started again, so that everything lies in committed Parquet. Counts
//!    and sums must equal those of the text. Then every named query is timed over the whole range.
//!
//! Wrong answers fail the bench. Slow ones never do: no figure here is compared with a clock. It
//! links neither the library nor the query engine, so it measures nothing but the binary.

use std::{
    collections::HashSet,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_driftline");
/// A directory of the build, so that data lies on a disk where a temporary one may lie in memory.
const BUILD_DIRECTORY: &str = env!("CARGO_TARGET_TMPDIR");

const START: &str = "2026-05-01T00:00:00Z";
/// The start and the days added up, for the queries' ranges.
const END: &str = "2026-05-11T00:00:00Z";
const DAYS: u64 = 10;
const SEED: &str = "7";

const SINGLE_CLIENTS: usize = 8;
const SINGLE_REQUESTS: usize = 2_000;

const QUERY_WARM_UPS: usize = 2;
const QUERY_RUNS: usize = 7;

const READY_MAX: Duration = Duration::from_secs(120);
const STOP_MAX: Duration = Duration::from_secs(300);
const ANSWER_MAX: Duration = Duration::from_secs(300);
const REFUSALS_MAX: u32 = 100;
const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The client runs on one thread and leaves the other cores to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("end_to_end: skipped: it runs under `cargo bench` only");
        return ExitCode::SUCCESS;
    }
    let done = async {
        let options = Options::parse(&arguments)?;
        bench(&options).await
    };
    let outcome = tokio::select! {
        outcome = done => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end_to_end: failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: &Options) -> Result<()> {
    let scratch = Scratch::new(&options.directory)?;
    let machine = Machine::read(&scratch.path)?;
    machine.print();
    println!("command: {}", options.command);

    let load = Load::generate(&scratch.path, options)?;
    println!(
        "load: {} records in {:.1} MB of NDJSON, {START} and {DAYS} days, seed {SEED}; {} bodies\n",
        load.truth.records,
        mega(load.text.len()),
        load.bodies.len()
    );

    let single = single_run(&scratch.path, &load).await?;
    let mut rounds = Vec::new();
    let mut last = None;
    for number in 1..=options.rounds {
        // At most one round's data is on disk.
        drop(last.take());
        let (round, server) = ingest_round(&scratch.path, &load, options, number).await?;
        rounds.push(round);
        last = Some(server);
    }
    let server = last.ok_or("there must be at least one round")?;
    let ingest = Ingest { rounds, single };
    ingest.print(&load);

    let (stored, server) = Stored::settle(server, &load).await?;
    stored.print(&load);
    let queries = time_queries(&server, &load).await?;
    print_queries(&queries);
    drop(server);

    if let Some(file) = &options.json {
        let report = json!({
            "machine": machine.json(),
            "command": options.command,
            "load": load.json(options),
            "ingest": ingest.json(&load),
            "stored": stored.json(),
            "queries": queries.iter().map(QueryTimes::json).collect::<Vec<_>>(),
        });
        fs::write(file, format!("{report:#}\n"))?;
        println!("\nwritten to {}", file.display());
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------- ingest

/// One round: an empty server takes all bodies. Returns the server, which now holds them.
async fn ingest_round(directory: &Path, load: &Load, options: &Options, number: usize) -> Result<(Round, Server)> {
    let server = Server::start(directory, &format!("round-{number}")).await?;
    let began = Instant::now();
    let posted = post_all(&server, &load.bodies, options.clients).await?;
    let took = began.elapsed();
    let round = Round::new(took, posted, server.memory_peak_bytes());
    println!(
        "round {number}: {:.2} s, {:.1} MB/s, {:.0} rows/s",
        took.as_secs_f64(),
        round.rate(mega(load.text.len())),
        round.rate(load.truth.records as f64)
    );
    Ok((round, server))
}

/// Requests of one record each, where the cost of an acknowledgement shows most.
async fn single_run(directory: &Path, load: &Load) -> Result<Round> {
    let bodies: Vec<Body> = lines(load.text).take(SINGLE_REQUESTS).map(|text| Body { text, lines: 1 }).collect();
    let server = Server::start(directory, "single").await?;
    let began = Instant::now();
    let posted = post_all(&server, &bodies, SINGLE_CLIENTS).await?;
    Ok(Round::new(began.elapsed(), posted, server.memory_peak_bytes()))
}

/// Posts all bodies once, each connection taking the next one that is left.
async fn post_all(server: &Server, bodies: &[Body], connections: usize) -> Result<Vec<Posted>> {
    let url = server.url("/api/v1/logs")?;
    let next = AtomicUsize::new(0);
    let connection = || async {
        let client = client()?;
        let mut posted = Vec::new();
        while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
            posted.push(post(&client, &url, body).await?);
        }
        Ok::<_, Box<dyn Error>>(posted)
    };
    let posted = try_join_all((0..connections).map(|_| connection())).await?;
    Ok(posted.into_iter().flatten().collect())
}

/// Posts one body until it is taken, and checks the answer.
async fn post(client: &Client, url: &Url, body: &Body) -> Result<Posted> {
    let began = Instant::now();
    for refusals in 0..=REFUSALS_MAX {
        let answer =
            client.post(url.clone()).header("content-type", "application/x-ndjson").body(body.text).send().await?;
        let status = answer.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let wait = Duration::from_secs(seconds.unwrap_or(1)).min(REFUSAL_WAIT_MAX);
            answer.bytes().await?;
            tokio::time::sleep(wait).await;
            continue;
        }
        let text = answer.text().await?;
        let took = began.elapsed();
        if !status.is_success() {
            return Err(format!("ingest answered {status}: {text}").into());
        }
        let answer: Value = serde_json::from_str(&text)?;
        let complete = answer["accepted"].as_u64() == Some(body.lines)
            && answer["rejected"].as_array().is_some_and(Vec::is_empty)
            && answer["duplicate"] != json!(true);
        if !complete {
            return Err(format!("{} new lines were posted, the answer is {text}", body.lines).into());
        }
        return Ok(Posted { took, refusals });
    }
    Err(format!("a body was refused {REFUSALS_MAX} times").into())
}

/// One request body.
struct Body {
    text: &'static [u8],
    lines: u64,
}

/// One acknowledged body.
struct Posted {
    took: Duration,
    refusals: u32,
}

/// What one run of ingest took.
struct Round {
    took: Duration,
    acks_ms: Vec<f64>,
    refusals: u32,
    memory_peak_bytes: Option<u64>,
}

impl Round {
    fn new(took: Duration, posted: Vec<Posted>, memory_peak_bytes: Option<u64>) -> Self {
        let mut acks_ms: Vec<f64> = posted.iter().map(|posted| milli(posted.took)).collect();
        acks_ms.sort_by(f64::total_cmp);
        let refusals = posted.iter().map(|posted| posted.refusals).sum();
        Self { took, acks_ms, refusals, memory_peak_bytes }
    }

    fn rate(&self, amount: f64) -> f64 {
        amount / self.took.as_secs_f64()
    }

    /// The nearest-rank percentile.
    fn ack_ms(&self, percent: usize) -> f64 {
        let rank = (self.acks_ms.len() * percent).div_ceil(100).max(1);
        self.acks_ms.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    fn json(&self, bytes: usize, records: u64) -> Value {
        json!({
            "seconds": self.took.as_secs_f64(),
            "mb_per_s": self.rate(mega(bytes)),
            "rows_per_s": self.rate(records as f64),
            "requests": self.acks_ms.len(),
            "ack_p50_ms": self.ack_ms(50),
            "ack_p95_ms": self.ack_ms(95),
            "ack_p99_ms": self.ack_ms(99),
            "refused_503": self.refusals,
            "server_memory_peak_bytes": self.memory_peak_bytes,
        })
    }
}

struct Ingest {
    rounds: Vec<Round>,
    single: Round,
}

impl Ingest {
    fn spread(&self, figure: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(figure).collect())
    }

    /// Name, unit, decimals and values of each figure of the rounds.
    fn figures(&self, load: &Load) -> Vec<(&'static str, usize, Spread)> {
        let (megabytes, records) = (mega(load.text.len()), load.truth.records as f64);
        vec![
            ("ingest MB/s", 1, self.spread(|round| round.rate(megabytes))),
            ("ingest rows/s", 0, self.spread(|round| round.rate(records))),
            ("ack p50 ms", 2, self.spread(|round| round.ack_ms(50))),
            ("ack p95 ms", 2, self.spread(|round| round.ack_ms(95))),
            ("ack p99 ms", 2, self.spread(|round| round.ack_ms(99))),
            ("refused 503", 0, self.spread(|round| f64::from(round.refusals))),
            (
                "server memory peak MB",
                0,
                self.spread(|round| round.memory_peak_bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1e6)),
            ),
        ]
    }

    fn print(&self, load: &Load) {
        println!("\n{:<24} {:>12} {:>12} {:>12}", "ingest", "median", "min", "max");
        for (name, decimals, spread) in self.figures(load) {
            let Spread { median, min, max } = spread;
            println!("{name:<24} {median:>12.decimals$} {min:>12.decimals$} {max:>12.decimals$}");
        }
        let single = &self.single;
        println!(
            "\nsingle-record requests: {} on {SINGLE_CLIENTS} connections, {:.0} requests/s, \
             ack p50 {:.2} p95 {:.2} p99 {:.2} ms, refused {}",
            single.acks_ms.len(),
            single.rate(single.acks_ms.len() as f64),
            single.ack_ms(50),
            single.ack_ms(95),
            single.ack_ms(99),
            single.refusals
        );
    }

    fn json(&self, load: &Load) -> Value {
        let figures: serde_json::Map<String, Value> = self
            .figures(load)
            .into_iter()
            .map(|(name, _, spread)| (name.replace('/', "_per_").replace(' ', "_"), spread.json()))
            .collect();
        let bytes = lines(load.text).take(SINGLE_REQUESTS).map(<[u8]>::len).sum();
        let rounds = self.rounds.iter().map(|round| round.json(load.text.len(), load.truth.records));
        json!({
            "figures": figures,
            "rounds": rounds.collect::<Vec<_>>(),
            "single_record_connections": SINGLE_CLIENTS,
            "single_record": self.single.json(bytes, self.single.acks_ms.len() as u64),
        })
    }
}

// --------------------------------------------------------------------------------------- queries

/// The data once it is committed, proven to be what was sent.
struct Stored {
    stop: Duration,
    start: Duration,
    parquet_bytes: u64,
    parquet_files: u64,
}

impl Stored {
    /// Stops the server, which commits what it holds, starts it again, and compares.
    async fn settle(server: Server, load: &Load) -> Result<(Self, Server)> {
        let began = Instant::now();
        let home = server.stop().await?;
        let stop = began.elapsed();
        let (parquet_files, parquet_bytes) = parquet_size(&home.path.join("tables/agent_logs"))?;
        let began = Instant::now();
        let server = Server::start_in(home).await?;
        let start = began.elapsed();
        load.truth.check(&server).await?;
        Ok((Self { stop, start, parquet_bytes, parquet_files }, server))
    }

    fn print(&self, load: &Load) {
        println!(
            "\nstored: {:.1} MB in {} Parquet files ({:.1} times smaller than the text); graceful stop {:.2} s, \
             start {:.2} s; counts, tokens and cost equal those of the text",
            self.parquet_bytes as f64 / 1e6,
            self.parquet_files,
            load.text.len() as f64 / self.parquet_bytes as f64,
            self.stop.as_secs_f64(),
            self.start.as_secs_f64()
        );
    }

    fn json(&self) -> Value {
        json!({
            "parquet_bytes": self.parquet_bytes,
            "parquet_files": self.parquet_files,
            "stop_seconds": self.stop.as_secs_f64(),
            "start_seconds": self.start.as_secs_f64(),
        })
    }
}

/// The times of one named query.
struct QueryTimes {
    name: String,
    times: Spread,
    rows: usize,
    bytes: usize,
}

impl QueryTimes {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "best_ms": self.times.min,
            "median_ms": self.times.median,
            "rows": self.rows,
            "bytes": self.bytes,
        })
    }
}

async fn time_queries(server: &Server, load: &Load) -> Result<Vec<QueryTimes>> {
    let client = client()?;
    let listed: Value = serde_json::from_str(&get(&client, server.url("/api/v1/queries")?).await?)?;
    let listed = listed.as_array().ok_or("/api/v1/queries is no array")?;
    if listed.is_empty() {
        return Err("the server lists no named query".into());
    }
    let mut queries = Vec::new();
    for query in listed {
        queries.push(time_query(&client, server, load, query).await?);
    }
    Ok(queries)
}

async fn time_query(client: &Client, server: &Server, load: &Load, query: &Value) -> Result<QueryTimes> {
    let name = query["name"].as_str().ok_or("a named query has no name")?;
    let mut url = server.url(&format!("/api/v1/queries/{name}"))?;
    for param in query["params"].as_array().into_iter().flatten() {
        let key = param["name"].as_str().unwrap_or_default();
        if let Some(value) = load.argument(key) {
            url.query_pairs_mut().append_pair(key, value);
        } else if param["required"] == json!(true) {
            return Err(format!("query {name} requires {key}, for which the bench has no value").into());
        }
    }
    for _ in 0..QUERY_WARM_UPS {
        get(client, url.clone()).await?;
    }
    let mut times_ms = Vec::new();
    let mut text = String::new();
    for _ in 0..QUERY_RUNS {
        let began = Instant::now();
        text = get(client, url.clone()).await?;
        times_ms.push(milli(began.elapsed()));
    }
    let rows: Value = serde_json::from_str(&text)?;
    let rows = rows.as_array().ok_or_else(|| format!("query {name} answered no array"))?.len();
    Ok(QueryTimes { name: name.to_owned(), times: Spread::of(times_ms), rows, bytes: text.len() })
}

fn print_queries(queries: &[QueryTimes]) {
    println!("\n{:<40} {:>10} {:>10} {:>8} {:>10}", "named query, over HTTP", "best ms", "median ms", "rows", "bytes");
    for query in queries {
        let Spread { median, min, .. } = query.times;
        println!("{:<40} {min:>10.1} {median:>10.1} {:>8} {:>10}", query.name, query.rows, query.bytes);
    }
}

// ------------------------------------------------------------------------------------------ load

/// The generated records and what is true of them.
struct Load {
    /// Kept to the end of the process, so that bodies are slices and copy nothing.
    text: &'static [u8],
    bodies: Vec<Body>,
    truth: Truth,
    session_id: String,
    trace_id: String,
}

impl Load {
    fn generate(directory: &Path, options: &Options) -> Result<Self> {
        let file = directory.join("load.ndjson");
        let rate = options.records.div_ceil(DAYS).to_string();
        let status = Command::new(BINARY)
            .args(["generate", "--seed", SEED, "--start", START, "--days", &DAYS.to_string()])
            .args(["--rate", &rate, "-o"])
            .arg(&file)
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(format!("driftline generate failed: {status}").into());
        }
        let text: &'static [u8] = Box::leak(fs::read(&file)?.into_boxed_slice());
        fs::remove_file(&file)?;
        Self::read(text, options.batch)
    }

    fn read(text: &'static [u8], batch: usize) -> Result<Self> {
        let mut truth = Truth::default();
        let mut requests = HashSet::new();
        for line in lines(text) {
            let record: Value = serde_json::from_slice(line)?;
            truth.add(&record);
            let field = |name: &str| record[name].as_str().map(str::to_owned);
            requests.insert(field("request_id").ok_or("a generated record has no request_id")?);
            let timestamp = field("timestamp").ok_or("a generated record has no timestamp")?;
            // UTC times in RFC 3339 sort as text.
            if timestamp.as_str() < START || timestamp.as_str() >= END {
                return Err(format!("a generated record is of {timestamp}, out of range").into());
            }
        }
        truth.request_ids = requests.len() as u64;
        let bodies = bodies(text, batch);
        let middle = bodies.get(bodies.len() / 2).ok_or("driftline generate wrote no record")?;
        let record: Value = serde_json::from_slice(lines(middle.text).next().ok_or("a body is empty")?)?;
        let id = |name: &str| record[name].as_str().map(str::to_owned);
        let session_id = id("session_id").ok_or("the record in the middle has no session_id")?;
        let trace_id = id("trace_id").ok_or("the record in the middle has no trace_id")?;
        Ok(Self { text, bodies, truth, session_id, trace_id })
    }

    /// The bench's value for a parameter of a named query.
    fn argument(&self, name: &str) -> Option<&str> {
        match name {
            "from" => Some(START),
            "to" => Some(END),
            "session_id" => Some(&self.session_id),
            "trace_id" => Some(&self.trace_id),
            _ => None,
        }
    }

    fn json(&self, options: &Options) -> Value {
        json!({
            "records": self.truth.records,
            "bytes": self.text.len(),
            "bodies": self.bodies.len(),
            "clients": options.clients,
            "batch": options.batch,
            "seed": SEED,
            "start": START,
            "days": DAYS,
        })
    }
}

/// What the server must say about the records.
#[derive(Default)]
struct Truth {
    records: u64,
    request_ids: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    costs: u64,
    cost_usd: f64,
}

impl Truth {
    fn add(&mut self, record: &Value) {
        self.records += 1;
        self.prompt_tokens += record["prompt_tokens"].as_u64().unwrap_or(0);
        self.completion_tokens += record["completion_tokens"].as_u64().unwrap_or(0);
        if let Some(cost_usd) = record["cost_usd"].as_f64() {
            self.costs += 1;
            self.cost_usd += cost_usd;
        }
    }

    async fn check(&self, server: &Server) -> Result<()> {
        let mut url = server.url("/api/v1/sql")?;
        url.query_pairs_mut().append_pair(
            "q",
            "select count(*) as records, count(distinct request_id) as request_ids, \
             sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens, \
             count(cost_usd) as costs, sum(cost_usd) as cost_usd from agent_logs",
        );
        let rows: Value = serde_json::from_str(&get(&client()?, url).await?)?;
        let row = &rows[0];
        let expected = [
            ("records", self.records),
            ("request_ids", self.request_ids),
            ("prompt_tokens", self.prompt_tokens),
            ("completion_tokens", self.completion_tokens),
            ("costs", self.costs),
        ];
        for (name, expected) in expected {
            if row[name].as_u64() != Some(expected) {
                return Err(format!("{name}: {expected} were sent, the server has {}", row[name]).into());
            }
        }
        let stored = row["cost_usd"].as_f64().ok_or("sum(cost_usd) is no number")?;
        if (stored - self.cost_usd).abs() > 1e-9 * self.cost_usd.abs() {
            return Err(format!("cost_usd: {} was sent, the server has {stored}", self.cost_usd).into());
        }
        Ok(())
    }
}

/// Every line with its line feed.
fn lines(text: &'static [u8]) -> impl Iterator<Item = &'static [u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn bodies(text: &'static [u8], batch: usize) -> Vec<Body> {
    let mut bodies = Vec::new();
    let (mut begin, mut end, mut count) = (0, 0, 0);
    for line in lines(text) {
        end += line.len();
        count += 1;
        if count == batch || end == text.len() {
            bodies.push(Body { text: &text[begin..end], lines: count as u64 });
            (begin, count) = (end, 0);
        }
    }
    bodies
}

// ---------------------------------------------------------------------------------------- server

/// A running server. Dropped, it is killed and its data removed.
struct Server {
    child: Child,
    base: Url,
    home: Home,
}

impl Server {
    async fn start(directory: &Path, name: &str) -> Result<Self> {
        let home = Home { path: directory.join(name) };
        fs::create_dir_all(&home.path)?;
        Self::start_in(home).await
    }

    async fn start_in(home: Home) -> Result<Self> {
        let log = home.path.with_extension("log");
        let child = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&home.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        // From here on, dropping it kills the child.
        let mut server = Self { child, base: Url::parse("http://127.0.0.1/")?, home };
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&log)?;
            if let Some(base) = listening(&text) {
                server.base = base.parse()?;
                break;
            }
            let ended = server.child.try_wait()?;
            if ended.is_some() || began.elapsed() > READY_MAX {
                return Err(format!("the server did not start ({ended:?}): {}", tail(&text)).into());
            }
            tokio::time::sleep(POLL).await;
        }
        let client = client()?;
        while !client.get(server.url("/readyz")?).send().await?.status().is_success() {
            if began.elapsed() > READY_MAX {
                return Err("the server did not become ready".into());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(server)
    }

    /// Asks the server to stop, and waits until it has.
    async fn stop(mut self) -> Result<Home> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !asked.success() {
            return Err("the server could not be asked to stop".into());
        }
        let began = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => break,
                Some(status) => {
                    let log = fs::read_to_string(self.home.path.with_extension("log"))?;
                    return Err(format!("the server ended with {status}: {}", tail(&log)).into());
                }
                None if began.elapsed() > STOP_MAX => return Err("the server did not stop".into()),
                None => tokio::time::sleep(POLL).await,
            }
        }
        // What is left of the server is a dead child; its data moves on.
        let path = std::mem::take(&mut self.home.path);
        Ok(Home { path })
    }

    fn url(&self, path: &str) -> Result<Url> {
        Ok(self.base.join(path)?)
    }

    /// The most memory the server has held so far, where the system tells.
    fn memory_peak_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kibibytes: u64 = field(&status, "VmHWM")?.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory. Dropped, it is removed.
struct Home {
    path: PathBuf,
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // The scratch directory around it is removed as well, and says so if it can't be.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The address in the line `listening on http://…`, once that line is complete.
fn listening(log: &str) -> Option<&str> {
    let (_, rest) = log.split_once("listening on ")?;
    let (line, _) = rest.split_once('\n')?;
    line.split_whitespace().next()
}

/// A client with one connection, which it keeps.
fn client() -> Result<Client> {
    Ok(Client::builder().no_proxy().http1_only().pool_max_idle_per_host(1).timeout(ANSWER_MAX).build()?)
}

async fn get(client: &Client, url: Url) -> Result<String> {
    let answer = client.get(url.clone()).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        return Err(format!("{url} answered {status}: {text}").into());
    }
    Ok(text)
}

// --------------------------------------------------------------------------------------- machine

/// What the figures depend on besides the program.
struct Machine {
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    fn read(directory: &Path) -> Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let file_system = file_system(directory).unwrap_or_else(|| "unknown".to_owned());
        if ["tmpfs", "ramfs"].contains(&file_system.as_str()) {
            return Err("the data would lie in memory, where fsync costs nothing: choose a --dir on disk".into());
        }
        let unknown = || "unknown".to_owned();
        Ok(Self {
            facts: vec![
                ("cores", std::thread::available_parallelism()?.to_string()),
                ("cpu", field(&cpu, "model name").map_or_else(unknown, str::to_owned)),
                ("memory", field(&memory, "MemTotal").map_or_else(unknown, str::to_owned)),
                ("kernel", kernel.trim().to_owned()),
                ("file system", file_system),
            ],
        })
    }

    fn print(&self) {
        let mut line = String::from("machine:");
        for (name, value) in &self.facts {
            // Writing to a string cannot fail.
            let _ = write!(line, " {name} {value};");
        }
        println!("{}", line.trim_end_matches(';'));
    }

    fn json(&self) -> Value {
        self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }
}

/// The type of the mount with the longest path that leads to the directory.
fn file_system(directory: &Path) -> Option<String> {
    let directory = fs::canonicalize(directory).ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let (_, kind) = mounts.filter(|(path, _)| directory.starts_with(path)).max_by_key(|(path, _)| path.len())?;
    Some(kind.to_owned())
}

/// The value of a `name: value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

/// Number and bytes of the Parquet files below a directory.
fn parquet_size(directory: &Path) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "_delta_log" {
            let below = parquet_size(&entry.path())?;
            (files, bytes) = (files + below.0, bytes + below.1);
        } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == "parquet") {
            (files, bytes) = (files + 1, bytes + entry.metadata()?.len());
        }
    }
    Ok((files, bytes))
}

/// A directory of this run. Dropped, it is removed.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("end-to-end-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("end_to_end: {} is left behind: {error}", self.path.display());
        }
    }
}

// --------------------------------------------------------------------------------------- options

struct Options {
    records: u64,
    rounds: usize,
    clients: usize,
    batch: usize,
    directory: PathBuf,
    json: Option<PathBuf>,
    command: String,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            records: 500_000,
            rounds: 3,
            clients: 4,
            batch: 1_000,
            directory: PathBuf::from(BUILD_DIRECTORY),
            json: None,
            command: "cargo bench --bench end_to_end --".to_owned(),
        };
        let mut rest = arguments.iter().filter(|argument| *argument != "--bench");
        while let Some(name) = rest.next() {
            let value = rest.next().ok_or_else(|| format!("{name} is unknown or has no value"))?;
            match name.as_str() {
                "--records" => options.records = value.parse()?,
                "--rounds" => options.rounds = value.parse()?,
                "--clients" => options.clients = value.parse()?,
                "--batch" => options.batch = value.parse()?,
                "--dir" => options.directory = value.into(),
                "--json" => options.json = Some(value.into()),
                _ => return Err(format!("{name} is unknown").into()),
            }
            options.command.push_str(&format!(" {name} {value}"));
        }
        if options.records == 0 || options.rounds == 0 || options.clients == 0 || options.batch == 0 {
            return Err("records, rounds, clients and batch must be at least 1".into());
        }
        Ok(options)
    }
}

// --------------------------------------------------------------------------------------- numbers

/// Median, least and greatest of some figures.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of nothing, all are NaN.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let count = values.len();
        let median =
            if count % 2 == 1 { at(count / 2) } else { (at((count / 2).wrapping_sub(1)) + at(count / 2)) / 2.0 };
        Self { median, min: at(0), max: at(count.wrapping_sub(1)) }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

fn milli(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn mega(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// The last lines of a log.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
