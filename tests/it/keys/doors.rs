//! The door itself: which key opens what, how it is sent, when it ends, how often it may be used, and TLS.

use std::process::Command;

use driftline::{access::NewKey, catalog::Keys, clock::Clock, daemon::Daemon, gate};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{asked, key, key_until, said};
use crate::app::{NOW_US, TestApp, failure, json as answer, record};

#[tokio::test]
async fn without_keys_loopback_is_open_and_with_one_it_is_shut() {
    let app = TestApp::start().await;
    assert_eq!(said(app.get("/api/v1/status")).await.0, 200);
    let key = key(&app, "query", &[]).await;
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/sql?q=select%201", "/api/v1/keys", "/api/v1/maintenance"] {
        let response = app.get(path).send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        let schemes: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(schemes.len(), 2, "{schemes:?}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "unauthenticated");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(said(app.get(path)).await.0, 200, "{path}");
    }
    assert_eq!(said(app.post("/api/v1/logs").body(record(0, "a", "rag", 0.5))).await.0, 401);
    let sql = || app.get("/api/v1/sql?q=select%201");
    for request in [sql().bearer_auth(&key), sql().header("x-api-key", &key), sql().basic_auth("grafana", Some(&key))] {
        assert_eq!(said(request).await.0, 200);
    }
    for wrong in [key.replace("dl_", "dl-"), key[..key.len() - 1].to_owned() + "x", key[..20].to_owned(), String::new()]
    {
        assert_eq!(said(sql().bearer_auth(&wrong)).await.0, 401, "{wrong}");
    }
    // The right id with another secret.
    let other = format!("{}{}", &key[..20], "0".repeat(64));
    assert_eq!(said(sql().bearer_auth(&other)).await.0, 401);
}

/// A page of a web site whose name leads here asks by that name; a key cannot be made up.
#[tokio::test]
async fn without_keys_no_web_site_asks() {
    let app = TestApp::start_with(|config| config.server.hosts = "driftline.internal, other".to_owned()).await;
    let port = app.url("").rsplit_once(':').unwrap().1.to_owned();
    let asked = async |path: &str, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(app.get(path), |request, (name, value)| request.header(*name, *value));
        said(request).await
    };
    let local = format!("localhost:{port}");
    let page = format!("http://127.0.0.1:{port}");
    for headers in [
        &[("host", local.as_str())][..],
        &[("host", "[::1]:7717")],
        &[("host", "Driftline.Internal")],
        &[("origin", page.as_str())],
        &[("origin", "http://localhost:3000")],
    ] {
        assert_eq!(asked("/api/v1/sql?q=select%201", headers).await.0, 200, "{headers:?}");
    }
    for headers in
        [&[("host", "evil.example")][..], &[("host", ""), ("origin", "http://evil.example")], &[("origin", "null")]]
    {
        for path in ["/", "/metrics", "/api/v1/sql?q=select%201", "/grafana", "/jaeger/api/services", "/api/v1/keys"] {
            let (status, text) = asked(path, headers).await;
            assert_eq!(status, 403, "{path} {headers:?}: {text}");
            assert!(text.contains("server.hosts") && text.contains("key create"), "{text}");
        }
        // The probes tell nothing.
        assert_eq!(asked("/healthz", headers).await.0, 200);
    }
    let sent = app.post("/api/v1/logs").header("origin", "https://evil.example").body(record(0, "a", "rag", 0.5));
    assert_eq!(said(sent).await.0, 403);
    let text = said(app.get("/metrics")).await.1;
    assert!(text.contains("driftline_http_denied_total{reason=\"host\"} 19"), "{text}");
    // Clients of HTTP/1.0 name no host, those of HTTP/2 and of proxies do it elsewhere.
    for (head, expected) in [
        ("GET /api/v1/status HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
        (
            "GET http://evil.example/api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 403",
        ),
    ] {
        let mut raw = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
        raw.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        raw.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with(expected), "{text}");
    }
    // With a key there is no need.
    let key = key(&app, "query", &[]).await;
    let request = app.get("/api/v1/status").header("host", "evil.example").bearer_auth(&key);
    assert_eq!(said(request).await.0, 200);
}

