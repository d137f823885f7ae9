//! The files of a job that is proposed for raw data: sources with the columns that were seen, and models that copy them.
//!
//! Data flow: profiles of prefixes -> **here** -> the texts of a job's files.
//!
//! Invariant: pure. The files compile, whatever the names in the data are; what cannot be declared is told in a comment.

use std::{collections::BTreeSet, fmt::Write};

use lakewright_engine::{Profile, ProposedColumn};

/// What no column of a table may have in its name.
const FORBIDDEN: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];
/// Names that mean something else to a source.
const RESERVED: [&str; 2] = ["_metadata", "_corrupt_record"];

/// One source of the job.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Its name without the zone.
    pub(crate) table: String,
    /// Relative to the raw prefix.
    pub(crate) location: String,
    pub(crate) objects: u64,
    pub(crate) rejects: u64,
    pub(crate) profile: Profile,
}

impl Proposal {
    /// The source's file.
    pub(crate) fn source_sql(&self) -> String {
        let records = self.profile.records();
        let mut text =
            format!("-- {records} records of {} raw objects. Proposed by `lakewright init --from`.\n", self.objects);
        if self.rejects > 0 {
            let _ = writeln!(
                text,
                "-- {} records are no JSON objects: `lakewright rejects` shows them after a run.",
                self.rejects
            );
        }
        if self.profile.is_cut() {
            text.push_str("-- The records have more different keys than are told apart: some have no column.\n");
        }
        let all = self.profile.columns();
        let (columns, left_out): (Vec<_>, Vec<_>) = all.into_iter().partition(|column| can_be_declared(&column.name));
        for column in left_out {
            let _ = writeln!(text, "-- Left out, because no column can have the name: {:?}.", column.name);
        }
        let _ = writeln!(text, "CREATE EXTERNAL TABLE raw.{} (", self.table);
        for (index, column) in columns.iter().enumerate() {
            let comma = if index + 1 < columns.len() { "," } else { "" };
            let _ = write!(text, "  {} {}{comma}", quoted_if_needed(&column.name), column.sql_type);
            let remark = remark(column, records);
            let _ = if remark.is_empty() { writeln!(text) } else { writeln!(text, "  -- {remark}") };
        }
        let _ = writeln!(text, ") STORED AS JSON LOCATION '{}';", self.location.replace('\'', "''"));
        text
    }

    /// The file of the model that copies the source.
    pub(crate) fn model_sql(&self) -> String {
        let columns = self.profile.columns();
        let names: Vec<_> =
            columns.iter().map(|column| column.name.as_str()).filter(|name| can_be_declared(name)).collect();
        let items = if names.iter().any(|name| name.contains(FORBIDDEN)) { renamed(&names) } else { "  *".to_owned() };
        format!(
            "-- {}, one row per record. New raw objects add their rows, changed ones replace them.\n\
             MODEL (kind INCREMENTAL_BY_FILE);\nSELECT\n{items}\nFROM raw.{};\n",
            self.table, self.table
        )
    }
}

/// The columns by names that a table can have.
fn renamed(names: &[&str]) -> String {
    let mut taken: BTreeSet<String> =
        names.iter().filter(|name| !name.contains(FORBIDDEN)).map(|name| name.to_lowercase()).collect();
    let mut item = |name: &&str| {
        if !name.contains(FORBIDDEN) {
            return format!("  {}", quoted(name));
        }
        let plain = name.replace(FORBIDDEN, "_");
        let mut alias = plain.clone();
        let mut number = 2;
        while !taken.insert(alias.to_lowercase()) {
            alias = format!("{plain}_{number}");
            number += 1;
        }
        format!("  {} AS {}", quoted(name), quoted(&alias))
    };
    names.iter().map(&mut item).collect::<Vec<_>>().join(",\n")
}

/// How often the field is there, and what else its values are.
fn remark(column: &ProposedColumn, records: u64) -> String {
    let mut parts = Vec::new();
    if column.present < records {
        let percent = column.present * 100 / records.max(1);
        parts.push(if percent == 0 {
            "in under 1 % of records".to_owned()
        } else {
            format!("in {percent} % of records")
        });
    }
    if let Some((kind, others)) = column.mostly {
        parts.push(format!("mostly {kind}; {others} of other type"));
    }
    parts.join("; ")
}

fn can_be_declared(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or(name);
    !name.is_empty()
        && !name.contains(char::is_control)
        && !RESERVED.iter().any(|other| other.eq_ignore_ascii_case(first))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted_if_needed(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_plain { name.to_owned() } else { quoted(name) }
}

/// A name that a table or a job can have, made of `text` and not in `taken`.
pub(crate) fn table_name(text: &str, taken: &BTreeSet<String>) -> String {
    let letters = text.to_lowercase();
    let letters = letters.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    let mut name: String = letters.collect();
    if !name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_') {
        name.insert(0, '_');
    }
    let plain = name.clone();
    let mut number = 2;
    while taken.contains(&name) {
        name = format!("{plain}_{number}");
        number += 1;
    }
    name
}

/// A location that means the folder: letters with a meaning of their own are any letter.
pub(crate) fn location_of(folder: &str) -> String {
    let letter = |letter: char| if "*?{}[]\\".contains(letter) { '?' } else { letter };
    format!("{}/", folder.chars().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(records: &[&str]) -> Proposal {
        let mut profile = Profile::default();
        records.iter().for_each(|record| profile.add(record));
        Proposal { table: "events".to_owned(), location: "log data/".to_owned(), objects: 2, rejects: 1, profile }
    }

    #[test]
    fn a_source_says_what_was_seen_of_each_column() {
        let records = [
            r#"{"id": 1, "key": "x", "a b": true, "": 1, "_Metadata": 2}"#,
            r#"{"id": "two", "key": null, "q\"q": [1]}"#,
            r#"{"id": 3, "key": "y"}"#,
        ];
        insta::assert_snapshot!(proposal(&records).source_sql());
        insta::assert_snapshot!(proposal(&records).model_sql());
    }

    #[test]
    fn names_are_those_that_tables_can_have_each_once() {
        let taken = BTreeSet::from(["log_data".to_owned()]);
        assert_eq!(table_name("Log-Data", &taken), "log_data_2");
        assert_eq!(table_name("2018", &taken), "_2018");
        assert_eq!(table_name("ünï", &taken), "_n_");
        assert_eq!(location_of("a [1]"), "a ?1?/");
    }
}
