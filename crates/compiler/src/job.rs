//! The compiled job: what the scheduler plans and runs.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::{Checks, Diagnostic, TableName, UnitTest};

/// A job folder that has been checked as a whole.
#[derive(Clone, Debug)]
pub struct Job {
    /// From `job.toml`.
    pub name: String,
    /// Default raw prefix from `job.toml`, as written.
    pub raw: Option<String>,
    /// Default lake from `job.toml`, as written.
    pub lake: Option<String>,
    /// Declared parameters with their values for this compilation, by name.
    pub params: BTreeMap<String, Param>,
    /// Sources by name.
    pub sources: BTreeMap<TableName, Source>,
    /// Models, every one after all that it reads; among equals by name.
    pub models: Vec<Model>,
    /// Queries over the tables, by file name; never run by `run`.
    pub analyses: Vec<Analysis>,
    /// Unit tests, by file and line; never run by `run`.
    pub tests: Vec<UnitTest>,
    /// What the user should look at.
    pub warnings: Vec<Diagnostic>,
}

/// A declared parameter and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Declared type.
    pub param_type: ParamType,
    /// The override, else the default.
    pub value: ParamValue,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// `boolean`
    Boolean,
    /// `bigint`
    Bigint,
    /// `double`
    Double,
    /// `varchar`
    Varchar,
    /// `date`
    Date,
    /// `timestamp`, an instant
    Timestamp,
}

/// A typed value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum ParamValue {
    /// A truth value.
    Boolean(bool),
    /// A 64-bit integer.
    Bigint(i64),
    /// A 64-bit float, never NaN.
    Double(f64),
    /// Text.
    Varchar(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

/// A declared table over raw objects.
#[derive(Clone, Debug)]
pub struct Source {
    /// `raw.<file stem>`.
    pub name: TableName,
    /// Declared columns in order, spelt as declared.
    pub columns: Vec<Column>,
    /// The same as an Arrow schema with table types; all fields nullable.
    pub schema: SchemaRef,
    /// Prefix or glob below the raw prefix, as written.
    pub location: String,
    /// Reader options.
    pub options: SourceOptions,
    /// The comment directly above the DDL.
    pub description: Option<String>,
    /// Path of the file in the job folder.
    pub file: String,
    /// Canonical text of the DDL with its options: part of the fingerprint of every model that reads the source.
    pub canonical: String,
}

/// One declared column of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Spelt as declared; also the JSON key.
    pub name: String,
    /// Canonical SQL type, for example `DECIMAL(10,2)`.
    pub sql_type: String,
}

/// How a JSON source treats what does not fit (Spark's modes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JsonMode {
    /// A field that does not fit is NULL; a record that is no JSON object is a reject.
    Permissive,
    /// Both are left out and counted.
    DropMalformed,
    /// The first of either fails the run.
    FailFast,
}

/// How the raw objects of a source are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceCompression {
    /// As the suffix of each object's key says: `.gz` or `.gzip`, `.zst` or `.zstd`, else not at all.
    Auto,
    /// Not at all.
    None,
    /// As gzip.
    Gzip,
    /// As Zstandard.
    Zstd,
}

/// What becomes of rows whose raw object has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnDelete {
    /// They stay.
    Keep,
    /// They go, too.
    Remove,
    /// The run fails.
    Fail,
}

/// Whether a raw object is lines or one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceMultiLine {
    /// What its text begins like, each object for itself.
    Auto,
    /// One value: an object, or an array of objects.
    True,
    /// One record a line.
    False,
}

/// The options of a source, with defaults filled in (`job-files.md` has the table).
#[derive(Clone, Debug, PartialEq)]
pub struct SourceOptions {
    /// Declared mode.
    pub mode: JsonMode,
    /// How the raw objects are compressed.
    pub compression: SourceCompression,
    /// Whether a prefix without objects is fine.
    pub allow_empty: bool,
    /// The declared column that holds the text of records that do not fit.
    pub corrupt_record: Option<String>,
    /// The column that holds fields that are not declared or do not fit.
    pub rescued: Option<String>,
    /// Whether a raw object is lines or one value.
    pub multi_line: SourceMultiLine,
    /// Rejects above which a run fails.
    pub max_rejects: Option<u64>,
    /// Share of rejects among the records above which a run fails, from 0 to 1.
    pub max_reject_ratio: f64,
    /// What becomes of rows whose raw object has gone.
    pub on_delete: OnDelete,
}

