//! `preview`: rows of a model's SELECT, without writing anything.
//!
//! Data flow: what the model reads is taken from the newest release; an upstream model that is not published is computed
//! in memory, from raw objects if need be.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use datafusion::prelude::SessionContext;
use lakewright_compiler::{Job, Model, TableName};
use lakewright_engine::{Engine, Relation, register_relation};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_scheduler::LakeCatalog;

use super::row_format;
use crate::{
    args::PreviewArgs,
    exit::{Failure, Outcome},
    place::Invocation,
    render::rows::print_rows,
    sql::{open_catalog, param_values, raw_relation},
    suggest,
};

/// Shows the first rows of a model.
pub(super) async fn preview(invocation: &Invocation, arguments: &PreviewArgs, now: DateTime<Utc>) -> Outcome {
    let place = invocation.job_place(arguments.job.as_deref())?;
    let engine = place.engine()?;
    let job = place.compile(&engine, &arguments.params.params)?.job;
    let model = find_model(&job, &arguments.model)?;
    let lake = place.lake()?;
    engine.register_store(&lake);
    let catalog = open_catalog(&lake).await?;
    let inputs = Inputs::of(&job, &catalog, model);
    let session = engine.session();
    inputs
        .register(&job, &catalog, &session, || open_raw(&engine, &place.raw_location()?))
        .await
        .map_err(Failure::job)?;
    if !inputs.computed.is_empty() {
        let names: Vec<String> = inputs.computed.iter().map(|model| model.name.to_string()).collect();
        invocation.output.note(&format!("note: not published yet, so computed in memory: {}", names.join(", ")));
    }
    let used: BTreeSet<String> =
        inputs.computed.iter().chain([&model]).flat_map(|model| model.query.params.iter().cloned()).collect();
    let used: Vec<String> = used.into_iter().collect();
    let params = param_values(&job.params, &used, now.timestamp_micros());
    let rows = engine.query_first(&session, &model.query.sql, &params, arguments.limit).await.map_err(Failure::job)?;
    let format = row_format(arguments.format, &invocation.output);
    print_rows(rows, format, arguments.limit, &invocation.output).await.map(|_| ())
}

/// Finds a model by its name, by its table's name if that is unique, or by its file.
fn find_model<'a>(job: &'a Job, asked: &str) -> Result<&'a Model> {
    let lower = asked.to_ascii_lowercase();
    let matches: Vec<&Model> = job
        .models
        .iter()
        .filter(|model| {
            model.name.to_string() == lower
                || model.name.table() == lower
                || asked.ends_with(&format!("/{}", model.file))
                || asked == model.file
        })
        .collect();
    match matches.as_slice() {
        [only] => Ok(only),
        [] => {
            let known: Vec<String> = job.models.iter().map(|model| model.name.to_string()).collect();
            let hint = match suggest::closest(&lower, known.iter().map(String::as_str)) {
                Some(like) => format!("did you mean {like}?"),
                None => format!("the models are {}", known.join(", ")),
            };
            Err(Error::new(ErrorKind::Invalid, format!("there is no model {asked}")).with_hint(hint))
        }
        several => {
            let names: Vec<String> = several.iter().map(|model| model.name.to_string()).collect();
            Err(Error::new(ErrorKind::Invalid, format!("{asked} is the name of several tables"))
                .with_hint(format!("name one: {}", names.join(", "))))
        }
    }
}

fn open_raw(engine: &Engine, location: &str) -> Result<Prefix> {
    let raw = Prefix::open(location)?;
    engine.register_store(&raw);
    Ok(raw)
}

/// What a model reads, directly or through models that are not published.
#[derive(Debug, Default)]
struct Inputs<'a> {
    published: Vec<TableName>,
    sources: Vec<TableName>,
    /// Every one after all that it reads.
    computed: Vec<&'a Model>,
}

impl<'a> Inputs<'a> {
    fn of(job: &'a Job, catalog: &LakeCatalog, model: &Model) -> Self {
        let published: BTreeSet<&TableName> = catalog.tables.iter().map(|table| &table.name).collect();
        let mut inputs = Self::default();
        let mut needed: BTreeSet<TableName> = model.query.reads.iter().cloned().collect();
        // Models stand after all that they read, so one pass backwards meets every reader before what it reads.
        for upstream in job.models.iter().rev() {
            if needed.contains(&upstream.name) && !published.contains(&upstream.name) {
                needed.remove(&upstream.name);
                needed.extend(upstream.query.reads.iter().cloned());
                inputs.computed.push(upstream);
            }
        }
        inputs.computed.reverse();
        (inputs.sources, inputs.published) = needed.into_iter().partition(|name| job.sources.contains_key(name));
        inputs
    }

    async fn register(
        &self,
        job: &Job,
        catalog: &LakeCatalog,
        session: &SessionContext,
        open_raw: impl FnOnce() -> Result<Prefix>,
    ) -> Result<()> {
        catalog.register(session, &self.published).await?;
        if !self.sources.is_empty() {
            let raw = open_raw()?;
            for source in self.sources.iter().filter_map(|name| job.sources.get(name)) {
                let relation = raw_relation(source, &raw).await?;
                register_relation(session, source.name.zone(), source.name.table(), relation).await?;
            }
        }
        for model in &self.computed {
            let view = Relation::View { sql: model.query.sql.clone(), schema: Arc::clone(&model.schema) };
            register_relation(session, model.name.zone(), model.name.table(), view).await?;
        }
        Ok(())
    }
}
