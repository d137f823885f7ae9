//! What must hold of a model's rows and of its table before a run publishes them.
//!
//! Data flow: `grain`, `columns`, `expect` and `audits` of a MODEL header -> [`crate::compile_job`] -> **[`Checks`]** ->
//! the scheduler counts violations while the rows are written, and asks the rest of the written files.
//!
//! Invariant: a check that takes rows out of the table is part of the model's fingerprint; any other is not, so that it
//! can change without the table being computed again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ParamValue, Query, TableName};

/// The name by which the condition of a [`RowCheck`] calls the row.
pub const ROW_ALIAS: &str = "this";

/// All checks of one model, in the order of its header.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// What must hold of every row.
    pub rows: Vec<RowCheck>,
    /// What must hold of the table as a whole.
    pub tables: Vec<TableCheck>,
}

/// What is done about a row that violates a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Violation {
    /// It is counted.
    Warn,
    /// It is left out of the table.
    Drop,
    /// It goes to a table of its own, `rejects.<zone>_<table>`.
    Quarantine,
    /// The run publishes nothing.
    Fail,
}

impl Violation {
    /// Every action's name, as a header writes it.
    pub const NAMES: [&'static str; 4] = ["WARN", "DROP", "QUARANTINE", "FAIL"];

    /// The action of this name, without regard to case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Warn, Self::Drop, Self::Quarantine, Self::Fail];
        all.into_iter().find(|action| action.keyword().eq_ignore_ascii_case(name))
    }

    /// The action's name.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Warn => "WARN",
            Self::Drop => "DROP",
            Self::Quarantine => "QUARANTINE",
            Self::Fail => "FAIL",
        }
    }

    /// Whether rows that violate the check are not in the table.
    #[must_use]
    pub fn takes_out(self) -> bool {
        matches!(self, Self::Drop | Self::Quarantine)
    }
}

/// What must hold of every row.
///
/// Those that take rows out look at every row of the query; all others at the rows that are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCheck {
    /// Unique among the model's checks: `[a-z_][a-z0-9_]*`.
    pub name: String,
    /// What is demanded, for people.
    pub rule: String,
    /// What is done about a row that violates it.
    pub on_violation: Violation,
    /// Canonical SQL of a condition over the stored row, which is called [`ROW_ALIAS`]; a row for which it is not true,
    /// or not known, violates the check.
    pub condition: String,
    /// Names of the parameters used, sorted.
    pub params: Vec<String>,
    /// Line of the check in the model's file, from 1.
    pub line: usize,
}

/// What must hold of the table as a whole.
#[derive(Clone, Debug)]
pub struct TableCheck {
    /// Unique among the model's checks: `[a-z_][a-z0-9_]*`.
    pub name: String,
    /// What is demanded, for people.
    pub rule: String,
    /// Whether a violation keeps the run from publishing, rather than being told.
    pub blocking: bool,
    /// The demand.
    pub demand: Demand,
    /// Line of the check in the model's file, from 1.
    pub line: usize,
}

/// What a table must fulfil.
#[derive(Clone, Debug)]
pub enum Demand {
    /// No two rows have the same values in these columns; rows with a NULL among them are not compared.
    Unique {
        /// Spelt as in the schema.
        columns: Vec<String>,
        /// Whether the model's query gives no two such rows, whatever its inputs hold.
        is_proven: bool,
    },
    /// Every value of the column that is not NULL is in a column of another table.
    Relationship {
        /// Spelt as in the schema.
        column: String,
        /// The other table, which may be this one.
        to: TableName,
        /// Its column, spelt as in its schema.
        field: String,
    },
    /// The table has more rows than this.
    MoreRowsThan(u64),
    /// The query gives no row.
    NoRowOf {
        /// Reads the table by its name, and others.
        query: Query,
        /// Values of its own arguments, beside the job's parameters.
        arguments: BTreeMap<String, ParamValue>,
    },
}

impl Checks {
    /// Whether nothing is checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tables.is_empty()
    }

    /// The checks that take rows out of the table.
    pub fn taking_out(&self) -> impl Iterator<Item = &RowCheck> {
        self.rows.iter().filter(|check| check.on_violation.takes_out())
    }

    /// Whether rows go to a table of their own.
    #[must_use]
    pub fn quarantines(&self) -> bool {
        self.rows.iter().any(|check| check.on_violation == Violation::Quarantine)
    }

    /// Other tables that the checks read.
    #[must_use]
    pub fn reads(&self, own: &TableName) -> BTreeSet<TableName> {
        let mut reads = BTreeSet::new();
        for check in &self.tables {
            match &check.demand {
                Demand::Unique { .. } | Demand::MoreRowsThan(_) => {}
                Demand::Relationship { to, .. } => {
                    reads.insert(to.clone());
                }
                Demand::NoRowOf { query, .. } => reads.extend(query.reads.iter().cloned()),
            }
        }
        reads.remove(own);
        reads
    }

    /// Names of the parameters of the checks that take rows out.
    #[must_use]
    pub fn row_params(&self) -> BTreeSet<String> {
        self.taking_out().flat_map(|check| check.params.iter().cloned()).collect()
    }

    /// Names of the job's parameters that any check uses.
    #[must_use]
    pub fn params(&self) -> BTreeSet<String> {
        let mut params: BTreeSet<String> = self.rows.iter().flat_map(|check| check.params.iter().cloned()).collect();
        for check in &self.tables {
            if let Demand::NoRowOf { query, arguments } = &check.demand {
                params.extend(query.params.iter().filter(|name| !arguments.contains_key(*name)).cloned());
            }
        }
        params
    }

    /// Canonical text of all checks: two texts are equal only if the checks demand the same.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut lines: Vec<String> = self.rows.iter().map(RowCheck::canonical).collect();
        lines.extend(self.tables.iter().map(|check| {
            let TableCheck { name, blocking, demand, .. } = check;
            format!("{name} blocking={blocking} {demand:?}")
        }));
        lines.join("\n")
    }

    /// Canonical text of the checks that take rows out of the table; empty if there are none.
    pub(crate) fn canonical_of_rows(&self) -> String {
        self.taking_out().map(RowCheck::canonical).collect::<Vec<_>>().join("\n")
    }
}

impl RowCheck {
    fn canonical(&self) -> String {
        format!("{} {} {}", self.name, self.on_violation.keyword(), self.condition)
    }
}
