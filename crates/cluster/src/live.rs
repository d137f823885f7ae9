//! A cluster that is there: its state, its size, its logs, and how clients reach it.

use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::Value;

use crate::{
    aws::emr::text,
    cluster::{Cluster, Report},
    job_flow::node_group,
    names::SERVICE_PORT,
    spec::{Group, Market},
};

/// Steps that a status shows.
const STEPS_SHOWN: usize = 10;

/// How a cluster is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name in the file.
    pub name: String,
    /// EMR's id of it; `null` if it is not there.
    pub id: Option<String>,
    /// EMR's state of it, `ABSENT` if it is not there.
    pub state: String,
    /// Why it is in that state, as EMR says.
    pub reason: String,
    /// Where clients connect to, if there is a primary.
    pub scheduler: Option<String>,
    /// Its groups of nodes.
    pub groups: Vec<GroupStatus>,
    /// Its newest steps: name and state.
    pub steps: Vec<(String, String)>,
    /// Other things of it that are there.
    pub parts: Vec<String>,
}

/// One group of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// `primary`, `core` or `task`.
    pub role: String,
    /// Its types.
    pub instance_types: Vec<String>,
    /// Nodes that are wanted.
    pub requested: u64,
    /// Nodes that run.
    pub running: u64,
    /// EMR's state of it.
    pub state: String,
}

/// A group that has got another size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resized {
    /// `core` or `task`.
    pub role: &'static str,
    /// Its size before.
    pub before: u64,
    /// Its size, once EMR is done.
    pub after: u32,
}

/// What a client needs.
#[derive(Clone, Debug)]
pub struct ClientAccess {
    /// The scheduler's address.
    pub scheduler: String,
    /// The certificate of its authority.
    pub authority: Bytes,
}

/// A log of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogObject {
    /// Where it is.
    pub location: String,
    /// Below the cluster's logs.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, RFC 3339 in UTC.
    pub modified: String,
}

impl Cluster {
    /// How the cluster is; one that is not there is no error.
    ///
    /// # Errors
    /// What AWS refuses.
    pub async fn status(&self) -> Result<Status> {
        let inventory = self.inventory().await?;
        let mut status = Status {
            name: self.spec.name.clone(),
            id: inventory.cluster.clone(),
            state: "ABSENT".to_owned(),
            reason: String::new(),
            scheduler: None,
            groups: Vec::new(),
            steps: Vec::new(),
            parts: inventory.remaining(),
        };
        let Some(id) = &inventory.cluster else { return Ok(status) };
        (status.state, status.reason) = self.state(id).await?;
        let groups = self.aws.node_groups(id, self.spec.has_fleets()).await?;
        status.groups = groups.iter().map(group_status).collect();
        status.scheduler = self.scheduler(id).await?;
        let steps = self.aws.steps(id).await?;
        let step = |step: &Value| (text(step, &["Name"]), text(step, &["Status", "State"]));
        status.steps = steps.iter().take(STEPS_SHOWN).map(step).collect();
        Ok(status)
    }

