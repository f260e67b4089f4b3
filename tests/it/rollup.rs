//! Statements answered from rollups say what the same statements over the calls say: after any history of
//! ingest, late calls, flushes, joined files, deletions, crashes, and rollups that some files have and others
//! lack. `DRIFTLINE_ROLLUP_HISTORIES` sets how many histories are tried, `DRIFTLINE_ROLLUP_SEED` the first.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray},
    datatypes::{Field, Schema},
    util::pretty::pretty_format_batches,
};
use chrono::DateTime;
use driftline::{
    clock::Clock,
    config::Config,
    daemon::Store,
    disk::SystemDisk,
    query::{Library, LibraryKind, Options, QueryParams},
    record::Table,
    wal::{Frame, Pending, Resume, Section, Writer, recover},
};
use serde_json::{Value, json};

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

fn reads_calls(plan: &str) -> bool {
    ["TableScan: agent_logs", "TableScan: stored.agent_logs"].iter().any(|scan| plan.contains(scan))
}

/// Makes so many of the rollups that are missing.
async fn build(app: &TestApp, files: u64) {
    let engine = app.daemon.as_ref().unwrap().engine();
    engine.rollups().unwrap().begin().await.unwrap();
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
            call["error_type"] = json!(random.pick(&["timeout", "Rate_Limit", "context_length_exceeded", "odd"]));
        }
        if random.once_in(9) {
            call["http_status"] = json!(random.pick(&[200, 429, 504]));
        }
        if !random.once_in(3) {
            call["ttft_ms"] = json!(random.below(900));
            call["queue_wait_ms"] = json!(random.below(70));
        }
        if random.once_in(2) {
            call["tool_calls"] = tools(random);
        }
        if random.once_in(3) {
            call["task_completed"] = json!(random.once_in(2));
        }
        if random.once_in(3) {
            call["error"] = json!(random.pick(&["too slow", "too much", "never mind"]));
        }
        if random.once_in(3) {
            call["guardrail_status"] = json!(random.pick(&["passed", "blocked", "escalated"]));
            call["guardrail_reason"] = json!(random.pick(&["toxic", "secret"]));
        }
        if !random.once_in(4) {
            call["session_id"] = json!(random.pick(&["s1", "s2", "s3", "s4"]));
            call["trace_id"] = json!(format!("trace-{}", random.below(9)));
        }
        if !random.once_in(4) {
            call["completion_tokens"] = json!(random.below(900));
        }
        let others: [(&str, &[&str]); 8] = [
            ("operation", &["chat", "embeddings"]),
            ("environment", &["production", "staging"]),
            ("variant", &["control", "treatment"]),
            ("provider", &["one", "two"]),
            ("finish_reason", &["stop", "length"]),
            ("model_version", &["2026-01", "2026-02"]),
            ("prompt_version", &["p1", "p2"]),
            ("task_type", &["triage", "answer"]),
        ];
        for (field, values) in others {
            if !random.once_in(3) {
                call[field] = json!(random.pick(values));
            }
        }
        for score in ["groundedness", "hallucination_probability", "user_satisfaction"] {
            if random.once_in(2) {
                call[score] = json!(random.below(120) as f64 / 100.0);
            }
        }
        if random.once_in(3) {
            call["escalated"] = json!(random.once_in(2));
        }
        body += &format!("{call}\n");
    }
    body
}

