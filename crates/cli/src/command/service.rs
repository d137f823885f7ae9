//! `scheduler`, `certs`, `token` and `executors`: the service, and what it needs to be let in.

use std::{fs, io, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_scheduler::{
    Scheduler,
    service::{Access, RawRoots, RunLimits, ServiceSettings, TokenFile, read_identity, serve},
};
use tokio::{net::TcpListener, sync::OnceCell};
use tokio_util::sync::CancellationToken;

use super::{executor::Hands, scaling::Scaled};
use crate::{
    args::{SchedulerArgs, TokenAction, TokenArgs, Validity},
    exit::Outcome,
    interrupt::Interrupts,
    place::{Invocation, Place},
    remote,
    render::{
        json::{CreatedTokenDocument, ExecutorsDocument, TokensDocument},
        summary::{executors_text, tokens_text},
    },
};

/// Runs as the scheduler of a lake until a signal asks it to stop.
pub(super) async fn scheduler(invocation: &Invocation, arguments: &SchedulerArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    let settings = &place.settings;
    let lake = place.lake()?;
    let (access, tls) = if arguments.insecure {
        (Access::Anybody, None)
    } else {
        let identity = read_identity(&settings.certs.join("server.pem"), &settings.certs.join("server-key.pem"))?;
        (Access::by_tokens(TokenFile::new(settings.token_file.clone()))?, Some(identity))
    };
    let root = place.project.as_ref().map_or(place.working_dir.as_path(), |project| project.root.as_path());
    let raw_roots = RawRoots::new(root, settings.raw.as_deref(), &settings.raw_roots)?;
    let address = arguments.listen.as_ref().unwrap_or(&settings.listen);
    let listener = bind(address).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let bound = listener.local_addr().map_err(io::Error::other)?;
    let url = format!("{scheme}://{bound}");
    let limits = RunLimits { runs_at_once: settings.capacity.runs_at_once, queue_max: settings.capacity.queue_max };
    let known_as = settings.fleet_host.as_ref().map(|host| format!("{scheme}://{host}:{}", bound.port()));
    let address = known_as.unwrap_or_else(|| url.clone());
    let service = ServiceSettings { lake: lake.clone(), raw_roots, access, tls, address, limits };
    service.check(&listener)?;

    let engine = place.engine()?;
    let scaled = Scaled::of(invocation, &place, arguments.scale).await?;
    let hands = OnceCell::new();
    // A fleet is taken in by the scheduler that leads, and by no other.
    let start = async || {
        let made = Hands::of(&place, &lake, engine.clone(), settings.fleet.as_deref()).await?;
        let made = made.scaled(scaled.as_ref());
        let scheduler = Scheduler::new(lake.clone(), engine.clone(), Arc::clone(&made.backend));
        let _ = hands.set(made);
        invocation.output.note("this scheduler leads");
        Ok(scheduler.with_steps_at_once(settings.capacity.steps_at_once))
    };
    let stop = CancellationToken::new();
    let mut interrupts = Interrupts::new()?;
    if let Some(file) = &arguments.address_file {
        write_whole(&place.working_dir.join(file), &url)?;
    }
    invocation.output.note(&format!("scheduler of {} listens on {url}", lake.display_location()));
    if arguments.insecure {
        invocation.output.complain("warning: --insecure: everybody on this machine may submit and cancel runs");
    }
    let served = {
        let mut serving = Box::pin(serve(listener, service, start, stop.clone()));
        tokio::select! {
            served = &mut serving => served,
            () = interrupts.next() => {
                stop.cancel();
                invocation.output.note("stopping: runs go on when a scheduler leads again; once more stops at once");
                tokio::select! {
                    served = serving => served,
                    () = interrupts.next() => return Ok(()),
                }
            }
        }
    };
    if let Some(hands) = hands.into_inner() {
        hands.release().await;
    }
    Ok(served?)
}

pub(super) async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::AddrNotAvailable => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, "cannot listen there")
            .with("location", address)
            .with_hint("write --listen HOST:PORT with an address of this machine and a port that is free")
            .with_source(error)
    })
}

/// Writes a file that is never seen half-written.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path)).map_err(|error| {
        Error::new(ErrorKind::Invalid, "cannot write the address").with("file", path.display()).with_source(error)
    })
}

/// Makes, lists or revokes tokens.
pub(super) fn token(invocation: &Invocation, arguments: &TokenArgs, now: DateTime<Utc>) -> Outcome {
    let place = invocation.any_place(None)?;
    let file = TokenFile::new(place.settings.token_file.clone());
    let output = invocation.output;
    let now_us = now.timestamp_micros();
    match &arguments.action {
        TokenAction::Create { name, expires: Validity(seconds) } => {
            let valid_us = seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000));
            let expires_us = valid_us.map(|valid_us| now_us.saturating_add(valid_us));
            let token = file.create(name, now_us, expires_us)?;
            if output.json {
                return output.document(&CreatedTokenDocument::new(name, token, expires_us));
            }
            output.note("keep the token, it is not shown again; its owner sets LAKEWRIGHT_TOKEN to it:");
            output.result(&token)
        }
        TokenAction::List => {
            let tokens = file.read()?;
            if output.json {
                return output.document(&TokensDocument::new(&tokens));
            }
            if tokens.is_empty() {
                output.note("there is no token: `lakewright token create NAME` makes one");
                return Ok(());
            }
            output.result(&tokens_text(&tokens, now_us, output.width, output.style))
        }
        TokenAction::Revoke { name } => {
            file.revoke(name)?;
            output.note(&format!("{name} is refused from now on"));
            Ok(())
        }
    }
}

/// Lists who executes steps.
pub(super) async fn executors(invocation: &Invocation) -> Outcome {
    let place: Place = invocation.any_place(None)?;
    let client = remote::required_client(&place.settings).await?;
    let executors = remote::executors(&client).await?;
    let output = invocation.output;
    if output.json {
        return output.document(&ExecutorsDocument::new(&executors));
    }
    output.result(&executors_text(&executors, output.width, output.style))
}
