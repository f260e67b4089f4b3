//! Functions over time and frequency in SQL: what they say is held against the same told in plain SQL, and what
//! makes no sense is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::app::{TestApp, failure, json as app_json};

/// Expressions answer these; a part from ` from ` on is the statement's own.
async fn check(answers: &[(&str, Value)]) {
    let app = TestApp::start().await;
    for (expression, expect) in answers {
        let (select, from) = expression
            .split_once(" from ")
            .map_or((*expression, String::new()), |(select, from)| (select, format!("from {from}")));
        let rows = app.sql(&format!("select {select} as answer {from}")).await;
        assert_eq!(rows[0]["answer"], *expect, "{expression}");
    }
}

async fn check_refused(refusals: &[(&str, &str)]) {
    let app = TestApp::start().await;
    for (expression, words) in refusals {
        let statement = format!("select {expression}");
        let (status, message) = failure(app.get("/api/v1/sql").query(&[("q", statement.as_str())])).await;
        assert_eq!(status, 400, "{expression}: {message}");
        assert!(message.contains(words), "{expression}: {message}");
    }
}

/// Many groups in many partitions, so that partial states are put together: nothing differs between two tellings.
async fn check_same(app: &TestApp, one: &str, other: &str) {
    let rows = "select value, value % 97 as g, (value * 7919) % 100003 as x,
        to_timestamp_micros(1778716800000000 + ((value * 31) % 86400) * 1000000) as t
        from generate_series(1, 30000)";
    let statement = format!(
        "with rows as ({rows}), one as (select g, {one} as a from rows group by g),
            other as (select g, {other} as a from rows group by g)
         select count(*) as groups, count(*) filter (where one.a is distinct from other.a) as different
         from one join other on one.g = other.g"
    );
    assert_eq!(app.sql(&statement).await, json!([{"groups": 97, "different": 0}]), "{one}\n{other}");
}

#[tokio::test]
async fn times_fall_into_buckets() {
    check(&[
        ("time_bucket('5 minutes', timestamp '2026-05-14T12:34:56')", json!("2026-05-14T12:30:00.000000Z")),
        ("time_bucket(interval '1 day', date '2026-05-14')", json!("2026-05-14T00:00:00.000000Z")),
        ("time_bucket('1 week', '2026-05-14T12:34:56')", json!("2026-05-11T00:00:00.000000Z")),
        ("time_bucket('3 months', timestamp '2026-05-14T12:34:56')", json!("2026-04-01T00:00:00.000000Z")),
        ("time_bucket('1 year', timestamp '1969-12-31T23:59:59')", json!("1969-01-01T00:00:00.000000Z")),
        (
            "time_bucket('1 day', timestamp '2026-05-14T12:34:56', timestamp '2026-01-01T06:00:00')",
            json!("2026-05-14T06:00:00.000000Z"),
        ),
        ("time_bucket('1 day', null)", Value::Null),
        ("time_bucket(null, timestamp '2026-05-14T12:34:56')", Value::Null),
        (
            "count(distinct time_bucket('250 milliseconds', t)) from (select to_timestamp_micros(1778716800000000 + value * 1000) as t from generate_series(0, 999))",
            json!(4),
        ),
    ])
    .await;
    let app = TestApp::start().await;
    for (width, same) in [
        ("1 hour", "date_trunc('hour', t)"),
        ("1 day", "date_trunc('day', t)"),
        ("1 week", "date_trunc('week', t)"),
        ("1 month", "date_trunc('month', t)"),
        ("3 months", "date_trunc('quarter', t)"),
        ("1 year", "date_trunc('year', t)"),
        ("7 minutes", "date_bin(interval '7 minutes', t, timestamp '2000-01-03')"),
        ("5 months", "date_bin(interval '5 months', t, timestamp '2000-01-01')"),
    ] {
        let statement = format!(
            "select count(*) as n, count(*) filter (where time_bucket('{width}', t) is distinct from {same}) as different
             from (select to_timestamp_micros(-310435201000000 + value * 106620000000) as t from generate_series(0, 20000))"
        );
        assert_eq!(app.sql(&statement).await, json!([{"n": 20_001, "different": 0}]), "{width}");
    }
}

