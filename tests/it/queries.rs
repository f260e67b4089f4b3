//! The named queries: listed, run, checked; a user's own files.

use driftline::{clock::Clock, config::Config, daemon::Store};

use crate::app::{TestApp, failure, json, record};

#[tokio::test]
async fn a_page_lies_within_what_can_be_counted() {
    let app = TestApp::start().await;
    let beyond = (1_u64 << 63).to_string();
    for (query, field) in
        [("cost_by_agent_daily", "offset"), ("cost_by_agent_daily", "limit"), ("top_sessions_by_cost", "offset")]
    {
        let asked = app.get(&format!("/api/v1/queries/{query}")).query(&[(field, &beyond)]);
        let (status, message) = failure(asked).await;
        assert!(status == 400 && message.starts_with(&format!("{field}={beyond} is no whole number")), "{message}");
    }
}

#[tokio::test]
async fn every_shipped_file_plans_and_every_query_runs() {
    let app = TestApp::start().await;
    app.logs(record(-30, "a", "rag", 0.5)).await;
    let queries = json(app.get("/api/v1/queries")).await;
    let queries = queries.as_array().unwrap();
    assert!(queries.len() >= 14, "{}", queries.len());
    for query in queries {
        let name = query["name"].as_str().unwrap();
        assert!(!query["question"].as_str().unwrap().is_empty());
        let required = query["params"].as_array().unwrap().iter().filter(|param| param["required"] == true);
        let arguments: Vec<(String, &str)> =
            required.map(|param| (param["name"].as_str().unwrap().to_owned(), "s-rag")).collect();
        let rows = json(app.get(&format!("/api/v1/queries/{name}")).query(&arguments)).await;
        for row in rows.as_array().unwrap() {
            let documented: Vec<&str> =
                query["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
            let mut found: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
            found.sort_by_key(|name| documented.iter().position(|documented| documented == name));
            assert_eq!(found, documented, "{name}");
        }
    }
}

#[tokio::test]
async fn arguments_are_checked() {
    let app = TestApp::start().await;
    app.logs(record(-30, "a", "rag", 0.5) + &record(-7_200, "b", "rag", 0.25)).await;
    let url = "/api/v1/queries/cost_by_agent_hourly";
    let rows = json(app.get(url).query(&[("from", "2026-05-14T11:00:00Z"), ("to", "now")])).await;
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["cost_usd"], 0.5);
    let (status, message) = failure(app.get(url).query(&[("form", "now")])).await;
    assert_eq!((status, message.contains("form")), (400, true), "{message}");
    let (status, message) = failure(app.get(url).query(&[("from", "soon")])).await;
    assert_eq!((status, message.contains("from")), (400, true), "{message}");
    let (status, message) = failure(app.get(url).query(&[("from", "now-1h"), ("from", "now-2h")])).await;
    assert_eq!((status, message.contains("from")), (400, true), "{message}");
    let (status, message) = failure(app.get("/api/v1/queries/none_such")).await;
    assert_eq!((status, message.contains("cost_total")), (404, true), "{message}");
}

#[tokio::test]
async fn a_users_files_add_and_override_and_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let queries = directory.path().join("queries");
    std::fs::create_dir(&queries).unwrap();
    let write = |name: &str, text: &str| std::fs::write(queries.join(name), text).unwrap();
    write("mine.sql", "-- question: How many?\n-- column: n count -- calls\nselect count(*) as n from agent_logs\n");
    write("cost_total.sql", "-- question: Ours.\n-- column: one count -- one\nselect 1 as one\n");
    write(
        "bad.sql",
        "-- question: Wrong?\n-- column: n count -- calls\nselect count(*) as n,\n  no_such_column\nfrom agent_logs\n",
    );
    write("headless.sql", "select 1\n");
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.data = data.path().to_owned();
    config.query.sql_directory = Some(directory.path().to_owned());
    let (_, mut problems) = driftline::query::Library::load(Some(directory.path())).unwrap();
    let store = Store::open(&config, Clock::System).await.unwrap();
    problems.extend(store.engine.check().await);
    let shown: Vec<String> = problems.iter().map(|problem| format!("{:?} {}", problem.line, problem.file)).collect();
    assert_eq!(problems.len(), 2, "{shown:?}");
    assert!(shown[0].contains("headless.sql") && shown[0].starts_with("Some(1)"), "{shown:?}");
    assert!(shown[1].contains("bad.sql") && shown[1].starts_with("Some(4)"), "{shown:?}");
    let rows = store.engine.named(driftline::query::LibraryKind::Queries, "cost_total", []).await.unwrap();
    assert_eq!(rows.schema().field(0).name(), "one");
    assert_eq!(rows.collect().await.unwrap().iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    store.close().await.unwrap();
}
