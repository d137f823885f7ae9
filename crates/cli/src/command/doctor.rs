//! `doctor`: whether everything that a run needs is there, and what to do if not.
//!
//! Invariant: one check's failure never hides another's; only `--write` writes, and it takes back what it wrote.

use std::path::Path;

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{Prefix, check_store, list_raw_objects};
use lakewright_scheduler::LakeCatalog;

use crate::{
    args::DoctorArgs,
    exit::{Failure, Findings, Outcome, UNHEALTHY},
    place::{Invocation, Place},
    render::{
        Output,
        failure::causes,
        json::{CheckedDocument, DoctorDocument},
        number::{bytes, counted},
        printable,
    },
};

/// Free space below which spilling and writing are at risk.
const FREE_BYTES_LOW: u64 = 1 << 30;

/// What came of one check.
enum Checked {
    Ok(String),
    Warn(String, String),
    Fail(String, String),
}

impl Checked {
    fn of(error: &Error, help: &str) -> Self {
        let mut detail = error.to_string();
        for cause in causes(error) {
            detail.push_str(&format!(": {cause}"));
        }
        Self::Fail(detail, error.hint().unwrap_or(help).to_owned())
    }

    fn document(self, name: &'static str) -> CheckedDocument {
        let (status, detail, help) = match self {
            Self::Ok(detail) => ("ok", detail, None),
            Self::Warn(detail, help) => ("warn", detail, Some(help)),
            Self::Fail(detail, help) => ("fail", detail, Some(help)),
        };
        CheckedDocument { name, status, detail, help }
    }
}

/// Checks the machine, the settings, the job, the raw data and the lake.
pub(super) async fn doctor(invocation: &Invocation, arguments: &DoctorArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let mut checks = vec![
        version().document("version"),
        memory(&place).document("memory"),
        Checked::Ok(counted(place.settings.threads as u64, "thread")).document("threads"),
        spill_dir(&place).document("spill directory"),
        project(&place).document("project"),
    ];
    if place.job.is_some() {
        checks.push(job(&place).document("job"));
        checks.push(raw(&place).await.document("raw data"));
    }
    let lake = lake(&place).await;
    let reachable = !matches!(lake, Checked::Fail(..));
    checks.push(lake.document("lake"));
    if arguments.write && reachable {
        let probed = match place.lake() {
            Ok(lake) => probe(&lake).await,
            Err(error) => Err(error),
        };
        let help = "check the permissions of the lake's location";
        let checked = probed.map_or_else(|error| Checked::of(&error, help), Checked::Ok);
        checks.push(checked.document("lake is writable"));
    }
    let healthy = checks.iter().all(|check| check.status != "fail");
    let document = DoctorDocument { healthy, checks, settings: place.settings.origins.clone() };
    let output = invocation.output;
    if output.json {
        output.document(&document)?;
    } else {
        output.result(&doctor_text(&document, &output))?;
    }
    if healthy { Ok(()) } else { Err(Failure::Told(UNHEALTHY)) }
}

fn version() -> Checked {
    let (own, datafusion) = (env!("CARGO_PKG_VERSION"), datafusion::DATAFUSION_VERSION);
    Checked::Ok(format!("lakewright {own}, DataFusion {datafusion}, {}", std::env::consts::ARCH))
}

fn memory(place: &Place) -> Checked {
    let (limit, machine) = (place.settings.memory_bytes, place.machine.memory_bytes);
    let whose = if place.machine.limited_by_cgroup { "the cgroup" } else { "the machine" };
    let detail = format!("{} for queries; {whose} has {}", bytes(limit), bytes(machine));
    if limit > machine / 10 * 9 {
        return Checked::Warn(detail, "leave a tenth to the rest of the process: set `memory` to 70%".to_owned());
    }
    Checked::Ok(detail)
}

/// Tries the directory, or the nearest one above it that is there: it is made by the first query.
fn spill_dir(place: &Place) -> Checked {
    let dir = &place.settings.spill_dir;
    let there = dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let help = "set `spill_dir` to a directory on a disk with free space".to_owned();
    if let Err(error) = tempfile::tempfile_in(there) {
        return Checked::Fail(format!("{} is not writable: {error}", dir.display()), help);
    }
    match free_bytes(there) {
        Some(free) if free < FREE_BYTES_LOW => {
            Checked::Warn(format!("{}, only {} free", dir.display(), bytes(free)), help)
        }
        Some(free) => Checked::Ok(format!("{}, {} free", dir.display(), bytes(free))),
        None => Checked::Ok(format!("{}, writable", dir.display())),
    }
}

