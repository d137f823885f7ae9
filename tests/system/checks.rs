//! Checks before publishing: rows are counted, taken out or kept apart, and a failed check leaves readers where they were.

use serde_json::Value;

use crate::{
    engines::run_script,
    project::{Project, steps},
};

const SOURCE: &str = "CREATE EXTERNAL TABLE raw.items (id INT, level VARCHAR, price DOUBLE, owner VARCHAR)\n\
                      STORED AS JSON LOCATION 'items/';";

/// A project with one raw object of these lines, and a model with this header.
fn project(header: &str, lines: &str) -> Project {
    let model = format!("{header}\nSELECT id, level, price, owner FROM raw.items;");
    let project = Project::job(&[("raw/items.sql", SOURCE), ("curated/items.sql", &model)]);
    project.write("data/raw/items/one.json", lines);
    project
}

const LINES: &str = "{\"id\": 1, \"level\": \"free\", \"price\": 1.5, \"owner\": \"a\"}\n\
                     {\"id\": 2, \"level\": \"paid\", \"price\": -1, \"owner\": \"b\"}\n\
                     {\"id\": 3, \"level\": null, \"price\": 2, \"owner\": \"a\"}\n\
                     {\"id\": 4, \"level\": \"gone\", \"price\": null}\n";

/// The violations of a table's checks in the JSON of `run` or `show`, by name.
fn violations(json: &Value, table: &str) -> Vec<(String, u64)> {
    let step = steps(json)[table].clone();
    let checks = step["checks"].as_array().expect("a step has its checks").iter();
    checks
        .map(|check| {
            (check["name"].as_str().expect("a name").to_owned(), check["violations"].as_u64().expect("a count"))
        })
        .collect()
}

