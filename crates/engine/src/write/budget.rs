//! One partition's share of the memory pool, for rows that wait and files that are open.

use datafusion::execution::{
    TaskContext,
    memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation},
};

const SHARE_MIN_BYTES: usize = 16 << 20;
const SHARE_MAX_BYTES: usize = 1 << 30;

/// A limit that the writer keeps to by closing what it has open.
#[derive(Debug)]
pub(super) struct Budget {
    reservation: MemoryReservation,
    share_bytes: usize,
}

impl Budget {
    /// All writers of one step together may take a quarter of the pool: they cannot spill, and what feeds them must.
    pub(super) fn new(context: &TaskContext, partition: usize) -> Self {
        let pool = context.memory_pool();
        let partitions = context.session_config().target_partitions().max(1);
        let share_bytes = match pool.memory_limit() {
            MemoryLimit::Finite(limit) => (limit / 4 / partitions).clamp(SHARE_MIN_BYTES, SHARE_MAX_BYTES),
            _ => SHARE_MAX_BYTES,
        };
        let reservation = MemoryConsumer::new(format!("TableWriteExec[{partition}]")).register(pool);
        Self { reservation, share_bytes }
    }

    /// Reserves `bytes` in place of what was reserved; false, and nothing changes, if that is too much.
    pub(super) fn try_hold(&self, bytes: usize) -> bool {
        bytes <= self.share_bytes && self.reservation.try_resize(bytes).is_ok()
    }
}
