//! The composition root: builds the rooms from the settings, joins them, runs the background jobs,
//! and takes everything down in order. Nothing else constructs a room.

mod entrance;
mod loops;
mod settings;
mod stores;

use std::{
    fs::{self, File, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fs4::FileExt;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
};

use crate::{
    background::Background,
    backup::{self, Backup, Held},
    buffer::Buffer,
    catalog::{Catalog, Keys, ResultKind, Results},
    clock::{AgeClock, Clock},
    config::Config,
    disk::{self, Disk, SystemDisk},
    error::{Context, Error, Kind, Result},
    forget::Forgetter,
    gate::Gate,
    http::{self, App, Rooms},
    ingest::{Ingestor, Parts},
    maintain::Maintainer,
    memory, postgres,
    query::{Engine, QueryParams},
    verify::{self, Report, Subject},
    wal::{self, Quarantined},
};

pub use entrance::keys;
use stores::{Looked, Stores};

/// What a data directory of this version says of itself.
const FORMAT: &str = "driftline-data 1\n";
/// Held by the process that has a data directory open.
const LOCK: &str = "LOCK";
/// The state database.
const CATALOG: &str = "catalog.sqlite";

/// An open data directory: everything but the network.
pub struct Store {
    /// The way in.
    pub ingestor: Arc<Ingestor>,
    /// The way out.
    pub engine: Arc<Engine>,
    /// The files' life cycle.
    pub maintainer: Arc<Maintainer>,
    /// Copies of all of it.
    pub backup: Arc<Backup>,
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// What jobs found.
    pub results: Results,
    /// The way out for somebody's records.
    pub forgetter: Arc<Forgetter>,
    _lock: File,
}

impl Store {
    /// Opens the directory, alone, and replays what a stop left behind.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when another process has it open, a newer version wrote it, or it is a backup that
    /// was not finished, [`Kind::Corrupt`] when the WAL is damaged.
    pub async fn open(config: &Config, clock: Clock) -> Result<Self> {
        Self::open_on(config, clock, Arc::new(SystemDisk)).await
    }

    /// Opens a directory that somebody opened before.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] when it is none; nothing is created then. And those of [`Store::open`].
    pub async fn open_existing(config: &Config, clock: Clock) -> Result<Self> {
        must_exist(&config.server.data)?;
        Self::open(config, clock).await
    }

    /// The same with a disk for what must last: the WAL and the tables.
    pub async fn open_on(config: &Config, clock: Clock, disk: Arc<dyn Disk>) -> Result<Self> {
        let data = &config.server.data;
        let budget = config.budget()?;
        // A format is written into a directory only once its name lasts.
        if !data.join("FORMAT").is_file() {
            disk::create_directories(disk.as_ref(), data)
                .context(format!("cannot create the directory {}", data.display()))?;
        }
        let lock = lock(data)?;
        check_format(disk.as_ref(), data)?;
        let directories = Directories::create(disk.as_ref(), data)?;
        let stores = Stores::open(config, &disk).await?;
        let lake: Vec<_> = stores.tables(disk.as_ref(), data).await?.into_iter().map(Arc::new).collect();
        let catalog = Catalog::open(&data.join(CATALOG)).await?;
        let keys = Keys::open(&data.join(CATALOG), false).await?;
        let results = Results::open(&data.join(CATALOG)).await?;
        let gate = Gate::new(keys, clock.clone(), settings::gate(config));
        let buffer = Arc::new(Buffer::new(budget.buffer));
        let (engine, problems) =
            Engine::new(settings::query(config, &budget, directories.spill), &buffer, &lake, clock.clone()).await?;
        // Another version's results are no reason not to start: the next run brings new ones.
        for kind in ResultKind::ALL {
            if let Err(error) = engine.show_results(kind, &results.all(kind).await?).await {
                tracing::warn!(?kind, error = error.chain(), "results of a job are not shown");
            }
        }
        for problem in problems {
            tracing::warn!(%problem, "left out an SQL file; `driftline check` says more");
        }
        let ages = AgeClock::new(clock.clone());
        let maintainer = Maintainer::new(settings::maintain(config, &budget), lake.clone(), ages.clone())?;
        let parts = Parts { buffer, lake, catalog, clock: clock.clone(), ages, disk: Arc::clone(&disk) };
        let ingestor = Ingestor::open(&directories.wal, settings::ingest(config, &budget), parts).await?;
        let ingestor = Arc::new(ingestor);
        let held = Held { data: data.clone(), tables: stores.directories() };
        let backup = Backup::new(Arc::clone(&ingestor), held, disk, clock)?;
        let (engine, maintainer) = (Arc::new(engine), Arc::new(maintainer));
        let forgetter = Forgetter {
            ingestor: Arc::clone(&ingestor),
            maintainer: Arc::clone(&maintainer),
            engine: Arc::clone(&engine),
            results: results.clone(),
        };
        let store = Self {
            ingestor,
            engine,
            maintainer,
            backup: Arc::new(backup),
            gate: Arc::new(gate),
            results,
            forgetter: Arc::new(forgetter),
            _lock: lock,
        };
        store.seed_sessions(config).await?;
        Ok(store)
    }

    /// Flushes and closes.
    pub async fn close(self) -> Result<()> {
        let closed = self.ingestor.close().await;
        self.gate.close().await;
        self.results.close().await;
        closed
    }

    /// Sessions that were active before the start still are.
    async fn seed_sessions(&self, config: &Config) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Seen {
            agent_id: Option<String>,
            session_id: String,
            last_seen_us: i64,
        }
        let since_us = self.engine.now_us() - i64::from(config.metrics.session_window_minutes) * MINUTE_US;
        let params = QueryParams::Positional(vec![since_us.into(), (config.metrics.sessions_max as i64).into()]);
        let statement =
            "select agent_id, session_id, cast(max(least(timestamp, received_at)) as bigint) as last_seen_us
             from stored.agent_logs
             where timestamp >= to_timestamp_micros($1) and least(timestamp, received_at) >= to_timestamp_micros($1)
               and session_id <> ''
             group by agent_id, session_id order by last_seen_us desc limit $2";
        for seen in self.engine.sql(statement, params).await?.collect_as::<Seen>().await? {
            let agent_id = seen.agent_id.as_deref().unwrap_or_default();
            self.ingestor.seed_session(agent_id, &seen.session_id, seen.last_seen_us);
        }
        Ok(())
    }
}

