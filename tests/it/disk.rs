//! The log and the store alone, on a disk that fails or loses its power at each of their steps.
//! The whole store is in `power.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use driftline::{
    disk::{Disk, SystemDisk, create_directories},
    error::Result,
    lake::{FsyncStore, Storage},
    wal::{self, Frame, Pending, Resume, Writer},
};
use futures::TryStreamExt;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, path::Path as ObjectPath};
use tempfile::TempDir;

use crate::simulated_disk::{INPUT_OUTPUT, Mode, NO_SPACE, SimulatedDisk};

/// What power loss may leave.
pub const MODES: [Mode; 5] = [Mode::DropUnsynced, Mode::NamesOnly, Mode::Mixed(1), Mode::Mixed(2), Mode::Mixed(3)];

/// An empty directory with a disk over it.
pub fn empty() -> (TempDir, PathBuf, SimulatedDisk) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let disk = SimulatedDisk::new(&root);
    (directory, root, disk)
}

/// What is left in each mode, one directory after the other.
fn after_power_loss(disk: &SimulatedDisk, check: impl Fn(&Path, &str)) {
    for mode in MODES {
        let left = tempfile::tempdir().unwrap();
        disk.materialise(left.path(), mode);
        check(left.path(), &format!("{mode:?} after {:#?}", disk.history()));
    }
}

#[test]
fn a_disk_loses_what_was_not_synced() {
    let (_directory, root, disk) = empty();
    let left = |mode| {
        let left = tempfile::tempdir().unwrap();
        disk.materialise(left.path(), mode);
        let mut files: Vec<_> = fs::read_dir(left.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| format!("{}={}", path.file_name().unwrap().display(), fs::read_to_string(&path).unwrap()))
            .collect();
        files.sort();
        files.join(" ")
    };
    let check = |dropped: &str, names_only: &str| {
        assert_eq!((left(Mode::DropUnsynced).as_str(), left(Mode::NamesOnly).as_str()), (dropped, names_only));
    };
    let (a, b, c) = (root.join("a"), root.join("b"), root.join("c"));
    fs::write(root.join("other"), "x").unwrap();
    let mut file = disk.create_file(&a).unwrap();
    file.write_all_at(0, b"12").unwrap();
    check("other=x", "a= other=x");
    file.sync_all().unwrap();
    check("other=x", "a=12 other=x");
    disk.sync_directory(&root).unwrap();
    file.write_all_at(2, b"34").unwrap();
    file.set_length(3).unwrap();
    check("a=12 other=x", "a=12 other=x");
    file.sync_data().unwrap();
    disk.rename(&a, &b).unwrap();
    disk.hard_link(&b, &c).unwrap();
    check("a=123 other=x", "b=123 c=123 other=x");
    disk.remove_file(&b).unwrap();
    disk.sync_directory(&root).unwrap();
    check("c=123 other=x", "c=123 other=x");
    assert_eq!(disk.create_new_file(&c).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);

    // A sync that fails has forgotten the bytes, and the next one does not know of them.
    let step = disk.steps();
    disk.fail_at(step + 1..step + 2, INPUT_OUTPUT);
    file.write_all_at(0, b"789").unwrap();
    assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(INPUT_OUTPUT));
    file.sync_all().unwrap();
    check("c=123 other=x", "c=123 other=x");
    // Writing them again helps. A write that fails does half of it.
    disk.fail_at(step + 4..step + 5, NO_SPACE);
    file.write_all_at(0, b"789").unwrap();
    assert_eq!(file.write_all_at(3, b"45").unwrap_err().raw_os_error(), Some(NO_SPACE));
    file.sync_all().unwrap();
    check("c=7894 other=x", "c=7894 other=x");
    assert_eq!(fs::read_to_string(&c).unwrap(), "7894");

    disk.lose_power_at(disk.steps());
    assert!(file.write_all_at(0, b"x").is_err() && disk.remove_file(&c).is_err());
    fs::write(root.join("other"), "y").unwrap();
    check("c=7894 other=x", "c=7894 other=x");
}

