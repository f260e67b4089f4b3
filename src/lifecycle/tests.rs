//! Plans as tables of text, and what must hold of every plan, on a model of a table that does what it
//! is told. Nothing here touches a file.

mod lake;
mod plans;
mod policies;

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
