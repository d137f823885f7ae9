//! How a scheduler has its fleet scaled.
//!
//! Invariant: without a range nothing is ever scaled.

use std::{str::FromStr, time::Duration};

use lakewright_error::Result;
use lakewright_scheduler::ScalingPolicy;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{RawSettings, invalid, size};

/// How long tasks must wait before machines are added, how long machines must have been idle before they are taken away,
/// and the time between two changes, unless told.
const DEFAULT_AFTER: Duration = Duration::from_secs(60);
const DEFAULT_IDLE: Duration = Duration::from_secs(600);
const DEFAULT_COOLDOWN: Duration = Duration::from_secs(300);

/// More machines than EMR has in one cluster.
const MACHINES_MAX: u32 = 2000;

/// The machines that a fleet may have: `0..10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MachineRange {
    least: u32,
    most: u32,
}

impl FromStr for MachineRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once("..").and_then(|(least, most)| {
            Some(Self { least: least.trim().parse().ok()?, most: most.trim().parse().ok()? })
        });
        let is_one = |range: &Self| range.least <= range.most && (1..=MACHINES_MAX).contains(&range.most);
        range.filter(is_one).ok_or_else(|| format!("{text} is no range of machines such as 0..10, up to 2000"))
    }
}

/// Reads a range; an empty text is none.
pub(super) fn range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MachineRange>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

/// How a fleet is scaled.
#[derive(Clone, Debug)]
pub(crate) struct Scaling {
    range: Option<MachineRange>,
    /// EMR's id of the cluster whose task nodes they are.
    pub(crate) cluster: Option<String>,
    after: Duration,
    idle: Duration,
    cooldown: Duration,
}

impl Scaling {
    /// Checks what was set; `origin_of` says by whom.
    pub(super) fn of(raw: &RawSettings, origin_of: &dyn Fn(&str) -> String) -> Result<Self> {
        let cluster = raw.scale_cluster.clone().filter(|cluster| !cluster.is_empty());
        let is_id = |id: &String| id.starts_with("j-") && id.chars().skip(2).all(|c| c.is_ascii_alphanumeric());
        if cluster.as_ref().is_some_and(|cluster| !is_id(cluster)) {
            let origin = origin_of("scale_cluster");
            return Err(invalid(
                "scale_cluster",
                &origin,
                "the id of a cluster of EMR is needed, such as j-2AXXXXXXGAPLF",
            ));
        }
        Ok(Self {
            range: raw.scale,
            cluster,
            after: raw.scale_after.unwrap_or(DEFAULT_AFTER),
            idle: raw.scale_idle.unwrap_or(DEFAULT_IDLE),
            cooldown: raw.scale_cooldown.unwrap_or(DEFAULT_COOLDOWN),
        })
    }

    /// The policy; none if nothing is scaled. A flag's range wins.
    pub(crate) fn policy(&self, flag: Option<MachineRange>) -> Option<ScalingPolicy> {
        let MachineRange { least, most } = flag.or(self.range)?;
        let Self { after, idle, cooldown, .. } = *self;
        Some(ScalingPolicy { machines_min: least, machines_max: most, after, idle, cooldown })
    }

    /// The value of a key as text.
    pub(super) fn text(&self, key: &str) -> String {
        match key {
            "scale" => self.range.map(|range| format!("{}..{}", range.least, range.most)).unwrap_or_default(),
            "scale_cluster" => self.cluster.clone().unwrap_or_default(),
            "scale_after" => size::time_text(self.after),
            "scale_idle" => size::time_text(self.idle),
            _ => size::time_text(self.cooldown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_least_and_a_most() {
        assert_eq!("0..10".parse(), Ok(MachineRange { least: 0, most: 10 }));
        assert_eq!("3 .. 3".parse(), Ok(MachineRange { least: 3, most: 3 }));
        for wrong in ["", "10", "..10", "3..", "5..4", "0..0", "-1..4", "0..2001", "a..b", "1..2..3"] {
            assert!(wrong.parse::<MachineRange>().is_err(), "{wrong}");
        }
    }
}