/// What a log was told and what it said.
#[derive(Debug, Default)]
struct Told {
    /// Every batch that was sent.
    sent: BTreeSet<i64>,
    /// The batches that were acknowledged, by seq.
    acknowledged: BTreeMap<u64, i64>,
    /// The log may forget so far.
    forgotten: u64,
}

fn pending(id: i64) -> Pending {
    let frame = Frame { received_at_us: id, receipt: None, accepted: 0, rejected: 0, sections: Vec::new() };
    Pending::new(&frame).unwrap()
}

/// What a log holds above a seq: seq and batch.
fn recovered(disk: &dyn Disk, log: &Path, after_seq: u64) -> Result<(BTreeMap<u64, i64>, Resume)> {
    let mut found = BTreeMap::new();
    let recovered = wal::recover(disk, log, after_seq, |seq, frame| {
        assert!(found.insert(seq, frame.received_at_us).is_none());
        Ok(())
    })?;
    let next_seq = recovered.last_seq.max(after_seq) + 1;
    Ok((found, Resume { segments: recovered.segments, next_seq }))
}

/// Opens the log and writes groups into it, over several segments; forgets some. A group that fails
/// is not sent again.
fn write_log(disk: &SimulatedDisk, log: &Path, told: &mut Told, first_id: i64) -> Result<()> {
    if let Err(error) = create_directories(disk, log) {
        return Err(driftline::error::Error::new(driftline::error::Kind::Internal, error.to_string()));
    }
    let (found, resume) = recovered(disk, log, told.forgotten)?;
    // What a restart finds, it tells others of: it counts as acknowledged.
    told.acknowledged.extend(found);
    let mut writer = Writer::new(disk.shared(), log, 250, resume);
    let mut id = first_id;
    for (turn, frames) in [1, 3, 1, 2, 1, 1, 4, 1, 1, 1, 1, 1].into_iter().enumerate() {
        let ids: Vec<i64> = (id..id + frames).collect();
        id += frames;
        told.sent.extend(&ids);
        if let Ok(first_seq) = writer.append_group(&ids.iter().map(|id| pending(*id)).collect::<Vec<_>>()) {
            told.acknowledged.extend((first_seq..).zip(ids));
        }
        if turn == 3 || turn == 7 {
            // Half of what is acknowledged is committed somewhere else by now.
            told.forgotten = told.acknowledged.keys().copied().max().unwrap_or(0) / 2;
            let _ = writer.forget_through(told.forgotten);
        }
    }
    Ok(())
}

/// Everything acknowledged is there, in its place, once; nothing is there that was not sent; and the
/// log goes on.
fn check_log(disk: &dyn Disk, log: &Path, told: &Told, context: &str) {
    create_directories(disk, log).unwrap();
    let (found, resume) =
        recovered(disk, log, told.forgotten).unwrap_or_else(|error| panic!("{}: {context}", error.chain()));
    for (seq, id) in told.acknowledged.range(told.forgotten + 1..) {
        assert_eq!(found.get(seq), Some(id), "seq {seq} is lost: {context}");
    }
    let ids: BTreeSet<i64> = found.values().copied().collect();
    assert!(ids.len() == found.len() && ids.is_subset(&told.sent), "{found:?}: {context}");
    let next_seq = resume.next_seq;
    let mut writer = Writer::new(Arc::new(SystemDisk), log, 250, resume);
    assert_eq!(writer.append_group(&[pending(-1)]).unwrap(), next_seq, "{context}");
    assert_eq!(recovered(&SystemDisk, log, next_seq - 1).unwrap().0, BTreeMap::from([(next_seq, -1)]), "{context}");
}

#[test]
fn a_log_survives_power_loss_at_every_step() {
    for lost_at in 0.. {
        let (_directory, root, disk) = empty();
        disk.lose_power_at(lost_at);
        let mut told = Told::default();
        let opened = write_log(&disk, &root.join("data/wal"), &mut told, 1);
        assert!(opened.is_ok() || told.acknowledged.is_empty());
        let is_over = disk.steps() <= lost_at;
        assert_eq!(is_over, told.acknowledged.len() == 18, "{told:?}");
        after_power_loss(&disk, |left, context| check_log(&SystemDisk, &left.join("data/wal"), &told, context));
        if is_over {
            return assert!(lost_at > 60, "the log was written in {lost_at} steps");
        }
    }
}