/// Calls that have a computed cost as well, or no other: nothing that is sent can say one, so they are in the log when
/// the server starts.
async fn priced_calls(app: &mut TestApp, random: &mut Random) {
    let last_seq = json_of(app.get("/api/v1/status")).await["last_seq"].as_u64().unwrap();
    app.daemon.take().unwrap().stop().await.unwrap();
    let rows = random.within(1..20) as usize;
    let mut costs = |one_in: u64| -> ArrayRef {
        let mut cost = || (!random.once_in(one_in)).then(|| random.below(9_000) as f64 / COST_UNITS);
        Arc::new((0..rows).map(|_| cost()).collect::<Float64Array>())
    };
    let (reported, computed) = (costs(3), costs(4));
    let times = (0..rows).map(|_| Some(NOW_US - random.below(6 * DAY_US as u64) as i64));
    let times: ArrayRef = Arc::new(times.collect::<TimestampMicrosecondArray>());
    let agents: ArrayRef =
        Arc::new((0..rows).map(|_| Some(*random.pick(&["rag", "coder"]))).collect::<StringViewArray>());
    // All other columns are null: the log leaves such out.
    let columns = [
        ("timestamp", Arc::clone(&times)),
        ("received_at", times),
        ("agent_id", agents),
        ("cost_usd", reported),
        ("cost_computed_usd", computed),
    ];
    let field = |name: &str| Table::AgentLogs.schema().field_with_name(name).unwrap().clone();
    let fields: Vec<Field> = columns.iter().map(|(name, _)| field(name)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let sections = vec![Section { table: Table::AgentLogs, batch }];
    let frame = Frame { received_at_us: NOW_US, receipt: None, accepted: rows as u32, rejected: 0, sections };
    let wal = app.data().join("wal");
    let recovered = recover(&SystemDisk, &wal, last_seq, |_, _| Ok(())).unwrap();
    let resume = Resume { segments: recovered.segments, next_seq: last_seq + 1 };
    let mut writer = Writer::new(Arc::new(SystemDisk), &wal, 1 << 20, resume);
    writer.append_group(&[Pending::new(&frame).unwrap()]).unwrap();
    app.open().await;
}

/// Tools that a call made, none among them, with what can be missing or odd.
fn tools(random: &mut Random) -> Value {
    let tool = |random: &mut Random| {
        let mut tool = json!({"name": random.pick(&["search", "sql", "mail"])});
        if !random.once_in(4) {
            tool["latency_ms"] = json!(random.below(3_000));
        }
        if !random.once_in(4) {
            tool["status"] = json!(random.pick(&["ok", "SUCCESS", "failed", "odd", "pending"]));
        }
        tool
    };
    (0..random.below(4)).map(|_| tool(random)).collect()
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

/// Rows that there are rollups of, and what these keep.
struct Source {
    /// The rollup, and whether it has days beside its hours.
    rollup: &'static str,
    has_days: bool,
    from: &'static str,
    /// Groups beside [`GROUPS`].
    groups: &'static [&'static str],
    /// Figures that no other rollup has.
    figures: &'static [&'static str],
}

/// What all rollups are by.
const GROUPS: [&str; 12] = [
    "date_trunc('hour', timestamp)",
    "date_trunc('day', timestamp)",
    "date_trunc('week', timestamp)",
    "time_bucket('1 hour', timestamp)",
    "time_bucket('6 hours', timestamp)",
    "time_bucket('2 days', timestamp, timestamp '2026-01-01T00:00:00')",
    "time_bucket('1 month', timestamp)",
    "date",
    "agent_id",
    "coalesce(model, 'none')",
    "upper(model)",
    "tenant_id",
];

