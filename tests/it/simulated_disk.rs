//! A disk that counts its steps, fails at the one it is told, and knows at each what power loss
//! would leave: of a file the bytes of its last sync, of a directory the names of its last sync.
//! What it does it also does for real, below a directory, so that everybody else can read there; it
//! only never waits for the machine's own disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use driftline::disk::{Disk, DiskFile, SystemDisk};

/// `EIO`.
pub const INPUT_OUTPUT: i32 = 5;
/// `ENOSPC`.
pub const NO_SPACE: i32 = 28;

/// What survives of that which was not synced; a disk may keep any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    DropUnsynced,
    /// The names: what was made, moved and removed, but none of the bytes.
    NamesOnly,
    /// Of some directories the names, of some files the bytes, of some files half of them: drawn by
    /// lot from this number.
    Mixed(u64),
}

/// The disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    /// What was asked for, in order.
    history: Vec<String>,
    power_loss: Option<u64>,
    errors: Option<(Range<u64>, i32)>,
    /// Once the power is gone: the files that are not this disk's, as they were then.
    left: Option<Vec<(PathBuf, Vec<u8>)>>,
    files: Vec<Content>,
    names: Names,
    synced: Names,
}

/// Names of files and of directories.
#[derive(Debug, Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
}

/// A file without its names.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Where it was written since the last sync, well or badly ended.
    dirty: Vec<Range<usize>>,
}

