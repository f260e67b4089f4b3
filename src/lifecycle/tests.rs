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

/// `warm=7 cold=never delete=30 a=never b=7 min=4`: `a=` is a tenant's retention, `a.warm=` and `a.cold=`
/// are its other ages; what is not said is as for all.
fn policy(text: &str) -> Policy {
    let mut policy = Policy::default();
    let mut own: Vec<(&str, &str, Option<u32>)> = Vec::new();
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
                let (tenant, age) = tenant.split_once('.').unwrap_or((tenant, "delete"));
                own.push((tenant, age, days));
            }
        }
    }
    let shared = ages(policy.warm_after_days, policy.cold_after_days, policy.delete_after_days);
    for (tenant, age, days) in own {
        let tenant = policy.tenants.entry(tenant.to_owned()).or_insert(shared);
        match age {
            "warm" => tenant.warm_after_days = days,
            "cold" => tenant.cold_after_days = days,
            "delete" => tenant.delete_after_days = days,
            other => panic!("a tenant has no {other}"),
        }
    }
    policy
}

fn ages(warm: Option<u32>, cold: Option<u32>, delete: Option<u32>) -> TenantPolicy {
    TenantPolicy { warm_after_days: warm, cold_after_days: cold, delete_after_days: delete }
}

/// `a,b` or `!a`.
fn set_shown(set: &TenantSet) -> String {
    let names: Vec<&str> = set.names().iter().map(String::as_str).collect();
    let sign = if matches!(set, TenantSet::AllBut(_)) { "!" } else { "" };
    format!("{sign}{}", names.join(","))
}

