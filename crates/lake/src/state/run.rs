//! The objects of one run, from what was asked for to how it ended.
//!
//! Invariant: every object is created once. Where several drivers may race, each puts a nonce of its own in, so that a
//! lost answer is told apart from another's win.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::{CheckRecord, Format, InputState, Origins, ReleasedTable, ReleasedView, SourceRead, WrittenChecks, schema};
use crate::{DataFile, RawObject};

/// `lake.json`: this prefix is a lake of this format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeMarker {
    /// Marks the format.
    pub format: Format,
    /// Version of the program that made the lake.
    pub program: String,
}

/// `idem/<digest>.json`: what a client's key led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Marks the format.
    pub format: Format,
    /// The run.
    pub run_id: String,
    /// SHA-256 of the request: the same key with another request is refused.
    pub request_digest: String,
    /// No slot of the run has a lower number.
    pub first_sequence: u64,
}

/// `jobs/<job>/<seq>.json`: the run is accepted, with this number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSlot {
    /// Marks the format.
    pub format: Format,
    /// The run.
    pub run_id: String,
}

/// `active/<run_id>`: the run may be unfinished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Marks the format.
    pub format: Format,
    /// Its job.
    pub job: String,
    /// No slot of the run has a lower number.
    pub first_sequence: u64,
}

/// `runs/<run_id>/spec.json`: everything that any driver needs to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Marks the format.
    pub format: Format,
    /// Name of the job.
    pub job: String,
    /// Text of the job's files by path.
    pub files: BTreeMap<String, String>,
    /// Overrides of parameters, as text.
    pub params: BTreeMap<String, String>,
    /// The raw prefix, as a location that any driver can open.
    pub raw: String,
    /// Choices.
    pub options: SpecOptions,
    /// Who asked.
    pub principal: String,
    /// The run's one time, in microseconds since 1970-01-01T00:00:00Z; also when it was accepted.
    pub execution_us: i64,
    /// Version of the program that accepted it.
    pub program: String,
    /// The failed run that this one tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<String>,
    /// No slot of the run has a lower number.
    pub first_sequence: u64,
    /// What it does to published tables, if it runs no models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
}

/// What a run without models does to the published tables of its job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Gives tables and ledgers the state of an earlier release.
    Rewind {
        /// Its number.
        release: u64,
    },
    /// Gives tables that a broken run has committed the state of the newest release, and ends that run.
    Repair {
        /// The broken run.
        run_id: String,
    },
    /// Takes a table out of the release.
    Drop {
        /// `zone.table`.
        table: String,
        /// Whether tables and views that read it may stay without it.
        force: bool,
    },
    /// Makes few files of many small ones.
    Optimize {
        /// Tables, as `zone.table`; empty is all of the job that have ledgers of files.
        tables: Vec<String>,
        /// Size of the files to make, in bytes.
        target_bytes: u64,
    },
}

/// Choices of one run that change what it does, not what a table means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecOptions {
    /// Rebuild selected models whatever has changed.
    pub full_refresh: bool,
    /// Go on although a source has lost many of its known objects at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_losses: bool,
    /// Patterns of models to run; empty is everything.
    pub select: Vec<String>,
    /// Patterns of models to leave out.
    pub exclude: Vec<String>,
    /// Keys of raw objects to read again although they have not changed, by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replay: BTreeMap<String, BTreeSet<String>>,
    /// The time from which on models that are computed by time are computed again, in microseconds since
    /// 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_us: Option<i64>,
    /// The time before which they are, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_us: Option<i64>,
    /// Compute incremental models in full too, and compare.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify_incremental: bool,
}

/// `runs/<run_id>/frozen.json`: what every try and every driver of the run works from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// Marks the format.
    pub format: Format,
    /// Told apart from every other creator's.
    pub nonce: String,
    /// Number of the run in its job.
    pub sequence: u64,
    /// The release that it starts from; `None` on an empty lake.
    pub base_release: Option<u64>,
    /// Sources that its steps read, by `zone.table`.
    pub sources: BTreeMap<String, FrozenSource>,
    /// What is done about each of the job's models, in the job's order.
    pub models: Vec<FrozenModel>,
}

/// The one listing of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenSource {
    /// [`super::listing_digest`] of the objects.
    pub digest: String,
    /// Number of objects.
    pub object_count: u64,
    /// Bytes of the objects.
    pub byte_count: u64,
    /// The objects, sorted by key; `None` if they are in the Parquet object beside `frozen.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<RawObject>>,
}

