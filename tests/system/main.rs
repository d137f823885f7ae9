//! Whole-system tests: the real binary on real files, its tables read by other engines.
