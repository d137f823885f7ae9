//! Tables that are computed by time: intervals that are missing, asked for, late.

use super::{plays, project, reason, works};
use crate::project::Project;

fn timed(settings: &str) -> Project {
    let model = format!(
        "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column day, start '2018-11-02', interval_unit day{settings}));\n\
         SELECT to_date(at) AS day, count(*) AS plays FROM staging.plays GROUP BY to_date(at)"
    );
    let bounded = "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column at, start '2018-11-02'));\n\
                   SELECT id, at FROM staging.plays WHERE at >= :start_ts AND at < :end_ts";
    project(&[("curated/days.sql", &model), ("curated/bounded.sql", bounded)])
}

fn days(project: &Project) -> String {
    project.csv("SELECT date_format(day, 'dd') AS d, plays FROM curated.days ORDER BY day").replace("d,plays\n", "")
}

#[test]
fn intervals_are_computed_from_the_start_and_again_where_their_rows_change() {
    let project = timed("");
    plays(&project, 0, &[(1, "ann", 0), (2, "ann", 24), (3, "bob", 47), (4, "bob", 48)]);
    project.succeed(&["run"]);
    assert_eq!(days(&project), "02,2\n03,1\n");
    assert_eq!(project.csv("SELECT id FROM curated.bounded ORDER BY id"), "id\n2\n3\n4\n");

    plays(&project, 1, &[(5, "ann", 25), (6, "ann", 5), (7, "ann", 100)]);
    let run = project.json(&["run", "--verify-incremental"]);
    assert_eq!(works(&run)["curated.days"], "update", "{run}");
    assert_eq!(works(&run)["curated.bounded"], "update", "{run}");
    assert_eq!(days(&project), "02,3\n03,1\n05,1\n");
    assert_eq!(project.csv("SELECT id FROM curated.bounded ORDER BY id"), "id\n2\n3\n4\n5\n7\n");
    plays(&project, 1, &[(7, "ann", 100)]);
    project.succeed(&["run", "--verify-incremental"]);
    assert_eq!(days(&project), "02,2\n03,1\n05,1\n");
}

#[test]
fn a_first_run_of_some_intervals_is_completed_by_the_next() {
    let project = timed("");
    plays(&project, 0, &[(2, "ann", 24), (3, "bob", 48), (4, "bob", 72), (5, "bob", 96)]);
    project.succeed(&["run", "--start", "2018-11-03T12:00:00Z", "--end", "2018-11-04T01:00:00Z"]);
    assert_eq!(days(&project), "03,1\n04,1\n");
    let plan = project.json(&["plan"]);
    assert_eq!(works(&plan)["curated.days"], "update", "{plan}");
    assert!(reason(&plan, "curated.days").contains("is missing"), "{plan}");
    project.succeed(&["run", "--verify-incremental"]);
    assert_eq!(days(&project), "02,1\n03,1\n04,1\n05,1\n");
    assert_eq!(project.csv("SELECT id FROM curated.bounded ORDER BY id"), "id\n2\n3\n4\n5\n");
}

#[test]
fn rows_that_come_later_than_the_lookback_are_counted_and_taken_in_when_asked_for() {
    let project = timed(", lookback 3");
    plays(&project, 0, &[(2, "ann", 24), (3, "bob", 48)]);
    project.succeed(&["run"]);
    plays(&project, 1, &[(4, "ann", 25), (5, "ann", 26)]);
    let run = project.json(&["run"]);
    let said = reason(&run, "curated.days");
    assert!(said.contains("2 rows from 2018-11-02 to 2018-11-03 came later than lookback 3 allows"), "{said}");
    assert_eq!(days(&project), "02,1\n03,1\n");
    project.lakewright(&["run", "--verify-incremental"]).assert_refused(1, &["curated.days", "--start"]);
    let run = project.json(&["run", "--start", "2018-11-02", "--end", "2018-11-03", "--verify-incremental"]);
    assert!(reason(&run, "curated.days").contains("2018-11-02 to 2018-11-03 is asked for"), "{run}");
    assert_eq!(days(&project), "02,3\n03,1\n");
}

#[test]
fn a_window_that_nothing_is_computed_by_is_refused() {
    let untimed = project(&[]);
    plays(&untimed, 0, &[(1, "ann", 0)]);
    untimed.lakewright(&["run", "--start", "2018-11-02"]).assert_refused(2, &["--start", "none is selected"]);
    let timed = timed("");
    plays(&timed, 0, &[(1, "ann", 0)]);
    timed.lakewright(&["run", "--start", "2018-11-02", "--end", "2018-11-02"]).assert_refused(2, &["before --end"]);
    timed.lakewright(&["run", "--start", "yesterday"]).assert_refused(2, &["2018-11-13"]);
}
