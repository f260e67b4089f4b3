//! The composition root: builds the rooms from the settings, joins them, runs the background jobs,
//! and takes everything down in order. Nothing else constructs a room.

mod entrance;
mod loops;
mod settings;

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
    lake::{LakeTable, Remote, Run, Runs, Storage},
    maintain::Maintainer,
    memory, postgres,
    query::{Engine, QueryParams},
    record::Table,
    verify::{self, Report, Subject},
    wal::{self, Quarantined},
};

pub use entrance::keys;

/// What a data directory of this version says of itself.
const FORMAT: &str = "driftline-data 1\n";
/// Held by the process that has a data directory open.
const LOCK: &str = "LOCK";
/// The state database.
const CATALOG: &str = "catalog.sqlite";
/// By this a directory owns tables that are elsewhere.
const IDENTITY: &str = "IDENTITY";
/// Whose commits tables that are elsewhere may have.
const RUNS: &str = "RUNS";
/// Where the tables are, if not elsewhere.
const TABLES: &str = "tables";

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
        let mut lake = Vec::new();
        for table in Table::ALL {
            lake.push(LakeTable::open(&stores.home, stores.cold.as_ref(), table).await?);
        }
        if config.storage.url.is_some() {
            hold_tables(disk.as_ref(), data, &mut lake).await?;
        }
        let lake: Vec<_> = lake.into_iter().map(Arc::new).collect();
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
        let statement = "select agent_id, session_id, cast(max(timestamp) as bigint) as last_seen_us
             from stored.agent_logs
             where timestamp >= to_timestamp_micros($1) and session_id is not null
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
    let remote = remote(config);
    let at = |url: &String| Storage::at_read_only(url, &remote);
    let elsewhere = config.storage.url.as_ref().map(at).transpose()?;
    let cold = config.storage.cold_url.as_ref().map(at).transpose()?;
    if let Ok(owner) = fs::read_to_string(data.join(IDENTITY)) {
        for storage in elsewhere.iter().chain(&cold) {
            storage.check_owner(owner.trim()).await?;
        }
    }
    is_noted(&data, elsewhere.as_ref())?;
    let tables = elsewhere.as_ref().map_or(TABLES, |storage| storage.root.as_str().trim_end_matches('/')).to_owned();
    let home = elsewhere.map_or_else(|| Storage::local_read_only(&data.join(TABLES)), Ok)?;
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

/// Where the tables are.
struct Stores {
    home: Storage,
    cold: Option<Storage>,
}

impl Stores {
    async fn open(config: &Config, disk: &Arc<dyn Disk>) -> Result<Self> {
        let (data, storage) = (&config.server.data, &config.storage);
        let tenants_own = config.lifecycle.tenants.values().filter_map(|tenant| tenant.cold_after_days);
        let moves = tenants_own.chain([config.lifecycle.cold_after_days]).any(|days| days > 0);
        if moves && storage.cold_url.is_none() {
            return Err(Error::invalid(
                "lifecycle.cold_after_days is set, for all or for a tenant, and storage.cold_url is not: set both or \
                 none",
            ));
        }
        let remote = remote(config);
        let at = |url: &String| Storage::at(url, &remote, Arc::clone(disk));
        let elsewhere = storage.url.as_ref().map(at).transpose()?;
        let cold = storage.cold_url.as_ref().map(at).transpose()?;
        if let (Some(home), Some(cold)) = (&elsewhere, &cold)
            && (home.root.as_str().starts_with(cold.root.as_str())
                || cold.root.as_str().starts_with(home.root.as_str()))
        {
            return Err(Error::invalid("storage.url and storage.cold_url must not lie within each other"));
        }
        if elsewhere.is_some() || cold.is_some() {
            let owner = identity(disk.as_ref(), data)?;
            for storage in elsewhere.iter().chain(&cold) {
                storage.claim(&owner).await?;
            }
        }
        note_place(disk.as_ref(), data, elsewhere.as_ref())?;
        let home = match elsewhere {
            Some(elsewhere) => elsewhere,
            None => Storage::local_on(&create_below(disk.as_ref(), data, TABLES)?, Arc::clone(disk))?,
        };
        Ok(Self { home, cold })
    }