const SOURCES: [Source; 7] = [
    Source {
        rollup: "calls",
        has_days: true,
        from: "agent_logs where true",
        groups: &["operation", "environment", "variant", "provider"],
        figures: &[
            "count(*)",
            "sum(cost)",
            "count(*) filter (where is_error)",
            "count(*) filter (where is_timeout)",
            "count(*) filter (where is_rate_limited and model = 'm1')",
            "count(*) filter (where is_context_overflow)",
            "count(*) filter (where model = 'm1')",
            "sum(cost) filter (where agent_id <> 'rag')",
            "avg(latency_ms)",
            "sum(prompt_tokens)",
            "avg(prompt_tokens)",
            "avg(completion_tokens) filter (where agent_id = 'rag')",
            "cast(count(*) filter (where task_completed) as double) / nullif(count(task_completed), 0)",
            "min(timestamp)",
            "max(timestamp)",
            "max(latency_ms)",
            "count(cost_usd)",
            "quantile_of(quantile_sketch(latency_ms), 0.95)",
            "approx_percentile(ttft_ms, 0.5)",
            "distinct_of(distinct_sketch(user_id))",
            "histogram_of(histogram_sketch(latency_ms, 'latency_ms'))",
            "histogram_of(histogram_sketch(latency_ms, 'latency_ms') filter (where model = 'm2' and tenant_id = 't1'))",
            "quantile_of(quantile_sketch(latency_ms) filter (where model = 'm2' and tenant_id = 't1'), 0.5)",
            "distinct_of(distinct_sketch(user_id) filter (where variant = 'control'))",
            "count(*) filter (where groundedness not between 0 and 1)",
            "count(*) filter (where environment = 'staging')",
            "histogram_of(histogram_sketch(ttft_ms, 'latency_ms'))",
            "histogram_of(histogram_sketch(queue_wait_ms, 'latency_ms'))",
            "max(ttft_ms)",
            "sum(cost_usd) filter (where cost_computed_usd is not null)",
            "count(cost_computed_usd)",
            "sum(cost_computed_usd)",
            "sum(cost_computed_usd - cost_usd)",
            "count(cost_computed_usd - cost_usd)",
            "sum(completion_tokens) filter (where latency_ms is not null)",
            "outages_of(minute_sketch(timestamp, is_unavailable), 1)",
        ],
    },
    Source {
        rollup: "errors",
        has_days: true,
        from: "agent_logs where is_error",
        groups: &["error_type", "http_status", "lower(error_type)", "operation", "environment", "variant", "provider"],
        figures: &[
            "count(*)",
            "count(*) filter (where error_type = 'timeout')",
            "sum(cost) filter (where http_status = 429)",
            "max(timestamp)",
            "avg(latency_ms)",
            "distinct_of(distinct_sketch(user_id))",
            "max(named_struct('at', timestamp, 'message', error)) filter (where error is not null)",
        ],
    },
    Source {
        rollup: "tools",
        has_days: true,
        from: "tool_calls where true",
        groups: &["tool", "upper(tool)", "operation", "environment", "variant", "provider"],
        figures: &[
            "count(*)",
            "count(failed)",
            "count(*) filter (where failed)",
            "count(*) filter (where tool = 'sql')",
            "sum(latency_ms)",
            "avg(latency_ms)",
            "max(latency_ms)",
            "max(timestamp) filter (where failed)",
            "approx_percentile(latency_ms, 0.95)",
            "histogram_of(histogram_sketch(latency_ms, 'latency_ms'))",
            "min(timestamp)",
        ],
    },
    Source {
        rollup: "guardrails",
        has_days: true,
        from: "agent_logs where guardrail_status is not null",
        groups: &["guardrail_status", "guardrail_reason", "operation", "environment", "variant", "provider"],
        figures: &["count(*)", "count(*) filter (where guardrail_status = 'blocked')", "max(timestamp)"],
    },
    Source {
        rollup: "distributions",
        has_days: false,
        from: "agent_logs where true",
        groups: &[],
        figures: &[
            "histogram_of(histogram_sketch(prompt_tokens, 'logarithmic'))",
            "histogram_of(histogram_sketch(cost * 1000000, 'logarithmic'))",
            "histogram_of(histogram_sketch(latency_ms, 'logarithmic') filter (where model = 'm2' and tenant_id = 't1'))",
            "histogram_of(histogram_sketch(groundedness, 'score'))",
            "histogram_of(histogram_sketch(user_satisfaction, 'score') filter (where agent_id = 'rag'))",
            "quantile_of(quantile_sketch(completion_tokens), 0.5)",
            "quantile_of(quantile_sketch(cost) filter (where model = 'm2'), 0.95)",
            "quantile_of(quantile_sketch(1 - groundedness), 0.9)",
        ],
    },
    Source {
        rollup: "outcomes",
        has_days: false,
        from: "agent_logs where true",
        groups: &["finish_reason", "task_completed", "escalated"],
        figures: &[
            "count(*) filter (where finish_reason = 'length')",
            "count(*) filter (where finish_reason is null and escalated)",
        ],
    },
    Source {
        rollup: "versions",
        has_days: false,
        from: "agent_logs where true",
        groups: &["model_version", "prompt_version", "task_type"],
        figures: &[
            "count(*) filter (where task_type = 'triage')",
            "count(*) filter (where model_version is null or prompt_version = 'p1')",
        ],
    },
];

