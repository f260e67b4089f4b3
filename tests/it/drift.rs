//! `GET /api/v1/drift`: says what changed, and what it cannot say.

use serde_json::{Value, json};

use crate::app::{TestApp, failure, json as json_of, record};

#[tokio::test]
async fn a_change_is_found_and_too_little_is_said() {
    let app = TestApp::start().await;
    let mut body = String::new();
    for index in 0..200 {
        // Slow agents got slower, steady ones did not, rare ones are too few to tell, and small ones to call steady.
        let line = |second: i64, agent: &str, latency: i64| {
            record(second, &format!("{agent}{second}"), agent, 0.1)
                .replace("\"latency_ms\":", &format!("\"latency_ms\":{latency},\"was\":"))
        };
        body += &line(-100_000 - index, "slower", 500 + index % 50);
        body += &line(-1_000 - index, "slower", 900 + index % 50);
        body += &line(-100_000 - index, "steady", 500 + index % 50);
        body += &line(-1_000 - index, "steady", 500 + (index * 7) % 50);
        if index < 40 {
            body += &line(-100_000 - index, "small", 500 + index % 50);
            body += &line(-1_000 - index, "small", 500 + index % 50);
        }
        if index < 10 {
            body += &line(-100_000 - index, "rare", 500);
            body += &line(-1_000 - index, "rare", 9_000);
        }
    }
    app.logs(body).await;
    let query = [("reference", "now-2d/now-1d"), ("current", "now-1d/now")];
    let answer =
        json_of(app.get("/api/v1/drift").query(&query).query(&[("column", "latency_ms"), ("by", "agent_id")])).await;
    let verdict = |group: &str| {
        let verdicts = answer["verdicts"].as_array().unwrap();
        verdicts.iter().find(|verdict| verdict["group"] == group).unwrap().clone()
    };
    assert_eq!(verdict("slower")["verdict"], "drifting");
    assert_eq!(verdict("slower")["effect_size"], 1.0);
    assert_eq!((&verdict("steady")["verdict"], &verdict("steady")["n_current"]), (&json!("stable"), &json!(200)));
    assert!(verdict("steady")["detectable"].as_f64().unwrap() < 0.3, "{answer}");
    assert_eq!((&verdict("rare")["verdict"], &verdict("rare")["detectable"]), (&json!("insufficient"), &Value::Null));
    let small = verdict("small");
    assert_eq!((&small["verdict"], small["p_value_adjusted"].is_number()), (&json!("insufficient"), true), "{small}");
    assert!((0.3..0.6).contains(&small["detectable"].as_f64().unwrap()), "{small}");
    assert_eq!((&answer["tests"], &answer["test"]), (&json!(3), &json!("kolmogorov_smirnov")));
    let categories = json_of(app.get("/api/v1/drift").query(&query).query(&[("column", "model")])).await;
    assert_eq!((&categories["test"], &categories["verdicts"][0]["verdict"]), (&json!("chi_squared"), &json!("stable")));
}

#[tokio::test]
async fn new_and_lost_categories_are_named() {
    let app = TestApp::start().await;
    let mut body = String::new();
    for index in 0..200 {
        // Of each half one model stays, and one takes the place of another; some come once.
        let line = |second: i64, model: &str| {
            record(second, &format!("r{second}"), "agent", 0.1)
                .replace("\"model\":\"m1\"", &format!("\"model\":\"{model}\""))
        };
        body += &line(-100_000 - index, if index % 2 == 0 { "stays" } else { "goes" });
        let new = if index < 4 { format!("once{index}") } else { "comes".to_owned() };
        body += &line(-1_000 - index, if index % 2 == 0 { "stays" } else { &new });
    }
    app.logs(body).await;
    let query = [("reference", "now-2d/now-1d"), ("current", "now-1d/now"), ("column", "model")];
    let answer = json_of(app.get("/api/v1/drift").query(&query)).await;
    let verdict = &answer["verdicts"][0];
    assert_eq!((&verdict["verdict"], &verdict["n_current"]), (&json!("drifting"), &json!(200)));
    assert_eq!((&verdict["new_categories"], &verdict["lost_categories"]), (&json!(["comes"]), &json!(["goes"])));
    let numbers = json_of(app.get("/api/v1/drift").query(&query[..2]).query(&[("column", "latency_ms")])).await;
    assert_eq!(numbers["verdicts"][0]["new_categories"], json!([]));
}

