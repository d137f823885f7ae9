//! Canonical SQL gives the rows that its query means: it is run beside a query that DataFusion reads as it stands.

use datafusion::{
    arrow::{
        array::{
            ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array,
        },
        util::pretty::pretty_format_batches,
    },
    catalog::{MemorySchemaProvider, SchemaProvider},
    common::ScalarValue,
    datasource::MemTable,
    prelude::SessionConfig,
};

use super::*;

fn batch(schema: &SchemaRef, columns: Vec<(&str, ArrayRef)>, rows: usize) -> RecordBatch {
    let arrays = schema.fields().iter().map(|field| {
        let given = columns.iter().find(|(name, _)| name == field.name());
        given.map_or_else(|| new_null_array(field.data_type(), rows), |(_, array)| Arc::clone(array))
    });
    RecordBatch::try_new(Arc::clone(schema), arrays.collect()).unwrap()
}

fn data(name: &TableName, schema: &SchemaRef) -> RecordBatch {
    let text = |values: &[Option<&str>]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    match name.to_string().as_str() {
        "staging.events" => {
            let price = Decimal128Array::from(vec![100, 250, 999, 1]).with_precision_and_scale(10, 2).unwrap();
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("userId", text(&[Some("1"), Some("2"), None, Some("2")])),
                ("page", text(&[Some("NextSong"), Some("Home"), Some("NextSong"), None])),
                ("song", text(&[Some("A"), None, Some("B"), Some("C")])),
                ("length", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(3.0), Some(0.5)]))),
                ("sessionId", Arc::new(Int64Array::from(vec![7, 8, 9, -7]))),
                ("itemInSession", Arc::new(Int32Array::from(vec![2, 0, 4, 2]))),
                ("ts", Arc::new(Int64Array::from(vec![1000, 2500, 3000, -1500]))),
                ("price", Arc::new(price)),
            ];
            batch(schema, columns, 4)
        }
        "staging.songs" => {
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("song_id", text(&[Some("S1"), Some("S2")])),
                ("Title", text(&[Some("A"), Some("B")])),
                ("year", Arc::new(Int32Array::from(vec![1999, 0]))),
            ];
            batch(schema, columns, 2)
        }
        _ => batch(
            schema,
            vec![("USERID", text(&[Some("1"), Some("3")])), ("level", text(&[Some("free"), Some("paid")]))],
            2,
        ),
    }
}

fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.enable_ident_normalization = false;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let session = SessionContext::new_with_config(config);
    let catalog = session.catalog("datafusion").unwrap();
    for (name, schema) in tables() {
        if catalog.schema(name.zone()).is_none() {
            catalog.register_schema(name.zone(), Arc::new(MemorySchemaProvider::new())).unwrap();
        }
        let table = MemTable::try_new(Arc::clone(&schema), vec![vec![data(&name, &schema)]]).unwrap();
        let zone: Arc<dyn SchemaProvider> = catalog.schema(name.zone()).unwrap();
        zone.register_table(name.table().to_owned(), Arc::new(table)).unwrap();
    }
    session
}

async fn rows(session: &SessionContext, sql: &str) -> String {
    let values = vec![
        ("min_length", ScalarValue::Float64(Some(1.0))),
        ("n", ScalarValue::Int64(Some(2))),
        ("execution_ts", ScalarValue::TimestampMicrosecond(Some(1_541_000_000_000_000), Some("UTC".into()))),
    ];
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    let frame = if sql.contains('$') { frame.with_param_values(values).unwrap() } else { frame };
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    pretty_format_batches(&batches).unwrap().to_string()
}

