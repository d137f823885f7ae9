//! The types that SQL of ours can declare: columns of sources, and contracts of models.
//!
//! Data flow: tokens of a declaration -> **[`parse_type`]** -> a canonical SQL type and its Arrow type.
//!
//! Invariant: two spellings of one type have one canonical text and one Arrow type, and that is a stored type.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{DataType, Field, Fields, TimeUnit},
    sql::sqlparser::tokenizer::Token,
};

use crate::{
    Diagnostic,
    suggest::did_you_mean,
    tokens::{Cursor, Ident},
};

/// Deeper types are refused: nobody reads them, and they cost stack.
const DEPTH_MAX: usize = 32;

const KNOWN: [&str; 13] = [
    "BOOLEAN",
    "INT",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "VARCHAR",
    "DATE",
    "TIMESTAMP",
    "BINARY",
    "STRUCT",
    "ARRAY",
    "MAP",
];

/// A declared type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlType {
    /// For example `DECIMAL(10,2)` or `STRUCT<"a": INT>`.
    pub(crate) canonical: String,
    /// Its stored type.
    pub(crate) data_type: DataType,
}

impl SqlType {
    fn plain(canonical: &str, data_type: DataType) -> Self {
        Self { canonical: canonical.to_owned(), data_type }
    }
}

/// The type of text.
pub(crate) fn text_type() -> SqlType {
    SqlType::plain("VARCHAR", DataType::Utf8)
}

/// Takes a type.
pub(crate) fn parse_type(cursor: &mut Cursor<'_>) -> Result<SqlType, Diagnostic> {
    parse_nested(cursor, 0)
}

