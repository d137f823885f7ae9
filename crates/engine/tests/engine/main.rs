//! The engine through its public surface: real files in a temporary directory.

mod failing_store;
mod fixture;
mod oracle;
mod read;
mod write;
