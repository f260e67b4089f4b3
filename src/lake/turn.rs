//! Whose turn it is to change the cold store. Copies of one data directory own the same cold store, and each has a
//! Delta log of its own that names files there: one would delete what another moved. So each change is preceded by a
//! number by chance, noted in the data directory and then in the store. A directory that does not know the number that
//! it finds there is a copy that was left behind, and changes nothing.

use std::{
    fs, io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use tokio::sync::Mutex;
use url::Url;

use super::{storage::Storage, table::LakeTable};
use crate::{
    disk::{self, Disk},
    error::{Context, Error, Kind, Result},
};

/// The object that says which change came last.
const TURN: &str = "driftline-turn";
/// The file of the data directory that says the same, and what came after it: the store may have taken a number whose
/// answer was lost, or never have got it.
const NOTE: &str = "COLD";
/// So many at most. Where more attempts fail in a row, the store does not answer at all.
const NOTED_MAX: usize = 16;

/// The right of a data directory to change the cold store.
#[derive(Debug)]
pub struct Turn {
    store: Arc<dyn ObjectStore>,
    path: Path,
    root: Url,
    disk: Arc<dyn Disk>,
    data: PathBuf,
    /// The number that was found last, and those that were sent since.
    noted: Mutex<Vec<String>>,
}

impl Turn {
    /// Of a data directory whose cold store this is; with `is_new` it became its own only now, whatever was there.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when a copy of the directory has changed the store since.
    pub async fn take(cold: &Storage, is_new: bool, disk: Arc<dyn Disk>, data: &FilePath) -> Result<Self> {
        let noted = match fs::read_to_string(data.join(NOTE)) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).context(format!("cannot read {}", data.join(NOTE).display())),
        };
        let turn = Self {
            store: Arc::clone(&cold.store),
            path: cold.path()?.join(TURN),
            root: cold.root.clone(),
            disk,
            data: data.to_owned(),
            noted: Mutex::new(noted),
        };
        let mut noted = turn.noted.lock().await;
        match turn.found().await? {
            Some(found) if is_new => noted.push(found),
            found => turn.check(&noted, found.as_deref())?,
        }
        drop(noted);
        Ok(turn)
    }

    /// Says that a change comes.
    async fn begin(&self) -> Result<()> {
        let mut noted = self.noted.lock().await;
        let found = self.found().await?;
        self.check(&noted, found.as_deref())?;
        let next = uuid::Uuid::now_v7().to_string();
        note(&mut noted, found.as_deref(), &next);
        let lines: String = noted.iter().map(|number| format!("{number}\n")).collect();
        disk::write_durably(self.disk.as_ref(), &self.data, NOTE, &lines)
            .context(format!("cannot write {}", self.data.join(NOTE).display()))?;
        let put = self.store.put(&self.path, PutPayload::from(next)).await;
        put.map(drop).context(format!("cannot write {}{TURN}", self.root))
    }

    fn check(&self, noted: &[String], found: Option<&str>) -> Result<()> {
        if found.is_none_or(|found| noted.iter().any(|number| number == found)) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!(
                "a server on a copy of {data} has changed the cold store {root}: start that copy, and set this one \
                 aside. If that copy is gone for good, with all that it moved there, delete {root}{TURN}",
                data = self.data.display(),
                root = self.root
            ),
        ))
    }

    async fn found(&self) -> Result<Option<String>> {
        let context = || format!("cannot read {}{TURN}", self.root);
        match self.store.get(&self.path).await {
            Ok(found) => {
                let bytes = found.bytes().await.context(context())?;
                Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).context(context()),
        }
    }
}

/// Forgets what came before the number that was found, and adds the next.
fn note(noted: &mut Vec<String>, found: Option<&str>, next: &str) {
    if let Some(position) = noted.iter().position(|number| found == Some(number.as_str())) {
        noted.drain(..position);
    }
    noted.push(next.to_owned());
    if noted.len() > NOTED_MAX {
        // The first is what the store has.
        noted.remove(1);
    }
}

impl LakeTable {
    /// From now on the cold store is changed in turns.
    pub fn take_turns(&mut self, turn: Arc<Turn>) {
        self.turn = Some(turn);
    }

    /// Comes before each change of the cold store.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] when a copy of the data directory has changed it.
    pub(super) async fn begin_cold_change(&self) -> Result<()> {
        match &self.turn {
            Some(turn) => turn.begin().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_may_have_is_noted() {
        let mut noted = Vec::new();
        // Each next one, and what the store has then: its answer came, it was lost, nothing arrived.
        for (next, then, expected) in [
            ("a", None, "a"),
            ("b", Some("a"), "a b"),
            ("c", Some("a"), "a b c"),
            ("d", Some("a"), "a b c d"),
            ("e", Some("c"), "c d e"),
            ("f", Some("e"), "e f"),
        ] {
            note(&mut noted, then, next);
            assert_eq!(noted.join(" "), expected);
        }
        for number in 0..100 {
            note(&mut noted, Some("e"), &number.to_string());
        }
        assert_eq!((noted.len(), noted[0].as_str(), noted[15].as_str()), (NOTED_MAX, "e", "99"));
    }
}