impl SimulatedDisk {
    /// A disk below a directory that is there, and has all that is in it.
    pub fn new(root: &Path) -> Self {
        let names = Names { files: BTreeMap::new(), directories: directories_below(root) };
        let state = State {
            root: root.to_owned(),
            history: Vec::new(),
            power_loss: None,
            errors: None,
            left: None,
            files: Vec::new(),
            synced: names.clone(),
            names,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// As what a room takes.
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The step with this number, counted from 0, and all after it never happen.
    pub fn lose_power_at(&self, step: u64) {
        self.state().power_loss = Some(step);
    }

    /// These steps fail. A write that fails writes half; a sync that fails forgets what it should have
    /// synced, as a kernel does; all else that fails does nothing.
    pub fn fail_at(&self, steps: Range<u64>, code: i32) {
        self.state().errors = Some((steps, code));
    }

    /// No step fails any more.
    pub fn heal(&self) {
        self.state().errors = None;
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.state().history.len() as u64
    }

    /// What was asked for at each step.
    pub fn history(&self) -> Vec<String> {
        self.state().history.clone()
    }

    /// Changes a byte that was synced, as a bad sector would.
    pub fn flip(&self, path: &Path, offset: usize) {
        let mut state = self.state();
        let file = state.known(path).unwrap();
        let content = &mut state.files[file];
        content.bytes[offset] ^= 1;
        content.synced[offset] ^= 1;
        fs::write(path, &content.bytes).unwrap();
    }

    /// Writes down what power loss leaves: now, or when it was lost. Files of others are as they were.
    pub fn materialise(&self, into: &Path, mode: Mode) {
        let state = self.state();
        let at = |path: &Path| into.join(path.strip_prefix(&state.root).unwrap());
        let survived = state.survived(mode);
        for directory in &survived.directories {
            fs::create_dir_all(at(directory)).unwrap();
        }
        let mut written: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (name, file) in &survived.files {
            // A name that no surviving directory holds cannot be reached.
            if !name
                .ancestors()
                .skip(1)
                .take_while(|above| *above != state.root)
                .all(|above| survived.directories.contains(above))
            {
                continue;
            }
            match written.get(file) {
                Some(first) => fs::hard_link(first, at(name)).unwrap(),
                None => {
                    fs::write(at(name), state.files[*file].survived(mode, *file)).unwrap();
                    written.insert(*file, at(name));
                }
            }
        }
        let others = state.left.clone().unwrap_or_else(|| state.others());
        for (path, bytes) in others {
            fs::create_dir_all(at(path.parent().unwrap())).unwrap();
            fs::write(at(&path), bytes).unwrap();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a step; does it, or what is left of it when it fails.
    fn step<T>(
        &self,
        what: &str,
        path: &Path,
        act: impl FnOnce(&mut State) -> io::Result<T>,
        fail: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = self.state();
        let step = state.history.len() as u64;
        let shown = path.strip_prefix(&state.root).unwrap().display().to_string();
        state.history.push(format!("{step} {what} {shown}"));
        if state.power_loss.is_some_and(|lost| step >= lost) {
            if state.left.is_none() {
                state.left = Some(state.others());
            }
            return Err(io::Error::other("there is no power"));
        }
        if let Some((_, code)) = state.errors.clone().filter(|(steps, _)| steps.contains(&step)) {
            fail(&mut state);
            return Err(io::Error::from_raw_os_error(code));
        }
        act(&mut state)
    }

    fn open(
        &self,
        what: &str,
        path: &Path,
        open: impl FnOnce(&Path) -> io::Result<File>,
    ) -> io::Result<Box<dyn DiskFile>> {
        let act = |state: &mut State| {
            let before = path.is_file().then(|| state.known(path)).transpose()?;
            let file = open(path)?;
            let content = before.unwrap_or_else(|| state.add(path, Content::default()));
            state.files[content].cut(file.metadata()?.len() as usize);
            let opened = SimulatedFile { disk: self.clone(), path: path.to_owned(), content, file };
            Ok(Box::new(opened) as Box<dyn DiskFile>)
        };
        self.step(what, path, act, |_| {})
    }
}

impl Disk for SimulatedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let act = |state: &mut State| {
            SystemDisk.create_directory(path)?;
            state.names.directories.insert(path.to_owned());
            Ok(())
        };
        self.step("create_directory", path, act, |_| {})
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open("create_file", path, |path| File::create(path))
    }

    fn create_new_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open("create_new_file", path, |path| File::create_new(path))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open("open_file", path, |path| File::options().write(true).open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let act = |state: &mut State| {
            state.known(from)?;
            if to.is_file() {
                // Power loss may bring it back.
                state.known(to)?;
            }
            SystemDisk.rename(from, to)?;
            let content = state.names.files.remove(from).unwrap();
            state.names.files.insert(to.to_owned(), content);
            Ok(())
        };
        self.step("rename to", to, act, |_| {})
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        let act = |state: &mut State| {
            let content = state.known(original)?;
            SystemDisk.hard_link(original, link)?;
            state.names.files.insert(link.to_owned(), content);
            Ok(())
        };
        self.step("hard_link as", link, act, |_| {})
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let act = |state: &mut State| {
            state.known(path)?;
            SystemDisk.remove_file(path)?;
            state.names.files.remove(path);
            Ok(())
        };
        self.step("remove_file", path, act, |_| {})
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if !path.starts_with(&self.state().root) {
            // Somebody else's disk.
            return Ok(());
        }
        let act = |state: &mut State| {
            assert!(path.is_dir(), "{} is no directory", path.display());
            let State { names, synced, .. } = state;
            let within = |name: &Path| name.parent() == Some(path);
            synced.files.retain(|name, _| !within(name));
            synced
                .files
                .extend(names.files.iter().filter(|(name, _)| within(name)).map(|(name, file)| (name.clone(), *file)));
            synced.directories.retain(|name| !within(name));
            synced.directories.extend(names.directories.iter().filter(|name| within(name)).cloned());
            Ok(())
        };
        // A failed sync does not forget names, unlike bytes: a file system that cannot write its own
        // journal goes read-only, it does not go on as if it had.
        self.step("sync_directory", path, act, |_| {})
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    content: usize,
    file: File,
}

impl SimulatedFile {
    fn sync(&mut self, what: &str) -> io::Result<()> {
        let content = self.content;
        let act = |state: &mut State| {
            state.files[content].sync();
            Ok(())
        };
        self.disk.step(what, &self.path, act, |state| state.files[content].dirty.clear())
    }
}

impl DiskFile for SimulatedFile {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (content, file) = (self.content, &self.file);
        let write = |state: &mut State, bytes: &[u8]| {
            state.files[content].write(offset as usize, bytes);
            (&*file).seek(SeekFrom::Start(offset))?;
            (&*file).write_all(bytes)
        };
        let half = |state: &mut State| write(state, &bytes[..bytes.len() / 2]).unwrap();
        self.disk.step("write", &self.path, |state| write(state, bytes), half)
    }

    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        let act = |state: &mut State| {
            state.files[self.content].cut(bytes as usize);
            self.file.set_len(bytes)
        };
        self.disk.step("set_length", &self.path, act, |_| {})
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync("sync_data")
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync("sync_all")
    }
}

impl State {
    /// The file of this name. One that somebody else made was there for ever.
    fn known(&mut self, path: &Path) -> io::Result<usize> {
        if let Some(content) = self.names.files.get(path) {
            return Ok(*content);
        }
        let bytes = fs::read(path)?;
        let content = self.add(path, Content { synced: bytes.clone(), bytes, dirty: Vec::new() });
        self.synced.files.insert(path.to_owned(), content);
        Ok(content)
    }

