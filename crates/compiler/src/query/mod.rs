//! One query of a job: from text to canonical SQL with its output schema, or to every diagnostic at once.

use std::{collections::BTreeMap, ops::Range};

use datafusion::{arrow::datatypes::SchemaRef, execution::FunctionRegistry, sql::sqlparser::ast};

use crate::{Diagnostic, Diagnostics, ParamType, Query, Severity, TableName};

/// One parsed query of a file; spans are byte offsets in the whole file's text.
#[derive(Clone, Debug)]
pub(crate) struct ParsedQuery {
    file: String,
    text: String,
    query: Option<Box<ast::Query>>,
}

/// Parses the one query that stands in `range` of the file's text.
pub(crate) fn parse_query(file: &str, text: &str, range: Range<usize>) -> Result<ParsedQuery, Diagnostics> {
    let _ = range;
    Ok(ParsedQuery { file: file.to_owned(), text: text.to_owned(), query: None })
}

impl ParsedQuery {
    /// The tables read anywhere in the query, with the place of each mention.
    pub(crate) fn reads(&self) -> Vec<(TableName, Range<usize>)> {
        Vec::new()
    }

    /// One error for each thing in FROM that is neither `zone.table` nor a CTE.
    pub(crate) fn invalid_tables(&self) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Resolves names and types against `tables`; gives the query and its warnings.
    pub(crate) fn resolve(
        &self,
        _tables: &BTreeMap<TableName, SchemaRef>,
        _functions: &dyn FunctionRegistry,
        _params: &BTreeMap<String, ParamType>,
    ) -> Result<(Query, Vec<Diagnostic>), Diagnostics> {
        Err(Diagnostics(vec![self.unsupported()]))
    }

    /// Gives the input whose rows flow to the output, if incremental provably equals full.
    pub(crate) fn driving_input(&self) -> Result<TableName, Diagnostic> {
        Err(self.unsupported())
    }

    fn unsupported(&self) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: "unsupported",
            message: "not supported yet".to_owned(),
            file: self.file.clone(),
            span: 0..0,
            line: 1,
            column: 1,
            label: None,
            help: None,
        }
    }
}

/// Compiles one ad-hoc query, which may call volatile functions.
///
/// # Errors
/// Every finding, if at least one is an error.
pub fn compile_query(
    text: &str,
    tables: &BTreeMap<TableName, SchemaRef>,
    functions: &dyn FunctionRegistry,
    params: &BTreeMap<String, ParamType>,
) -> Result<Query, Diagnostics> {
    Ok(parse_query("<query>", text, 0..text.len())?.resolve(tables, functions, params)?.0)
}
