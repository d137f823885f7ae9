//! Types and schema of a resolved query, by DataFusion's planner and analyzer, without touching data.
//!
//! Invariant: the planner is asked what it would be asked at run time: the same functions and expression planners, no
//! identifier normalization, text as `Utf8`. What it refuses is said in our words and at the place it is about.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    common::{TableReference, config::ConfigOptions, plan_err},
    error::{DataFusionError, Result},
    execution::FunctionRegistry,
    logical_expr::{
        AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
        logical_plan::builder::LogicalTableSource,
        planner::{ContextProvider, ExprPlanner},
    },
    optimizer::Analyzer,
    sql::{
        planner::{ParserOptions, SqlToRel},
        sqlparser::{
            ast::{Expr, Query, Spanned, Statement, Value, VisitMut, VisitorMut},
            tokenizer::{Location, Span},
        },
    },
};

use super::{divide::Divisions, place::Source, resolve::Known, wording};
use crate::{Diagnostic, TableName, scan_schema};

/// How many times a query is planned again to find the place of an error that has none.
const PROBES_MAX: usize = 300;

/// Plans a resolved query.
pub(super) struct Planner<'a> {
    context: Context<'a>,
    divisions: Divisions,
}

impl<'a> Planner<'a> {
    pub(super) fn new(known: Known<'a>) -> Self {
        let mut options = ConfigOptions::default();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.collect_spans = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        let divisions = Divisions::default();
        let context = Context {
            tables: known.tables,
            functions: known.functions,
            expr_planners: known.functions.expr_planners(),
            options,
            divisions: divisions.clone(),
        };
        Self { context, divisions }
    }

    /// What the planner found out about the divisions of the trees it was given.
    pub(super) fn divisions(&self) -> &Divisions {
        &self.divisions
    }

    /// Gives the plan before the types of operands are made to fit one another.
    pub(super) fn plan_as_written(&self, query: &Query) -> Result<LogicalPlan> {
        let parser_options = ParserOptions::from(&self.context.options.sql_parser);
        let planner = SqlToRel::new_with_options(&self.context, parser_options);
        planner.sql_statement_to_plan(Statement::Query(Box::new(query.clone())))
    }

    /// Gives the analyzed plan; its schema is that of the output.
    pub(super) fn plan(&self, query: &Query) -> Result<LogicalPlan> {
        let plan = self.plan_as_written(query)?;
        Analyzer::new().execute_and_check(plan, &self.context.options, |_, _| {})
    }

    /// Says what the planner refused, and where.
    pub(super) fn explain(&self, error: &DataFusionError, query: &Query, source: &Source) -> Diagnostic {
        let (message, span) = plain(error);
        let known = span.and_then(|span| source.range_of_node(span));
        let range = known.or_else(|| self.locate(&message, query, source)).unwrap_or_else(|| source.range());
        let (message, help) = wording::in_our_words(&message);
        source.error(code(error), range, message).with_help_if(help)
    }

    /// Finds the smallest expression without which the error does not occur.
    fn locate(&self, message: &str, query: &Query, source: &Source) -> Option<Range<usize>> {
        let tree = ExprTree::of(query);
        let mut probes = 0;
        let mut found = None;
        let mut candidates = tree.children(None);
        loop {
            let mut culprits = Vec::new();
            for candidate in candidates {
                probes += 1;
                if probes > PROBES_MAX {
                    return found;
                }
                let mut without = query.clone();
                let _: ControlFlow<()> = without.visit(&mut Replacer { target: candidate, next: 0 });
                let persists = self.plan(&without).is_err_and(|error| plain(&error).0 == message);
                if !persists {
                    culprits.push(candidate);
                }
            }
            // Of two operands that do not fit one another neither is the culprit, their parent is.
            let [culprit] = culprits.as_slice() else { return found };
            found = tree.span(*culprit).and_then(|span| source.range_of_node(span)).or(found);
            candidates = tree.children(Some(*culprit));
        }
    }
}

