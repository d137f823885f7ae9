//! The one session builder, and the resources that all sessions of a process share.
//!
//! Data flow: the process makes one [`Engine`] -> the compiler takes its functions -> every step and every query gets a
//! session of its own, over the same memory pool, spill directory and object stores.
//!
//! Invariant: every option that differs from DataFusion's default is set in [`session_config`] and nowhere else, so a
//! plan means the same in every process.

use std::{fmt, num::NonZeroUsize, path::PathBuf, sync::Arc};

use ballista_core::{
    config::{
        BALLISTA_ADAPTIVE_PLANNER_ENABLED, BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE,
        BALLISTA_SCHEDULER_SHARE_FILE_STATISTICS_CACHE,
    },
    extension::SessionConfigExt,
};
use datafusion::{
    catalog::{CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList},
    common::config::SpillCompression,
    execution::{
        FunctionRegistry, SessionState, SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    physical_optimizer::PhysicalOptimizerRule,
    prelude::{SessionConfig, SessionContext},
};
use lakewright_error::{Error, Result};
use lakewright_lake::Prefix;

use crate::{
    fault,
    fleet::{FLEET_MESSAGE_BYTES_MAX, FleetPlanner, LocalFiles, OpenedStores, TaskOrigin},
    functions::{with_functions, with_functions_of},
    row_number::NumberRows,
    write::WritePlanner,
};

/// Resources of one process.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Memory pool for all queries of the process, in bytes.
    pub memory_limit_bytes: u64,
    /// Directory for spill files; made if missing, emptied of this process's files at the end.
    pub spill_dir: PathBuf,
    /// Size at which spilling fails instead of filling the disk, in bytes.
    pub spill_limit_bytes: u64,
    /// Partitions of a query: one task each.
    pub target_partitions: usize,
}

/// Runtime, functions and settings shared by all sessions of a process; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    settings: Arc<EngineSettings>,
    runtime: Arc<RuntimeEnv>,
    /// What every session starts from; it holds no table.
    template: Arc<SessionState>,
}

impl Engine {
    /// Makes the runtime.
    ///
    /// # Errors
    /// - [`lakewright_error::ErrorKind::Exhausted`], [`lakewright_error::ErrorKind::Denied`]: the spill directory cannot be made.
    pub fn new(settings: EngineSettings) -> Result<Self> {
        Self::with_stores(settings, None)
    }

