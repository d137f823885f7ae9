//! Judges rows by their rules on their way into the files: counts violations, keeps a few of the rows, and takes out of
//! the table what a rule takes out.
//!
//! Data flow: rows with one truth value behind their columns for each rule (the planner has put them there) -> **here**
//! -> the rows of the table, without the truth values, and the rows that are kept apart.
//!
//! Invariant: a row goes to exactly one of: the table, the rows kept apart, nowhere. Rules that only count see the rows
//! of the table.

use std::sync::Arc;

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray},
    compute::{and, filter_record_batch, not, or, prep_null_mask_filter},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use lakewright_error::{Error, ErrorKind, Result};

use super::{RuleAction, RuleReport, TableWrite, encode::rows_bytes};
use crate::fault;

/// Violating rows of one rule that are kept of one partition, and of a whole step.
pub(super) const SAMPLE_ROWS_MAX: usize = 100;
/// Size of the rows kept of one rule by one partition, beyond which no more are added.
const SAMPLE_BYTES_MAX: usize = 1 << 20;

/// The column of the run that kept a row apart.
const RUN_COLUMN: &str = "_run_id";
/// The column of the rules for which it was.
const RULES_COLUMN: &str = "_rules";

/// The columns of the rows that are kept apart from a table: the run, the rules that they violate, and their own.
#[must_use]
pub fn quarantine_schema(table: &Schema) -> SchemaRef {
    let added = [RUN_COLUMN, RULES_COLUMN].map(|name| Arc::new(Field::new(name, DataType::Utf8, true)));
    Arc::new(Schema::new(added.into_iter().chain(table.fields().iter().cloned()).collect::<Vec<_>>()))
}

/// What becomes of the rows of one batch.
pub(super) struct Judged {
    pub(super) rows: RecordBatch,
    pub(super) kept_apart: Option<RecordBatch>,
}

/// The judge of one partition.
pub(super) struct Judge {
    write: Arc<TableWrite>,
    schema: SchemaRef,
    apart_schema: SchemaRef,
    rules: Vec<Tally>,
}

#[derive(Default)]
struct Tally {
    violations: u64,
    sample: Vec<RecordBatch>,
    sample_rows: usize,
    sample_bytes: usize,
}

impl Judge {
    pub(super) fn new(write: &Arc<TableWrite>) -> Self {
        let rules = write.rules.iter().map(|_| Tally::default()).collect();
        let schema = Arc::clone(&write.schema);
        Self { write: Arc::clone(write), apart_schema: quarantine_schema(&schema), schema, rules }
    }

    /// Judges the rows of a batch, which has a truth value for each rule behind the columns of the table.
    pub(super) fn judge(&mut self, batch: RecordBatch) -> Result<Judged> {
        if self.rules.is_empty() {
            return Ok(Judged { rows: batch, kept_apart: None });
        }
        let width = self.schema.fields().len();
        let (columns, verdicts) = batch.columns().split_at_checked(width).ok_or_else(missing)?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec()).map_err(failed)?;
        let violated = self.violations(verdicts)?;
        let apart = self.any_of(&violated, RuleAction::Quarantine)?;
        let dropped = self.any_of(&violated, RuleAction::Drop)?;
        let out = match (&apart, &dropped) {
            (Some(apart), Some(dropped)) => Some(or(apart, dropped).map_err(failed)?),
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let stays = out.as_ref().map(not).transpose().map_err(failed)?;
        for (index, violated) in violated.iter().enumerate() {
            let Some(violated) = violated else { continue };
            let counted = match (&stays, self.write.rules.get(index).map(|rule| rule.action)) {
                (Some(stays), Some(RuleAction::Count)) => and(violated, stays).map_err(failed)?,
                _ => violated.clone(),
            };
            if let Some(tally) = self.rules.get_mut(index) {
                tally.add(&rows, &counted)?;
            }
        }
        let kept_apart = apart.map(|apart| self.keep_apart(&rows, &violated, &apart)).transpose()?;
        let rows = match stays {
            Some(stays) => filter_record_batch(&rows, &stays).map_err(failed)?,
            None => rows,
        };
        Ok(Judged { rows, kept_apart })
    }

    /// For every rule the rows that violate it; `None` if no row does.
    fn violations(&self, verdicts: &[ArrayRef]) -> Result<Vec<Option<BooleanArray>>> {
        let mut violated = Vec::with_capacity(self.rules.len());
        for index in 0..self.rules.len() {
            let verdict = verdicts.get(index).and_then(|column| column.as_boolean_opt()).ok_or_else(missing)?;
            if verdict.true_count() == verdict.len() {
                violated.push(None);
                continue;
            }
            // What is not known is not true.
            let passed = if verdict.null_count() == 0 { verdict.clone() } else { prep_null_mask_filter(verdict) };
            violated.push(Some(not(&passed).map_err(failed)?));
        }
        Ok(violated)
    }

    fn any_of(&self, violated: &[Option<BooleanArray>], action: RuleAction) -> Result<Option<BooleanArray>> {
        let mut any: Option<BooleanArray> = None;
        for (rule, violated) in self.write.rules.iter().zip(violated) {
            let Some(violated) = violated.as_ref().filter(|_| rule.action == action) else { continue };
            any = Some(match any {
                Some(others) => or(&others, violated).map_err(failed)?,
                None => violated.clone(),
            });
        }
        Ok(any)
    }

