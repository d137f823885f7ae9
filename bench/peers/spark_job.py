"""The music job on Spark's API. Usage: spark_job.py pyspark|sail RAW OUT

`pyspark` is a local JVM, `sail` is Sail's server in this process, through Spark Connect.
"""
import sys

from job import COLUMNS, OutFolder
from pyspark.sql import SparkSession

engine, raw, out = sys.argv[1], sys.argv[2], OutFolder(sys.argv[3])


def sail_server():
    from pysail.spark import SparkConnectServer

    started = SparkConnectServer("127.0.0.1", 0)
    started.start(background=True)
    return started


def session():
    if server:
        return SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
    builder = SparkSession.builder.master("local[*]").config("spark.driver.memory", "8g")
    builder = builder.config("spark.sql.shuffle.partitions", "8").config("spark.ui.enabled", "false")
    # Without a name of the machine that resolves, a driver would look for one.
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    return builder.getOrCreate()


# The server ends with its last reference.
server = sail_server() if engine == "sail" else None
spark = session()
spark.conf.set("spark.sql.session.timeZone", "UTC")


def save(table, query, *partitioned_by):
    writer = spark.sql(query).write.mode("overwrite")
    (writer.partitionBy(*partitioned_by) if partitioned_by else writer).parquet(str(out.folder(table)))


for table, files in (("events", "log_data/*/*/*.json"), ("songs", "song_data/*/*/*/*.json")):
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS[table].items())
    target = str(out.folder(f"staging/{table}"))
    spark.read.schema(columns).json(f"{raw}/{files}").write.mode("overwrite").parquet(target)
    spark.read.parquet(target).createOrReplaceTempView(table)

save("curated/songplays", """
    SELECT monotonically_increasing_id() AS songplay_id, timestamp_millis(e.ts) AS start_time, e.userId AS user_id, e.level,
           s.song_id, s.artist_id, e.sessionId AS session_id, e.location, e.userAgent AS user_agent,
           year(timestamp_millis(e.ts)) AS year, month(timestamp_millis(e.ts)) AS month
    FROM events e
    LEFT JOIN (SELECT title, artist_name, duration, min(song_id) AS song_id, min_by(artist_id, song_id) AS artist_id
               FROM songs GROUP BY title, artist_name, duration) s
    ON s.title = e.song AND s.artist_name = e.artist AND s.duration = e.length
    WHERE e.page = 'NextSong'""", "year", "month")
save("curated/users", """
    SELECT userId AS user_id, firstName AS first_name, lastName AS last_name, gender, level
    FROM (SELECT *, row_number() OVER (PARTITION BY userId
                                       ORDER BY ts DESC, level DESC, lastName DESC, firstName DESC, gender DESC) AS latest
          FROM events WHERE page = 'NextSong' AND userId <> '')
    WHERE latest = 1""")
save("curated/songs", """
    SELECT song_id, min(title) AS title, min(artist_id) AS artist_id, min(year) AS year, min(duration) AS duration
    FROM songs WHERE song_id IS NOT NULL GROUP BY song_id""")
save("curated/artists", """
    SELECT artist_id, max_by(artist_name, song_id) AS name, max_by(artist_location, song_id) AS location,
           max_by(artist_latitude, song_id) AS lattitude, max_by(artist_longitude, song_id) AS longitude
    FROM songs WHERE artist_id IS NOT NULL GROUP BY artist_id""")
save("curated/time", """
    SELECT start_time, hour(start_time) AS hour, day(start_time) AS day, weekofyear(start_time) AS week,
           month(start_time) AS month, year(start_time) AS year, dayofweek(start_time) AS weekday
    FROM (SELECT DISTINCT timestamp_millis(ts) AS start_time FROM events WHERE page = 'NextSong')""")
if engine == "pyspark":
    spark.stop()
