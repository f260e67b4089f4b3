//! All drift verdicts of a server: from rollups as from the calls, over HTTP, on the command line, and kept by the job.

use std::{path::Path, process::Command, time::Duration};

use driftline::{
    jobs::{DriftSettings, judge_once},
    sample::{Incident, IncidentKind, Plan},
};
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, failure, json as json_of};

const HOUR_US: i64 = 3_600_000_000;
const DAYS: i64 = 31;

/// A month of generated calls, in which a model is exchanged and a wave of prompts is blocked, two days before now.
async fn month() -> TestApp {
    let app = TestApp::start().await;
    let incident = |kind| Incident { kind, start_us: NOW_US - 54 * HOUR_US, end_us: NOW_US };
    let plan = Plan {
        seed: 11,
        start_us: NOW_US - DAYS * 24 * HOUR_US,
        days: DAYS as f64,
        calls_per_day: 900.0,
        incidents: [IncidentKind::ModelReplaced, IncidentKind::GuardrailSurge].map(incident).to_vec(),
    };
    app.traffic(&plan).await;
    app
}

/// What the statements read from the stored calls, where there are no rollups of them.
async fn plan_of(app: &TestApp, file: &str, by: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/reports").join(file)).unwrap();
    let (from, to) = ("timestamp '2026-04-13T12:00:00'", "timestamp '2026-05-14T12:00:00'");
    let statement = text
        .replace("$from", from)
        .replace("$to", to)
        .replace("$interval", "'24 hours'")
        .replace("$by", &format!("'{by}'"))
        .replace("$agent_id", "null")
        .replace("$model", "null")
        .replace("$tenant_id", "null");
    let lines: Vec<&str> = statement.lines().filter(|line| !line.starts_with("--")).collect();
    app.sql(&format!("explain {}", lines.join("\n"))).await.to_string()
}

fn line<'a>(answer: &'a Value, slice: &str, column: &str) -> &'a Value {
    let lines = answer["verdicts"].as_array().unwrap();
    lines.iter().find(|line| line["slice"] == slice && line["column"] == column).unwrap()
}

fn silent(answer: &Value) -> Vec<&str> {
    let silent = answer["silent_changes"].as_array().unwrap().iter();
    let drifting = silent.filter(|line| line["verdict"] == "drifting");
    let mut slices: Vec<&str> = drifting.map(|line| line["slice"].as_str().unwrap()).collect();
    slices.sort_unstable();
    slices
}

