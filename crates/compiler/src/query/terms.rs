//! What is followed through a query: the key's columns, each as expressions of equal value, and conditions beside them.
//!
//! Invariant: every form of a term has the term's value in all rows that reach the output. A term without a form is lost,
//! and with it the proof.

use datafusion::{
    common::{
        Column, DFSchema, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, Operator, expr::BinaryExpr},
};

use super::{
    affected::{Blame, RANGE_PARAMS, Refusal, is_same_type},
    cast::plain_sql,
};
use crate::sql_type::quoted;

/// Forms of one term: equalities could make more than anybody needs.
const FORMS_MAX: usize = 8;

/// What is followed, over the columns of one plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Goal {
    /// Names of the key's columns in the output.
    pub(super) names: Vec<String>,
    /// For each column of the key its forms.
    pub(super) terms: Vec<Vec<Expr>>,
    /// Conditions that rows meet which reach the output.
    pub(super) filters: Vec<Expr>,
}

impl Goal {
    /// The same over the columns of an input: `column` gives what a column, by its index, is there.
    pub(super) fn map(&self, schema: &DFSchema, column: &dyn Fn(usize) -> Option<Expr>) -> Self {
        let mapped = |exprs: &[Expr]| exprs.iter().filter_map(|expr| rewrite(expr, schema, column)).collect();
        let terms = self.terms.iter().map(|forms| mapped(forms)).collect();
        Self { names: self.names.clone(), terms, filters: mapped(&self.filters) }
    }

    /// Without the forms and conditions that do not fulfil something.
    pub(super) fn keep(mut self, is_kept: &dyn Fn(&Expr) -> bool) -> Self {
        self.terms.iter_mut().for_each(|forms| forms.retain(is_kept));
        self.filters.retain(is_kept);
        self
    }

    /// With no form left.
    pub(super) fn emptied(mut self) -> Self {
        self.terms.iter_mut().for_each(Vec::clear);
        self
    }

    /// Whether every term has a form.
    pub(super) fn is_whole(&self) -> bool {
        self.terms.iter().all(|forms| !forms.is_empty())
    }

    /// The first form of each term that has none any more in `below`.
    pub(super) fn lost_in(&self, below: &Self) -> Vec<Expr> {
        let pairs = self.terms.iter().zip(&below.terms);
        pairs.filter(|(_, below)| below.is_empty()).filter_map(|(forms, _)| forms.first().cloned()).collect()
    }

    /// Itself if every term has a form, else a refusal: `with`, completed by the name of the key's column.
    pub(super) fn or_refuse(self, before: &Self, with: &str, blame: Blame) -> Result<Self, Refusal> {
        let Some(index) = self.terms.iter().position(Vec::is_empty) else { return Ok(self) };
        let blame = match blame {
            Blame::Exprs(exprs) if exprs.is_empty() => Blame::Exprs(before.lost_in(&self)),
            blame => blame,
        };
        let name = self.names.get(index).map_or("", String::as_str);
        Err(Refusal::new(format!("{with} `{name}`"), blame))
    }

    /// Adds the forms that follow from expressions being equal.
    pub(super) fn expand(&mut self, equal: &[(Expr, Expr)], schema: &DFSchema) {
        let canonical = |expr: &Expr| rewrite(expr, schema, &|index| Some(column_at(schema, index)));
        let equal: Vec<(Expr, Expr)> =
            equal.iter().filter_map(|(left, right)| Some((canonical(left)?, canonical(right)?))).collect();
        for forms in &mut self.terms {
            for form in forms.iter_mut() {
                *form = canonical(form).unwrap_or_else(|| form.clone());
            }
            let mut next = 0;
            while let Some(form) = forms.get(next).cloned() {
                next += 1;
                for (left, right) in &equal {
                    for (from, to) in [(left, right), (right, left)] {
                        let other = replaced(&form, from, to);
                        if forms.len() < FORMS_MAX && !forms.contains(&other) && is_same_type(&form, &other, schema) {
                            forms.push(other);
                        }
                    }
                }
            }
        }
    }
}

/// The column of a schema with this index.
pub(super) fn column_at(schema: &DFSchema, index: usize) -> Expr {
    if index >= schema.fields().len() {
        return Expr::Literal(ScalarValue::Null, None);
    }
    Expr::Column(Column::from(schema.qualified_field(index)))
}

/// Puts what `column` gives in the place of each column; `None` if a column is nothing there, or the expression reads
/// more than its row.
pub(super) fn rewrite(expr: &Expr, schema: &DFSchema, column: &dyn Fn(usize) -> Option<Expr>) -> Option<Expr> {
    let mut is_lost = false;
    let rewritten = expr.clone().transform_up(|inner| {
        Ok(match inner {
            Expr::Column(own) => match schema.maybe_index_of_column(&own).and_then(column) {
                Some(found) => Transformed::yes(with_spans(found, &own)),
                None => {
                    is_lost = true;
                    Transformed::no(Expr::Column(own))
                }
            },
            other => {
                is_lost |= !is_of_row_node(&other);
                Transformed::no(other)
            }
        })
    });
    rewritten.ok().map(|rewritten| rewritten.data).filter(|_| !is_lost)
}

/// Whether an expression depends on its row alone.
pub(super) fn is_of_row(expr: &Expr) -> bool {
    !expr.exists(|inner| Ok(!is_of_row_node(inner))).unwrap_or(true)
}

fn is_of_row_node(expr: &Expr) -> bool {
    !matches!(
        expr,
        Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Unnest(_)
            | Expr::GroupingSet(_)
    )
}