/// After an error, the process goes on or starts again, and then the power goes.
#[test]
fn a_log_survives_an_error_at_every_step() {
    for code in [INPUT_OUTPUT, NO_SPACE] {
        for failed_at in 0.. {
            let (_directory, root, disk) = empty();
            let log = root.join("data/wal");
            disk.fail_at(failed_at..failed_at + 1, code);
            let mut told = Told::default();
            let _ = write_log(&disk, &log, &mut told, 1);
            let is_over = disk.steps() <= failed_at;
            let check = |told: &Told| {
                after_power_loss(&disk, |left, context| check_log(&SystemDisk, &left.join("data/wal"), told, context));
            };
            check(&told);
            if is_over {
                break;
            }
            let again = write_log(&disk, &log, &mut told, 100);
            again.unwrap_or_else(|error| panic!("{}: {:#?}", error.chain(), disk.history()));
            check(&told);
        }
    }
}

/// The kernel of the machine may call a page clean that a failed fsync did not write. Whoever reads
/// it after a restart sees whole frames, and must not tell anybody before they are written again.
#[test]
fn what_a_restart_finds_after_a_failed_fsync_lasts() {
    let (_directory, root, disk) = empty();
    let log = root.join("data/wal");
    create_directories(&disk, &log).unwrap();
    let mut writer = Writer::new(disk.shared(), &log, 10_000, Resume { segments: Vec::new(), next_seq: 1 });
    writer.append_group(&[pending(1)]).unwrap();
    let step = disk.steps();
    disk.fail_at(step + 4..step + 5, INPUT_OUTPUT);
    let error = writer.append_group(&[pending(2), pending(3)]).unwrap_err();
    assert!(error.chain().contains("cannot fsync"), "{}", error.chain());
    assert!(writer.is_poisoned());
    let refused = writer.append_group(&[pending(4)]).unwrap_err();
    assert!(refused.to_string().contains("takes no more writes"), "{refused}");
    assert_eq!(disk.steps(), step + 5, "a poisoned log touches nothing");
    let told = Told { sent: (1..=4).collect(), acknowledged: BTreeMap::from([(1, 1)]), forgotten: 0 };
    after_power_loss(&disk, |left, context| check_log(&SystemDisk, &left.join("data/wal"), &told, context));

    let found = recovered(&disk, &log, 0).unwrap().0;
    assert_eq!(found, BTreeMap::from([(1, 1), (2, 2), (3, 3)]));
    let told = Told { acknowledged: found, ..told };
    after_power_loss(&disk, |left, context| check_log(&SystemDisk, &left.join("data/wal"), &told, context));
}

#[test]
fn a_quarantine_survives_power_loss_at_every_step() {
    for lost_at in 0.. {
        let (_directory, root, disk) = empty();
        let log = root.join("wal");
        let mut told = Told::default();
        write_log(&disk, &log, &mut told, 1).unwrap();
        let mut paths: Vec<_> = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 3, "{paths:?}");
        // A frame of each of two segments that are not forgotten.
        let damaged = &paths[1..3];
        for path in damaged {
            disk.flip(path, 20);
        }
        let before: Vec<_> = damaged.iter().map(|path| fs::read(path).unwrap()).collect();
        disk.lose_power_at(disk.steps() + lost_at);
        let quarantined = wal::quarantine(&disk, &log, told.forgotten);
        after_power_loss(&disk, |left, context| {
            let log = left.join("wal");
            wal::quarantine(&SystemDisk, &log, told.forgotten).unwrap();
            let whole = recovered(&SystemDisk, &log, told.forgotten).unwrap().0;
            let above = told.acknowledged.range(told.forgotten + 1..);
            let missing: Vec<u64> = above.map(|(seq, _)| *seq).filter(|seq| !whole.contains_key(seq)).collect();
            assert_eq!(missing, [9, 14], "{context}");
            for (path, before) in damaged.iter().zip(&before) {
                let aside = log.join("quarantine").join(path.file_name().unwrap());
                assert_eq!(&fs::read(aside).unwrap(), before, "{context}");
            }
        });
        if let Ok(quarantined) = quarantined {
            assert_eq!(quarantined.losses.len(), 2);
            return assert!(lost_at > 12, "the quarantine took {lost_at} steps");
        }
    }
}