/// What is done about one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenModel {
    /// `zone.table`.
    pub table: String,
    /// Fingerprint of the model; empty if it is not selected.
    pub fingerprint: String,
    /// What is done.
    pub work: StepWork,
    /// Why, for people.
    pub reason: String,
    /// Whether its checks are others than those that the table was published with: they are asked of all of its rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recheck: bool,
}

/// What is done about one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepWork {
    /// Nothing: fingerprint and inputs equal those of the base release, or the model is not selected.
    Skip,
    /// The whole table is computed and replaced.
    Replace,
    /// Rows of new units of the driving input are added.
    Append,
    /// Rows that what has changed gives or gave are computed and replaced.
    Update,
    /// A view: its definition is stored.
    Define,
}

/// `runs/<run_id>/steps/<table>/written.json`: the files of a step, complete and not committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Marks the format.
    pub format: Format,
    /// Told apart from every other creator's.
    pub nonce: String,
    /// Fingerprint of the model.
    pub fingerprint: String,
    /// SHA-256 over exactly what was read: a later run may adopt the files if its own is equal.
    pub inputs_digest: String,
    /// The files, sorted by path.
    pub files: Vec<DataFile>,
    /// Files of the base version that they take the place of, sorted by path; of a [`StepWork::Update`] only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<DataFile>,
    /// The intervals that the table has with them, of a table that is computed by time: see [`ReleasedTable::covered`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered: Vec<(i64, i64)>,
    /// What those of the files hold that take over rows of files made by compaction, in order.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
    /// Counts and times.
    pub record: StepRecord,
    /// What was counted for the model's checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<WrittenChecks>,
    /// The run whose files these are, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<String>,
}

/// `runs/<run_id>/steps/<table>/excluded-<n>.json`: a raw object that was found broken while it was read; the step runs
/// again without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// Marks the format.
    pub format: Format,
    /// Told apart from every other creator's.
    pub nonce: String,
    /// Key of the raw object, relative to the raw prefix.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
}

/// One step's part of a run, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `zone.table`.
    pub table: String,
    /// What was done.
    pub work: StepWork,
    /// Why.
    pub reason: String,
    /// Rows that scans gave.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Records kept aside.
    pub rejects: u64,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes spilled to disk.
    pub bytes_spilled: u64,
    /// Wall time in microseconds.
    pub duration_us: u64,
    /// Where its time went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<StepTimes>,
    /// Who wrote its files, on a fleet, sorted by executor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written_by: Vec<WriterShare>,
    /// What the reading of each source came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<SourceRead>,
    /// What the table's checks came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckRecord>,
    /// The version that the run made, once published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What one executor has written of a step's table, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterShare {
    /// The executor's id.
    pub executor: String,
    /// Where it was, as `host:port`; empty if it had gone when the step ended.
    pub host: String,
    /// Files of the table.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Size of the files in bytes.
    pub bytes: u64,
}

/// Where the time of a step went, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTimes {
    /// Waiting until fewer other steps were executed, in microseconds.
    pub waited_us: u64,
    /// Times that it was executed: more than once if a fleet has lost it, or if it found too little memory.
    pub executions: u32,
    /// Whether it had found too little memory, and was planned to spare it then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spared_memory: bool,
    /// Answers of the store that asked this process for fewer requests, while the step was executed.
    pub throttled: u64,
    /// Of the stage whose slowest task took longest, on a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskTimes>,
}

/// The times of the tasks of one stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTimes {
    /// How many.
    pub tasks: u64,
    /// The slowest, in microseconds.
    pub slowest_us: u64,
    /// The middle one, in microseconds.
    pub median_us: u64,
    /// The executor of the slowest.
    pub slowest_on: String,
}

/// `runs/<run_id>/outcome.json`: the one point of no return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Marks the format.
    pub format: Format,
    /// Told apart from every other creator's.
    pub nonce: String,
    /// When it was decided, in microseconds since 1970-01-01T00:00:00Z.
    pub decided_us: i64,
    /// What was decided.
    pub verdict: Verdict,
}

/// What an outcome decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Everything that was written becomes visible.
    Publish(Publication),
    /// Nothing does.
    Abort(AbortReason),
}

/// Everything that publishing needs, so that any driver finishes it without compiling the job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// Tables and views in the order of publishing: every one after all that it reads.
    pub tables: Vec<PublishedTable>,
    /// What the run's reading of each source came to, each raw object once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<SourceRead>,
    /// Tables and views that get an earlier state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
    /// Tables and views, as `zone.table`, that leave the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<String>,
    /// Tables that get the same rows in other files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compactions: Vec<Compaction>,
}

impl Publication {
    /// Whether nothing becomes visible.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.revisions.is_empty() && self.drops.is_empty() && self.compactions.is_empty()
    }
}

