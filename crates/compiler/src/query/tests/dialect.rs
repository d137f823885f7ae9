//! The dialect's own meanings, and the types that follow from them.

use super::*;

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[test]
fn parameters_become_placeholders_of_their_type() {
    let query = model("SELECT length, :n AS n, :DAY AS d, :run_id AS r FROM staging.events WHERE length>=:min_length");
    assert_eq!(query.params, ["day", "min_length", "n", "run_id"]);
    assert!(query.sql.contains(r#">= CAST($min_length AS DOUBLE)"#), "{}", query.sql);
    assert_eq!(column(&query, "n"), DataType::Int64);
    assert_eq!(column(&query, "d"), DataType::Date32);
    assert_eq!(column(&query, "r"), DataType::Utf8);
}

#[test]
fn colons_are_told_apart() {
    let query = model("SELECT :n::varchar AS a, tags[1:2] AS b, tags[1: :n] AS c FROM staging.events");
    assert_eq!(column(&query, "a"), DataType::Utf8);
    assert!(matches!(column(&query, "b"), DataType::List(_)), "{}", query.sql);
    assert_eq!(query.params, ["n"]);
}

#[test]
fn the_moment_of_the_run_is_a_parameter() {
    for text in ["now()", "current_timestamp", "CURRENT_TIMESTAMP()", ":execution_ts"] {
        let query = model(&format!("SELECT {text} AS t FROM staging.events"));
        assert_eq!(query.params, ["execution_ts"], "{text}");
        assert_eq!(column(&query, "t"), instant(), "{text}");
    }
    for text in ["current_date", "today()", "current_date()"] {
        let query = model(&format!("SELECT {text} AS t FROM staging.events"));
        assert_eq!(query.params, ["execution_ts"], "{text}");
        assert_eq!(column(&query, "t"), DataType::Date32, "{text}");
    }
}

#[test]
fn parameters_of_time_ranges_are_instants() {
    let query = model("SELECT :start_ts AS t FROM staging.events WHERE at < :End_Ts");
    assert_eq!(query.params, ["end_ts", "start_ts"]);
    assert_eq!(column(&query, "t"), column(&model("SELECT at AS t FROM staging.events"), "t"));
    let text = "SELECT :start_ts";
    let found = parse_query("q.sql", text, 0..text.len()).unwrap();
    let found = found.resolve_ad_hoc(&tables(), &functions(), &params()).unwrap_err().0;
    assert_eq!((found[0].code, &text[found[0].span.clone()]), ("parameter", ":start_ts"));
}

#[test]
fn division_is_double_but_for_decimals() {
    for (text, expected) in [
        ("1 / 2", DataType::Float64),
        ("sessionId / itemInSession", DataType::Float64),
        ("sum(sessionId) / count(*)", DataType::Float64),
        ("ts / 1000 / 60", DataType::Float64),
        ("length / 2", DataType::Float64),
        ("'7' / 2", DataType::Float64),
        ("price / length", DataType::Float64),
    ] {
        assert_eq!(column(&model(&format!("SELECT {text} AS x FROM staging.events")), "x"), expected, "{text}");
    }
    for text in ["price / 2", "price / price", "itemInSession / price", "avg(price) / 3"] {
        let column = column(&model(&format!("SELECT {text} AS x FROM staging.events")), "x");
        assert!(column.is_decimal(), "{text} is {column}");
    }
}

#[test]
fn a_division_in_group_by_is_the_one_of_the_select_list() {
    let query =
        sql("SELECT ts / 1000 AS s, count(*) AS n FROM staging.events GROUP BY TS / 1000 ORDER BY ts/1000 DESC");
    assert_eq!(query.matches(r#"CAST("staging"."events"."ts" AS DOUBLE) / 1000"#).count(), 3, "{query}");
}

#[test]
fn divisions_of_the_same_text_in_two_selects_have_types_of_their_own() {
    let query = sql("SELECT t.a / t.b AS x FROM (SELECT ts AS a, sessionId AS b FROM staging.events) t \
         UNION ALL SELECT t.a / t.b FROM (SELECT price AS a, price AS b FROM staging.events) t");
    assert_eq!(query.matches("CAST").count(), 1, "{query}");
}

#[test]
fn div_divides_integers() {
    let query = model("SELECT ts DIV 1000 AS s, 7 div 2 * 2 AS t FROM staging.events");
    assert_eq!(column(&query, "s"), DataType::Int64);
    assert_eq!(column(&query, "t"), DataType::Int64);
    assert!(!query.sql.contains("DOUBLE"), "{}", query.sql);
}

#[test]
fn nulls_are_last_unless_told() {
    let query = sql("SELECT array_agg(page ORDER BY ts, page DESC) AS pages, \
         row_number() OVER (ORDER BY userId DESC, max(ts) NULLS FIRST) AS r \
         FROM staging.events GROUP BY userId ORDER BY r DESC");
    assert_eq!(query.matches("NULLS LAST").count(), 4, "{query}");
    assert_eq!(query.matches("NULLS FIRST").count(), 1, "{query}");
}

#[test]
fn casts_name_types_as_tables_have_them() {
    let query = model(
        "SELECT CAST(page AS TIMESTAMP) AS a, try_cast(page AS timestamp) AS b, TIMESTAMP '2018-11-01 00:00:00' AS c, \
         CAST(ts AS STRING) AS d, page::BIGINT AS e, CAST(page AS BINARY) AS f, CAST(1 AS DECIMAL(5,2)) AS g, \
         DATE '2018-11-01' AS h FROM staging.events",
    );
    for (name, expected) in [
        ("a", instant()),
        ("b", instant()),
        ("c", instant()),
        ("d", DataType::Utf8),
        ("e", DataType::Int64),
        ("f", DataType::Binary),
        ("g", DataType::Decimal128(5, 2)),
        ("h", DataType::Date32),
    ] {
        assert_eq!(column(&query, name), expected, "{name}");
    }
}

#[test]
fn a_number_is_no_timestamp() {
    for text in ["CAST(ts AS TIMESTAMP)", "try_cast(length * 2 AS TIMESTAMP)", "(ts + 1)::timestamp"] {
        let found = codes(&format!("SELECT {text} AS t FROM staging.events WHERE page <> ''"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "epoch_cast", "{text}");
        assert!(["ts", "length"].contains(&found[0].1.as_str()), "{text}: {}", found[0].1);
    }
}

#[test]
fn a_date_has_no_hours() {
    for text in ["CAST(page AS DATE) + INTERVAL '5' HOUR", "CAST(page AS DATE) - INTERVAL '1 day 30 minutes'"] {
        let found = codes(&format!("SELECT {text} AS d FROM staging.events"));
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].0, "date_hours", "{text}");
    }
    model(
        "SELECT CAST(page AS DATE) + INTERVAL '1' MONTH AS a, CAST(page AS TIMESTAMP) + INTERVAL '5' HOUR AS b FROM staging.events",
    );
}

#[test]
fn an_escape_must_be_one_character_of_a_written_pattern() {
    for text in ["page LIKE song ESCAPE '!'", "page LIKE 'a!' ESCAPE '!'", "page LIKE 'a' ESCAPE 'ab'"] {
        assert_eq!(codes(&format!("SELECT {text} AS x FROM staging.events"))[0].0, "unsupported", "{text}");
    }
}

#[test]
fn distinct_on_and_qualify_are_planned() {
    sql("SELECT DISTINCT ON (userid) userid, page FROM staging.events ORDER BY userId, ts DESC, page");
    sql("SELECT page, song FROM staging.events QUALIFY row_number() OVER (PARTITION BY page ORDER BY ts, song) = 1");
}

#[test]
fn functions_that_give_another_value_each_time_are_for_ad_hoc_queries_only() {
    assert_eq!(codes("SELECT random() AS r FROM staging.events")[0].0, "volatile_function");
    compile_query("SELECT random()", &tables(), &functions(), &params()).unwrap();
}

#[test]
fn ad_hoc_queries_need_no_names() {
    let query =
        compile_query("select count( * ), 1 + 1 from STAGING.events", &tables(), &functions(), &params()).unwrap();
    let names: Vec<&str> = query.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["count(*)", "1 + 1"]);
}

#[test]
fn everything_but_a_query_is_refused_with_one_clear_message() {
    for (text, part) in [
        ("INSERT INTO staging.events SELECT 1", "written by models only"),
        ("update staging.events set a = 1", "written by models only"),
        ("WITH x AS (SELECT 1) INSERT INTO a.b SELECT * FROM x", "written by models only"),
        ("CREATE TABLE x (a INT)", "files of a job"),
        ("COPY staging.events TO 'x'", "written by models only"),
        ("SET x = 1", "no session settings"),
        ("EXPLAIN SELECT 1", "sql prompt"),
        ("FROM staging.events", "SELECT or WITH"),
        ("SELEC 1", "SELECT or WITH"),
        ("", "a query is missing"),
        ("-- nothing\n;", "a query is missing"),
        ("SELECT 1; SELECT 2", "another statement"),
    ] {
        let found = compile_query(text, &tables(), &functions(), &params()).unwrap_err().0;
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].message.contains(part), "{text}: {}", found[0]);
    }
}

#[test]
fn a_pick_among_equal_rows_is_warned_of() {
    let warned = |text: &str| resolve_all(text).unwrap().1.iter().filter(|warning| warning.code == "ties").count();
    assert_eq!(warned("SELECT row_number() OVER (PARTITION BY userId ORDER BY ts) AS r FROM staging.events"), 1);
    assert_eq!(warned("SELECT row_number() OVER (PARTITION BY userId ORDER BY ts, page) AS r FROM staging.events"), 0);
    assert_eq!(warned("SELECT row_number() OVER (PARTITION BY userId ORDER BY userId) AS r FROM staging.events"), 0);
    assert_eq!(warned("SELECT array_agg(page) AS p FROM staging.events"), 1);
    assert_eq!(warned("SELECT array_agg(page ORDER BY page) AS p, sum(length) AS s FROM staging.events"), 0);
}
