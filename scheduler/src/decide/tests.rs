//! Tables of what is decided, and why.

use lakewright_compiler::{IntervalUnit, ModelKind, OnDelete, Param, ParamType, ParamValue, Side, TimeRange};
use lakewright_lake::{
    RawObject,
    state::{Format, Release, ReleasedView, Unit},
};

use super::*;
use crate::{
    RunOptions,
    evidence::{UnseenFiles, resolve},
    run::tests::world::{job, model, name, schema},
};

fn object(key: &str, size_bytes: u64) -> RawObject {
    RawObject { key: key.to_owned(), size_bytes, etag: None, modified_us: 0 }
}

fn events(count: u64) -> Vec<RawObject> {
    (0..count).map(|number| object(&format!("events/{number:03}.json"), 1)).collect()
}

/// A job, what its lake has, and what its sources list.
struct Case {
    job: Job,
    options: RunOptions,
    base: Option<Release>,
    listings: BTreeMap<TableName, Vec<RawObject>>,
    ledgers: BTreeMap<TableName, Vec<Unit>>,
    unseen_files: BTreeMap<TableName, Vec<&'static str>>,
    /// Whether versions that were consumed are gone.
    vacuumed: bool,
    now_us: i64,
    /// Of these, paths whose rows lie together in one file.
    together: Vec<BTreeSet<String>>,
}

impl Case {
    /// The job after a first run that has read 40 event objects and one song object.
    fn published() -> Self {
        let mut case = Self {
            job: job("music"),
            options: RunOptions::default(),
            base: None,
            listings: BTreeMap::from([
                (name("raw.events"), events(40)),
                (name("raw.songs"), vec![object("songs/1.json", 1)]),
            ]),
            ledgers: BTreeMap::new(),
            unseen_files: BTreeMap::new(),
            vacuumed: false,
            now_us: 0,
            together: Vec::new(),
        };
        case.publish();
        case
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = resolve(&self.job, &self.options, self.base.clone()).unwrap();
        let listings = self.listings.iter();
        evidence.listings = listings.map(|(name, objects)| (name.clone(), Listing::new(objects.clone()))).collect();
        evidence.ledgers = self.ledgers.clone();
        let unseen = self.unseen_files.iter();
        let unseen = unseen.map(|(name, paths)| {
            let paths = paths.iter().map(ToString::to_string).collect();
            (name.clone(), UnseenFiles { paths, together: self.together.clone() })
        });
        evidence.unseen_files = unseen.collect();
        evidence.now_us = self.now_us;
        if self.vacuumed {
            let gone = BTreeMap::from([(name("staging.events"), None)]);
            evidence.turnovers = BTreeMap::from([(name("curated.by_song"), gone)]);
        }
        evidence
    }

    /// Makes a release in which every table has version 3 and has consumed what there is.
    fn publish(&mut self) {
        let evidence = self.evidence();
        let mut tables = BTreeMap::new();
        for model in &self.job.models {
            let lineage = &evidence.lineages[&model.name];
            let raws = lineage.sources.iter().map(|source| {
                let listing = &evidence.listings[source];
                let (objects, bytes) = (listing.objects.len() as u64, listing.bytes);
                (source.to_string(), InputState::Raw { digest: listing.digest.clone(), objects, bytes })
            });
            let upstream = lineage.tables.iter().map(|table| (table.to_string(), InputState::Table { version: 3 }));
            let is_view = model.kind == ModelKind::View;
            let view = ReleasedView {
                sql: model.query.sql.clone(),
                reads: model.query.reads.iter().map(ToString::to_string).collect(),
            };
            let entry = ReleasedTable {
                job: self.job.name.clone(),
                run_id: "r".to_owned(),
                release: 1,
                kind: model.kind.keyword().to_owned(),
                fingerprint: evidence.fingerprints[&model.name].clone(),
                schema: schema(),
                partition_columns: vec![],
                description: None,
                version: (!is_view).then_some(3),
                rows: 0,
                files: 0,
                bytes: 0,
                view: is_view.then_some(view),
                inputs: raws.chain(upstream).collect(),
                ledger: vec![1],
                covered: Vec::new(),
                checks: evidence.check_digests.get(&model.name).cloned(),
                checked_against: BTreeMap::new(),
                origins: None,
                rows_since: None,
            };
            tables.insert(model.name.to_string(), entry);
            let units = lineage.sources.iter().flat_map(|source| {
                let input = source.to_string();
                evidence.listings[source].objects.iter().map(move |object| Unit::raw(&input, object))
            });
            self.ledgers.insert(model.name.clone(), units.collect());
        }
        let (run_id, job, nonce) = ("r".to_owned(), self.job.name.clone(), String::new());
        self.base = Some(Release { format: Format, number: 1, run_id, job, nonce, created_us: 0, tables });
    }

