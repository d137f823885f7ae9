//! The Terraform module: that it is valid, and on demand that it makes what `cluster create` makes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::cloud::{Cloud, artifacts, block_on, file, program};
use crate::{
    project::{Answer, Project},
    requirement, tidy,
};

/// A configuration that uses the module as a team would, and reaches the tests' cloud.
const CONFIGURATION: &str = r#"
variable "endpoint" { type = string }
variable "subnet" { type = string }
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "AKIA"
  secret_key                  = "secret"
  s3_use_path_style           = true
  skip_metadata_api_check     = true
  endpoints {
    ec2 = var.endpoint
    emr = var.endpoint
    iam = var.endpoint
    s3  = var.endpoint
    sts = var.endpoint
  }
}
module "lakewright" {
  source                 = "../terraform"
  name                   = "music"
  subnet_id              = var.subnet
  binary                 = "${path.root}/program"
  allowed_cidrs          = ["10.20.0.0/16"]
  lake                   = { bucket = "clusters", prefix = "lake" }
  raw                    = [{ bucket = "clusters", prefix = "raw" }]
  artifacts              = { bucket = "clusters", prefix = "lakewright" }
  task                   = { type = "r6id.xlarge", count = 0, count_max = 4, bid_price = "0.30" }
  termination_protection = false
}
output "sha256" { value = module.lakewright.sha256 }
"#;

/// A folder with the module and a configuration that uses it, made ready to run.
struct Root(Project);

impl Root {
    /// None where terraform or the AWS provider is not installed, and it says so.
    fn new(test: &str) -> Option<Self> {
        if Command::new("terraform").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            requirement::skip(test, "terraform, which is not installed: the module is NOT CHECKED");
            return None;
        }
        let plugins = requirement::terraform_plugins();
        let Some(plugins) = plugins.filter(|plugins| plugins.join("registry.terraform.io/hashicorp/aws").exists())
        else {
            requirement::skip(test, "the AWS provider in LAKEWRIGHT_TERRAFORM_PLUGINS: the module is NOT CHECKED");
            return None;
        };
        let root = Self(Project::empty());
        for folder in ["emr", "terraform"] {
            copy(&tidy::root().join("deploy").join(folder), &root.0.path(folder));
        }
        root.0.write("root/main.tf", CONFIGURATION);
        root.0.write("terraform.rc", "");
        fs::write(root.0.path("root/program"), program()).expect("it can be written");
        root.terraform(&["init", "-input=false", &format!("-plugin-dir={}", plugins.display())]);
        Some(root)
    }

    fn terraform(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("terraform");
        command.args(arguments).current_dir(self.0.path("root")).stdin(Stdio::null());
        command.env("TF_CLI_CONFIG_FILE", self.0.path("terraform.rc")).env("TF_IN_AUTOMATION", "1");
        command.env("CHECKPOINT_DISABLE", "1").env("TF_CLI_ARGS", "-no-color");
        let answer = Answer::of(&mut command);
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:?}");
        answer.stdout
    }
}

fn copy(source: &Path, target: &PathBuf) {
    let copied = Command::new("cp").arg("-R").arg(source).arg(target).status().expect("cp starts");
    assert!(copied.success(), "{} to {}", source.display(), target.display());
}

#[test]
fn the_terraform_module_is_valid_and_formatted() {
    let Some(root) = Root::new("terraform validate") else { return };
    root.terraform(&["validate"]);
    root.terraform(&["fmt", "-check", "-diff", "../terraform"]);
}

#[test]
fn the_terraform_module_makes_what_create_makes_and_takes_it_down() {
    let test = "terraform apply and destroy (two minutes)";
    if requirement::number("LAKEWRIGHT_TERRAFORM_APPLY").is_none() {
        requirement::skip(test, "LAKEWRIGHT_TERRAFORM_APPLY=1");
        return;
    }
    let Some(root) = Root::new(test) else { return };
    let Some(cloud) = Cloud::start(test) else { return };
    let subnet = cloud.fresh();
    let variables = [format!("-var=endpoint={}", cloud.endpoint()), format!("-var=subnet={subnet}")];
    let [endpoint, subnet_variable] = [&variables[0], &variables[1]].map(String::as_str);
    root.terraform(&["apply", "-auto-approve", "-input=false", endpoint, subnet_variable]);
    let made = cloud.listing();
    let sha256: Value = serde_json::from_str(&root.terraform(&["output", "-json", "sha256"])).expect("a text");
    root.terraform(&["destroy", "-auto-approve", "-input=false", endpoint, subnet_variable]);
    let left = cloud.listing();
    assert!(left.as_object().expect("an object").values().all(|names| *names == json!([])), "left behind: {left}");

    block_on(async {
        let one_network = |text: String| {
            let text = text.replace("[\"10.20.0.0/16\", \"2001:db8::/48\"]", "[\"10.20.0.0/16\"]");
            text.replace("count = 1", "count = 0\ncount_max = 4")
        };
        let cluster = cloud.cluster(&subnet, one_network).await;
        let artifacts = artifacts(&cluster);
        assert_eq!(sha256, artifacts.sha256, "nodes of both ways are alike");
        cluster.create(&artifacts, true, &|_| {}).await.expect("it is made");
        assert_eq!(made, cloud.listing(), "both ways make the same: {}", file(&subnet));
    });
}
