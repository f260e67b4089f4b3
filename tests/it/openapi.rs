//! The description of the API: whole, valid, and what the server does.

mod schema;

use std::{collections::BTreeSet, fmt::Write as _, fs, io::Read, path::Path};

use driftline::config::Config;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::app::{TestApp, json as answer, record};

/// Operations of the description, each with its path and method.
fn operations(document: &Value) -> Vec<(&str, Method, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&'_ String, &'_ Value)| {
        let path = path.clone();
        let methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(move |method| (path.clone(), method)).collect::<Vec<_>>()
    };
    let named = paths.iter().flat_map(of_path).collect::<Vec<_>>();
    named
        .into_iter()
        .map(|(path, method)| {
            let (path, item) = paths.get_key_value(&path).unwrap();
            (path.as_str(), method.to_uppercase().parse().unwrap(), &item[&method])
        })
        .collect()
}

/// A path with something in the place of its parameters.
fn filled(path: &str) -> String {
    let mut filled = String::new();
    for part in path.split_inclusive('/') {
        match part.strip_prefix('{') {
            Some(_) if part.ends_with('/') => filled.push_str("something/"),
            Some(_) => filled.push_str("something"),
            None => filled.push_str(part),
        }
    }
    filled
}

async fn document(app: &TestApp) -> Value {
    answer(app.get("/openapi.json")).await
}

async fn send(app: &TestApp, method: Method, path: &str) -> Response {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    client.request(method, app.url(path)).send().await.unwrap()
}

#[tokio::test]
async fn it_is_valid_and_whole() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut problems = String::new();
    let mut ids = BTreeSet::new();
    let tags: BTreeSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for (path, method, operation) in operations(&document) {
        let mut problem = |what: &str| writeln!(problems, "{method} {path}: {what}").unwrap();
        if !ids.insert(operation["operationId"].as_str().unwrap_or_default()) {
            problem("its operationId is missing or another's");
        }
        if !operation["tags"].as_array().is_some_and(|of| of.len() == 1 && tags.contains(of[0].as_str().unwrap())) {
            problem("it has not one of the tags");
        }
        if operation["summary"].as_str().unwrap_or_default().is_empty() {
            problem("it has no summary");
        }
        let empty = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&empty);
        let of_path: BTreeSet<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let in_path: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        if of_path != in_path {
            problem("the parameters of its path are others");
        }
        for parameter in parameters {
            if parameter["description"].as_str().unwrap_or_default().is_empty() {
                problem(&format!("{} has no description", parameter["name"]));
            }
        }
        let is_open = ["/healthz", "/readyz"].contains(&path);
        if operation["security"].is_array() == is_open {
            problem("it does not say its keys, or says them and is open");
        }
        let responses = operation["responses"].as_object().unwrap();
        if !responses.keys().any(|status| status.starts_with('2') || status.starts_with('3')) {
            problem("it never succeeds");
        }
        for (status, response) in responses {
            if response["description"].as_str().unwrap_or_default().is_empty() {
                problem(&format!("{status} has no description"));
            }
            if !status.starts_with('3') && response["content"].as_object().is_none_or(serde_json::Map::is_empty) {
                problem(&format!("{status} has no content"));
            }
            let retries = ["429", "503"].contains(&status.as_str()) && !is_open;
            if retries != response["headers"]["Retry-After"].is_object() {
                problem(&format!("{status} and Retry-After"));
            }
        }
    }
    let text = document.to_string();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        if !text.contains(&format!("\"#/components/schemas/{name}\"")) {
            writeln!(problems, "the shape {name} is nobody's").unwrap();
        }
    }
    references(&document, &mut |reference| {
        schema::target(&document, reference);
    });
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(answer(app.get("/api/openapi.json")).await, document);
}

fn references(value: &Value, each: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if name == "$ref" {
                    each(value);
                }
                references(value, each);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| references(value, each)),
        _ => {}
    }
}

