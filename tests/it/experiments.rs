//! Experiments from plain logs: the unit, the split, the time before, each metric's difference, and the words.

use std::{collections::BTreeMap, fmt::Write as _};

use driftline::{
    experiment::METRICS,
    sample::{Plan, Traffic},
};
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, failure, json as json_of};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// What a call is made of.
struct Call {
    second: i64,
    user: String,
    variant: Option<&'static str>,
    cost: f64,
    latency_ms: f64,
    done: bool,
}

impl Call {
    fn line(&self, experiment: &str, special: &Value) -> String {
        let time = chrono::DateTime::from_timestamp_micros(NOW_US + self.second * 1_000_000).unwrap();
        let mut record = json!({
            "timestamp": time.to_rfc3339(), "request_id": format!("{}{}", self.user, self.second), "agent_id": "bot",
            "tenant_id": "t1", "user_id": self.user, "session_id": format!("s-{}", self.user), "model": "m1",
            "cost_usd": self.cost, "latency_ms": self.latency_ms, "task_completed": self.done,
            "guardrail_status": "passed", "http_status": 200,
        });
        let record = record.as_object_mut().unwrap();
        if let Some(variant) = self.variant {
            record.extend([("experiment_id".to_owned(), json!(experiment)), ("variant".to_owned(), json!(variant))]);
        }
        record.extend(special.as_object().unwrap().clone());
        record.retain(|_, value| !value.is_null());
        json!(record).to_string() + "\n"
    }
}

/// A number between 0 and 1 that looks like chance.
fn chance(of: i64, salt: i64) -> f64 {
    let mixed = (of.wrapping_mul(0x9e37_79b9).wrapping_add(salt.wrapping_mul(0x85eb_ca6b)) as u64)
        .wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 40) as f64 / (1_u64 << 24) as f64
}

/// 400 users with 4 calls each; treatment costs 30 % less and gets more tasks done. Every user was there before, at
/// the same level of cost.
fn calls() -> Vec<Call> {
    let mut calls = Vec::new();
    for user in 0..400_i64 {
        let variant = if user % 2 == 0 { "control" } else { "treatment" };
        let treated = user % 2 == 1;
        let level = 0.02 * (0.2 + chance(user, 1));
        for turn in 0..4 {
            let cost = level * (0.8 + 0.4 * chance(user, 10 + turn)) * if treated { 0.7 } else { 1.0 };
            let done = chance(user, 20 + turn) < if treated { 0.9 } else { 0.6 };
            let latency_ms = 400.0 + 1_600.0 * chance(user, 30 + turn).powi(3);
            let user = format!("u{user}");
            calls.push(Call { second: -DAY_S + turn * HOUR_S, user, variant: Some(variant), cost, latency_ms, done });
        }
        let cost = level * (0.8 + 0.4 * chance(user, 40));
        let user = format!("u{user}");
        calls.push(Call { second: -3 * DAY_S, user, variant: None, cost, latency_ms: 500.0, done: false });
    }
    calls
}

fn body(calls: &[Call], special: &Value) -> String {
    calls.iter().map(|call| call.line("exp-1", special)).collect()
}

async fn experiment(app: &TestApp, id: &str, query: &[(&str, &str)]) -> Value {
    json_of(app.get(&format!("/api/v1/experiments/{id}")).query(query)).await
}

/// The metric of the first variant that is compared.
fn metric<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let metrics = answer["comparisons"][0]["metrics"].as_array().unwrap();
    metrics.iter().find(|metric| metric["name"] == name).unwrap()
}

fn close(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() <= 1e-9 * expected.abs(), "{value} is not {expected}");
}

