//! What a cluster costs an hour, about.
//!
//! Invariant: an estimate. It is made of list prices of one region as they were written down at [`PRICES_AS_OF`], says of
//! every type that it does not know, and never asks AWS.

use serde::Serialize;

use crate::spec::{ClusterSpec, Group, Market};

/// EMR's own price is a quarter of EC2's on demand, up to this many dollars an hour.
const EMR_SHARE: f64 = 0.25;
const EMR_MAX: f64 = 0.27;
/// gp3 in dollars for a GiB an hour.
const DISK_GB_HOUR: f64 = 0.08 / 730.0;

/// When the table was written down: year and month.
pub(crate) const PRICES_AS_OF: &str = "2026-11";

/// From EC2's price list for Linux (aws.amazon.com/ec2/pricing/on-demand); EMR's and EBS's are those of
/// aws.amazon.com/emr/pricing and aws.amazon.com/ebs/pricing. Larger sizes cost in proportion.
///
/// Dollars an hour of the size `large` on demand in us-east-1, by family.
const LARGE: [(&str, f64); 30] = [
    ("c5", 0.085),
    ("c5a", 0.077),
    ("c5d", 0.096),
    ("c5n", 0.108),
    ("c6a", 0.0765),
    ("c6i", 0.085),
    ("c6id", 0.1008),
    ("c7a", 0.10264),
    ("c7i", 0.08925),
    ("i3", 0.156),
    ("i3en", 0.226),
    ("i4i", 0.172),
    ("m5", 0.096),
    ("m5a", 0.086),
    ("m5d", 0.113),
    ("m6a", 0.0864),
    ("m6i", 0.096),
    ("m6id", 0.11865),
    ("m6in", 0.13923),
    ("m7a", 0.11592),
    ("m7i", 0.1008),
    ("r5", 0.126),
    ("r5a", 0.113),
    ("r5d", 0.144),
    ("r6a", 0.1134),
    ("r6i", 0.126),
    ("r6id", 0.1512),
    ("r6in", 0.17433),
    ("r7a", 0.15215),
    ("r7i", 0.1323),
];

/// The estimate for a cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Its groups.
    pub groups: Vec<GroupCost>,
    /// When the prices were written down: year and month.
    pub prices_as_of: &'static str,
    /// Dollars an hour of all groups whose types are known.
    pub dollars_per_hour: f64,
    /// The same when the scheduler has asked for all task nodes that it may have.
    pub dollars_per_hour_max: f64,
    /// Types whose price is not known.
    pub unknown_types: Vec<String>,
}

/// The estimate for one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupCost {
    /// `primary`, `core` or `task`.
    pub role: &'static str,
    /// The type that the estimate is for: the first.
    pub instance_type: String,
    /// How many nodes.
    pub count: u32,
    /// Whether spot: the estimate is what they cost on demand, so the most.
    pub spot: bool,
    /// Dollars an hour of all of them, EC2, EMR and disks; `null` if the type is not known.
    pub dollars_per_hour: Option<f64>,
}

/// The estimate for a cluster as its file says.
pub(crate) fn cost(spec: &ClusterSpec) -> Cost {
    let named = [("primary", Some(&spec.primary)), ("core", Some(&spec.core)), ("task", spec.task.as_ref())];
    let groups: Vec<GroupCost> = named.into_iter().filter_map(|(role, group)| Some(of_group(role, group?))).collect();
    let mut unknown_types: Vec<String> = groups
        .iter()
        .filter(|group| group.dollars_per_hour.is_none())
        .map(|group| group.instance_type.clone())
        .collect();
    unknown_types.dedup();
    let dollars_per_hour = groups.iter().filter_map(|group| group.dollars_per_hour).sum();
    let more = spec.task.as_ref().and_then(|task| {
        let more = task.count_max?.saturating_sub(task.count);
        of_group("task", &Group { count: more, ..task.clone() }).dollars_per_hour
    });
    let dollars_per_hour_max = dollars_per_hour + more.unwrap_or(0.0);
    Cost { prices_as_of: PRICES_AS_OF, dollars_per_hour, dollars_per_hour_max, groups, unknown_types }
}

fn of_group(role: &'static str, group: &Group) -> GroupCost {
    let instance_type = group.instance_types.first().cloned().unwrap_or_default();
    let node = group.price_per_hour.or_else(|| of_type(&instance_type));
    let disk = f64::from(group.disk_gb.unwrap_or(0)) * DISK_GB_HOUR;
    GroupCost {
        role,
        count: group.count,
        spot: group.market == Market::Spot,
        dollars_per_hour: node.map(|node| (node + disk) * f64::from(group.count)),
        instance_type,
    }
}

/// Dollars an hour of one node, EC2 and EMR.
fn of_type(name: &str) -> Option<f64> {
    let (family, size) = name.split_once('.')?;
    let (_, large) = LARGE.iter().find(|(known, _)| *known == family)?;
    let times = match size {
        "large" => 1.0,
        "xlarge" => 2.0,
        _ => 2.0 * size.strip_suffix("xlarge")?.parse::<f64>().ok()?,
    };
    let ec2 = large * times;
    Some(ec2 + (ec2 * EMR_SHARE).min(EMR_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::TEMPLATE;

    #[test]
    fn prices_grow_with_the_size_and_emr_takes_its_share() {
        let near = |name: &str, dollars: f64| {
            let found = of_type(name).unwrap();
            assert!((found - dollars).abs() < 1e-9, "{name}: {found}");
        };
        near("m6i.xlarge", 0.192 * 1.25);
        near("r6i.4xlarge", 1.008 + 0.252);
        near("r6i.24xlarge", 6.048 + 0.27);
        assert_eq!(of_type("x99.large"), None);
        assert_eq!(of_type("m6i.metal"), None);
    }

    #[test]
    fn a_fleet_that_is_scaled_says_what_it_may_come_to() {
        let fixed = cost(&ClusterSpec::parse(TEMPLATE).unwrap());
        assert_eq!(fixed.dollars_per_hour, fixed.dollars_per_hour_max);
        let scaled = TEMPLATE.replace("count = 0", "count = 0\ncount_max = 10");
        let scaled = cost(&ClusterSpec::parse(&scaled).unwrap());
        assert_eq!(scaled.dollars_per_hour, fixed.dollars_per_hour);
        let node = of_type("r6id.xlarge").unwrap();
        assert!((scaled.dollars_per_hour_max - fixed.dollars_per_hour - 10.0 * node).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_known_is_said_and_what_the_user_knows_is_taken() {
        let text = TEMPLATE.replace("[\"m6i.xlarge\"]", "[\"x99.large\"]");
        let unknown = cost(&ClusterSpec::parse(&text).unwrap());
        assert_eq!(unknown.unknown_types, ["x99.large"]);
        assert!(unknown.groups[0].dollars_per_hour.is_none() && unknown.dollars_per_hour > 0.0);
        let text = text.replace("[\"x99.large\"]", "[\"x99.large\"]\nprice_per_hour = 2.5");
        let known = cost(&ClusterSpec::parse(&text).unwrap());
        assert_eq!(known.groups[0].dollars_per_hour, Some(2.5));
        assert!(known.unknown_types.is_empty());
    }
}
