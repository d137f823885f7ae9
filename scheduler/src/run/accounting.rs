//! Accounts for every record of the raw objects that a step read: pure functions over values.
//!
//! Data flow: reports of byte ranges -> [`join`] -> reports of whole objects -> the step's record, and checks that fail
//! the run before anything is published.
//!
//! Invariant: every byte of an object is taken from exactly one report, however often it was read.

use std::collections::BTreeMap;

use lakewright_compiler::Source;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    RawObject,
    state::{Drift, ObjectReport, RangeReport, Reject, Tally},
};

/// Rejects up to which the ratio of a source's rejects is not looked at.
const RATIO_MIN_REJECTS: u64 = 100;

/// What reading one source came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceAccount {
    /// Sorted by key.
    pub(crate) objects: Vec<ObjectReport>,
    pub(crate) tally: Tally,
    pub(crate) drift: Drift,
    /// With lines of their objects, in the order of objects and lines.
    pub(crate) rejects: Vec<Reject>,
}

impl SourceAccount {
    /// Adds what other objects came to.
    pub(crate) fn add(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.objects.sort_by(|a, b| a.object.cmp(&b.object));
        self.tally.add(&other.tally);
        self.drift.add(&other.drift);
        self.rejects.extend(other.rejects);
        self.rejects.sort_by(|a, b| (&a.object, a.byte_offset).cmp(&(&b.object, b.byte_offset)));
    }
}

/// Joins the reports of ranges to those of whole objects; gives also the objects that no reports cover.
///
/// Of ranges that were read more than once, one report is taken.
pub(crate) fn join(objects: &[RawObject], ranges: Vec<RangeReport>) -> (SourceAccount, Vec<RawObject>) {
    let mut by_object: BTreeMap<String, Vec<RangeReport>> = BTreeMap::new();
    for range in ranges {
        match by_object.get_mut(&range.object) {
            Some(ranges) => ranges.push(range),
            None => {
                by_object.insert(range.object.clone(), vec![range]);
            }
        }
    }
    let (mut account, mut missing) = (SourceAccount::default(), Vec::new());
    for object in objects {
        let ranges = by_object.remove(&object.key).unwrap_or_default();
        match tile(object.size_bytes, ranges) {
            Some(tiles) => add_object(&mut account, object, tiles),
            None => missing.push(object.clone()),
        }
    }
    (account, missing)
}

/// Ranges that follow on one another from the object's beginning to its end.
fn tile(size_bytes: u64, mut ranges: Vec<RangeReport>) -> Option<Vec<RangeReport>> {
    // Of those that begin alike the longest is taken.
    ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let (mut tiles, mut end) = (Vec::new(), 0);
    for range in ranges {
        if range.start == end && range.end > end {
            end = range.end;
            tiles.push(range);
        }
    }
    (end == size_bytes).then_some(tiles)
}

fn add_object(account: &mut SourceAccount, object: &RawObject, tiles: Vec<RangeReport>) {
    let mut tally = Tally::default();
    for tile in tiles {
        let lines_before = tally.lines;
        account
            .rejects
            .extend(tile.rejects.into_iter().map(|reject| Reject { line: reject.line + lines_before, ..reject }));
        tally.add(&tile.tally);
        account.drift.add(&tile.drift);
    }
    account.tally.add(&tally);
    account.objects.push(ObjectReport { object: object.key.clone(), size_bytes: object.size_bytes, tally });
}

/// Checks that every line of every object is accounted for.
///
/// # Errors
/// - [`ErrorKind::Internal`]: it is not; names the object.
pub(crate) fn check_balance(source: &Source, account: &SourceAccount) -> Result<()> {
    let kept: u64 = account.tally.rejects;
    let wrong = account.objects.iter().find(|report| !report.tally.is_balanced());
    if wrong.is_none() && kept == account.rejects.len() as u64 {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Internal, "the records of a source do not add up").with("source", &source.name);
    Err(match wrong {
        Some(ObjectReport { object, tally, .. }) => error
            .with("object", object)
            .with("lines", tally.lines)
            .with("rows", tally.rows)
            .with("rejects", tally.rejects)
            .with("left out", tally.left_out)
            .with("blank", tally.blanks),
        None => error.with("rejects", kept).with("kept", account.rejects.len()),
    })
}

/// Checks that a source has no more rejects than it may have.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: it has; names the limit and the first reject.
pub(crate) fn check_limits(source: &Source, run_id: &str, account: &SourceAccount) -> Result<()> {
    let (rejects, records) = (account.tally.rejects, account.tally.records());
    let ratio_max = source.options.max_reject_ratio;
    let limit = if source.options.max_rejects.is_some_and(|max| rejects > max) {
        format!("max_rejects is {}", source.options.max_rejects.unwrap_or_default())
    } else if rejects > RATIO_MIN_REJECTS && exceeds(rejects, records, ratio_max) {
        format!("max_reject_ratio is {ratio_max}")
    } else {
        return Ok(());
    };
    let error = Error::new(ErrorKind::Corrupt, "a source has more rejects than it may have")
        .with("source", &source.name)
        .with("rejects", format!("{rejects} of {records} records"))
        .with("limit", limit)
        .with_hint(format!(
            "`lakewright rejects {} --run {run_id}` shows them; mend the objects, correct {}, or raise the limit there",
            source.name, source.file
        ));
    Err(match account.rejects.first() {
        Some(first) => error.with("object", &first.object).with("line", first.line).with_source(first.message.clone()),
        None => error,
    })
}

