"""The music job on Polars. Usage: polars_job.py RAW OUT"""
import sys

import polars as pl
from job import COLUMNS, OutFolder
from polars import col

raw, out = sys.argv[1], OutFolder(sys.argv[2])
TYPES = {"STRING": pl.String, "INT": pl.Int32, "BIGINT": pl.Int64, "DOUBLE": pl.Float64}


def save(frame, table):
    frame.sink_parquet(out.folder(table) / "part.parquet")


def staging(table, files):
    schema = {name: TYPES[kind] for name, kind in COLUMNS[table].items()}
    save(pl.scan_ndjson(f"{raw}/{files}", schema=schema), f"staging/{table}")
    return pl.scan_parquet(out.folder(f"staging/{table}") / "part.parquet")


events = staging("events", "log_data/**/*.json")
songs = staging("songs", "song_data/**/*.json")
plays = events.filter(col("page") == "NextSong").with_columns(start_time=pl.from_epoch("ts", time_unit="ms"))
at = col("start_time").dt

keys = ["title", "artist_name", "duration"]
catalogue = songs.group_by(keys).agg(pl.struct("song_id", "artist_id").sort_by("song_id").first().alias("match")).unnest("match")
songplays = (
    plays.join(catalogue, left_on=["song", "artist", "length"], right_on=keys, how="left")
    .with_row_index("songplay_id")
    .select("songplay_id", "start_time", col("userId").alias("user_id"), "level", "song_id", "artist_id",
            col("sessionId").alias("session_id"), "location", col("userAgent").alias("user_agent"),
            year=at.year(), month=at.month())
)
songplays.sink_parquet(pl.PartitionBy(out.folder("curated/songplays"), key=["year", "month"]), mkdir=True)

order = ["ts", "level", "lastName", "firstName", "gender"]
names = {"firstName": "first_name", "lastName": "last_name", "gender": "gender", "level": "level"}
users = plays.filter(col("userId") != "").group_by(user_id="userId")
save(users.agg(*[col(raw_name).sort_by(order).last().alias(name) for raw_name, name in names.items()]), "curated/users")
save(songs.filter(col("song_id").is_not_null()).unique("song_id").select("song_id", "title", "artist_id", "year", "duration"),
     "curated/songs")
newest = {"name": "artist_name", "location": "artist_location", "lattitude": "artist_latitude", "longitude": "artist_longitude"}
artists = songs.filter(col("artist_id").is_not_null()).group_by("artist_id")
save(artists.agg(**{name: col(raw_name).sort_by("song_id").last() for name, raw_name in newest.items()}), "curated/artists")
save(plays.select("start_time").unique().with_columns(
    hour=at.hour(), day=at.day(), week=at.week(), month=at.month(), year=at.year(), weekday=at.weekday() % 7 + 1),
    "curated/time")
