//! The entries of a Delta log as files: whether one is missing or no entry at all. Never says which
//! files count: that is the Delta library's.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde_json::Value;

use super::{
    super::{storage::Place, store::DELTA_LOG},
    RESTORE,
};
use crate::{
    error::{Context, Error, Kind, Result},
    finding::Findings,
};

/// What a log's directory holds.
pub struct Entries {
    /// Version → entry.
    commits: BTreeMap<u64, Path>,
    /// The newest version that can be read without the entries up to it.
    checkpoint: Option<u64>,
}

impl Entries {
    /// Reads the directory of a table's log.
    pub async fn list(home: &Place) -> Result<Self> {
        let mut entries = Self { commits: BTreeMap::new(), checkpoint: None };
        let mut listed = home.store.list(Some(&home.path_of(DELTA_LOG)));
        while let Some(found) = listed.try_next().await.context("cannot list the Delta log")? {
            let Some((version, kind)) = found.location.filename().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Ok(version) = version.parse::<u64>() else { continue };
            if kind == "json" {
                entries.commits.insert(version, found.location.clone());
            } else if kind.starts_with("checkpoint") {
                entries.checkpoint = entries.checkpoint.max(Some(version));
            }
        }
        Ok(entries)
    }

    /// Whether there is no log.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.checkpoint.is_none()
    }

    /// Entries that are needed and missing: those after the newest checkpoint, or all.
    pub fn gaps(&self) -> Findings {
        let mut findings = Findings::default();
        let mut expected = self.checkpoint.map_or(0, |version| version + 1);
        for version in self.commits.range(expected..).map(|(version, _)| *version) {
            if version > expected {
                let place = format!("{DELTA_LOG}/{expected:020}.json");
                let what = match version - expected {
                    1 => "is missing, and with it what it says of the files".to_owned(),
                    _ => format!("is missing, and with it the entries up to {}", version - 1),
                };
                findings.wrong(place, what, RESTORE);
            }
            expected = version + 1;
        }
        findings
    }

    /// Entries that are needed and cannot be read.
    pub async fn damage(&self, store: &Arc<dyn ObjectStore>) -> Findings {
        let mut findings = Findings::default();
        let first = self.checkpoint.map_or(0, |version| version + 1);
        for path in self.commits.range(first..).map(|(_, path)| path) {
            if let Err(error) = read(store, path).await {
                let place = format!("{DELTA_LOG}/{}", path.filename().unwrap_or_default());
                findings.wrong(place, error.chain(), RESTORE);
            }
        }
        findings
    }
}

/// Reads an entry: JSON, one action a line.
async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<()> {
    let bytes = store.get(path).await.context("cannot be read")?.bytes().await.context("cannot be read")?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let actions: Vec<Value> = lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .kind_context(Kind::Corrupt, || "is not JSON, one action a line".to_owned())?;
    if actions.is_empty() {
        return Err(Error::new(Kind::Corrupt, "is empty"));
    }
    Ok(())
}