const CONDITIONS: [&str; 12] = [
    "agent_id = 'rag'",
    "agent_id = 'nobody'",
    "model is null",
    "(null is null or tenant_id = null)",
    "tenant_id in ('t1', 't3')",
    "lower(model) = 'm1'",
    "date >= date '2026-05-11'",
    "date = '2026-05-12'",
    "date between date '2026-05-10' and date '2026-05-13'",
    "date '2026-05-13' > date",
    "date > '2026-05-10' and date <= '2026-05-14'",
    "date <> date '2026-05-12'",
];

/// A statement that rollups may answer.
fn statement(random: &mut Random) -> String {
    let source = random.pick(&SOURCES);
    let all: Vec<&str> = GROUPS.iter().chain(source.groups).copied().collect();
    let groups: Vec<&str> = (0..random.below(3)).map(|_| *random.pick(&all)).collect();
    let figures: Vec<&str> = (0..random.within(1..4)).map(|_| *random.pick(source.figures)).collect();
    let mut conditions: Vec<String> = (0..random.below(3)).map(|_| (*random.pick(&CONDITIONS)).to_owned()).collect();
    if !random.once_in(4) {
        conditions.push(format!("timestamp >= {}", bound(random)));
    }
    if !random.once_in(4) {
        conditions.push(format!("timestamp < {}", bound(random)));
    }
    let columns: Vec<String> =
        groups.iter().chain(&figures).enumerate().map(|(n, expr)| format!("{expr} as c{n}")).collect();
    let mut text = format!("select {} from {}", columns.join(", "), source.from);
    for condition in conditions {
        text += &format!(" and {condition}");
    }
    if !groups.is_empty() {
        let places: Vec<String> = (1..=groups.len()).map(|place| place.to_string()).collect();
        text += &format!(" group by {0} order by {0}", places.join(", "));
    }
    text
}

/// A statement about what each day has, of which days that nothing cuts are kept.
fn statement_of_days(random: &mut Random) -> String {
    let conditions = ["session_id is not null", "agent_id <> 'rag'", "cost > 1", "model is null or tenant_id = 't1'"];
    let mut condition = format!("({})", random.pick(&conditions));
    let mut having = "count(*) > 0".to_owned();
    if !random.once_in(3) {
        let (from, to) = (bound(random), bound(random));
        condition += &format!(" and timestamp >= date_trunc('day', {from})");
        having += &format!(" and min(timestamp) >= {from}");
        if random.once_in(2) {
            condition += &format!(" and timestamp < date_trunc('day', {to}) + interval '1 day'");
            having += &format!(" and {to} > min(timestamp)");
        }
    }
    let group = random.pick(&["date_trunc('hour', started_at)", "agent", "date_trunc('month', started_at)", "date"]);
    let means = ["avg(cost)", "avg(turns)", "avg(cast(calls > 1 as int))", "avg(extract(hour from started_at))"];
    let figure = match random.once_in(2) {
        true => random.pick(&means),
        false => random.pick(&["sum(turns)", "max(cost)", "count(agent)", "min(started_at)"]),
    };
    let filter = random.pick(&["true", "calls > 1", "agent <> 'rag'"]);
    format!(
        "with found as (
            select date, tenant_id, session_id, min(timestamp) as started_at, min(agent_id) as agent, sum(cost) as cost,
                count(*) as calls, count(distinct trace_id) as turns
            from agent_logs where {condition} group by date, tenant_id, session_id having {having}
        )
        select {group} as c0, count(*) as c1, {figure} as c2 from found where {filter} group by 1 order by 1"
    )
}

