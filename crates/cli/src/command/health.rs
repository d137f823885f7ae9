//! `health`: whether runs can be driven, or tasks executed, with an exit code for whoever watches over processes.

use std::time::Duration;

use lakewright_client::{Client, v1};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_executor::executor_status;
use lakewright_scheduler::service::{leader_of, probe_store};

use crate::{
    args::HealthArgs,
    exit::{Failure, Outcome, UNHEALTHY},
    place::{Invocation, Place},
    remote,
    render::operate::{ExecutorHealthDocument, HealthDocument, SchedulerHealthDocument, health_text},
};

/// Time after which an executor that says nothing is taken for stuck.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Tells whether a scheduler, an executor or the lake is healthy.
pub(super) async fn health(invocation: &Invocation, arguments: &HealthArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    let document = if arguments.executor {
        executors(&place)
    } else if let Some(addresses) = &place.settings.scheduler {
        schedulers(&place, addresses).await?
    } else {
        lake(&place).await?
    };
    let output = invocation.output;
    if output.json {
        output.document(&document)?;
    } else {
        output.result(&health_text(&document, output.style))?;
    }
    if document.healthy { Ok(()) } else { Err(Failure::Told(UNHEALTHY)) }
}

/// The executors of this machine that spill to the directory of the settings.
fn executors(place: &Place) -> HealthDocument {
    let mut document = HealthDocument { healthy: true, ..HealthDocument::default() };
    match executor_status(&place.settings.spill_dir) {
        Ok(found) => {
            for (status, age) in found {
                let problem = match &status.fleet {
                    _ if age > SILENCE_MAX => Some("it says nothing any more: it is frozen, or drains".to_owned()),
                    None => Some("it has not joined a fleet: no scheduler leads, or none is reached".to_owned()),
                    Some(_) => None,
                };
                document.healthy &= problem.is_none();
                document.executors.push(ExecutorHealthDocument::new(status, problem));
            }
        }
        Err(error) => document.fail(&error),
    }
    document
}

/// Each scheduler that the settings name: one leads, the others stand by.
async fn schedulers(place: &Place, addresses: &str) -> Result<HealthDocument> {
    let mut document = HealthDocument { healthy: true, ..HealthDocument::default() };
    for address in addresses.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        let asked = match remote::client_of(&place.settings, address).await {
            Ok(client) => ask(&client).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(health) => document.schedulers.push(SchedulerHealthDocument::new(address, health)),
            // A wrong certificate or token is the caller's.
            Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
            Err(error) => document.schedulers.push(SchedulerHealthDocument::silent(address, &error)),
        }
    }
    // One that does not answer is made up for by one that leads.
    let leads = |scheduler: &SchedulerHealthDocument| scheduler.leads && scheduler.problems.is_empty();
    let several = document.schedulers.len() > 1;
    document.healthy = document.schedulers.iter().any(leads)
        || (!several && document.schedulers.iter().all(|scheduler| scheduler.problems.is_empty()));
    Ok(document)
}

async fn ask(client: &Client) -> Result<v1::GetHealthResponse> {
    client.get_health(v1::GetHealthRequest {}).await
}

/// The lake itself, where no scheduler is named.
async fn lake(place: &Place) -> Result<HealthDocument> {
    let lake = place.lake()?;
    let mut document =
        HealthDocument { healthy: true, lake: Some(lake.display_location()), ..HealthDocument::default() };
    match probe_store(&lake).await {
        Ok(()) => document.leader = leader_of(&lake).await?.map(|leader| leader.address),
        Err(error) if error.kind() == ErrorKind::Invalid => return Err(error),
        Err(error) => document.fail(&error),
    }
    Ok(document)
}

impl HealthDocument {
    fn fail(&mut self, error: &Error) {
        self.healthy = false;
        self.problems.push(lakewright_scheduler::error_chain(error));
    }
}