    /// Makes the runtime of an executor: stores are opened when a plan names them.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn for_executor(settings: EngineSettings, local: LocalFiles) -> Result<Self> {
        Self::with_stores(settings, Some(Arc::new(OpenedStores::new(local))))
    }

    fn with_stores(settings: EngineSettings, stores: Option<Arc<OpenedStores>>) -> Result<Self> {
        std::fs::create_dir_all(&settings.spill_dir).map_err(|error| {
            Error::new(fault::io_kind(&error), "cannot make the spill directory")
                .with("directory", settings.spill_dir.display())
                .with_hint("name a directory on a disk with free space that this process may write to")
                .with_source(error)
        })?;
        let runtime = build_runtime(&settings, stores).map_err(fault::from_datafusion)?;
        let builder = SessionStateBuilder::new()
            .with_config(session_config(SessionConfig::new(), &settings))
            .with_runtime_env(Arc::clone(&runtime))
            .with_default_features()
            .with_query_planner(Arc::new(WritePlanner))
            .with_physical_optimizer_rule(Arc::new(NumberRows));
        let state = with_functions(builder).build();
        Ok(Self { settings: Arc::new(settings), runtime, template: Arc::new(state) })
    }

    /// The settings that the engine was made with.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Makes the store of `prefix` reachable for all sessions.
    pub fn register_store(&self, prefix: &Prefix) {
        self.runtime.register_object_store(prefix.store_url(), Arc::clone(prefix.store()));
    }

    /// A new session with an empty catalog and identifier normalization off.
    pub fn session(&self) -> SessionContext {
        SessionContext::new_with_state(self.session_builder().build())
    }

    /// A new session whose plans have one partition: rows keep the order of the files that they are read from.
    pub(crate) fn ordered_session(&self) -> SessionContext {
        let config = self.template.config().clone().with_target_partitions(1);
        SessionContext::new_with_state(self.session_builder().with_config(config).build())
    }

    /// A new session whose plans take as little memory as they can: few sorts at once, batches that are small, and joins
    /// that sort what they could not hold.
    pub fn sparing_session(&self) -> SessionContext {
        // Joins by merging are only planned for several partitions.
        let config = sparing(self.template.config().clone()).with_target_partitions(SPARING_PARTITIONS);
        SessionContext::new_with_state(self.session_builder().with_config(config).build())
    }

    /// A new session whose plans run on a fleet, in up to `partitions` tasks a stage, each of which knows its origin.
    pub fn fleet_session(&self, partitions: usize, origin: TaskOrigin) -> SessionContext {
        self.on_fleet(self.fleet_config(), partitions, origin)
    }

    /// The same, with plans whose tasks take as little memory as they can.
    pub fn sparing_fleet_session(&self, partitions: usize, origin: TaskOrigin) -> SessionContext {
        self.on_fleet(sparing(self.fleet_config()), partitions.max(SPARING_PARTITIONS), origin)
    }

    fn on_fleet(&self, config: SessionConfig, partitions: usize, origin: TaskOrigin) -> SessionContext {
        let config = config.with_option_extension(origin);
        let state = self
            .session_builder()
            .with_config(config.with_target_partitions(partitions.max(1)))
            .with_query_planner(Arc::new(FleetPlanner))
            .with_physical_optimizer_rules(self.fleet_rules())
            .build();
        SessionContext::new_with_state(state)
    }

    /// All rules but those whose nodes do not travel: executors put these into each task.
    fn fleet_rules(&self) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
        let rules = self.template.physical_optimizers().iter();
        rules.filter(|rule| rule.name() != NumberRows.name()).cloned().collect()
    }

    /// What sessions of a fleet start from, on both sides.
    pub fn fleet_config(&self) -> SessionConfig {
        fleet_config(&self.settings)
    }

    /// The resources that all sessions share.
    pub fn runtime(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.runtime)
    }

    /// The state that sessions start from: its functions are those of every plan.
    pub fn template(&self) -> &SessionState {
        &self.template
    }

    fn session_builder(&self) -> SessionStateBuilder {
        let catalogs = MemoryCatalogProviderList::new();
        let name = &self.template.config_options().catalog.default_catalog;
        catalogs.register_catalog(name.clone(), Arc::new(MemoryCatalogProvider::new()));
        let builder = SessionStateBuilder::new_from_existing(self.template.as_ref().clone());
        with_functions_of(builder, &self.template).with_catalog_list(Arc::new(catalogs))
    }

    /// The functions that SQL may call, for the compiler.
    pub fn functions(&self) -> Arc<dyn FunctionRegistry + Send + Sync> {
        Arc::clone(&self.template) as Arc<dyn FunctionRegistry + Send + Sync>
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Partitions of a plan that spares memory.
const SPARING_PARTITIONS: usize = 2;
/// Rows of its batches: a merge of spilled rows holds some of each of them.
const SPARING_BATCH_ROWS: usize = 1024;

/// Settings of plans that spare memory: batches are small, and joins sort what they could not hold.
fn sparing(config: SessionConfig) -> SessionConfig {
    let mut config = config.with_batch_size(SPARING_BATCH_ROWS);
    config.options_mut().optimizer.prefer_hash_join = false;
    config
}

/// How many of the largest consumers an out-of-memory message names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

fn build_runtime(
    settings: &EngineSettings,
    stores: Option<Arc<OpenedStores>>,
) -> datafusion::error::Result<Arc<RuntimeEnv>> {
    // Fair: steps run side by side, and the first sort must not take what a later join's build side cannot spill.
    let pool = FairSpillPool::new(usize::try_from(settings.memory_limit_bytes).unwrap_or(usize::MAX));
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![settings.spill_dir.clone()]))
        .with_max_temp_directory_size(settings.spill_limit_bytes)
        .with_max_spill_merge_fan_in(spill_fan_in(settings.memory_limit_bytes));
    let builder = match stores {
        Some(stores) => RuntimeEnvBuilder::new().with_object_store_registry(stores),
        None => RuntimeEnvBuilder::new(),
    };
    builder
        .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, CONSUMERS_NAMED)))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(footer_cache_bytes(settings.memory_limit_bytes))
        .build_arc()
}

