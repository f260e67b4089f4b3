//! Files that are derived from data files, one for each, in `_derived/` below the table's directory, where
//! readers of Delta tables never look. A sidecar holds good for exactly one data file, and data files never
//! change; so it is there or not, and never out of date. It can be lost at any time and be made again.
//! Never knows what is in them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::{Result as EngineResult, config::TableParquetOptions},
    datasource::{
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::{object_store::ObjectStoreUrl, runtime_env::RuntimeEnv},
    physical_plan::ExecutionPlan,
};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::properties::{EnabledStatistics, WriterProperties},
};

use super::{
    scan::{PinningReaders, located},
    sidecar_columns::SidecarColumns,
    storage::Place,
    table::{DataFile, LakeTable, Snapshot, put},
};
use crate::error::{Context, Result};

/// Where sidecars are, below a table's directory.
pub(super) const DERIVED: &str = "_derived";

/// A file that was derived from a data file.
#[derive(Debug, Clone)]
pub struct Sidecar {
    pub(super) path: Path,
    pub(super) bytes: u64,
}

impl Sidecar {
    /// Where it is in the store; no other has this place, and it never changes.
    pub fn location(&self) -> &str {
        self.path.as_ref()
    }

    /// Its length, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The sidecars of one kind: of all that is derived by the same rule.
#[derive(Debug)]
pub struct Sidecars {
    pub(super) place: Place,
    pub(super) columns: Arc<SidecarColumns>,
    kind: String,
    /// By the last part of the data file's name, which a move to another store keeps.
    ready: RwLock<HashMap<String, Sidecar>>,
}

/// A plan that reads sidecars.
#[derive(Debug)]
pub struct SidecarScan {
    /// The snapshot that has the data files.
    pub snapshot: Arc<Snapshot>,
    /// The files, one list for each worker.
    pub groups: Vec<Vec<Sidecar>>,
    /// Their columns.
    pub schema: SchemaRef,
    /// The columns to read; all where there is none.
    pub projection: Option<Vec<usize>>,
}

impl LakeTable {
    /// The sidecars of a kind, as they are in the store, with the columns that stay in memory.
    pub async fn sidecars(&self, kind: &str, columns: &Arc<SidecarColumns>) -> Result<Sidecars> {
        let place = self.places.home.clone();
        let prefix = place.path_of(&format!("{DERIVED}/{kind}"));
        let mut listed = place.store.list(Some(&prefix));
        let mut ready = HashMap::new();
        while let Some(found) = listed.try_next().await.context("cannot list the sidecars")? {
            if let Some(stem) = found.location.filename().and_then(|name| name.strip_suffix(SUFFIX)) {
                ready.insert(stem.to_owned(), Sidecar { path: found.location.clone(), bytes: found.size });
            }
        }
        let columns = Arc::clone(columns);
        Ok(Sidecars { place, columns, kind: kind.to_owned(), ready: RwLock::new(ready) })
    }

    /// Deletes the sidecars of other kinds than these, which other rules made.
    pub async fn forget_other_sidecars(&self, kinds: &[&str]) -> Result<usize> {
        let place = &self.places.home;
        let mut listed = place.store.list(Some(&place.path_of(DERIVED)));
        let mut others = Vec::new();
        while let Some(found) = listed.try_next().await.context("cannot list the sidecars")? {
            let relative = place.relative(&found.location).unwrap_or_default();
            if !relative.split('/').nth(1).is_some_and(|kind| kinds.contains(&kind)) {
                others.push(found.location);
            }
        }
        delete(place.store.as_ref(), &others).await?;
        Ok(others.len())
    }

    /// Deletes the sidecars of files that no snapshot in use has. Returns how many.
    pub async fn sweep_sidecars(&self, sidecars: &Sidecars) -> Result<usize> {
        let snapshots = self.snapshots_in_use();
        let kept: HashSet<&str> =
            snapshots.iter().flat_map(|snapshot| &snapshot.files).map(|file| stem(&file.name)).collect();
        let unneeded: Vec<(String, Path)> = {
            let ready = sidecars.ready.read().unwrap_or_else(PoisonError::into_inner);
            let unneeded = ready.iter().filter(|(stem, _)| !kept.contains(stem.as_str()));
            unneeded.map(|(stem, sidecar)| (stem.clone(), sidecar.path.clone())).collect()
        };
        let paths: Vec<Path> = unneeded.iter().map(|(_, path)| path.clone()).collect();
        delete(sidecars.place.store.as_ref(), &paths).await?;
        let mut ready = sidecars.ready.write().unwrap_or_else(PoisonError::into_inner);
        for (stem, _) in &unneeded {
            ready.remove(stem);
        }
        Ok(unneeded.len())
    }
}

impl Sidecars {
    /// A data file's sidecar, where it has one.
    pub fn of(&self, file: &DataFile) -> Option<Sidecar> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).get(stem(&file.name)).cloned()
    }

    /// Writes a data file's sidecar.
    pub async fn put(&self, file: &DataFile, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<()> {
        let encoded = tokio::task::spawn_blocking(move || encode(schema, &batches));
        let bytes = encoded.await.context("an encoder stopped")??;
        let stem = stem(&file.name);
        let path = self.place.path_of(&format!("{DERIVED}/{}/{stem}{SUFFIX}", self.kind));
        let sidecar = Sidecar { path: path.clone(), bytes: bytes.len() as u64 };
        put(self.place.store.as_ref(), &path, bytes.into())
            .await
            .context(format!("cannot write the sidecar {path}"))?;
        self.ready.write().unwrap_or_else(PoisonError::into_inner).insert(stem.to_owned(), sidecar);
        Ok(())
    }
}

const SUFFIX: &str = ".derived.parquet";

fn stem(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Sidecars are small and read often: cheap to decode, and without statistics, which nobody asks for.
fn encode(schema: SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let mut bytes = Vec::new();
    let context = "cannot encode a sidecar";
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).context(context)?;
    for batch in batches {
        writer.write(batch).context(context)?;
    }
    writer.close().context(context)?;
    Ok(bytes)
}

async fn delete(store: &dyn ObjectStore, paths: &[Path]) -> Result<()> {
    for path in paths {
        match store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error).context(format!("cannot delete the sidecar {path}")),
        }
    }
    Ok(())
}

impl SidecarScan {
    /// The plan. It keeps the snapshot, and so the sidecars, as long as it lives.
    pub fn plan(
        self,
        sidecars: &Sidecars,
        runtime: &RuntimeEnv,
        options: TableParquetOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let readers = PinningReaders::new(runtime.cache_manager.get_file_metadata_cache(), self.snapshot);
        let source = ParquetSource::new(TableSchema::builder(self.schema).build())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let store = &sidecars.place.store;
        let groups = self.groups.into_iter().map(|group| {
            let files = group.into_iter().map(|sidecar| located(sidecar.path, sidecar.bytes, Arc::clone(store)));
            FileGroup::new(files.collect())
        });
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups.collect())
            .with_projection_indices(self.projection)?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
