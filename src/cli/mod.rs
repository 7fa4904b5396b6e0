//! The `rtmfp` command line: one file a verb.
//!
//! | file | what |
//! | --- | --- |
//! | `share`, `fetch`, `watch`, `join`, `stream`, `demo`, `groupspec`, `serve`, `token`, `probe`, `decode`, `wireshark` | the verbs |
//! | `screen` | progress on a terminal, lines elsewhere |
//! | `fetching` | a fetch on the screen |
//! | `fetch_options` | what `fetch` and `watch` have in common |
//! | `fit` | text and bars as wide and high as the terminal |
//! | `patience`, `situation` | time without progress, and the reasons |
//! | `outcome` | exit status, errors in words |
//! | `listen` | addresses as people write them |
//! | `origin` | files of web servers |
//! | `source` | the argument of `fetch` |
//! | `member` | the options and the connection of `join` and `stream` |
//! | `via` | the server that `--via` names |
//! | `json`, `events` | events for programs |
//! | `console` | lines on standard input that change limits |
//! | `in_force` | the limits of a running command |
//! | `log` | log lines between the progress |
//! | `format` | numbers and foreign text for people |
//! | `background` | servers that need not answer |
//! | `embedded` | the rendezvous server inside `share` |
//! | `catalogue` | lists of shares |
//! | `check` | `fetch --check` |
//! | `chosen` | `fetch --file` |
//! | `gather` | the files that `share` is given |
//! | `generate` | man pages and completions, for packages |
//! | `destination` | the destination of `fetch` |
//! | `remembered` | state that gives a share the same link again |
//! | `public_address` | the address that a router forwards to this host |
//! | `key_log` | the secrets of sessions, on demand |
//! | `output_file` | output files, none of which is an input |
//! | `hashing` | hashes of what is shared, with progress |
//! | `library` | every entry of a directory as a share |
//! | `object_file` | files that are objects |
//! | `signing` | keys that sign links |
//! | `signals`, `scratch` | Ctrl-C; a directory that vanishes |

mod background;
mod catalogue;
mod check;
mod chosen;
mod console;
mod decode;
mod demo;
mod destination;
mod embedded;
mod events;
mod fetch;
mod fetch_options;
mod fetching;
mod fit;
mod format;
mod gather;
mod generate;
mod groupspec;
mod hashing;
mod in_force;
mod join;
mod json;
mod key_log;
mod library;
mod limits;
mod link_memory;
mod listen;
mod log;
mod member;
mod object_file;
mod origin;
mod outcome;
mod output_file;
mod patience;
mod probe;
mod public_address;
mod remembered;
mod scratch;
mod screen;
mod serve;
mod share;
mod signals;
mod signing;
mod situation;
mod source;
mod stream;
mod token;
mod via;
mod watch;
mod wireshark;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::time::Duration;

/// The longest time that leaving a group may take.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The place in the help of options that every verb has: after those of the verb, before `--help`.
const LAST: usize = 900;

/// Peer-to-peer files and groups over RTMFP, the protocol of Flash Player.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(after_help = "\
Example: share a file on one computer, fetch it on others:
  rtmfp share film.mp4
  rtmfp fetch rtmfp-share://192.0.2.7:1935/1/group=G:…

Exit status: 0 if all went well, 1 if not, 2 if the command line was wrong, 3 if the time of
--timeout was over.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// Log to standard error: -v what happens, -vv details, -vvv everything
    ///
    /// The environment variable RUST_LOG chooses more precisely, for example
    /// RUST_LOG=rtmfp::proto::transport=debug.
    #[arg(long, short, global = true, action = clap::ArgAction::Count, display_order = LAST)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Share(Box<share::ShareArgs>),
    Fetch(Box<fetch::FetchArgs>),
    Watch(Box<watch::WatchArgs>),
    Join(Box<join::JoinArgs>),
    #[command(subcommand)]
    Stream(Box<stream::StreamVerb>),
    Demo(demo::DemoArgs),
    Serve(Box<serve::ServeArgs>),
    Token(token::TokenArgs),
    Probe(probe::ProbeArgs),
    #[command(subcommand)]
    Groupspec(groupspec::GroupspecVerb),
    Decode(Box<decode::DecodeArgs>),
    #[command(subcommand)]
    Wireshark(wireshark::WiresharkVerb),
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// Runs the command and returns its exit status.
pub(crate) fn main(cli: Cli) -> ExitCode {
    // A server's log is configured with it.
    if !matches!(cli.verb, Verb::Serve(_)) {
        log::init(cli.verbose);
    }
    outcome::conclude(&run(cli.verb, cli.verbose))
}

fn run(verb: Verb, verbosity: u8) -> anyhow::Result<()> {
    let work = async {
        match verb {
            Verb::Share(args) => share::run(*args).await,
            Verb::Fetch(args) => fetch::run(*args).await,
            Verb::Watch(args) => watch::run(*args).await,
            Verb::Join(args) => join::run(*args).await,
            Verb::Stream(verb) => stream::run(*verb).await,
            Verb::Demo(args) => demo::run(args).await,
            Verb::Serve(args) => serve::run(*args, verbosity).await,
            Verb::Token(args) => token::run(args),
            Verb::Probe(args) => probe::run(args).await,
            Verb::Groupspec(verb) => groupspec::run(&verb),
            Verb::Decode(args) => decode::run(*args).await,
            Verb::Wireshark(verb) => wireshark::run(verb).await,
            Verb::Generate(args) => generate::run(&args),
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    // A thread in a slow read is not waited for.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_has_no_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_every_verb_come_last() {
        let mut cli = Cli::command();
        cli.build();
        let is_verb = |it: &&clap::Command| it.get_name() != "help";
        let verbs: Vec<_> = cli.get_subcommands().filter(is_verb).cloned().collect();
        let inner = verbs.iter().flat_map(|verb| verb.get_subcommands().filter(is_verb).cloned());
        for mut verb in inner.chain(verbs.iter().cloned()) {
            let help = verb.render_long_help().to_string();
            let (_, after) = help.split_once("--verbose").expect("it is global");
            let options = after.split("\nExample").next().unwrap_or(after);
            let rest: Vec<_> = options.lines().take_while(|line| !line.ends_with(':')).collect();
            let names = rest.iter().filter(|line| line.trim_start().starts_with('-'));
            let is_last = |line: &&&str| line.contains("--help") || line.contains("--version");
            assert!(names.clone().all(|line| is_last(&line)), "{help}");
        }
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in Cli::command().get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }
}
