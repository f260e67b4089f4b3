//! Rules over a month of generated calls in which something is wrong at known times: what would have fired, and when.

use std::{path::Path, process::Command};

use driftline::{
    backtest::{ALERTS, Replays},
    config::{Config, TenantMetricsConfig},
    sample::{Incident, IncidentKind, Plan},
};
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, failure, json as json_of, record};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const DAYS: i64 = 46;

/// From when to when prompts are blocked, and do not fit into the context, h before now.
const BLOCKED: [i64; 2] = [-252, -198];
const OVERFLOWING: [i64; 2] = [-220, -208];
/// What is replayed: some days before and after, h before now.
const RANGE: [i64; 2] = [-348, -96];

const OBJECTIVES: &str = r#"
[[slo]]
name = "code works"
kind = "errors"
target = 0.99
window_days = 30
agent_id = "code_assistant"

[[slo]]
name = "planner works"
kind = "errors"
target = 0.99
window_days = 30
agent_id = "planner"
"#;

fn at(hour: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOW_US + hour * HOUR_US).unwrap();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Six weeks of generated calls.
async fn weeks() -> TestApp {
    let app = TestApp::start_with(|config| config.slo = toml::from_str::<Config>(OBJECTIVES).unwrap().slo).await;
    let incident = |kind, [from, to]: [i64; 2]| Incident {
        kind,
        start_us: NOW_US + from * HOUR_US,
        end_us: NOW_US + to * HOUR_US,
    };
    let plan = Plan {
        seed: 11,
        start_us: NOW_US - DAYS * DAY_US,
        days: (DAYS * 24 + RANGE[1]) as f64 / 24.0,
        calls_per_day: 1_500.0,
        incidents: vec![
            incident(IncidentKind::GuardrailSurge, BLOCKED),
            incident(IncidentKind::ContextOverflow, OVERFLOWING),
        ],
    };
    app.traffic(&plan).await;
    app
}

async fn replayed(app: &TestApp, parameters: &[(&str, &str)]) -> Value {
    let (from, to) = (at(RANGE[0]), at(RANGE[1]));
    let range = [("from", from.as_str()), ("to", to.as_str())];
    let answer = json_of(app.get("/api/v1/backtest").query(&range).query(parameters)).await;
    assert_eq!(answer["rules"].as_array().unwrap().len(), 1, "{answer}");
    answer["rules"][0].clone()
}

/// Every episode is of this series, begins within these hours and ends within those.
#[track_caller]
fn check(answer: &Value, key: &str, begins: [i64; 2], ends: [i64; 2]) {
    let episodes = answer["episodes"].as_array().unwrap();
    assert!(!episodes.is_empty(), "{answer:#}");
    for episode in episodes {
        let within = |name: &str, [from, to]: [i64; 2]| {
            let time = episode[name].as_str().unwrap_or_default();
            at(from).as_str() <= time && time <= at(to).as_str()
        };
        assert_eq!((&episode["key"], &episode["state"]), (&json!(key), &json!("resolved")), "{episode:#}");
        assert!(within("firing_at", begins) && within("resolved_at", ends), "{episode:#}");
        assert!(episode["samples"].as_u64().unwrap() > 0, "{episode:#}");
    }
}

