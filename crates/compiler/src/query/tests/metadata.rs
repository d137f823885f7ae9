//! The hidden columns of sources.

use super::*;

fn with_sources() -> BTreeMap<TableName, SchemaRef> {
    let mut tables = tables();
    let events = Arc::clone(&tables[&TableName::new("staging", "events").unwrap()]);
    tables.insert(TableName::new("raw", "events").unwrap(), Arc::clone(&events));
    tables.insert(TableName::new("raw", "more").unwrap(), events);
    tables
}

fn resolved(text: &str) -> Result<Query, Diagnostics> {
    let parsed = parse_query("m.sql", text, 0..text.len())?;
    parsed.resolve(&with_sources(), &functions(), &params()).map(|(query, _)| query)
}

fn names(text: &str) -> Vec<String> {
    let query = resolved(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    query.schema.fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn a_source_offers_its_metadata_to_who_names_it() {
    assert_eq!(names("SELECT userId, _metadata.file_path FROM raw.events"), ["userId", "file_path"]);
    assert_eq!(names("SELECT E._METADATA.LINE AS n FROM raw.events e WHERE e._metadata.file_size > 3"), ["n"]);
    let all = resolved("SELECT _metadata FROM raw.events").unwrap();
    assert!(matches!(column(&all, "_metadata"), DataType::Struct(fields) if fields.len() == 4), "{}", all.sql);
    let path = resolved("SELECT _metadata.file_path AS p FROM raw.events").unwrap();
    assert!(path.sql.starts_with(r#"SELECT "raw"."events"."_metadata.file_path" AS "p""#), "{}", path.sql);
    assert_eq!(column(&path, "p"), DataType::Utf8);
}

#[test]
fn metadata_is_no_column_of_a_star_a_natural_join_or_a_subquery() {
    assert_eq!(names("SELECT * FROM raw.events").len(), 13);
    assert_eq!(names("SELECT e.* FROM raw.events AS e").len(), 13);
    assert_eq!(names("SELECT * FROM raw.events NATURAL JOIN raw.more").len(), 13);
    let letters = "a, b, c, d, e, f, g, h, i, j, k, l, m";
    assert_eq!(names(&format!("SELECT * FROM raw.events AS t ({letters})")).len(), 13);
    assert_eq!(names(&format!("SELECT t._metadata.line FROM raw.events AS t ({letters})")), ["line"]);
    let unnested = names("SELECT * FROM raw.events, UNNEST([1, 2]) AS t (n)");
    assert!(!unnested.iter().any(|name| name.contains("metadata")), "{unnested:?}");
    let code = |text: &str| resolved(text).unwrap_err().0.remove(0).code;
    assert_eq!(code("SELECT s._metadata.line FROM (SELECT * FROM raw.events) s"), "unknown_column");
    assert_eq!(code("SELECT _metadata.line FROM staging.events"), "unknown_table_alias");
    assert_eq!(code("SELECT a.page FROM raw.events a JOIN raw.more b USING (_metadata)"), "unknown_column");
    assert_eq!(code("SELECT _metadata.line FROM raw.events a JOIN raw.more b ON a.ts = b.ts"), "ambiguous_column");
    assert_eq!(code("SELECT _metadata.file_pat AS p FROM raw.events"), "unknown_field");
}
