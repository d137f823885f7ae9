//! The calls of EC2 that clusters need: subnets and security groups.

use std::collections::{BTreeMap, BTreeSet};

use super::{Aws, Failure, Once, Service, failure::absent, xml::Element};

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecurityGroup {
    pub(crate) id: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) ingress: BTreeSet<Rule>,
}

/// Who may reach which TCP ports of a group's members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub(crate) ports: (u16, u16),
    pub(crate) from: Peer,
}

/// Where connections may come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// Members of a group, by its id.
    Group(String),
    /// A network.
    Cidr(String),
}

impl Aws {
    async fn ec2(&self, action: &str, parameters: Vec<(String, String)>) -> Result<Element, Failure> {
        self.query(Service::Ec2, action, &parameters, Once::No).await
    }

    /// The network that a subnet is in; `None` if there is no such subnet.
    pub(crate) async fn vpc_of(&self, subnet: &str) -> Result<Option<String>, Failure> {
        let answer = absent(self.ec2("DescribeSubnets", vec![("SubnetId.1".into(), subnet.into())]).await)?;
        let found = answer.as_ref().and_then(|answer| answer.items(&["subnetSet"]).first());
        Ok(found.and_then(|subnet| subnet.text_at(&["vpcId"])).map(str::to_owned))
    }

    /// The security groups that fit all filters.
    pub(crate) async fn security_groups(
        &self,
        filters: &[(String, String)],
    ) -> Result<Vec<(String, SecurityGroup)>, Failure> {
        let mut parameters = Vec::new();
        for (number, (name, value)) in (1..).zip(filters) {
            parameters.push((format!("Filter.{number}.Name"), name.clone()));
            parameters.push((format!("Filter.{number}.Value.1"), value.clone()));
        }
        let answer = self.ec2("DescribeSecurityGroups", parameters).await?;
        Ok(answer.items(&["securityGroupInfo"]).iter().filter_map(security_group).collect())
    }

    /// Makes a security group, with its tags from the first moment, and gives its id.
    pub(crate) async fn create_security_group(
        &self,
        vpc: &str,
        name: &str,
        description: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<String, Failure> {
        let mut parameters: Vec<(String, String)> = vec![
            ("VpcId".into(), vpc.into()),
            ("GroupName".into(), name.into()),
            ("GroupDescription".into(), description.into()),
            ("TagSpecification.1.ResourceType".into(), "security-group".into()),
        ];
        for (number, (key, value)) in (1..).zip(tags) {
            parameters.push((format!("TagSpecification.1.Tag.{number}.Key"), key.clone()));
            parameters.push((format!("TagSpecification.1.Tag.{number}.Value"), value.clone()));
        }
        let answer = self.ec2("CreateSecurityGroup", parameters).await?;
        answer
            .text_at(&["groupId"])
            .map(str::to_owned)
            .ok_or_else(|| Failure::unreadable(Service::Ec2, "CreateSecurityGroup", "the answer names no group"))
    }

    /// Adds a rule, or takes it away.
    pub(crate) async fn change_ingress(&self, group: &str, rule: &Rule, add: bool) -> Result<(), Failure> {
        let action = if add { "AuthorizeSecurityGroupIngress" } else { "RevokeSecurityGroupIngress" };
        let permission = |name: &str, value: String| (format!("IpPermissions.1.{name}"), value);
        let mut parameters = vec![
            ("GroupId".to_owned(), group.to_owned()),
            permission("IpProtocol", "tcp".to_owned()),
            permission("FromPort", rule.ports.0.to_string()),
            permission("ToPort", rule.ports.1.to_string()),
        ];
        parameters.push(match &rule.from {
            Peer::Group(id) => permission("Groups.1.GroupId", id.clone()),
            Peer::Cidr(cidr) if cidr.contains(':') => permission("Ipv6Ranges.1.CidrIpv6", cidr.clone()),
            Peer::Cidr(cidr) => permission("IpRanges.1.CidrIp", cidr.clone()),
        });
        self.ec2(action, parameters).await.map(drop)
    }

    /// Deletes a security group, if it is there.
    pub(crate) async fn delete_security_group(&self, id: &str) -> Result<(), Failure> {
        absent(self.ec2("DeleteSecurityGroup", vec![("GroupId".into(), id.into())]).await).map(drop)
    }
}

fn security_group(element: &Element) -> Option<(String, SecurityGroup)> {
    let text = |name: &str| element.text_at(&[name]).map(str::to_owned);
    let tag = |item: &Element| Some((item.text_at(&["key"])?.to_owned(), item.text_at(&["value"])?.to_owned()));
    let group = SecurityGroup {
        id: text("groupId")?,
        tags: element.items(&["tagSet"]).iter().filter_map(tag).collect(),
        ingress: element.items(&["ipPermissions"]).iter().flat_map(rules).collect(),
    };
    Some((text("groupName")?, group))
}

/// EC2 puts all peers of the same ports into one permission.
fn rules(permission: &Element) -> Vec<Rule> {
    let port = |name: &str| permission.text_at(&[name]).and_then(|text| text.parse().ok());
    // Of another protocol than TCP: no rule of ours, and none to compare with.
    let (Some(from), Some(to)) = (port("fromPort"), port("toPort")) else { return Vec::new() };
    let peers = |list: &'static str, name: &'static str| {
        permission.items(&[list]).iter().filter_map(move |item| item.text_at(&[name]).map(str::to_owned))
    };
    let groups = peers("groups", "groupId").map(Peer::Group);
    let networks = peers("ipRanges", "cidrIp").chain(peers("ipv6Ranges", "cidrIpv6")).map(Peer::Cidr);
    groups.chain(networks).map(|peer| Rule { ports: (from, to), from: peer }).collect()
}
