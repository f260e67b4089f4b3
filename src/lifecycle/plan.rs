//! Files, policy and time → actions. The rules are in the room's own text; here is how they are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{FileInfo, Policy, TenantSet, Tier, placement::Placement, policy::day_of};

/// Most files that an action reads: it holds all of them open at once, to join them in the order of time.
pub const FILES_MAX: usize = 64;
/// Most bytes that an action reads, unless one file alone has more: about a minute's work, after which
/// a stop is heeded and a newer plan is made.
pub const BYTES_MAX: u64 = 1 << 30;
/// Most files that one action deletes: each is an entry of the commit.
pub const DELETED_FILES_MAX: usize = 1_024;

/// One step of maintenance, for one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What is to be done.
    pub work: Work,
    /// The day of the files.
    pub day: i32,
    /// The names of the files that go.
    pub files: Vec<String>,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most files that come instead.
    pub files_out_max: usize,
    /// What they are. A row is in one part, and in none if it is to go.
    pub parts: Vec<Part>,
}

/// New files of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How they are stored.
    pub tier: Tier,
    /// Whose rows are in them: of all that the action reads, these.
    pub whose: TenantSet,
    /// Whose rows they do not hold; to be stored with each of them. A copy keeps what its original has.
    pub removed: TenantSet,
    /// So many files at most if all rows that the action reads were in this part: rows are split
    /// evenly. Where there are fewer rows, fewer files are better.
    pub files_max: usize,
}

/// What an action does. In the order in which it is to be run: first what must go, then what keeps
/// reading fast, last what only saves room and can take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Nobody keeps a row of these files: they go.
    Delete,
    /// The files are written again in the same tier, without the rows past their retention.
    Expire {
        /// Where the files are and stay.
        tier: Tier,
    },
    /// The files become few in the same tier.
    Merge {
        /// Where the files are and stay.
        tier: Tier,
    },
    /// Hot files, and small warm ones, become warm files.
    Warm,
    /// The files go to the cold store: hot ones joined and compressed as [`Work::Warm`] would, warm
    /// ones copied as they are.
    Move {
        /// Where the files are.
        from: Tier,
    },
    /// The files become files of several tiers: everybody's rows go where they are due.
    Split {
        /// Where the files are.
        from: Tier,
    },
}

/// What is to be done, in the order to do it. An empty plan stays empty until a file comes or time
/// passes.
pub fn plan(files: &[FileInfo], policy: &Policy, now_us: i64) -> Vec<Action> {
    let mut days: BTreeMap<i32, Vec<&FileInfo>> = BTreeMap::new();
    for file in files.iter().filter(|file| is_within_its_day(file)) {
        days.entry(file.day).or_default().push(file);
    }
    let mut actions: Vec<Action> = days
        .into_iter()
        .flat_map(|(day, files)| {
            let placement = Placement::on(policy, day, now_us);
            Day { day, policy, now_us, placement }.plan(files)
        })
        .collect();
    actions.sort_by_key(|action| action.work);
    actions
}

/// What is the same for all files of a day.
struct Day<'a> {
    day: i32,
    policy: &'a Policy,
    now_us: i64,
    placement: Placement,
}

/// Files of one tier whose rows belong into the same tiers: only such are joined, so that nobody's rows
/// have to be taken apart again.
type Likes<'f> = BTreeMap<(Tier, BTreeSet<Tier>), Vec<&'f FileInfo>>;

/// What becomes of a file's rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    KeptInPart,
    Gone,
}

