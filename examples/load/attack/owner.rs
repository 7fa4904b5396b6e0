//! The web server that is the hook of the attacked server: it answers after a while, and some questions
//! never.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long an answer takes.
const SLOW: Duration = Duration::from_secs(2);
/// One question of so many is never answered.
const NEVER: u64 = 8;

/// The web server; it ends when this is dropped.
pub(super) struct Owner {
    url: String,
    asked: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Owner {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let asked = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&counter)));
            }
        });
        Ok(Self { url, asked, task })
    }

    /// Settings of a server that asks it what the honest clients do not want while they are watched: they
    /// neither call methods of the hook, nor begin to publish.
    pub(super) fn settings(&self) -> String {
        let Self { url, .. } = self;
        format!("[hooks]\nurl = \"{url}\"\nevents = [\"publish\", \"call\", \"unpublish\"]\n")
    }

    /// Questions that have come.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers the questions of one connection, one after the other.
async fn answer(stream: TcpStream, asked: Arc<AtomicU64>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        if asked.fetch_add(1, Ordering::Relaxed) % NEVER == NEVER - 1 {
            // Until who asks has had enough.
            return match stream.read(&mut [0]).await? {
                0 => Ok(()),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
        tokio::time::sleep(SLOW).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
    }
}
