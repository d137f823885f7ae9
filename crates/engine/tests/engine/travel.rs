//! Plans on their way to an executor and back: what they say after it, and what they give.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::{DataType, Int64Type},
        util::pretty::pretty_format_batches,
    },
    physical_plan::{ExecutionPlan, collect, displayable},
    prelude::SessionContext,
};
use datafusion_proto::{physical_plan::AsExecutionPlan, protobuf::PhysicalPlanNode};
use lakewright_engine::{
    Compression, Engine, RawScan, Reading, Relation, RowRule, RuleAction, ScanReports, TableScan, WriteOutput,
    fleet::{FleetCodec, LocalFiles, OneTaskExec, TaskOrigin, carried_error, carry_error, prepare_task, store_reports},
    plan_table_write, read_manifest, register_relation,
};
use lakewright_error::ErrorKind;
use lakewright_lake::{
    DataFile,
    state::{ScanReport, list_names, read_object},
};

use crate::fixture::{Fixture, schema};

/// The plan as an executor decodes it.
fn travelled(
    engine: &Engine,
    context: &SessionContext,
    plan: Arc<dyn ExecutionPlan>,
) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    let codec = FleetCodec::new(engine);
    let node = PhysicalPlanNode::try_from_physical_plan(plan, &codec)?;
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes)?;
    PhysicalPlanNode::try_decode(&bytes)?.try_into_physical_plan(&context.task_ctx(), &codec)
}

fn shown(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).unwrap().to_string()
}

/// Functions that DataFusion puts others in place of while it optimizes: they are never called, here or there.
const REWRITTEN: [&str; 7] = ["coalesce(", "nvl(", "nvl2(", "ifnull(", "if(", "base64(", "unbase64("];

/// The cases of the dialect that have a value: expressions and whole queries.
fn cases() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/functions/cases");
    let tables = ["aggregate", "arithmetic", "math", "nested", "text", "time"];
    let texts = tables.map(|table| fs::read_to_string(folder.join(format!("{table}.tsv"))).unwrap());
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#') && !line.is_empty());
    let parts = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    let travels =
        |parts: &Vec<&str>| parts[1] != "error" && !REWRITTEN.iter().any(|function| parts[0].contains(function));
    parts.filter(travels).map(|parts| parts[0].to_owned()).collect()
}

