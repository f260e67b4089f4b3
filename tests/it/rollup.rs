//! Statements answered from rollups say what the same statements over the calls say: after any history of
//! ingest, late calls, flushes, joined files, deletions, crashes, and rollups that some files have and others
//! lack. `DRIFTLINE_ROLLUP_HISTORIES` sets how many histories are tried, `DRIFTLINE_ROLLUP_SEED` the first.

use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use chrono::DateTime;
use driftline::query::{Options, QueryParams};
use serde_json::json;

use crate::{
    app::{NOW_US, TestApp, json as json_of, record},
    random::Random,
};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Few enough for every run of the tests.
const HISTORIES: u64 = 2;
const STEPS: u64 = 24;
/// Costs are whole multiples of 1/1024 USD, so that their sums are exact in any order.
const COST_UNITS: f64 = 1024.0;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

async fn rows(app: &TestApp, statement: &str, rollups: bool) -> String {
    let engine = app.daemon.as_ref().unwrap().engine();
    let options = Options::with_rollups(rollups);
    let rows = async { engine.sql_with(statement, QueryParams::None, options).await?.collect().await };
    let rows = rows.await.unwrap_or_else(|error| panic!("{statement}: {}", error.chain()));
    pretty_format_batches(&rows).unwrap().to_string()
}

async fn check(app: &TestApp, statement: &str) {
    let (with, without) = (rows(app, statement, true).await, rows(app, statement, false).await);
    assert_eq!(with, without, "{statement}");
}

async fn plan(app: &TestApp, statement: &str) -> String {
    rows(app, &format!("explain {statement}"), true).await
}

/// Makes so many of the rollups that are missing.
async fn build(app: &TestApp, files: u64) {
    let engine = app.daemon.as_ref().unwrap().engine();
    for _ in 0..files {
        if !engine.rollups().unwrap().build_next(engine, Duration::ZERO).await.unwrap() {
            return;
        }
    }
}

/// Some calls of the last days, with what can be missing or odd.
fn calls(random: &mut Random, step: u64) -> String {
    let mut body = String::new();
    for n in 0..random.within(1..40) {
        let at_us = NOW_US - random.below(6 * DAY_US as u64) as i64 - random.below(1_000_000) as i64;
        let mut call = json!({
            "timestamp": DateTime::from_timestamp_micros(at_us).unwrap().to_rfc3339(),
            "request_id": format!("r-{step}-{n}"),
            "agent_id": random.pick(&["rag", "planner", "coder"]),
            "tenant_id": random.pick(&["t1", "t2"]),
            "prompt_tokens": random.below(5_000),
            "latency_ms": random.below(4_000),
            "user_id": random.pick(&["ann", "bob", "eve"]),
        });
        if !random.once_in(4) {
            call["model"] = json!(random.pick(&["m1", "M1", "m2"]));
        }
        if !random.once_in(5) {
            call["cost_usd"] = json!(random.below(9_000) as f64 / COST_UNITS);
        }
        if random.once_in(6) {
            call["error_type"] = json!("timeout");
        }
        if random.once_in(3) {
            call["task_completed"] = json!(random.once_in(2));
        }
        body += &format!("{call}\n");
    }
    body
}

/// A bound: on a day, an hour, or anywhere.
fn bound(random: &mut Random) -> String {
    let us = NOW_US - random.below(7 * DAY_US as u64) as i64;
    let us = match random.below(3) {
        0 => us.div_euclid(DAY_US) * DAY_US,
        1 => us.div_euclid(HOUR_US) * HOUR_US,
        _ => us,
    };
    format!("timestamp '{}'", DateTime::from_timestamp_micros(us).unwrap().format("%Y-%m-%dT%H:%M:%S%.6f"))
}

