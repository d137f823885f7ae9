"""Counts with DuckDB what the checks of tests/system/checks.rs must count: over the raw JSON, and over published tables.

Arguments: the raw prefix, the lake. Prints JSON.
"""

import json
import sys

import duckdb

raw, lake = sys.argv[1], sys.argv[2]
connection = duckdb.connect()
events = f"read_json('{raw}/log_data/**/*.json', format = 'newline_delimited')"
plays = f"(SELECT * FROM read_parquet('{lake}/curated/songplays/**/*.parquet', hive_partitioning = true))"


def count(sql):
    return connection.sql(sql).fetchall()[0][0]


print(json.dumps({
    "paid": count(f"SELECT count(*) FROM {events} WHERE level = 'paid'"),
    "short": count(f"SELECT count(*) FROM {events} WHERE NOT coalesce(length >= 200, false)"),
    "apart": count(f"SELECT count(*) FROM {events} WHERE gender IS NULL OR gender = 'F'"),
    "left": count(f"SELECT count(*) FROM {events} WHERE level <> 'paid' AND gender = 'M'"),
    "repeated": count(
        f"SELECT coalesce(sum(n), 0) FROM (SELECT count(*) AS n FROM {events} WHERE sessionId IS NOT NULL "
        "GROUP BY sessionId, itemInSession HAVING count(*) > 1)"
    ),
    "unmatched": count(f"SELECT count(*) FROM {plays} WHERE song_id IS NULL"),
}))
