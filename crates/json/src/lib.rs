//! Decodes lines of JSON into Arrow columns of declared types.
//!
//! Data flow: the text of raw objects, in chunks of any size -> [`Decoder`] -> record batches, [`Fault`]s and a [`Report`].
//! There is no tree of values between the text and the columns.
//!
//! - One line is one record, and a record is one JSON object. A broken line never touches its neighbours. Of a text that
//!   is one value ([`Layout`]) the object, or each element of the array, is a record.
//! - All of a record is checked as RFC 8259 has it, also what no column takes.
//! - A value is in its column exactly as it was written, or it does not fit: no number is cut, rounded to an integer, or
//!   made infinite.
//! - Nothing of a record that is a fault stays in the columns.
//! - Memory and stack are bounded by [`Limits`] and the declared schema, never by the text.
//!
//! Records of one object mostly have the same keys in the same order. So the nth key of a record is compared with the nth
//! key of the record before, as bytes, and a table of names is asked only where they differ.

mod column;
mod cursor;
mod decoder;
mod fault;
mod layout;
mod nested;
mod number;
mod object;
mod options;
mod profile;
mod report;
mod state;
mod text;
mod time;
mod trusted;
mod whole;

pub use self::{
    column::UnsupportedType,
    decoder::{Decoder, Step, Stop},
    fault::{Fault, Reason},
    layout::Layout,
    options::{Limits, OnMisfit, Options},
    profile::{Profile, ProposedColumn},
    report::{Misfit, Report},
};
