//! What a decoder has seen, in numbers.

use std::collections::BTreeMap;

/// What was in the text since the last report. Of a text in lines, `rows + faults + blanks` is the number of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that are rows.
    pub rows: u64,
    /// Lines without a record.
    pub blanks: u64,
    /// Records that are no rows.
    pub faults: u64,
    /// Ends of lines.
    pub newlines: u64,
    /// Declared keys that came again in an object of a row. The last one counts.
    pub duplicates: u64,
    /// Fields of rows that did not fit and are NULL, by column.
    pub misfits: BTreeMap<String, Misfit>,
    /// Fields of rows that are not declared, by name; only if [`crate::Options::drift`] says so. Beyond 10,000 names, the
    /// others are counted together under the empty name.
    pub undeclared: BTreeMap<String, u64>,
}

/// Values that did not fit one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// How many.
    pub count: u64,
    /// Offset of the first one.
    pub at: u64,
    /// What is wrong with the first one.
    pub message: String,
}
