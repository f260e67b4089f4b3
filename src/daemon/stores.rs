//! Where a data directory's tables are, and that they are its own: here, or elsewhere by the settings.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use url::Url;

use super::create_below;
use crate::{
    config::Config,
    disk::{self, Disk},
    error::{Context, Error, Kind, Result},
    lake::{LakeTable, Remote, Run, Runs, Storage, Turn, overlap},
    record::Table,
};

/// By this a directory owns tables that are elsewhere.
const IDENTITY: &str = "IDENTITY";
/// Whose commits tables that are elsewhere may have.
const RUNS: &str = "RUNS";
/// Where the tables are, if not elsewhere.
const TABLES: &str = "tables";

/// Where the tables are.
pub struct Stores {
    home: Storage,
    /// Whether the home is not in the data directory.
    is_elsewhere: bool,
    cold: Option<Storage>,
    turn: Option<Arc<Turn>>,
}

/// Where they are, for somebody who only looks.
pub struct Looked {
    /// The tables.
    pub home: Storage,
    /// Their cold files.
    pub cold: Option<Storage>,
    /// The home as the data directory's files name it.
    pub tables: String,
}

impl Stores {
    /// Finds them, takes them for the data directory, and makes them where they are missing.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for settings that do not go together, [`Kind::Conflict`] when the tables are another
    /// directory's, not where they were, or a copy of this directory has changed the cold ones.
    pub async fn open(config: &Config, disk: &Arc<dyn Disk>) -> Result<Self> {
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
        let root = match &elsewhere {
            Some(home) => home.root.clone(),
            None => local_root(data)?,
        };
        if cold.as_ref().is_some_and(|cold| overlap(&root, &cold.root)) {
            return Err(Error::invalid(format!(
                "the tables are at {root}, and storage.cold_url must not lie within that, nor that within it: choose \
                 another place for cold files"
            )));
        }
        let mut turn = None;
        if elsewhere.is_some() || cold.is_some() {
            let owner = identity(disk.as_ref(), data)?;
            if let Some(home) = &elsewhere {
                home.claim(&owner).await?;
                home.settle(disk.as_ref())?;
            }
            if let Some(cold) = &cold {
                let is_new = cold.claim(&owner).await?;
                turn = Some(Arc::new(Turn::take(cold, is_new, Arc::clone(disk), data).await?));
                cold.settle(disk.as_ref())?;
            }
        }
        note_place(disk.as_ref(), data, elsewhere.as_ref())?;
        let is_elsewhere = elsewhere.is_some();
        let home = match elsewhere {
            Some(elsewhere) => elsewhere,
            None => Storage::local_on(&create_below(disk.as_ref(), data, TABLES)?, Arc::clone(disk))?,
        };
        Ok(Self { home, is_elsewhere, cold, turn })
    }

    /// Opens the tables, for commits of this run of the server alone.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when a copy of this directory has committed to tables that are elsewhere.
    pub async fn tables(&self, disk: &dyn Disk, data: &Path) -> Result<Vec<LakeTable>> {
        let mut tables = Vec::new();
        for table in Table::ALL {
            let mut table = LakeTable::open(&self.home, self.cold.as_ref(), table).await?;
            if let Some(turn) = &self.turn {
                table.take_turns(Arc::clone(turn));
            }
            tables.push(table);
        }
        if self.is_elsewhere {
            hold_tables(disk, data, &mut tables).await?;
        }
        Ok(tables)
    }

    /// Finds them without changing anything.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when they are another directory's, or not where they were.
    pub async fn look(config: &Config, data: &Path) -> Result<Looked> {
        let remote = remote(config);
        let at = |url: &String| Storage::at_read_only(url, &remote);
        let elsewhere = config.storage.url.as_ref().map(at).transpose()?;
        let cold = config.storage.cold_url.as_ref().map(at).transpose()?;
        if let Ok(owner) = fs::read_to_string(data.join(IDENTITY)) {
            for storage in elsewhere.iter().chain(&cold) {
                storage.check_owner(owner.trim()).await?;
            }
        }
        is_noted(data, elsewhere.as_ref())?;
        let tables =
            elsewhere.as_ref().map_or(TABLES, |storage| storage.root.as_str().trim_end_matches('/')).to_owned();
        let home = elsewhere.map_or_else(|| Storage::local_read_only(&data.join(TABLES)), Ok)?;
        Ok(Looked { home, cold, tables })
    }

    /// Those that are on this machine.
    pub fn directories(&self) -> Vec<PathBuf> {
        let storages = [Some(&self.home), self.cold.as_ref()].into_iter().flatten();
        storages.filter_map(|storage| storage.root.to_file_path().ok()).collect()
    }
}

/// Where tables are that are not elsewhere.
fn local_root(data: &Path) -> Result<Url> {
    let absolute = data.canonicalize().context(format!("cannot find the directory {}", data.display()))?;
    Url::from_directory_path(absolute.join(TABLES))
        .map_err(|()| Error::invalid(format!("{} cannot be written as a URL", absolute.display())))
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
            note(disk, data, IDENTITY, &identity)?;
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
    note(disk, data, RUNS, &runs.to_string())?;
    tables.iter_mut().for_each(|table| table.hold(Arc::clone(&runs)));
    Ok(())
}

/// Remembers where the tables are: a start that looks elsewhere would show none of the rows.
fn note_place(disk: &dyn Disk, data: &Path, elsewhere: Option<&Storage>) -> Result<()> {
    if is_noted(data, elsewhere)? { Ok(()) } else { note(disk, data, "TABLES", place_of(elsewhere)) }
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

/// Keeps something in a file of the data directory.
fn note(disk: &dyn Disk, data: &Path, name: &str, text: &str) -> Result<()> {
    disk::write_durably(disk, data, name, text).context(format!("cannot write {}", data.join(name).display()))
}
