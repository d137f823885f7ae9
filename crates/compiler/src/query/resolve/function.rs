//! Function calls: the function itself, its arguments, and those that the dialect gives a meaning of its own.

use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    logical_expr::Volatility,
    sql::sqlparser::{
        ast::{
            Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
            FunctionArguments, Ident, ObjectName, Value, WindowType,
        },
        tokenizer::Span,
    },
};

use super::{Resolver, View};
use crate::{query::cast::instant, suggest::did_you_mean};

/// Calls that the planner knows without a registry.
const PLANNER_FUNCTIONS: [&str; 4] = ["unnest", "unnest_outer", "make_map", "map"];

/// A call of `name`, placed at `span`.
pub(in crate::query) fn call(name: &str, span: Span, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(span, name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The moment of the run, and what derives from it.
enum Clock {
    Instant,
    Date,
    Time,
}

/// Whether a function gives the moment of the run.
pub(in crate::query) fn is_clock(name: &str) -> bool {
    clock(name).is_some()
}

fn clock(name: &str) -> Option<Clock> {
    match name {
        "now" | "current_timestamp" | "localtimestamp" => Some(Clock::Instant),
        "current_date" | "today" | "curdate" => Some(Clock::Date),
        "current_time" | "localtime" => Some(Clock::Time),
        _ => None,
    }
}

impl Resolver<'_> {
    /// Resolves a call; gives what stands for it if that is no call.
    pub(super) fn function(&mut self, function: &mut Function, view: View<'_>) -> Option<Expr> {
        let [part] = function.name.0.as_slice() else {
            let span = self.source.range_of(&function.name);
            let message = format!("there is no function `{}`", function.name);
            self.report(self.source.error("unknown_function", span, message).with_help("functions have no schema"));
            return None;
        };
        let Some(ident) = part.as_ident().cloned() else {
            self.unsupported(self.source.range_of(&function.name), "this kind of function name");
            return None;
        };
        // `user` and the like are read as calls without parentheses, but may well be columns.
        if matches!(function.args, FunctionArguments::None)
            && let Some(named) = self.quietly(|resolver| resolver.column(std::slice::from_ref(&ident), view))
        {
            return Some(named.expr);
        }
        let name = ident.value.to_lowercase();
        if let Some(clock) = clock(&name) {
            return Some(self.clock(clock, &ident, function));
        }
        if matches!(function.args, FunctionArguments::None) && !self.is_known(&name) {
            return self.column(std::slice::from_ref(&ident), view).map(|named| named.expr);
        }
        self.check_known(&ident, &name, function);
        let written =
            if PLANNER_FUNCTIONS.contains(&name.as_str()) || self.is_known(&name) { name } else { ident.value.clone() };
        function.name = ObjectName::from(vec![Ident { value: written, quote_style: None, span: ident.span }]);
        self.call_parts(function, view);
        None
    }

    /// Runs `attempt`, and forgets what it reported if it gives nothing.
    fn quietly<T>(&mut self, attempt: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let reported = self.errors.len();
        let result = attempt(self);
        self.errors.truncate(reported);
        result
    }

    fn clock(&mut self, clock: Clock, ident: &Ident, function: &Function) -> Expr {
        let has_arguments = match &function.args {
            FunctionArguments::List(list) => !list.args.is_empty(),
            FunctionArguments::None => false,
            FunctionArguments::Subquery(_) => true,
        };
        if has_arguments || function.over.is_some() || function.filter.is_some() {
            let span = self.source.range_of(function);
            self.report(self.source.error("arguments", span, format!("`{}` takes no arguments", ident.value)));
        }
        self.params.insert("execution_ts".to_owned());
        let moment = placeholder("execution_ts", ident.span);
        let moment = super::expr::cast_to(moment, &instant(), false, ident.span);
        match clock {
            Clock::Instant => moment,
            Clock::Date => super::expr::cast_to(moment, &DataType::Date32, false, ident.span),
            Clock::Time => super::expr::cast_to(moment, &DataType::Time64(TimeUnit::Nanosecond), false, ident.span),
        }
    }

    fn is_known(&self, name: &str) -> bool {
        let functions = self.known.functions;
        functions.udf(name).is_ok()
            || functions.udaf(name).is_ok()
            || functions.udwf(name).is_ok()
            || functions.higher_order_function(name).is_ok()
    }

    fn check_known(&mut self, ident: &Ident, name: &str, function: &Function) {
        let span = self.source.range_of_ident(ident);
        let functions = self.known.functions;
        if PLANNER_FUNCTIONS.contains(&name) {
            return;
        }
        if !self.is_known(name) {
            let names = functions.udfs().into_iter().chain(functions.udafs()).chain(functions.udwfs());
            let mut names: Vec<String> = names.filter(|name| !name.starts_with("__")).collect();
            names.sort_unstable();
            let help = did_you_mean(name, names.iter().map(String::as_str));
            let error = self.source.error("unknown_function", span, format!("there is no function `{}`", ident.value));
            self.report(error.with_help_if(help));
            return;
        }
        if functions.higher_order_function(name).is_ok() && functions.udf(name).is_err() {
            self.unsupported(span, "a function of lambdas");
            return;
        }
        let is_window_only = functions.udf(name).is_err() && functions.udaf(name).is_err();
        if is_window_only && function.over.is_none() {
            let message = format!("`{}` is a window function and needs OVER (…)", ident.value);
            self.report(self.source.error("window_function", span, message));
            return;
        }
        let volatile = functions.udf(name).is_ok_and(|udf| udf.signature().volatility == Volatility::Volatile);
        if volatile && self.purpose == super::Purpose::Model {
            let message = format!(
                "`{}` gives another value each time, so that a model would never be the same twice",
                ident.value
            );
            let help = "hash columns of the row instead, or make the value a parameter";
            self.report(self.source.error("volatile_function", span, message).with_help(help));
        }
    }

    /// Resolves arguments, FILTER, ORDER BY and OVER.
    fn call_parts(&mut self, function: &mut Function, view: View<'_>) {
        let span = self.source.range_of(&function.name);
        if !matches!(function.parameters, FunctionArguments::None) {
            self.unsupported(span.clone(), "a second list of arguments");
        }
        match &mut function.args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => self.subquery(query),
            FunctionArguments::List(list) => {
                for arg in &mut list.args {
                    self.argument(arg, view);
                }
                for clause in &mut list.clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(order_by) => self.order_by(order_by, view),
                        FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
                        other => {
                            let what = format!("{other} in arguments");
                            self.unsupported(span.clone(), &what);
                        }
                    }
                }
            }
        }
        if let Some(filter) = &mut function.filter {
            self.expr(filter, view);
        }
        self.order_by(&mut function.within_group, view);
        if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
            self.window(spec, view);
        }
    }

    fn argument(&mut self, arg: &mut FunctionArg, view: View<'_>) {
        let value = match arg {
            FunctionArg::Named { arg, .. } | FunctionArg::Unnamed(arg) => arg,
            FunctionArg::ExprNamed { name, arg, .. } => {
                // The name is one of the function's, not of a column.
                if !matches!(name, Expr::Identifier(_)) {
                    self.unsupported(self.source.range_of(name), "this kind of argument name");
                }
                arg
            }
        };
        match value {
            FunctionArgExpr::Expr(expr) => self.expr(expr, view),
            FunctionArgExpr::Wildcard => {}
            FunctionArgExpr::QualifiedWildcard(name) => {
                self.unsupported(self.source.range_of(name), "table.* as an argument");
            }
            FunctionArgExpr::WildcardWithOptions(_) => {
                self.unsupported(self.source.range(), "* with options as an argument")
            }
        }
    }
}

/// `$name`
pub(super) fn placeholder(name: &str, span: Span) -> Expr {
    Expr::value(Value::Placeholder(format!("${name}")).with_span(span))
}