#[tokio::test]
async fn an_experiment_is_compared_by_user() {
    let app = TestApp::start().await;
    let calls = calls();
    // One half is committed, the other waits; it is one experiment.
    app.logs(body(&calls[..800], &json!({}))).await;
    app.flush().await;
    app.logs(body(&calls[800..], &json!({}))).await;
    let stray = |user: &str, second, variant| Call {
        second,
        user: user.to_owned(),
        variant: Some(variant),
        cost: 5.0,
        latency_ms: 9_000.0,
        done: false,
    };
    // A user in both variants, a call without a user, one without a variant: they count for none.
    let both = [stray("both", -60, "control"), stray("both", -50, "treatment")];
    app.logs(body(&both, &json!({})) + &body(&[stray("x", -40, "control")], &json!({ "user_id": null }))).await;
    app.logs(body(&[stray("y", -30, "control")], &json!({ "variant": null }))).await;

    let answer = experiment(&app, "exp-1", &[]).await;
    assert_eq!((&answer["unit"], &answer["control"]), (&json!("user"), &json!("control")), "{answer}");
    assert_eq!(answer["unit_reason"], "99.9 % of the calls carry user_id");
    let left_out = json!({ "calls_without_variant": 1, "calls_without_unit": 1, "units_in_several_variants": 1 });
    assert_eq!(answer["left_out"], left_out);
    assert_eq!(answer["split"]["state"], "as_meant");
    assert_eq!(answer["variants"][1]["units"], 200);
    assert_eq!(answer["variants"][1]["units_before"], 200);
    assert_eq!(answer["first_call"], "2026-05-13T12:00:00.000000Z");
    assert_eq!(answer["before"]["to"], "2026-05-13T12:00:00.000000Z");

    let of = |variant: &str| calls.iter().filter(move |call| call.variant == Some(variant)).collect::<Vec<_>>();
    let cost = metric(&answer, "cost_per_call");
    for (side, variant) in [("control", "control"), ("variant", "treatment")] {
        let calls = of(variant);
        let total: f64 = calls.iter().map(|call| call.cost).sum();
        let done = calls.iter().filter(|call| call.done).count() as f64;
        close(&cost[side]["value"], total / 800.0);
        assert_eq!((&cost[side]["units"], &cost[side]["samples"]), (&json!(200), &json!(800)));
        close(&metric(&answer, "cost_per_resolved_task")[side]["value"], total / done);
        close(&metric(&answer, "task_completion")[side]["value"], done / 800.0);
        let mut latencies: Vec<f64> = calls.iter().map(|call| call.latency_ms).collect();
        latencies.sort_unstable_by(f64::total_cmp);
        let shown = metric(&answer, "latency_p95")[side]["value"].as_f64().unwrap();
        assert!((shown / latencies[760] - 1.0).abs() < 0.03, "{shown} {}", latencies[760]);
    }
    assert_eq!((&cost["state"], &cost["holds_for_all"]), (&json!("better"), &json!(true)));
    assert!(cost["adjustment"]["variance_reduction"].as_f64().unwrap() > 0.7, "{cost}");
    // What users cost before explains nearly all that tells them apart.
    assert!((cost["change"][0].as_f64().unwrap() + 0.3).abs() < 0.03, "{cost}");
    let states: BTreeMap<&str, &str> =
        METRICS.iter().map(|known| (known.name, metric(&answer, known.name)["state"].as_str().unwrap())).collect();
    let expected = [
        ("latency_p95", "undecided"),
        ("task_completion", "better"),
        ("cost_per_resolved_task", "better"),
        ("guardrail_block_rate", "insufficient"),
        ("error_rate", "insufficient"),
        ("groundedness", "not_measured"),
    ];
    for (name, state) in expected {
        assert_eq!(states[name], state, "{states:?}");
    }
    let verdict = &answer["comparisons"][0]["verdict"];
    assert_eq!(verdict["state"], "better", "{verdict}");

    let text = app.get("/api/v1/experiments/exp-1").query(&[("format", "text")]).send().await.unwrap();
    let text = text.text().await.unwrap();
    assert!(text.contains("treatment against control: better in task_completion"), "{text}");
    // Without the time before: the same question, less sharply.
    let raw = experiment(&app, "exp-1", &[("before_days", "0")]).await;
    let width = |cost: &Value| cost["high"].as_f64().unwrap() - cost["low"].as_f64().unwrap();
    assert!(width(metric(&raw, "cost_per_call")) > 1.8 * width(cost));
    assert_eq!(raw["before"]["reason"], "not asked for");
    let late = experiment(&app, "exp-1", &[("from", "2026-05-13T13:00:00Z")]).await;
    assert_eq!(late["before"]["reason"], "the experiment began before the range");
    assert_eq!(late["variants"][0]["calls"], 600);
}

#[tokio::test]
async fn what_was_randomised_is_found_out() {
    let calls = calls();
    let check = async |special: Value, unit: &str, reason: &str| {
        let app = TestApp::start().await;
        app.logs(body(&calls, &special)).await;
        let answer = experiment(&app, "exp-1", &[]).await;
        assert_eq!((&answer["unit"], &answer["unit_reason"]), (&json!(unit), &json!(reason)));
        assert_eq!(answer["left_out"]["calls_without_unit"], 0);
        app
    };
    check(json!({ "user_id": null }), "session", "100 % of the calls carry session_id; only 0 % carry user_id").await;
    let nothing = json!({ "user_id": null, "session_id": null });
    let reason = "each call for itself; only 0 % carry user_id; only 0 % carry session_id";
    let app = check(nothing, "call", reason).await;
    let answer = experiment(&app, "exp-1", &[]).await;
    assert_eq!(answer["variants"][0]["units"], 800);
    assert_eq!(metric(&answer, "task_completion")["method"], "asymptotic_and_beta_binomial");
    assert_eq!(answer["before"]["reason"], "only users are known from before");
    // Sessions were randomised, and a user has many of them.
    let app = TestApp::start().await;
    let mut lines = String::new();
    for call in &calls {
        let user = call.user.trim_start_matches('u').parse::<i64>().unwrap();
        lines += &call.line("exp-1", &json!({ "user_id": format!("p{}", user / 4) }));
    }
    app.logs(lines).await;
    let answer = experiment(&app, "exp-1", &[]).await;
    let reason = "100 % of the calls carry session_id; too many users meet several variants";
    assert_eq!((&answer["unit"], &answer["unit_reason"]), (&json!("session"), &json!(reason)));
    let asked = experiment(&app, "exp-1", &[("unit", "call"), ("split", "control=1,treatment=3")]).await;
    assert_eq!((&asked["unit_reason"], &asked["split"]["state"]), (&json!("asked for"), &json!("mismatch")));
    assert_eq!(asked["comparisons"][0]["verdict"]["state"], "sample_ratio_mismatch");
}