    /// Those that are on this machine.
    fn directories(&self) -> Vec<PathBuf> {
        let storages = [Some(&self.home), self.cold.as_ref()].into_iter().flatten();
        storages.filter_map(|storage| storage.root.to_file_path().ok()).collect()
    }
}

fn remote(config: &Config) -> Remote {
    let storage = &config.storage;
    Remote {
        request_timeout: Duration::from_secs(storage.request_timeout_s),
        retry_timeout: Duration::from_secs(storage.retry_timeout_s),
        environment: storage.environment.0.clone(),
    }
}

/// A name of this directory's own, by which it owns tables that are elsewhere.
fn identity(disk: &dyn Disk, data: &Path) -> Result<String> {
    let path = data.join(IDENTITY);
    match fs::read_to_string(&path) {
        Ok(found) => Ok(found.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let identity = uuid::Uuid::now_v7().to_string();
            write_durably(disk, data, IDENTITY, &identity)?;
            Ok(identity)
        }
        Err(error) => Err(error).context(format!("cannot read {}", path.display())),
    }
}

/// Takes tables that are elsewhere for one run of this directory's server, and keeps whose commits they may have.
///
/// # Errors
///
/// [`Kind::Conflict`] when the last commit is none that this directory knows: a copy of it has run.
async fn hold_tables(disk: &dyn Disk, data: &Path, tables: &mut [LakeTable]) -> Result<()> {
    let path = data.join(RUNS);
    let known: Option<Runs> = match fs::read_to_string(&path) {
        Ok(text) => Some(text.parse().context(format!("cannot read {}", path.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    let mut before = Vec::new();
    for table in &*tables {
        let Some(last) = table.last_commit().await? else { continue };
        if !known.as_ref().is_some_and(|known| known.has(&last)) {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "{} was committed to from a copy of {}, and both count their batches alike: start that copy, and \
                     set this one aside",
                    table.url(),
                    data.display()
                ),
            ));
        }
        before.push(last);
    }
    let runs = Arc::new(Runs::new(Run::random(), before));
    // Before the first commit of the run.
    write_durably(disk, data, RUNS, &runs.to_string())?;
    tables.iter_mut().for_each(|table| table.hold(Arc::clone(&runs)));
    Ok(())
}

/// Remembers where the tables are: a start that looks elsewhere would show none of the rows.
fn note_place(disk: &dyn Disk, data: &Path, elsewhere: Option<&Storage>) -> Result<()> {
    if is_noted(data, elsewhere)? { Ok(()) } else { write_durably(disk, data, "TABLES", place_of(elsewhere)) }
}

fn place_of(elsewhere: Option<&Storage>) -> &str {
    elsewhere.map_or(TABLES, |storage| storage.root.as_str())
}

/// Whether the directory says where its tables are, and that it is here.
fn is_noted(data: &Path, elsewhere: Option<&Storage>) -> Result<bool> {
    let place = place_of(elsewhere);
    let path = data.join("TABLES");
    let noted = match fs::read_to_string(&path) {
        Ok(noted) => noted,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && data.join(TABLES).is_dir() => TABLES.to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    if noted.trim() == place {
        return Ok(true);
    }
    Err(Error::new(
        Kind::Conflict,
        format!(
            "the tables of {} are at {}, the settings say {place}: put storage.url back, or move the tables and write \
             their place into {}",
            data.display(),
            noted.trim(),
            path.display()
        ),
    ))
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
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_durably(disk, data, "FORMAT", FORMAT),
        Err(error) => Err(error).context(format!("cannot read {}", path.display())),
    }
}

/// Half of such a file would say something else: the name shows all of it or nothing.
fn write_durably(disk: &dyn Disk, data: &Path, name: &str, text: &str) -> Result<()> {
    let staging = data.join(format!("{name}.new"));
    let written = disk.create_file(&staging).and_then(|mut file| {
        file.write_all_at(0, text.as_bytes())?;
        file.sync_all()?;
        disk.rename(&staging, &data.join(name))?;
        disk.sync_directory(data)
    });
    written.context(format!("cannot write {}", data.join(name).display()))
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // The sender lives as long as the daemon; its end is a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
