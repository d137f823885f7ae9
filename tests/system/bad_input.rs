//! Bad input: one clear message, the right exit code, and nothing half-published.

use std::fs;

use crate::project::{Answer, Project};

const SOURCE: &str = "CREATE EXTERNAL TABLE raw.items (id INT, name VARCHAR) STORED AS JSON LOCATION 'items/';";
const MODEL: &str = "SELECT id, name FROM raw.items;";
const ROW: &str = r#"{"id": 1, "name": "one"}"#;

/// A project with one source, one model, and one raw object.
fn project() -> Project {
    let project = Project::job(&[("raw/items.sql", SOURCE), ("curated/items.sql", MODEL)]);
    project.write("data/raw/items/one.json", ROW);
    project
}

/// Runs the job and asserts that nothing was published.
fn run_without_tables(project: &Project) -> Answer {
    let answer = project.lakewright(&["run"]);
    let published: Vec<String> = project.lake_files().into_iter().filter(|file| file.contains("_delta_log")).collect();
    assert_eq!(published, Vec::<String>::new(), "{answer:?}");
    answer
}

/// Runs the job of a project whose files are wrong: refused by `check` and by `run`, and no lake is made.
fn assert_wrong(project: &Project, words: &[&str]) {
    project.lakewright(&["check"]).assert_refused(2, words);
    project.lakewright(&["run"]).assert_refused(2, words);
    assert_eq!(project.lake_files(), Vec::<String>::new());
}

#[test]
fn a_missing_job_folder() {
    project().lakewright(&["run", "jobs/tset"]).assert_refused(2, &["jobs/tset", "jobs/test"]);
}

#[test]
fn a_missing_raw_folder() {
    let project = project();
    fs::remove_dir_all(project.path("data/raw")).expect("the folder can be removed");
    run_without_tables(&project).assert_refused(2, &["data/raw"]);
}

#[test]
fn a_prefix_without_objects() {
    let project = project();
    fs::remove_file(project.path("data/raw/items/one.json")).expect("the file can be removed");
    let answer = run_without_tables(&project);
    answer.assert_refused(1, &["raw.items", "items/"]);
}

#[test]
#[cfg(unix)]
fn a_dangling_link_among_the_raw_objects() {
    let project = project();
    std::os::unix::fs::symlink("nowhere.json", project.path("data/raw/items/two.json")).expect("a link can be made");
    let answer = run_without_tables(&project);
    answer.assert_refused(1, &["two.json"]);
}

#[test]
fn an_unknown_column() {
    let project = project();
    project.write("jobs/test/curated/items.sql", "SELECT id,\n  nmae FROM raw.items;");
    assert_wrong(&project, &["curated/items.sql:2:3", "nmae", "name"]);
}

#[test]
fn an_unknown_table() {
    let project = project();
    project.write("jobs/test/curated/items.sql", "SELECT id FROM raw.itmes;");
    assert_wrong(&project, &["curated/items.sql:1:16", "raw.items"]);
}

#[test]
fn all_files_are_checked_at_once() {
    let project = project();
    project.write("jobs/test/curated/items.sql", "SELECT nmae FROM raw.items;");
    project.write("jobs/test/curated/other.sql", "SELECT idd FROM raw.items;");
    assert_wrong(&project, &["curated/items.sql:1:8", "curated/other.sql:1:8"]);
}

#[test]
fn a_type_error() {
    let project = project();
    project.write("jobs/test/curated/items.sql", "SELECT id, name + interval '1 day' AS later FROM raw.items;");
    assert_wrong(&project, &["curated/items.sql:1:"]);
}

#[test]
fn a_syntax_error() {
    let project = project();
    project.write("jobs/test/curated/items.sql", "SELECT id FORM raw.items WHERE;");
    assert_wrong(&project, &["curated/items.sql:1:"]);
}

#[test]
fn a_cycle_is_told_with_its_path() {
    let project = project();
    project.write("jobs/test/curated/a.sql", "SELECT id FROM curated.b;");
    project.write("jobs/test/curated/b.sql", "SELECT id FROM curated.a;");
    assert_wrong(&project, &["curated.a", "curated.b", "cycle"]);
}