/// What a name may show: the last that was acknowledged, or what came after it.
#[derive(Debug, Default)]
struct Shown {
    names: BTreeMap<String, Vec<Option<String>>>,
}

impl Shown {
    fn asked(&mut self, name: &str, content: Option<&str>) {
        self.names.entry(name.to_owned()).or_insert_with(|| vec![None]).push(content.map(str::to_owned));
    }

    fn answered(&mut self, name: &str) {
        let contents = self.names.get_mut(name).unwrap();
        // A deletion may be undone: what is deleted is named by nobody.
        if contents.last().is_some_and(Option::is_some) {
            contents.drain(..contents.len() - 1);
        }
    }
}

/// One thing that is asked of a store.
enum Ask {
    Put(&'static str, &'static str),
    Create(&'static str, &'static str),
    Parts(&'static str, [&'static str; 3]),
    Copy(&'static str, &'static str, &'static str),
    Delete(&'static str),
}

const ASKED: [Ask; 10] = [
    Ask::Put("t/date=1/one.parquet", "one"),
    Ask::Create("t/_delta_log/0.json", "zero"),
    Ask::Parts("t/date=2/parts.parquet", ["first,", "second,", "third"]),
    Ask::Copy("t/date=1/one.parquet", "t/date=3/copy.parquet", "one"),
    Ask::Put("t/date=1/one.parquet", "one and more"),
    Ask::Create("t/_delta_log/1.json", "next"),
    Ask::Delete("t/date=3/copy.parquet"),
    Ask::Put("t/_delta_log/last", "1"),
    Ask::Create("t/_delta_log/2.json", "after"),
    Ask::Put("t/_delta_log/last", "2"),
];

impl Ask {
    fn name(&self) -> &'static str {
        match self {
            Ask::Put(name, _)
            | Ask::Create(name, _)
            | Ask::Parts(name, _)
            | Ask::Copy(_, name, _)
            | Ask::Delete(name) => name,
        }
    }

    fn content(&self) -> Option<String> {
        match self {
            Ask::Put(_, content) | Ask::Create(_, content) | Ask::Copy(_, _, content) => Some((*content).to_owned()),
            Ask::Parts(_, parts) => Some(parts.concat()),
            Ask::Delete(_) => None,
        }
    }

    async fn of(&self, store: &dyn ObjectStore, at: impl Fn(&str) -> ObjectPath) -> object_store::Result<()> {
        match self {
            Ask::Put(name, content) => store.put(&at(name), (*content).into()).await.map(drop),
            Ask::Create(name, content) => {
                store.put_opts(&at(name), (*content).into(), PutMode::Create.into()).await.map(drop)
            }
            Ask::Parts(name, parts) => {
                let mut upload = store.put_multipart(&at(name)).await?;
                // Written in another order than they were put.
                let [first, second, third] = parts.map(|part| upload.put_part(part.into()));
                let written = async { third.await.and(first.await).and(second.await) }.await;
                match written {
                    Ok(()) => upload.complete().await.map(drop),
                    Err(error) => {
                        let _ = upload.abort().await;
                        Err(error)
                    }
                }
            }
            Ask::Copy(from, to, _) => store.copy(&at(from), &at(to)).await,
            Ask::Delete(name) => store.delete(&at(name)).await,
        }
    }
}

fn within(root: &Path) -> impl Fn(&str) -> ObjectPath + use<> {
    let root = ObjectPath::from_absolute_path(root).unwrap();
    move |name| name.split('/').fold(root.clone(), |path, part| path.join(part))
}

/// What a store lists below a directory, with its content.
async fn listed(store: &dyn ObjectStore, root: &Path) -> object_store::Result<BTreeMap<String, String>> {
    let prefix = within(root)("t");
    let mut found = BTreeMap::new();
    for meta in store.list(Some(&prefix)).try_collect::<Vec<_>>().await? {
        let bytes = store.get(&meta.location).await?.bytes().await?;
        let name = format!("t{}", meta.location.as_ref().strip_prefix(prefix.as_ref()).unwrap());
        found.insert(name, String::from_utf8(bytes.to_vec()).unwrap());
    }
    Ok(found)
}

