//! The data plane: a host of Ballista's executor.
