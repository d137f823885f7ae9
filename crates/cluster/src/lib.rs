//! Clusters of EMR: a fleet's machines, made and taken down from one file.
//!
//! Data flow: `cluster.toml` ([`ClusterSpec`]) -> what AWS has of it ([`Inventory`]) -> [`Cluster::plan`] says what is
//! missing -> [`Cluster::create`] makes it -> [`Cluster::status`], [`Cluster::resize`] -> [`Cluster::delete`]. From inside a
//! cluster, [`TaskGroup`] scales its task nodes.
//!
//! Invariant: there is no state but AWS's. Everything is found by its name and by a tag that says who made it; what bears
//! the name and not the tag is somebody else's, and is never touched.

mod artifacts;
mod aws;
mod cidr;
mod cluster;
mod create;
mod delete;
mod inventory;
mod job_flow;
mod live;
mod names;
mod plan;
mod policy;
mod price;
mod spec;
mod task_group;

pub use self::{
    artifacts::{Artifacts, NodeFile},
    aws::{Aws, AwsSettings, Pauses, profile_credentials},
    cluster::{Cluster, Report},
    create::Created,
    delete::Deleted,
    inventory::{Inventory, Presence},
    live::{ClientAccess, GroupStatus, LogObject, Resized, Status},
    plan::{Action, Plan, PlannedItem},
    policy::{node_policy, service_policy},
    price::{Cost, GroupCost},
    spec::{ClusterSpec, Group, Location, Market, TEMPLATE},
    task_group::{TaskGroup, TaskNodes},
};
