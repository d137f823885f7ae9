//! The decoder against arrow-json, on texts of several shapes, one core, from memory.
//!
//! Both decode a shape in turn, round by round, and the ratio is taken within a round: a machine that is slow for a while
//! is slow for both. `bench/decoder` runs it and keeps the table.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a program for developers, on texts that it makes itself"
)]

mod shapes;

use std::{hint::black_box, sync::Arc, time::Instant};

use arrow::datatypes::SchemaRef;
use lakewright_json::{Decoder, Options, Stop};

use self::shapes::Shape;

const BATCH_ROWS: usize = 8192;
/// As much as the reader of a raw object hands over at once.
const CHUNK_BYTES: usize = 1 << 20;
const ROUNDS: usize = 9;
const TEXT_BYTES: usize = 48 << 20;

fn main() {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    println!("| shape | columns | MB | lakewright MB/s | arrow-json MB/s | times as fast |");
    println!("|---|---|---|---|---|---|");
    for shape in shapes::all(TEXT_BYTES) {
        if only.as_ref().is_none_or(|name| shape.name.contains(name.as_str())) {
            compare(&shape);
        }
    }
    if only.is_none() {
        println!("\n| phase, on the event log | MB/s |\n|---|---|");
        phases(&shapes::events(TEXT_BYTES));
    }
}

fn compare(shape: &Shape) {
    let schema = shape.schema();
    let text = shape.text.as_bytes();
    assert_eq!(with_lakewright(&schema, &shape.projection, text), shape.rows, "{}", shape.name);
    let projected = Arc::new(schema.project(&shape.projection).unwrap());
    assert_eq!(with_arrow(&projected, text), shape.rows, "{}", shape.name);
    let mut rounds: Vec<(f64, f64)> = Vec::new();
    for _ in 0..ROUNDS {
        let own = seconds(|| with_lakewright(&schema, &shape.projection, text));
        rounds.push((own, seconds(|| with_arrow(&projected, text))));
    }
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "| {} | {} of {} | {megabytes:.0} | {:.0} | {:.0} | {:.2} |",
        shape.name,
        shape.projection.len(),
        schema.fields().len(),
        megabytes / median(rounds.iter().map(|round| round.0)),
        megabytes / median(rounds.iter().map(|round| round.1)),
        median(rounds.iter().map(|round| round.1 / round.0)),
    );
}

/// What the parts of decoding take by themselves: each has all of the one before it to do.
fn phases(shape: &Shape) {
    let text = shape.text.as_bytes();
    let schema = shape.schema();
    let numbers: Vec<usize> =
        (0..schema.fields().len()).filter(|index| schema.field(*index).data_type().is_numeric()).collect();
    let tell = |name: &str, run: &dyn Fn() -> usize| {
        let speed = median((0..ROUNDS).map(|_| text.len() as f64 / 1e6 / seconds(run)));
        println!("| {name} | {speed:.0} |");
    };
    tell("newlines found", &|| memchr::memchr_iter(b'\n', text).count());
    tell("UTF-8 checked", &|| simdutf8::basic::from_utf8(text).map(str::len).unwrap_or_default());
    tell("decoded, no column", &|| with_lakewright(&schema, &[], text));
    tell("decoded, columns of numbers", &|| with_lakewright(&schema, &numbers, text));
    tell("decoded, all columns", &|| with_lakewright(&schema, &shape.projection, text));
}

fn with_lakewright(schema: &SchemaRef, projection: &[usize], text: &[u8]) -> usize {
    let options = Options { batch_rows: BATCH_ROWS, drift: true, ..Options::default() };
    let mut decoder = Decoder::new(schema, projection, options).unwrap();
    let mut rows = 0;
    decoder.begin(0);
    for chunk in text.chunks(CHUNK_BYTES) {
        let mut rest = chunk;
        loop {
            let step = decoder.decode(rest);
            rest = &rest[step.taken..];
            match step.stop {
                Stop::Taken => break,
                Stop::BatchFull => {
                    rows += black_box(decoder.take_batch().unwrap()).map_or(0, |batch| batch.num_rows());
                }
                Stop::Faults => unreachable!("the text has a record that is none: {:?}", decoder.take_faults()),
            }
        }
    }
    decoder.end();
    rows + black_box(decoder.take_batch().unwrap()).map_or(0, |batch| batch.num_rows())
}

fn with_arrow(schema: &SchemaRef, text: &[u8]) -> usize {
    let mut decoder =
        arrow::json::ReaderBuilder::new(Arc::clone(schema)).with_batch_size(BATCH_ROWS).build_decoder().unwrap();
    let mut rows = 0;
    for chunk in text.chunks(CHUNK_BYTES) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let taken = decoder.decode(rest).unwrap();
            rest = &rest[taken..];
            if !rest.is_empty() {
                rows += black_box(decoder.flush().unwrap()).map_or(0, |batch| batch.num_rows());
            }
        }
    }
    rows + black_box(decoder.flush().unwrap()).map_or(0, |batch| batch.num_rows())
}

fn seconds<T>(run: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    black_box(run());
    begun.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
