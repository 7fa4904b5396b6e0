//! Settings of a server from a file and from environment variables.

use super::admin::AdminSettings;
use super::document::{Document, Entry};
use super::table::{Effect, SECTIONS, SETTINGS, Setting};
use super::{MemberSettings, ServerConfig};
use crate::rendezvous::{ConnectivityLimits, HookConfig, SharedObjectLimits, StreamLimits};
use crate::server::hooks::{HookUrlError, HttpHook, ServerHooks};
use crate::server::tokens::{SecretFileError, TokenKeys};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};
use thiserror::Error;
use tracing::Level;

/// The beginning of the names of environment variables: `RTMFP_LIMITS_SESSIONS` is `sessions` of
/// `[limits]`.
pub const VARIABLES: &str = "RTMFP_";
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The likeness, of 1, from which the name of a variable is taken for a mistake.
const MISTAKEN: f64 = 0.7;

/// What a configuration file of a server can say. The defaults are those of a server without one.
///
/// ```
/// use rtmfp::server::Settings;
///
/// let mut settings = Settings::default();
/// settings.apply("listen = [\"1936\"]\n[limits]\nmemory = \"64 MiB\"\n")?;
/// assert_eq!(settings.server.rendezvous.transport.max_memory, 64 << 20);
/// // Server::start(settings.server_config())
/// # Ok::<(), rtmfp::server::SettingsError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Settings of the server itself, but for those that follow; [`server_config`](Self::server_config)
    /// has all.
    pub server: ServerConfig,
    /// Live streams.
    pub streams: Optional<StreamLimits>,
    /// Remote shared objects.
    pub shared_objects: Optional<SharedObjectLimits>,
    /// Connectivity checks.
    pub connectivity: Optional<ConnectivityLimits>,
    /// The host, or host and port, that a router forwards to the server; for whoever prints URIs.
    pub public_address: Option<String>,
    /// The file with the secrets of tokens that clients need.
    pub secret_file: Option<PathBuf>,
    /// The logic of the owner.
    pub hooks: HookSettings,
    /// The member of groups in the process of the server, for whoever runs it.
    pub member: MemberSettings,
    /// The path of the key log.
    pub key_log: Option<PathBuf>,
    /// The log, for whoever writes it.
    pub log: LogSettings,
    /// The page with the server's state, for whoever serves it.
    pub admin: AdminSettings,
}

/// The logic of the owner, behind HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookSettings {
    /// Where it is asked; without it, it is not.
    pub url: Option<String>,
    /// What is asked.
    pub config: HookConfig,
}

/// A service that can be left out, and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Optional<L> {
    /// Whether there is the service.
    pub enabled: bool,
    /// Its limits.
    pub limits: L,
}

impl<L: Default> Default for Optional<L> {
    fn default() -> Self {
        Self { enabled: true, limits: L::default() }
    }
}

impl<L: Copy> Optional<L> {
    fn get(&self) -> Option<L> {
        self.enabled.then_some(self.limits)
    }
}

/// Settings of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSettings {
    /// The least important lines that are written.
    pub level: Level,
    /// The form of the lines.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: Level::WARN, format: LogFormat::default() }
    }
}

/// The form of lines in a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

/// Settings that are one of several words.
pub(super) trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("human", Self::Human), ("json", Self::Json)];
}

impl Word for Level {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("info", Self::INFO),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
    ];
}

/// Settings can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The text is no TOML.
    #[error("line {line}: {problem}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The problem.
        problem: String,
    },
    /// There is no such setting.
    #[error("line {line}: there is no setting {name}; did you mean {nearest}?")]
    Unknown {
        /// The line, from 1.
        line: usize,
        /// The name as it was written, no more of it than can be [shown](crate::wire::Shown).
        name: String,
        /// The setting whose name is most like it.
        nearest: &'static str,
    },
    /// A setting can't have this value.
    #[error("line {line}: {name} {problem}")]
    Value {
        /// The line, from 1.
        line: usize,
        /// The setting.
        name: &'static str,
        /// What it must be.
        problem: String,
    },
    /// An environment variable can't have this value.
    #[error("the environment variable {variable} {problem}")]
    Variable {
        /// The variable.
        variable: String,
        /// What it must be.
        problem: String,
    },
    /// Settings contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// An error in this file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        source: Box<Self>,
    },
}

/// The settings that differ at a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Names of settings that have changed.
    pub changed: Vec<&'static str>,
    /// Names of settings that differ and need a restart; they have not changed.
    pub needs_restart: Vec<&'static str>,
}

impl Settings {
    /// The keys of [`secret_file`](Self::secret_file), for
    /// [`RendezvousConfig::tokens`](crate::rendezvous::RendezvousConfig::tokens).
    ///
    /// # Errors
    ///
    /// [`SecretFileError`]
    pub fn token_keys(&self) -> Result<Option<Arc<TokenKeys>>, SecretFileError> {
        let keys = self.secret_file.as_deref().map(TokenKeys::read).transpose()?;
        Ok(keys.map(Arc::new))
    }

