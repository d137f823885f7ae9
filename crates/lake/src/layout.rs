//! The names of all objects of a lake: pure functions from ids to keys.
//!
//! Keys are relative to the lake's root and separated by `/`. Zones and tables lie at `<zone>/<table>/`, the run state
//! under [`STATE_DIR`], which Delta readers and listings leave out because of its underscore.
//!
//! Invariant: the key of an object depends on ids alone, so that every driver of a run names the same object alike, and
//! numbers are padded so that the order of keys is the order of numbers.

/// Folder of all run state below the lake's root.
pub const STATE_DIR: &str = "_lakewright";

/// Folder of the releases.
pub const RELEASES_DIR: &str = "_lakewright/releases";

/// Folder of the markers of unfinished runs.
pub const ACTIVE_DIR: &str = "_lakewright/active";

/// Folder of the runs.
pub const RUNS_DIR: &str = "_lakewright/runs";

/// Folder of the slots of all jobs.
pub const JOBS_DIR: &str = "_lakewright/jobs";

/// Folder of the heartbeats.
pub const DRIVERS_DIR: &str = "_lakewright/drivers";

/// Folder of the leaders that the lake has had.
pub const LEADERS_DIR: &str = "_lakewright/leaders";

/// Zone of the tables of records and rows that were kept aside.
pub const REJECTS_ZONE: &str = "rejects";

/// Folder of the segments of all ledgers.
pub const LEDGER_DIR: &str = "_lakewright/ledger";

/// Folder of what files hold that were made by compaction.
pub const ORIGINS_DIR: &str = "_lakewright/origins";

/// Name of the counts of each raw object in a report's folder.
pub const REPORT_OBJECTS: &str = "objects.parquet";

/// Name of the rejects in a report's folder.
pub const REPORT_REJECTS: &str = "rejects.parquet";

/// What says that a prefix is a lake, and of which format.
pub const LAKE_MARKER: &str = "_lakewright/lake.json";

/// Folder of what is known about the stores that the lake has lain on.
pub const STORES_DIR: &str = "_lakewright/stores";

/// A number as it stands in a key: decimal, padded to the 20 digits of the greatest `u64`.
fn padded(number: u64) -> String {
    format!("{number:020}")
}

/// Root of a table.
pub fn table_root(zone: &str, table: &str) -> String {
    format!("{zone}/{table}")
}

/// What a store has shown to keep; `digest` is the hexadecimal SHA-256 of its URL.
pub fn store_check(digest: &str) -> String {
    format!("{STORES_DIR}/{digest}.json")
}

/// What an idempotency key led to; `digest` is the hexadecimal SHA-256 of principal and key.
pub fn idempotency(digest: &str) -> String {
    format!("{STATE_DIR}/idem/{digest}.json")
}

/// Folder of a job's slots.
pub fn job_slots_dir(job: &str) -> String {
    format!("{JOBS_DIR}/{job}")
}

/// The run that has a number in its job.
pub fn job_slot(job: &str, sequence: u64) -> String {
    numbered(&job_slots_dir(job), sequence)
}

/// The marker of an unfinished run.
pub fn active(run_id: &str) -> String {
    format!("{ACTIVE_DIR}/{run_id}")
}

/// Folder of a run.
pub fn run_dir(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}")
}

/// What was asked for.
pub fn spec(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/spec.json")
}

/// The frozen inputs.
pub fn frozen(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/frozen.json")
}

/// The frozen listing, where it is too large for `frozen.json`. `nonce` is that of the `frozen.json` that names it:
/// drivers that race to freeze list at different times, and each must keep its own listing.
pub fn frozen_listing(run_id: &str, nonce: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/frozen-{nonce}.parquet")
}

/// Folder of the reports of a run, by source.
pub fn reports_dir(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/reports")
}

/// Folder of what one step's reading of `source` came to; `uuid` is made for it.
pub fn report(run_id: &str, source: &str, uuid: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/reports/{source}/{uuid}")
}

/// Folder of what the tasks of one execution of a step saw of `source`, on a fleet; `execution` is a UUID made for it.
pub fn scans(run_id: &str, execution: &str, source: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/scans/{execution}/{source}")
}

/// What one task saw, in a folder of [`scans`]; `uuid` is made for it.
pub fn scan_report(scans: &str, uuid: &str) -> String {
    format!("{scans}/{uuid}.json")
}

/// The counts of each raw object in a report's folder.
pub fn report_objects(report: &str) -> String {
    format!("{report}/{REPORT_OBJECTS}")
}

/// The rejects in a report's folder; missing if there are none.
pub fn report_rejects(report: &str) -> String {
    format!("{report}/{REPORT_REJECTS}")
}