    fn model(&mut self, table: &str) -> &mut Model {
        self.job.models.iter_mut().find(|model| model.name == name(table)).unwrap()
    }

    fn entry(&mut self, table: &str) -> &mut ReleasedTable {
        self.base.as_mut().unwrap().tables.get_mut(table).unwrap()
    }

    fn decide(&self) -> Vec<(StepWork, String)> {
        let decisions = decide(&self.job, &self.evidence()).unwrap();
        decisions.into_iter().map(|decision| (decision.action.work, decision.action.reason)).collect()
    }
}

use StepWork::{Append, Define, Replace, Skip, Update};

/// Checks works and reasons of staging.events, curated.plays, curated.top, curated.by_song.
#[track_caller]
fn assert_decided(case: &Case, expected: [(StepWork, &str); 4]) {
    let decided = case.decide();
    let expected = expected.map(|(work, reason)| (work, reason.to_owned()));
    assert_eq!(decided, expected);
}

const SAME: (StepWork, &str) = (Skip, "nothing changed");

#[test]
fn everything_is_new_on_an_empty_lake() {
    let case = Case { base: None, ..Case::published() };
    assert_decided(
        &case,
        [(Replace, "first run"), (Replace, "first run"), (Define, "first run"), (Replace, "first run")],
    );
}

#[test]
fn nothing_is_done_when_nothing_has_changed() {
    assert_decided(&Case::published(), [SAME; 4]);
}

#[test]
fn new_objects_are_appended_through_the_tables_that_they_drive() {
    let mut case = Case::published();
    case.listings.insert(name("raw.events"), events(42));
    assert_decided(
        &case,
        [
            (Append, "raw.events: 2 new objects"),
            (Append, "staging.events has new files"),
            SAME,
            (Replace, "staging.events has new files"),
        ],
    );
}

#[test]
fn a_changed_object_updates_what_was_appended_from_it() {
    let mut case = Case::published();
    case.listings.get_mut(&name("raw.events")).unwrap()[7].size_bytes = 9;
    assert_decided(
        &case,
        [
            (Update, "raw.events: 1 changed object (events/007.json)"),
            (Update, "rows of staging.events are replaced"),
            SAME,
            (Replace, "rows of staging.events are replaced"),
        ],
    );
}

#[test]
fn rows_of_vanished_objects_go_where_the_source_says_so() {
    let mut case = Case::published();
    case.job.sources.get_mut(&name("raw.events")).unwrap().options.on_delete = OnDelete::Remove;
    case.listings.get_mut(&name("raw.events")).unwrap().truncate(39);
    assert_decided(
        &case,
        [
            (Update, "raw.events: 1 gone object"),
            (Update, "rows of staging.events are replaced"),
            SAME,
            (Replace, "rows of staging.events are replaced"),
        ],
    );
    assert_eq!(decide(&case.job, &case.evidence()).unwrap()[0].notes, Vec::<String>::new());
}

#[test]
fn one_vanished_object_fails_a_run_where_the_source_says_so_unless_it_is_accepted() {
    let mut case = Case::published();
    case.job.sources.get_mut(&name("raw.events")).unwrap().options.on_delete = OnDelete::Fail;
    case.listings.get_mut(&name("raw.events")).unwrap().truncate(39);
    let error = decide(&case.job, &case.evidence()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("events/039.json"), "{error}");
    case.options.accept_losses = true;
    assert_decided(&case, [SAME; 4]);
}

#[test]
fn rows_of_vanished_objects_stay_and_a_note_says_so() {
    let mut case = Case::published();
    case.listings.get_mut(&name("raw.events")).unwrap().truncate(38);
    assert_decided(&case, [SAME; 4]);
    let decisions = decide(&case.job, &case.evidence()).unwrap();
    assert_eq!(
        decisions[0].notes,
        ["staging.events: raw.events: 2 gone objects; rows of objects that have gone stay until a full refresh"]
    );
}

