//! What `create` would do.

use lakewright_error::Result;
use serde::Serialize;

use crate::{
    artifacts::Artifacts,
    cluster::Cluster,
    inventory::{Inventory, Presence},
    names::{FLEET_PORTS, Names, SERVICE_PORT},
    policy::managed_policy,
    price::{Cost, cost},
    spec::{ClusterSpec, Market},
};

/// What would be made, and what it costs.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The cluster.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// The account of the credentials.
    pub account: String,
    /// The network of the subnet.
    pub vpc: String,
    /// What it consists of, in the order of making.
    pub items: Vec<PlannedItem>,
    /// What it costs.
    pub cost: Cost,
    /// What stands in the way: `create` would refuse.
    pub obstacles: Vec<String>,
}

/// One thing of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedItem {
    /// What it is.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What would be done.
    pub action: Action,
    /// What it is for.
    pub detail: String,
}

/// What would be done about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Make,
    /// It is there; its policy or rules are brought up to date.
    Keep,
    /// Somebody else's thing bears the name.
    Blocked,
}

impl Action {
    fn of(presence: Presence) -> Self {
        match presence {
            Presence::Absent => Self::Make,
            Presence::Ours => Self::Keep,
            Presence::Foreign => Self::Blocked,
        }
    }

    fn if_there(there: bool) -> Self {
        if there { Self::Keep } else { Self::Make }
    }
}

impl Cluster {
    /// Looks what is there, and says what `create` would make. Without artifacts the program is missing as yet.
    ///
    /// # Errors
    /// - [`lakewright_error::ErrorKind::NotFound`]: there is no such subnet.
    /// - What AWS refuses.
    pub async fn plan(&self, artifacts: Option<&Artifacts>) -> Result<Plan> {
        let spec = &self.spec;
        let place = self.place().await?;
        let inventory = Inventory::take(&self.aws, spec).await?;
        let items = items(spec, &inventory, artifacts);
        let mut obstacles: Vec<String> = items
            .iter()
            .filter(|item| item.action == Action::Blocked)
            .map(|item| format!("{} {} is there and does not bear the cluster's tag", item.kind, item.name))
            .collect();
        if artifacts.is_none() {
            obstacles.push(format!("the program {} is not there: `deploy/build` makes it", spec.binary));
        }
        obstacles.extend(
            inventory
                .foreign_clusters
                .iter()
                .map(|id| format!("EMR cluster {id} bears the name and not the cluster's tag")),
        );
        Ok(Plan {
            cluster: Names::of(&spec.name).cluster,
            region: spec.region.clone(),
            account: place.account,
            vpc: place.vpc,
            items,
            cost: cost(spec),
            obstacles,
        })
    }
}

fn items(spec: &ClusterSpec, inventory: &Inventory, artifacts: Option<&Artifacts>) -> Vec<PlannedItem> {
    let names = Names::of(&spec.name);
    let item = |kind, name: &str, action, detail: String| PlannedItem { kind, name: name.to_owned(), action, detail };
    let prefixes =
        |locations: &[crate::spec::Location]| locations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let is_uploaded = |artifacts: &Artifacts| {
        artifacts.files.iter().all(|file| {
            let key = artifacts.folder().join(&file.name).prefix;
            inventory.objects.iter().any(|object| object.key == key)
        })
    };
    let folder = artifacts.map_or_else(|| spec.folder(), |artifacts| artifacts.folder().clone());
    let clients = if spec.allowed_cidrs.is_empty() { "nobody".to_owned() } else { spec.allowed_cidrs.join(", ") };
    vec![
        item(
            "role",
            &names.node_role,
            Action::of(inventory.node_role),
            format!("nodes: read and write {}, read {}", spec.lake, prefixes(&spec.raw)),
        ),
        item("instance profile", &names.node_role, Action::of(inventory.profile), "gives nodes their role".to_owned()),
        item(
            "role",
            &names.service_role,
            Action::of(inventory.service_role),
            format!("EMR: {}, and this subnet", managed_policy("aws").rsplit('/').next().unwrap_or_default()),
        ),
        item(
            "security group",
            &names.fleet_group,
            Action::if_there(inventory.fleet_group.is_some()),
            format!("ports {}-{} among the nodes", FLEET_PORTS.0, FLEET_PORTS.1),
        ),
        item(
            "security group",
            &names.clients_group,
            Action::if_there(inventory.clients_group.is_some()),
            format!("port {SERVICE_PORT} of the primary from {clients}"),
        ),
        item(
            "security configuration",
            &names.cluster,
            Action::if_there(inventory.security_configuration),
            "metadata of nodes by IMDSv2 only".to_owned(),
        ),
        item(
            "objects",
            &folder.to_string(),
            Action::if_there(artifacts.is_some_and(is_uploaded)),
            "the program, scripts and units".to_owned(),
        ),
        item("EMR cluster", &names.cluster, Action::if_there(inventory.cluster.is_some()), nodes(spec)),
    ]
}

fn nodes(spec: &ClusterSpec) -> String {
    let parts = spec.groups().into_iter().map(|(role, group)| {
        let market = if group.market == Market::Spot { " spot" } else { "" };
        let role = if role == "MASTER" { "primary".to_owned() } else { role.to_lowercase() };
        let most = group.count_max.map(|most| format!(" to {most}")).unwrap_or_default();
        format!("{role} {}{most} x {}{market}", group.count, group.instance_types.join(" or "))
    });
    format!("{}: {}", spec.release, parts.collect::<Vec<_>>().join(", "))
}