/// A statement that rollups may answer.
fn statement(random: &mut Random) -> String {
    const GROUPS: [&str; 8] = [
        "date_trunc('hour', timestamp)",
        "date_trunc('day', timestamp)",
        "date_trunc('week', timestamp)",
        "date",
        "agent_id",
        "coalesce(model, 'none')",
        "upper(model)",
        "tenant_id",
    ];
    const FIGURES: [&str; 15] = [
        "count(*)",
        "sum(cost)",
        "count(*) filter (where is_error)",
        "count(*) filter (where model = 'm1')",
        "sum(cost) filter (where agent_id <> 'rag')",
        "avg(latency_ms)",
        "sum(prompt_tokens)",
        "cast(count(*) filter (where task_completed) as double) / nullif(count(task_completed), 0)",
        "min(timestamp)",
        "max(timestamp)",
        "max(latency_ms)",
        "count(cost_usd)",
        "quantile_of(quantile_sketch(latency_ms), 0.95)",
        "distinct_of(distinct_sketch(user_id))",
        "histogram_of(histogram_sketch(latency_ms, 'latency_ms'))",
    ];
    const CONDITIONS: [&str; 6] = [
        "agent_id = 'rag'",
        "model is null",
        "(null is null or tenant_id = null)",
        "tenant_id in ('t1', 't3')",
        "lower(model) = 'm1'",
        "date >= date '2026-05-11'",
    ];
    let groups: Vec<&str> = (0..random.below(3)).map(|_| *random.pick(&GROUPS)).collect();
    let figures: Vec<&str> = (0..random.within(1..4)).map(|_| *random.pick(&FIGURES)).collect();
    let mut conditions: Vec<String> = (0..random.below(3)).map(|_| (*random.pick(&CONDITIONS)).to_owned()).collect();
    if !random.once_in(4) {
        conditions.push(format!("timestamp >= {}", bound(random)));
    }
    if !random.once_in(4) {
        conditions.push(format!("timestamp < {}", bound(random)));
    }
    let columns: Vec<String> =
        groups.iter().chain(&figures).enumerate().map(|(n, expr)| format!("{expr} as c{n}")).collect();
    let mut text = format!("select {} from agent_logs", columns.join(", "));
    if !conditions.is_empty() {
        text += &format!(" where {}", conditions.join(" and "));
    }
    if !groups.is_empty() {
        let places: Vec<String> = (1..=groups.len()).map(|place| place.to_string()).collect();
        text += &format!(" group by {0} order by {0}", places.join(", "));
    }
    text
}

async fn history(seed: u64) {
    let mut random = Random::new(seed, 0);
    let mut app = TestApp::start_with(|config| config.lifecycle.merge_files_min = 2).await;
    for step in 0..STEPS {
        match random.below(10) {
            0..=3 => drop(app.logs(calls(&mut random, step)).await),
            4 | 5 => app.flush().await,
            6 => build(&app, random.within(1..6)).await,
            7 => drop(app.daemon.as_ref().unwrap().maintainer().run().await.unwrap()),
            8 if random.once_in(3) => {
                let user = random.pick(&["ann", "bob"]);
                json_of(app.post("/api/v1/forget").json(&json!({ "user_id": user }))).await;
            }
            8 => app = app.crash().await,
            _ => build(&app, u64::MAX).await,
        }
        for _ in 0..2 {
            check(&app, &statement(&mut random)).await;
        }
    }
    app.flush().await;
    build(&app, u64::MAX).await;
    for _ in 0..8 {
        check(&app, &statement(&mut random)).await;
    }
}

#[tokio::test]
async fn rollups_say_what_the_calls_say_after_any_history() {
    let first = number("DRIFTLINE_ROLLUP_SEED", 1);
    for seed in first..first + number("DRIFTLINE_ROLLUP_HISTORIES", HISTORIES) {
        eprintln!("DRIFTLINE_ROLLUP_SEED={seed}");
        history(seed).await;
    }
}

const DAILY: &str = "select date_trunc('day', timestamp) as day, agent_id, count(*) as calls, sum(cost) as cost \
                     from agent_logs group by 1, 2 order by 1, 2";

