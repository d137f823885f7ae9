//! What every store must do for a table: one winner a version, a lost answer found again, nothing half-seen.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use lakewright_error::ErrorKind;
use object_store::{memory::InMemory, path::Path};
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::{ColumnBounds, Prefix, Scalar};

mod faulty;
mod many_versions;
mod oracle;

fn memory() -> Prefix {
    let url = Url::parse("memory:///").unwrap();
    Prefix::new(Arc::new(InMemory::new()), url, Path::parse("lake/curated/plays").unwrap())
}

/// Every kind of store, each without a table. The path on disk has what trips URL encoders.
fn stores() -> Vec<(Prefix, Option<TempDir>)> {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("my lake 100% #1 %20é/curated/plays");
    let local = Prefix::open(root.to_str().unwrap()).unwrap();
    vec![(memory(), None), (local, Some(directory))]
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![field("id", DataType::Int64), field("at", utc()), field("city", DataType::Utf8)]))
}

fn file(path: &str, city: Option<&str>) -> DataFile {
    let bounds = ColumnBounds {
        path: vec!["id".to_owned()],
        null_count: Some(0),
        min: Some(Scalar::Integer(1)),
        max: Some(Scalar::Integer(3)),
    };
    DataFile {
        path: path.to_owned(),
        size_bytes: 100,
        row_count: 3,
        partition_values: BTreeMap::from([("city".to_owned(), city.map(str::to_owned))]),
        bounds: vec![bounds],
    }
}

fn commit(base: Option<u64>, run: &str, adds: Vec<DataFile>, removes: Vec<DataFile>) -> TableCommit {
    TableCommit {
        base,
        schema: schema(),
        partition_columns: vec!["city".to_owned()],
        adds,
        removes,
        job: "music".to_owned(),
        run_id: run.to_owned(),
        sequence: 4,
        description: Some("Plays.".to_owned()),
        purpose: CommitPurpose::Write,
        timestamp_ms: 1_542_069_637_796,
    }
}

async fn create(table: &Prefix) -> DataFile {
    let first = file("city=a%2Fb/1.parquet", Some("a/b"));
    let outcome = commit_version(table, &commit(None, "r1", vec![first.clone()], vec![])).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { version: 0 });
    first
}

async fn actions(table: &Prefix, version: u64) -> Vec<Value> {
    let bytes = table.read(&log::entry_key(version)).await.unwrap().unwrap();
    serde_json::Deserializer::from_slice(&bytes).into_iter().map(Result::unwrap).collect()
}

/// Writes an entry as another program would.
async fn foreign(table: &Prefix, version: u64, actions: &[Value]) {
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    table.create(&log::entry_key(version), lines.join("\n").into()).await.unwrap();
}

#[tokio::test]
async fn a_created_table_reads_back_as_it_was_committed() {
    for (table, _directory) in stores() {
        assert!(read_snapshot(&table, None).await.unwrap().is_none());
        let first = create(&table).await;
        let snapshot = read_snapshot(&table, None).await.unwrap().unwrap();
        assert_eq!(snapshot.version, 0);
        assert_eq!(snapshot.files, [first]);
        assert_eq!(snapshot.schema, schema());
        assert_eq!(snapshot.partition_columns, ["city"]);
        assert_eq!(snapshot.job.as_deref(), Some("music"));
    }
}

