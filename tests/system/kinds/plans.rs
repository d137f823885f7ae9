//! What a run does about such models, and why.

use super::{people, plays, project, reason, works};
use crate::project::{files_below, steps};

const TOTALS: (&str, &str) = (
    "curated/totals.sql",
    "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key who), grain who);\n\
     SELECT p.who, max(c.city) AS city, count(*) AS plays, sum(p.cents) AS cents\n\
     FROM staging.plays p LEFT JOIN staging.people c ON c.who = p.who GROUP BY p.who",
);
const DAYS: (&str, &str) = (
    "curated/days.sql",
    "MODEL (kind INCREMENTAL_BY_PARTITION, partitioned_by day);\n\
     SELECT id, who, to_date(at) AS day, row_number() OVER (PARTITION BY to_date(at) ORDER BY id) AS n\n\
     FROM staging.plays",
);

#[test]
fn rows_of_keys_that_appear_in_what_has_come_are_replaced_and_no_others() {
    let project = project(&[TOTALS]);
    plays(&project, 0, &[(1, "ann", 0), (2, "bob", 1), (3, "bob", 30)]);
    plays(&project, 1, &[(4, "eve", 2)]);
    assert_eq!(works(&project.json(&["run"]))["curated.totals"], "replace");

    plays(&project, 2, &[(5, "bob", 3)]);
    let plan = project.json(&["plan"]);
    assert_eq!(works(&plan)["curated.totals"], "update", "{plan}");
    assert_eq!(reason(&plan, "curated.totals"), "staging.plays has new files");
    let run = project.json(&["run", "--verify-incremental"]);
    // One row is bob's, two others lie in the file of his old one.
    assert_eq!(steps(&run)["curated.totals"]["rows_out"], 3, "{run}");
    let rows = project.csv("SELECT * FROM curated.totals ORDER BY who");
    assert_eq!(rows, "who,city,plays,cents\nann,Rome,1,1\nbob,Oslo,3,10\neve,,1,4\n");

    // The other side is bound by its key: a change of it changes the rows of its keys.
    people(&project, 1, &[("eve", "Bern")]);
    let run = project.json(&["run", "--verify-incremental"]);
    assert_eq!(works(&run)["curated.totals"], "update", "{run}");
    let rows = project.csv("SELECT who, city FROM curated.totals WHERE who = 'eve'");
    assert_eq!(rows, "who,city\neve,Bern\n");

    // A key whose rows have all gone has no row.
    plays(&project, 1, &[]);
    project.succeed(&["run", "--verify-incremental"]);
    assert_eq!(project.csv("SELECT who FROM curated.totals ORDER BY who"), "who\nann\nbob\n");

    let idle = project.json(&["run"]);
    assert!(idle["release"].is_null(), "{idle}");
    let shown = project.succeed(&["show"]);
    assert!(shown.contains("curated.totals"), "{shown}");
}

#[test]
fn whole_partitions_are_replaced_and_the_files_of_others_stay() {
    let project = project(&[DAYS]);
    plays(&project, 0, &[(10, "ann", 1), (11, "ann", 25), (12, "ann", 49)]);
    project.succeed(&["run"]);
    plays(&project, 1, &[(5, "bob", 2)]);
    let run = project.json(&["run", "--verify-incremental"]);
    assert_eq!(works(&run)["curated.days"], "update", "{run}");
    let step = &steps(&run)["curated.days"];
    assert_eq!((&step["rows_out"], &step["files"]), (&2.into(), &1.into()), "{run}");
    let rows = project.csv("SELECT id, n FROM curated.days ORDER BY day, n");
    assert_eq!(rows, "id,n\n5,1\n10,2\n11,1\n12,1\n");
}

#[test]
fn files_that_hold_no_key_of_what_has_changed_are_neither_read_nor_written_again() {
    let moments = (
        "curated/moments.sql",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key at), grain id);\n\
         SELECT id, at FROM (SELECT id, timestamp_millis(ts) AS at FROM staging.times)",
    );
    let times = ("staging/times.sql", "MODEL (kind INCREMENTAL_BY_FILE);\nSELECT id, at AS ts FROM raw.plays");
    let project = project(&[moments, times]);
    let many: Vec<(u32, &str, u32)> = (0..50).map(|id| (id, "ann", id)).collect();
    plays(&project, 0, &many);
    project.succeed(&["run"]);
    plays(&project, 1, &[(90, "bob", 90), (91, "bob", 91)]);
    let run = project.json(&["run", "--verify-incremental"]);
    let step = &steps(&run)["curated.moments"];
    assert_eq!(works(&run)["curated.moments"], "update", "{run}");
    assert_eq!(step["rows_out"], 2, "{run}");
    // The two rows once for their keys, and a second time for themselves.
    assert!(step["rows_in"].as_u64().is_some_and(|rows| rows <= 8), "{run}");
    // One that comes late has its place in an older file, which is written again.
    plays(&project, 2, &[(95, "bob", 7)]);
    let run = project.json(&["run", "--verify-incremental"]);
    assert_eq!(steps(&run)["curated.moments"]["rows_out"], 51, "{run}");
    // The same rows in other files are no news.
    project.succeed(&["optimize", "staging.times"]);
    plays(&project, 3, &[(99, "eve", 150)]);
    let run = project.json(&["run", "--verify-incremental"]);
    let step = &steps(&run)["curated.moments"];
    assert_eq!((&step["rows_out"], works(&run)["curated.moments"].as_str()), (&1.into(), "update"), "{run}");
    assert!(step["rows_in"].as_u64().is_some_and(|rows| rows <= 4), "{run}");
    assert_eq!(project.csv("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM curated.moments"), "n,ids\n54,54\n");
}

