//! What a model file must be: its header, its one query, and what is refused.

use super::{Audit, KindName, ModelFile, split_model};
use crate::{
    IntervalUnit, ParamValue, Violation,
    testing::{folder, render},
    text::FileText,
};

fn split(text: &str) -> (Option<ModelFile>, String) {
    let (parts, findings) = split_model(FileText::new("z/a.sql", text), &["no_gaps"]);
    (parts, render(&folder(&[("z/a.sql", text)]), &findings))
}

fn valid(text: &str) -> ModelFile {
    let (parts, findings) = split(text);
    assert_eq!(findings, "", "{text}");
    parts.unwrap()
}

fn report(headers: &[&str]) -> String {
    headers
        .iter()
        .map(|header| {
            let findings = split(header).1;
            assert!(!findings.is_empty(), "accepted: {header}");
            findings + "\n"
        })
        .collect()
}

#[test]
fn a_file_without_header_is_all_query() {
    let text = "-- License.\n\n/* About\n * this. */\n-- More.\nSELECT model(1) AS a";
    let parts = valid(text);
    assert_eq!(parts.query, 0..text.len());
    assert_eq!(parts.header.kind, KindName::Full);
    assert_eq!(parts.header.target_file_size_bytes, 128 << 20);
    assert_eq!(parts.comment.as_deref(), Some("About this. More."));
}

#[test]
fn a_header_is_found_before_the_query_and_in_the_first_block_comment() {
    let keys = "(kind incremental_by_file, partitioned_by (Year, month), clustered_by ts, target_file_size 64MB,\n\
                tags (daily, 'two words'), owner 'me@example.org',)";
    for text in [
        format!("-- About.\nMODEL {keys};\n-- Not about.\nSELECT 1 AS a"),
        format!("\u{feff}-- About.\r\nmodel{keys} ; SELECT 1 AS a"),
        format!("-- About.\n/* MODEL {keys}; */\nSELECT 1 AS a"),
        format!("/* About. */\nMODEL {keys};\nSELECT 1 AS a"),
    ] {
        let ModelFile { header, query, comment } = valid(&text);
        assert_eq!(header.kind, KindName::IncrementalByFile);
        let partitioned_by: Vec<&str> = header.partitioned_by.iter().map(|column| &text[column.span.clone()]).collect();
        assert_eq!(partitioned_by, ["Year", "month"]);
        assert_eq!(header.clustered_by[0].name, "ts");
        assert_eq!(header.target_file_size_bytes, 64 << 20);
        assert_eq!(header.tags, ["daily", "two words"]);
        assert_eq!(header.owner.as_deref(), Some("me@example.org"));
        assert_eq!(comment.as_deref(), Some("About."), "{text}");
        assert!(text[query].trim().ends_with("SELECT 1 AS a"));
    }
}

#[test]
fn the_description_key_and_a_comment_apart_are_no_comment_above() {
    assert_eq!(valid("-- apart\n\nMODEL (description 'x');\nSELECT 1").comment, None);
    assert_eq!(valid("MODEL (description 'x');\nSELECT 1").header.description.as_deref(), Some("x"));
    assert_eq!(valid("/*MODEL(kind VIEW)*/SELECT 1").header.kind, KindName::View);
}

#[test]
fn what_is_wrong_in_a_header_is_told_at_its_place() {
    insta::assert_snapshot!(report(&[
        "MODEL (kind FUL, partitoned_by x, name z.a, kind FULL, kind VIEW);\nSELECT 1",
        "MODEL (kind FULL ());\nSELECT 1",
        "MODEL (kind);\nSELECT 1",
        "MODEL kind FULL;\nSELECT 1",
        "MODEL (kind FULL)\nSELECT 1",
        "MODEL (kind FULL;\nSELECT 1",
        "MODEL (kind FULL",
        "MODEL (partitioned_by (x, X), clustered_by (), grain (a));\nSELECT 1",
        "MODEL (partitioned_by date_trunc(x), clustered_by (year(x), y));\nSELECT 1",
        "MODEL (target_file_size 128, owner 5, tags (a b), description x);\nSELECT 1",
        "MODEL (target_file_size 128XB);\nSELECT 1",
        "MODEL (target_file_size 0MB);\nSELECT 1",
        "MODEL (target_file_size '99999999999999999999GB');\nSELECT 1",
        "MODEL (columns (a INT NOT NULL, b INTT, A INT, c));\nSELECT 1",
        "/* é MODEL (kind FULL) */ SELECT 1 /* MODEL (kind VIEW) */",
        "/* é\n MODEL (kind VIEW) */ SELECT 1",
        "/* MODEL (kind FULL, é 1) */ SELECT 1",
        "/* MODEL (kind FULL) SELECT 1 */ SELECT 1",
        "/* MODEL (owner 'x) */ SELECT 1",
    ]));
}