#[tokio::test]
async fn what_is_described_is_routed_and_nothing_else_is() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    for (path, method, _) in operations(&document) {
        let response = send(&app, method.clone(), &filled(path)).await;
        let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
        assert!(status != 405 && !body.contains("there is nothing at"), "{method} {path}: {status} {body}");
        // What is there answers with a status that it tells of.
        let told = &document["paths"][path][method.as_str().to_lowercase()]["responses"];
        assert!(told[status.to_string()].is_object(), "{method} {path}: {status} {body}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            if item[method.as_str().to_lowercase()].is_null() {
                let status = send(&app, method.clone(), &filled(path)).await.status();
                assert_eq!(status.as_u16(), 405, "{method} {path} is not described");
            }
        }
    }
}

/// A route comes into the router with its description, and a description only with its route.
#[tokio::test]
async fn no_route_comes_without_its_description() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let router = fs::read_to_string(root.join("src/http/router.rs")).unwrap();
    for way in [".route(", ".route_service(", ".nest(", ".nest_service("] {
        assert!(!router.contains(way), "{way} adds what is not described: use .routes(routes!(…))");
    }
    let mut described = 0;
    let mut directories = vec![root.join("src/http")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => described += fs::read_to_string(path).unwrap().matches("#[utoipa::path(").count(),
            }
        }
    }
    let app = TestApp::start().await;
    assert_eq!(operations(&document(&app).await).len(), described, "a handler is described and not routed");
}

