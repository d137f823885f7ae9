//! Releases: what all tables are, as one object.
//!
//! Invariant: the newest release is the only truth about what readers see and what has been consumed.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::{Format, schema};

/// `releases/<n>.json`: every table and view of the lake with its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// Marks the format.
    pub format: Format,
    /// Its number, from 1; one more than that of the release before.
    pub number: u64,
    /// The run that made it.
    pub run_id: String,
    /// The job of that run.
    pub job: String,
    /// Told apart from every other creator's.
    pub nonce: String,
    /// When it was made, in microseconds since 1970-01-01T00:00:00Z.
    pub created_us: i64,
    /// Tables and views by `zone.table`.
    pub tables: BTreeMap<String, ReleasedTable>,
}

/// One table or view of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleasedTable {
    /// The job that owns it.
    pub job: String,
    /// The run that last changed it.
    pub run_id: String,
    /// The release in which it last changed.
    pub release: u64,
    /// Keyword of the model's kind.
    pub kind: String,
    /// Fingerprint of the model that made it.
    pub fingerprint: String,
    /// Stored columns.
    #[serde(with = "schema")]
    pub schema: SchemaRef,
    /// Partition columns in directory order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_columns: Vec<String>,
    /// From the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Delta version; `None` for a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Rows of that version.
    #[serde(default)]
    pub rows: u64,
    /// Files of that version.
    #[serde(default)]
    pub files: u64,
    /// Bytes of these files.
    #[serde(default)]
    pub bytes: u64,
    /// Its query, if it is a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ReleasedView>,
    /// Sources and tables that the model reads, through views, with what it has consumed of them.
    pub inputs: BTreeMap<String, InputState>,
    /// Ledger segments, oldest first, by the number in their keys: together the units consumed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<u64>,
    /// The intervals that a table has which is computed by time: sorted half-open ranges in microseconds since
    /// 1970-01-01T00:00:00Z, apart from one another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered: Vec<(i64, i64)>,
    /// Names the checks that the table has passed, if its model has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<String>,
    /// Other tables that these checks have read, as `zone.table`, with their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checked_against: BTreeMap<String, u64>,
    /// The segment that says what files hold which were made by compaction, by the number in its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<u64>,
    /// The oldest version with the rows of this one, if compaction has made others since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_since: Option<u64>,
}

impl ReleasedTable {
    /// Whether the version, which may be an earlier one, holds the rows of this one.
    #[must_use]
    pub fn has_rows_of(&self, version: u64) -> bool {
        self.version.is_some_and(|newest| (self.rows_since.unwrap_or(newest)..=newest).contains(&version))
    }
}

/// The definition of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedView {
    /// Canonical SQL with the values of parameters in it: complete without its job.
    pub sql: String,
    /// Tables and views that it names, as `zone.table`, sorted.
    pub reads: Vec<String>,
}

/// What a table has consumed of one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum InputState {
    /// The raw objects of a source.
    Raw {
        /// [`super::listing_digest`] of the frozen listing.
        digest: String,
        /// Number of objects.
        objects: u64,
        /// Bytes of the objects.
        bytes: u64,
    },
    /// A version of a table.
    Table {
        /// The version.
        version: u64,
    },
}
