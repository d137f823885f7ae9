//! A release as a reader sees it: tables of files and views over them, whatever has been committed since.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use datafusion::parquet::arrow::ArrowWriter;
use lakewright_engine::{Engine, EngineSettings};
use lakewright_lake::{
    CommitPurpose, DataFile, TableCommit, commit_version,
    state::{Format, LakeMarker, ReleasedView, encode},
};
use tempfile::TempDir;

use super::*;

struct Fixture {
    directory: TempDir,
    lake: Prefix,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = Prefix::open(directory.path().join("my lake").to_str().unwrap()).unwrap();
        let marker = LakeMarker { format: Format, program: "test".to_owned() };
        lake.create(layout::LAKE_MARKER, encode(&marker).unwrap()).await.unwrap();
        Self { directory, lake }
    }

    /// Commits one file of these plays after `base`, and gives the version.
    async fn commit(&self, base: Option<u64>, plays: &[i64]) -> u64 {
        let texts: Vec<String> = plays.iter().map(|play| format!("song {play}")).collect();
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(Int64Array::from(plays.to_vec())), Arc::new(StringArray::from(texts))];
        let batch = RecordBatch::try_new(schema(), columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let metadata = writer.close().unwrap();
        let root = self.lake.child("curated/plays").unwrap();
        let path = format!("part-{}.parquet", plays[0]);
        let size = bytes.len() as u64;
        root.create(&path, bytes.into()).await.unwrap();
        let file = DataFile::from_parquet(path, size, BTreeMap::new(), &metadata, &schema(), &BTreeSet::new());
        let commit = TableCommit {
            base,
            schema: schema(),
            partition_columns: Vec::new(),
            adds: vec![file],
            removes: Vec::new(),
            job: "music".to_owned(),
            run_id: format!("run-{}", plays[0]),
            sequence: 1,
            description: None,
            purpose: CommitPurpose::Write,
            timestamp_ms: 0,
        };
        commit_version(&root, &commit).await.unwrap();
        base.map_or(0, |base| base + 1)
    }

    async fn release(&self, tables: Vec<(&str, ReleasedTable)>) {
        let tables = tables.into_iter().map(|(name, table)| (name.to_owned(), table)).collect();
        let release = Release {
            format: Format,
            number: 3,
            run_id: "r".to_owned(),
            job: "music".to_owned(),
            nonce: "n".to_owned(),
            created_us: 0,
            tables,
        };
        self.lake.create(&layout::release(3), encode(&release).unwrap()).await.unwrap();
    }

    fn session(&self) -> SessionContext {
        let settings = EngineSettings {
            memory_limit_bytes: 1 << 26,
            spill_dir: self.directory.path().join("spill"),
            spill_limit_bytes: 1 << 26,
            target_partitions: 2,
        };
        let engine = Engine::new(settings).unwrap();
        engine.register_store(&self.lake);
        engine.session()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("song", DataType::Utf8, true)]))
}

fn table(version: Option<u64>, view: Option<(&str, &[&str])>) -> ReleasedTable {
    let view = view.map(|(sql, reads)| ReleasedView {
        sql: sql.to_owned(),
        reads: reads.iter().map(|name| (*name).to_owned()).collect(),
    });
    ReleasedTable {
        job: "music".to_owned(),
        run_id: "r".to_owned(),
        release: 3,
        kind: "FULL".to_owned(),
        fingerprint: String::new(),
        schema: schema(),
        partition_columns: Vec::new(),
        description: None,
        version,
        rows: 2,
        files: 1,
        bytes: 10,
        view,
        inputs: BTreeMap::new(),
        ledger: Vec::new(),
        covered: Vec::new(),
        checks: None,
        checked_against: BTreeMap::new(),
        origins: None,
        rows_since: None,
    }
}

fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

async fn ids(session: &SessionContext, sql: &str) -> Vec<i64> {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let columns = batches.iter().map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone());
    columns.flat_map(|column| column.values().to_vec()).collect()
}

#[tokio::test]
async fn a_view_is_registered_with_all_that_it_reads_and_the_release_pins_the_version() {
    let fixture = Fixture::new().await;
    let version = fixture.commit(None, &[1, 2]).await;
    let top = "SELECT \"id\", \"song\" FROM \"curated\".\"middle\" WHERE \"id\" > 1";
    let middle = "SELECT \"id\", \"song\" FROM \"curated\".\"plays\"";
    fixture
        .release(vec![
            ("curated.a_top", table(None, Some((top, &["curated.middle"])))),
            ("curated.middle", table(None, Some((middle, &["curated.plays"])))),
            ("curated.plays", table(Some(version), None)),
        ])
        .await;
    fixture.commit(Some(version), &[3]).await;
    let catalog = LakeCatalog::open(&fixture.lake).await.unwrap();
    let session = fixture.session();
    catalog.register(&session, &[name("curated.a_top"), name("curated.plays")]).await.unwrap();
    assert_eq!(ids(&session, "SELECT id FROM curated.a_top").await, [2]);
    assert_eq!(ids(&session, "SELECT id FROM curated.plays ORDER BY id").await, [1, 2]);
}

#[tokio::test]
async fn the_catalog_lists_tables_with_where_they_are_and_views_without() {
    let fixture = Fixture::new().await;
    fixture
        .release(vec![
            ("curated.plays", table(Some(7), None)),
            ("curated.top", table(None, Some(("SELECT 1", &["curated.plays"])))),
        ])
        .await;
    let catalog = LakeCatalog::open(&fixture.lake).await.unwrap();
    assert_eq!(catalog.release, Some(3));
    let locations: Vec<_> = catalog.tables.iter().map(|table| table.location.clone()).collect();
    let plays = fixture.directory.path().join("my lake/curated/plays");
    assert_eq!(locations, [plays.to_str().unwrap(), ""]);
    assert_eq!((catalog.tables[0].version, catalog.tables[0].rows), (Some(7), 2));
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let fixture = Fixture::new().await;
    let nowhere = Prefix::open(fixture.directory.path().join("nowhere").to_str().unwrap()).unwrap();
    assert_eq!(LakeCatalog::open(&nowhere).await.unwrap_err().kind(), ErrorKind::NotFound);
    let empty = LakeCatalog::open(&fixture.lake).await.unwrap();
    assert!(empty.release.is_none() && empty.tables.is_empty());
    let session = fixture.session();
    let unpublished = empty.register(&session, &[name("curated.plays")]).await.unwrap_err();
    assert_eq!(unpublished.kind(), ErrorKind::NotFound);
    fixture.release(vec![("curated.plays", table(Some(0), None))]).await;
    let catalog = LakeCatalog::open(&fixture.lake).await.unwrap();
    let gone = catalog.register(&session, &[name("curated.plays")]).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_lake_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let lake = Prefix::open(directory.path().to_str().unwrap()).unwrap();
    lake.create(layout::LAKE_MARKER, "{\"format\":99}".into()).await.unwrap();
    assert_eq!(LakeCatalog::open(&lake).await.unwrap_err().kind(), ErrorKind::Unsupported);
}
