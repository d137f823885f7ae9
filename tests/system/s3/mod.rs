//! Jobs over S3: the real program against a real server, through a proxy that counts requests and makes faults.
//!
//! Data flow: [`server`] is the S3 server with a user and a bucket -> [`proxy`] stands before it -> a project whose lake
//! and raw data are there -> the same rows as on the local disk.

mod faults;
pub(crate) mod proxy;
mod refusals;
pub(crate) mod server;
mod small;

use crate::project::{MUSIC_TABLES, Project, steps};
use proxy::Proxy;
use server::Server;

/// A music project with its raw data and its lake in a bucket.
pub(crate) struct Bucketed {
    pub(crate) project: Project,
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
    /// Raw objects in the bucket.
    raw_objects: u64,
}

impl Bucketed {
    /// Generated data in a new bucket; none if the machine has no such server.
    pub(crate) fn music(test: &str, events: u64, songs: u64, days: u32) -> Option<Self> {
        let server = Server::start(test, true)?;
        let mut project = Project::music(events, songs, days);
        let raw = project.path("data/raw");
        let raw = raw.to_str().expect("the path is text");
        let uploaded = server.script(&["upload", server.endpoint(), "music", raw, "raw"]);
        let proxy = Proxy::before(server.endpoint());
        project.set_variables(server.variables(proxy.endpoint()));
        let raw_objects = uploaded["objects"].as_u64().expect("a number");
        Some(Self { project, server, proxy, raw_objects })
    }
}

/// What the same data gives on the local disk.
pub(crate) fn local_contents(events: u64, songs: u64, days: u32) -> std::collections::BTreeMap<String, Vec<String>> {
    let local = Project::music(events, songs, days);
    local.succeed(&["run"]);
    local.contents(&MUSIC_TABLES)
}

#[test]
fn the_music_job_on_s3_gives_the_rows_of_the_local_one_and_of_other_engines() {
    let test = "the music job on S3";
    let Some(bucketed) = Bucketed::music(test, 600, 60, 4) else { return };
    bucketed.project.succeed(&["run"]);
    assert_eq!(bucketed.project.contents(&MUSIC_TABLES), local_contents(600, 60, 4));

    let again = bucketed.project.json(&["run"]);
    for (table, step) in steps(&again) {
        assert_eq!(step["action"]["work"], "skip", "{table}: {step}");
    }

    let copy = bucketed.project.path("copy");
    let folder = copy.to_str().expect("the path is text");
    bucketed.server.script(&["download", bucketed.server.endpoint(), "music", "lake", folder]);
    let raw = bucketed.project.path("data/raw");
    let counts = crate::engines::run_script(test, "music.py", &[&raw, &copy]).expect("the server's Python is there");
    assert_eq!(counts["rows"]["staging.events"], 600);
}

#[test]
fn small_objects_cost_one_request_each_and_few_listings() {
    let Some(bucketed) = Bucketed::music("requests on S3", 200, 1500, 2) else { return };
    bucketed.project.succeed(&["run"]);
    let requests = bucketed.proxy.requests();
    let of_raw = |prefix: &str| requests.iter().filter(|request| request.starts_with(prefix)).count() as u64;
    assert_eq!(of_raw("HEAD /music/raw/"), 0, "sizes come from the listing");
    assert_eq!(of_raw("GET /music/raw/"), bucketed.raw_objects, "one GET an object");
    let listings = requests.iter().filter(|request| request.contains("list-type=2") && request.contains("prefix=raw"));
    // A page for each 1,000 objects of the two sources, one look at whether the prefix is there, and for the source of
    // more than a page one request a folder on the way to those that are listed side by side.
    assert!(listings.count() <= 10, "{requests:?}");
    let (all, objects) = (requests.len() as u64, bucketed.raw_objects);
    assert!(all <= objects * 105 / 100 + 300, "{all} requests for {objects} objects");
}
