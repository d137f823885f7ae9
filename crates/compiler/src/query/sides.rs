//! What of a goal each side of a join can be asked for.
//!
//! Invariant: a condition on the key is asked of a side only if rows of the side that do not meet it reach no output row
//! that meets it.

use datafusion::{
    common::DFSchema,
    logical_expr::{Expr, Join, utils::split_conjunction},
};

use super::{
    affected::{Blame, Refusal, equalities, is_same_type},
    terms::{Goal, column_at, rewrite},
};

/// A join, and what binds its sides to one another.
pub(super) struct Splitting<'j> {
    join: &'j Join,
    /// The columns of the left side, then those of the right.
    both: DFSchema,
    left_columns: usize,
    /// What ON says.
    conditions: Vec<Expr>,
    /// What ON says to be equal.
    equal: Vec<(Expr, Expr)>,
}

impl<'j> Splitting<'j> {
    pub(super) fn new(join: &'j Join) -> Result<Self, Refusal> {
        let both = join.left.schema().join(join.right.schema());
        let both = both.map_err(|_| Refusal::new("a join whose columns cannot be told apart", Blame::Join))?;
        let conditions: Vec<Expr> = join.filter.iter().flat_map(split_conjunction).cloned().collect();
        let mut equal = equalities(&conditions, &both);
        equal.extend(join.on.iter().filter(|(left, right)| is_same_type(left, right, &both)).cloned());
        Ok(Self { join, left_columns: join.left.schema().fields().len(), both, conditions, equal })
    }

    /// The columns of both sides.
    pub(super) fn both(&self) -> &DFSchema {
        &self.both
    }

    /// What ON says, without what it binds the sides by.
    pub(super) fn conditions(&self) -> &[Expr] {
        &self.conditions
    }

    /// What ON says to be equal, of types in which equal values are the same.
    pub(super) fn equal(&self) -> &[(Expr, Expr)] {
        &self.equal
    }

    /// The goals of the left and of the right side of an inner join, as far as they can be asked.
    ///
    /// Rows of the join meet what ON says, so that each side may have the key in another form.
    pub(super) fn inner(&self, goal: &Goal) -> (Option<Goal>, Option<Goal>) {
        let mut all = goal.clone();
        all.expand(&self.equal, &self.both);
        all.filters.extend(self.conditions.iter().cloned());
        let side = |left: bool| Some(self.of_side(&all, left)).filter(Goal::is_whole);
        (side(true), side(false))
    }

    /// The goals of the side whose rows an outer, semi or anti join keeps, and of the other one.
    ///
    /// The kept side must have the key itself. A row of the other side can only matter to kept rows that it meets, which
    /// have its key if ON binds the two.
    pub(super) fn outer(&self, goal: &Goal, keeps_left: bool) -> (Option<Goal>, Option<Goal>) {
        let goal = self.over_both(goal, keeps_left);
        let kept = self.of_side(&goal, keeps_left);
        if !kept.is_whole() {
            return (None, None);
        }
        // Forms that only the other side has are not equal where it is empty.
        let mut bound = Goal { filters: self.conditions.clone(), ..goal }.keep_side(self, keeps_left);
        bound.expand(&self.equal, &self.both);
        let other = self.of_side(&bound, !keeps_left);
        (Some(kept), Some(other).filter(Goal::is_whole))
    }

    /// The goal over the columns of both sides: a semi join gives those of one.
    fn over_both(&self, goal: &Goal, keeps_left: bool) -> Goal {
        let fields = self.join.schema.fields().len();
        let offset = if !keeps_left && fields < self.both.fields().len() { self.left_columns } else { 0 };
        goal.map(&self.join.schema, &|index| Some(column_at(&self.both, index + offset)))
    }

    fn of_side(&self, goal: &Goal, left: bool) -> Goal {
        goal.map(&self.both, &|index| self.column(index, left))
    }

    /// What a column of both sides, by its index, is on the left or the right one; `None` if it is the other's.
    pub(super) fn column(&self, index: usize, left: bool) -> Option<Expr> {
        match (index < self.left_columns, left) {
            (true, true) => Some(column_at(self.join.left.schema(), index)),
            (false, false) => Some(column_at(self.join.right.schema(), index - self.left_columns)),
            _ => None,
        }
    }
}

impl Goal {
    /// Without the forms that are not of one side alone.
    fn keep_side(mut self, split: &Splitting<'_>, left: bool) -> Self {
        let is_of = |expr: &Expr| rewrite(expr, &split.both, &|index| split.column(index, left)).is_some();
        self.terms.iter_mut().for_each(|forms| forms.retain(&is_of));
        self
    }
}