/// What a step wrote.
pub fn written(run_id: &str, table: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/steps/{table}/written.json")
}

/// What the checks of a run came to.
pub fn checks(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/checks.json")
}

/// A few of the rows of `table` that violate `check`; `uuid` is made for them.
pub fn check_rows(run_id: &str, table: &str, check: &str, uuid: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/checks/{table}/{check}-{uuid}.parquet")
}

/// The `number`th raw object, from 1, that a step leaves out because it cannot be read.
#[must_use]
pub fn excluded(run_id: &str, table: &str, number: u32) -> String {
    format!("{RUNS_DIR}/{run_id}/steps/{table}/excluded-{number}.json")
}

/// The point of no return.
pub fn outcome(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/outcome.json")
}

/// The terminal summary.
pub fn done(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/done.json")
}

/// What an observer is told about a run that cannot go on; advisory.
pub fn broken(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/broken.json")
}

/// A ledger segment of `zone.table`, by the number of the run in its job.
pub fn ledger_segment(table: &str, sequence: u64) -> String {
    format!("{LEDGER_DIR}/{table}/{}.parquet", padded(sequence))
}

/// What the files of `zone.table` that were made by compaction hold, by the number of the run in its job.
pub fn origins_segment(table: &str, sequence: u64) -> String {
    format!("{ORIGINS_DIR}/{table}/{}.parquet", padded(sequence))
}

/// A release.
pub fn release(number: u64) -> String {
    numbered(RELEASES_DIR, number)
}

/// A driver's heartbeat.
pub fn driver(driver_id: &str) -> String {
    format!("{DRIVERS_DIR}/{driver_id}")
}

/// A leader of the lake's schedulers, by its term.
pub fn leader(term: u64) -> String {
    format!("{LEADERS_DIR}/{}.json", padded(term))
}

/// Folder of what was logged about a run.
pub fn logs_dir(run_id: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/logs")
}

/// A piece of what was logged about a run, by the time at which it was stored; `uuid` is made for it.
pub fn log_piece(run_id: &str, stored_us: u64, uuid: &str) -> String {
    format!("{RUNS_DIR}/{run_id}/logs/{}-{uuid}.jsonl", padded(stored_us))
}

/// The run that has written a data file, by the last part of its key, `<run_id>-<uuid>.parquet`; `None` for a file of
/// another name, which no run of this program has made.
///
/// Decides only what may be deleted: what a table holds is said by its log, never by a name.
#[must_use]
pub fn writer_of(key: &str) -> Option<&str> {
    let name = key.rsplit('/').next()?.strip_suffix(".parquet")?;
    let (run_id, rest) = name.split_at_checked(UUID_LETTERS)?;
    let is_uuid = |text: &str| {
        let is_letter = |(place, letter): (usize, u8)| match place {
            8 | 13 | 18 | 23 => letter == b'-',
            _ => letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter),
        };
        text.len() == UUID_LETTERS && text.bytes().enumerate().all(is_letter)
    };
    (is_uuid(run_id) && is_uuid(rest.strip_prefix('-')?)).then_some(run_id)
}

/// Letters of a UUID's text.
const UUID_LETTERS: usize = 36;

/// The slot or release of a folder that has a number.
pub fn numbered(dir: &str, number: u64) -> String {
    format!("{dir}/{}.json", padded(number))
}

/// Reads the number of a slot, a release or a segment back from the last part of its key; `None` for any other object.
pub fn number_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".json").or_else(|| file_name.strip_suffix(".parquet"))?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_the_order_of_numbers() {
        assert!(release(9) < release(10));
        assert!(release(10) < release(u64::MAX));
        assert_eq!(release(7), "_lakewright/releases/00000000000000000007.json");
    }

    #[test]
    fn only_a_file_that_is_named_as_runs_name_theirs_has_a_writer() {
        let (run, own) = ("0191f1a0-0000-7000-8000-000000000001", "5d0c9c55-6d0b-4f6e-9a43-6f1d0c1c9b3a");
        assert_eq!(writer_of(&format!("year=2018/{run}-{own}.parquet")), Some(run));
        for name in ["part-00000.parquet", "x.json", ".parquet", &format!("{run}.parquet"), &format!("{run}-{own}.csv")]
        {
            assert_eq!(writer_of(name), None, "{name}");
        }
        assert_eq!(writer_of(&format!("{run}-{}.parquet", "é".repeat(18))), None);
    }

    #[test]
    fn a_number_is_read_back_from_its_own_keys_only() {
        assert_eq!(number_of("00000000000000000042.json"), Some(42));
        assert_eq!(number_of("42.json"), None);
        assert_eq!(number_of("00000000000000000042.json#1"), None);
        assert_eq!(number_of("99999999999999999999.json"), None);
    }
}