#[test]
fn columns_that_differ_in_case_only() {
    let project = project();
    project.write("jobs/test/curated/items.sql", "SELECT id, name AS ID FROM raw.items;");
    assert_wrong(&project, &["curated/items.sql:1:", "id"]);
}

#[test]
fn a_column_declared_twice() {
    let project = project();
    project.write("jobs/test/raw/items.sql", &SOURCE.replace("name VARCHAR", "name VARCHAR, NAME INT"));
    assert_wrong(&project, &["raw/items.sql:1:", "name"]);
}

#[test]
fn csv_as_a_source_is_not_supported_yet() {
    let project = project();
    project.write("jobs/test/raw/items.sql", &SOURCE.replace("STORED AS JSON", "STORED AS CSV"));
    assert_wrong(&project, &["raw/items.sql:1:", "csv"]);
}

#[test]
fn an_unknown_option_is_not_ignored() {
    let project = project();
    project.write("jobs/test/raw/items.sql", &SOURCE.replace(';', " OPTIONS (mod 'FAILFAST');"));
    assert_wrong(&project, &["raw/items.sql:1:", "mode"]);
}

#[test]
fn a_record_that_does_not_fit_fails_a_failfast_run_with_its_place() {
    let project = project();
    project.write("jobs/test/raw/items.sql", &SOURCE.replace(';', " OPTIONS (mode 'FAILFAST');"));
    project.write("data/raw/items/two.json", "{\"id\": 2, \"name\": \"two\"}\n{\"id\": \"many\"}\n");
    let answer = run_without_tables(&project);
    answer.assert_refused(1, &["items/two.json"]);
    project.lakewright(&["sql", "SELECT * FROM curated.items"]).assert_refused(2, &["curated.items"]);
}

#[test]
fn a_failed_run_leaves_the_tables_of_the_run_before() {
    let project = project();
    project.write("jobs/test/raw/items.sql", &SOURCE.replace(';', " OPTIONS (mode 'FAILFAST');"));
    project.succeed(&["run"]);
    let before = project.csv("SELECT * FROM curated.items");
    project.write("data/raw/items/two.json", "no json at all");
    project.lakewright(&["run"]).assert_refused(1, &["two.json"]);
    assert_eq!(project.csv("SELECT * FROM curated.items"), before);
}

#[test]
fn a_failed_cast_shows_the_value() {
    let project = project();
    project.write("jobs/test/curated/items.sql", "SELECT CAST(name AS INT) AS number FROM raw.items;");
    run_without_tables(&project).assert_refused(1, &["one"]);
}

#[test]
fn sql_changes_nothing() {
    let project = project();
    project.succeed(&["run"]);
    let before = project.lake_files();
    let statements = [
        "INSERT INTO curated.items VALUES (2, 'two')",
        "DELETE FROM curated.items",
        "DROP TABLE curated.items",
        "CREATE TABLE curated.more AS SELECT 1 AS one",
        "COPY (SELECT 1 AS one) TO 'out.parquet'",
        "SET datafusion.execution.batch_size = 1",
    ];
    for statement in statements {
        project.lakewright(&["sql", statement]).assert_refused(2, &[]);
    }
    assert_eq!(project.lake_files(), before);
    assert!(!project.path("out.parquet").exists());
}

#[test]
fn an_unknown_parameter_and_a_value_of_the_wrong_type() {
    let project = project();
    project.write(
        "jobs/test/job.toml",
        "name = \"test\"\nraw = \"data/raw\"\nlake = \"data/lake\"\n[params]\nleast = { type = \"bigint\", default = 0 }\n",
    );
    project.write("jobs/test/curated/items.sql", "SELECT id, name FROM raw.items WHERE id > :least;");
    project.lakewright(&["run", "--param", "laest=1"]).assert_refused(2, &["laest", "least"]);
    project.lakewright(&["run", "--param", "least=many"]).assert_refused(2, &["least", "many"]);
    project.succeed(&["run", "--param", "least=1"]);
    assert_eq!(project.csv("SELECT count(*) AS n FROM curated.items"), "n\n0\n");
}
