//! Reading lines on standard input, and when not to.

use std::io::{self, IsTerminal};
use tokio::sync::mpsc;

/// Lines that wait for their turn.
const QUEUE: usize = 16;
/// Bytes of a line; a longer one is cut. A posted value may have 1 MiB.
const MAX_LINE: usize = 4 << 20;

/// The lines of standard input until its end. `None` if it is no terminal, and `anything` else is not
/// to be read.
///
/// A thread of its own reads, and is left behind in its read at the end of the process.
pub(super) fn lines(anything: bool) -> Option<mpsc::Receiver<String>> {
    let is_terminal = io::stdin().is_terminal();
    if !is_terminal && !anything {
        return None;
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while let Some(bytes) = read(is_terminal) {
            for byte in bytes {
                if byte != b'\n' {
                    line.push(byte);
                    line.truncate(MAX_LINE);
                    continue;
                }
                let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                if sender.blocking_send(text).is_err() {
                    return;
                }
            }
        }
        // The last line may lack its end.
        if !line.is_empty() {
            let _ = sender.blocking_send(String::from_utf8_lossy(&line).into_owned());
        }
    });
    Some(receiver)
}

/// Pause before it is looked again whether the process is in the foreground.
#[cfg(unix)]
pub(super) const AGAIN: std::time::Duration = std::time::Duration::from_millis(200);

/// True if the terminal is for this process now.
#[cfg(unix)]
pub(super) fn is_in_foreground() -> bool {
    use rustix::process::getpgrp;
    use rustix::termios::tcgetpgrp;
    tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group == getpgrp())
}

/// The next bytes; `None` at the end.
///
/// Who reads from a terminal in the background is stopped by the system. So a terminal is only read
/// while this process is in the foreground, and when something was typed.
#[cfg(unix)]
fn read(is_terminal: bool) -> Option<Vec<u8>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    /// How often it is looked whether the process is in the foreground.
    const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

    let stdin = rustix::stdio::stdin();
    loop {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) if is_terminal && !is_in_foreground() => {
                // What was typed is for another process.
                std::thread::park_timeout(AGAIN);
                continue;
            }
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut buffer = [0; 1024];
        match rustix::io::read(stdin, &mut buffer) {
            Ok(0) => return None,
            Ok(count) => return Some(buffer.get(..count)?.to_vec()),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return None,
        }
    }
}

/// The next bytes; `None` at the end.
#[cfg(not(unix))]
fn read(_: bool) -> Option<Vec<u8>> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.replace("\r\n", "\n").into_bytes()),
    }
}