#[tokio::test]
async fn the_list_has_every_experiment() {
    let app = TestApp::start().await;
    let empty = json_of(app.get("/api/v1/experiments")).await;
    assert_eq!(empty, json!({ "experiments": [] }));
    let calls = calls();
    app.logs(body(&calls[..10], &json!({})) + &calls[0].line("exp/2 ü", &json!({ "variant": "b" }))).await;
    let list = json_of(app.get("/api/v1/experiments")).await;
    let list = list["experiments"].as_array().unwrap();
    assert_eq!(list.len(), 2, "{list:?}");
    assert_eq!((&list[0]["experiment_id"], &list[0]["calls"]), (&json!("exp-1"), &json!(8)));
    assert_eq!(list[0]["variants"][1], json!({ "variant": "treatment", "calls": 4, "users": 1, "sessions": 1 }));
    assert_eq!(list[1]["experiment_id"], "exp/2 ü");
    let alone = failure(app.get("/api/v1/experiments/exp%2F2%20%C3%BC")).await;
    assert_eq!(alone, (400, "experiment exp/2 ü: a comparison needs two variants; the range has b".to_owned()));
    let other = json_of(app.get("/api/v1/experiments").query(&[("tenant_id", "t2")])).await;
    assert_eq!(other, json!({ "experiments": [] }));
}

#[tokio::test]
async fn wrong_questions_are_told() {
    let app = TestApp::start().await;
    app.logs(body(&calls()[..20], &json!({}))).await;
    let check = async |query: &[(&str, &str)], status: u16, said: &str| {
        let (code, message) = failure(app.get("/api/v1/experiments/exp-1").query(query)).await;
        assert!(code == status && message.contains(said), "{query:?}: {code} {message}");
    };
    check(&[("unit", "person")], 400, "unit=person is not one of user, session, call").await;
    check(&[("split", "control")], 400, "split=control is no split").await;
    check(&[("split", "control=0,treatment=1")], 400, "no split").await;
    check(&[("split", "control=1,x=1")], 400, "split: x is no variant of it").await;
    check(&[("control", "x")], 400, "control=x is no variant of it; there are control, treatment").await;
    check(&[("from", "yesterdayish")], 400, "from: ").await;
    check(&[("from", "now"), ("to", "now-1d")], 400, "from is not before to").await;
    check(&[("before_days", "400")], 400, "before_days=400 is not from 0").await;
    check(&[("planned_units", "5")], 400, "planned_units=5").await;
    check(&[("model", "m1")], 400, "model is no parameter of an experiment").await;
    check(&[("format", "xml")], 400, "format=xml is not one of json, text").await;
    check(&[("to", "now-300d"), ("from", "now-301d")], 404, "no call of experiment exp-1 is in the range").await;
}

/// The generator splits the users of two agents; one of the treatments does something.
#[tokio::test]
async fn generated_experiments_are_told_apart() {
    let app = TestApp::start().await;
    let plan = Plan {
        seed: 4,
        start_us: NOW_US - 20 * DAY_S * 1_000_000,
        days: 20.0,
        calls_per_day: 6_000.0,
        incidents: Vec::new(),
    };
    let (mut lines, mut line, mut without_effect) = (String::new(), Vec::new(), 0);
    for call in Traffic::new(&plan) {
        line.clear();
        call.write_json(&mut line);
        let text = std::str::from_utf8(&line).unwrap();
        without_effect += u32::from(text.contains("exp-rerank-07"));
        if text.contains("exp-brief-summary-12") || text.contains("exp-rerank-07") && without_effect <= 6_000 {
            lines += text;
        }
    }
    app.logs(lines).await;
    let brief = experiment(&app, "exp-brief-summary-12", &[]).await;
    let rerank = experiment(&app, "exp-rerank-07", &[]).await;
    let mut told = String::new();
    for answer in [&brief, &rerank] {
        writeln!(told, "{} {}", answer["split"]["state"], answer["comparisons"][0]["verdict"]).unwrap();
    }
    assert_eq!(brief["comparisons"][0]["verdict"]["state"], "better", "{told}");
    assert_eq!(metric(&brief, "user_satisfaction")["state"], "better", "{told}");
    assert_eq!(rerank["comparisons"][0]["verdict"]["state"], "undecided", "{told}");
}
