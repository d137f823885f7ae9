//! Rows that differ, counted as multisets and by a key.

use std::sync::Arc;

use arrow::{
    array::{Int64Array, StringArray},
    datatypes::{DataType, Field, Schema},
    util::pretty::pretty_format_batches,
};
use datafusion::parquet::arrow::ArrowWriter;
use lakewright_engine::EngineSettings;
use lakewright_lake::{CommitPurpose, DataFile, TableCommit, commit_version, state::Format};
use tempfile::TempDir;

use super::*;

struct Fixture {
    directory: TempDir,
    lake: Prefix,
    engine: Engine,
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()))
}

fn plays_schema() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("song", DataType::Utf8)])
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = Prefix::open(directory.path().join("lake").to_str().unwrap()).unwrap();
        let engine = Engine::new(EngineSettings {
            memory_limit_bytes: 1 << 26,
            spill_dir: directory.path().join("spill"),
            spill_limit_bytes: 1 << 26,
            target_partitions: 2,
        });
        Self { directory, lake, engine: engine.unwrap() }
    }

    /// Writes one file of rows.
    async fn file(&self, schema: &SchemaRef, rows: &[(i64, &str)]) -> DataFile {
        let root = self.lake.child("z/t").unwrap();
        let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let songs = StringArray::from_iter_values(rows.iter().map(|row| row.1));
        let batch = RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(ids), Arc::new(songs)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(schema), None).unwrap();
        writer.write(&batch).unwrap();
        let metadata = writer.close().unwrap();
        let (path, size) = (format!("{}.parquet", uuid::Uuid::new_v4()), bytes.len() as u64);
        root.create(&path, bytes.into()).await.unwrap();
        DataFile::from_parquet(path, size, BTreeMap::new(), &metadata, schema, &BTreeSet::new())
    }

    /// Commits a version and gives the release that names it.
    async fn release(
        &self,
        number: u64,
        schema: &SchemaRef,
        adds: &[DataFile],
        removes: &[DataFile],
        rows: u64,
    ) -> Release {
        let root = self.lake.child("z/t").unwrap();
        let commit = TableCommit {
            base: (number > 1).then(|| number - 2),
            schema: Arc::clone(schema),
            partition_columns: vec![],
            adds: adds.to_vec(),
            removes: removes.to_vec(),
            job: "music".to_owned(),
            run_id: format!("run-{number}"),
            sequence: number,
            description: None,
            purpose: CommitPurpose::Write,
            timestamp_ms: 0,
        };
        commit_version(&root, &commit).await.unwrap();
        let entry = ReleasedTable {
            job: "music".to_owned(),
            run_id: format!("run-{number}"),
            release: number,
            kind: "FULL".to_owned(),
            fingerprint: "f".to_owned(),
            schema: Arc::clone(schema),
            partition_columns: vec![],
            description: None,
            version: Some(number - 1),
            rows,
            files: 1,
            bytes: 1,
            view: None,
            inputs: BTreeMap::new(),
            ledger: vec![],
            covered: Vec::new(),
            checks: None,
            checked_against: BTreeMap::new(),
            origins: None,
            rows_since: None,
        };
        release(number, Some(entry))
    }

    async fn diff(&self, before: &Release, after: &Release, key: &[&str]) -> TableDiff {
        let key = key.iter().map(|column| (*column).to_owned()).collect();
        let options = DiffOptions { table: None, key, sample_rows: 10 };
        diff_releases(&self.engine, &self.lake, before, after, &options).await.unwrap().remove(0)
    }
}

fn release(number: u64, entry: Option<ReleasedTable>) -> Release {
    Release {
        format: Format,
        number,
        run_id: "r".to_owned(),
        job: "music".to_owned(),
        nonce: "n".to_owned(),
        created_us: 0,
        tables: entry.into_iter().map(|entry| ("z.t".to_owned(), entry)).collect(),
    }
}

fn counts(diff: &TableDiff) -> (u64, u64, u64) {
    (diff.added, diff.removed, diff.changed)
}