#[test]
fn a_table_is_computed_as_a_whole_where_rows_do_not_tell_their_keys_and_the_plan_says_so() {
    let cities = (
        "curated/cities.sql",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key id));\n\
         SELECT p.id, c.city FROM staging.plays p LEFT JOIN staging.people c ON c.who = p.who",
    );
    let project = project(&[cities, TOTALS]);
    plays(&project, 0, &[(1, "ann", 0), (2, "bob", 1)]);
    project.succeed(&["run"]);
    people(&project, 1, &[("eve", "Bern")]);
    let plan = project.json(&["plan"]);
    assert_eq!(works(&plan)["curated.cities"], "replace", "{plan}");
    let why = "staging.people has new files, and its rows do not tell which rows they change";
    assert_eq!(reason(&plan, "curated.cities"), why);
    project.succeed(&["run", "--verify-incremental"]);

    let path = "jobs/test/curated/totals.sql";
    project.write(path, &TOTALS.1.replace("max(c.city)", "min(c.city)"));
    let plan = project.json(&["plan"]);
    assert_eq!(works(&plan)["curated.totals"], "replace", "{plan}");
    assert_eq!(reason(&plan, "curated.totals"), "the query, a parameter or a source's declaration changed");
}

#[test]
fn new_objects_of_a_source_are_looked_up_by_key_and_changed_ones_are_not() {
    let direct = (
        "curated/direct.sql",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key who));\nSELECT who, count(*) AS n FROM raw.plays GROUP BY who",
    );
    let project = project(&[direct]);
    plays(&project, 0, &[(1, "ann", 0), (2, "bob", 1)]);
    project.succeed(&["run"]);
    plays(&project, 1, &[(3, "bob", 2)]);
    let run = project.json(&["run", "--verify-incremental"]);
    assert_eq!(works(&run)["curated.direct"], "update", "{run}");
    plays(&project, 1, &[(3, "ann", 2), (4, "ann", 3)]);
    let run = project.json(&["run"]);
    assert_eq!(works(&run)["curated.direct"], "replace", "{run}");
    assert!(reason(&run, "curated.direct").contains("nobody knows any more what these objects gave"), "{run}");
    assert_eq!(project.csv("SELECT * FROM curated.direct ORDER BY who"), "who,n\nann,3\nbob,1\n");
}

#[test]
fn what_cannot_be_computed_by_key_is_refused_with_the_part_that_is_to_blame() {
    let ranked = (
        "curated/ranked.sql",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key who));\n\
         SELECT who, rank() OVER (ORDER BY count(*) DESC) AS place FROM staging.plays GROUP BY who",
    );
    let answer = project(&[ranked]).lakewright(&["check"]);
    answer.assert_refused(2, &["curated/ranked.sql:2:13", "the window of `rank`, whose PARTITION BY", "kind FULL"]);
}

#[test]
fn a_table_that_is_not_what_its_query_gives_fails_the_verification_with_example_rows() {
    let project = project(&[TOTALS]);
    plays(&project, 0, &[(1, "ann", 0), (2, "bob", 1)]);
    project.succeed(&["run"]);
    // What a defect would do: the table has the rows of another query, under this one's fingerprint.
    let release = project.lake().join("_lakewright/releases");
    let newest = files_below(&release).pop().expect("there is a release");
    let text = std::fs::read_to_string(release.join(&newest)).expect("it is text");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let before = json["tables"]["curated.totals"]["fingerprint"].clone();
    project.write("jobs/test/curated/totals.sql", &TOTALS.1.replace("count(*)", "count(*) + 1"));
    project.succeed(&["run"]);
    project.write("jobs/test/curated/totals.sql", TOTALS.1);
    let newest = files_below(&release).pop().expect("there is a release");
    let text = std::fs::read_to_string(release.join(&newest)).expect("it is text");
    json = serde_json::from_str(&text).expect("it is JSON");
    json["tables"]["curated.totals"]["fingerprint"] = before;
    std::fs::write(release.join(&newest), json.to_string()).expect("it can be written");
    let answer = project.lakewright(&["run", "--verify-incremental"]);
    answer.assert_refused(1, &["curated.totals", "does not hold the rows", "who = ann, city = Rome, plays = 1"]);
    project.succeed(&["run", "--full-refresh", "--verify-incremental"]);
}
