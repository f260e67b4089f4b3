//! The port for clients of Postgres, as a driver of Postgres finds it.

mod bounds;
mod tenants;

use chrono::{DateTime, NaiveDateTime};
use driftline::config::Config;
use futures::{StreamExt, pin_mut};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage, error::SqlState, types::ToSql};

use crate::app::{NOW_US, TestApp, record};

/// A daemon with the port.
async fn app() -> TestApp {
    TestApp::start_with(listens).await
}

fn listens(config: &mut Config) {
    config.postgres.listen = Some("127.0.0.1:0".parse().unwrap());
}

/// A connection of anybody with a key, or without.
async fn connect(app: &TestApp, key: Option<&str>) -> Result<Client, Error> {
    let address = app.daemon.as_ref().unwrap().postgres_address().unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("anybody").dbname("driftline");
    if let Some(key) = key {
        config.password(key);
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// All values of a statement without parameters, as text: columns by `|`, rows by line.
async fn text(client: &Client, statement: &str) -> Result<String, Error> {
    let mut lines = Vec::new();
    for message in client.simple_query(statement).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("null")).collect();
            lines.push(values.join("|"));
        }
    }
    Ok(lines.join("\n"))
}

fn code(error: &Error) -> &str {
    error.code().map_or("none", SqlState::code)
}

fn start() -> NaiveDateTime {
    DateTime::from_timestamp_micros(NOW_US).unwrap().naive_utc()
}

/// Five calls, a minute apart.
async fn with_calls() -> (TestApp, Client) {
    let app = app().await;
    let calls: String = (0..5).map(|at| record(at * 60, &format!("r{at}"), "support", 0.5)).collect();
    app.logs(calls).await;
    let client = connect(&app, None).await.unwrap();
    (app, client)
}

