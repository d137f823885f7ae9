//! `diff`: what differs between two releases.

use lakewright_scheduler::{DiffOptions, diff_releases, find_release};

use super::tables::table_name;
use crate::{
    args::DiffArgs,
    exit::{Failure, Outcome},
    place::Invocation,
    render::releases::{DiffDocument, diff_text},
};

/// Compares two releases.
pub(super) async fn diff(invocation: &Invocation, arguments: &DiffArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let lake = place.lake()?;
    let table = arguments.table.as_deref().map(table_name).transpose()?;
    let before = find_release(&lake, arguments.before).await?;
    let after = find_release(&lake, arguments.after).await?;
    let engine = place.engine()?;
    let options = DiffOptions { table, key: arguments.key.clone(), sample_rows: arguments.rows };
    let diffs = diff_releases(&engine, &lake, &before, &after, &options).await?;
    let output = invocation.output;
    if output.json {
        let document = DiffDocument::new(before.number, after.number, &diffs).map_err(Failure::job)?;
        return output.document(&document);
    }
    output.result(&diff_text(before.number, after.number, &diffs, &output)?)
}
