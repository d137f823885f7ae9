//! `certs`: an authority of one's own, and a server certificate that it has signed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use chrono::{DateTime, Datelike, Duration, Utc};
use lakewright_error::{Error, ErrorKind, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::{args::CertsArgs, exit::Outcome, place::Invocation, render::json::CertsDocument};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const SERVER: &str = "server.pem";
const SERVER_KEY: &str = "server-key.pem";

/// Days that an authority is valid.
const CA_DAYS: u32 = 3650;

/// Makes the certificates of a scheduler.
pub(super) fn certs(invocation: &Invocation, arguments: &CertsArgs, now: DateTime<Utc>) -> Outcome {
    let place = invocation.any_place(None)?;
    let folder = &place.settings.certs;
    let hosts = hosts(&arguments.hosts, sysinfo::System::host_name());
    if arguments.renew {
        renew(folder, &hosts, arguments.days, now)?;
    } else {
        create(folder, &hosts, arguments.days, now)?;
    }
    let document =
        CertsDocument { folder: folder.display().to_string(), ca: folder.join(CA).display().to_string(), hosts };
    let output = invocation.output;
    if output.json {
        return output.document(&document);
    }
    output.result(&format!(
        "{0}/{SERVER} and {0}/{SERVER_KEY} are the scheduler's, valid for {1}\n{2} is for its clients: LAKEWRIGHT_CA\n{0}/{CA_KEY} makes further certificates: keep it where nobody else reads it\n",
        place.shown(folder),
        document.hosts.join(", "),
        place.shown(&folder.join(CA)),
    ))
}

fn hosts(asked: &[String], own: Option<String>) -> Vec<String> {
    let fixed = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut hosts: Vec<String> = Vec::new();
    for host in asked.iter().cloned().chain(own.filter(|own| !own.is_empty())).chain(fixed) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn create(folder: &Path, hosts: &[String], days: u32, now: DateTime<Utc>) -> Result<()> {
    if let Some(there) =
        [CA, CA_KEY, SERVER, SERVER_KEY].map(|name| folder.join(name)).iter().find(|path| path.exists())
    {
        return Err(Error::new(ErrorKind::Conflict, "there are certificates already")
            .with("file", there.display())
            .with_hint(
                "--renew makes a new server certificate by the same authority; to begin anew, delete the folder",
            ));
    }
    let key = KeyPair::generate().map_err(unmakeable)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Lakewright authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, CA_DAYS, now);
    let certificate = params.self_signed(&key).map_err(unmakeable)?;
    let (server, server_key) = sign(&Issuer::new(params, &key), hosts, days, now)?;
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    write(&folder.join(CA_KEY), &key.serialize_pem(), true)?;
    write(&folder.join(CA), &certificate.pem(), false)?;
    write(&folder.join(SERVER_KEY), &server_key, true)?;
    write(&folder.join(SERVER), &server, false)
}

fn renew(folder: &Path, hosts: &[String], days: u32, now: DateTime<Utc>) -> Result<()> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|error| {
            Error::new(ErrorKind::Invalid, "cannot read the authority")
                .with("file", path.display())
                .with_hint("`lakewright certs` without --renew makes one")
                .with_source(error)
        })
    };
    let key = KeyPair::from_pem(&read(CA_KEY)?).map_err(unmakeable)?;
    let issuer = Issuer::from_ca_cert_pem(&read(CA)?, &key).map_err(unmakeable)?;
    let (server, server_key) = sign(&issuer, hosts, days, now)?;
    write(&folder.join(SERVER_KEY), &server_key, true)?;
    write(&folder.join(SERVER), &server, false)
}

fn sign(issuer: &Issuer<'_, &KeyPair>, hosts: &[String], days: u32, now: DateTime<Utc>) -> Result<(String, String)> {
    let key = KeyPair::generate().map_err(unmakeable)?;
    let mut params = CertificateParams::new(hosts).map_err(|error| {
        Error::new(ErrorKind::Invalid, "a host's name cannot stand in a certificate").with_source(error)
    })?;
    params.distinguished_name.push(DnType::CommonName, "Lakewright scheduler");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, days, now);
    let certificate = params.signed_by(&key, issuer).map_err(unmakeable)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// From the day before, for clocks that are behind.
fn set_validity(params: &mut CertificateParams, days: u32, now: DateTime<Utc>) {
    let day = |time: DateTime<Utc>| {
        let (month, day) = (u8::try_from(time.month()).unwrap_or(1), u8::try_from(time.day()).unwrap_or(1));
        date_time_ymd(time.year(), month, day)
    };
    params.not_before = day(now - Duration::days(1));
    params.not_after = day(now + Duration::days(i64::from(days) + 1));
}

/// Writes a file; one that is secret is its owner's alone from the start.
fn write(path: &Path, text: &str, secret: bool) -> Result<()> {
    let fresh = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
    let written = options.open(&fresh).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&fresh, path)).map_err(|error| unwritable(path, error))
}

fn unmakeable(error: rcgen::Error) -> Error {
    Error::new(ErrorKind::Invalid, "the certificate cannot be made").with_source(error)
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Denied, "cannot write the certificates").with("file", path.display()).with_source(error)
}
