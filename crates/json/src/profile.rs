//! Finds out which columns records have, by looking at all of them.
//!
//! Data flow: the texts of records, as [`crate::Decoder`] gives them -> [`Profile`] -> the columns to declare.
//!
//! Invariant: the columns take every value that was seen: a type is proposed only if all values of its place fit it, and
//! text takes what is left. Profiles of parts, merged in the order of the parts, are the profile of the whole.

mod sql_type;

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::{
    cursor::Cursor,
    fault::Parsed,
    options::{Limits, OnMisfit},
    state::State,
    time,
};

/// Fields of one object that are told apart; with more it is taken for a map.
const FIELDS_MAX: usize = 1000;
/// Keys from which on an object may be a map.
const MAP_KEYS_MIN: usize = 30;
/// An object whose keys are data has, of all the keys that were seen, no more than one in this many.
const MAP_SPARSE: u64 = 4;
/// Objects and arrays inside of one another that are told apart; below it is text.
const DEPTH_MAX: usize = 12;

/// What was seen of records.
#[derive(Debug, Default)]
pub struct Profile {
    records: u64,
    record: Fields,
}

/// A column that takes what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedColumn {
    /// As it is spelled first.
    pub name: String,
    /// Its SQL type.
    pub sql_type: String,
    /// Records that have the field, also as null.
    pub present: u64,
    /// The type of most values and how many have another, if it is not that of all.
    pub mostly: Option<(&'static str, u64)>,
}

/// What was seen at one place.
#[derive(Debug, Default)]
struct Shape {
    /// Also as null.
    seen: u64,
    booleans: u64,
    integers: u64,
    /// Other numbers.
    numbers: u64,
    /// Numbers that neither a BIGINT nor a DOUBLE takes as they are.
    large: u64,
    texts: u64,
    /// Of the texts.
    dates: u64,
    /// Of the texts.
    times: u64,
    objects: u64,
    arrays: u64,
    fields: Fields,
    element: Option<Box<Self>>,
}

/// The fields of objects, in the order in which they were seen first.
#[derive(Debug, Default)]
struct Fields {
    objects: u64,
    /// Fields of all objects.
    keys: u64,
    /// Name, and what was seen.
    list: Vec<(String, Shape)>,
    /// By the name in lower case.
    places: HashMap<String, usize, RandomState>,
    /// Whether there were more than are told apart.
    overflow: bool,
}

impl Profile {
    /// Records that were looked at.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Looks at a record. What is no JSON object is left out.
    pub fn add(&mut self, record: &str) {
        let mut state = State::new(Limits::default(), OnMisfit::Null, false, false);
        let mut cursor = Cursor { text: record, at: 0, state: &mut state, spans_lines: true };
        cursor.skip_space();
        if !cursor.eat(b'{') {
            return;
        }
        self.records += 1;
        // The record has been decoded before: it is an object, or what was seen of it until its error counts.
        let _ = self.record.add(&mut cursor, 0);
    }

    /// Adds what was seen of later records.
    pub fn merge(&mut self, later: Self) {
        self.records += later.records;
        self.record.merge(later.record);
    }

    /// The columns to declare.
    #[must_use]
    pub fn columns(&self) -> Vec<ProposedColumn> {
        let column = |(name, shape): &(String, Shape)| ProposedColumn {
            name: name.clone(),
            sql_type: shape.sql_type(0),
            present: shape.seen,
            mostly: shape.mostly(),
        };
        self.record.list.iter().map(column).collect()
    }

    /// Whether records had more different keys than are told apart: some columns are missing.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.record.overflow
    }
}

impl Fields {
    /// Passes an object whose brace has been passed.
    fn add(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        self.objects += 1;
        cursor.skip_space();
        if cursor.eat(b'}') {
            return Ok(());
        }
        loop {
            self.keys += 1;
            let mut key = String::new();
            if cursor.peek() != b'"' {
                return cursor.malformed("a key must be a string");
            }
            cursor.string(&mut key)?;
            cursor.colon()?;
            match self.place(&key) {
                Some(place) => self.list[place].1.add(cursor, depth)?,
                None => cursor.skip_value()?,
            }
            cursor.state.depth = 1;
            if !cursor.next_in_object()? {
                return Ok(());
            }
        }
    }

    fn place(&mut self, key: &str) -> Option<usize> {
        let folded = key.to_lowercase();
        if let Some(place) = self.places.get(&folded) {
            return Some(*place);
        }
        if self.list.len() == FIELDS_MAX {
            self.overflow = true;
            return None;
        }
        self.list.push((key.to_owned(), Shape::default()));
        self.places.insert(folded, self.list.len() - 1);
        Some(self.list.len() - 1)
    }

    fn merge(&mut self, later: Self) {
        self.objects += later.objects;
        self.keys += later.keys;
        self.overflow |= later.overflow;
        for (name, shape) in later.list {
            if let Some(place) = self.place(&name) {
                self.list[place].1.merge(shape);
            }
        }
    }

    /// Whether the keys are data, not names.
    fn is_map(&self) -> bool {
        let count = self.list.len();
        self.overflow || (count >= MAP_KEYS_MIN && self.keys * MAP_SPARSE <= self.objects * count as u64)
    }
}

