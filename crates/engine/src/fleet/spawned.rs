//! Lets what a plan spawns be logged where it was spawned.
//!
//! Data flow: DataFusion spawns a part of a plan -> **here** it takes the span of the task along -> its events have the
//! task's run and step.
//!
//! Invariant: results are handed on as they are.

use std::any::Any;

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::{FutureExt, future::BoxFuture};
use tracing::{Instrument, Span};

type Whatever = Box<dyn Any + Send>;

struct InSpan;

impl JoinSetTracer for InSpan {
    fn trace_future(&self, future: BoxFuture<'static, Whatever>) -> BoxFuture<'static, Whatever> {
        future.in_current_span().boxed()
    }

    fn trace_block(&self, block: Box<dyn FnOnce() -> Whatever + Send>) -> Box<dyn FnOnce() -> Whatever + Send> {
        let span = Span::current();
        Box::new(move || span.in_scope(block))
    }
}

/// From now on, whatever plans of this process spawn is inside the span of who spawned it.
pub fn keep_spans() {
    // Whoever was first has done the same.
    let _ = set_join_set_tracer(&InSpan);
}
