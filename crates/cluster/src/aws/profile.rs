//! Profiles of `~/.aws/credentials` and `~/.aws/config`.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use lakewright_error::{Error, ErrorKind, Result};
use object_store::aws::AwsCredential;

use super::AwsSettings;

/// Where a profile's credentials come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Written in the file.
    Keys(AwsCredential),
    /// Printed by a program that the profile names.
    Process(String),
    /// Of a kind that the `aws` command resolves: sign-on, another profile's role.
    AwsCommand,
}

/// One profile's keys and values, of both files.
#[derive(Debug, Default)]
pub(super) struct Profile(BTreeMap<String, String>);

impl Profile {
    /// Where the credentials of a profile come from; `None` if no file has it.
    ///
    /// # Errors
    /// - [`ErrorKind::Denied`]: a file cannot be read, or the profile says nothing of credentials.
    pub(super) fn read(settings: &AwsSettings, name: &str) -> Result<Option<Source>> {
        let file = |variable: &str, default: &str| {
            let set = settings.variables.get(variable).map(PathBuf::from);
            set.or_else(|| settings.home.as_ref().map(|home| home.join(".aws").join(default)))
        };
        let mut profile = None;
        for (path, section) in [
            (file("AWS_CONFIG_FILE", "config"), config_section(name)),
            (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name.to_owned()),
        ] {
            let Some(path) = path else { continue };
            match fs::read_to_string(&path) {
                Ok(text) => {
                    if let Some(found) = section_of(&text, &section) {
                        profile.get_or_insert_with(Self::default).0.extend(found);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Error::new(ErrorKind::Denied, "cannot read the AWS profiles")
                        .with("file", path.display())
                        .with_source(error));
                }
            }
        }
        match profile {
            None => Ok(None),
            Some(profile) => profile.source(name),
        }
    }

    fn source(mut self, name: &str) -> Result<Option<Source>> {
        let mut take = |key: &str| self.0.remove(key).filter(|value| !value.is_empty());
        if let (Some(key_id), Some(secret_key)) = (take("aws_access_key_id"), take("aws_secret_access_key")) {
            return Ok(Some(Source::Keys(AwsCredential { key_id, secret_key, token: take("aws_session_token") })));
        }
        if let Some(command) = take("credential_process") {
            return Ok(Some(Source::Process(command)));
        }
        let others = ["sso_session", "sso_start_url", "role_arn", "login_session", "credential_source"];
        if others.iter().any(|key| self.0.contains_key(*key)) {
            return Ok(Some(Source::AwsCommand));
        }
        // A profile of a region alone: the machine may have a role.
        if name == "default" {
            return Ok(None);
        }
        Err(Error::new(ErrorKind::Denied, "the AWS profile names no credentials").with("profile", name))
    }
}

fn config_section(name: &str) -> String {
    if name == "default" { name.to_owned() } else { format!("profile {name}") }
}

/// The pairs of one section of an INI file; `None` if it has none.
fn section_of(text: &str, section: &str) -> Option<BTreeMap<String, String>> {
    let mut pairs = None;
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.split_whitespace().eq(section.split_whitespace());
            if inside {
                pairs.get_or_insert_with(BTreeMap::new);
            }
        } else if inside
            && !line.starts_with(['#', ';', ' ', '\t'])
            && let (Some(pairs), Some((key, value))) = (pairs.as_mut(), line.split_once('='))
        {
            pairs.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &std::path::Path, config: &str, credentials: &str) -> AwsSettings {
        fs::create_dir_all(folder.join(".aws")).unwrap();
        fs::write(folder.join(".aws/config"), config).unwrap();
        fs::write(folder.join(".aws/credentials"), credentials).unwrap();
        AwsSettings { home: Some(folder.to_owned()), ..AwsSettings::default() }
    }

    #[test]
    fn each_kind_of_profile_leads_to_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let config = "[default]\nregion = x\n[profile sso]\nsso_session = s\n[profile tool]\ncredential_process = /bin/tool a=b\n\
                      [profile empty]\nregion=y\n";
        let credentials = "# mine\n[work]\naws_access_key_id = AKIA\naws_secret_access_key = se=cret\n\n[other]\n";
        let settings = settings(folder.path(), config, credentials);
        let read = |name: &str| Profile::read(&settings, name);
        let keys = AwsCredential { key_id: "AKIA".into(), secret_key: "se=cret".into(), token: None };
        assert_eq!(read("work").unwrap(), Some(Source::Keys(keys)));
        assert_eq!(read("sso").unwrap(), Some(Source::AwsCommand));
        assert_eq!(read("tool").unwrap(), Some(Source::Process("/bin/tool a=b".into())));
        assert_eq!(read("default").unwrap(), None);
        assert_eq!(read("none").unwrap(), None);
        assert_eq!(read("empty").unwrap_err().kind(), ErrorKind::Denied);
    }
}
