//! What a client may take: statements that are given up, time, seats, bytes; and TLS.

use std::sync::Arc;

use driftline::{clock::Clock, daemon::Daemon, disk::SystemDisk};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::NoTls;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

use super::{app, code, connect, listens, text};
use crate::{
    app::{NOW_US, TestApp, failure},
    keys::key,
};

/// Would take hours.
const ENDLESS: &str = "select count(*) from generate_series(1, 1000000000000) where value % 3 = 5";

async fn tcp(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.daemon.as_ref().unwrap().postgres_address().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_statement_is_cancelled() {
    let app = app().await;
    let client = Arc::new(connect(&app, None).await.unwrap());
    for prepared in [false, true] {
        let running = tokio::spawn({
            let client = Arc::clone(&client);
            async move {
                if prepared {
                    client.query(ENDLESS, &[]).await.map(drop)
                } else {
                    text(&client, ENDLESS).await.map(drop)
                }
            }
        });
        // It may not have begun; what is cancelled then is nothing.
        while !running.is_finished() {
            client.cancel_token().cancel_query(NoTls).await.unwrap();
        }
        assert_eq!(code(&running.await.unwrap().unwrap_err()), "57014");
        assert_eq!(text(&client, "select 1").await.unwrap(), "1");
    }
    // While rows come: they are of no use any more.
    let rows = "select value, repeat('x', 1000) from generate_series(1, 1000000000)";
    let running = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.simple_query(rows).await.map(drop) }
    });
    while !running.is_finished() {
        client.cancel_token().cancel_query(NoTls).await.unwrap();
    }
    assert!(["57014", "53200"].contains(&code(&running.await.unwrap().unwrap_err())));
}

#[tokio::test]
async fn a_statement_has_its_time() {
    let app = app().await;
    let client = connect(&app, None).await.unwrap();
    client.batch_execute("set statement_timeout = '50ms'").await.unwrap();
    assert_eq!(code(&text(&client, ENDLESS).await.unwrap_err()), "57014");
    let mut config = tokio_postgres::Config::new();
    let address = app.daemon.as_ref().unwrap().postgres_address().unwrap();
    config.host("127.0.0.1").port(address.port()).user("a").options("-c statement_timeout=50");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(code(&text(&client, ENDLESS).await.unwrap_err()), "57014");
}

/// More rows than are computed before somebody reads them.
const MANY: &str = "select value from generate_series(1, 1000000000)";

#[tokio::test]
async fn a_portal_that_is_put_aside_ends_with_its_statement() {
    let app = TestApp::start_with(|config| {
        listens(config);
        config.access.requests_per_second = 0;
        config.access.statements_max = 1;
    })
    .await;
    let key = key(&app, "query", &[]).await;
    let (mut aside, other) = (connect(&app, Some(&key)).await.unwrap(), connect(&app, Some(&key)).await.unwrap());
    aside.batch_execute("set statement_timeout = '300ms'").await.unwrap();
    let transaction = aside.transaction().await.unwrap();
    let portal = transaction.bind(MANY, &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);
    assert_eq!(code(&text(&other, "select 1").await.unwrap_err()), "53400");
    // Its client says nothing more, and the key has its turn back all the same.
    while let Err(refused) = text(&other, "select 1").await {
        assert_eq!(code(&refused), "53400");
    }
    assert_eq!(code(&transaction.query_portal(&portal, 1).await.unwrap_err()), "57014");
    drop(transaction);
    assert_eq!(text(&aside, "select 1").await.unwrap(), "1");
}

#[tokio::test]
async fn a_portal_that_is_put_aside_gives_way() {
    let app = TestApp::start_with(|config| {
        listens(config);
        config.query.concurrency = 1;
    })
    .await;
    let (mut aside, other) = (connect(&app, None).await.unwrap(), connect(&app, None).await.unwrap());
    let transaction = aside.transaction().await.unwrap();
    let portal = transaction.bind(MANY, &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);
    // There is one turn, and the portal has it for a minute: both ways in wait for it, and have it.
    assert_eq!(text(&other, "select 1").await.unwrap(), "1");
    assert_eq!(app.sql("select 1 as one").await[0]["one"], 1);
    let ended = transaction.query_portal(&portal, 0).await.unwrap_err();
    assert_eq!(code(&ended), "57014");
    assert!(format!("{ended:?}").contains("others waited for their turn"), "{ended:?}");
}

#[tokio::test]
async fn there_are_so_many_seats() {
    let app = TestApp::start_with(|config| {
        listens(config);
        config.postgres.connections_max = 2;
    })
    .await;
    let first = connect(&app, None).await.unwrap();
    let second = connect(&app, None).await.unwrap();
    let refused = connect(&app, None).await.err().unwrap();
    assert_eq!(code(&refused), "53300");
    let denied = app.daemon.as_ref().unwrap().gate().denied().filter(|(_, count)| *count > 0);
    assert_eq!(denied.collect::<Vec<_>>(), [("seats", 1)]);
    // Whoever is seated is still heard, and can have a statement given up.
    first.cancel_token().cancel_query(NoTls).await.unwrap();
    assert_eq!(text(&second, "select 1").await.unwrap(), "1");
    drop(second);
    while connect(&app, None).await.is_err() {}
}

