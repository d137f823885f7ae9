//! The request that starts a cluster: RunJobFlow.
//!
//! Invariant: a pure function of the spec and of the names of what was made before.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    artifacts::Artifacts,
    names::{Names, tags},
    spec::{ClusterSpec, Group, Market},
};

/// Steps at once. Each only waits for a run of the scheduler.
const STEPS_AT_ONCE: u32 = 10;
/// Minutes that EMR looks for instances of a fleet before it gives up.
const PROVISIONING_MINUTES: u32 = 30;

/// What the cluster is made with besides its spec.
#[derive(Clone, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) artifacts: &'a Artifacts,
    /// Ids of the security groups.
    pub(crate) fleet_group: String,
    pub(crate) clients_group: String,
}

/// The request.
pub(crate) fn run_job_flow(spec: &ClusterSpec, parts: &Parts<'_>) -> Value {
    let names = Names::of(&spec.name);
    let (script, arguments) = parts.artifacts.bootstrap(&spec.region);
    let tags: Vec<Value> = tags(spec).iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let mut request = json!({
        "Name": names.cluster,
        "ReleaseLabel": spec.release,
        "LogUri": format!("{}/", spec.folder().join("logs")),
        "ServiceRole": names.service_role,
        "JobFlowRole": names.node_role,
        "SecurityConfiguration": names.cluster,
        "VisibleToAllUsers": true,
        "StepConcurrencyLevel": STEPS_AT_ONCE,
        // EMR installs Hadoop in any case; more would only take memory away.
        "Applications": [{ "Name": "Hadoop" }],
        "Configurations": [{
            "Classification": "yarn-site",
            "Properties": {
                "yarn.nodemanager.resource.memory-mb": "1024",
                "yarn.scheduler.maximum-allocation-mb": "1024",
            },
        }],
        "BootstrapActions": [{
            "Name": "lakewright",
            "ScriptBootstrapAction": { "Path": script, "Args": arguments },
        }],
        "Instances": instances(spec, parts),
        "Tags": tags,
    });
    if let Some(minutes) = spec.idle_timeout_minutes {
        request["AutoTerminationPolicy"] = json!({ "IdleTimeout": minutes * 60 });
    }
    request
}

/// The document of the security configuration: metadata of nodes by IMDSv2 only.
pub(crate) fn security_configuration() -> Value {
    json!({ "InstanceMetadataServiceConfiguration": {
        "MinimumInstanceMetadataServiceVersion": 2,
        "HttpPutResponseHopLimit": 1,
    }})
}

fn instances(spec: &ClusterSpec, parts: &Parts<'_>) -> Value {
    let fleets = spec.has_fleets();
    let wanted = spec.groups().into_iter().filter(|(_, group)| group.count_at_start() > 0);
    let groups: Vec<Value> = wanted.map(|(role, group)| node_group(role, group, fleets)).collect();
    let mut instances = json!({
        "KeepJobFlowAliveWhenNoSteps": true,
        "TerminationProtected": spec.termination_protection,
        "AdditionalMasterSecurityGroups": [parts.fleet_group, parts.clients_group],
        "AdditionalSlaveSecurityGroups": [parts.fleet_group],
    });
    if fleets {
        instances["InstanceFleets"] = Value::Array(groups);
        instances["Ec2SubnetIds"] = json!([spec.subnet]);
    } else {
        instances["InstanceGroups"] = Value::Array(groups);
        instances["Ec2SubnetId"] = json!(spec.subnet);
    }
    if let Some(key) = &spec.key_pair {
        instances["Ec2KeyName"] = json!(key);
    }
    instances
}