    /// Gives the executors' groups other sizes; what is `None` stays.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: the cluster is not there.
    /// - [`ErrorKind::Invalid`]: no core node would be left, or the file has no task nodes.
    /// - What AWS refuses.
    pub async fn resize(&self, core: Option<u32>, task: Option<u32>, report: Report<'_>) -> Result<Vec<Resized>> {
        if core == Some(0) {
            return Err(Error::new(ErrorKind::Invalid, "at least one core node stays")
                .with_hint("`lakewright cluster delete` takes all of them"));
        }
        let id = self.living().await?;
        let mut done = Vec::new();
        for (role, spec, count) in [("CORE", Some(&self.spec.core), core), ("TASK", self.spec.task.as_ref(), task)] {
            let Some(count) = count else { continue };
            let spec = spec.ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "the cluster's file says nothing of task nodes")
                    .with_hint("add a [task] section with their types")
            })?;
            done.push(self.resize_role(&id, role, spec, count, report).await?);
        }
        Ok(done)
    }

    async fn resize_role(&self, id: &str, role: &str, spec: &Group, count: u32, report: Report<'_>) -> Result<Resized> {
        let fleets = self.spec.has_fleets();
        let groups = self.aws.node_groups(id, fleets).await?;
        let group = groups.iter().find(|group| role_of(group) == role);
        let before = group.map_or(0, |group| group_status(group).requested);
        let name = if role == "CORE" { "core" } else { "task" };
        match group {
            Some(_) if before == u64::from(count) => report(&format!("{name} nodes: {count}, as they are")),
            Some(group) => {
                self.aws.resize_group(id, group, count, spec.market == Market::Spot, &[]).await?;
                report(&format!("{name} nodes: {before} -> {count}"));
            }
            // EMR starts no empty group, and none is needed for nobody.
            None if count == 0 => {}
            None => {
                let group = Group { count, ..spec.clone() };
                self.aws.add_group(id, &node_group(role, &group, fleets), fleets).await?;
                report(&format!("{name} nodes: 0 -> {count}"));
            }
        }
        Ok(Resized { role: name, before, after: count })
    }

    /// How clients reach the scheduler.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: the cluster is not there.
    /// - [`ErrorKind::Unavailable`]: its scheduler is not up yet.
    pub async fn client_access(&self) -> Result<ClientAccess> {
        let id = self.living().await?;
        let not_yet = |what: &str| {
            Error::new(ErrorKind::Unavailable, format!("the scheduler is not up yet: {what}"))
                .with("cluster", &id)
                .with_hint("`lakewright cluster status` tells how the cluster gets on")
        };
        let scheduler = self.scheduler(&id).await?.ok_or_else(|| not_yet("there is no primary node"))?;
        let authority = self.spec.folder().join("client/ca.pem");
        let found = self.aws.get_object(&authority.bucket, &authority.prefix).await?;
        let authority = found.ok_or_else(|| not_yet("it has not written the certificate of its authority"))?;
        Ok(ClientAccess { scheduler, authority })
    }

    /// The logs of lakewright and of bootstrap actions of all nodes, newest first.
    ///
    /// # Errors
    /// What AWS refuses.
    pub async fn logs(&self) -> Result<Vec<LogObject>> {
        let logs = self.spec.folder().join("logs");
        let prefix = format!("{}/", logs.prefix);
        let objects = self.aws.list_objects(&logs.bucket, &prefix).await?;
        let is_ours = |key: &str| {
            ["/applications/lakewright/", "/bootstrap-actions/", "/steps/"].iter().any(|part| key.contains(part))
        };
        let mut found: Vec<LogObject> = objects
            .into_iter()
            .filter(|object| is_ours(&object.key))
            .map(|object| LogObject {
                location: format!("s3://{}/{}", logs.bucket, object.key),
                path: object.key.strip_prefix(&prefix).unwrap_or(&object.key).to_owned(),
                bytes: object.bytes,
                modified: object.modified,
            })
            .collect();
        found.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.path.cmp(&b.path)));
        Ok(found)
    }

    /// A log's bytes, as they are stored.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: it has gone.
    pub async fn read_log(&self, log: &LogObject) -> Result<Bytes> {
        let logs = self.spec.folder().join("logs");
        let found = self.aws.get_object(&logs.bucket, &format!("{}/{}", logs.prefix, log.path)).await?;
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "the log has gone").with("object", &log.location))
    }

    /// The scheduler's address: that of the primary in the subnet.
    async fn scheduler(&self, id: &str) -> Result<Option<String>> {
        let groups = self.aws.node_groups(id, self.spec.has_fleets()).await?;
        let Some(primary) = groups.iter().find(|group| role_of(group) == "MASTER") else { return Ok(None) };
        let own = text(primary, &["Id"]);
        let nodes = self.aws.nodes(id).await?;
        let is_primary = |node: &&Value| {
            let group = text(node, &["InstanceGroupId"]);
            group == own || text(node, &["InstanceFleetId"]) == own
        };
        let address = nodes.iter().find(is_primary).map(|node| text(node, &["PrivateIpAddress"]));
        Ok(address.filter(|address| !address.is_empty()).map(|address| format!("https://{address}:{SERVICE_PORT}")))
    }
}

/// EMR's name of a group's role.
pub(crate) fn role_of(group: &Value) -> String {
    let of_group = text(group, &["InstanceGroupType"]);
    if of_group.is_empty() { text(group, &["InstanceFleetType"]) } else { of_group }
}

/// The status of a group, or of a fleet.
pub(crate) fn group_status(group: &Value) -> GroupStatus {
    let number =
        |names: &[&str]| -> u64 { names.iter().filter_map(|name| group.get(*name).and_then(Value::as_u64)).sum() };
    let role = match role_of(group).as_str() {
        "MASTER" => "primary".to_owned(),
        other => other.to_lowercase(),
    };
    let specifications = group.get("InstanceTypeSpecifications").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut instance_types: Vec<String> = specifications.iter().map(|one| text(one, &["InstanceType"])).collect();
    instance_types.extend(Some(text(group, &["InstanceType"])).filter(|name| !name.is_empty()));
    GroupStatus {
        role,
        instance_types,
        requested: number(&["RequestedInstanceCount", "TargetOnDemandCapacity", "TargetSpotCapacity"]),
        running: number(&["RunningInstanceCount", "ProvisionedOnDemandCapacity", "ProvisionedSpotCapacity"]),
        state: text(group, &["Status", "State"]),
    }
}
