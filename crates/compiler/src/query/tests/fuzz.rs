//! No text makes the compiler panic, hang or overflow the stack.

use proptest::prelude::*;

use super::*;

const SEEDS: [&str; 6] = [
    "WITH plays AS (SELECT level, count(*) AS plays, count(DISTINCT userId) AS listeners FROM staging.events GROUP BY level) \
     SELECT level, round(plays / listeners, 1) AS ratio, sum(plays) OVER () AS total FROM plays ORDER BY level",
    "SELECT e.userId, s.song_id, :min_length AS m, tags[1:2] AS t, e.info.geo.lat FROM staging.events e \
     LEFT JOIN staging.songs s ON s.title = e.song AND s.duration = e.length WHERE e.page = 'NextSong' AND ts div 2 > :n",
    "SELECT * EXCLUDE (title) FROM staging.songs WHERE year BETWEEN 1 AND 2 OR title LIKE '%é🦀%' LIMIT 3 OFFSET :n",
    "SELECT DISTINCT ON (userid) userid, CAST(ts AS TIMESTAMP), now() FROM staging.events ORDER BY userid, ts DESC NULLS FIRST",
    "WITH RECURSIVE d (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM d WHERE n < 9) SELECT n FROM d JOIN curated.users USING (x)",
    "SELECT CASE WHEN page IN ('a', 'b') THEN INTERVAL '1 day' END, EXISTS (SELECT 1 FROM staging.songs), \
     array_agg(page ORDER BY ts) FILTER (WHERE length > 1.5e3) FROM staging.events GROUP BY ROLLUP (page), ()",
];

const TOKENS: [&str; 40] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ":",
    "::",
    ".",
    "*",
    "/",
    "'",
    "\"",
    "`",
    "--",
    "/*",
    "$",
    "@",
    "?",
    "\\",
    "\u{0}",
    "é",
    "🦀",
    "SELECT",
    "FROM",
    "WHERE",
    "UNION",
    "WITH",
    "JOIN",
    "CASE",
    "INTERVAL",
    "CAST",
    "OVER",
    "NOT",
    "NULL",
    "99999999999999999999",
    "1e999",
    "LATERAL",
];

/// One change of a text, by characters.
fn mutate(text: &str, (kind, at, other): (u8, usize, usize)) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = at % chars.len().max(1);
    let other = other % chars.len().max(1);
    let (low, high) = (at.min(other), at.max(other));
    match kind % 5 {
        0 => {
            chars.drain(low..high.min(low + 12));
        }
        1 => {
            let piece: Vec<char> = chars[low..high.min(low + 40)].to_vec();
            chars.splice(low..low, piece);
        }
        2 => {
            chars.splice(at..at, TOKENS[other % TOKENS.len()].chars());
        }
        3 => {
            chars.splice(at..(at + 1).min(chars.len()), TOKENS[other % TOKENS.len()].chars());
        }
        _ => {
            if !chars.is_empty() {
                chars.swap(at, other);
            }
        }
    }
    chars.into_iter().collect()
}

fn try_everything(text: &str, state: &SessionState) {
    let Ok(query) = parse_query("m.sql", text, 0..text.len()) else { return };
    query.reads();
    query.invalid_tables();
    let _ = query.driving_input(state);
    let (tables, params) = (tables(), params());
    if let Err(errors) = query.resolve(&tables, state, &params) {
        assert!(!errors.0.is_empty());
        for error in errors.0 {
            assert!(text.get(error.span.clone()).is_some(), "{error:?}");
            assert!(error.line > 0 && error.column > 0);
        }
    }
    let _ = query.resolve_ad_hoc(&tables, state, &params);
}

#[test]
fn mutated_queries_never_panic() {
    let state = functions();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let mutations = proptest::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 1..5);
    let result = runner.run(&(0..SEEDS.len(), mutations), |(seed, mutations)| {
        let text = mutations.into_iter().fold(SEEDS[seed].to_owned(), |text, mutation| mutate(&text, mutation));
        try_everything(&text, &state);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn any_range_of_any_text_is_taken() {
    let text = "é SELECT page FROM staging.events 🦀";
    for start in 0..text.len() + 2 {
        for end in 0..text.len() + 2 {
            let _ = parse_query("m.sql", text, start..end);
        }
    }
}

#[test]
fn deep_and_long_queries_end_without_overflowing_the_stack() {
    let state = functions();
    for text in [
        format!("SELECT {}1{} AS x FROM staging.events", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT {} AS x FROM staging.events", "(".repeat(45)),
        format!("SELECT 1 AS x FROM {}staging.events{}", "(".repeat(40), ")".repeat(40)),
        format!("SELECT 1 AS x FROM {}staging.events", "(".repeat(30)),
        format!("SELECT {} AS x", "interval ".repeat(40)),
        format!("SELECT {} AS x", "case ".repeat(40)),
        format!("SELECT {} AS x", "not ".repeat(3000)),
        format!("SELECT {} AS x", "f(".repeat(40)),
        format!("SELECT 1{} AS x FROM staging.events", " + 1".repeat(20_000)),
        format!("SELECT page FROM staging.events WHERE {}", "page = 'a' OR ".repeat(240) + "true"),
        format!("SELECT 1 AS x{}", " UNION ALL SELECT 1".repeat(5000)),
        format!("SELECT 1 AS x FROM staging.events{}", " JOIN staging.songs ON true".repeat(3000)),
        format!("SELECT {} AS x", "array<".repeat(2000)),
        format!("SELECT CAST(1 AS {}INT{}) AS x", "ARRAY<".repeat(40), ">".repeat(40)),
        format!("SELECT a{} AS x FROM staging.events", ".b".repeat(5000)),
        format!("SELECT a{} AS x FROM staging.events", "[1]".repeat(5000)),
    ] {
        try_everything(&text, &state);
    }
}
