//! What is said about queries that are wrong.

use super::*;

/// One line per finding: place, text at the place, message, help.
fn rendered(text: &str) -> String {
    let errors = match parse_query("m.sql", text, 0..text.len()) {
        Ok(query) => match query.resolve(&tables(), &functions(), &params()) {
            Ok((query, _)) => return format!("{text}\n  accepted as {}\n", query.sql),
            Err(errors) => errors.0,
        },
        Err(errors) => errors.0,
    };
    let lines = errors.iter().map(|error| {
        let help = error.help.as_ref().map(|help| format!("\n      {help}")).unwrap_or_default();
        format!(
            "  {}:{} [{}] `{}`: {}{help}\n",
            error.line,
            error.column,
            error.code,
            &text[error.span.clone()],
            error.message
        )
    });
    format!("{text}\n{}", lines.collect::<String>())
}

#[test]
fn unknown_names_are_all_found_with_a_suggestion() {
    let texts = [
        "SELECT user_id, pgae, e.lenght, x.page FROM staging.events e WHERE :min_len > 1 AND uper(page) = 'X'",
        "SELECT page FROM staging.event",
        "SELECT page FROM events",
        "SELECT page FROM lake.staging.events",
        "SELECT page FROM nothing_like_it",
        "WITH plays AS (SELECT page FROM staging.events) SELECT page FROM play",
        "SELECT e.page FROM staging.events JOIN curated.users u ON e.userId = u.userid",
        "SELECT page FROM staging.events WHERE userId IN (SELECT user FROM curated.users WHERE gendr = 'F')",
        "SELECT page FROM staging.events ORDER BY pages",
        "SELECT length * 2 AS twice, twice + 1 AS more FROM staging.events",
        "SELECT page FROM staging.events e, staging.songs e",
        "SELECT row_number() AS r FROM staging.events",
        "SELECT page FROM staging.events JOIN staging.songs USING (title)",
        "SELECT CAST(page AS STRNG) AS x FROM staging.events",
    ];
    insta::assert_snapshot!(texts.map(rendered).join("\n"));
}

#[test]
fn type_errors_are_placed_and_said_in_plain_words() {
    let texts = [
        "SELECT page FROM staging.events WHERE page + 1 > INTERVAL '1 day'",
        "SELECT upper(page, song) AS x FROM staging.events",
        "SELECT userId, sqrt(info) AS x FROM staging.events",
        "SELECT page, length FROM staging.events WHERE at > tags",
        "SELECT userId, count(*) AS n FROM staging.events",
        "SELECT page FROM staging.events WHERE count(*) > 1",
        "SELECT info / 2 AS x FROM staging.events",
        "SELECT date_trunc('day') AS d FROM staging.events",
        "SELECT page FROM staging.events UNION ALL SELECT title, year FROM staging.songs",
        "SELECT page FROM staging.events WHERE length",
        "SELECT CASE WHEN page = 'a' THEN tags ELSE at END AS x FROM staging.events",
        "SELECT sum(page) AS s FROM staging.events GROUP BY userId",
        "SELECT e.page FROM staging.events e JOIN staging.songs s ON e.tags = s.year",
    ];
    insta::assert_snapshot!(texts.map(rendered).join("\n"));
}

#[test]
fn output_columns_need_names_that_a_table_can_have() {
    let texts = [
        "SELECT count(DISTINCT userId), length * 2 FROM staging.events",
        "SELECT page, song AS \"PAGE\" FROM staging.events",
        "SELECT page AS \"my page\", song AS \"a=b\" FROM staging.events",
        "SELECT e.*, u.level FROM staging.events e JOIN curated.users u ON true",
    ];
    insta::assert_snapshot!(texts.map(rendered).join("\n"));
}

#[test]
fn syntax_errors_stand_where_they_are() {
    let texts = [
        "SELECT page,, song FROM staging.events",
        "SELECT page FROM staging.events WHERE",
        "SELECT page FROM staging.events WHERE (page = 'a'",
        "SELECT 'open FROM staging.events",
        "SELECT page FROM staging.events GROUP page",
        "SELECT page song artist FROM staging.events",
        "SELECT $1 AS a, ? AS b FROM staging.events",
        "SELECT page FROM staging.events FETCH FIRST 1 ROW ONLY",
        "SELECT x FROM generate_series(1, 3) AS t (x)",
    ];
    insta::assert_snapshot!(texts.map(rendered).join("\n"));
}
