-- The songs played most, as the players name them: most plays are of songs that the catalogue lacks.
WITH plays AS (
  SELECT song, artist, count(*) AS plays
  FROM staging.events
  WHERE page = 'NextSong'
  GROUP BY song, artist
)
SELECT song, artist, plays, bar(plays, 0, max(plays) OVER (), 30) AS chart
FROM plays
ORDER BY plays DESC, song, artist
LIMIT 10;
