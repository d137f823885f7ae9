//! `cluster`: the machines of a fleet on EMR.
//!
//! Data flow: the cluster's file and AWS's variables -> [`Cluster`] -> what it did -> [`crate::render::cluster`].
//!
//! Invariant: nothing that costs or is lost happens before the user has agreed, on a terminal or with `--yes`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use lakewright_cluster::{Artifacts, Aws, AwsSettings, Cluster, ClusterSpec, Pauses, TEMPLATE};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_scheduler::service::TokenFile;

use super::maintain::agree;
use crate::{
    args::{ClusterAction, ClusterArgs, ClusterFileArgs},
    exit::Outcome,
    place::Invocation,
    render::cluster::{AccessDocument, LogsDocument, access_text, deleted_text, logs_text, plan_text, status_text},
};

/// Whose token the one of this machine is.
const OPERATOR: &str = "operator";

/// Does what was asked of a cluster.
pub(super) async fn cluster(invocation: &Invocation, arguments: &ClusterArgs, now: DateTime<Utc>) -> Outcome {
    match &arguments.action {
        ClusterAction::Init(file) => init(invocation, file),
        ClusterAction::Plan(file) => plan(&Site::open(invocation, file).await?, invocation).await,
        ClusterAction::Create { file, no_wait, yes } => {
            let site = Site::open(invocation, file).await?;
            create(&site, invocation, !no_wait, *yes, now).await
        }
        ClusterAction::Status(file) => status(&Site::open(invocation, file).await?, invocation).await,
        ClusterAction::Resize { file, core, task } => {
            let site = Site::open(invocation, file).await?;
            let output = invocation.output;
            let resized = site.cluster.resize(*core, *task, &|line| output.note(line)).await?;
            if output.json { output.document(&resized) } else { Ok(()) }
        }
        ClusterAction::ClientConfig(file) => client_config(&Site::open(invocation, file).await?, invocation).await,
        ClusterAction::Logs { file, to } => logs(&Site::open(invocation, file).await?, invocation, to.as_deref()).await,
        ClusterAction::Delete { file, logs, yes } => {
            delete(&Site::open(invocation, file).await?, invocation, *logs, *yes).await
        }
    }
}

/// A cluster, and where this machine keeps what belongs to it.
struct Site {
    cluster: Cluster,
    /// Where relative files of the cluster's file are.
    base: PathBuf,
}

impl Site {
    async fn open(invocation: &Invocation, arguments: &ClusterFileArgs) -> Result<Self> {
        let environment = &invocation.environment;
        let path = environment.working_dir.join(&arguments.file);
        let text = fs::read_to_string(&path).map_err(|error| {
            Error::new(ErrorKind::Invalid, "cannot read the cluster's file")
                .with("file", path.display())
                .with_hint("`lakewright cluster init` writes one; --file names another")
                .with_source(error)
        })?;
        let spec = ClusterSpec::parse(&text).map_err(|error| error.with("file", arguments.file.display()))?;
        let settings = AwsSettings {
            variables: environment.variables.clone(),
            home: environment.variables.get("HOME").map(PathBuf::from),
            region: spec.region.clone(),
            pauses: Pauses::default(),
        };
        let aws = Aws::open(settings).await?;
        let base = path.parent().unwrap_or(&environment.working_dir).to_owned();
        Ok(Self { cluster: Cluster::new(spec, aws), base })
    }

    /// What this machine keeps of the cluster: the token, and the certificate of the scheduler's authority.
    fn folder(&self) -> PathBuf {
        self.base.join(".lakewright/clusters").join(&self.cluster.spec().name)
    }

    fn binary(&self) -> PathBuf {
        self.base.join(&self.cluster.spec().binary)
    }

    /// What nodes get; `None` if the program is not there yet.
    fn artifacts(&self, tokens: Option<Vec<u8>>) -> Result<Option<Artifacts>> {
        let path = self.binary();
        let binary = match fs::read(&path) {
            Ok(binary) => binary,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Error::new(ErrorKind::Invalid, "cannot read the program for the nodes")
                    .with("file", path.display())
                    .with_source(error));
            }
        };
        Artifacts::new(self.cluster.spec(), binary.into(), tokens.map(Into::into)).map(Some)
    }

    /// The hashes of the tokens that the scheduler is to let in. The first time makes one, for this machine.
    fn tokens(&self, now: DateTime<Utc>) -> Result<Vec<u8>> {
        let folder = self.folder();
        let file = TokenFile::new(folder.join("tokens.json"));
        let token = folder.join("token");
        if !token.exists() {
            make_private_folder(&folder)?;
            if file.read()?.iter().any(|token| token.name == OPERATOR) {
                file.revoke(OPERATOR)?;
            }
            let text = file.create(OPERATOR, now.timestamp_micros(), None)?;
            write_private(&token, text.as_bytes())?;
        }
        fs::read(file.path()).map_err(|error| unwritable(file.path(), error))
    }

    /// The hashes as they are; `None` before there are any.
    fn tokens_if_there(&self) -> Option<Vec<u8>> {
        fs::read(self.folder().join("tokens.json")).ok()
    }
}

