//! What a name can mean at one place of a query: the relations of a FROM and their columns.
//!
//! Invariant: an exact spelling wins over one that differs in case; what two columns answer to is ambiguous, never the
//! first of them.

use std::ops::Range;

use datafusion::{
    arrow::datatypes::DataType,
    sql::sqlparser::ast::{Expr, Ident},
};

use crate::{
    metadata::{METADATA_COLUMN, metadata_fields},
    sql_type::same_name,
};

/// A column that a relation has.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Spelt as declared.
    pub(super) name: String,
    /// `None` if it is known to the planner only.
    pub(super) data_type: Option<DataType>,
    /// Whether it is there only for who names it.
    pub(super) is_hidden: bool,
}

impl Column {
    pub(super) fn new(name: String, data_type: Option<DataType>) -> Self {
        Self { name, data_type, is_hidden: false }
    }

    /// The column with a source's metadata.
    pub(super) fn metadata() -> Self {
        let data_type = Some(DataType::Struct(metadata_fields()));
        Self { name: METADATA_COLUMN.to_owned(), data_type, is_hidden: true }
    }
}

/// One table of a FROM.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// How columns are qualified: the alias, or zone and table.
    pub(super) qualifier: Vec<String>,
    /// `None` if the planner alone knows them, or if the table is unknown and has been reported.
    pub(super) columns: Option<Vec<Column>>,
    /// Where it is named.
    pub(super) span: Range<usize>,
}

/// A column of `USING` or `NATURAL`, which stands for one of each side.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    column: Column,
    expr: Expr,
    hides: Vec<(usize, usize)>,
}

/// All relations of a FROM.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<Relation>,
    merged: Vec<Merged>,
}

/// A name that was found.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) column: Column,
    /// How canonical SQL says it.
    pub(super) expr: Expr,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    Column(usize, usize),
    Merged(usize),
    Open,
}

/// What looking a name up gives.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, on the stack")]
pub(super) enum Found {
    /// Exactly this.
    One(Hit),
    /// All of these.
    Many(Vec<Hit>),
    /// Nothing.
    None,
}

/// A quoted identifier that keeps its place.
pub(super) fn quoted(name: &str, like: &Ident) -> Ident {
    Ident { value: name.to_owned(), quote_style: Some('"'), span: like.span }
}

impl Relation {
    /// Whether `parts`, as written, name this relation: its alias, its table, or its zone and table.
    pub(super) fn is_named(&self, parts: &[Ident]) -> bool {
        !parts.is_empty()
            && parts.len() <= self.qualifier.len()
            && parts.iter().rev().zip(self.qualifier.iter().rev()).all(|(part, own)| same_name(&part.value, own))
    }

    fn column_expr(&self, column: &str, at: &Ident) -> Expr {
        let mut parts: Vec<Ident> = self.qualifier.iter().map(|part| quoted(part, at)).collect();
        parts.push(quoted(column, at));
        if parts.len() == 1 { Expr::Identifier(parts.remove(0)) } else { Expr::CompoundIdentifier(parts) }
    }
}

impl Scope {
    /// One relation.
    pub(super) fn of(relation: Relation) -> Self {
        Self { relations: vec![relation], merged: Vec::new() }
    }

    /// Adds the relations of `other` to the right of these.
    pub(super) fn append(&mut self, other: Self) {
        let shift = self.relations.len();
        self.relations.extend(other.relations);
        self.merged.extend(other.merged.into_iter().map(|mut merged| {
            for hidden in &mut merged.hides {
                hidden.0 += shift;
            }
            merged
        }));
    }

    /// Looks an unqualified name up.
    pub(super) fn find(&self, name: &Ident) -> Found {
        let merged = self.merged.iter().enumerate().filter(|(_, merged)| same_name(&merged.column.name, &name.value));
        let mut hits: Vec<Hit> = merged
            .map(|(index, merged)| Hit {
                column: merged.column.clone(),
                expr: merged.expr.clone(),
                origin: Origin::Merged(index),
            })
            .collect();
        for (index, relation) in self.relations.iter().enumerate() {
            hits.extend(self.find_in(index, relation, name).into_iter().filter(|hit| !self.is_hidden(hit.origin)));
        }
        one_of(hits, &name.value)
    }

    /// Looks a name up in the relations that `qualifier` names; `None` if there is no such relation.
    pub(super) fn find_qualified(&self, qualifier: &[Ident], name: &Ident) -> Option<Found> {
        let mut named =
            self.relations.iter().enumerate().filter(|(_, relation)| relation.is_named(qualifier)).peekable();
        named.peek()?;
        let mut hits = Vec::new();
        for (index, relation) in named {
            match &relation.columns {
                Some(_) => hits.extend(self.find_in(index, relation, name)),
                None => hits.push(open_hit(relation, name)),
            }
        }
        Some(one_of(hits, &name.value))
    }