impl Shape {
    /// Passes the value here.
    fn add(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        self.seen += 1;
        match cursor.peek() {
            b'"' => {
                let mut text = String::new();
                cursor.string(&mut text)?;
                self.texts += 1;
                if time::date(&text).is_some() {
                    self.dates += 1;
                } else if time::timestamp_us(&text).is_some() {
                    self.times += 1;
                }
            }
            b'{' if depth < DEPTH_MAX => {
                self.objects += 1;
                cursor.at += 1;
                self.fields.add(cursor, depth + 1)?;
            }
            b'[' if depth < DEPTH_MAX => {
                self.arrays += 1;
                self.add_elements(cursor, depth + 1)?;
            }
            b'{' | b'[' => {
                self.texts += 1;
                cursor.skip_value()?;
            }
            b'-' | b'0'..=b'9' => {
                let number = cursor.number()?;
                let is_plain = number.text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
                match (number.integer(), number.double()) {
                    (Some(_), _) => self.integers += 1,
                    (None, Some(_)) if !is_plain => self.numbers += 1,
                    // Digits would be lost, or all of it.
                    _ => self.large += 1,
                }
            }
            b't' | b'f' => {
                self.booleans += 1;
                cursor.skip_value()?;
            }
            _ => cursor.skip_value()?,
        }
        Ok(())
    }

    fn add_elements(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        cursor.at += 1;
        cursor.skip_space();
        if cursor.eat(b']') {
            return Ok(());
        }
        let element = self.element.get_or_insert_default();
        loop {
            element.add(cursor, depth)?;
            cursor.state.depth = 1;
            if !cursor.next_in_array()? {
                return Ok(());
            }
        }
    }

    fn merge(&mut self, later: Self) {
        self.seen += later.seen;
        self.booleans += later.booleans;
        self.integers += later.integers;
        self.numbers += later.numbers;
        self.large += later.large;
        self.texts += later.texts;
        self.dates += later.dates;
        self.times += later.times;
        self.objects += later.objects;
        self.arrays += later.arrays;
        self.fields.merge(later.fields);
        if let Some(element) = later.element {
            self.element.get_or_insert_default().merge(*element);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(records: &[&str]) -> Profile {
        let mut profile = Profile::default();
        records.iter().for_each(|record| profile.add(record));
        profile
    }

    fn types(records: &[&str]) -> Vec<String> {
        let columns = profile(records).columns();
        columns.into_iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect()
    }

    #[test]
    fn a_type_takes_all_values_that_were_seen() {
        for (values, expected) in [
            (vec!["1", "-5", "null", "9223372036854775807"], "BIGINT"),
            (vec!["1.0", "5e3"], "BIGINT"),
            (vec!["1", "1.5"], "DOUBLE"),
            (vec!["1", "9223372036854775808"], "VARCHAR"),
            (vec!["1e400", "2"], "VARCHAR"),
            (vec!["true", "false"], "BOOLEAN"),
            (vec!["true", "1"], "VARCHAR"),
            (vec!["\"a\"", "\"2018-11-13\""], "VARCHAR"),
            (vec!["\"2018-11-13\""], "DATE"),
            (vec!["\"2018-11-13\"", "\"2018-11-13T12:30:05.25Z\""], "TIMESTAMP"),
            (vec!["null"], "VARCHAR"),
            (vec!["[]"], "ARRAY<VARCHAR>"),
            (vec!["[1]", "[2.5, null]"], "ARRAY<DOUBLE>"),
            (vec!["[1]", "{}"], "VARCHAR"),
            (vec!["{}"], "VARCHAR"),
            (
                vec!["{\"x\": {\"Y\": 1}}", "{\"z\": [true]}"],
                "STRUCT<\"x\": STRUCT<\"Y\": BIGINT>, \"z\": ARRAY<BOOLEAN>>",
            ),
            (vec!["{\"a b\": 1}"], "VARCHAR"),
        ] {
            let records: Vec<String> = values.iter().map(|value| format!("{{\"a\": {value}}}")).collect();
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            assert_eq!(types(&records), [format!("a {expected}")], "{values:?}");
        }
    }

    #[test]
    fn keys_that_are_data_make_a_map() {
        let records: Vec<String> =
            (0..100).map(|id| format!("{{\"by_user\": {{\"u{id}\": {id}, \"v{id}\": 1}}, \"id\": {id}}}")).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        assert_eq!(types(&records), ["by_user MAP<VARCHAR, BIGINT>", "id BIGINT"]);
    }

    #[test]
    fn keys_that_differ_in_case_are_one_column() {
        assert_eq!(types(&["{\"userId\": 1}", "{\"USERID\": 2.5, \"b\": true}"]), ["userId DOUBLE", "b BOOLEAN"]);
    }

    #[test]
    fn records_without_a_field_and_values_of_another_type_are_counted() {
        let columns = profile(&["{\"a\": 1}", "{\"a\": 2, \"b\": null}", "{\"a\": \"x\"}", "17"]).columns();
        assert_eq!((columns[0].present, columns[0].mostly), (3, Some(("BIGINT", 1))));
        assert_eq!((columns[1].present, columns[1].mostly), (1, None));
    }

    #[test]
    fn parts_merged_in_order_are_the_whole() {
        let records =
            ["{\"a\": 1, \"b\": [1]}", "{\"c\": {\"d\": 1}}", "{\"B\": [\"x\"], \"a\": 1.5}", "{\"c\": {\"e\": null}}"];
        let whole = profile(&records).columns();
        for cut in 0..=records.len() {
            let mut parts = profile(&records[..cut]);
            parts.merge(profile(&records[cut..]));
            assert_eq!((parts.columns(), parts.records()), (whole.clone(), 4));
        }
    }

    #[test]
    fn deep_values_are_text() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(types(&[&deep]), [format!("a {}VARCHAR{}", "ARRAY<".repeat(DEPTH_MAX), ">".repeat(DEPTH_MAX))]);
    }
}