#[tokio::test]
async fn versions_append_and_replace_and_old_ones_stay_readable() {
    for (table, _directory) in stores() {
        let first = create(&table).await;
        let second = file("city=__HIVE_DEFAULT_PARTITION__/2.parquet", None);
        let append = commit(Some(0), "r2", vec![second.clone()], vec![]);
        assert_eq!(commit_version(&table, &append).await.unwrap(), CommitOutcome::Committed { version: 1 });
        let replace = commit(Some(1), "r3", vec![], vec![first.clone()]);
        assert_eq!(commit_version(&table, &replace).await.unwrap(), CommitOutcome::Committed { version: 2 });
        let files = async |version| read_snapshot(&table, version).await.unwrap().unwrap().files;
        assert_eq!(files(None).await, std::slice::from_ref(&second));
        assert_eq!(files(Some(1)).await, [second, first.clone()]);
        assert_eq!(files(Some(0)).await, [first]);
        assert_eq!(read_snapshot(&table, Some(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(newest_version(&table, None).await.unwrap(), Some(2));
        assert_eq!(newest_version(&table, Some(0)).await.unwrap(), Some(2));
        assert_eq!(newest_version(&table, Some(9)).await.unwrap(), Some(2));
    }
}

#[tokio::test]
async fn an_entry_has_what_other_engines_look_for() {
    let table = memory();
    let first = create(&table).await;
    let second = commit(Some(0), "r2", vec![], vec![first]);
    commit_version(&table, &second).await.unwrap();
    let created = actions(&table, 0).await;
    assert_eq!(created[0]["commitInfo"]["lakewrightRunId"], "r1");
    assert_eq!(created[1]["protocol"], serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 }));
    assert_eq!(created[2]["metaData"]["name"], "curated.plays");
    assert_eq!(created[2]["metaData"]["description"], "Plays.");
    assert_eq!(created[2]["metaData"]["configuration"]["lakewright.job"], "music");
    assert_eq!(created[3]["txn"]["appId"], "lakewright:music:curated.plays");
    assert_eq!(created[3]["txn"]["version"], 4);
    assert_eq!(created[4]["add"]["path"], "city=a%252Fb/1.parquet");
    assert_eq!(created[4]["add"]["partitionValues"]["city"], "a/b");
    let replaced = actions(&table, 1).await;
    assert_eq!(replaced[0]["commitInfo"]["operationParameters"]["mode"], "Overwrite");
    let remove = &replaced[2]["remove"];
    assert_eq!(remove["path"], "city=a%252Fb/1.parquet");
    assert_eq!(remove["dataChange"], true);
    assert_eq!(remove["extendedFileMetadata"], true);
    assert_eq!(remove["deletionTimestamp"], 1_542_069_637_796_i64);
}

#[tokio::test]
async fn of_many_commits_on_one_base_exactly_one_wins() {
    for (table, _directory) in stores() {
        create(&table).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..12 {
            let table = table.clone();
            let path = format!("city=x/{number}.parquet");
            let mine = commit(Some(0), &format!("run-{number}"), vec![file(&path, Some("x"))], vec![]);
            tasks.spawn(async move { commit_version(&table, &mine).await.unwrap() });
        }
        let outcomes = tasks.join_all().await;
        let won = outcomes.iter().filter(|outcome| **outcome == CommitOutcome::Committed { version: 1 }).count();
        let lost = CommitOutcome::Conflict { latest: 1, data_changed: true };
        assert_eq!((won, outcomes.iter().filter(|outcome| **outcome == lost).count()), (1, 11));
        assert_eq!(read_snapshot(&table, None).await.unwrap().unwrap().files.len(), 2);
    }
}

#[tokio::test]
async fn a_commit_that_was_made_before_is_found_and_not_made_again() {
    let table = memory();
    create(&table).await;
    let again = commit(None, "r1", vec![file("other", Some("x"))], vec![]);
    assert_eq!(commit_version(&table, &again).await.unwrap(), CommitOutcome::Committed { version: 0 });
    let append = commit(Some(0), "r2", vec![file("2", None)], vec![]);
    commit_version(&table, &append).await.unwrap();
    commit_version(&table, &commit(Some(1), "r3", vec![file("3", None)], vec![])).await.unwrap();
    assert_eq!(commit_version(&table, &append).await.unwrap(), CommitOutcome::Committed { version: 1 });
    assert_eq!(newest_version(&table, None).await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_foreign_commit_is_a_conflict_that_says_whether_it_matters() {
    let add = |change: bool| {
        serde_json::json!({ "add": { "path": "f", "partitionValues": { "city": null }, "size": 1,
            "modificationTime": 0, "dataChange": change } })
    };
    let info = serde_json::json!({ "commitInfo": { "operation": "WRITE" }, "unknownAction": {} });
    let upgrade = serde_json::json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 4 } });
    for (entry, appends, matters) in [
        (vec![info.clone()], true, false),
        (vec![info.clone(), add(false)], true, false),
        (vec![info.clone(), add(false)], false, true),
        (vec![info.clone(), add(true)], true, true),
        (vec![info, upgrade], true, true),
    ] {
        let table = memory();
        let first = create(&table).await;
        foreign(&table, 1, &entry).await;
        let removes = if appends { vec![] } else { vec![first] };
        let outcome = commit_version(&table, &commit(Some(0), "r2", vec![], removes)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Conflict { latest: 1, data_changed: matters }, "{entry:?}");
    }
}

