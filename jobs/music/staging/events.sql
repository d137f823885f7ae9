-- User activity, one row per raw event. A new daily log adds its rows, a changed one replaces them.
MODEL (kind INCREMENTAL_BY_FILE);
SELECT
  artist, auth, firstName, gender, itemInSession, lastName, length, level, location, method, page, registration,
  sessionId, song, status, ts, userAgent, userId
FROM raw.events;
