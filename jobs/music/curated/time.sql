-- The instants at which songs were played, taken apart. All parts are UTC.
MODEL (kind INCREMENTAL_BY_UNIQUE_KEY (unique_key start_time), grain start_time);
WITH instants AS (
  SELECT DISTINCT timestamp_millis(ts) AS start_time
  FROM staging.events
  WHERE page = 'NextSong'
)
SELECT
  start_time,
  hour(start_time) AS hour,
  day(start_time) AS day,
  weekofyear(start_time) AS week,       -- ISO 8601
  month(start_time) AS month,
  year(start_time) AS year,
  dayofweek(start_time) AS weekday      -- 1 is Sunday
FROM instants;
