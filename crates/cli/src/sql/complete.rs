//! What the shell offers after a few letters: commands, tables, columns, keywords.
//!
//! Invariant: pure; what is offered begins, without regard to case, with what was typed.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use lakewright_compiler::TableName;

/// Commands of the shell, with what they do.
pub(crate) const COMMANDS: [(&str, &str); 8] = [
    (".tables", "list the tables"),
    (".describe", "list the columns of a table: .describe curated.songs"),
    (".format", "print rows as table, csv, json or ndjson"),
    (".rows", "show at most so many rows of a table; 0 is all"),
    (".asof", "read an earlier release by number or time: .asof 3; the newest without one"),
    (".reload", "read the newest release"),
    (".help", "show this list"),
    (".quit", "leave, as Ctrl-D does"),
];

const KEYWORDS: [&str; 58] = [
    "ALL",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FIRST",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "RIGHT",
    "SELECT",
    "SHOW",
    "TABLES",
    "THEN",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// What can be offered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    tables: Vec<String>,
    /// Columns by table.
    columns: BTreeMap<String, Vec<String>>,
    functions: Vec<String>,
}

impl Words {
    /// Takes the names of tables, columns and functions.
    pub(crate) fn new(schemas: &BTreeMap<TableName, SchemaRef>, functions: impl IntoIterator<Item = String>) -> Self {
        let columns = |schema: &SchemaRef| schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut functions: Vec<String> = functions.into_iter().collect();
        functions.sort_unstable();
        Self {
            tables: schemas.keys().map(ToString::to_string).collect(),
            columns: schemas.iter().map(|(name, schema)| (name.to_string(), columns(schema))).collect(),
            functions,
        }
    }

    /// Gives the start of the word at `position`, and what it may become.
    pub(crate) fn complete(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = line.get(..position).unwrap_or_default();
        let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let start =
            before.rfind(|c| !in_word(c)).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let word = before.get(start..).unwrap_or_default();
        if word.starts_with('.') && before.trim_start() == word {
            return (start, begin_with(word, COMMANDS.iter().map(|(name, _)| *name)));
        }
        if word.is_empty() {
            return (start, Vec::new());
        }
        let tables = begin_with(word, self.tables.iter().map(String::as_str));
        if let Some((qualifier, _)) = word.rsplit_once('.').filter(|_| tables.is_empty()) {
            return (start, self.columns_of(line, qualifier, word));
        }
        let mentioned = self.columns.iter().filter(|(table, _)| line.contains(table.as_str()));
        let columns = mentioned.flat_map(|(_, columns)| columns).map(String::as_str);
        let mut offered = tables;
        offered.extend(begin_with(word, columns));
        offered.extend(begin_with(word, KEYWORDS));
        offered.extend(begin_with(word, self.functions.iter().map(String::as_str)));
        let mut seen = std::collections::BTreeSet::new();
        offered.retain(|word| seen.insert(word.clone()));
        (start, offered)
    }

    /// `curated.songs.ti` or, by an alias of `FROM curated.songs s`, `s.ti`.
    fn columns_of(&self, line: &str, qualifier: &str, word: &str) -> Vec<String> {
        let named = |table: &str| table == qualifier || table.split('.').next_back() == Some(qualifier);
        let aliased = |table: &str| {
            let after = line.split(table).skip(1);
            after.filter_map(next_alias).any(|alias| alias == qualifier)
        };
        let tables = self.columns.iter().filter(|(table, _)| named(table) || aliased(table));
        let full: Vec<String> =
            tables.flat_map(|(_, columns)| columns).map(|column| format!("{qualifier}.{column}")).collect();
        begin_with(word, full.iter().map(String::as_str))
    }
}

/// The word after a table's name, without `AS`.
fn next_alias(after: &str) -> Option<&str> {
    let mut words = after.split_whitespace();
    let first = words.next()?;
    let alias = if first.eq_ignore_ascii_case("as") { words.next()? } else { first };
    Some(alias.trim_end_matches([',', ';', ')']))
}

fn begin_with<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let begins =
        |candidate: &&str| candidate.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word));
    candidates.into_iter().filter(begins).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn words() -> Words {
        let schema = |columns: &[&str]| -> SchemaRef {
            Arc::new(Schema::new(columns.iter().map(|c| Field::new(*c, DataType::Utf8, true)).collect::<Vec<_>>()))
        };
        let schemas = BTreeMap::from([
            (TableName::parse("curated.songs").unwrap(), schema(&["song_id", "title"])),
            (TableName::parse("staging.events").unwrap(), schema(&["userId", "song"])),
        ]);
        Words::new(&schemas, ["sum".to_owned(), "sqrt".to_owned()])
    }

    fn offered(line: &str) -> Vec<String> {
        words().complete(line, line.len()).1
    }

    #[test]
    fn tables_columns_keywords_and_functions_are_offered() {
        assert_eq!(offered("SELECT * FROM cur"), ["curated.songs"]);
        assert_eq!(offered("sel"), ["SELECT"]);
        assert_eq!(offered("SELECT * FROM curated.songs WHERE so"), ["song_id"]);
        assert_eq!(offered("SELECT sq"), ["sqrt"]);
    }

    #[test]
    fn columns_are_found_by_table_and_by_alias() {
        assert_eq!(offered("SELECT * FROM curated.songs s WHERE s.t"), ["s.title"]);
        assert_eq!(offered("SELECT * FROM staging.events AS e WHERE e.u"), ["e.userId"]);
        assert_eq!(offered("SELECT curated.songs.s"), ["curated.songs.song_id"]);
    }

    #[test]
    fn commands_are_offered_at_the_start_only() {
        assert_eq!(offered(".de"), [".describe"]);
        assert!(offered("SELECT .de").is_empty());
        assert!(offered("").is_empty());
    }

    #[test]
    fn any_position_is_fine() {
        let line = "é🦀.x";
        for position in 0..=line.len() + 2 {
            words().complete(line, position);
        }
    }
}
