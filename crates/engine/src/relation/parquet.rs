//! Reads Parquet files so that every failure names its file.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use datafusion::{
    common::Result as PlanResult,
    datasource::{listing::PartitionedFile, physical_plan::ParquetFileReaderFactory},
    parquet::{
        arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
        errors::{ParquetError, Result as ParquetResult},
        file::metadata::ParquetMetaData,
    },
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use futures::{FutureExt, future::BoxFuture};
use lakewright_error::{Error, ErrorKind};
use object_store::path::Path;

use crate::fault;

/// The readers of `factory`, with errors that name their file.
pub(crate) fn named_readers(factory: Arc<dyn ParquetFileReaderFactory>) -> Arc<dyn ParquetFileReaderFactory> {
    Arc::new(NamedReaders(factory))
}

#[derive(Debug)]
struct NamedReaders(Arc<dyn ParquetFileReaderFactory>);

impl ParquetFileReaderFactory for NamedReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> PlanResult<Box<dyn AsyncFileReader + Send>> {
        let location = file.path().clone();
        let reader = self.0.create_reader(partition, file, metadata_size_hint, metrics)?;
        Ok(Box::new(NamedReader { reader, location }))
    }
}

struct NamedReader {
    reader: Box<dyn AsyncFileReader + Send>,
    location: Path,
}

impl AsyncFileReader for NamedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let Self { reader, location } = self;
        reader.get_bytes(range).map(|read| read.map_err(|error| name(error, location))).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let Self { reader, location } = self;
        reader.get_byte_ranges(ranges).map(|read| read.map_err(|error| name(error, location))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let Self { reader, location } = self;
        reader.get_metadata(options).map(|read| read.map_err(|error| name(error, location))).boxed()
    }
}

/// The error as ours, with the file; a file that is missing was in its table, so the table is damaged.
fn name(error: ParquetError, location: &Path) -> ParquetError {
    let error = fault::from_parquet(error);
    let error = match error.kind() {
        ErrorKind::NotFound | ErrorKind::Internal => {
            Error::new(ErrorKind::Corrupt, "a data file of the table cannot be read").with_source(error)
        }
        _ => error,
    };
    ParquetError::External(Box::new(error.with("file", location)))
}
