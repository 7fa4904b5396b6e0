//! The settings of a server: options overrule environment variables, which overrule the file.

use super::ServeArgs;
use crate::cli::listen;
use crate::cli::log;
use crate::cli::outcome;
use crate::cli::public_address::PublicAddress;
use anyhow::{Context, anyhow};
use rtmfp::proto::transport::MAX_WORKERS;
use rtmfp::server::{LogFormat, Reloaded, Server, ServerConfig, Settings, TokenKeys};
use rtmfp::wire::Shown;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{error, info, warn};

/// The environment variable that names the configuration file.
const CONFIG: &str = "RTMFP_CONFIG";
/// The setting of the file of secrets, which changes with the file's content as well.
const SECRETS: &str = "auth.secret_file";

/// `--log-format`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// A JSON object a line
    Json,
}

/// The configuration file.
pub(super) fn file(args: &ServeArgs) -> Option<PathBuf> {
    let by_variable = || env::var_os(CONFIG).filter(|path| !path.is_empty()).map(PathBuf::from);
    args.config.clone().or_else(by_variable)
}

/// Reads all settings.
pub(super) fn load(args: &ServeArgs) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    if let Some(file) = file(args) {
        settings.apply_file(&file)?;
    }
    // Others than those in Unicode name no setting, and have none of their values.
    let variables = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    settings.apply_variables(variables)?;
    if !args.listen.is_empty() {
        settings.server.listen = listen::addresses(args.listen.clone());
    }
    if let Some(workers) = args.workers {
        settings.server.workers = workers;
    }
    if args.identity.is_some() {
        settings.server.identity_file.clone_from(&args.identity);
    }
    if args.shared_objects.is_some() {
        settings.server.shared_objects.clone_from(&args.shared_objects);
    }
    if args.public_address.is_some() {
        settings.public_address.clone_from(&args.public_address);
    }
    if args.secret_file.is_some() {
        settings.secret_file.clone_from(&args.secret_file);
    }
    if args.hook.is_some() {
        settings.hooks.url.clone_from(&args.hook);
    }
    if !args.app.is_empty() {
        let names = args.app.iter().map(|name| name.trim_matches('/').to_owned());
        settings.server.rendezvous.applications = Some(names.collect());
    }
    if !args.cluster_nats.is_empty() {
        settings.server.cluster.nats.clone_from(&args.cluster_nats);
    }
    if !args.member.is_empty() {
        settings.member.groups.clone_from(&args.member);
    }
    if args.seed.is_some() {
        settings.member.seed.clone_from(&args.seed);
    }
    if !args.ingest.is_empty() {
        settings.member.ingest.clone_from(&args.ingest);
    }
    args.admin.apply(&mut settings.admin);
    if args.no_streams {
        settings.streams.enabled = false;
    }
    match args.log_format {
        Some(Format::Human) => settings.log.format = LogFormat::Human,
        Some(Format::Json) => settings.log.format = LogFormat::Json,
        None => {}
    }
    public_address(&settings)?;
    Ok(settings)
}

/// The address that a router forwards here.
pub(super) fn public_address(settings: &Settings) -> anyhow::Result<Option<PublicAddress>> {
    let parse = |text: &String| text.parse().map_err(|error: String| anyhow!(error));
    settings.public_address.as_ref().map(parse).transpose().context("the public address")
}

/// Reads `--public-address`.
pub(super) fn public_address_text(text: &str) -> Result<String, String> {
    text.parse::<PublicAddress>().map(|_| text.to_owned())
}

/// Warns of environment variables that are probably misspelled.
pub(super) fn check_variables() {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (name, meant) in Settings::mistaken_variables(names) {
        let name = Shown::new(&name);
        log::warning(&format!("the environment variable {name} is no setting; is it {meant}?"));
    }
}

/// Reads `--workers`.
pub(super) fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Ok(ServerConfig::workers_for_all_processors()),
        Ok(number) if number <= MAX_WORKERS => Ok(number),
        Err(_) if text == "auto" => Ok(ServerConfig::workers_for_all_processors()),
        _ => Err(format!("write auto, or a number from 0 to {MAX_WORKERS}")),
    }
}

/// What a server runs with.
pub(super) struct Running {
    pub(super) settings: Settings,
    /// The content of the file of secrets.
    pub(super) keys: Option<Arc<TokenKeys>>,
}

impl Running {
    /// Reads the settings again and gives them to the server. What is wrong with the new ones is in the
    /// log, and the old ones stay.
    pub(super) async fn reload(
        &mut self,
        args: &ServeArgs,
        server: &Server,
    ) -> Result<Reloaded, String> {
        let new = load(args).map_err(|error| outcome::text(&error))?;
        let keys = new.token_keys().map_err(|error| error.to_string())?;
        let level = self.settings.log.level;
        let mut reloaded = self.settings.reload(&new);
        if let (Some(old), Some(new)) = (&self.keys, &keys)
            && !old.are_same(new)
            && !reloaded.changed.contains(&SECRETS)
        {
            reloaded.changed.push(SECRETS);
        }
        self.keys = keys;
        let mut rendezvous = self.settings.server_config().rendezvous;
        rendezvous.tokens = self.keys.clone().map(|keys| keys as _);
        server.reconfigure(rendezvous).await.map_err(|stopped| stopped.to_string())?;
        if self.settings.log.level != level && !log::set_level(self.settings.log.level) {
            warn!("the log keeps its level, which the command line or RUST_LOG has chosen");
        }
        Ok(reloaded)
    }
}

/// Logs the outcome of a reload.
pub(super) fn log_reload(outcome: &Result<Reloaded, String>) {
    match outcome {
        Ok(reloaded) => {
            let changed = reloaded.changed.join(", ");
            info!("settings read again; changed: {changed}");
            for setting in &reloaded.needs_restart {
                warn!("{setting} has changed: restart needed");
            }
        }
        Err(reason) => error!("the settings stay as they are: {reason}"),
    }
}
