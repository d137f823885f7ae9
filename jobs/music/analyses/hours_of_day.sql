-- When music is played: plays by hour of the day, UTC.
WITH plays AS (
  SELECT t.hour, count(*) AS plays
  FROM curated.songplays p
  JOIN curated.time t ON t.start_time = p.start_time
  GROUP BY t.hour
)
SELECT hour, plays, bar(plays, 0, max(plays) OVER (), 40) AS chart
FROM plays
ORDER BY hour;
