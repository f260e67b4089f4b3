//! The file-system calls whose order is the durability promise, behind a trait: tests put a disk
//! there that fails at a chosen call, or loses at a chosen call whatever was not fsynced. Reads are
//! not among them, because they promise nothing. Never decides when to fsync, and never tries again.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Bytes of a file that are in memory at once while it is copied.
const COPY_BYTES: u64 = 1 << 20;

/// Makes names and removes them. A name lasts only once its directory is synced; until then power
/// loss may undo what was done to it, or not.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a directory in one that is there; `AlreadyExists` if the name is taken.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Opens an empty file, emptying the one that has the name.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an empty file under a name that is free; `AlreadyExists` if it is taken. What else goes
    /// by another name of the same file is safe from this one.
    fn create_new_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, for writing; its bytes stay.
    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Moves a name over another one: at every moment, and after power loss, the new name shows the
    /// old file or the new one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file one more name; `AlreadyExists` if that is taken.
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()>;

    /// Takes a name away, and with a file's last name the file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// After `Ok`, what was done to names directly in the directory survives power loss.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// A file that is open for writing. Nothing that was written lasts before a sync reports success;
/// after a sync that failed, a later one that succeeds says nothing about the bytes of the first.
pub trait DiskFile: fmt::Debug + Send {
    /// Writes all the bytes at the offset; after an error, some of them may be there.
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to a length, or pads it with zeros.
    fn set_length(&mut self, bytes: u64) -> io::Result<()>;

    /// After `Ok`, bytes and length survive power loss.
    fn sync_data(&mut self) -> io::Result<()>;

    /// After `Ok`, bytes, length and all else that is known of the file survive power loss.
    fn sync_all(&mut self) -> io::Result<()>;
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(OpenOptions::new().write(true).create(true).truncate(true), path)
    }

    fn create_new_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(OpenOptions::new().write(true).create_new(true), path)
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open(OpenOptions::new().write(true), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        fs::hard_link(original, link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

fn open(options: &OpenOptions, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    Ok(Box::new(SystemFile(options.open(path)?)))
}

#[derive(Debug)]
struct SystemFile(File);

impl DiskFile for SystemFile {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)
    }

    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Makes the directory and those above it that are missing, and syncs each into its own parent. That
/// one is there proves nothing: the sync after it was made may have failed, or never happened.
pub fn create_directories(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let Some(parent) = directory.parent().filter(|_| directory != Path::new(".")) else { return Ok(()) };
    // The parent of a relative path's first part is written as nothing.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    create_directories(disk, parent)?;
    if !directory.is_dir() {
        return create_directory_durably(disk, parent, directory);
    }
    match disk.sync_directory(parent) {
        // Where this process could not have made it, somebody else did, and long ago.
        Err(error) if is_closed(error.kind()) => Ok(()),
        synced => synced,
    }
}

/// Makes one directory, unless it is there, and syncs it into its parent in any case.
pub fn create_directory_durably(disk: &dyn Disk, parent: &Path, directory: &Path) -> io::Result<()> {
    match disk.create_directory(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => disk.sync_directory(parent),
    }
}

/// Writes a small file under a name of the directory, which shows all of it or what it showed before.
pub fn write_durably(disk: &dyn Disk, directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let staging = directory.join(format!("{name}.new"));
    let mut file = disk.create_file(&staging)?;
    file.write_all_at(0, text.as_bytes())?;
    file.sync_all()?;
    disk.rename(&staging, &directory.join(name))?;
    disk.sync_directory(directory)
}

/// Copies the first bytes of a file to a name that is free, and syncs them. The name lasts once its
/// directory is synced; `UnexpectedEof` if the file is shorter.
pub fn copy_file(disk: &dyn Disk, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = disk.create_new_file(to)?;
    let mut buffer = Vec::new();
    let mut offset = 0;
    while offset < bytes {
        buffer.resize(COPY_BYTES.min(bytes - offset) as usize, 0);
        source.read_exact(&mut buffer)?;
        copy.write_all_at(offset, &buffer)?;
        offset += buffer.len() as u64;
    }
    copy.sync_all()
}

/// Whether a directory cannot be synced because of what it is, and not because its disk is failing.
fn is_closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}
