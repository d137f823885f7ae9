//! Which keys follow from a query, whatever its tables hold.

use super::*;

/// Whether no two rows of the query's output are proven to share the columns of `key`.
fn is_unique(text: &str, key: &str) -> bool {
    let query = parse_query("m.sql", text, 0..text.len()).unwrap();
    let key: Vec<String> = key.split(", ").map(str::to_owned).collect();
    query.resolve(&tables(), &functions(), &params()).unwrap_or_else(|failed| panic!("{text}\n{failed}"));
    query.unique_keys(&[&key], &tables(), &functions(), &params()) == [true]
}

#[track_caller]
fn assert_keys(cases: &[(&str, &str)], expected: bool) {
    let wrong: Vec<_> = cases.iter().filter(|(text, key)| is_unique(text, key) != expected).collect();
    assert!(wrong.is_empty(), "expected {expected}: {wrong:#?}");
}

const LATEST: &str = "WITH r AS (SELECT userId, level, ts, row_number() OVER (PARTITION BY userId ORDER BY ts DESC) AS n \
                      FROM staging.events WHERE userId <> '')";

#[test]
fn keys_follow_from_what_tells_rows_apart() {
    assert_keys(
        &[
            ("SELECT DISTINCT userId, level FROM staging.events", "userId, level"),
            ("SELECT DISTINCT upper(userId) AS u FROM staging.events", "u"),
            ("SELECT u, length(u) AS l FROM (SELECT DISTINCT upper(userId) AS u FROM staging.events) AS d", "u"),
            ("SELECT userId, count(*) AS n FROM staging.events GROUP BY userId", "userId"),
            ("SELECT userId, page, max(ts) AS ts FROM staging.events GROUP BY userId, page", "page, userId"),
            ("SELECT userId AS id, page FROM staging.events GROUP BY userId, page HAVING count(*) > 1", "page, id"),
            ("SELECT max(ts) AS ts FROM staging.events", "ts"),
            ("SELECT row_number() OVER (ORDER BY ts) AS id, page FROM staging.events", "id"),
            (
                "SELECT userId, row_number() OVER (PARTITION BY userId ORDER BY ts) AS n FROM staging.events",
                "n, userId",
            ),
            ("SELECT DISTINCT userId FROM staging.events UNION SELECT USERID FROM curated.users", "userId"),
        ],
        true,
    );
    for (select, key) in [
        ("SELECT userId AS id, level FROM r WHERE n = 1", "id"),
        ("SELECT userId, level FROM r WHERE 1 = n AND level = 'paid' ORDER BY ts", "userId"),
        ("SELECT userId, level FROM r WHERE n = 2 LIMIT 10", "userId"),
        ("SELECT r.userId FROM r LEFT SEMI JOIN curated.users u ON u.userId = r.userId WHERE r.n = 1", "userId"),
    ] {
        assert!(is_unique(&format!("{LATEST} {select}"), key), "{select}");
    }
}

