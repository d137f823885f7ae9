//! Where the fleet is: a given address, or what schedulers say in the heartbeats of the lake.
//!
//! Invariant: a heartbeat is a hint. Whoever takes an executor in is who answers at the address.

use std::cmp::Reverse;

use lakewright_lake::{
    Prefix, layout,
    state::{Heartbeat, list_names, read_object},
};

use crate::{ExecutorSettings, chain};

/// Addresses at which a fleet may take executors in, the likeliest first.
pub(crate) async fn find(settings: &ExecutorSettings) -> Vec<String> {
    if let Some(address) = &settings.fleet {
        return vec![address.clone()];
    }
    let Some(lake) = &settings.lake else { return Vec::new() };
    match heartbeats(lake).await {
        Ok(heartbeats) => addresses(heartbeats),
        Err(error) => {
            tracing::warn!(error = chain(&error), "heartbeats of the lake cannot be read");
            Vec::new()
        }
    }
}

async fn heartbeats(lake: &Prefix) -> lakewright_error::Result<Vec<Heartbeat>> {
    let mut heartbeats = Vec::new();
    for name in list_names(lake, layout::DRIVERS_DIR).await? {
        // One that has gone meanwhile, or that does not parse, is none.
        if let Ok(Some(heartbeat)) = read_object(lake, &layout::driver(&name)).await {
            heartbeats.push(heartbeat);
        }
    }
    Ok(heartbeats)
}

/// The newest process first: of two of which one has died unseen, it is the one that lives.
fn addresses(mut heartbeats: Vec<Heartbeat>) -> Vec<String> {
    heartbeats.sort_by_key(|heartbeat| (Reverse(heartbeat.process_started_s), heartbeat.driver_id.clone()));
    heartbeats.into_iter().filter_map(|heartbeat| heartbeat.fleet).collect()
}

#[cfg(test)]
mod tests {
    use lakewright_lake::state::Format;

    use super::*;

    fn heartbeat(id: &str, process_started_s: u64, fleet: Option<&str>) -> Heartbeat {
        Heartbeat {
            format: Format,
            driver_id: id.to_owned(),
            host: "h".to_owned(),
            pid: 1,
            process_started_s,
            process_tick: None,
            beat: 1,
            runs: Vec::new(),
            fleet: fleet.map(str::to_owned),
        }
    }

    #[test]
    fn the_newest_scheduler_is_asked_first_and_drivers_without_a_fleet_never() {
        let found = addresses(vec![
            heartbeat("a", 10, Some("old:1")),
            heartbeat("b", 30, None),
            heartbeat("c", 20, Some("new:1")),
            heartbeat("0", 20, Some("twin:1")),
        ]);
        assert_eq!(found, ["twin:1", "new:1", "old:1"]);
    }
}
