//! Files and a policy in, a plan out.

use super::*;

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
fn an_open_hour_has_few_files_however_fast_rows_come() {
    // Into a full file, or many into one, and not before.
    check("", "0/01:00", "x*31 0 hot 4M", &[]);
    check("", "0/01:00", "x*32 0 hot 4M", &["merge hot 0: x*32 -> 1"]);
    check("", "0/01:00", "x*63 0 hot 20K", &[]);
    check("", "0/01:00", "x*65 0 hot 20K", &["merge hot 0: x*64 -> 1"]);
    // What is left of a closed hour counts.
    check("", "0/02:10", "x*5 0 hot 8M \n y*11 0 hot 8M hours=1-1", &["merge hot 0: x*5 y*11 -> 1"]);
    // Ripe ones do not wait for it.
    let both = ["merge hot 0: x*8 -> 1", "merge hot 0: y*64 -> 1"];
    check("", "0/02:10", "x*8 0 hot 20K \n y*64 0 hot 20K hours=1-1", &both);
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