fn exceeds(rejects: u64, records: u64, ratio_max: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts above 2^53 is as good when rounded")]
    let ratio = rejects as f64 / records.max(1) as f64;
    ratio > ratio_max
}

#[cfg(test)]
mod tests {
    use lakewright_compiler::{JsonMode, OnDelete, SourceCompression, SourceMultiLine, SourceOptions, TableName};

    use super::*;

    fn object(size_bytes: u64) -> RawObject {
        RawObject { key: "a.json".to_owned(), size_bytes, etag: None, modified_us: 0 }
    }

    fn range(start: u64, end: u64, lines: u64) -> RangeReport {
        let reject = Reject {
            object: "a.json".to_owned(),
            line: lines,
            byte_offset: end,
            reason: "malformed".to_owned(),
            column: None,
            message: "no JSON".to_owned(),
            record: None,
        };
        let tally = Tally { lines, rows: lines - 1, rejects: 1, left_out: 0, blanks: 0 };
        RangeReport { object: "a.json".to_owned(), start, end, tally, drift: Drift::default(), rejects: vec![reject] }
    }

    #[test]
    fn ranges_in_any_order_make_an_object_with_its_lines() {
        let (account, missing) = join(&[object(30)], vec![range(20, 30, 4), range(0, 10, 2), range(10, 20, 3)]);
        assert_eq!(missing, []);
        assert_eq!(account.tally, Tally { lines: 9, rows: 6, rejects: 3, left_out: 0, blanks: 0 });
        assert_eq!(account.rejects.iter().map(|reject| reject.line).collect::<Vec<_>>(), [2, 5, 9]);
    }

    #[test]
    fn a_range_that_was_read_twice_counts_once() {
        let ranges = vec![range(0, 10, 2), range(10, 30, 3), range(0, 30, 5), range(0, 10, 2)];
        let (account, missing) = join(&[object(30)], ranges);
        assert_eq!(missing, []);
        assert_eq!(account.tally.lines, 5);
        assert_eq!(account.rejects.len(), 1);
    }

    #[test]
    fn an_object_that_was_not_read_whole_is_missing() {
        for ranges in [vec![], vec![range(0, 10, 2)], vec![range(10, 30, 2)], vec![range(0, 10, 2), range(20, 30, 2)]] {
            let (account, missing) = join(&[object(30)], ranges);
            assert_eq!(missing, [object(30)]);
            assert_eq!(account, SourceAccount::default());
        }
        assert_eq!(join(&[object(0)], vec![]).1, [], "there is nothing to be read of an empty object");
    }

    fn source(max_rejects: Option<u64>, max_reject_ratio: f64) -> Source {
        Source {
            name: TableName::parse("raw.events").unwrap(),
            columns: Vec::new(),
            schema: std::sync::Arc::new(arrow::datatypes::Schema::empty()),
            location: String::new(),
            options: SourceOptions {
                mode: JsonMode::Permissive,
                compression: SourceCompression::Auto,
                allow_empty: false,
                corrupt_record: None,
                rescued: None,
                multi_line: SourceMultiLine::Auto,
                max_rejects,
                max_reject_ratio,
                on_delete: OnDelete::Keep,
            },
            description: None,
            file: "raw/events.sql".to_owned(),
            canonical: String::new(),
        }
    }

    fn account(rows: u64, rejects: u64) -> SourceAccount {
        let tally = Tally { lines: rows + rejects, rows, rejects, left_out: 0, blanks: 0 };
        SourceAccount { tally, ..SourceAccount::default() }
    }

    #[test]
    fn the_ratio_counts_above_a_hundred_rejects_only() {
        let refused =
            |limit, ratio, rows, rejects| check_limits(&source(limit, ratio), "r1", &account(rows, rejects)).is_err();
        assert!(!refused(None, 0.01, 0, 100));
        assert!(refused(None, 0.01, 9_000, 101));
        assert!(!refused(None, 0.01, 10_000, 101));
        assert!(!refused(None, 1.0, 0, 1_000));
        assert!(refused(Some(0), 1.0, 1_000, 1));
        assert!(!refused(Some(1), 1.0, 1_000, 1));
    }

    #[test]
    fn what_does_not_add_up_is_an_error_that_names_the_object() {
        let mut whole = join(&[object(10)], vec![range(0, 10, 2)]).0;
        check_balance(&source(None, 0.01), &whole).unwrap();
        let mut lost = whole.clone();
        lost.rejects.clear();
        assert!(check_balance(&source(None, 0.01), &lost).is_err());
        whole.objects[0].tally.rows += 1;
        let error = check_balance(&source(None, 0.01), &whole).unwrap_err();
        assert!(error.context().iter().any(|(_, value)| value == "a.json"));
    }
}
