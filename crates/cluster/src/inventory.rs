//! What of a cluster is there: looked up by names and tags, every time.

use std::collections::BTreeMap;

use lakewright_error::Result;

use crate::{
    aws::{Aws, ec2::SecurityGroup, emr::text, iam::Entity, s3::Object},
    names::{CLUSTER_TAG, Names},
    policy::tag_filter,
    spec::{ClusterSpec, Location},
};

/// Whether something of a name is there, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing bears the name.
    Absent,
    /// It bears the cluster's tag.
    Ours,
    /// It bears the name and not the tag.
    Foreign,
}

/// What of a cluster is there.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The nodes' role.
    pub node_role: Presence,
    /// Its instance profile.
    pub profile: Presence,
    /// EMR's role.
    pub service_role: Presence,
    /// Whether the security configuration is there.
    pub security_configuration: bool,
    /// Id of the living cluster.
    pub cluster: Option<String>,
    /// Ids of living clusters of the name without the tag.
    pub foreign_clusters: Vec<String>,
    pub(crate) profile_roles: Vec<String>,
    pub(crate) fleet_group: Option<SecurityGroup>,
    pub(crate) clients_group: Option<SecurityGroup>,
    /// Objects in the cluster's folder, but for logs.
    pub(crate) objects: Vec<Object>,
    pub(crate) logs: usize,
}

impl Inventory {
    /// Looks everything up.
    pub(crate) async fn take(aws: &Aws, spec: &ClusterSpec) -> Result<Self> {
        let names = Names::of(&spec.name);
        let node_role = aws.role(&names.node_role).await?;
        let profile = aws.profile(&names.node_role).await?;
        let service_role = aws.role(&names.service_role).await?;
        let mut groups: BTreeMap<String, SecurityGroup> =
            aws.security_groups(&[tag_filter(&spec.name)]).await?.into_iter().collect();
        let security_configuration = aws.security_configuration(&names.cluster).await?.is_some();
        let (cluster, foreign_clusters) = living_cluster(aws, spec).await?;
        let folder = spec.folder();
        let (logs, objects) =
            split_logs(aws.list_objects(&folder.bucket, &format!("{}/", folder.prefix)).await?, &folder);
        Ok(Self {
            node_role: presence(node_role.as_ref(), spec),
            profile: presence(profile.as_ref(), spec),
            service_role: presence(service_role.as_ref(), spec),
            security_configuration,
            cluster,
            foreign_clusters,
            profile_roles: profile.map(|profile| profile.roles).unwrap_or_default(),
            fleet_group: groups.remove(&names.fleet_group),
            clients_group: groups.remove(&names.clients_group),
            objects,
            logs,
        })
    }

    /// Whether nothing of the cluster is left, logs aside.
    pub fn is_empty(&self) -> bool {
        self.remaining().is_empty()
    }

    /// What is there and ours, for people.
    pub fn remaining(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |there: bool, what: &str| {
            if there {
                found.push(what.to_owned());
            }
        };
        note(self.cluster.is_some(), "EMR cluster");
        note(self.clients_group.is_some(), "security group for clients");
        note(self.fleet_group.is_some(), "security group of the fleet");
        note(self.security_configuration, "security configuration");
        note(self.profile == Presence::Ours, "instance profile");
        note(self.node_role == Presence::Ours, "role of nodes");
        note(self.service_role == Presence::Ours, "role of EMR");
        note(!self.objects.is_empty(), "objects in the cluster's folder");
        found
    }
}

/// The living cluster of the name and the tag, and those of the name alone.
pub(crate) async fn living_cluster(aws: &Aws, spec: &ClusterSpec) -> Result<(Option<String>, Vec<String>)> {
    let (mut ours, mut foreign) = (None, Vec::new());
    for id in aws.clusters(&Names::of(&spec.name).cluster).await? {
        let cluster = aws.cluster(&id).await?;
        let tags = cluster.get("Tags").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        let is_ours = tags.iter().any(|tag| text(tag, &["Key"]) == CLUSTER_TAG && text(tag, &["Value"]) == spec.name);
        if is_ours && ours.is_none() {
            ours = Some(id);
        } else if !is_ours {
            foreign.push(id);
        }
    }
    Ok((ours, foreign))
}

fn presence(entity: Option<&Entity>, spec: &ClusterSpec) -> Presence {
    match entity {
        None => Presence::Absent,
        Some(entity) if entity.tags.get(CLUSTER_TAG) == Some(&spec.name) => Presence::Ours,
        Some(_) => Presence::Foreign,
    }
}

/// Logs are EMR's and the user's: they outlive the cluster.
fn split_logs(objects: Vec<Object>, folder: &Location) -> (usize, Vec<Object>) {
    let logs = format!("{}/logs/", folder.prefix);
    let all = objects.len();
    let others: Vec<Object> = objects.into_iter().filter(|object| !object.key.starts_with(&logs)).collect();
    (all - others.len(), others)
}
