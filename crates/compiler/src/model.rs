//! Models: a header and a query become a [`Model`] once the schemas of all inputs are known.
//!
//! Data flow: text -> **[`read_model`]** -> [`Draft`] -> the graph orders the drafts -> **[`Draft::finish`]** -> [`Model`].
//!
//! Invariant: columns are spelt in the model as in its stored schema, whatever the header's spelling.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use datafusion::{
    arrow::datatypes::{DataType, Schema, SchemaRef},
    execution::FunctionRegistry,
};

use crate::{
    Checks, Demand, Diagnostic, IntervalUnit, Model, ModelKind, ParamType, Query, Sides, TableName, TimeRange,
    checks::{CheckScope, Checked, build_checks},
    header::{Contract, ContractColumn, Header, KindName, TimeSettings, split_model},
    query::{ParsedQuery, is_range_param, parse_query, range_param_misplaced},
    sql_type::{quoted, same_name, type_text},
    suggest::did_you_mean,
    table_schema,
    text::{FINDINGS_MAX, FileText},
    tokens::Ident,
};

/// Code of the finding that the job has no such table.
pub(crate) const UNKNOWN_TABLE: &str = "unknown_table";

/// A model whose inputs' schemas are not known yet.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    name: TableName,
    file: FileText<'a>,
    header: Header,
    query: ParsedQuery,
    /// Where the query stands, without blanks around it.
    query_span: Range<usize>,
    comment: Option<String>,
    /// Tables read, with the first mention of each.
    pub(crate) reads: BTreeMap<TableName, Range<usize>>,
}

/// The tables of the job whose schemas are known, and what SQL may use.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub(crate) tables: &'s BTreeMap<TableName, SchemaRef>,
    pub(crate) functions: &'s dyn FunctionRegistry,
    pub(crate) params: &'s BTreeMap<String, ParamType>,
}

/// Reads the file of one model; `None` if its query cannot be understood.
pub(crate) fn read_model<'a>(
    name: &TableName,
    file: FileText<'a>,
    audits: &[&str],
) -> (Option<Draft<'a>>, Vec<Diagnostic>) {
    let (parts, mut findings) = split_model(file, audits);
    let Some(parts) = parts else {
        return (None, findings);
    };
    match parse_query(file.path, file.text, parts.query.clone()) {
        Ok(query) => {
            let reads = first_mentions(&query);
            let query_span = trimmed(file.text, parts.query);
            let (header, comment) = (parts.header, parts.comment);
            (Some(Draft { name: name.clone(), file, header, query, query_span, comment, reads }), findings)
        }
        Err(failed) => {
            findings.extend(failed.0);
            (None, findings)
        }
    }
}

/// The tables that a query reads, with the first mention of each.
pub(crate) fn first_mentions(query: &ParsedQuery) -> BTreeMap<TableName, Range<usize>> {
    let mut mentions: BTreeMap<TableName, Range<usize>> = BTreeMap::new();
    for (table, span) in query.reads() {
        let first = mentions.entry(table).or_insert_with(|| span.clone());
        if span.start < first.start {
            *first = span;
        }
    }
    mentions
}

/// What is wrong with the names in a query although not all of its inputs are known: these have been reported, or follow
/// from an error in another file.
pub(crate) fn wrong_names(query: &ParsedQuery, scope: Scope<'_>) -> Vec<Diagnostic> {
    let resolved = query.resolve(scope.tables, scope.functions, scope.params);
    let findings = resolved.err().map_or_else(Vec::new, |failed| failed.0);
    findings.into_iter().filter(|finding| finding.code != UNKNOWN_TABLE).collect()
}

