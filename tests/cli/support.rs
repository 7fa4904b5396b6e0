//! The built `rtmfp` command as a child process.
use rtmfp::proto::sim::SeededRandom;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a line of a running command may keep a test waiting.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The command with arguments, its log and keys untouched by the environment.
pub fn rtmfp<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtmfp"));
    // What one command remembers no other test is to find.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let state = format!("state/{}-{count}", std::process::id());
    command.env("XDG_STATE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join(state));
    command.args(args).env_remove("RUST_LOG").env_remove("RTMFPKEYLOGFILE").stdin(Stdio::null());
    command
}

/// A UDP port of loopback for one test alone, so that what listens there can come back. Others only
/// get ports that are given out, which begin far above, and RTMFP's own.
pub fn own_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    #[expect(clippy::disallowed_methods, reason = "finds out whether the port is free")]
    let is_free = |port: &u16| UdpSocket::bind(("127.0.0.1", *port)).is_ok();
    iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).find(is_free).unwrap()
}

/// Stands at RTMFP's port, if nothing does yet, so that the server of a share has another one, to which it
/// can come back.
pub fn hold_usual_port() -> Option<UdpSocket> {
    #[expect(clippy::disallowed_methods, reason = "stands in the way and sends nothing")]
    UdpSocket::bind(("127.0.0.1", 1935)).ok()
}

/// Standard output of a command that succeeds.
pub fn succeed(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    (out, err)
}

/// Standard error of a command that ends with this status.
pub fn fail(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(status), "{command:?}\n{out}\n{err}");
    err
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Bytes that repeat nothing.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut random = SeededRandom::new(seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// A file of such bytes.
pub fn write_file(path: &Path, seed: u64, len: usize) -> Vec<u8> {
    let bytes = content(seed, len);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

/// A running `rtmfp share`, killed when dropped.
pub struct Share {
    child: Child,
    _out: BufReader<ChildStdout>,
    err: Option<JoinHandle<String>>,
    pub link: String,
}

impl Share {
    /// Starts it and reads the link.
    pub fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        let mut command = rtmfp(["share"]);
        command.args(args);
        Self::spawn(command)
    }

    /// Starts this command and reads the link.
    pub fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let err = read_all(child.stderr.take().unwrap());
        let mut link = String::new();
        out.read_line(&mut link).unwrap();
        let mut share = Self { child, _out: out, err: Some(err), link: link.trim_end().into() };
        if !share.link.starts_with("rtmfp-share://") {
            let (status, err) = share.wait();
            panic!("no link but {:?}, status {status:?}\n{err}", share.link);
        }
        share
    }

    /// Waits for its end: status and standard error.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), self.err.take().unwrap().join().unwrap())
    }

    /// Ctrl-C.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        interrupt(&self.child);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end, so that who writes it is never kept waiting.
fn read_all(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    })
}

/// Ctrl-C.
#[cfg(unix)]
fn interrupt(child: &Child) {
    signal(child, "-INT");
}

#[cfg(unix)]
fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// A running command whose lines on standard output are waited for, killed when dropped.
pub struct Running {
    child: Killed,
    lines: Receiver<String>,
    err: Option<JoinHandle<String>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().unwrap());
        let out = BufReader::new(child.0.stdout.take().unwrap());
        let err = Some(read_all(child.0.stderr.take().unwrap()));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // A test that ends before the command reads no further.
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines, err }
    }

    /// The server `rtmfp serve` with further arguments on this address, and where it listens.
    pub fn server<A: AsRef<OsStr>>(
        listen: &str,
        args: impl IntoIterator<Item = A>,
    ) -> (Self, SocketAddr) {
        let server = Self::start(rtmfp(["serve", "--listen", listen]).args(args));
        let address = server.line().rsplit(' ').next().unwrap().parse().unwrap();
        (server, address)
    }

    /// Writes a line to its standard input, which must be a pipe.
    pub fn type_line(&mut self, line: &str) {
        let mut stdin = self.child.0.stdin.as_ref().expect("a pipe");
        writeln!(stdin, "{line}").unwrap();
    }

    /// Writes keys to its standard input, which must be a pipe.
    pub fn type_text(&mut self, keys: &str) {
        let mut stdin = self.child.0.stdin.as_ref().expect("a pipe");
        stdin.write_all(keys.as_bytes()).unwrap();
    }

    /// The next line.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("another line on standard output")
    }

    /// The lines up to the first that is as wanted.
    pub fn until(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !is_wanted(lines.last().unwrap()) {
            lines.push(self.line());
        }
        lines
    }

    /// Ctrl-C.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        interrupt(&self.child.0);
    }

    /// A signal by its option of `kill`.
    #[cfg(unix)]
    pub fn signal(&self, option: &str) {
        signal(&self.child.0, option);
    }

    /// Waits for its end: status, the lines that were not read, and standard error.
    pub fn wait(mut self) -> (Option<i32>, Vec<String>, String) {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end after {lines:?}"),
            }
        }
        let status = self.child.0.wait().unwrap();
        (status.code(), lines, self.err.take().unwrap().join().unwrap())
    }
}

/// A child that is killed when dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