#[tokio::test]
async fn each_scope_opens_its_own() {
    let app = TestApp::start().await;
    let keys = [key(&app, "ingest", &[]).await, key(&app, "query", &[]).await, key(&app, "admin", &[]).await];
    let gets = ["/", "/metrics", "/api/v1/status", "/api/v1/sql?q=select%201", "/api/v1/queries", "/api/v1/kpis"];
    for (at, key) in keys.iter().enumerate() {
        for path in gets {
            let expected = if at == 1 { 200 } else { 403 };
            assert_eq!(said(app.get(path).bearer_auth(key)).await.0, expected, "{path}");
        }
        let expected = if at == 0 { 200 } else { 403 };
        let sent = app.post("/api/v1/logs").bearer_auth(key).body(record(0, "a", "rag", 0.5));
        assert_eq!(said(sent).await.0, expected);
        for path in ["/api/v1/maintenance", "/api/v1/keys"] {
            let expected = if at == 2 { 200 } else { 403 };
            assert_eq!(said(app.get(path).bearer_auth(key)).await.0, expected, "{path}");
        }
        for path in ["/api/v1/forget", "/api/v1/backup", "/api/v1/keys"] {
            let expected = if at == 2 { 400 } else { 403 };
            assert_eq!(said(app.post(path).bearer_auth(key).json(&json!({}))).await.0, expected, "{path}");
        }
    }
    let (status, message) = failure(app.get("/metrics").bearer_auth(&keys[0])).await;
    assert_eq!((status, message.as_str()), (403, "the key lacks the scope query; it has ingest"));
}

#[tokio::test]
async fn keys_are_made_and_ended_over_http() {
    let app = TestApp::start().await;
    let create = |body: Value| app.post("/api/v1/keys").json(&body);
    // The first is made where the door is open.
    let admin = answer(create(json!({"name": "operator", "scopes": "admin"}))).await;
    let admin = admin["key"].as_str().unwrap();
    let made = create(json!({"name": "agents", "scopes": "query", "tenants": ["a"], "expires_in_days": 2}));
    let made = answer(made.bearer_auth(admin)).await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(asked(&app, key, "select 1").await.0, 200);
    let listed = app.get("/api/v1/keys").bearer_auth(admin);
    let text = answer(listed).await.to_string();
    assert!(text.contains(id) && text.contains("agents") && !text.contains(&key[20..]), "{text}");
    let url = app.url(&format!("/api/v1/keys/{id}"));
    let revoke = reqwest::Client::new().delete(url).bearer_auth(admin);
    assert_eq!(said(revoke).await.0, 200);
    let (status, message) = failure(app.get("/api/v1/status").bearer_auth(key)).await;
    assert_eq!((status, message.as_str()), (401, "the key was revoked"));
    let wrong = create(json!({"name": "x", "scopes": "admin", "tenants": ["a"]})).bearer_auth(admin);
    let (status, message) = failure(wrong).await;
    assert!(status == 400 && message.contains("cannot be bound"), "{message}");
    let wrong = create(json!({"name": "x", "scopes": "query", "expires_in_days": u32::MAX})).bearer_auth(admin);
    let (status, message) = failure(wrong).await;
    assert!(status == 400 && message.contains("at most 36500 days"), "{message}");
}

