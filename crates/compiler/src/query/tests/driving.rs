//! Which models may be computed file by file.

use super::*;

fn driving(text: &str) -> Result<String, (String, String)> {
    let query = parse_query("m.sql", text, 0..text.len()).unwrap();
    match query.driving_input(&functions()) {
        Ok(table) => Ok(table.to_string()),
        Err(refused) => Err((text[refused.span.clone()].to_owned(), refused.message)),
    }
}

#[test]
fn queries_whose_rows_come_from_one_row_of_the_input_are_accepted() {
    for text in [
        "SELECT * FROM raw.events",
        "SELECT upper(page) AS p, ts / 1000 AS s FROM raw.events WHERE page IN ('a', 'b') ORDER BY s",
        "SELECT e.page, s.title FROM raw.events e LEFT JOIN staging.songs s ON e.song = s.title",
        "SELECT e.page FROM raw.events e JOIN (SELECT title, count(*) AS n FROM staging.songs GROUP BY title) s ON true",
        "SELECT page FROM raw.events UNION ALL SELECT song FROM raw.events",
        "WITH a AS (SELECT page FROM raw.events WHERE ts > 1), b AS (SELECT page FROM a) SELECT * FROM b",
        "SELECT p FROM (SELECT page AS p FROM raw.events) x",
        "SELECT page FROM raw.events e WHERE EXISTS (SELECT 1 FROM staging.songs s WHERE s.title = e.song)",
        "SELECT page, (SELECT max(year) FROM staging.songs) AS y FROM raw.events",
        "SELECT page FROM raw.events, staging.songs WHERE song = title",
        "SELECT e.page FROM raw.events e CROSS JOIN staging.songs s",
        "SELECT page FROM raw.events LEFT SEMI JOIN staging.songs ON song = title",
        "SELECT page FROM raw.events LEFT ANTI JOIN staging.songs ON song = title",
        "SELECT CASE WHEN ts > 5 THEN 'a' ELSE coalesce(page, 'b') END AS c FROM raw.events",
    ] {
        assert_eq!(driving(text), Ok("raw.events".to_owned()), "{text}");
    }
}

#[test]
fn the_part_that_stands_against_it_is_named() {
    for (text, place, part) in [
        ("SELECT count(*) AS n FROM raw.events", "count(*)", "the aggregate `count`"),
        ("SELECT page FROM raw.events GROUP BY page", "page", "GROUP BY"),
        ("SELECT DISTINCT page FROM raw.events", "SELECT", "DISTINCT"),
        ("SELECT row_number() OVER (ORDER BY ts) AS r FROM raw.events", "row_number()", "window"),
        ("SELECT random() AS r FROM raw.events", "random()", "another value"),
        ("SELECT now() AS r FROM raw.events", "now()", "another value"),
        ("SELECT :run_id AS r FROM raw.events", ":run_id", "another value"),
        ("SELECT 1 AS x FROM raw.events e RIGHT JOIN staging.songs s ON true", "staging.songs s", "RIGHT JOIN"),
        ("SELECT 1 AS x FROM raw.events e FULL JOIN staging.songs s ON true", "staging.songs s", "FULL JOIN"),
        ("SELECT 1 AS x FROM raw.events e JOIN raw.events f ON true", "raw.events f", "second place"),
        ("WITH c AS (SELECT page FROM raw.events) SELECT 1 AS x FROM c JOIN c AS d ON true", "c AS d", "second place"),
        (
            "SELECT page FROM raw.events WHERE ts = (SELECT max(ts) FROM raw.events)",
            "SELECT max(ts) FROM raw.events",
            "second place",
        ),
        ("SELECT page FROM raw.events UNION SELECT page FROM raw.events", "", "UNION"),
        ("SELECT page FROM raw.events UNION ALL SELECT title FROM raw.songs", "", "two inputs"),
        ("SELECT x FROM (SELECT page AS x FROM raw.events LIMIT 3) s", "", "LIMIT"),
        ("SELECT page FROM raw.events LIMIT 3", "", "LIMIT or OFFSET"),
        ("SELECT page FROM raw.events OFFSET 3", "", "LIMIT or OFFSET"),
        ("SELECT sum(ts) OVER (PARTITION BY page) AS s FROM raw.events", "sum(ts)", "the window function `sum`"),
        (
            "SELECT page FROM raw.events QUALIFY row_number() OVER (ORDER BY ts) = 1",
            "row_number() OVER (ORDER BY ts) = 1",
            "QUALIFY",
        ),
        ("SELECT page FROM raw.events HAVING true", "true", "HAVING"),
        ("SELECT DISTINCT ON (page) page, ts FROM raw.events", "SELECT", "DISTINCT"),
        ("SELECT page FROM raw.events EXCEPT SELECT title FROM staging.songs", "", "EXCEPT"),
        ("SELECT page FROM raw.events INTERSECT SELECT title FROM staging.songs", "", "INTERSECT"),
        ("SELECT uuid() AS id FROM raw.events", "uuid()", "another value"),
        ("SELECT page FROM raw.events WHERE random() < 0.5", "random()", "another value"),
        ("SELECT page FROM raw.events WHERE at < :execution_ts", ":execution_ts", "another value"),
        ("SELECT e.page, x.s FROM raw.events e, LATERAL (SELECT e.song AS s) x", "", "LATERAL"),
        (
            "WITH RECURSIVE c AS (SELECT page FROM raw.events UNION ALL SELECT page FROM c) SELECT page FROM c",
            "",
            "WITH RECURSIVE",
        ),
        (
            "SELECT 1 AS x FROM staging.songs s LEFT JOIN raw.events e ON true JOIN staging.songs t ON true",
            "staging.songs t",
            "second place",
        ),
        ("SELECT 1 AS x", "SELECT", "without FROM"),
        ("VALUES (1)", "", "no table"),
    ] {
        let (span, message) = driving(text).unwrap_err();
        assert!(message.contains(part), "{text}: {message}");
        assert!(place.is_empty() || span == place, "{text}: {span}");
    }
}
