-- The song catalogue, one row per song file.
MODEL (kind INCREMENTAL_BY_FILE);
SELECT
  num_songs, artist_id, artist_latitude, artist_longitude, artist_location, artist_name, song_id, title, duration, year
FROM raw.songs;
