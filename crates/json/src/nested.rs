//! Columns of structures, lists and maps.
//!
//! They call one another as deep as the declared type goes, whatever the text is.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ListArray, MapArray, NullBufferBuilder, StructArray},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, FieldRef, Fields as ArrowFields},
    error::ArrowError,
};

use crate::{
    column::{Column, UnsupportedType, skip_null},
    cursor::Cursor,
    fault::Parsed,
    object::Fields,
    trusted::text_buffer::TextBuffer,
};

/// Objects with declared fields.
#[derive(Debug)]
pub(crate) struct StructColumn {
    declared: ArrowFields,
    fields: Fields,
    nulls: NullBufferBuilder,
}

impl StructColumn {
    pub(crate) fn new(declared: &ArrowFields, path: &str, rows: usize) -> Result<Self, UnsupportedType> {
        let fields = Fields::of_struct(declared, path, rows)?;
        Ok(Self { declared: declared.clone(), fields, nulls: NullBufferBuilder::new(rows) })
    }

    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    pub(crate) fn decode(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if !cursor.eat(b'{') {
            self.push_null();
            return skip_null(cursor, "the value is no object, as a STRUCT must be");
        }
        cursor.enter()?;
        self.fields.decode(cursor, self.nulls.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    pub(crate) fn push_null(&mut self) {
        self.fields.push_null();
        self.nulls.append_null();
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.fields.truncate(rows);
    }

    pub(crate) fn finish(&mut self) -> Result<StructArray, ArrowError> {
        let (rows, nulls) = (self.nulls.len(), self.nulls.finish());
        let columns = self.fields.finish()?;
        StructArray::try_new_with_length(self.declared.clone(), columns, nulls, rows)
    }
}

/// Arrays.
#[derive(Debug)]
pub(crate) struct ListColumn {
    element: FieldRef,
    elements: Column,
    ends: Ends,
}

/// Where each row ends in the column of its elements, and which rows are NULL.
#[derive(Debug)]
struct Ends {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Ends {
    fn new(rows: usize) -> Self {
        Self { offsets: vec![0], nulls: NullBufferBuilder::new(rows) }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn end(&self) -> usize {
        self.offsets.last().map_or(0, |end| usize::try_from(*end).unwrap_or_default())
    }

    fn push(&mut self, end: usize) {
        // More than that is refused when the column is taken.
        self.offsets.push(i32::try_from(end).unwrap_or(i32::MAX));
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        if self.len() > rows {
            self.offsets.truncate(rows + 1);
            self.nulls.truncate(rows);
        }
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>) {
        let taken = std::mem::replace(self, Self::new(self.len()));
        (OffsetBuffer::new(ScalarBuffer::from(taken.offsets)), taken.nulls.build())
    }
}

impl ListColumn {
    pub(crate) fn new(element: &FieldRef, path: &str, rows: usize) -> Result<Self, UnsupportedType> {
        let elements = Column::new(element, path, rows)?;
        Ok(Self { element: Arc::clone(element), elements, ends: Ends::new(rows) })
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn decode(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if !cursor.eat(b'[') {
            self.push_null();
            return skip_null(cursor, "the value is no array");
        }
        cursor.enter()?;
        cursor.skip_space();
        if cursor.eat(b']') {
            cursor.leave();
        } else {
            loop {
                self.elements.decode(cursor)?;
                if !cursor.next_in_array()? {
                    break;
                }
            }
        }
        self.ends.push(self.elements.len());
        Ok(())
    }

    pub(crate) fn push_null(&mut self) {
        self.ends.push_null();
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.elements.truncate(self.ends.end());
    }

    pub(crate) fn finish(&mut self) -> Result<ListArray, ArrowError> {
        let (offsets, nulls) = self.ends.finish();
        ListArray::try_new(Arc::clone(&self.element), offsets, self.elements.finish()?, nulls)
    }
}

/// Objects with any keys, and values of one type.
#[derive(Debug)]
pub(crate) struct MapColumn {
    entries: FieldRef,
    keys: TextBuffer,
    values: Column,
    ends: Ends,
}

impl MapColumn {
    /// `None` if the keys are no text.
    pub(crate) fn new(entries: &FieldRef, path: &str, rows: usize) -> Result<Option<Self>, UnsupportedType> {
        let DataType::Struct(fields) = entries.data_type() else { return Ok(None) };
        let [key, value] = fields.as_ref() else { return Ok(None) };
        if key.data_type() != &DataType::Utf8 {
            return Ok(None);
        }
        let values = Column::new(value, path, rows)?;
        let (entries, ends) = (Arc::clone(entries), Ends::new(rows));
        Ok(Some(Self { entries, keys: TextBuffer::new(rows), values, ends }))
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn decode(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if !cursor.eat(b'{') {
            self.push_null();
            return skip_null(cursor, "the value is no object, as a MAP must be");
        }
        cursor.enter()?;
        let (start, mark) = (cursor.at, cursor.state.mark());
        self.decode_entries(cursor, &HashSet::new())?;
        let replaced = self.replaced();
        if !replaced.is_empty() {
            // Rare: the same text again, without the entries that a later one replaces.
            self.keys.truncate(self.ends.end());
            self.values.truncate(self.ends.end());
            cursor.at = start;
            cursor.state.go_back(&mark);
            cursor.state.duplicates += replaced.len() as u64;
            self.decode_entries(cursor, &replaced)?;
        }
        self.ends.push(self.keys.len());
        Ok(())
    }

    /// Passes an object whose brace has been passed. Entries whose numbers are in `replaced` are skipped.
    fn decode_entries(&mut self, cursor: &mut Cursor<'_>, replaced: &HashSet<usize>) -> Parsed<()> {
        cursor.skip_space();
        if cursor.eat(b'}') {
            cursor.leave();
            return Ok(());
        }
        for number in 0.. {
            cursor.count_key()?;
            if cursor.peek() != b'"' {
                return cursor.malformed("a key must be a string");
            }
            let rows = self.keys.len();
            cursor.string(&mut self.keys)?;
            self.keys.close();
            cursor.colon()?;
            if replaced.contains(&number) {
                self.keys.truncate(rows);
                cursor.skip_value()?;
            } else {
                self.values.decode(cursor)?;
            }
            if !cursor.next_in_object()? {
                break;
            }
        }
        Ok(())
    }

    /// The numbers of the open row's entries whose keys come again.
    fn replaced(&self) -> HashSet<usize> {
        let start = self.ends.end();
        let count = self.keys.len() - start;
        let mut replaced = HashSet::new();
        if count < 2 {
            return replaced;
        }
        let keys: Vec<&[u8]> = self.keys.rows_from(start).collect();
        let mut seen = HashSet::with_capacity(count);
        for (number, key) in keys.iter().enumerate().rev() {
            if !seen.insert(*key) {
                replaced.insert(number);
            }
        }
        replaced
    }

    pub(crate) fn push_null(&mut self) {
        self.ends.push_null();
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.keys.truncate(self.ends.end());
        self.values.truncate(self.ends.end());
    }

    pub(crate) fn finish(&mut self) -> Result<MapArray, ArrowError> {
        let (offsets, nulls) = self.ends.finish();
        let DataType::Struct(fields) = self.entries.data_type() else {
            return Err(ArrowError::SchemaError("a map's entries are no structure".to_owned()));
        };
        let entries =
            StructArray::try_new(fields.clone(), vec![Arc::new(self.keys.finish()?), self.values.finish()?], None)?;
        MapArray::try_new(Arc::clone(&self.entries), offsets, entries, nulls, false)
    }
}