/// The tables that power loss left show what they may, and nothing half done stays.
async fn check_store(left: &Path, shown: &Shown, context: &str) {
    let root = left.join("tables").canonicalize().unwrap();
    let storage = Storage::local(&root).unwrap();
    let found = listed(storage.store.as_ref(), &root).await.unwrap();
    for (name, contents) in &shown.names {
        let content = found.get(name).cloned();
        assert!(contents.contains(&content), "{name} shows {content:?} and not one of {contents:?}: {context}");
    }
    assert!(found.keys().all(|name| shown.names.contains_key(name)), "{found:?}: {context}");
    let mut waiting = vec![root];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.to_string_lossy().contains('#'), "{} was left: {context}", path.display());
            waiting.extend(Some(path).filter(|path| path.is_dir()));
        }
    }
}

async fn check_every_mode(disk: &SimulatedDisk, shown: &Shown) {
    for mode in MODES {
        let left = tempfile::tempdir().unwrap();
        disk.materialise(left.path(), mode);
        check_store(left.path(), shown, &format!("{mode:?} after {:#?}", disk.history())).await;
    }
}

#[tokio::test]
async fn a_store_survives_power_loss_at_every_step() {
    for lost_at in 0.. {
        let (_directory, root, _) = empty();
        let root = root.join("tables");
        fs::create_dir(&root).unwrap();
        let disk = SimulatedDisk::new(root.parent().unwrap());
        disk.lose_power_at(lost_at);
        let store = FsyncStore::new(disk.shared(), &root);
        let mut shown = Shown::default();
        for ask in &ASKED {
            shown.asked(ask.name(), ask.content().as_deref());
            if ask.of(&store, within(&root)).await.is_err() {
                break;
            }
            shown.answered(ask.name());
        }
        check_every_mode(&disk, &shown).await;
        if disk.steps() <= lost_at {
            return assert!(lost_at > 60, "{lost_at} steps");
        }
    }
}

/// An error is tried again, as a flush is: if a listing shows by now what was asked for, it counts as
/// done, and must survive power loss. So must what a new process finds.
#[tokio::test]
async fn a_store_survives_an_error_at_every_step() {
    for (code, errors) in [(INPUT_OUTPUT, 1), (NO_SPACE, 1), (INPUT_OUTPUT, 4)] {
        for failed_at in 0.. {
            let (_directory, root, _) = empty();
            let root = root.join("tables");
            fs::create_dir(&root).unwrap();
            let disk = SimulatedDisk::new(root.parent().unwrap());
            disk.fail_at(failed_at..failed_at + errors, code);
            let store = FsyncStore::new(disk.shared(), &root);
            let mut shown = Shown::default();
            for ask in &ASKED {
                shown.asked(ask.name(), ask.content().as_deref());
                let mut attempts = 0;
                while ask.of(&store, within(&root)).await.is_err() {
                    attempts += 1;
                    assert!(attempts < 10, "{:#?}", disk.history());
                    let found = listed(&store, &root).await;
                    if found.is_ok_and(|found| found.get(ask.name()) == ask.content().as_ref()) {
                        break;
                    }
                }
                shown.answered(ask.name());
            }
            let is_over = disk.steps() <= failed_at;
            check_every_mode(&disk, &shown).await;
            if is_over {
                break;
            }
        }
    }
}