#[tokio::test]
async fn a_month_is_judged_from_rollups_as_from_calls_and_its_verdicts_are_kept() {
    let mut app = month().await;
    let from_calls = json_of(app.get("/api/v1/drift")).await;
    app.flush().await;
    let engine = app.daemon.as_ref().unwrap().engine();
    while engine.rollups().unwrap().build_next(engine, Duration::ZERO).await.unwrap() {}
    let answer = json_of(app.get("/api/v1/drift")).await;
    assert_eq!(answer, from_calls);
    for by in ["all", "agent_id", "model", "tenant_id"] {
        for file in ["drift_numbers.sql", "drift_categories.sql"] {
            let plan = plan_of(&app, file, by).await;
            assert!(plan.contains("rollup_") && !plan.contains("TableScan: agent_logs"), "{file} by {by}: {plan}");
        }
    }

    // Blocked calls are short and end otherwise, which is no other model.
    assert_eq!(silent(&answer), ["gemini-2.5-pro", "research_agent"]);
    let blocked = line(&answer, "support_triage", "guardrail_status");
    assert_eq!((&blocked["verdict"], &blocked["moved"]["part"]), (&json!("drifting"), &json!("blocked")), "{blocked}");
    // The incidents began at 2026-05-12T06:00:00Z.
    assert!(blocked["began_at"].as_str().unwrap().starts_with("2026-05-12T"), "{blocked}");
    assert_eq!(blocked["changed_then"], json!([]));
    assert_ne!(line(&answer, "planner", "error_type")["verdict"], "drifting");
    assert!(answer["totals"]["tests"].as_u64().unwrap() > 150, "{}", answer["totals"]);

    let some = json_of(app.get("/api/v1/drift").query(&[("by", "agent_id"), ("verdict", "drifting")])).await;
    let lines = some["verdicts"].as_array().unwrap();
    assert!(!lines.is_empty() && lines.iter().all(|line| line["by"] == "agent_id" && line["verdict"] == "drifting"));
    let before = json_of(app.get("/api/v1/drift").query(&[("to", "now-3d"), ("references", "3")])).await;
    assert_eq!((&before["totals"]["drifting"], &before["silent_changes"]), (&json!(0), &json!([])));

    let daemon = app.daemon.as_ref().unwrap();
    let settings = DriftSettings { interval: Duration::ZERO, window_hours: 24, references: 4, results_max: 5_000 };
    judge_once(daemon.engine(), daemon.results(), &settings).await.unwrap();
    let kept = "select column_name, slice_by, slice, verdict, effect > 0.1 as large, began_at is not null as dated
        from drift_results where (slice = 'support_triage' and column_name = 'guardrail_status')
          or (slice = 'research_agent' and column_name = 'silent_model_change')
        order by column_name";
    let expected = json!([
        {"column_name": "guardrail_status", "slice_by": "agent_id", "slice": "support_triage", "verdict": "drifting",
         "large": true, "dated": true},
        {"column_name": "silent_model_change", "slice_by": "agent_id", "slice": "research_agent", "verdict": "drifting",
         "large": null, "dated": true},
    ]);
    assert_eq!(app.sql(kept).await, expected);
    app.restart().await;
    assert_eq!(app.sql(kept).await, expected);
    let engine = app.daemon.as_ref().unwrap().engine();
    let failed = engine.refresh_gauges(2_000).await;
    assert!(failed.is_empty(), "{failed:?}");
    let scrape = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    for series in [
        r#"llm_drift_effect_size{column_name="silent_model_change",slice_by="agent_id",slice="research_agent"} 1"#,
        r#"llm_drift_verdicts{verdict="drifting"}"#,
        "llm_drift_run_timestamp_seconds 1778760000",
    ] {
        assert!(scrape.contains(series), "{series} is missing: {scrape}");
    }

    let data = app.data().to_owned();
    app.daemon.take().unwrap().stop().await.unwrap();
    let drift = |more: &[&str]| {
        let now = ["drift", "--to", "2026-05-14T12:00:00Z", "--data"];
        Command::new(env!("CARGO_BIN_EXE_driftline")).args(now).arg(&data).args(more).output().unwrap()
    };
    let output = drift(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("silent     agent_id research_agent answers differently since "), "{text}");
    let output = drift(&["--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), answer);
}

#[tokio::test]
async fn wrong_requests_are_named() {
    let app = TestApp::start().await;
    let check = async |query: &[(&str, &str)], words: &str| {
        let (status, message) = failure(app.get("/api/v1/drift").query(query)).await;
        assert_eq!((status, message.contains(words)), (400, true), "{message}");
    };
    check(&[("window_hours", "5")], "window_hours=5").await;
    check(&[("window_hours", "many")], "window_hours=many").await;
    check(&[("references", "1")], "references=1").await;
    check(&[("window_hours", "168"), ("references", "2")], "references=2 of window_hours=168").await;
    check(&[("by", "agent")], "by=agent").await;
    check(&[("verdict", "bad")], "verdict=bad").await;
    check(&[("to", "soon")], "to:").await;
    check(&[("column", "model"), ("window_hours", "24")], "window_hours").await;
    let empty = json_of(app.get("/api/v1/drift")).await;
    assert_eq!((&empty["totals"]["tests"], &empty["verdicts"]), (&json!(0), &json!([])));
}

fn shared(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(std::fs::File::open(path).ok()?), &mut text)
        .ok()?;
    Some(text)
}

/// The same lines at other times, each part in a week of its own, the last in the one before now.
fn in_weeks(parts: &[Vec<&str>], agent: &str) -> String {
    let mut body = String::new();
    for (week, lines) in parts.iter().rev().enumerate() {
        for (place, line) in lines.iter().enumerate() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let at_us = NOW_US - (week as i64 * 168 + 24) * HOUR_US + place as i64 * 1_000_000;
            record["timestamp"] = chrono::DateTime::from_timestamp_micros(at_us).unwrap().to_rfc3339().into();
            record["request_id"] = format!("{agent}-{week}-{place}").into();
            record["agent_id"] = agent.into();
            body += &(record.to_string() + "\n");
        }
    }
    body
}

