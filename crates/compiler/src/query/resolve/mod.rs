//! Rewrites a query's syntax tree so that it means one thing only.
//!
//! Data flow: the parsed tree -> **here** -> a tree in which every identifier is spelt as declared, qualified and quoted,
//! `*` is written out, parameters have types and the dialect's own meanings (`/`, `now()`, NULLS LAST, `TIMESTAMP`) are
//! said in plain SQL -> the planner, and printed, canonical SQL.
//!
//! Invariant: everything that is unknown is reported, each once and with its place; a name that was reported causes no
//! second report. The tree is handed on only if there was none.

mod expr;
mod from;
mod function;
mod multiset;
mod names;
mod select;
mod wildcard;
mod window;

pub(super) use expr::cast_to;
pub(crate) use expr::{is_range_param, range_param_misplaced};
pub(super) use function::{call as function_call, is_clock};

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    execution::FunctionRegistry,
    sql::sqlparser::ast::{Expr, Query},
};

use super::{
    place::Source,
    scope::{Column, Scope},
};
use crate::{Diagnostic, ParamType, TableName};

/// What a query may name.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) tables: &'a BTreeMap<TableName, SchemaRef>,
    pub(super) functions: &'a dyn FunctionRegistry,
    pub(super) params: &'a BTreeMap<String, ParamType>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The query makes a table: its rows must not depend on chance, and its columns need names that a table can have.
    Model,
    /// The query is shown to a person.
    AdHoc,
}

/// A resolved tree and what was found on the way.
pub(super) struct Resolved {
    pub(super) query: Box<Query>,
    pub(super) reads: BTreeSet<TableName>,
    pub(super) params: BTreeSet<String>,
    /// How many divisions the tree holds in place of `/`; see [`super::divide`].
    pub(super) divisions: usize,
}

/// One output column of a SELECT.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// `None` if the expression has no name.
    pub(super) name: Option<String>,
    /// The column itself if it is nothing but a column under its own name.
    pub(super) expr: Option<Expr>,
    pub(super) data_type: Option<DataType>,
    pub(super) span: Range<usize>,
}

/// Resolves a whole query.
///
/// # Errors
/// Everything that is unknown or not supported, in the order of the text.
pub(super) fn resolve(
    query: &Query,
    source: &Source,
    known: Known<'_>,
    purpose: Purpose,
) -> Result<Resolved, Vec<Diagnostic>> {
    let mut resolver = Resolver {
        source,
        known,
        purpose,
        scopes: Vec::new(),
        ctes: Vec::new(),
        errors: Vec::new(),
        reads: BTreeSet::new(),
        params: BTreeSet::new(),
        divisions: Vec::new(),
        block: 0,
        blocks: 0,
        derived: 0,
        aliases: Vec::new(),
    };
    let mut query = Box::new(query.clone());
    let outputs = resolver.query(&mut query);
    if purpose == Purpose::Model {
        resolver.check_outputs(&outputs);
    }
    if !resolver.errors.is_empty() {
        let mut errors = resolver.errors;
        errors.sort_by(|left, right| {
            (left.span.start, left.span.end, left.code).cmp(&(right.span.start, right.span.end, right.code))
        });
        errors.dedup();
        return Err(errors);
    }
    let Resolver { reads, params, divisions, .. } = resolver;
    Ok(Resolved { query, reads, params, divisions: divisions.len() })
}

/// A name of a WITH.
#[derive(Clone, Debug)]
struct Cte {
    name: String,
    columns: Option<Vec<Column>>,
}

struct Resolver<'a> {
    source: &'a Source,
    known: Known<'a>,
    purpose: Purpose,
    /// Scopes that expressions see, the innermost last.
    scopes: Vec<Scope>,
    /// CTEs that relations see, the innermost last.
    ctes: Vec<Cte>,
    errors: Vec<Diagnostic>,
    reads: BTreeSet<TableName>,
    params: BTreeSet<String>,
    /// The text of each division, with its block: what has both in common is one expression.
    divisions: Vec<(usize, String)>,
    /// The SELECT that is being resolved: the same text means the same inside of one block.
    block: usize,
    blocks: usize,
    derived: usize,
    /// Names that the SELECT list which is being resolved gives, to tell what was meant by an unknown name.
    aliases: Vec<String>,
}

/// Which output names an expression sees besides the scopes.
#[derive(Clone, Copy)]
struct View<'o> {
    outputs: &'o [Output],
    /// Whether an output wins over a column of the same name.
    outputs_first: bool,
}

impl View<'_> {
    /// No output names.
    const SCOPE: View<'static> = View { outputs: &[], outputs_first: false };
}

impl Resolver<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    fn unsupported(&mut self, span: Range<usize>, what: &str) {
        self.report(self.source.error("unsupported", span, format!("{what} is not supported yet")));
    }

    /// Runs `inside` as a SELECT of its own, and gives the enclosing one back.
    fn in_block<T>(&mut self, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.blocks += 1;
        let outer = std::mem::replace(&mut self.block, self.blocks);
        let result = inside(self);
        self.block = outer;
        result
    }

    /// Runs `inside` with one more scope.
    fn in_scope<T>(&mut self, scope: Scope, inside: impl FnOnce(&mut Self) -> T) -> (T, Scope) {
        self.scopes.push(scope);
        let result = inside(self);
        (result, self.scopes.pop().unwrap_or_default())
    }
}
