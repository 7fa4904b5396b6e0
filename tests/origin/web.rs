//! A web server on the loopback address that counts what it sends, and can be stopped, changed and
//! made to lie.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server has, and what it has done.
pub struct Site {
    pub content: Vec<u8>,
    pub etag: String,
    /// If there are any: what is at which path, with its tag; nothing is anywhere else.
    pub files: BTreeMap<String, (Vec<u8>, String)>,
    /// The paths of these that were asked for.
    pub asked: Vec<String>,
    pub has_ranges: bool,
    /// Instead of the content: these bytes as they are, and then, if `endless`, more and more.
    pub raw: Option<Vec<u8>>,
    pub endless: bool,
    /// Further headers of good answers.
    pub headers: String,
    /// Bytes of bodies sent so far.
    pub sent: u64,
    /// The ranges asked for, as in the header.
    pub ranges: Vec<String>,
}

/// A running server.
pub struct Web {
    pub site: Arc<Mutex<Site>>,
    pub address: SocketAddr,
    /// Bytes of bodies that may be sent in all.
    allowed: watch::Sender<u64>,
    /// The number of requests so far.
    requests: Arc<watch::Sender<usize>>,
    tasks: JoinSet<()>,
}

impl Web {
    pub async fn start(content: Vec<u8>) -> Self {
        let site = Site {
            content,
            etag: "\"first\"".into(),
            files: BTreeMap::new(),
            asked: Vec::new(),
            has_ranges: true,
            raw: None,
            endless: false,
            headers: String::new(),
            sent: 0,
            ranges: Vec::new(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (site, allowed) = (Arc::new(Mutex::new(site)), watch::Sender::new(u64::MAX));
        let requests = Arc::default();
        let mut web = Self { site, address, allowed, requests, tasks: JoinSet::new() };
        web.go_on().await;
        web
    }

    pub fn url(&self) -> String {
        format!("http://{}/films/film.bin", self.address)
    }

    /// Sends nothing beyond so many bytes of bodies until more are allowed.
    pub fn allow(&self, bytes: u64) {
        self.allowed.send_replace(bytes);
    }

    pub fn sent(&self) -> u64 {
        self.site.lock().unwrap().sent
    }

    pub fn requests(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }

    pub fn change(&self, change: impl FnOnce(&mut Site)) {
        change(&mut self.site.lock().unwrap());
    }

    /// Ends all connections and accepts no more.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Listens (again).
    pub async fn go_on(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (site, allowed) = (Arc::clone(&self.site), self.allowed.subscribe());
        let requests = Arc::clone(&self.requests);
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let requests = Arc::clone(&requests);
                connections.spawn(serve(stream, Arc::clone(&site), allowed.clone(), requests));
            }
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    site: Arc<Mutex<Site>>,
    mut allowed: watch::Receiver<u64>,
    requests: Arc<watch::Sender<usize>>,
) {
    while let Some(head) = read_head(&mut stream).await {
        let (answer, body, is_endless) = answer(&mut site.lock().unwrap(), &head);
        requests.send_modify(|count| *count += 1);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        for part in body.chunks(16 << 10) {
            let sent = {
                let mut site = site.lock().unwrap();
                site.sent += part.len() as u64;
                site.sent
            };
            if allowed.wait_for(|allowed| sent <= *allowed).await.is_err()
                || stream.write_all(part).await.is_err()
            {
                return;
            }
        }
        if is_endless {
            while stream.write_all(&[7; 16 << 10]).await.is_ok() {}
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).to_lowercase())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The head and the body of the answer.
fn answer(site: &mut Site, head: &str) -> (Vec<u8>, Vec<u8>, bool) {
    if head.split(' ').nth(1).is_some_and(|path| path.ends_with(".sha256")) {
        return (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec(), Vec::new(), false);
    }
    if let Some(raw) = &site.raw {
        return (raw.clone(), Vec::new(), site.endless);
    }
    let (content, etag) = match site.files.is_empty() {
        true => (site.content.clone(), site.etag.clone()),
        false => {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let path = path.split('?').next().unwrap_or_default().to_owned();
            let Some(found) = site.files.get(&path).cloned() else {
                return (
                    b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
                    Vec::new(),
                    false,
                );
            };
            site.asked.push(path);
            found
        }
    };
    let size = content.len();
    let fields = format!("ETag: {etag}\r\nAccept-Ranges: bytes\r\n{}", site.headers);
    let is_current = header(head, "if-range").is_none_or(|known| known == etag);
    let range = header(head, "range").filter(|_| site.has_ranges && is_current);
    if let Some(range) = range {
        site.ranges.push(range.to_owned());
        if size == 0 {
            let head = format!(
                "HTTP/1.1 416 No\r\nContent-Length: 0\r\nContent-Range: bytes */0\r\n{fields}\r\n"
            );
            return (head.into_bytes(), Vec::new(), false);
        }
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let body = content[first..=last.min(size - 1)].to_vec();
        let head = format!(
            "HTTP/1.1 206 Part\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{size}\r\n{fields}\r\n",
            body.len()
        );
        return (head.into_bytes(), body, false);
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{fields}\r\n");
    (head.into_bytes(), content, false)
}
