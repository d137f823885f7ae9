//! Names of partition directories, as Spark and Hive write them.
//!
//! Data flow: the writer puts a file into `<column>=<value>/…` -> its key keeps the escapes -> the Delta log encodes
//! the key once more. Readers take values from the log, never from names.

use std::fmt::Write;

use lakewright_error::{Error, ErrorKind, Result};

/// Name of the directory of NULL.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The directory of partition values in order, without slash at either end; empty if there are no columns.
///
/// Values are in Delta's text form (see [`crate::DataFile::partition_values`]); `None` is NULL. What file systems and
/// readers stumble over is escaped as `%XX`, with Spark's set of characters.
///
/// ```text
/// year=2018/place=a%2Fb/note=__HIVE_DEFAULT_PARTITION__
/// ```
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a value is empty text. Delta has no way to tell it from NULL.
pub fn hive_partition_path(values: &[(&str, Option<&str>)]) -> Result<String> {
    let mut path = String::new();
    for (column, value) in values {
        if !path.is_empty() {
            path.push('/');
        }
        escape_into(column, &mut path);
        path.push('=');
        match value {
            None => path.push_str(NULL_PARTITION),
            Some("") => return Err(empty_partition_value(column)),
            Some(value) => escape_into(value, &mut path),
        }
    }
    Ok(path)
}

pub(crate) fn empty_partition_value(column: &str) -> Error {
    Error::new(ErrorKind::Invalid, "a partition column has empty text, which Delta cannot tell from NULL")
        .with("column", column)
        .with_hint(format!("select NULLIF({column}, '') for the partition column"))
}

fn escape_into(text: &str, path: &mut String) {
    for letter in text.chars() {
        if must_escape(letter) {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{:02X}", u32::from(letter));
        } else {
            path.push(letter);
        }
    }
}

/// Spark's set (`ExternalCatalogUtils.charToEscape`) and NUL, which no file system takes.
fn must_escape(letter: char) -> bool {
    letter.is_ascii_control()
        || matches!(letter, '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_values_are_escaped_as_spark_does() {
        let path = |value| hive_partition_path(&[("c", Some(value))]).unwrap();
        assert_eq!(path("a/b"), "c=a%2Fb");
        assert_eq!(path("100%"), "c=100%25");
        assert_eq!(path("a b"), "c=a b");
        assert_eq!(path("k=v:w"), "c=k%3Dv%3Aw");
        assert_eq!(path("é🎵"), "c=é🎵");
        assert_eq!(path("\n\u{7f}"), "c=%0A%7F");
        assert_eq!(path("2018-11-01 10:00:00"), "c=2018-11-01 10%3A00%3A00");
    }

    #[test]
    fn columns_follow_each_other_and_null_has_its_own_name() {
        let path = hive_partition_path(&[("year", Some("2018")), ("m#", None)]).unwrap();
        assert_eq!(path, "year=2018/m%23=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(hive_partition_path(&[]).unwrap(), "");
    }

    #[test]
    fn empty_text_is_refused_because_readers_take_it_for_null() {
        let error = hive_partition_path(&[("city", Some(""))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("city"));
    }
}