#[tokio::test]
async fn who_is_turned_away_is_told_in_the_way_of_the_path() {
    let app = TestApp::start().await;
    key(&app, "query", &[]).await;
    let told = async |path: &str| {
        let response = app.post(path).body("{}").send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], if status == 405 { "method_not_allowed" } else { "unauthenticated" });
        (status, body)
    };
    let (status, grafana) = told("/grafana/query").await;
    assert_eq!((status, &grafana["message"]), (401, &grafana["error"]["message"]));
    let (status, jaeger) = told("/jaeger/api/services").await;
    assert_eq!((status, &jaeger["errors"][0]["code"]), (405, &json!(405)));
    let jaeger: Value = app.get("/jaeger/api/services").send().await.unwrap().json().await.unwrap();
    assert_eq!(jaeger["errors"][0]["code"], 401);
    assert_eq!(told("/api/v1/sql").await.1.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_ends_at_its_time_and_the_last_one_opens_nothing() {
    let mut app = TestApp::start().await;
    let key = key_until(&app, "query", &[], Some(NOW_US + 1_000_000)).await;
    assert_eq!(asked(&app, &key, "select 1").await.0, 200);
    app.clock.set(NOW_US + 1_000_000);
    let (status, message) = failure(app.get("/api/v1/status").bearer_auth(&key)).await;
    assert_eq!((status, message.as_str()), (401, "the key has expired"));
    assert_eq!(said(app.get("/api/v1/status")).await.0, 401);
    app.restart().await;
    assert_eq!(said(app.get("/api/v1/status")).await.0, 401);
    let used = app.daemon.as_ref().unwrap().gate().list().await.unwrap()[0].used_at_us;
    assert_eq!(used, Some(NOW_US));
}

#[tokio::test]
async fn keys_that_are_made_and_revoked_elsewhere_count_at_once() {
    let app = TestApp::start().await;
    let elsewhere = Keys::open(&app.data().join("catalog.sqlite"), false).await.unwrap();
    // Long enough after each write for what was read to be remembered.
    let status_later = async |second: i64, key: &str| {
        app.clock.set(NOW_US + second * 1_000_000);
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(said(app.get("/api/v1/queries").bearer_auth(key)).await.0);
        }
        statuses
    };
    assert_eq!(status_later(1, "").await, [200; 3]);
    let wanted = NewKey::new("made elsewhere", "query", vec![], None).unwrap();
    let made = gate::create(&elsewhere, &wanted, NOW_US).await.unwrap();
    let key = made.reveal();
    assert_eq!(said(app.get("/api/v1/queries")).await.0, 401);
    assert_eq!(said(app.get("/api/v1/queries").bearer_auth(&key)).await.0, 200);
    assert_eq!(status_later(2, &key).await, [200; 3]);
    assert_eq!(status_later(3, &key).await, [200; 3]);
    elsewhere.revoke(made.id(), NOW_US).await.unwrap();
    assert_eq!(status_later(3, &key).await, [401; 3]);
    assert_eq!(status_later(4, &key).await, [401; 3]);
    elsewhere.close().await;
}

