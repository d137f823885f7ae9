//! Whole jobs: what compiles, and every finding of what does not.

use std::collections::BTreeMap;

use datafusion::prelude::SessionContext;

use crate::{
    ModelKind, ParamValue, Side, compile_job,
    testing::{compile, findings, folder, render},
};

const RAW: (&str, &str) =
    ("raw/events.sql", "CREATE EXTERNAL TABLE raw.events (userId VARCHAR, ts BIGINT) STORED AS JSON LOCATION 'logs/'");

#[test]
fn models_are_compiled_in_the_order_of_what_they_read() {
    let job = compile(&folder(&[
        RAW,
        ("curated/a.sql", "SELECT userId, n FROM curated.users"),
        (
            "curated/users.sql",
            "-- Users.\nMODEL (kind VIEW);\nSELECT userid, count(*) AS n FROM staging.events GROUP BY userid",
        ),
        ("staging/events.sql", "MODEL (kind INCREMENTAL_BY_FILE, partitioned_by USERID);\nSELECT * FROM RAW.Events"),
        ("analyses/top.sql", "-- The top.\nSELECT n FROM curated.a ORDER BY n DESC LIMIT 10;"),
    ]))
    .unwrap();
    let names: Vec<String> = job.models.iter().map(|model| model.name.to_string()).collect();
    assert_eq!(names, ["staging.events", "curated.users", "curated.a"]);
    let [events, users, _] = job.models.as_slice() else { panic!() };
    assert_eq!(events.kind, ModelKind::IncrementalByFile { driving: crate::TableName::new("raw", "events").unwrap() });
    assert_eq!(events.partitioned_by, ["userId"]);
    assert_eq!(users.description.as_deref(), Some("Users."));
    assert_eq!(users.schema.field(0).name(), "userId");
    assert_eq!(job.analyses[0].description.as_deref(), Some("The top."));
    assert!(job.warnings.is_empty());
}

#[test]
fn models_that_compute_by_key_know_which_inputs_tell_it() {
    let job = compile(&folder(&[
        RAW,
        ("staging/events.sql", "MODEL (kind INCREMENTAL_BY_FILE);\nSELECT * FROM raw.events"),
        (
            "curated/users.sql",
            "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key USERID));\n\
             SELECT userId, count(*) AS n FROM staging.events GROUP BY userId",
        ),
        (
            "curated/days.sql",
            "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column AT, start '2018-11-13T12:00:00Z'));\n\
             SELECT to_timestamp(ts) AS at FROM staging.events",
        ),
    ]))
    .unwrap();
    let kind = |name: &str| &job.models.iter().find(|model| model.name.table() == name).unwrap().kind;
    let ModelKind::IncrementalByUniqueKey { key, sides } = kind("users") else { panic!() };
    assert_eq!(key, &["userId"]);
    let side = Side { key: vec!["\"userId\"".to_owned()], filters: vec![] };
    assert_eq!(sides, &[(crate::TableName::new("staging", "events").unwrap(), vec![side])].into());
    let ModelKind::IncrementalByTimeRange { range, .. } = kind("days") else { panic!() };
    assert_eq!((range.column.as_str(), range.start_us), ("at", Some(1_542_067_200_000_000)));
}

#[test]
fn kinds_that_compute_by_key_need_what_can_be_one() {
    insta::assert_snapshot!(findings(&[
        RAW,
        ("z/a.sql", "MODEL (kind INCREMENTAL_BY_PARTITION);\nSELECT userId FROM raw.events"),
        (
            "z/b.sql",
            "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key (usrId, x)));\nSELECT userId, 1.5 AS x FROM raw.events"
        ),
        ("z/c.sql", "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column ts));\nSELECT ts FROM raw.events"),
        (
            "z/d.sql",
            "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column d, interval_unit hour));\n\
             SELECT CAST(userId AS DATE) AS d FROM raw.events",
        ),
        ("z/e.sql", "SELECT userId FROM raw.events\nWHERE to_timestamp(ts) < :end_ts"),
        (
            "z/f.sql",
            "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key n));\nSELECT count(*) AS n\nFROM raw.events\nGROUP BY userId"
        ),
    ]));
}

