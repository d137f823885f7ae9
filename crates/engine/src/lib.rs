//! Everything that scheduler and executors must agree on: session, functions, object stores, JSON source, table scan,
//! table write.
//!
//! Data flow: the scheduler registers the inputs of a step ([`Relation`]) in a session of the one [`Engine`], plans the
//! step's canonical SQL under a write node ([`plan_table_write`]), and runs the plan; each row that comes out names one
//! Parquet file that was written ([`lakewright_lake::DataFile`]).
//!
//! Invariant: the same SQL over the same files gives the same rows, whoever runs it and however it is partitioned.

mod fault;
pub mod fleet;
mod functions;
mod json;
mod process_dir;
mod query;
mod relation;
mod rewrite;
mod row_number;
mod run_log;
mod session;
mod write;

pub use fault::is_no_memory;
pub use json::{Compression, MultiLine, ReadMode, Reading, ScanReports, broken_object, source_schema};
pub use lakewright_json::{Profile, ProposedColumn};
pub use process_dir::ProcessDir;
pub use query::Rows;
pub use relation::{RawScan, Relation, TableScan, profile_objects, register_relation, register_rows};
pub use rewrite::rewrite_files;
pub use run_log::{CollectedLog, RunLogLayer};
pub use session::{Engine, EngineSettings};
pub use write::{
    RowRule, RuleAction, RuleReport, StepProgress, TableWrite, WriteOutput, WriteShare, execute_table_write,
    plan_table_write, quarantine_schema, read_manifest,
};