/// Hours of a day in which two series were heard of.
const HEARD: &str = "with heard as (select * from (values ('a', 2, 10), ('a', 2, 20), ('a', 4, 40), ('b', 3, null), ('b', 5, 7))
    as v(k, h, x)), calls as (select k, x, to_timestamp_micros(1778716800000000 + h * 3600000000 + 60000000) as t from heard)";

/// The rows of a statement over them, the hour for the bucket.
async fn heard(app: &TestApp, statement: &str) -> Value {
    app.sql(&format!("{HEARD} {statement}")).await
}

#[tokio::test]
async fn a_file_may_fill_gaps() {
    let sql = tempfile::tempdir().unwrap();
    std::fs::create_dir(sql.path().join("queries")).unwrap();
    let text = "-- question: How many calls does each hour have?
-- param: from timestamp = now-24h -- start of the range, inclusive
-- param: to timestamp = now -- end of the range, exclusive
-- column: hour time -- start of the hour, UTC
-- column: calls count -- calls
-- column: cost USD -- of the hour, or of the last one before that has any
select time_bucket_gapfill('1 hour', timestamp) as hour, coalesce(count(*), 0) as calls, locf(sum(cost)) as cost
from agent_logs
where timestamp >= $from and timestamp < $to
group by 1
order by 1
";
    std::fs::write(sql.path().join("queries/hours.sql"), text).unwrap();
    let app = TestApp::start_with(|config| config.query.sql_directory = Some(sql.path().to_owned())).await;
    let call = |time: &str, cost: f64| json!({"timestamp": time, "agent_id": "a", "cost_usd": cost}).to_string();
    app.logs([call("2026-05-14T01:10:00Z", 0.5), call("2026-05-14T03:50:00Z", 0.25)].join("\n")).await;
    let range = [("from", "2026-05-14T01:00:00Z"), ("to", "2026-05-14T05:00:00Z")];
    let rows = app_json(app.get("/api/v1/queries/hours").query(&range)).await;
    let rows: Vec<(u64, f64)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["calls"].as_u64().unwrap(), row["cost"].as_f64().unwrap()))
        .collect();
    assert_eq!(rows, [(1, 0.5), (0, 0.5), (1, 0.25), (0, 0.25)]);
}

#[tokio::test]
async fn gaps_have_rows() {
    let app = TestApp::start().await;
    let hour = "extract(hour from time_bucket_gapfill('1 hour', t))";
    let range = "where t >= timestamp '2026-05-14T01:30:00' and t < timestamp '2026-05-14T06:00:00'";
    let rows = heard(
        &app,
        &format!(
            "select time_bucket_gapfill('1 hour', t) as hour, k, count(*) as n, sum(x) as x, locf(sum(x)) as l,
                interpolate(sum(x)) as i, coalesce(count(*), 0) as c
             from calls {range} group by 1, 2 order by 2, 1"
        ),
    )
    .await;
    let row = |hour: u32, k: &str, n: Value, x: Value, l: Value, i: Value| {
        let (hour, c) = (format!("2026-05-14T0{hour}:00:00.000000Z"), n.as_u64().unwrap_or(0));
        json!({"hour": hour, "k": k, "n": n, "x": x, "l": l, "i": i, "c": c})
    };
    let none = Value::Null;
    let expect = [
        row(1, "a", none.clone(), none.clone(), none.clone(), none.clone()),
        row(2, "a", json!(2), json!(30), json!(30), json!(30.0)),
        row(3, "a", none.clone(), none.clone(), json!(30), json!(35.0)),
        row(4, "a", json!(1), json!(40), json!(40), json!(40.0)),
        row(5, "a", none.clone(), none.clone(), json!(40), none.clone()),
        row(1, "b", none.clone(), none.clone(), none.clone(), none.clone()),
        row(2, "b", none.clone(), none.clone(), none.clone(), none.clone()),
        row(3, "b", json!(1), none.clone(), none.clone(), none.clone()),
        row(4, "b", none.clone(), none.clone(), none.clone(), none.clone()),
        row(5, "b", json!(1), json!(7), json!(7), json!(7.0)),
    ];
    assert_eq!(rows, json!(expect));

    // One series, of which nothing may be known; both forms of the range; and the bucket within an expression above.
    for (statement, expect) in [
        (format!("select time_bucket_gapfill('2 hours', t) as b, count(*) as n from calls {range} and x > 99 group by 1"), 3),
        (
            "select time_bucket_gapfill('1 day', t, timestamp '2026-05-12', timestamp '2026-05-16') as b, count(*) as n
             from calls group by b"
                .to_owned(),
            4,
        ),
        ("select time_bucket_gapfill('1 hour', t) as b from calls where t between timestamp '2026-05-14T02:00:00' and timestamp '2026-05-14T03:00:00' group by b".to_owned(), 2),
        ("select time_bucket_gapfill('1 month', t) as b from calls where timestamp '2026-01-01' <= t and t < '2027-01-01' group by b".to_owned(), 12),
        ("select time_bucket_gapfill('1 hour', t, timestamp '2026-05-14T02:00:00', timestamp '2026-05-14T03:00:00') as b from calls group by b".to_owned(), 4),
    ] {
        let rows = heard(&app, &statement).await;
        assert_eq!(rows.as_array().unwrap().len(), expect, "{statement}: {rows}");
    }
    let having = format!(
        "select {hour} as h, k from calls {range} group by time_bucket_gapfill('1 hour', t), k having count(*) > 1"
    );
    assert_eq!(heard(&app, &having).await, json!([{"h": 2, "k": "a"}]));
    let below = format!(
        "select count(*) as rows, count(l) as told from (select time_bucket_gapfill('1 hour', t) as b, k, locf(max(x)) * 2 as l
         from calls {range} group by b, k)"
    );
    assert_eq!(heard(&app, &below).await, json!([{"rows": 10, "told": 5}]));
}

