//! The run state objects under `_lakewright/`: typed, create-only, each with a format number.
