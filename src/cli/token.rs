//! `rtmfp token`: make tokens that let clients connect to a server.

use clap::Args;
use rtmfp::driver::calendar_ms;
use rtmfp::server::{Allowed, Claims, MAX_TOKEN, TokenKeys};
use std::path::PathBuf;
use std::time::Duration;

/// Make a token that lets clients connect to a server with the same secret file.
///
/// It is printed; clients put it into the URL, rtmfp://host/app?token=…, or give it as the first
/// argument of connect. Web servers make tokens themselves: docs/tokens.md shows how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rtmfp token --secret-file secret --app chat --valid 1h
  rtmfp token --secret-file secret --app tv --valid 1d --publish studio
  rtmfp serve --secret-file secret")]
pub(crate) struct TokenArgs {
    /// File with the secrets; made with a new one if it does not exist
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,

    /// Application that the token is for, with its instances; may be given several times
    /// [default: any]
    #[arg(long, value_name = "NAME")]
    app: Vec<String>,

    /// Time in which clients can connect, such as 90s, 1h or 7d; who is connected stays
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    valid: Duration,

    /// Let clients publish streams, all or those of this NAME; a * at its end stands for any ending.
    /// May be given several times [default: all, unless --play is given]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "*")]
    publish: Vec<String>,

    /// Let clients play streams, likewise [default: all, unless --publish is given]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "*")]
    play: Vec<String>,

    /// Name of the client, which the server's log and events show
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(args: TokenArgs) -> anyhow::Result<()> {
    let (keys, is_new) = TokenKeys::read_or_create(&args.secret_file)?;
    if is_new {
        eprintln!("made {} with a new secret", args.secret_file.display());
    }
    let until = (calendar_ms() / 1000).saturating_add(args.valid.as_secs());
    let claims =
        args.app.iter().fold(Claims::until(until), |claims, app| claims.for_application(app));
    let says_some = !args.publish.is_empty() || !args.play.is_empty();
    let allowed = |names: Vec<String>| match says_some {
        true if names.is_empty() => Allowed::All(false),
        true if names.iter().any(|name| name == "*") => Allowed::All(true),
        true => Allowed::Names(names),
        false => Allowed::All(true),
    };
    let (publish, play) = (allowed(args.publish), allowed(args.play));
    let token = keys.sign(&Claims { publish, play, sub: args.name, ..claims });
    if token.len() > MAX_TOKEN {
        anyhow::bail!(
            "the token would have {} bytes, of {MAX_TOKEN} that a server takes: give fewer names",
            token.len()
        );
    }
    println!("{token}");
    Ok(())
}
