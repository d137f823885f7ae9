//! The nodes of a plan that are ours, as messages.
//!
//! Invariant: both sides are the same version of this program (Ballista's protocol is as strict), so a number is never
//! given a second meaning within one version, and nothing is kept for older ones.

use datafusion_proto::protobuf;

/// A node of a plan that DataFusion has no message for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FleetNode {
    #[prost(oneof = "Node", tags = "1, 2, 3, 4, 5, 6")]
    pub(super) node: Option<Node>,
}

/// Which node it is.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Node {
    #[prost(message, tag = "1")]
    TableWrite(TableWriteMessage),
    #[prost(message, tag = "2")]
    JsonScan(Box<JsonScanMessage>),
    /// One of Ballista's own, as its codec has it.
    #[prost(bytes, tag = "3")]
    Ballista(Vec<u8>),
    /// [`super::OneTaskExec`]: the plan that it is of.
    #[prost(message, tag = "4")]
    OneTask(Box<protobuf::PhysicalPlanNode>),
    #[prost(message, tag = "5")]
    RecursiveQuery(RecursiveQueryMessage),
    #[prost(message, tag = "6")]
    WorkTable(WorkTableMessage),
}

/// A query that reads what it has given; its inputs are the term that begins and the one that goes on.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RecursiveQueryMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bool, tag = "2")]
    pub(super) is_distinct: bool,
    #[prost(message, optional, tag = "3")]
    pub(super) schema: Option<protobuf::Schema>,
}

/// What the last round of such a query has given.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WorkTableMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// The columns that are read.
    #[prost(message, optional, tag = "2")]
    pub(super) schema: Option<protobuf::Schema>,
}

/// What a function of a window carries beside its name: [`super::window`]. Never empty, as that is a plain function's.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct WindowFunctionMessage {
    /// Of an aggregate: its last argument says which rows count.
    #[prost(bool, tag = "1")]
    pub(super) is_filtered: bool,
    #[prost(bool, tag = "2")]
    pub(super) ignore_nulls: bool,
    #[prost(bool, tag = "3")]
    pub(super) is_reversed: bool,
}

/// [`crate::TableWrite`]; its input is the node's.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TableWriteMessage {
    /// As a user types it.
    #[prost(string, tag = "1")]
    pub(super) root: String,
    #[prost(message, optional, tag = "2")]
    pub(super) schema: Option<protobuf::Schema>,
    #[prost(string, repeated, tag = "3")]
    pub(super) partition_columns: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) clustered_by: Vec<String>,
    #[prost(uint64, tag = "5")]
    pub(super) target_file_size_bytes: u64,
    #[prost(string, tag = "6")]
    pub(super) run_id: String,
    #[prost(message, repeated, tag = "7")]
    pub(super) rules: Vec<RuleMessage>,
    /// As a user types it.
    #[prost(string, optional, tag = "8")]
    pub(super) quarantine: Option<String>,
}

/// [`crate::RowRule`].
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RuleMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) condition: String,
    #[prost(enumeration = "ActionMessage", tag = "3")]
    pub(super) action: i32,
}

/// [`crate::RuleAction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ActionMessage {
    Unspecified = 0,
    Count = 1,
    Drop = 2,
    Quarantine = 3,
}

/// A scan of raw objects.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct JsonScanMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) scan: Option<protobuf::FileScanExecConf>,
    /// ETags of the files in the order of the scan's groups, which its own message leaves out; empty for none.
    #[prost(string, repeated, tag = "2")]
    pub(super) etags: Vec<String>,
    /// The raw prefix as a user types it.
    #[prost(string, tag = "3")]
    pub(super) raw: String,
    #[prost(enumeration = "CompressionMessage", tag = "4")]
    pub(super) compression: i32,
    #[prost(enumeration = "ModeMessage", tag = "5")]
    pub(super) mode: i32,
    #[prost(string, optional, tag = "6")]
    pub(super) corrupt_record: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub(super) reports: Option<ReportsMessage>,
    #[prost(string, optional, tag = "8")]
    pub(super) rescued: Option<String>,
    #[prost(enumeration = "MultiLineMessage", tag = "9")]
    pub(super) multi_line: i32,
}

/// Where the reports of a scan go.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReportsMessage {
    /// As a user types it.
    #[prost(string, tag = "1")]
    pub(super) lake: String,
    /// Folder relative to the lake.
    #[prost(string, tag = "2")]
    pub(super) folder: String,
}

/// [`crate::Compression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum CompressionMessage {
    Unspecified = 0,
    Auto = 1,
    None = 2,
    Gzip = 3,
    Zstd = 4,
}

/// [`crate::ReadMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ModeMessage {
    Unspecified = 0,
    Permissive = 1,
    DropMalformed = 2,
    FailFast = 3,
}

/// [`crate::MultiLine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum MultiLineMessage {
    Unspecified = 0,
    Auto = 1,
    True = 2,
    False = 3,
}
