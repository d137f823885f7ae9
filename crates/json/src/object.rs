//! Objects with declared fields: a record, or a structure in one.
//!
//! The nth key is first compared with the nth key of the object before. Only another key is looked up.

use std::collections::HashMap;

use arrow::{
    array::ArrayRef,
    datatypes::{Field, FieldRef},
    error::ArrowError,
};
use foldhash::fast::RandomState;

use crate::{
    column::{Column, UnsupportedType},
    cursor::Cursor,
    fault::Parsed,
    state::State,
    trusted::scan::find_special,
};

/// Keys of an object that are predicted.
const ORDER_MAX: usize = 1024;
/// Keys beyond the declared ones whose meaning is remembered.
const REMEMBERED_MAX: usize = 1024;

/// The declared fields of an object, and their columns.
#[derive(Debug)]
pub(crate) struct Fields {
    slots: Vec<Slot>,
    names: Names,
    /// The keys of the object before.
    order: Vec<Expected>,
    /// Even, and another one for each object; see [`Slot::seen`].
    stamp: u64,
    is_record: bool,
}

#[derive(Debug)]
struct Slot {
    /// With the names of the structures around it.
    name: String,
    column: Column,
    /// The stamp of the last object with this field; one more if the key was spelled as it is declared.
    seen: u64,
    /// Where the value of the last object with this field begins in the text.
    value_at: usize,
}

/// A key that is expected.
#[derive(Debug, Default)]
struct Expected {
    /// The key in its quotes, with the colon.
    token: Vec<u8>,
    target: Target,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, Default)]
enum Target {
    /// It goes to the column of a slot.
    Slot { slot: u32, exact: bool },
    /// It is declared, but nobody asks for it.
    #[default]
    Unwanted,
    /// It is not declared; its counter.
    Undeclared(u32),
}

/// What keys mean.
#[derive(Debug, Default)]
struct Names {
    /// With the names of the structures around the object.
    path: String,
    known: HashMap<Box<str>, Target, RandomState>,
    /// Declared keys in lower case.
    folded: HashMap<String, Target, RandomState>,
    remembered: usize,
}

impl Fields {
    /// Those of a structure: all fields are wanted.
    pub(crate) fn of_struct(declared: &[FieldRef], path: &str, rows: usize) -> Result<Self, UnsupportedType> {
        let wanted: Vec<usize> = (0..declared.len()).collect();
        Self::new(declared.iter().map(AsRef::as_ref), &wanted, path, rows)
    }

    /// Those of a record, of which only `wanted` have columns, in this order.
    pub(crate) fn of_record<'a>(
        declared: impl Iterator<Item = &'a Field>,
        wanted: &[usize],
        rows: usize,
    ) -> Result<Self, UnsupportedType> {
        Ok(Self { is_record: true, ..Self::new(declared, wanted, "", rows)? })
    }

    fn new<'a>(
        declared: impl Iterator<Item = &'a Field>,
        wanted: &[usize],
        path: &str,
        rows: usize,
    ) -> Result<Self, UnsupportedType> {
        let declared: Vec<&Field> = declared.collect();
        let mut names = Names { path: path.to_owned(), ..Names::default() };
        for field in &declared {
            names.declare(field.name(), |_| Target::Unwanted);
        }
        let mut slots = Vec::with_capacity(wanted.len());
        for field in wanted.iter().filter_map(|index| declared.get(*index)) {
            if !field.is_nullable() {
                // A field may be missing from any record.
                let field_name = format!("{path}{} NOT NULL", field.name());
                return Err(UnsupportedType { field: field_name, data_type: field.data_type().clone() });
            }
            let slot = u32::try_from(slots.len()).unwrap_or(u32::MAX);
            names.declare(field.name(), |exact| Target::Slot { slot, exact });
            let column = Column::new(field, path, rows)?;
            slots.push(Slot { name: format!("{path}{}", field.name()), column, seen: 0, value_at: 0 });
        }
        Ok(Self { slots, names, order: Vec::new(), stamp: 0, is_record: false })
    }

    /// Passes an object whose brace has been passed, and adds its fields to columns that have `row` rows each.
    ///
    /// After an error the columns may differ in length, until they are truncated.
    #[inline]
    pub(crate) fn decode(&mut self, cursor: &mut Cursor<'_>, row: usize) -> Parsed<()> {
        self.stamp += 2;
        let mut filled = 0;
        cursor.skip_space();
        if cursor.eat(b'}') {
            cursor.leave();
        } else {
            let mut nth = 0;
            loop {
                let key_at = cursor.at;
                match self.key(cursor, nth)? {
                    Target::Slot { slot, exact } => filled += self.value(cursor, slot as usize, exact, key_at, row)?,
                    Target::Unwanted => cursor.skip_value()?,
                    Target::Undeclared(number) => self.skip_undeclared(cursor, number, key_at)?,
                }
                nth += 1;
                if !cursor.next_in_object()? {
                    break;
                }
            }
        }
        if filled < self.slots.len() {
            self.fill();
        }
        Ok(())
    }

    /// Passes the nth key and its colon.
    #[inline(always)]
    fn key(&mut self, cursor: &mut Cursor<'_>, nth: usize) -> Parsed<Target> {
        cursor.count_key()?;
        if let Some(expected) = self.order.get(nth)
            && is_at(cursor.bytes(), cursor.at, &expected.token)
        {
            cursor.at += expected.token.len();
            cursor.skip_space();
            return Ok(expected.target);
        }
        self.look_up(cursor, nth)
    }

    #[inline(never)]
    fn look_up(&mut self, cursor: &mut Cursor<'_>, nth: usize) -> Parsed<Target> {
        if cursor.peek() != b'"' {
            return cursor.malformed("a key must be a string");
        }
        let start = cursor.at;
        let end = find_special(cursor.bytes(), start + 1);
        if cursor.bytes().get(end) != Some(&b'"') {
            let mut key = std::mem::take(&mut cursor.state.key);
            key.clear();
            cursor.string(&mut key)?;
            let target = self.names.target(&key, cursor.state);
            cursor.state.key = key;
            cursor.colon()?;
            return Ok(target);
        }
        let target = self.names.target(cursor.text.get(start + 1..end).unwrap_or_default(), cursor.state);
        cursor.at = end + 1;
        if cursor.peek() == b':' && nth < ORDER_MAX {
            self.expect(nth, cursor.bytes().get(start..end + 2).unwrap_or_default(), target);
        }
        cursor.colon()?;
        Ok(target)
    }

    fn expect(&mut self, nth: usize, token: &[u8], target: Target) {
        if nth >= self.order.len() {
            self.order.resize_with(nth + 1, Expected::default);
        }
        let expected = &mut self.order[nth];
        expected.token.clear();
        expected.token.extend_from_slice(token);
        expected.target = target;
    }

    /// Passes the value of a slot; 1 if the slot was empty.
    #[inline(always)]
    fn value(&mut self, cursor: &mut Cursor<'_>, slot: usize, exact: bool, key_at: usize, row: usize) -> Parsed<usize> {
        let slot = &mut self.slots[slot];
        let is_again = slot.seen >= self.stamp;
        if is_again {
            cursor.state.duplicates += 1;
            if slot.seen > self.stamp && !exact {
                cursor.skip_value()?;
                return Ok(0);
            }
            slot.column.truncate(row);
            cursor.state.forget_misfits(&slot.name, slot.value_at);
        }
        slot.seen = self.stamp + u64::from(exact);
        let value_at = cursor.at;
        slot.value_at = value_at;
        slot.column.decode(cursor)?;
        if cursor.state.fresh {
            cursor.state.name_misfits(&slot.name);
            if self.is_record {
                cursor.state.fresh = false;
                rescue(cursor, "", key_at, value_at);
            }
        }
        Ok(usize::from(!is_again))
    }

    #[inline(always)]
    fn skip_undeclared(&self, cursor: &mut Cursor<'_>, number: u32, key_at: usize) -> Parsed<()> {
        let value_at = cursor.at;
        cursor.skip_value()?;
        cursor.state.undeclared(number);
        rescue(cursor, &self.names.path, key_at, value_at);
        Ok(())
    }

    /// Gives the columns of fields that the object does not have their NULL.
    #[inline(never)]
    fn fill(&mut self) {
        for slot in &mut self.slots {
            if slot.seen < self.stamp {
                slot.column.push_null();
            }
        }
    }

    pub(crate) fn push_null(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.column.push_null());
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.slots.iter_mut().for_each(|slot| slot.column.truncate(rows));
    }

    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.slots.iter_mut().map(|slot| slot.column.finish()).collect()
    }
}

