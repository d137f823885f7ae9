//! A proxy before an S3 server: counts requests, answers some of them with 503, has some done and drops the answer, holds
//! answers back, drops conditions, or holds the request that begins or ends what a process is to be killed in.
//!
//! One request a connection, so that nothing of one request can reach another.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const SLOW_DOWN: &str = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// A proxy that listens until the process ends; clones are the same one.
#[derive(Clone)]
pub(crate) struct Proxy {
    endpoint: String,
    shared: Arc<Shared>,
}

/// When a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The server has not seen it.
    Unsent,
    /// The server has done it, and nobody knows.
    Unanswered,
}

/// Whether a request, as it is told, is one to be held.
type Matches = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What is held.
#[derive(Default)]
struct Gate {
    /// `None`: nothing is held from now on.
    closed: Option<(Held, Matches)>,
    /// How often it was opened: requests that came before are not held by the next one.
    opened: u64,
    /// Whether what was held when it was last opened goes on, or its connections are closed.
    goes_on: bool,
    held: Vec<String>,
}

#[derive(Default)]
struct Shared {
    upstream: String,
    requests: Mutex<Vec<String>>,
    /// Those that the server has done.
    done: Mutex<Vec<String>>,
    gate: Mutex<Gate>,
    opened: Condvar,
    refused_percent: AtomicU64,
    refused: AtomicU64,
    dropped_percent: AtomicU64,
    /// Of writes, those that are done and whose answer is dropped.
    unanswered_percent: AtomicU64,
    dropped: AtomicU64,
    delay_ms: AtomicU64,
    in_flight: AtomicU64,
    in_flight_most: AtomicU64,
    forgets_conditions: AtomicBool,
}

