//! The two places that the compiler cannot prove to be safe, each with its proof and a safe twin that tests compare it
//! with: vector instructions that search strings, and text that Arrow takes as it is.

#![expect(unsafe_code, reason = "both are on the hot path: without them, decoding text takes up to twice the time")]

pub(crate) mod scan;
pub(crate) mod text_buffer;
