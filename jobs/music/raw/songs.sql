-- The song catalogue: one JSON object a file.
CREATE EXTERNAL TABLE raw.songs (
  num_songs INT,
  artist_id VARCHAR,
  artist_latitude DOUBLE,
  artist_longitude DOUBLE,
  artist_location VARCHAR,
  artist_name VARCHAR,
  song_id VARCHAR,
  title VARCHAR,
  duration DOUBLE,         -- in seconds
  year INT                 -- 0 when unknown
) STORED AS JSON LOCATION 'song_data/';
