//! Which models may be computed by key, and what rows of their inputs say of it.

use super::*;

fn sides(text: &str, key: &[&str]) -> Result<Vec<String>, (String, String)> {
    sides_by(text, key, false)
}

fn sides_by(text: &str, key: &[&str], is_time: bool) -> Result<Vec<String>, (String, String)> {
    let query = parse_query("m.sql", text, 0..text.len()).unwrap();
    let key: Vec<String> = key.iter().map(|column| (*column).to_owned()).collect();
    match query.sides(("KIND", &key, is_time), &tables(), &functions(), &params()) {
        Ok(sides) => Ok(sides
            .into_iter()
            .flat_map(|(table, sides)| sides.into_iter().map(move |side| side.rows_of(&table.to_string())))
            .collect()),
        Err(refused) => Err((text[refused.span.clone()].to_owned(), refused.message)),
    }
}

#[test]
fn a_key_is_followed_to_the_tables_that_tell_it() {
    for (text, key, expected) in [
        (
            "SELECT userId AS id, level FROM staging.events",
            "id",
            vec!["SELECT \"userId\" AS \"k0\" FROM staging.events"],
        ),
        (
            "SELECT userId, count(*) AS n FROM staging.events WHERE page = 'NextSong' AND ts > 5 GROUP BY userId",
            "userId",
            vec!["SELECT \"userId\" AS \"k0\" FROM staging.events WHERE (\"page\" = 'NextSong') AND (\"ts\" > 5)"],
        ),
        (
            "WITH r AS (SELECT userId, level, row_number() OVER (PARTITION BY userId ORDER BY ts DESC) AS n \
             FROM staging.events WHERE userId <> '') SELECT userId AS user_id, level FROM r WHERE n = 1",
            "user_id",
            vec!["SELECT \"userId\" AS \"k0\" FROM staging.events WHERE (\"userId\" <> '')"],
        ),
        (
            "SELECT DISTINCT upper(userId) AS u FROM staging.events",
            "u",
            vec!["SELECT upper(\"userId\") AS \"k0\" FROM staging.events"],
        ),
        (
            "SELECT e.userId AS id, u.gender FROM staging.events e LEFT JOIN curated.users u ON u.userId = e.userId",
            "id",
            vec!["SELECT \"USERID\" AS \"k0\" FROM curated.users", "SELECT \"userId\" AS \"k0\" FROM staging.events"],
        ),
        (
            "SELECT e.userId AS id, s.title FROM staging.events e LEFT JOIN staging.songs s ON s.title = e.song",
            "id",
            vec!["SELECT \"userId\" AS \"k0\" FROM staging.events"],
        ),
        (
            "SELECT u.userId AS id, count(e.page) AS n FROM curated.users u, staging.events e WHERE e.userId = u.userId \
             GROUP BY u.userId HAVING count(e.page) > 1",
            "id",
            vec!["SELECT \"USERID\" AS \"k0\" FROM curated.users", "SELECT \"userId\" AS \"k0\" FROM staging.events"],
        ),
        (
            "SELECT userId AS id FROM staging.events UNION ALL SELECT userId FROM curated.users WHERE level = 'paid'",
            "id",
            vec![
                "SELECT \"USERID\" AS \"k0\" FROM curated.users WHERE (\"level\" = 'paid')",
                "SELECT \"userId\" AS \"k0\" FROM staging.events",
            ],
        ),
        (
            "SELECT userId AS id FROM staging.events EXCEPT SELECT userId FROM curated.users",
            "id",
            vec!["SELECT \"USERID\" AS \"k0\" FROM curated.users", "SELECT \"userId\" AS \"k0\" FROM staging.events"],
        ),
        (
            "SELECT e.userId AS id FROM staging.events e WHERE EXISTS (SELECT 1 FROM curated.users u WHERE u.userId = e.userId)",
            "id",
            vec!["SELECT \"userId\" AS \"k0\" FROM staging.events"],
        ),
        (
            "SELECT CAST(userId AS BIGINT) AS id FROM staging.events WHERE length >= :min_length",
            "id",
            vec!["SELECT TRY_CAST(\"userId\" AS BIGINT) AS \"k0\" FROM staging.events WHERE"],
        ),
    ] {
        let found = sides(text, &[key]).unwrap_or_else(|(place, message)| panic!("{text}\n{message}\n{place}"));
        assert_eq!(found.len(), expected.len(), "{text}\n{found:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.starts_with(expected), "{text}\n{found}\n{expected}");
        }
    }
}

#[test]
fn a_key_of_plays_that_are_numbered_joined_and_ranked_is_followed() {
    let text = "WITH plays AS (SELECT *, userId AS who, date_trunc('month', at) AS month FROM staging.events WHERE page = 'NextSong'),\n\
                ranked AS (SELECT *, row_number() OVER (PARTITION BY month, ts, song ORDER BY sessionId) AS n FROM plays),\n\
                songs AS (SELECT title, song_id, row_number() OVER (PARTITION BY title ORDER BY song_id) AS r FROM staging.songs)\n\
                SELECT p.who, p.month, s.song_id FROM ranked p LEFT JOIN songs s ON s.title = p.song AND s.r = 1 WHERE p.n = 1";
    let found = sides(text, &["month"]).unwrap();
    let expected = "SELECT date_trunc('month', \"at\") AS \"k0\" FROM staging.events WHERE (\"page\" = 'NextSong')";
    assert_eq!(found, [expected]);
    let (place, message) = sides(text, &["who"]).unwrap_err();
    assert!(message.contains("PARTITION BY does not hold the key `who`"), "{message}");
    assert!(place.starts_with("row_number"), "{place}");
}

