//! Is every acknowledged record there exactly once, and does every figure say so, after the server was killed
//! at any moment? A process of the real binary is killed with SIGKILL during ingest, flushes, maintenance,
//! retention, starts and stops, while clients send each batch until it is acknowledged and others query.
//! Never looks into the data directory to judge: the store is seen as users see it.
//!
//! `DRIFTLINE_CRASH_KILLS` and `DRIFTLINE_CRASH_SEED` choose how often and which moments and batches. The
//! seed fixes what is sent and the moments that are aimed at; where the server then is, is up to the machine. A run of
//! more kills than usual looks at all that is derived after each of them. `DRIFTLINE_CRASH_STORAGE_URL` puts the tables
//! into an object store, whose access is in the environment as the server wants it.

mod audit;
mod batch;
mod clients;
mod ledger;
mod server;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::OwnedRwLockWriteGuard, task::JoinHandle};

use self::{
    audit::{Expiry, audit},
    clients::{Life, Orders, Shared, Work},
    ledger::Passing,
    server::{Api, PATIENCE, Place, Server, Settings},
};
use crate::random::Random;

const KILLS: u64 = 20;
const SEED: u64 = 1;
const WRITERS: u64 = 4;
const READERS: u64 = 2;
/// How long a kill waits for a file at most: in some lives no flush comes.
const FILE_WAIT_MAX: Duration = Duration::from_secs(1);

type ClientFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// When a kill comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Some time after the clients began.
    Work,
    /// When a data file has appeared that no commit names yet, or shortly after: a flush is under way, or the
    /// rewrite of files.
    File,
    /// While maintenance that was asked for is under way.
    Maintenance,
    /// Before the server listens, perhaps several times in a row.
    Start,
    /// While a stop finishes what is open.
    Stop,
}

const MOMENTS: [Moment; 8] = [
    Moment::Work,
    Moment::Work,
    Moment::File,
    Moment::File,
    Moment::Maintenance,
    Moment::Maintenance,
    Moment::Start,
    Moment::Stop,
];

/// What has happened so far, for the line at the end.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// Kills by moment, in the order of [`Moment`].
    moments: [u64; 5],
    /// Kills between a data file and the commit that names it.
    unnamed: u64,
    /// Kills during maintenance that was asked for.
    passes: u64,
    /// Starts that took rows from the log.
    replays: u64,
    stops: u64,
    audits: u64,
    /// Those that found rollups.
    rolled_up: u64,
    work: Work,
}

/// The whole run.
struct Run {
    place: Place,
    shared: Arc<Shared>,
    random: Random,
    http: reqwest::Client,
    kills: u64,
    tally: Tally,
    /// How long a start takes.
    start_ms: u64,
    /// Whether the books may have lost duplicates since the last life: after a kill, but not after a stop.
    forgets: bool,
}

/// A server that runs, and whether the clients stand still.
struct Running {
    server: Server,
    life: Life,
    still: Option<OwnedRwLockWriteGuard<Option<Life>>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_moment_lose_nothing_and_double_nothing() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let (kills, seed) = (number("DRIFTLINE_CRASH_KILLS", KILLS), number("DRIFTLINE_CRASH_SEED", SEED));
    let directory = tempfile::tempdir().unwrap();
    let mut run = Run {
        place: Place::new(directory.path().join("a path with spaces")),
        shared: Arc::new(Shared::new(seed)),
        random: Random::new(seed, 0),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        kills,
        tally: Tally::default(),
        start_ms: 500,
        forgets: false,
    };
    let began = Instant::now();
    let clients = run.clients(seed);
    let result = run.phases().await;
    run.shared.over.store(true, Ordering::Relaxed);
    if let Err(reason) = result {
        let tail = std::fs::read_to_string(run.place.log()).unwrap_or_default();
        let tail = &tail[tail.len().saturating_sub(4_000)..];
        let kept = directory.keep();
        panic!(
            "after {} kills with DRIFTLINE_CRASH_SEED={seed}: {reason}\nthe directory is {}\nthe server's last words:\n{tail}",
            run.tally.kills,
            kept.display()
        );
    }
    futures::future::join_all(clients).await;
    println!("crash harness, seed {seed}: {}", run.summary(began.elapsed()));
}

impl Run {
    /// Starts the clients; they stand still until a server runs.
    fn clients(&self, seed: u64) -> Vec<JoinHandle<()>> {
        let mut clients = Vec::new();
        let mut spawn = |stream: u64, client: fn(Arc<Shared>, Random) -> ClientFuture| {
            clients.push(tokio::spawn(client(Arc::clone(&self.shared), Random::new(seed, stream))));
        };
        (1..=WRITERS).for_each(|writer| spawn(writer, |shared, random| Box::pin(clients::write(shared, random))));
        (1..=READERS).for_each(|reader| spawn(100 + reader, |shared, random| Box::pin(clients::read(shared, random))));
        spawn(150, |shared, random| Box::pin(clients::watch(shared, random)));
        spawn(200, |shared, random| Box::pin(clients::maintain(shared, random)));
        clients
    }

