//! Keys as passwords: who is let in, and who sees whose rows.

use tokio_postgres::Client;

use super::{app, code, connect, listens, text};
use crate::{
    app::TestApp,
    keys::{CALLS, TwoTenants, escape::ATTEMPTS, key},
};

#[tokio::test]
async fn a_key_is_the_password() {
    let app = app().await;
    // Nobody is asked for one where there is none.
    let anybody = connect(&app, None).await.unwrap();
    let query = key(&app, "query", &[]).await;
    let ingest = key(&app, "ingest", &[]).await;
    let check = async |password: Option<&str>, expected: &str| {
        let refused = connect(&app, password).await.err().unwrap();
        assert_eq!(code(&refused), expected, "{refused:?}");
    };
    check(Some("no key"), "28P01").await;
    check(Some(&format!("{}0", &query[..query.len() - 1])), "28P01").await;
    check(Some(&ingest), "42501").await;
    assert!(connect(&app, None).await.is_err());
    let client = connect(&app, Some(&query)).await.unwrap();
    assert_eq!(text(&client, "select 1").await.unwrap(), "1");
    // Who came without a key before there were keys has none.
    assert_eq!(code(&text(&anybody, "select 1").await.unwrap_err()), "28P01");
    // A key that is revoked is so at once.
    let gate = app.daemon.as_ref().unwrap().gate();
    let id = gate.list().await.unwrap().into_iter().find(|record| query.contains(&record.id)).unwrap().id;
    gate.revoke(&id).await.unwrap();
    assert_eq!(code(&text(&client, "select 1").await.unwrap_err()), "28P01");
    let denied: std::collections::BTreeMap<_, _> = gate.denied().collect();
    assert!(denied["missing"] >= 1 && denied["unknown"] >= 2 && denied["revoked"] >= 1 && denied["scope"] == 1);
}

/// Long enough for a key's allowance to be full again.
fn later(app: &TestApp) {
    app.clock.set(app.clock.now_us() + 5_000_000);
}

#[tokio::test]
async fn a_key_has_its_limits() {
    let app = TestApp::start_with(|config| {
        listens(config);
        config.access.requests_per_second = 5;
        config.access.statements_max = 1;
    })
    .await;
    let query = key(&app, "query", &[]).await;
    let client = connect(&app, Some(&query)).await.unwrap();
    let refused = async {
        loop {
            if let Err(refused) = text(&client, "select 1").await {
                return refused;
            }
        }
    };
    assert_eq!(code(&refused.await), "53400");
    later(&app);
    // The connection was not ended by it.
    assert_eq!(text(&client, "select 1").await.unwrap(), "1");
    // A portal that is open is a statement that runs.
    client.batch_execute("begin").await.unwrap();
    let mut other = connect(&app, Some(&query)).await.unwrap();
    let transaction = other.transaction().await.unwrap();
    let portal = transaction.bind("select value from generate_series(1, 10)", &[]).await.unwrap();
    later(&app);
    assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);
    assert_eq!(code(&text(&client, "select 1").await.unwrap_err()), "53400");
    transaction.rollback().await.unwrap();
    client.batch_execute("rollback").await.unwrap();
    later(&app);
    assert_eq!(text(&client, "select 1").await.unwrap(), "1");
}

/// What clients of Postgres ask the catalogs, and what is only there.
const CATALOGS: &[&str] = &[
    "select * from pg_catalog.pg_class",
    "select * from pg_catalog.pg_attribute",
    "select * from pg_catalog.pg_namespace",
    "select * from pg_catalog.pg_database",
    "select * from pg_catalog.pg_tables",
    "select * from pg_catalog.pg_views",
    "select * from pg_catalog.pg_stat_user_tables",
    "select * from pg_catalog.pg_settings",
    "select * from pg_catalog.pg_roles",
    "select * from pg_catalog.pg_authid",
    "select relname, reltuples from pg_class",
    "select * from information_schema.tables",
    "select * from information_schema.columns",
    "select * from information_schema.views",
    "select 'stored.agent_logs'::regclass",
    "select pg_total_relation_size('stored.agent_logs')",
    "select * from agent_logs a, pg_class c",
    "select (select max(tenant_id) from agent_logs), relname from pg_class",
    "select pg_get_viewdef('tool_calls'::regclass)",
    "show search_path",
    "select current_user, session_user, current_catalog",
];

/// Everything that a text brings, rows and failures.
async fn all(client: &Client, statement: &str) -> String {
    let simple = match text(client, statement).await {
        Ok(text) => text,
        Err(error) => format!("{error:?}"),
    };
    let extended = match client.query(statement, &[]).await {
        Ok(rows) => rows.iter().map(|row| format!("{:?}", row.columns())).collect(),
        Err(error) => format!("{error:?}"),
    };
    let _ = client.batch_execute("rollback").await;
    simple + &extended
}

#[tokio::test]
async fn nothing_foreign_comes_out_of_the_port() {
    let two = TwoTenants::start_with(|config| {
        listens(config);
        config.access.requests_per_second = 0;
    })
    .await;
    let data = two.app.data().to_str().unwrap().to_owned();
    let mut client = connect(&two.app, Some(&two.alpha)).await.unwrap();
    for statement in ATTEMPTS.iter().chain(CATALOGS) {
        if client.is_closed() {
            client = connect(&two.app, Some(&two.alpha)).await.unwrap();
        }
        let told = all(&client, statement).await.replace("alphabet", "");
        let own = statement.contains("beta");
        let foreign = ["agent-beta", "m-beta", "s-beta", "tool-beta", "trace-beta", "a-beta-user", "no JSON of"];
        let leaks = foreign.iter().any(|part| told.contains(part)) || (!own && told.contains("beta"));
        assert!(!leaks, "{statement}: {}", &told[..told.len().min(2_000)]);
        for part in [data.as_str(), "root:", ".parquet", "/spill", "dl_", "part-0"] {
            assert!(!told.contains(part) || statement.contains(part), "{statement}: {part}: {told}");
        }
        assert!(!told.contains("XX000"), "{statement}: {told}");
    }
}

#[tokio::test]
async fn each_tenant_has_its_own_rows() {
    let two = TwoTenants::start_with(listens).await;
    let count = "select count(*), min(agent_id), max(agent_id) from agent_logs";
    for (key, expected) in [
        (&two.alpha, format!("{CALLS}|agent-alpha|agent-alpha")),
        (&two.beta, format!("{CALLS}|agent-beta|agent-beta")),
        (&two.admin, format!("{}|agent-alpha|agent-beta", 2 * CALLS)),
    ] {
        let client = connect(&two.app, Some(key)).await.unwrap();
        assert_eq!(text(&client, count).await.unwrap(), expected);
        let rows =
            client.query("select count(*) from stored.agent_logs where tenant_id = $1", &[&"beta"]).await.unwrap();
        let expected = if key == &two.alpha { 0 } else { CALLS };
        assert_eq!(rows[0].get::<_, i64>(0), expected);
        // Fails on a row of the other tenant, if one is looked at.
        let number = text(&client, "select count(cast(user_id as int)) from agent_logs").await;
        assert_eq!(number.is_ok(), key == &two.alpha);
    }
}
