//! KPIs: their rows, their judgements, the score card, coverage, and a user's own.

use std::time::Duration;

use driftline::{
    clock::Clock,
    config::{AgentKpiConfig, Config, TenantMetricsConfig},
    daemon::Store,
    kpi::{Definition, PANELS},
    query::{Library, LibraryKind, Options, QueryParams},
};
use serde_json::{Value, json};

use crate::app::{NOW_US, TestApp, failure, json as json_of};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// A call so many seconds from noon of 2026-05-14, with what is special about it.
fn call(second: i64, id: &str, special: &Value) -> String {
    let time = chrono::DateTime::from_timestamp_micros(NOW_US + second * 1_000_000).unwrap();
    let mut record = json!({
        "timestamp": time.to_rfc3339(), "request_id": id, "session_id": format!("s-{id}"), "agent_id": "rag",
        "tenant_id": "t1", "model": "m1", "cost_usd": 0.25, "latency_ms": 1_000, "http_status": 200,
    });
    record.as_object_mut().unwrap().extend(special.as_object().unwrap().clone());
    format!("{record}\n")
}

/// So many of them, a second apart.
fn calls(second: i64, count: i64, name: &str, special: &Value) -> String {
    (0..count).map(|n| call(second + n, &format!("{name}-{n}"), special)).collect()
}

fn failed() -> Value {
    json!({ "error": "overloaded", "error_type": "provider_error", "http_status": 503 })
}

async fn kpi(app: &TestApp, name: &str, query: &[(&str, &str)]) -> Value {
    json_of(app.get(&format!("/api/v1/kpis/{name}")).query(query)).await
}

/// `window key value state direction` of each window.
fn told(answer: &Value) -> Vec<String> {
    let part = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let windows = answer["windows"].as_array().unwrap().iter();
    windows
        .map(|window| {
            let parts = [&window["key"], &window["value"], &window["state"], &window["trend"]["direction"]];
            format!("{} {}", &window["window_start"].as_str().unwrap()[..13], parts.map(part).join(" "))
        })
        .collect()
}

/// What is found in the calls of each day, of which the days are kept: sessions are no group of a rollup.
const OF_DAYS: [&str; 2] = ["cost_per_session", "turns_per_session"];

#[tokio::test]
async fn kpis_over_calls_are_answered_from_rollups() {
    let app = TestApp::start().await;
    for day in 0..3 {
        app.logs(calls(-day * DAY_S - HOUR_S, 20, &format!("d{day}"), &json!({}))).await;
        app.flush().await;
    }
    let engine = app.daemon.as_ref().unwrap().engine();
    while engine.rollups().unwrap().build_next(engine, Duration::ZERO).await.unwrap() {}
    let kpis = engine.library().of(LibraryKind::Kpis).map(|entry| (&entry.named.name, &entry.named.sql));
    let coverage = engine.library().get(LibraryKind::Reports, "coverage").unwrap();
    for (name, sql) in kpis.chain([(&coverage.named.name, &coverage.named.sql)]) {
        for (grain, by) in [("hour", "all"), ("day", "agent"), ("month", "model")] {
            let params = json!({
                "from": "2026-05-01T00:00:00", "to": "2026-05-14T12:00:00", "grain": grain, "by": by,
                "tenant_id": "t1", "agent_id": null, "model": null, "with_tools": true,
            });
            let params = QueryParams::Named(params.as_object().unwrap().clone());
            engine.sql_with(sql, params.clone(), Options::default()).await.expect(name).collect().await.unwrap();
            let rows = engine.sql_with(&format!("explain {sql}"), params, Options::default()).await.unwrap();
            let plan: Vec<Value> = rows.collect_as().await.unwrap();
            let logical = plan[0]["plan"].as_str().unwrap();
            let from =
                if OF_DAYS.contains(&name.as_str()) { "TableScan: answers_of_days" } else { "TableScan: rollup_" };
            assert!(logical.contains(from), "{name}: {logical}");
            let calls = ["TableScan: agent_logs", "TableScan: stored.agent_logs"];
            assert!(!calls.iter().any(|scan| logical.contains(scan)), "{name}: {logical}");
        }
    }
}