impl<'a> Draft<'a> {
    pub(crate) fn file(&self) -> FileText<'a> {
        self.file
    }

    /// What is wrong with the tables that the query names, if nothing else can be known.
    pub(crate) fn invalid_tables(&self) -> Vec<Diagnostic> {
        self.query.invalid_tables()
    }

    /// What is wrong with the names in the query although not all of its inputs are known.
    pub(crate) fn wrong_names(&self, scope: Scope<'_>) -> Vec<Diagnostic> {
        wrong_names(&self.query, scope)
    }

    /// Resolves the query and checks the header against its output; `None` if there is an error.
    pub(crate) fn finish(&self, scope: Scope<'_>) -> (Option<Model>, Vec<Diagnostic>) {
        let (query, mut findings) = match self.query.resolve(scope.tables, scope.functions, scope.params) {
            Ok(resolved) => resolved,
            Err(failed) => return (None, failed.0),
        };
        let schema = match table_schema(&query.schema) {
            Ok(schema) => schema,
            Err((column, error)) => {
                let message = format!("column `{column}` of type {} cannot be stored", error.data_type);
                let error_at_query = self.file.error("column_type", self.query_span.clone(), message);
                findings.push(error_at_query.with_help(error.reason));
                return (None, findings);
            }
        };
        let warnings = findings.len();
        findings.extend(self.check_view());
        let partitioned_by = self.columns_of(&schema, "partitioned_by", &self.header.partitioned_by, &mut findings);
        let clustered_by = self.columns_of(&schema, "clustered_by", &self.header.clustered_by, &mut findings);
        findings.extend(self.check_partition_columns(&schema, &partitioned_by));
        findings.extend(self.check_cluster_columns(&schema, &clustered_by, &partitioned_by));
        if let Some(contract) = &self.header.columns {
            findings.extend(self.check_contract(contract, &schema));
        }
        findings.extend(self.check_range_params(&query));
        if findings.len() > warnings {
            return (None, findings);
        }
        let kind = self.kind(scope, &schema, &partitioned_by, &mut findings);
        let Some(kind) = kind.filter(|_| findings.len() == warnings) else {
            return (None, findings);
        };
        let parts = Stored { kind, schema, partitioned_by, clustered_by };
        (Some(self.model(query, parts)), findings)
    }

    fn kind(
        &self,
        scope: Scope<'_>,
        schema: &Schema,
        partitioned_by: &[String],
        findings: &mut Vec<Diagnostic>,
    ) -> Option<ModelKind> {
        let found = match &self.header.kind {
            KindName::Full => Ok(ModelKind::Full),
            KindName::View => Ok(ModelKind::View),
            KindName::IncrementalByFile => {
                self.query.driving_input(scope.functions).map(|driving| ModelKind::IncrementalByFile { driving })
            }
            KindName::IncrementalByUniqueKey(columns) => {
                let key = self.key_of(schema, columns, findings)?;
                let sides = self.sides(scope, "INCREMENTAL_BY_UNIQUE_KEY", &key, false);
                sides.map(|sides| ModelKind::IncrementalByUniqueKey { key, sides })
            }
            KindName::IncrementalByPartition if partitioned_by.is_empty() => {
                let span = self.header.places.get("kind").cloned().unwrap_or(0..0);
                let error =
                    self.file.error("missing_key", span, "kind INCREMENTAL_BY_PARTITION needs `partitioned_by`");
                Err(error.with_help("write partitioned_by (..): the columns whose values tell what is replaced"))
            }
            KindName::IncrementalByPartition => {
                let sides = self.sides(scope, "INCREMENTAL_BY_PARTITION", partitioned_by, false);
                sides.map(|sides| ModelKind::IncrementalByPartition { sides })
            }
            KindName::IncrementalByTimeRange(settings) => self.time_range(scope, schema, settings, findings)?,
        };
        found.map_err(|finding| findings.push(finding)).ok()
    }

    fn sides(&self, scope: Scope<'_>, kind: &str, key: &[String], is_time: bool) -> Result<Sides, Diagnostic> {
        self.query.sides((kind, key, is_time), scope.tables, scope.functions, scope.params)
    }

    /// The columns of a key, if all of them are there, and can be compared.
    fn key_of(&self, schema: &Schema, columns: &[Ident], findings: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
        let before = findings.len();
        let key = self.columns_of(schema, "unique_key", columns, findings);
        for ident in columns {
            let field = schema.fields().iter().find(|field| same_name(field.name(), &ident.name));
            if let Some(field) = field.filter(|field| !can_partition(field.data_type())) {
                let message = format!("a {} cannot be a key", type_text(field.data_type()));
                let error = self.file.error("key_type", ident.span.clone(), message);
                let help = "a key is of whole numbers, text, dates, instants, decimals or booleans";
                findings.push(error.with_help(help));
            }
        }
        (findings.len() == before).then_some(key)
    }

    fn time_range(
        &self,
        scope: Scope<'_>,
        schema: &Schema,
        settings: &TimeSettings,
        findings: &mut Vec<Diagnostic>,
    ) -> Option<Result<ModelKind, Diagnostic>> {
        let TimeSettings { time_column, start_us, unit, lookback } = settings;
        let found = self.columns_of(schema, "time_column", std::slice::from_ref(time_column), findings);
        let column = found.into_iter().next()?;
        let field = schema.field_with_name(&column).ok()?;
        if !matches!(field.data_type(), DataType::Date32 | DataType::Timestamp(..)) {
            let message = format!("a {} is no time", type_text(field.data_type()));
            let error = self.file.error("key_type", time_column.span.clone(), message);
            return Some(Err(error.with_help("name a column of the type TIMESTAMP or DATE")));
        }
        if field.data_type() == &DataType::Date32 && matches!(unit, IntervalUnit::Minute | IntervalUnit::Hour) {
            let message = format!("a DATE has no {}s", unit.name());
            let error = self.file.error("key_type", time_column.span.clone(), message);
            return Some(Err(error.with_help("write interval_unit day, month or year")));
        }
        let sides = self.sides(scope, "INCREMENTAL_BY_TIME_RANGE", std::slice::from_ref(&column), true);
        let range = TimeRange { column, start_us: *start_us, unit: *unit, lookback: *lookback };
        Some(sides.map(|sides| ModelKind::IncrementalByTimeRange { range, sides }))
    }

    /// Bounds of a time range are known where there is one.
    fn check_range_params(&self, query: &Query) -> Option<Diagnostic> {
        if matches!(self.header.kind, KindName::IncrementalByTimeRange(_)) {
            return None;
        }
        let param = query.params.iter().find(|param| is_range_param(param))?;
        let span = self.query.place_of_param(param);
        Some(range_param_misplaced(self.file.error("parameter", span, ""), param))
    }

    fn model(&self, query: Query, stored: Stored) -> Model {
        let Header { target_file_size_bytes, tags, owner, description, .. } = &self.header;
        Model {
            name: self.name.clone(),
            canonical: stored.canonical(&query, *target_file_size_bytes),
            kind: stored.kind,
            query,
            schema: stored.schema,
            partitioned_by: stored.partitioned_by,
            clustered_by: stored.clustered_by,
            target_file_size_bytes: *target_file_size_bytes,
            description: description.clone().or_else(|| self.comment.clone()),
            owner: owner.clone(),
            tags: tags.clone(),
            file: self.file.path.to_owned(),
            checks: Checks::default(),
        }
    }

    /// Whether the header uses the audit of a file of `audits/`.
    pub(crate) fn uses_audit(&self, stem: &str) -> bool {
        self.header.audits.iter().any(|audit| audit.name.name.eq_ignore_ascii_case(stem))
    }

    /// Makes the checks of the finished model, and adds those that take rows out to its canonical text.
    pub(crate) fn add_checks(&self, model: &mut Model, scope: CheckScope<'_>) -> Vec<Diagnostic> {
        let checked = Checked { file: self.file, name: &self.name, schema: &model.schema, header: &self.header };
        let (mut checks, findings) = build_checks(checked, scope);
        self.prove(&mut checks, scope);
        let taking_out = checks.canonical_of_rows();
        if !taking_out.is_empty() {
            model.canonical.push_str("\nEXPECT\n");
            model.canonical.push_str(&taking_out);
        }
        model.checks = checks;
        findings
    }

    /// Finds out which unique keys follow from the query.
    fn prove(&self, checks: &mut Checks, scope: CheckScope<'_>) {
        let demands = checks.tables.iter_mut().filter_map(|check| match &mut check.demand {
            Demand::Unique { columns, is_proven } => Some((&*columns, is_proven)),
            _ => None,
        });
        let (keys, answers): (Vec<&[String]>, Vec<&mut bool>) =
            demands.map(|(columns, is_proven)| (columns.as_slice(), is_proven)).unzip();
        if keys.is_empty() {
            return;
        }
        let proven = self.query.unique_keys(&keys, scope.schemas, scope.functions, scope.params);
        answers.into_iter().zip(proven).for_each(|(answer, is_proven)| *answer = is_proven);
    }

    /// Spells columns as the schema does; those that it lacks are findings.
    fn columns_of(&self, schema: &Schema, key: &str, columns: &[Ident], findings: &mut Vec<Diagnostic>) -> Vec<String> {
        let mut found = Vec::with_capacity(columns.len());
        for column in columns.iter().take(FINDINGS_MAX) {
            if let Some(field) = schema.fields().iter().find(|field| same_name(field.name(), &column.name)) {
                found.push(field.name().clone());
            } else {
                let message = format!("{key} names `{}`, which is no column of `{}`", column.name, self.name);
                let error = self.file.error("unknown_column", column.span.clone(), message);
                let names = schema.fields().iter().map(|field| field.name().as_str());
                findings.push(error.with_help_if(did_you_mean(&column.name, names)));
            }
        }
        found
    }

    fn check_view(&self) -> Vec<Diagnostic> {
        if self.header.kind != KindName::View {
            return Vec::new();
        }
        let places = ["partitioned_by", "clustered_by", "target_file_size"].into_iter();
        places
            .filter_map(|key| self.header.places.get(key).map(|span| (key, span)))
            .map(|(key, span)| {
                let message = format!("a VIEW has no `{key}`: it stores nothing");
                self.file.error("view_storage", span.clone(), message).with_help("leave the key out, or use kind FULL")
            })
            .collect()
    }

    fn check_partition_columns(&self, schema: &Schema, columns: &[String]) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        let idents = &self.header.partitioned_by;
        for ident in idents {
            let field = schema.fields().iter().find(|field| same_name(field.name(), &ident.name));
            if let Some(field) = field.filter(|field| !can_partition(field.data_type())) {
                let message = format!("a {} cannot be a partition column", type_text(field.data_type()));
                let error = self.file.error("partition_type", ident.span.clone(), message);
                findings
                    .push(error.with_help("partition by whole numbers, text, dates, instants, decimals or booleans"));
            }
        }
        let distinct: BTreeSet<&String> = columns.iter().collect();
        if let Some(first) = idents.first().filter(|_| distinct.len() == schema.fields().len()) {
            let message = "every column is a partition column: the files would be empty";
            findings.push(self.file.error("partition_type", first.span.clone(), message));
        }
        findings
    }

    fn check_cluster_columns(&self, schema: &Schema, columns: &[String], partitions: &[String]) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for ident in &self.header.clustered_by {
            let Some(name) = columns.iter().find(|name| same_name(name, &ident.name)) else {
                continue;
            };
            if partitions.contains(name) {
                let message = format!("`{name}` is a partition column: it is the same in all rows of a file");
                let error = self.file.error("cluster_type", ident.span.clone(), message);
                findings.push(error.with_help("leave it out of clustered_by"));
            }
            let is_nested = schema.field_with_name(name).is_ok_and(|field| field.data_type().is_nested());
            if is_nested {
                let message = format!("`{name}` has no order: it is nested");
                findings.push(self.file.error("cluster_type", ident.span.clone(), message));
            }
        }
        findings
    }

    fn check_contract(&self, contract: &Contract, schema: &Schema) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for ContractColumn { name: ident, sql_type: declared, .. } in &contract.columns {
            if findings.len() >= FINDINGS_MAX {
                return findings;
            }
            let field = schema.fields().iter().find(|field| same_name(field.name(), &ident.name));
            let Some(field) = field else {
                let message = format!("the query gives no column `{}`", ident.name);
                let error = self.file.error("contract", ident.span.clone(), message);
                let names = schema.fields().iter().map(|field| field.name().as_str());
                findings.push(error.with_help_if(did_you_mean(&ident.name, names)));
                continue;
            };
            let found = type_text(field.data_type());
            if found != declared.canonical {
                let message =
                    format!("column `{}` is declared {}, the query gives {found}", ident.name, declared.canonical);
                let error = self.file.error("contract", ident.span.clone(), message);
                findings.push(error.with_help(format!("cast it in the query, or declare it {found}")));
            }
        }
        for field in schema.fields() {
            if !contract.columns.iter().any(|column| same_name(&column.name.name, field.name())) {
                let message = format!("the query gives column `{}`, which `columns` does not declare", field.name());
                let error = self.file.error("contract", contract.span.clone(), message);
                findings.push(error.with_help(format!(
                    "declare it: {} {}",
                    field.name(),
                    type_text(field.data_type())
                )));
            }
        }
        findings
    }
}

/// How a model's rows are stored.
struct Stored {
    kind: ModelKind,
    schema: SchemaRef,
    partitioned_by: Vec<String>,
    clustered_by: Vec<String>,
}

impl Stored {
    fn canonical(&self, query: &Query, target_file_size_bytes: u64) -> String {
        let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let fields = self.schema.fields().iter();
        let columns: Vec<String> =
            fields.map(|field| format!("{} {}", quoted(field.name()), type_text(field.data_type()))).collect();
        format!(
            "MODEL (kind {}, partitioned_by ({}), clustered_by ({}), columns ({}), target_file_size {target_file_size_bytes});\n{}",
            self.kind.canonical(),
            list(&self.partitioned_by),
            list(&self.clustered_by),
            columns.join(", "),
            query.sql,
        )
    }
}

/// Whether values of the type can be told from one another by the name of a directory.
fn can_partition(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean | DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..) | DataType::Decimal128(..)
        )
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inner = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (inner.len() - inner.trim_start().len());
    let end = start.max(range.start + inner.trim_end().len());
    start..end
}
