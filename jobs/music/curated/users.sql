-- Users who have played a song, each as their latest play shows them.
MODEL (
  kind   INCREMENTAL_BY_UNIQUE_KEY (unique_key user_id),
  grain  user_id,
  audits (accepted_values (column := level, is_in := ('free', 'paid')))
);
WITH ranked AS (
  SELECT
    userId, firstName, lastName, gender, level,
    row_number() OVER (
      PARTITION BY userId
      -- The values after ts decide between plays of the same millisecond.
      ORDER BY ts DESC, level DESC, lastName DESC, firstName DESC, gender DESC
    ) AS latest
  FROM staging.events
  WHERE page = 'NextSong' AND userId <> ''
)
SELECT
  userId AS user_id,
  firstName AS first_name,
  lastName AS last_name,
  gender,
  level
FROM ranked
WHERE latest = 1;