/// Free space of the disk that holds `folder`.
fn free_bytes(folder: &Path) -> Option<u64> {
    let folder = folder.canonicalize().ok()?;
    let disks = sysinfo::Disks::new_with_refreshed_list();
    let holding = disks.list().iter().filter(|disk| folder.starts_with(disk.mount_point()));
    holding.max_by_key(|disk| disk.mount_point().as_os_str().len()).map(sysinfo::Disk::available_space)
}

fn project(place: &Place) -> Checked {
    let help = "go to a project's folder, or make one with `lakewright init`".to_owned();
    let Some(project) = &place.project else {
        return Checked::Warn("there is no project here".to_owned(), help);
    };
    match project.job_folders() {
        Ok(folders) if folders.is_empty() => Checked::Warn(format!("{}, no job", project.root.display()), help),
        Ok(folders) => Checked::Ok(format!("{}, {}", project.root.display(), counted(folders.len() as u64, "job"))),
        Err(error) => Checked::of(&error, &help),
    }
}

fn job(place: &Place) -> Checked {
    let help = "`lakewright check` shows what is wrong".to_owned();
    let compiled = place.planning_engine().map_err(Failure::from).and_then(|engine| place.compile(&engine, &[]));
    match compiled {
        Ok(compiled) => {
            let (name, models) = (&compiled.job.name, counted(compiled.job.models.len() as u64, "model"));
            Checked::Ok(format!("{name}, {models}"))
        }
        Err(Failure::Findings(findings)) => Checked::Fail(first_finding(&findings), help),
        Err(Failure::Error(error, _)) => Checked::of(&error, &help),
        Err(_) => Checked::Fail("the job does not compile".to_owned(), help),
    }
}

fn first_finding(findings: &Findings) -> String {
    let more = match findings.diagnostics.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    findings.diagnostics.first().map(|found| format!("{found}{more}")).unwrap_or_default()
}

async fn raw(place: &Place) -> Checked {
    let listed = async {
        let raw = Prefix::open(&place.raw_location()?)?;
        let objects = list_raw_objects(&raw, "").await?;
        let size = objects.iter().map(|object| object.size_bytes).sum();
        Ok((raw.display_location(), objects.len() as u64, size))
    };
    let help = "set `raw` to where the raw JSON is";
    match listed.await {
        Ok((location, 0, _)) => Checked::Warn(format!("{location} holds nothing"), help.to_owned()),
        Ok((location, objects, size)) => {
            Checked::Ok(format!("{location}, {}, {}", counted(objects, "object"), bytes(size)))
        }
        Err(error) => Checked::of(&error, help),
    }
}

async fn lake(place: &Place) -> Checked {
    let opened = async {
        let lake = place.lake()?;
        let location = lake.display_location();
        match LakeCatalog::open(&lake).await {
            Ok(catalog) => Ok((location, catalog.release, catalog.tables.len() as u64)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((location, None, 0)),
            Err(error) => Err(error),
        }
    };
    match opened.await {
        Ok((location, Some(release), tables)) => {
            Checked::Ok(format!("{location}, release {release}, {}", counted(tables, "table")))
        }
        Ok((location, None, _)) => Checked::Ok(format!("{location}, nothing published yet")),
        Err(error) => Checked::of(&error, "set `lake` to where the tables are"),
    }
}

/// Creates objects that nobody else can name, tries to create them again, reads them, and deletes them.
async fn probe(lake: &Prefix) -> Result<String> {
    check_store(lake).await?;
    Ok("an object can be created once, read and deleted".to_owned())
}

fn doctor_text(document: &DoctorDocument, output: &Output) -> String {
    let style = output.style;
    let width = document.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in &document.checks {
        let status = match check.status {
            "ok" => style.green("ok  "),
            "warn" => style.yellow("warn"),
            _ => style.red("fail"),
        };
        text.push_str(&format!("{status}  {:width$}  {}\n", check.name, printable(&check.detail)));
        if let Some(help) = &check.help {
            text.push_str(&format!("      {:width$}  {} {}\n", "", style.cyan("help:"), printable(help)));
        }
    }
    text.push_str("\nsettings\n");
    let width = document.settings.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    for setting in &document.settings {
        let value = if setting.value.is_empty() { "(as the job says)" } else { &setting.value };
        text.push_str(&format!(
            "  {:width$}  {}  {}\n",
            setting.key,
            printable(value),
            style.dim(&format!("({})", printable(&setting.origin)))
        ));
    }
    text
}
