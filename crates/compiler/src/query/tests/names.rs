//! What identifiers mean.

use super::*;

#[test]
fn case_layout_and_comments_do_not_change_canonical_sql() {
    let plain = sql("SELECT userId, page FROM staging.events WHERE page = 'NextSong'");
    for other in [
        "select USERID, Page from STAGING.Events where PAGE = 'NextSong'",
        "SELECT\n  -- who\n  userid,\n  page\nFROM staging . events /* all */\nWHERE page = 'NextSong';",
        "SELECT \"userid\", `PAGE` FROM \"staging\".\"events\" WHERE page = 'NextSong'",
        "SELECT events.userId, staging.events.page FROM staging.events WHERE events.page = 'NextSong'",
    ] {
        assert_eq!(sql(other), plain, "{other}");
    }
    let spelt = r#"SELECT "staging"."events"."userId", "staging"."events"."page" FROM "staging"."events""#;
    assert!(plain.starts_with(spelt), "{plain}");
}

#[test]
fn a_star_gives_declared_spellings_in_order() {
    let query = model("SELECT * FROM staging.songs");
    let names: Vec<&str> = query.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["song_id", "Title", "artist_name", "duration", "year"]);
}

#[test]
fn options_of_a_star_take_names_in_any_case() {
    let names =
        |text: &str| -> Vec<String> { model(text).schema.fields().iter().map(|field| field.name().clone()).collect() };
    assert_eq!(names("SELECT * EXCLUDE (TITLE, year) FROM staging.songs"), ["song_id", "artist_name", "duration"]);
    assert_eq!(names("SELECT * EXCEPT (Song_Id, title) FROM staging.songs"), ["artist_name", "duration", "year"]);
    assert_eq!(
        names("SELECT s.* RENAME (title AS name) FROM staging.songs s"),
        ["song_id", "name", "artist_name", "duration", "year"]
    );
    let replaced = model("SELECT * REPLACE (upper(title) AS TITLE) FROM staging.songs");
    assert!(replaced.sql.contains(r#"upper("staging"."songs"."Title") AS "Title""#), "{}", replaced.sql);
    assert_eq!(codes("SELECT * EXCLUDE (titel) FROM staging.songs"), [("unknown_column", "titel".to_owned())]);
}

#[test]
fn aliases_keep_the_spelling_of_the_query() {
    let query = model("SELECT userid AS UserKey FROM staging.events ORDER BY USERKEY");
    assert_eq!(query.schema.field(0).name(), "UserKey");
    assert!(query.sql.ends_with(r#"ORDER BY "UserKey" NULLS LAST"#), "{}", query.sql);
}

#[test]
fn an_exact_spelling_wins_and_two_of_another_case_are_ambiguous() {
    let text = "WITH t AS (SELECT page AS \"Id\", song AS \"ID\" FROM staging.events) SELECT {} AS x FROM t";
    assert!(sql(&text.replace("{}", "\"ID\"")).contains(r#""t"."ID" AS "x""#));
    assert_eq!(codes(&text.replace("{}", "id")), [("ambiguous_column", "id".to_owned())]);
}

#[test]
fn what_two_tables_have_is_ambiguous_unless_it_is_qualified() {
    let from = "FROM staging.events e JOIN curated.users u ON e.userId = u.userId";
    assert_eq!(codes(&format!("SELECT level {from}")), [("ambiguous_column", "level".to_owned())]);
    assert!(sql(&format!("SELECT E.LEVEL {from}")).starts_with(r#"SELECT "e"."level""#));
}

#[test]
fn join_using_finds_columns_of_different_spelling_and_merges_them() {
    let query = model("SELECT userid, gender FROM staging.events JOIN curated.users USING (UserId)");
    assert!(query.sql.contains(r#"ON "staging"."events"."userId" = "curated"."users"."USERID""#), "{}", query.sql);
    assert_eq!(query.schema.field(0).name(), "userId");
    let all = model("SELECT * FROM curated.users NATURAL JOIN (SELECT userId, length FROM staging.events)");
    let names: Vec<&str> = all.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["USERID", "gender", "level", "length"]);
    let full = sql("SELECT userid FROM staging.events FULL JOIN curated.users USING (userid)");
    assert!(
        full.contains(r#"coalesce("staging"."events"."userId", "curated"."users"."USERID") AS "userId""#),
        "{full}"
    );
}

#[test]
fn fields_of_structs_are_found_in_any_case_and_name_their_column() {
    let query = model("SELECT info.city, e.INFO.GEO.lat, tags[1] AS tag FROM staging.events e");
    assert_eq!(query.schema.field(0).name(), "City");
    assert_eq!(query.schema.field(1).name(), "Lat");
    assert_eq!(column(&query, "tag"), DataType::Utf8);
    assert_eq!(codes("SELECT info.town FROM staging.events"), [("unknown_field", "town".to_owned())]);
    assert_eq!(codes("SELECT page.x FROM staging.events"), [("unknown_field", "x".to_owned())]);
}

#[test]
fn with_queries_and_subqueries_have_scopes_of_their_own() {
    let text = "WITH Plays AS (SELECT userId AS u, count(*) AS N FROM staging.events GROUP BY userid)
        SELECT p.U, n FROM plays P WHERE EXISTS (SELECT 1 FROM curated.users WHERE UserId = p.u AND level = 'paid')";
    let query = model(text);
    assert!(query.sql.contains(r#""curated"."users"."USERID" = "P"."u""#), "{}", query.sql);
    assert_eq!(query.reads.len(), 2);
    assert_eq!(codes("SELECT x.page FROM (SELECT page FROM staging.events) x WHERE events.page = ''")[0].1, "events");
}

#[test]
fn a_recursive_query_sees_itself() {
    let query =
        model("WITH RECURSIVE days (d) AS (SELECT 1 UNION ALL SELECT D + 1 FROM Days WHERE d < 10) SELECT d FROM DAYS");
    assert_eq!(column(&query, "d"), DataType::Int64);
}

#[test]
fn a_lateral_subquery_sees_what_stands_before_it() {
    let query = model(
        "SELECT u.userid, x.n FROM curated.users u CROSS JOIN LATERAL \
         (SELECT count(*) AS n FROM staging.events e WHERE e.userid = u.UserId) x",
    );
    assert!(query.sql.contains(r#""e"."userId" = "u"."USERID""#), "{}", query.sql);
}

#[test]
fn unnest_gives_rows_in_the_select_list_and_in_from() {
    assert_eq!(column(&model("SELECT userid, unnest(TAGS) AS tag FROM staging.events"), "tag"), DataType::Utf8);
    let query = model("SELECT t.x FROM UNNEST([1, 2]) AS t (X)");
    assert_eq!(column(&query, "X"), DataType::Int64);
}

#[test]
fn group_by_and_having_prefer_columns_and_order_by_prefers_outputs() {
    let query =
        sql("SELECT upper(page) AS page, count(*) AS n FROM staging.events GROUP BY PAGE HAVING N > 1 ORDER BY Page");
    assert!(query.contains(r#"GROUP BY "staging"."events"."page""#), "{query}");
    assert!(query.contains(r#"HAVING "n" > 1"#), "{query}");
    assert!(query.ends_with(r#"ORDER BY "page" NULLS LAST"#), "{query}");
}

#[test]
fn named_windows_are_written_out() {
    let query = sql("SELECT row_number() OVER W AS r, sum(length) OVER (w ROWS 1 PRECEDING) AS s FROM staging.events \
         WINDOW w AS (PARTITION BY userid ORDER BY ts, page)");
    assert!(!query.contains("WINDOW"), "{query}");
    assert_eq!(query.matches(r#"PARTITION BY "staging"."events"."userId""#).count(), 2, "{query}");
    let unknown = codes("SELECT row_number() OVER v AS r FROM staging.events WINDOW w AS (ORDER BY ts)");
    assert_eq!(unknown, [("unknown_window", "v".to_owned())]);
}

#[test]
fn a_set_operation_is_ordered_by_the_names_of_its_first_part() {
    let query =
        sql("SELECT userId AS u FROM staging.events UNION SELECT userid FROM curated.users ORDER BY U DESC LIMIT 3");
    assert!(query.ends_with(r#"ORDER BY "u" DESC NULLS LAST LIMIT 3"#), "{query}");
}

#[test]
fn reads_names_tables_but_no_with_query_alias_or_function() {
    let text = "WITH c AS (SELECT * FROM Staging.Songs) SELECT * FROM c JOIN staging.events e ON true \
                WHERE e.userId IN (SELECT userid FROM curated.users) AND EXISTS (SELECT 1 FROM e, c)";
    let query = parse_query("m.sql", text, 0..text.len()).unwrap();
    let reads: Vec<(String, &str)> = query.reads().into_iter().map(|(t, span)| (t.to_string(), &text[span])).collect();
    assert_eq!(
        reads,
        [
            ("staging.songs".to_owned(), "Staging.Songs"),
            ("staging.events".to_owned(), "staging.events"),
            ("curated.users".to_owned(), "curated.users"),
        ]
    );
    let invalid: Vec<&str> = query.invalid_tables().iter().map(|error| &text[error.span.clone()]).collect();
    assert_eq!(invalid, ["e"]);
}

#[test]
fn spans_count_bytes_of_the_whole_file() {
    let text = "MODEL (kind FULL); -- é\nSELECT pgae FROM staging.events";
    let start = text.find("SELECT").unwrap();
    let query = parse_query("m.sql", text, start..text.len()).unwrap();
    let errors = query.resolve(&tables(), &functions(), &params()).unwrap_err().0;
    assert_eq!((&text[errors[0].span.clone()], errors[0].line, errors[0].column), ("pgae", 2, 8));
}