#[tokio::test]
async fn rules_fire_inside_incidents_and_not_outside() {
    let mut app = weeks().await;
    app.flush().await;

    // A KPI by its own windows, and by those that overlap.
    let kpi =
        [("rule", "kpi"), ("name", "guardrail_block_rate"), ("by", "agent"), ("window", "6h"), ("samples_min", "20")];
    let inside = [BLOCKED[0], BLOCKED[1] + 6];
    for step in ["6h", "1h"] {
        let answer = replayed(&app, &[kpi.as_slice(), &[("step", step)]].concat()).await;
        check(&answer, "support_triage", inside, inside);
        assert_eq!(answer["moments"], if step == "6h" { 42 } else { 252 });
    }
    let held = replayed(&app, &[kpi.as_slice(), &[("step", "1h"), ("for", "3h")]].concat()).await;
    check(&held, "support_triage", [BLOCKED[0] + 3, inside[1]], inside);
    let never = replayed(&app, &[kpi.as_slice(), &[("step", "1h"), ("for", "4d")]].concat()).await;
    assert_eq!(never["episodes"], json!([]));
    assert!(never["pending_only"].as_u64().unwrap() > 0);

    // Two of three windows of a day have to change, and go on to be the newest for two days.
    let drift = [("rule", "drift"), ("by", "agent_id"), ("step", "6h"), ("column", "guardrail_status")];
    let answer = replayed(&app, &drift).await;
    check(&answer, "support_triage", [BLOCKED[0] + 6, BLOCKED[1]], [BLOCKED[1], BLOCKED[1] + 72]);
    assert!(answer["judged"].as_u64().unwrap() > 1_000, "{answer:#}");

    let anomalies = [("rule", "anomalies"), ("kpi", "guardrail_block_rate")];
    let answer = replayed(&app, &anomalies).await;
    check(&answer, "support_triage", inside, [BLOCKED[0], BLOCKED[1] + 6]);

    let objective = [("rule", "slo"), ("name", "code works"), ("step", "10m")];
    let answer = replayed(&app, &objective).await;
    // The long window of the last pair is three days: as long as it holds the incident, an ordinary error in the short
    // one is enough for a ticket.
    check(&answer, "code works", [OVERFLOWING[0], OVERFLOWING[1] + 72], [OVERFLOWING[0], OVERFLOWING[1] + 72]);
    let first = answer["episodes"][0]["firing_at"].as_str().unwrap();
    assert!(first <= at(OVERFLOWING[0] + 6).as_str(), "{answer:#}");
    // Alerts: of both objectives, and of all that is watched of all agents.
    let fast = replayed(&app, &[("rule", "alert"), ("name", "LlmErrorBudgetBurnFast")]).await;
    check(&fast, "code works", [OVERFLOWING[0], OVERFLOWING[1] + 1], [OVERFLOWING[0], OVERFLOWING[1] + 1]);
    assert_eq!((&fast["rule"], &fast["series"]), (&json!("LlmErrorBudgetBurnFast"), &json!(2)));
    assert!(fast["episodes"].as_array().unwrap().iter().all(|episode| episode["what"] == "page 1h/5m"), "{fast:#}");
    let lasting = replayed(&app, &[("rule", "alert"), ("name", "LlmErrorBudgetBurnLasting")]).await;
    check(&lasting, "code works", [OVERFLOWING[0], OVERFLOWING[1] + 72], [OVERFLOWING[0], OVERFLOWING[1] + 72]);
    let odd = replayed(&app, &[("rule", "alert"), ("name", "LlmAnomaly")]).await;
    let episodes = odd["episodes"].as_array().unwrap();
    let failing = episodes.iter().filter(|episode| {
        (&episode["what"], &episode["key"]) == (&json!("context_overflow_rate"), &json!("code_assistant"))
    });
    let failing = json!({"episodes": failing.collect::<Vec<_>>()});
    check(&failing, "code_assistant", [OVERFLOWING[0], OVERFLOWING[1] + 1], [OVERFLOWING[0], OVERFLOWING[1] + 2]);
    assert!(episodes.iter().all(|episode| episode["score"].as_f64().unwrap() >= 0.7), "{odd:#}");

    let quiet = replayed(&app, &[("rule", "slo"), ("name", "planner works"), ("step", "10m")]).await;
    assert_eq!(quiet["episodes"], json!([]), "{quiet:#}");

    a_run_says_what_drift_says(&app, &replayed(&app, &drift).await).await;
    the_command_line_says_the_same(&mut app).await;
}

/// At the peak of an episode, `drift` says the same of that moment.
async fn a_run_says_what_drift_says(app: &TestApp, answer: &Value) {
    let episode = &answer["episodes"][0];
    let moment = [("to", episode["peak_at"].as_str().unwrap()), ("by", "agent_id"), ("verdict", "drifting")];
    let verdicts = json_of(app.get("/api/v1/drift").query(&moment)).await;
    let is_own = |line: &&Value| line["column"] == episode["what"] && line["slice"] == episode["key"];
    let line = verdicts["verdicts"].as_array().unwrap().iter().find(is_own).unwrap();
    let told = ["effect", "effect_min", "n_current"].map(|name| line[name].clone());
    assert_eq!(["value", "limit", "samples"].map(|name| episode[name].clone()), told);
}

