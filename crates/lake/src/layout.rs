//! The names of all objects of a lake: pure functions from ids to keys.
