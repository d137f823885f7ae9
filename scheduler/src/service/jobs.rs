//! The methods of the job service.
//!
//! Invariant: a method judges its request wholly before it does anything, and answers errors by the contract's table.

use std::{collections::BTreeMap, sync::Arc};

use lakewright_compiler::{Diagnostics, Severity, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_proto::{
    status::{code_of, detail_of, status_of, status_with},
    v1::{self, job_service_server::JobService},
};
use tokio::sync::{OnceCell, Semaphore};
use tonic::{Request, Response, Status};

use super::{
    gate::Principal,
    health::Health,
    leader::Standing,
    registry::{Registry, Submitted, failure_detail},
    request::{self, RawRoots},
    watch::{Events, Source, log_of, watch},
    wire,
};
use crate::{LakeCatalog, RunOptions, RunRecord, RunRequest, RunState, record::page_runs};

/// Runs of a page, unless told, and at most.
const PAGE_SIZES: (u32, u32) = (20, 1_000);

/// Jobs compiled at once: compiling is all work and no waiting.
static COMPILING: Semaphore = Semaphore::const_new(2);

/// Watchers at once.
static WATCHING: std::sync::LazyLock<Arc<Semaphore>> = std::sync::LazyLock::new(|| Arc::new(Semaphore::new(1_024)));

/// What a scheduler has once it leads.
#[derive(Clone, Debug)]
pub(super) struct Led {
    pub(super) term: u64,
    pub(super) registry: Arc<Registry>,
}

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    /// Empty while the scheduler stands by.
    pub(super) led: Arc<OnceCell<Led>>,
    pub(super) standing: Standing,
    pub(super) health: Arc<Health>,
    pub(super) lake: Prefix,
    pub(super) raw_roots: Arc<RawRoots>,
}

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(|error| status_of(&error))
}