async fn the_command_line_says_the_same(app: &mut TestApp) {
    let parameters = [("rule", "kpi"), ("name", "guardrail_block_rate"), ("by", "agent"), ("window", "1h")];
    let answer = replayed(app, &parameters).await;
    let data = app.data().to_owned();
    app.daemon.take().unwrap().stop().await.unwrap();
    let backtest = |more: &[&str]| {
        let kpi = ["backtest", "kpi", "guardrail_block_rate", "--by", "agent", "--window", "1h"];
        let (from, to) = (at(RANGE[0]), at(RANGE[1]));
        let range = ["--from", &from, "--to", &to, "--data", data.to_str().unwrap()];
        Command::new(env!("CARGO_BIN_EXE_driftline")).args(kpi).args(range).args(more).output().unwrap()
    };
    let output = backtest(&["--json"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect(&error)["rules"][0], answer);
    let text = String::from_utf8(backtest(&[]).stdout).unwrap();
    assert!(text.starts_with("rule       guardrail_block_rate: guardrail_block_rate > 0.2 ratio over 1h"), "{text}");
}

/// Windows that overlap have the figures of ones that are asked for alone.
#[tokio::test]
async fn windows_have_the_figures_of_their_calls() {
    let app = TestApp::start().await;
    let call = |place: i64| {
        let scored = format!(
            r#""quality_scores":{{"hallucination_probability":{}}},"error":null"#,
            0.02 * (place % 11 + 1) as f64
        );
        record(-7_200 + place * 12, &format!("r{place}"), "rag", 0.01 * (place % 7) as f64)
            .replace(r#""error":null"#, &scored)
    };
    app.logs((0..600).map(call).collect::<String>()).await;
    let kpi = async |name: &str, more: &[(&str, &str)]| {
        let of_kpi = [("rule", "kpi"), ("name", name), ("from", "now-1h"), ("samples_min", "1"), ("above", "0")];
        json_of(app.get("/api/v1/backtest").query(&of_kpi).query(more)).await["rules"][0].clone()
    };
    for (name, figure) in [
        ("latency_mean", "avg(latency_ms)"),
        ("cost", "sum(cost)"),
        ("latency_p95", "quantile_of(quantile_sketch(latency_ms), 0.95)"),
        ("hallucination_p90", "quantile_of(quantile_sketch(hallucination_probability), 0.9)"),
    ] {
        for window in [7, 60] {
            let length = format!("{window}m");
            let answer = kpi(name, &[("window", &length), ("step", "1m"), ("agent_id", "rag")]).await;
            let peak = &answer["episodes"][0];
            let end = peak["peak_at"].as_str().unwrap().trim_end_matches('Z');
            let statement = format!(
                "select {figure} as value, count(*) as samples from agent_logs
                 where timestamp >= timestamp '{end}' - interval '{window} minutes' and timestamp < timestamp '{end}'"
            );
            let expected = &app.sql(&statement).await[0];
            assert_eq!(peak["samples"], expected["samples"], "{name} {window}");
            let (value, expected) = (peak["value"].as_f64().unwrap(), expected["value"].as_f64().unwrap());
            assert!((value - expected).abs() < 1e-9 * expected, "{name} {window}: {value} {expected}");
            assert_eq!((&answer["moments"], &answer["judged"], &peak["moments"]), (&json!(60), &json!(60), &json!(60)));
        }
    }
}

#[tokio::test]
async fn quotas_and_breakers_fire() {
    let app = TestApp::start_with(|config| {
        config.metrics.tenants.insert("t1".to_owned(), TenantMetricsConfig { token_daily_quota: 1_000 });
    })
    .await;
    let open = r#""circuit_breaker_state":"open","error":null"#;
    let call =
        |place: i64| record(-18_000 + place * 20, &format!("r{place}"), "rag", 0.01).replace(r#""error":null"#, open);
    app.logs((0..7).map(call).collect::<String>()).await;
    let fired = async |name: &str| {
        let asked =
            [("rule", "alert"), ("name", name), ("from", "2026-05-13T12:00:00Z"), ("to", "2026-05-14T12:00:00Z")];
        let answer = json_of(app.get("/api/v1/backtest").query(&asked)).await;
        let episodes = answer["rules"][0]["episodes"].as_array().unwrap().iter();
        episodes.map(|episode| ["key", "value", "firing_at"].map(|name| episode[name].clone())).collect::<Vec<_>>()
    };
    // 120 tokens each, from 07:00 on.
    assert_eq!(fired("LlmTokenQuotaNear").await, [[json!("t1"), json!(0.84), json!("2026-05-14T08:00:00Z")]]);
    assert!(fired("LlmTokenQuotaExceeded").await.is_empty());
    assert_eq!(fired("LlmCircuitBreakerOpen").await, [[json!("rag"), json!(1.0), json!("2026-05-14T07:01:00Z")]]);
}

#[tokio::test]
async fn wrong_requests_are_named() {
    let app = TestApp::start().await;
    let check = async |query: &[(&str, &str)], status: u16, words: &str| {
        let (told, message) = failure(app.get("/api/v1/backtest").query(query)).await;
        assert_eq!((told, message.contains(words)), (status, true), "{message}");
    };
    let kpi = |more: &[(&'static str, &'static str)]| [&[("rule", "kpi"), ("name", "error_rate")][..], more].concat();
    check(&[], 400, "rule is missing: one of drift, anomalies, kpi, slo, alert").await;
    check(&[("rule", "budget")], 400, "rule=budget is not one of").await;
    check(
        &[("rule", "drift"), ("kpi", "cost")],
        400,
        "kpi is no parameter of a backtest of drift; there are rule, from",
    )
    .await;
    check(&[("rule", "drift"), ("column", "mood")], 400, "column=mood is not watched").await;
    check(&[("rule", "drift"), ("step", "30m")], 400, "step is a whole number of hours").await;
    check(&[("rule", "drift"), ("from", "now-101d")], 400, "from and to are 2424 steps of 1h apart and at most 2400")
        .await;
    check(&[("rule", "drift"), ("window_hours", "5")], 400, "window_hours=5").await;
    check(&[("rule", "anomalies"), ("score_min", "2")], 400, "score_min=2").await;
    check(&[("rule", "kpi")], 400, "name is missing: the KPI").await;
    check(&[("rule", "kpi"), ("name", "mood")], 404, "mood").await;
    check(&[("rule", "kpi"), ("name", "cost")], 400, "KPI cost has no alert of its own: give above or below").await;
    check(&kpi(&[("above", "1"), ("below", "1")]), 400, "above and below").await;
    check(&kpi(&[("window", "10s")]), 400, "window is a whole number of minutes, from 1m to 31d").await;
    check(&kpi(&[("window", "1h"), ("step", "25m")]), 400, "step=25m is no part of window=1h").await;
    check(&kpi(&[("window", "2h"), ("step", "1m")]), 400, "down to a 60th").await;
    check(&kpi(&[("for", "soon")]), 400, "for: soon is no length of time").await;
    check(&kpi(&[("window", "1m"), ("from", "now-105d")]), 400, "at most 150000 are replayed").await;
    check(&kpi(&[("from", "now+1h")]), 400, "no step of 1h is over between from and to").await;
    let ratio = [("rule", "kpi"), ("name", "cost_baseline_ratio")];
    check(&[&ratio[..], &[("window", "1h")]].concat(), 400, "the alert of cost_baseline_ratio holds over 1d").await;
    check(&[&ratio[..], &[("window", "2h"), ("above", "1")]].concat(), 400, "it compares windows with others").await;
    check(&[("rule", "slo")], 404, "no objective is in the settings").await;
    check(&[("rule", "alert"), ("name", "DriftlineDown")], 400, "there are LlmCostSpike, ").await;
    let empty = json_of(app.get("/api/v1/backtest").query(&[("rule", "alert")])).await;
    let rules = empty["rules"].as_array().unwrap();
    // All but the one that wants to be named.
    assert_eq!(rules.len(), ALERTS.len() - 1);
    let named = [("rule", "alert"), ("name", "LlmAnomalousSessions")];
    let named = &json_of(app.get("/api/v1/backtest").query(&named)).await["rules"][0];
    assert_eq!((&named["judged"], &named["episodes"]), (&json!(0), &json!([])), "{named:#}");
    assert!(named["condition"].as_str().unwrap().starts_with("an hour has runaway_sessions, tool_loops"), "{named:#}");
    assert!(rules.iter().all(|rule| rule["judged"] == 0 && rule["episodes"] == json!([])), "{empty:#}");
}

/// What replays an alert has the figures of its rule.
#[test]
fn alerts_are_those_of_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/prometheus/rules.yml");
    let rules = std::fs::read_to_string(path).unwrap();
    for alert in ALERTS {
        let start = rules.find(&format!("- alert: {}\n", alert.name)).expect(alert.name);
        let rule = rules[start..].split("\n\n").next().unwrap();
        let has = |part: &str| assert!(rule.contains(part), "{part} is not in {rule}");
        let Replays::Kpi { window, above, samples_min, hold, kpi, .. } = alert.replays else {
            match alert.replays {
                Replays::Anomalies { score_min } => {
                    has("llm_anomaly_score{slice_by=\"agent_id\"}[6h]");
                    has(&format!(") > {score_min}\n"));
                }
                Replays::Events { kinds, stuck_calls_min } => {
                    kinds.split(',').for_each(has);
                    has(&format!("> {}\n", stuck_calls_min - 1));
                }
                Replays::Objectives { long } => has(&format!("llm_slo_is_burning{{window=\"{long}\"}}")),
                _ => {}
            }
            continue;
        };
        if alert.differs.is_some() {
            continue;
        }
        // Prometheus has seconds where KPIs have milliseconds.
        let bound = if kpi.starts_with("latency") { above / 1_000.0 } else { above };
        for part in [format!("> {bound}"), format!(">= {samples_min}"), format!("for: {hold}\n"), window.to_owned()] {
            has(&part);
        }
    }
}