#[tokio::test]
async fn windows_are_judged_and_compared_with_the_one_before() {
    let app = TestApp::start().await;
    let day = |days: i64| -days * DAY_S;
    app.logs(calls(day(3), 40, "a", &json!({}))).await;
    app.logs(calls(day(2), 38, "b", &json!({})) + &calls(day(2) + 60, 2, "c", &failed())).await;
    app.logs(calls(day(1), 35, "d", &json!({})) + &calls(day(1) + 60, 5, "e", &failed())).await;
    app.logs(calls(-HOUR_S, 5, "f", &json!({ "agent_id": "bot" }))).await;
    let errors = kpi(&app, "error_rate", &[("from", "2026-05-11"), ("by", "agent")]).await;
    assert_eq!(
        told(&errors),
        [
            "2026-05-11T00 rag 0.0 target_met null",
            "2026-05-12T00 rag 0.05 between worse",
            "2026-05-13T00 rag 0.125 alert worse",
            "2026-05-14T00 bot 0.0 insufficient null",
        ]
    );
    assert_eq!(errors["windows"][3]["reason"], "5 samples, 30 needed");
    assert_eq!((&errors["target"], &errors["alert"]), (&json!("< 0.01"), &json!("> 0.05")));
    // `from` is moved to the start of its window, and what is before it is only compared with.
    let later = kpi(&app, "error_rate", &[("from", "2026-05-13T17:00")]).await;
    assert_eq!(told(&later), ["2026-05-13T00 all 0.125 alert worse", "2026-05-14T00 all 0.0 insufficient null"]);
    // Costs grow with their day, and today is not over.
    let costs = kpi(&app, "cost_baseline_ratio", &[("from", "2026-05-13"), ("grain", "day")]).await;
    assert_eq!(told(&costs), ["2026-05-13T00 all 1.0 insufficient null", "2026-05-14T00 all 0.125 window_open null"]);
    let filtered = kpi(&app, "error_rate", &[("from", "2026-05-13"), ("agent_id", "bot")]).await;
    assert_eq!(told(&filtered), ["2026-05-14T00 all 0.0 insufficient null"]);
}

#[tokio::test]
async fn what_no_call_carries_is_not_measured() {
    let app = TestApp::start().await;
    app.logs(calls(-HOUR_S, 40, "a", &json!({ "http_status": null }))).await;
    let check = async |name: &str, lacks: &[&str]| {
        let answer = kpi(&app, name, &[]).await;
        assert_eq!(answer["lacks"], json!(lacks), "{name}");
        for window in answer["windows"].as_array().unwrap() {
            assert_eq!(window["state"] == "not_measured", !lacks.is_empty(), "{name}");
        }
    };
    check("latency_p95", &[]).await;
    check("ttft_p95", &["ttft_ms"]).await;
    check("error_rate", &["error|error_type|http_status"]).await;
    check("tool_latency_p95", &["tool_latency_ms"]).await;
    check("return_on_cost", &["task_completed", "task_value_usd"]).await;
    app.logs(call(-60, "ok", &json!({ "http_status": 200 }))).await;
    check("error_rate", &[]).await;
    app.logs(call(-50, "refused", &json!({ "http_status": 429 }))).await;
    let refused = kpi(&app, "error_rate", &[("from", "today")]).await;
    assert_eq!(refused["windows"][0]["numerator"], 1.0, "a status alone tells of a failure");
    // What one agent sends says nothing of another.
    app.logs(calls(-HOUR_S, 40, "b", &json!({ "http_status": null, "agent_id": "bot" }))).await;
    let errors = kpi(&app, "error_rate", &[("by", "agent")]).await;
    let states: Vec<String> = told(&errors).iter().map(|told| told[14..].to_owned()).collect();
    assert_eq!(states, ["bot 0.0 not_measured null", "rag 0.023809523809523808 between null"]);
}

#[tokio::test]
async fn a_quota_is_that_of_its_tenants_day() {
    let app = TestApp::start_with(|config| {
        for (tenant, token_daily_quota) in [("t1", 10_000), ("t2", 1_000), ("t3", 5)] {
            config.metrics.tenants.insert(tenant.to_owned(), TenantMetricsConfig { token_daily_quota });
        }
    })
    .await;
    let of = |tenant: &str| json!({ "tenant_id": tenant, "prompt_tokens": 80, "completion_tokens": 20 });
    app.logs(calls(-DAY_S, 5, "a", &of("t1")) + &calls(-DAY_S, 9, "b", &of("t2")) + &calls(-DAY_S, 3, "c", &of("t9")))
        .await;
    app.logs(call(-DAY_S, "half", &json!({ "prompt_tokens": null, "completion_tokens": 500 }))).await;
    let range = [("from", "2026-05-13"), ("to", "2026-05-14")];
    let used = async |by: &str| kpi(&app, "token_quota_used", &[range[0], range[1], ("by", by)]).await;
    assert_eq!(
        told(&used("tenant").await),
        ["2026-05-13T00 t1 0.1 target_met null", "2026-05-13T00 t2 0.9 alert null"]
    );
    let all = used("all").await;
    assert_eq!((&all["windows"][0]["numerator"], &all["windows"][0]["denominator"]), (&json!(1900.0), &json!(11000.0)));
    assert_eq!(all["windows"][0]["samples"], 15);
}