#[tokio::test]
async fn too_many_rare_categories_are_insufficient() {
    let app = TestApp::start().await;
    let line = |second: i64| {
        record(second, &format!("r{second}"), "agent", 0.1)
            .replace("\"model\":\"m1\"", &format!("\"model\":\"m{second}\""))
    };
    let body: String = (0..60).flat_map(|index| [line(-100_000 - index), line(-1_000 - index)]).collect();
    app.logs(body).await;
    let query = [("reference", "now-2d/now-1d"), ("current", "now-1d/now"), ("column", "model")];
    let answer = json_of(app.get("/api/v1/drift").query(&query)).await;
    let verdict = &answer["verdicts"][0];
    assert_eq!((&verdict["verdict"], &verdict["p_value"]), (&json!("insufficient"), &Value::Null));
    assert_eq!((&verdict["n_reference"], &answer["tests"]), (&json!(60), &json!(0)));
}

#[tokio::test]
async fn sketches_and_counts_of_rollups_tell_the_same() {
    let app = TestApp::start().await;
    let mut body = String::new();
    for index in 0..400 {
        // Which latencies slow agents have changes, which ones steady agents have does not; both fail more often.
        let line = |second: i64, agent: &str, latency: i64, error: &str| {
            record(second, &format!("{agent}{second}"), agent, 0.1)
                .replace("\"latency_ms\":", &format!("{error}\"latency_ms\":{latency},\"was\":"))
        };
        let (odd, often) =
            (["", "\"error_type\":\"odd\","], ["\"error_type\":\"odd\",", "\"error_type\":\"timeout\","]);
        body += &line(-100_000 - index, "slower", 500 + index * 3, odd[usize::from(index % 20 == 0)]);
        body += &line(-1_000 - index, "slower", 900 + index * 3, often[usize::from(index % 2 == 0)]);
        body += &line(-100_000 - index, "steady", 500 + index * 3, odd[usize::from(index % 20 == 0)]);
        body += &line(-1_000 - index, "steady", 500 + (index * 7) % 400 * 3, often[usize::from(index % 2 == 0)]);
    }
    app.logs(body).await;
    let ask = async |query: &[(&str, &str)]| {
        let ranges = [("reference", "now-2d/now-1d"), ("current", "now-1d/now"), ("by", "agent_id")];
        json_of(app.get("/api/v1/drift").query(&ranges).query(query)).await
    };
    let of_calls = [ask(&[("column", "error_type")]).await, ask(&[("column", "latency_ms")]).await];
    app.flush().await;
    let engine = app.daemon.as_ref().unwrap().engine();
    engine.rollups().unwrap().begin().await.unwrap();
    while engine.rollups().unwrap().build_next(engine, std::time::Duration::ZERO).await.unwrap() {}
    assert_eq!(ask(&[("column", "error_type")]).await, of_calls[0]);
    let exact = &of_calls[1];
    let told = ask(&[("column", "latency_ms"), ("exact", "false")]).await;
    assert_eq!((&exact["is_exact"], &told["is_exact"]), (&json!(true), &json!(false)));
    for (told, exact) in told["verdicts"].as_array().unwrap().iter().zip(exact["verdicts"].as_array().unwrap()) {
        let same = |field: &str| assert_eq!(told[field], exact[field], "{field} of {told} and {exact}");
        ["group", "verdict", "n_reference", "n_current"].into_iter().for_each(same);
        let effect = |verdict: &Value, field: &str| verdict[field].as_f64().unwrap();
        assert_eq!(exact["effect_size"], exact["effect_size_max"]);
        assert!(effect(told, "effect_size") <= effect(exact, "effect_size"), "{told} and {exact}");
        assert!(effect(exact, "effect_size") <= effect(told, "effect_size_max"), "{told} and {exact}");
        assert!(effect(told, "effect_size_max") - effect(told, "effect_size") < 0.05, "{told}");
    }
    // One cost alone: in bins nobody knows whether values are equal, so they are looked at.
    let constant = ask(&[("column", "cost"), ("exact", "false")]).await;
    assert_eq!((&constant["is_exact"], &constant["verdicts"][0]["effect_size"]), (&json!(true), &json!(0.0)));
}

#[tokio::test]
async fn wrong_questions_are_named() {
    let app = TestApp::start().await;
    let check = async |query: &[(&str, &str)], words: &str| {
        let (status, message) = failure(app.get("/api/v1/drift").query(query)).await;
        assert_eq!((status, message.contains(words)), (400, true), "{message}");
    };
    check(&[("reference", "now-2d/now-1d")], "column").await;
    check(&[("column", "model"), ("colour", "red")], "colour").await;
    check(&[("column", "latency_ms"), ("exact", "maybe")], "exact=maybe").await;
    check(&[("exact", "false")], "exact").await;
    check(&[("column", "nothing")], "nothing").await;
    check(&[("column", "tool_calls")], "tool_calls").await;
    check(&[("column", "model"), ("by", "latency_ms")], "latency_ms").await;
    check(&[("column", "model"), ("reference", "now-2d/now"), ("current", "now-1d/now")], "overlap").await;
    check(&[("column", "model"), ("reference", "now-2d")], "FROM/TO").await;
    check(&[("column", "model"), ("reference", "now/now-1d")], "end after").await;
}