/// A process may die between giving a name and syncing the directory. The next one sees the name.
#[tokio::test]
async fn what_a_new_process_finds_in_a_log_lasts() {
    let (_directory, root, _) = empty();
    let root = root.join("tables");
    fs::create_dir(&root).unwrap();
    let disk = SimulatedDisk::new(root.parent().unwrap());
    let create = Ask::Create("t/_delta_log/0.json", "zero");
    let store = FsyncStore::new(disk.shared(), &root);
    let sync = {
        create.of(&store, within(&root)).await.unwrap();
        disk.steps() - 1
    };
    assert!(disk.history().last().unwrap().contains("sync_directory tables/t/_delta_log"));
    let (_directory, root, _) = empty();
    let root = root.join("tables");
    fs::create_dir(&root).unwrap();
    let disk = SimulatedDisk::new(root.parent().unwrap());
    // The sync and the removal of the staging name before it never happen.
    disk.fail_at(sync - 1..sync + 1, INPUT_OUTPUT);
    create.of(&FsyncStore::new(disk.shared(), &root), within(&root)).await.unwrap_err();
    let storage = Storage::local_on(&root, disk.shared()).unwrap();
    let found = listed(storage.store.as_ref(), &root).await.unwrap();
    assert_eq!(found, BTreeMap::from([("t/_delta_log/0.json".to_owned(), "zero".to_owned())]));
    let mut shown = Shown::default();
    shown.asked(create.name(), create.content().as_deref());
    shown.answered(create.name());
    check_every_mode(&disk, &shown).await;
}

/// A staging name that stayed beside the final one is the same file: nothing may empty it.
#[tokio::test]
async fn a_staging_name_that_stayed_is_not_written_to() {
    let (_directory, root, _) = empty();
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let create = Ask::Create("t/_delta_log/0.json", "zero");
    create.of(&FsyncStore::new(Arc::clone(&disk), &root), within(&root)).await.unwrap();
    let name = root.join("t/_delta_log/0.json");
    fs::hard_link(&name, root.join("t/_delta_log/0.json#0")).unwrap();
    let again = Ask::Create("t/_delta_log/0.json", "another").of(&FsyncStore::new(disk, &root), within(&root)).await;
    assert!(matches!(again.unwrap_err(), object_store::Error::AlreadyExists { .. }));
    assert_eq!(fs::read_to_string(&name).unwrap(), "zero");
}

/// A full disk stays full as long as what was written for nothing lies there.
#[tokio::test]
async fn what_nobody_ends_goes_with_the_next_file() {
    let (_directory, root, disk) = empty();
    let store = FsyncStore::new(disk.shared(), &root);
    let names = || {
        let entries = fs::read_dir(root.join("t")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.join(" ")
    };
    // An upload that a writer lets go of after a part failed.
    let mut upload = store.put_multipart(&within(&root)("t/upload")).await.unwrap();
    upload.put_part("first".into()).await.unwrap();
    let step = disk.steps();
    disk.fail_at(step..step + 1, NO_SPACE);
    upload.put_part("second".into()).await.unwrap_err();
    assert_eq!(names(), "upload#0");
    drop(upload);
    Ask::Put("t/a", "a").of(&store, within(&root)).await.unwrap();
    assert_eq!(names(), "a");
    // A file that is neither written nor removed.
    let step = disk.steps();
    disk.fail_at(step + 1..step + 3, INPUT_OUTPUT);
    Ask::Put("t/b", "b").of(&store, within(&root)).await.unwrap_err();
    assert_eq!(names(), "a b#2");
    Ask::Put("t/c", "c").of(&store, within(&root)).await.unwrap();
    assert_eq!(names(), "a c");
}

#[tokio::test]
async fn an_upload_without_all_its_parts_gets_no_name() {
    let (_directory, root, _) = empty();
    let store = FsyncStore::new(Arc::new(SystemDisk), &root);
    let location = within(&root)("t/part.parquet");
    let mut upload = store.put_multipart(&location).await.unwrap();
    let first = upload.put_part("first".into());
    drop(upload.put_part("second".into()));
    first.await.unwrap();
    // A part whose future was never waited for may still be written: either all is there, or no name.
    match upload.complete().await {
        Ok(_) => assert_eq!(store.get(&location).await.unwrap().bytes().await.unwrap(), "firstsecond"),
        Err(error) => {
            assert!(error.to_string().contains("a part of the upload is not written"), "{error}");
            assert!(matches!(store.get(&location).await, Err(object_store::Error::NotFound { .. })));
        }
    }
    assert!(upload.complete().await.is_err() && upload.put_part("x".into()).await.is_err());
    let missing = store.delete(&within(&root)("t/nothing")).await;
    assert!(matches!(missing, Err(object_store::Error::NotFound { .. })), "{missing:?}");
}