/// A group of nodes, or a fleet of several types.
pub(crate) fn node_group(role: &str, group: &Group, fleets: bool) -> Value {
    let names = BTreeMap::from([("MASTER", "primary"), ("CORE", "core"), ("TASK", "task")]);
    let name = names.get(role).copied().unwrap_or(role);
    let disks = group.disk_gb.map(|gigabytes| {
        json!({ "EbsBlockDeviceConfigs": [{
            "VolumesPerInstance": 1,
            "VolumeSpecification": { "VolumeType": "gp3", "SizeInGB": gigabytes },
        }]})
    });
    let spot = group.market == Market::Spot;
    let count = group.count_at_start();
    let with_disks = |mut value: Value| {
        if let Some(disks) = &disks {
            value["EbsConfiguration"] = disks.clone();
        }
        value
    };
    if !fleets {
        return with_disks(json!({
            "Name": name,
            "InstanceRole": role,
            "InstanceType": group.instance_types.first(),
            "InstanceCount": count,
            "Market": if spot { "SPOT" } else { "ON_DEMAND" },
        }));
    }
    let of_type = |name: &String| with_disks(json!({ "InstanceType": name, "WeightedCapacity": 1 }));
    let types: Vec<Value> = group.instance_types.iter().map(of_type).collect();
    let mut fleet = json!({
        "Name": name,
        "InstanceFleetType": role,
        "TargetOnDemandCapacity": if spot { 0 } else { count },
        "TargetSpotCapacity": if spot { count } else { 0 },
        "InstanceTypeConfigs": types,
    });
    if spot {
        fleet["LaunchSpecifications"] = json!({ "SpotSpecification": {
            "TimeoutDurationMinutes": PROVISIONING_MINUTES,
            "TimeoutAction": "TERMINATE_CLUSTER",
            "AllocationStrategy": "price-capacity-optimized",
        }});
    }
    fleet
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::spec::TEMPLATE;

    fn request(text: &str) -> Value {
        let spec = ClusterSpec::parse(text).unwrap();
        let mut binary = b"\x7fELF".to_vec();
        binary.resize(18, 0);
        binary.extend([0x3e, 0]);
        let artifacts = Artifacts::new(&spec, Bytes::from(binary), None).unwrap();
        let parts = Parts { artifacts: &artifacts, fleet_group: "sg-f".into(), clients_group: "sg-c".into() };
        run_job_flow(&spec, &parts)
    }

    #[test]
    fn one_type_a_group_gives_groups_and_an_empty_task_group_is_left_out() {
        let request = request(TEMPLATE);
        let instances = &request["Instances"];
        assert_eq!(instances["InstanceGroups"].as_array().unwrap().len(), 2);
        assert_eq!(instances["InstanceGroups"][1]["InstanceCount"], 2);
        assert_eq!(instances["AdditionalMasterSecurityGroups"], json!(["sg-f", "sg-c"]));
        assert_eq!(instances["AdditionalSlaveSecurityGroups"], json!(["sg-f"]));
        assert_eq!(request["AutoTerminationPolicy"]["IdleTimeout"], 3600);
        assert!(request["Tags"].to_string().contains("lakewright:cluster"));
        let action = &request["BootstrapActions"][0]["ScriptBootstrapAction"];
        assert!(action["Path"].as_str().unwrap().ends_with("/bootstrap.sh"));
    }

    #[test]
    fn a_task_group_that_is_scaled_begins_with_one_node_though_none_stays() {
        let request = request(&TEMPLATE.replace("count = 0", "count = 0\ncount_max = 8"));
        let groups = request["Instances"]["InstanceGroups"].as_array().unwrap();
        assert_eq!((groups.len(), &groups[2]["InstanceCount"]), (3, &json!(1)));
    }

    #[test]
    fn several_types_give_fleets_of_capacities() {
        let text = TEMPLATE.replace("count = 0", "count = 4").replacen(
            "[\"r6id.xlarge\"]",
            "[\"r6id.xlarge\", \"r5d.xlarge\"]",
            1,
        );
        let request = request(&text);
        let fleets = request["Instances"]["InstanceFleets"].as_array().unwrap();
        assert_eq!(fleets.len(), 3);
        assert_eq!(fleets[1]["TargetOnDemandCapacity"], 2);
        assert_eq!(fleets[1]["InstanceTypeConfigs"].as_array().unwrap().len(), 2);
        assert_eq!((&fleets[2]["TargetSpotCapacity"], &fleets[2]["TargetOnDemandCapacity"]), (&json!(4), &json!(0)));
        assert!(request["Instances"].get("InstanceGroups").is_none());
    }
}