/// `merge hot 0: a*8 b -> 1`
fn shown(actions: &[Action]) -> String {
    let line = |action: &Action| {
        let work = match action.work {
            Work::Delete => "delete".to_owned(),
            Work::Expire { tier } => format!("expire {} {tier}", set_shown(&action.parts[0].whose.others())),
            Work::Merge { tier } => format!("merge {tier}"),
            Work::Warm => "warm".to_owned(),
            Work::Move { from } => format!("move {from}"),
            Work::Split { from } => {
                let part = |part: &Part| format!("{} to {}", set_shown(&part.whose), part.tier);
                format!("split {from} {}", action.parts.iter().map(part).collect::<Vec<_>>().join(" "))
            }
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
fn a_tenant_has_a_tier_of_its_own() {
    // Whoever is due goes, the others stay; a file of one kind is not taken apart.
    check("a.warm=3", "3/23:59", "x 0 hot 9M", &[]);
    check("a.warm=3", "4/00:00", "x 0 hot 9M", &["split hot !a to hot a to warm 0: x -> 2"]);
    check("a.warm=3", "4/00:00", "x 0 hot 9M of=a", &["warm 0: x -> 1"]);
    check("a.warm=3", "4/00:00", "x 0 hot 9M of=b,c,-", &[]);
    check("a.warm=3", "4/00:00", "x 0 hot 9M within=b..c", &[]);
    check("a.warm=3", "8/00:00", "x 0 hot 9M", &["warm 0: x -> 1"]);
    check("a.warm=never", "8/00:00", "x 0 hot 9M", &["split hot a to hot !a to warm 0: x -> 2"]);
    check("a.warm=never", "8/00:00", "x 0 hot 9M of=a", &[]);
    check("a.cold=30", "31/00:00", "x 0 warm 9M", &["split warm !a to warm a to cold 0: x -> 2"]);
    check("a.cold=30", "31/00:00", "x 0 warm 9M of=a", &["move warm 0: x -> 1"]);
    check("cold=30 a.cold=never", "31/00:00", "x 0 warm 9M", &["split warm a to warm !a to cold 0: x -> 2"]);
    check("cold=30 a.cold=never", "31/00:00", "x 0 warm 9M of=b,-", &["move warm 0: x -> 1"]);
    check("cold=30 a.cold=60", "61/00:00", "x 0 warm 9M", &["move warm 0: x -> 1"]);
    check("cold=30 a.cold=60", "61/00:00", "x 0 cold 9M", &[]);
    // All three at once: each row is written once.
    let three = ["split hot b to hot a to warm !a,b to cold 0: x -> 3"];
    check("warm=3 cold=9 a.cold=30 b.warm=never b.cold=never", "10/00:00", "x 0 hot 9M", &three);
    // A day that is being filled waits.
    check("a.warm=3", "4/00:00", "x 0 hot 9M written=3/23:50", &[]);
    // Retention comes first.
    check("a.warm=3 a=5", "6/00:00", "x 0 hot 9M", &["expire a hot 0: x -> 1"]);
    check("a.cold=8 b=9", "10/00:00", "x 0 warm 9M of=a,b", &["expire b warm 0: x -> 1"]);
    check("a.cold=8 b=9", "10/00:00", "x 0 warm 9M of=a,b removed=b", &["move warm 0: x -> 1"]);
}

#[test]
fn what_was_split_is_not_split_again() {
    check("a.warm=3", "4/00:00", "x 0 hot 9M removed=a", &[]);
    check("a.warm=3 b.warm=4", "5/00:00", "x 0 hot 9M removed=a", &["split hot !a,b to hot a,b to warm 0: x -> 2"]);
    check("a.warm=3 b.warm=4", "5/00:00", "x 0 warm 9M removed=!a", &[]);
    check("a.warm=3 b.warm=4", "5/00:00", "x 0 hot 9M removed=!b", &["warm 0: x -> 1"]);
    check("cold=30 a.cold=never", "31/00:00", "x 0 warm 9M removed=!a", &[]);
    check("cold=30 a.cold=never", "31/00:00", "x 0 warm 9M removed=a", &["move warm 0: x -> 1"]);
}

#[test]
fn only_files_alike_are_joined() {
    // Many small files are split in one action, into as few files as may be.
    check("a.warm=3", "4/00:00", "x*9 0 hot 9K", &["split hot !a to hot a to warm 0: x*9 -> 2"]);
    check("a.warm=3", "4/00:00", "x*9 0 hot 60M", &["split hot !a to hot a to warm 0: x*9 -> 6"]);
    let apart = ["merge hot 0: y*2 -> 1", "warm 0: z*2 -> 1", "split hot !a to hot a to warm 0: x*2 -> 2"];
    check("a.warm=3", "4/00:00", "x*2 0 hot 9K \n y*2 0 hot 9K removed=a \n z*2 0 hot 9K of=a", &apart);
    // What was taken apart is not joined with late rows that still have to be.
    let late = "x*4 0 hot 9K written=3/23:55 \n y*4 0 hot 9K removed=a";
    check("a.warm=3", "4/00:00", late, &[]);
    let late = "x*4 0 hot 9K hours=1-1 written=5/00:00 \n y*8 0 hot 9K removed=a";
    check("a.warm=3", "5/00:05", late, &["merge hot 0: y*8 -> 1"]);
    let both = ["merge hot 0: x*4 y*4 -> 1"];
    check("a.warm=3", "3/23:00", "x*4 0 hot 9K \n y*4 0 hot 9K removed=a", &both);
    // Warm files that will be split join no late rows.
    let old = "x 0 hot 9K of=b \n y 0 warm 9K of=b \n z 0 warm 9K of=a,b";
    let parts = ["warm 0: x y -> 1", "split warm !a to warm a to cold 0: z -> 2"];
    check("a.cold=8", "9/00:00", old, &parts);
    // Those of the cold store are all alike, and so are expiring ones of one kind only.
    check("a.cold=8", "9/00:00", "x*4 0 cold 9K of=a \n y*4 0 cold 9K of=b", &["merge cold 0: x*4 y*4 -> 1"]);
    let kinds = ["expire c warm 0: y -> 1", "expire c warm 0: x -> 1"];
    check("a.cold=8 c=2", "9/00:00", "x 0 warm 9K of=a,b,c \n y 0 warm 9K of=b,c", &kinds);
    // What goes makes no file another kind.
    let gone = ["expire a,c warm 0: x y -> 1"];
    check("a.cold=8 a=9 c=9", "10/00:00", "x 0 warm 9K of=b,c \n y 0 warm 9K of=a,b", &gone);
}

#[test]
fn what_is_known_of_files_stays_known() {
    let check = |rules: &str, now: &str, before: &str, expected: &[&str]| {
        let actions = plan(&files(before), &policy(rules), moment(now));
        let removed = actions.iter().flat_map(|action| &action.parts).map(|part| set_shown(&part.removed));
        assert_eq!(removed.collect::<Vec<_>>(), expected);
    };
    check("", "3/00:00", "x*2 0 hot 9K", &[""]);
    check("", "3/00:00", "x*2 0 hot 9K removed=a,b", &["a,b"]);
    check("", "3/00:00", "x 0 hot 9K removed=a,b \n y 0 hot 9K removed=b,c", &["b"]);
    check("", "3/00:00", "x 0 hot 9K removed=!a \n y 0 hot 9K removed=b,c", &["b,c"]);
    check("d=1", "3/00:00", "x*2 0 hot 9K removed=a,d", &["a,d"]);
    check("d=1", "3/00:00", "x 0 hot 9K", &["d"]);
    check("a.warm=2", "3/00:00", "x 0 hot 9K", &["a", "!a"]);
    check("a.warm=2", "3/00:00", "x 0 hot 9K removed=b", &["a,b", "!a"]);
    check("a.warm=2 d=1", "3/00:00", "x 0 hot 9K removed=d", &["a,d", "!a"]);
    // What the bounds say of each file holds for both.
    check("c.warm=2", "3/00:00", "x 0 hot 9K within=a..b \n y 0 hot 9K within=d..e", &["c"]);
    check("c.cold=8", "9/00:00", "x 0 hot 9K within=a..b \n y 0 warm 9K within=d..e", &["c"]);
    check("cold=8 c.cold=9", "9/00:00", "x*2 0 hot 9K within=d..e", &["c"]);
    check("cold=8 c.cold=9", "9/00:00", "x*2 0 hot 9K of=c", &["!c"]);
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
    let split = "split 1 warm file, the rows of a, b go to the cold store: 10485 rows, 1 MiB";
    check("a.cold=9 b.cold=8", "11/00:00", "x 0 warm 1M", split);
    let three = "split 2 hot files, the rows of a become warm, all rows but those of a, b go to the cold store: \
                 20970 rows, 2 MiB";
    check("cold=9 a.cold=30 b.warm=never b.cold=never", "10/00:00", "x*2 0 hot 1M", three);
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
    check("warm=7 cold=30 delete=90 a.warm=never a.cold=never b.warm=0 b.cold=1 b=2 c.warm=30", "");
    check(
        "a.cold=3",
        "lifecycle.tenants.\"a\": cold_after_days (3, its own) is less than warm_after_days (7, that of all)",
    );
    check("cold=30 a.warm=31", "cold_after_days (30, that of all) is less than warm_after_days (31, its own)");
    check(
        "delete=9 a.cold=9",
        "lifecycle.tenants.\"a\": cold_after_days (9) is not less than delete_after_days (9, that",
    );
    check(
        "a.cold=9 a=8",
        "lifecycle.tenants.\"a\": cold_after_days (9) is not less than delete_after_days (8, its own",
    );
    // Who moves at another age, or never, does not make the age of all worth its while.
    check("cold=30 delete=9 a=99 a.cold=never", "lifecycle.cold_after_days (30) is not less than");
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
        match action.work {
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
            Work::Expire { tier } => assert!(tier_is(tier)),
            Work::Merge { tier } => {
                assert!(tier_is(tier) && inputs.len() > action.files_out_max);
                assert!(inputs.iter().all(|file| file.info.bytes < full), "a full file was merged");
            }
            Work::Warm => {
                assert!(inputs.iter().any(|file| file.info.tier == Tier::Hot));
                assert!(inputs.iter().all(|file| {
                    file.info.tier == Tier::Hot || file.info.tier == Tier::Warm && file.info.bytes < full
                }));
            }
            Work::Move { from } => assert!(tier_is(from) && from != Tier::Cold),
            Work::Split { from } => assert!(tier_is(from) && action.parts.len() > 1),
        }
        assert!(bounded, "an action of {} files and {bytes} bytes", inputs.len());
        self.read_bytes += bytes;
        let before = self.files.len();
        if action.work == (Work::Move { from: Tier::Warm }) {
            for Stored { info, rows } in inputs.clone() {
                self.put(FileInfo { tier: Tier::Cold, written_us: now_us, ..info }, rows);
            }
        } else {
            self.write(action, &inputs, now_us);
        }
        self.check_tiers(action, &inputs, &self.files[before..], now_us);
    }

    /// Joins the rows, and splits those of each part evenly.
    fn write(&mut self, action: &Action, inputs: &[Stored], now_us: i64) {
        let mut rows: BTreeMap<Option<String>, u64> = BTreeMap::new();
        for (tenant, count) in inputs.iter().flat_map(|file| &file.rows) {
            *rows.entry(tenant.clone()).or_default() += count;
        }
        let expires = matches!(action.work, Work::Expire { .. });
        let parts_of =
            |tenant: &Option<String>| action.parts.iter().filter(|part| part.whose.contains(tenant.as_deref())).count();
        assert!(rows.keys().all(|tenant| parts_of(tenant) == 1 || expires && parts_of(tenant) == 0));
        let is_exact = matches!(self.knowledge, Knowledge::Exact);
        assert!(!is_exact || !expires || rows.keys().any(|tenant| parts_of(tenant) == 0), "nothing to remove");
        for part in &action.parts {
            let takes = |tenant: &Option<String>| part.whose.contains(tenant.as_deref());
            let rows: BTreeMap<_, _> =
                rows.iter().filter(|(tenant, _)| takes(tenant)).map(|(tenant, rows)| (tenant.clone(), *rows)).collect();
            let is_lost = |tenant: &Option<String>| part.removed.contains(tenant.as_deref());
            assert!(!rows.keys().any(is_lost), "rows are said to be removed that are there");
            let is_split = matches!(action.work, Work::Split { .. });
            assert!(!is_exact || !is_split || !rows.is_empty(), "nothing to split");
            self.write_part(action, part, inputs, rows, now_us);
        }
    }

    fn write_part(
        &mut self,
        action: &Action,
        part: &Part,
        inputs: &[Stored],
        rows: BTreeMap<Option<String>, u64>,
        now_us: i64,
    ) {
        let tier = part.tier;
        let left: u64 = rows.values().sum();
        let was_hot = inputs.iter().any(|file| file.info.tier == Tier::Hot);
        let percent = if was_hot && tier != Tier::Hot { self.warm_percent } else { 100 };
        let bytes = (u128::from(action.bytes) * u128::from(left) * u128::from(percent)
            / u128::from(action.rows.max(1))
            / 100) as u64;
        let files = match action.work {
            Work::Expire { .. } => bytes.div_ceil(self.policy.file_bytes_target).clamp(1, part.files_max as u64),
            // Rows are cut as if all were in this part.
            _ => left.div_ceil(action.rows.div_ceil(part.files_max as u64).max(1)),
        };
        let first_us = inputs.iter().map(|file| file.info.first_us).min().unwrap();
        let last_us = inputs.iter().map(|file| file.info.last_us).max().unwrap();
        for file in 0..files {
            let share = |total: u64| total * (file + 1) / files - total * file / files;
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
                removed: part.removed.clone(),
                ..inputs[0].info.clone()
            };
            self.put(info, rows);
        }
    }

    /// Whose rows were joined, split and raised is right.
    fn check_tiers(&self, action: &Action, inputs: &[Stored], outputs: &[Stored], now_us: i64) {
        assert!(outputs.len() <= action.files_out_max, "{} files: {action:?}", outputs.len());
        let due = |tenant: &Option<String>| due_tier(&self.policy, tenant.as_deref(), action.day, now_us);
        let highest = inputs.iter().map(|file| file.info.tier).max().unwrap();
        for Stored { info, rows } in outputs {
            assert!(
                rows.keys().all(|tenant| info.tier <= due(tenant).max(highest)),
                "rows were raised before their age"
            );
        }
        // On a day that is settled no file is written that would be split at once.
        let is_mixed = |file: &Stored| {
            let info = FileInfo { written_us: i64::MIN / 2, ..file.info.clone() };
            let actions = plan(&[info], &self.policy, now_us);
            actions.iter().any(|action| matches!(action.work, Work::Split { .. }))
        };
        let may_be = matches!(action.work, Work::Expire { .. } | Work::Merge { .. });
        let was = inputs.iter().any(|file| is_mixed(file) || matches!(action.work, Work::Expire { .. }));
        assert!(!outputs.iter().any(is_mixed) || may_be && was, "rows were mixed, or not taken apart: {action:?}");
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
                let due = due_tier(&self.policy, tenant.as_deref(), info.day, now_us);
                let is_closed = self.policy.is_day_closed(info.day, now_us);
                assert!(info.tier >= due || !is_closed, "rows of {tenant:?} are {}, and should be {due}", info.tier);
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

/// The tier of the age of a tenant's rows, by the ages alone.
fn due_tier(policy: &Policy, tenant: Option<&str>, day: i32, now_us: i64) -> Tier {
    let own = tenant.and_then(|tenant| policy.tenants.get(tenant)).copied();
    let ages = own.unwrap_or(ages(policy.warm_after_days, policy.cold_after_days, None));
    let age = now_us.div_euclid(DAY_US) - i64::from(day) - 1;
    let is_past = |days: Option<u32>| days.is_some_and(|days| i64::from(days) <= age);
    match (is_past(ages.cold_after_days), is_past(ages.warm_after_days)) {
        (true, _) => Tier::Cold,
        (false, true) => Tier::Warm,
        (false, false) => Tier::Hot,
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

/// A day of four tenants that come of age on different days, then half a year.
#[test]
fn every_age_of_a_tenants_own_costs_at_most_one_rewrite() {
    let rewrites = |rules: &str, knowledge| {
        let mut lake = Lake::new(policy(rules), knowledge);
        let mut written = 0;
        for flush in 0..288_i64 {
            let now_us = flush * 5 * MINUTE_US;
            let bytes = MIB + (flush * 7_919 % 512) as u64 * KIB;
            lake.flush((now_us - MINUTE_US).max(0), now_us, bytes, now_us);
            let file = lake.files.pop().unwrap();
            // Some are in every file, some are not.
            let tenants = [Some("a"), Some("b"), (flush % 3 > 0).then_some("c"), None];
            let rows = tenants.into_iter().map(|tenant| (tenant.map(str::to_owned), bytes / 400 + 1)).collect();
            lake.put(file.info, rows);
            written += bytes;
            lake.pass(now_us + 1_000_000);
        }
        let mut now_us = DAY_US;
        for day in 1..180 {
            now_us = lake.rest(now_us.max(day * DAY_US), 15 * MINUTE_US);
            lake.assert_tidy(now_us);
        }
        assert!(lake.files.iter().all(|file| file.info.tier >= Tier::Warm));
        lake.read_bytes as f64 / written as f64
    };
    for knowledge in [Knowledge::Exact, Knowledge::Bounds, Knowledge::None] {
        let same = rewrites("cold=30", knowledge);
        let own = rewrites("cold=30 a.warm=2 a.cold=never b.warm=40 b.cold=60 c.warm=3 c.cold=20", knowledge);
        // Two ages of warm and two of cold come on other days than those of all.
        assert!(own <= same + 2.0, "each byte is rewritten {own} times, {same} times with the same ages for all");
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

type Age = Option<u32>;

/// A tenant's warm and cold age, where they are its own, and its retention.
fn an_age() -> impl Strategy<Value = (Option<Age>, Option<Age>, Age)> {
    let own = |days| prop::option::of(prop::option::of(days));
    (own(0..9_u32), own(0..14_u32), prop::option::of(1..12_u32))
}

prop_compose! {
    fn a_policy()(
        warm in prop::option::of(0..6_u32),
        cold in prop::option::of(0..9_u32),
        delete in prop::option::of(1..12_u32),
        tenants in prop::collection::btree_map("[abx]", an_age(), 0..3),
        merge_files_min in 2..12_usize,
        target_mebibytes in 1..200_u64,
    ) -> Policy {
        Policy {
            warm_after_days: warm,
            cold_after_days: cold,
            delete_after_days: delete,
            tenants: tenants
                .into_iter()
                .map(|(name, (own_warm, own_cold, delete))| {
                    (name, ages(own_warm.unwrap_or(warm), own_cold.unwrap_or(cold), delete))
                })
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
        for tier in [Tier::Hot, Tier::Warm, Tier::Cold] {
            let is_due = due_tier(&policy, tenant.as_deref(), day, now_us) == tier;
            prop_assert_eq!(policy.due_on(day, now_us, tier).contains(tenant.as_deref()), is_due);
        }
        let oldest_us = policy.oldest_us(tenant.as_deref(), now_us);
        prop_assert_eq!(oldest_us.is_some_and(|oldest_us| time_us < oldest_us), expired);
    }
}
