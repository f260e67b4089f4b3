//! Each kind of damage is found and named.

use super::*;

#[tokio::test]
async fn damage_is_named() {
    let bases = bases().await;
    let mut problems = Vec::new();
    let mut check = async |name, base, damage, content, expected: &[_]| {
        problems.extend(check(&bases, Case { name, base, damage, content, expected }).await.err());
    };
    check("nothing, crashed", Crashed, Files(|_| {}), true, &[]).await;
    check("nothing, stopped", Stopped, Files(|_| {}), true, &[]).await;

    // The log. Batches 11 and 12 are counted, 13 to 16 are not.
    check(
        "a segment's middle",
        Crashed,
        Files(|data| flip(&segments(data)[3], |bytes| bytes / 2)),
        false,
        &[("wal/00000000000000000014.wal", "bytes are damaged, batch 14 with them")],
    )
    .await;
    check(
        "a segment's head",
        Crashed,
        Files(|data| flip(&segments(data)[3], |_| 3)),
        false,
        &[("wal/00000000000000000014.wal", "offset 0: its head is damaged")],
    )
    .await;
    check(
        "a segment's tail",
        Crashed,
        Files(|data| edit(&segments(data)[3], |bytes| bytes.truncate(bytes.len() - 9))),
        false,
        &[("wal/00000000000000000014.wal", "bytes are damaged, batch 14 with them")],
    )
    .await;
    check(
        "the log's tail",
        Crashed,
        Files(|data| edit(&segments(data)[5], |bytes| bytes.truncate(bytes.len() - 9))),
        false,
        &[],
    )
    .await;
    check(
        "a segment",
        Crashed,
        Files(|data| fs::remove_file(&segments(data)[3]).unwrap()),
        false,
        &[("wal/00000000000000000015.wal", "batches 14 to 14 before it are missing")],
    )
    .await;
    check(
        "the first segments",
        Crashed,
        Files(|data| {
            segments(data)[..3].iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        false,
        &[("wal/00000000000000000014.wal", "batches 13 to 13 before it are missing")],
    )
    .await;
    check(
        "segments that are not needed",
        Crashed,
        Files(|data| {
            segments(data)[..2].iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        false,
        &[],
    )
    .await;
    check(
        "a segment twice",
        Crashed,
        Files(|data| {
            fs::copy(&segments(data)[3], data.join("wal/00000000000000000015.wal")).unwrap();
        }),
        false,
        &[
            ("wal/00000000000000000015.wal", "batch 14 stands where 15 belongs"),
            ("wal/00000000000000000016.wal", "batches 15 to 15 before it are missing"),
        ],
    )
    .await;
    check(
        "a file that is no segment",
        Crashed,
        Files(|data| fs::write(data.join("wal/a.wal"), "").unwrap()),
        false,
        &[("wal/a.wal", "is not the name of a segment")],
    )
    .await;
    check(
        "the log",
        Crashed,
        Files(|data| fs::remove_dir_all(data.join("wal")).unwrap()),
        false,
        &[("wal", "the directory is missing")],
    )
    .await;

    // Files.
    check(
        "a file",
        Crashed,
        Files(|data| fs::remove_file(live_file(data)).unwrap()),
        false,
        &[(".parquet", "the file is missing")],
    )
    .await;
    check(
        "a file's end",
        Crashed,
        Files(|data| edit(&live_file(data), |bytes| bytes.truncate(bytes.len() - 1))),
        false,
        &[(".parquet", "bytes, the log says")],
    )
    .await;
    check(
        "a file's footer",
        Crashed,
        Files(|data| flip(&live_file(data), |bytes| bytes - 6)),
        false,
        &[(".parquet", "the footer cannot be read")],
    )
    .await;
    check("a page, footers only", Crashed, Files(|data| flip(&live_file(data), |_| 4)), false, &[]).await;
    check(
        "a page, rows as well",
        Crashed,
        Files(|data| flip(&live_file(data), |_| 4)),
        true,
        &[(".parquet", "its rows cannot be read, from 0 on")],
    )
    .await;
    check(
        "another file in its place",
        Crashed,
        Files(|data| {
            let path = live_file(data);
            let length = fs::metadata(&path).unwrap().len() as usize;
            fs::write(path, vec![b'x'; length]).unwrap();
        }),
        false,
        &[(".parquet", "the footer cannot be read")],
    )
    .await;

    // The tables' logs.
    check(
        "a count",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"numRecords\":2"#, r#"\"numRecords\":3"#)),
        false,
        &[
            (".parquet", "the footer counts 2 rows, the log 3"),
            ("tables/agent_logs", "97 rows are there or were deleted, but only 96 are in the books"),
        ],
    )
    .await;
    check(
        "a bound",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"tenant_id\":\"t1\""#, r#"\"tenant_id\":\"t0\""#)),
        false,
        &[(".parquet", "the greatest tenant_id is t1, the log says t0")],
    )
    .await;
    check(
        "a bound, rows as well",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"cost_usd\":0.5"#, r#"\"cost_usd\":0.25"#)),
        true,
        &[(".parquet", "the greatest cost_usd is 0.5, the log says 0.25")],
    )
    .await;
    check(
        "nulls",
        Crashed,
        Files(|data| replace(entries(data).last().unwrap(), r#"\"tenant_id\":0"#, r#"\"tenant_id\":1"#)),
        true,
        &[
            (".parquet", "the column tenant_id has 0 nulls, the log says 1"),
            (".parquet", "the column tenant_id holds 0 nulls, the log says 1"),
        ],
    )
    .await;
    check(
        "a day",
        Crashed,
        Files(|data| {
            let path = entries(data).pop().unwrap();
            replace(
                &path,
                "\"partitionValues\":{\"date\":\"2026-05-12\"}",
                "\"partitionValues\":{\"date\":\"2026-05-11\"}",
            );
        }),
        false,
        &[(".parquet", "which is not of its day")],
    )
    .await;
    check(
        "an entry",
        Crashed,
        Files(|data| fs::remove_file(&entries(data)[4]).unwrap()),
        false,
        &[("tables/agent_logs/_delta_log/00000000000000000004.json", "is missing")],
    )
    .await;
    check(
        "the first entries",
        Crashed,
        Files(|data| {
            entries(data)[..2].iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        false,
        &[("tables/agent_logs/_delta_log/00000000000000000000.json", "and with it the entries up to 1")],
    )
    .await;
    check(
        "the last entry",
        Crashed,
        Files(|data| fs::remove_file(entries(data).last().unwrap()).unwrap()),
        false,
        &[("tables/agent_logs", "a start passes over 12 rows of the log")],
    )
    .await;
    check(
        "the last entry, stopped",
        Stopped,
        Files(|data| fs::remove_file(entries(data).last().unwrap()).unwrap()),
        false,
        &[("tables/agent_logs", "96 rows are in the books, but only 72 are there")],
    )
    .await;
    check(
        "half an entry",
        Crashed,
        Files(|data| edit(&entries(data)[4], |bytes| bytes.truncate(bytes.len() / 2))),
        false,
        &[
            ("tables/agent_logs/_delta_log/00000000000000000004.json", "is not JSON"),
            ("tables/agent_logs/_delta_log", ""),
        ],
    )
    .await;
    check(
        "a protocol",
        Crashed,
        Files(|data| replace(&entries(data)[0], "\"minWriterVersion\":2", "\"minWriterVersion\":3")),
        false,
        &[("tables/agent_logs/_delta_log", "the table's protocol is not ours")],
    )
    .await;
    check(
        "a log",
        Crashed,
        Files(|data| fs::remove_dir_all(data.join("tables/agent_logs/_delta_log")).unwrap()),
        false,
        &[("tables/agent_logs", "but its _delta_log is missing")],
    )
    .await;
    check(
        "a table",
        Crashed,
        Files(|data| fs::remove_dir_all(data.join("tables/rejected_logs")).unwrap()),
        false,
        &[("tables/rejected_logs", "a start passes over 2 rows of the log")],
    )
    .await;

    // SQLite.
    check(
        "a page of SQLite",
        Stopped,
        Files(|data| edit(&data.join("catalog.sqlite"), |bytes| bytes[4_096..].fill(0x5a))),
        false,
        &[("catalog.sqlite", "")],
    )
    .await;
    check(
        "SQLite's head",
        Stopped,
        Files(|data| flip(&data.join("catalog.sqlite"), |_| 3)),
        false,
        &[("catalog.sqlite", "")],
    )
    .await;
    check(
        "all of SQLite",
        Crashed,
        Files(|data| fs::remove_file(data.join("catalog.sqlite")).unwrap()),
        false,
        &[("catalog.sqlite", "the file is missing")],
    )
    .await;
    check(
        "a seq",
        Stopped,
        Sql("update totals set seq = seq + 100"),
        false,
        &[("catalog.sqlite", "counts through batch 116, but the tables hold only through 16")],
    )
    .await;
    check(
        "an earlier seq",
        Stopped,
        Sql("update totals set seq = seq - 1"),
        false,
        &[
            ("catalog.sqlite", "has a receipt of batch 16, but counts only through batch 15"),
            ("wal", "ends with batch 15, but the tables hold batches through 16"),
        ],
    )
    .await;
    check(
        "books with a row more",
        Stopped,
        Sql("update totals set accepted = accepted + 1"),
        false,
        &[("tables/agent_logs", "97 rows are in the books, but only 96 are there")],
    )
    .await;
    check(
        "books with a row less",
        Stopped,
        Sql("update totals set rejected = rejected - 1"),
        false,
        &[("tables/rejected_logs", "16 rows are there or were deleted, but only 15 are in the books")],
    )
    .await;
    check("a receipt twice", Stopped, Sql("insert into receipts select randomblob(16), seq, accepted, rejected, received_at, body from receipts where seq = 3"), false, &[
        ("catalog.sqlite", "has 2 receipts of batch 3"),
    ]).await;
    check(
        "a receipt of nothing",
        Stopped,
        Sql("update receipts set accepted = -1 where seq = 3"),
        false,
        &[("catalog.sqlite", "receipts hold what no batch has: 1")],
    )
    .await;
    check(
        "a receipt that says something else",
        Crashed,
        Sql("update receipts set accepted = 1 where seq = 12"),
        false,
        &[(
            "catalog.sqlite",
            "its receipt of batch 12 says batch 12 with 1 accepted and 1 rejected, the log says 6 and 1",
        )],
    )
    .await;
    check("a shape of tomorrow", Stopped, Sql("insert into _sqlx_migrations select 99999999, description, installed_on, success, checksum, execution_time from _sqlx_migrations limit 1"), false, &[
        ("catalog.sqlite", "its shape 99999999 is newer than this version knows"),
    ]).await;

    // The directory.
    check(
        "a format of tomorrow",
        Stopped,
        Files(|data| fs::write(data.join("FORMAT"), "driftline-data 2\n").unwrap()),
        false,
        &[("FORMAT", "says \"driftline-data 2\", this version knows \"driftline-data 1\"")],
    )
    .await;
    check(
        "the format",
        Stopped,
        Files(|data| fs::remove_file(data.join("FORMAT")).unwrap()),
        false,
        &[("FORMAT", "cannot be read")],
    )
    .await;
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}
