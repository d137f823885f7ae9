//! The wire contract of the job service: generated messages, service traits, and how errors travel.
//!
//! Data flow: `lakewright-client` -> messages of [`v1`] over gRPC -> the scheduler's service. [`status`] is the one place
//! where an [`ErrorKind`](lakewright_error::ErrorKind) becomes a status code and back.
//!
//! Invariant: names no other member than `error`.

pub mod status;

/// Version 1 of the contract, generated from `proto/lakewright/v1/jobs.proto`.
#[expect(
    warnings,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code keeps to other rules than ours"
)]
pub mod v1 {
    tonic::include_proto!("lakewright.v1");
}

/// The encoded descriptors of the contract, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The port that a scheduler listens on, and a client calls, unless told.
pub const DEFAULT_PORT: u16 = 50_040;

/// Largest message that is accepted, in bytes: 16 MiB of job files, and room for the rest of the request.
pub const MESSAGE_BYTES_MAX: usize = 17 << 20;
