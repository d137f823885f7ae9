//! Snapshots at fixed widths.

use std::{sync::Arc, time::Duration};

use datafusion::arrow::datatypes::Schema;
use lakewright_compiler::TableName;
use lakewright_lake::Prefix;
use lakewright_scheduler::{LakeTable, StepPlan};

use super::*;

fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

fn action(work: StepWork, reason: &str) -> StepAction {
    StepAction { work, reason: reason.to_owned() }
}

fn step(table: &str, work: StepWork, reason: &str) -> StepSummary {
    StepSummary {
        table: name(table),
        action: action(work, reason),
        rows_in: 8056,
        rows_out: 6820,
        rejects: 0,
        files: 2,
        bytes: 345_678,
        bytes_spilled: 0,
        duration: Duration::from_millis(1234),
        times: None,
        written_by: Vec::new(),
        checks: Vec::new(),
        version: Some(3),
    }
}

fn summary(release: Option<u64>) -> RunSummary {
    RunSummary {
        run_id: "0192-run".to_owned(),
        sequence: 4,
        release,
        steps: vec![
            step("staging.events", StepWork::Append, "1 new object"),
            step("curated.songplays", StepWork::Replace, "staging.events changed"),
            step("curated.songs", StepWork::Skip, "nothing changed"),
            step("curated.recent", StepWork::Define, "the query changed"),
        ],
        reads: Vec::new(),
        duration: Duration::from_secs(3),
        waited: Duration::ZERO,
    }
}

fn catalog() -> LakeCatalog {
    let table = |text: &str, rows, view: Option<&str>| LakeTable {
        name: name(text),
        schema: Arc::new(Schema::empty()),
        job: "music".to_owned(),
        view: view.map(str::to_owned),
        version: view.is_none().then_some(3),
        rows,
        files: 1,
        bytes: rows * 50,
        partition_columns: Vec::new(),
        location: format!("/data/o'lake/{}", text.replace('.', "/")),
    };
    let mut catalog = LakeCatalog::empty(&Prefix::open("lake").unwrap());
    catalog.release = Some(5);
    catalog.tables = vec![
        table("curated.recent", 0, Some("SELECT 1")),
        table("curated.songs", 71, None),
        table("staging.events", 8056, None),
    ];
    catalog
}

#[test]
fn a_plan_tells_action_reason_and_what_is_read() {
    let planned = |table: &str, work, reason: &str, files_replaced| StepPlan {
        table: name(table),
        kind: "FULL".to_owned(),
        action: action(work, reason),
        reads: vec![name("raw.events")],
        objects: 30,
        bytes: 4_000_000,
        files_replaced,
        checks: Vec::new(),
    };
    let plan = RunPlan {
        steps: vec![
            planned("staging.events", StepWork::Replace, "the query changed", 2),
            planned("curated.songs", StepWork::Skip, "nothing changed", 0),
        ],
        base_release: Some(4),
        notes: vec!["raw.events is read FAILFAST".to_owned()],
    };
    insta::assert_snapshot!(plan_text(&plan, 110, Style::default()));
    insta::assert_snapshot!("plan_narrow", plan_text(&plan, 60, Style::default()));
}

#[test]
fn the_closing_table_shows_counts_of_what_was_written_only() {
    insta::assert_snapshot!(run_text(&summary(Some(5)), 110, Style::default()));
}

#[test]
fn a_run_that_changed_nothing_says_so() {
    assert!(run_text(&summary(None), 110, Style::default()).contains("nothing changed, so nothing was published"));
}

#[test]
fn the_line_for_duckdb_quotes_the_path() {
    insta::assert_snapshot!(places_text(&catalog().tables, "music", Style::default()));
    assert_eq!(places_text(&catalog().tables, "films", Style::default()), "");
}

#[test]
fn tables_and_views_are_listed() {
    insta::assert_snapshot!(tables_text(&catalog(), 110, Style::default()));
}

#[test]
fn runs_are_listed_with_their_state_and_why_they_failed() {
    let record = RunRecord {
        run_id: "0192-run".to_owned(),
        job: "music".to_owned(),
        sequence: 4,
        state: RunState::Failed,
        accepted_us: 1_542_139_637_000_000,
        operation: None,
        place: None,
        failure: Some("staging.events: cannot read the raw object".to_owned()),
        summary: None,
    };
    let ended =
        RunRecord { state: RunState::Succeeded, failure: None, summary: Some(summary(Some(5))), ..record.clone() };
    insta::assert_snapshot!(runs_text(&[record, ended.clone()], 140, Style::default()));
    insta::assert_snapshot!("one_run", run_record_text(&ended, &CheckHistory::default(), 110, Style::default()));
}
