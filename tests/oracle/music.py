"""Compares every value of the music job's tables with independent queries over the same raw files.

Usage: music.py RAW LAKE
Prints the tables' row counts as JSON. Exit code 1, and one line for each difference, if there is one.

The expected rows are computed by DuckDB (and, for songplay_id, by Python) from the raw files alone. The queries are not
those of the job: aggregates stand where the job has window functions, so that one mistake is not made twice.
"""
import json
import struct
import sys
from collections import Counter
from pathlib import Path

import pyarrow
import xxhash
from tables import Lake

EVENTS = {
    "artist": "VARCHAR", "auth": "VARCHAR", "firstName": "VARCHAR", "gender": "VARCHAR", "itemInSession": "INTEGER",
    "lastName": "VARCHAR", "length": "DOUBLE", "level": "VARCHAR", "location": "VARCHAR", "method": "VARCHAR",
    "page": "VARCHAR", "registration": "DOUBLE", "sessionId": "BIGINT", "song": "VARCHAR", "status": "INTEGER",
    "ts": "BIGINT", "userAgent": "VARCHAR", "userId": "VARCHAR",
}
SONGS = {
    "num_songs": "INTEGER", "artist_id": "VARCHAR", "artist_latitude": "DOUBLE", "artist_longitude": "DOUBLE",
    "artist_location": "VARCHAR", "artist_name": "VARCHAR", "song_id": "VARCHAR", "title": "VARCHAR",
    "duration": "DOUBLE", "year": "INTEGER",
}
TABLES = [
    "staging.events", "staging.songs", "curated.songplays", "curated.users", "curated.songs", "curated.artists",
    "curated.time",
]

PLAYS = "(FROM raw.events WHERE page = 'NextSong')"
EXPECTED = {
    "staging.events": "FROM raw.events",
    "staging.songs": "FROM raw.songs",
    "curated.users": f"""
        SELECT last.user_id, last.first_name, last.last_name, last.gender, last.level FROM (
            SELECT max(struct_pack(ts, level, last_name := lastName, first_name := firstName, gender,
                                   user_id := userId)) AS last
            FROM {PLAYS} WHERE userId <> '' GROUP BY userId)""",
    "curated.songs": """
        SELECT first.song_id, first.title, first.artist_id, first.year, first.duration FROM (
            SELECT min(struct_pack(title, artist_id, year, duration, song_id)) AS first
            FROM raw.songs WHERE song_id IS NOT NULL GROUP BY song_id)""",
    "curated.artists": """
        SELECT s.artist_id, s.artist_name, s.artist_location, s.artist_latitude, s.artist_longitude
        FROM raw.songs s
        JOIN (SELECT artist_id, max(song_id) AS song_id FROM raw.songs GROUP BY artist_id) g USING (artist_id, song_id)""",
    "curated.time": f"""
        SELECT start_time, hour(start_time), day(start_time), strftime(start_time, '%V')::INT, month(start_time),
               year(start_time), 1 + strftime(start_time, '%w')::INT
        FROM (SELECT DISTINCT epoch_ms(ts) AS start_time FROM {PLAYS})""",
    "curated.songplays": f"""
        SELECT i.songplay_id, epoch_ms(p.ts) AS start_time, p.userId, p.level, s.match.song_id, s.match.artist_id,
               p.sessionId, p.location, p.userAgent, year(epoch_ms(p.ts)), month(epoch_ms(p.ts))
        FROM (SELECT row_number() OVER () AS place, * FROM raw.events WHERE page = 'NextSong') p
        JOIN songplay_ids i USING (place)
        LEFT JOIN (SELECT title, artist_name, duration, min(struct_pack(song_id, artist_id)) AS match
                   FROM raw.songs GROUP BY ALL) s
        ON s.title = p.song AND s.artist_name = p.artist AND s.duration = p.length""",
}


def read_raw(connection, raw):
    """Loads the raw files as `raw.events` and `raw.songs`, by their declared types."""
    connection.sql("CREATE SCHEMA raw")
    for table, folder, columns in (("events", "log_data", EVENTS), ("songs", "song_data", SONGS)):
        files = sorted(str(path) for path in Path(raw, folder).rglob("*.json"))
        connection.execute(
            f"CREATE TABLE raw.{table} AS FROM read_json(?, columns = {columns}, format = 'newline_delimited')", [files])


def songplay_ids(connection):
    """Computes the id of each play, by its place among the plays: the hash of its fields in hexadecimal.

    The second and further ones of equal plays are told apart by their rank.
    """
    seen = Counter()
    ids = []
    for row in connection.execute(PLAYS).fetchall():
        event_hash = spark_xxhash64(zip(row, EVENTS.values()))
        seen[event_hash] += 1
        rank = seen[event_hash]
        ids.append(f"{event_hash:X}" if rank == 1 else f"{event_hash:X}-{rank}")
    return pyarrow.table({"place": range(1, len(ids) + 1), "songplay_id": ids})


def spark_xxhash64(values):
    """Spark's xxhash64 of values with their types: each is hashed with the hash before as its seed, NULL is passed over."""
    pack = {"INTEGER": "<i", "BIGINT": "<q", "DOUBLE": "<d"}
    seed = 42
    for value, kind in values:
        if value is not None:
            # Zero has no sign there.
            data = value.encode() if kind == "VARCHAR" else struct.pack(pack[kind], value or 0)
            seed = xxhash.xxh64_intdigest(data, seed)
    return seed


def main(raw, folder):
    lake = Lake(folder)
    read_raw(lake.duckdb, raw)
    lake.duckdb.register("songplay_ids", songplay_ids(lake.duckdb))
    counts = {}
    for name in TABLES:
        rows = lake.load(name)
        counts[name] = rows.num_rows
        columns = ", ".join(
            # An instant in the table, its UTC reading in the expected rows.
            f'"{field.name}" AT TIME ZONE \'UTC\'' if pyarrow.types.is_timestamp(field.type) else f'"{field.name}"'
            for field in rows.schema)
        lake.expect_equal(name, f"SELECT {columns} FROM {name}", EXPECTED[name])
    matched, distinct = lake.duckdb.execute(
        "SELECT count(song_id), count(DISTINCT songplay_id) FROM curated.songplays").fetchone()
    if distinct != counts["curated.songplays"]:
        lake.failures.append(f"songplay_id has {distinct} values in {counts['curated.songplays']} rows")
    print(json.dumps({"rows": counts, "matched": matched}))
    lake.finish()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