    /// The hook at the URL of [`hooks`](Self::hooks), for [`ServerConfig::hooks`].
    ///
    /// # Errors
    ///
    /// [`HookUrlError`]
    pub fn http_hook(&self) -> Result<Option<ServerHooks>, HookUrlError> {
        let hook = self.hooks.url.as_deref().map(HttpHook::new).transpose()?;
        Ok(hook.map(ServerHooks::new))
    }

    /// The configuration of the server, but for the key log, the
    /// [keys of tokens](Self::token_keys) and the [hook](Self::http_hook), which are elsewhere.
    pub fn server_config(&self) -> ServerConfig {
        let mut config = self.server.clone();
        config.rendezvous.streams = self.streams.get();
        config.rendezvous.shared_objects = self.shared_objects.get();
        config.rendezvous.connectivity = self.connectivity.get();
        config.rendezvous.hooks = self.hooks.url.as_ref().map(|_| self.hooks.config.clone());
        config
    }

    /// Sets what a file says; what it does not name stays.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]; some settings may have changed.
    pub fn apply_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text =
            read(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        self.apply(&text)
            .map_err(|source| SettingsError::File { path: path.to_owned(), source: source.into() })
    }

    /// Sets what a text in TOML says; what it does not name stays.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]; some settings may have changed.
    pub fn apply(&mut self, text: &str) -> Result<(), SettingsError> {
        for Entry { line, setting, value } in Document::parse(text)?.entries {
            (setting.read)(self, &value).map_err(|problem| SettingsError::Value {
                line,
                name: setting.name,
                problem,
            })?;
        }
        self.check()
    }

    /// Sets what environment variables say: `RTMFP_`, the section, the key, in capitals and with
    /// underscores. A value is TOML or a text without quotes. Variables that name no setting are
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]; some settings may have changed.
    pub fn apply_variables(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), SettingsError> {
        for (variable, text) in variables {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == variable)
            else {
                continue;
            };
            self.apply_variable(setting, &text)
                .map_err(|problem| SettingsError::Variable { variable, problem })?;
        }
        self.check()
    }

    /// Those of these environment variables that name no setting but look like one that does, which
    /// comes second.
    pub fn mistaken_variables(names: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
        let mistaken = |name: String| {
            let rest = name.strip_prefix(VARIABLES)?;
            let likeness = |setting: &Setting| {
                strsim::normalized_damerau_levenshtein(rest, &setting.variable()[VARIABLES.len()..])
            };
            let likest = SETTINGS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
            let is_mistaken = (MISTAKEN..1.0).contains(&likeness(likest));
            is_mistaken.then(|| (name, likest.variable()))
        };
        names.into_iter().filter_map(mistaken).collect()
    }

    fn apply_variable(&mut self, setting: &Setting, text: &str) -> Result<(), String> {
        let as_text = toml::Value::String(text.to_owned());
        let as_toml = format!("value = {text}").parse::<toml::Table>().ok();
        // A name such as `7` is a number in TOML.
        match as_toml.and_then(|mut table| table.remove("value")) {
            Some(value) => (setting.read)(self, &value)
                .or_else(|problem| (setting.read)(self, &as_text).map_err(|_| problem)),
            None => (setting.read)(self, &as_text),
        }
    }

    fn check(&self) -> Result<(), SettingsError> {
        let transport = &self.server.rendezvous.transport;
        if transport.max_session_memory / 2 <= transport.max_message as u64 {
            return Err(SettingsError::Contradiction(
                "limits.memory_per_session must be more than twice limits.message",
            ));
        }
        Ok(())
    }

    /// Takes over what differs in `new` and can change while the server runs. The server then wants
    /// [`Server::reconfigure`](crate::server::Server::reconfigure).
    pub fn reload(&mut self, new: &Self) -> Reloaded {
        let mut reloaded = Reloaded::default();
        for setting in SETTINGS {
            if (setting.write)(self) == (setting.write)(new) {
                continue;
            }
            match setting.effect {
                Effect::Reload => {
                    (setting.copy)(new, self);
                    reloaded.changed.push(setting.name);
                }
                Effect::Restart => reloaded.needs_restart.push(setting.name),
            }
        }
        reloaded
    }

    /// A file that says what these settings are, with a comment on each.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# Settings of `rtmfp serve --config FILE`. Each is also an environment variable, which\n\
             # overrules the file: `sessions` of [limits] is RTMFP_LIMITS_SESSIONS.\n\
             # The server reads this file again at SIGHUP; (restart) marks what needs a restart.\n",
        );
        for (section, about) in [("", "")].into_iter().chain(SECTIONS) {
            if !section.is_empty() {
                text.push('\n');
                comment(&mut text, about, "");
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "[{section}]");
            }
            for setting in SETTINGS.iter().filter(|setting| setting.place().0 == section) {
                let restart = if setting.effect == Effect::Restart { " (restart)" } else { "" };
                text.push('\n');
                comment(&mut text, setting.help, restart);
                let _ = writeln!(text, "{} = {}", setting.place().1, (setting.write)(self));
            }
        }
        text
    }
}

/// Lines of a comment, with a note at the end of the last.
fn comment(text: &mut String, lines: &str, note: &str) {
    for line in lines.lines() {
        text.push_str("# ");
        text.push_str(line);
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push_str(note);
    text.push('\n');
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}