    /// What a name means that no known column has, if a relation of unknown columns may have it.
    pub(super) fn find_open(&self, name: &Ident) -> Option<Hit> {
        self.relations.iter().any(|relation| relation.columns.is_none()).then(|| Hit {
            column: Column::new(name.value.clone(), None),
            expr: Expr::Identifier(quoted(&name.value, name)),
            origin: Origin::Open,
        })
    }

    /// All columns in the order of `*`; `None` if not all are known.
    pub(super) fn all(&self, at: &Ident) -> Option<Vec<Hit>> {
        let merged = self.merged.iter().enumerate().map(|(index, merged)| Hit {
            column: merged.column.clone(),
            expr: merged.expr.clone(),
            origin: Origin::Merged(index),
        });
        let mut hits: Vec<Hit> = merged.collect();
        for index in 0..self.relations.len() {
            hits.extend(self.all_of(index, at)?.into_iter().filter(|hit| !self.is_hidden(hit.origin)));
        }
        Some(hits)
    }

    /// All columns of one relation, but hidden ones; `None` if they are not known.
    pub(super) fn all_of(&self, index: usize, at: &Ident) -> Option<Vec<Hit>> {
        let relation = self.relations.get(index)?;
        let columns = relation.columns.as_ref()?.iter().enumerate();
        let shown = columns.filter(|(_, column)| !column.is_hidden);
        Some(shown.map(|(position, column)| hit(relation, column, (index, position), at)).collect())
    }

    /// Every name that could have been meant, for suggestions; not those of hidden columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let columns = self.relations.iter().flat_map(|relation| relation.columns.iter().flatten());
        columns.filter(|column| !column.is_hidden).map(|column| column.name.as_str())
    }

    /// Whether a relation has hidden columns.
    pub(super) fn has_hidden(&self) -> bool {
        let mut columns = self.relations.iter().flat_map(|relation| relation.columns.iter().flatten());
        columns.any(|column| column.is_hidden)
    }

    /// Joins `right` to these relations on columns that have the same name on both sides.
    pub(super) fn merge(&mut self, right: Self, pairs: Vec<MergedPair>) {
        let shift = self.relations.len();
        let mut merged = Vec::new();
        let mut gone = Vec::new();
        for pair in pairs {
            let mut hides = Vec::new();
            for (hit, shift, own) in [(&pair.left, 0, &self.merged), (&pair.right, shift, &right.merged)] {
                match hit.origin {
                    Origin::Column(relation, column) => hides.push((relation + shift, column)),
                    Origin::Merged(index) => {
                        let inner = own.get(index).map(|merged| merged.hides.as_slice()).unwrap_or_default();
                        hides.extend(inner.iter().map(|(relation, column)| (relation + shift, *column)));
                    }
                    Origin::Open => {}
                }
            }
            if let Origin::Merged(index) = pair.left.origin {
                gone.push(index);
            }
            merged.push(Merged { column: pair.left.column, expr: pair.expr, hides });
        }
        let mut right = right;
        let taken: Vec<(usize, usize)> = merged.iter().flat_map(|merged| merged.hides.iter().copied()).collect();
        right
            .merged
            .retain(|own| !own.hides.iter().any(|(relation, column)| taken.contains(&(relation + shift, *column))));
        let mut index = 0;
        self.merged.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
        self.append(right);
        merged.append(&mut self.merged);
        self.merged = merged;
    }

    fn is_hidden(&self, origin: Origin) -> bool {
        let Origin::Column(relation, column) = origin else { return false };
        self.merged.iter().any(|merged| merged.hides.contains(&(relation, column)))
    }

    fn find_in(&self, index: usize, relation: &Relation, name: &Ident) -> Vec<Hit> {
        let columns = relation.columns.iter().flatten().enumerate();
        let matching = columns.filter(|(_, column)| same_name(&column.name, &name.value));
        matching.map(|(position, column)| hit(relation, column, (index, position), name)).collect()
    }
}

/// One column of `USING` with what it stands for.
pub(super) struct MergedPair {
    pub(super) left: Hit,
    pub(super) right: Hit,
    pub(super) expr: Expr,
}

fn hit(relation: &Relation, column: &Column, origin: (usize, usize), at: &Ident) -> Hit {
    let expr = relation.column_expr(&column.name, at);
    Hit { column: column.clone(), expr, origin: Origin::Column(origin.0, origin.1) }
}

fn open_hit(relation: &Relation, name: &Ident) -> Hit {
    let column = Column::new(name.value.clone(), None);
    Hit { column, expr: relation.column_expr(&name.value, name), origin: Origin::Open }
}

fn one_of(mut hits: Vec<Hit>, name: &str) -> Found {
    if hits.iter().any(|hit| hit.column.name == name) {
        hits.retain(|hit| hit.column.name == name);
    }
    match hits.len() {
        0 => Found::None,
        1 => Found::One(hits.remove(0)),
        _ => Found::Many(hits),
    }
}
