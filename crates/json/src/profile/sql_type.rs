//! The SQL type that takes all values of a place.

use super::{Fields, Shape};

const TEXT: &str = "VARCHAR";
/// What no column of a table may have in its name, nor a field of one.
const FORBIDDEN: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

impl Shape {
    /// Values but nulls.
    fn values(&self) -> u64 {
        self.booleans + self.integers + self.numbers + self.large + self.texts + self.objects + self.arrays
    }

    /// The kinds of values with their counts.
    fn kinds(&self) -> [(&'static str, u64); 6] {
        let numbers = if self.numbers > 0 { "DOUBLE" } else { "BIGINT" };
        [
            (numbers, self.integers + self.numbers),
            ("numbers that are too large", self.large),
            ("BOOLEAN", self.booleans),
            (TEXT, self.texts),
            ("objects", self.objects),
            ("arrays", self.arrays),
        ]
    }

    /// The kind of most values and how many are of another, if there are several.
    pub(super) fn mostly(&self) -> Option<(&'static str, u64)> {
        let most = self.kinds().into_iter().max_by_key(|(_, count)| *count)?;
        (most.1 < self.values()).then(|| (most.0, self.values() - most.1))
    }

    /// The type; text where there are several kinds, or none.
    pub(super) fn sql_type(&self, depth: usize) -> String {
        let all = |count: u64| count > 0 && count == self.values();
        if all(self.booleans) {
            "BOOLEAN".to_owned()
        } else if all(self.integers) {
            "BIGINT".to_owned()
        } else if all(self.integers + self.numbers) {
            "DOUBLE".to_owned()
        } else if all(self.dates) {
            "DATE".to_owned()
        } else if all(self.dates + self.times) {
            "TIMESTAMP".to_owned()
        } else if all(self.objects) {
            self.fields.sql_type(depth)
        } else if all(self.arrays) {
            let element = self.element.as_ref().map_or_else(|| TEXT.to_owned(), |element| element.sql_type(depth + 1));
            format!("ARRAY<{element}>")
        } else {
            TEXT.to_owned()
        }
    }
}

impl Fields {
    fn sql_type(&self, depth: usize) -> String {
        if self.is_map() {
            let shapes = self.list.iter().map(|(_, shape)| shape.sql_type(depth + 1));
            let value = shapes.reduce(|left, right| if left == right { left } else { wider(&left, &right) });
            return format!("MAP<VARCHAR, {}>", value.unwrap_or_else(|| TEXT.to_owned()));
        }
        let is_name = |name: &str| {
            !name.is_empty() && !name.contains(FORBIDDEN) && !name.contains('"') && !name.contains(char::is_control)
        };
        if self.list.is_empty() || !self.list.iter().all(|(name, _)| is_name(name)) {
            return TEXT.to_owned();
        }
        let fields = self.list.iter().map(|(name, shape)| format!("\"{name}\": {}", shape.sql_type(depth + 1)));
        format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
    }
}

/// The type that takes the values of two.
fn wider(left: &str, right: &str) -> String {
    match (left, right) {
        ("BIGINT", "DOUBLE") | ("DOUBLE", "BIGINT") => "DOUBLE".to_owned(),
        ("DATE", "TIMESTAMP") | ("TIMESTAMP", "DATE") => "TIMESTAMP".to_owned(),
        _ => TEXT.to_owned(),
    }
}