#[test]
fn losing_more_than_one_in_twenty_at_once_fails_unless_it_is_accepted() {
    let mut case = Case::published();
    case.listings.get_mut(&name("raw.events")).unwrap().truncate(37);
    let error = decide(&case.job, &case.evidence()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("3 of 40"), "{error}");
    // A refresh would take the rows of the lost objects away.
    case.options.full_refresh = true;
    assert_eq!(decide(&case.job, &case.evidence()).unwrap_err().kind(), ErrorKind::Corrupt);
    case.options.accept_losses = true;
    assert_eq!(case.decide()[0], (Replace, "full refresh".to_owned()));
}

#[test]
fn objects_known_to_have_gone_are_not_lost_again() {
    let mut case = Case::published();
    case.listings.get_mut(&name("raw.events")).unwrap().truncate(37);
    let ledger = case.ledgers.get_mut(&name("staging.events")).unwrap();
    let gone: Vec<Unit> = ledger[38..].iter().map(|unit| Unit { gone: true, ..unit.clone() }).collect();
    ledger.extend(gone);
    assert_decided(&case, [SAME; 4]);
}

#[test]
fn a_changed_query_rebuilds_its_table_and_what_reads_it() {
    let mut case = Case::published();
    case.model("staging.events").canonical.push_str(" changed");
    let changed = "the query, a parameter or a source's declaration changed";
    let rebuilt = "staging.events is rebuilt";
    assert_decided(&case, [(Replace, changed), (Replace, rebuilt), SAME, (Replace, rebuilt)]);
}

#[test]
fn a_changed_view_is_defined_and_rebuilds_what_reads_it() {
    let mut case = Case::published();
    let view = case.model("curated.top");
    view.query.sql.push_str(" + 1");
    view.canonical.push_str(" + 1");
    let changed = "the query, a parameter or a source's declaration changed";
    assert_decided(&case, [SAME, SAME, (Define, changed), (Replace, changed)]);
}

#[test]
fn a_changed_declaration_of_a_source_rebuilds_what_reads_it() {
    let mut case = Case::published();
    case.job.sources.get_mut(&name("raw.songs")).unwrap().canonical.push_str(" changed");
    let changed = "the query, a parameter or a source's declaration changed";
    assert_decided(&case, [SAME, SAME, SAME, (Replace, changed)]);
}

#[test]
fn a_parameter_counts_only_where_it_is_used() {
    let mut case = Case::published();
    let set = |case: &mut Case, value| {
        let param = Param { param_type: ParamType::Double, value: ParamValue::Double(value) };
        case.job.params.insert("min".to_owned(), param);
    };
    set(&mut case, 0.0);
    case.model("curated.by_song").query.params = vec!["min".to_owned()];
    case.publish();
    assert_decided(&case, [SAME; 4]);
    set(&mut case, 1.0);
    let changed = "the query, a parameter or a source's declaration changed";
    assert_decided(&case, [SAME, SAME, SAME, (Replace, changed)]);
}

#[test]
fn a_model_that_uses_the_time_is_never_skipped_and_one_that_uses_the_run_id_is() {
    let mut case = Case::published();
    case.model("staging.events").query.params = vec!["run_id".to_owned()];
    case.model("curated.top").query.params = vec!["execution_ts".to_owned()];
    case.publish();
    let time = "it uses the time of the run";
    assert_decided(&case, [SAME, SAME, (Define, time), (Replace, time)]);
}

#[test]
fn only_the_driving_input_may_grow_in_an_incremental_model() {
    let mut case = Case::published();
    let kind = ModelKind::IncrementalByFile { driving: name("raw.songs") };
    *case.model("curated.by_song") = model("curated.by_song", kind, &["curated.top", "raw.songs"], &[]);
    case.publish();
    case.listings.get_mut(&name("raw.songs")).unwrap().push(object("songs/2.json", 1));
    assert_decided(&case, [SAME, SAME, SAME, (Append, "raw.songs: 1 new object")]);
    case.listings.insert(name("raw.events"), events(41));
    assert_eq!(case.decide()[3], (Replace, "staging.events has new files, and only raw.songs may change".to_owned()));
}

