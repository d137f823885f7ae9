//! EMR: nodes that bootstrap themselves, clusters that are made and taken down, the policies of their roles.

mod cloud;
mod containers;
mod create;
mod nodes;
mod policy;
mod scaling;
mod terraform;
