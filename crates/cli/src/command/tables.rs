//! `tables`: what a release holds, and which releases there are.

use lakewright_compiler::TableName;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_scheduler::list_releases;

use crate::{
    args::TablesArgs,
    exit::Outcome,
    place::Invocation,
    render::{
        json::TablesDocument,
        releases::{HistoryDocument, history_text},
        summary::tables_text,
    },
    sql::{nothing_published, open_catalog_at},
};

/// Lists the published tables, or the releases.
pub(super) async fn tables(invocation: &Invocation, arguments: &TablesArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let lake = place.lake()?;
    if let Some(table) = &arguments.history {
        return history(invocation, &lake, table.as_deref(), arguments.limit).await;
    }
    let catalog = open_catalog_at(&lake, arguments.as_of).await?;
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

async fn history(invocation: &Invocation, lake: &Prefix, table: Option<&str>, limit: usize) -> Outcome {
    let table = table.map(table_name).transpose()?;
    let releases = list_releases(lake, table.as_ref(), limit).await?;
    let output = invocation.output;
    if releases.is_empty() {
        return match table {
            Some(table) => Err(Error::new(ErrorKind::NotFound, "no release has such a table")
                .with("table", table)
                .with("lake", lake.display_location())
                .with_hint("`lakewright tables` lists what the lake has")
                .into()),
            None => Err(nothing_published(lake).into()),
        };
    }
    if output.json {
        return output.document(&HistoryDocument::new(lake.display_location(), &releases));
    }
    output.result(&history_text(&releases, output.width, output.style))
}

/// Reads `zone.table`.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: it cannot be a table's name.
pub(super) fn table_name(text: &str) -> Result<TableName> {
    TableName::parse(text).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "this is no table's name")
            .with("table", text)
            .with_hint("write zone.table, for example curated.songs")
    })
}
