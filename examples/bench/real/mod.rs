//! Real programs in network namespaces.
//!
//! | file | subject |
//! | --- | --- |
//! | `namespaces` | the namespaces and the cables between them |
//! | `homes` | routers that translate addresses, and computers behind them |
//! | `cable` | a cable with loss and delay, where the kernel has none |
//! | `process` | a program and what it prints |

mod cable;
mod homes;
pub(crate) mod namespaces;
pub(crate) mod process;

use anyhow::{Context, ensure};
use namespaces::{Namespaces, address};
use process::{Form, Process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a program may take to begin.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary beside the directory of this example.
pub(crate) fn rtmfp() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let directory = this.parent().and_then(Path::parent).context("no directory of this program")?;
    let program = directory.join("rtmfp");
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    ensure!(
        program.exists(),
        "--real runs {}, which is not there: first `cargo build{profile}`",
        program.display()
    );
    Ok(program)
}

/// Starts a server and a provider of the file, with these further options, and returns them and what
/// the provider prints about the share.
pub(crate) fn share(
    namespaces: &Namespaces,
    (server, provider): (u32, u32),
    (program, options): (&Path, &[&str]),
    file: &Path,
) -> anyhow::Result<(Vec<Process>, Value)> {
    let directory = file.parent().context("a file in a directory")?;
    let mut serve = namespaces.command(server);
    let listen = format!("{}:1935", address(server));
    serve.arg(program).args(["serve", "--json", "--listen", &listen]);
    let mut serve = Process::start("server", serve, Form::Events, directory)?;
    serve.wait_for("listening", PATIENCE)?;
    let mut share = namespaces.command(provider);
    share.arg(program).arg("share").arg(file);
    share.args(["--json", "--new", "--via", &format!("rtmfp://{}/", address(server))]);
    share.args(options);
    let mut share = Process::start("provider", share, Form::Events, directory)?;
    let shared = share.wait_for("shared", PATIENCE)?;
    Ok((vec![serve, share], shared))
}

/// Ends the provider, and returns the bytes that it has sent as objects.
pub(crate) fn bytes_uploaded(provider: Process) -> anyhow::Result<u64> {
    provider.interrupt();
    let stopped = provider.finish();
    let stopped = stopped.iter().find(|event| event["event"] == "stopped");
    let bytes = stopped.and_then(|event| event["bytes_uploaded"].as_u64());
    bytes.context("the provider prints no `stopped`")
}

/// True from the first Ctrl-C or SIGTERM on, so that a run removes what it has made.
pub(crate) fn watch_signals() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    tokio::spawn(async move {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            if let Ok(mut terminate) = signal(SignalKind::terminate()) {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            }
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        flag.store(true, Ordering::Relaxed);
    });
    interrupted
}
