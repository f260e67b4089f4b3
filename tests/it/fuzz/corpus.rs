//! The corpus below `testdata/fuzz`, in the order of names. Never changes a file.

use std::{fs, path::PathBuf};

use super::damage::Log;

/// One input of the corpus.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The corpus' directory.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/fuzz")
}

/// The files of a target.
pub fn entries(target: &str) -> Vec<Entry> {
    let found: Vec<Entry> = paths(target)
        .into_iter()
        .map(|path| Entry { name: path.display().to_string(), bytes: fs::read(&path).unwrap() })
        .collect();
    assert!(found.len() > 5, "testdata/fuzz/{target} has lost its files");
    found
}

/// The lines of a target's files, each an input.
pub fn lines(target: &str) -> Vec<Entry> {
    let mut lines = Vec::new();
    for Entry { name, bytes } in entries(target) {
        let of_file = bytes.split(|byte| *byte == b'\n').map(|line| Entry { name: name.clone(), bytes: line.to_vec() });
        lines.extend(of_file);
    }
    lines
}

/// The logs: a directory each.
pub fn logs() -> Vec<Log> {
    let logs: Vec<Log> = paths("wal").into_iter().map(|path| Log::read(&path)).collect();
    assert!(logs.len() > 5, "testdata/fuzz/wal has lost its logs");
    logs
}

fn paths(target: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(root().join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
