//! `rtmfp wireshark`: the plugin that shows decrypted captures, and the program by which Wireshark
//! decrypts them itself (extcap).

use super::decode::{self, DecodeArgs};
use super::screen;
use anyhow::{Context, bail};
use rtmfp::trace::wireshark::plugin;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The plugin's file.
const PLUGIN: &str = "rtmfp.lua";

/// The extcap program.
const EXTCAP: &str = "rtmfp";

/// The link layer of decrypted captures.
const LINK: &str = "dlt {number=147}{name=USER0}{display=Decrypted RTMFP}";

/// Show RTMFP in Wireshark and tshark.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example: a capture with its key log, in Wireshark:
  rtmfp wireshark install
  rtmfp decode session.pcap --keys session.keys --decrypted decrypted.pcap
  wireshark decrypted.pcap")]
pub(crate) enum WiresharkVerb {
    /// Install the plugin for this user, in Wireshark's folder for personal plugins
    ///
    /// Besides a capture interface "RTMFP, decrypted", with which Wireshark 4.2 and later decrypt a
    /// capture file themselves, also while it grows.
    #[command(after_help = "\
Example:
  rtmfp wireshark install")]
    Install {
        /// Write only the plugin, to this file
        #[arg(long, short, value_name = "FILE", conflicts_with = "print")]
        output: Option<PathBuf>,

        /// Print the plugin
        #[arg(long)]
        print: bool,
    },

    /// Remove what was installed
    #[command(after_help = "\
Example:
  rtmfp wireshark uninstall")]
    Uninstall,

    /// The program that Wireshark calls
    #[command(hide = true)]
    Extcap(ExtcapArgs),
}

/// The arguments with which Wireshark calls capture programs.
#[derive(Debug, clap::Args)]
pub(crate) struct ExtcapArgs {
    #[arg(long)]
    extcap_interfaces: bool,
    #[arg(long, value_name = "VERSION")]
    extcap_version: Option<String>,
    #[arg(long, value_name = "NAME")]
    extcap_interface: Option<String>,
    #[arg(long)]
    extcap_dlts: bool,
    #[arg(long)]
    extcap_config: bool,
    #[arg(long, value_name = "FILTER")]
    extcap_capture_filter: Option<String>,
    #[arg(long)]
    capture: bool,
    #[arg(long, value_name = "FILE")]
    fifo: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    capture_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    keys: Vec<PathBuf>,
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(verb: WiresharkVerb) -> anyhow::Result<()> {
    match verb {
        WiresharkVerb::Install { print: true, .. } => Ok(write_out(&plugin())?),
        WiresharkVerb::Install { output: Some(path), .. } => write(&path, &plugin()),
        WiresharkVerb::Install { .. } => install(),
        WiresharkVerb::Uninstall => uninstall(),
        WiresharkVerb::Extcap(args) => extcap(args).await,
    }
}

fn install() -> anyhow::Result<()> {
    let folder = personal_folder()?;
    let path = folder.join("plugins").join(PLUGIN);
    write(&path, &plugin())?;
    screen::line(&format!("installed {}", path.display()));
    if cfg!(unix) {
        let path = folder.join("extcap").join(EXTCAP);
        let program = std::env::current_exe().context("cannot find this program")?;
        write(&path, &extcap_script(&program))?;
        make_executable(&path).with_context(|| format!("cannot write {}", path.display()))?;
        screen::line(&format!("installed {}", path.display()));
    }
    screen::line("Wireshark finds it at its next start");
    Ok(())
}

fn uninstall() -> anyhow::Result<()> {
    let folder = personal_folder()?;
    let mut removed = 0;
    for path in [folder.join("plugins").join(PLUGIN), folder.join("extcap").join(EXTCAP)] {
        match fs::remove_file(&path) {
            Ok(()) => {
                removed += 1;
                screen::line(&format!("removed {}", path.display()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
        }
    }
    if removed == 0 {
        screen::line(&format!("nothing to remove: not installed in {}", folder.display()));
    }
    Ok(())
}

/// Wireshark's directory for personal files.
fn personal_folder() -> anyhow::Result<PathBuf> {
    let (variable, below) = match cfg!(windows) {
        true => ("APPDATA", "Wireshark"),
        false => ("HOME", ".local/lib/wireshark"),
    };
    let home = std::env::var_os(variable).filter(|home| !home.is_empty());
    let home = home.with_context(|| format!("{variable} is not set: choose a file with -o"))?;
    Ok(Path::new(&home).join(below))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), fs::create_dir_all);
    let written = made.and_then(|()| fs::write(path, text));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// A script, as the program may be somewhere else tomorrow and needs an argument before the rest.
fn extcap_script(program: &Path) -> String {
    let program = program.to_string_lossy().replace('\'', r"'\''");
    format!("#!/bin/sh\nexec '{program}' wireshark extcap \"$@\"\n")
}

fn make_executable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let _ = path;
    Ok(())
}

/// One call of the extcap protocol.
async fn extcap(args: ExtcapArgs) -> anyhow::Result<()> {
    if args.extcap_interfaces {
        let version = env!("CARGO_PKG_VERSION");
        let interface = format!("interface {{value={EXTCAP}}}{{display=RTMFP, decrypted}}");
        return Ok(write_out(&format!("extcap {{version={version}}}\n{interface}\n"))?);
    }
    if args.extcap_dlts {
        return Ok(write_out(&format!("{LINK}\n"))?);
    }
    if args.extcap_config {
        return Ok(write_out(CONFIG)?);
    }
    if !args.capture {
        bail!("this is for Wireshark: see https://www.wireshark.org/docs/man-pages/extcap.html");
    }
    let file = args.capture_file.context("choose a capture file in the interface's options")?;
    let fifo = args.fifo.context("--capture needs --fifo")?;
    decode::run(DecodeArgs::decrypting(file, args.keys, fifo, args.follow)).await
}

/// The options that Wireshark asks the user for.
const CONFIG: &str = "\
arg {number=0}{call=--capture-file}{display=Capture file}{type=fileselect}{required=true}\
{mustexist=true}{tooltip=A pcap or pcapng file with RTMFP}
arg {number=1}{call=--keys}{display=Key log}{type=fileselect}{mustexist=true}\
{tooltip=Written with --keylog or RTMFPKEYLOGFILE}
arg {number=2}{call=--follow}{display=Go on as the file grows}{type=boolflag}{default=false}
";

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
