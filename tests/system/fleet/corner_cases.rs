//! SQL that distribution could break, with the data that it is over.
//!
//! The tests of fleets run it as models; those of the engine, which share this file, put it to Ballista's own context.

use std::fmt::Write;

/// Lines of the larger source: enough bytes for several partitions.
const FACTS: u64 = 12_000;

/// A step of a linear congruential generator: the same data in every run.
fn next(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % limit
}

const NAMES: [&str; 8] = ["Ægir", "日本語", "e\u{301}", "🎵🎶", "Zoë", "a\\\"b", "", "ÅSTRÖM"];

pub(crate) fn facts() -> String {
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

pub(crate) fn dims() -> String {
    let mut lines = String::new();
    for id in (0..240).step_by(2) {
        let label = if id % 12 == 0 { "null".to_owned() } else { format!("\"label {}\"", id % 10) };
        writeln!(lines, "{{\"dim\": {id}, \"label\": {label}, \"rate\": {}.25}}", id % 7).expect("text can be written");
    }
    lines
}

pub(crate) const SOURCES: [(&str, &str); 2] = [
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
pub(crate) const MODELS: &[(&str, &str)] = &[
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
        "curated/not_in_raw",
        "SELECT f.id FROM raw.facts f WHERE f.name NOT IN (SELECT name FROM raw.facts WHERE name LIKE '%e%' AND num > 100)",
    ),
    (
        "curated/not_in_larger",
        "SELECT dim FROM raw.dims WHERE dim NOT IN (SELECT dim FROM raw.facts WHERE dim IS NOT NULL AND num < 30)",
    ),
    (
        "curated/recursive",
        "WITH RECURSIVE chain AS (SELECT dim, label, 0 AS hops FROM staging.dims WHERE dim < 4 UNION ALL SELECT d.dim, chain.label, chain.hops + 1 FROM chain JOIN staging.dims d ON d.dim = chain.dim + 10 WHERE chain.hops < 9) SELECT chain.dim, chain.hops, count(*) AS facts FROM chain LEFT JOIN staging.facts f ON f.dim = chain.dim GROUP BY chain.dim, chain.hops",
    ),
    (
        "curated/recursive_distinct",
        "WITH RECURSIVE reached(dim, extra) AS (SELECT dim, 'x' FROM raw.dims WHERE dim = 2 UNION SELECT (r.dim * 3) % 240, r.extra FROM reached r) SELECT dim FROM reached",
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
        "curated/counted_sets",
        "SELECT grp, ok FROM staging.facts WHERE id % 2 = 0 EXCEPT ALL SELECT grp, ok FROM staging.facts WHERE num > 300 INTERSECT ALL SELECT grp, ok FROM staging.facts",
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
    (
        "curated/multi_key_join",
        "SELECT a.id, b.id AS other FROM staging.facts a JOIN staging.facts b ON a.grp = b.grp AND a.day = b.day AND a.name = b.name AND a.id < b.id WHERE a.id % 3 = 0",
    ),
    ("curated/using_join", "SELECT dim, id, rate FROM staging.facts JOIN staging.dims USING (dim) WHERE ok"),
    (
        "curated/null_safe_join",
        "SELECT f.id, d.n FROM staging.facts f JOIN (SELECT label, count(*) AS n FROM staging.dims GROUP BY label) d ON CASE WHEN f.dim % 2 = 0 THEN concat('label ', CAST(f.dim % 10 AS VARCHAR)) END <=> d.label",
    ),
    (
        "curated/correlated_count",
        "SELECT id, (SELECT count(*) FROM staging.dims d WHERE d.dim = f.dim) AS n FROM staging.facts f WHERE id % 11 = 0",
    ),
    (
        "curated/exists_or",
        "SELECT id FROM staging.facts f WHERE amount > 150 OR EXISTS (SELECT 1 FROM staging.dims d WHERE d.dim = f.dim AND d.rate > 4)",
    ),
    (
        "curated/cte_twice",
        "WITH totals AS (SELECT grp, sum(amount) AS total FROM staging.facts GROUP BY grp) SELECT a.grp, b.grp AS other, a.total - b.total AS ahead FROM totals a JOIN totals b ON a.total > b.total",
    ),
    ("curated/union_distinct", "SELECT dim, grp FROM staging.facts UNION SELECT dim, label FROM staging.dims"),
    (
        "curated/cube",
        "SELECT grp, ok, grouping(grp) AS g, grouping(ok) AS o, sum(amount) AS total FROM staging.facts GROUP BY CUBE (grp, ok)",
    ),
    (
        "curated/sets",
        "SELECT grp, day, ok, count(DISTINCT dim) AS dims FROM staging.facts GROUP BY GROUPING SETS ((grp, day), (ok), ())",
    ),
    (
        "curated/collected",
        "SELECT grp, array_sort(collect_set(name)) AS names, array_agg(id ORDER BY id) AS ids, string_agg(CAST(id AS VARCHAR), ',' ORDER BY id DESC) AS list, bit_and(id) AS bits, bit_xor(id) AS xor, bool_or(ok) AS some_ok, min_by(name, amount * 100000 + id) AS cheapest FROM staging.facts GROUP BY grp",
    ),
    (
        "curated/statistics",
        "SELECT ok, round(stddev(num), 6) AS deviation, round(var_pop(num), 6) AS variance, round(corr(num, id), 6) AS correlation, round(covar_samp(num, id), 3) AS covariance, median(num) AS middle, percentile_cont(0.9) WITHIN GROUP (ORDER BY num) AS high, approx_distinct(name) AS names FROM staging.facts GROUP BY ok",
    ),
    (
        "curated/casts",
        "SELECT grp, min(at) AS first, min(CAST(at AS DATE)) AS day, count(DISTINCT num) AS nums, count(DISTINCT CAST(num AS BIGINT)) AS wholes, sum(id) AS ids, sum(CAST(id AS DOUBLE)) AS float, max(sum(id)) OVER (ORDER BY grp) AS most, max(CAST(sum(id) AS VARCHAR)) OVER (ORDER BY grp) AS text FROM staging.facts GROUP BY grp HAVING min(CAST(at AS DATE)) > DATE '2000-01-01'",
    ),
    (
        "curated/distinct_mix",
        "SELECT day, sum(DISTINCT dim) AS dims, count(DISTINCT grp) AS grps, count(*) AS n, avg(amount) AS mean FROM staging.facts GROUP BY day",
    ),
    (
        "curated/ranks",
        "SELECT id, dense_rank() OVER (PARTITION BY grp ORDER BY num) AS dense, percent_rank() OVER (PARTITION BY day ORDER BY num, id) AS part, cume_dist() OVER (PARTITION BY ok ORDER BY num) AS below, nth_value(id, 3) OVER (PARTITION BY grp ORDER BY id) AS third, last_value(id) OVER (PARTITION BY grp ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last FROM staging.facts",
    ),
    (
        "curated/filtered_windows",
        "SELECT id, count(*) FILTER (WHERE ok) OVER (PARTITION BY grp) AS good, sum(amount) FILTER (WHERE num > 250) OVER (PARTITION BY grp ORDER BY id) AS running, avg(num) FILTER (WHERE ok IS NULL) OVER (PARTITION BY day ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING) AS mean, max(name) FILTER (WHERE dim < 50) OVER (PARTITION BY day ORDER BY num RANGE BETWEEN 20 PRECEDING AND CURRENT ROW) AS high, count(*) OVER (PARTITION BY grp) AS n FROM staging.facts",
    ),
    (
        "curated/nulls_ignored",
        "SELECT id, first_value(dim) IGNORE NULLS OVER (PARTITION BY grp ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS first, last_value(ok) IGNORE NULLS OVER (PARTITION BY grp ORDER BY id) AS last, lag(ok) IGNORE NULLS OVER (PARTITION BY day ORDER BY id) AS before, lead(dim, 2) IGNORE NULLS OVER (PARTITION BY grp ORDER BY id DESC) AS after, nth_value(dim, 2) IGNORE NULLS OVER (PARTITION BY day ORDER BY id) AS second, last_value(ok) RESPECT NULLS OVER (PARTITION BY grp ORDER BY id) AS plain FROM staging.facts",
    ),
    (
        "curated/both_ways",
        "SELECT id, lag(id) OVER (PARTITION BY grp ORDER BY num, id) AS before, lead(name, 2, 'none') OVER (PARTITION BY grp ORDER BY num DESC, id DESC) AS later, lag(dim) IGNORE NULLS OVER (PARTITION BY grp ORDER BY num DESC, id DESC) AS back, nth_value(id, 2) OVER (PARTITION BY grp ORDER BY num DESC, id DESC ROWS BETWEEN 3 PRECEDING AND 3 FOLLOWING) AS second, first_value(id) OVER (PARTITION BY grp ORDER BY num DESC, id DESC ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) AS first, sum(id) FILTER (WHERE ok) OVER (PARTITION BY grp ORDER BY num DESC, id DESC ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING) AS sum FROM staging.facts",
    ),
    (
        "curated/range_frames",
        "SELECT id, count(*) OVER (PARTITION BY grp ORDER BY num RANGE BETWEEN 10 PRECEDING AND 10 FOLLOWING) AS near, sum(amount) OVER (PARTITION BY day ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS rest, avg(num) OVER (PARTITION BY grp ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING) AS mean FROM staging.facts",
    ),
    (
        "curated/window_of_groups",
        "SELECT grp, day, sum(amount) AS total, rank() OVER (PARTITION BY grp ORDER BY sum(amount) DESC, day) AS place FROM staging.facts GROUP BY grp, day",
    ),
    (
        "curated/decimals",
        "SELECT id, amount / 3 AS third, amount % CAST(0.7 AS DECIMAL(2, 1)) AS rest, amount * amount AS square, CAST(amount AS DECIMAL(38, 10)) / CAST(7 AS DECIMAL(3, 0)) AS seventh, -amount AS minus, round(amount, 1) AS rounded, CAST(amount AS BIGINT) AS whole, CAST(amount AS DOUBLE) AS float, amount > 100 AS large FROM staging.facts",
    ),
    (
        "curated/decimal_sums",
        "SELECT grp, sum(amount * amount) AS squares, avg(CAST(amount AS DECIMAL(10, 2))) AS mean, min(-amount) AS low, sum(CAST(amount AS DECIMAL(38, 6))) AS wide FROM staging.facts GROUP BY grp",
    ),
    (
        "curated/floats",
        "SELECT v, count(*) AS n, max(v) AS high, min(v) AS low FROM (SELECT CASE WHEN ok THEN num % 7 WHEN ok IS NULL THEN CAST('NaN' AS DOUBLE) ELSE -0.0 * num END AS v FROM staging.facts) t GROUP BY v",
    ),
    (
        "curated/mathematics",
        "SELECT id, floor(num) AS f, sqrt(num) AS s, power(num, 2) AS p, log10(num + 1) AS l, greatest(id, dim) AS g, least(id, dim, 7) AS small, conv(CAST(id AS VARCHAR), 10, 16) AS c, hex(id) AS h, id div 7 AS d, pmod(-id, 5) AS m, try_divide(id, dim % 3) AS t, shiftleft(id % 8, 2) AS shifted, bit_count(id) AS bits, width_bucket(num, 0.0, 500.0, 9) AS bucket FROM staging.facts",
    ),
    (
        "curated/letters",
        "SELECT id, initcap(name) AS i, octet_length(name) AS o, translate(name, 'aeo', '123') AS t, substring_index(name, 'e', 1) AS before, instr(name, 'ö') AS at, levenshtein(name, 'Zoe') AS far, soundex(name) AS sound, overlay(grp PLACING '#' FROM 2 FOR 1) AS o2, concat_ws('-', grp, name, label) AS c, repeat(name, 2) AS twice, name ILIKE '%å%' AS ring, name LIKE '_' AS single, mask(name) AS m, format_string('%s %d', name, id) AS f FROM staging.facts LEFT JOIN staging.dims USING (dim)",
    ),
    (
        "curated/patterns",
        "SELECT id, regexp_extract(CAST(day AS VARCHAR), '-([0-9]+)$', 1) AS d, regexp_replace(name, '[aeiouöë]', '_') AS r, regexp_count(name, '.') AS n, regexp_extract_all(grp, '[0-9]', 0) AS digits, split(CAST(at AS VARCHAR), '[ :-]') AS parts, name RLIKE '^[A-ZÅ]' AS capital, grp NOT REGEXP '1$' AS other, name LIKE 'a!%%' ESCAPE '!' AS percent FROM staging.facts",
    ),
    (
        "curated/hashes",
        "SELECT id, md5(name) AS m, sha1(name) AS s, crc32(name) AS c, xxhash64(name, id) AS x, base64(CAST(name AS VARBINARY)) AS b, url_encode(name) AS u, unhex(hex(id)) AS bytes FROM staging.facts",
    ),
    (
        "curated/json_texts",
        "SELECT id, get_json_object(text, '$.a.b') AS b, json_array_length(get_json_object(text, '$.c')) AS n FROM (SELECT id, concat('{\"a\": {\"b\": \"', grp, '\"}, \"c\": [1, ', CAST(dim AS VARCHAR), ']}') AS text FROM staging.facts) t",
    ),
    (
        "curated/calendar",
        "SELECT id, dayofweek(at) AS w, weekofyear(at) AS week, hour(at) AS h, last_day(day) AS last, next_day(day, 'MO') AS monday, trunc(day, 'MM') AS month, date_add(day, dim) AS later, round(months_between(at, TIMESTAMP '2018-01-31 00:00:00'), 6) AS months, make_date(2018, 11, CAST(1 + id % 28 AS INT)) AS made, date_part('minute', at) AS minute, from_utc_timestamp(at, 'America/New_York') AS local, unix_timestamp(at) AS seconds, from_unixtime(unix_seconds(at)) AS text, dayname(day) AS name FROM staging.facts",
    ),
    (
        "curated/timestamps",
        "SELECT date_trunc('day', at) AS start, count(*) AS n, min(at) AS first, max(at + INTERVAL '36' HOUR) AS last, max(CAST(at - INTERVAL '2' HOUR AS DATE)) AS date, count_if(at > TIMESTAMP '2018-11-05 12:00:00.5') AS late, count(DISTINCT CAST(at AS DATE) - INTERVAL '1' MONTH) AS before FROM staging.facts GROUP BY date_trunc('day', at)",
    ),
    (
        "curated/arrays",
        "SELECT id, array_contains(tags, 't1') AS has, get(tags, 0) AS head, array_distinct(tags) AS d, array_union(tags, array('x', NULL)) AS u, array_intersect(tags, array('t1', 't2')) AS i, array_except(tags, array('t1')) AS e, flatten(array(tags, tags)) AS f, slice(tags, 1, 2) AS s, array_position(tags, 't2') AS p, array_max(tags) AS m, array_repeat(dim, 2) AS r FROM staging.facts",
    ),
    (
        "curated/maps",
        "SELECT id, map_values(props) AS v, map_entries(props) AS e, size(props) AS n, element_at(props, 'k1') AS k1, map_from_arrays(array('a', 'b'), array(id, dim)) AS made, str_to_map('a:1,b:2') AS parsed FROM staging.facts",
    ),
    (
        "curated/structs",
        "SELECT addr.city AS city, count(*) AS n, max(addr.zip) AS zip FROM staging.facts GROUP BY addr.city",
    ),
    (
        "curated/distinct_structs",
        "SELECT DISTINCT named_struct('c', addr.city, 'o', ok) AS place, array(name, grp) AS pair FROM staging.facts WHERE id % 5 = 0",
    ),
    (
        "curated/unnested_twice",
        "SELECT id, tag, n FROM (SELECT id, tag, unnest(generate_series(1, size)) AS n FROM (SELECT id, unnest(tags) AS tag, CAST(size(tags) AS BIGINT) AS size FROM staging.facts WHERE id % 4 = 0) t) u",
    ),
    (
        "curated/conditions",
        "SELECT id, if(ok, 'y', 'n') AS i, coalesce(grp, name, '-') AS c, nvl2(dim, 1, 2) AS n2, nullif(name, '') AS n, CASE name WHEN 'Zoë' THEN 1 WHEN '' THEN 2 END AS w, ok IS NOT TRUE AS not_true, dim IS DISTINCT FROM 7 AS other, (grp IN ('g1', NULL)) AS listed FROM staging.facts",
    ),
    (
        "curated/limits",
        "SELECT 9223372036854775807 - id AS large, -9223372036854775807 + id AS small, CAST(id AS SMALLINT) AS short, CAST(id % 100 AS TINYINT) AS tiny, CAST(num AS FLOAT) AS real FROM staging.facts",
    ),
];

pub(crate) const PARTITIONED: (&str, &str) = (
    "curated/partitioned",
    "MODEL (partitioned_by (grp, day), clustered_by (id)); SELECT grp, day, id, amount, name FROM staging.facts WHERE id % 7 = 0",
);
