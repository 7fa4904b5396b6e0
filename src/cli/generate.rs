//! `rtmfp generate`: what a package of an operating system contains besides the command.

use super::Cli;
use anyhow::Context;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use rtmfp::server::Settings;
use std::fs;
use std::path::{Path, PathBuf};
use tracing::Level;

/// The server's identity where a service manager gives it a directory.
const IDENTITY: &str = "/var/lib/rtmfp/identity";

/// Write man pages, shell completions and a server's configuration file, for packages.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Example:
  rtmfp generate target/packaging")]
pub(crate) struct GenerateArgs {
    /// Directory to write to; made if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let to = |name: &str| {
        let path = args.directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
        anyhow::Ok(path)
    };
    let man = to("man")?;
    clap_mangen::generate_to(Cli::command(), &man).with_context(|| writing(&man))?;
    let completions = to("completions")?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut Cli::command(), "rtmfp", &completions)
            .with_context(|| writing(&completions))?;
    }
    let file = args.directory.join("serve.toml");
    fs::write(&file, service_settings().to_toml()).with_context(|| writing(&file))
}

fn writing(path: &Path) -> String {
    format!("can't write to {}", path.display())
}

/// The settings of a server that a service manager runs.
fn service_settings() -> Settings {
    let mut settings = Settings::default();
    settings.server.identity_file = Some(IDENTITY.into());
    settings.log.level = Level::INFO;
    settings
}
