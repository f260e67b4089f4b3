//! Attempts to see more than one's own by SQL: nothing of the other tenant, no file of the host, no secret.

use driftline::config::TenantMetricsConfig;
use serde_json::json;

use super::{CALLS, TwoTenants, asked, rows, said};

/// Statements that try. Whatever they are answered, nothing foreign is in it.
pub const ATTEMPTS: &[&str] = &[
    "select * from agent_logs",
    "select * from stored.agent_logs",
    "select * from driftline.stored.agent_logs",
    "select * from \"driftline\".\"public\".\"agent_logs\"",
    "select * from agent_logs where tenant_id is not null or 1 = 1",
    "select * from agent_logs where true or tenant_id = 'x'",
    "select * from (select * from stored.agent_logs) as t",
    "with t as (select * from stored.agent_logs), agent_logs as (select * from t) select * from agent_logs",
    "with recursive r as (select tenant_id, 1 as n from stored.agent_logs union all select tenant_id, n + 1 from r
     where n < 2) select * from r",
    "select * from agent_logs union all select * from agent_logs",
    "select tenant_id, agent_id from agent_logs union select tenant_id, agent_id from stored.agent_logs",
    "select agent_id from stored.agent_logs except select agent_id from agent_logs",
    "select agent_id from stored.agent_logs intersect all select agent_id from stored.agent_logs",
    "select a.* from stored.agent_logs a full join stored.agent_logs b on a.tenant_id <> b.tenant_id",
    "select a.* from agent_logs a cross join stored.agent_logs b",
    "select * from agent_logs a where exists (select 1 from stored.agent_logs b where b.tenant_id <> a.tenant_id)",
    "select (select max(tenant_id) from stored.agent_logs) as other",
    "select * from agent_logs where tenant_id in (select tenant_id from stored.agent_logs)",
    "select max(agent_id), min(agent_id), max(model), min(user_id) from stored.agent_logs",
    "select max(agent_id) from agent_logs",
    "select array_agg(distinct agent_id) from agent_logs",
    "select first_value(agent_id) over (order by agent_id desc) from agent_logs",
    "select lag(agent_id) over (order by timestamp) as before from agent_logs",
    "select approx_distinct(agent_id) from agent_logs",
    "select agent_id, count(*) from agent_logs group by rollup (agent_id)",
    "select tenant_id, agent_id, count(*) from agent_logs group by 1, 2",
    "select date_trunc('day', timestamp), tenant_id, agent_id, count(*) from agent_logs group by 1, 2, 3",
    "select * from tool_calls",
    "select * from sessions",
    "select * from traces",
    "select * from rejected_logs",
    "select * from stored.rejected_logs",
    "select * from task_values",
    "select * from token_quotas",
    "select * from drift_results",
    "select * from anomalies",
    "select * from anomaly_runs",
    "select * from keys",
    "select * from totals",
    "select * from receipts",
    "select * from rollup_calls_day",
    "select * from information_schema.tables",
    "select * from information_schema.columns",
    "select * from information_schema.views",
    "select * from information_schema.schemata",
    "select * from information_schema.routines",
    "select * from information_schema.parameters",
    "select * from information_schema.df_settings",
    "select * from driftline.information_schema.df_settings",
    "select * from information_schema.\"DF_SETTINGS\"",
    "select * from pg_catalog.pg_tables",
    "show all",
    "show tables",
    "show functions",
    "show columns from agent_logs",
    "show datafusion.runtime.temp_directory",
    "show datafusion.runtime.memory_limit",
    "describe agent_logs",
    "explain select * from agent_logs",
    "explain verbose select * from stored.agent_logs",
    "explain analyze select * from agent_logs",
    "explain analyze verbose select tenant_id, count(*) from stored.agent_logs group by 1",
    "explain format tree select * from agent_logs where agent_id = 'x'",
    "explain format pgjson select * from agent_logs",
    "explain format graphviz select * from agent_logs",
    "explain analyze select date_trunc('day', timestamp), count(*) from agent_logs group by 1",
    "explain explain select * from agent_logs",
    // Errors that name a value: conditions and columns that fail on the other's rows only.
    "select cast(user_id as int) from agent_logs",
    "select * from agent_logs where cast(user_id as int) >= 0",
    "select * from stored.agent_logs where cast(user_id as int) >= 0 and tenant_id = 'beta'",
    "select count(*) from agent_logs where cast(agent_id as int) > 0 or true",
    "select date_trunc('day', timestamp), count(*) from agent_logs where cast(right(model, 4) as int) > 0 group by 1",
    "select 1 / (case when tenant_id = 'beta' then 0 else 1 end) from agent_logs",
    "select * from agent_logs where 1 / (case when tenant_id = 'beta' then 0 else 1 end) = 1",
    "select arrow_cast(user_id, 'Int32') from agent_logs order by user_id desc limit 1",
    "select json_get(attributes, 'secret_of') from agent_logs",
    // Files, settings, statements that change something.
    "select * from '/etc/passwd'",
    "select * from 'file:///etc/passwd'",
    "select * from \"/etc/passwd\"",
    "select * from read_csv('/etc/passwd')",
    "select * from read_parquet('/etc/passwd')",
    "select * from read_json('/etc/passwd')",
    "select * from csv_scan('/etc/passwd')",
    "select pg_read_file('/etc/passwd')",
    "select * from parquet_metadata('x')",
    "select * from metadata_cache()",
    "select * from statistics_cache()",
    "select * from list_files_cache()",
    "select * from generate_series(1, 2)",
    "copy agent_logs to '/tmp/copied.csv'",
    "copy (select * from agent_logs) to '/tmp/copied.parquet' stored as parquet",
    "explain copy agent_logs to '/tmp/copied.csv'",
    "create external table t stored as csv location '/etc/passwd'",
    "create view t as select * from stored.agent_logs",
    "create table t as select * from stored.agent_logs",
    "create or replace view agent_logs as select 'beta' as tenant_id",
    "drop view agent_logs",
    "drop table stored.agent_logs",
    "insert into agent_logs select * from stored.agent_logs",
    "delete from agent_logs",
    "update agent_logs set tenant_id = 'alpha'",
    "truncate table agent_logs",
    "select * into t from agent_logs",
    "set datafusion.catalog.information_schema = true",
    "set datafusion.sql_parser.dialect = 'postgres'",
    "reset datafusion.catalog.information_schema",
    "prepare p as select * from agent_logs",
    "execute p",
    "deallocate p",
    "begin",
    "create function f(int) returns int return $1",
    "create schema s",
    "create catalog c",
    "use driftline",
    "select 1; select * from stored.agent_logs",
    "table agent_logs",
    "select 'x' union all select max(agent_id) from stored.agent_logs",
];

