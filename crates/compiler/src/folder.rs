//! The text of a job folder, as the client sends it and the compiler reads it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The text of every file of a job folder, by its path relative to the folder, separated by `/`.
///
/// Holds `job.toml` and the `.sql` and `.yaml` files; hidden files (`.x`, `_x`) are left out by whoever reads the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFolder {
    /// Path to text, for example `curated/songplays.sql`.
    pub files: BTreeMap<String, String>,
}