    /// In turn: old rows of the short-lived tenant come in while no retention is set; then its retention is
    /// set and they go. Ingest may refuse what a retention would delete at once.
    async fn phases(&mut self) -> Result<(), String> {
        while self.tally.kills < self.kills {
            self.shared.order(Orders { new: true, passing: true });
            let lives = self.random.within(3..6);
            self.lives(lives, false).await?;
            self.deliver_passing().await?;
            let lives = self.random.within(2..5);
            self.lives(lives, true).await?;
            self.expire().await?;
        }
        self.last_stop().await
    }

    /// Some lives, each from a start to a kill.
    async fn lives(&mut self, lives: u64, retention: bool) -> Result<(), String> {
        for _ in 0..lives {
            if self.tally.kills >= self.kills {
                return Ok(());
            }
            // Hardly ever a flush makes a long log.
            let flush_interval_ms = *self.random.pick(&[50, 150, 300, 60_000]);
            let moment = *self.random.pick(&MOMENTS);
            let running = self.start(Settings { retention, flush_interval_ms }, moment).await?;
            self.end(running, moment).await?;
        }
        Ok(())
    }

    /// A life in which all batches that hold rows that will pass are acknowledged.
    async fn deliver_passing(&mut self) -> Result<(), String> {
        let running = self.start(Settings { retention: false, flush_interval_ms: 150 }, Moment::Work).await?;
        self.shared.order(Orders { new: true, passing: false });
        self.until("batches with old rows are acknowledged", |shared| shared.ledger().open(true) == 0).await?;
        self.end(running, Moment::Work).await
    }

