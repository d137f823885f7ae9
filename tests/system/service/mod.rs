//! The job service: real scheduler processes, called by real clients over real sockets.

mod access;
mod process;
mod python;
mod runs;
