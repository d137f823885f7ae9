//! What everything of a cluster is called, and the tags that it bears.
//!
//! Invariant: the Terraform module of `deploy/terraform` gives the same names and tags.

use std::collections::BTreeMap;

use crate::spec::ClusterSpec;

/// The tag by which a cluster's things are found.
pub(crate) const CLUSTER_TAG: &str = "lakewright:cluster";
/// EMR's service policy acts on what bears it, and on nothing else.
const EMR_TAG: &str = "for-use-with-amazon-emr-managed-policies";

/// The port for clients.
pub(crate) const SERVICE_PORT: u16 = 50040;
/// The ports of the fleet among itself: 50050 of the scheduler, the others of executors.
pub(crate) const FLEET_PORTS: (u16, u16) = (50050, 50053);

/// The names of one cluster's things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The cluster in EMR, and its security configuration.
    pub(crate) cluster: String,
    /// The nodes' role, and its instance profile.
    pub(crate) node_role: String,
    /// The role of EMR itself.
    pub(crate) service_role: String,
    /// The security group of the fleet's ports.
    pub(crate) fleet_group: String,
    /// The security group of the port for clients.
    pub(crate) clients_group: String,
}

impl Names {
    /// The names of a cluster.
    pub(crate) fn of(name: &str) -> Self {
        Self {
            cluster: format!("lakewright-{name}"),
            node_role: format!("lakewright-{name}-node"),
            service_role: format!("lakewright-{name}-service"),
            fleet_group: format!("lakewright-{name}-fleet"),
            clients_group: format!("lakewright-{name}-clients"),
        }
    }
}

/// The tags of everything that is made: the user's and ours.
pub(crate) fn tags(spec: &ClusterSpec) -> BTreeMap<String, String> {
    let mut tags = spec.tags.clone();
    tags.insert(CLUSTER_TAG.to_owned(), spec.name.clone());
    tags.insert(EMR_TAG.to_owned(), "true".to_owned());
    tags
}