#[tokio::test]
async fn statements_are_answered_as_text() {
    let (_app, client) = with_calls().await;
    let check = async |statement: &str, expected: &str| {
        assert_eq!(text(&client, statement).await.unwrap(), expected, "{statement}");
    };
    check("select 1", "1").await;
    check("", "").await;
    check("select 1; select 'a' as b, null as c; select true", "1\na|null\nt").await;
    check("select count(*), sum(cost_usd), min(timestamp) from agent_logs", "5|2.5|2026-05-14 12:00:00.000000").await;
    check("select agent_id from agent_logs where request_id = 'r3'", "support").await;
    check("select make_array(1, 2), date '2026-05-14'", "{1,2}|2026-05-14").await;
    check(
        "select (select max(cost_usd) from agent_logs a where a.request_id = b.request_id) from agent_logs b limit 1",
        "0.5",
    )
    .await;
    check("explain select 1", "logical_plan|Projection: Int64(1)\n  EmptyRelation: rows=1\nphysical_plan|ProjectionExec: expr=[1 as Int64(1)]\n  PlaceholderRowExec\n").await;
    // Every column has a type that Postgres knows.
    let all = text(&client, "select * from agent_logs order by timestamp limit 1").await.unwrap();
    assert!(all.starts_with("2026-05-14 12:00:00.000000|2026-05-14 12:00:00.000000|t1|support|m1|"), "{all}");
    // What has parts is JSON.
    check(r#"select named_struct('name', 'search', 'latency_ms', 5)"#, r#"{"name":"search","latency_ms":5}"#).await;
}

#[tokio::test]
async fn parameters_have_the_types_of_what_they_meet() {
    let (_app, client) = with_calls().await;
    let statement = client
        .prepare("select request_id, cost_usd, prompt_tokens, timestamp from agent_logs where timestamp >= $1 and cost_usd > $2 and prompt_tokens < $3 and agent_id = $4 order by timestamp")
        .await
        .unwrap();
    let names: Vec<_> = statement.params().iter().map(tokio_postgres::types::Type::name).collect();
    assert_eq!(names, ["timestamp", "float8", "int8", "text"]);
    let names: Vec<_> = statement.columns().iter().map(|column| column.type_().name()).collect();
    assert_eq!(names, ["text", "float8", "int8", "timestamp"]);
    let from = start() + chrono::Duration::seconds(180);
    let rows = client.query(&statement, &[&from, &0.1, &1_000_i64, &"support"]).await.unwrap();
    assert_eq!(rows.len(), 2);
    let (id, cost, tokens, time) = (rows[0].get(0), rows[0].get(1), rows[0].get(2), rows[0].get(3));
    let first: (&str, f64, i64, NaiveDateTime) = (id, cost, tokens, time);
    assert_eq!(first, ("r3", 0.5, 100, from));
    // Again, with others; and with none.
    assert_eq!(client.query(&statement, &[&from, &5.0, &1_000_i64, &"support"]).await.unwrap().len(), 0);
    let none: Option<&str> = None;
    assert_eq!(client.query(&statement, &[&from, &0.1, &1_000_i64, &none]).await.unwrap().len(), 0);
    let check = async |statement: &str, values: &[&(dyn ToSql + Sync)], expected: i64| {
        let row = client.query_one(statement, values).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        assert_eq!(row.get::<_, i64>(0), expected, "{statement}");
    };
    check("select count(*) from agent_logs where agent_id = any($1::text[])", &[&vec!["support", "other"]], 5).await;
    check("select count(*) from (select 1 from agent_logs limit $1)", &[&3_i64], 3).await;
    check("select $1::bigint + 1", &[&41_i64], 42).await;
    check("select count(*) from agent_logs where error is null and $1", &[&true], 5).await;
    let text: String = client.query_one("select $1", &[&"as it is"]).await.unwrap().get(0);
    assert_eq!(text, "as it is");
    let list: Vec<Option<i64>> = client.query_one("select make_array(1, 2)", &[]).await.unwrap().get(0);
    assert_eq!(list, [Some(1), Some(2)]);
    assert!(client.query("select $2", &[&"x", &"y"]).await.is_ok());
    assert_eq!(code(&client.query("select $name", &[]).await.unwrap_err()), "42P02");
}

#[tokio::test]
async fn rows_come_as_many_as_are_asked_for() {
    let (_app, mut client) = with_calls().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("select request_id from agent_logs order by timestamp", &[]).await.unwrap();
    let mut found = Vec::new();
    for expected in [2, 2, 1, 0] {
        let rows = transaction.query_portal(&portal, 2).await.unwrap();
        assert_eq!(rows.len(), expected);
        found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    assert_eq!(found, ["r0", "r1", "r2", "r3", "r4"]);
    // The most that a client can ask for takes no room before it is there.
    let portal = transaction.bind("select 1", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, i32::MAX).await.unwrap().len(), 1);
    transaction.commit().await.unwrap();
    let rows = client.query_raw("select value from generate_series(1, 20000)", Vec::<i64>::new()).await.unwrap();
    pin_mut!(rows);
    let mut sum = 0;
    while let Some(row) = rows.next().await {
        sum += row.unwrap().get::<_, i64>(0);
    }
    assert_eq!(sum, 20_000 * 20_001 / 2);
}

#[tokio::test]
async fn what_drivers_say_around_statements_is_taken() {
    let (_app, client) = with_calls().await;
    for statement in [
        "SET extra_float_digits = 3",
        "SET application_name = 'Metabase v0.55'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET TIME ZONE 'UTC'",
        "set names 'UTF8'",
        "set something_to_come = on",
        "BEGIN READ ONLY; SAVEPOINT a; RELEASE SAVEPOINT a; COMMIT",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
        "DISCARD ALL",
        "DEALLOCATE ALL",
    ] {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let check = async |statement: &str, expected: &str| {
        assert_eq!(text(&client, statement).await.unwrap(), expected, "{statement}");
    };
    check("SHOW TRANSACTION ISOLATION LEVEL", "read committed").await;
    check("show server_version", "16.6").await;
    check("show standard_conforming_strings", "on").await;
    check("set application_name = 'a'; show application_name", "a").await;
    check("select current_schema(), current_database()", "public|driftline").await;
    check("select current_schema", "public").await;
    check("SELECT current_setting('server_version_num')::int/100 as version", "1600").await;
    let version = text(&client, "select pg_catalog.version()").await.unwrap();
    assert!(version.starts_with("PostgreSQL 16.6 (Driftline "), "{version}");
    let prepared = client.query_one("show timezone", &[]).await.unwrap();
    assert_eq!(prepared.get::<_, &str>(0), "UTC");
    // What fails within a transaction fails it.
    client.batch_execute("BEGIN").await.unwrap();
    assert!(client.batch_execute("select nothing").await.is_err());
    assert_eq!(code(&client.batch_execute("select 1").await.unwrap_err()), "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    check("select 1", "1").await;
}

#[tokio::test]
async fn failures_have_codes() {
    let (_app, client) = with_calls().await;
    let check = async |statement: &str, expected: &str| {
        for failed in [text(&client, statement).await.err(), client.query(statement, &[]).await.err()] {
            let failed = failed.unwrap_or_else(|| panic!("{statement} was answered"));
            assert_eq!(code(&failed), expected, "{statement}: {failed:?}");
        }
        assert_eq!(text(&client, "select 1").await.unwrap(), "1");
    };
    check("selec 1", "42601").await;
    check("select * from nothing", "42P01").await;
    check("select nothing from agent_logs", "42703").await;
    check("select nothing(1)", "42883").await;
    check("select 1 / (cost_usd::int - cost_usd::int) from agent_logs", "22012").await;
    check("select agent_id::int from agent_logs", "22P02").await;
    check("insert into agent_logs (agent_id) values ('a')", "25006").await;
    check("drop table agent_logs", "25006").await;
    check("copy agent_logs to '/tmp/a'", "25006").await;
    check("create table a (b int)", "25006").await;
    check("set statement_timeout = 'soon'", "22023").await;
    check("show nothing", "42704").await;
    let several = client.prepare("select 1; select 2").await.err().unwrap();
    assert_eq!(code(&several), "42601");
}

#[tokio::test]
async fn grafana_s_macros_and_questions_are_answered() {
    let (_app, client) = with_calls().await;
    let check = async |statement: &str, expected: &str| {
        assert_eq!(text(&client, statement).await.unwrap(), expected, "{statement}");
    };
    check(
        "SELECT floor(extract(epoch from timestamp)/120)*120 AS \"time\", sum(cost_usd) AS cost FROM agent_logs \
         WHERE timestamp BETWEEN '2026-05-14T11:00:00Z' AND '2026-05-14T13:00:00.123456789Z' GROUP BY 1 ORDER BY 1",
        "1778760000.0|1.0\n1778760120.0|1.0\n1778760240.0|0.5",
    )
    .await;
    check(
        "SELECT timestamp AS \"time\", agent_id AS metric, latency_ms FROM agent_logs WHERE \
         extract(epoch from timestamp) >= 1778760000 AND extract(epoch from timestamp) <= 1778760060 ORDER BY 1",
        "2026-05-14 12:00:00.000000|support|500.0\n2026-05-14 12:01:00.000000|support|900.0",
    )
    .await;
    // As the datasource writes them: tables, then columns.
    let path = "SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END FROM generate_series( \
                array_lower(string_to_array(current_setting('search_path'),','),1), \
                array_upper(string_to_array(current_setting('search_path'),','),1) ) as i, \
                string_to_array(current_setting('search_path'),',') s";
    let tables = format!(
        "SELECT CASE WHEN quote_ident(table_schema) IN ( {path} ) THEN quote_ident(table_name) \
         ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS \"table\" \
         FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', \
         '_timescaledb_cache', '_timescaledb_catalog', '_timescaledb_internal', '_timescaledb_config', \
         'timescaledb_information', 'timescaledb_experimental') \
         ORDER BY CASE WHEN quote_ident(table_schema) IN ( {path} ) THEN 0 ELSE 1 END, 1"
    );
    let tables = text(&client, &tables).await.unwrap();
    assert!(tables.lines().any(|table| table.ends_with("agent_logs")), "{tables}");
    let columns = format!(
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE \
         CASE WHEN array_length(parse_ident('public.agent_logs'),1) = 2 \
         THEN quote_ident(table_schema) = (parse_ident('public.agent_logs'))[1] \
         AND quote_ident(table_name) = (parse_ident('public.agent_logs'))[2] \
         ELSE quote_ident(table_name) = 'public.agent_logs' AND quote_ident(table_schema) IN ( {path} ) END"
    );
    let columns = text(&client, &columns).await.unwrap();
    for column in ["timestamp|timestamp without time zone", "cost_usd|double precision", "prompt_tokens|bigint"] {
        assert!(columns.lines().any(|line| line.trim_matches('"').replace('"', "") == column), "{column}: {columns}");
    }
}

#[tokio::test]
async fn catalogs_list_what_is_there() {
    let (_app, client) = with_calls().await;
    let check = async |statement: &str, expected: &str| {
        assert_eq!(text(&client, statement).await.unwrap(), expected, "{statement}");
    };
    check(
        "select table_schema, table_type from information_schema.tables where table_name = 'tool_calls'",
        "public|VIEW",
    )
    .await;
    check(
        "select column_name, data_type, udt_name, is_nullable from information_schema.columns
         where table_schema = 'public' and table_name = 'agent_logs' and column_name in ('timestamp', 'tool_calls')
         order by ordinal_position",
        "timestamp|timestamp without time zone|timestamp|NO\ntool_calls|text|text|YES",
    )
    .await;
    check(
        "select c.relname, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'stored' and c.relname = 'agent_logs'",
        "agent_logs|r",
    )
    .await;
    check("select count(*) from information_schema.table_constraints", "0").await;
    // As Metabase and the driver of Java ask: comments by a name that is put together, and keys that nobody has.
    check(
        "select format('%s', c.udt_name) as type, col_description(cast(cast(format('%I.%I', c.table_schema, c.table_name)
             as regclass) as oid), c.ordinal_position) as comment
         from information_schema.columns as c where c.table_name = 'agent_logs' and c.column_name = 'model'
             and c.table_schema = 'public'",
        "text|null",
    )
    .await;
    check(
        "select count(*) from pg_constraint c join pg_class t on c.conrelid = t.oid
             join pg_attribute a on c.conrelid = a.attrelid where a.attnum = any(c.conkey)",
        "0",
    )
    .await;
    check(
        "select count(k.place) from (select (i.keys).n as place, i.keys from (
             select information_schema._pg_expandarray(indkey) as keys from pg_catalog.pg_index) i) k",
        "0",
    )
    .await;
    check("select count(con.conkey[1]) from pg_catalog.pg_constraint con", "0").await;
    // Oids stay what they are, for joins from one question to the next.
    let oid = text(&client, "select 'agent_logs'::regclass::oid").await.unwrap();
    check(&format!("select relname from pg_class where oid = {oid}"), "agent_logs").await;
    check(&format!("select count(*) > 40 from pg_attribute where attrelid = '{oid}'"), "t").await;
    // Settings of the process are nobody's.
    assert!(text(&client, "select * from information_schema.df_settings").await.is_err());
}