/// A column of which it is not known where it stands takes the place of the one that it stands for.
fn with_spans(found: Expr, own: &Column) -> Expr {
    match found {
        Expr::Column(mut column) if column.spans.0.is_empty() => {
            column.spans = own.spans.clone();
            Expr::Column(column)
        }
        other => other,
    }
}

fn replaced(expr: &Expr, from: &Expr, to: &Expr) -> Expr {
    let replaced = expr.clone().transform_down(|inner| {
        Ok(if inner == *from {
            Transformed::new(to.clone(), true, TreeNodeRecursion::Jump)
        } else {
            Transformed::no(inner)
        })
    });
    replaced.map_or_else(|_| expr.clone(), |replaced| replaced.data)
}

/// The indices of the columns that an expression reads.
pub(super) fn refers_to(expr: &Expr, schema: &DFSchema) -> Vec<usize> {
    let columns = expr.column_refs().into_iter();
    let mut found: Vec<usize> = columns.filter_map(|column| schema.maybe_index_of_column(column)).collect();
    found.sort_unstable();
    found
}

/// Whether rows that are alike in `parts` are alike in an expression.
pub(super) fn is_covered(expr: &Expr, parts: &[Expr]) -> bool {
    if parts.contains(expr) {
        return true;
    }
    if matches!(expr, Expr::Column(_)) {
        return false;
    }
    let mut all = true;
    // The closure gives no error.
    let _ = expr.apply_children(|child| {
        all &= is_covered(child, parts);
        Ok(TreeNodeRecursion::Continue)
    });
    all
}

/// An expression as canonical SQL over the columns of its one table; `None` for what is not written out.
///
/// A cast becomes a `TRY_CAST`: a row that a filter would have taken out first must not fail here, and one for which it
/// would fail in the query has no row of the output.
pub(super) fn text_of(expr: &Expr) -> Option<String> {
    let list = |exprs: &[Expr]| exprs.iter().map(text_of).collect::<Option<Vec<_>>>().map(|texts| texts.join(", "));
    Some(match expr {
        Expr::Alias(alias) => text_of(&alias.expr)?,
        Expr::Column(column) => quoted(&column.name),
        Expr::Literal(value, _) => literal(value)?,
        Expr::Placeholder(placeholder) if !RANGE_PARAMS.contains(&placeholder.id.as_str()) => placeholder.id.clone(),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            format!("({} {} {})", text_of(left)?, operator(*op)?, text_of(right)?)
        }
        Expr::Not(inner) => format!("(NOT {})", text_of(inner)?),
        Expr::Negative(inner) => format!("(- {})", text_of(inner)?),
        Expr::IsNull(inner) => format!("({} IS NULL)", text_of(inner)?),
        Expr::IsNotNull(inner) => format!("({} IS NOT NULL)", text_of(inner)?),
        Expr::IsTrue(inner) => format!("({} IS TRUE)", text_of(inner)?),
        Expr::IsFalse(inner) => format!("({} IS FALSE)", text_of(inner)?),
        Expr::IsNotTrue(inner) => format!("({} IS NOT TRUE)", text_of(inner)?),
        Expr::IsNotFalse(inner) => format!("({} IS NOT FALSE)", text_of(inner)?),
        Expr::InList(in_list) => {
            let not = if in_list.negated { " NOT" } else { "" };
            format!("({}{not} IN ({}))", text_of(&in_list.expr)?, list(&in_list.list)?)
        }
        Expr::Between(between) => {
            let not = if between.negated { " NOT" } else { "" };
            let (low, high) = (text_of(&between.low)?, text_of(&between.high)?);
            format!("({}{not} BETWEEN {low} AND {high})", text_of(&between.expr)?)
        }
        Expr::Case(case) => {
            let mut text = String::from("(CASE");
            if let Some(operand) = &case.expr {
                text.push_str(&format!(" {}", text_of(operand)?));
            }
            for (when, then) in &case.when_then_expr {
                text.push_str(&format!(" WHEN {} THEN {}", text_of(when)?, text_of(then)?));
            }
            if let Some(otherwise) = &case.else_expr {
                text.push_str(&format!(" ELSE {}", text_of(otherwise)?));
            }
            text + " END)"
        }
        Expr::Cast(cast) => try_cast(&cast.expr, cast.field.data_type())?,
        Expr::TryCast(cast) => try_cast(&cast.expr, cast.field.data_type())?,
        Expr::ScalarFunction(function) if is_plain(function.func.name()) => {
            format!("{}({})", function.func.name(), list(&function.args)?)
        }
        _ => return None,
    })
}

fn try_cast(expr: &Expr, data_type: &datafusion::arrow::datatypes::DataType) -> Option<String> {
    Some(format!("TRY_CAST({} AS {})", text_of(expr)?, plain_sql(data_type)?))
}

/// Whether a function is called by its name as it is.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn literal(value: &ScalarValue) -> Option<String> {
    Some(match value {
        ScalarValue::Null => "NULL".to_owned(),
        ScalarValue::Boolean(Some(value)) => value.to_string().to_uppercase(),
        ScalarValue::Int64(Some(value)) if *value > i64::MIN => value.to_string(),
        ScalarValue::Utf8(Some(value)) => format!("'{}'", value.replace('\'', "''")),
        // As the planner reads it: a number with a point is a double.
        ScalarValue::Float64(Some(value)) if value.is_finite() => format!("{value:?}"),
        _ => return None,
    })
}

fn operator(op: Operator) -> Option<&'static str> {
    Some(match op {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::And => "AND",
        Operator::Or => "OR",
        Operator::IsDistinctFrom => "IS DISTINCT FROM",
        Operator::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::StringConcat => "||",
        _ => return None,
    })
}
