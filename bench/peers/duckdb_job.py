"""The music job on DuckDB. Usage: duckdb_job.py RAW OUT"""
import sys

import duckdb
from job import COLUMNS, OutFolder

raw, out = sys.argv[1], OutFolder(sys.argv[2])
db = duckdb.connect()
db.sql("SET preserve_insertion_order = false")


def save(table, query, partitioned_by=""):
    options = f", PARTITION_BY ({partitioned_by})" if partitioned_by else ""
    target = out.folder(table) if partitioned_by else out.folder(table) / "part.parquet"
    db.sql(f"COPY ({query}) TO '{target}' (FORMAT parquet, OVERWRITE_OR_IGNORE{options})")


for table, folder in (("events", "log_data"), ("songs", "song_data")):
    columns = {name: kind.replace("STRING", "VARCHAR") for name, kind in COLUMNS[table].items()}
    save(f"staging/{table}", f"FROM read_json('{raw}/{folder}/**/*.json', format = 'newline_delimited', columns = {columns})")
    db.sql(f"CREATE VIEW {table} AS FROM '{out.folder('staging/' + table)}/*.parquet'")

save("curated/songplays", """
    SELECT row_number() OVER () AS songplay_id, make_timestamp(e.ts * 1000) AS start_time, e.userId AS user_id, e.level,
           s.song_id, s.artist_id, e.sessionId AS session_id, e.location, e.userAgent AS user_agent,
           year(make_timestamp(e.ts * 1000)) AS year, month(make_timestamp(e.ts * 1000)) AS month
    FROM events e
    LEFT JOIN (SELECT title, artist_name, duration, min(song_id) AS song_id, arg_min(artist_id, song_id) AS artist_id
               FROM songs GROUP BY ALL) s
    ON s.title = e.song AND s.artist_name = e.artist AND s.duration = e.length
    WHERE e.page = 'NextSong'""", "year, month")
save("curated/users", """
    SELECT user_id, last.first_name, last.last_name, last.gender, last.level
    FROM (SELECT userId AS user_id,
                 max(struct_pack(ts, level, last_name := lastName, first_name := firstName, gender)) AS last
          FROM events WHERE page = 'NextSong' AND userId <> '' GROUP BY userId)""")
save("curated/songs", """
    SELECT song_id, min(title) AS title, min(artist_id) AS artist_id, min(year) AS year, min(duration) AS duration
    FROM songs WHERE song_id IS NOT NULL GROUP BY song_id""")
save("curated/artists", """
    SELECT artist_id, arg_max(artist_name, song_id) AS name, arg_max(artist_location, song_id) AS location,
           arg_max_null(artist_latitude, song_id) AS lattitude, arg_max_null(artist_longitude, song_id) AS longitude
    FROM songs WHERE artist_id IS NOT NULL GROUP BY artist_id""")
save("curated/time", """
    SELECT start_time, hour(start_time) AS hour, day(start_time) AS day, week(start_time) AS week,
           month(start_time) AS month, year(start_time) AS year, dayofweek(start_time) + 1 AS weekday
    FROM (SELECT DISTINCT make_timestamp(ts * 1000) AS start_time FROM events WHERE page = 'NextSong')""")
