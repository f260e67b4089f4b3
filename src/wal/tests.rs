//! The log written, damaged in every way, and read again.

mod frames;
mod quarantine;
mod recovery;
mod writing;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Int64Array, MapArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
        new_null_array,
    },
    datatypes::{Field, Schema},
};
use tempfile::TempDir;

use super::{
    reader::{Content, read_segment},
    segment::{
        FLAGS_REQUEST, FLAGS_TOMBSTONE, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES, segment_head, segment_path,
    },
    *,
};
use crate::{
    disk::{Disk, DiskFile, SystemDisk},
    error::{Error, Kind, Result},
    record::{Receipt, Table, col},
};

/// One segment takes it all.
const ONE_SEGMENT: u64 = 1 << 30;

/// The machine's disk without its fsyncs, which take most of the time and change nothing here.
#[derive(Debug)]
struct UnsyncedDisk;

impl Disk for UnsyncedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.create_directory(path)
    }
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.create_file(path)?)))
    }
    fn create_new_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.create_new_file(path)?)))
    }
    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.open_file(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        SystemDisk.hard_link(original, link)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_file(path)
    }
    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct UnsyncedFile(Box<dyn DiskFile>);

impl DiskFile for UnsyncedFile {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(offset, bytes)
    }
    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_length(bytes)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Rejected lines, the smallest rows there are.
fn rejects(marks: &[&str]) -> RecordBatch {
    let fields = Table::RejectedLogs.schema().fields();
    let schema = Arc::new(Schema::new(fields[..fields.len() - 1].to_vec()));
    let text = || Arc::new(StringViewArray::from_iter_values(marks)) as ArrayRef;
    let times = Arc::new(TimestampMicrosecondArray::from_value(1, marks.len())) as ArrayRef;
    let lines = Arc::new(Int64Array::from_iter_values(1..=marks.len() as i64)) as ArrayRef;
    RecordBatch::try_new(schema, vec![times, lines, text(), text()]).unwrap()
}

/// Rows of `agent_logs` where only these columns hold something.
fn logs(rows: usize, held: &[(&str, ArrayRef)]) -> RecordBatch {
    let fields = Table::AgentLogs.schema().fields();
    let fields = fields[..fields.len() - 1].to_vec();
    let column = |field: &Arc<Field>| match held.iter().find(|(name, _)| name == field.name()) {
        Some((_, column)) => Arc::clone(column),
        None if field.is_nullable() => new_null_array(field.data_type(), rows),
        None => Arc::new(TimestampMicrosecondArray::from_value(-5, rows)),
    };
    let columns = fields.iter().map(column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn frame(mark: &str) -> Frame {
    let sections = vec![Section { table: Table::RejectedLogs, batch: rejects(&[mark]) }];
    Frame { received_at_us: 7, receipt: None, accepted: 0, rejected: 1, sections }
}

fn pending(mark: &str) -> Pending {
    Pending::new(&frame(mark)).unwrap()
}

fn mark(frame: &Frame) -> String {
    let raw = frame.sections[0].batch.column_by_name(col::RAW).unwrap();
    raw.as_any().downcast_ref::<StringViewArray>().unwrap().value(0).to_owned()
}

/// What recovery hands out, as `seq:mark` words.
fn recovered(directory: &Path, after_seq: u64) -> Result<(String, Recovered)> {
    let mut words = Vec::new();
    let recovered = recover(&UnsyncedDisk, directory, after_seq, |seq, frame| {
        words.push(format!("{seq}:{}", mark(&frame)));
        Ok(())
    })?;
    Ok((words.join(" "), recovered))
}

/// Recovers, and goes on writing after it.
fn reopen(directory: &Path, segment_bytes_max: u64) -> (String, Writer) {
    let (words, recovered) = recovered(directory, 0).unwrap();
    let next_seq = recovered.last_seq + 1;
    (words, writer(directory, segment_bytes_max, Resume { segments: recovered.segments, next_seq }))
}

fn writer(directory: &Path, segment_bytes_max: u64, resume: Resume) -> Writer {
    Writer::new(Arc::new(UnsyncedDisk), directory, segment_bytes_max, resume)
}

/// What a writer of an empty log starts with.
fn from_the_start() -> Resume {
    Resume { segments: Vec::new(), next_seq: 1 }
}

/// A log of groups of marks, each group a list of words, each segment at most `segment_bytes_max`
/// and a group long.
fn log(segment_bytes_max: u64, groups: &[&str]) -> (TempDir, Writer) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path(), segment_bytes_max, from_the_start());
    for group in groups {
        append(&mut writer, group);
    }
    (directory, writer)
}

fn append(writer: &mut Writer, group: &str) -> u64 {
    let group: Vec<_> = group.split(' ').map(pending).collect();
    writer.append_group(&group).unwrap()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The offsets where the frames of a whole segment start, and its end.
fn frame_offsets(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let end = read_segment(Path::new("whole.wal"), bytes, true, &mut |frame, _| {
        offsets.push(frame.offset);
        Ok(())
    });
    assert_eq!(end.unwrap(), bytes.len());
    offsets.push(bytes.len());
    offsets
}

fn seqs(bytes: &[u8], is_last: bool) -> (Vec<u64>, Result<usize>) {
    let mut seqs = Vec::new();
    let end = read_segment(Path::new("damaged.wal"), bytes, is_last, &mut |frame, content| {
        let Content::Request(payload) = content else { panic!("no frame was quarantined") };
        Frame::decode(payload)?;
        seqs.push(frame.head.seq);
        Ok(())
    });
    (seqs, end)
}

#[track_caller]
fn check_error(error: &Error, kind: Kind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part} is missing: {error}");
    }
}
