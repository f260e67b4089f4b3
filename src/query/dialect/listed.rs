//! The tables of a session, as `pg_catalog` lists them. It is one of the session's schemas itself, so it must not keep
//! the session alive.

use std::sync::{Arc, Weak};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::CatalogProviderList, datasource::TableType, error::Result, execution::context::SessionContext,
};
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;

/// What a session has, as long as it is there.
#[derive(Debug, Clone)]
pub struct Listed(Weak<dyn CatalogProviderList>);

impl Listed {
    /// The tables of a session.
    pub fn of(session: &SessionContext) -> Self {
        Self(Arc::downgrade(session.state().catalog_list()))
    }
}

#[async_trait]
impl CatalogInfo for Listed {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        match self.0.upgrade() {
            Some(lists) => CatalogInfo::catalog_names(&lists).await,
            None => Ok(Vec::new()),
        }
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        match self.0.upgrade() {
            Some(lists) => CatalogInfo::schema_names(&lists, catalog).await,
            None => Ok(None),
        }
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>> {
        match self.0.upgrade() {
            Some(lists) => CatalogInfo::table_names(&lists, catalog, schema).await,
            None => Ok(None),
        }
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        match self.0.upgrade() {
            Some(lists) => CatalogInfo::table_schema(&lists, catalog, schema, table).await,
            None => Ok(None),
        }
    }

    async fn table_type(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<TableType>> {
        match self.0.upgrade() {
            Some(lists) => CatalogInfo::table_type(&lists, catalog, schema, table).await,
            None => Ok(None),
        }
    }
}