/// One table that gets the same rows in other files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compaction {
    /// `zone.table`.
    pub table: String,
    /// The version that the commit comes after: that of the newest release.
    pub base_version: u64,
    /// Columns.
    #[serde(with = "schema")]
    pub schema: SchemaRef,
    /// Partition columns in directory order.
    pub partition_columns: Vec<String>,
    /// From the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Files that appear.
    pub files: Vec<DataFile>,
    /// Files of the base version whose rows they hold.
    pub removes: Vec<DataFile>,
    /// What all files of the table that were made by compaction hold afterwards; nothing if no ledger names files of the
    /// table.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
}

/// One table or view that gets an earlier state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// `zone.table`.
    pub table: String,
    /// The files that it gets, if it gets others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<RevisedContent>,
    /// What the release says about it; `None` leaves it out of the release. The version is that of the commit, if
    /// there is one.
    pub entry: Option<ReleasedTable>,
    /// Inputs, as `zone.table`, of which it has consumed what this run restores: their versions are not known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_inputs: Vec<String>,
}

/// All that a table holds after a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisedContent {
    /// The version that the commit comes after.
    pub base_version: u64,
    /// Columns.
    #[serde(with = "schema")]
    pub schema: SchemaRef,
    /// Partition columns in directory order.
    pub partition_columns: Vec<String>,
    /// From the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All files, sorted by path.
    pub files: Vec<DataFile>,
}

/// What becomes of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedTable {
    /// `zone.table`.
    pub table: String,
    /// Keyword of the model's kind.
    pub kind: String,
    /// Anything but [`StepWork::Skip`].
    pub work: StepWork,
    /// The version that the commit comes after; `None` makes the table. `None` for a view.
    pub base_version: Option<u64>,
    /// Fingerprint of the model.
    pub fingerprint: String,
    /// Stored columns.
    #[serde(with = "schema")]
    pub schema: SchemaRef,
    /// Partition columns in directory order.
    pub partition_columns: Vec<String>,
    /// From the model.
    pub description: Option<String>,
    /// Files that appear.
    pub files: Vec<DataFile>,
    /// Files of the base version that disappear, if it is a [`StepWork::Update`]; a replacement removes all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<DataFile>,
    /// The intervals that it has then: see [`ReleasedTable::covered`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered: Vec<(i64, i64)>,
    /// The definition, if it is a view.
    pub view: Option<ReleasedView>,
    /// What the table has consumed after this run. Inputs that the run itself publishes are left out, for their
    /// versions are not known before they are committed: see `own_inputs`.
    pub inputs: BTreeMap<String, InputState>,
    /// Inputs, as `zone.table`, that the run itself publishes.
    pub own_inputs: Vec<String>,
    /// Ledger segments before this run that stay in force.
    pub ledger: Vec<u64>,
    /// Whether the run adds a segment of its own, under its sequence number.
    pub new_segment: bool,
    /// Names the checks that it has passed, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<String>,
    /// Other tables that these checks have read, with their versions; `None` of a table that the run itself publishes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checked_against: BTreeMap<String, Option<u64>>,
    /// The segment that says what those of its files hold that were made by compaction, if any stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<u64>,
}

/// Why nothing is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortReason {
    /// Whether somebody cancelled the run, rather than that it failed.
    pub cancelled: bool,
    /// What went wrong, for people.
    pub message: String,
    /// The [`lakewright_error::ErrorKind`] by name.
    pub kind: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The step that failed, as `zone.table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Everything is published.
    Succeeded,
    /// A step or a check failed; nothing was published.
    Failed,
    /// Somebody cancelled; nothing was published.
    Cancelled,
}

/// `runs/<run_id>/done.json`: the terminal summary. Advisory: the outcome and the release decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Marks the format.
    pub format: Format,
    /// Number of the run in its job.
    pub sequence: u64,
    /// How it ended.
    pub end: RunEnd,
    /// The release that it made, if any.
    pub release: Option<u64>,
    /// Steps in the order of the job's models.
    pub steps: Vec<StepRecord>,
    /// What the run's reading of each source came to, each raw object once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<SourceRead>,
    /// Why it failed, if it did.
    pub failure: Option<AbortReason>,
    /// Wall time in microseconds from acceptance to the end.
    pub duration_us: u64,
    /// Microseconds from acceptance to when somebody began to drive it to this end.
    #[serde(default)]
    pub waited_us: u64,
}

/// `runs/<run_id>/broken.json`: foreign damage after the outcome keeps the run from its end. Advisory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Marks the format.
    pub format: Format,
    /// The table whose commit is not possible.
    pub table: String,
    /// What was found, for people.
    pub message: String,
}
