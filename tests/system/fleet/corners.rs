//! SQL that distribution could break, as models: every row is equal embedded, on a fleet, and, where Ballista's exchanges
//! have no say, whatever the partitions are.

use std::{collections::BTreeMap, fmt::Write};

use super::process::Fleet;
use crate::project::Project;

/// Lines of the larger source: enough bytes for several partitions.
const FACTS: u64 = 12_000;

/// A step of a linear congruential generator: the same data in every run.
fn next(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % limit
}

const NAMES: [&str; 8] = ["Ægir", "日本語", "e\u{301}", "🎵🎶", "Zoë", "a\\\"b", "", "ÅSTRÖM"];

fn facts() -> String {
    let (mut lines, mut state) = (String::new(), 7);
    for id in 0..FACTS {
        let grp = next(&mut state, 40);
        let grp = if grp == 0 { "null".to_owned() } else { format!("\"g{grp}\"") };
        let dim = next(&mut state, 250);
        let dim = if dim > 220 { "null".to_owned() } else { dim.to_string() };
        let amount = next(&mut state, 2_000_000);
        let f = next(&mut state, 1000);
        let name = serde_json::Value::from(NAMES[usize::try_from(next(&mut state, 8)).expect("small")]);
        let tags: Vec<String> = (0..next(&mut state, 4)).map(|tag| format!("\"t{}\"", (id + tag) % 5)).collect();
        let zip = next(&mut state, 90_000);
        let ts = 1_541_000_000_000 + next(&mut state, 2_000_000_000);
        writeln!(
            lines,
            "{{\"id\": {id}, \"grp\": {grp}, \"dim\": {dim}, \"amount\": {}.{:04}, \"num\": {}.5, \"name\": {name}, \
             \"tags\": [{}], \"addr\": {{\"city\": {name}, \"zip\": {zip}}}, \"ts\": {ts}, \"ok\": {}, \
             \"props\": {{\"k{}\": {f}}}, \"day\": \"2018-11-{:02}\"}}",
            amount / 10_000,
            amount % 10_000,
            f / 2,
            tags.join(", "),
            if f.is_multiple_of(3) {
                "null"
            } else if f.is_multiple_of(2) {
                "true"
            } else {
                "false"
            },
            f % 3,
            1 + f % 28,
        )
        .expect("text can be written");
    }
    lines
}

fn dims() -> String {
    let mut lines = String::new();
    for id in (0..240).step_by(2) {
        let label = if id % 12 == 0 { "null".to_owned() } else { format!("\"label {}\"", id % 10) };
        writeln!(lines, "{{\"dim\": {id}, \"label\": {label}, \"rate\": {}.25}}", id % 7).expect("text can be written");
    }
    lines
}

const SOURCES: [(&str, &str); 2] = [
    (
        "raw/facts.sql",
        "CREATE EXTERNAL TABLE raw.facts (id BIGINT, grp VARCHAR, dim INT, amount DECIMAL(18, 4), num DOUBLE, name VARCHAR, \
         tags ARRAY<VARCHAR>, addr STRUCT<city VARCHAR, zip INT>, ts BIGINT, ok BOOLEAN, props MAP<VARCHAR, BIGINT>, \
         day DATE) STORED AS JSON LOCATION 'facts/';",
    ),
    (
        "raw/dims.sql",
        "CREATE EXTERNAL TABLE raw.dims (dim INT, label VARCHAR, rate DOUBLE) STORED AS JSON LOCATION 'dims/';",
    ),
];

