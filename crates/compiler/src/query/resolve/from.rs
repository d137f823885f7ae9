//! FROM: which relations a SELECT sees.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins,
};

use super::{Resolver, View};
use crate::{
    metadata::{hidden_column, is_source, metadata_fields},
    query::{
        scope::{Column, Found, Hit, MergedPair, Relation, Scope, quoted},
        tables,
    },
    sql_type::same_name,
    suggest::{closest, did_you_mean},
};

/// Which sides of a join are seen after it, and which may lack a row.
#[derive(Clone, Copy, PartialEq)]
enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    OnlyLeft,
    OnlyRight,
}

impl Resolver<'_> {
    /// Resolves a FROM and gives what it brings into scope.
    pub(super) fn from(&mut self, from: &mut [TableWithJoins]) -> Scope {
        let mut scope = Scope::default();
        for item in from {
            let right = self.table_with_joins(item, &scope);
            self.check_names(&scope, &right);
            scope.append(right);
        }
        scope
    }

    fn table_with_joins(&mut self, item: &mut TableWithJoins, before: &Scope) -> Scope {
        let mut left = self.relation(&mut item.relation, before);
        for join in &mut item.joins {
            let mut seen = before.clone();
            seen.append(left.clone());
            let right = self.relation(&mut join.relation, &seen);
            self.check_names(&left, &right);
            left = self.join(left, right, &mut join.join_operator);
        }
        left
    }

    /// Two relations of one FROM must not answer to the same name.
    fn check_names(&mut self, left: &Scope, right: &Scope) {
        for relation in &right.relations {
            let is_same = |other: &&Relation| {
                other.qualifier.len() == relation.qualifier.len()
                    && other.qualifier.iter().zip(&relation.qualifier).all(|(a, b)| same_name(a, b))
            };
            if left.relations.iter().any(|other| is_same(&other)) {
                let name = relation.qualifier.join(".");
                let error = self.source.error(
                    "duplicate_alias",
                    relation.span.clone(),
                    format!("this FROM has two tables of the name `{name}`"),
                );
                self.report(error.with_help("give one of them another alias"));
            }
        }
    }

    /// Resolves one table factor; `before` is what a LATERAL one sees.
    fn relation(&mut self, factor: &mut TableFactor, before: &Scope) -> Scope {
        let span = self.source.range_of(factor);
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version,
                with_ordinality,
                partitions,
                sample,
                ..
            } => {
                if !with_hints.is_empty()
                    || version.is_some()
                    || *with_ordinality
                    || !partitions.is_empty()
                    || sample.is_some()
                {
                    self.unsupported(span, "an option of a table");
                }
                self.table(name, alias.as_mut())
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if sample.is_some() {
                    self.unsupported(span.clone(), "TABLESAMPLE");
                }
                let scope = if *lateral { before.clone() } else { Scope::default() };
                let (outputs, _) = self.in_scope(scope, |resolver| resolver.query(subquery));
                let columns =
                    outputs.into_iter().map(|output| Column::new(output.name.unwrap_or_default(), output.data_type));
                let columns = Some(columns.collect());
                // A subquery without a name gets one, so that its columns can be qualified.
                let alias = alias.get_or_insert_with(|| {
                    self.derived += 1;
                    let name = Ident::with_quote('"', format!("subquery_{}", self.derived));
                    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
                });
                self.aliased(columns, alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                if alias.is_some() {
                    self.unsupported(span, "an alias of joined tables");
                }
                self.table_with_joins(table_with_joins, before)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality } => {
                if *with_offset || with_offset_alias.is_some() || *with_ordinality {
                    self.unsupported(span.clone(), "UNNEST with an offset");
                }
                let ((), _) = self.in_scope(before.clone(), |resolver| {
                    array_exprs.iter_mut().for_each(|expr| resolver.expr(expr, View::SCOPE));
                });
                match alias {
                    Some(alias) => self.aliased(None, alias),
                    None => open(span),
                }
            }
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                let message = format!("the table function `{name}` is not supported yet");
                let error = self.source.error("unsupported", span.clone(), message);
                self.report(error.with_help("a SELECT of unnest(range(1, 10)) gives rows too"));
                open(span)
            }
            _ => {
                self.unsupported(span.clone(), "this kind of table");
                open(span)
            }
        }
    }

    fn table(&mut self, name: &mut ObjectName, alias: Option<&mut TableAlias>) -> Scope {
        let span = self.source.range_of(name);
        let idents: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
        let (qualifier, columns) = match idents.as_slice() {
            [single] => match self.ctes.iter().rev().find(|cte| same_name(&cte.name, &single.value)) {
                Some(cte) => {
                    *name = ObjectName::from(vec![quoted(&cte.name, single)]);
                    (vec![cte.name.clone()], cte.columns.clone())
                }
                None => {
                    let ctes: Vec<&str> = self.ctes.iter().map(|cte| cte.name.as_str()).collect();
                    let near = closest(&single.value, ctes).map(|name| format!("did you mean `{name}`?"));
                    let error =
                        tables::invalid_table(self.source, &single.value, span.clone(), self.known.tables.keys());
                    self.report(error.with_help_if(near));
                    (vec![single.value.clone()], None)
                }
            },
            [zone, table] => self.known_table(name, zone, table),
            _ => {
                let error =
                    tables::invalid_table(self.source, &name.to_string(), span.clone(), self.known.tables.keys());
                self.report(error);
                (vec![name.to_string()], None)
            }
        };
        match alias {
            Some(alias) => self.aliased(columns, alias),
            None => Scope::of(Relation { qualifier, columns, span }),
        }
    }

    fn known_table(
        &mut self,
        name: &mut ObjectName,
        zone: &Ident,
        table: &Ident,
    ) -> (Vec<String>, Option<Vec<Column>>) {
        let span = self.source.range_of(name);
        let written = format!("{}.{}", zone.value, table.value);
        let found = tables::table_name(name).and_then(|table| self.known.tables.get_key_value(&table));
        let Some((found, schema)) = found else {
            let tables: Vec<String> = self.known.tables.keys().map(ToString::to_string).collect();
            let help = did_you_mean(&written, tables.iter().map(String::as_str));
            let error = self.source.error("unknown_table", span, format!("there is no table `{written}`"));
            self.report(error.with_help_if(help));
            return (vec![zone.value.clone(), table.value.clone()], None);
        };
        self.reads.insert(found.clone());
        *name = ObjectName::from(vec![quoted(found.zone(), zone), quoted(found.table(), table)]);
        let columns = schema
            .fields()
            .iter()
            .map(|field| Column::new(field.name().clone(), Some(field.data_type().clone())))
            .chain(is_source(found).then(Column::metadata));
        (vec![found.zone().to_owned(), found.table().to_owned()], Some(columns.collect()))
    }

    /// Gives columns the name of an alias, and the names that the alias gives to them.
    fn aliased(&mut self, columns: Option<Vec<Column>>, alias: &mut TableAlias) -> Scope {
        let span = self.source.range_of_ident(&alias.name);
        alias.explicit = true;
        alias.name.quote_style = Some('"');
        let columns = self.renamed(columns, alias);
        Scope::of(Relation { qualifier: vec![alias.name.value.clone()], columns, span })
    }

    /// Applies the column list of an alias, as in `t (a, b)`.
    pub(super) fn renamed(&mut self, columns: Option<Vec<Column>>, alias: &mut TableAlias) -> Option<Vec<Column>> {
        if alias.columns.is_empty() {
            return columns;
        }
        let span = self.source.range_of_ident(&alias.name);
        if alias.at.is_some() || alias.columns.iter().any(|column| column.data_type.is_some()) {
            self.unsupported(span.clone(), "a type in an alias");
        }
        let given = alias.columns.len();
        let is_shown = |column: &&Column| !column.is_hidden;
        let shown = columns.as_ref().map(|columns| columns.iter().filter(is_shown).count());
        if let Some(shown) = shown
            && shown != given
        {
            let message = format!("`{}` has {shown} columns, and {given} names are given", alias.name.value);
            self.report(self.source.error("alias_columns", span, message));
        }
        let known = columns.unwrap_or_default();
        let renamed = alias.columns.iter_mut().enumerate().map(|(index, column)| {
            column.name.quote_style = Some('"');
            let data_type = known.get(index).and_then(|column| column.data_type.clone());
            Column::new(column.name.value.clone(), data_type)
        });
        let mut renamed: Vec<Column> = renamed.collect();
        if known.iter().any(|column| column.is_hidden) {
            // The list names all columns that the planner sees.
            let hidden = metadata_fields();
            let names = hidden.iter().map(|field| quoted(&hidden_column(field.name()), &alias.name));
            let hidden: Vec<_> = names.map(|name| TableAliasColumnDef { name, data_type: None }).collect();
            alias.columns.extend(hidden);
            renamed.push(Column::metadata());
        }
        Some(renamed)
    }

    fn join(&mut self, left: Scope, right: Scope, operator: &mut JoinOperator) -> Scope {
        use JoinOperator as J;
        let (kind, constraint) = match operator {
            J::Join(constraint) | J::Inner(constraint) | J::CrossJoin(constraint) => (JoinKind::Inner, constraint),
            J::Left(constraint) | J::LeftOuter(constraint) => (JoinKind::Left, constraint),
            J::Right(constraint) | J::RightOuter(constraint) => (JoinKind::Right, constraint),
            J::FullOuter(constraint) => (JoinKind::Full, constraint),
            J::LeftSemi(constraint) | J::LeftAnti(constraint) => (JoinKind::OnlyLeft, constraint),
            J::RightSemi(constraint) | J::RightAnti(constraint) => (JoinKind::OnlyRight, constraint),
            J::Semi(constraint) => {
                *operator = J::LeftSemi(constraint.clone());
                return self.join(left, right, operator);
            }
            J::Anti(constraint) => {
                *operator = J::LeftAnti(constraint.clone());
                return self.join(left, right, operator);
            }
            _ => {
                let span =
                    right.relations.first().map_or_else(|| self.source.range(), |relation| relation.span.clone());
                self.unsupported(span, "this kind of join");
                return both(left, right);
            }
        };
        let keys = match constraint {
            JoinConstraint::Using(names) => Some(self.using_keys(names)),
            JoinConstraint::Natural => Some(natural_keys(&left, &right)),
            JoinConstraint::On(expr) => {
                let seen = both(left.clone(), right.clone());
                let ((), _) = self.in_scope(seen, |resolver| resolver.expr(expr, View::SCOPE));
                None
            }
            JoinConstraint::None => None,
        };
        let pairs = keys.map(|keys| self.pair_keys(&left, &right, &keys, kind)).unwrap_or_default();
        if let Some(condition) = equal_pairs(&pairs) {
            *constraint = JoinConstraint::On(condition);
        } else if matches!(constraint, JoinConstraint::Natural) {
            *constraint = JoinConstraint::None;
        }
        match kind {
            JoinKind::OnlyLeft => left,
            JoinKind::OnlyRight => right,
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                let mut left = left;
                left.merge(right, pairs);
                left
            }
        }
    }

    fn using_keys(&mut self, names: &[ObjectName]) -> Vec<Ident> {
        let mut keys = Vec::new();
        for name in names {
            match name.0.as_slice() {
                [part] if part.as_ident().is_some() => keys.extend(part.as_ident().cloned()),
                _ => {
                    let span = self.source.range_of(name);
                    self.report(self.source.error("using", span, "USING takes names of columns without a table"));
                }
            }
        }
        keys
    }

    /// Finds each key on both sides.
    fn pair_keys(&mut self, left: &Scope, right: &Scope, keys: &[Ident], kind: JoinKind) -> Vec<MergedPair> {
        let mut pairs = Vec::new();
        for key in keys {
            let sides = (self.key_of(left, key, "left"), self.key_of(right, key, "right"));
            let (Some(left), Some(right)) = sides else { continue };
            let expr = match kind {
                JoinKind::Right => right.expr.clone(),
                JoinKind::Full => {
                    super::function::call("coalesce", key.span, vec![left.expr.clone(), right.expr.clone()])
                }
                _ => left.expr.clone(),
            };
            pairs.push(MergedPair { left, right, expr });
        }
        pairs
    }

    fn key_of(&mut self, scope: &Scope, key: &Ident, side: &str) -> Option<Hit> {
        let span = self.source.range_of_ident(key);
        match scope.find(key) {
            Found::One(hit) if !hit.column.is_hidden => Some(hit),
            Found::Many(_) => {
                let message = format!("`{}` is ambiguous on the {side} side of this join", key.value);
                self.report(self.source.error("ambiguous_column", span, message));
                None
            }
            Found::One(_) | Found::None => {
                if let Some(hit) = scope.find_open(key) {
                    return Some(hit);
                }
                let message = format!("the {side} side of this join has no column `{}`", key.value);
                let help = did_you_mean(&key.value, scope.names());
                self.report(self.source.error("unknown_column", span, message).with_help_if(help));
                None
            }
        }
    }
}

fn open(span: std::ops::Range<usize>) -> Scope {
    Scope::of(Relation { qualifier: Vec::new(), columns: None, span })
}

fn both(mut left: Scope, right: Scope) -> Scope {
    left.append(right);
    left
}

/// The names that both sides have, in the order of the left one.
fn natural_keys(left: &Scope, right: &Scope) -> Vec<Ident> {
    let mut keys: Vec<Ident> = Vec::new();
    for name in left.names() {
        if right.names().any(|other| same_name(name, other)) && !keys.iter().any(|key| same_name(&key.value, name)) {
            keys.push(Ident::with_quote('"', name));
        }
    }
    keys
}

fn equal_pairs(pairs: &[MergedPair]) -> Option<Expr> {
    let equal = |pair: &MergedPair| Expr::BinaryOp {
        left: Box::new(pair.left.expr.clone()),
        op: BinaryOperator::Eq,
        right: Box::new(pair.right.expr.clone()),
    };
    pairs.iter().map(equal).reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}