#[test]
fn layout_comments_and_case_do_not_change_the_canonical_text_of_a_model() {
    let canonical = |text: &str| {
        let job = compile(&folder(&[RAW, ("z/a.sql", text)]));
        job.unwrap_or_else(|failed| panic!("{failed}")).models[0].canonical.clone()
    };
    let base = canonical("SELECT userId, ts FROM raw.events WHERE ts > 1");
    for same in [
        "-- x\nselect USERID ,\r\n\t ts /* y */ from RAW.EVENTS where (TS) > 1;".replace("(TS)", "TS"),
        "MODEL (kind FULL, owner me, tags (a), description 'd', target_file_size 128MB);\nSELECT userId, ts FROM raw.events WHERE ts > 1".to_owned(),
    ] {
        assert_eq!(canonical(&same), base, "{same}");
    }
    for other in [
        "MODEL (kind VIEW); SELECT userId, ts FROM raw.events WHERE ts > 1",
        "MODEL (partitioned_by ts); SELECT userId, ts FROM raw.events WHERE ts > 1",
        "MODEL (clustered_by ts); SELECT userId, ts FROM raw.events WHERE ts > 1",
        "MODEL (target_file_size 1MB); SELECT userId, ts FROM raw.events WHERE ts > 1",
        "SELECT userId, ts FROM raw.events WHERE ts > 2",
        "SELECT userId AS userid, ts FROM raw.events WHERE ts > 1",
    ] {
        assert_ne!(canonical(other), base, "{other}");
    }
}

#[test]
fn tables_that_are_not_there_are_named_with_what_was_meant() {
    insta::assert_snapshot!(findings(&[
        RAW,
        ("staging/events.sql", "SELECT userId\nFROM raw.event JOIN raw.nothing USING (userId)"),
        ("curated/a.sql", "SELECT userId FROM curated.events"),
        ("curated/b.sql", "SELECT userId FROM staging.events"),
        ("analyses/a.sql", "SELECT 1 AS a FROM stagin.events"),
    ]));
}

#[test]
fn a_cycle_is_told_once_with_its_path_and_hides_what_follows_from_it() {
    insta::assert_snapshot!(findings(&[
        RAW,
        ("z/a.sql", "SELECT x FROM z.b"),
        ("z/b.sql", "SELECT x FROM raw.events JOIN\n  z.c ON true"),
        ("z/c.sql", "SELECT x FROM z.a, z.missing"),
        ("z/reader.sql", "SELECT x FROM z.a"),
        ("z/self.sql", "SELECT x FROM z.self"),
    ]));
}

#[test]
fn what_only_follows_from_an_error_is_not_reported() {
    insta::assert_snapshot!(findings(&[
        ("raw/events.sql", "CREATE EXTERNAL TABLE raw.events (userId VARCHAAR) STORED AS JSON LOCATION 'logs/'"),
        ("staging/events.sql", "SELECT nothing FROM raw.events"),
        ("curated/a.sql", "SELECT nothing FROM staging.events"),
        ("analyses/a.sql", "SELECT nothing FROM curated.a"),
    ]));
}

#[test]
fn columns_of_the_header_are_those_of_the_query() {
    insta::assert_snapshot!(findings(&[
        RAW,
        ("z/a.sql", "MODEL (partitioned_by (user, TS), clustered_by (ts, x));\nSELECT userId, ts FROM raw.events"),
        ("z/b.sql", "MODEL (partitioned_by (userId, ts));\nSELECT userId, ts FROM raw.events"),
        (
            "z/c.sql",
            "MODEL (partitioned_by f, clustered_by l);\nSELECT ts / 2 AS f, make_array(ts) AS l, ts FROM raw.events"
        ),
        ("z/d.sql", "MODEL (kind VIEW, partitioned_by ts, target_file_size 1MB);\nSELECT userId, ts FROM raw.events"),
        ("z/e.sql", "MODEL (columns (userId INT, tss BIGINT));\nSELECT userId, ts FROM raw.events"),
        ("z/f.sql", "SELECT userId AS \"a b\", ts FROM raw.events"),
        ("z/ok.sql", "MODEL (columns (USERID STRING, ts LONG));\nSELECT userId, ts FROM raw.events"),
    ]));
}

