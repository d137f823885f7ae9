//! Records that are no rows: why, and where.

use std::fmt;

/// Why a record is no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is not JSON.
    Malformed,
    /// It is JSON, but no object.
    NotAnObject,
    /// Its objects and arrays lie too deep in one another.
    TooDeep,
    /// It has too many bytes.
    TooLong,
    /// It has too many keys.
    TooManyKeys,
    /// It is not UTF-8.
    InvalidUtf8,
    /// A field has no value of its column's type.
    DoesNotFit,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::NotAnObject,
        Self::TooDeep,
        Self::TooLong,
        Self::TooManyKeys,
        Self::InvalidUtf8,
        Self::DoesNotFit,
    ];

    /// Its stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::TooLong => "too_long",
            Self::TooManyKeys => "too_many_keys",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::DoesNotFit => "does_not_fit",
        }
    }
}

/// A record that is no row. Offsets are bytes of the object's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// The record's line, from 1 where the decoder began.
    pub line: u64,
    /// Offset of the record's line.
    pub record_start: u64,
    /// Length of the line, without its newline.
    pub record_bytes: u64,
    /// Offset of what is wrong.
    pub at: u64,
    /// The column that a value did not fit, with the names of the structures around it: `address.zip`.
    pub column: Option<String>,
    /// What is wrong, in words.
    pub message: String,
    /// The line; only its beginning if it is too long.
    pub text: Vec<u8>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.message, self.at)?;
        match &self.column {
            Some(column) => write!(f, ", column {column}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// A record's decoding has ended; [`crate::state::State`] knows why.
///
/// Without content, so that results on the hot path are one byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Halt;

/// What every step of decoding gives.
pub(crate) type Parsed<T> = Result<T, Halt>;
