//! The network between a scheduler and one executor: proxies that can hold what goes one way or both, or disconnect.
//!
//! Bytes that are held are kept, as a network without a way keeps a sender waiting; they go on when the wire is mended.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

/// A way through the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToScheduler,
    ToExecutor,
}

/// The wire of one executor: connections of both sides go through it.
#[derive(Debug, Default)]
pub(crate) struct Wire(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holds: Vec<Way>,
    is_disconnected: bool,
    /// Both ends of the connections that were made.
    streams: Vec<TcpStream>,
    held: u64,
}

impl Wire {
    /// Has connections to `listener` forwarded to `target`; `way` is that of what the caller sends.
    pub(crate) fn forward(&self, listener: TcpListener, target: SocketAddr, way: Way) {
        let shared = Arc::clone(&self.0);
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                shared.connect(caller, target, way);
            }
        });
    }

    /// Holds what goes these ways, on connections that there are and that will be.
    pub(crate) fn hold(&self, ways: &[Way]) {
        self.change(|state| state.holds = ways.to_vec());
    }

    /// Breaks all connections, and accepts none.
    pub(crate) fn disconnect(&self) {
        self.change(|state| {
            state.is_disconnected = true;
            for stream in state.streams.drain(..) {
                // One that has gone already is what was wanted.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Lets everything through.
    pub(crate) fn mend(&self) {
        self.change(|state| (state.holds, state.is_disconnected) = (Vec::new(), false));
    }

    /// Pieces of bytes that were held so far.
    pub(crate) fn held(&self) -> u64 {
        self.0.state().held
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state());
        self.0.changed.notify_all();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Nobody waits in a thread for ever.
        self.mend();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }

    fn connect(self: &Arc<Self>, caller: TcpStream, target: SocketAddr, way: Way) -> Option<()> {
        let mut state = self.state();
        if state.is_disconnected {
            return None;
        }
        let called = TcpStream::connect(target).ok()?;
        let back = if way == Way::ToScheduler { Way::ToExecutor } else { Way::ToScheduler };
        for (from, to, way) in [(&caller, &called, way), (&called, &caller, back)] {
            from.set_nodelay(true).ok()?;
            let (from, to, shared) = (from.try_clone().ok()?, to.try_clone().ok()?, Arc::clone(self));
            thread::spawn(move || shared.pump(from, to, way));
        }
        state.streams.extend([caller, called]);
        Some(())
    }

    /// Hands bytes on until one side ends.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, way: Way) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let mut state = self.state();
            if state.holds.contains(&way) {
                state.held += 1;
            }
            while state.holds.contains(&way) {
                state = self.changed.wait(state).expect("no thread has panicked");
            }
            drop(state);
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}

/// Two listeners on neighbouring ports, as an executor has them: tasks, and rows above.
pub(crate) fn neighbours() -> [TcpListener; 2] {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = first.local_addr().expect("the listener has an address").port();
        if let Some(next) = port.checked_add(1)
            && let Ok(second) = TcpListener::bind(("127.0.0.1", next))
        {
            return [first, second];
        }
    }
    panic!("no two neighbouring ports are free");
}