async fn history(seed: u64) {
    let mut random = Random::new(seed, 0);
    let mut app = TestApp::start_with(|config| config.lifecycle.merge_files_min = 2).await;
    for step in 0..STEPS {
        match random.below(11) {
            0..=3 => drop(app.logs(calls(&mut random, step)).await),
            4 | 5 => app.flush().await,
            6 => build(&app, random.within(1..6)).await,
            7 => drop(app.daemon.as_ref().unwrap().maintainer().run().await.unwrap()),
            8 if random.once_in(3) => {
                let user = random.pick(&["ann", "bob"]);
                json_of(app.post("/api/v1/forget").json(&json!({ "user_id": user }))).await;
            }
            8 => app = app.crash().await,
            9 => priced_calls(&mut app, &mut random).await,
            _ => build(&app, u64::MAX).await,
        }
        for _ in 0..2 {
            check(&app, &statement(&mut random)).await;
        }
        check(&app, &statement_of_days(&mut random)).await;
    }
    app.flush().await;
    build(&app, u64::MAX).await;
    for _ in 0..8 {
        check(&app, &statement(&mut random)).await;
        check(&app, &statement_of_days(&mut random)).await;
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
    assert!(with.contains("rollup_calls_day") && !with.contains("TableScan: agent_logs"), "{with}");
    let hours = plan(&app, "select date_trunc('hour', timestamp), count(*) from agent_logs group by 1").await;
    assert!(hours.contains("rollup_calls_hour") && !hours.contains("rollup_calls_day"), "{hours}");
    let request = app.get("/api/v1/sql").query(&[("q", format!("explain {DAILY}").as_str()), ("rollups", "off")]);
    let without = json_of(request).await.to_string();
    assert!(!without.contains("rollup_"), "{without}");

    // What comes later counts at once, beside the rollups.
    app.logs(record(0, "late", "rag", 8.0)).await;
    let mixed = plan(&app, DAILY).await;
    assert!(mixed.contains("rollup_calls_day") && mixed.contains("agent_logs"), "{mixed}");
    check(&app, DAILY).await;
    // What is not of the range is not even planned.
    let before = DAILY.replace(" group by", " where timestamp < timestamp '2026-05-14T00:00:00' group by");
    let earlier = plan(&app, &before).await;
    assert!(earlier.contains("rollup_calls_day") && !reads_calls(&earlier), "{earlier}");
    check(&app, &before).await;
}

#[tokio::test]
async fn edges_of_a_range_come_from_finer_rollups_and_from_calls() {
    let app = three_days().await;
    build(&app, u64::MAX).await;
    let range = "select count(*) from agent_logs where timestamp >= timestamp '2026-05-12T10:30:00' and timestamp < timestamp '2026-05-14T11:00:00'";
    let plan = plan(&app, range).await;
    assert!(
        plan.contains("rollup_calls_day") && plan.contains("rollup_calls_hour") && plan.contains("agent_logs"),
        "{plan}"
    );
    check(&app, range).await;
    // A day is its times.
    let day = "select count(*) from agent_logs where date = '2026-05-13'";
    let plan = self::plan(&app, day).await;
    assert!(plan.contains("rollup_calls_day") && plan.contains("partition_sizes=[1]"), "{plan}");
    check(&app, day).await;
}

#[tokio::test]
async fn files_of_the_same_periods_are_put_together_once() {
    let app = three_days().await;
    let more = |day: i64, id: &str, cost: f64| record(-day * 86_400 - 300, id, "rag", cost);
    app.logs([more(0, "more-0", 0.5), more(1, "more-1", 0.75)].concat()).await;
    app.flush().await;
    build(&app, u64::MAX).await;
    let monthly = DAILY.replace("'day'", "'month'");
    for statement in [DAILY, monthly.as_str()] {
        let plan = plan(&app, statement).await;
        assert!(plan.contains("rollup_calls_day") && !plan.contains("Aggregate"), "{plan}");
        check(&app, statement).await;
        check(&app, statement).await;
    }
    // Another file of a day makes it another question, and the other days' answers stay.
    app.logs(more(1, "late", 16.0)).await;
    app.flush().await;
    let mixed = plan(&app, DAILY).await;
    assert!(mixed.contains("rollup_calls_day") && mixed.contains("Aggregate"), "{mixed}");
    check(&app, DAILY).await;
    build(&app, u64::MAX).await;
    assert!(!plan(&app, DAILY).await.contains("Aggregate"));
    check(&app, DAILY).await;
    check(&app, &monthly).await;
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
async fn every_figure_of_every_source_comes_from_its_rollup() {
    let app = TestApp::start().await;
    app.logs(calls(&mut Random::new(7, 0), 0)).await;
    app.flush().await;
    build(&app, u64::MAX).await;
    for Source { rollup, has_days, from, groups, figures } in SOURCES {
        let by_group = GROUPS.iter().chain(groups).map(|group| (*group, figures[0]));
        let by_figure = figures.iter().map(|figure| ("agent_id", *figure));
        for (group, figure) in by_group.chain(by_figure) {
            let statement = format!("select {group}, {figure} from {from} group by 1 order by 1");
            let plan = plan(&app, &statement).await;
            let grain = match (has_days, group.contains("hour")) {
                (false, _) => "",
                (true, true) => "_hour",
                (true, false) => "_day",
            };
            let scan = format!("TableScan: rollup_{rollup}{grain}");
            assert!(plan.contains(&scan) && !plan.contains("TableScan: agent_logs"), "{statement}: {plan}");
            check(&app, &statement).await;
        }
        // Of no rows it is what it is of none of the calls.
        for figure in figures {
            let statement = format!("select {figure} from {from} and agent_id = 'nobody'");
            assert!(plan(&app, &statement).await.contains(&format!("rollup_{rollup}")), "{statement}");
            check(&app, &statement).await;
        }
    }
}

#[tokio::test]
async fn a_rollup_counts_only_what_the_statement_counts() {
    let app = TestApp::start().await;
    app.logs(calls(&mut Random::new(8, 0), 0)).await;
    app.flush().await;
    build(&app, u64::MAX).await;
    for statement in [
        "select error_type, count(*) from agent_logs group by 1 order by 1",
        "select tool, count(*) from tool_calls where failed group by 1 order by 1",
        "select count(*) from (select unnest(tool_calls) as call from agent_logs) where call['name'] = 'sql'",
        "select count(*) from (select agent_id, unnest([1, 2]) as n from agent_logs)",
        "select tool, count(*) from (select unnest(tool_calls)['name'] as tool from agent_logs where is_error)
         group by 1 order by 1",
        "select time_bucket('90 minutes', timestamp), count(*) from agent_logs group by 1 order by 1",
        "select time_bucket('1 hour', timestamp, timestamp '2026-01-01T00:30:00'), count(*) from agent_logs
         group by 1 order by 1",
    ] {
        let plan = plan(&app, statement).await;
        assert!(!plan.contains("rollup_"), "{statement}: {plan}");
        check(&app, statement).await;
    }
}

#[tokio::test]
async fn failed_tools_of_a_day_come_from_rollups() {
    let app = TestApp::start().await;
    app.logs(calls(&mut Random::new(9, 0), 0)).await;
    app.flush().await;
    build(&app, u64::MAX).await;
    let engine = app.daemon.as_ref().unwrap().engine();
    let text = &engine.library().get(LibraryKind::Queries, "failed_tool_calls").unwrap().named.sql;
    let range = [("$from", "timestamp '2026-05-09'"), ("$to", "timestamp '2026-05-14'"), ("$limit", "100")];
    let text = range.iter().fold(text.replace("$agent_id", "null"), |text, (name, value)| text.replace(name, value));
    let text = text.replace("$tenant_id", "null").replace("$model", "null");
    let plan = plan(&app, &text).await;
    assert!(plan.contains("rollup_tools_day") && !plan.contains("TableScan: agent_logs"), "{plan}");
    check(&app, &text).await;
}

const SESSIONS: &str = "with found as (
        select date, tenant_id, session_id, min(timestamp) as started_at, sum(cost) as cost from agent_logs
        where timestamp >= date_trunc('day', timestamp '2026-05-12T00:00:00') and session_id is not null
        group by date, tenant_id, session_id having min(timestamp) >= timestamp '2026-05-12T00:00:00'
    )
    select date_trunc('day', started_at) as day, avg(cost), count(*) from found group by 1 order by 1";

#[tokio::test]
async fn what_whole_days_had_is_kept_and_days_that_change_are_asked_anew() {
    let app = three_days().await;
    let cut = SESSIONS.replace("'2026-05-12T00:00:00'", "'2026-05-12T11:00:00'");
    let whole = plan(&app, SESSIONS).await;
    assert!(whole.contains("answers_of_days") && !reads_calls(&whole), "{whole}");
    let plan_of_cut = plan(&app, &cut).await;
    assert!(plan_of_cut.contains("answers_of_days") && reads_calls(&plan_of_cut), "{plan_of_cut}");
    for statement in [SESSIONS, &cut, SESSIONS] {
        check(&app, statement).await;
    }
    // A late call of a day that is kept, before and after it is committed.
    app.logs(record(-86_400, "0-1", "rag", 8.0)).await;
    let late = plan(&app, SESSIONS).await;
    assert!(late.contains("answers_of_days") && reads_calls(&late), "{late}");
    check(&app, SESSIONS).await;
    app.flush().await;
    check(&app, SESSIONS).await;
    json_of(app.post("/api/v1/forget").json(&json!({ "tenant_id": "t1" }))).await;
    check(&app, SESSIONS).await;
}

#[tokio::test]
async fn what_is_no_part_of_a_day_is_not_kept() {
    let app = three_days().await;
    for statement in [
        "select avg(cost) from (select session_id, sum(cost) as cost from agent_logs group by 1)",
        "select avg(cost) from (select date, session_id, sum(cost) + random() as cost from agent_logs group by 1, 2)",
        "select avg(n) from (select date, count(*) as n, rank() over (order by date) as r from agent_logs group by 1)
         where r < 9",
        "select avg(cost) from (select date, session_id, sum(cost) as cost from agent_logs group by 1, 2 limit 9)",
    ] {
        let plan = plan(&app, statement).await;
        assert!(!plan.contains("answers_of_days"), "{statement}: {plan}");
    }
    // The engine counts different values by grouping by them, and groups of days are joined by grouping once more.
    check(
        &app,
        "select count(distinct cost) from (select date, session_id, sum(cost) as cost from agent_logs group by 1, 2)",
    )
    .await;
}

#[tokio::test]
async fn gaps_are_filled_around_what_rollups_say() {
    let app = three_days().await;
    build(&app, u64::MAX).await;
    let statement = "select time_bucket_gapfill('1 hour', timestamp) as hour, count(*) as calls, locf(sum(cost)) as cost
        from agent_logs where timestamp >= timestamp '2026-05-11T22:30:00' and timestamp < timestamp '2026-05-14T13:00:00'
        group by 1 order by 1";
    let plan = plan(&app, statement).await;
    assert!(plan.contains("rollup_calls_hour") && plan.contains("fill_gaps"), "{plan}");
    check(&app, statement).await;
    assert_eq!(app.sql(statement).await.as_array().unwrap().len(), 63);
}

#[tokio::test]
async fn a_view_that_says_something_else_makes_other_rollups() {
    let mut app = TestApp::start().await;
    app.logs(calls(&mut Random::new(10, 0), 0)).await;
    app.flush().await;
    build(&app, u64::MAX).await;
    let failures = "select tool, count(*) filter (where failed) from tool_calls group by 1 order by 1";
    assert!(plan(&app, failures).await.contains("rollup_tools_day"));
    let shipped = std::fs::read_to_string("sql/views/tool_calls.sql").unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("views")).unwrap();
    std::fs::write(directory.path().join("views/tool_calls.sql"), shipped.replace("'pending'", "'odd'")).unwrap();
    app.config.query.sql_directory = Some(directory.path().to_owned());
    let before = rows(&app, failures, true).await;
    app.restart().await;
    assert!(!plan(&app, failures).await.contains("rollup_"), "rollups of another view are used");
    build(&app, u64::MAX).await;
    assert!(plan(&app, failures).await.contains("rollup_tools_day"));
    check(&app, failures).await;
    assert_ne!(rows(&app, failures, true).await, before);
}