/// Runs of spilled rows that are merged at once. A merge takes memory for each before it begins, as much as there is, and
/// gives none back to the sorts beside it: with a small pool they would find none.
fn spill_fan_in(memory_limit_bytes: u64) -> usize {
    const RUN_BYTES: u64 = 32 << 20;
    usize::try_from((memory_limit_bytes / RUN_BYTES).clamp(2, 64)).unwrap_or(2)
}

/// Footers of data files that are kept between steps: DataFusion's 50 MiB, or a 16th of the pool's size beside it.
fn footer_cache_bytes(memory_limit_bytes: u64) -> usize {
    usize::try_from((memory_limit_bytes / 16).min(50 << 20)).unwrap_or(usize::MAX)
}

/// The settings of sessions whose plans run on a fleet.
fn fleet_config(settings: &EngineSettings) -> SessionConfig {
    // Ballista's own defaults turn off what cannot cross from one task to another: round-robin exchanges, dynamic
    // filters, scalar subqueries that are computed beside the plan.
    let config = SessionConfig::new_with_ballista()
        // A step is planned once, by our planner; an adaptive one would plan it again, without our rules.
        .set_bool(BALLISTA_ADAPTIVE_PLANNER_ENABLED, false)
        // Paths and sizes do not tell one file from another in two buckets.
        .set_bool(BALLISTA_SCHEDULER_SHARE_FILE_STATISTICS_CACHE, false)
        .set_u64(BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE, FLEET_MESSAGE_BYTES_MAX.into())
        // As embedded: a build side that does not fit is an error that says so. Merging would sort both sides always.
        .set_bool("datafusion.optimizer.prefer_hash_join", true)
        // Settings that a session does not know are dropped when a task arrives.
        .with_option_extension(TaskOrigin::default());
    session_config(config, settings)
}

/// The one table of settings.
fn session_config(mut config: SessionConfig, settings: &EngineSettings) -> SessionConfig {
    let options = config.options_mut();

    // The compiler quotes every identifier and spells it as declared.
    options.sql_parser.enable_ident_normalization = false;
    // ORDER BY puts NULLs last unless told, in both directions.
    options.sql_parser.default_null_ordering = "nulls_last".to_owned();
    // Tables store plain text and binary: views would be cast back at every write.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.parquet.schema_force_view_types = false;
    // `SHOW TABLES` and `DESCRIBE` in ad-hoc queries.
    options.catalog.information_schema = true;

    // Functions that are shared with Spark fail on overflow and bad casts, as Spark's own default does.
    options.execution.enable_ansi_mode = true;
    // Times are UTC inside.
    options.execution.time_zone = Some("UTC".to_owned());

    options.execution.target_partitions = settings.target_partitions.max(1);
    options.execution.planning_concurrency = settings.target_partitions.max(1);
    // Which partition reads which file is fixed when the query is planned: a task on another machine has no siblings to
    // take work from, and the JSON source gives the rows of all its files as one stream.
    options.execution.enable_file_stream_work_stealing = false;
    // A prefix means everything below it; with the default, nested prefixes read as empty.
    options.execution.listing_table_ignore_subdirectory = false;
    // No table of ours has bloom filters; looking for them costs a request per column and row group.
    options.execution.parquet.bloom_filter_on_read = false;
    // Spill files are read back once, and the disk is slower than LZ4.
    options.execution.spill_compression = SpillCompression::Lz4Frame;
    // Every sort sets this aside for its merge: with a small pool the default would leave nothing to sort in.
    options.execution.sort_spill_reservation_bytes = sort_reservation_bytes(settings.memory_limit_bytes);
    config
}

/// DataFusion's 10 MiB, less when that is more than a 64th of the pool, never under 1 MiB.
pub(crate) fn sort_reservation_bytes(memory_limit_bytes: u64) -> usize {
    const MIB: u64 = 1 << 20;
    usize::try_from((memory_limit_bytes / 64).clamp(MIB, 10 * MIB)).unwrap_or(usize::MAX)
}