fn parse_nested(cursor: &mut Cursor<'_>, depth: usize) -> Result<SqlType, Diagnostic> {
    if depth > DEPTH_MAX {
        let message = format!("types are nested deeper than {DEPTH_MAX} levels");
        return Err(cursor.file().error("type", cursor.span(), message));
    }
    let is_quoted = matches!(cursor.peek(), Some(Token::Word(word)) if word.quote_style.is_some());
    let name = cursor.ident("a type")?;
    let upper = if is_quoted { String::new() } else { name.name.to_ascii_uppercase() };
    let found = match upper.as_str() {
        "BOOLEAN" | "BOOL" => SqlType::plain("BOOLEAN", DataType::Boolean),
        "INT" | "INTEGER" => SqlType::plain("INT", DataType::Int32),
        "BIGINT" | "LONG" => SqlType::plain("BIGINT", DataType::Int64),
        "FLOAT" | "REAL" => SqlType::plain("FLOAT", DataType::Float32),
        "DOUBLE" => {
            cursor.eat_word("PRECISION");
            SqlType::plain("DOUBLE", DataType::Float64)
        }
        "VARCHAR" | "STRING" | "TEXT" => SqlType::plain("VARCHAR", DataType::Utf8),
        "DATE" => SqlType::plain("DATE", DataType::Date32),
        "TIMESTAMP" => SqlType::plain("TIMESTAMP", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        "BINARY" => SqlType::plain("BINARY", DataType::Binary),
        "DECIMAL" | "DEC" | "NUMERIC" => return parse_decimal(cursor, &name),
        "STRUCT" => return parse_struct(cursor, depth),
        "ARRAY" => return parse_array(cursor, depth),
        "MAP" => return parse_map(cursor, depth),
        _ => return Err(unknown_type(cursor, &name, is_quoted)),
    };
    refuse_suffix(cursor, &name, &found)?;
    Ok(found)
}

/// What other systems write behind a type, and what it would be here.
fn refuse_suffix(cursor: &Cursor<'_>, name: &Ident, found: &SqlType) -> Result<(), Diagnostic> {
    let canonical = &found.canonical;
    let help = match cursor.peek() {
        Some(Token::LParen) if canonical == "VARCHAR" => "text has no length limit: write VARCHAR".to_owned(),
        Some(Token::LParen) if canonical == "TIMESTAMP" => "it always counts microseconds: write TIMESTAMP".to_owned(),
        Some(Token::LParen) => format!("write {canonical}"),
        Some(Token::LBracket) => format!("write ARRAY<{canonical}>"),
        _ if canonical == "TIMESTAMP" && (cursor.is_word("WITH") || cursor.is_word("WITHOUT")) => {
            "it always is an instant, and values without a zone are UTC: write TIMESTAMP".to_owned()
        }
        _ => return Ok(()),
    };
    let span = name.span.start..cursor.span().end;
    Err(cursor
        .file()
        .error("type", span, format!("{} is written without anything behind it", name.name))
        .with_help(help))
}

fn unknown_type(cursor: &Cursor<'_>, name: &Ident, is_quoted: bool) -> Diagnostic {
    let error = cursor.file().error("unknown_type", name.span.clone(), format!("there is no type `{}`", name.name));
    if is_quoted {
        return error.with_help("types stand without quotes");
    }
    let help = match name.name.to_ascii_uppercase().as_str() {
        "TINYINT" | "BYTE" | "SMALLINT" | "SHORT" | "INT4" | "INT2" | "MEDIUMINT" => "write INT",
        "INT8" | "UINT" | "UNSIGNED" | "INT64" => "write BIGINT",
        "FLOAT4" | "FLOAT32" => "write FLOAT",
        "FLOAT8" | "FLOAT64" => "write DOUBLE",
        "HUGEINT" | "MONEY" | "BIGDECIMAL" => "write DECIMAL(38,0), or another precision and scale",
        "CHAR" | "CHARACTER" | "NVARCHAR" | "UUID" | "JSON" | "VARIANT" | "UTF8" | "TIME" => "write VARCHAR",
        "DATETIME" | "TIMESTAMPTZ" | "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" => {
            "write TIMESTAMP: an instant, in microseconds, UTC"
        }
        "BLOB" | "BYTEA" | "BYTES" | "VARBINARY" => "write BINARY",
        "LIST" => "write ARRAY<..>",
        "OBJECT" | "RECORD" | "ROW" => "write STRUCT<..>",
        _ => return error.with_help_if(did_you_mean(&name.name, KNOWN)),
    };
    error.with_help(help)
}

fn parse_decimal(cursor: &mut Cursor<'_>, name: &Ident) -> Result<SqlType, Diagnostic> {
    const PRECISION_MAX: u8 = 38;
    if !cursor.eat(&Token::LParen) {
        let error = cursor.file().error("type", name.span.clone(), "DECIMAL needs its precision and scale");
        return Err(error.with_help("for example DECIMAL(10,2): systems disagree about the default"));
    }
    let start = name.span.start;
    let precision = small_number(cursor, "the precision")?;
    let scale = if cursor.eat(&Token::Comma) { small_number(cursor, "the scale")? } else { 0 };
    cursor.expect(&Token::RParen, "after the precision and scale")?;
    let span = start..cursor.end_of_previous();
    if precision == 0 || precision > PRECISION_MAX {
        let message = format!("the precision of a DECIMAL is 1 to {PRECISION_MAX}, not {precision}");
        return Err(cursor.file().error("type", span, message));
    }
    let Some(scale) = i8::try_from(scale).ok().filter(|_| scale <= precision) else {
        let message = format!("the scale of a DECIMAL is at most its precision, {precision}, not {scale}");
        return Err(cursor.file().error("type", span, message));
    };
    let data_type = DataType::Decimal128(precision, scale);
    Ok(SqlType { canonical: format!("DECIMAL({precision},{scale})"), data_type })
}

fn small_number(cursor: &mut Cursor<'_>, what: &str) -> Result<u8, Diagnostic> {
    let number = match cursor.peek() {
        Some(Token::Number(digits, false)) => digits.parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| cursor.expected(&format!("{what}, a whole number")))?;
    cursor.advance();
    Ok(number)
}

fn parse_struct(cursor: &mut Cursor<'_>, depth: usize) -> Result<SqlType, Diagnostic> {
    if cursor.peek() == Some(&Token::Neq) {
        return Err(cursor.file().error("type", cursor.span(), "a STRUCT has at least one field"));
    }
    cursor.expect(&Token::Lt, "after STRUCT")?;
    let mut fields: Vec<Field> = Vec::new();
    let mut names = Names::default();
    let mut texts = Vec::new();
    loop {
        let name = cursor.ident("a field's name")?;
        if let Some(other) = names.insert(&name) {
            let message = format!("two fields of the STRUCT are named `{}`", name.name);
            let help = format!("names are compared without regard to case: `{}` is there already", other.name);
            return Err(cursor.file().error("duplicate_column", name.span, message).with_help(help));
        }
        cursor.eat(&Token::Colon);
        let field_type = parse_nested(cursor, depth + 1)?;
        if cursor.is_word("NOT") || cursor.is_word("COMMENT") {
            return Err(cursor.expected("`,` or `>` after a field's type"));
        }
        texts.push(format!("{}: {}", quoted(&name.name), field_type.canonical));
        fields.push(Field::new(name.name, field_type.data_type, true));
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect_closing_angle("after the fields of a STRUCT")?;
    Ok(SqlType {
        canonical: format!("STRUCT<{}>", texts.join(", ")),
        data_type: DataType::Struct(Fields::from(fields)),
    })
}

fn parse_array(cursor: &mut Cursor<'_>, depth: usize) -> Result<SqlType, Diagnostic> {
    cursor.expect(&Token::Lt, "after ARRAY")?;
    let element = parse_nested(cursor, depth + 1)?;
    cursor.expect_closing_angle("after the element type of an ARRAY")?;
    let field = Field::new_list_field(element.data_type, true);
    Ok(SqlType { canonical: format!("ARRAY<{}>", element.canonical), data_type: DataType::List(Arc::new(field)) })
}

fn parse_map(cursor: &mut Cursor<'_>, depth: usize) -> Result<SqlType, Diagnostic> {
    cursor.expect(&Token::Lt, "after MAP")?;
    let key_start = cursor.span().start;
    let key = parse_nested(cursor, depth + 1)?;
    if key.data_type != DataType::Utf8 {
        let span = key_start..cursor.end_of_previous();
        let message = format!("the keys of a MAP are VARCHAR, not {}", key.canonical);
        return Err(cursor.file().error("type", span, message).with_help("the names in a JSON object are text"));
    }
    cursor.expect(&Token::Comma, "after the key type of a MAP")?;
    let value = parse_nested(cursor, depth + 1)?;
    cursor.expect_closing_angle("after the value type of a MAP")?;
    let entry = vec![Field::new("key", key.data_type, false), Field::new("value", value.data_type, true)];
    let entries = Field::new("entries", DataType::Struct(Fields::from(entry)), false);
    Ok(SqlType {
        canonical: format!("MAP<{}, {}>", key.canonical, value.canonical),
        data_type: DataType::Map(Arc::new(entries), false),
    })
}

/// The canonical text of a stored type, as [`parse_type`] gives it.
pub(crate) fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP".to_owned(),
        DataType::Binary => "BINARY".to_owned(),
        DataType::Struct(fields) => {
            let fields =
                fields.iter().map(|field| format!("{}: {}", quoted(field.name()), type_text(field.data_type())));
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::List(element) => format!("ARRAY<{}>", type_text(element.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => {
                let types: Vec<String> = entry.iter().map(|field| type_text(field.data_type())).collect();
                format!("MAP<{}>", types.join(", "))
            }
            other => format!("MAP<{other}>"),
        },
        other => other.to_string(),
    }
}

/// Names that have been given, compared as identifiers are.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Ident>);

impl Names {
    /// Adds a name; gives the first of the same if there is one.
    pub(crate) fn insert(&mut self, ident: &Ident) -> Option<&Ident> {
        match self.0.entry(ident.name.to_lowercase()) {
            Entry::Occupied(first) => Some(first.into_mut()),
            Entry::Vacant(place) => {
                place.insert(ident.clone());
                None
            }
        }
    }
}

/// Whether two names are one, as identifiers are compared.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// An identifier in double quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
