//! Queries against a small lake: names without regard to case, diagnostics, types, rows.

mod diagnostics;
mod dialect;
mod driving;
mod fuzz;
mod metadata;
mod names;
mod rows;
mod sides;
mod unique;

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    execution::SessionState,
    prelude::SessionContext,
};

use super::*;

/// Tables whose columns differ in spelling from how queries write them.
fn tables() -> BTreeMap<TableName, SchemaRef> {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let geo = DataType::Struct(Fields::from(vec![field("Lat", DataType::Float64), field("lon", DataType::Float64)]));
    let info = DataType::Struct(Fields::from(vec![field("City", DataType::Utf8), field("geo", geo)]));
    let events = vec![
        field("userId", DataType::Utf8),
        field("page", DataType::Utf8),
        field("song", DataType::Utf8),
        field("artist", DataType::Utf8),
        field("length", DataType::Float64),
        field("sessionId", DataType::Int64),
        field("itemInSession", DataType::Int32),
        field("ts", DataType::Int64),
        field("level", DataType::Utf8),
        field("price", DataType::Decimal128(10, 2)),
        field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        field("info", info),
        field("tags", DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))),
    ];
    let songs = vec![
        field("song_id", DataType::Utf8),
        field("Title", DataType::Utf8),
        field("artist_name", DataType::Utf8),
        field("duration", DataType::Float64),
        field("year", DataType::Int32),
    ];
    let users = vec![field("USERID", DataType::Utf8), field("gender", DataType::Utf8), field("level", DataType::Utf8)];
    [("staging", "events", events), ("staging", "songs", songs), ("curated", "users", users)]
        .into_iter()
        .map(|(zone, table, fields)| (TableName::new(zone, table).unwrap(), Arc::new(Schema::new(fields)) as SchemaRef))
        .collect()
}

fn functions() -> SessionState {
    SessionContext::new().state()
}

fn params() -> BTreeMap<String, ParamType> {
    [("min_length", ParamType::Double), ("day", ParamType::Date), ("n", ParamType::Bigint)]
        .into_iter()
        .map(|(name, param_type)| (name.to_owned(), param_type))
        .collect()
}

fn resolve_all(text: &str) -> Result<(Query, Vec<Diagnostic>), Diagnostics> {
    parse_query("m.sql", text, 0..text.len())?.resolve(&tables(), &functions(), &params())
}

/// The query of a model, which must be right.
#[track_caller]
fn model(text: &str) -> Query {
    match resolve_all(text) {
        Ok((query, _)) => query,
        Err(diagnostics) => panic!("{text}\n{diagnostics}"),
    }
}

#[track_caller]
fn sql(text: &str) -> String {
    model(text).sql
}

/// What is wrong with the query of a model.
#[track_caller]
fn errors(text: &str) -> Vec<Diagnostic> {
    match resolve_all(text) {
        Ok((query, _)) => panic!("{text}\nis accepted as\n{}", query.sql),
        Err(diagnostics) => diagnostics.0,
    }
}

/// The codes of what is wrong, with what the text has at their places.
#[track_caller]
fn codes(text: &str) -> Vec<(&'static str, String)> {
    errors(text).into_iter().map(|error| (error.code, text[error.span.clone()].to_owned())).collect()
}

fn column(query: &Query, name: &str) -> DataType {
    query.schema.field_with_name(name).unwrap().data_type().clone()
}
