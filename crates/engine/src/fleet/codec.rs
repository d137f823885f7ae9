//! Writes plans for the way to an executor, and reads them there.
//!
//! Data flow: a stage's plan -> DataFusion's messages, with **ours** for the write node and the scan of raw objects, and
//! Ballista's for its shuffles -> the same plan on an executor.
//!
//! Invariant: a node that does not travel whole is refused while it is written, never changed on the way.

use std::{any::Any, fmt, sync::Arc};

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::{
    common::{DataFusionError, Result, internal_datafusion_err, internal_err},
    datasource::{
        physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder},
        source::DataSourceExec,
    },
    execution::{FunctionRegistry, TaskContext},
    logical_expr::{AggregateUDF, WindowUDF},
    physical_plan::{ExecutionPlan, recursive_query::RecursiveQueryExec, work_table::WorkTableExec},
};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
    from_proto::{parse_protobuf_file_scan_config, parse_table_schema_from_proto},
    to_proto::serialize_file_scan_config,
};
use lakewright_lake::Prefix;
use prost::Message;

use super::{
    message::{
        ActionMessage, CompressionMessage, FleetNode, JsonScanMessage, ModeMessage, MultiLineMessage, Node,
        ReportsMessage, RuleMessage, TableWriteMessage, WindowFunctionMessage,
    },
    one_task::OneTaskExec,
    recursive::{query_message, read_query, read_work_table, work_table_message},
    window::{Carried, Filtered},
};
use crate::{
    Compression, Engine, MultiLine, ReadMode, Reading, RowRule, RuleAction, ScanReports, TableWrite, fault,
    json::JsonSource, write::TableWriteExec,
};

/// The codec of a fleet's plans.
pub struct FleetCodec {
    ballista: BallistaPhysicalExtensionCodec,
    functions: Arc<dyn FunctionRegistry + Send + Sync>,
}

impl fmt::Debug for FleetCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetCodec").finish_non_exhaustive()
    }
}

impl PhysicalExtensionCodec for FleetCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = FleetNode::decode(buf).map_err(unreadable)?;
        match message.node {
            Some(Node::TableWrite(write)) => {
                let [input] = inputs else { return internal_err!("a table write has {} inputs", inputs.len()) };
                Ok(Arc::new(TableWriteExec::new(Arc::clone(input), Arc::new(read_write(write)?))))
            }
            Some(Node::JsonScan(scan)) => self.read_scan(*scan, ctx, proto_converter),
            Some(Node::OneTask(plan)) => {
                let plan =
                    proto_converter.proto_to_execution_plan(&plan, &PhysicalPlanDecodeContext::new(ctx, self))?;
                Ok(Arc::new(OneTaskExec::new(plan)))
            }
            Some(Node::RecursiveQuery(query)) => read_query(query, inputs),
            Some(Node::WorkTable(table)) => read_work_table(table),
            Some(Node::Ballista(node)) => self.ballista.try_decode(&node, inputs, ctx, proto_converter),
            None => internal_err!("a plan has a node that this program does not know"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let message = if let Some(exec) = node.downcast_ref::<TableWriteExec>() {
            Node::TableWrite(write_message(exec.table_write())?)
        } else if let Some((config, source)) = json_scan(node.as_ref()) {
            Node::JsonScan(Box::new(self.scan_message(config, source, proto_converter)?))
        } else if let Some(exec) = node.downcast_ref::<OneTaskExec>() {
            Node::OneTask(Box::new(proto_converter.execution_plan_to_proto(exec.plan(), self)?))
        } else if let Some(query) = node.downcast_ref::<RecursiveQueryExec>() {
            Node::RecursiveQuery(query_message(query)?)
        } else if let Some(table) = node.downcast_ref::<WorkTableExec>() {
            Node::WorkTable(work_table_message(table)?)
        } else {
            let mut bytes = Vec::new();
            self.ballista.try_encode(node, &mut bytes, proto_converter)?;
            Node::Ballista(bytes)
        };
        FleetNode { node: Some(message) }.encode(buf).map_err(unreadable)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        let message = WindowFunctionMessage { is_filtered: node.inner().is::<Filtered>(), ..Default::default() };
        message.encode(buf).map_err(unreadable)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        let message = WindowFunctionMessage::decode(buf).map_err(unreadable)?;
        let function = self.functions.udaf(name)?;
        Ok(if message.is_filtered { Filtered::wrap(function) } else { function })
    }

    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        let Some(carried) = node.inner().downcast_ref::<Carried>() else { return Ok(()) };
        let (ignore_nulls, is_reversed) = (carried.ignore_nulls, carried.is_reversed);
        let message = WindowFunctionMessage { ignore_nulls, is_reversed, is_filtered: false };
        message.encode(buf).map_err(unreadable)
    }

    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        let message = WindowFunctionMessage::decode(buf).map_err(unreadable)?;
        Ok(Carried::wrap(self.functions.udwf(name)?, message.ignore_nulls, message.is_reversed))
    }
}

