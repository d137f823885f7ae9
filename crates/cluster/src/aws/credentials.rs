//! Whose credentials requests are signed with.
//!
//! Data flow: variables, else the profile of `~/.aws`, else what the machine has (web identity, ECS, EC2's role): the order
//! of AWS's own tools.
//!
//! Invariant: a profile that is named and cannot be used is an error; nothing else is tried behind the user's back.

use std::{fmt, process::Command, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use lakewright_error::{Error, ErrorKind, Result};
use object_store::{
    CredentialProvider, StaticCredentialProvider,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    AwsSettings,
    profile::{Profile, Source},
};

/// How long credentials of a profile are used before they are looked up again: those of a sign-on end some time.
const HELD_FOR: Duration = Duration::from_secs(300);

/// Credentials of the profile that `AWS_PROFILE` names, looked up when they are needed; `None` if it names none.
///
/// They are for a process that goes on for longer than they are valid.
#[must_use]
pub fn profile_credentials(settings: AwsSettings) -> Option<AwsCredentialProvider> {
    settings.variables.get("AWS_PROFILE").filter(|name| !name.is_empty())?;
    Some(Arc::new(OfProfile { settings, held: Mutex::new(None) }))
}

struct OfProfile {
    settings: AwsSettings,
    held: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

#[async_trait]
impl CredentialProvider for OfProfile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // Whoever comes while they are looked up waits for them.
        let mut held = self.held.lock().await;
        if let Some((since, credential)) = held.as_ref()
            && since.elapsed() < HELD_FOR
        {
            return Ok(Arc::clone(credential));
        }
        let found = find(&self.settings).await.map_err(|error| object_store::Error::Unauthenticated {
            path: "the AWS profile".to_owned(),
            source: Box::new(error),
        })?;
        let credential = found.get_credential().await?;
        *held = Some((Instant::now(), Arc::clone(&credential)));
        Ok(credential)
    }
}

impl fmt::Debug for OfProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Variables and credentials are secrets.
        f.debug_struct("OfProfile").finish_non_exhaustive()
    }
}

/// What a program that gives credentials prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// Finds credentials.
pub(super) async fn find(settings: &AwsSettings) -> Result<AwsCredentialProvider> {
    let variable = |name: &str| settings.variables.get(name).filter(|value| !value.is_empty()).cloned();
    let named = variable("AWS_PROFILE");
    if named.is_none()
        && let (Some(key_id), Some(secret_key)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
    {
        return Ok(fixed(AwsCredential { key_id, secret_key, token: variable("AWS_SESSION_TOKEN") }));
    }
    let name = named.clone().unwrap_or_else(|| "default".to_owned());
    match Profile::read(settings, &name)? {
        Some(Source::Keys(credential)) => Ok(fixed(credential)),
        Some(Source::Process(command)) => printed_by(vec!["/bin/sh".into(), "-c".into(), command], &name).await,
        // Sign-on, roles of other profiles: the aws command knows all of them.
        Some(Source::AwsCommand) => {
            let words = ["aws", "configure", "export-credentials", "--format", "process", "--profile"];
            let command = words.iter().map(ToString::to_string).chain([name.clone()]).collect();
            printed_by(command, &name).await
        }
        None if named.is_some() => Err(Error::new(ErrorKind::Denied, "there is no such AWS profile")
            .with("profile", name)
            .with_hint("`aws configure list-profiles` names them; AWS_PROFILE chooses one")),
        None => of_machine(settings),
    }
}

fn fixed(credential: AwsCredential) -> AwsCredentialProvider {
    Arc::new(StaticCredentialProvider::new(credential))
}

async fn printed_by(command: Vec<String>, profile: &str) -> Result<AwsCredentialProvider> {
    let shown = command.join(" ");
    let failed = |why: String| {
        Error::new(ErrorKind::Denied, "the AWS profile gives no credentials")
            .with("profile", profile)
            .with("command", &shown)
            .with_hint("sign in (`aws sso login`), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
            .with_source(std::io::Error::other(why))
    };
    let run = tokio::task::spawn_blocking(move || {
        let (program, arguments) = command.split_first().ok_or_else(|| "there is no command".to_owned())?;
        Command::new(program).args(arguments).output().map_err(|error| error.to_string())
    });
    let output = run.await.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    // What was printed is a secret: it is never shown.
    let printed: Printed =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("it printed no credentials".to_owned()))?;
    if printed.version != 1 {
        return Err(failed("it printed credentials of an unknown version".to_owned()));
    }
    let Printed { access_key_id: key_id, secret_access_key: secret_key, session_token: token, .. } = printed;
    Ok(fixed(AwsCredential { key_id, secret_key, token }))
}

/// What the machine itself has.
fn of_machine(settings: &AwsSettings) -> Result<AwsCredentialProvider> {
    let mut builder = AmazonS3Builder::new().with_bucket_name("credentials").with_region(&settings.region);
    for (name, value) in settings.variables.iter().filter(|(name, _)| name.starts_with("AWS_")) {
        // Those that the store does not know are none of its business.
        if let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder.with_allow_http(true).build().map_err(unusable)?;
    Ok(Arc::clone(store.credentials()))
}

pub(super) fn unusable(error: object_store::Error) -> Error {
    Error::new(ErrorKind::Invalid, "the AWS settings cannot be used").with_source(error)
}