/// Paths that the documentation names are in the description.
#[tokio::test]
async fn the_documentation_names_no_other_paths() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let paths: Vec<Vec<&str>> =
        document["paths"].as_object().unwrap().keys().map(|path| path.trim_matches('/').split('/').collect()).collect();
    let is_there = |path: &str| {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        paths.iter().any(|known| {
            known.len() == parts.len()
                && known.iter().zip(&parts).all(|(known, part)| known.starts_with('{') || known == part)
        })
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.extend(["README.md", "templates/index.html", "templates/openapi.md"].map(|name| root.join(name)));
    let mut problems = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for start in ["/api/v1/", "/jaeger/api/", "/grafana/"] {
            for (at, _) in text.match_indices(start) {
                // Part of a longer path, of a file for instance.
                if text[..at]
                    .chars()
                    .next_back()
                    .is_some_and(|before| before.is_alphanumeric() && !text[..at].ends_with("7717"))
                {
                    continue;
                }
                let end = text[at..].find(|letter: char| !(letter.is_alphanumeric() || "/_-{}".contains(letter)));
                let path = text[at..at + end.unwrap_or(text.len() - at)].trim_end_matches('/');
                let is_prefix = path.len() < start.len() || path.starts_with("/grafana/provisioning");
                if !is_prefix && !is_there(path) {
                    problems.push(format!("{}: {path}", file.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[tokio::test]
async fn answers_have_their_shapes() {
    let objective = "[[slo]]\nname = \"works\"\nkind = \"errors\"\ntarget = 0.9\nwindow_days = 7";
    let app = TestApp::start_with(|config| config.slo = toml::from_str::<Config>(objective).unwrap().slo).await;
    let calls: String = (0..200).map(|second| record(second * -60, &format!("r{second}"), "support", 0.01)).collect();
    let variants = ["control", "treatment"].iter().cycle();
    let of_variant = |(line, variant): (&str, &&str)| {
        let more = format!(
            "\"trace_id\":\"t-1\",\"error_type\":\"tool_error\",\"experiment_id\":\"e-1\",\"variant\":\"{variant}\""
        );
        line.replacen('{', &format!("{{{more},"), 1) + "\n"
    };
    let traced: String = calls.lines().zip(variants).map(of_variant).collect();
    let document = document(&app).await;
    let check = |method: &str, path: &str, status: u16, value: &Value| {
        let content = &document["paths"][path][method]["responses"][status.to_string()]["content"];
        let found = schema::problems(&document, &content["application/json"]["schema"], value);
        assert!(content["application/json"].is_object() && found.is_empty(), "{method} {path} {status}: {found:#?}");
    };
    let posted = async |path: &str, body: Value| {
        let response = app.post(path).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    check("post", "/api/v1/logs", 200, &app.logs(traced.clone() + "no record\n").await);
    check("post", "/api/v1/logs", 200, &app.logs(traced).await);
    // Long enough a history for a forecast.
    let days: String =
        (1..100).map(|day| record(-86_400 * day, &format!("d{day}"), "daily", 0.01 * (1 + day % 5) as f64)).collect();
    app.logs(days).await;
    let gets = [
        ("/api/v1/sql", "/api/v1/sql?q=select * from agent_logs"),
        ("/api/v1/queries", "/api/v1/queries"),
        ("/api/v1/queries/{name}", "/api/v1/queries/cost_by_agent_daily"),
        ("/api/v1/kpis", "/api/v1/kpis"),
        ("/api/v1/kpis/{name}", "/api/v1/kpis/error_rate?by=agent&grain=hour"),
        ("/api/v1/kpis/{name}", "/api/v1/kpis/return_on_cost"),
        ("/api/v1/coverage", "/api/v1/coverage"),
        ("/api/v1/drift", "/api/v1/drift?column=latency_ms&by=agent_id&reference=now-4h/now-2h&current=now-2h/now"),
        ("/api/v1/drift", "/api/v1/drift?column=model"),
        ("/api/v1/drift", "/api/v1/drift"),
        ("/api/v1/anomalies", "/api/v1/anomalies?kpi=traffic,error_rate"),
        ("/api/v1/backtest", "/api/v1/backtest?rule=kpi&name=error_rate&above=-1&from=now-3h"),
        ("/api/v1/experiments", "/api/v1/experiments"),
        ("/api/v1/experiments/{id}", "/api/v1/experiments/e-1"),
        ("/api/v1/forecast", "/api/v1/forecast?backtest=true"),
        ("/api/v1/forecast", "/api/v1/forecast?days=90"),
        ("/api/v1/slo", "/api/v1/slo"),
        ("/api/v1/reports/cost", "/api/v1/reports/cost?day=2026-05-14"),
        ("/api/v1/reports/cost", "/api/v1/reports/cost?day=2026-05-01"),
        ("/api/v1/status", "/api/v1/status"),
        ("/api/v1/maintenance", "/api/v1/maintenance"),
        ("/api/v1/keys", "/api/v1/keys"),
        ("/grafana", "/grafana"),
        ("/jaeger/api/services", "/jaeger/api/services"),
        ("/jaeger/api/services/{service}/operations", "/jaeger/api/services/support/operations"),
        ("/jaeger/api/operations", "/jaeger/api/operations?service=support"),
        ("/jaeger/api/traces", "/jaeger/api/traces?service=support&start=1778700000000000"),
        ("/jaeger/api/traces/{id}", "/jaeger/api/traces/t-1"),
        ("/openapi.json", "/openapi.json"),
    ];
    for (path, asked) in gets {
        check("get", path, 200, &answer(app.get(asked)).await);
    }
    let range = json!({ "from": "2026-05-14T00:00:00Z", "to": "2026-05-15T00:00:00Z" });
    let targets = json!([
        { "refId": "A", "target": "cost_over_time", "payload": { "group_by": "model" } },
        { "refId": "B", "target": "cost_by_agent_daily", "payload": { "format": "table" } },
        { "refId": "C", "target": "rejected_lines" }, { "refId": "D", "target": "kpi_card" },
    ]);
    let posts = [
        ("/api/v1/sql", json!({ "q": "select $1 as a", "params": [1] })),
        ("/api/v1/maintenance", json!({})),
        ("/api/v1/forget", json!({ "user_id": "nobody", "dry_run": true })),
        ("/grafana/metrics", json!({})),
        ("/grafana/search", json!({})),
        ("/grafana/tag-keys", json!({})),
        ("/grafana/tag-values", json!({ "key": "model", "range": range })),
        ("/grafana/variable", json!({ "payload": { "target": "agent_id" }, "range": range })),
        ("/grafana/metric-payload-options", json!({ "metric": "cost_over_time", "name": "group_by" })),
        (
            "/grafana/query",
            json!({ "range": range, "targets": targets, "filters": [{ "key": "model", "value": "m1" }] }),
        ),
    ];
    for (path, body) in posts {
        let (status, value) = posted(path, body).await;
        assert_eq!(status, 200, "{path}: {value}");
        check("post", path, 200, &value);
    }
    let wrong = [
        ("/api/v1/sql", 400, json!({ "q": "drop table agent_logs" })),
        ("/api/v1/keys", 400, json!({ "name": "", "scopes": "query" })),
        (
            "/grafana/query",
            400,
            json!({ "targets": [{ "target": "sql", "payload": { "sql": "drop table agent_logs" } }] }),
        ),
        ("/grafana/query", 404, json!({ "targets": [{ "target": "nothing" }] })),
        ("/grafana/tag-values", 400, json!({ "key": "nothing" })),
    ];
    for (path, expected, body) in wrong {
        let (status, value) = posted(path, body).await;
        assert_eq!(status, expected, "{path}: {value}");
        check("post", path, expected, &value);
    }
    for (path, asked, expected) in [
        ("/api/v1/queries/{name}", "/api/v1/queries/nothing", 404),
        ("/api/v1/queries/{name}", "/api/v1/queries/%ff", 400),
        ("/api/v1/kpis/{name}", "/api/v1/kpis/%ff", 400),
        ("/jaeger/api/traces/{id}", "/jaeger/api/traces/%ff", 400),
        ("/jaeger/api/traces/{id}", "/jaeger/api/traces/nothing", 404),
        ("/jaeger/api/traces", "/jaeger/api/traces?limit=x", 400),
        ("/docs/{file}", "/docs/nothing.js", 404),
    ] {
        let response = app.get(asked).send().await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{asked}");
        check("get", path, expected, &response.json().await.unwrap());
    }
    let key = posted("/api/v1/keys", json!({ "name": "bound", "scopes": "query", "tenants": ["t1"] })).await.1;
    check("post", "/api/v1/keys", 200, &key);
    check(
        "get",
        "/api/v1/status",
        200,
        &answer(app.get("/api/v1/status").bearer_auth(key["key"].as_str().unwrap())).await,
    );
    for path in ["/api/v1/status", "/grafana", "/jaeger/api/services"] {
        check("get", path, 401, &app.get(path).send().await.unwrap().json().await.unwrap());
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let text = async |path: &str| {
        let response = app.get(path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        let is_packed = response.headers().get("content-encoding").is_some_and(|encoding| encoding == "gzip");
        let bytes = response.bytes().await.unwrap();
        let mut text = String::new();
        match is_packed {
            true => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap(),
            false => (&bytes[..]).read_to_string(&mut text).unwrap(),
        };
        text
    };
    // From where a browser gets to: the slash is there, for the page names its neighbours.
    let page = app.get("/docs").send().await.unwrap();
    assert_eq!(page.url().path(), "/docs/");
    let page = text("/docs/").await;
    let mut files: Vec<&str> = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        let named = page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
        files.extend(named.map(|name| name.trim_start_matches("./")));
    }
    assert!(files.contains(&"swagger-ui-bundle.js") && files.contains(&"swagger-ui.css"), "{page}");
    for file in files.iter().filter(|file| !file.ends_with(".png")) {
        assert!(!file.contains(':') && !text(&format!("/docs/{file}")).await.is_empty(), "{file}");
    }
    let starts = text("/docs/swagger-initializer.js").await;
    assert!(starts.contains("\"../openapi.json\"") && !starts.contains("{{config}}"), "{starts}");
}