#[tokio::test]
async fn a_key_has_its_limits() {
    let app = TestApp::start_with(|config| {
        config.access.requests_per_second = 5;
        config.access.statements_max = 1;
    })
    .await;
    let (busy, calm) = (key(&app, "query", &[]).await, key(&app, "query", &[]).await);
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(said(app.get("/api/v1/status").bearer_auth(&busy)).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
    let response = app.get("/api/v1/status").bearer_auth(&busy).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "too_many_requests");
    assert_eq!(said(app.get("/api/v1/status").bearer_auth(&calm)).await.0, 200);
    app.clock.set(NOW_US + 1_000_000);
    assert_eq!(said(app.get("/api/v1/status").bearer_auth(&busy)).await.0, 200);
    // A result that is not read yet is a statement that runs.
    let long = "select a.value, repeat('x', 1000) as x from generate_series(1, 100000) as a";
    let running = app.get("/api/v1/sql").query(&[("q", long)]).bearer_auth(&calm).send().await.unwrap();
    assert_eq!(running.status(), 200);
    let (status, message) = failure(app.get("/api/v1/sql?q=select%201").bearer_auth(&calm)).await;
    assert!(status == 429 && message.contains("1 statements of the key"), "{message}");
    drop(running);
    let text = said(app.get("/metrics").bearer_auth(&calm)).await.1;
    for line in
        [r#"driftline_http_denied_total{reason="rate"} 3"#, r#"driftline_http_denied_total{reason="statements"} 1"#]
    {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn beyond_loopback_keys_are_needed() {
    let app = TestApp::start_with(|config| config.server.allow_anonymous_network = true).await;
    let mut config = app.config.clone();
    let other = tempfile::tempdir().unwrap();
    config.server.data = other.path().join("data");
    config.server.listen = "0.0.0.0:0".parse().unwrap();
    let start = async |config| {
        Daemon::start_on(&config, Clock::manual(NOW_US), std::sync::Arc::new(driftline::disk::SystemDisk)).await
    };
    start(config.clone()).await.unwrap().stop().await.unwrap();
    config.server.allow_anonymous_network = false;
    let refused = start(config.clone()).await.err().unwrap();
    assert!(refused.to_string().contains("make a key first"), "{refused}");
    let made = Command::new(env!("CARGO_BIN_EXE_driftline"))
        .args(["key", "create", "--name", "operator", "--scope", "admin", "--data"])
        .arg(&config.server.data)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8(made.stdout).unwrap().starts_with("dl_"));
    start(config).await.unwrap().stop().await.unwrap();
}

/// The server answers on another thread while this one waits for the command.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_works_beside_a_server_and_without_one() {
    let mut app = TestApp::start().await;
    let data = app.data().to_owned();
    let run = move |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_driftline")).args(words).arg("--data").arg(&data).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let key = run(&["key", "create", "--name", "beside"]).trim().to_owned();
    assert_eq!(asked(&app, &key, "select 1").await.0, 200);
    assert_eq!(said(app.get("/api/v1/status")).await.0, 401);
    let listed = run(&["key", "list"]);
    assert!(listed.contains("beside") && listed.contains("ingest,query") && !listed.contains(&key[20..]), "{listed}");
    let id = &key[3..19];
    run(&["key", "revoke", id]);
    assert_eq!(asked(&app, &key, "select 1").await.0, 401);
    app.daemon.take().unwrap().stop().await.unwrap();
    let second = run(&["key", "create", "--name", "alone", "--tenant", "a", "--tenant", "b"]).trim().to_owned();
    assert!(run(&["key", "list"]).contains("a, b"));
    app.reopen().await;
    assert_eq!(asked(&app, &second, "select 1").await.0, 200);
    let url = app.url("");
    let query = Command::new(env!("CARGO_BIN_EXE_driftline"))
        .args(["query", "select 1 as one", "--url", &url])
        .env("DRIFTLINE_API_KEY", &second)
        .output()
        .unwrap();
    assert!(query.status.success(), "{}", String::from_utf8_lossy(&query.stderr));
}

#[tokio::test]
async fn tls_is_spoken_with_a_certificate() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tls");
    let app = TestApp::start_with(|config| {
        config.server.tls_cert = Some(format!("{directory}/cert.pem").into());
        config.server.tls_key = Some(format!("{directory}/key.pem").into());
    })
    .await;
    let root = std::fs::read(format!("{directory}/cert.pem")).unwrap();
    let root = reqwest::Certificate::from_pem(&root).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let port = app.daemon.as_ref().unwrap().address().port();
    let response = client.get(format!("https://localhost:{port}/healthz")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(app.get("/healthz").send().await.is_err(), "plain text was answered");
    // A client that says nothing keeps nobody waiting.
    let _silent = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let response = client.get(format!("https://localhost:{port}/readyz")).send().await.unwrap();
    assert_eq!(response.status(), 200);

    let check = async |certificate: &str, key: &str, expected: &str| {
        let mut config = app.config.clone();
        config.server.tls_cert = Some(format!("{directory}/{certificate}").into());
        config.server.tls_key = Some(format!("{directory}/{key}").into());
        let refused =
            Daemon::start_on(&config, Clock::manual(NOW_US), std::sync::Arc::new(driftline::disk::SystemDisk)).await;
        let message = refused.err().unwrap().chain();
        assert!(message.contains(expected), "{message}");
    };
    check("none.pem", "key.pem", "cannot read").await;
    check("key.pem", "key.pem", "holds no PEM certificate").await;
    check("cert.pem", "cert.pem", "holds no PEM private key").await;
    check("cert.pem", "other-key.pem", "do not belong together").await;
}
