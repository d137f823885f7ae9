//! `tables`: what the newest release holds.

use crate::{
    args::TablesArgs,
    exit::Outcome,
    place::Invocation,
    render::{json::TablesDocument, summary::tables_text},
    sql::open_catalog,
};

/// Lists the published tables.
pub(super) async fn tables(invocation: &Invocation, arguments: &TablesArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let lake = place.lake()?;
    let catalog = open_catalog(&lake).await?;
    let output = invocation.output;
    if output.json {
        return output.document(&TablesDocument::new(lake.display_location(), &catalog));
    }
    let Some(release) = catalog.release else {
        let lake = lake.display_location();
        output.note(&format!(
            "nothing has been published in {lake} yet: `lakewright run` computes and publishes a job's tables"
        ));
        return Ok(());
    };
    output.result(&tables_text(&catalog, output.width, output.style))?;
    output.note(&output.stderr_style.dim(&format!("release {release} of {}", lake.display_location())));
    Ok(())
}
