-- User activity: one JSON object a line, one file a day.
CREATE EXTERNAL TABLE raw.events (
  artist VARCHAR,
  auth VARCHAR,
  firstName VARCHAR,
  gender VARCHAR,
  itemInSession INT,
  lastName VARCHAR,
  length DOUBLE,           -- of the song, in seconds
  level VARCHAR,
  location VARCHAR,
  method VARCHAR,
  page VARCHAR,
  registration DOUBLE,     -- milliseconds since 1970
  sessionId BIGINT,
  song VARCHAR,
  status INT,
  ts BIGINT,               -- milliseconds since 1970
  userAgent VARCHAR,
  userId VARCHAR           -- '' when logged out
) STORED AS JSON LOCATION 'log_data/';
