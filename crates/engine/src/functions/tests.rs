//! The dialect, case by case, through a session like every other.
//!
//! `cases/*.tsv` holds `expression <TAB> type <TAB> value`, or `expression <TAB> error <TAB> part of the message`; an
//! expression may be a whole SELECT. Types and values are spelt as Spark's, `NULL` is SQL's, rows are separated by ` | `.
//! A fourth column says why Spark gives something else. `cases/check_with_spark.py` compares the tables with Spark.

use std::fmt::Write;

use datafusion::{
    arrow::{
        array::{Array, AsArray},
        datatypes::{DataType, Float32Type, Float64Type, IntervalUnit, TimeUnit},
        util::display::{ArrayFormatter, FormatOptions},
    },
    prelude::{SessionConfig, SessionContext},
};

use super::*;

fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.default_null_ordering = "nulls_last".to_owned();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.enable_ansi_mode = true;
    options.execution.time_zone = Some("UTC".to_owned());
    let builder = SessionStateBuilder::new().with_config(config).with_default_features();
    SessionContext::new_with_state(with_functions(builder).build())
}

/// Spark's `typeof`.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "void".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => "timestamp".to_owned(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "interval".to_owned(),
        DataType::List(field) => format!("array<{}>", type_name(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                format!("map<{},{}>", type_name(fields[0].data_type()), type_name(fields[1].data_type()))
            }
            other => other.to_string(),
        },
        DataType::Struct(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|field| format!("{}:{}", field.name(), type_name(field.data_type()))).collect();
            format!("struct<{}>", fields.join(","))
        }
        other => other.to_string(),
    }
}

fn render(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return "NULL".to_owned();
    }
    let join = |values: &dyn Array| (0..values.len()).map(|i| render(values, i)).collect::<Vec<_>>().join(", ");
    match array.data_type() {
        DataType::Utf8 => {
            array.as_string::<i32>().value(row).replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
        }
        DataType::Binary => {
            let hex = array.as_binary::<i32>().value(row).iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
            format!("x'{hex}'")
        }
        DataType::Float64 => render_float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => render_float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::List(_) => format!("[{}]", join(&array.as_list::<i32>().value(row))),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let pairs: Vec<_> = (0..entries.len())
                .map(|i| format!("{}: {}", render(entries.column(0), i), render(entries.column(1), i)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let pairs: Vec<_> =
                fields.iter().zip(columns).map(|(f, c)| format!("{}: {}", f.name(), render(c, row))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        DataType::Timestamp(..) => {
            let format = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.6f"));
            let text =
                ArrayFormatter::try_new(array, &format).map_or_else(|e| e.to_string(), |f| f.value(row).to_string());
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => ArrayFormatter::try_new(array, &FormatOptions::default()).unwrap().value(row).to_string(),
    }
}

fn render_float(value: f64) -> String {
    if value.is_infinite() {
        (if value > 0.0 { "Infinity" } else { "-Infinity" }).to_owned()
    } else {
        format!("{value:?}")
    }
}

/// The types of the columns, and the rows.
async fn answer(context: &SessionContext, expression: &str) -> datafusion::error::Result<(String, String)> {
    let is_query = expression.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("SELECT "));
    let query = if is_query { expression.to_owned() } else { format!("SELECT {expression}") };
    let frame = context.sql(&query).await?;
    let types: Vec<_> = frame.schema().fields().iter().map(|field| type_name(field.data_type())).collect();
    let batches = frame.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| render(column, row)).collect::<Vec<_>>().join(", "));
        }
    }
    Ok((types.join(", "), rows.join(" | ")))
}

fn same_value(ours: &str, expected: &str) -> bool {
    ours == expected
        || match (ours.parse::<f64>(), expected.parse::<f64>()) {
            (Ok(ours), Ok(expected)) => (ours - expected).abs() <= 1e-12 * expected.abs(),
            _ => false,
        }
}