/// Queries, their keys, the place that is named, and a part of what is said of it.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("SELECT count(*) AS n FROM staging.events", "n", "", "without GROUP BY"),
    ("SELECT userId, count(*) AS n FROM staging.events GROUP BY userId", "n", "userId", "does not hold the key `n`"),
    (
        "SELECT userId, row_number() OVER (ORDER BY ts) AS n FROM staging.events",
        "userId",
        "row_number()",
        "PARTITION BY does not hold the key `userId`",
    ),
    (
        "SELECT row_number() OVER (PARTITION BY userId ORDER BY ts) AS n FROM staging.events",
        "n",
        "row_number()",
        "gives the key `n`",
    ),
    ("SELECT userId AS id FROM (SELECT userId FROM staging.events LIMIT 3) x", "id", "", "LIMIT"),
    (
        "SELECT u.userId AS id FROM staging.events e LEFT JOIN curated.users u ON u.userId = e.userId",
        "id",
        "curated.users u",
        "may leave out the side of the key `id`",
    ),
    (
        "SELECT e.userId AS id FROM staging.events e FULL JOIN curated.users u ON u.userId = e.userId",
        "id",
        "curated.users u",
        "FULL JOIN",
    ),
    (
        "SELECT concat(e.userId, s.title) AS id FROM staging.events e JOIN staging.songs s ON s.duration = e.length",
        "id",
        "staging.songs s",
        "a JOIN of which no side has all of the key",
    ),
    (
        "SELECT e.userId AS id FROM staging.events e JOIN staging.events f ON f.song = e.song",
        "id",
        "staging.events f",
        "`staging.events` in a second place",
    ),
    ("SELECT (SELECT max(level) FROM curated.users) AS id FROM staging.events", "id", "", "a subquery"),
    ("SELECT userId, :run_id AS r FROM staging.events", "userId", ":run_id", "another value in each run"),
    ("SELECT userId, now() AS r FROM staging.events", "userId", "now()", "another value in each run"),
    ("SELECT userId, random() AS r FROM staging.events", "userId", "random", "another value"),
    ("SELECT userId FROM staging.events WHERE at < :execution_ts", "userId", ":execution_ts", "another value"),
    ("SELECT userId AS id FROM staging.events OFFSET 2", "id", "", "LIMIT or OFFSET"),
    ("SELECT userId, count(*) AS n FROM staging.events GROUP BY ROLLUP (userId)", "userId", "", "ROLLUP"),
    ("SELECT DISTINCT ON (page) page, userId FROM staging.events", "userId", "", "DISTINCT ON"),
    ("SELECT unnest(tags) AS tag FROM staging.events", "tag", "", "`unnest`, which gives the key"),
    (
        "WITH RECURSIVE c AS (SELECT userId FROM staging.events UNION ALL SELECT userId FROM c) SELECT userId FROM c",
        "userId",
        "",
        "WITH RECURSIVE",
    ),
    (
        "SELECT u.userId AS id FROM curated.users u RIGHT JOIN staging.events e ON u.userId = e.userId",
        "id",
        "staging.events e",
        "may leave out the side of the key `id`",
    ),
    ("SELECT 1 AS x", "x", "", "no table"),
    (
        "SELECT itemInSession AS id FROM staging.events UNION ALL SELECT ts FROM staging.events",
        "id",
        "",
        "another type",
    ),
];

#[test]
fn the_part_that_a_key_does_not_come_through_is_named() {
    for (text, key, place, part) in REFUSED {
        let (span, message) = sides(text, &[key]).expect_err(text);
        assert!(message.contains(part), "{text}: {message}");
        assert!(place.is_empty() || span == *place, "{text}: {span}");
    }
}

#[test]
fn a_time_range_is_asked_for_by_half_open_bounds_of_the_time_alone() {
    let by_time = |condition: &str| {
        sides_by(&format!("SELECT at AS t, page FROM staging.events WHERE {condition}"), &["t"], true)
    };
    for condition in ["at >= :start_ts AND at < :end_ts", ":end_ts > at AND page = 'a'", "page = 'a'"] {
        let found = by_time(condition).unwrap_or_else(|(_, message)| panic!("{condition}: {message}"));
        assert!(!found[0].contains("_ts"), "{found:?}");
    }
    for condition in
        ["at > :start_ts", "at BETWEEN :start_ts AND :end_ts", "at < :start_ts", "page = 'a' OR at < :end_ts"]
    {
        let (place, message) = by_time(condition).expect_err(condition);
        assert!(message.contains("other than in"), "{message}");
        assert!(place.contains("_ts"), "{place}");
    }
}
