//! Tells how the records of an object lie in its text: by the source's option `multiLine`, or by the text's beginning.
//!
//! Invariant: the answer is that of [`Layout::of_text`] for the whole text, whichever range of the object a task has. So
//! all tasks that have ranges of one object agree on who reads it.

use bytes::Bytes;
use lakewright_error::Result;
use lakewright_json::{Layout, Limits};
use object_store::{ObjectMeta, ObjectStore};

use super::object::open;

/// First look at the beginning of an object of which this task has a range; doubled until its second line has ended.
const HEAD_BYTES: u64 = 64 << 10;

/// What an object is: lines, or one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultiLine {
    /// What its text begins like, each object for itself.
    #[default]
    Auto,
    /// One value: an object, or an array of objects.
    True,
    /// One record a line.
    False,
}

impl MultiLine {
    /// The layout of a text, of which `head` is the beginning; `None` if it takes more of it.
    pub(super) fn layout(self, head: &[u8], is_whole: bool) -> Option<Layout> {
        match self {
            Self::Auto => Layout::of_text(head, is_whole, Limits::default().record_bytes_max),
            Self::True => Layout::of_value(head, is_whole),
            Self::False => Some(Layout::Lines),
        }
    }
}

/// The beginning of a text whose layout is not known yet.
#[derive(Debug)]
pub(super) struct Opening {
    rule: MultiLine,
    head: Vec<u8>,
    /// Size of the beginning at which it is looked at again: looking at each chunk would take the square of the time.
    look_at: usize,
}

impl Opening {
    pub(super) fn new(rule: MultiLine) -> Self {
        Self { rule, head: Vec::new(), look_at: 0 }
    }

    /// Takes the next chunk; gives the layout and all text so far, once it is known.
    pub(super) fn add(&mut self, chunk: Bytes) -> Option<(Layout, Bytes)> {
        if self.head.is_empty()
            && let Some(layout) = self.rule.layout(&chunk, false)
        {
            return Some((layout, chunk));
        }
        self.head.extend_from_slice(&chunk);
        if self.head.len() < self.look_at {
            return None;
        }
        self.look_at = (self.head.len() * 2).min(Limits::default().record_bytes_max + 4).max(self.head.len() + 1);
        let layout = self.rule.layout(&self.head, false)?;
        Some((layout, std::mem::take(&mut self.head).into()))
    }

    /// Takes the end of the text; `None` if there was none.
    pub(super) fn end(&mut self) -> Option<(Layout, Bytes)> {
        if self.head.is_empty() {
            return None;
        }
        let layout = self.rule.layout(&self.head, true).unwrap_or(Layout::Lines);
        Some((layout, std::mem::take(&mut self.head).into()))
    }
}

/// Whether an object that was cut into ranges is read by ranges. If not, the task that has its beginning reads all of it.
///
/// # Errors
/// As reading the object.
pub(super) async fn is_read_by_ranges(store: &dyn ObjectStore, object: &ObjectMeta, rule: MultiLine) -> Result<bool> {
    match rule {
        MultiLine::False => return Ok(true),
        MultiLine::True => return Ok(false),
        MultiLine::Auto => {}
    }
    let record_bytes_max = Limits::default().record_bytes_max as u64;
    let mut wanted = HEAD_BYTES;
    loop {
        let head = read_head(store, object, wanted).await?;
        if let Some(layout) = rule.layout(&head, head.len() as u64 == object.size) {
            return Ok(layout == Layout::Lines);
        }
        let has_two_lines = memchr::memchr_iter(b'\n', &head).nth(1).is_some();
        if has_two_lines || wanted > record_bytes_max {
            // Neither of its first lines is a value. A longer text than a record may have is no record, either.
            return Ok(object.size > record_bytes_max + 3);
        }
        wanted = wanted.saturating_mul(2);
    }
}

async fn read_head(store: &dyn ObjectStore, object: &ObjectMeta, wanted: u64) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut body = open(store, object, 0..wanted.min(object.size)).await?;
    while let Some(bytes) = body.next().await? {
        head.extend_from_slice(&bytes);
    }
    Ok(head)
}