fn principal<T>(request: &Request<T>) -> String {
    request.extensions().get::<Principal>().map(|Principal(name)| name.clone()).unwrap_or_default()
}

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchRunStream = Events;

    async fn submit_run(&self, request: Request<v1::SubmitRunRequest>) -> Answer<v1::SubmitRunResponse> {
        let principal = principal(&request);
        let request = read_request(request.into_inner(), principal).map_err(|error| status_of(&error))?;
        let Submitted { run_id, sequence, repeated } = Box::pin(self.submit(request)).await?;
        Ok(Response::new(v1::SubmitRunResponse { run_id, sequence, repeated }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Answer<v1::GetRunResponse> {
        answer(self.run(&request.into_inner().run_id).await)
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Answer<v1::ListRunsResponse> {
        answer(self.list(request.into_inner()).await)
    }

    async fn watch_run(&self, request: Request<v1::WatchRunRequest>) -> Answer<Events> {
        let request = request.into_inner();
        let place = Arc::clone(&WATCHING).try_acquire_owned().map_err(|_| {
            status_of(&Error::new(ErrorKind::Exhausted, "there are too many watchers").with_hint("try again later"))
        })?;
        let registry = self.registry().map_err(|error| status_of(&error))?;
        let source = self.source(registry, &request.run_id).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(watch(source, &request, registry.stop.clone(), place)))
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> Answer<v1::CancelRunResponse> {
        let principal = principal(&request);
        answer(self.cancel(&request.into_inner().run_id, &principal).await)
    }

    async fn retry_run(&self, request: Request<v1::RetryRunRequest>) -> Answer<v1::RetryRunResponse> {
        let principal = principal(&request);
        let v1::RetryRunRequest { run_id, idempotency_key } = request.into_inner();
        let key = request::idempotency_key(idempotency_key).map_err(|error| status_of(&error))?;
        let registry = self.registry().map_err(|error| status_of(&error))?;
        let retried = registry.scheduler.retry_request(&run_id).await.map_err(|error| status_of(&error))?;
        let request = RunRequest { principal, idempotency_key: key, ..retried };
        let Submitted { run_id, sequence, repeated } = Box::pin(self.submit(request)).await?;
        Ok(Response::new(v1::RetryRunResponse { run_id, sequence, repeated }))
    }

    async fn list_tables(&self, _request: Request<v1::ListTablesRequest>) -> Answer<v1::ListTablesResponse> {
        answer(self.tables().await)
    }

    async fn get_table(&self, request: Request<v1::GetTableRequest>) -> Answer<v1::GetTableResponse> {
        answer(self.table(&request.into_inner().name).await)
    }

    async fn list_executors(&self, _request: Request<v1::ListExecutorsRequest>) -> Answer<v1::ListExecutorsResponse> {
        answer(self.executors().await)
    }

    async fn read_run_logs(&self, request: Request<v1::ReadRunLogsRequest>) -> Answer<v1::ReadRunLogsResponse> {
        answer(self.logs(request.into_inner()).await)
    }

    async fn get_health(&self, _request: Request<v1::GetHealthRequest>) -> Answer<v1::GetHealthResponse> {
        let led = self.led.get();
        let term = led.map(|led| led.term).or_else(|| self.standing.leader().map(|leader| leader.term));
        Ok(Response::new(self.health.examine(led.map(|led| &led.registry), term.unwrap_or(0)).await))
    }
}

fn read_request(request: v1::SubmitRunRequest, principal: String) -> Result<RunRequest> {
    let v1::SubmitRunRequest { files, params, raw, options, idempotency_key } = request;
    let folder = request::job_folder(files)?;
    let options = options.unwrap_or_default();
    let params: BTreeMap<String, String> = params.into_iter().collect();
    request::check_sizes(&params, &[&options.select, &options.exclude], &[&raw])?;
    Ok(RunRequest {
        folder,
        params,
        raw,
        options: RunOptions {
            full_refresh: options.full_refresh,
            accept_losses: options.accept_losses,
            select: options.select,
            exclude: options.exclude,
            start_us: options.start_us,
            end_us: options.end_us,
            verify_incremental: options.verify_incremental,
            ..RunOptions::default()
        },
        principal,
        idempotency_key: request::idempotency_key(idempotency_key)?,
        retries: None,
    })
}

impl Jobs {
    /// The runs of this process.
    ///
    /// # Errors
    /// - [`ErrorKind::Unavailable`]: it stands by.
    fn registry(&self) -> Result<&Arc<Registry>> {
        let stands_by = || {
            let error = Error::new(ErrorKind::Unavailable, "this scheduler stands by: another one leads");
            match self.standing.leader() {
                Some(leader) => error
                    .with("leader", leader.address)
                    .with_hint("name all schedulers in LAKEWRIGHT_SCHEDULER, with commas: the one that leads is found"),
                None => error.with_hint("try again in some seconds"),
            }
        };
        self.led.get().map(|led| &led.registry).ok_or_else(stands_by)
    }

    async fn run(&self, run_id: &str) -> Result<v1::GetRunResponse> {
        let registry = self.registry()?;
        let record = self.record(run_id).await?;
        Ok(v1::GetRunResponse { run: Some(wire::run(&placed(registry, record))) })
    }

    async fn tables(&self) -> Result<v1::ListTablesResponse> {
        self.registry()?;
        let catalog = self.catalog().await?;
        Ok(v1::ListTablesResponse {
            release: catalog.release,
            tables: catalog.tables.iter().map(wire::table).collect(),
        })
    }

    async fn executors(&self) -> Result<v1::ListExecutorsResponse> {
        let executors = self.registry()?.scheduler.executors().await?;
        Ok(v1::ListExecutorsResponse { executors: executors.iter().map(wire::executor).collect() })
    }

    async fn logs(&self, request: v1::ReadRunLogsRequest) -> Result<v1::ReadRunLogsResponse> {
        self.registry()?;
        let record = self.record(&request.run_id).await?;
        let page = crate::read_run_logs(&self.lake, &record.run_id, &request.after).await?;
        let is_complete = page.is_last && (record.summary.is_some() || record.state == RunState::Broken);
        Ok(v1::ReadRunLogsResponse { run_id: record.run_id, lines: page.lines, after: page.after, is_complete })
    }

    /// Compiles a request's job, finds its raw prefix, and submits it.
    async fn submit(&self, request: RunRequest) -> Result<Submitted, Status> {
        let internal = |message| status_of(&Error::new(ErrorKind::Internal, message));
        let place = COMPILING.acquire().await.map_err(|_| internal("compiling has ended"))?;
        let registry = self.registry().map_err(|error| status_of(&error))?;
        let scheduler = registry.scheduler.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            let compiled = scheduler.compile(&request);
            (request, compiled)
        });
        let (mut request, compiled) = compiling.await.map_err(|_| internal("compiling the job broke off"))?;
        drop(place);
        let job = compiled.map_err(|diagnostics| findings(&diagnostics))?;
        let submitted = async {
            request.raw = self.raw_roots.choose(&request.raw, job.raw.as_deref())?;
            Box::pin(registry.submit(request, job)).await
        };
        Box::pin(submitted).await.map_err(|error| status_of(&error))
    }

    async fn record(&self, run_id: &str) -> Result<RunRecord> {
        if !run_id.is_empty() {
            return crate::read_run(&self.lake, run_id).await;
        }
        let newest = crate::list_runs(&self.lake, None, 1).await?;
        newest.into_iter().next().ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing has been run yet"))
    }

    async fn list(&self, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse> {
        let registry = self.registry()?;
        let (default, max) = PAGE_SIZES;
        let size = if request.page_size == 0 { default } else { request.page_size.min(max) };
        let states: Vec<i32> = request.states.clone();
        let wanted = |record: &RunRecord| {
            (request.job.is_empty() || record.job == request.job)
                && (states.is_empty() || states.contains(&i32::from(wire::state(record.state))))
        };
        let page = page_runs(&self.lake, &request.page_token, size as usize, wanted).await;
        let (records, next_page_token) = match page {
            // A lake comes to be with its first run.
            Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), None),
            page => page?,
        };
        let runs = records.into_iter().map(|record| wire::run(&placed(registry, record))).collect();
        Ok(v1::ListRunsResponse { runs, next_page_token: next_page_token.unwrap_or_default() })
    }

    async fn source(&self, registry: &Arc<Registry>, run_id: &str) -> Result<Source> {
        if let Some(run) = registry.find(run_id) {
            return Ok(Source::Live(run));
        }
        let record = self.record(run_id).await?;
        match registry.take_over(&record).await? {
            Some(run) => Ok(Source::Live(run)),
            None => Ok(Source::Ended(log_of(&record, failure_detail(&self.lake, &record).await))),
        }
    }

    async fn cancel(&self, run_id: &str, principal: &str) -> Result<v1::CancelRunResponse> {
        if run_id.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the request names no run"));
        }
        let registry = self.registry()?;
        let record = self.record(run_id).await?;
        registry.scheduler.cancel(&record.run_id, principal).await?;
        // Whoever drives it brings it to its end; if nobody does, this process.
        if let Some(run) = registry.take_over(&record).await? {
            run.cancel.cancel();
            registry.hurry(&run.run_id).await;
        }
        Ok(v1::CancelRunResponse { run_id: record.run_id })
    }

    async fn catalog(&self) -> Result<LakeCatalog> {
        match LakeCatalog::open(&self.lake).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(LakeCatalog::empty(&self.lake)),
            catalog => catalog,
        }
    }

    async fn table(&self, name: &str) -> Result<v1::GetTableResponse> {
        let parsed = TableName::parse(name)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "this is no table's name").with_hint("write zone.table"))?;
        self.registry()?;
        let catalog = self.catalog().await?;
        let found = catalog.tables.iter().find(|table| table.name == parsed);
        match (found, catalog.release) {
            (Some(table), Some(release)) => Ok(v1::GetTableResponse { release, table: Some(wire::table(table)) }),
            _ => Err(Error::new(ErrorKind::NotFound, "the lake has no such table").with("table", parsed)),
        }
    }
}

/// A run with its place in the queue.
fn placed(registry: &Registry, record: RunRecord) -> RunRecord {
    RunRecord { place: registry.place(&record.run_id), ..record }
}

/// The status of a job that does not compile.
fn findings(diagnostics: &Diagnostics) -> Status {
    let error = Error::new(ErrorKind::Invalid, "the job does not compile");
    let mut detail = detail_of(&error);
    let found = diagnostics.0.iter().map(|found| v1::Diagnostic {
        severity: match found.severity {
            Severity::Error => v1::diagnostic::Severity::Error.into(),
            Severity::Warning => v1::diagnostic::Severity::Warning.into(),
        },
        code: found.code.to_owned(),
        message: found.message.clone(),
        file: found.file.clone(),
        line: found.line as u64,
        column: found.column as u64,
        help: found.help.clone().unwrap_or_default(),
    });
    detail.diagnostics = found.collect();
    // What does not fit into a status is cut: the errors come first.
    detail.diagnostics.sort_by_key(|found| found.severity);
    status_with(code_of(ErrorKind::Invalid), detail)
}
