//! `rtmfp decode`: packet captures in, protocol out.

mod files;
mod input;
mod keys;
mod output;

use super::key_log::VARIABLE;
use super::output_file::InUse;
use super::screen;
use super::signals::Signals;
use anyhow::Context;
use clap::Args;
use input::Input;
use keys::Keys;
use output::{Files, Output};
use rtmfp::trace::filter::{self, Filter};
use rtmfp::trace::{Analyzer, Capture, CaptureError, Decoder, Verify};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Decode packet captures: the messages between RTMFP programs.
///
/// Reads pcap and pcapng, also compressed with gzip, and finds RTMFP by its content, on any port. Startup
/// packets can always be read; of sessions those whose secrets are in a key log, with lines of the
/// form "DH_SECRET <digest> <secret>". For other sessions, what is visible from outside is printed.
///
/// Prints a line for each packet, unless something else is asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rtmfp decode session.pcap --keys session.keys
  rtmfp decode session.pcapng -k session.keys -V -f 'chunk==IHello && ip==10.0.0.5'
  rtmfp decode session.pcap -k session.keys --flows --sessions
  tcpdump -i any -w - udp | rtmfp decode -")]
#[command(after_long_help = after_long_help())]
pub(crate) struct DecodeArgs {
    /// Capture files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Key log; may be given several times [default: the file that $RTMFPKEYLOGFILE names]
    #[arg(long, short, value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Only packets for which this is true; see below
    ///
    /// Reports are then of the sessions, flows and groups that such a packet belongs to.
    #[arg(long, short, value_name = "FILTER")]
    filter: Option<Filter>,

    #[command(flatten)]
    form: Form,

    /// Write streams as FLV files, objects and posts to this directory
    #[arg(long, value_name = "DIR")]
    extract: Option<PathBuf>,

    /// Write a capture with decrypted packets for Wireshark; - is standard output
    ///
    /// `rtmfp wireshark install` installs the plugin that shows it.
    #[arg(long, value_name = "FILE")]
    decrypted: Option<PathBuf>,

    /// Go on as the file grows, until Ctrl-C
    #[arg(long)]
    follow: bool,

    /// Verify the HMAC of every packet
    ///
    /// Otherwise those of the first 64 packets of each direction of a session, every 64th that
    /// follows, and those of packets that do not look like packets.
    #[arg(long)]
    verify: bool,
}

impl DecodeArgs {
    /// Writes a decrypted capture and prints nothing.
    pub(crate) fn decrypting(
        file: PathBuf,
        keys: Vec<PathBuf>,
        decrypted: PathBuf,
        follow: bool,
    ) -> Self {
        Self {
            files: vec![file],
            keys,
            filter: None,
            form: Form::default(),
            extract: None,
            decrypted: Some(decrypted),
            follow,
            verify: false,
        }
    }
}

/// Selection of the output.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Form {
    /// Print each packet as a tree, with byte offsets
    #[arg(short = 'V', long, conflicts_with = "json")]
    tree: bool,

    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,

    /// With --json: also what applications sent, in hexadecimal
    #[arg(long, requires = "json")]
    data: bool,

    /// Print datagrams that are not RTMFP, too
    #[arg(long)]
    all: bool,

    /// Print the flows: purpose, messages, bytes, losses, round trip times
    #[arg(long)]
    flows: bool,

    /// Print the sessions: how they came about, their ends, what each sent
    #[arg(long)]
    sessions: bool,

    /// Print the groups: members, neighbors, objects, posts, streams
    #[arg(long)]
    groups: bool,

    /// Print counts of packets, chunks and flow metadata
    #[arg(long)]
    stats: bool,
}

impl Form {
    /// True if packets are printed, rather than summaries.
    fn is_of_packets(&self, writes_files: bool) -> bool {
        !(self.has_reports() || writes_files)
    }

    fn has_reports(&self) -> bool {
        self.flows || self.sessions || self.groups || self.stats
    }
}

fn after_long_help() -> String {
    let mut text = "\
Examples:
  rtmfp decode session.pcap --keys session.keys
  rtmfp decode session.pcapng -k session.keys -V -f 'chunk==IHello && ip==10.0.0.5'
  rtmfp decode session.pcap -k session.keys --flows --sessions
  tcpdump -i any -w - udp | rtmfp decode -

Filters: a field, or a field and a value with ==, !=, <, <=, > or >=; combined with &&, ||, ! and
parentheses. A packet may have several values of a field: == is true if one is equal, != if none is.
"
    .to_owned();
    for (name, description) in filter::fields() {
        text += &format!("  {name:<9}{description}\n");
    }
    text.truncate(text.trim_end().len());
    text
}

