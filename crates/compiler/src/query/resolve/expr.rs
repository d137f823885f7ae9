//! Expressions: every kind that the planner plans, its parts resolved; all others are reported.

use datafusion::{
    arrow::datatypes::DataType,
    sql::sqlparser::{
        ast::{
            AccessExpr, BinaryOperator, CastKind, Expr, Ident, OrderByExpr, Query, Spanned, Subscript, UnaryOperator,
            Value, ValueWithSpan,
        },
        tokenizer::Span,
    },
};

use super::{
    Purpose, Resolver, View,
    function::{call, placeholder},
    names::Named,
};
use crate::{
    Diagnostic, ParamType,
    query::{
        cast::{arrow_type, instant, plain_sql},
        divide,
    },
    suggest::closest,
};

/// A cast of `expr` that canonical SQL can say; a failing `is_try` gives NULL.
pub(in crate::query) fn cast_to(expr: Expr, data_type: &DataType, is_try: bool, span: Span) -> Expr {
    match plain_sql(data_type) {
        Some(data_type) => Expr::Cast {
            kind: if is_try { CastKind::TryCast } else { CastKind::Cast },
            expr: Box::new(expr),
            data_type,
            array: false,
            format: None,
        },
        None => {
            let name = Expr::value(Value::SingleQuotedString(data_type.to_string()).with_span(span));
            call(if is_try { "arrow_try_cast" } else { "arrow_cast" }, span, vec![expr, name])
        }
    }
}

/// A pattern whose escape is the backslash; `None` if `escape` is not one character, or the last one of the pattern.
fn with_backslashes(pattern: &str, escape: &str) -> Option<String> {
    let mut characters = escape.chars();
    let (Some(escape), None) = (characters.next(), characters.next()) else { return None };
    let mut mended = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            _ if character == escape => mended.extend(['\\', rest.next()?]),
            '\\' => mended.push_str("\\\\"),
            _ => mended.push(character),
        }
    }
    Some(mended)
}