#[tokio::test]
async fn filled_rows_are_those_that_are_counted_by_hand() {
    const HOURS: i64 = 150;
    const START_US: i64 = 1_778_716_800_000_000;
    let app = TestApp::start().await;
    let hour = format!("(extract(epoch from b) - {}) / 3600", START_US / 1_000_000);
    let mut rows = app
        .sql(&format!(
            "with calls as (select value % 3 as k, (value * 7919) % 1003 as x,
                to_timestamp_micros({START_US} + ((value * value) % 1501) * 577000000) as t from generate_series(1, 90)),
             filled as (select time_bucket_gapfill('1 hour', t) as b, k, sum(x) as x, locf(sum(x)) as l,
                interpolate(sum(x)) as i from calls
                where t >= to_timestamp_micros({START_US}) and t < to_timestamp_micros({START_US}) + interval '{HOURS} hours'
                group by 1, 2)
             select cast({hour} as int) as hour, k, x, l, i from filled order by k, b"
        ))
        .await;
    let mut sums = BTreeMap::new();
    for value in 1..=90_i64 {
        let hour = (value * value) % 1501 * 577 / 3600;
        if hour < HOURS {
            *sums.entry((value % 3, hour)).or_insert(0) += (value * 7919) % 1003;
        }
    }
    let mut expect = Vec::new();
    for k in 0..3 {
        for hour in 0..HOURS {
            let before = sums.range((k, 0)..=(k, hour)).next_back().map(|((_, hour), x)| (*hour, *x));
            let after = sums.range((k, hour)..(k, HOURS)).next().map(|((_, hour), x)| (*hour, *x));
            let line = match (before, after) {
                (Some((h0, x0)), Some((h1, x1))) if h0 < h1 => {
                    Some(x0 as f64 + (x1 - x0) as f64 * ((hour - h0) as f64 / (h1 - h0) as f64))
                }
                (Some((_, x)), Some(_)) => Some(x as f64),
                _ => None,
            };
            let row = json!({"hour": hour, "k": k, "x": sums.get(&(k, hour)), "l": before.map(|(_, x)| x)});
            expect.push((row, line));
        }
    }
    assert!(sums.len() > 40 && sums.len() < 90, "{} hours have calls", sums.len());
    let rows = rows.as_array_mut().unwrap();
    assert_eq!(rows.len(), expect.len());
    for (row, (expect, line)) in rows.iter_mut().zip(expect) {
        let interpolated = row.as_object_mut().unwrap().remove("i").unwrap().as_f64();
        assert_eq!(*row, expect);
        // The way through JSON may cost the last digit.
        let difference = interpolated.zip(line).map_or(0.0, |(one, other)| (one - other).abs());
        assert!(interpolated.is_some() == line.is_some() && difference < 1e-9, "{row}: {interpolated:?}, not {line:?}");
    }
}

