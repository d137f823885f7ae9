//! `vacuum`: deletes what nothing needs any more.
//!
//! Invariant: nothing is deleted without `--force`.

use chrono::{DateTime, Utc};
use lakewright_scheduler::VacuumOptions;

use crate::{
    args::VacuumArgs,
    exit::{Failure, Outcome},
    place::Invocation,
    render::vacuum::{VacuumDocument, vacuum_notes, vacuum_text},
};

/// Deletes what nothing needs any more, or tells what that is.
pub(super) async fn vacuum(invocation: &Invocation, arguments: &VacuumArgs, now: DateTime<Utc>) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let (lake, output) = (place.lake()?, invocation.output);
    let options = VacuumOptions { retain: arguments.retain, now_us: now.timestamp_micros(), delete: arguments.force };
    let vacuumed = lakewright_scheduler::vacuum(&lake, options).await.map_err(Failure::job)?;
    if output.json {
        return output.document(&VacuumDocument::new(lake.display_location(), options, &vacuumed));
    }
    output.result(&vacuum_text(&vacuumed, options, output.width, output.style))?;
    vacuum_notes(&vacuumed, options).iter().for_each(|note| output.note(&output.stderr_style.dim(note)));
    Ok(())
}
