//! Makes a cluster, from wherever an earlier try has come to.
//!
//! Data flow: inventory -> roles -> instance profile -> security groups -> security configuration -> objects -> the EMR
//! cluster -> its states until it takes work, or has failed.
//!
//! Invariant: each step looks whether its thing is there before it makes it, and takes "it is there already" for done. So
//! the same call goes on after any failure, also after one whose request was done and whose answer was lost.

use std::collections::BTreeSet;

use lakewright_error::{Error, ErrorKind, Result};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    artifacts::Artifacts,
    aws::{
        Code,
        ec2::{Peer, Rule, SecurityGroup},
        emr::text,
    },
    cluster::{AccountPlace, Cluster, Report},
    inventory::{Inventory, Presence},
    job_flow::{Parts, run_job_flow, security_configuration},
    names::{FLEET_PORTS, Names, SERVICE_PORT, tags},
    policy::{managed_policy, node_policy, partition, service_policy, trust},
};

/// The name of a role's own policy.
const POLICY: &str = "lakewright";
/// Looks at a cluster that starts; with the usual pause an hour.
const LOOKS_MAX: u32 = 360;
/// Tries to start a cluster while IAM's new roles become known everywhere.
const START_TRIES: u32 = 7;

/// A cluster that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Created {
    /// EMR's id of it.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Whether it was there before.
    pub was_there: bool,
}

impl Cluster {
    /// Makes what is missing. With `wait`, until the cluster takes work.
    ///
    /// # Errors
    /// - [`ErrorKind::Conflict`]: somebody else's thing bears a name of ours.
    /// - [`ErrorKind::NotFound`]: there is no such subnet.
    /// - [`ErrorKind::Unavailable`]: AWS gave no answer, or the nodes did not come up; the reason and the logs are named.
    /// - What AWS refuses.
    ///
    /// # Cancel safety
    /// What was made stays, and is found by the next call.
    pub async fn create(&self, artifacts: &Artifacts, wait: bool, report: Report<'_>) -> Result<Created> {
        let place = self.place().await?;
        let inventory = Inventory::take(&self.aws, &self.spec).await?;
        refuse_foreign(&inventory, &self.spec.name)?;
        self.make_roles(&inventory, &place, report).await?;
        let parts = self.make_parts(&inventory, &place, artifacts, report).await?;
        let (id, was_there) = match &inventory.cluster {
            Some(id) => {
                report(&format!("cluster {id} is there"));
                self.compare(id, artifacts, report).await?;
                (id.clone(), true)
            }
            None => {
                let roles_are_new =
                    [inventory.node_role, inventory.profile, inventory.service_role].contains(&Presence::Absent);
                let id = self.start(&parts, roles_are_new, report).await?;
                report(&format!("cluster {id} starts"));
                (id, false)
            }
        };
        let state = if wait { self.await_work(&id, report).await? } else { self.state(&id).await?.0 };
        Ok(Created { id, state, was_there })
    }

    async fn make_roles(&self, inventory: &Inventory, place: &AccountPlace, report: Report<'_>) -> Result<()> {
        let names = Names::of(&self.spec.name);
        let tags = tags(&self.spec);
        let aws = &self.aws;
        // EC2's trust has no account to compare: instances of this account ask.
        for (name, presence, trust) in [
            (&names.node_role, inventory.node_role, trust("ec2.amazonaws.com", None)),
            (
                &names.service_role,
                inventory.service_role,
                trust("elasticmapreduce.amazonaws.com", Some(&place.account)),
            ),
        ] {
            if presence == Presence::Absent {
                done_or_there(aws.create_role(name, &trust, &tags).await)?;
                report(&format!("made role {name}"));
            }
        }
        aws.put_role_policy(&names.node_role, POLICY, &node_policy(&self.spec)).await?;
        let service = service_policy(&self.spec, &place.account, &place.vpc);
        aws.put_role_policy(&names.service_role, POLICY, &service).await?;
        aws.attach_role_policy(&names.service_role, &managed_policy(partition(&self.spec.region))).await?;
        if inventory.profile == Presence::Absent {
            done_or_there(aws.create_profile(&names.node_role, &tags).await)?;
            report(&format!("made instance profile {}", names.node_role));
        }
        if !inventory.profile_roles.contains(&names.node_role) {
            self.put_into_profile(&names.node_role).await?;
        }
        Ok(())
    }

