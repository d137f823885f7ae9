-- Where music is played most, and by how many listeners.
WITH plays AS (
  SELECT location, count(*) AS plays, count(DISTINCT user_id) AS listeners
  FROM curated.songplays
  GROUP BY location
)
SELECT location, plays, listeners, bar(plays, 0, max(plays) OVER (), 30) AS chart
FROM plays
ORDER BY plays DESC, location
LIMIT 10;
