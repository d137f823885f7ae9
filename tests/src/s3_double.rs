//! A stand-in for S3: serves a folder's files as the objects of a bucket, each answer after a delay, and counts.
//!
//! Usage: `s3-double FOLDER LATENCY_MS`. It prints `{"endpoint": ..., "objects": ..., "bytes": ...}`, and serves until it
//! is killed. `GET /counts` gives what it has been asked for.
//!
//! It knows what a reader of raw data asks: a page of a listing, an object or a range of it, under the condition of its
//! ETag. Whoever asks is let in. Objects are held in memory, so that the delay is all that a request takes.

#![expect(clippy::print_stdout, reason = "who has started it is told where it listens")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Keys on a page of a listing.
const PAGE_KEYS: usize = 1000;
/// A request's head is not longer.
const HEAD_BYTES_MAX: usize = 64 << 10;

struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    latency: Duration,
    counts: Counts,
}

/// What was asked for.
#[derive(Default)]
struct Counts {
    gets: AtomicU64,
    heads: AtomicU64,
    listings: AtomicU64,
    bytes: AtomicU64,
    in_flight: AtomicU64,
    in_flight_most: AtomicU64,
}

/// An answer before it is written.
struct Answer {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(latency_ms)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: s3-double FOLDER LATENCY_MS"));
    };
    let latency = Duration::from_millis(latency_ms.parse().map_err(io::Error::other)?);
    let mut objects = BTreeMap::new();
    load(Path::new(&folder), "", &mut objects)?;
    let bytes: usize = objects.values().map(Vec::len).sum();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("{{\"endpoint\": \"http://{address}\", \"objects\": {}, \"bytes\": {bytes}}}", objects.len());
    let bucket = Arc::new(Bucket { objects, latency, counts: Counts::default() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(serve(Arc::clone(&bucket), stream));
            }
            // A connection that breaks is the client's business, as it would be on a network.
            Some(_) = connections.join_next() => {}
        }
    }
}

fn load(folder: &Path, prefix: &str, objects: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::other("a name is not UTF-8"))?;
        let key = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            load(&entry.path(), &format!("{key}/"), objects)?;
        } else {
            objects.insert(key, fs::read(entry.path())?);
        }
    }
    Ok(())
}

async fn serve(bucket: Arc<Bucket>, mut stream: TcpStream) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut read).await? == 0 || read.len() > HEAD_BYTES_MAX {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        read.drain(..end + 4);
        let answer = bucket.answer(&head).await;
        let Answer { status, headers, body } = answer;
        let length = body.len();
        let mut text = format!("HTTP/1.1 {status}\r\nServer: s3-double\r\n{headers}").into_bytes();
        if !headers.contains("Content-Length") {
            text.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&body);
        stream.write_all(&text).await?;
        if head.lines().any(|line| line.eq_ignore_ascii_case("connection: close")) {
            return Ok(());
        }
    }
}