impl Day<'_> {
    fn plan(&self, files: Vec<&FileInfo>) -> Vec<Action> {
        let settled = self.is_settled(&files);
        let (mut gone, mut kept_in_part, mut kept) = (Vec::new(), Likes::new(), Likes::new());
        for file in files {
            let likes = match self.fate(file) {
                Fate::Gone => {
                    gone.push(file);
                    continue;
                }
                Fate::KeptInPart => &mut kept_in_part,
                Fate::Kept => &mut kept,
            };
            likes.entry((file.tier, self.placement.tiers_of(file))).or_default().push(file);
        }
        let mut actions = self.actions(Work::Delete, gone);
        for ((tier, _), files) in kept_in_part {
            actions.extend(self.actions(Work::Expire { tier }, files));
        }
        if settled {
            actions.extend(self.raise(&mut kept));
        }
        for ((tier, _), files) in kept {
            let small: Vec<_> = files.into_iter().filter(|file| !self.is_full(file)).collect();
            // What is cold is slow to read, and some stores charge for what is deleted early.
            let groups = if settled && tier != Tier::Cold {
                self.leftovers(small.into_iter().filter(|file| self.is_ripe(file)).collect())
            } else {
                self.classes(small)
            };
            actions.extend(groups.iter().map(|group| self.action(Work::Merge { tier }, group)));
        }
        actions
    }

    /// What has to leave its tier, on a settled day; the rest stays in `kept`.
    fn raise(&self, kept: &mut Likes<'_>) -> Vec<Action> {
        let (mut actions, mut hot) = (Vec::new(), Vec::new());
        for ((from, tiers), files) in std::mem::take(kept) {
            match tiers.first() {
                _ if tiers.len() > 1 => actions.extend(self.actions(Work::Split { from }, files)),
                Some(Tier::Cold) if from < Tier::Cold => actions.extend(self.actions(Work::Move { from }, files)),
                Some(Tier::Warm) if from < Tier::Warm => hot.extend(files),
                _ => {
                    kept.insert((from, tiers), files);
                }
            }
        }
        let warm = kept.entry((Tier::Warm, BTreeSet::from([Tier::Warm]))).or_default();
        actions.extend(self.warm(hot, warm));
        actions
    }

    fn is_settled(&self, files: &[&FileInfo]) -> bool {
        let mut hot = files.iter().filter(|file| file.tier == Tier::Hot);
        self.policy.is_day_closed(self.day, self.now_us)
            && hot.all(|file| self.policy.is_past(file.written_us, self.now_us))
    }

    fn is_ripe(&self, file: &FileInfo) -> bool {
        self.policy.is_hour_closed(file.last_us.min(file.written_us), self.now_us)
    }

    fn is_full(&self, file: &FileInfo) -> bool {
        file.bytes >= self.policy.file_bytes_target.div_ceil(2)
    }

    fn fate(&self, file: &FileInfo) -> Fate {
        let expired = &self.placement.expired;
        if expired.is_empty() {
            return Fate::Kept;
        }
        let held = self.placement.held(file);
        match held.iter().filter(|tenant| expired.contains(**tenant)).count() {
            0 => Fate::Kept,
            all if all == held.len() => Fate::Gone,
            _ => Fate::KeptInPart,
        }
    }

    /// All hot files, and those warm ones that are no larger than what they join; the rest of the warm
    /// ones stay in `warm`. A little late data does not rewrite much.
    fn warm<'f>(&self, mut files: Vec<&'f FileInfo>, warm: &mut Vec<&'f FileInfo>) -> Vec<Action> {
        if files.is_empty() {
            return Vec::new();
        }
        let mut bytes = bytes_of(&files);
        let (mut small, mut rest): (Vec<_>, Vec<_>) = std::mem::take(warm).into_iter().partition(|f| !self.is_full(f));
        small.sort_by_key(|file| file.bytes);
        for file in small {
            if file.bytes <= bytes {
                bytes = bytes.saturating_add(file.bytes);
                files.push(file);
            } else {
                rest.push(file);
            }
        }
        let (with_hot, without): (Vec<_>, Vec<_>) =
            self.runs(files).into_iter().partition(|run| run.iter().any(|file| file.tier == Tier::Hot));
        *warm = rest;
        warm.extend(without.into_iter().flatten());
        with_hot.iter().map(|run| self.action(Work::Warm, run)).collect()
    }

    /// Groups of files of about the same size that are many, or that make a full one; of files that are not
    /// ripe, only what makes a full one or a whole action.
    fn classes<'f>(&self, files: Vec<&'f FileInfo>) -> Vec<Vec<&'f FileInfo>> {
        let (ripe, open): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| self.is_ripe(file));
        let (mut groups, mut rest) = self.alike(ripe, self.policy.merge_files_min.clamp(2, FILES_MAX));
        rest.extend(open.into_iter().filter(|file| file.written_us <= self.now_us));
        groups.extend(self.alike(rest, FILES_MAX).0);
        groups
    }

    /// Groups of so many files of about the same size, or of such that make a full one; and the other files.
    fn alike<'f>(&self, files: Vec<&'f FileInfo>, files_min: usize) -> (Vec<Vec<&'f FileInfo>>, Vec<&'f FileInfo>) {
        let mut classes: BTreeMap<u32, Vec<&FileInfo>> = BTreeMap::new();
        for file in files {
            classes.entry(size_class(file)).or_default().push(file);
        }
        let is_worth_it = |run: &Vec<&FileInfo>| {
            run.len() >= files_min || run.len() > 1 && bytes_of(run) >= self.policy.file_bytes_target
        };
        let (groups, rest): (Vec<_>, Vec<_>) =
            classes.into_values().flat_map(|files| self.runs(files)).partition(is_worth_it);
        (groups, rest.into_iter().flatten().collect())
    }

    /// Groups of whatever there is, the small ones first; a file that is larger than all it would join
    /// is in none.
    fn leftovers<'f>(&self, mut files: Vec<&'f FileInfo>) -> Vec<Vec<&'f FileInfo>> {
        files.sort_by_key(|file| (size_class(file), file.first_us));
        let mut groups = self.cut(files);
        for group in &mut groups {
            group.sort_by_key(|file| file.bytes);
            while group.last().is_some_and(|largest| largest.bytes > bytes_of(&group[..group.len() - 1])) {
                group.pop();
            }
        }
        groups.retain(|group| group.len() > 1);
        groups
    }

    /// One action, or several if it would be too large.
    fn actions(&self, work: Work, files: Vec<&FileInfo>) -> Vec<Action> {
        if work == Work::Delete {
            return files.chunks(DELETED_FILES_MAX).map(|files| self.action(work, files)).collect();
        }
        self.runs(files).iter().map(|run| self.action(work, run)).collect()
    }

    /// Files in the order of time, cut where an action would be too large.
    fn runs<'f>(&self, mut files: Vec<&'f FileInfo>) -> Vec<Vec<&'f FileInfo>> {
        files.sort_by_key(|file| (file.first_us, file.last_us));
        self.cut(files)
    }

    fn cut<'f>(&self, files: Vec<&'f FileInfo>) -> Vec<Vec<&'f FileInfo>> {
        // Two files that are not full must fit, or they would never be merged.
        let bytes_max = BYTES_MAX.max(self.policy.file_bytes_target);
        let mut runs: Vec<Vec<&FileInfo>> = Vec::new();
        let mut bytes = 0_u64;
        for file in files {
            bytes = bytes.saturating_add(file.bytes);
            match runs.last_mut() {
                Some(run) if run.len() < FILES_MAX && bytes <= bytes_max => run.push(file),
                _ => {
                    bytes = file.bytes;
                    runs.push(vec![file]);
                }
            }
        }
        runs
    }

    fn action(&self, work: Work, files: &[&FileInfo]) -> Action {
        let bytes = bytes_of(files);
        let files_max = match work {
            Work::Move { from: Tier::Warm } => files.len(),
            _ => self.policy.files_of(bytes),
        };
        let parts = self.parts(work, files, files_max);
        Action {
            work,
            day: self.day,
            files: files.iter().map(|file| file.name.clone()).collect(),
            rows: files.iter().fold(0, |rows, file| rows.saturating_add(file.rows)),
            bytes,
            // Rows are cut in the same places in each part, and each has a last file.
            files_out_max: parts.len().checked_sub(1).map_or(0, |more| files_max.saturating_add(more)),
            parts,
        }
    }

    fn parts(&self, work: Work, files: &[&FileInfo], files_max: usize) -> Vec<Part> {
        let whole = |tier| vec![(tier, TenantSet::everybody())];
        let kinds = match work {
            Work::Delete => Vec::new(),
            Work::Expire { tier } => vec![(tier, self.placement.expired.others())],
            Work::Merge { tier } => whole(tier),
            Work::Warm => whole(Tier::Warm),
            Work::Move { .. } => whole(Tier::Cold),
            Work::Split { from } => {
                let tiers: BTreeSet<Tier> = files.iter().flat_map(|file| self.placement.tiers_of(file)).collect();
                tiers.into_iter().map(|tier| (tier, self.placement.whose(from, tier))).collect()
            }
        };
        let lacked = files.iter().map(|file| self.placement.lacks(file));
        let removed = lacked.reduce(|all, lacks| all.intersection(&lacks)).unwrap_or_default();
        let part =
            |(tier, whose): (Tier, TenantSet)| Part { tier, removed: removed.union(&whose.others()), whose, files_max };
        kinds.into_iter().map(part).collect()
    }
}

