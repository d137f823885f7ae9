//! Schemas inside state objects, as Delta writes them: the one form that outlives versions of Arrow.

use arrow::datatypes::{Schema, SchemaRef};
use deltalake_core::kernel::{
    StructType,
    engine::arrow_conversion::{TryIntoArrow, TryIntoKernel},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// Writes a stored schema as a Delta struct type.
pub(super) fn serialize<S: Serializer>(schema: &SchemaRef, serializer: S) -> Result<S::Ok, S::Error> {
    let delta: StructType = schema.as_ref().try_into_kernel().map_err(S::Error::custom)?;
    delta.serialize(serializer)
}

/// Reads a stored schema from a Delta struct type.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SchemaRef, D::Error> {
    let delta = StructType::deserialize(deserializer)?;
    let schema: Schema = (&delta).try_into_arrow().map_err(D::Error::custom)?;
    Ok(SchemaRef::new(schema))
}