/// `curated.by_song` computes by key over the events of staging, and reads the songs as a whole.
fn by_key() -> Case {
    let mut case = Case::published();
    let side = Side { key: vec!["id".to_owned()], filters: vec![] };
    let sides = BTreeMap::from([(name("staging.events"), vec![side])]);
    let kind = ModelKind::IncrementalByUniqueKey { key: vec!["id".to_owned()], sides };
    *case.model("curated.by_song") = model("curated.by_song", kind, &["staging.events", "raw.songs"], &[]);
    case.publish();
    case
}

#[test]
fn rows_are_computed_by_key_while_all_that_changes_tells_its_keys() {
    let mut case = by_key();
    assert_eq!(case.decide()[3], (Skip, "nothing changed".to_owned()));
    case.listings.insert(name("raw.events"), events(41));
    assert_eq!(case.decide()[3], (Update, "staging.events has new files".to_owned()));
    case.listings.get_mut(&name("raw.songs")).unwrap().push(object("songs/2.json", 1));
    let why = "raw.songs: 1 new object, and its rows do not tell which rows they change";
    assert_eq!(case.decide()[3], (Replace, why.to_owned()));

    let mut case = by_key();
    case.model("staging.events").canonical.push_str(" changed");
    assert_eq!(case.decide()[3], (Replace, "staging.events is rebuilt".to_owned()));
    let mut case = by_key();
    case.entry("staging.events").version = Some(4);
    assert_eq!(case.decide()[3], (Update, "staging.events has changed".to_owned()));
    case.vacuumed = true;
    let why = "staging.events has changed, and files that were read are gone";
    assert_eq!(case.decide()[3], (Replace, why.to_owned()));
}

#[test]
fn a_table_by_time_is_computed_where_intervals_are_missing_or_asked_for() {
    const DAY: i64 = 86_400_000_000;
    let mut case = Case::published();
    let side = Side { key: vec!["id".to_owned()], filters: vec![] };
    let sides = BTreeMap::from([(name("staging.events"), vec![side])]);
    let range = TimeRange { column: "id".to_owned(), start_us: Some(DAY), unit: IntervalUnit::Day, lookback: None };
    let kind = ModelKind::IncrementalByTimeRange { range, sides };
    *case.model("curated.by_song") = model("curated.by_song", kind, &["staging.events"], &[]);
    case.publish();
    case.now_us = 5 * DAY + 1;
    case.entry("curated.by_song").covered = vec![(DAY, 4 * DAY)];
    assert_eq!(case.decide()[3], (Update, "1970-01-05 to 1970-01-06 is missing".to_owned()));
    case.entry("curated.by_song").covered = vec![(DAY, 5 * DAY)];
    assert_eq!(case.decide()[3], (Skip, "nothing changed".to_owned()));
    (case.options.start_us, case.options.end_us) = (Some(0), Some(2 * DAY));
    assert_eq!(case.decide()[3], (Update, "1970-01-02 to 1970-01-03 is asked for".to_owned()));
    case.listings.insert(name("raw.events"), events(41));
    let both = "staging.events has new files; 1970-01-02 to 1970-01-03 is asked for";
    assert_eq!(case.decide()[3], (Update, both.to_owned()));
}

#[test]
fn files_that_an_earlier_run_gave_to_the_driving_table_alone_are_appended() {
    let mut case = Case::published();
    case.entry("staging.events").version = Some(4);
    let unit =
        |key: &str| Unit { input: "staging.events".to_owned(), key: key.to_owned(), ..Unit::raw("", &object("", 1)) };
    case.ledgers.insert(name("curated.plays"), vec![unit("a.parquet"), unit("b.parquet")]);
    case.unseen_files.insert(name("curated.plays"), vec!["a.parquet", "b.parquet", "c.parquet"]);
    assert_eq!(case.decide()[1], (Append, "staging.events has new files".to_owned()));
    case.unseen_files.insert(name("curated.plays"), vec!["b.parquet", "c.parquet"]);
    assert_eq!(case.decide()[1], (Update, "staging.events has changed".to_owned()));
}

#[test]
fn what_is_not_selected_is_left_alone_and_read_as_it_was_published() {
    let mut case = Case::published();
    case.options.select = vec!["curated.by_song".to_owned()];
    case.model("staging.events").canonical.push_str(" changed");
    let not_selected = (Skip, "not selected");
    assert_decided(&case, [not_selected, not_selected, not_selected, SAME]);
}

