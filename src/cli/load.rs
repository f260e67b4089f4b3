//! `driftline load`: files in batches of whole lines, each batch with an identity of its own, so that
//! loading the same file again adds nothing.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use futures::{StreamExt, TryStreamExt, future, stream};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use reqwest::{Client, header::CONTENT_TYPE};

use super::{Source, client};
use crate::{
    access::Scope,
    background::Background,
    clock::Clock,
    daemon::Store,
    decode::{Encoding, Shape},
    error::{Context, Error, Kind, Result},
    ingest::{Ingestor, Request},
    jobs,
};

/// Flags of `load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Log files; - is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// Bytes of a batch; a batch ends with the line that passes this. Part of a batch's identity: changing
/// it makes files that were loaded look new.
const BATCH_BYTES: usize = 2 << 20;
/// Most bytes of a file that is one JSON text.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// Batches that are on their way at the same time.
const IN_FLIGHT: usize = 4;
/// How long a load waits for its own flush to make room: nobody else is waiting for an answer.
const ROOM_WAIT_MS: u64 = 60_000;
/// Rejected lines that are printed.
const REJECTS_SHOWN: usize = 10;

/// Loads every file; exit code 1 when a line was rejected.
pub async fn run(args: LoadArgs) -> Result<ExitCode> {
    let (target, store) = match args.source.directory()? {
        Some(mut config) => {
            config.ingest.wait_ms_max = config.ingest.wait_ms_max.max(ROOM_WAIT_MS);
            let store = Store::open(&config, Clock::System).await?;
            // A load may be larger than the buffer: what it holds is committed meanwhile, as a server does.
            let interval = Duration::from_millis(config.buffer.flush_interval_ms.max(1));
            let ingestor = Arc::clone(&store.ingestor);
            let flush = move || jobs::flush(Arc::clone(&ingestor), None, interval, future::pending());
            Background::default().spawn("flush", flush);
            (Target::Directory(Arc::clone(&store.ingestor)), Some(store))
        }
        None => {
            let client = args.source.client()?;
            (Target::Server { client, url: format!("{}/api/v1/logs", args.source.url()) }, None)
        }
    };
    let started = Instant::now();
    let mut totals = Totals::default();
    for file in &args.files {
        totals.add(load_file(file, &target).await?);
    }
    if let Some(store) = store {
        store.close().await?;
    }
    let seconds = started.elapsed().as_secs_f64().max(1e-9);
    println!(
        "{} records accepted, {} already there, {} lines rejected; {} in {seconds:.1} s ({} records/s, {}/s)",
        HumanCount(totals.accepted),
        HumanCount(totals.duplicate),
        HumanCount(totals.rejected),
        HumanBytes(totals.bytes),
        HumanCount(((totals.accepted + totals.duplicate) as f64 / seconds) as u64),
        HumanBytes((totals.bytes as f64 / seconds) as u64),
    );
    Ok(if totals.rejected > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

enum Target {
    Server { client: Client, url: String },
    Directory(Arc<Ingestor>),
}

#[derive(Debug, Default)]
struct Totals {
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
        self.bytes += other.bytes;
    }
}

/// A part of a file.
struct Batch {
    bytes: bytes::Bytes,
    /// Hex digest of this batch and all before it in the file: a batch that repeats inside a file is
    /// not taken for one that was sent twice.
    identity: String,
    shape: Shape,
    first_line: u64,
}

struct Outcome {
    accepted: u64,
    duplicate: bool,
    rejects: Vec<(u64, String)>,
    bytes: u64,
}

async fn load_file(path: &Path, target: &Target) -> Result<Totals> {
    let progress = progress_bar(path);
    let batches = Batches::open(path, &progress)?;
    let mut totals = Totals::default();
    let mut shown = 0;
    let mut outcomes =
        stream::iter(batches).map(|batch| async { send(target, batch?).await }).buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = outcomes.try_next().await? {
        let kept = if outcome.duplicate { &mut totals.duplicate } else { &mut totals.accepted };
        *kept += outcome.accepted;
        totals.rejected += outcome.rejects.len() as u64;
        totals.bytes += outcome.bytes;
        for (line, reason) in outcome.rejects {
            if shown < REJECTS_SHOWN {
                progress.suspend(|| eprintln!("{}:{line}: {reason}", path.display()));
            }
            shown += 1;
        }
        progress.set_message(format!("{} records", HumanCount(totals.accepted + totals.duplicate)));
    }
    if shown > REJECTS_SHOWN {
        eprintln!("{}: {} more lines rejected; see the table rejected_logs", path.display(), shown - REJECTS_SHOWN);
    }
    progress.finish_and_clear();
    Ok(totals)
}

async fn send(target: &Target, batch: Batch) -> Result<Outcome> {
    let bytes = batch.bytes.len() as u64;
    let to_file_line = |line: u64| line + batch.first_line - 1;
    match target {
        Target::Directory(ingestor) => {
            let request = Request {
                body: batch.bytes,
                encoding: Encoding::Identity,
                shape: batch.shape,
                idempotency_key: Some(batch.identity),
                scope: Scope::Everybody,
            };
            let answer = ingestor.ingest(request).await?;
            let rejects = answer.rejected.into_iter().map(|reject| (to_file_line(reject.line), reject.reason));
            Ok(Outcome { accepted: answer.accepted, duplicate: answer.duplicate, rejects: rejects.collect(), bytes })
        }
        Target::Server { client, url } => {
            let request = client
                .post(url)
                .header(CONTENT_TYPE, "application/x-ndjson")
                .header("Idempotency-Key", batch.identity)
                .body(batch.bytes);
            let answer: serde_json::Value =
                client::send_patiently(request).await?.json().await.context("the server's answer is not JSON")?;
            let rejects = answer["rejected"].as_array().into_iter().flatten().map(|reject| {
                let line = reject["line"].as_u64().unwrap_or_default();
                (to_file_line(line), reject["reason"].as_str().unwrap_or_default().to_owned())
            });
            Ok(Outcome {
                accepted: answer["accepted"].as_u64().unwrap_or_default(),
                duplicate: answer["duplicate"].as_bool().unwrap_or_default(),
                rejects: rejects.collect(),
                bytes,
            })
        }
    }
}

/// A file's batches, read as they are asked for.
struct Batches {
    name: String,
    reader: BufReader<Box<dyn Read + Send>>,
    hasher: blake3::Hasher,
    next_line: u64,
    is_document: bool,
    done: bool,
}

impl Batches {
    fn open(path: &Path, progress: &ProgressBar) -> Result<Self> {
        let name = path.display().to_string();
        let raw: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).kind_context(Kind::Invalid, || format!("cannot open {name}"))?)
        };
        let mut raw = BufReader::with_capacity(1 << 20, progress.wrap_read(raw));
        let encoding =
            Encoding::from_magic(raw.fill_buf().kind_context(Kind::Invalid, || format!("cannot read {name}"))?);
        let mut reader = BufReader::with_capacity(1 << 20, encoding.reader(raw)?);
        let start = reader.fill_buf().kind_context(Kind::Invalid, || format!("cannot read {name}"))?;
        let is_document = is_document(start);
        Ok(Self { name, reader, hasher: blake3::Hasher::new(), next_line: 1, is_document, done: false })
    }

    fn read(&mut self) -> Result<Option<Batch>> {
        let mut bytes = Vec::with_capacity(BATCH_BYTES + (64 << 10));
        let first_line = self.next_line;
        if self.is_document {
            let read = (&mut self.reader).take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes);
            read.kind_context(Kind::Invalid, || format!("cannot read {}", self.name))?;
            if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
                return Err(Error::new(
                    Kind::TooLarge,
                    format!(
                        "{} is one JSON text of more than {DOCUMENT_BYTES_MAX} bytes: write one record a line",
                        self.name
                    ),
                ));
            }
            self.done = true;
        }
        while !self.done && bytes.len() < BATCH_BYTES {
            let read = (&mut self.reader).take(DOCUMENT_BYTES_MAX).read_until(b'\n', &mut bytes);
            if read
                .kind_context(Kind::Invalid, || format!("cannot read {} after line {}", self.name, self.next_line))?
                == 0
            {
                self.done = true;
            } else {
                self.next_line += 1;
            }
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.hasher.update(&bytes);
        let shape = if self.is_document { Shape::Detect } else { Shape::Lines };
        Ok(Some(Batch {
            bytes: bytes.into(),
            identity: self.hasher.finalize().to_hex().to_string(),
            shape,
            first_line,
        }))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = self.read();
        self.done |= read.is_err();
        read.transpose()
    }
}

/// One JSON text rather than lines: an array, or an object whose first line does not close.
fn is_document(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let first_line = start.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    start.first() == Some(&b'[') || (first_line == b"{")
}

fn progress_bar(path: &Path) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let length = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match length {
        Some(_) => "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}",
        None => "{prefix} {spinner} {bytes} {bytes_per_sec} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_prefix(path.display().to_string())
}
