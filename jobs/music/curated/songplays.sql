-- Song plays: one row per NextSong event, with the song of the catalogue if it is there. A new log adds the plays of its
-- instants; a change of the catalogue leads to all of them.
MODEL (
  kind           INCREMENTAL_BY_UNIQUE_KEY (unique_key start_time),
  partitioned_by (year, month),
  grain          songplay_id,
  expect (
    level_known  (level IN ('free', 'paid'))  ON VIOLATION FAIL,
    song_matched (song_id IS NOT NULL)        ON VIOLATION WARN    -- most songs are not in the catalogue
  ),
  audits (
    not_null      (columns := (user_id, start_time)),
    relationships (column := user_id, to := curated.users, field := user_id),
    relationships (column := song_id, to := curated.songs, field := song_id),
    relationships (column := start_time, to := curated.time, field := start_time)
  )
);
WITH plays AS (
  SELECT
    ts, userId, level, sessionId, location, userAgent, song, artist, length,
    timestamp_millis(ts) AS start_time,
    xxhash64(
      artist, auth, firstName, gender, itemInSession, lastName, length, level, location, method, page, registration,
      sessionId, song, status, ts, userAgent, userId
    ) AS event_hash
  FROM staging.events
  WHERE page = 'NextSong'
),
ranked_plays AS (
  -- Events of one hash are the same in every field, so it is all the same which of them comes first. (NULLs do not count
  -- in the hash, and one pair in many billions shares it by chance: then the numbers may change from run to run, or the
  -- grain fails.) Their instant is in the hash; beside it, it tells that plays of other instants do not matter.
  SELECT *, row_number() OVER (PARTITION BY event_hash, start_time ORDER BY event_hash) AS event_rank
  FROM plays
),
ranked_songs AS (
  SELECT
    title, artist_name, duration, song_id, artist_id,
    row_number() OVER (PARTITION BY title, artist_name, duration ORDER BY song_id, artist_id) AS song_rank
  FROM staging.songs
)
SELECT
  -- A number apart from the hash makes it unique, whatever the events are.
  concat(hex(p.event_hash), CASE WHEN p.event_rank = 1 THEN '' ELSE concat('-', CAST(p.event_rank AS STRING)) END)
    AS songplay_id,
  p.start_time,
  p.userId AS user_id,
  p.level,
  s.song_id,
  s.artist_id,
  p.sessionId AS session_id,
  p.location,
  p.userAgent AS user_agent,
  year(p.start_time) AS year,
  month(p.start_time) AS month
FROM ranked_plays p
LEFT JOIN ranked_songs s
  -- The catalogue may hold a song twice: the first song_id is taken, and a play stays one row.
  ON s.title = p.song AND s.artist_name = p.artist AND s.duration = p.length AND s.song_rank = 1;
