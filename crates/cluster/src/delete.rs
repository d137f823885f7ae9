//! Takes a cluster down: exactly what was made, in the order in which it lets go.
//!
//! Invariant: what does not bear the cluster's tag is left, and named. Done twice, the second time finds nothing to do.

use lakewright_error::{Error, ErrorKind, Result};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    aws::Code,
    cluster::{Cluster, Report},
    inventory::{Inventory, Presence},
    names::Names,
};

/// Looks at what goes away; with the usual pause half an hour.
const LOOKS_MAX: u32 = 180;

/// What a deletion came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Deleted {
    /// What was deleted.
    pub deleted: Vec<String>,
    /// What is left, and why.
    pub left: Vec<String>,
}

impl Cluster {
    /// Deletes the cluster and everything that was made for it; with `logs` also its logs.
    ///
    /// # Errors
    /// - [`ErrorKind::Unavailable`]: something has not gone in time, or AWS gave no answer. The same call goes on.
    /// - What AWS refuses.
    pub async fn delete(&self, logs: bool, report: Report<'_>) -> Result<Deleted> {
        let inventory = Inventory::take(&self.aws, &self.spec).await?;
        let names = Names::of(&self.spec.name);
        let mut done = Deleted::default();
        let mut note = |what: String| {
            report(&format!("deleted {what}"));
            done.deleted.push(what);
        };
        if let Some(id) = &inventory.cluster {
            self.end_cluster(id, report).await?;
            note(format!("EMR cluster {id}"));
        }
        // A group that another names cannot go: rules of the fleet's group name only itself.
        for (name, group) in
            [(&names.clients_group, &inventory.clients_group), (&names.fleet_group, &inventory.fleet_group)]
        {
            if let Some(group) = group {
                self.delete_group(&group.id).await?;
                note(format!("security group {name}"));
            }
        }
        if inventory.security_configuration && inventory.foreign_clusters.is_empty() {
            self.aws.delete_security_configuration(&names.cluster).await?;
            note(format!("security configuration {}", names.cluster));
        }
        if inventory.profile == Presence::Ours {
            self.aws.delete_profile(&names.node_role, &inventory.profile_roles).await?;
            note(format!("instance profile {}", names.node_role));
        }
        for (name, presence) in [(&names.node_role, inventory.node_role), (&names.service_role, inventory.service_role)]
        {
            if presence == Presence::Ours {
                self.aws.delete_role(name).await?;
                note(format!("role {name}"));
            }
        }
        let objects = self.delete_objects(&inventory, logs).await?;
        if objects > 0 {
            note(format!("{objects} objects in {}", self.spec.folder()));
        }
        done.left = self.left(&inventory, logs).await?;
        Ok(done)
    }

    /// Takes the protection away, ends the cluster, and waits until its nodes have gone.
    async fn end_cluster(&self, id: &str, report: Report<'_>) -> Result<()> {
        self.aws.protect(id, false).await?;
        self.aws.terminate(id).await?;
        let mut told = String::new();
        for _ in 0..LOOKS_MAX {
            let (state, _) = self.state(id).await?;
            if state.starts_with("TERMINATED") {
                return Ok(());
            }
            if state != told {
                report(&format!("cluster {id} is {state}"));
                told = state;
            }
            sleep(self.aws.pauses().poll).await;
        }
        Err(not_gone("cluster", id))
    }

    /// Network interfaces of nodes outlive the cluster for a moment.
    async fn delete_group(&self, id: &str) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            match self.aws.delete_security_group(id).await {
                Err(failure) if failure.code == Code::InUse => sleep(self.aws.pauses().poll).await,
                done => return Ok(done?),
            }
        }
        Err(not_gone("security group", id))
    }

    async fn delete_objects(&self, inventory: &Inventory, logs: bool) -> Result<usize> {
        let folder = self.spec.folder();
        let mut keys: Vec<String> = inventory.objects.iter().map(|object| object.key.clone()).collect();
        if logs {
            let prefix = format!("{}/logs/", folder.prefix);
            let found = self.aws.list_objects(&folder.bucket, &prefix).await?;
            keys.extend(found.into_iter().map(|object| object.key));
        }
        for key in &keys {
            self.aws.delete_object(&folder.bucket, key).await?;
        }
        Ok(keys.len())
    }

    /// Looks again, and names what is still there.
    async fn left(&self, before: &Inventory, logs: bool) -> Result<Vec<String>> {
        let after = Inventory::take(&self.aws, &self.spec).await?;
        let mut left: Vec<String> =
            after.remaining().iter().map(|what| format!("{what}: still there, delete again")).collect();
        let names = Names::of(&self.spec.name);
        for (presence, what) in [
            (before.node_role, format!("role {}", names.node_role)),
            (before.profile, format!("instance profile {}", names.node_role)),
            (before.service_role, format!("role {}", names.service_role)),
        ] {
            if presence == Presence::Foreign {
                left.push(format!("{what}: it does not bear the cluster's tag"));
            }
        }
        left.extend(
            before.foreign_clusters.iter().map(|id| format!("EMR cluster {id}: it does not bear the cluster's tag")),
        );
        if after.logs > 0 && !logs {
            left.push(format!(
                "{} logs in {}: `delete --logs` takes them too",
                after.logs,
                self.spec.folder().join("logs")
            ));
        }
        left.push(format!("the lake {}, and all raw data: they are yours", self.spec.lake));
        left.push(
            "security groups ElasticMapReduce-* of the network: EMR makes them once, for all clusters".to_owned(),
        );
        Ok(left)
    }
}

fn not_gone(kind: &str, id: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the {kind} has not gone in time"))
        .with("id", id)
        .with_hint("do the same again later: what has gone is not looked for any more")
}
