//! The calls of EMR that clusters need.

use serde_json::{Value, json};

use super::{Aws, Failure, Once, Service, failure::absent};

/// States of a cluster that is there, or will be.
const LIVING: [&str; 5] = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"];
/// Pages of a listing: a bound, not a limit that anybody meets.
const PAGES_MAX: usize = 1000;

/// The text of a field, empty if it is not there.
pub(crate) fn text(value: &Value, path: &[&str]) -> String {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Aws {
    /// All items of a listing.
    async fn emr_list(&self, action: &str, mut parameters: Value, field: &str) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.emr(action, &parameters, Once::No).await?;
            items.extend(page.get(field).and_then(Value::as_array).cloned().unwrap_or_default());
            let marker = text(&page, &["Marker"]);
            if marker.is_empty() {
                return Ok(items);
            }
            parameters["Marker"] = Value::String(marker);
        }
        Err(Failure::unreadable(Service::Emr, action, "the listing does not end"))
    }

    /// Ids of the living clusters of a name.
    pub(crate) async fn clusters(&self, name: &str) -> Result<Vec<String>, Failure> {
        let all = self.emr_list("ListClusters", json!({ "ClusterStates": LIVING }), "Clusters").await?;
        Ok(all
            .iter()
            .filter(|cluster| text(cluster, &["Name"]) == name)
            .map(|cluster| text(cluster, &["Id"]))
            .collect())
    }

    /// A cluster.
    pub(crate) async fn cluster(&self, id: &str) -> Result<Value, Failure> {
        let answer = self.emr("DescribeCluster", &json!({ "ClusterId": id }), Once::No).await?;
        Ok(answer.get("Cluster").cloned().unwrap_or_default())
    }

    /// Starts a cluster, and gives its id. Sent once: nothing tells whether a second one is the first.
    pub(crate) async fn run_job_flow(&self, request: &Value) -> Result<String, Failure> {
        let answer = self.emr("RunJobFlow", request, Once::Yes).await?;
        let id = text(&answer, &["JobFlowId"]);
        if id.is_empty() {
            return Err(Failure::unreadable(Service::Emr, "RunJobFlow", "the answer names no cluster"));
        }
        Ok(id)
    }

    /// Lets a cluster be ended, or protects it.
    pub(crate) async fn protect(&self, id: &str, protected: bool) -> Result<(), Failure> {
        let parameters = json!({ "JobFlowIds": [id], "TerminationProtected": protected });
        self.emr("SetTerminationProtection", &parameters, Once::No).await.map(drop)
    }

    /// Ends a cluster; one that has ended stays so.
    pub(crate) async fn terminate(&self, id: &str) -> Result<(), Failure> {
        self.emr("TerminateJobFlows", &json!({ "JobFlowIds": [id] }), Once::No).await.map(drop)
    }

    /// The instance groups of a cluster, or its instance fleets.
    pub(crate) async fn node_groups(&self, id: &str, fleets: bool) -> Result<Vec<Value>, Failure> {
        let (action, field) =
            if fleets { ("ListInstanceFleets", "InstanceFleets") } else { ("ListInstanceGroups", "InstanceGroups") };
        self.emr_list(action, json!({ "ClusterId": id }), field).await
    }

    /// The bootstrap actions of a cluster.
    pub(crate) async fn bootstrap_actions(&self, id: &str) -> Result<Vec<Value>, Failure> {
        self.emr_list("ListBootstrapActions", json!({ "ClusterId": id }), "BootstrapActions").await
    }

    /// The living nodes of a cluster.
    pub(crate) async fn nodes(&self, id: &str) -> Result<Vec<Value>, Failure> {
        let parameters = json!({ "ClusterId": id, "InstanceStates": ["AWAITING_FULFILLMENT", "PROVISIONING", "BOOTSTRAPPING", "RUNNING"] });
        self.emr_list("ListInstances", parameters, "Instances").await
    }

    /// The newest steps of a cluster.
    pub(crate) async fn steps(&self, id: &str) -> Result<Vec<Value>, Failure> {
        let page = self.emr("ListSteps", &json!({ "ClusterId": id }), Once::No).await?;
        Ok(page.get("Steps").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Gives a group of nodes another size. `leaving` are EC2's ids of those that are to go; of a fleet, EMR chooses.
    pub(crate) async fn resize_group(
        &self,
        cluster: &str,
        group: &Value,
        count: u32,
        spot: bool,
        leaving: &[String],
    ) -> Result<(), Failure> {
        let id = text(group, &["Id"]);
        if group.get("InstanceFleetType").is_some() {
            let capacity = if spot { "TargetSpotCapacity" } else { "TargetOnDemandCapacity" };
            let mut fleet = json!({ "InstanceFleetId": id });
            fleet[capacity] = json!(count);
            let parameters = json!({ "ClusterId": cluster, "InstanceFleet": fleet });
            return self.emr("ModifyInstanceFleet", &parameters, Once::No).await.map(drop);
        }
        let mut change = json!({ "InstanceGroupId": id, "InstanceCount": count });
        if !leaving.is_empty() {
            change["ShrinkPolicy"] = json!({ "InstanceResizePolicy": { "InstancesToTerminate": leaving } });
        }
        let parameters = json!({ "ClusterId": cluster, "InstanceGroups": [change] });
        self.emr("ModifyInstanceGroups", &parameters, Once::No).await.map(drop)
    }

    /// Adds a group of nodes to a cluster. Sent once: a second one would stand beside the first.
    pub(crate) async fn add_group(&self, cluster: &str, group: &Value, fleets: bool) -> Result<(), Failure> {
        if fleets {
            let parameters = json!({ "ClusterId": cluster, "InstanceFleet": group });
            return self.emr("AddInstanceFleet", &parameters, Once::Yes).await.map(drop);
        }
        let parameters = json!({ "JobFlowId": cluster, "InstanceGroups": [group] });
        self.emr("AddInstanceGroups", &parameters, Once::Yes).await.map(drop)
    }

    /// A security configuration's document; `None` if there is none.
    pub(crate) async fn security_configuration(&self, name: &str) -> Result<Option<String>, Failure> {
        // EMR has no code of its own for "there is none": the list tells.
        let all = self.emr_list("ListSecurityConfigurations", json!({}), "SecurityConfigurations").await?;
        if !all.iter().any(|configuration| text(configuration, &["Name"]) == name) {
            return Ok(None);
        }
        let answer = absent(self.emr("DescribeSecurityConfiguration", &json!({ "Name": name }), Once::No).await)?;
        Ok(answer.map(|answer| text(&answer, &["SecurityConfiguration"])))
    }

    /// Makes a security configuration.
    pub(crate) async fn create_security_configuration(&self, name: &str, document: &Value) -> Result<(), Failure> {
        let parameters = json!({ "Name": name, "SecurityConfiguration": document.to_string() });
        self.emr("CreateSecurityConfiguration", &parameters, Once::No).await.map(drop)
    }

    /// Deletes a security configuration.
    pub(crate) async fn delete_security_configuration(&self, name: &str) -> Result<(), Failure> {
        absent(self.emr("DeleteSecurityConfiguration", &json!({ "Name": name }), Once::No).await).map(drop)
    }
}
