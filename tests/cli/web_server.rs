//! A web server on the loopback address that gives parts of files and counts what it sends, and that can be
//! killed and come back.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// Bytes of a body that are sent and counted at a time.
const PIECE: usize = 16 << 10;

/// A running server, killed when dropped.
pub struct WebServer {
    /// The URL of its root, with a slash at its end.
    pub url: String,
    address: SocketAddr,
    site: Arc<Site>,
    accepts: Option<JoinHandle<()>>,
}

struct Site {
    files: Vec<File>,
    state: Mutex<State>,
    changed: Condvar,
}

struct File {
    path: String,
    content: Vec<u8>,
    /// The SHA-256 in base64.
    digest: String,
}

struct State {
    is_up: bool,
    connections: Vec<TcpStream>,
    /// The paths asked for, and the parts of them.
    requests: Vec<(String, String)>,
    /// Bytes of bodies.
    sent: u64,
    allowed: u64,
}

impl WebServer {
    /// A server of what is at these paths.
    pub fn start(files: Vec<(String, Vec<u8>)>) -> Self {
        let state = State {
            is_up: false,
            connections: Vec::new(),
            requests: Vec::new(),
            sent: 0,
            allowed: u64::MAX,
        };
        let files = files.into_iter().map(|(path, content)| {
            let digest = base64(&content);
            File { path, content, digest }
        });
        let site =
            Site { files: files.collect(), state: Mutex::new(state), changed: Condvar::new() };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { url: String::new(), address, site: Arc::new(site), accepts: None };
        server.go_on();
        server.url = format!("http://{}/", server.address);
        server
    }

    /// A server of one file, and the URL of that.
    pub fn of_film(content: Vec<u8>) -> (Self, String) {
        let server = Self::start(vec![("/film.bin".into(), content)]);
        let url = format!("{}film.bin", server.url);
        (server, url)
    }

    /// Listens (again), at the same address.
    pub fn go_on(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        self.site.state.lock().unwrap().is_up = true;
        let site = Arc::clone(&self.site);
        self.accepts = Some(thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut state = site.state.lock().unwrap();
                if !state.is_up {
                    return;
                }
                state.connections.push(stream.try_clone().unwrap());
                drop(state);
                let site = Arc::clone(&site);
                thread::spawn(move || site.serve(&stream));
            }
        }));
    }

    /// Ends all connections and accepts no more.
    pub fn kill(&mut self) {
        let mut state = self.site.state.lock().unwrap();
        state.is_up = false;
        for connection in state.connections.drain(..) {
            // The other side may have ended it.
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.site.changed.notify_all();
        // What accepts is woken, to see that.
        let _ = TcpStream::connect(self.address);
        if let Some(accepts) = self.accepts.take() {
            accepts.join().unwrap();
        }
    }

    /// Sends no more than so many bytes of bodies in all, until more are allowed.
    pub fn allow(&self, bytes: u64) {
        self.site.state.lock().unwrap().allowed = bytes;
        self.site.changed.notify_all();
    }

    /// Bytes of bodies sent so far.
    pub fn sent(&self) -> u64 {
        self.site.state.lock().unwrap().sent
    }

    /// The paths that were asked for since the last call, and the parts of them.
    pub fn take_requests(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.site.state.lock().unwrap().requests)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        if self.accepts.is_some() {
            self.kill();
        }
    }
}

impl Site {
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream).lines();
        loop {
            let head: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let path = head.first()?.split(' ').nth(1)?;
            let range = head.iter().find_map(|line| line.strip_prefix("range: bytes="));
            let file = self.files.iter().find(|file| file.path == path);
            let Some((range, File { content, digest, .. })) = range.zip(file) else {
                // There are no hashes in files.
                stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").ok()?;
                continue;
            };
            self.state.lock().unwrap().requests.push((path.to_owned(), range.to_owned()));
            let (first, last) = range.split_once('-')?;
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            let size = content.len();
            let head = format!(
                "HTTP/1.1 206 Part\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\
                 ETag: \"1\"\r\nRepr-Digest: sha-256=:{digest}:\r\n\r\n",
                last + 1 - first,
            );
            stream.write_all(head.as_bytes()).ok()?;
            for piece in content.get(first..=last)?.chunks(PIECE) {
                self.count(piece.len() as u64)?;
                stream.write_all(piece).ok()?;
            }
        }
    }

    /// Waits until so many bytes more may be sent; `None` if the server was killed.
    fn count(&self, bytes: u64) -> Option<()> {
        let waits = |state: &mut State| state.is_up && state.sent + bytes > state.allowed;
        let state = self.state.lock().unwrap();
        let mut state = self.changed.wait_while(state, waits).unwrap();
        state.sent += bytes;
        state.is_up.then_some(())
    }
}

/// SHA-256 in base64.
fn base64(content: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(rtmfp::vod::Digest256::of(content).0)
}