impl FleetCodec {
    /// A codec of plans that call the functions of `engine`.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        Self { ballista: BallistaPhysicalExtensionCodec::default(), functions: engine.functions() }
    }

    fn scan_message(
        &self,
        config: &FileScanConfig,
        source: &JsonSource,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<JsonScanMessage> {
        let files = config.file_groups.iter().flat_map(FileGroup::iter);
        let etags = files.map(|file| file.object_meta.e_tag.clone().unwrap_or_default());
        let compression = match source.compression() {
            Compression::Auto => CompressionMessage::Auto,
            Compression::None => CompressionMessage::None,
            Compression::Gzip => CompressionMessage::Gzip,
            Compression::Zstd => CompressionMessage::Zstd,
        };
        let mode = match source.reading().mode {
            ReadMode::Permissive => ModeMessage::Permissive,
            ReadMode::DropMalformed => ModeMessage::DropMalformed,
            ReadMode::FailFast => ModeMessage::FailFast,
        };
        let multi_line = match source.reading().multi_line {
            MultiLine::Auto => MultiLineMessage::Auto,
            MultiLine::True => MultiLineMessage::True,
            MultiLine::False => MultiLineMessage::False,
        };
        let reports = source.reports().and_then(ScanReports::place);
        Ok(JsonScanMessage {
            scan: Some(serialize_file_scan_config(config, self, proto_converter)?),
            etags: etags.collect(),
            raw: source.raw().display_location(),
            compression: compression.into(),
            mode: mode.into(),
            corrupt_record: source.reading().corrupt_record.clone(),
            rescued: source.reading().rescued.clone(),
            multi_line: multi_line.into(),
            reports: reports.map(|(lake, folder)| ReportsMessage { lake: lake.display_location(), folder }),
        })
    }

    fn read_scan(
        &self,
        message: JsonScanMessage,
        ctx: &TaskContext,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let compression = match message.compression() {
            CompressionMessage::Auto => Compression::Auto,
            CompressionMessage::None => Compression::None,
            CompressionMessage::Gzip => Compression::Gzip,
            CompressionMessage::Zstd => Compression::Zstd,
            CompressionMessage::Unspecified => return internal_err!("a scan does not say how its objects are packed"),
        };
        let mode = match message.mode() {
            ModeMessage::Permissive => ReadMode::Permissive,
            ModeMessage::DropMalformed => ReadMode::DropMalformed,
            ModeMessage::FailFast => ReadMode::FailFast,
            ModeMessage::Unspecified => return internal_err!("a scan does not say its mode"),
        };
        let reports = message.reports.as_ref().map(|reports| {
            Ok::<_, DataFusionError>(ScanReports::stored_in(open(&reports.lake)?, reports.folder.clone()))
        });
        let multi_line = match message.multi_line() {
            MultiLineMessage::Auto => MultiLine::Auto,
            MultiLineMessage::True => MultiLine::True,
            MultiLineMessage::False => MultiLine::False,
            MultiLineMessage::Unspecified => return internal_err!("a scan does not say what its objects look like"),
        };
        let (corrupt_record, rescued) = (message.corrupt_record.clone(), message.rescued.clone());
        let reading = Reading { mode, corrupt_record, rescued, multi_line };
        let scan = message.scan.as_ref().ok_or_else(|| internal_datafusion_err!("a scan has no files"))?;
        let schema = parse_table_schema_from_proto(scan)?;
        let memory = Arc::clone(ctx.memory_pool());
        let source = JsonSource::new(open(&message.raw)?, compression, reading, schema, memory)
            .with_reports(reports.transpose()?);
        let decode = PhysicalPlanDecodeContext::new(ctx, self);
        let config = parse_protobuf_file_scan_config(scan, &decode, proto_converter, Arc::new(source))?;
        let groups = with_etags(config.file_groups.clone(), message.etags)?;
        let config = FileScanConfigBuilder::from(config).with_file_groups(groups).build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The scan of raw objects that a node is.
pub(super) fn json_scan(node: &dyn ExecutionPlan) -> Option<(&FileScanConfig, &JsonSource)> {
    let config = file_scan(node)?;
    let source: &dyn Any = config.file_source().as_ref();
    Some((config, source.downcast_ref::<JsonSource>()?))
}

/// The scan of files that a node is.
pub(super) fn file_scan(node: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    let source: &dyn Any = node.downcast_ref::<DataSourceExec>()?.data_source().as_ref();
    source.downcast_ref::<FileScanConfig>()
}

fn with_etags(groups: Vec<FileGroup>, etags: Vec<String>) -> Result<Vec<FileGroup>> {
    let mut etags = etags.into_iter();
    let groups = groups.into_iter().map(|group| {
        let files = group.into_inner().into_iter().map(|mut file| {
            let etag = etags.next().ok_or_else(|| internal_datafusion_err!("a scan has fewer ETags than files"))?;
            file.object_meta.e_tag = Some(etag).filter(|etag| !etag.is_empty());
            Ok(file)
        });
        files.collect::<Result<Vec<_>>>().map(FileGroup::new)
    });
    groups.collect()
}

fn write_message(write: &TableWrite) -> Result<TableWriteMessage> {
    Ok(TableWriteMessage {
        root: write.root.display_location(),
        schema: Some(write.schema.as_ref().try_into()?),
        partition_columns: write.partition_columns.clone(),
        clustered_by: write.clustered_by.clone(),
        target_file_size_bytes: write.target_file_size_bytes,
        run_id: write.run_id.clone(),
        rules: write.rules.iter().map(rule_message).collect(),
        quarantine: write.quarantine.as_ref().map(Prefix::display_location),
    })
}

fn read_write(message: TableWriteMessage) -> Result<TableWrite> {
    let schema = message.schema.ok_or_else(|| internal_datafusion_err!("a table write has no schema"))?;
    Ok(TableWrite {
        root: open(&message.root)?,
        schema: Arc::new((&schema).try_into()?),
        partition_columns: message.partition_columns,
        clustered_by: message.clustered_by,
        target_file_size_bytes: message.target_file_size_bytes,
        run_id: message.run_id,
        rules: message.rules.into_iter().map(read_rule).collect::<Result<_>>()?,
        quarantine: message.quarantine.as_deref().map(open).transpose()?,
    })
}

fn rule_message(rule: &RowRule) -> RuleMessage {
    let action = match rule.action {
        RuleAction::Count => ActionMessage::Count,
        RuleAction::Drop => ActionMessage::Drop,
        RuleAction::Quarantine => ActionMessage::Quarantine,
    };
    RuleMessage { name: rule.name.clone(), condition: rule.condition.clone(), action: action.into() }
}

fn read_rule(message: RuleMessage) -> Result<RowRule> {
    let action = match message.action() {
        ActionMessage::Count => RuleAction::Count,
        ActionMessage::Drop => RuleAction::Drop,
        ActionMessage::Quarantine => RuleAction::Quarantine,
        ActionMessage::Unspecified => return internal_err!("a rule does not say what is done"),
    };
    Ok(RowRule { name: message.name, condition: message.condition, action })
}

fn open(location: &str) -> Result<Prefix> {
    Prefix::open(location).map_err(fault::into_datafusion)
}

fn unreadable(error: impl fmt::Display) -> DataFusionError {
    internal_datafusion_err!("a node of a plan cannot be written or read: {error}")
}
