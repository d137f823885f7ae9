//! The inputs of a query: raw objects, files of a table, views.
//!
//! Data flow: the scheduler decides which objects, files and views a step reads -> **here** they become tables of the
//! step's session -> the step's SQL is planned over them.
//!
//! Invariant: a query reads exactly what was registered. Nothing is listed, and no object is asked for that is not named.

mod parquet;
mod profile;
mod prune;
mod raw;
mod table;

use std::sync::Arc;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider},
    datasource::{MemTable, ViewTable},
    prelude::SessionContext,
};
use lakewright_error::Result;
use lakewright_lake::{DataFile, Prefix, RawObject};

pub(crate) use self::parquet::named_readers;
pub use self::profile::profile_objects;
use self::{raw::RawTable, table::FileTable};
use crate::{
    fault,
    json::{Compression, Reading, ScanReports},
    query::{cast_to, plan_query},
};

/// One input of a query.
#[derive(Clone, Debug)]
pub enum Relation {
    /// A source.
    Raw(RawScan),
    /// A table, as a fixed set of files.
    Table(TableScan),
    /// A model of kind VIEW: canonical SQL over relations that are registered in the same session before it.
    View {
        /// Canonical SQL.
        sql: String,
        /// Stored schema: the view's columns are cast to it.
        schema: SchemaRef,
    },
}

/// Exactly these raw objects, read as JSON lines.
#[derive(Clone, Debug)]
pub struct RawScan {
    /// The raw prefix that the keys are relative to.
    pub raw: Prefix,
    /// Declared columns.
    pub schema: SchemaRef,
    /// How the objects are compressed.
    pub compression: Compression,
    /// What is done about records that do not fit.
    pub reading: Reading,
    /// Who is told what the scan saw, if anybody is.
    pub reports: Option<ScanReports>,
    /// The objects.
    pub objects: Vec<RawObject>,
}

/// Exactly these files of a table.
#[derive(Clone, Debug)]
pub struct TableScan {
    /// The table's root that the paths are relative to.
    pub root: Prefix,
    /// All columns in table order, partition columns included.
    pub schema: SchemaRef,
    /// Partition columns.
    pub partition_columns: Vec<String>,
    /// The files.
    pub files: Vec<DataFile>,
}

/// Registers an input as `zone.table` in the session, in place of what had that name.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::Invalid`]: a view's SQL does not plan.
/// - [`lakewright_error::ErrorKind::Unsupported`]: the suffix of a raw object names a compression that is not undone.
/// - [`lakewright_error::ErrorKind::Corrupt`]: a partition value of a data file is not of its column's type.
pub async fn register_relation(session: &SessionContext, zone: &str, table: &str, relation: Relation) -> Result<()> {
    let provider: Arc<dyn TableProvider> = match relation {
        Relation::Raw(scan) => Arc::new(RawTable::new(scan)?),
        Relation::Table(scan) => Arc::new(FileTable::new(scan)?),
        Relation::View { sql, schema } => {
            let plan = cast_to(plan_query(session, &sql, &std::collections::BTreeMap::new()).await?, &schema)?;
            Arc::new(ViewTable::new(plan, Some(sql)))
        }
    };
    let schema = schema_of_zone(session, zone)?;
    schema.deregister_table(table).map_err(fault::from_datafusion)?;
    schema.register_table(table.to_owned(), provider).map_err(fault::from_datafusion)?;
    Ok(())
}

/// Registers rows as `zone.table` in the session, in place of what had that name.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::Internal`]: the rows are not of the schema.
pub fn register_rows(
    session: &SessionContext,
    (zone, table): (&str, &str),
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
) -> Result<()> {
    let provider = MemTable::try_new(schema, vec![rows]).map_err(fault::from_datafusion)?;
    let zone = schema_of_zone(session, zone)?;
    zone.deregister_table(table).map_err(fault::from_datafusion)?;
    zone.register_table(table.to_owned(), Arc::new(provider)).map_err(fault::from_datafusion)?;
    Ok(())
}

/// A table as a provider that belongs to no session.
///
/// # Errors
/// As [`register_relation`].
pub(crate) fn file_table(scan: TableScan) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(FileTable::new(scan)?))
}

/// The session's schema for a zone; made when it is first asked for.
fn schema_of_zone(session: &SessionContext, zone: &str) -> Result<Arc<dyn SchemaProvider>> {
    let name = session.copied_config().options().catalog.default_catalog.clone();
    let catalog = session.catalog(&name).unwrap_or_else(|| {
        let catalog = Arc::new(MemoryCatalogProvider::new());
        session.register_catalog(name, Arc::clone(&catalog) as Arc<dyn CatalogProvider>);
        catalog
    });
    if let Some(schema) = catalog.schema(zone) {
        return Ok(schema);
    }
    let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
    catalog.register_schema(zone, Arc::clone(&schema)).map_err(fault::from_datafusion)?;
    Ok(schema)
}