#[tokio::test]
async fn two_real_services_differ_and_one_does_not_differ_from_itself() {
    let (Some(conversation), Some(code)) = (shared("azure-conv.ndjson.gz"), shared("azure-code.ndjson.gz")) else {
        println!("skipped: the real log files are not beside this checkout");
        return;
    };
    let lines = |text: &'static str, parts: usize| -> Vec<Vec<&'static str>> {
        let lines: Vec<&str> = text.lines().collect();
        lines.chunks(lines.len().div_ceil(parts)).map(<[_]>::to_vec).collect()
    };
    let (conversation, code): (&'static str, &'static str) = (conversation.leak(), code.leak());
    let app = TestApp::start().await;
    app.logs(in_weeks(&lines(conversation, 7), "same")).await;
    let mixed: Vec<Vec<&str>> = lines(conversation, 4).into_iter().chain(lines(code, 3)).collect();
    app.logs(in_weeks(&mixed, "other")).await;
    let query = [("window_hours", "168"), ("by", "agent_id")];
    let answer = json_of(app.get("/api/v1/drift").query(&query)).await;
    for column in ["prompt_tokens", "completion_tokens"] {
        assert_ne!(line(&answer, "same", column)["verdict"], "drifting", "{}", line(&answer, "same", column));
    }
    // Four weeks of references whose prompts differ by 0.1 and more do not show that nothing changed, either.
    let prompts = line(&answer, "same", "prompt_tokens");
    assert_eq!(prompts["verdict"], "insufficient", "{prompts}");
    assert!(prompts["detectable"].as_f64().unwrap() > 0.3, "{prompts}");
    // Of the whole files the distances are 0.346 and 0.810. The quarters of the conversations differ in their prompts
    // so much that four of them do not make the smaller one sure.
    let check = |column: &str, range: std::ops::Range<f64>| {
        let found = line(&answer, "other", column);
        assert!(range.contains(&found["effect"].as_f64().unwrap()), "{found}");
    };
    check("prompt_tokens", 0.30..0.37);
    check("completion_tokens", 0.78..0.83);
    assert_eq!(line(&answer, "other", "completion_tokens")["verdict"], "drifting");

    // Two ranges, one column, and the plain test.
    app.logs(in_weeks(&lines(conversation, 2), "halves")).await;
    app.logs(in_weeks(&[lines(conversation, 1), lines(code, 1)].concat(), "pair")).await;
    let check = async |column: &str, agent: &str, verdict: &str, range: std::ops::Range<f64>| {
        let ranges = [("reference", "now-9d/now-7d"), ("current", "now-2d/now")];
        let request = app.get("/api/v1/drift").query(&ranges).query(&[("column", column), ("by", "agent_id")]);
        let answer = json_of(request).await;
        let found = answer["verdicts"].as_array().unwrap().iter().find(|line| line["group"] == agent).unwrap();
        assert_eq!(found["verdict"], verdict, "{found}");
        assert!(range.contains(&found["effect_size"].as_f64().unwrap()), "{found}");
    };
    check("prompt_tokens", "pair", "drifting", 0.345..0.347).await;
    check("completion_tokens", "pair", "drifting", 0.809..0.811).await;
    check("prompt_tokens", "halves", "stable", 0.0..0.1).await;
    check("completion_tokens", "halves", "stable", 0.0..0.1).await;
}

/// The models that a coding agent's users chose, over twenty months of windows of two weeks.
#[tokio::test]
async fn a_real_change_of_models_is_told() {
    let Some(text) = shared("aider.ndjson.gz") else {
        println!("skipped: the real log files are not beside this checkout");
        return;
    };
    let app = TestApp::start().await;
    app.logs(text).await;
    app.flush().await;
    let mut told = Vec::new();
    for week in 0..78 {
        let to = chrono::NaiveDate::from_ymd_opt(2024, 10, 7).unwrap() + chrono::Days::new(7 * week);
        let query =
            [("to", to.to_string()), ("window_hours", "168".into()), ("references", "6".into()), ("by", "all".into())];
        let answer = json_of(app.get("/api/v1/drift").query(&query)).await;
        let models = answer["verdicts"].as_array().unwrap().iter().find(|line| line["column"] == "model");
        if let Some(line) = models.filter(|line| line["verdict"] == "drifting") {
            let share = |side: &str| line["moved"][side].as_f64().unwrap();
            told.push(format!("{to} {} {:.3} {:.3}", line["moved"]["part"], share("before"), share("after")));
        }
    }
    // The change from one model to others; smaller ones, and those of weeks with few calls, are not sure.
    assert_eq!(told, ["2025-01-13 \"claude-3-5-sonnet-20241022\" 0.797 0.206"]);
}