/// The kinds of refusals that documentation distinguishes.
fn code(error: &DataFusionError) -> &'static str {
    match error.find_root() {
        DataFusionError::NotImplemented(_) => "unsupported",
        DataFusionError::Internal(_) => "planner",
        _ => "type_error",
    }
}

/// The innermost message, and the place if the planner tells it.
fn plain(error: &DataFusionError) -> (String, Option<Span>) {
    match error {
        DataFusionError::Context(_, inner) => plain(inner),
        DataFusionError::Shared(inner) => plain(inner),
        DataFusionError::Collection(errors) => errors.first().map_or_else(|| (String::new(), None), plain),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let (_, place) = plain(inner);
            let notes = diagnostic.notes.iter().filter_map(|note| note.span);
            let span = diagnostic.span.into_iter().chain(notes).next();
            (diagnostic.message.clone(), place.or_else(|| span.map(parser_span)))
        }
        DataFusionError::Internal(message)
        | DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Configuration(message) => (message.clone(), None),
        DataFusionError::ArrowError(error, _) => (error.to_string(), None),
        DataFusionError::SchemaError(error, _) => (error.to_string(), None),
        DataFusionError::External(error) => (error.to_string(), None),
        other => (other.strip_backtrace(), None),
    }
}

pub(super) fn parser_span(span: datafusion::common::Span) -> Span {
    let location = |at: datafusion::common::Location| Location { line: at.line, column: at.column };
    Span { start: location(span.start), end: location(span.end) }
}

/// All expressions of a query, numbered in the order of a visit.
struct ExprTree {
    nodes: Vec<(Option<usize>, Span)>,
    open: Vec<usize>,
}

impl ExprTree {
    fn of(query: &Query) -> Self {
        let mut tree = Self { nodes: Vec::new(), open: Vec::new() };
        let _: ControlFlow<()> = query.clone().visit(&mut tree);
        tree
    }

    fn children(&self, parent: Option<usize>) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, (own, _))| *own == parent).map(|(index, _)| index).collect()
    }

    fn span(&self, node: usize) -> Option<Span> {
        self.nodes.get(node).map(|(_, span)| *span).filter(|span| span.start.line > 0)
    }
}

impl VisitorMut for ExprTree {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.nodes.push((self.open.last().copied(), expr.span()));
        self.open.push(self.nodes.len() - 1);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<()> {
        self.open.pop();
        ControlFlow::Continue(())
    }
}

/// Puts NULL in the place of one expression, counted as [`ExprTree`] does.
struct Replacer {
    target: usize,
    next: usize,
}

impl VisitorMut for Replacer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let is_target = self.next == self.target;
        self.next += 1;
        if is_target {
            *expr = Expr::value(Value::Null);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// What the planner asks about names.
struct Context<'a> {
    tables: &'a BTreeMap<TableName, SchemaRef>,
    functions: &'a dyn FunctionRegistry,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
    divisions: Divisions,
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let table = name.schema().and_then(|zone| TableName::new(zone, name.table()));
        match table.and_then(|table| Some(scan_schema(&table, self.tables.get(&table)?))) {
            Some(schema) => Ok(Arc::new(LogicalTableSource::new(schema))),
            None => plan_err!("there is no table {name}"),
        }
    }

    fn create_cte_work_table(&self, _: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(Arc::new(LogicalTableSource::new(schema)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.divisions.function(name).or_else(|| self.functions.udf(name).ok())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order_function(name).ok()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.udaf(name).ok()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.udwf(name).ok()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        sorted(self.functions.udfs())
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        sorted(self.functions.higher_order_function_names())
    }

    fn udaf_names(&self) -> Vec<String> {
        sorted(self.functions.udafs())
    }

    fn udwf_names(&self) -> Vec<String> {
        sorted(self.functions.udwfs())
    }
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_unstable();
    names
}
