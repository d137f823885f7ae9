//! One query of a job: from text to canonical SQL with its output schema, or to every diagnostic at once.
//!
//! Data flow: a byte range of a file -> [`parse`] -> [`ParsedQuery`] -> `reads` gives the DAG -> [`resolve`] against the
//! schemas of what is read -> [`plan`] gives the output schema -> [`Query`].
//!
//! Invariant: nothing of the text is executed, and nothing of the data is read; all stages are bounded in depth.

mod cast;
mod condition;
mod dialect;
mod divide;
mod epoch;
mod incremental;
mod lint;
mod parse;
mod place;
mod plan;
mod resolve;
mod scope;
mod tables;
#[cfg(test)]
mod tests;
mod wording;

use std::{collections::BTreeMap, ops::Range};

use datafusion::{
    arrow::datatypes::SchemaRef,
    execution::FunctionRegistry,
    logical_expr::LogicalPlan,
    sql::sqlparser::{ast, dialect::GenericDialect, parser::Parser},
};

pub(crate) use self::condition::{ParsedCondition, parse_condition};
use self::{
    place::Source,
    plan::Planner,
    resolve::{Known, Purpose, Resolved},
    tables::Mention,
};
use crate::{Diagnostic, Diagnostics, ParamType, Query, TableName};

/// Stack for one query, in bytes: what is read here may be nested as deep as [`parse`] allows, and the planner's own
/// recursion in debug builds is greedy. It is reserved, not used.
const STACK_BYTES: usize = 64 << 20;

/// One parsed query of a file; spans are byte offsets in the whole file's text.
#[derive(Clone, Debug)]
pub(crate) struct ParsedQuery {
    source: Source,
    query: Box<ast::Query>,
}

/// A resolved query with its plan and its text.
struct Tree {
    resolved: Resolved,
    planned: LogicalPlan,
    sql: String,
}

/// Parses the one query that stands in `range` of the file's text; a trailing `;` is fine.
pub(crate) fn parse_query(file: &str, text: &str, range: Range<usize>) -> Result<ParsedQuery, Diagnostics> {
    let source = Source::new(file, text, range);
    let query = with_stack(|| parse::parse(&source))?;
    Ok(ParsedQuery { source, query })
}

impl ParsedQuery {
    /// The tables read anywhere in the query, with the place of each mention.
    pub(crate) fn reads(&self) -> Vec<(TableName, Range<usize>)> {
        let mentions = with_stack(|| tables::mentions(&self.query, &self.source)).into_iter();
        mentions
            .filter_map(|mention| match mention {
                Mention::Table(table, span) => Some((table, span)),
                Mention::Invalid(..) => None,
            })
            .collect()
    }

    /// One error for each thing in FROM that is neither `zone.table` nor a name of a WITH.
    pub(crate) fn invalid_tables(&self) -> Vec<Diagnostic> {
        let mentions = with_stack(|| tables::mentions(&self.query, &self.source)).into_iter();
        mentions
            .filter_map(|mention| match mention {
                Mention::Table(..) => None,
                Mention::Invalid(name, span) => Some(tables::invalid_table(&self.source, &name, span, [])),
            })
            .collect()
    }

    /// Resolves names and types of a model's query; gives it with its warnings.
    pub(crate) fn resolve(
        &self,
        tables: &BTreeMap<TableName, SchemaRef>,
        functions: &dyn FunctionRegistry,
        params: &BTreeMap<String, ParamType>,
    ) -> Result<(Query, Vec<Diagnostic>), Diagnostics> {
        self.resolve_for(Purpose::Model, Known { tables, functions, params })
    }

    /// Resolves a query whose result is shown to a person: volatile functions and columns without a name are fine.
    pub(crate) fn resolve_ad_hoc(
        &self,
        tables: &BTreeMap<TableName, SchemaRef>,
        functions: &dyn FunctionRegistry,
        params: &BTreeMap<String, ParamType>,
    ) -> Result<(Query, Vec<Diagnostic>), Diagnostics> {
        self.resolve_for(Purpose::AdHoc, Known { tables, functions, params })
    }

    /// Gives the input whose rows flow to the output, if incremental provably equals full.
    pub(crate) fn driving_input(&self, functions: &dyn FunctionRegistry) -> Result<TableName, Diagnostic> {
        with_stack(|| incremental::driving_input(&self.query, &self.source, functions))
    }

    /// The same query, reading `table` where it names `name`, which is no table.
    pub(crate) fn reading(&self, name: &str, table: &TableName) -> Self {
        let mut query = self.query.clone();
        with_stack(|| tables::replace(&mut query, name, table));
        Self { source: self.source.clone(), query }
    }

    fn resolve_for(&self, purpose: Purpose, known: Known<'_>) -> Result<(Query, Vec<Diagnostic>), Diagnostics> {
        with_stack(|| {
            let Tree { resolved, planned, sql } = self.resolve_tree(purpose, known)?;
            let query = Query {
                sql,
                schema: SchemaRef::clone(planned.schema().inner()),
                reads: resolved.reads.into_iter().collect(),
                params: resolved.params.into_iter().collect(),
            };
            let warnings = if purpose == Purpose::Model { lint::ties(&self.query, &self.source) } else { Vec::new() };
            Ok((query, warnings))
        })
    }

    fn resolve_tree(&self, purpose: Purpose, known: Known<'_>) -> Result<Tree, Diagnostics> {
        let mut resolved = resolve::resolve(&self.query, &self.source, known, purpose).map_err(Diagnostics)?;
        let planner = Planner::new(known);
        let one = |diagnostic| Diagnostics(vec![diagnostic]);
        let plan =
            |query: &ast::Query| planner.plan(query).map_err(|error| one(planner.explain(&error, query, &self.source)));
        let mut planned = plan(&resolved.query)?;
        if resolved.divisions > 0 {
            divide::write_out(&mut resolved.query, planner.divisions());
            planned = plan(&resolved.query)?;
        }
        epoch::refuse_epochs(&planned, &self.source).map_err(one)?;
        let sql = resolved.query.to_string();
        self.check_readable(&sql).map_err(one)?;
        Ok(Tree { resolved, planned, sql })
    }

    /// Canonical SQL is read by another parser, of the same limits: writing things out may have made it too deep for that.
    fn check_readable(&self, sql: &str) -> Result<(), Diagnostic> {
        let parser = Parser::new(&GenericDialect).with_recursion_limit(parse::NESTING_MAX).try_with_sql(sql);
        parser.and_then(|mut parser| parser.parse_query()).map(drop).map_err(|error| {
            let message = format!("this query cannot be written out: {error}");
            self.source.error("too_deep", self.source.range(), message).with_help("name the inner parts in a WITH")
        })
    }
}

/// Compiles one ad-hoc query, which may call volatile functions and have columns without a name.
///
/// # Errors
/// Every unknown name and everything that is not supported, else the first type error.
pub fn compile_query(
    text: &str,
    tables: &BTreeMap<TableName, SchemaRef>,
    functions: &dyn FunctionRegistry,
    params: &BTreeMap<String, ParamType>,
) -> Result<Query, Diagnostics> {
    Ok(parse_query("<query>", text, 0..text.len())?.resolve_ad_hoc(tables, functions, params)?.0)
}

fn with_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES / 2, STACK_BYTES, work)
}