/// Three days of calls in files.
async fn three_days() -> TestApp {
    let app = TestApp::start().await;
    for day in 0..3 {
        let body: String =
            (0..20).map(|n| record(-day * 86_400 - n * 600, &format!("{day}-{n}"), "rag", 0.25)).collect();
        app.logs(body).await;
        app.flush().await;
    }
    app
}

#[tokio::test]
async fn the_plan_shows_rollups_and_they_can_be_switched_off() {
    let app = three_days().await;
    assert!(!plan(&app, DAILY).await.contains("rollup_"), "no file has its rollups yet");
    build(&app, u64::MAX).await;
    let with = plan(&app, DAILY).await;
    assert!(with.contains("rollup_daily") && !with.contains("TableScan: agent_logs"), "{with}");
    let hours = plan(&app, "select date_trunc('hour', timestamp), count(*) from agent_logs group by 1").await;
    assert!(hours.contains("rollup_hourly") && !hours.contains("rollup_daily"), "{hours}");
    let request = app.get("/api/v1/sql").query(&[("q", format!("explain {DAILY}").as_str()), ("rollups", "off")]);
    let without = json_of(request).await.to_string();
    assert!(!without.contains("rollup_"), "{without}");

    // What comes later counts at once, beside the rollups.
    app.logs(record(0, "late", "rag", 8.0)).await;
    let mixed = plan(&app, DAILY).await;
    assert!(mixed.contains("rollup_daily") && mixed.contains("agent_logs"), "{mixed}");
    check(&app, DAILY).await;
}

#[tokio::test]
async fn edges_of_a_range_come_from_finer_rollups_and_from_calls() {
    let app = three_days().await;
    build(&app, u64::MAX).await;
    let range = "select count(*) from agent_logs where timestamp >= timestamp '2026-05-12T10:30:00' and timestamp < timestamp '2026-05-14T11:00:00'";
    let plan = plan(&app, range).await;
    assert!(plan.contains("rollup_daily") && plan.contains("rollup_hourly") && plan.contains("agent_logs"), "{plan}");
    check(&app, range).await;
}

#[tokio::test]
async fn what_rollups_do_not_keep_is_asked_of_the_calls() {
    let app = three_days().await;
    build(&app, u64::MAX).await;
    for statement in [
        "select count(*) from agent_logs where latency_ms > 100",
        "select session_id, count(*) from agent_logs group by 1",
        "select count(distinct user_id) from agent_logs",
        "select sum(cost * 2) from agent_logs",
        "select date_trunc('minute', timestamp), count(*) from agent_logs group by 1",
        "select count(*) from agent_logs where extract(hour from timestamp) = 3",
        "select count(*) from agent_logs where random() < 2",
    ] {
        let plan = plan(&app, statement).await;
        assert!(!plan.contains("rollup_"), "{statement}: {plan}");
    }
}

#[tokio::test]
async fn rollups_that_are_lost_or_of_files_that_are_gone_are_no_matter() {
    let mut app = three_days().await;
    build(&app, u64::MAX).await;
    let derived = app.data().join("tables/agent_logs/_derived");
    std::fs::remove_dir_all(&derived).unwrap();
    app.restart().await;
    check(&app, DAILY).await;
    build(&app, u64::MAX).await;
    assert!(plan(&app, DAILY).await.contains("rollup_daily"));
    let count = || {
        std::fs::read_dir(&derived)
            .unwrap()
            .map(|kind| std::fs::read_dir(kind.unwrap().path()).unwrap().count())
            .collect::<Vec<_>>()
    };
    assert_eq!(count(), [3, 3]);

    json_of(app.post("/api/v1/forget").json(&json!({ "tenant_id": "t1" }))).await;
    build(&app, u64::MAX).await;
    assert_eq!(count(), [0, 0]);
    check(&app, DAILY).await;
}