fn init(invocation: &Invocation, arguments: &ClusterFileArgs) -> Outcome {
    let path = invocation.environment.working_dir.join(&arguments.file);
    let written = OpenOptions::new().write(true).create_new(true).open(&path);
    let written = written.and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
    written.map_err(|error| {
        let error_kind =
            if error.kind() == io::ErrorKind::AlreadyExists { ErrorKind::Invalid } else { ErrorKind::Denied };
        Error::new(error_kind, "cannot write the cluster's file").with("file", path.display()).with_source(error)
    })?;
    let shown = arguments.file.display();
    invocation.output.note(&format!("wrote {shown}: fill it in, then `lakewright cluster plan`"));
    Ok(())
}

async fn plan(site: &Site, invocation: &Invocation) -> Outcome {
    let artifacts = site.artifacts(site.tokens_if_there())?;
    let plan = site.cluster.plan(artifacts.as_ref()).await?;
    let output = invocation.output;
    if output.json {
        return output.document(&plan);
    }
    output.result(&plan_text(&plan, output.width, output.style))
}

async fn create(site: &Site, invocation: &Invocation, wait: bool, yes: bool, now: DateTime<Utc>) -> Outcome {
    let output = invocation.output;
    let missing = || {
        Error::new(ErrorKind::Invalid, "the program for the nodes is not there")
            .with("file", site.binary().display())
            .with_hint("`deploy/build` makes it; `binary` in the cluster's file names it")
    };
    if !yes {
        let artifacts = site.artifacts(site.tokens_if_there())?.ok_or_else(missing)?;
        let plan = site.cluster.plan(Some(&artifacts)).await?;
        output.note(&plan_text(&plan, output.width, output.stderr_style));
    }
    agree("Make it?", yes, &output)?;
    let artifacts = site.artifacts(Some(site.tokens(now)?))?.ok_or_else(missing)?;
    let created = site.cluster.create(&artifacts, wait, &|line| output.note(line)).await?;
    if output.json {
        return output.document(&created);
    }
    output.note("its clients: eval \"$(lakewright cluster client-config)\"; its end: lakewright cluster delete");
    output.result(&created.id)
}

async fn status(site: &Site, invocation: &Invocation) -> Outcome {
    let status = site.cluster.status().await?;
    let output = invocation.output;
    if output.json {
        return output.document(&status);
    }
    output.result(&status_text(&status, output.width, output.style))
}

async fn client_config(site: &Site, invocation: &Invocation) -> Outcome {
    let access = site.cluster.client_access().await?;
    let folder = site.folder();
    make_private_folder(&folder)?;
    let (authority, token) = (folder.join("ca.pem"), folder.join("token"));
    write_private(&authority, &access.authority)?;
    let output = invocation.output;
    let token = Some(token).filter(|token| token.exists());
    if token.is_none() {
        output.note(
            "warning: this machine has no token of the cluster: make one on its primary with `lakewright token create`",
        );
    }
    let document = AccessDocument::new(&access.scheduler, &authority, token.as_deref());
    if output.json {
        return output.document(&document);
    }
    output.result(&access_text(&document))
}

async fn logs(site: &Site, invocation: &Invocation, to: Option<&Path>) -> Outcome {
    let logs = site.cluster.logs().await?;
    let output = invocation.output;
    if let Some(to) = to {
        let folder = invocation.environment.working_dir.join(to);
        for log in &logs {
            let Some(path) = below(&folder, &log.path) else { continue };
            let bytes = site.cluster.read_log(log).await?;
            let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &bytes));
            written.map_err(|error| unwritable(&path, error))?;
        }
        output.note(&format!("{} logs are in {}", logs.len(), to.display()));
    }
    if output.json {
        return output.document(&LogsDocument { logs });
    }
    if to.is_some() {
        return Ok(());
    }
    if logs.is_empty() {
        output.note("there are no logs yet: EMR brings them every five minutes");
    }
    output.result(&logs_text(&logs, output.width, output.style))
}

/// A path below a folder; none if the object's name would lead out of it.
fn below(folder: &Path, name: &str) -> Option<PathBuf> {
    let is_plain = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    is_plain.then(|| folder.join(name))
}

async fn delete(site: &Site, invocation: &Invocation, logs: bool, yes: bool) -> Outcome {
    let output = invocation.output;
    let name = &site.cluster.spec().name;
    if !yes {
        let there = site.cluster.inventory().await?.remaining();
        output.note(&format!("of the cluster {name} there are: {}", there.join(", ")));
    }
    agree(&format!("Delete the cluster {name}?"), yes, &output)?;
    let deleted = site.cluster.delete(logs, &|line| output.note(line)).await?;
    // The authority has gone with its primary; the token is of no use any more.
    let folder = site.folder();
    if site.cluster.inventory().await?.is_empty() && folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
    }
    if output.json {
        return output.document(&deleted);
    }
    output.result(&deleted_text(&deleted))
}

fn make_private_folder(folder: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| unwritable(folder, error))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Denied, "cannot keep what belongs to the cluster")
        .with("file", path.display())
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_written_below_the_folder_or_not_at_all() {
        let folder = Path::new("/logs");
        assert_eq!(below(folder, "j-1/node/i-1/x.gz"), Some(PathBuf::from("/logs/j-1/node/i-1/x.gz")));
        for out in ["../x", "a/../../x", "/etc/x", "a//x", ""] {
            assert_eq!(below(folder, out), None, "{out}");
        }
    }
}