#[tokio::test]
async fn every_function_of_the_dialect_gives_the_same_on_an_executor() {
    let fixture = Fixture::new(2);
    let cases = cases();
    assert!(cases.len() > 500, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let is_query = case.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("SELECT "));
        let sql = if is_query { case.clone() } else { format!("SELECT {case} AS x") };
        let context = fixture.engine.fleet_session(2, TaskOrigin::default());
        let state = context.state();
        let logical = state.create_logical_plan(&sql).await.unwrap();
        let expected = shown(&context.execute_logical_plan(logical.clone()).await.unwrap().collect().await.unwrap());
        // Analyzed, but not optimized: a call that is computed while planning does not travel.
        let analyzed = state.analyzer().execute_and_check(logical, state.config_options(), |_, _| {}).unwrap();
        let planned = state.query_planner().create_physical_plan(&analyzed, &state).await;
        // Some queries cannot be planned before they are optimized.
        let Ok(plan) = planned else { continue };
        let got = match travelled(&fixture.engine, &context, plan) {
            Ok(plan) => collect(plan, context.task_ctx()).await.map(|batches| shown(&batches)),
            Err(error) => Err(error),
        };
        match got {
            Ok(got) if got == expected => {}
            got => wrong.push(format!("{case}: {got:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_write_over_raw_objects_says_the_same_after_it_has_travelled_and_reports_what_it_saw() {
    let fixture = Fixture::new(2);
    let objects = vec![
        fixture.put_raw("a/1.json", "{\"id\": 1, \"name\": \"x\"}\nbroken\n"),
        fixture.put_raw("a/2.json", "{\"id\": 2}\n"),
    ];
    let columns = schema(&[("id", DataType::Int64), ("name", DataType::Utf8)]);
    let scan = RawScan {
        raw: fixture.raw.clone(),
        schema: Arc::clone(&columns),
        compression: Compression::Auto,
        reading: Reading::default(),
        reports: Some(ScanReports::stored_in(fixture.lake.clone(), "scans/x".to_owned())),
        objects,
    };
    let context = fixture.engine.fleet_session(2, TaskOrigin::default());
    register_relation(&context, "raw", "t", Relation::Raw(scan)).await.unwrap();
    let mut write = fixture.write(columns);
    let condition = r#""this"."name" IS NOT NULL"#.to_owned();
    write.rules.push(RowRule { name: "named".to_owned(), condition, action: RuleAction::Drop });
    let sql = r#"SELECT "id", "name" FROM "raw"."t""#;
    let plan = plan_table_write(&context, sql, &BTreeMap::new(), write).await.unwrap();
    let decoded = travelled(&fixture.engine, &context, Arc::clone(&plan)).unwrap();
    let text = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
    assert_eq!(text(&decoded), text(&plan));

    let prepared = prepare_task(decoded).unwrap();
    let rows = collect(prepared.plan, context.task_ctx()).await.unwrap();
    let mut written = WriteOutput::default();
    for batch in &rows {
        read_manifest(batch, &mut written).unwrap();
    }
    assert_eq!(written.files.iter().map(|file| file.row_count).sum::<u64>(), 1);
    let found: Vec<_> = written.rules.iter().map(|rule| (rule.name.as_str(), rule.violations)).collect();
    assert_eq!(found, [("named", 1)]);
    store_reports(&prepared.reports).await.unwrap();
    let names = list_names(&fixture.lake, "scans/x").await.unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    let report: ScanReport = read_object(&fixture.lake, &format!("scans/x/{}", names[0])).await.unwrap().unwrap();
    let rejects: u64 = report.ranges.iter().map(|range| range.tally.rejects).sum();
    assert_eq!((report.ranges.len(), rejects), (2, 1));
}

#[tokio::test]
async fn a_whole_plan_as_one_task_shows_no_exchange_and_gives_the_same_rows() {
    let fixture = Fixture::new(2);
    let lines = |from: u32| (from..from + 500).map(|id| format!("{{\"id\": {id}}}\n")).collect::<String>();
    let objects = vec![fixture.put_raw("a/1.json", lines(0)), fixture.put_raw("a/2.json", lines(250))];
    let scan = RawScan {
        raw: fixture.raw.clone(),
        schema: schema(&[("id", DataType::Int64)]),
        compression: Compression::Auto,
        reading: Reading::default(),
        reports: None,
        objects,
    };
    let context = fixture.engine.fleet_session(2, TaskOrigin::default());
    register_relation(&context, "raw", "t", Relation::Raw(scan)).await.unwrap();
    let sql = r#"SELECT "id", count(*) AS "n" FROM "raw"."t" GROUP BY "id""#;
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let text = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
    assert!(text(&plan).contains("RepartitionExec"), "{}", text(&plan));

    let whole = travelled(&fixture.engine, &context, Arc::new(OneTaskExec::new(Arc::clone(&plan)))).unwrap();
    assert_eq!(text(&whole), "OneTaskExec: partitions=2\n");
    let prepared = prepare_task(whole).unwrap().plan;
    assert!(text(&prepared).contains("RepartitionExec"), "{}", text(&prepared));
    let rows = collect(prepared, context.task_ctx()).await.unwrap();
    let sum = |column: usize| -> i64 {
        let columns = rows.iter().map(|batch| batch.column(column).as_primitive::<Int64Type>());
        columns.flat_map(|column| column.values().iter()).sum()
    };
    assert_eq!((sum(0), sum(1)), ((0..750).sum(), 1000));
}

#[tokio::test]
async fn a_missing_data_file_is_named_by_an_executor_as_embedded() {
    let fixture = Fixture::new(1);
    let file = DataFile {
        path: "gone.parquet".to_owned(),
        size_bytes: 1000,
        row_count: 1,
        partition_values: BTreeMap::new(),
        bounds: Vec::new(),
    };
    let scan = TableScan {
        root: fixture.lake.child("z/t").unwrap(),
        schema: schema(&[("id", DataType::Int64)]),
        partition_columns: Vec::new(),
        files: vec![file],
    };
    let context = fixture.engine.fleet_session(1, TaskOrigin::default());
    register_relation(&context, "z", "t", Relation::Table(scan)).await.unwrap();
    let frame = context.sql(r#"SELECT "id" FROM "z"."t""#).await.unwrap();
    let plan = travelled(&fixture.engine, &context, frame.create_physical_plan().await.unwrap()).unwrap();
    let plan = prepare_task(plan).unwrap().plan;
    let error = collect(plan, context.task_ctx()).await.unwrap_err();
    let error = carried_error(&carry_error(error).to_string()).unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("gone.parquet"), "{error}");
}

#[tokio::test]
async fn executors_open_no_disk_that_they_do_not_share() {
    let fixture = Fixture::new(1);
    let settings = fixture.engine.settings().clone();
    let engine = Engine::for_executor(settings, LocalFiles::Refused).unwrap();
    let url = datafusion::execution::object_store::ObjectStoreUrl::local_filesystem();
    assert!(engine.runtime().object_store(&url).is_err());
}
