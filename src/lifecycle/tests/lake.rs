//! A lake that is kept in memory: plans are carried out on it, day after day.

mod costs;
mod histories;

use super::*;

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