#[tokio::test]
async fn gaps_without_ends_are_refused() {
    let calls = "from (select now() as t, 1 as x)";
    check_refused(&[
        (&format!("time_bucket_gapfill('1 hour', t) {calls} group by 1"), "needs a range: `where` with both ends"),
        (&format!("time_bucket_gapfill('1 hour', t) {calls} where t > now() group by 1"), "needs a range"),
        (&format!("time_bucket_gapfill('1 hour', t) {calls}"), "is a column of `group by`"),
        (
            &format!(
                "time_bucket_gapfill('1 second', t, timestamp '2020-01-01', timestamp '2026-01-01') {calls} group by 1"
            ),
            "more than 100000 buckets",
        ),
        (
            &format!(
                "time_bucket_gapfill('0 hours', t, timestamp '2020-01-01', timestamp '2026-01-01') {calls} group by 1"
            ),
            "width is more than nothing",
        ),
        (
            &format!("time_bucket_gapfill('1 hour', t, now()) {calls} group by 1"),
            "(width, timestamp [, start, finish])",
        ),
        (&format!("locf(max(x)) {calls}"), "groups by time_bucket_gapfill"),
        (&format!("time_bucket('1 hour', t), interpolate(max(x)) {calls} group by 1"), "groups by time_bucket_gapfill"),
        (
            &format!("to_char(time_bucket_gapfill('1 hour', t, now(), now()), '%H') {calls} group by 1"),
            "on its own, outside of other expressions",
        ),
    ])
    .await;
}

#[tokio::test]
async fn buckets_that_make_no_sense_are_refused() {
    check_refused(&[
        ("time_bucket('0 seconds', now())", "time_bucket: its width is more than nothing"),
        ("time_bucket('-1 hour', now())", "time_bucket: its width is more than nothing"),
        ("time_bucket('1 month 1 day', now())", "months have no fixed length"),
        ("time_bucket('1 month', now(), timestamp '2026-01-15')", "buckets of months start with a month"),
        ("time_bucket(5, now())", "its width is an interval such as '1 hour', not Int64"),
        ("time_bucket('1 hour', 5)", "takes a timestamp or a date, not Int64"),
        ("time_bucket('1 hour')", "takes (width, timestamp [, origin])"),
        ("time_bucket('an hour', now())", "an hour"),
        (
            "time_bucket(case when value = 1 then interval '1 hour' else interval '1 day' end, now()) from generate_series(1, 3)",
            "its width and its origin are constants",
        ),
    ])
    .await;
}

#[tokio::test]
async fn first_and_last_are_by_time() {
    let from = "from (values (1, 'a', 5), (1, null, 1), (1, 'c', 3), (1, 'd', null), (2, null, 1), (1, 'b', 3),
        (1, 'e', 5)) as v(g, x, t)";
    check(&[
        (&format!("first(x, t) {from}"), json!("b")),
        (&format!("last(x, t) {from}"), json!("e")),
        (&format!("last(x, t) filter (where x <> 'e') {from}"), json!("a")),
        (&format!("first(x, t) {from} where g = 2"), Value::Null),
        (&format!("first(x, t) {from} where false"), Value::Null),
        (&format!("max_by(x, t) || arg_min(x, t) || coalesce(last(g, t), 0) {from}"), json!("eb1")),
        (&format!("last(t, t) - first(t, t) {from}"), json!(4)),
    ])
    .await;
    let app = TestApp::start().await;
    let rows = app.sql(&format!("select g, first(x, t), last(x, t) as l {from} group by g order by g")).await;
    let name = "first(v.x,v.t)";
    assert_eq!(rows, json!([{"g": 1, name: "b", "l": "e"}, {"g": 2, name: null, "l": null}]));
    let sorted = "group by g having last(x, t) > 'd' order by last(x, t) desc";
    assert_eq!(app.sql(&format!("select g, last(x, t) as l {from} {sorted}")).await, json!([{"g": 1, "l": "e"}]));
    check_same(&app, "last(x, t)", "(array_agg(x order by t desc, x desc))[1]").await;
    check_same(&app, "first(x, t)", "(array_agg(x order by t, x))[1]").await;
    check_refused(&[
        ("first(1)", "first takes (value, time)"),
        ("last(1, 2, 3)", "last takes (value, time)"),
        ("first(distinct value, value) from generate_series(1, 3)", "without distinct"),
        ("last(value, value) over () from generate_series(1, 3)", "write last_value(value) over (order by time)"),
    ])
    .await;
}

