//! One frame's payload: to bytes and back. Never touches a file.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::{DataType, SchemaRef},
    ipc::{
        MetadataVersion,
        reader::StreamReader,
        writer::{IpcWriteOptions, StreamWriter},
    },
};

use crate::{
    error::{Context, Error, Kind, Result},
    record::{Receipt, Table},
};

/// No receipt; 16 bytes follow all the same.
const RECEIPT_NONE: u8 = 0;
/// The identity follows.
const RECEIPT: u8 = 1;
/// The identity follows, and the body's digest.
const RECEIPT_WITH_BODY: u8 = 2;

/// One accepted request.
#[derive(Debug, Clone)]
pub struct Frame {
    /// µs since the epoch, UTC.
    pub received_at_us: i64,
    /// The batch's identity, where it has one.
    pub receipt: Option<Receipt>,
    /// Records stored.
    pub accepted: u32,
    /// Lines rejected.
    pub rejected: u32,
    /// The rows, by table; each table at most once.
    pub sections: Vec<Section>,
}

/// The rows of one table.
#[derive(Debug, Clone)]
pub struct Section {
    /// The table.
    pub table: Table,
    /// Rows in the table's schema without `ingest_seq`, which is the frame's seq.
    pub batch: RecordBatch,
}

impl Frame {
    /// The payload.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let rows_bytes: usize = self.sections.iter().map(|section| section.batch.get_array_memory_size()).sum();
        let mut payload = Vec::with_capacity(rows_bytes + 4_096);
        payload.extend_from_slice(&self.received_at_us.to_le_bytes());
        let body = self.receipt.and_then(|receipt| receipt.body);
        payload.push(match (self.receipt, body) {
            (None, _) => RECEIPT_NONE,
            (Some(_), None) => RECEIPT,
            (Some(_), Some(_)) => RECEIPT_WITH_BODY,
        });
        payload.extend_from_slice(&self.receipt.map(|receipt| receipt.identity).unwrap_or_default());
        payload.extend_from_slice(body.as_ref().map_or(&[][..], |body| body));
        payload.extend_from_slice(&self.accepted.to_le_bytes());
        payload.extend_from_slice(&self.rejected.to_le_bytes());
        payload.push(u8::try_from(self.sections.len()).kind_context(Kind::Internal, || "too many sections".into())?);
        for section in &self.sections {
            section.encode(&mut payload)?;
        }
        Ok(payload)
    }

    /// A frame from its payload, whose CRC was checked.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let mut cursor = Cursor { rest: payload };
        let received_at_us = i64::from_le_bytes(cursor.array()?);
        let form = cursor.byte()?;
        let identity = cursor.array()?;
        let body = if form == RECEIPT_WITH_BODY { Some(cursor.array()?) } else { None };
        let receipt = (form != RECEIPT_NONE).then_some(Receipt { identity, body });
        let accepted = u32::from_le_bytes(cursor.array()?);
        let rejected = u32::from_le_bytes(cursor.array()?);
        let sections = (0..cursor.byte()?).map(|_| Section::decode(&mut cursor)).collect::<Result<_>>()?;
        if !cursor.rest.is_empty() {
            return Err(Error::new(Kind::Corrupt, "bytes follow the last section of a WAL frame"));
        }
        Ok(Self { received_at_us, receipt, accepted, rejected, sections })
    }
}

impl Section {
    fn encode(&self, payload: &mut Vec<u8>) -> Result<()> {
        let kept: Vec<usize> = (0..self.batch.num_columns())
            .filter(|index| {
                let column = self.batch.column(*index);
                column.null_count() < column.len()
            })
            .collect();
        let batch = self.batch.project(&kept).context("cannot leave out a batch's null columns")?;
        payload.push(self.table.wal_tag());
        payload.extend_from_slice(&u32_len(self.batch.num_rows())?.to_le_bytes());
        let length_at = payload.len();
        payload.extend_from_slice(&[0; 4]);
        // 8-byte alignment is the least the format allows: a one-line request stays small.
        let options =
            IpcWriteOptions::try_new(8, false, MetadataVersion::V5).context("cannot set up the WAL's encoding")?;
        let mut writer = StreamWriter::try_new_with_options(&mut *payload, &batch.schema(), options)
            .context("cannot start a WAL section")?;
        writer.write(&batch).context("cannot encode a WAL section")?;
        writer.finish().context("cannot end a WAL section")?;
        drop(writer);
        let length = u32_len(payload.len() - length_at - 4)?;
        payload[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self> {
        let tag = cursor.byte()?;
        let table = Table::from_wal_tag(tag).ok_or_else(|| {
            Error::new(
                Kind::Conflict,
                format!(
                    "the WAL holds a table (tag {tag}) that this version does not know: start the version that wrote it"
                ),
            )
        })?;
        let rows = u32::from_le_bytes(cursor.array()?) as usize;
        let length = u32::from_le_bytes(cursor.array()?) as usize;
        let bytes = cursor.take(length)?;
        let corrupt = || "a WAL section is not Arrow IPC".to_owned();
        let mut reader = StreamReader::try_new(bytes, None).kind_context(Kind::Corrupt, corrupt)?;
        let sent = reader
            .next()
            .ok_or_else(|| Error::new(Kind::Corrupt, "a WAL section holds no batch"))?
            .kind_context(Kind::Corrupt, corrupt)?;
        if sent.num_rows() != rows {
            return Err(Error::new(Kind::Corrupt, "a WAL section holds another number of rows than it says"));
        }
        Ok(Self { table, batch: conform(table, &sent, rows)? })
    }
}

/// The batch in today's schema of the table, without `ingest_seq`: missing columns are null.
fn conform(table: Table, sent: &RecordBatch, rows: usize) -> Result<RecordBatch> {
    let schema = stored_schema(table);
    let columns = schema
        .fields()
        .iter()
        .map(|field| match sent.column_by_name(field.name()) {
            Some(column) => widen(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows)),
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .kind_context(Kind::Corrupt, || "a WAL section does not fit its table".into())
}

fn widen(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    arrow::compute::cast(column, data_type)
        .kind_context(Kind::Corrupt, || format!("a WAL column cannot become {data_type}"))
}

/// The table's schema without `ingest_seq`, its last column.
fn stored_schema(table: Table) -> SchemaRef {
    let fields = table.schema().fields();
    Arc::new(arrow::datatypes::Schema::new(fields[..fields.len() - 1].to_vec()))
}

fn u32_len(length: usize) -> Result<u32> {
    u32::try_from(length).kind_context(Kind::TooLarge, || "a WAL frame is limited to 4 GiB".into())
}

/// Reads fixed parts off the front; running out means damage, never a panic.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| Error::new(Kind::Corrupt, "a WAL frame ends in the middle of a field"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }
}
