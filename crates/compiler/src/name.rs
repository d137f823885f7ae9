//! The name of a table, `zone.table`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a source or a model: its zone and its table, both `[a-z_][a-z0-9_]*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    zone: String,
    table: String,
}

impl TableName {
    /// Makes a name; `None` if a part is not `[a-z_][a-z0-9_]*`.
    pub fn new(zone: &str, table: &str) -> Option<Self> {
        let valid = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        (valid(zone) && valid(table)).then(|| Self { zone: zone.to_owned(), table: table.to_owned() })
    }

    /// Reads `zone.table`, without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        let (zone, table) = text.split_once('.')?;
        Self::new(&zone.to_ascii_lowercase(), &table.to_ascii_lowercase())
    }

    /// The zone: the sub-folder of the job and of the lake.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// The table: the file's stem.
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.zone, self.table)
    }
}