/// Sets damaged segments of a directory's write-ahead log aside, so that it opens with what is whole.
/// Says what is lost; the damaged files stay under `wal/quarantine/`.
pub async fn quarantine(config: &Config) -> Result<Quarantined> {
    let data = &config.server.data;
    must_exist(data)?;
    let _lock = lock(data)?;
    let catalog = Catalog::open(&data.join(CATALOG)).await?;
    // What is committed and counted is not missed.
    let after_seq = catalog.totals().await?.map_or(0, |totals| totals.seq);
    catalog.close().await;
    wal::quarantine(&SystemDisk, &data.join("wal"), after_seq)
}

/// Checks a directory that no server has open, and changes nothing in it; with `content`, every row of
/// every file is read.
///
/// # Errors
///
/// [`Kind::Conflict`] when a server has it open or its tables are not where the settings say,
/// [`Kind::NotFound`] when it is not there.
pub async fn verify(config: &Config, content: bool) -> Result<Report> {
    let data = &config.server.data;
    let data = data.canonicalize().kind_context(Kind::NotFound, || format!("cannot find {}", data.display()))?;
    // A directory that no server ever opened has no lock to hold, and gets none.
    let _lock = if data.join(LOCK).exists() { Some(hold(File::options().read(true), &data)?) } else { None };
    let Looked { home, cold, tables } = Stores::look(config, &data).await?;
    let subject = Subject { data: &data, format: FORMAT, home: &home, cold: cold.as_ref(), tables: &tables, content };
    verify::verify(subject).await
}

/// A daemon that runs.
pub struct Daemon {
    store: Store,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    /// The port for clients of Postgres, where it is served.
    postgres: Option<(SocketAddr, JoinHandle<()>)>,
    background: Background,
    loops: Vec<JoinHandle<()>>,
    watch: Option<AbortHandle>,
    grace: Duration,
}

