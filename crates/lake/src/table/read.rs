//! Reads a version of a table.

use arrow::datatypes::SchemaRef;
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::{DeltaTable, kernel::LogicalFileView};
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use object_store::ObjectStoreExt;
use parquet::{errors::ParquetError, file::metadata::ParquetMetaDataReader};

use super::{
    Snapshot,
    delta::{Loaded, delta_error, to_arrow},
    log::newest_version,
    stats,
};
use crate::{DataFile, Prefix, store_error};

/// Footers read at once.
const FOOTER_READS_MAX: usize = 16;
/// Bytes of a file's end that are read first; most footers are shorter.
const FOOTER_GUESS_BYTES: u64 = 64 * 1024;

/// Reads a version of the table at `table`, the newest if `version` is `None`; `None` if there is no such table.
///
/// Timestamps come as microseconds with the zone `UTC`. A file without a row count in the log costs a read of its
/// footer.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: the table is there, and has no such version.
/// - [`ErrorKind::Corrupt`]: the log does not parse, or a version in it is missing.
/// - [`ErrorKind::Unsupported`]: the table needs a reader feature that this program does not have (deletion vectors,
///   column mapping, a newer protocol).
/// - [`ErrorKind::Unavailable`]: the store did not answer.
pub async fn read_snapshot(table: &Prefix, version: Option<u64>) -> Result<Option<Snapshot>> {
    let loaded = match Loaded::load(table, version).await {
        Ok(loaded) => loaded,
        Err(error) => return no_such_version(table, version, error).await,
    };
    let at = |error: Error| error.with("object", table.display_location());
    loaded.check_readable().map_err(at)?;
    let schema = to_arrow(&loaded.schema()).map_err(at)?;
    let partition_columns = loaded.partition_columns().to_vec();
    let files = active_files(&loaded, table, &schema, &partition_columns).await?;
    let job = loaded.job().map(str::to_owned);
    Ok(Some(Snapshot { version: loaded.version(), schema, partition_columns, files, job }))
}

/// Writes a checkpoint of a version, so that later readers need not read the log from its beginning.
///
/// A hint for speed only: a caller logs a failure and goes on.
///
/// # Errors
/// As [`read_snapshot`].
pub async fn write_checkpoint(table: &Prefix, version: u64) -> Result<()> {
    let failed = |source| delta_error(source, "cannot write the table's checkpoint", table);
    let mut delta = DeltaTable::new(Loaded::load(table, Some(version)).await?.log_store);
    delta.load_version(version).await.map_err(failed)?;
    create_checkpoint(&delta, None).await.map_err(failed)
}

/// Active files of a version, sorted by path.
pub(super) async fn active_files(
    loaded: &Loaded,
    table: &Prefix,
    schema: &SchemaRef,
    partition_columns: &[String],
) -> Result<Vec<DataFile>> {
    let failed = |source| delta_error(source, "cannot read the table's files", table);
    let views: Vec<LogicalFileView> =
        loaded.snapshot.file_views(loaded.log_store.as_ref(), None).try_collect().await.map_err(failed)?;
    let described = views.iter().map(|view| {
        let (row_count, file) = describe(view, schema, partition_columns)
            .map_err(|error| error.with("object", table.display(&view.path())))?;
        Ok((row_count.is_some(), file))
    });
    let described: Vec<(bool, DataFile)> = described.collect::<Result<_>>()?;
    let counted = described
        .into_iter()
        .map(|(is_counted, file)| async move { if is_counted { Ok(file) } else { count_rows(table, file).await } });
    let mut files: Vec<DataFile> = stream::iter(counted).buffered(FOOTER_READS_MAX).try_collect().await?;
    files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn describe(
    view: &LogicalFileView,
    schema: &SchemaRef,
    partition_columns: &[String],
) -> Result<(Option<u64>, DataFile)> {
    if view.deletion_vector_descriptor().is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "the table has deletion vectors, which are not supported"));
    }
    let path = view.path().into_owned();
    if path.contains("://") || path.starts_with('/') {
        return Err(Error::new(ErrorKind::Unsupported, "the table names a file outside of its own directory"));
    }
    let size_bytes = u64::try_from(view.size())
        .map_err(|source| Error::new(ErrorKind::Corrupt, "the log gives a negative file size").with_source(source))?;
    // In the log, empty text means NULL too.
    let values = view.partition_values_map().into_iter();
    let partition_values = values.map(|(name, value)| (name, value.filter(|text| !text.is_empty()))).collect();
    let stats = view.stats().map(|text| stats::decode(&text, schema, partition_columns));
    let (row_count, bounds) = stats.unwrap_or_default();
    Ok((row_count, DataFile { path, size_bytes, row_count: row_count.unwrap_or(0), partition_values, bounds }))
}

/// Takes the number of rows from the file itself.
async fn count_rows(table: &Prefix, file: DataFile) -> Result<DataFile> {
    let object = || table.display(&file.path);
    let path = table.path(&file.path)?;
    let mut length = FOOTER_GUESS_BYTES.min(file.size_bytes);
    let mut reader = ParquetMetaDataReader::new();
    loop {
        let tail = table.store().get_range(&path, file.size_bytes - length..file.size_bytes).await;
        let tail = tail.map_err(|source| store_error(source, "cannot read the data file's footer", &object()))?;
        let needed = match reader.try_parse_sized(&tail, file.size_bytes) {
            Ok(()) => break,
            Err(ParquetError::NeedMoreData(needed)) => u64::try_from(needed).unwrap_or(u64::MAX),
            Err(source) => return Err(bad_footer(&object()).with_source(source)),
        };
        if needed <= length || needed > file.size_bytes {
            return Err(bad_footer(&object()));
        }
        length = needed;
    }
    let metadata = reader.finish().map_err(|source| bad_footer(&object()).with_source(source))?;
    let row_count = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    Ok(DataFile { row_count, ..file })
}

fn bad_footer(object: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "the data file's footer does not parse").with("object", object)
}

/// Tells a table that is not there from one that cannot be read.
async fn no_such_version(table: &Prefix, version: Option<u64>, error: Error) -> Result<Option<Snapshot>> {
    match (newest_version(table, None).await?, version) {
        (None, _) => Ok(None),
        (Some(newest), Some(wanted)) if wanted > newest => {
            Err(Error::new(ErrorKind::NotFound, "the table has no such version")
                .with("object", table.display_location())
                .with("version", wanted)
                .with("newest", newest))
        }
        _ => Err(error),
    }
}
