//! The task nodes of a cluster of EMR, as machines that a fleet's scheduler scales.
//!
//! Data flow: the settings `scale…` -> [`NodesOfEmr`] -> [`scale`], beside the fleet, for as long as this scheduler leads.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use lakewright_cluster::{Aws, AwsSettings, Pauses, TaskGroup, TaskNodes};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_scheduler::{Fleet, MachineCount, Machines, ScalingPolicy, scale};
use tokio::task::JoinSet;

use crate::{
    place::{Invocation, Place},
    settings::MachineRange,
};

/// Task nodes of EMR.
#[derive(Debug)]
struct NodesOfEmr(TaskGroup);

#[async_trait]
impl Machines for NodesOfEmr {
    async fn count(&self) -> Result<MachineCount> {
        let TaskNodes { wanted, addresses, can_choose } = self.0.nodes().await?;
        Ok(MachineCount { wanted, hosts: addresses, can_choose })
    }

    async fn resize(&self, wanted: u32, leave: &BTreeSet<String>) -> Result<()> {
        self.0.resize(wanted, leave).await
    }
}

/// How a scheduler's fleet is to be scaled.
#[derive(Debug)]
pub(super) struct Scaled {
    policy: ScalingPolicy,
    machines: Arc<dyn Machines>,
}

impl Scaled {
    /// Reads it from the settings; none if nothing is scaled.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: there is no fleet, no cluster is named, or no region.
    /// - [`ErrorKind::Denied`]: there are no credentials.
    pub(super) async fn of(invocation: &Invocation, place: &Place, flag: Option<MachineRange>) -> Result<Option<Self>> {
        let settings = &place.settings;
        let Some(policy) = settings.scaling.policy(flag) else { return Ok(None) };
        if settings.fleet.is_none() {
            return Err(Error::new(ErrorKind::Invalid, "there is no fleet to scale")
                .with_hint("name where executors join with --fleet HOST:PORT, or leave --scale out"));
        }
        let cluster = settings.scaling.cluster.clone().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "nothing says which cluster's task nodes are scaled")
                .with_hint("set scale_cluster to EMR's id of it; nodes of `lakewright cluster` know it by themselves")
        })?;
        let variables = invocation.environment.variables.clone();
        let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.or_else(|| settings.s3.region.clone()).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "nothing says in which region the cluster is").with_hint("set AWS_REGION")
        })?;
        let home = variable("HOME").map(PathBuf::from);
        let aws = Aws::open(AwsSettings { variables, home, region, pauses: Pauses::default() }).await?;
        let machines: Arc<dyn Machines> = Arc::new(NodesOfEmr(TaskGroup::new(aws, cluster)));
        Ok(Some(Self { policy, machines }))
    }

    /// Scales the fleet until the set is dropped or shut down.
    pub(super) fn start(&self, fleet: &Arc<Fleet>) -> JoinSet<()> {
        let (fleet, machines, policy) = (Arc::clone(fleet), Arc::clone(&self.machines), self.policy);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { match scale(&fleet, machines.as_ref(), policy).await {} });
        tasks
    }
}