impl Daemon {
    /// Opens the store and serves it, in a process of its own: its resident memory is held within
    /// `memory.bytes_max`.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self> {
        let mut daemon = Self::start_on(config, clock, Arc::new(SystemDisk)).await?;
        let statements = Arc::clone(daemon.store.engine.memory());
        let watch = async move { statements.watch(memory::resident_bytes).await };
        daemon.watch = Some(tokio::spawn(watch).abort_handle());
        Ok(daemon)
    }

    /// The same beside others in one process, with a disk for what must last.
    pub async fn start_on(config: &Config, clock: Clock, disk: Arc<dyn Disk>) -> Result<Self> {
        let certificate = entrance::certificate(&config.server)?;
        let main = entrance::Port::bind(config.server.listen).await?;
        let postgres = match config.postgres.listen {
            Some(listen) => Some(entrance::Port::bind(listen).await?),
            None => None,
        };
        let store = Store::open_on(config, clock, disk).await?;
        for listen in [Some(config.server.listen), config.postgres.listen].into_iter().flatten() {
            if let Err(refused) = entrance::check(listen, &config.server, &store.gate).await {
                store.close().await?;
                return Err(refused);
            }
        }
        let (stop, stopped) = watch::channel(false);
        let background = Background::default();
        let rooms = Rooms {
            gate: Arc::clone(&store.gate),
            ingestor: Arc::clone(&store.ingestor),
            engine: Arc::clone(&store.engine),
            maintainer: Arc::clone(&store.maintainer),
            backup: Arc::clone(&store.backup),
            forgetter: Arc::clone(&store.forgetter),
            background: background.clone(),
        };
        let connections_max = entrance::connections_max(config.clients.connections_max);
        let app = App::new(config, &config.budget()?, connections_max, rooms);
        let (address, tls) = (main.address, certificate.as_ref().map(http::Tls::new));
        let server = tokio::spawn(http::serve(main.listener, tls, app, wait(stopped.clone())));
        let postgres = postgres.map(|port| {
            let (gate, engine) = (Arc::clone(&store.gate), Arc::clone(&store.engine));
            let server = postgres::Server::new(&config.postgres, certificate.as_ref(), gate, engine);
            (port.address, tokio::spawn(postgres::serve(port.listener, server, wait(stopped.clone()))))
        });
        let loops = loops::start(config, &store, &background, &stopped);
        let grace = Duration::from_secs(config.server.shutdown_grace_s);
        Ok(Self { store, address, stop, server, postgres, background, loops, watch: None, grace })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for clients of Postgres, if it does.
    pub fn postgres_address(&self) -> Option<SocketAddr> {
        self.postgres.as_ref().map(|(address, _)| *address)
    }

    /// The way out, for those in the same process.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.store.engine
    }

    /// The files' life cycle, for those in the same process.
    pub fn maintainer(&self) -> &Arc<Maintainer> {
        &self.store.maintainer
    }

    /// The loops that run beside requests, for those in the same process.
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// Who is let in, for those in the same process.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.store.gate
    }

    /// What jobs found, for those in the same process.
    pub fn results(&self) -> &Results {
        &self.store.results
    }

    /// The way in, for those in the same process.
    pub fn ingestor(&self) -> &Arc<Ingestor> {
        &self.store.ingestor
    }

    /// Stops taking requests, waits for open ones, commits everything.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(true);
        let abort = self.postgres.as_ref().map(|(_, server)| server.abort_handle());
        let servers = async {
            let _ = self.server.await;
            if let Some((_, server)) = self.postgres {
                let _ = server.await;
            }
        };
        if tokio::time::timeout(self.grace, servers).await.is_err() {
            tracing::warn!(grace_s = self.grace.as_secs(), "requests were still open at the stop");
        }
        // With it go its connections.
        if let Some(abort) = abort {
            abort.abort();
        }
        for background in self.loops {
            let _ = background.await;
        }
        if let Some(watch) = self.watch {
            watch.abort();
        }
        self.store.close().await
    }
}

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

struct Directories {
    wal: PathBuf,
    spill: PathBuf,
}

impl Directories {
    fn create(disk: &dyn Disk, data: &Path) -> Result<Self> {
        // What statements spilled before a crash is nobody's any more.
        let _ = fs::remove_dir_all(data.join("spill"));
        Ok(Self { wal: create_below(disk, data, "wal")?, spill: create_below(disk, data, "spill")? })
    }
}

fn create_below(disk: &dyn Disk, data: &Path, name: &str) -> Result<PathBuf> {
    let path = data.join(name);
    disk::create_directory_durably(disk, data, &path)
        .context(format!("cannot create the directory {}", path.display()))?;
    Ok(path)
}

/// A path that was mistyped must not become a data directory, and the rows in the right one seem gone.
fn must_exist(data: &Path) -> Result<()> {
    backup::refuse_incomplete(data)?;
    if data.join("FORMAT").is_file() {
        return Ok(());
    }
    let what = if data.is_dir() { "is no data directory: it has no file FORMAT" } else { "does not exist" };
    Err(Error::new(Kind::NotFound, format!("{} {what}. Nothing was created: check --data", data.display())))
}

fn lock(data: &Path) -> Result<File> {
    backup::refuse_incomplete(data)?;
    hold(File::options().create(true).truncate(false).write(true), data)
}

fn hold(options: &OpenOptions, data: &Path) -> Result<File> {
    let path = data.join(LOCK);
    let file = options.open(&path).context(format!("cannot open {}", path.display()))?;
    FileExt::try_lock(&file).map_err(|_| {
        Error::new(
            Kind::Conflict,
            format!("another driftline has {} open: talk to it with --url, or stop it first", data.display()),
        )
    })?;
    Ok(file)
}

fn check_format(disk: &dyn Disk, data: &Path) -> Result<()> {
    let path = data.join("FORMAT");
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) => Err(Error::new(
            Kind::Conflict,
            format!(
                "{} says {:?}, this version knows {:?}: start the version that wrote it",
                path.display(),
                found.trim(),
                FORMAT.trim()
            ),
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            disk::write_durably(disk, data, "FORMAT", FORMAT).context(format!("cannot write {}", path.display()))
        }
        Err(error) => Err(error).context(format!("cannot read {}", path.display())),
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // The sender lives as long as the daemon; its end is a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
