//! The rows of a text column, and the one place where Arrow is told that they are UTF-8 without a second look.
//!
//! Invariant: each offset was the length of `bytes` when `bytes` was whole UTF-8, offsets do not fall, and no byte before
//! the last offset changes. So all bytes are UTF-8, and every offset lies between two characters.

use arrow::{
    array::{BinaryArray, GenericStringArray, NullBufferBuilder, StringArray},
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    error::ArrowError,
};

use crate::text::Sink;

/// Text of at most so many bytes is copied as a block.
const SHORT: usize = 16;

/// Rows of text. A row is open while its text is appended, until it is closed.
#[derive(Debug)]
pub(crate) struct TextBuffer {
    bytes: Vec<u8>,
    /// Where each row ends, after a first zero.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl TextBuffer {
    pub(crate) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::new(), offsets, nulls: NullBufferBuilder::new(rows) }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Ends the open row.
    #[inline]
    pub(crate) fn close(&mut self) {
        // Too much text saturates here and is refused by `finish`.
        self.offsets.push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
        self.nulls.append_non_null();
    }

    /// Ends the open row as NULL; what was appended to it is dropped.
    pub(crate) fn close_null(&mut self) {
        self.drop_open();
        self.offsets.push(self.end());
        self.nulls.append_null();
    }

    /// Adds a row.
    #[inline(always)]
    pub(crate) fn push(&mut self, text: &str) {
        self.text(text);
        self.close();
    }

    /// Keeps the first `rows` rows, and no open one.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if self.len() > rows {
            self.offsets.truncate(rows + 1);
            self.nulls.truncate(rows);
        }
        self.drop_open();
    }

    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or_default()
    }

    fn drop_open(&mut self) {
        self.bytes.truncate(usize::try_from(self.end()).unwrap_or_default());
    }

    /// The texts of the rows from `start` on.
    pub(crate) fn rows_from(&self, start: usize) -> impl Iterator<Item = &[u8]> {
        let offset = |index: usize| usize::try_from(self.offsets[index]).unwrap_or_default();
        (start..self.len()).map(move |row| &self.bytes[offset(row)..offset(row + 1)])
    }

    /// The rows as an array; the buffer is empty afterwards.
    ///
    /// # Errors
    /// There are more than 2 GiB of text.
    pub(crate) fn finish(&mut self) -> Result<StringArray, ArrowError> {
        let (bytes, offsets, nulls) = self.take()?;
        // SAFETY: this module's invariant. `bytes` grows only by whole `&str` and `char` in `Sink`, and is cut only to an
        // offset in `drop_open`; `offsets` get only its length in `close` and the last offset in `close_null`, and are
        // cut together with it in `truncate`. `take` refuses lengths where an offset was saturated. `nulls` has one bit for each.
        Ok(unsafe { GenericStringArray::new_unchecked(offsets, bytes, nulls) })
    }

    /// The twin of [`Self::finish`] that looks at every byte.
    #[cfg(test)]
    pub(crate) fn finish_checked(&mut self) -> Result<StringArray, ArrowError> {
        let (bytes, offsets, nulls) = self.take()?;
        StringArray::try_new(offsets, bytes, nulls)
    }

    fn take(&mut self) -> Result<(Buffer, OffsetBuffer<i32>, Option<NullBuffer>), ArrowError> {
        let rows = self.len();
        let taken = std::mem::replace(self, Self::new(rows));
        // An offset that is the maximum may be one that was saturated.
        if i32::try_from(taken.bytes.len()).unwrap_or(i32::MAX) == i32::MAX {
            return Err(ArrowError::OffsetOverflowError(taken.bytes.len()));
        }
        // As much text is likely to come again.
        self.bytes.reserve(taken.bytes.len());
        let offsets = OffsetBuffer::new(ScalarBuffer::from(taken.offsets));
        Ok((Buffer::from_vec(taken.bytes), offsets, taken.nulls.build()))
    }
}

impl Sink for TextBuffer {
    #[inline(always)]
    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    fn text_at(&mut self, whole: &str, start: usize, end: usize) {
        let length = end.wrapping_sub(start);
        let is_text = whole.is_char_boundary(start) && whole.is_char_boundary(end);
        if length <= SHORT
            && is_text
            && let Some(block) = whole.as_bytes().get(start..).and_then(<[u8]>::first_chunk::<SHORT>)
        {
            // A copy of a known size needs no call. What is not of the text goes at once.
            let before = self.bytes.len();
            self.bytes.extend_from_slice(block);
            self.bytes.truncate(before + length);
        } else {
            self.text(whole.get(start..end).unwrap_or_default());
        }
    }

    #[inline(always)]
    fn character(&mut self, character: char) {
        let mut utf8 = [0; 4];
        self.bytes.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
    }
}

/// Rows of bytes.
#[derive(Debug)]
pub(crate) struct BinaryBuffer {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl BinaryBuffer {
    pub(crate) fn new(rows: usize) -> Self {
        Self { bytes: Vec::new(), offsets: vec![0], nulls: NullBufferBuilder::new(rows) }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn push(&mut self, row: Option<&[u8]>) {
        self.bytes.extend_from_slice(row.unwrap_or_default());
        self.offsets.push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
        self.nulls.append(row.is_some());
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        if self.len() > rows {
            self.offsets.truncate(rows + 1);
            self.nulls.truncate(rows);
            let end = self.offsets.last().copied().unwrap_or_default();
            self.bytes.truncate(usize::try_from(end).unwrap_or_default());
        }
    }

    pub(crate) fn finish(&mut self) -> Result<BinaryArray, ArrowError> {
        let rows = self.len();
        let taken = std::mem::replace(self, Self::new(rows));
        if i32::try_from(taken.bytes.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(taken.bytes.len()));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(taken.offsets));
        BinaryArray::try_new(offsets, Buffer::from_vec(taken.bytes), taken.nulls.build())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Text(String),
        Part(String, usize, usize),
        Character(char),
        Close,
        CloseNull,
        Truncate(usize),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            ".{0,40}".prop_map(Act::Text),
            (".{0,60}", 0_usize..70, 0_usize..70).prop_map(|(text, start, end)| Act::Part(text, start, end)),
            any::<char>().prop_map(Act::Character),
            Just(Act::Close),
            Just(Act::CloseNull),
            (0_usize..20).prop_map(Act::Truncate),
        ];
        proptest::collection::vec(act, 0..60)
    }

    fn perform(acts: &[Act]) -> TextBuffer {
        let mut buffer = TextBuffer::new(4);
        for act in acts {
            match act {
                Act::Text(text) => buffer.text(text),
                Act::Part(text, start, end) => buffer.text_at(text, *start, *end),
                Act::Character(character) => buffer.character(*character),
                Act::Close => buffer.close(),
                Act::CloseNull => buffer.close_null(),
                Act::Truncate(rows) => buffer.truncate(*rows),
            }
        }
        // A column is only taken between records.
        buffer.truncate(buffer.len());
        buffer
    }

    proptest! {
        #[test]
        fn whatever_is_done_the_rows_are_text(acts in acts()) {
            let unchecked = perform(&acts).finish().unwrap();
            unchecked.to_data().validate_full().unwrap();
            prop_assert_eq!(unchecked, perform(&acts).finish_checked().unwrap());
        }
    }
}