/// Models by name; each is one corner.
const MODELS: [(&str, &str); 34] = [
    ("staging/facts", "SELECT *, timestamp_millis(ts) AS at FROM raw.facts"),
    ("staging/dims", "SELECT * FROM raw.dims"),
    ("curated/inner_join", "SELECT f.id, d.label, f.amount FROM staging.facts f JOIN staging.dims d ON f.dim = d.dim"),
    ("curated/left_join", "SELECT f.id, d.label FROM staging.facts f LEFT JOIN staging.dims d ON f.dim = d.dim"),
    (
        "curated/right_join",
        "SELECT f.id, d.dim, d.label FROM staging.facts f RIGHT JOIN staging.dims d ON f.dim = d.dim",
    ),
    ("curated/full_join", "SELECT f.id, d.dim FROM staging.facts f FULL JOIN staging.dims d ON f.dim = d.dim AND f.ok"),
    (
        "curated/self_join",
        "SELECT a.grp, count(*) AS pairs FROM staging.facts a JOIN staging.facts b ON a.name = b.name AND a.dim = b.dim AND a.id < b.id GROUP BY a.grp",
    ),
    (
        "curated/range_join",
        "SELECT d.dim, count(*) AS n FROM staging.dims d JOIN staging.facts f ON f.dim BETWEEN d.dim - 3 AND d.dim GROUP BY d.dim",
    ),
    (
        "curated/cross_join",
        "SELECT a.dim AS a, b.dim AS b, a.rate * b.rate AS product FROM staging.dims a CROSS JOIN staging.dims b WHERE a.dim + b.dim < 60",
    ),
    ("curated/semi", "SELECT id FROM staging.facts WHERE dim IN (SELECT dim FROM staging.dims WHERE rate > 1.0)"),
    (
        "curated/anti",
        "SELECT id FROM staging.facts f WHERE NOT EXISTS (SELECT 1 FROM staging.dims d WHERE d.dim = f.dim)",
    ),
    ("curated/not_in_null", "SELECT dim FROM staging.dims WHERE dim NOT IN (SELECT dim FROM staging.facts)"),
    (
        "curated/not_in",
        "SELECT dim FROM staging.dims WHERE dim NOT IN (SELECT dim FROM staging.facts WHERE dim IS NOT NULL AND ok)",
    ),
    (
        "curated/scalar_subquery",
        "SELECT id, amount - (SELECT max(amount) FROM staging.facts) AS below FROM staging.facts WHERE amount > (SELECT avg(amount) FROM staging.facts)",
    ),
    (
        "curated/correlated",
        "SELECT id FROM staging.facts f WHERE amount = (SELECT max(amount) FROM staging.facts g WHERE g.grp = f.grp)",
    ),
    (
        "curated/group_nulls",
        "SELECT grp, count(*) AS n, count(dim) AS dims, sum(amount) AS total, min(name) AS low, max(name) AS high FROM staging.facts GROUP BY grp",
    ),
    (
        "curated/global",
        "SELECT count(*) AS n, sum(amount) AS total, avg(amount) AS mean, min(at) AS first, max(at) AS last, bool_and(ok) AS all_ok FROM staging.facts",
    ),
    (
        "curated/global_empty",
        "SELECT count(*) AS n, sum(amount) AS total, max(name) AS high FROM staging.facts WHERE id < 0",
    ),
    ("curated/empty", "SELECT * FROM staging.dims WHERE dim < 0"),
    ("curated/distinct", "SELECT DISTINCT name, ok, dim % 3 AS third FROM staging.facts"),
    (
        "curated/count_distinct",
        "SELECT grp, count(DISTINCT name) AS names, count(DISTINCT dim) AS dims FROM staging.facts GROUP BY grp",
    ),
    ("curated/grouping_sets", "SELECT grp, ok, count(*) AS n FROM staging.facts GROUP BY ROLLUP (grp, ok)"),
    (
        "curated/having",
        "SELECT name, sum(amount) AS total FROM staging.facts GROUP BY name HAVING count(*) > 10 AND sum(amount) > 100",
    ),
    (
        "curated/filtered",
        "SELECT grp, count(*) FILTER (WHERE ok) AS good, count_if(num > 100) AS large, max_by(id, amount * 100000 + id) AS top FROM staging.facts GROUP BY grp",
    ),
    (
        "curated/numbers",
        "SELECT id, row_number() OVER (PARTITION BY grp ORDER BY amount DESC, id) AS place, rank() OVER (PARTITION BY ok ORDER BY num) AS rank FROM staging.facts",
    ),
    (
        "curated/frames",
        "SELECT id, sum(amount) OVER (PARTITION BY grp ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS moving, lag(id, 2) OVER (PARTITION BY dim ORDER BY id) AS before, lead(name) OVER (PARTITION BY grp ORDER BY id) AS after, first_value(id) OVER (PARTITION BY name ORDER BY id) AS first FROM staging.facts",
    ),
    (
        "curated/running",
        "SELECT id, sum(amount) OVER (ORDER BY id) AS running, ntile(7) OVER (ORDER BY id) AS tile FROM staging.facts",
    ),
    ("curated/top", "SELECT id, amount FROM staging.facts ORDER BY amount DESC, id LIMIT 25 OFFSET 5"),
    (
        "curated/unions",
        "SELECT dim, 'd' AS kind FROM staging.dims UNION ALL SELECT dim, 'f' FROM staging.facts WHERE num > 490 UNION ALL SELECT 1, 'one' UNION ALL SELECT count(*), 'n' FROM staging.facts",
    ),
    (
        "curated/set_ops",
        "SELECT dim FROM staging.dims INTERSECT SELECT dim FROM staging.facts EXCEPT SELECT dim FROM staging.facts WHERE ok",
    ),
    (
        "curated/nested",
        "SELECT id, addr, tags, props, addr.zip AS zip, size(tags) AS n, array_join(array_sort(tags), '-') AS joined, map_keys(props) AS keys, named_struct('a', id, 'b', name) AS made FROM staging.facts",
    ),
    (
        "curated/unnested",
        "SELECT tag, count(*) AS n FROM (SELECT unnest(tags) AS tag FROM staging.facts) t GROUP BY tag",
    ),
    (
        "curated/texts",
        "SELECT id, upper(name) AS u, length(name) AS n, reverse(name) AS r, substring(name, 1, 2) AS s, concat(name, '→', grp) AS c, rlike(name, '^[A-ZÅ]') AS m, sha2(name, 256) AS h, split(concat(name, ',x'), ',') AS p, lpad(grp, 6, '*') AS l FROM staging.facts",
    ),
    (
        "curated/times",
        "SELECT id, at, year(at) AS y, date_trunc('hour', at) AS h, date_format(at, 'yyyy-MM-dd HH:mm') AS t, datediff(day, DATE '2018-10-01') AS d, add_months(day, 3) AS m, unix_millis(at) AS ms, CAST(at AS VARCHAR) AS text, CAST(amount AS DECIMAL(10, 1)) AS rounded, amount * CAST(1.5 AS DECIMAL(4, 2)) AS more, num / 3 AS third, num IS NULL OR ok <=> NULL AS nothing FROM staging.facts",
    ),
];