    fn keep_apart(
        &self,
        rows: &RecordBatch,
        violated: &[Option<BooleanArray>],
        apart: &BooleanArray,
    ) -> Result<RecordBatch> {
        let rules: Vec<(&str, &BooleanArray)> = self
            .write
            .rules
            .iter()
            .zip(violated)
            .filter(|(rule, _)| rule.action == RuleAction::Quarantine)
            .filter_map(|(rule, violated)| Some((rule.name.as_str(), violated.as_ref()?)))
            .collect();
        let names = (0..rows.num_rows()).filter(|row| apart.value(*row)).map(|row| {
            let names = rules.iter().filter(|(_, violated)| violated.value(row)).map(|(name, _)| *name);
            names.collect::<Vec<_>>().join(", ")
        });
        let names = StringArray::from_iter_values(names);
        let runs = StringArray::from_iter_values(std::iter::repeat_n(&self.write.run_id, names.len()));
        let rows = filter_record_batch(rows, apart).map_err(failed)?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(runs), Arc::new(names)];
        columns.extend(rows.columns().iter().cloned());
        RecordBatch::try_new(Arc::clone(&self.apart_schema), columns).map_err(failed)
    }

    /// What was counted, in the order of the rules.
    pub(super) fn reports(self) -> Vec<RuleReport> {
        let rules = self.write.rules.iter().zip(self.rules);
        let report = |(rule, tally): (&super::RowRule, Tally)| RuleReport {
            name: rule.name.clone(),
            violations: tally.violations,
            sample: tally.sample,
        };
        rules.map(report).collect()
    }
}

impl Tally {
    fn add(&mut self, rows: &RecordBatch, violated: &BooleanArray) -> Result<()> {
        let count = violated.true_count();
        self.violations += count as u64;
        let room = SAMPLE_ROWS_MAX.saturating_sub(self.sample_rows);
        if count == 0 || room == 0 || self.sample_bytes >= SAMPLE_BYTES_MAX {
            return Ok(());
        }
        let first: BooleanArray = violated
            .values()
            .iter()
            .scan(0, |taken, is_violated| {
                *taken += usize::from(is_violated);
                Some(is_violated && *taken <= room)
            })
            .collect();
        let sample = filter_record_batch(rows, &first).map_err(failed)?;
        self.sample_rows += sample.num_rows();
        self.sample_bytes += rows_bytes(&sample);
        self.sample.push(sample);
        Ok(())
    }
}

fn failed(error: ArrowError) -> Error {
    fault::from_datafusion(error.into())
}

fn missing() -> Error {
    Error::new(ErrorKind::Internal, "the rows come without the truth values of their rules")
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{array::Int64Array, datatypes::Int64Type};
    use lakewright_lake::Prefix;

    use super::*;
    use crate::RowRule;

    fn judge(actions: &[RuleAction]) -> Judge {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let rule = |(index, action): (usize, &RuleAction)| RowRule {
            name: format!("rule_{index}"),
            condition: String::new(),
            action: *action,
        };
        let root = Prefix::open("/tmp").unwrap();
        Judge::new(&Arc::new(TableWrite {
            root: root.clone(),
            schema,
            partition_columns: Vec::new(),
            clustered_by: Vec::new(),
            target_file_size_bytes: 1 << 20,
            run_id: "r1".to_owned(),
            rules: actions.iter().enumerate().map(rule).collect(),
            quarantine: Some(root),
        }))
    }

    fn batch(verdicts: &[&[Option<bool>]]) -> RecordBatch {
        let rows = i64::try_from(verdicts[0].len()).unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let mut columns = vec![("id".to_owned(), ids)];
        for (index, verdict) in verdicts.iter().enumerate() {
            columns.push((format!("v{index}"), Arc::new(BooleanArray::from(verdict.to_vec())) as ArrayRef));
        }
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn ids(batch: &RecordBatch, column: &str) -> Vec<i64> {
        let column = batch.column_by_name(column).unwrap();
        column.as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn a_row_goes_to_the_table_or_apart_or_nowhere_and_counting_rules_see_the_table() {
        const T: Option<bool> = Some(true);
        const F: Option<bool> = Some(false);
        let mut judge = judge(&[RuleAction::Count, RuleAction::Drop, RuleAction::Quarantine, RuleAction::Quarantine]);
        let counted: &[Option<bool>] = &[F, None, F, F, T];
        let dropped: &[Option<bool>] = &[T, T, F, F, T];
        let apart: &[Option<bool>] = &[T, T, T, None, T];
        let also: &[Option<bool>] = &[T, T, T, F, T];
        let judged = judge.judge(batch(&[counted, dropped, apart, also])).unwrap();
        assert_eq!(ids(&judged.rows, "id"), [0, 1, 4]);
        assert_eq!(judged.rows.num_columns(), 1);
        let kept_apart = judged.kept_apart.unwrap();
        assert_eq!(ids(&kept_apart, "id"), [3]);
        assert_eq!(kept_apart.column(1).as_string::<i32>().value(0), "rule_2, rule_3");
        let reports = judge.reports();
        let violations: Vec<u64> = reports.iter().map(|report| report.violations).collect();
        assert_eq!(violations, [2, 2, 1, 1]);
        assert_eq!(ids(&reports[0].sample[0], "id"), [0, 1]);
    }

    #[test]
    fn few_violating_rows_are_kept_and_all_are_counted() {
        let mut judge = judge(&[RuleAction::Count]);
        let verdicts = vec![Some(false); 70];
        for _ in 0..3 {
            judge.judge(batch(&[&verdicts])).unwrap();
        }
        let report = judge.reports().remove(0);
        assert_eq!(report.violations, 210);
        assert_eq!(report.sample.iter().map(RecordBatch::num_rows).sum::<usize>(), SAMPLE_ROWS_MAX);
    }
}
