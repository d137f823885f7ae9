//! Models that read fields of structures and maps, computed by key, by partition and by time.

use crate::project::Project;

const FILES: [(&str, &str); 5] = [
    (
        "raw/events.sql",
        "CREATE EXTERNAL TABLE raw.events (k VARCHAR, at BIGINT, st STRUCT<a BIGINT, b VARCHAR>, m MAP<VARCHAR, BIGINT>)\n\
         STORED AS JSON LOCATION 'events/';",
    ),
    (
        "staging/events.sql",
        "MODEL (kind INCREMENTAL_BY_FILE);\n\
         SELECT k, timestamp_millis(at) AS at, CAST(timestamp_millis(at) AS DATE) AS day, st, m FROM raw.events",
    ),
    (
        "curated/by_key.sql",
        "MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key k));\n\
         SELECT k, max(st.a) AS a, max(m['x']) AS x, count(*) AS n FROM staging.events GROUP BY k",
    ),
    (
        "curated/by_partition.sql",
        "MODEL (kind INCREMENTAL_BY_PARTITION, partitioned_by day);\n\
         SELECT day, max(st['b']) AS b, sum(st.a) AS a FROM staging.events GROUP BY day",
    ),
    (
        "curated/by_time.sql",
        "MODEL (kind INCREMENTAL_BY_TIME_RANGE (time_column at, start '2018-11-01'));\n\
         SELECT at, k, st.a AS a, m['x'] AS x FROM staging.events WHERE at >= :start_ts AND at < :end_ts",
    ),
];

const TABLES: [&str; 3] = ["curated.by_key", "curated.by_partition", "curated.by_time"];

fn events(project: &Project, object: u32, keys: std::ops::Range<u64>) {
    let lines = keys.map(|n| {
        let at = 1_541_030_400_000 + n * 3_600_000;
        format!(
            "{{\"k\": \"k{}\", \"at\": {at}, \"st\": {{\"a\": {n}, \"b\": \"b{n}\"}}, \"m\": {{\"x\": {n}}}}}\n",
            n % 5
        )
    });
    project.write(&format!("data/raw/events/{object}.json"), &lines.collect::<String>());
}

#[test]
fn fields_of_structures_and_maps_are_read_by_every_kind_of_update() {
    let project = Project::job(&FILES);
    events(&project, 1, 0..40);
    project.succeed(&["run"]);
    events(&project, 2, 30..60);
    project.succeed(&["run"]);
    let updated = project.contents(&TABLES);
    assert_eq!(updated["curated.by_key"].len(), 5, "{updated:?}");
    project.succeed(&["run", "--full-refresh"]);
    assert_eq!(updated, project.contents(&TABLES));
}
