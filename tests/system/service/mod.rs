//! The job service: real scheduler processes, called by real clients over real sockets.

mod access;
pub(crate) mod process;
mod python;
mod queue;
mod runs;
mod told;