#[tokio::test]
async fn a_file_that_is_no_rollup_is_told_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("rollups")).unwrap();
    let select =
        "select date_trunc($grain, timestamp) as starts_at,\n  count(*) as calls\nfrom agent_logs group by 1\n";
    let head = "-- question: How many?\n-- grain: hour, day\n-- param: grain text\n\n";
    for (text, line, words) in [
        (format!("{head}{select}"), None, ""),
        (format!("{head}{}", select.replace("group by", "where is_timeout group by")), None, ""),
        (format!("{head}{select}").replace("hour, day", "hour, week"), Some(2), "`hour`, `day` or `hour, day`"),
        (format!("{head}{select}").replace("hour, day", "day, day"), Some(2), "not `day, day`"),
        (format!("{head}{select}").replace("-- grain: hour, day\n", ""), Some(1), "the grain of a rollup"),
        (format!("{head}{select}").replace("grain text", "grain int"), Some(3), "none but `grain text`"),
        (format!("{head}{select}").replace("count(*)", "avg(cost)"), Some(6), "calls is no figure of which parts"),
        (format!("{head}{select}").replace("count(*)", "count(costs)"), Some(6), "costs"),
        (format!("{head}{select}").replace("$grain, ", "'hour' || $grain, "), None, "no column is date_trunc('hour'"),
        (format!("{head}{}", select.replace("group by", "where timestamp > now() group by")), None, "is of all time"),
        (format!("{head}{}", select.replace("from agent_logs", "from rejected_logs")), Some(5), "timestamp"),
    ] {
        std::fs::write(directory.path().join("rollups/mine.sql"), &text).unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data = data.path().to_owned();
        config.query.sql_directory = Some(directory.path().to_owned());
        let (_, mut problems) = Library::load(Some(directory.path())).unwrap();
        let store = Store::open(&config, Clock::manual(NOW_US)).await.unwrap();
        problems.extend(store.engine.check().await);
        store.close().await.unwrap();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), usize::from(!words.is_empty()), "{text}: {told:?}");
        if let Some(problem) = problems.first() {
            assert!(problem.file.ends_with("rollups/mine.sql") && problem.message.contains(words), "{text}: {told:?}");
            assert_eq!(problem.line, line, "{text}: {told:?}");
        }
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
    assert!(plan(&app, DAILY).await.contains("rollup_calls_day"));
    let count = || {
        std::fs::read_dir(&derived)
            .unwrap()
            .map(|kind| std::fs::read_dir(kind.unwrap().path()).unwrap().count())
            .collect::<Vec<_>>()
    };
    assert_eq!(count(), [3; 11]);

    json_of(app.post("/api/v1/forget").json(&json!({ "tenant_id": "t1" }))).await;
    build(&app, u64::MAX).await;
    assert_eq!(count(), [0; 11]);
    check(&app, DAILY).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_keeps_no_other_from_its_rollups() {
    let app = three_days().await;
    let is_day = |path: &PathBuf| path.to_string_lossy().contains("date=");
    let entries = std::fs::read_dir(app.data().join("tables/agent_logs")).unwrap();
    let mut days: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(is_day).collect();
    days.sort();
    // The one between them is tried last or second, whichever way they go.
    for day in [&days[0], &days[2]] {
        for file in std::fs::read_dir(day).unwrap() {
            std::fs::write(file.unwrap().path(), b"no Parquet").unwrap();
        }
    }
    build(&app, u64::MAX).await;
    assert_eq!(app.daemon.as_ref().unwrap().engine().rollups().unwrap().progress(), (3, 1));
}
