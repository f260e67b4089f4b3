//! Plans as tables of text, and what must hold of every plan, on a model of a table that does what it
//! is told. Nothing here touches a file.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

// Text: `name day tier size` and then `hours=9-10` of its rows, `written=3/09:30`, whose rows as
// `of=a,b,-` or `within=a..c`, and `removed=a` or `removed=!a`. `x*8` are eight files x1 … x8.

/// `3/09:30` is half past nine on day 3.
fn moment(text: &str) -> i64 {
    let (day, time) = text.split_once('/').unwrap();
    let (hour, minute) = time.split_once(':').unwrap();
    let [day, hour, minute] = [day, hour, minute].map(|number| number.parse::<i64>().unwrap());
    day * DAY_US + hour * HOUR_US + minute * MINUTE_US
}

fn size(text: &str) -> u64 {
    let number = text.trim_end_matches(['K', 'M']).parse::<u64>().unwrap();
    number * if text.ends_with('K') { KIB } else { MIB }
}

fn names(text: &str) -> BTreeSet<String> {
    text.split(',').filter(|name| !name.is_empty() && *name != "-").map(str::to_owned).collect()
}

fn tenant_set(text: &str) -> TenantSet {
    match text.strip_prefix('!') {
        Some(text) => TenantSet::AllBut(names(text)),
        None => TenantSet::Only(names(text)),
    }
}

fn files(text: &str) -> Vec<FileInfo> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).flat_map(file_line).collect()
}

fn file_line(line: &str) -> Vec<FileInfo> {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap();
    let (name, day, tier, bytes) = (word(), word().parse::<i32>().unwrap(), word(), size(word()));
    let start = i64::from(day) * DAY_US;
    let mut file = FileInfo {
        name: name.to_owned(),
        day,
        tier: Tier::from_name(tier).unwrap(),
        bytes,
        rows: bytes / 100,
        first_us: start,
        last_us: start + HOUR_US - 1,
        written_us: start + HOUR_US,
        tenants: Tenants::Unknown,
        removed: TenantSet::default(),
    };
    for option in words {
        match option.split_once('=').unwrap() {
            ("hours", hours) => {
                let (first, last) = hours.split_once('-').unwrap();
                file.first_us = start + first.parse::<i64>().unwrap() * HOUR_US;
                file.last_us = start + last.parse::<i64>().unwrap() * HOUR_US + HOUR_US - 1;
                file.written_us = file.last_us;
            }
            ("written", time) => file.written_us = moment(time),
            ("of", list) => {
                file.tenants = Tenants::Listed { names: names(list), unnamed: list.split(',').any(|name| name == "-") };
            }
            ("within", bounds) => {
                let (least, greatest) = bounds.split_once("..").unwrap();
                file.tenants = Tenants::Within { least: least.to_owned(), greatest: greatest.to_owned() };
            }
            ("removed", set) => file.removed = tenant_set(set),
            (other, _) => panic!("a file has no {other}"),
        }
    }
    let Some((stem, count)) = name.split_once('*') else { return vec![file] };
    let numbers = 1..=count.parse::<usize>().unwrap();
    numbers.map(|number| FileInfo { name: format!("{stem}{number}"), ..file.clone() }).collect()
}

/// `warm=7 cold=never delete=30 a=never b=7 min=4`
fn policy(text: &str) -> Policy {
    let mut policy = Policy::default();
    for option in text.split_whitespace() {
        let (name, value) = option.split_once('=').unwrap();
        let days = value.parse::<u32>().ok();
        match name {
            "warm" => policy.warm_after_days = days,
            "cold" => policy.cold_after_days = days,
            "delete" => policy.delete_after_days = days,
            "min" => policy.merge_files_min = value.parse().unwrap(),
            "target" => policy.file_bytes_target = size(value),
            "closed" => policy.closed_after_minutes = value.parse().unwrap(),
            tenant => {
                policy.tenants.insert(tenant.to_owned(), TenantPolicy { delete_after_days: days });
            }
        }
    }
    policy
}