/// How a model's table is replaced by a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// The whole table, from all of the inputs.
    Full,
    /// Nothing is stored; readers evaluate the query.
    View,
    /// Rows of what the driving input has gained are added.
    IncrementalByFile {
        /// The FROM whose rows flow to the output.
        driving: TableName,
    },
    /// Rows whose key appears in what an input has gained or lost are computed again.
    IncrementalByUniqueKey {
        /// Columns, spelt as in the stored schema.
        key: Vec<String>,
        /// The inputs whose rows tell their key.
        sides: Sides,
    },
    /// The same, with the partition columns as the key.
    IncrementalByPartition {
        /// The inputs whose rows tell their partition.
        sides: Sides,
    },
    /// Rows of whole intervals of time are computed: of those that are missing, and of those that an input has changed.
    IncrementalByTimeRange {
        /// The intervals.
        range: TimeRange,
        /// The inputs whose rows tell their time.
        sides: Sides,
    },
}

/// The inputs whose rows tell which rows of the output they can change, each with the ways in which it is read.
pub type Sides = BTreeMap<TableName, Vec<Side>>;

/// How a row of an input tells the key of the output rows that it can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Canonical SQL over the input's columns, one expression for each column of the key.
    pub key: Vec<String>,
    /// Conditions, in canonical SQL, that a row meets if it matters at all.
    pub filters: Vec<String>,
}

impl Side {
    /// Canonical SQL that gives the keys of the rows of `relation` as columns `k0`, `k1` ….
    #[must_use]
    pub fn rows_of(&self, relation: &str) -> String {
        let keys: Vec<String> =
            self.key.iter().enumerate().map(|(index, key)| format!("{key} AS \"k{index}\"")).collect();
        let filters =
            if self.filters.is_empty() { String::new() } else { format!(" WHERE {}", self.filters.join(" AND ")) };
        format!("SELECT {} FROM {relation}{filters}", keys.join(", "))
    }
}

/// The intervals of a table that is computed by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The column that has the time of a row, spelt as in the stored schema.
    pub column: String,
    /// Rows before this are left out, in microseconds since 1970-01-01T00:00:00Z; the beginning of an interval.
    pub start_us: Option<i64>,
    /// How long an interval is.
    pub unit: IntervalUnit,
    /// How many intervals before the newest are computed again for rows that come late; `None` is all.
    pub lookback: Option<u32>,
}

/// How long an interval is; all begin and end by UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntervalUnit {
    /// `minute`
    Minute,
    /// `hour`
    Hour,
    /// `day`
    #[default]
    Day,
    /// `month`
    Month,
    /// `year`
    Year,
}

impl ModelKind {
    /// The kind's name in a MODEL header.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::View => "VIEW",
            Self::IncrementalByFile { .. } => "INCREMENTAL_BY_FILE",
            Self::IncrementalByUniqueKey { .. } => "INCREMENTAL_BY_UNIQUE_KEY",
            Self::IncrementalByPartition { .. } => "INCREMENTAL_BY_PARTITION",
            Self::IncrementalByTimeRange { .. } => "INCREMENTAL_BY_TIME_RANGE",
        }
    }

    /// The input whose files are followed one by one, if the kind has one.
    #[must_use]
    pub fn driving(&self) -> Option<&TableName> {
        match self {
            Self::IncrementalByFile { driving } => Some(driving),
            _ => None,
        }
    }

    /// The inputs whose rows tell their key, if the kind computes rows by key.
    #[must_use]
    pub fn sides(&self) -> Option<&Sides> {
        match self {
            Self::IncrementalByUniqueKey { sides, .. }
            | Self::IncrementalByPartition { sides }
            | Self::IncrementalByTimeRange { sides, .. } => Some(sides),
            Self::Full | Self::View | Self::IncrementalByFile { .. } => None,
        }
    }

    /// What of the kind decides what the table's rows are, beside its name.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::IncrementalByUniqueKey { key, .. } => format!("{} ({})", self.keyword(), key.join(", ")),
            Self::IncrementalByTimeRange { range, .. } => {
                format!("{} ({}, {:?}, {:?})", self.keyword(), range.column, range.start_us, range.unit)
            }
            _ => self.keyword().to_owned(),
        }
    }
}

