//! Submits a job's folder and watches it to its end.
//!
//! `cargo run -p lakewright-client --example submit -- https://localhost:50040 ca.pem TOKEN jobs/music`

use std::{error::Error, fs, path::Path};

use lakewright_client::{Client, Target, v1};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, ca, token, folder] = arguments.as_slice() else {
        return Err("usage: submit ADDRESS CA TOKEN FOLDER".into());
    };
    let target = Target { address: address.clone(), token: Some(token.clone()), ca_pem: Some(fs::read(ca)?) };
    let client = Client::connect(&target).await?;

    let mut request = v1::SubmitRunRequest::default();
    collect(Path::new(folder), "", &mut request)?;
    let run = client.submit(request).await?;
    report(&format!("run {} has number {}", run.run_id, run.sequence));

    let mut watch = client.watch(&run.run_id);
    while let Some(event) = watch.next().await? {
        report(&format!("{}: {:?}", event.sequence, event.event));
    }
    Ok(())
}

/// Adds the `.toml`, `.sql` and `.yaml` files of a folder.
fn collect(folder: &Path, prefix: &str, request: &mut v1::SubmitRunRequest) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), request)?;
        } else if [".toml", ".sql", ".yaml"].iter().any(|end| name.ends_with(end)) {
            request.files.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it gets")]
fn report(line: &str) {
    println!("{line}");
}