#[test]
fn what_is_wrong_in_a_kind_is_told_at_its_place() {
    insta::assert_snapshot!(report(&[
        "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_colum ts, interval_unit dy, lookback -1));\nSELECT 1",
        "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column ts, start '2018-11', lookback 1, lookback 2));\nSELECT 1",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key (a, A)));\nSELECT 1",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY);\nSELECT 1",
        "MODEL (kind INCREMENTAL_BY_PARTITION (a), unique_key a);\nSELECT 1",
    ]));
}

#[test]
fn kinds_are_read_with_their_settings() {
    let kind = |kind: &str| valid(&format!("MODEL (kind {kind}, owner x);\nSELECT 1 AS a")).header.kind;
    let KindName::IncrementalByUniqueKey(key) = kind("incremental_by_unique_key (unique_key (a, \"B c\"))") else {
        panic!()
    };
    assert_eq!(key.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["a", "B c"]);
    assert_eq!(kind("INCREMENTAL_BY_PARTITION"), KindName::IncrementalByPartition);
    let text =
        "INCREMENTAL_BY_TIME_RANGE (time_column at, start '2018-11-13T12:30:00Z', interval_unit HOUR, lookback 2)";
    let KindName::IncrementalByTimeRange(range) = kind(text) else { panic!() };
    assert_eq!((range.time_column.name.as_str(), range.unit, range.lookback), ("at", IntervalUnit::Hour, Some(2)));
    assert_eq!(range.start_us, Some(1_542_110_400_000_000));
    let KindName::IncrementalByTimeRange(range) = kind("INCREMENTAL_BY_TIME_RANGE (time_column at)") else { panic!() };
    assert_eq!((range.start_us, range.unit, range.lookback), (None, IntervalUnit::Day, None));
}

#[test]
fn what_is_wrong_in_a_rule_is_told_at_its_place() {
    insta::assert_snapshot!(report(&[
        "MODEL (expect (x (a ==== 1), y (b) ON VIOLATION FALE, z, y (c), x (), x (a b)));",
        "MODEL (audits (unique_value (columns := a), not_null (column := a), forall (criteria := (a < 1, b > 2), x := 1), not_null (columns = a), not_null (columns := ), number_of_rows));",
        "MODEL (expect (x (a IN (SELECT 1)), y (1 = 1 extra), z (a > 1) ON VIOLATION));",
        "MODEL (audits (no_gaps (least := x), no_gaps (least := 1, least := 2), relationships (column := a, to := b, field := c)));",
        "MODEL (audits (accepted_values (column := a, is_in := 'x'), not_null (columns := (a), blocking := maybe), forall (criteria := ())));",
    ]));
}

#[test]
fn rules_and_audits_are_read_with_their_arguments() {
    let header = valid(
        "MODEL (grain (a, b), columns (a INT NOT NULL, b VARCHAR), expect (known (l IN ('x', 'y')) ON VIOLATION fail, \
         small (a < 3 AND b > (1))), audits (unique_values (columns := (a, b)), NO_GAPS (least := -1.5, name := 'x', \
         blocking := false), relationships (column := a, to := Z.B, field := d), forall (criteria := (a < 1, b > 2)), \
         forall (criteria := (a) < (b)), number_of_rows (threshold := 10)));\nSELECT 1 AS a",
    )
    .header;
    assert_eq!(header.grain.len(), 2);
    assert_eq!(header.columns.unwrap().columns.iter().map(|column| column.not_null).collect::<Vec<_>>(), [true, false]);
    let rules: Vec<_> = header.expect.iter().map(|rule| (rule.condition.text(), rule.on_violation)).collect();
    let expected = [("l IN ('x', 'y')", Violation::Fail), ("a < 3 AND b > (1)", Violation::Warn)];
    assert_eq!(rules, expected.map(|(text, action)| (text.to_owned(), action)));
    let [unique, own, related, two, one, rows] = header.audits.as_slice() else { panic!("{:?}", header.audits) };
    assert!(matches!(&unique.audit, Audit::UniqueValues(columns) if columns.len() == 2) && unique.blocking);
    let Audit::Own(arguments) = &own.audit else { panic!("{own:?}") };
    let literals = [("least", ParamValue::Double(-1.5)), ("name", ParamValue::Varchar("x".to_owned()))];
    assert_eq!(arguments.literals(), literals.map(|(name, value)| (name.to_owned(), value)).into());
    assert!(!own.blocking);
    assert!(matches!(&related.audit, Audit::Relationships { to, .. } if to.to_string() == "z.b"));
    assert!(matches!(&two.audit, Audit::Forall(conditions) if conditions.len() == 2));
    assert!(matches!(&one.audit, Audit::Forall(conditions) if conditions[0].text() == "(a) < (b)"));
    assert!(matches!(rows.audit, Audit::NumberOfRows(10)));
}