impl IntervalUnit {
    /// Every unit's name, as a header writes it.
    pub(crate) const NAMES: [&str; 5] = ["minute", "hour", "day", "month", "year"];

    /// The unit of this name, without regard to case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Year];
        all.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(name))
    }

    /// The unit's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The beginning of the interval that an instant is in. Both are microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn floor(self, us: i64) -> i64 {
        self.at(us, 0)
    }

    /// The beginning of the interval `count` intervals after the one that an instant is in; an instant that no calendar
    /// has stays what it is.
    #[must_use]
    pub fn at(self, us: i64, count: i32) -> i64 {
        const MINUTE_US: i64 = 60_000_000;
        let fixed = |length: i64| (us.div_euclid(length).saturating_add(i64::from(count))).saturating_mul(length);
        match self {
            Self::Minute => fixed(MINUTE_US),
            Self::Hour => fixed(60 * MINUTE_US),
            Self::Day => fixed(24 * 60 * MINUTE_US),
            Self::Month => Self::months(us, 1, count).unwrap_or(us),
            Self::Year => Self::months(us, 12, count).unwrap_or(us),
        }
    }

    fn months(us: i64, length: i32, count: i32) -> Option<i64> {
        let date = DateTime::from_timestamp_micros(us)?.date_naive();
        let month = date.year().checked_mul(12)?.checked_add(i32::try_from(date.month0()).ok()?)?;
        let month = month.div_euclid(length).checked_add(count)?.checked_mul(length)?;
        let first = NaiveDate::from_ymd_opt(month.div_euclid(12), u32::try_from(month.rem_euclid(12)).ok()? + 1, 1)?;
        Some(first.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
    }
}

/// A resolved query: standalone SQL for DataFusion's planner with identifier normalization off.
#[derive(Clone, Debug)]
pub struct Query {
    /// Canonical SQL. Every identifier is quoted and spelt as declared, tables are `"zone"."table"`, parameters are
    /// `$name`, `now()` and the like are `$execution_ts`. Comments and layout do not change it.
    pub sql: String,
    /// Output columns as the planner types them (before [`crate::table_schema`]).
    pub schema: SchemaRef,
    /// Tables read, sorted.
    pub reads: Vec<TableName>,
    /// Names of the parameters used, sorted; may hold `run_id` and `execution_ts`, and of a model that is computed by time
    /// `start_ts` and `end_ts`.
    pub params: Vec<String>,
}

/// One table computed by one query.
#[derive(Clone, Debug)]
pub struct Model {
    /// `zone.table` from the path.
    pub name: TableName,
    /// How a run replaces the table.
    pub kind: ModelKind,
    /// The query.
    pub query: Query,
    /// The stored schema: [`crate::table_schema`] of the query's.
    pub schema: SchemaRef,
    /// Partition columns in directory order, spelt as in `schema`.
    pub partitioned_by: Vec<String>,
    /// Sort order inside files, spelt as in `schema`.
    pub clustered_by: Vec<String>,
    /// Size at which a file is closed, in bytes.
    pub target_file_size_bytes: u64,
    /// From the header, else the comment directly above.
    pub description: Option<String>,
    /// From the header.
    pub owner: Option<String>,
    /// From the header.
    pub tags: Vec<String>,
    /// Path of the file in the job folder.
    pub file: String,
    /// Canonical text of everything in the file that changes the table (header keys that matter, canonical SQL):
    /// part of the model's fingerprint.
    pub canonical: String,
    /// What must hold of it before a run publishes it.
    pub checks: Checks,
}

impl Model {
    /// Names of the parameters that decide what the table's rows are, sorted; may hold `run_id` and `execution_ts`.
    #[must_use]
    pub fn row_params(&self) -> Vec<String> {
        let mut params = self.checks.row_params();
        params.extend(self.query.params.iter().cloned());
        params.into_iter().collect()
    }
}

/// A query under `analyses/`.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// File stem.
    pub name: String,
    /// Path of the file in the job folder.
    pub file: String,
    /// The query.
    pub query: Query,
    /// The comment at the top.
    pub description: Option<String>,
}