pub(crate) async fn run(args: DecodeArgs) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new()?;
    let is_asked_to_stop = stop.clone();
    let mut work = tokio::task::spawn_blocking(move || decode(args, &is_asked_to_stop));
    tokio::select! {
        outcome = &mut work => return outcome?,
        () = signals.recv() => stop.store(true, Ordering::Relaxed),
    }
    // A summary is still printed, unless another signal cancels it.
    tokio::select! {
        outcome = work => outcome?,
        () = signals.recv() => Ok(()),
    }
}

fn decode(args: DecodeArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    match decode_files(args, stop) {
        // The reader of the output has closed it.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        outcome => outcome,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.into_iter().any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

fn decode_files(args: DecodeArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let verify = if args.verify { Verify::All } else { Verify::Sampled };
    let is_live = args.follow || args.files.iter().any(|file| Input::is_standard(file));
    let key_logs = key_logs(args.keys);
    let in_use = in_use(&args.files, &key_logs);
    let files = Files { extract: args.extract, decrypted: args.decrypted };
    let mut output = Output::new(args.form, args.filter, files, in_use, !key_logs.is_empty())?;
    args.files.iter().try_for_each(|file| input::check(file, args.follow))?;
    let (mut keys, log) = Keys::open(key_logs.into_iter(), is_live)?;
    let mut analyzer = Analyzer::new(Decoder::new(log).verifying(verify));
    let mut failure = None;
    for file in &args.files {
        let input = Input::open(file, args.follow, stop)?;
        let name = input.name().to_owned();
        output.flush_often(input.is_live());
        let outcome = decode_file(input, &mut keys, &mut analyzer, &mut output, stop)
            .with_context(|| format!("cannot decode {name}"));
        if let Err(error) = outcome {
            if is_broken_pipe(&error) {
                return Err(error);
            }
            failure = Some(error);
            break;
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    output.finish(&analyzer)?;
    failure.map_or(Ok(()), Err)
}

/// The key logs that are given, or else the one that the environment names.
fn key_logs(given: Vec<PathBuf>) -> Vec<PathBuf> {
    let default = std::env::var_os(VARIABLE).filter(|name| given.is_empty() && !name.is_empty());
    given.into_iter().chain(default.map(PathBuf::from)).collect()
}

/// The input files, which must not be overwritten.
fn in_use(captures: &[PathBuf], key_logs: &[PathBuf]) -> InUse {
    let mut in_use = InUse::default();
    for capture in captures {
        match Input::is_standard(capture) {
            true => in_use.add_standard_input("the capture that is read"),
            false => in_use.add(capture, "the capture that is read"),
        }
    }
    key_logs.iter().for_each(|path| in_use.add(path, "the key log that is read"));
    in_use
}

fn decode_file(
    input: Input,
    keys: &mut Keys,
    analyzer: &mut Analyzer,
    output: &mut Output,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let name = input.name().to_owned();
    let (progress, is_live) = (input.progress(), input.is_live());
    let mut capture = Capture::open(input)?;
    output.begin()?;
    let outcome = loop {
        if stop.load(Ordering::Relaxed) {
            break Ok(());
        }
        match capture.advance_with(|first| analyzer.knows(first)) {
            Ok(Some(datagram)) => {
                if is_live {
                    keys.read_on(analyzer.keys_mut())?;
                }
                output.packet(&analyzer.feed(&datagram))?;
            }
            Ok(None) => break Ok(()),
            // Asking to stop ends a file that grows wherever it is.
            Err(CaptureError::Truncated { .. }) if stop.load(Ordering::Relaxed) => break Ok(()),
            Err(error @ CaptureError::Truncated { .. }) => {
                output.note(format!("{name}: {error}; what came before it was decoded"));
                break Ok(());
            }
            Err(error) => break Err(error.into()),
        }
    };
    if let Some(progress) = progress {
        progress.finish_and_clear();
    }
    output.count(&name, &capture);
    if outcome.is_ok() && capture.frames().total == 0 {
        output.note(format!("{name}: there are no packets in it"));
    }
    outcome
}

/// A note to people, on standard error.
fn print_note(note: &str) {
    screen::line(&format!("note: {note}"));
}
