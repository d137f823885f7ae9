//! Generates the contract's code from its .proto file, without protoc.

use std::{env, error::Error, fs, path::PathBuf};

const FILE: &str = "lakewright/v1/jobs.proto";

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script by its environment where to write")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_file(FILE)?;
    // What reflection tells.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().build_transport(false).compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
