//! EXCEPT ALL and INTERSECT ALL, which count rows: the planner knows them for sets only.
//!
//! Data flow: both sides, resolved -> each row with its number among those that are alike -> the operation on sets, under
//! which the nth of a kind meets the nth of the other side -> the rows without their numbers.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{Ident, Query, SetExpr, SetOperator, VisitMut, VisitorMut},
    dialect::GenericDialect,
    parser::Parser,
};

/// The same rows by an operation on sets; `None` if the operation does not count rows.
///
/// `names` are those of the output's columns.
pub(super) fn counted(left: &SetExpr, op: SetOperator, right: &SetExpr, names: &[String]) -> Option<SetExpr> {
    let op = match op {
        SetOperator::Except | SetOperator::Minus => "EXCEPT",
        SetOperator::Intersect => "INTERSECT",
        SetOperator::Union => return None,
    };
    let quoted = |name: &str| Ident::with_quote('"', name).to_string();
    let columns: Vec<String> = (0..names.len()).map(|index| quoted(&format!("c{index}"))).collect();
    let outputs: Vec<String> =
        columns.iter().zip(names).map(|(column, name)| format!("\"counted\".{column} AS {}", quoted(name))).collect();
    let list = columns.join(", ");
    let side = |place: &str| {
        let columns: Vec<String> = columns.iter().map(|column| format!("\"side\".{column}")).collect();
        let rows = columns.join(", ");
        format!(
            "SELECT {rows}, row_number() OVER (PARTITION BY {rows}) AS \"number\" FROM ({place}) AS \"side\" ({list})"
        )
    };
    let sql = format!(
        "SELECT {} FROM ({} {op} {}) AS \"counted\"",
        outputs.join(", "),
        side(Places::LEFT),
        side(Places::RIGHT)
    );
    let mut query = Parser::new(&GenericDialect {}).try_with_sql(&sql).ok()?.parse_query().ok()?;
    // Not by text: the sides keep their places in the file.
    let _: ControlFlow<()> = query.visit(&mut Places { left, right });
    Some(*query.body)
}

/// Puts the sides in.
struct Places<'a> {
    left: &'a SetExpr,
    right: &'a SetExpr,
}

impl Places<'_> {
    const LEFT: &'static str = "SELECT 'left'";
    const RIGHT: &'static str = "SELECT 'right'";
}

impl VisitorMut for Places<'_> {
    type Break = ();

    // After what is inside: what is put in is the user's, and is left alone.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let side = match query.body.to_string().as_str() {
            Self::LEFT => self.left,
            Self::RIGHT => self.right,
            _ => return ControlFlow::Continue(()),
        };
        *query.body = side.clone();
        ControlFlow::Continue(())
    }
}
