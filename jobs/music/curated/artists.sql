-- The artists of the catalogue, each as the song with the greatest song_id names and places them.
MODEL (grain artist_id);
WITH ranked AS (
  SELECT
    artist_id, artist_name, artist_location, artist_latitude, artist_longitude,
    row_number() OVER (
      PARTITION BY artist_id
      ORDER BY song_id DESC, artist_name, artist_location, artist_latitude, artist_longitude
    ) AS choice
  FROM staging.songs
  WHERE artist_id IS NOT NULL
)
SELECT
  artist_id,
  artist_name AS name,
  artist_location AS location,
  artist_latitude AS lattitude,    -- the spelling that readers of this table know
  artist_longitude AS longitude
FROM ranked
WHERE choice = 1;
