//! The seam to deltalake-core: its view of a version, schemas both ways, and what its errors mean.
//!
//! The log is read through a store that is rooted at the table, under a URL without a path: the library encodes the
//! characters of a longer path twice, and would look for another directory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use arrow::datatypes::{Schema, SchemaRef};
use delta_kernel::Error as KernelError;
use deltalake_core::{
    DeltaTableError,
    kernel::{
        Snapshot as DeltaSnapshot, StructType,
        engine::arrow_conversion::{TryIntoArrow, TryIntoKernel},
    },
    logstore::{LogStoreRef, StorageConfig, default_logstore},
};
use lakewright_error::{Error, ErrorKind, Result};
use object_store::{ObjectStore, prefix::PrefixStore};
use serde_json::Value;
use url::Url;

use crate::{Prefix, disk_error, store_error};

/// Property that names the job which owns a table.
pub(super) const JOB_PROPERTY: &str = "lakewright.job";
/// Features of readers that change nothing for a reader of plain files.
const READER_FEATURES: [&str; 3] = ["timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"];
/// Protocol of the tables that this program makes.
pub(super) const READER_VERSION: i64 = 1;
/// Protocol of the tables that this program makes, and the newest that it commits to.
pub(super) const WRITER_VERSION: i64 = 2;

/// One version of a table, as the library sees it.
pub(super) struct Loaded {
    pub(super) snapshot: DeltaSnapshot,
    pub(super) log_store: LogStoreRef,
}

impl Loaded {
    /// Loads protocol and metadata of a version, the newest if `None`.
    pub(super) async fn load(table: &Prefix, version: Option<u64>) -> Result<Self> {
        let log_store = log_store(table)?;
        let loaded = DeltaSnapshot::try_new(log_store.as_ref(), version).await;
        let snapshot = loaded.map_err(|source| delta_error(source, "cannot read the table's log", table))?;
        Ok(Self { snapshot, log_store })
    }

    pub(super) fn version(&self) -> u64 {
        self.snapshot.version()
    }

    pub(super) fn schema(&self) -> Arc<StructType> {
        self.snapshot.schema()
    }

    pub(super) fn partition_columns(&self) -> &[String] {
        self.snapshot.metadata().partition_columns()
    }

    pub(super) fn properties(&self) -> &HashMap<String, String> {
        self.snapshot.metadata().configuration()
    }

    pub(super) fn job(&self) -> Option<&str> {
        self.properties().get(JOB_PROPERTY).map(String::as_str)
    }

    /// Protocol as in the log.
    fn protocol(&self) -> Result<Value> {
        serde_json::to_value(self.snapshot.protocol()).map_err(internal)
    }

    /// Metadata as in the log.
    pub(super) fn metadata(&self) -> Result<Value> {
        serde_json::to_value(self.snapshot.metadata()).map_err(internal)
    }

    /// Refuses a version whose files mean more than their rows.
    pub(super) fn check_readable(&self) -> Result<()> {
        let protocol = self.protocol()?;
        let features = protocol.get("readerFeatures").and_then(Value::as_array).into_iter().flatten();
        let unknown: BTreeSet<&str> =
            features.filter_map(Value::as_str).filter(|name| !READER_FEATURES.contains(name)).collect();
        if let Some(feature) = unknown.into_iter().next() {
            return Err(unsupported("the table needs a reader feature that is not supported").with("feature", feature));
        }
        if min_version(&protocol, "minReaderVersion") > 3 {
            return Err(unsupported("the table needs a newer reader"));
        }
        match self.properties().get("delta.columnMapping.mode").map(String::as_str) {
            None | Some("none") => Ok(()),
            Some(mode) => Err(unsupported("the table maps columns to other names").with("mode", mode)),
        }
    }

    /// Refuses a version that asks more of a writer than this program does.
    pub(super) fn check_writable(&self, removes_files: bool) -> Result<()> {
        self.check_readable()?;
        if min_version(&self.protocol()?, "minWriterVersion") > WRITER_VERSION {
            return Err(unsupported("the table needs a newer writer")
                .with_hint("another program has upgraded the table; rebuild it under another name"));
        }
        if removes_files && self.properties().get("delta.appendOnly").is_some_and(|value| value == "true") {
            return Err(unsupported("the table has the property delta.appendOnly, and files of it would be removed")
                .with_hint("unset the property, or rebuild the table under another name"));
        }
        Ok(())
    }
}

/// The library's handle to the log of a table.
fn log_store(table: &Prefix) -> Result<LogStoreRef> {
    // The scheme makes the library sort listings, which not every store does.
    let url = Url::parse("file:///").map_err(internal)?;
    let rooted: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(table.store()), table.root().clone()));
    Ok(default_logstore(Arc::clone(&rooted), rooted, &url, &StorageConfig::default()))
}

/// A stored schema as Delta's.
pub(super) fn to_delta(schema: &Schema) -> Result<StructType> {
    schema.try_into_kernel().map_err(|source| {
        Error::new(ErrorKind::Unsupported, "the schema has a type that Delta does not have").with_source(source)
    })
}

/// Delta's schema as a stored schema.
pub(super) fn to_arrow(schema: &StructType) -> Result<SchemaRef> {
    let arrow: Schema = schema.try_into_arrow().map_err(|source| {
        Error::new(ErrorKind::Unsupported, "the table has a type that Arrow does not have").with_source(source)
    })?;
    Ok(Arc::new(arrow))
}

/// Says what an error of the library means.
pub(super) fn delta_error(source: DeltaTableError, message: &'static str, table: &Prefix) -> Error {
    let location = table.display_location();
    match source {
        DeltaTableError::ObjectStore { source } => store_error(source, message, &location),
        DeltaTableError::Io { source } => disk_error(source, message, &location),
        DeltaTableError::KernelError(source) => kernel_error(source, message, &location),
        other => Error::new(ErrorKind::Corrupt, message).with("object", location).with_source(other),
    }
}

fn kernel_error(source: KernelError, message: &'static str, location: &str) -> Error {
    let kind = match source {
        KernelError::Backtraced { source, .. } => return kernel_error(*source, message, location),
        KernelError::ObjectStore(source) => return store_error(source, message, location),
        KernelError::IOError(source) => return disk_error(source, message, location),
        KernelError::Unsupported(_) => ErrorKind::Unsupported,
        KernelError::JoinFailure(_) | KernelError::InternalError(_) => ErrorKind::Internal,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, message).with("object", location).with_source(source)
}

fn min_version(protocol: &Value, key: &str) -> i64 {
    // A protocol without the number is none that this program knows.
    protocol.get(key).and_then(Value::as_i64).unwrap_or(i64::MAX)
}

fn unsupported(message: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

pub(super) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Internal, "an action of the table's log cannot be made").with_source(source)
}