/// A query as a user writes it, and what it means in plain DataFusion.
const PAIRS: [(&str, &str); 18] = [
    (
        "select USERID, Page from staging.EVENTS where PAGE = 'NextSong' order by userid",
        r#"SELECT "userId", "page" FROM staging.events WHERE "page" = 'NextSong' ORDER BY "userId" NULLS LAST"#,
    ),
    ("select * from staging.songs order by 1", r#"SELECT * FROM staging.songs ORDER BY "song_id""#),
    (
        "select sessionid / iteminsession as q from staging.events where iteminsession > 0 order by q desc",
        r#"SELECT CAST("sessionId" AS DOUBLE) / "itemInSession" AS q FROM staging.events WHERE "itemInSession" > 0 ORDER BY q DESC NULLS LAST"#,
    ),
    (
        "select price / 4 as q, ts div 1000 as s from staging.events order by ts",
        r#"SELECT "price" / 4 AS q, "ts" / 1000 AS s FROM staging.events ORDER BY "ts""#,
    ),
    (
        "select 100 / 8 / 5 as a, 100 / (8 / 5) as b, 2 * 3 / 4 as c, -(7 / 2) as d",
        "SELECT 2.5 AS a, 62.5 AS b, 1.5 AS c, -3.5 AS d",
    ),
    (
        "select e.song, s.SONG_ID from staging.events e left join staging.songs s on s.TITLE = e.SONG order by E.Song",
        r#"SELECT e."song", s."song_id" FROM staging.events e LEFT JOIN staging.songs s ON s."Title" = e."song" ORDER BY e."song" NULLS LAST"#,
    ),
    (
        "select userid, u.level from staging.events full join curated.users u using (UserId) order by userid, ts",
        r#"SELECT coalesce(e."userId", u."USERID") AS "userId", u."level" FROM staging.events e FULL JOIN curated.users u ON e."userId" = u."USERID" ORDER BY 1 NULLS LAST, "ts""#,
    ),
    (
        "with P as (select page as pg, count(*) as N from staging.events group by PAGE) select PG, n from p order by N, pg",
        r#"SELECT "page" AS pg, count(*) AS "N" FROM staging.events GROUP BY "page" ORDER BY "N", pg NULLS LAST"#,
    ),
    (
        "select ts / 1000 as s, sum(length) as l from staging.events group by ts / 1000 having sum(LENGTH) > :min_length order by s",
        r#"SELECT "ts" / 1000.0 AS s, sum("length") AS l FROM staging.events GROUP BY "ts" / 1000.0 HAVING sum("length") > 1 ORDER BY s"#,
    ),
    (
        "select userid, row_number() over w as r from staging.events window W as (order by userid desc, ts) order by r",
        r#"SELECT "userId", row_number() OVER (ORDER BY "userId" DESC NULLS LAST, "ts") AS r FROM staging.events ORDER BY r"#,
    ),
    (
        "select Song from staging.events E where exists (select 1 from staging.songs where title = e.song) order by SONG limit :n",
        r#"SELECT "song" FROM staging.events WHERE "song" IN ('A', 'B') ORDER BY "song""#,
    ),
    (
        "select level from curated.users union all select 'free' except all select 'free' order by 1",
        "SELECT * FROM (VALUES ('free'), ('paid')) AS t(level) ORDER BY level",
    ),
    (
        "select 'left' as side, page from staging.events intersect all select 'left', 'NextSong' from staging.events",
        "SELECT 'left' AS side, 'NextSong' AS page FROM (VALUES (1), (2))",
    ),
    (
        r"select 'a_b' like 'a!_b' escape '!' as a, 'axb' like 'a!_b' escape '!' as b, 'a\b' like 'a\b' escape '!' as c, 'A%' ilike 'a#%' escape '#' as d",
        "SELECT TRUE AS a, FALSE AS b, TRUE AS c, TRUE AS d",
    ),
    (
        "select now() as t, current_date as d, timestamp '2018-11-01 01:00:00+01:00' as c",
        "SELECT arrow_cast(1541000000000000, 'Timestamp(µs, \"UTC\")') AS t, CAST('2018-10-31' AS DATE) AS d, \
         arrow_cast('2018-11-01T00:00:00Z', 'Timestamp(µs, \"UTC\")') AS c",
    ),
    (
        "select try_cast(page as timestamp) as t, try_cast(song as int) as i from staging.events where ts = 1000",
        "SELECT arrow_cast(NULL, 'Timestamp(µs, \"UTC\")') AS t, CAST(NULL AS INT) AS i",
    ),
    (
        "select userid from curated.users union all select UserId from staging.events order by USERID desc",
        r#"SELECT "USERID" FROM (SELECT "USERID" FROM curated.users UNION ALL SELECT "userId" FROM staging.events) ORDER BY "USERID" DESC NULLS LAST"#,
    ),
    (
        "select * exclude (ITEMINSESSION, info, tags, at) from staging.events where ts > 0 qualify row_number() over (partition by page order by TS) = 1 order by ts",
        r#"SELECT "userId", "page", "song", "artist", "length", "sessionId", "ts", "level", "price" FROM staging.events WHERE "ts" IN (1000, 2500) ORDER BY "ts""#,
    ),
];

#[tokio::test]
async fn canonical_sql_gives_the_rows_that_the_query_means() {
    let session = session();
    for (written, meant) in PAIRS {
        let query =
            compile_query(written, &tables(), &session.state(), &params()).unwrap_or_else(|e| panic!("{written}\n{e}"));
        assert_eq!(rows(&session, &query.sql).await, rows(&session, meant).await, "{written}\n{}", query.sql);
        // What was typed without data is what comes out.
        let planned = session.sql(&query.sql).await.unwrap();
        let types = |schema: &Schema| {
            schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
        };
        assert_eq!(types(planned.schema().as_arrow()), types(&query.schema), "{written}");
    }
}
