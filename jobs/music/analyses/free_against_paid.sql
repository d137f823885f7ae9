-- Free against paid: plays, listeners, and plays per session.
WITH plays AS (
  SELECT
    level,
    count(*) AS plays,
    count(DISTINCT user_id) AS listeners,
    count(DISTINCT session_id) AS sessions
  FROM curated.songplays
  GROUP BY level
)
SELECT
  level, plays, listeners, sessions,
  round(plays / sessions, 1) AS plays_per_session,
  bar(plays, 0, sum(plays) OVER (), 40) AS share
FROM plays
ORDER BY level;
