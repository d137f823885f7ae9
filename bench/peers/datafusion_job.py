"""The music job on DataFusion's Python package. Usage: datafusion_job.py RAW OUT"""
import sys

from datafusion import SessionConfig, SessionContext
from job import COLUMNS, OutFolder

raw, out = sys.argv[1], OutFolder(sys.argv[2])
context = SessionContext(SessionConfig({"datafusion.execution.listing_table_ignore_subdirectory": "false"}))


def save(table, query, partitioned_by=""):
    partitions = f" PARTITIONED BY ({partitioned_by})" if partitioned_by else ""
    context.sql(f"COPY ({query}) TO '{out.folder(table)}/' STORED AS PARQUET{partitions}").collect()


for table, folder in (("events", "log_data"), ("songs", "song_data")):
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS[table].items())
    context.sql(f"CREATE EXTERNAL TABLE raw_{table} ({columns}) STORED AS JSON LOCATION '{raw}/{folder}/'").collect()
    save(f"staging/{table}", f"SELECT * FROM raw_{table}")
    context.sql(f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{out.folder('staging/' + table)}/'").collect()

save("curated/songplays", """
    SELECT row_number() OVER () AS songplay_id, to_timestamp_millis(e.ts) AS start_time, e."userId" AS user_id, e.level,
           s.song_id, s.artist_id, e."sessionId" AS session_id, e.location, e."userAgent" AS user_agent,
           date_part('year', to_timestamp_millis(e.ts)) AS year, date_part('month', to_timestamp_millis(e.ts)) AS month
    FROM events e
    LEFT JOIN (SELECT title, artist_name, duration, min(song_id) AS song_id,
                      first_value(artist_id ORDER BY song_id) AS artist_id
               FROM songs GROUP BY title, artist_name, duration) s
    ON s.title = e.song AND s.artist_name = e.artist AND s.duration = e.length
    WHERE e.page = 'NextSong'""", "year, month")
ORDER = 'ORDER BY ts, level, "lastName", "firstName", gender'
save("curated/users", f"""
    SELECT "userId" AS user_id, last_value("firstName" {ORDER}) AS first_name, last_value("lastName" {ORDER}) AS last_name,
           last_value(gender {ORDER}) AS gender, last_value(level {ORDER}) AS level
    FROM events WHERE page = 'NextSong' AND "userId" <> '' GROUP BY "userId" """)
save("curated/songs", """
    SELECT song_id, min(title) AS title, min(artist_id) AS artist_id, min(year) AS year, min(duration) AS duration
    FROM songs WHERE song_id IS NOT NULL GROUP BY song_id""")
save("curated/artists", """
    SELECT artist_id, last_value(artist_name ORDER BY song_id) AS name,
           last_value(artist_location ORDER BY song_id) AS location,
           last_value(artist_latitude ORDER BY song_id) AS lattitude,
           last_value(artist_longitude ORDER BY song_id) AS longitude
    FROM songs WHERE artist_id IS NOT NULL GROUP BY artist_id""")
save("curated/time", """
    SELECT start_time, date_part('hour', start_time) AS hour, date_part('day', start_time) AS day,
           date_part('week', start_time) AS week, date_part('month', start_time) AS month,
           date_part('year', start_time) AS year, date_part('dow', start_time) + 1 AS weekday
    FROM (SELECT DISTINCT to_timestamp_millis(ts) AS start_time FROM events WHERE page = 'NextSong')""")
