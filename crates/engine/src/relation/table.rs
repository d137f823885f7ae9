//! A table as a fixed set of Parquet files, with what is known about each used for pruning and planning.
//!
//! Data flow: the DataFiles of a snapshot, or of an earlier step of the run -> **here** -> DataFusion's Parquet source.
//!
//! Invariant: partition columns come from the DataFile, all others from the file; a column that an older file lacks is
//! NULL.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{ArrayRef, StringArray},
        compute::{CastOptions, cast_with_options},
        datatypes::{Schema, SchemaRef},
    },
    catalog::{Session, TableProvider},
    common::{Result as PlanResult, ScalarValue, Statistics, config::TableParquetOptions},
    datasource::{
        TableType,
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource, parquet::CachedParquetFileReaderFactory},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::ExecutionPlan,
};
use lakewright_error::{Error, ErrorKind, Result, ResultExt};
use lakewright_lake::DataFile;
use object_store::ObjectMeta;

use super::{
    TableScan,
    parquet::named_readers,
    prune::{file_statistics, keep_files},
};
use crate::fault;

/// Files of a table that together are smaller than this are read by one partition.
const PARTITION_MIN_BYTES: u64 = 1 << 20;

/// A table as a fixed set of files.
#[derive(Debug)]
pub(super) struct FileTable {
    url: ObjectStoreUrl,
    /// Columns in table order.
    schema: SchemaRef,
    /// Columns as the scan has them: those of the files, then the partition columns.
    scan_schema: TableSchema,
    /// For every column in table order, its index in `scan_schema`.
    scan_index: Vec<usize>,
    files: Vec<PartitionedFile>,
}

impl FileTable {
    pub(super) fn new(scan: TableScan) -> Result<Self> {
        let (scan_schema, scan_index) = split_schema(&scan.schema, &scan.partition_columns)?;
        let values = partition_values(&scan_schema, &scan.files)?;
        let files = scan.files.iter().enumerate().map(|(row, file)| {
            let location = scan.root.path(&file.path)?;
            let meta = ObjectMeta {
                location,
                last_modified: Default::default(),
                size: file.size_bytes,
                e_tag: None,
                version: None,
            };
            let values: Vec<ScalarValue> = values
                .iter()
                .map(|column| ScalarValue::try_from_array(column, row))
                .collect::<PlanResult<_>>()
                .map_err(fault::from_datafusion)?;
            let mut partitioned = PartitionedFile::new_from_meta(meta);
            partitioned.statistics = Some(Arc::new(file_statistics(&scan_schema, file, &values)));
            Ok(partitioned.with_partition_values(values))
        });
        let files = files.collect::<Result<_>>()?;
        let url = ObjectStoreUrl::parse(scan.root.store_url()).map_err(fault::from_datafusion)?;
        Ok(Self { url, schema: scan.schema, scan_schema, scan_index, files })
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters leave out files, row groups and pages; rows are filtered above the scan.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let files = keep_files(state, self.scan_schema.table_schema(), &self.files, filters)?;
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let projection: Vec<usize> =
            projection.iter().filter_map(|index| self.scan_index.get(*index).copied()).collect();

        let options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        let runtime = state.runtime_env();
        // It keeps the footers of files that were read before.
        let reader = CachedParquetFileReaderFactory::new(
            runtime.object_store(&self.url)?,
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let source = ParquetSource::new(self.scan_schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(named_readers(Arc::new(reader)));

        let groups = group_by_size(files, state.config_options().execution.target_partitions);
        let groups = groups.into_iter().map(|group| self.with_statistics(group)).collect::<PlanResult<Vec<_>>>()?;
        let statistics = merge(groups.iter().filter_map(|group| group.file_statistics(None)), &self.scan_schema)?;
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(projection))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

impl FileTable {
    fn with_statistics(&self, files: Vec<PartitionedFile>) -> PlanResult<FileGroup> {
        let statistics = merge(files.iter().filter_map(|file| file.statistics.as_deref()), &self.scan_schema)?;
        Ok(FileGroup::new(files).with_statistics(Arc::new(statistics)))
    }
}

fn merge<'a>(statistics: impl Iterator<Item = &'a Statistics>, schema: &TableSchema) -> PlanResult<Statistics> {
    let mut statistics = statistics.peekable();
    if statistics.peek().is_none() {
        let mut none = Statistics::new_unknown(schema.table_schema());
        none.num_rows = datafusion::common::stats::Precision::Exact(0);
        return Ok(none);
    }
    Statistics::try_merge_iter(statistics, schema.table_schema())
}

/// The columns of the files, then the partition columns; and where each column of the table is among them.
fn split_schema(schema: &Schema, partition_columns: &[String]) -> Result<(TableSchema, Vec<usize>)> {
    let is_partition = |name: &str| partition_columns.iter().any(|column| column == name);
    let stored: Vec<_> = schema.fields().iter().filter(|field| !is_partition(field.name())).cloned().collect();
    let partitions = partition_columns.iter().map(|name| {
        let found = schema.fields().iter().find(|field| field.name() == name).cloned();
        found.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "a partition column is not a column of its table").with("column", name)
        })
    });
    let partitions = partitions.collect::<Result<Vec<_>>>()?;
    let scan_schema = TableSchema::builder(Arc::new(Schema::new(stored))).with_table_partition_cols(partitions).build();
    let index = schema.fields().iter().map(|field| scan_schema.table_schema().index_of(field.name()));
    let index = index.collect::<std::result::Result<_, _>>().map_err(|error| {
        Error::new(ErrorKind::Internal, "a column of the table is not in its scan").with_source(error)
    })?;
    Ok((scan_schema, index))
}

/// One array per partition column, one value per file, read from Delta's text.
fn partition_values(schema: &TableSchema, files: &[DataFile]) -> Result<Vec<ArrayRef>> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.table_partition_cols().iter().map(|field| {
        // Delta has no empty text in a partition column: it is how some writers spell NULL.
        let texts = files.iter().map(|file| file.partition_values.get(field.name()).and_then(Option::as_deref));
        let texts = StringArray::from_iter(texts.map(|text| text.filter(|text| !text.is_empty())));
        let values = cast_with_options(&texts, field.data_type(), &options).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "a partition value is not of its column's type").with_source(error)
        });
        values.context("column", || field.name().clone())
    });
    columns.collect()
}

/// Files in order, in at most `partitions` groups of about the same size; DataFusion cuts large files further.
fn group_by_size(files: Vec<PartitionedFile>, partitions: usize) -> Vec<Vec<PartitionedFile>> {
    let total: u64 = files.iter().map(PartitionedFile::effective_size).sum();
    let useful = usize::try_from(total / PARTITION_MIN_BYTES).unwrap_or(usize::MAX);
    let count = useful.clamp(1, partitions.max(1));
    let share = total.div_ceil(count as u64).max(1);
    let (mut groups, mut filled) = (vec![Vec::new()], 0);
    for file in files {
        let size = file.effective_size();
        if filled >= share && groups.len() < count {
            groups.push(Vec::new());
            filled = 0;
        }
        filled += size;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups
}