#[tokio::test]
async fn a_property_set_by_others_is_kept_and_does_not_matter() {
    let table = memory();
    create(&table).await;
    let mut metadata = actions(&table, 0).await[2].clone();
    metadata["metaData"]["configuration"]["owner"] = "me".into();
    foreign(&table, 1, &[metadata]).await;
    let mine = commit(Some(0), "r2", vec![file("2", None)], vec![]);
    let outcome = commit_version(&table, &mine).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Conflict { latest: 1, data_changed: false });
    let described = TableCommit { base: Some(1), description: None, ..mine };
    assert_eq!(commit_version(&table, &described).await.unwrap(), CommitOutcome::Committed { version: 2 });
    let metadata = actions(&table, 2).await[1]["metaData"].clone();
    assert_eq!(metadata["configuration"], serde_json::json!({ "lakewright.job": "music", "owner": "me" }));
    assert_eq!(metadata["id"], actions(&table, 0).await[2]["metaData"]["id"]);
}

#[tokio::test]
async fn a_table_of_another_job_is_refused() {
    let table = memory();
    create(&table).await;
    let other = TableCommit { job: "other".to_owned(), ..commit(Some(0), "r2", vec![], vec![]) };
    assert_eq!(check_commit(&table, &other).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(commit_version(&table, &other).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_schema_grows_on_append_and_changes_only_when_every_file_goes() {
    let table = memory();
    let first = create(&table).await;
    let with = |extra: Field| {
        let mut fields: Vec<Field> = schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(extra);
        Arc::new(Schema::new(fields))
    };
    let grown = with(field("note", DataType::Utf8));
    let append = TableCommit { schema: Arc::clone(&grown), ..commit(Some(0), "r2", vec![file("2", None)], vec![]) };
    assert_eq!(commit_version(&table, &append).await.unwrap(), CommitOutcome::Committed { version: 1 });
    assert_eq!(read_snapshot(&table, None).await.unwrap().unwrap().schema, grown);
    let strict = with(Field::new("must", DataType::Utf8, false));
    let other = Arc::new(Schema::new(vec![field("id", DataType::Utf8), field("city", DataType::Utf8)]));
    for changed in [strict, other] {
        let some = TableCommit { schema: Arc::clone(&changed), ..commit(Some(1), "r3", vec![], vec![first.clone()]) };
        assert_eq!(commit_version(&table, &some).await.unwrap_err().kind(), ErrorKind::Invalid);
        let all = TableCommit { removes: vec![first.clone(), file("2", None)], run_id: "dry".to_owned(), ..some };
        let base = read_snapshot(&table, None).await.unwrap().unwrap();
        assert_eq!(base.files.len(), 2);
        if changed.fields().len() == 2 {
            assert_eq!(commit_version(&table, &all).await.unwrap(), CommitOutcome::Committed { version: 2 });
        }
    }
    assert_eq!(read_snapshot(&table, None).await.unwrap().unwrap().schema.field(0).data_type(), &DataType::Utf8);
}

#[tokio::test]
async fn files_that_no_reader_could_place_are_refused() {
    let table = memory();
    let unplaced = DataFile { partition_values: BTreeMap::new(), ..file("1", None) };
    for adds in [vec![unplaced], vec![file("1", Some(""))], vec![file("1", None), file("1", None)]] {
        let error = commit_version(&table, &commit(None, "r1", adds, vec![])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(newest_version(&table, None).await.unwrap(), None);
}

#[tokio::test]
async fn tables_that_need_more_than_plain_files_are_unsupported() {
    let protocol = |value: Value| serde_json::json!({ "protocol": value });
    let deletes = protocol(serde_json::json!({ "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"] }));
    let table = memory();
    create(&table).await;
    foreign(&table, 1, &[deletes]).await;
    let error = read_snapshot(&table, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(read_snapshot(&table, Some(0)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_damaged_log_is_corrupt_and_a_gap_in_it_too() {
    let table = memory();
    create(&table).await;
    table.create(&log::entry_key(1), "{\"add\":".into()).await.unwrap();
    assert_eq!(read_snapshot(&table, None).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let error = commit_version(&table, &commit(Some(0), "r2", vec![], vec![])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let table = memory();
    create(&table).await;
    foreign(&table, 2, &[serde_json::json!({ "commitInfo": {} })]).await;
    assert_eq!(read_snapshot(&table, None).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_checkpoint_keeps_what_the_log_said() {
    for (table, _directory) in stores() {
        let first = create(&table).await;
        write_checkpoint(&table, 0).await.unwrap();
        table.delete(&log::entry_key(0)).await.unwrap();
        let append = commit(Some(0), "r2", vec![file("city=x/2.parquet", Some("x"))], vec![]);
        assert_eq!(commit_version(&table, &append).await.unwrap(), CommitOutcome::Committed { version: 1 });
        let files = read_snapshot(&table, None).await.unwrap().unwrap().files;
        assert_eq!(files, [first, file("city=x/2.parquet", Some("x"))]);
    }
}