fn named(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn rows_are_counted_dropped_or_kept_apart_as_each_rule_says() {
    let project = project(
        "MODEL (expect (\n  priced (price IS NOT NULL),\n  positive (price > 0) ON VIOLATION DROP,\n  \
         known (level IN ('free', 'paid')) ON VIOLATION QUARANTINE,\n  owned (owner <> '') ON VIOLATION WARN\n));",
        LINES,
    );
    let run = project.json(&["run"]);
    // Row 2 is dropped; rows 3 and 4 are kept apart, though 4 has no price either; the others see row 1 alone.
    assert_eq!(violations(&run, "curated.items"), named(&[("priced", 0), ("positive", 2), ("known", 2), ("owned", 0)]));
    assert_eq!(project.csv("SELECT id FROM curated.items"), "id\n1\n");
    let apart = project.csv("SELECT id, \"_rules\", owner FROM rejects.curated_items ORDER BY id");
    assert_eq!(apart, "id,_rules,owner\n3,known,a\n4,known,\n");
    let said = project.lakewright(&["show"]).stdout;
    for word in ["kept apart", "dropped", "level IN ('free', 'paid')", "failed.curated_items_known"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    // A source that is mended takes the rows that were kept apart along.
    project.write("data/raw/items/one.json", "{\"id\": 1, \"level\": \"free\", \"price\": 1.5}\n");
    project.succeed(&["run"]);
    assert_eq!(project.csv("SELECT count(*) AS n FROM rejects.curated_items"), "n\n0\n");
}

#[test]
fn a_key_that_follows_from_the_query_is_counted_only_where_rows_of_several_runs_come_together() {
    let model = "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key id), grain id);\n\
                 SELECT id, max(price) AS price FROM raw.items GROUP BY id;";
    let counted = "MODEL (grain id); SELECT id, price FROM raw.items;";
    let project =
        Project::job(&[("raw/items.sql", SOURCE), ("curated/items.sql", model), ("curated/counted.sql", counted)]);
    project.write("data/raw/items/one.json", "{\"id\": 1, \"price\": 1}\n");
    let details = |run: &Value, table: &str| {
        let checks = steps(run)[table]["checks"].as_array().expect("a step has its checks").clone();
        let grain = checks.iter().find(|check| check["name"] == "grain").expect("the key is checked").clone();
        (grain["violations"].as_u64(), grain["detail"].as_str().map(str::to_owned))
    };
    let first = project.json(&["run"]);
    assert_eq!(details(&first, "curated.items"), (Some(0), Some("0, by proof".to_owned())));
    assert_eq!(details(&first, "curated.counted"), (Some(0), None));
    project.write("data/raw/items/two.json", "{\"id\": 2, \"price\": 2}\n");
    assert_eq!(details(&project.json(&["run"]), "curated.items"), (Some(0), None));
}

#[test]
fn a_failed_check_publishes_nothing_and_keeps_the_failing_rows() {
    let project =
        project("MODEL (\n  expect (positive (price > 0) ON VIOLATION FAIL)\n);", "{\"id\": 1, \"price\": 1}\n");
    project.succeed(&["run"]);
    project.write("data/raw/items/two.json", LINES);
    let failed = project.lakewright(&["run"]);
    failed
        .assert_refused(1, &["a check failed", "positive", "price > 0", "2 of 5 rows", "curated/items.sql:2", "show"]);
    assert_eq!(project.csv("SELECT id FROM curated.items"), "id\n1\n", "readers see what they saw before");

    let show = project.json(&["show"]);
    assert_eq!(show["state"], "failed");
    assert_eq!(violations(&show, "curated.items"), named(&[("positive", 2)]));
    assert_eq!(steps(&show)["curated.items"]["checks"][0]["before"]["violations"], 0);
    let run = show["run_id"].as_str().expect("a run has an id");
    let query = "SELECT id, price FROM failed.curated_items_positive ORDER BY id";
    let rows = project.succeed(&["sql", "--run", run, query, "--format", "csv"]);
    assert_eq!(rows, "id,price\n2,-1.0\n4,\n");
    assert!(project.succeed(&["show"]).contains("failed.curated_items_positive"));

    // The next run takes over what was written, and is refused for the same reason; with mended data it publishes.
    assert_eq!(project.lakewright(&["run"]).code, Some(1));
    project.write("data/raw/items/two.json", "{\"id\": 2, \"price\": 2}\n");
    project.succeed(&["run"]);
    assert_eq!(project.csv("SELECT id FROM curated.items ORDER BY id"), "id\n1\n2\n");
}

#[test]
fn a_grain_holds_over_the_files_of_all_runs() {
    let project = project("MODEL (kind INCREMENTAL_BY_FILE, grain id);", "{\"id\": 1}\n{\"id\": 2}\n");
    project.succeed(&["run"]);
    project.write("data/raw/items/two.json", "{\"id\": 3}\n{\"id\": 2}\n{\"id\": null}\n");
    project.lakewright(&["run"]).assert_refused(1, &["two checks failed", "grain_not_null", "1 of 3 rows"]);
    let show = project.json(&["show"]);
    assert_eq!(violations(&show, "curated.items"), named(&[("grain_not_null", 1), ("grain", 2)]));
    assert_eq!(project.csv("SELECT count(*) AS n FROM curated.items"), "n\n2\n");
    let run = show["run_id"].as_str().expect("a run has an id");
    let rows = project.succeed(&["sql", "--run", run, "SELECT id FROM failed.curated_items_grain", "--format", "csv"]);
    assert_eq!(rows, "id\n2\n2\n");
}

/// Items that grow file by file, and their owners, which are computed by key.
fn related() -> Project {
    let files = [
        ("raw/items.sql", SOURCE),
        (
            "raw/owners.sql",
            "CREATE EXTERNAL TABLE raw.owners (owner VARCHAR, level VARCHAR) STORED AS JSON LOCATION 'owners/'\n\
             OPTIONS (on_delete 'REMOVE');",
        ),
        (
            "curated/items.sql",
            "MODEL (\n  kind INCREMENTAL_BY_FILE, grain id,\n  \
             audits (relationships (column := owner, to := curated.owners, field := owner))\n);\n\
             SELECT id, owner FROM raw.items;",
        ),
        ("staging/owners.sql", "MODEL (kind INCREMENTAL_BY_FILE);\nSELECT owner, level FROM raw.owners;"),
        (
            "curated/owners.sql",
            "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key owner), grain owner);\n\
             SELECT owner, max(level) AS level FROM staging.owners WHERE level <> 'gone' GROUP BY owner;",
        ),
    ];
    let project = Project::job(&files);
    for (name, owner) in [("one", "a"), ("two", "b")] {
        project
            .write(&format!("data/raw/owners/{name}.json"), &format!("{{\"owner\": \"{owner}\", \"level\": \"x\"}}\n"));
    }
    project.write("data/raw/items/one.json", "{\"id\": 1, \"owner\": \"a\"}\n{\"id\": 2, \"owner\": \"b\"}\n");
    project.succeed(&["run"]);
    project
}

#[test]
fn rows_that_have_passed_are_held_again_against_a_table_that_has_lost_their_partners() {
    let project = related();
    project.write("data/raw/items/two.json", "{\"id\": 3, \"owner\": \"a\"}\n");
    project.write("data/raw/owners/one.json", "{\"owner\": \"a\", \"level\": \"y\"}\n");
    let run = project.json(&["run"]);
    assert_eq!(steps(&run)["curated.owners"]["action"]["work"], "update", "{run}");
    assert_eq!(
        violations(&run, "curated.items"),
        named(&[("grain_not_null", 0), ("grain", 0), ("relationships_owner", 0)])
    );

    project.write("data/raw/items/three.json", "{\"id\": 4, \"owner\": \"b\"}\n{\"id\": 5, \"owner\": \"c\"}\n");
    project.lakewright(&["run"]).assert_refused(1, &["relationships_owner", "1 of 5 rows"]);

    project.write("data/raw/items/three.json", "{\"id\": 4, \"owner\": \"b\"}\n");
    project.write("data/raw/owners/one.json", "{\"owner\": \"a\", \"level\": \"gone\"}\n");
    project.lakewright(&["run"]).assert_refused(1, &["relationships_owner", "2 of 4 rows"]);
    project.write("data/raw/owners/one.json", "{\"owner\": \"a\", \"level\": \"z\"}\n");
    project.succeed(&["run"]);
}

#[test]
fn rows_that_nobody_has_held_against_a_changed_table_are_checked_with_the_next_ones() {
    let project = related();
    project.write("data/raw/owners/one.json", "{\"owner\": \"a\", \"level\": \"gone\"}\n");
    // Nobody asks for the items, so that nobody checks them.
    project.succeed(&["run", "--select", "staging.owners,curated.owners"]);
    project.write("data/raw/items/two.json", "{\"id\": 3, \"owner\": \"b\"}\n");
    project.lakewright(&["run"]).assert_refused(1, &["relationships_owner", "1 of 3 rows"]);
}

#[test]
fn tables_of_one_run_are_checked_against_one_another() {
    let files = [
        ("raw/items.sql", SOURCE),
        (
            "curated/items.sql",
            "MODEL (audits (relationships (column := owner, to := curated.owners, field := OWNER)));\n\
             SELECT id, owner FROM raw.items;",
        ),
        ("curated/owners.sql", "MODEL (grain owner);\nSELECT DISTINCT owner FROM raw.items WHERE owner <> 'b';"),
    ];
    let project = Project::job(&files);
    project.write("data/raw/items/one.json", LINES);
    let failed = project.lakewright(&["run"]);
    failed.assert_refused(1, &["relationships_owner", "owner is in curated.owners", "1 of 4 rows"]);
    project.write(
        "jobs/test/curated/owners.sql",
        "MODEL (grain owner);\nSELECT DISTINCT owner FROM raw.items WHERE owner <> '';",
    );
    project.succeed(&["run"]);
    // A table that stays as it is is checked when the other one changes.
    project.write("jobs/test/curated/owners.sql", "SELECT DISTINCT owner FROM raw.items WHERE owner = 'a';");
    let failed = project.lakewright(&["run"]);
    failed.assert_refused(1, &["relationships_owner", "1 of 4 rows"]);
    assert_eq!(project.csv("SELECT count(*) AS n FROM curated.owners"), "n\n2\n");
}

#[test]
fn checks_that_change_are_asked_again_without_computing_the_table() {
    let project = project("MODEL (grain id);", LINES);
    let before = project.json(&["tables"]);
    assert!(before["release"].is_null());
    project.succeed(&["run"]);
    let version = |project: &Project| project.json(&["tables"])["tables"][0]["version"].clone();
    let first = version(&project);
    let with = |header: &str| {
        let text = format!("{header}\nSELECT id, level, price, owner FROM raw.items;");
        project.write("jobs/test/curated/items.sql", &text);
    };
    with("MODEL (grain id, audits (not_null (columns := price)));");
    let plan = project.json(&["plan"]);
    let reason = steps(&plan)["curated.items"]["action"]["reason"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("its checks changed")), "{plan}");
    project.lakewright(&["run"]).assert_refused(1, &["not_null_price", "1 of 4 rows"]);
    with("MODEL (grain id, audits (not_null (columns := id), not_null (columns := price, blocking := false)));");
    let run = project.json(&["run"]);
    assert_eq!(
        violations(&run, "curated.items"),
        named(&[("grain_not_null", 0), ("not_null_id", 0), ("not_null_price", 1), ("grain", 0)])
    );
    assert_eq!(version(&project), first, "the table was not written again");
    let again = project.json(&["run"]);
    assert!(again["release"].is_null(), "what was passed is not asked again: {again}");
    // A rule that takes rows out changes the rows.
    with("MODEL (grain id, expect (priced (price > 0) ON VIOLATION DROP));");
    project.succeed(&["run"]);
    assert_ne!(version(&project), first);
    assert_eq!(project.csv("SELECT id FROM curated.items ORDER BY id"), "id\n1\n3\n");
}

#[test]
fn a_jobs_own_audits_take_arguments_and_read_other_tables() {
    let files = [
        ("raw/items.sql", SOURCE),
        (
            "curated/items.sql",
            "MODEL (kind VIEW, audits (\n  cheaper_than (price := 1.9, blocking := false),\n  \
             number_of_rows (threshold := 3),\n  forall (criteria := (id > 0, price > 0 OR price < 0)),\n  \
             accepted_values (column := level, is_in := ('free', 'paid'))\n));\n\
             SELECT id, level, price, owner FROM raw.items;",
        ),
        ("curated/other.sql", "SELECT id FROM curated.items;"),
        (
            "audits/cheaper_than.sql",
            "SELECT t.id, t.price FROM @this_model t JOIN curated.other o ON o.id = t.id\nWHERE t.price > :price",
        ),
    ];
    let project = Project::job(&files);
    project.write("data/raw/items/one.json", LINES);
    project.lakewright(&["run"]).assert_refused(1, &["accepted_values_level", "1 of 4 rows"]);
    let checks = violations(&project.json(&["show"]), "curated.items");
    let expected =
        [("forall", 0), ("forall_2", 0), ("accepted_values_level", 1), ("cheaper_than", 1), ("number_of_rows", 0)];
    assert_eq!(checks, named(&expected));
}

#[test]
fn counts_are_those_of_another_engine() {
    let project = Project::music(4000, 60, 5);
    project.write(
        "jobs/music/staging/events.sql",
        "MODEL (\n  kind INCREMENTAL_BY_FILE,\n  expect (long (length >= 200), unpaid (level <> 'paid'), men (gender = 'M')),\n  \
         audits (forall (criteria := (length >= 200), blocking := false))\n);\n\
         SELECT * FROM raw.events;",
    );
    project.write(
        "jobs/music/staging/judged.sql",
        "MODEL (\n  expect (unpaid (level <> 'paid') ON VIOLATION DROP, men (gender = 'M') ON VIOLATION QUARANTINE)\n);\n\
         SELECT * FROM raw.events;",
    );
    project.write(
        "jobs/music/staging/keyed.sql",
        "MODEL (kind VIEW, audits (repeated_items (blocking := false)));\nSELECT * FROM raw.events;",
    );
    project.write(
        "jobs/music/audits/repeated_items.sql",
        "SELECT e.* FROM this_model e JOIN (SELECT sessionId, itemInSession FROM this_model\n\
         GROUP BY sessionId, itemInSession HAVING count(*) > 1) r\n\
         ON r.sessionId = e.sessionId AND r.itemInSession = e.itemInSession",
    );
    let run = project.json(&["run"]);
    let Some(counts) = run_script("counts of checks", "checks.py", &[&project.path("data/raw"), &project.lake()])
    else {
        return;
    };
    let found = |table: &str, check: &str| {
        let all = violations(&run, table);
        all.into_iter().find(|(name, _)| name == check).map(|(_, count)| count)
    };
    let counted = |name: &str| counts[name].as_u64();
    assert_eq!(found("staging.events", "long"), counted("short"));
    assert_eq!(found("staging.events", "unpaid"), counted("paid"));
    assert_eq!(found("staging.judged", "unpaid"), counted("paid"));
    assert_eq!(found("staging.judged", "men"), counted("apart"));
    assert_eq!(found("staging.keyed", "repeated_items"), counted("repeated"));
    assert_eq!(found("curated.songplays", "song_matched"), counted("unmatched"));
    let left = counted("left").expect("a count");
    assert_eq!(project.csv("SELECT count(*) AS n FROM staging.judged"), format!("n\n{left}\n"));
    let apart = counted("apart").expect("a count");
    assert_eq!(project.csv("SELECT count(*) AS n FROM rejects.staging_judged"), format!("n\n{apart}\n"));
}
