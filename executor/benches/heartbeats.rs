//! Executors that do nothing but live: so many join a fleet, each over a connection of its own, and send heartbeats as real
//! ones without tasks do. What that costs the scheduler is measured by whoever has started both.
//!
//! Usage: `heartbeats HOST:PORT EXECUTORS SECONDS`. It prints `joined` when all have joined, then beats for so long, and says
//! how many heartbeats were answered.

#![expect(clippy::print_stdout, reason = "who has started it is told")]

use std::{error::Error, process::ExitCode, time::Duration};

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::{
    BALLISTA_PROTOCOL_VERSION,
    serde::protobuf::{
        ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorResource, ExecutorSpecification,
        ExecutorStatus, HeartBeatParams, RegisterExecutorParams, executor_resource::Resource, executor_status::Status,
        scheduler_grpc_client::SchedulerGrpcClient,
    },
};
use ballista_executor::flight_service::BallistaFlightService;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, interval, sleep_until},
};
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};

/// As executors have it.
const HEARTBEAT: Duration = Duration::from_secs(10);

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo bench` and `cargo test` add flags of their own, and without arguments there is nothing to do.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [address, executors, seconds] = arguments.as_slice() else { return ExitCode::SUCCESS };
    match beat(address, executors, seconds).await {
        Ok(answered) => {
            println!("{answered} heartbeats answered");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn beat(address: &str, executors: &str, seconds: &str) -> Result<u64, Failed> {
    let (executors, seconds): (u32, u64) = (executors.parse()?, seconds.parse()?);
    // The scheduler calls whoever joins, and looks whether somebody listens: one server answers for all.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let flight = FlightServiceServer::new(BallistaFlightService::new(std::env::temp_dir().display().to_string()));
    let mut serving = JoinSet::new();
    serving.spawn(Server::builder().add_service(flight).serve_with_incoming(TcpIncoming::from(listener)));
    let mut members = Vec::new();
    for number in 0..executors {
        members.push(join(address, number, port).await?);
    }
    println!("joined");
    let (begun, until) = (Instant::now(), Instant::now() + Duration::from_secs(seconds));
    let mut beating = JoinSet::new();
    for (number, (scheduler, registration)) in (0..executors).zip(members) {
        // Spread over the time between two heartbeats, as they are where machines start one by one.
        let first = begun + HEARTBEAT * number / executors.max(1);
        beating.spawn(live(scheduler, registration, first, until));
    }
    let mut answered = 0;
    while let Some(ended) = beating.join_next().await {
        answered += ended??;
    }
    Ok(answered)
}

async fn join(
    address: &str,
    number: u32,
    port: u16,
) -> Result<(SchedulerGrpcClient<Channel>, ExecutorRegistration), Failed> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut scheduler = SchedulerGrpcClient::new(channel);
    let registration = ExecutorRegistration {
        id: format!("00000000-0000-4000-8000-{number:012}"),
        host: Some("127.0.0.1".to_owned()),
        port: port.into(),
        grpc_port: port.into(),
        specification: Some(ExecutorSpecification {
            resources: vec![ExecutorResource { resource: Some(Resource::Vcores(4)) }],
        }),
        os_info: Some(ExecutorOperatingSystemSpecification::default()),
        ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
    };
    let joining = RegisterExecutorParams { metadata: Some(registration.clone()) };
    scheduler.register_executor(joining).await?;
    Ok((scheduler, registration))
}

async fn live(
    mut scheduler: SchedulerGrpcClient<Channel>,
    registration: ExecutorRegistration,
    first: Instant,
    until: Instant,
) -> Result<u64, Failed> {
    sleep_until(first).await;
    let mut ticks = interval(HEARTBEAT);
    let mut answered = 0;
    loop {
        ticks.tick().await;
        if Instant::now() > until {
            return Ok(answered);
        }
        let heartbeat = HeartBeatParams {
            executor_id: registration.id.clone(),
            metrics: Vec::new(),
            status: Some(ExecutorStatus { status: Some(Status::Active(String::new())) }),
            metadata: Some(registration.clone()),
        };
        scheduler.heart_beat_from_executor(heartbeat).await?;
        answered += 1;
    }
}