async fn check(table: &str) {
    let context = session();
    let mut differences = String::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let (expression, kind, value) =
            (columns.next().unwrap(), columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
        let (same, ours) = match answer(&context, expression).await {
            Ok((types, rows)) => (types == kind && same_value(&rows, value), format!("{types}\t{rows}")),
            Err(error) => (
                kind == "error" && error.to_string().contains(value),
                format!("error\t{}", error.to_string().replace('\n', " ")),
            ),
        };
        if !same {
            writeln!(differences, "{expression}\n  expected {kind}\t{value}\n  got      {ours}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[tokio::test]
async fn arithmetic_and_casts_are_ansi() {
    check(include_str!("cases/arithmetic.tsv")).await;
}

#[tokio::test]
async fn math_is_spark() {
    check(include_str!("cases/math.tsv")).await;
}

#[tokio::test]
async fn text_is_spark() {
    check(include_str!("cases/text.tsv")).await;
}

#[tokio::test]
async fn time_is_spark() {
    check(include_str!("cases/time.tsv")).await;
}

#[tokio::test]
async fn nested_and_conditional_are_spark() {
    check(include_str!("cases/nested.tsv")).await;
}

#[tokio::test]
async fn aggregates_and_windows_are_spark() {
    check(include_str!("cases/aggregate.tsv")).await;
}

#[test]
fn plans_name_only_what_the_registry_has_under_that_name() {
    let state = session().state();
    let named = [
        time::date_part(),
        time::date_add(),
        time::date_sub(),
        time::unix_seconds(),
        time::timestamp_seconds_udf(),
        text::locate(),
        nested::element_or_error(),
        datafusion_spark::function::string::substring(),
        datafusion::functions::core::get_field(),
    ];
    for function in named {
        assert_eq!(state.scalar_functions().get(function.name()), Some(&function), "{}", function.name());
    }
    for function in arithmetic::functions().into_iter().chain(cast::functions()) {
        assert_eq!(state.scalar_functions().get(function.name()), Some(&function), "{}", function.name());
    }
}

#[test]
fn a_function_is_registered_under_its_own_name() {
    let state = session().state();
    for (name, function) in state.scalar_functions() {
        assert!(function.name() == name || function.aliases().contains(name), "{name} is {}", function.name());
        // Executors find a function of a plan by its own name: that must be the same one.
        assert_eq!(state.scalar_functions().get(function.name()), Some(function), "{name} is {}", function.name());
    }
    for (name, function) in state.aggregate_functions() {
        assert_eq!(state.aggregate_functions().get(function.name()), Some(function), "{name} is {}", function.name());
    }
}

/// The names in backticks in the tables' rows under a heading of the page about SQL.
fn documented(heading: &str) -> Vec<&'static str> {
    let page = include_str!("../../../../docs/sql.md");
    let section = page.split(heading).nth(1).unwrap();
    let rows = section.lines().skip(1).take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn the_page_about_sql_and_the_registry_name_the_same_functions() {
    let state = session().state();
    let documented = documented("## Functions that are ours");
    let is_known = |name: &str| {
        state.scalar_functions().contains_key(name)
            || state.aggregate_functions().contains_key(name)
            || state.window_functions().contains_key(name)
    };
    let unknown: Vec<_> = documented.iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "documented, but not there: {unknown:?}");
    // What stands for an operator or a cast in plans is no function that SQL is meant to call.
    let internal = ["checked_", "get_or_error", "text_to", "try_text_to", "timestamp_to_", "float_to_text"];
    let families = [
        arithmetic::functions(),
        cast::functions(),
        json::functions(),
        math::functions(),
        nested::functions(),
        pattern_time::functions(),
        regexp::functions(),
        text::functions(),
        time::functions(),
    ];
    let scalar = families.iter().flatten().map(|function| function.name());
    let aggregates: Vec<_> = [aggregate::functions(), sum::functions(), average::functions()].concat();
    let ours = scalar.chain(aggregates.iter().map(|function| function.name()));
    let hidden: Vec<_> = ours
        .filter(|name| !internal.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| {
            let aliases = state.scalar_functions().get(*name).map_or(&[][..], |function| function.aliases());
            !documented.contains(name) && !aliases.iter().any(|alias| documented.contains(&alias.as_str()))
        })
        .collect();
    assert!(hidden.is_empty(), "there, but not documented: {hidden:?}");
}