#[tokio::test]
async fn whole_rows_are_counted_as_often_as_they_are_there_and_a_key_pairs_them() {
    let fixture = Fixture::new();
    let old = fixture.file(&plays_schema(), &[(1, "a"), (1, "a"), (2, "b"), (3, "c")]).await;
    let new = fixture.file(&plays_schema(), &[(1, "a"), (2, "B"), (4, "d")]).await;
    let before = fixture.release(1, &plays_schema(), std::slice::from_ref(&old), &[], 4).await;
    let after = fixture.release(2, &plays_schema(), &[new], &[old], 3).await;
    let diff = fixture.diff(&before, &after, &[]).await;
    assert_eq!(counts(&diff), (2, 3, 0));
    let diff = fixture.diff(&before, &after, &["id"]).await;
    // One of two equal rows has gone, 2 has another song, 3 has gone, 4 has come.
    assert_eq!(counts(&diff), (1, 2, 1));
    let sample = pretty_format_batches(&diff.sample).unwrap().to_string();
    let expected = [
        "| _change | id | song |",
        "| removed | 1  | a    |",
        "| removed | 2  | b    |",
        "| added   | 2  | B    |",
        "| removed | 3  | c    |",
        "| added   | 4  | d    |",
    ];
    assert_eq!(sample.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>(), expected);
    let back = fixture.diff(&after, &before, &["id"]).await;
    assert_eq!(counts(&back), (2, 1, 1));
}

#[tokio::test]
async fn files_that_both_versions_have_are_not_read() {
    let fixture = Fixture::new();
    let kept = fixture.file(&plays_schema(), &[(1, "a")]).await;
    let new = fixture.file(&plays_schema(), &[(2, "b")]).await;
    let before = fixture.release(1, &plays_schema(), std::slice::from_ref(&kept), &[], 1).await;
    let after = fixture.release(2, &plays_schema(), &[new], &[], 2).await;
    let path = fixture.directory.path().join("lake/z/t").join(&kept.path);
    std::fs::remove_file(path).unwrap();
    assert_eq!(counts(&fixture.diff(&before, &after, &[]).await), (1, 0, 0));
}

#[tokio::test]
async fn a_table_that_only_one_release_has_is_added_or_removed_whole() {
    let fixture = Fixture::new();
    let file = fixture.file(&plays_schema(), &[(1, "a"), (2, "b")]).await;
    let with = fixture.release(1, &plays_schema(), &[file], &[], 2).await;
    let without = release(2, None);
    assert_eq!(counts(&fixture.diff(&without, &with, &[]).await), (2, 0, 0));
    assert_eq!(counts(&fixture.diff(&with, &without, &[]).await), (0, 2, 0));
}

#[tokio::test]
async fn columns_that_differ_are_named_and_rows_are_compared_by_the_others() {
    let fixture = Fixture::new();
    let other = schema(&[("id", DataType::Int64), ("title", DataType::Utf8)]);
    let old = fixture.file(&plays_schema(), &[(1, "a"), (2, "b")]).await;
    let new = fixture.file(&other, &[(1, "x"), (3, "y")]).await;
    let before = fixture.release(1, &plays_schema(), std::slice::from_ref(&old), &[], 2).await;
    let after = fixture.release(2, &other, &[new], &[old], 2).await;
    let diff = fixture.diff(&before, &after, &[]).await;
    assert_eq!(counts(&diff), (1, 1, 0));
    let columns: Vec<(&str, bool, bool)> =
        diff.columns.iter().map(|c| (c.column.as_str(), c.before.is_some(), c.after.is_some())).collect();
    assert_eq!(columns, [("song", true, false), ("title", false, true)]);
    let options = DiffOptions { key: vec!["song".to_owned()], ..DiffOptions::default() };
    let error = diff_releases(&fixture.engine, &fixture.lake, &before, &after, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.hint().unwrap().contains("id"), "{error:?}");
}