impl Bucket {
    async fn answer(&self, head: &str) -> Answer {
        let mut words = head.split_ascii_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if target == "/counts" {
            return self.counts();
        }
        let in_flight = self.counts.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts.in_flight_most.fetch_max(in_flight, Ordering::Relaxed);
        tokio::time::sleep(self.latency).await;
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = decoded(path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key));
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        match method {
            "GET" if key.is_empty() => self.list(query),
            "GET" => self.get(&key, header("range"), header("if-match")),
            "HEAD" => {
                self.counts.heads.fetch_add(1, Ordering::Relaxed);
                self.objects.get(&key).map_or_else(not_found, |body| Answer {
                    status: "200 OK",
                    headers: format!("{}Content-Length: {}\r\n", identity(body), body.len()),
                    body: Vec::new(),
                })
            }
            _ => Answer { status: "405 Method Not Allowed", headers: String::new(), body: Vec::new() },
        }
    }

    fn counts(&self) -> Answer {
        let Counts { gets, heads, listings, bytes, in_flight_most, .. } = &self.counts;
        let [gets, heads, listings, bytes, most] =
            [gets, heads, listings, bytes, in_flight_most].map(|count| count.load(Ordering::Relaxed));
        let body = format!(
            "{{\"gets\": {gets}, \"heads\": {heads}, \"listings\": {listings}, \"bytes\": {bytes}, \
             \"in_flight_most\": {most}}}"
        );
        Answer { status: "200 OK", headers: String::new(), body: body.into_bytes() }
    }

    fn get(&self, key: &str, range: Option<&str>, if_match: Option<&str>) -> Answer {
        self.counts.gets.fetch_add(1, Ordering::Relaxed);
        let Some(object) = self.objects.get(key) else { return not_found() };
        if if_match.is_some_and(|tag| tag != etag(object)) {
            return Answer { status: "412 Precondition Failed", headers: String::new(), body: Vec::new() };
        }
        let asked = range.and_then(|range| parse_range(range, object.len()));
        let part = asked.clone().unwrap_or(0..object.len());
        let body = object.get(part.clone()).unwrap_or_default().to_vec();
        self.counts.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        let mut headers = identity(object);
        let status = if asked.is_some() {
            let last = part.end.saturating_sub(1);
            let _ = write!(headers, "Content-Range: bytes {}-{last}/{}\r\n", part.start, object.len());
            "206 Partial Content"
        } else {
            "200 OK"
        };
        Answer { status, headers, body }
    }

    fn list(&self, query: &str) -> Answer {
        self.counts.listings.fetch_add(1, Ordering::Relaxed);
        let asked = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(own, _)| *own == name).map(|(_, value)| decoded(value))
        };
        let prefix = asked("prefix").unwrap_or_default();
        let delimiter = asked("delimiter").filter(|delimiter| !delimiter.is_empty());
        let after = asked("continuation-token").or_else(|| asked("start-after")).unwrap_or_default();
        let (mut entries, mut count, mut last, mut more) = (String::new(), 0, String::new(), false);
        for (key, object) in self.objects.range(prefix.clone()..).filter(|(key, _)| **key > after) {
            let Some(below) = key.strip_prefix(&prefix) else { break };
            let folder = delimiter.as_ref().and_then(|delimiter| below.find(delimiter.as_str()));
            let folder = folder.map(|end| format!("{prefix}{}", &below[..=end]));
            if folder.as_ref().is_some_and(|folder| after.starts_with(folder) || last.starts_with(folder)) {
                continue;
            }
            if count == PAGE_KEYS {
                more = true;
                break;
            }
            count += 1;
            match folder {
                Some(folder) => {
                    let _ = write!(entries, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(&folder));
                    last = folder;
                }
                None => {
                    let _ = write!(
                        entries,
                        "<Contents><Key>{}</Key><LastModified>2018-11-01T00:00:00.000Z</LastModified>\
                         <ETag>{}</ETag><Size>{}</Size></Contents>",
                        escaped(key),
                        escaped(&etag(object)),
                        object.len()
                    );
                    last.clone_from(key);
                }
            }
        }
        let token = if more {
            format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(&last))
        } else {
            String::new()
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>raw</Name><Prefix>{}</Prefix>\
             <KeyCount>{count}</KeyCount><MaxKeys>{PAGE_KEYS}</MaxKeys><IsTruncated>{more}</IsTruncated>{token}{entries}\
             </ListBucketResult>",
            escaped(&prefix)
        );
        Answer { status: "200 OK", headers: "Content-Type: application/xml\r\n".to_owned(), body: body.into_bytes() }
    }
}

fn not_found() -> Answer {
    let body = b"<Error><Code>NoSuchKey</Code></Error>".to_vec();
    Answer { status: "404 Not Found", headers: String::new(), body }
}

fn identity(object: &[u8]) -> String {
    format!("ETag: {}\r\nLast-Modified: Thu, 01 Nov 2018 00:00:00 GMT\r\n", etag(object))
}

fn etag(object: &[u8]) -> String {
    let sum = object
        .iter()
        .fold(1_469_598_103_934_665_603, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211));
    format!("\"{sum:016x}\"")
}

/// The bytes that `bytes=a-b` means.
fn parse_range(range: &str, length: usize) -> Option<Range<usize>> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = end.parse::<usize>().map_or(length, |last| length.min(last + 1));
    (start < end).then_some(start..end)
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                plain.push(code);
                at += 3;
            }
            None => {
                plain.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