#[tokio::test]
async fn counters_rise_and_restart() {
    let readings = "from (values (10, 0), (30, 20), (20, 10), (5, 30), (8, 40), (null, 50), (9, null)) as v(c, s)";
    let time = "to_timestamp_micros(1778716800000000 + s * 1000000)";
    check(&[
        // 10 → 20 → 30, a restart at 5, and 8: 20 + 5 + 3 in 40 seconds.
        (&format!("increase(c, {time}) {readings}"), json!(28.0)),
        (&format!("rate(c, {time}) {readings}"), json!(0.7)),
        (&format!("increase(c, {time}) {readings} where s = 0"), Value::Null),
        (&format!("rate(c, {time}) {readings} where false"), Value::Null),
        ("rate(c, now()) from (values (1), (4)) as v(c)", Value::Null),
        ("increase(c, now()) from (values (1), (4), ('nan'::double)) as v(c)", json!(3.0)),
    ])
    .await;
    let app = TestApp::start().await;
    let steps = "select g, sum(case when x >= before then x - before when before is not null then x end) as a
        from (select g, x, lag(x) over (partition by g order by t, x) as before from rows) group by g";
    let rows = "select value % 97 as g, (value * 7919) % 100003 as x,
        to_timestamp_micros(1778716800000000 + ((value * 31) % 86400) * 1000000) as t from generate_series(1, 30000)";
    let statement = format!(
        "with rows as ({rows}), one as (select g, increase(x, t) as a from rows group by g), other as ({steps})
         select count(*) as groups, count(*) filter (where one.a is distinct from other.a) as different
         from one join other on one.g = other.g"
    );
    assert_eq!(app.sql(&statement).await, json!([{"groups": 97, "different": 0}]));
    check_refused(&[
        ("rate(-1, now())", "a counter is never below 0, and one here is -1"),
        ("rate(1)", "rate takes (counter, time)"),
        ("increase('a', now())", "increase takes (counter, time), a number and a timestamp"),
        ("rate(1, 2)", "takes a timestamp or a date"),
    ])
    .await;
}

#[tokio::test]
async fn histograms_count_by_equal_buckets() {
    check(&[
        ("histogram(x, 0, 10, 2) from (values (-1), (0), (4), (5), (9), (10), (null)) as v(x)", json!([1, 2, 2, 1])),
        ("histogram(x, 0.5, 1, 1) from (values ('nan'::double), ('inf'::double)) as v(x)", json!([0, 0, 0])),
        ("histogram(x, -1, 1, 2) from (select 1 as x) where false", json!([0, 0, 0, 0])),
        ("histogram(x, 0, 10, 2) filter (where x > 4) from (values (1), (7)) as v(x)", json!([0, 0, 1, 0])),
    ])
    .await;
    let app = TestApp::start().await;
    check_same(
        &app,
        "histogram(x, 20000, 80000, 3)",
        "[count(*) filter (where x < 20000), count(*) filter (where x >= 20000 and x < 40000),
          count(*) filter (where x >= 40000 and x < 60000), count(*) filter (where x >= 60000 and x < 80000),
          count(*) filter (where x >= 80000)]",
    )
    .await;
    check_refused(&[
        ("histogram(1, 5, 5, 2)", "min is below max"),
        ("histogram(1, 0, 5, 0)", "nbuckets is from 1 to 10000, not 0"),
        ("histogram(1, 0, 5, -2)", "nbuckets is from 1 to 10000, not -2"),
        ("histogram(1, 0, 5)", "histogram takes (value, min, max, nbuckets)"),
        ("histogram(1, 0, null, 2)", "are constants and not null"),
        ("histogram(value, 0, value, 2) from generate_series(1, 3)", "are constants and not null"),
        ("histogram('a', 0, 5, 2)", "four numbers"),
    ])
    .await;
}