#[tokio::test]
async fn turns_of_a_long_session_are_counted_one_by_one() {
    let app = TestApp::start().await;
    let turn =
        |n: i64| call(-HOUR_S + n, &format!("r{n}"), &json!({ "session_id": "s", "trace_id": format!("{n:032x}") }));
    app.logs((0..300).map(turn).collect::<String>()).await;
    let turns = kpi(&app, "turns_per_session", &[("from", "today")]).await;
    assert_eq!(turns["windows"][0]["value"], 300.0);
}

#[tokio::test]
async fn a_day_without_calls_has_no_users_whatever_was_before() {
    let app = TestApp::start().await;
    let user = json!({ "user_id": "u" });
    app.logs(call(-4 * DAY_S, "a", &user) + &call(-2 * DAY_S, "b", &user)).await;
    let change = kpi(&app, "active_users_change", &[("from", "2026-05-09"), ("to", "2026-05-13")]).await;
    let windows = change["windows"].as_array().unwrap().iter();
    let parts: Vec<Value> =
        windows.map(|window| json!([window["numerator"], window["denominator"], window["value"]])).collect();
    assert_eq!(parts, [json!([1.0, 0.0, null]), json!([0.0, 1.0, -1.0]), json!([1.0, 0.0, null])]);
}

#[tokio::test]
async fn wrong_questions_are_told() {
    let app = TestApp::start().await;
    let check = async |path: &str, expect: (u16, &str)| {
        let (status, message) = failure(app.get(path)).await;
        assert_eq!((status, message.contains(expect.1)), (expect.0, true), "{path}: {message}");
    };
    check("/api/v1/kpis/none_such", (404, "there are active_sessions, ")).await;
    check("/api/v1/kpis/cost?by=region", (400, "`by`: `region` is none of all, agent, tenant, model")).await;
    check("/api/v1/queries/cost?grain=week", (400, "`grain`: `week` is none of hour, day, month")).await;
    check("/api/v1/kpis/cost?from=now&to=now-1d", (400, "from is not before to")).await;
    check("/api/v1/kpis/cost?from=2020-01-01&grain=hour", (400, "more than 8784 windows")).await;
    check("/api/v1/kpis?month=May", (400, "month=May is no month like 2026-05")).await;
    check("/api/v1/kpis?moth=2026-05", (400, "moth")).await;
    check("/api/v1/coverage?from=soon", (400, "from: ")).await;
    check("/api/v1/coverage?from=now", (400, "from is not before to")).await;
}

/// What a line of the card says.
fn line<'a>(card: &'a Value, name: &str) -> &'a Value {
    let lines = ["card", "metrics"].into_iter().flat_map(|part| card[part].as_array().unwrap());
    lines.into_iter().find(|line| line["name"] == name).unwrap()
}