#[test]
fn joins_keep_keys_where_a_row_meets_one_row() {
    let ids = "WITH e AS (SELECT DISTINCT userId FROM staging.events), \
               u AS (SELECT userId, max(gender) AS gender FROM curated.users GROUP BY userId), \
               n AS (SELECT userId, level, row_number() OVER (PARTITION BY userId ORDER BY level) AS n FROM curated.users)";
    for (select, key) in [
        ("SELECT e.userId, u.gender FROM e LEFT JOIN u ON u.userId = e.userId", "userId"),
        ("SELECT u.userId AS id, u.gender FROM e JOIN u ON u.userId = e.userId", "id"),
        ("SELECT e.userId, n.level FROM e LEFT JOIN n ON n.userId = e.userId AND n.n = 1", "userId"),
        ("SELECT e.userId, n.level FROM e JOIN n ON n.userId = e.userId WHERE n.n = 1", "userId"),
        ("SELECT e.userId AS a, u.userId AS b FROM e JOIN u ON e.userId <> u.userId", "a, b"),
        ("SELECT e.userId AS a, u.userId AS b FROM e RIGHT JOIN u ON e.userId = u.userId", "b"),
        ("SELECT e.userId FROM e LEFT ANTI JOIN curated.users x ON x.userId = e.userId", "userId"),
        ("SELECT e.userId FROM e, u WHERE e.userId = u.userId", "userId"),
    ] {
        assert!(is_unique(&format!("{ids} {select}"), key), "{select}");
    }
    for (select, key) in [
        ("SELECT e.userId, x.level FROM e LEFT JOIN curated.users x ON x.userId = e.userId", "userId"),
        ("SELECT e.userId, n.level FROM e LEFT JOIN n ON n.userId = e.userId", "userId"),
        ("SELECT e.userId, u.gender FROM e LEFT JOIN u ON u.gender = e.userId", "userId"),
        ("SELECT e.userId AS a, u.userId AS b FROM e RIGHT JOIN u ON e.userId = u.userId", "a"),
        ("SELECT e.userId AS a, u.userId AS b FROM e FULL JOIN u ON e.userId = u.userId", "a"),
        ("SELECT e.userId FROM e JOIN u ON true", "userId"),
        // One row of `e` meets those of 1, 01 and 001.
        ("SELECT s.id FROM (SELECT DISTINCT sessionId AS id FROM staging.events) s JOIN e ON s.id = e.userId", "id"),
    ] {
        assert!(!is_unique(&format!("{ids} {select}"), key), "{select}");
    }
}

#[test]
fn what_is_not_known_to_tell_rows_apart_proves_nothing() {
    assert_keys(
        &[
            ("SELECT userId FROM staging.events", "userId"),
            ("SELECT DISTINCT userId, level FROM staging.events", "userId"),
            ("SELECT upper(u) AS u FROM (SELECT DISTINCT userId AS u FROM staging.events) AS d", "u"),
            ("SELECT userId, page, count(*) AS n FROM staging.events GROUP BY userId, page", "userId"),
            ("SELECT userId, page FROM staging.events GROUP BY GROUPING SETS ((userId), (page))", "userId, page"),
            ("SELECT userId, count(*) AS n FROM staging.events GROUP BY userId", "n"),
            ("SELECT userId, rank() OVER (PARTITION BY userId ORDER BY ts) AS n FROM staging.events", "n, userId"),
            (
                "SELECT userId FROM (SELECT DISTINCT userId FROM staging.events) UNION ALL SELECT userId FROM curated.users",
                "userId",
            ),
            (
                "SELECT u, unnest(p) AS p FROM (SELECT userId AS u, array_agg(page) AS p FROM staging.events GROUP BY userId)",
                "u",
            ),
            // 0.0 equals -0.0, which may be two.
            ("SELECT DISTINCT length FROM staging.events", "length"),
            ("SELECT length, count(*) AS n FROM staging.events GROUP BY length", "length"),
            (
                "SELECT userId, row_number() OVER (PARTITION BY userId, length ORDER BY ts) AS n FROM staging.events",
                "n, userId",
            ),
        ],
        false,
    );
    for (select, key) in [
        ("SELECT userId, level FROM r", "userId"),
        ("SELECT userId, level FROM r WHERE n <= 2", "userId"),
        ("SELECT userId, level FROM r WHERE n = 1 OR level = 'paid'", "userId"),
        ("SELECT level FROM r WHERE n = 1", "level"),
        ("SELECT userId, level FROM r WHERE n = ts", "userId"),
        ("SELECT CAST(n AS VARCHAR) AS t, userId FROM r WHERE CAST(n AS VARCHAR) = 1", "userId"),
        ("SELECT r.userId, x.gender FROM r LEFT JOIN curated.users x ON x.userId = r.userId WHERE r.n = 1", "userId"),
    ] {
        assert!(!is_unique(&format!("{LATEST} {select}"), key), "{select}");
    }
}
