//! Reads raw JSON: the narrow seam between a table scan and whatever decodes the bytes.
//!
//! Data flow: [`JsonSource`] inside DataFusion's `FileScanConfig` (so that a fleet slices it per task) -> one
//! [`stream::read_objects`] per partition, over all objects and byte ranges of that partition -> record batches.
//!
//! Invariant: every record of every object is read by exactly one partition, and is exactly one of row, reject, or left out
//! by the source's mode; blank lines are counted apart. In the mode FAILFAST the first that is no row fails the scan with its object, line and
//! offset.

mod compression;
mod fault;
mod form;
mod layout;
mod metadata;
mod object;
mod packed;
mod report;
mod stream;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::{
    arrow::array::RecordBatch,
    common::{Result, exec_datafusion_err, internal_err, tree_node::TreeNodeRecursion},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource},
        projection::{ProjectionOpener, SplitProjection},
        table_schema::TableSchema,
    },
    execution::memory_pool::MemoryPool,
    physical_expr::{PhysicalExpr, projection::ProjectionExprs},
    physical_plan::{
        apply_expression_roots,
        metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder},
    },
};
use futures::{FutureExt, Stream, StreamExt};
use lakewright_lake::Prefix;
use object_store::ObjectStore;

pub(crate) use compression::UNREADABLE;
pub use compression::{Compression, broken_object};
pub use form::{ReadMode, Reading};
pub use layout::MultiLine;
pub(crate) use metadata::needs_lines;
pub use metadata::source_schema;
pub use report::ScanReports;

use self::{
    form::Form,
    stream::{ReadOptions, read_objects},
};

/// Rows of a batch of texts.
const TEXTS_BATCH_ROWS: usize = 1024;
/// The metric that counts bytes taken from the store.
pub(crate) const BYTES_READ_METRIC: &str = "bytes_scanned";

/// The texts of the records in `files` as batches of one column, in order.
pub(crate) fn read_texts(
    raw: &Prefix,
    files: Vec<PartitionedFile>,
    reports: ScanReports,
    memory: Arc<dyn MemoryPool>,
) -> impl Stream<Item = Result<RecordBatch>> + Send + use<> {
    let options = ReadOptions {
        store: Arc::clone(raw.store()),
        raw: raw.clone(),
        compression: Compression::Auto,
        form: Form::of_texts(),
        reports: Some(reports),
        batch_rows: TEXTS_BATCH_ROWS,
        memory,
        bytes_read: Count::new(),
    };
    read_objects(options, files)
}

/// A file source for JSON, with the declared columns and the hidden ones behind them.
#[derive(Clone)]
pub(crate) struct JsonSource {
    /// What keys in messages are relative to.
    raw: Prefix,
    compression: Compression,
    reading: Reading,
    reports: Option<ScanReports>,
    /// What objects that are fetched ahead are reserved from.
    memory: Arc<dyn MemoryPool>,
    table_schema: TableSchema,
    projection: SplitProjection,
    batch_size: Option<usize>,
    metrics: ExecutionPlanMetricsSet,
}

impl JsonSource {
    /// A source of all its columns.
    pub(crate) fn new(
        raw: Prefix,
        compression: Compression,
        reading: Reading,
        table_schema: TableSchema,
        memory: Arc<dyn MemoryPool>,
    ) -> Self {
        let projection = SplitProjection::unprojected(&table_schema);
        let metrics = ExecutionPlanMetricsSet::new();
        Self { raw, compression, reading, reports: None, memory, table_schema, projection, batch_size: None, metrics }
    }

    /// The same, with what it sees of each byte range told to `reports`.
    pub(crate) fn with_reports(self, reports: Option<ScanReports>) -> Self {
        Self { reports, ..self }
    }
}

/// What a codec needs to write a source down.
impl JsonSource {
    pub(crate) fn raw(&self) -> &Prefix {
        &self.raw
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    pub(crate) fn reports(&self) -> Option<&ScanReports> {
        self.reports.as_ref()
    }
}

impl FileSource for JsonSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let Some(group) = config.file_groups.get(partition) else {
            return internal_err!("a JSON scan has no partition {partition}");
        };
        let form = Form::new(self.table_schema.file_schema(), &self.projection.file_indices, &self.reading);
        let options = ReadOptions {
            store,
            raw: self.raw.clone(),
            compression: self.compression,
            form,
            reports: self.reports.clone(),
            memory: Arc::clone(&self.memory),
            batch_rows: self.batch_size.ok_or_else(|| exec_datafusion_err!("a JSON scan has no batch size"))?,
            bytes_read: MetricBuilder::new(&self.metrics).counter(BYTES_READ_METRIC, partition),
        };
        let opener = PartitionOpener { files: group.files().to_vec(), opened: AtomicUsize::new(0), options };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.table_schema.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_size: Some(batch_size), ..self.clone() })
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "json"
    }

    /// The scan's file groups are final: they are balanced by bytes when the table is scanned.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.projection.source.iter(), f)
    }
}

impl fmt::Debug for JsonSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonSource").field("table_schema", &self.table_schema).finish_non_exhaustive()
    }
}

/// Gives the rows of a partition's files as one stream, at the opening of the first of them.
///
/// A decoder and a batch per file would cost more than the rows of a tiny file; the other files give nothing of their own.
struct PartitionOpener {
    files: Vec<PartitionedFile>,
    opened: AtomicUsize,
    options: ReadOptions,
}

impl FileOpener for PartitionOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let index = self.opened.fetch_add(1, Ordering::Relaxed);
        let expected = self.files.get(index);
        if expected.is_none_or(|next| next.path() != file.path() || next.range != file.range) {
            return internal_err!("a partition of a JSON scan was asked for files that are not its own");
        }
        let stream = if index == 0 {
            read_objects(self.options.clone(), self.files.clone()).boxed()
        } else {
            futures::stream::empty().boxed()
        };
        Ok(futures::future::ready(Ok(stream)).boxed())
    }
}
