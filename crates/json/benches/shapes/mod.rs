//! Texts of one record a line, of different shapes, the same in every run.

use std::{fmt::Write, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};

/// A text with the columns that are declared for it.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    columns: Vec<(String, DataType)>,
    /// Columns that are asked for, as indexes of the declared ones.
    pub(crate) projection: Vec<usize>,
    pub(crate) text: String,
    pub(crate) rows: usize,
}

impl Shape {
    /// All columns of as many records as make a text of so many bytes.
    fn new(
        name: &'static str,
        columns: &[(&str, DataType)],
        bytes: usize,
        record: impl Fn(&mut Random) -> String,
    ) -> Self {
        let columns: Vec<_> = columns.iter().map(|(name, data_type)| ((*name).to_owned(), data_type.clone())).collect();
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let (mut text, mut rows) = (String::with_capacity(bytes + 4096), 0);
        while text.len() < bytes {
            text.push_str(&record(&mut random));
            text.push('\n');
            rows += 1;
        }
        Self { name, projection: (0..columns.len()).collect(), columns, text, rows }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Every shape, each with about so many bytes.
pub(crate) fn all(bytes: usize) -> Vec<Shape> {
    let projected = Shape { name: "event log, few columns", projection: vec![10, 15, 17], ..events(bytes) };
    vec![
        events(bytes),
        projected,
        narrow(bytes),
        wide(bytes),
        nested(bytes),
        escaped(bytes),
        non_ascii(bytes),
        long_texts(bytes),
        numbers(bytes),
        shuffled(bytes),
        sparse(bytes),
        undeclared(bytes),
    ]
}

const EVENT: [(&str, DataType); 18] = [
    ("artist", DataType::Utf8),
    ("auth", DataType::Utf8),
    ("firstName", DataType::Utf8),
    ("gender", DataType::Utf8),
    ("itemInSession", DataType::Int32),
    ("lastName", DataType::Utf8),
    ("length", DataType::Float64),
    ("level", DataType::Utf8),
    ("location", DataType::Utf8),
    ("method", DataType::Utf8),
    ("page", DataType::Utf8),
    ("registration", DataType::Float64),
    ("sessionId", DataType::Int64),
    ("song", DataType::Utf8),
    ("status", DataType::Int32),
    ("ts", DataType::Int64),
    ("userAgent", DataType::Utf8),
    ("userId", DataType::Utf8),
];

/// Records of the reference job's log of user activity.
pub(crate) fn events(bytes: usize) -> Shape {
    Shape::new("event log", &EVENT, bytes, |random| line(event(random), false, random))
}

fn shuffled(bytes: usize) -> Shape {
    Shape::new("event log, keys shuffled", &EVENT, bytes, |random| line(event(random), true, random))
}

fn event(random: &mut Random) -> Vec<(String, Value)> {
    let plays = random.below(100) < 82;
    let text = |random: &mut Random, bytes: u64| Value::String(random.words(bytes));
    let or_null = |value: Value| if plays { value } else { Value::Null };
    [
        ("artist", or_null(text(random, 14))),
        ("auth", json!("Logged In")),
        ("firstName", text(random, 6)),
        ("gender", json!(if random.below(2) == 0 { "F" } else { "M" })),
        ("itemInSession", json!(random.below(100))),
        ("lastName", text(random, 7)),
        ("length", or_null(json!(random.below(600_000_000) as f64 / 1e6))),
        ("level", json!(if random.below(5) == 0 { "free" } else { "paid" })),
        ("location", json!("San Francisco-Oakland-Hayward, CA")),
        ("method", json!("PUT")),
        ("page", json!(if plays { "NextSong" } else { "Home" })),
        ("registration", json!(1_540_919_166_796.0 + random.below(1_000_000_000) as f64)),
        ("sessionId", json!(random.below(2000))),
        ("song", or_null(text(random, 20))),
        ("status", json!(200)),
        ("ts", json!(1_541_106_106_796 + random.below(2_592_000_000))),
        (
            "userAgent",
            json!("\"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/36.0.1985.143 Safari/537.36\""),
        ),
        ("userId", json!(random.below(100).to_string())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

fn narrow(bytes: usize) -> Shape {
    let columns = [("id", DataType::Int64), ("name", DataType::Utf8)];
    Shape::new("narrow", &columns, bytes, |random| {
        format!(r#"{{"id":{},"name":"{}"}}"#, random.below(1 << 40), random.words(8))
    })
}

fn wide(bytes: usize) -> Shape {
    let names: Vec<String> = (0..200).map(|number| format!("column_{number}")).collect();
    let types = [DataType::Int64, DataType::Utf8, DataType::Float64, DataType::Boolean];
    let columns: Vec<(&str, DataType)> = names.iter().map(String::as_str).zip(types.iter().cycle().cloned()).collect();
    Shape::new("wide", &columns, bytes, |random| {
        let mut record = String::from("{");
        for (number, name) in names.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let value = match number % 4 {
                0 => random.below(1_000_000).to_string(),
                1 => format!("\"{}\"", random.words(8)),
                2 => (random.below(1_000_000) as f64 / 64.0).to_string(),
                _ => (random.below(2) == 0).to_string(),
            };
            write!(record, "{comma}\"{name}\":{value}").unwrap();
        }
        record + "}"
    })
}

fn nested(bytes: usize) -> Shape {
    let list = |element: DataType| DataType::List(Arc::new(Field::new("element", element, true)));
    let place = DataType::Struct(
        vec![Field::new("lat", DataType::Float64, true), Field::new("lon", DataType::Float64, true)].into(),
    );
    let item = DataType::Struct(
        vec![
            Field::new("sku", DataType::Utf8, true),
            Field::new("count", DataType::Int32, true),
            Field::new("tags", list(DataType::Utf8), true),
        ]
        .into(),
    );
    let columns =
        [("id", DataType::Int64), ("place", place), ("items", list(item)), ("scores", list(DataType::Float64))];
    Shape::new("nested", &columns, bytes, |random| {
        let items: Vec<Value> = (0..random.below(5))
            .map(|_| json!({"sku": random.words(10), "count": random.below(9), "tags": [random.words(5), random.words(5)]}))
            .collect();
        let scores: Vec<f64> = (0..random.below(8)).map(|_| random.below(1000) as f64 / 8.0).collect();
        let place = json!({"lat": random.below(90) as f64 / 7.0, "lon": random.below(180) as f64 / 7.0});
        json!({"id": random.below(1 << 40), "place": place, "items": items, "scores": scores}).to_string()
    })
}

fn escaped(bytes: usize) -> Shape {
    let columns = [("id", DataType::Int64), ("text", DataType::Utf8), ("path", DataType::Utf8)];
    Shape::new("escaped", &columns, bytes, |random| {
        let text = format!("{}\"{}\"\n\t{}", random.words(12), random.words(8), random.words(20));
        let path = format!("C:\\{}\\{}\\{}", random.words(6), random.words(6), random.words(6));
        json!({"id": random.below(1 << 40), "text": text, "path": path}).to_string()
    })
}

fn non_ascii(bytes: usize) -> Shape {
    let columns = [("id", DataType::Int64), ("title", DataType::Utf8), ("text", DataType::Utf8)];
    Shape::new("non-ASCII", &columns, bytes, |random| {
        let words = |random: &mut Random, count: u64| {
            let words = ["Привет", "мир", "日本語", "テキスト", "größe", "naïve", "🎵🎶", "한국어"];
            (0..count).map(|_| words[random.below(8) as usize]).collect::<Vec<_>>().join(" ")
        };
        json!({"id": random.below(1 << 40), "title": words(random, 3), "text": words(random, 20)}).to_string()
    })
}

fn long_texts(bytes: usize) -> Shape {
    let columns = [("id", DataType::Int64), ("body", DataType::Utf8)];
    Shape::new("long texts", &columns, bytes, |random| {
        let length = 500 + random.below(4000);
        json!({"id": random.below(1 << 40), "body": random.words(length)}).to_string()
    })
}

fn numbers(bytes: usize) -> Shape {
    let columns = [
        ("a", DataType::Float64),
        ("b", DataType::Float64),
        ("c", DataType::Int64),
        ("d", DataType::Int64),
        ("e", DataType::Int32),
    ];
    Shape::new("numbers", &columns, bytes, |random| {
        let double = |random: &mut Random| f64::from_bits(0x3FF0_0000_0000_0000 | random.next() >> 12) * 1e3;
        let (a, b) = (double(random), double(random));
        json!({"a": a, "b": b, "c": random.next() >> 1, "d": random.below(1000), "e": random.below(1 << 30)})
            .to_string()
    })
}

/// Each record has some of the columns.
fn sparse(bytes: usize) -> Shape {
    let names: Vec<String> = (0..40).map(|number| format!("field_{number}")).collect();
    let columns: Vec<(&str, DataType)> = names.iter().map(|name| (name.as_str(), DataType::Utf8)).collect();
    Shape::new("sparse", &columns, bytes, |random| {
        let fields = names.iter().filter(|_| random.below(4) == 0).cloned().collect::<Vec<_>>();
        line(fields.into_iter().map(|name| (name, Value::String(random.words(10)))).collect(), false, random)
    })
}

/// Most of each record is not declared.
fn undeclared(bytes: usize) -> Shape {
    let columns = [("ts", DataType::Int64), ("page", DataType::Utf8)];
    Shape::new("mostly undeclared", &columns, bytes, |random| {
        let mut record = event(random);
        record.push(("context".to_owned(), json!({"ip": random.words(9), "tags": [1, 2, {"deep": random.words(5)}]})));
        line(record, false, random)
    })
}

/// A record of one line.
fn line(mut fields: Vec<(String, Value)>, is_shuffled: bool, random: &mut Random) -> String {
    if is_shuffled {
        for index in (1..fields.len()).rev() {
            fields.swap(index, random.below(index as u64 + 1) as usize);
        }
    }
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    format!("{{{}}}", fields.join(","))
}

/// A generator of numbers that look random: SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Letters and spaces, about so many.
    fn words(&mut self, bytes: u64) -> String {
        let length = bytes / 2 + self.below(bytes + 1);
        (0..length).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyzABCDEF "[self.below(33) as usize])).collect()
    }
}
