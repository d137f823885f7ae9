-- The artists played most, with how many different songs and listeners they had.
WITH plays AS (
  SELECT artist, count(*) AS plays, count(DISTINCT song) AS songs, count(DISTINCT userId) AS listeners
  FROM staging.events
  WHERE page = 'NextSong'
  GROUP BY artist
)
SELECT artist, plays, songs, listeners, bar(plays, 0, max(plays) OVER (), 30) AS chart
FROM plays
ORDER BY plays DESC, artist
LIMIT 10;
