//! `preview` shows the first rows of a model without writing anything.

use crate::project::Project;

#[test]
fn a_preview_keeps_the_order_of_the_query_and_writes_nothing() {
    let source = "CREATE EXTERNAL TABLE raw.items (id INT) STORED AS JSON LOCATION 'items/';";
    let model = "SELECT id FROM raw.items ORDER BY id DESC LIMIT 900";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", model)]);
    let lines: Vec<String> = (0..1000).map(|id| format!("{{\"id\": {}}}", id * 7 % 1000)).collect();
    project.write("data/raw/items/all.json", &lines.join("\n"));
    let rows = project.succeed(&["preview", "curated.items", "--limit", "3", "--format", "csv"]);
    assert_eq!(rows.lines().collect::<Vec<_>>(), ["id", "999", "998", "997"]);
    assert_eq!(project.lake_files(), Vec::<String>::new());
}
