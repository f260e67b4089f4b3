//! The sessions in which clients' statements are planned. Each has the tables of its scope, as they are for every
//! other statement of the scope, and beside them `pg_catalog` and `information_schema`, which list those tables only.

use std::{ops::ControlFlow, sync::Arc};

use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    },
    common::plan_datafusion_err,
    error::Result,
    execution::{SessionState, SessionStateBuilder, context::SessionContext},
    logical_expr::sqlparser::{
        ast::{ObjectName, Statement, visit_relations},
        dialect::PostgreSqlDialect,
        parser::{Parser, ParserError},
    },
};
use datafusion_pg_catalog::{
    pg_catalog::{
        PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables, context::EmptyContextProvider,
        setup_pg_catalog,
    },
    sql::PostgresCompatibilityParser,
};

use super::{functions, information, listed::Listed, rewrite};
use crate::query::session::CATALOG;

/// The schemas of tables.
const SCHEMAS: [&str; 2] = ["public", "stored"];
const PG_CATALOG: &str = "pg_catalog";

/// What all sessions share: how statements are read, the functions of Postgres, and its own types and operators.
pub struct Reader {
    rewriter: PostgresCompatibilityParser,
    /// Of no scope: it has no tables.
    state: SessionState,
    own: Arc<PgCatalogStaticTables>,
}

impl Reader {
    /// Over the functions and rules of any scope's session, which are those of all.
    pub fn new(context: &SessionContext) -> Result<Self> {
        let state = over(context.state(), Arc::new(MemoryCatalogProvider::new()));
        let context = SessionContext::new_with_state(state);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        functions::all().into_iter().for_each(|function| context.register_udf(function));
        let state = over(context.state(), Arc::new(MemoryCatalogProvider::new()));
        Ok(Self {
            rewriter: PostgresCompatibilityParser::new(),
            state,
            own: Arc::new(PgCatalogStaticTables::try_new()?),
        })
    }

    /// The session of the scope whose tables are in the context.
    pub async fn session(&self, context: &SessionContext) -> Result<SessionContext> {
        let tables = context.catalog(CATALOG).ok_or_else(|| plan_datafusion_err!("the session has no tables"))?;
        let catalog = Arc::new(MemoryCatalogProvider::new());
        for name in SCHEMAS {
            if let Some(schema) = tables.schema(name) {
                catalog.register_schema(name, schema)?;
            }
        }
        let session = SessionContext::new_with_state(over(self.state.clone(), Arc::clone(&catalog) as _));
        let own = PgCatalogSchemaProvider::try_new(Listed::of(&session), Arc::clone(&self.own), EmptyContextProvider)?;
        catalog.register_schema(PG_CATALOG, Arc::new(own))?;
        catalog.register_schema(information::SCHEMA, Arc::new(MemorySchemaProvider::new()))?;
        information::register(&session).await?;
        Ok(session)
    }

    /// The statements of a text: those that ask the catalogs rewritten, the others as they are.
    pub fn read(&self, text: &str, session: &SessionContext) -> Result<Vec<Statement>, ParserError> {
        let written = match Parser::parse_sql(&PostgreSqlDialect {}, text) {
            Ok(written) => written,
            // What the parser does not know may still be one of the questions that are known by heart.
            Err(error) => {
                let Ok(read) = self.rewriter.parse(text) else { return Err(error) };
                let is_ours = |read: &Statement| is_question(read) && !asks_catalogs(read, session);
                return if read.iter().any(is_ours) { Err(error) } else { Ok(read) };
            }
        };
        let asks: Vec<bool> = written.iter().map(|statement| asks_catalogs(statement, session)).collect();
        if !asks.contains(&true) {
            return Ok(written);
        }
        let rewritten: Vec<_> = self.rewriter.parse(text)?.into_iter().map(rewrite::rewrite).collect();
        if rewritten.len() != written.len() {
            return Ok(rewritten);
        }
        let chosen = written.into_iter().zip(rewritten).zip(asks);
        Ok(chosen.map(|((written, rewritten), asks)| if asks { rewritten } else { written }).collect())
    }
}

/// The same state over another catalog.
fn over(state: SessionState, catalog: Arc<dyn CatalogProvider>) -> SessionState {
    let lists = MemoryCatalogProviderList::new();
    lists.register_catalog(CATALOG.to_owned(), catalog);
    let config = state.config().clone().with_information_schema(false).with_create_default_catalog_and_schema(false);
    SessionStateBuilder::new_from_existing(state).with_config(config).with_catalog_list(Arc::new(lists)).build()
}

fn is_question(statement: &Statement) -> bool {
    matches!(statement, Statement::Query(_) | Statement::Explain { .. })
}

/// Whether a statement asks the catalogs and none of our tables. One without any table asks for what only they know:
/// the version, the schema, the name of a type.
fn asks_catalogs(statement: &Statement, session: &SessionContext) -> bool {
    if !is_question(statement) {
        return false;
    }
    let catalog = session.catalog(CATALOG);
    let is_ours = |schema: &str, name: &str| {
        catalog.as_ref().and_then(|catalog| catalog.schema(schema)).is_some_and(|schema| schema.table_exist(name))
    };
    let found = visit_relations(statement, |name: &ObjectName| {
        let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident()).map(|part| part.value.to_lowercase());
        let table = parts.next().unwrap_or_default();
        let ours = match parts.next() {
            Some(schema) => SCHEMAS.contains(&schema.as_str()),
            None => !PG_CATALOG_TABLES.contains(&table.as_str()) && is_ours(SCHEMAS[0], &table),
        };
        if ours { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_continue()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn session() -> (Reader, SessionContext) {
        let context = SessionContext::new_with_config(
            datafusion::prelude::SessionConfig::new().with_default_catalog_and_schema(CATALOG, "public"),
        );
        context.sql("create table calls as values (1)").await.unwrap();
        let reader = Reader::new(&context).unwrap();
        let session = reader.session(&context).await.unwrap();
        (reader, session)
    }

    #[tokio::test]
    async fn only_questions_to_the_catalogs_are_rewritten() {
        let (reader, session) = session().await;
        let check = |text: &str, expected: bool| {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().remove(0);
            assert_eq!(asks_catalogs(&statement, &session), expected, "{text}");
        };
        check("select version()", true);
        check("select * from pg_class", true);
        check("select * from pg_catalog.pg_class c join information_schema.tables t on true", true);
        check("with a as (select 1) select * from a", true);
        check("select * from calls", false);
        check("select * from \"public\".calls", false);
        check("select * from stored.anything", false);
        check("select (select count(*) from pg_class) from calls", false);
        check("select * from pg_class where exists (select 1 from calls)", false);
        check("show tables", false);
        // One of ours is not touched, in whatever company.
        let read =
            reader.read("select (select max(column1) from calls where column1 = c.column1) from calls c", &session);
        assert!(read.unwrap()[0].to_string().contains("max(column1)"));
    }

    #[tokio::test]
    async fn the_catalogs_list_what_is_there() {
        let (_, session) = session().await;
        let names = session
            .sql("select table_name from information_schema.tables where table_schema = 'public'")
            .await
            .unwrap()
            .to_string()
            .await
            .unwrap();
        assert!(names.contains("calls"), "{names}");
        assert!(!names.contains("df_settings"), "{names}");
    }
}
