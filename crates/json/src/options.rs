//! What a decoder does with records that are not what was declared, and how much it takes.

/// How a decoder works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows after which a batch ends.
    pub batch_rows: usize,
    /// Bytes of records after which a batch ends, even if it has few rows.
    pub batch_bytes: usize,
    /// What one record may take.
    pub limits: Limits,
    /// What becomes of a field that does not fit its column.
    pub misfit: OnMisfit,
    /// Faults that are held until decoding stops: 1 is to stop at the first.
    pub faults_max: usize,
    /// A text column, as an index of the declared schema. A record that is a fault is a row of NULLs with its text there,
    /// and one with a field that does not fit has its text there too, unless there is a rescued column for the field.
    pub corrupt_column: Option<usize>,
    /// A text column, as an index of the declared schema, for the fields of a record that are not declared or did not fit:
    /// the text of a JSON object, or NULL if there are none.
    pub rescued_column: Option<usize>,
    /// A text column, as an index of the declared schema, that holds the text of each record that is a row.
    pub text_column: Option<usize>,
    /// Whether fields that are not declared are counted by name.
    pub drift: bool,
    /// Whether the line of each row is kept, for [`crate::Decoder::take_lines`].
    pub lines: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_rows: 8192,
            batch_bytes: 16 << 20,
            limits: Limits::default(),
            misfit: OnMisfit::Null,
            faults_max: 1024,
            corrupt_column: None,
            rescued_column: None,
            text_column: None,
            drift: false,
            lines: false,
        }
    }
}

/// What becomes of a field that does not fit its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMisfit {
    /// It is NULL, and counted; the record is kept.
    Null,
    /// Its record is a fault.
    Fault,
}

/// What one record may take. A record that takes more is a fault.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Objects and arrays inside of one another, the record itself among them.
    pub depth_max: usize,
    /// Bytes of the record's line. More than [`Limits::RECORD_BYTES_CEILING`] counts as that.
    pub record_bytes_max: usize,
    /// Keys, at all depths together.
    pub keys_max: usize,
}

impl Limits {
    /// The most that a record can be allowed to have: offsets in Arrow's text columns are 31 bits.
    pub const RECORD_BYTES_CEILING: usize = 256 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 128, record_bytes_max: 64 << 20, keys_max: 100_000 }
    }
}