fn is_within_its_day(file: &FileInfo) -> bool {
    let day = i64::from(file.day);
    file.first_us <= file.last_us && day_of(file.first_us) == day && day_of(file.last_us) == day
}

fn bytes_of(files: &[&FileInfo]) -> u64 {
    files.iter().fold(0, |bytes, file| bytes.saturating_add(file.bytes))
}

/// Files of one class differ in size by less than a factor of four.
fn size_class(file: &FileInfo) -> u32 {
    file.bytes.max(1).ilog2() / 2
}

/// A line for people: what, how much, and into what. The day is the caller's to print.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = |tier: &str| match self.files.len() {
            1 => format!("1 {tier}file"),
            count => format!("{count} {tier}files"),
        };
        let of = |tier: Tier| files(&format!("{tier} "));
        match self.work {
            Work::Delete => write!(f, "delete {}", files("")),
            Work::Expire { tier } => {
                let expired = self.parts.first().map(|part| part.whose.others()).unwrap_or_default();
                write!(f, "expire {} in {}", Whose(&expired), of(tier))
            }
            Work::Merge { tier } => write!(f, "merge {} into {}", of(tier), self.files_out_max),
            Work::Warm => write!(f, "warm {} into {}", files(""), self.files_out_max),
            Work::Move { from } => write!(f, "move {} to the cold store", of(from)),
            Work::Split { from } => {
                write!(f, "split {}", of(from))?;
                self.parts.iter().filter(|part| part.tier > from).try_for_each(|part| {
                    let end = if part.tier == Tier::Cold { "go to the cold store" } else { "become warm" };
                    write!(f, ", {} {end}", Whose(&part.whose))
                })
            }
        }?;
        let kibibytes = self.bytes.div_ceil(1 << 10);
        match kibibytes >> 10 {
            0 => write!(f, ": {} rows, {kibibytes} KiB", self.rows),
            mebibytes => write!(f, ": {} rows, {mebibytes} MiB", self.rows),
        }
    }
}

struct Whose<'a>(&'a TenantSet);

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A line is for people; beyond so many names it only counts.
        const NAMES_MAX: usize = 3;
        let names = self.0.names();
        f.write_str(match self.0 {
            TenantSet::Only(_) => "the rows of ",
            TenantSet::AllBut(_) => "all rows but those of ",
        })?;
        let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
        f.write_str(&shown.join(", "))?;
        match names.len().saturating_sub(NAMES_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