#[test]
fn parameters_take_the_override_and_a_wrong_one_is_told() {
    let folder = folder(&[
        ("job.toml", "name = \"t\"\n[params]\nn = { type = \"bigint\", default = 1 }\n"),
        RAW,
        ("z/a.sql", "SELECT userId FROM raw.events WHERE ts > :n"),
    ]);
    let functions = SessionContext::new().state();
    let compile = |value: &str| compile_job(&folder, &functions, &BTreeMap::from([("N".to_owned(), value.to_owned())]));
    let job = compile("7").unwrap();
    assert_eq!(job.params["n"].value, ParamValue::Bigint(7));
    assert_eq!(job.models[0].query.params, ["n"]);
    insta::assert_snapshot!(render(&folder, &compile("7.5").unwrap_err().0));
}

#[test]
fn an_audit_that_nobody_uses_and_a_test_that_is_none_are_told() {
    insta::assert_snapshot!(findings(&[
        ("z/a.sql", "SELECT 1 AS a"),
        ("audits/no_gaps.sql", "SELECT 1 AS a"),
        ("tests/a.yaml", "x"),
    ]));
}

#[test]
fn an_analysis_is_one_query() {
    insta::assert_snapshot!(findings(&[
        RAW,
        ("z/a.sql", "SELECT 1 AS a"),
        ("analyses/a.sql", "MODEL (kind FULL);\nSELECT 1 AS a"),
        ("analyses/b.sql", "SELECT 1 AS a; SELECT 2 AS b"),
        ("analyses/c.sql", "-- nothing"),
        ("analyses/d.sql", "SELECT 'x"),
    ]));
}

#[test]
fn checks_become_conditions_over_the_stored_row_and_demands_of_the_table() {
    let job = compile(&folder(&[
        RAW,
        ("staging/users.sql", "SELECT userId AS id FROM raw.events"),
        (
            "z/a.sql",
            "MODEL (grain USERID, columns (userId VARCHAR NOT NULL, ts BIGINT), expect (late (TS > 5 / 2) ON VIOLATION \
             DROP), audits (\n  relationships (column := userid, to := staging.users, field := ID),\n  few (most := 3), \
             accepted_values (column := ts, is_in := (1, 2), blocking := false)));\nSELECT userId, ts FROM raw.events",
        ),
        ("audits/few.sql", "SELECT u.id FROM @this_model JOIN staging.users u ON u.id = this_model.userId WHERE ts > :most"),
    ]))
    .unwrap_or_else(|failed| panic!("{failed}"));
    let model = job.models.iter().find(|model| model.name.zone() == "z").unwrap();
    let rows: Vec<String> = model
        .checks
        .rows
        .iter()
        .map(|check| format!("{} {} {} {}", check.line, check.name, check.on_violation.keyword(), check.condition))
        .collect();
    let tables: Vec<String> =
        model.checks.tables.iter().map(|check| format!("{} {} {}", check.line, check.name, check.rule)).collect();
    insta::assert_snapshot!([rows, tables].concat().join("\n"));
    assert!(model.canonical.contains("late DROP"), "{}", model.canonical);
    assert!(!model.canonical.contains("grain"), "what takes no rows out is no part of the table");
    assert_eq!(model.checks.reads(&model.name).len(), 1);
}

#[test]
fn checks_that_cannot_be_asked_are_told_at_their_place() {
    insta::assert_snapshot!(findings(&[
        RAW,
        (
            "staging/events.sql",
            "MODEL (expect (x (userId <> '') ON VIOLATION QUARANTINE));\nSELECT userId FROM raw.events"
        ),
        ("raw/staging_events.sql", "CREATE EXTERNAL TABLE raw.staging_events (a INT) STORED AS JSON LOCATION 'x/'"),
        (
            "z/b.sql",
            "MODEL (audits (\n  relationships (column := ts, to := staging.events, field := userId),\n  relationships \
             (column := userId, to := raw.events, field := userId),\n  relationships (column := userId, to := \
             staging.event, field := userId),\n  relationships (column := userId, to := staging.events, field := \
             user),\n  not_null (columns := (tss)),\n  own (most := 1),\n  other\n));\nSELECT userId, ts FROM raw.events",
        ),
        ("z/c.sql", "MODEL (kind VIEW, expect (a (ts > 1) ON VIOLATION DROP));\nSELECT ts FROM raw.events"),
        ("audits/own.sql", "SELECT ts FROM this_model WHERE tts > :least"),
        ("audits/other.sql", "SELECT e.ts FROM raw.events e"),
        ("audits/not_null.sql", "SELECT 1 AS a"),
        ("audits/empty.sql", "-- nothing"),
    ]));
}
