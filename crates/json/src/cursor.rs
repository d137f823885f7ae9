//! A place in the text of one or more records: white space, literals, numbers' ends, and values that no column takes.

use crate::{
    fault::{Halt, Parsed, Reason},
    state::State,
    text::Discard,
};

const OBJECT: u8 = b'{';
const ARRAY: u8 = b'[';
/// What is read behind the end of the text: an end of line, which no value goes on after.
const END: u8 = b'\n';

/// A place in a text.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    pub(crate) state: &'a mut State,
    /// Whether the end of a line is white space, not the end of a record.
    pub(crate) spans_lines: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The byte here.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes().get(self.at).copied().unwrap_or(END)
    }

    /// Passes the byte here if it is `byte`.
    #[inline(always)]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.at < self.text.len() && self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    /// Passes white space of the record.
    #[inline(always)]
    pub(crate) fn skip_space(&mut self) {
        if self.peek() <= b' ' {
            self.skip_space_slowly();
        }
    }

    fn skip_space_slowly(&mut self) {
        while let Some(byte) = self.bytes().get(self.at) {
            let is_space = matches!(byte, b' ' | b'\t' | b'\r') || (*byte == b'\n' && self.spans_lines);
            if !is_space {
                break;
            }
            self.at += 1;
        }
    }

    /// Passes white space and gives the byte behind it, which stays.
    #[inline(always)]
    pub(crate) fn peek_behind_space(&mut self) -> u8 {
        let byte = self.peek();
        if byte > b' ' {
            return byte;
        }
        self.skip_space_slowly();
        self.peek()
    }

    /// Ends the record.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail<T>(&mut self, reason: Reason, message: &'static str) -> Parsed<T> {
        self.state.halt(reason, self.at, message);
        Err(Halt)
    }

    /// Ends the record: it is not JSON.
    #[cold]
    #[inline(never)]
    pub(crate) fn malformed<T>(&mut self, message: &'static str) -> Parsed<T> {
        self.fail(Reason::Malformed, message)
    }

    /// Goes into an object or array whose first byte has been passed.
    #[inline(always)]
    pub(crate) fn enter(&mut self) -> Parsed<()> {
        self.state.depth += 1;
        if self.state.depth > self.state.limits.depth_max {
            return self.fail(Reason::TooDeep, "objects and arrays lie too deep in one another");
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn leave(&mut self) {
        self.state.depth -= 1;
    }

    /// Counts a key.
    #[inline(always)]
    pub(crate) fn count_key(&mut self) -> Parsed<()> {
        self.state.keys += 1;
        if self.state.keys > self.state.limits.keys_max {
            return self.fail(Reason::TooManyKeys, "the record has too many keys");
        }
        Ok(())
    }

    /// Passes what follows a value in an object: true if another key follows, which the cursor is at then.
    #[inline(always)]
    pub(crate) fn next_in_object(&mut self) -> Parsed<bool> {
        match self.peek_behind_space() {
            b',' => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            b'}' => {
                self.at += 1;
                self.leave();
                Ok(false)
            }
            _ => self.malformed("`,` or `}` is missing behind a value"),
        }
    }

    /// Passes what follows a value in an array: true if another value follows, which the cursor is at then.
    #[inline(always)]
    pub(crate) fn next_in_array(&mut self) -> Parsed<bool> {
        match self.peek_behind_space() {
            b',' => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            b']' => {
                self.at += 1;
                self.leave();
                Ok(false)
            }
            _ => self.malformed("`,` or `]` is missing behind a value"),
        }
    }

    /// Passes a key that nobody asks for, and its colon.
    fn skip_key(&mut self) -> Parsed<()> {
        self.count_key()?;
        if self.peek() != b'"' {
            return self.malformed("a key must be a string");
        }
        self.string(&mut Discard)?;
        self.colon()
    }

    /// Passes the colon behind a key and the space around it.
    #[inline(always)]
    pub(crate) fn colon(&mut self) -> Parsed<()> {
        if self.peek_behind_space() != b':' {
            return self.malformed("`:` is missing behind a key");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Passes `null`, `true` or `false`.
    #[inline(always)]
    pub(crate) fn literal(&mut self, word: &'static str) -> Parsed<()> {
        if self.bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(());
        }
        self.malformed("a value must be a string, number, object, array, true, false or null")
    }

    /// Passes a value of any kind, and checks it.
    ///
    /// Its depth is bounded by the limit, and is not that of the program's stack.
    #[inline]
    pub(crate) fn skip_value(&mut self) -> Parsed<()> {
        match self.peek() {
            b'"' => self.string(&mut Discard),
            b'{' | b'[' => self.skip_container(),
            _ => self.skip_scalar(),
        }
    }

    #[inline(always)]
    fn skip_scalar(&mut self) -> Parsed<()> {
        match self.peek() {
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            _ => self.literal("null"),
        }
    }

    #[inline(never)]
    fn skip_container(&mut self) -> Parsed<()> {
        let outside = self.state.containers.len();
        loop {
            if self.skip_value_or_open()? {
                continue;
            }
            // Behind a value: close what ends here.
            loop {
                let Some(container) = self.state.containers.get(outside..).and_then(<[u8]>::last) else {
                    return Ok(());
                };
                let goes_on = if *container == OBJECT { self.next_in_object()? } else { self.next_in_array()? };
                if !goes_on {
                    self.state.containers.pop();
                    continue;
                }
                if *self.state.containers.last().unwrap_or(&ARRAY) == OBJECT {
                    self.skip_key()?;
                }
                break;
            }
        }
    }

    /// Passes one value, or goes into an object or array that is not empty: true if it did.
    #[inline(always)]
    fn skip_value_or_open(&mut self) -> Parsed<bool> {
        let kind = self.peek();
        match kind {
            b'"' => self.string(&mut Discard)?,
            OBJECT | ARRAY => {
                self.at += 1;
                self.enter()?;
                self.skip_space();
                if self.eat(if kind == OBJECT { b'}' } else { b']' }) {
                    self.leave();
                    return Ok(false);
                }
                self.state.containers.push(kind);
                if kind == OBJECT {
                    self.skip_key()?;
                }
                return Ok(true);
            }
            _ => self.skip_scalar()?,
        }
        Ok(false)
    }
}
