//! The task nodes of a cluster, for whoever scales them from inside: without a cluster's file, by EMR's id alone.
//!
//! Data flow: EMR's group or fleet of role TASK -> [`TaskNodes`] -> another size, and which nodes are to go.
//!
//! Invariant: only task nodes. Core nodes and the primary are nobody's to scale.

use std::collections::BTreeSet;

use lakewright_error::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::{
    aws::{Aws, emr::text},
    live::{group_status, role_of},
};

/// The task nodes of one cluster.
#[derive(Debug)]
pub struct TaskGroup {
    aws: Aws,
    cluster: String,
}

/// What task nodes there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskNodes {
    /// How many are wanted: those that are there, and those on order.
    pub wanted: u32,
    /// Private addresses of those that are there.
    pub addresses: BTreeSet<String>,
    /// Whether EMR can be told which ones are to go: of a group it can, of a fleet it chooses itself.
    pub can_choose: bool,
}

impl TaskGroup {
    /// The task nodes of the cluster of this id of EMR.
    pub fn new(aws: Aws, cluster: String) -> Self {
        Self { aws, cluster }
    }

    /// What task nodes there are.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: the cluster has no group or fleet of them.
    /// - What AWS refuses.
    pub async fn nodes(&self) -> Result<TaskNodes> {
        let group = self.group().await?;
        let addresses = self.nodes_of(&group).await?.into_iter().map(|(address, _)| address).collect();
        let wanted = u32::try_from(group_status(&group).requested).unwrap_or(u32::MAX);
        Ok(TaskNodes { wanted, addresses, can_choose: !is_fleet(&group) })
    }

    /// Asks for another number of task nodes; `leave` are addresses of those that go, where EMR can be told.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: the cluster has no group or fleet of them.
    /// - What AWS refuses.
    pub async fn resize(&self, wanted: u32, leave: &BTreeSet<String>) -> Result<()> {
        let group = self.group().await?;
        let leaving: Vec<String> = if leave.is_empty() || is_fleet(&group) {
            Vec::new()
        } else {
            let nodes = self.nodes_of(&group).await?;
            nodes.into_iter().filter(|(address, _)| leave.contains(address)).map(|(_, instance)| instance).collect()
        };
        // A fleet keeps to the market that it was made with.
        let is_spot = group.get("TargetSpotCapacity").and_then(Value::as_u64).is_some_and(|spot| spot > 0)
            || group.get("LaunchSpecifications").is_some_and(|launch| launch.get("SpotSpecification").is_some());
        Ok(self.aws.resize_group(&self.cluster, &group, wanted, is_spot, &leaving).await?)
    }

    async fn group(&self) -> Result<Value> {
        let cluster = self.aws.cluster(&self.cluster).await?;
        let fleets = text(&cluster, &["InstanceCollectionType"]) == "INSTANCE_FLEET";
        let groups = self.aws.node_groups(&self.cluster, fleets).await?;
        groups.into_iter().find(|group| role_of(group) == "TASK").ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the cluster has no task nodes, not even a group for them")
                .with("cluster", &self.cluster)
                .with_hint("`lakewright cluster resize --task 1` adds it; `count_max` in [task] of the cluster's file")
        })
    }

    /// Address and EC2's id of each living node of the group.
    async fn nodes_of(&self, group: &Value) -> Result<Vec<(String, String)>> {
        let own = text(group, &["Id"]);
        let nodes = self.aws.nodes(&self.cluster).await?;
        let is_own = |node: &&Value| text(node, &["InstanceGroupId"]) == own || text(node, &["InstanceFleetId"]) == own;
        let of_node = |node: &Value| (text(node, &["PrivateIpAddress"]), text(node, &["Ec2InstanceId"]));
        Ok(nodes.iter().filter(is_own).map(of_node).filter(|(address, _)| !address.is_empty()).collect())
    }
}

fn is_fleet(group: &Value) -> bool {
    group.get("InstanceFleetType").is_some()
}
