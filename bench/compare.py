"""Compares the tables that engines made of the music job. Usage: compare.py FOLDER ENGINE...

FOLDER holds a folder of tables for each engine. Prints the row counts as JSON; exit code 1 and one line a difference if
there is one. Every column is compared by value, but for `songplay_id`: engines number plays as they like, so it must be
unique and is otherwise ignored. The types' widths differ and do not count.
"""
import json
import sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable

INTEGER, DOUBLE, TEXT = "{}::BIGINT", "{}::DOUBLE", "{}::VARCHAR"
# Microseconds, whatever the file calls them: with a zone or without, in nanoseconds or coarser.
INSTANT = "epoch_us({}::TIMESTAMPTZ)"
TABLES = {
    "staging/events": dict(
        artist=TEXT, auth=TEXT, firstName=TEXT, gender=TEXT, itemInSession=INTEGER, lastName=TEXT, length=DOUBLE,
        level=TEXT, location=TEXT, method=TEXT, page=TEXT, registration=DOUBLE, sessionId=INTEGER, song=TEXT,
        status=INTEGER, ts=INTEGER, userAgent=TEXT, userId=TEXT),
    "staging/songs": dict(
        num_songs=INTEGER, artist_id=TEXT, artist_latitude=DOUBLE, artist_longitude=DOUBLE, artist_location=TEXT,
        artist_name=TEXT, song_id=TEXT, title=TEXT, duration=DOUBLE, year=INTEGER),
    "curated/songplays": dict(
        start_time=INSTANT, user_id=TEXT, level=TEXT, song_id=TEXT, artist_id=TEXT, session_id=INTEGER, location=TEXT,
        user_agent=TEXT, year=INTEGER, month=INTEGER),
    "curated/users": dict(user_id=TEXT, first_name=TEXT, last_name=TEXT, gender=TEXT, level=TEXT),
    "curated/songs": dict(song_id=TEXT, title=TEXT, artist_id=TEXT, year=INTEGER, duration=DOUBLE),
    "curated/artists": dict(artist_id=TEXT, name=TEXT, location=TEXT, lattitude=DOUBLE, longitude=DOUBLE),
    "curated/time": dict(
        start_time=INSTANT, hour=INTEGER, day=INTEGER, week=INTEGER, month=INTEGER, year=INTEGER, weekday=INTEGER),
}


def main(folder, engines):
    db = duckdb.connect()
    db.sql("SET timezone = 'UTC'")
    counts, differences = {}, []
    for table, columns in TABLES.items():
        selected = ", ".join(f'{kind.format(chr(34) + name + chr(34))} AS "{name}"' for name, kind in columns.items())
        for place, engine in enumerate(engines):
            name = "first" if place == 0 else "other"
            files = data_files(Path(folder, engine, table))
            db.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {selected} "
                       "FROM read_parquet(?, hive_partitioning = true, union_by_name = true)", [files])
            if table == "curated/songplays":
                ids, rows = db.execute("SELECT count(DISTINCT songplay_id), count(*) FROM read_parquet(?)", [files]).fetchone()
                if ids != rows:
                    differences.append(f"{engine}: songplay_id has {ids} values in {rows} rows")
            if place == 0:
                counts[table] = db.execute("SELECT count(*) FROM first").fetchone()[0]
                continue
            for verb, query in (("lacks", "FROM first EXCEPT ALL FROM other"), ("adds", "FROM other EXCEPT ALL FROM first")):
                rows = db.execute(query).fetchmany(1)
                if rows:
                    differences.append(f"{table}: {engine} {verb} rows of {engines[0]}, such as {rows[0]}")
    print("\n".join(differences), file=sys.stderr)
    print(json.dumps(counts))
    sys.exit(1 if differences else 0)


def data_files(folder):
    """The files of a Delta table's newest version, or all Parquet files of a plain folder."""
    if (folder / "_delta_log").exists():
        return [uri.removeprefix("file://") for uri in DeltaTable(str(folder)).file_uris()]
    return sorted(str(path) for path in folder.rglob("*.parquet"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
