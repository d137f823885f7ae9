//! Tables as other engines read them.