/// `merge hot 0: a*8 b -> 1`
fn shown(actions: &[Action]) -> String {
    let set = |set: &TenantSet| {
        let names: Vec<&str> = set.names().iter().map(String::as_str).collect();
        let sign = if matches!(set, TenantSet::AllBut(_)) { "!" } else { "" };
        format!("{sign}{}", names.join(","))
    };
    let line = |action: &Action| {
        let work = match action.work {
            Work::Delete => "delete".to_owned(),
            Work::Expire { tier } => format!("expire {} {tier}", set(&action.removed)),
            Work::Merge { tier } => format!("merge {tier}"),
            Work::Warm => "warm".to_owned(),
            Work::Move { from } => format!("move {from}"),
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &action.files {
            *counts.entry(name.trim_end_matches(|letter: char| letter.is_ascii_digit())).or_default() += 1;
        }
        let names: Vec<String> = counts
            .into_iter()
            .map(|(stem, count)| if count == 1 { stem.to_owned() } else { format!("{stem}*{count}") })
            .collect();
        format!("{work} {}: {} -> {}", action.day, names.join(" "), action.files_out_max)
    };
    actions.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(rules: &str, now: &str, before: &str, expected: &[&str]) {
    assert_eq!(shown(&plan(&files(before), &policy(rules), moment(now))), expected.join("\n"));
}

#[test]
fn files_of_closed_hours_are_merged_when_many_are_alike() {
    check("", "0/01:14", "x*8 0 hot 20K", &[]);
    check("", "0/01:15", "x*8 0 hot 20K", &["merge hot 0: x*8 -> 1"]);
    check("", "0/01:15", "x*7 0 hot 20K", &[]);
    check("min=3", "0/01:15", "x*3 0 hot 20K", &["merge hot 0: x*3 -> 1"]);
    // 15K and 16K are in different classes, 16K and 63K are not.
    check("", "0/01:15", "x*4 0 hot 15K \n y*4 0 hot 16K", &[]);
    check("", "0/01:15", "x*4 0 hot 63K \n y*4 0 hot 16K", &["merge hot 0: x*4 y*4 -> 1"]);
    // The hour of the last row is what counts.
    check("", "0/02:14", "x*7 0 hot 20K \n y 0 hot 20K hours=0-1", &[]);
    check("", "0/02:15", "x*7 0 hot 20K \n y 0 hot 20K hours=0-1", &["merge hot 0: x*7 y -> 1"]);
    // Days are never mixed.
    check("", "2/02:15", "x*4 1 hot 20K hours=23-23 \n y*4 2 hot 20K", &["merge hot 1: x*4 -> 1"]);
}

#[test]
fn a_record_from_the_future_holds_nothing_up() {
    let early = "x*8 0 hot 20K hours=0-23 written=0/09:30";
    check("", "0/10:14", early, &[]);
    check("", "0/10:15", early, &["merge hot 0: x*8 -> 1"]);
}

#[test]
fn full_files_are_left_alone() {
    check("", "0/01:15", "x*20 0 hot 64M", &[]);
    check("", "3/00:00", "x*20 0 hot 64M \n y 0 hot 1M", &[]);
    check("", "0/01:15", "x*3 0 hot 63M", &["merge hot 0: x*3 -> 2"]);
    check("", "0/01:15", "x*2 0 hot 63M", &[]);
}

#[test]
fn an_action_is_bounded() {
    let parts = ["merge hot 0: x*64 -> 1", "merge hot 0: x*64 -> 1"];
    check("", "0/01:15", "x*130 0 hot 20K", &parts);
    check("", "0/01:15", "x*32 0 hot 60M", &["merge hot 0: x*17 -> 8", "merge hot 0: x*15 -> 8"]);
    check("delete=1", "9/00:00", "x*1500 0 hot 1M", &["delete 0: x*1024 -> 0", "delete 0: x*476 -> 0"]);
    check("", "8/00:00", "x 0 hot 5000M", &["warm 0: x -> 40"]);
}

#[test]
fn a_settled_day_is_tidied() {
    let some = "x*3 0 hot 20K \n y 0 hot 40K \n z 0 hot 99M";
    check("", "1/00:14", some, &[]);
    check("", "1/00:15", some, &["merge hot 0: x*3 y -> 1"]);
    check("", "3/00:00", "x 0 hot 20K \n y 0 hot 30K", &[]);
    check("", "3/00:00", "x 0 hot 30K \n y 0 hot 30K", &["merge hot 0: x y -> 1"]);
    check("", "3/00:00", "x 0 warm 30K \n y 0 warm 30K", &["merge warm 0: x y -> 1"]);
    check("", "3/00:00", "x 0 cold 30K \n y 0 cold 30K", &[]);
    check("", "3/00:00", "x*8 0 cold 30K", &["merge cold 0: x*8 -> 1"]);
    // The small ones come first, and so the large one joins nothing.
    let parts = ["merge hot 0: x*64 -> 1", "merge hot 0: x*6 -> 1"];
    check("", "3/00:00", "z 0 hot 500K \n x*70 0 hot 9K hours=1-1", &parts);
    // Being written is being unsettled; a hot file and a warm one are no pair.
    let late = "x 0 hot 30K \n y 0 hot 30K written=3/09:00";
    check("", "3/09:14", late, &[]);
    check("", "3/09:15", late, &["merge hot 0: x y -> 1"]);
    check("", "3/00:00", "x 0 hot 30K \n y 0 warm 30K", &[]);
}

#[test]
fn a_settled_day_gets_warm() {
    check("", "7/23:59", "x 0 hot 99M \n y 0 hot 1M", &[]);
    check("", "8/00:00", "x 0 hot 99M \n y 0 hot 1M", &["warm 0: x y -> 1"]);
    check("warm=0", "1/00:14", "x 0 hot 99M", &[]);
    check("warm=0", "1/00:15", "x 0 hot 99M", &["warm 0: x -> 1"]);
    check("warm=never", "99/00:00", "x 0 hot 99M", &[]);
    check("", "8/00:00", "x 0 hot 99M \n y 0 hot 1M written=7/23:50", &[]);
    check("", "8/00:00", "x*10 0 hot 120M \n y 0 warm 99M", &["warm 0: x*8 -> 8", "warm 0: x*2 -> 2"]);
}

#[test]
fn late_rows_join_what_is_small() {
    check("", "9/00:00", "x 0 hot 9K \n y 0 warm 63M", &["warm 0: x -> 1"]);
    check("", "9/00:00", "x*2 0 hot 9K \n y 0 warm 10K \n z 0 warm 28K", &["warm 0: x*2 y z -> 1"]);
    check("", "9/00:00", "x*2 0 hot 9K \n y 0 warm 10K \n z 0 warm 29K", &["warm 0: x*2 y -> 1"]);
    check("", "9/00:00", "x 0 hot 70M \n y 0 warm 63M \n z 0 warm 64M", &["warm 0: x y -> 2"]);
    // A group without a late row is no concern of theirs.
    let apart = "x*64 0 hot 9K \n y*2 0 warm 9K hours=1-1";
    check("", "9/00:00", apart, &["merge warm 0: y*2 -> 1", "warm 0: x*64 -> 1"]);
    // Until the stream ends they are merged where they are.
    let stream = "x*8 0 hot 9K \n y 0 hot 9K written=8/23:59 \n z 0 warm 9K";
    check("", "9/00:00", stream, &["merge hot 0: x*8 y -> 1"]);
}

#[test]
fn an_old_day_moves() {
    let files = "x 0 hot 9M \n y 0 warm 9K \n z 0 warm 99M \n c 0 cold 9K";
    check("cold=30", "30/23:59", files, &["warm 0: x y -> 1"]);
    check("cold=30", "31/00:00", files, &["move hot 0: x -> 1", "move warm 0: y z -> 2"]);
    check("cold=30 warm=never", "31/00:00", "x*2 0 hot 100M", &["move hot 0: x*2 -> 2"]);
    check("cold=30", "31/00:00", "x 0 hot 9M written=30/23:59", &[]);
    check("", "99/00:00", "c 0 cold 9M", &[]);
}

#[test]
fn retention_deletes_what_nobody_keeps() {
    let files = "x 0 hot 9K \n y 0 warm 9M \n z 0 cold 99M \n t 1 warm 9M";
    check("delete=90 warm=never", "90/23:59", files, &[]);
    check("delete=90", "91/00:00", files, &["delete 0: x y z -> 0"]);
    // Deleting waits for nobody.
    check("delete=90", "91/00:00", "x 0 hot 9K written=91/00:00", &["delete 0: x -> 0"]);
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K of=b,-", &["delete 0: x -> 0"]);
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K within=b..c", &["delete 0: x -> 0"]);
    check("delete=90 a=100", "101/00:00", "x 0 warm 9K", &["delete 0: x -> 0"]);
    check("a=90", "91/00:00", "x 0 warm 9K of=a", &["delete 0: x -> 0"]);
    check("a=90", "91/00:00", "x 0 warm 9K within=a..a", &["expire a warm 0: x -> 1"]);
}

#[test]
fn retention_rewrites_what_some_keep() {
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K", &["expire !a warm 0: x -> 1"]);
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K within=a..c", &["expire !a warm 0: x -> 1"]);
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K of=a", &[]);
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K of=a,-", &["expire !a warm 0: x -> 1"]);
    check("a=7 b=9", "8/00:00", "x 0 cold 9K", &["expire a cold 0: x -> 1"]);
    check("a=7 b=9", "10/00:00", "x 0 cold 9K", &["expire a,b cold 0: x -> 1"]);
    check("a=7", "8/00:00", "x 0 warm 9K of=b,c,-", &[]);
    check("a=7", "8/00:00", "x 0 warm 9K within=b..c", &[]);
    check("delete=90 a=7 b=9", "10/00:00", "x 0 cold 9K of=a,b,c", &["expire a,b cold 0: x -> 1"]);
    // Tiers stay apart, and no file is in two actions.
    check("a=7", "8/00:00", "x*8 0 hot 9K \n y 0 warm 9K", &["expire a hot 0: x*8 -> 1", "expire a warm 0: y -> 1"]);
}

#[test]
fn what_was_removed_is_not_removed_again() {
    check("a=7", "8/00:00", "x 0 warm 9K removed=a", &[]);
    check("a=7 b=9", "10/00:00", "x 0 warm 9K removed=a", &["expire a,b warm 0: x -> 1"]);
    check("a=7 b=9", "10/00:00", "x 0 warm 9K removed=!c", &[]);
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K removed=!a", &[]);
    check("delete=90 a=99", "100/00:00", "x 0 warm 9K removed=!a", &["delete 0: x -> 0"]);
    // Once a and b were kept; now b is not, or nobody is.
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K removed=!a,b", &["expire !a warm 0: x -> 1"]);
    check("delete=90", "91/00:00", "x 0 warm 9K removed=!a,b", &["delete 0: x -> 0"]);
    check("delete=90 a=never", "91/00:00", "x 0 warm 9K removed=b", &["expire !a warm 0: x -> 1"]);
}

#[test]
fn what_goes_first_is_planned_first() {
    let files = "m*8 9 hot 9K \n d 0 warm 9K of=b \n e 0 warm 9K \n v 3 warm 1M \n w 7 hot 1M";
    check(
        "warm=1 cold=5 delete=8 a=never",
        "9/01:15",
        files,
        &[
            "delete 0: d -> 0",
            "expire !a warm 0: e -> 1",
            "merge hot 9: m*8 -> 1",
            "warm 7: w -> 1",
            "move warm 3: v -> 1",
        ],
    );
}

#[test]
fn a_file_that_leaves_its_day_is_left_alone() {
    let mut file = files("x 0 hot 9K").remove(0);
    let policy = policy("delete=1");
    assert_eq!(plan(std::slice::from_ref(&file), &policy, moment("9/00:00")).len(), 1);
    file.last_us = DAY_US;
    assert_eq!(plan(std::slice::from_ref(&file), &policy, moment("9/00:00")), []);
}

#[test]
fn a_clock_before_the_data_does_nothing() {
    let files = "x*99 1000 hot 9K \n y*99 1000 warm 9K within=a..b";
    for now_us in [moment("0/00:00"), -DAY_US, i64::MIN] {
        assert_eq!(plan(&self::files(files), &policy("warm=0 cold=0 delete=1 a=1"), now_us), []);
    }
}

#[test]
fn lines_for_people() {
    let check = |rules: &str, now: &str, before: &str, expected: &str| {
        let lines: Vec<String> =
            plan(&files(before), &policy(rules), moment(now)).iter().map(ToString::to_string).collect();
        assert_eq!(lines.join("\n"), expected);
    };
    check("", "0/01:15", "x*8 0 hot 20K", "merge 8 hot files into 1: 1632 rows, 160 KiB");
    check("", "8/00:00", "x 0 hot 20M", "warm 1 file into 1: 209715 rows, 20 MiB");
    check("delete=1", "8/00:00", "x*2 0 hot 20M", "delete 2 files: 419430 rows, 40 MiB");
    check("cold=30", "99/00:00", "x 0 warm 20M", "move 1 warm file to the cold store: 209715 rows, 20 MiB");
    let five = "a=1 b=1 c=1 d=1 e=1";
    check(five, "5/00:00", "x 0 warm 1M", "expire the rows of a, b, c and 2 more in 1 warm file: 10485 rows, 1 MiB");
    let expired = "expire all rows but those of a in 1 warm file: 10485 rows, 1 MiB";
    check("delete=1 a=9", "5/00:00", "x 0 warm 1M", expired);
}

#[test]
fn statistics_say_who_is_in_a_file() {
    let listed = |list: &str, unnamed| Tenants::Listed { names: names(list), unnamed };
    let check = |bounds, unnamed, expected| assert_eq!(Tenants::from_statistics(bounds, 10, unnamed), expected);
    check(Some(("a", "a")), Some(0), listed("a", false));
    check(Some(("a", "a")), Some(3), listed("a", true));
    check(None, Some(10), listed("", true));
    let within = |least: &str, greatest: &str| Tenants::Within { least: least.into(), greatest: greatest.into() };
    check(Some(("a", "b")), Some(0), within("a", "b"));
    check(Some(("a", "a")), None, within("a", "a"));
    check(None, Some(3), Tenants::Unknown);
    check(None, None, Tenants::Unknown);
}

#[test]
fn wrong_policies_are_named() {
    let check = |rules: &str, expected: &str| {
        let message = policy(rules).check().err().unwrap_or_default();
        assert!(message.contains(expected) && message.is_empty() == expected.is_empty(), "{rules}: {message}");
    };
    check("", "");
    check("warm=7 cold=30 delete=90 a=never b=3", "");
    check("warm=7 cold=7 delete=8", "");
    check("warm=never cold=0", "");
    check("delete=3", "");
    check("cold=30 delete=9 a=99", "");
    check("cold=3", "lifecycle.cold_after_days (3) is less than lifecycle.warm_after_days (7)");
    check("cold=30 delete=30", "lifecycle.cold_after_days (30) is not less than");
    check("cold=30 delete=9 a=30", "lifecycle.delete_after_days or a tenant's own (30)");
    check("delete=0", "lifecycle.delete_after_days is 0");
    check("a=0", "lifecycle.tenants.\"a\".delete_after_days is 0");
    check("min=1", "lifecycle.merge_files_min (1)");
    check("min=65", "lifecycle.merge_files_min (65)");
    check("target=1000K", "lifecycle.file_bytes_target");
}

#[test]
fn ingest_asks_for_the_oldest_time() {
    let policy = policy("delete=2 a=5 b=never");
    let now = moment("9/13:00");
    for (tenant, oldest) in [(None, 7), (Some("c"), 7), (Some("a"), 4)] {
        let oldest_us = policy.oldest_us(tenant, now).unwrap();
        assert_eq!(oldest_us, oldest * DAY_US);
        assert!(!policy.is_expired(tenant, oldest_us, now));
        assert!(policy.is_expired(tenant, oldest_us - 1, now));
    }
    assert_eq!(policy.oldest_us(Some("b"), now), None);
    assert!(!policy.is_expired(Some("b"), i64::MIN, now));
    assert!(policy.is_expired(None, i64::MIN, i64::MAX) && !policy.is_expired(None, i64::MAX, i64::MIN));
}

// A model of a table that does what it is told.

/// What the table tells about whose rows are in a file.
#[derive(Debug, Clone, Copy)]
enum Knowledge {
    Exact,
    Bounds,
    None,
}

#[derive(Debug, Clone)]
struct Stored {
    info: FileInfo,
    rows: BTreeMap<Option<String>, u64>,
}

#[derive(Debug)]
struct Lake {
    policy: Policy,
    knowledge: Knowledge,
    /// What is left of a file's bytes when it is warmed, percent.
    warm_percent: u64,
    files: Vec<Stored>,
    names: usize,
    read_bytes: u64,
}

impl Lake {
    fn new(policy: Policy, knowledge: Knowledge) -> Self {
        Self { policy, knowledge, warm_percent: 80, files: Vec::new(), names: 0, read_bytes: 0 }
    }

    fn put(&mut self, mut info: FileInfo, rows: BTreeMap<Option<String>, u64>) {
        self.names += 1;
        info.name = self.names.to_string();
        info.rows = rows.values().sum();
        let named: BTreeSet<String> = rows.keys().flatten().cloned().collect();
        info.tenants = match self.knowledge {
            Knowledge::Exact => Tenants::Listed { names: named, unnamed: rows.contains_key(&None) },
            Knowledge::Bounds => Tenants::from_statistics(
                named.first().map(String::as_str).zip(named.last().map(String::as_str)),
                info.rows,
                Some(rows.get(&None).copied().unwrap_or(0)),
            ),
            Knowledge::None => Tenants::Unknown,
        };
        self.files.push(Stored { info, rows });
    }

    /// A flush: one hot file.
    fn flush(&mut self, first_us: i64, last_us: i64, bytes: u64, now_us: i64) {
        let info = FileInfo {
            name: String::new(),
            day: (first_us / DAY_US) as i32,
            tier: Tier::Hot,
            bytes,
            rows: 0,
            first_us,
            last_us,
            written_us: now_us,
            tenants: Tenants::Unknown,
            removed: TenantSet::default(),
        };
        self.put(info, BTreeMap::from([(None, bytes / 100 + 1)]));
    }

    /// Plans and does it; checks on the way what must hold of any plan. How many actions there were.
    fn pass(&mut self, now_us: i64) -> usize {
        let infos: Vec<FileInfo> = self.files.iter().map(|file| file.info.clone()).collect();
        let actions = plan(&infos, &self.policy, now_us);
        let mut seen = BTreeSet::new();
        assert!(actions.iter().flat_map(|action| &action.files).all(|name| seen.insert(name)), "a file is in two");
        let kept = self.kept_rows(now_us);
        for action in &actions {
            self.act(action, now_us);
        }
        assert_eq!(self.kept_rows(now_us), kept, "rows that are kept were lost, or came from nowhere");
        actions.len()
    }

    /// Rows that are not past their retention, a day and tenant.
    fn kept_rows(&self, now_us: i64) -> BTreeMap<(i32, Option<String>), u64> {
        let mut kept = BTreeMap::new();
        for file in &self.files {
            for (tenant, rows) in &file.rows {
                if !self.policy.is_expired(tenant.as_deref(), file.info.first_us, now_us) {
                    *kept.entry((file.info.day, tenant.clone())).or_default() += rows;
                }
            }
        }
        kept
    }

    fn act(&mut self, action: &Action, now_us: i64) {
        let (inputs, rest) =
            std::mem::take(&mut self.files).into_iter().partition(|file| action.files.contains(&file.info.name));
        self.files = rest;
        let inputs: Vec<Stored> = inputs;
        let bytes: u64 = inputs.iter().map(|file| file.info.bytes).sum();
        assert_eq!((action.files.len(), action.bytes), (inputs.len(), bytes));
        assert_eq!(action.rows, inputs.iter().map(|file| file.info.rows).sum::<u64>());
        assert!(inputs.iter().all(|file| file.info.day == action.day));
        let bounded = inputs.len() <= FILES_MAX && (bytes <= BYTES_MAX || inputs.len() == 1);
        let full = self.policy.file_bytes_target.div_ceil(2);
        let tier_is = |tier: Tier| inputs.iter().all(|file| file.info.tier == tier);
        let tier = match action.work {
            Work::Delete => {
                let expired =
                    |tenant: &Option<String>, time_us| self.policy.is_expired(tenant.as_deref(), time_us, now_us);
                for file in &inputs {
                    for tenant in file.rows.keys() {
                        assert!(expired(tenant, file.info.first_us) && expired(tenant, file.info.last_us));
                    }
                }
                return;
            }
            Work::Expire { tier } => {
                assert!(tier_is(tier));
                tier
            }
            Work::Merge { tier } => {
                assert!(tier_is(tier) && inputs.len() > action.files_out_max);
                assert!(inputs.iter().all(|file| file.info.bytes < full), "a full file was merged");
                tier
            }
            Work::Warm => {
                assert!(inputs.iter().any(|file| file.info.tier == Tier::Hot));
                assert!(inputs.iter().all(|file| {
                    file.info.tier == Tier::Hot || file.info.tier == Tier::Warm && file.info.bytes < full
                }));
                Tier::Warm
            }
            Work::Move { from } => {
                assert!(tier_is(from) && from != Tier::Cold);
                Tier::Cold
            }
        };
        assert!(bounded, "an action of {} files and {bytes} bytes", inputs.len());
        self.read_bytes += bytes;
        if action.work == (Work::Move { from: Tier::Warm }) {
            for Stored { info, rows } in inputs {
                self.put(FileInfo { tier, written_us: now_us, removed: action.removed.clone(), ..info }, rows);
            }
            return;
        }
        self.write(action, &inputs, tier, now_us);
    }

    /// Joins the rows, leaves out what is to be left out, and splits the rest evenly.
    fn write(&mut self, action: &Action, inputs: &[Stored], tier: Tier, now_us: i64) {
        let mut rows: BTreeMap<Option<String>, u64> = BTreeMap::new();
        for (tenant, count) in inputs.iter().flat_map(|file| &file.rows) {
            *rows.entry(tenant.clone()).or_default() += count;
        }
        let count = rows.len();
        rows.retain(|tenant, _| !action.removed.contains(tenant.as_deref()));
        let expires = matches!(action.work, Work::Expire { .. });
        assert!(expires || rows.len() == count, "rows are said to be removed that are there");
        assert!(!expires || rows.len() < count || !matches!(self.knowledge, Knowledge::Exact), "nothing to remove");
        let left: u64 = rows.values().sum();
        let was_hot = inputs.iter().any(|file| file.info.tier == Tier::Hot);
        let percent = if was_hot && tier != Tier::Hot { self.warm_percent } else { 100 };
        let bytes = (u128::from(action.bytes) * u128::from(left) * u128::from(percent)
            / u128::from(action.rows.max(1))
            / 100) as u64;
        let targets = bytes.div_ceil(self.policy.file_bytes_target).max(1);
        let parts = if expires { targets.min(action.files_out_max as u64) } else { action.files_out_max as u64 };
        let first_us = inputs.iter().map(|file| file.info.first_us).min().unwrap();
        let last_us = inputs.iter().map(|file| file.info.last_us).max().unwrap();
        for part in 0..parts {
            let share = |total: u64| total * (part + 1) / parts - total * part / parts;
            let rows: BTreeMap<Option<String>, u64> =
                rows.iter().map(|(tenant, count)| (tenant.clone(), share(*count))).filter(|row| row.1 > 0).collect();
            if rows.is_empty() {
                continue;
            }
            let info = FileInfo {
                tier,
                bytes: share(bytes).max(1),
                first_us,
                last_us,
                written_us: now_us,
                removed: action.removed.clone(),
                ..inputs[0].info.clone()
            };
            self.put(info, rows);
        }
    }

    /// Passes until two in a row find nothing to do, each so much later than the last. The time of the
    /// last: with steps that are long enough for a day to settle, nothing waits for that any more.
    fn rest(&mut self, mut now_us: i64, step_us: i64) -> i64 {
        let mut was_idle = false;
        for _ in 0..60 {
            let is_idle = self.pass(now_us) == 0;
            if is_idle && was_idle {
                return now_us;
            }
            was_idle = is_idle;
            now_us += step_us;
        }
        let infos: Vec<FileInfo> = self.files.iter().map(|file| file.info.clone()).collect();
        panic!("passes do not come to an end: {}", shown(&plan(&infos, &self.policy, now_us)));
    }

    /// What holds of a table at rest.
    fn assert_tidy(&self, now_us: i64) {
        let full = self.policy.file_bytes_target.div_ceil(2);
        let mut small: BTreeMap<(i32, Tier), Vec<u64>> = BTreeMap::new();
        for Stored { info, rows } in &self.files {
            for tenant in rows.keys() {
                assert!(!self.policy.is_expired(tenant.as_deref(), info.first_us, now_us), "expired rows are left");
            }
            if self.policy.is_day_closed(info.day, now_us) && info.bytes < full {
                small.entry((info.day, info.tier)).or_default().push(info.bytes);
            }
        }
        for ((day, tier), sizes) in small {
            let doublings = full.ilog2() as usize + 1;
            let files_max = match tier {
                Tier::Hot | Tier::Warm => doublings,
                Tier::Cold => (doublings / 2 + 1) * (self.policy.merge_files_min - 1),
            };
            assert!(sizes.len() <= files_max, "day {day} has {} small {tier} files: {sizes:?}", sizes.len());
        }
    }
}

/// A day of flushes every 15 seconds with a pass every minute, then what follows.
fn a_day_of_flushes(bytes: u64) -> (f64, usize) {
    let mut lake = Lake::new(Policy::default(), Knowledge::None);
    let (mut written, mut files_max) = (0, 0);
    for flush in 0..5_760_i64 {
        let now_us = flush * 15_000_000;
        // Nights are quiet: a tenth of the noon's traffic.
        let hour = flush / 240;
        let flushed = bytes * (1 + (12 - (hour - 12).abs()) as u64) * (8 + (flush * 7_919 % 8) as u64) / 160;
        lake.flush((now_us - 15_000_000).max(0), now_us, flushed, now_us);
        written += flushed;
        if flush % 4 == 3 {
            lake.pass(now_us + 1_000_000);
        }
        files_max = files_max.max(lake.files.len());
    }
    for minute in 0..120 {
        lake.pass(DAY_US + minute * MINUTE_US);
    }
    let now_us = lake.rest(9 * DAY_US, MINUTE_US);
    lake.assert_tidy(now_us);
    assert!(lake.files.iter().all(|file| file.info.tier == Tier::Warm));
    (lake.read_bytes as f64 / written as f64, files_max)
}

#[test]
fn a_day_is_rewritten_few_times() {
    for bytes in [4 * KIB, 60 * KIB, MIB, 20 * MIB] {
        let (rewrites, files_max) = a_day_of_flushes(bytes);
        assert!(rewrites <= 6.0, "{bytes} bytes a flush: each byte is rewritten {rewrites} times");
        // At most 75 minutes are open, and the minute until the next pass.
        let closed = files_max - 304;
        let full = (bytes * 5_760 / (64 * MIB)) as usize;
        assert!(closed <= 7 * 9 + full, "{bytes} bytes a flush: {files_max} files");
    }
}

/// One late row every 20 minutes, or late rows in every flush, on a day that is hot or warm.
#[test]
fn late_rows_cost_what_they_weigh() {
    for (now, every_us, late) in
        [("3/00:00", 20 * MINUTE_US, 72), ("9/00:00", 20 * MINUTE_US, 72), ("9/00:00", 15_000_000, 5_760)]
    {
        let mut lake = Lake::new(Policy::default(), Knowledge::None);
        lake.flush(0, DAY_US - 1, 60 * MIB, DAY_US);
        let mut now_us = lake.rest(moment(now), MINUTE_US);
        let (before, mut files_max) = (lake.read_bytes, 0);
        let mut next_us = now_us;
        for _ in 0..late {
            lake.flush(0, HOUR_US, 10 * KIB, now_us);
            files_max = files_max.max(lake.files.len());
            next_us += every_us;
            while now_us < next_us {
                now_us += every_us.min(MINUTE_US);
                lake.pass(now_us);
            }
        }
        now_us = lake.rest(now_us, 15 * MINUTE_US);
        lake.assert_tidy(now_us);
        let rewrites = (lake.read_bytes - before) as f64 / (late * 10 * KIB) as f64;
        assert!(rewrites <= 8.0, "{late} late files: each byte is rewritten {rewrites} times");
        assert!(files_max <= 40, "{late} late files: {files_max} files");
    }
}

#[test]
fn a_wrong_client_clock_does_not_pile_files_up() {
    let mut lake = Lake::new(Policy::default(), Knowledge::None);
    let mut files_max = 0;
    for minute in 0..1_440 {
        let now_us = minute * MINUTE_US;
        lake.flush(now_us, DAY_US - 1, 60 * KIB, now_us);
        lake.pass(now_us);
        files_max = files_max.max(lake.files.len());
    }
    assert!(files_max <= 75 + 1 + 7 * 9, "{files_max} files");
}

prop_compose! {
    fn a_policy()(
        warm in prop::option::of(0..6_u32),
        cold in prop::option::of(0..9_u32),
        delete in prop::option::of(1..12_u32),
        tenants in prop::collection::btree_map("[abx]", prop::option::of(1..12_u32), 0..3),
        merge_files_min in 2..12_usize,
        target_mebibytes in 1..200_u64,
    ) -> Policy {
        Policy {
            warm_after_days: warm,
            cold_after_days: cold,
            delete_after_days: delete,
            tenants: tenants
                .into_iter()
                .map(|(name, delete_after_days)| (name, TenantPolicy { delete_after_days }))
                .collect(),
            merge_files_min,
            file_bytes_target: target_mebibytes * MIB,
            ..Policy::default()
        }
    }
}

type Seed = (i32, u32, u64, i64, BTreeSet<Option<String>>);

fn a_file() -> impl Strategy<Value = Seed> {
    let tenants = prop::collection::btree_set(prop::option::of("[abcx]"), 1..4);
    // Sizes spread over all classes, with a bend to the small.
    (0..4_i32, 0..8_u32, (0..28_u32, 1..2_000_u64), 0..23_i64, tenants).prop_map(
        |(day, tier, (shift, factor), hour, tenants)| (day, tier, (factor << shift) / 1_000 + 1, hour, tenants),
    )
}

fn a_lake(policy: Policy, knowledge: Knowledge, warm_percent: u64, seeds: &[Seed]) -> Lake {
    let mut lake = Lake::new(policy, knowledge);
    lake.warm_percent = warm_percent;
    for (day, tier, bytes, hour, tenants) in seeds {
        let first_us = i64::from(*day) * DAY_US + hour * HOUR_US;
        lake.flush(first_us, first_us + HOUR_US, *bytes, first_us + HOUR_US);
        let mut file = lake.files.pop().unwrap();
        file.info.tier = [Tier::Warm, Tier::Cold].get(*tier as usize).copied().unwrap_or(Tier::Hot);
        let rows = tenants.iter().map(|tenant| (tenant.clone(), bytes / 200 + 1)).collect();
        lake.put(file.info, rows);
    }
    lake
}

fn a_knowledge() -> impl Strategy<Value = Knowledge> {
    prop_oneof![Just(Knowledge::Exact), Just(Knowledge::Bounds), Just(Knowledge::None)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Passes come to an end, at once and with time; what is left is tidy; nothing is lost.
    #[test]
    fn passes_come_to_rest(
        policy in a_policy(),
        knowledge in a_knowledge(),
        warm_percent in 20..=100_u64,
        seeds in prop::collection::vec(a_file(), 0..200),
        more in prop::collection::vec(a_file(), 0..40),
        now_minutes in 0..(12 * 1_440_i64),
    ) {
        let mut lake = a_lake(policy.clone(), knowledge, warm_percent, &seeds);
        let mut now_us = now_minutes * MINUTE_US;
        lake.rest(now_us, 0);
        now_us = lake.rest(now_us, 15 * MINUTE_US);
        lake.assert_tidy(now_us);
        // Late files come to what is there, and the days grow old.
        for file in a_lake(policy, knowledge, warm_percent, &more).files {
            lake.put(FileInfo { written_us: now_us, tier: Tier::Hot, ..file.info }, file.rows);
        }
        for days in [0, 1, 3, 30] {
            now_us = lake.rest(now_us + days * DAY_US, 15 * MINUTE_US);
            lake.assert_tidy(now_us);
        }
    }

    /// Two ways to the same answer: by day, as plans ask, and by time, as ingest asks.
    #[test]
    fn days_and_times_agree(
        policy in a_policy(),
        tenant in prop::option::of("[abcx]"),
        time_us in -40 * DAY_US..40 * DAY_US,
        now_us in -40 * DAY_US..40 * DAY_US,
    ) {
        let expired = policy.is_expired(tenant.as_deref(), time_us, now_us);
        let day = time_us.div_euclid(DAY_US) as i32;
        prop_assert_eq!(policy.expired_on(day, now_us).contains(tenant.as_deref()), expired);
        let oldest_us = policy.oldest_us(tenant.as_deref(), now_us);
        prop_assert_eq!(oldest_us.is_some_and(|oldest_us| time_us < oldest_us), expired);
    }
}