const PARTITIONED: (&str, &str) = (
    "curated/partitioned",
    "MODEL (partitioned_by (grp, day), clustered_by (id)); SELECT grp, day, id, amount, name FROM staging.facts WHERE id % 7 = 0",
);

fn project() -> Project {
    let project = Project::job(&SOURCES);
    let facts = facts();
    let lines: Vec<&str> = facts.lines().collect();
    for (part, lines) in lines.chunks(lines.len().div_ceil(3)).enumerate() {
        project.write(&format!("data/raw/facts/{part}.json"), &format!("{}\n", lines.join("\n")));
    }
    project.write("data/raw/dims/dims.json", &dims());
    for (path, sql) in MODELS.into_iter().chain([PARTITIONED]) {
        project.write(&format!("jobs/test/{path}.sql"), &format!("{sql};\n"));
    }
    project
}

fn contents(project: &Project) -> BTreeMap<String, Vec<String>> {
    let tables: Vec<String> = MODELS.into_iter().chain([PARTITIONED]).map(|(path, _)| path.replace('/', ".")).collect();
    project.contents(&tables.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn sql_means_the_same_embedded_and_on_a_fleet() {
    let project = project();
    project.succeed(&["run", "--threads", "1"]);
    let alone = contents(&project);
    assert!(alone.values().filter(|rows| !rows.is_empty()).count() >= MODELS.len() - 2, "models are empty");
    std::fs::remove_dir_all(project.lake()).expect("the lake can be removed");
    project.succeed(&["run", "--threads", "4"]);
    assert_equal(&contents(&project), &alone, "in four partitions");
    std::fs::remove_dir_all(project.lake()).expect("the lake can be removed");
    let fleet = Fleet::start(&project, 2);
    fleet.submit();
    assert_equal(&contents(&project), &alone, "on a fleet");
}

fn assert_equal(got: &BTreeMap<String, Vec<String>>, expected: &BTreeMap<String, Vec<String>>, how: &str) {
    let mut wrong = Vec::new();
    for (table, rows) in expected {
        if got[table] != *rows {
            let first = got[table].iter().zip(rows).find(|(got, expected)| got != expected);
            wrong.push(format!("{table}: {} rows, expected {}; {first:?}", got[table].len(), rows.len()));
        }
    }
    assert!(wrong.is_empty(), "{how}:\n{}", wrong.join("\n"));
}