    fn add(&mut self, path: &Path, content: Content) -> usize {
        self.files.push(content);
        self.names.files.insert(path.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn survived(&self, mode: Mode) -> Names {
        let keeps = |directory: &Path| match mode {
            Mode::DropUnsynced => false,
            Mode::NamesOnly => true,
            Mode::Mixed(seed) => {
                directory.as_os_str().as_encoded_bytes().iter().fold(seed, |seed, byte| lot(seed, u64::from(*byte))) % 2
                    == 0
            }
        };
        let kept = |name: &&PathBuf| name.parent().is_none_or(keeps);
        let dropped = |name: &&PathBuf| !kept(name);
        let mut survived = Names::default();
        for (names, keep) in [(&self.names, &kept as &dyn Fn(&&PathBuf) -> bool), (&self.synced, &dropped)] {
            survived
                .files
                .extend(names.files.iter().filter(|(name, _)| keep(name)).map(|(name, file)| (name.clone(), *file)));
            survived.directories.extend(names.directories.iter().filter(keep).cloned());
        }
        survived.directories.insert(self.root.clone());
        survived
    }

    /// Files below the root that were not made through this disk.
    fn others(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut others = Vec::new();
        for directory in directories_below(&self.root) {
            for path in entries(&directory) {
                // SQLite removes its own files when it likes.
                if !path.is_dir()
                    && !self.names.files.contains_key(&path)
                    && let Ok(bytes) = fs::read(&path)
                {
                    others.push((path, bytes));
                }
            }
        }
        others
    }
}

/// The directory and all below it.
fn directories_below(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        waiting.extend(entries(&directory).filter(|path| path.is_dir()));
        found.insert(directory);
    }
    found
}

/// What is in a directory; nothing, if the test that made it is over.
fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path())
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if offset == self.bytes.len() {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes.resize(self.bytes.len().max(end), 0);
            self.bytes[offset..end].copy_from_slice(bytes);
        }
        self.dirty.push(offset..end);
    }

    fn cut(&mut self, bytes: usize) {
        self.bytes.resize(bytes, 0);
    }

    fn sync(&mut self) {
        self.synced = self.part(|dirty| dirty);
        self.dirty.clear();
    }

    /// The synced bytes, as long as the file is now, and of each dirty range what is chosen.
    fn part(&self, chosen: impl Fn(Range<usize>) -> Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes.len()];
        let kept = self.synced.len().min(bytes.len());
        bytes[..kept].copy_from_slice(&self.synced[..kept]);
        for dirty in &self.dirty {
            let range = chosen(dirty.start.min(bytes.len())..dirty.end.min(bytes.len()));
            bytes[range.clone()].copy_from_slice(&self.bytes[range]);
        }
        bytes
    }

    fn survived(&self, mode: Mode, file: usize) -> Vec<u8> {
        let Mode::Mixed(seed) = mode else { return self.synced.clone() };
        match lot(seed, file as u64) % 4 {
            0 => self.synced.clone(),
            1 => self.bytes.clone(),
            2 => self.part(|dirty| dirty.start..dirty.start + dirty.len() / 2),
            _ => self.part(|dirty| dirty.start + dirty.len() / 2..dirty.end),
        }
    }
}

/// A number that looks like chance and is not.
pub fn lot(seed: u64, index: u64) -> u64 {
    let mixed = (seed ^ index.rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
}