    /// A profile takes one role, and calls the second time a limit.
    async fn put_into_profile(&self, name: &str) -> Result<()> {
        let Err(failure) = self.aws.add_role_to_profile(name, name).await else { return Ok(()) };
        let there = self.aws.profile(name).await?.is_some_and(|profile| profile.roles.iter().any(|role| role == name));
        if there { Ok(()) } else { Err(failure.into()) }
    }

    async fn make_parts<'a>(
        &self,
        inventory: &Inventory,
        place: &AccountPlace,
        artifacts: &'a Artifacts,
        report: Report<'_>,
    ) -> Result<Parts<'a>> {
        let names = Names::of(&self.spec.name);
        let fleet_group = self.make_group(&names.fleet_group, inventory.fleet_group.as_ref(), place, report).await?;
        let clients_group =
            self.make_group(&names.clients_group, inventory.clients_group.as_ref(), place, report).await?;
        let of_fleet = BTreeSet::from([Rule { ports: FLEET_PORTS, from: Peer::Group(fleet_group.id.clone()) }]);
        self.set_rules(&fleet_group, &of_fleet).await?;
        let port = (SERVICE_PORT, SERVICE_PORT);
        let of_clients =
            self.spec.allowed_cidrs.iter().map(|cidr| Rule { ports: port, from: Peer::Cidr(cidr.clone()) });
        self.set_rules(&clients_group, &of_clients.collect()).await?;
        if !inventory.security_configuration {
            self.make_security_configuration(&names.cluster).await?;
            report(&format!("made security configuration {}", names.cluster));
        }
        self.upload(inventory, artifacts, report).await?;
        Ok(Parts { artifacts, fleet_group: fleet_group.id, clients_group: clients_group.id })
    }

    /// EMR has no code for "it is there": what it says is a refusal like others.
    async fn make_security_configuration(&self, name: &str) -> Result<()> {
        let Err(failure) = self.aws.create_security_configuration(name, &security_configuration()).await else {
            return Ok(());
        };
        let there = self.aws.security_configuration(name).await?.is_some();
        if there { Ok(()) } else { Err(failure.into()) }
    }

    async fn make_group(
        &self,
        name: &str,
        there: Option<&SecurityGroup>,
        place: &AccountPlace,
        report: Report<'_>,
    ) -> Result<SecurityGroup> {
        if let Some(group) = there {
            return Ok(group.clone());
        }
        let description = format!("Lakewright cluster {}", self.spec.name);
        let tags = tags(&self.spec);
        let made = self.aws.create_security_group(&place.vpc, name, &description, &tags).await;
        let id = match made {
            Ok(id) => id,
            Err(failure) if failure.code == Code::Exists => return self.adopt_group(name, &place.vpc).await,
            Err(failure) => return Err(failure.into()),
        };
        report(&format!("made security group {name} {id}"));
        Ok(SecurityGroup { id, tags, ingress: BTreeSet::new() })
    }

    /// A group that was made by a request whose answer was lost; or somebody else's.
    async fn adopt_group(&self, name: &str, vpc: &str) -> Result<SecurityGroup> {
        let filters = [("group-name".to_owned(), name.to_owned()), ("vpc-id".to_owned(), vpc.to_owned())];
        let found = self.aws.security_groups(&filters).await?.into_iter().next().map(|(_, group)| group);
        let tag = (crate::names::CLUSTER_TAG, &self.spec.name);
        match found {
            Some(group) if group.tags.get(tag.0) == Some(tag.1) => Ok(group),
            _ => Err(foreign("security group", name)),
        }
    }

    /// Makes a group's rules what they must be: also takes away what was allowed before.
    async fn set_rules(&self, group: &SecurityGroup, wanted: &BTreeSet<Rule>) -> Result<()> {
        for rule in wanted.difference(&group.ingress) {
            done_or_there(self.aws.change_ingress(&group.id, rule, true).await)?;
        }
        for rule in group.ingress.difference(wanted) {
            self.aws.change_ingress(&group.id, rule, false).await?;
        }
        Ok(())
    }

    /// Uploads what is not there yet. The folder's name is the checksum of what is in it.
    async fn upload(&self, inventory: &Inventory, artifacts: &Artifacts, report: Report<'_>) -> Result<()> {
        let mut sent = 0;
        for file in &artifacts.files {
            let target = artifacts.folder().join(&file.name);
            let there = |object: &&crate::aws::s3::Object| {
                object.key == target.prefix && object.bytes == file.content.len() as u64
            };
            if inventory.objects.iter().find(there).is_none() {
                self.aws.put_object(&target.bucket, &target.prefix, file.content.clone()).await?;
                sent += 1;
            }
        }
        if sent > 0 {
            report(&format!("uploaded {sent} files to {}", artifacts.folder()));
        }
        Ok(())
    }

    /// Starts the cluster. Roles that were made a moment ago are refused until all of AWS knows them.
    async fn start(&self, parts: &Parts<'_>, roles_are_new: bool, report: Report<'_>) -> Result<String> {
        let request = run_job_flow(&self.spec, parts);
        let tries = if roles_are_new { START_TRIES } else { 1 };
        let mut refusals = 0;
        loop {
            match self.aws.run_job_flow(&request).await {
                Ok(id) => return Ok(id),
                Err(failure) if failure.code == Code::Refused && refusals + 1 < tries => {
                    refusals += 1;
                    if refusals == 1 {
                        report(&format!("EMR refuses as yet, trying again: {failure}"));
                    }
                    sleep(self.aws.pauses().poll).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Says so if a living cluster was made with another program.
    async fn compare(&self, id: &str, artifacts: &Artifacts, report: Report<'_>) -> Result<()> {
        let actions = self.aws.bootstrap_actions(id).await?;
        if !actions.iter().any(|action| action.to_string().contains(&artifacts.sha256)) {
            report(
                "its nodes have another program or other settings than this file: to change them, delete and create it",
            );
        }
        Ok(())
    }

    /// The state of a cluster, and why it is so.
    pub(crate) async fn state(&self, id: &str) -> Result<(String, String)> {
        let cluster = self.aws.cluster(id).await?;
        let state = text(&cluster, &["Status", "State"]);
        Ok((state, text(&cluster, &["Status", "StateChangeReason", "Message"])))
    }

    async fn await_work(&self, id: &str, report: Report<'_>) -> Result<String> {
        let mut told = String::new();
        for _ in 0..LOOKS_MAX {
            let (state, reason) = self.state(id).await?;
            if state != told {
                report(&format!("cluster {id} is {state}"));
                told.clone_from(&state);
            }
            match state.as_str() {
                "WAITING" | "RUNNING" => return Ok(state),
                "TERMINATING" | "TERMINATED" | "TERMINATED_WITH_ERRORS" => {
                    return Err(Error::new(ErrorKind::Unavailable, format!("the cluster did not come up: {reason}"))
                        .with("cluster", id)
                        .with("logs", self.spec.folder().join(&format!("logs/{id}")))
                        .with_hint(
                            "under node/<instance>/bootstrap-actions lies what the bootstrap script said; \
                             deploy/emr/README.md explains it by symptom",
                        ));
                }
                _ => sleep(self.aws.pauses().poll).await,
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the cluster has not come up yet")
            .with("cluster", id)
            .with_hint("`lakewright cluster status` tells how it gets on"))
    }
}

/// Takes "it is there already" for done.
fn done_or_there(result: Result<(), crate::aws::Failure>) -> Result<()> {
    match result {
        Err(failure) if failure.code != Code::Exists => Err(failure.into()),
        _ => Ok(()),
    }
}

fn foreign(kind: &str, name: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("there is a {kind} of this name that this cluster has not made"))
        .with("name", name)
        .with_hint("give the cluster another name; what bears no tag of it is never touched")
}

fn refuse_foreign(inventory: &Inventory, name: &str) -> Result<()> {
    let names = Names::of(name);
    for (presence, kind, name) in [
        (inventory.node_role, "role", &names.node_role),
        (inventory.profile, "instance profile", &names.node_role),
        (inventory.service_role, "role", &names.service_role),
    ] {
        if presence == Presence::Foreign {
            return Err(foreign(kind, name));
        }
    }
    match inventory.foreign_clusters.first() {
        Some(id) => Err(foreign("cluster", &names.cluster).with("id", id)),
        None => Ok(()),
    }
}
