//! Tables that are computed by key, by partition and by time hold on a fleet what they hold in one process, whatever comes,
//! changes and goes.

use super::process::Fleet;
use crate::{
    kinds::{people, plays, project, works},
    project::Project,
};

const MODELS: [(&str, &str); 5] = [
    (
        "curated/totals.sql",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key who), grain who);\n\
         SELECT p.who, max(c.city) AS city, count(*) AS plays, sum(p.cents) AS cents\n\
         FROM staging.plays p LEFT JOIN staging.people c ON c.who = p.who GROUP BY p.who",
    ),
    (
        "curated/moments.sql",
        "MODEL (\n  kind INCREMENTAL_BY_UNIQUE_KEY (unique_key at), grain (id, n),\n  \
         audits (relationships (column := who, to := curated.totals, field := who))\n);\n\
         SELECT id, who, at, row_number() OVER (PARTITION BY at, id ORDER BY song, who) AS n FROM staging.plays",
    ),
    (
        "curated/days.sql",
        "MODEL (kind INCREMENTAL_BY_PARTITION, partitioned_by day);\n\
         SELECT id, who, to_date(at) AS day, row_number() OVER (PARTITION BY to_date(at) ORDER BY id, who) AS n\n\
         FROM staging.plays",
    ),
    (
        "curated/sums.sql",
        "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column day, start '2018-11-02', interval_unit day));\n\
         SELECT to_date(at) AS day, count(*) AS plays, sum(cents) AS cents FROM staging.plays GROUP BY to_date(at)",
    ),
    (
        "curated/hours.sql",
        "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column at, interval_unit hour));\n\
         SELECT p.id, p.at, c.city FROM staging.plays p JOIN staging.people c ON c.who = p.who",
    ),
];
const TABLES: [&str; 5] = ["curated.totals", "curated.moments", "curated.days", "curated.sums", "curated.hours"];

/// A change of the raw data, and what the tables' steps do about it.
type Change = (fn(&Project), &'static str);

#[test]
fn rows_of_keys_partitions_and_intervals_are_the_same_embedded_and_on_a_fleet() {
    let first = |project: &Project| {
        plays(project, 0, &[(1, "ann", 0), (2, "bob", 30), (3, "bob", 31)]);
        plays(project, 1, &[(4, "eve", 55), (5, "ann", 56), (6, "kim", 99)]);
        people(project, 1, &[("eve", "Bern"), ("kim", "Rome")]);
    };
    let changes: [Change; 6] = [
        (first, "replace"),
        (|project| plays(project, 2, &[(7, "bob", 31), (8, "zoe", 120), (9, "ann", 2)]), "update"),
        // A changed object: one of its plays goes, one moves to another day and another person, one stays.
        (|project| plays(project, 1, &[(4, "bob", 80), (6, "kim", 99)]), "update"),
        (|project| std::fs::remove_file(project.path("data/raw/plays/000.json")).expect("it can be removed"), "update"),
        (|project| plays(project, 3, &[(10, "eve", 30), (11, "eve", 30)]), "update"),
        (|_| (), "skip"),
    ];
    let [embedded, project] = [project(&MODELS), project(&MODELS)];
    let fleet = Fleet::start(&project, 2);
    for (number, (change, work)) in changes.into_iter().enumerate() {
        change(&embedded);
        change(&project);
        embedded.succeed(&["run", "--accept-losses"]);
        // A scheduler has no command of its own that compares: the fleet's run verifies itself, and is compared.
        let verify: &[&str] = if work == "update" { &["--verify-incremental"] } else { &[] };
        let answer = fleet.lakewright(&[&["submit", "--accept-losses"], verify].concat());
        assert_eq!(answer.code, Some(0), "change {number}: {answer:?}");
        assert_eq!(project.contents(&TABLES), embedded.contents(&TABLES), "change {number}");
        let (there, here) = (works(&project.json(&["show"])), works(&embedded.json(&["show"])));
        assert_eq!(there, here, "change {number}");
        for table in TABLES {
            assert_eq!(there[table], work, "change {number}: {table} of {there:?}");
        }
    }
}
