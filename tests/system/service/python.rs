//! The Python example of the documentation, as it stands there.

use std::process::Command;

use super::process::Service;
use crate::{project::Project, requirement, tidy};

#[test]
fn the_python_example_submits_a_job_and_watches_it() {
    let test = "the Python example";
    let Some(python) = requirement::python(test) else { return };
    let has_grpc = Command::new(&python).args(["-c", "import grpc, grpc_tools"]).output().expect("Python starts");
    if !has_grpc.status.success() {
        requirement::skip(test, "a Python with grpcio and grpcio-tools");
        return;
    }
    let project = Project::music(50, 5, 1);
    let service = Service::start(&project);
    let output = Command::new(python)
        .arg(tidy::root().join("docs/example/submit.py"))
        .arg(project.path("jobs/music"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LAKEWRIGHT_SCHEDULER", format!("localhost:{}", service.port()))
        .env("LAKEWRIGHT_TOKEN", &service.token)
        .env("LAKEWRIGHT_CA", service.ca())
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("curated.songs: 5 rows") && said.contains("RUN_STATE_SUCCEEDED"), "{said}");
}