#[tokio::test]
async fn a_key_leaves_seats_for_the_others() {
    let app = TestApp::start_with(|config| {
        listens(config);
        config.postgres.connections_max = 3;
        config.postgres.connections_per_key_max = 2;
    })
    .await;
    let (greedy, other) = (key(&app, "query", &["alpha"]).await, key(&app, "query", &["beta"]).await);
    let held = [connect(&app, Some(&greedy)).await.unwrap(), connect(&app, Some(&greedy)).await.unwrap()];
    assert_eq!(code(&connect(&app, Some(&greedy)).await.err().unwrap()), "53300");
    let client = connect(&app, Some(&other)).await.unwrap();
    assert_eq!(text(&client, "select 1").await.unwrap(), "1");
    drop(held);
    while connect(&app, Some(&greedy)).await.is_err() {}
}

#[tokio::test]
async fn what_is_too_long_or_no_message_ends_a_connection() {
    let app = app().await;
    for garbage in
        [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\0\0\0\x03aaaaaaaa", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        let mut tcp = tcp(&app).await;
        let _ = tcp.write_all(garbage).await;
        let mut rest = Vec::new();
        // An end, by whatever name.
        let _ = tcp.read_to_end(&mut rest).await;
    }
    let client = connect(&app, None).await.unwrap();
    let long = format!("select '{}'", "x".repeat(1 << 20));
    assert!(client.simple_query(&long).await.is_err());
    let client = connect(&app, None).await.unwrap();
    // A statement that is nested too deep, or joins too much, is refused like any other.
    let deep = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(code(&text(&client, &deep).await.unwrap_err()), "42601");
    let deep = format!("select 1{}", "+1".repeat(200_000));
    assert_eq!(code(&text(&client, &deep).await.unwrap_err()), "54000");
    assert_eq!(failure(app.post("/api/v1/sql").body(deep)).await.0, 413);
    assert_eq!(text(&client, &format!("select 1{}", "+1".repeat(100))).await.unwrap(), "101");
    assert_eq!(text(&client, "select 1").await.unwrap(), "1");
}

#[tokio::test]
async fn a_client_that_says_nothing_keeps_nobody_waiting() {
    let app = app().await;
    let mut silent = Vec::new();
    // More than are let in at the same time: the oldest gives way, long before its time is up.
    for _ in 0..300 {
        silent.push(tcp(&app).await);
    }
    let client = connect(&app, None).await.unwrap();
    assert_eq!(text(&client, "select 1").await.unwrap(), "1");
    let soon = std::time::Duration::from_secs(8);
    assert_eq!(tokio::time::timeout(soon, silent[0].read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn the_stop_ends_connections() {
    let mut app = app().await;
    let client = connect(&app, None).await.unwrap();
    app.daemon.take().unwrap().stop().await.unwrap();
    assert!(client.simple_query("select 1").await.is_err());
}

#[tokio::test]
async fn tls_is_spoken_where_there_is_a_certificate() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tls");
    let app = TestApp::start_with(|config| {
        listens(config);
        config.server.tls_cert = Some(format!("{directory}/cert.pem").into());
        config.server.tls_key = Some(format!("{directory}/key.pem").into());
    })
    .await;
    let key = key(&app, "query", &[]).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{directory}/cert.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for direct in [false, true] {
        let mut tcp = tcp(&app).await;
        let mut config = config.clone();
        if direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        } else {
            tcp.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap();
            assert_eq!(tcp.read_u8().await.unwrap(), b'S');
        }
        let stream = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let mut settings = tokio_postgres::Config::new();
        settings.user("anybody").password(&key).ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = settings.connect_raw(stream, NoTls).await.unwrap();
        tokio::spawn(connection);
        assert_eq!(text(&client, "select 1").await.unwrap(), "1");
    }
    // Loopback may go without; who asks for another kind of encryption hears of none.
    assert!(connect(&app, Some(&key)).await.is_ok());
    let mut tcp = tcp(&app).await;
    tcp.write_all(b"\0\0\0\x08\x04\xd2\x16\x30").await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'N');
}

#[tokio::test]
async fn an_address_that_others_reach_needs_keys() {
    let app = app().await;
    let mut config = app.config.clone();
    config.server.data = app.data().parent().unwrap().join("another");
    config.postgres.listen = Some("0.0.0.0:0".parse().unwrap());
    let refused = Daemon::start_on(&config, Clock::manual(NOW_US), Arc::new(SystemDisk)).await;
    let message = refused.err().unwrap().chain();
    assert!(message.contains("listening on 0.0.0.0:0") && message.contains("key create"), "{message}");
}