    /// A life in which everything is acknowledged, flushed and maintained: exactly the rows past their
    /// retention are gone.
    async fn expire(&mut self) -> Result<(), String> {
        let running = self.start(Settings { retention: true, flush_interval_ms: 50 }, Moment::Work).await?;
        let mut running = self.quiesce(running).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.get(&running.life.api, "/api/v1/status").await?;
            let plan = self.get(&running.life.api, "/api/v1/maintenance").await?;
            let is_due = plan["due"].as_array().is_none_or(|due| !due.is_empty());
            if status["books"]["buffered"] == 0 && !is_due && self.place.has_rollups() != Some(false) {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("there is no rest: {status}, {plan}"));
            }
            running.life.api.maintain().await.map_err(|trouble| format!("{trouble}"))?;
        }
        self.audit(&running.life.api, Expiry::Done).await?;
        self.shared.ledger().purge();
        self.shared.order(Orders { new: true, passing: false });
        running.still = None;
        self.end(running, Moment::Work).await
    }

    /// An ordinary stop, which forgets nothing, and a last look.
    async fn last_stop(&mut self) -> Result<(), String> {
        let settings = Settings { retention: false, flush_interval_ms: 150 };
        let running = self.start(settings, Moment::Work).await?;
        let mut running = self.quiesce(running).await?;
        self.audit(&running.life.api, Expiry::Underway).await?;
        running.life.ending.store(true, Ordering::Release);
        running.server.terminate();
        let status = running.server.ended_within(PATIENCE).await.ok_or("the server does not stop")?;
        self.gather(&mut running.server);
        self.tally.stops += 1;
        if !status.success() {
            return Err(format!("the server stopped with {status}"));
        }
        self.forgets = false;
        for _ in 0..2 {
            let (mut server, api) = self.listen(settings).await?;
            self.audit(&api, Expiry::Underway).await?;
            self.gather(&mut server);
        }
        self.shared.over.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Starts the server while the clients stand still, looks at everything, and lets them go on.
    async fn start(&mut self, settings: Settings, moment: Moment) -> Result<Running, String> {
        let mut still = Arc::clone(&self.shared.gate).write_owned().await;
        self.check()?;
        if let Moment::Start = moment {
            for _ in 0..self.random.within(1..4) {
                let mut server = self.place.start(settings);
                let ms = self.random.below(self.start_ms * 11 / 10);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.kill(&mut server, moment);
            }
        }
        let began = Instant::now();
        let (server, api) = self.listen(settings).await?;
        self.start_ms = (began.elapsed().as_millis() as u64).max(20);
        self.audit(&api, Expiry::Underway).await?;
        let life = Life { api, ending: Arc::new(AtomicBool::new(false)) };
        *still = Some(life.clone());
        Ok(Running { server, life, still: None })
    }

    /// A server that listens, and the ledger told of it.
    async fn listen(&mut self, settings: Settings) -> Result<(Server, Api), String> {
        let mut server = self.place.start(settings);
        let api = server.listening(&self.http).await?;
        let books = &self.get(&api, "/api/v1/status").await?["books"];
        self.tally.replays += u64::from(books["buffered"] != 0);
        let mut ledger = self.shared.ledger();
        ledger.passing = if settings.retention { Passing::Go } else { Passing::Stay };
        ledger.begin_life(books["duplicate"].as_u64().unwrap_or(u64::MAX), self.forgets)?;
        drop(ledger);
        Ok((server, api))
    }

    /// Waits until nothing is open and lets the clients stand still while the server runs.
    async fn quiesce(&mut self, running: Running) -> Result<Running, String> {
        self.shared.order(Orders { new: false, passing: false });
        self.until("all batches are acknowledged", |shared| shared.ledger().open(false) == 0).await?;
        let still = Arc::clone(&self.shared.gate).write_owned().await;
        self.check()?;
        Ok(Running { still: Some(still), ..running })
    }

    /// Ends a life at a moment of it.
    async fn end(&mut self, mut running: Running, moment: Moment) -> Result<(), String> {
        let ms = self.random.within(20..800);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        match moment {
            Moment::Work | Moment::Start => {}
            Moment::File => {
                let deadline = Instant::now() + FILE_WAIT_MAX;
                while !self.place.has_unnamed_files() && Instant::now() < deadline {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let ms = self.random.below(60);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Moment::Maintenance => {
                let api = running.life.api.clone();
                let pass = tokio::spawn(async move { api.maintain().await });
                let ms = self.random.below(150);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.tally.passes += u64::from(!pass.is_finished());
            }
            Moment::Stop => {
                running.life.ending.store(true, Ordering::Release);
                running.server.terminate();
                let ms = self.random.below(300);
                if let Some(status) = running.server.ended_within(Duration::from_millis(ms)).await {
                    self.tally.stops += 1;
                    self.forgets = false;
                    self.gather(&mut running.server);
                    return if status.success() { self.check() } else { Err(format!("the stop ended with {status}")) };
                }
            }
        }
        running.life.ending.store(true, Ordering::Release);
        self.forgets = true;
        self.kill(&mut running.server, moment);
        self.check()
    }

    fn kill(&mut self, server: &mut Server, moment: Moment) {
        self.gather(server);
        self.tally.kills += 1;
        self.tally.moments[moment as usize] += 1;
        self.tally.unnamed += u64::from(self.place.has_unnamed_files());
    }

    /// Ends what may still run and adds up what the life has done.
    fn gather(&mut self, server: &mut Server) {
        server.kill(&self.place);
        let work = std::mem::take(&mut *self.shared.work());
        let all = &mut self.tally.work;
        all.flushes += work.flushes;
        all.actions += work.actions;
        all.swept += work.swept;
        all.trimmed += work.trimmed;
    }

    async fn audit(&mut self, api: &Api, expiry: Expiry) -> Result<(), String> {
        self.tally.audits += 1;
        self.tally.rolled_up += u64::from(self.place.has_rollups() == Some(true));
        // Nobody else looks into it: the clients stand still.
        let mut ledger = std::mem::take(&mut *self.shared.ledger());
        let result = audit(api, &mut ledger, expiry, self.tally.audits, self.kills > KILLS).await;
        *self.shared.ledger() = ledger;
        result
    }

    async fn get(&self, api: &Api, path: &str) -> Result<Value, String> {
        api.get(path).await.map_err(|trouble| format!("{path}: {trouble}"))
    }

    /// Waits for something that the clients bring about.
    async fn until(&self, what: &str, is_so: impl Fn(&Shared) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.shared) {
            self.check()?;
            if Instant::now() > deadline {
                return Err(format!("waited in vain until {what}"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What the clients have found wrong.
    fn check(&self) -> Result<(), String> {
        self.shared.failure.lock().unwrap().take().map_or(Ok(()), Err)
    }

    fn summary(&self, took: Duration) -> String {
        let ledger = self.shared.ledger();
        let records: u64 = ledger.entries.iter().map(|entry| entry.lines()).sum();
        let Tally { kills, moments, passes, unnamed, replays, stops, audits, rolled_up, work } = &self.tally;
        let [at_work, at_file, in_maintenance, at_start, in_stop] = moments;
        format!(
            "{kills} kills ({at_work} at work, {at_file} at a new file, {in_maintenance} in maintenance of which {passes} in a pass, {at_start} \
             at a start, {in_stop} in a stop; {unnamed} between a file and its commit), {stops} stops, {replays} starts \
             with a replay, {} batches, {records} records and lines, {} answered as duplicates, {} queries, at least {} \
             flushes, {} maintenance actions, {} files swept and {} log entries trimmed, {} rows deleted at their age, \
             {audits} audits, {rolled_up} of them over rollups, {:.1} s",
            ledger.counts.acknowledged,
            ledger.counts.duplicates,
            self.shared.queries.load(Ordering::Relaxed),
            work.flushes,
            work.actions,
            work.swept,
            work.trimmed,
            ledger.purged_rows(),
            took.as_secs_f64(),
        )
    }
}
