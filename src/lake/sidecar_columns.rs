//! Columns of sidecars in memory: the same few are asked for by every dashboard again and again, and to open and
//! decode hundreds of small files takes longer than to add up what is in them. A sidecar never changes, so
//! what is held is never out of date.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    compute::concat_batches,
    datatypes::{Schema, SchemaRef},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, path::Path};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use quick_cache::{Weighter, sync::Cache};

use super::sidecar::{Sidecar, Sidecars};
use crate::error::{Context, Result};

/// Files that are read at the same time.
const READ_AT_ONCE: usize = 8;
/// About as many bytes a column has.
const COLUMN_BYTES: usize = 4 * 1024;

/// Columns by file and position, of sidecars of all kinds.
#[derive(Debug)]
pub struct SidecarColumns(Cache<(Path, usize), ArrayRef, ArrayBytes>);

#[derive(Debug, Clone)]
struct ArrayBytes;

impl Weighter<(Path, usize), ArrayRef> for ArrayBytes {
    fn weight(&self, (path, _): &(Path, usize), column: &ArrayRef) -> u64 {
        (path.as_ref().len() + column.get_array_memory_size()) as u64
    }
}

impl SidecarColumns {
    /// Holds so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self(Cache::with_weighter(bytes_max / COLUMN_BYTES, bytes_max as u64, ArrayBytes))
    }
}

impl Sidecars {
    /// These columns of sidecars, one batch for each, all in memory at once.
    pub async fn read(&self, sidecars: &[Sidecar], schema: &SchemaRef, wanted: &[usize]) -> Result<Vec<RecordBatch>> {
        let projected: SchemaRef = Arc::new(schema.project(wanted).context("a rollup has no such column")?);
        let mut reads = Vec::with_capacity(sidecars.len());
        for sidecar in sidecars {
            reads.push(self.read_one(sidecar, schema, wanted, &projected));
        }
        stream::iter(reads).buffered(READ_AT_ONCE).try_collect().await
    }

    async fn read_one(
        &self,
        sidecar: &Sidecar,
        schema: &SchemaRef,
        wanted: &[usize],
        projected: &SchemaRef,
    ) -> Result<RecordBatch> {
        // The first column says how many rows there are where none is wanted.
        let needed = if wanted.is_empty() { &[0] } else { wanted };
        let held = |index: usize| self.columns.0.get(&(sidecar.path.clone(), index));
        let mut columns: Vec<Option<ArrayRef>> = needed.iter().map(|index| held(*index)).collect();
        let lacking: Vec<usize> =
            needed.iter().zip(&columns).filter(|(_, column)| column.is_none()).map(|(index, _)| *index).collect();
        if !lacking.is_empty() {
            let decoded = self.fetch(sidecar, schema, &lacking).await?;
            for (slot, index) in columns.iter_mut().zip(needed) {
                let Some(position) = lacking.iter().position(|lacking| lacking == index) else { continue };
                let column = Arc::clone(decoded.column(position));
                self.columns.0.insert((sidecar.path.clone(), *index), Arc::clone(&column));
                *slot = Some(column);
            }
        }
        let columns: Vec<ArrayRef> = columns.into_iter().flatten().collect();
        let rows = columns.first().map_or(0, Array::len);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = if wanted.is_empty() { Vec::new() } else { columns };
        RecordBatch::try_new_with_options(Arc::clone(projected), columns, &options)
            .context(format!("the sidecar {} is not as its rule says", sidecar.path))
    }

    /// Columns of a file, in the order of their positions as they are given.
    async fn fetch(&self, sidecar: &Sidecar, schema: &SchemaRef, positions: &[usize]) -> Result<RecordBatch> {
        let context = format!("cannot read the sidecar {}", sidecar.path);
        let file = self.place.store.get(&sidecar.path).await.context(context.as_str())?;
        let bytes = file.bytes().await.context(context.as_str())?;
        let (schema, positions) = (Arc::clone(schema), positions.to_vec());
        // On a thread of its own, so that several are decoded at the same time.
        let decoded = tokio::task::spawn_blocking(move || decode(bytes, &schema, &positions, &context));
        decoded.await.context("a decoder stopped")?
    }
}

fn decode(bytes: Bytes, schema: &SchemaRef, positions: &[usize], context: &str) -> Result<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).context(context)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), positions.iter().copied());
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    let reader = builder.with_projection(mask).with_batch_size(rows.max(1)).build().context(context)?;
    // The reader gives columns in the order of the file.
    let mut sorted = positions.to_vec();
    sorted.sort_unstable();
    let in_file: SchemaRef =
        Arc::new(Schema::new(sorted.iter().map(|index| schema.field(*index).clone()).collect::<Vec<_>>()));
    let batches = reader
        .map(|batch| RecordBatch::try_new(Arc::clone(&in_file), batch?.columns().to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .context(context)?;
    let all = concat_batches(&in_file, &batches).context(context)?;
    let order: Vec<usize> =
        positions.iter().filter_map(|position| sorted.iter().position(|found| found == position)).collect();
    all.project(&order).context(context)
}