#[tokio::test]
async fn the_score_card_says_tiers_trends_and_what_is_missing() {
    let app = TestApp::start_with(|config| {
        config.kpi.agents.insert("rag".to_owned(), AgentKpiConfig { task_value_usd: 2.0 });
    })
    .await;
    let done = json!({ "task_completed": true });
    app.logs(calls(-30 * DAY_S, 40, "april", &json!({ "latency_ms": 4_000, "task_completed": false }))).await;
    app.logs(calls(-2 * DAY_S, 59, "may", &done) + &calls(-2 * DAY_S + 60, 1, "down", &failed())).await;
    app.logs(calls(-DAY_S, 5, "bot", &json!({ "agent_id": "bot", "task_completed": true }))).await;
    let card = json_of(app.get("/api/v1/kpis")).await;
    assert_eq!((&card["month"], &card["is_complete"], &card["calls"]), (&json!("2026-05"), &json!(false), &json!(65)));
    let tiers: Vec<String> =
        card["card"].as_array().unwrap().iter().map(|line| format!("{} {}", line["name"], line["tier"])).collect();
    assert_eq!(
        tiers,
        [
            r#""availability" "none""#,
            r#""cost_per_call" "none""#,
            r#""error_rate" "basic""#,
            r#""hallucination_rate" null"#,
            r#""latency_mean" "excellent""#,
            r#""task_completion" "excellent""#,
            r#""time_to_recover" null"#,
            r#""user_satisfaction" null"#,
        ]
    );
    let latency = line(&card, "latency_mean");
    assert_eq!((&latency["value"], &latency["samples"]), (&json!(1_000.0), &json!(65)));
    assert_eq!((&latency["trend"]["before"], &latency["trend"]["direction"]), (&json!(4_000.0), &json!("better")));
    let satisfaction = line(&card, "user_satisfaction");
    assert_eq!(satisfaction["state"], "not_measured");
    assert_eq!(satisfaction["reason"], "no call has user_satisfaction: add user_satisfaction");
    assert_eq!(line(&card, "time_to_recover")["state"], "insufficient");
    let returns = card["returns"].as_array().unwrap();
    let of = |agent: &str| returns.iter().find(|line| line["agent_id"] == agent).unwrap();
    assert_eq!(of("rag")["value_usd"], 118.0);
    assert_eq!((&of("rag")["cost_usd"], &of("rag")["net_usd"]), (&json!(15.0), &json!(103.0)));
    assert_eq!(of("rag")["state"], "target_met");
    assert_eq!(of("bot")["state"], "not_measured");
    assert!(of("bot")["reason"].as_str().unwrap().contains(r#"set kpi.agents."bot".task_value_usd"#));

    let april = json_of(app.get("/api/v1/kpis?month=2026-04")).await;
    assert_eq!((&april["is_complete"], &april["calls"]), (&json!(true), &json!(40)));
    assert_eq!(line(&april, "task_completion")["tier"], "none");
    let nothing = json_of(app.get("/api/v1/kpis?month=2025-04")).await;
    assert!(nothing["card"].as_array().unwrap().iter().all(|line| line["state"] == "insufficient"), "{nothing}");
}

#[tokio::test]
async fn an_agent_is_down_until_it_answers_half_of_its_calls() {
    let app = TestApp::start().await;
    let minute = -2 * HOUR_S;
    let mut body = String::new();
    // Down for two minutes, then too quiet to tell, then back.
    body += &calls(minute, 5, "a", &failed());
    body += &(calls(minute + 60, 3, "b", &failed()) + &calls(minute + 70, 3, "c", &json!({})));
    body += &calls(minute + 120, 4, "d", &failed());
    body += &(calls(minute + 180, 2, "e", &failed()) + &calls(minute + 190, 3, "f", &json!({})));
    // What the client could have mended is no outage, and another that has not ended has no length.
    body += &calls(minute + 240, 9, "g", &json!({ "error_type": "rate_limit", "http_status": 429 }));
    body += &calls(minute + 300, 9, "h", &json!({ "error_type": "tool_error", "http_status": 502 }));
    body += &calls(minute + 360, 6, "i", &failed());
    app.logs(body).await;
    let recovery = kpi(&app, "time_to_recover", &[("from", "today"), ("by", "agent")]).await;
    assert_eq!(told(&recovery), ["2026-05-14T00 rag 3.0 no_target null"]);
    assert_eq!(recovery["windows"][0]["samples"], 1);
    // It belongs to the window in which it began, also where it ends after it.
    let until = [("from", "today"), ("to", "2026-05-14T10:01:00Z"), ("by", "agent")];
    assert_eq!(told(&kpi(&app, "time_to_recover", &until).await), told(&recovery));
    let availability = kpi(&app, "availability", &[("from", "today")]).await;
    assert_eq!(availability["windows"][0]["numerator"], 44.0 - 20.0);
}

#[tokio::test]
async fn a_session_belongs_to_the_window_and_the_agent_of_its_first_call_of_each_day() {
    let app = TestApp::start().await;
    let of = |second: i64, id: &str, agent: &str, trace: &str| {
        call(second, id, &json!({ "session_id": "s", "agent_id": agent, "trace_id": trace }))
    };
    // From before midnight to after it.
    app.logs(of(-13 * HOUR_S, "a", "rag", "1") + &of(-11 * HOUR_S, "b", "bot", "1")).await;
    app.logs(of(-10 * HOUR_S, "c", "bot", "2") + &call(-HOUR_S, "d", &json!({ "session_id": null }))).await;
    let query = [("from", "yesterday"), ("by", "agent")];
    let turns = json_of(app.get("/api/v1/queries/turns_per_session").query(&query)).await;
    let told = |row: &Value| format!("{} {} {}", row["window_start"].as_str().unwrap(), row["key"], row["value"]);
    let told = |rows: &Value| rows.as_array().unwrap().iter().map(told).collect::<Vec<_>>();
    let days = [r#"2026-05-13T00:00:00.000000Z "rag""#, r#"2026-05-14T00:00:00.000000Z "bot""#];
    assert_eq!(told(&turns), [format!("{} 1.0", days[0]), format!("{} 2.0", days[1])]);
    let cost = json_of(app.get("/api/v1/queries/cost_per_session").query(&query)).await;
    assert_eq!(told(&cost), [format!("{} 0.25", days[0]), format!("{} 0.5", days[1])]);
    // It began before the range, on the day on which the range begins.
    let since = [("from", "2026-05-14T01:30:00Z"), ("grain", "hour")];
    assert_eq!(json_of(app.get("/api/v1/queries/turns_per_session").query(&since)).await, json!([]));
}

#[tokio::test]
async fn coverage_says_what_arrives_and_what_is_blind() {
    let app = TestApp::start().await;
    let tools = json!([{ "name": "a", "latency_ms": 3, "status": "ok" }, { "name": "b" }]);
    app.logs(calls(-HOUR_S, 4, "a", &json!({ "tool_calls": tools, "ttft_ms": 10 }))).await;
    app.logs(calls(-HOUR_S, 2, "b", &json!({ "agent_id": null, "cost_usd": null, "http_status": null }))).await;
    let coverage = json_of(app.get("/api/v1/coverage")).await;
    let agents = coverage["agents"].as_array().unwrap();
    let names: Vec<&Value> = agents.iter().map(|agent| &agent["agent_id"]).collect();
    assert_eq!(names, [&json!("rag"), &Value::Null]);
    let field = |agent: usize, name: &str| {
        let found = agents[agent]["fields"].as_array().unwrap().iter().find(|field| field["field"] == name).unwrap();
        (found["carried"].as_u64().unwrap(), found["of"].as_u64().unwrap())
    };
    assert_eq!((field(0, "cost"), field(0, "tool_status"), field(0, "tool_calls")), ((4, 4), (4, 8), (4, 4)));
    assert_eq!((field(1, "cost"), field(1, "agent_id"), field(1, "tool_status")), ((0, 2), (0, 2), (0, 0)));
    let has = |list: &Value, key: &str, name: &str| list.as_array().unwrap().iter().any(|each| each[key] == name);
    assert!(agents[0]["measured"].as_array().unwrap().contains(&json!("tool_latency_p95")));
    assert!(!has(&agents[0]["blind"], "name", "LlmCostSpike") && has(&agents[1]["blind"], "name", "LlmCostSpike"));
    assert!(has(&agents[1]["not_measured"], "kpi", "error_rate") && has(&agents[1]["blind"], "name", "availability"));
}

#[tokio::test]
async fn a_users_kpi_adds_to_the_card_and_a_wrong_one_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let kpis = directory.path().join("kpis");
    std::fs::create_dir(&kpis).unwrap();
    let shipped = include_str!("../../sql/kpis/latency_mean.sql");
    let write = |name: &str, text: &str| std::fs::write(kpis.join(name), text).unwrap();
    write("latency_max.sql", &shipped.replace("avg(latency_ms)", "max(latency_ms)"));
    write("cost.sql", &include_str!("../../sql/kpis/cost.sql").replace("-- windows", "-- target: < 5\n-- windows"));
    write("vague.sql", &shipped.replace("-- needs: latency_ms", "-- needs: latency"));
    write("torn.sql", &shipped.replace("count(latency_ms)", "count(no_such)"));
    let (library, problems) = Library::load(Some(directory.path())).unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = problems[0].to_string();
    assert!(problem.contains("vague.sql:6: `needs`: `latency` is no field that coverage knows"), "{problem}");
    let targets = |name: &str| library.kpi(name).unwrap().target.map(|target| target.to_string());
    assert_eq!((targets("cost"), targets("latency_max")), (Some("< 5".to_owned()), None));

    let data = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.data = data.path().to_owned();
    config.query.sql_directory = Some(directory.path().to_owned());
    let store = Store::open(&config, Clock::manual(NOW_US)).await.unwrap();
    let found: Vec<String> = store.engine.check().await.iter().map(ToString::to_string).collect();
    assert!(found.len() == 1 && found[0].contains("torn.sql:"), "{found:?}");
    std::fs::remove_file(kpis.join("torn.sql")).unwrap();
    store.close().await.unwrap();

    let app = TestApp::start_with(|config| config.query.sql_directory = Some(directory.path().to_owned())).await;
    app.logs(calls(-HOUR_S, 40, "a", &json!({})) + &call(-60, "slow", &json!({ "latency_ms": 2_500 }))).await;
    let card = json_of(app.get("/api/v1/kpis")).await;
    assert_eq!(line(&card, "latency_max")["tier"], "good");
}

/// Every panel of every dashboard is one that the coverage knows, and no other; and what shows a KPI needs what it needs.
#[test]
fn the_coverage_knows_the_panels_of_the_dashboards() {
    let (library, _) = Library::load(None).unwrap();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/grafana");
    let mut shown = std::collections::BTreeSet::new();
    let files = ["driftline", "prometheus"].map(|variant| std::fs::read_dir(directory.join(variant)).unwrap());
    for file in files.into_iter().flatten() {
        let dashboard: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        let title = dashboard["title"].as_str().unwrap().trim_start_matches("Driftline: ");
        let title = title.trim_end_matches(" (Prometheus)");
        for panel in dashboard["panels"].as_array().unwrap() {
            let name = format!("{title}: {}", panel["title"].as_str().unwrap());
            let known = PANELS.iter().find(|panels| panels.names.contains(&name.as_str()));
            let needs = known.unwrap_or_else(|| panic!("src/kpi/panel.rs lacks {name:?}")).needs;
            let targets = panel["targets"].as_array().unwrap().iter();
            let kpis = targets.filter_map(|target| library.kpi(target["target"].as_str()?).ok());
            for need in kpis.flat_map(|kpi| &kpi.needs) {
                let fields: Vec<&str> = need.0.iter().map(|field| field.name).collect();
                assert!(needs.contains(&fields.as_slice()), "{name}: {fields:?} is not in {needs:?}");
            }
            shown.insert(name);
        }
    }
    let known = PANELS.iter().flat_map(|panels| panels.names).map(|name| (*name).to_owned());
    assert_eq!(known.collect::<std::collections::BTreeSet<_>>(), shown);
}

/// The words of the SQL are those that `/metrics` counts.
#[tokio::test]
async fn context_overflows_are_the_same_for_sql_and_metrics() {
    let app = TestApp::start().await;
    let errors = [
        "context_length_exceeded",
        "context_window_exceeded",
        "Context_Overflow",
        "model_context_window_exceeded",
        "ContextWindowExceededError",
        "prompt_too_long",
        "timeout",
        "length",
    ];
    let mut body: String = errors
        .iter()
        .enumerate()
        .map(|(n, error)| call(-60, &format!("e{n}"), &json!({ "error_type": error })))
        .collect();
    for (n, reason) in ["model_context_window_exceeded", "length", "stop"].iter().enumerate() {
        body += &call(-60, &format!("f{n}"), &json!({ "finish_reason": reason }));
    }
    app.logs(body).await;
    let counted = app.sql("select count(*) filter (where is_context_overflow) as n from agent_logs").await;
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let family = metrics.lines().find(|line| line.starts_with("llm_context_overflow_total{")).unwrap();
    assert_eq!(counted[0]["n"], 7);
    assert!(family.ends_with(" 7"), "{family}");
}

/// The table of `docs/kpis.md` says what the files say.
#[test]
fn the_documented_kpis_are_those_of_the_files() {
    let (library, problems) = Library::load(None).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let documented = include_str!("../../docs/kpis.md");
    let row = |kpi: &Definition| {
        let bound = |bound: Option<_>| bound.map_or_else(String::new, |bound: driftline::kpi::Bound| bound.to_string());
        let needs: Vec<String> =
            kpi.needs.iter().map(|need| format!("`{}`", need.text().replace('|', "\\|"))).collect();
        let group = serde_json::to_value(kpi.group).unwrap();
        let head = format!("| {} | `{}` | {} | {} |", group.as_str().unwrap(), kpi.name, kpi.question, kpi.unit);
        format!("{head} {} | {} | {} |", bound(kpi.target), bound(kpi.alert), needs.join(" "))
    };
    for kpi in library.kpis() {
        assert!(documented.lines().any(|line| line == row(kpi)), "docs/kpis.md lacks the line\n{}", row(kpi));
    }
    let rows = documented.lines().filter(|line| line.matches(" | ").count() == 6 && line.contains("` | ")).count();
    assert_eq!(rows, library.kpis().count());
}