impl Resolver<'_> {
    /// Resolves an expression in place.
    pub(super) fn expr(&mut self, expr: &mut Expr, view: View<'_>) {
        if let Some(replacement) = self.replacement(expr, view) {
            *expr = replacement;
        }
    }

    /// Resolves a subquery of an expression.
    pub(super) fn subquery(&mut self, query: &mut Query) {
        self.query(query);
    }

    /// Resolves sort keys; NULLs are last unless told.
    pub(super) fn order_by(&mut self, keys: &mut [OrderByExpr], view: View<'_>) {
        for key in keys {
            if key.with_fill.is_some() {
                self.unsupported(self.source.range_of(key), "WITH FILL");
            }
            key.options.nulls_first.get_or_insert(false);
            self.expr(&mut key.expr, view);
        }
    }

    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e mut Expr>, view: View<'_>) {
        exprs.into_iter().for_each(|expr| self.expr(expr, view));
    }

    /// Resolves the parts of an expression; gives what must stand in its place.
    fn replacement(&mut self, expr: &mut Expr, view: View<'_>) -> Option<Expr> {
        match expr {
            Expr::Identifier(ident) => {
                return self.column(std::slice::from_ref(ident), view).map(|named| named.expr);
            }
            Expr::CompoundIdentifier(parts) => return self.column(parts, view).map(|named| named.expr),
            Expr::CompoundFieldAccess { root, access_chain } => {
                return self.access(root, access_chain, view).map(|named| named.expr);
            }
            Expr::Value(value) => return self.value(value),
            Expr::Function(function) => return self.function(function, view),
            Expr::Cast { .. } | Expr::TypedString(_) => return self.cast(expr, view),
            Expr::BinaryOp { .. } => return self.binary(expr, view),
            Expr::RLike { .. } => return self.rlike(expr, view),
            Expr::Like { .. } | Expr::ILike { .. } => self.like(expr, view),
            Expr::Subquery(query) | Expr::Exists { subquery: query, .. } => self.subquery(query),
            Expr::InSubquery { expr, subquery, .. } => {
                self.expr(expr, view);
                self.subquery(subquery);
            }
            _ => self.parts(expr, view),
        }
        None
    }

    /// `a RLIKE b` and `a REGEXP b` are calls.
    fn rlike(&mut self, expr: &mut Expr, view: View<'_>) -> Option<Expr> {
        let span = expr.span();
        let Expr::RLike { negated, expr, pattern, .. } = expr else { return None };
        self.exprs([expr.as_mut(), pattern.as_mut()], view);
        let matches = call("rlike", span, vec![expr.as_ref().clone(), pattern.as_ref().clone()]);
        Some(match negated {
            false => matches,
            true => Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(matches) })),
        })
    }

    /// The planner knows no escape but the backslash: a pattern with another one is written with it.
    fn like(&mut self, expr: &mut Expr, view: View<'_>) {
        let span = self.source.range_of(expr);
        let (Expr::Like { expr, pattern, escape_char, .. } | Expr::ILike { expr, pattern, escape_char, .. }) = expr
        else {
            return;
        };
        self.exprs([expr.as_mut(), pattern.as_mut()], view);
        let Some(escape) = escape_char.take() else { return };
        let mended = match (&escape.value, pattern.as_mut()) {
            (
                Value::SingleQuotedString(escape),
                Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }),
            ) => with_backslashes(text, escape).map(|mended| *text = mended),
            _ => None,
        };
        if mended.is_none() {
            self.unsupported(span, "ESCAPE with anything but one character, and a pattern that is a text");
        }
    }

    /// Resolves the parts of what is nothing but a composition of them.
    fn parts(&mut self, expr: &mut Expr, view: View<'_>) {
        match expr {
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Nested(inner)
            | Expr::Extract { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::Named { expr: inner, .. } => self.expr(inner, view),
            Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right)
            | Expr::AnyOp { left, right, .. }
            | Expr::AllOp { left, right, .. }
            | Expr::SimilarTo { expr: left, pattern: right, .. }
            | Expr::Position { expr: left, r#in: right }
            | Expr::AtTimeZone { timestamp: left, time_zone: right } => {
                self.exprs([left.as_mut(), right.as_mut()], view);
            }
            Expr::Between { expr, low, high, .. } => self.exprs([expr.as_mut(), low.as_mut(), high.as_mut()], view),
            Expr::InList { expr, list, .. } => {
                self.expr(expr, view);
                self.exprs(list, view);
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.exprs(operand.as_deref_mut(), view);
                for when in conditions {
                    self.exprs([&mut when.condition, &mut when.result], view);
                }
                self.exprs(else_result.as_deref_mut(), view);
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                self.exprs(sets.iter_mut().flatten(), view);
            }
            _ => self.text_and_literals(expr, view),
        }
    }

    fn text_and_literals(&mut self, expr: &mut Expr, view: View<'_>) {
        match expr {
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.exprs(
                    [Some(expr.as_mut()), substring_from.as_deref_mut(), substring_for.as_deref_mut()]
                        .into_iter()
                        .flatten(),
                    view,
                );
            }
            Expr::Trim { trim_what, expr, trim_characters, .. } => {
                self.expr(expr, view);
                self.exprs(trim_what.as_deref_mut(), view);
                self.exprs(trim_characters.iter_mut().flatten(), view);
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.exprs([expr.as_mut(), overlay_what.as_mut(), overlay_from.as_mut()], view);
                self.exprs(overlay_for.as_deref_mut(), view);
            }
            Expr::Tuple(items) | Expr::Struct { values: items, .. } => self.exprs(items, view),
            Expr::Array(array) => self.exprs(&mut array.elem, view),
            Expr::Dictionary(fields) => self.exprs(fields.iter_mut().map(|field| field.value.as_mut()), view),
            Expr::Map(map) => {
                let parts = map.entries.iter_mut().flat_map(|entry| [entry.key.as_mut(), entry.value.as_mut()]);
                self.exprs(parts, view);
            }
            Expr::Interval(interval) => self.expr(&mut interval.value, view),
            other => {
                let span = self.source.range_of(other);
                let what = format!("`{other}`");
                let what = if what.len() > 60 { "this expression" } else { what.as_str() };
                self.unsupported(span, what);
            }
        }
    }

    /// `a.b[1].c`: a column or any expression, then fields and elements of it.
    fn access(&mut self, root: &mut Expr, chain: &mut [AccessExpr], view: View<'_>) -> Option<Named> {
        let mut parts: Vec<Ident> = match root {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => Vec::new(),
        };
        let mut rest = chain.iter_mut().peekable();
        let mut named = if parts.is_empty() {
            self.expr(root, view);
            Named { expr: root.clone(), name: "it".to_owned(), data_type: None }
        } else {
            while let Some(AccessExpr::Dot(Expr::Identifier(ident))) =
                rest.next_if(|access| matches!(access, AccessExpr::Dot(Expr::Identifier(_))))
            {
                parts.push(ident.clone());
            }
            self.column(&parts, view)?
        };
        for access in rest {
            named = match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => self.field(named, ident)?,
                AccessExpr::Dot(other) => {
                    self.unsupported(self.source.range_of(other), "this kind of field");
                    return None;
                }
                AccessExpr::Subscript(subscript) => self.element(named, subscript, view)?,
            };
        }
        Some(named)
    }

    fn element(&mut self, parent: Named, subscript: &mut Subscript, view: View<'_>) -> Option<Named> {
        if let Subscript::Index { index: Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), span }) } =
            subscript
            && matches!(parent.data_type, Some(DataType::Struct(_)))
        {
            let ident = Ident::with_span(*span, name.clone());
            return self.field(parent, &ident);
        }
        let data_type = match (&parent.data_type, &*subscript) {
            (Some(DataType::List(item) | DataType::LargeList(item)), Subscript::Index { .. }) => {
                Some(item.data_type().clone())
            }
            (Some(list @ DataType::List(_)), Subscript::Slice { .. }) => Some(list.clone()),
            _ => None,
        };
        match subscript {
            Subscript::Index { index } => self.expr(index, view),
            Subscript::Slice { lower_bound, upper_bound, stride } => {
                self.exprs([lower_bound, upper_bound, stride].into_iter().flatten(), view);
            }
        }
        let access = AccessExpr::Subscript(subscript.clone());
        let expr = match parent.expr {
            Expr::CompoundFieldAccess { root, mut access_chain } => {
                access_chain.push(access);
                Expr::CompoundFieldAccess { root, access_chain }
            }
            root => Expr::CompoundFieldAccess { root: Box::new(root), access_chain: vec![access] },
        };
        Some(Named { expr, name: parent.name, data_type })
    }

    fn binary(&mut self, expr: &mut Expr, view: View<'_>) -> Option<Expr> {
        let span = expr.span();
        let Expr::BinaryOp { left, op, right } = expr else { return None };
        self.exprs([left.as_mut(), right.as_mut()], view);
        match op {
            BinaryOperator::Divide => {
                let key = (self.block, format!("{left} / {right}"));
                let index = self.divisions.iter().position(|other| *other == key).unwrap_or_else(|| {
                    self.divisions.push(key);
                    self.divisions.len() - 1
                });
                Some(divide::marker(left.as_ref().clone(), right.as_ref().clone(), index, span))
            }
            BinaryOperator::MyIntegerDivide | BinaryOperator::DuckIntegerDivide => {
                Some(self.integer_division(left.as_ref().clone(), right.as_ref().clone(), span))
            }
            _ => None,
        }
    }

    /// `div` is a function where the registry has it, else the division of two BIGINTs.
    fn integer_division(&self, left: Expr, right: Expr, span: Span) -> Expr {
        if self.known.functions.udf("div").is_ok() {
            return call("div", span, vec![left, right]);
        }
        let bigint = |expr| Box::new(cast_to(expr, &DataType::Int64, false, span));
        let division = Expr::BinaryOp { left: bigint(left), op: BinaryOperator::Divide, right: bigint(right) };
        Expr::Nested(Box::new(division))
    }

    fn cast(&mut self, expr: &mut Expr, view: View<'_>) -> Option<Expr> {
        let span = expr.span();
        let (inner, data_type, is_try) = match expr {
            Expr::Cast { kind, expr: inner, data_type, array, format } => {
                if *array || format.is_some() {
                    self.unsupported(self.source.range_of(inner.as_ref()), "a CAST with a format");
                }
                self.expr(inner, view);
                let is_try = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
                (inner.as_ref().clone(), data_type.clone(), is_try)
            }
            Expr::TypedString(typed) => (Expr::Value(typed.value.clone()), typed.data_type.clone(), false),
            _ => return None,
        };
        match arrow_type(&data_type) {
            Ok(data_type) => Some(cast_to(inner, &data_type, is_try, span)),
            Err(problem) => {
                let place = self.source.find_after(&self.source.range_of(expr), &data_type.to_string());
                self.report(self.source.error("unknown_type", place, problem.message).with_help_if(problem.help));
                None
            }
        }
    }

    /// A literal as it is; a parameter as a placeholder of its type.
    fn value(&mut self, value: &ValueWithSpan) -> Option<Expr> {
        let Value::Placeholder(written) = &value.value else { return None };
        let span = self.source.range_of_span(value.span).unwrap_or_else(|| self.source.range());
        let Some(name) = written.strip_prefix(':') else {
            let error = self.source.error("parameter", span, format!("`{written}` is no parameter"));
            self.report(error.with_help("a parameter is written `:name` and declared in job.toml"));
            return None;
        };
        let folded = name.to_lowercase();
        if is_range_param(&folded) && self.purpose == Purpose::AdHoc {
            self.report(range_param_misplaced(self.source.error("parameter", span, ""), &folded));
            return None;
        }
        let declared = self
            .known
            .params
            .get_key_value(name)
            .or_else(|| self.known.params.iter().find(|(other, _)| other.to_lowercase() == folded));
        let (name, param_type) = match (declared, folded.as_str()) {
            (Some((name, param_type)), _) => (name.clone(), *param_type),
            (None, "run_id") => (folded, ParamType::Varchar),
            (None, "execution_ts" | "start_ts" | "end_ts") => (folded, ParamType::Timestamp),
            (None, _) => {
                let known = self.known.params.keys().map(String::as_str).chain(["run_id", "execution_ts"]);
                let help = closest(name, known).map(|name| format!("did you mean `:{name}`?"));
                let error = self.source.error("unknown_parameter", span, format!("there is no parameter `:{name}`"));
                self.report(
                    error.with_help(help.unwrap_or_else(|| "declare it under [params] in job.toml".to_owned())),
                );
                return None;
            }
        };
        self.params.insert(name.clone());
        Some(cast_to(placeholder(&name, value.span), &param_data_type(param_type), false, value.span))
    }
}

/// Whether a parameter is a bound of the time range that a run computes.
pub(crate) fn is_range_param(name: &str) -> bool {
    matches!(name, "start_ts" | "end_ts")
}

/// Says of a finding that the parameter is known, and not here.
pub(crate) fn range_param_misplaced(mut finding: Diagnostic, name: &str) -> Diagnostic {
    finding.message = format!("`:{name}` is known in models of kind INCREMENTAL_BY_TIME_RANGE only");
    finding.with_help("declare a parameter of another name in job.toml")
}

fn param_data_type(param_type: ParamType) -> DataType {
    match param_type {
        ParamType::Boolean => DataType::Boolean,
        ParamType::Bigint => DataType::Int64,
        ParamType::Double => DataType::Float64,
        ParamType::Varchar => DataType::Utf8,
        ParamType::Date => DataType::Date32,
        ParamType::Timestamp => instant(),
    }
}
