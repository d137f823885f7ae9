//! Turns a job folder into a validated [`Job`], or into every diagnostic at once.
//!
//! Data flow: the text of a job folder ([`JobFolder`]) -> **[`compile_job`]** -> [`Job`] -> the scheduler plans and runs it.
//!
//! Invariant: pure. No I/O, no clock, no randomness; the same text gives the same job, and no text makes it panic.

mod check;
mod checks;
mod compile;
mod diagnostic;
mod folder;
mod graph;
mod header;
mod job;
mod layout;
mod manifest;
mod metadata;
mod model;
mod name;
mod own_audit;
mod params;
mod query;
mod select;
mod source;
mod sql_type;
mod suggest;
#[cfg(test)]
mod testing;
mod text;
mod tokens;
mod types;
mod unit_test;

pub use check::{Checks, Demand, ROW_ALIAS, RowCheck, TableCheck, Violation};
pub use checks::{QUARANTINE_COLUMNS, quarantine_table};
pub use compile::compile_job;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use folder::JobFolder;
pub use job::{
    Analysis, Column, IntervalUnit, Job, JsonMode, Model, ModelKind, OnDelete, Param, ParamType, ParamValue, Query,
    Side, Sides, Source, SourceCompression, SourceMultiLine, SourceOptions, TimeRange,
};
pub use metadata::scan_schema;
pub use name::TableName;
pub use query::compile_query;
pub use select::select_models;
pub use types::{DeltaTypeError, table_schema, table_type};
pub use unit_test::{Expected, TestRow, TestRows, UnitTest};