#[tokio::test]
async fn nothing_foreign_comes_out_of_sql() {
    let two = TwoTenants::start_with(|config| {
        for (tenant, token_daily_quota) in [("alpha", 1_000), ("beta", 2_000)] {
            config.metrics.tenants.insert(tenant.to_owned(), TenantMetricsConfig { token_daily_quota });
        }
    })
    .await;
    let quotas = rows(&two.app, &two.alpha, "select * from token_quotas").await;
    assert_eq!(quotas, json!([{"tenant_id": "alpha", "token_daily_quota": 1_000}]));
    let data = two.app.data().to_str().unwrap().to_owned();
    for statement in ATTEMPTS {
        let (status, text) = asked(&two.app, &two.alpha, statement).await;
        // What a statement says itself may come back in a message about it.
        let told = text.replace('\\', "").replace("alphabet", "");
        let own = statement.contains("beta");
        let foreign = ["agent-beta", "m-beta", "s-beta", "tool-beta", "trace-beta", "a-beta-user", "no JSON of"];
        let leaks = foreign.iter().any(|part| told.contains(part)) || (!own && told.contains("beta"));
        assert!(!leaks, "{statement}: {status} {text}");
        for part in [data.as_str(), "root:", ".parquet", "/spill", "dl_", "part-0"] {
            assert!(!told.contains(part) || statement.contains(part), "{statement}: {part}: {status} {text}");
        }
        assert_ne!(status, 500, "{statement}: {text}");
    }
    assert!(!std::path::Path::new("/tmp/copied.csv").exists() && !std::path::Path::new("/tmp/copied.parquet").exists());
}

/// Each of these would fail on a row of the other tenant. They are answered: no such row was ever looked at.
#[tokio::test]
async fn conditions_are_computed_on_own_rows_only() {
    let two = TwoTenants::start().await;
    for statement in [
        "select count(*) as n from agent_logs where cast(user_id as int) >= 0",
        "select count(cast(user_id as int)) as n from agent_logs",
        "select count(*) as n from agent_logs where 1 / (case when tenant_id = 'beta' then 0 else 1 end) = 1",
        "select count(*) as n from agent_logs where cast(user_id as int) >= 0 and tenant_id = 'alpha'",
        "select sum(n) as n from (select date_trunc('day', timestamp), count(*) as n from agent_logs
           where 1 / (case when tenant_id = 'beta' then 0 else 1 end) = 1 group by 1) as t",
    ] {
        assert_eq!(rows(&two.app, &two.alpha, statement).await, json!([{"n": CALLS}]), "{statement}");
    }
    let (status, _) = asked(&two.app, &two.admin, "select count(cast(user_id as int)) from agent_logs").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn parameters_and_named_queries_stay_inside() {
    let two = TwoTenants::start().await;
    let body = json!({"q": "select count(*) as n from agent_logs where tenant_id = $1", "params": ["beta"]});
    let (status, text) = said(two.app.post("/api/v1/sql").bearer_auth(&two.alpha).json(&body)).await;
    assert_eq!((status, text.trim()), (200, r#"[{"n":0}]"#));
    let body =
        json!({"q": "select count(*) as n from agent_logs where tenant_id = $t or $t = 'x'", "params": {"t": "x"}});
    let (status, text) = said(two.app.post("/api/v1/sql").bearer_auth(&two.alpha).json(&body)).await;
    assert_eq!((status, text.trim()), (200, format!(r#"[{{"n":{CALLS}}}]"#).as_str()));
    for path in
        ["cost_by_tenant_daily?tenant_id=beta", "trace_calls?trace_id=trace-beta", "session_calls?session_id=s-beta"]
    {
        let request = two.app.get(&format!("/api/v1/queries/{path}&from=2026-05-12")).bearer_auth(&two.alpha);
        let (_, text) = said(request).await;
        assert!(!text.contains("agent-beta") && !text.contains("m-beta"), "{path}: {text}");
    }
}