impl Proxy {
    /// Starts one before the server at `endpoint`.
    pub(crate) fn before(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("the listener has an address");
        let upstream = endpoint.strip_prefix("http://").expect("an endpoint without TLS").to_owned();
        let shared = Arc::new(Shared { upstream, ..Shared::default() });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                thread::spawn(move || {
                    let in_flight = serving.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                    serving.in_flight_most.fetch_max(in_flight, Ordering::Relaxed);
                    let served = serving.serve(stream);
                    serving.in_flight.fetch_sub(1, Ordering::Relaxed);
                    served
                });
            }
        });
        Self { endpoint: format!("http://{address}"), shared }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The requests that came, as `METHOD /path?query`, and the keys after it that a deletion of many names.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().expect("no thread has panicked").clone()
    }

    /// The requests that the server has done, in the order of their ends.
    pub(crate) fn done(&self) -> Vec<String> {
        self.shared.done.lock().expect("no thread has panicked").clone()
    }

    /// From now on holds the requests that match.
    pub(crate) fn hold(&self, held: Held, matches: impl Fn(&str) -> bool + Send + Sync + 'static) {
        self.shared.gate().closed = Some((held, Arc::new(matches)));
    }

    /// The requests that are held at this moment.
    pub(crate) fn held(&self) -> Vec<String> {
        self.shared.gate().held.clone()
    }

    /// Holds nothing more; what was held goes on.
    pub(crate) fn let_go(&self) {
        self.shared.open(true);
    }

    /// Holds nothing more; the connections of what was held are closed, as those of a process that has died.
    pub(crate) fn cut(&self) {
        self.shared.open(false);
    }

    /// From now on answers `percent` of the requests with 503.
    pub(crate) fn refuse(&self, percent: u64) {
        self.shared.refused_percent.store(percent, Ordering::Relaxed);
    }

    /// From now on drops the connections of `percent` of the requests, half of them after the server has done its work.
    pub(crate) fn drop_connections(&self, percent: u64) {
        self.shared.dropped_percent.store(percent, Ordering::Relaxed);
    }

    /// Requests that were answered with 503.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// From now on has `percent` of the writes done, and closes the connection instead of giving their answers.
    pub(crate) fn drop_answers(&self, percent: u64) {
        self.shared.unanswered_percent.store(percent, Ordering::Relaxed);
    }

    /// Requests whose connections or answers were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// From now on gives each answer so many milliseconds later.
    pub(super) fn delay(&self, milliseconds: u64) {
        self.shared.delay_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Requests that were in flight at most since this was asked last.
    pub(super) fn take_in_flight_most(&self) -> u64 {
        self.shared.in_flight_most.swap(0, Ordering::Relaxed)
    }

    /// From now on drops `If-None-Match`, as servers do that overwrite.
    pub(crate) fn forget_conditions(&self) {
        self.shared.forgets_conditions.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Serves one request; a connection that breaks is the client's business, as it would be on a network.
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let (head, body) = read_request(&mut client)?;
        let line = told(&head, &body)?;
        let number = {
            let mut requests = self.requests.lock().ok()?;
            requests.push(line.clone());
            requests.len() as u64
        };
        self.pass(Held::Unsent, &line)?;
        if draw(number) % 100 < self.refused_percent.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let length = SLOW_DOWN.len();
            let head = format!("HTTP/1.1 503 Slow Down\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            return client.write_all(format!("{head}{SLOW_DOWN}").as_bytes()).ok();
        }
        let begun = Instant::now();
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed));
        while let Some(left) = delay.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        // Drawn from other numbers than refusals, so that neither hides the other.
        let is_dropped = draw(number ^ 0x5555) % 100 < self.dropped_percent.load(Ordering::Relaxed);
        if is_dropped && number.is_multiple_of(2) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut upstream = TcpStream::connect(&self.upstream).ok()?;
        upstream.write_all(self.forwarded(&head).as_bytes()).ok()?;
        upstream.write_all(&body).ok()?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).ok()?;
        if answer.starts_with(b"HTTP/1.1 2") {
            self.done.lock().ok()?.push(line.clone());
        }
        self.pass(Held::Unanswered, &line)?;
        let writes = head.starts_with("PUT ") || head.starts_with("DELETE ");
        let is_unanswered = draw(number.rotate_left(17)) % 100 < self.unanswered_percent.load(Ordering::Relaxed);
        if is_dropped || (writes && is_unanswered) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        client.write_all(&answer).ok()
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().expect("no thread has panicked")
    }

    fn open(&self, goes_on: bool) {
        let mut gate = self.gate();
        (gate.closed, gate.goes_on) = (None, goes_on);
        gate.opened += 1;
        gate.held.clear();
        self.opened.notify_all();
    }

    /// Waits for as long as the request is held; none if its connection is to be closed.
    fn pass(&self, at: Held, line: &str) -> Option<()> {
        let mut gate = self.gate();
        let is_held = gate.closed.as_ref().is_some_and(|(held, matches)| *held == at && matches(line));
        if !is_held {
            return Some(());
        }
        gate.held.push(line.to_owned());
        let before = gate.opened;
        // It is opened when the process that waits has died, or at the end of the test with the whole process.
        let gate = self.opened.wait_while(gate, |gate| gate.opened == before).ok()?;
        gate.goes_on.then_some(())
    }

    fn forwarded(&self, head: &str) -> String {
        let forgets = self.forgets_conditions.load(Ordering::Relaxed);
        let keeps = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            name != "connection" && !(forgets && name == "if-none-match")
        };
        let lines: Vec<&str> = head.lines().filter(keeps).collect();
        format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
    }
}

/// What a request is told by: a deletion of many has the keys in its body.
fn told(head: &str, body: &[u8]) -> Option<String> {
    let mut line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    if line.starts_with("POST ") && line.contains("?delete") {
        let text = String::from_utf8_lossy(body);
        for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            line.push(' ');
            line.push_str(key);
        }
    }
    Some(line)
}

/// Reads a request: the lines of its head, and its body.
fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut buffer = [0; 16 << 10];
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match client.read(&mut buffer).ok()? {
            0 => return None,
            count => read.extend_from_slice(&buffer[..count]),
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = read[end + 4..].to_vec();
    let missing = length.unwrap_or(0).saturating_sub(body.len());
    let mut rest = vec![0; missing];
    client.read_exact(&mut rest).ok()?;
    body.append(&mut rest);
    Some((head, body))
}

/// A number that depends on `seed` alone.
fn draw(seed: u64) -> u64 {
    seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33
}
