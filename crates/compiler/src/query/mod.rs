//! One query of a job: from text to canonical SQL with its output schema, or to every diagnostic at once.
//!
//! Data flow: a byte range of a file -> [`parse`] -> [`ParsedQuery`] -> `reads` gives the DAG -> [`resolve`] against the
//! schemas of what is read -> [`plan`] gives the output schema -> [`Query`].
//!
//! Invariant: nothing of the text is executed, and nothing of the data is read; all stages are bounded in depth.

mod affected;
mod blame;
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
mod sides;
mod tables;
mod terms;
#[cfg(test)]
mod tests;
mod unique;
mod wording;

use std::{collections::BTreeMap, ops::Range};

use datafusion::{
    arrow::datatypes::SchemaRef,
    execution::FunctionRegistry,
    logical_expr::LogicalPlan,
    sql::sqlparser::{ast, dialect::GenericDialect, parser::Parser},
};

pub(crate) use self::{
    condition::{ParsedCondition, parse_condition},
    resolve::{is_range_param, range_param_misplaced},
};
use self::{
    place::Source,
    plan::Planner,
    resolve::{Known, Purpose, Resolved},
    tables::Mention,
};
use crate::{Diagnostic, Diagnostics, ParamType, Query, Side, Sides, TableName, sql_type::quoted};

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

    /// Gives the inputs whose rows tell which rows of the output they can change, by the key in `columns` of the output,
    /// or why rows of one key cannot be computed apart. `kind` is what needs to know.
    pub(crate) fn sides(
        &self,
        (kind, columns, is_time): (&str, &[String], bool),
        tables: &BTreeMap<TableName, SchemaRef>,
        functions: &dyn FunctionRegistry,
        params: &BTreeMap<String, ParamType>,
    ) -> Result<Sides, Diagnostic> {
        let known = Known { tables, functions, params };
        let failed = |mut failed: Diagnostics| {
            let first = failed.0.drain(..).next();
            first.unwrap_or_else(|| self.source.error("planner", self.source.range(), "the query does not plan"))
        };
        with_stack(|| {
            let Tree { resolved, planned, .. } = self.resolve_tree(Purpose::Model, known).map_err(failed)?;
            let planner = Planner::new(known);
            let plan = planner.plan_as_written(&resolved.query);
            let plan = plan.map_err(|error| planner.explain(&error, &resolved.query, &self.source))?;
            let type_of = |column: &String| planned.schema().field_with_unqualified_name(column).ok();
            let types = columns.iter().filter_map(|column| Some(type_of(column)?.data_type().clone())).collect();
            let sides = affected::sides(&plan, affected::Wanted { columns, is_time }, types);
            let sides = sides.and_then(|sides| written_out(&planner, sides));
            sides.map_err(|refusal| {
                let message = format!("{kind} is not possible with {}", refusal.what);
                let help = "rows of one key must come from rows of that key alone: use kind FULL, or move this part to \
                            a model of its own";
                let place = blame::place(&refusal.blame, &self.query, &self.source);
                self.source.error("not_incremental", place, message).with_help(help)
            })
        })
    }

    /// Tells of each key, by its columns of the output, whether provably no two rows share it.
    pub(crate) fn unique_keys(
        &self,
        keys: &[&[String]],
        tables: &BTreeMap<TableName, SchemaRef>,
        functions: &dyn FunctionRegistry,
        params: &BTreeMap<String, ParamType>,
    ) -> Vec<bool> {
        let known = Known { tables, functions, params };
        with_stack(|| {
            let tree = self.resolve_tree(Purpose::Model, known).ok();
            let plan = tree.and_then(|tree| Planner::new(known).plan_as_written(&tree.resolved.query).ok());
            let is_unique = |key: &&[String]| plan.as_ref().is_some_and(|plan| unique::is_unique(plan, key));
            keys.iter().map(is_unique).collect()
        })
    }

    /// Where the parameter `name` is used first.
    pub(crate) fn place_of_param(&self, name: &str) -> Range<usize> {
        blame::place(&affected::Blame::Param(name.to_owned()), &self.query, &self.source)
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

/// Holds the text of sides against the planner: what it does not read as it was meant is not used.
fn written_out(planner: &Planner<'_>, sides: Sides) -> Result<Sides, affected::Refusal> {
    let plans = |table: &TableName, side: &Side| {
        let sql = side.rows_of(&format!("{}.{}", quoted(table.zone()), quoted(table.table())));
        let parser = Parser::new(&GenericDialect).with_recursion_limit(parse::NESTING_MAX).try_with_sql(&sql);
        parser.and_then(|mut parser| parser.parse_query()).is_ok_and(|query| planner.plan(&query).is_ok())
    };
    let mut checked = Sides::new();
    for (table, sides) in sides {
        for mut side in sides {
            if !plans(&table, &side) {
                side.filters.clear();
            }
            if !plans(&table, &side) {
                let what = format!("a key that cannot be written for rows of `{table}` alone: {}", side.key.join(", "));
                return Err(affected::Refusal::new(what, affected::Blame::Query));
            }
            checked.entry(table.clone()).or_default().push(side);
        }
    }
    Ok(checked)
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
