//! The policies of the two roles: what nodes and EMR may do, and no more.
//!
//! Invariant: nodes write into the lake and into their own folder; what is named as raw data or jobs they only read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    names::{CLUSTER_TAG, Names},
    spec::{ClusterSpec, Location},
};

/// AWS's own policy for EMR's role; it acts on what is tagged for it.
pub(crate) fn managed_policy(partition: &str) -> String {
    format!("arn:{partition}:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2")
}

/// The partition of a region: what its ARNs begin with.
pub(crate) fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// Who may take a role on: one service of AWS, for this account's resources.
pub(crate) fn trust(service: &str, account: Option<&str>) -> Value {
    let mut statement = json!({
        "Effect": "Allow",
        "Principal": { "Service": service },
        "Action": "sts:AssumeRole",
    });
    if let (Some(account), Some(fields)) = (account, statement.as_object_mut()) {
        fields.insert("Condition".to_owned(), json!({ "StringEquals": { "aws:SourceAccount": account } }));
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// What nodes may do.
pub fn node_policy(spec: &ClusterSpec) -> Value {
    let partition = partition(&spec.region);
    let folder = spec.folder();
    let objects = |location: &Location| format!("arn:{partition}:s3:::{}/{}/*", location.bucket, location.prefix);
    let read: Vec<String> = spec.raw.iter().chain(&spec.jobs).map(objects).collect();
    let own = [&folder];
    let all: Vec<&Location> = spec.raw.iter().chain(&spec.jobs).chain([&spec.lake]).chain(own).collect();

    let mut statements = vec![
        json!({ "Sid": "ReadRawAndJobs", "Effect": "Allow", "Action": "s3:GetObject", "Resource": read }),
        json!({
            "Sid": "Lake",
            "Effect": "Allow",
            "Action": [
                "s3:GetObject", "s3:PutObject", "s3:DeleteObject",
                "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
            ],
            "Resource": objects(&spec.lake),
        }),
        json!({ "Sid": "ReadOwnFolder", "Effect": "Allow", "Action": "s3:GetObject", "Resource": objects(&folder) }),
        json!({
            "Sid": "WriteLogsAndAuthority",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": [objects(&folder.join("logs")), objects(&folder.join("client"))],
        }),
        json!({
            "Sid": "ReadWhatEmrItselfBrings",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": format!("arn:{partition}:s3:::{}.elasticmapreduce/*", spec.region),
        }),
    ];
    statements.extend(listings(partition, &all));
    if let Some(key) = &spec.kms_key {
        statements.push(json!({
            "Sid": "KeyOfTheBuckets",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": key,
        }));
    }
    if spec.task.as_ref().is_some_and(|task| task.count_max.is_some()) {
        statements.push(scaling(spec, partition));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// What the scheduler needs to scale its task nodes: its own cluster's, told by the tag.
fn scaling(spec: &ClusterSpec, partition: &str) -> Value {
    json!({
        "Sid": "ScaleOwnTaskNodes",
        "Effect": "Allow",
        "Action": [
            "elasticmapreduce:DescribeCluster", "elasticmapreduce:ListInstances",
            "elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ModifyInstanceGroups",
            "elasticmapreduce:ListInstanceFleets", "elasticmapreduce:ModifyInstanceFleet",
        ],
        "Resource": format!("arn:{partition}:elasticmapreduce:{}:*:cluster/*", spec.region),
        "Condition": { "StringEquals": { format!("elasticmapreduce:ResourceTag/{CLUSTER_TAG}"): spec.name } },
    })
}

/// Listing is a right on the bucket; the condition keeps it to the prefixes.
fn listings(partition: &str, locations: &[&Location]) -> Vec<Value> {
    let mut prefixes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for location in locations {
        let of_bucket = prefixes.entry(location.bucket.as_str()).or_default();
        of_bucket.extend([location.prefix.clone(), format!("{}/*", location.prefix)]);
    }
    let statement = |(index, (bucket, prefixes)): (usize, (&&str, &Vec<String>))| {
        json!({
            "Sid": format!("List{index}"),
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": format!("arn:{partition}:s3:::{bucket}"),
            "Condition": { "StringLike": { "s3:prefix": prefixes } },
        })
    };
    prefixes.iter().enumerate().map(statement).collect()
}

/// What EMR may do beyond AWS's own policy: use this subnet though it does not bear EMR's tag, make its own security
/// groups in the network, and give nodes their role.
pub fn service_policy(spec: &ClusterSpec, account: &str, vpc: &str) -> Value {
    let partition = partition(&spec.region);
    let ec2 = |what: &str| format!("arn:{partition}:ec2:{}:{account}:{what}", spec.region);
    let node_role = Names::of(&spec.name).node_role;
    json!({ "Version": "2012-10-17", "Statement": [
        {
            "Sid": "CreateInTheSubnet",
            "Effect": "Allow",
            "Action": [
                "ec2:CreateNetworkInterface", "ec2:RunInstances", "ec2:CreateFleet",
                "ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion",
            ],
            "Resource": ec2(&format!("subnet/{}", spec.subnet)),
        },
        {
            "Sid": "CreateEmrsOwnSecurityGroups",
            "Effect": "Allow",
            "Action": "ec2:CreateSecurityGroup",
            "Resource": ec2(&format!("vpc/{vpc}")),
        },
        {
            "Sid": "GiveNodesTheirRole",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": format!("arn:{partition}:iam::{account}:role/{node_role}"),
            "Condition": { "StringLike": { "iam:PassedToService": "ec2.amazonaws.com*" } },
        },
    ]})
}

/// The tag filter of whoever looks for a cluster's things.
pub(crate) fn tag_filter(name: &str) -> (String, String) {
    (format!("tag:{CLUSTER_TAG}"), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::TEMPLATE;

    fn statement(policy: &Value, sid: &str) -> Value {
        let statements = policy["Statement"].as_array().unwrap();
        statements.iter().find(|statement| statement["Sid"] == sid).unwrap().clone()
    }

    #[test]
    fn raw_data_is_read_only_and_nothing_is_allowed_everywhere() {
        let spec = ClusterSpec::parse(TEMPLATE).unwrap();
        let policy = node_policy(&spec);
        assert_eq!(statement(&policy, "ReadRawAndJobs")["Action"], "s3:GetObject");
        let raw = "arn:aws:s3:::my-bucket/raw/*";
        for statement in policy["Statement"].as_array().unwrap() {
            let resources = statement["Resource"].to_string();
            assert!(!resources.contains("\"*\"") && !statement["Action"].to_string().contains('*'), "{statement}");
            assert!(!resources.contains(raw) || statement["Action"] == "s3:GetObject", "{statement}");
        }
        let listing = statement(&policy, "List0");
        assert_eq!(listing["Resource"], "arn:aws:s3:::my-bucket");
        assert!(listing["Condition"]["StringLike"]["s3:prefix"].to_string().contains("\"lakewright/music/*\""));
    }

    #[test]
    fn nodes_may_resize_their_own_cluster_only_and_only_if_it_is_scaled() {
        let text = TEMPLATE.to_owned();
        let policy = node_policy(&ClusterSpec::parse(&text).unwrap());
        assert!(!policy.to_string().contains("elasticmapreduce:Modify"), "{policy}");
        let text = text.replace("count = 0", "count = 0\ncount_max = 8");
        let scaling = statement(&node_policy(&ClusterSpec::parse(&text).unwrap()), "ScaleOwnTaskNodes");
        assert_eq!(scaling["Condition"]["StringEquals"]["elasticmapreduce:ResourceTag/lakewright:cluster"], "music");
        assert!(!scaling["Action"].to_string().contains("Terminate"), "{scaling}");
    }

    #[test]
    fn the_service_may_pass_one_role_and_use_one_subnet() {
        let mut spec = ClusterSpec::parse(TEMPLATE).unwrap();
        spec.region = "us-gov-west-1".to_owned();
        let policy = service_policy(&spec, "123456789012", "vpc-1");
        let pass = statement(&policy, "GiveNodesTheirRole");
        assert_eq!(pass["Resource"], "arn:aws-us-gov:iam::123456789012:role/lakewright-music-node");
        let create = statement(&policy, "CreateInTheSubnet");
        assert_eq!(create["Resource"], "arn:aws-us-gov:ec2:us-gov-west-1:123456789012:subnet/subnet-0123456789abcdef0");
    }
}