impl Names {
    fn declare(&mut self, name: &str, target: impl Fn(bool) -> Target) {
        self.known.insert(name.into(), target(true));
        self.folded.insert(name.to_lowercase(), target(false));
    }

    /// What a key means: first as it is spelled, then without regard to case.
    fn target(&mut self, key: &str, state: &mut State) -> Target {
        if let Some(target) = self.known.get(key) {
            return *target;
        }
        let target = match self.folded.get(&key.to_lowercase()) {
            Some(target) => *target,
            None if state.names.counted => Target::Undeclared(state.names.number(format!("{}{key}", self.path))),
            None => Target::Undeclared(0),
        };
        if self.remembered < REMEMBERED_MAX {
            self.remembered += 1;
            self.known.insert(key.into(), target);
        }
        target
    }
}

/// Keeps a field's text, if somebody asks for it. Names that are not the record's own begin with `path`.
#[inline(always)]
fn rescue(cursor: &mut Cursor<'_>, path: &str, key_at: usize, value_at: usize) {
    if cursor.state.rescue {
        rescue_field(cursor, path, key_at, value_at);
    }
}

#[inline(never)]
fn rescue_field(cursor: &mut Cursor<'_>, path: &str, key_at: usize, value_at: usize) {
    let text = |start: usize, end: usize| cursor.text.get(start..end).unwrap_or_default();
    let key = text(key_at, value_at).trim_end_matches([' ', '\t', '\r', '\n', ':']);
    let value = text(value_at, cursor.at);
    let rescued = &mut cursor.state.rescued;
    rescued.push(if rescued.is_empty() { '{' } else { ',' });
    rescued.push('"');
    for character in path.chars() {
        match character {
            '"' | '\\' => rescued.extend(['\\', character]),
            _ => rescued.push(character),
        }
    }
    rescued.push_str(key.strip_prefix('"').unwrap_or(key));
    rescued.push(':');
    rescued.push_str(value);
}

/// Whether `token` is at a place of the text. Spelled out, since tokens are too short for a call.
#[inline(always)]
fn is_at(bytes: &[u8], at: usize, token: &[u8]) -> bool {
    let Some(found) = bytes.get(at..).and_then(|rest| rest.get(..token.len())) else { return false };
    let (Some(first), Some(last)) = (token.first_chunk::<8>(), token.last_chunk::<8>()) else {
        // Shorter than eight bytes.
        let (Some(first), Some(last)) = (token.first_chunk::<4>(), token.last_chunk::<4>()) else {
            return found == token && !token.is_empty();
        };
        return found.first_chunk::<4>() == Some(first) && found.last_chunk::<4>() == Some(last);
    };
    if found.first_chunk::<8>() != Some(first) || found.last_chunk::<8>() != Some(last) {
        return false;
    }
    token.len() <= 16 || found == token
}
