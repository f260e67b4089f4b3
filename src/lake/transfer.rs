//! Files go to the cold store as they are. The copy is whole and in the store before a commit names it.

use std::{collections::HashMap, sync::Arc};

use deltalake_core::kernel::Add;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, buffered::BufWriter};
use tokio::io::AsyncWriteExt;

use super::{
    table::{DataFile, LakeTable},
    tags,
};
use crate::{
    error::{Context, Error, Kind, Result},
    lifecycle::Tier,
};

impl LakeTable {
    /// Copies files to the cold store. The caller commits the copies, or leaves them to the next sweep.
    pub async fn copy_to_cold(&self, files: &[DataFile], now_us: i64) -> Result<Vec<Add>> {
        self.begin_cold_change().await?;
        let entries = self.entries().await;
        let mut copies = Vec::with_capacity(files.len());
        for file in files {
            let Some(entry) = entries.get(&file.name) else {
                return Err(Error::new(Kind::Conflict, format!("{} is not in the table any more", file.name)));
            };
            self.copy(file).await.map_err(|error| {
                Error::new(error.kind(), format!("cannot copy {} to the cold store", file.name)).with_source(error)
            })?;
            copies.push(Add {
                path: self.places.name_of(Tier::Cold, &file.name)?,
                modification_time: now_us / 1_000,
                tags: Some(tags::write(Tier::Cold, &file.removed, &file.long)),
                ..entry.clone()
            });
        }
        Ok(copies)
    }

    async fn copy(&self, file: &DataFile) -> Result<()> {
        let place = self.places.of(Tier::Cold)?;
        let mut bytes = file.store.get(&file.path).await.context("cannot read it")?.into_stream();
        let mut copy = BufWriter::new(Arc::clone(&place.store), place.path_of(&file.name));
        let mut copied = 0;
        while let Some(chunk) = bytes.try_next().await.context("cannot read it")? {
            copied += chunk.len() as u64;
            copy.put(chunk).await.context("cannot write it")?;
        }
        if copied != file.bytes {
            return Err(Error::new(Kind::Corrupt, format!("it has {copied} bytes, the log says {}", file.bytes)));
        }
        copy.shutdown().await.context("cannot write it")
    }

    /// The log's entries, by the names of their files.
    async fn entries(&self) -> HashMap<String, Add> {
        let state = self.writer.lock().await;
        let entry = |view: deltalake_core::kernel::LogicalFileView| {
            #[allow(deprecated)] // the only way to a file's entry as the log has it
            let add = view.add_action();
            (view.path().into_owned(), add)
        };
        state.log_data().iter().map(entry).collect()
    }
}