#[tokio::test]
async fn the_most_frequent_values_are_counted() {
    let from = "from (values ('a'), ('b'), ('b'), ('c'), ('c'), (null), (null), (null)) as v(x)";
    let row = |value: Value, count: u64| json!({"value": value, "count": count, "error": 0});
    check(&[
        (&format!("top_k(x, 2) {from}"), json!([row(json!("b"), 2), row(json!("c"), 2)])),
        (&format!("topk(x, 1) {from}"), json!([row(json!("b"), 2)])),
        (&format!("approx_top_k(length(x), 9) {from}"), json!([row(json!(1), 5)])),
        (&format!("top_k(x, 3) {from} where x is null"), json!([])),
        (&format!("top_k(x, 3) {from} where false"), json!([])),
    ])
    .await;
    let app = TestApp::start().await;
    check_same(
        &app,
        "(top_k(x % 5, 1))[1]['count']",
        "greatest(count(*) filter (where x % 5 = 0), count(*) filter (where x % 5 = 1),
          count(*) filter (where x % 5 = 2), count(*) filter (where x % 5 = 3), count(*) filter (where x % 5 = 4))",
    )
    .await;
    // More different values than are counted exactly, and one that stands out.
    let rows = app
        .sql("select top_k(case when value % 4 = 0 then 7 else value end, 1)[1] as top from generate_series(1, 100000)")
        .await;
    let top = &rows[0]["top"];
    let (count, error) = (top["count"].as_i64().unwrap(), top["error"].as_i64().unwrap());
    assert_eq!(top["value"], 7);
    assert!(count <= 25_001 && 25_001 <= count + error && error <= 100_000 / 10_001, "{top}");
    check_refused(&[
        ("top_k(1, 0)", "k is from 1 to 1000, not 0"),
        ("top_k(1, -1)", "k is from 1 to 1000, not -1"),
        ("top_k(1, 1001)", "k is from 1 to 1000, not 1001"),
        ("top_k(1, null)", "k is a constant from 1 to 1000"),
        ("top_k(1)", "top_k takes (value, k)"),
        ("top_k(1, 1.5)", "k a whole number"),
        ("top_k([1], 1)", "counts plain values"),
    ])
    .await;
}

#[tokio::test]
async fn percentiles_have_the_names_people_know() {
    check(&[
        ("percentile(x, 0.5) from (values (1.0), (2.0), (4.0), (null)) as v(x)", json!(2.0)),
        ("percentile(x, 0.25) from (values (1), (2)) as v(x)", json!(1.25)),
        ("percentile(x, 0.5) from (select 1.0 as x) where false", Value::Null),
        ("approx_percentile(x, 0.5) from (values (null), (8)) as v(x)", json!(8.0)),
        ("approx_quantile(x, 0.5) from (select 1 as x) where false", Value::Null),
        ("approx_percentile(x, 1) filter (where x < 5) * 2 from (values (1), (3), (9)) as v(x)", json!(6.0)),
    ])
    .await;
    let app = TestApp::start().await;
    check_same(&app, "percentile(x, 0.9)", "percentile_cont(0.9) within group (order by x)").await;
    check_same(&app, "approx_percentile(x, 0.9)", "quantile_of(quantile_sketch(x), 0.9)").await;
    let bound = "select count(*) filter (where abs(a - e) > 0.01 * e) as wrong, count(*) as n from
        (select approx_percentile(x, 0.75) as a, (array_agg(x order by x))[300] as e
         from (select value % 50 as g, value * value as x from generate_series(1, 20000)) group by g)";
    assert_eq!(app.sql(bound).await, json!([{"wrong": 0, "n": 50}]));
    check_refused(&[
        ("percentile(value, 95) from generate_series(1, 3)", "0.0 and 1.0"),
        ("approx_percentile(value, 95) from generate_series(1, 3)", "a quantile is from 0 to 1, not 95"),
        ("percentile(1)", "percentile takes (value, p), p from 0 to 1"),
        ("approx_percentile('a', 0.5)", "takes a number"),
        ("percentile(value, 0.5) over () from generate_series(1, 3)", "percentile is no window function"),
    ])
    .await;
}
