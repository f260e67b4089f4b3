//! `information_schema`, as views over `pg_catalog`: with the types as Postgres names them. The engine's own names
//! Arrow's types, and shows the settings of the process beside.

use std::sync::Arc;

use datafusion::{catalog::view::ViewTable, error::Result, execution::context::SessionContext};

/// The schema's name.
pub const SCHEMA: &str = "information_schema";

const VIEWS: &[(&str, &str)] = &[
    (
        "schemata",
        "select current_database() as catalog_name, nspname as schema_name, 'driftline' as schema_owner,
                cast(null as varchar) as default_character_set_catalog,
                cast(null as varchar) as default_character_set_schema,
                cast(null as varchar) as default_character_set_name, cast(null as varchar) as sql_path
         from pg_catalog.pg_namespace",
    ),
    (
        "tables",
        "select current_database() as table_catalog, n.nspname as table_schema, c.relname as table_name,
                case c.relkind when 'v' then 'VIEW' else 'BASE TABLE' end as table_type,
                cast(null as varchar) as self_referencing_column_name, cast(null as varchar) as reference_generation,
                cast(null as varchar) as user_defined_type_catalog, cast(null as varchar) as user_defined_type_schema,
                cast(null as varchar) as user_defined_type_name, 'NO' as is_insertable_into, 'NO' as is_typed,
                cast(null as varchar) as commit_action
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'v')",
    ),
    (
        "views",
        "select current_database() as table_catalog, n.nspname as table_schema, c.relname as table_name,
                cast(null as varchar) as view_definition, 'NONE' as check_option, 'NO' as is_updatable,
                'NO' as is_insertable_into, 'NO' as is_trigger_updatable, 'NO' as is_trigger_deletable,
                'NO' as is_trigger_insertable_into
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'v'",
    ),
    (
        "columns",
        "select current_database() as table_catalog, n.nspname as table_schema, c.relname as table_name,
                a.attname as column_name, cast(a.attnum as int) as ordinal_position,
                cast(null as varchar) as column_default,
                case when a.attnotnull then 'NO' else 'YES' end as is_nullable,
                case when t.typcategory = 'A' then 'ARRAY' else format_type(a.atttypid, a.atttypmod) end as data_type,
                cast(null as int) as character_maximum_length, cast(null as int) as character_octet_length,
                case t.typname when 'int2' then 16 when 'int4' then 32 when 'int8' then 64 when 'float4' then 24
                     when 'float8' then 53 end as numeric_precision,
                case t.typname when 'int2' then 2 when 'int4' then 2 when 'int8' then 2 when 'float4' then 2
                     when 'float8' then 2 end as numeric_precision_radix,
                case when t.typname in ('int2', 'int4', 'int8') then 0 end as numeric_scale,
                case when t.typname in ('timestamp', 'timestamptz', 'time') then 6 when t.typname = 'date' then 0
                     end as datetime_precision,
                cast(null as varchar) as interval_type, cast(null as int) as interval_precision,
                cast(null as varchar) as character_set_name, cast(null as varchar) as collation_name,
                cast(null as varchar) as domain_name, current_database() as udt_catalog, 'pg_catalog' as udt_schema,
                t.typname as udt_name, 'NO' as is_identity, cast(null as varchar) as identity_generation,
                'NEVER' as is_generated, cast(null as varchar) as generation_expression, 'NO' as is_updatable
         from pg_catalog.pg_attribute a
         join pg_catalog.pg_class c on c.oid = a.attrelid
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         left join pg_catalog.pg_type t on t.oid = a.atttypid",
    ),
    (
        "table_constraints",
        "select '' as constraint_catalog, '' as constraint_schema, '' as constraint_name, '' as table_catalog,
                '' as table_schema, '' as table_name, '' as constraint_type, '' as is_deferrable,
                '' as initially_deferred, '' as enforced
         where false",
    ),
    (
        "key_column_usage",
        "select '' as constraint_catalog, '' as constraint_schema, '' as constraint_name, '' as table_catalog,
                '' as table_schema, '' as table_name, '' as column_name, 0 as ordinal_position,
                0 as position_in_unique_constraint
         where false",
    ),
    (
        "constraint_column_usage",
        "select '' as table_catalog, '' as table_schema, '' as table_name, '' as column_name,
                '' as constraint_catalog, '' as constraint_schema, '' as constraint_name
         where false",
    ),
    (
        "referential_constraints",
        "select '' as constraint_catalog, '' as constraint_schema, '' as constraint_name,
                '' as unique_constraint_catalog, '' as unique_constraint_schema, '' as unique_constraint_name,
                '' as match_option, '' as update_rule, '' as delete_rule
         where false",
    ),
    (
        "routines",
        "select '' as specific_catalog, '' as specific_schema, '' as specific_name, '' as routine_catalog,
                '' as routine_schema, '' as routine_name, '' as routine_type, '' as data_type
         where false",
    ),
    (
        "sequences",
        "select '' as sequence_catalog, '' as sequence_schema, '' as sequence_name, '' as data_type
         where false",
    ),
    (
        "triggers",
        "select '' as trigger_catalog, '' as trigger_schema, '' as trigger_name, '' as event_manipulation,
                '' as event_object_schema, '' as event_object_table
         where false",
    ),
];

/// Makes the views in a session that has `pg_catalog` and an empty schema of this name.
pub async fn register(session: &SessionContext) -> Result<()> {
    for (name, sql) in VIEWS {
        let plan = session.state().create_logical_plan(sql).await?;
        let view = ViewTable::new(plan, Some((*sql).to_owned()));
        session.register_table(format!("{SCHEMA}.{name}"), Arc::new(view))?;
    }
    Ok(())
}