#[test]
fn reading_what_is_neither_selected_nor_published_is_an_error_that_names_both() {
    let case = Case { base: None, ..Case::published() };
    let options = RunOptions { select: vec!["curated.plays".to_owned()], ..RunOptions::default() };
    let error = resolve(&case.job, &options, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains("staging.events") && text.contains("curated.plays"), "{text}");
}

#[test]
fn a_table_of_another_job_is_a_conflict() {
    let mut case = Case::published();
    case.entry("curated.plays").job = "other".to_owned();
    assert_eq!(decide(&case.job, &case.evidence()).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn a_full_refresh_rebuilds_everything_that_is_selected() {
    let mut case = Case::published();
    case.options.full_refresh = true;
    let full = "full refresh";
    assert_decided(&case, [(Replace, full), (Replace, full), (Define, full), (Replace, full)]);
}

#[test]
fn a_table_that_becomes_a_view_is_defined_and_a_view_that_becomes_a_table_is_computed() {
    let mut case = Case::published();
    case.model("curated.top").kind = ModelKind::Full;
    assert_eq!(case.decide()[2], (Replace, "it was a view".to_owned()));
    let mut case = Case::published();
    case.model("curated.by_song").kind = ModelKind::View;
    assert_eq!(case.decide()[3], (Define, "it was a table".to_owned()));
}

/// Gives all tables of the release to another job, under other names.
fn of_another_job(case: &mut Case) {
    let tables = &mut case.base.as_mut().unwrap().tables;
    *tables = std::mem::take(tables)
        .into_iter()
        .map(|(table, entry)| (format!("{table}_too"), ReleasedTable { job: "other".to_owned(), ..entry }))
        .collect();
}

#[test]
fn sources_of_two_jobs_whose_rejects_would_go_to_one_table_are_refused_before_anything_is_read() {
    let mut case = Case::published();
    of_another_job(&mut case);
    let mut sharing = Case::published();
    of_another_job(&mut sharing);
    for source in sharing.job.sources.values_mut() {
        source.options.mode = lakewright_compiler::JsonMode::Permissive;
    }
    assert!(decide(&sharing.job, &sharing.evidence()).is_ok(), "jobs may read the same raw data");
    let tables = &mut case.base.as_mut().unwrap().tables;
    let rejects = tables.values().next().unwrap().clone();
    tables.insert("rejects.events".to_owned(), rejects);
    assert!(decide(&case.job, &case.evidence()).is_ok(), "FAILFAST keeps no rejects");
    for source in case.job.sources.values_mut() {
        source.options.mode = lakewright_compiler::JsonMode::Permissive;
    }
    let error = decide(&case.job, &case.evidence()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for word in ["raw.events", "rejects.events", "other"] {
        assert!(error.to_string().contains(word), "{word} in {error}");
    }
    assert!(error.hint().unwrap().contains("rename"));
    // The job's own tables read its own sources.
    let mut own = Case::published();
    for source in own.job.sources.values_mut() {
        source.options.mode = lakewright_compiler::JsonMode::Permissive;
    }
    assert!(decide(&own.job, &own.evidence()).is_ok());
}

#[test]
fn a_compacted_upstream_table_is_no_change_until_rows_come_and_is_read_whole_where_it_is_mixed() {
    let mut case = Case::published();
    let events = case.entry("staging.events");
    (events.version, events.rows_since) = (Some(4), Some(3));
    assert!(case.decide().iter().all(|(work, _)| *work == Skip), "{:?}", case.decide());
    // Version 5 has other rows: what was consumed lies in one file with what was not.
    (case.entry("staging.events").version, case.entry("staging.events").rows_since) = (Some(5), None);
    let unit =
        |key: &str| Unit { input: "staging.events".to_owned(), key: key.to_owned(), ..Unit::raw("", &object("", 1)) };
    case.ledgers.insert(name("curated.plays"), vec![unit("a.parquet"), unit("b.parquet")]);
    case.unseen_files.insert(name("curated.plays"), vec!["a.parquet", "b.parquet", "c.parquet"]);
    case.together = vec![["a.parquet", "b.parquet"].map(str::to_owned).into()];
    assert_eq!(case.decide()[1].0, Append);
    case.together = vec![["b.parquet", "c.parquet"].map(str::to_owned).into()];
    assert_eq!(case.decide()[1].0, Update);
}
