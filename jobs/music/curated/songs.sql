-- The songs of the catalogue, one row per song_id.
MODEL (
  grain  song_id,
  audits (relationships (column := artist_id, to := curated.artists, field := artist_id))
);
WITH ranked AS (
  SELECT
    song_id, title, artist_id, year, duration,
    row_number() OVER (PARTITION BY song_id ORDER BY title, artist_id, year, duration) AS choice
  FROM staging.songs
  WHERE song_id IS NOT NULL
)
SELECT song_id, title, artist_id, year, duration
FROM ranked
WHERE choice = 1;
