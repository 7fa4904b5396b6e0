//! The programs that take part: `rtmfp`, or libtorrent for comparison.

use super::super::Swarm;
use super::super::hostile::Kind;
use super::hostile::HostileProcess;
use crate::real::namespaces::{Namespaces, address};
use crate::real::process::{Form, Process};
use crate::real::{PATIENCE, rtmfp, share};
use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longer than any run: receivers share on until the last copy is complete.
const SEED_FOR: &str = "24h";

/// Another implementation of the same task, measured in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in super::super) enum Reference {
    /// BitTorrent: `benches/reference/libtorrent_member.py` with Debian's python3-libtorrent
    Libtorrent,
}

/// The programs of a run.
pub(super) enum Program {
    /// The binary of this crate.
    Rtmfp { program: PathBuf, save_upload: bool },
    /// The script that runs libtorrent.
    Libtorrent { python: &'static str, script: PathBuf },
}

/// What a receiver has to know to fetch the file.
pub(super) enum Offer {
    Link { link: String, chunks: u64 },
    Torrent { file: PathBuf, provider: u32 },
}

impl Program {
    pub(super) fn find(args: &Swarm) -> anyhow::Result<Self> {
        match args.reference {
            None => Ok(Self::Rtmfp { program: rtmfp()?, save_upload: args.save_upload }),
            Some(Reference::Libtorrent) => libtorrent(),
        }
    }

    /// Starts the server, if there is one, and the provider, which is the last of the processes.
    pub(super) fn offer(
        &self,
        namespaces: &Namespaces,
        (server, provider): (u32, u32),
        receivers: &[u32],
        original: &Path,
        directory: &Path,
    ) -> anyhow::Result<(Vec<Process>, Offer)> {
        match self {
            Self::Rtmfp { program, save_upload } => {
                let option = save_upload.then_some("--save-upload");
                let (processes, shared) =
                    share(namespaces, (server, provider), (program, option.as_slice()), original)?;
                let link = shared["link"].as_str().context("`shared` without a link")?;
                let chunks = shared["chunks"].as_u64().context("`shared` without a number")?;
                Ok((processes, Offer::Link { link: link.to_owned(), chunks }))
            }
            Self::Libtorrent { python, script } => {
                let file = directory.join("film.torrent");
                let mut make = Command::new(python);
                make.arg(script).arg("make").arg(original).arg(&file);
                ensure!(make.status()?.success(), "the torrent can't be made");
                let mut share = namespaces.command(provider);
                share.arg(python).arg(script).args(["member", "--torrent"]).arg(&file);
                share.arg("--save").arg(directory);
                share.args(["--listen", &torrent_address(provider), "--seed"]);
                share.args(["--connect", &torrent_addresses(receivers)]);
                let mut share = Process::start("provider", share, Form::Events, directory)?;
                share.wait_for("complete", PATIENCE)?;
                Ok((vec![share], Offer::Torrent { file, provider }))
            }
        }
    }

    /// Starts a receiver, one of these numbers, whose copy goes to `target` or to its standard output.
    pub(super) fn receive(
        &self,
        namespaces: &Namespaces,
        (number, all): (u32, &[u32]),
        offer: &Offer,
        target: &Path,
        in_order: bool,
    ) -> anyhow::Result<(Process, Form)> {
        let directory = target.parent().context("a file in a directory")?;
        let mut command = namespaces.command(number);
        let form = match (self, offer) {
            (Self::Rtmfp { program, .. }, Offer::Link { link, .. }) => {
                command.arg(program).args(["fetch", link, "--seed-for", SEED_FOR, "-o"]);
                match in_order {
                    true => command.arg("-"),
                    false => command.arg(target).arg("--json"),
                };
                if in_order { Form::Bytes } else { Form::Events }
            }
            (Self::Libtorrent { python, script }, Offer::Torrent { file, provider }) => {
                std::fs::create_dir(target)?;
                let others: Vec<u32> =
                    all.iter().copied().filter(|other| *other != number).collect();
                let others = [&others[..], &[*provider]].concat();
                command.arg(python).arg(script).args(["member", "--torrent"]).arg(file);
                command.arg("--save").arg(target);
                command.args(["--listen", &torrent_address(number)]);
                command.args(["--connect", &torrent_addresses(&others)]);
                if in_order {
                    command.arg("--sequential");
                }
                Form::Events
            }
            _ => bail!("the offer is not of this program"),
        };
        let name = format!("receiver-{number}");
        Ok((Process::start(&name, command, form, directory)?, form))
    }
}

/// Starts a member of no use in the namespace with this number.
pub(super) fn start_hostile(
    namespaces: &Namespaces,
    (number, kind): (u32, Kind),
    offer: &Offer,
    directory: &Path,
) -> anyhow::Result<Process> {
    let Offer::Link { link, chunks } = offer else { bail!("the offer is not of this program") };
    let listen = SocketAddr::from((address(number), 0));
    let hostile = HostileProcess::new(kind, (&link.parse()?, *chunks), listen, number.into());
    let mut command = namespaces.command(number);
    command.arg(std::env::current_exe()?).args(hostile.arguments());
    let mut process =
        Process::start(&format!("hostile-{number}"), command, Form::Events, directory)?;
    process.wait_for("started", PATIENCE)?;
    Ok(process)
}

fn torrent_address(member: u32) -> String {
    format!("{}:6881", address(member))
}

fn torrent_addresses(members: &[u32]) -> String {
    members.iter().map(|member| torrent_address(*member)).collect::<Vec<_>>().join(",")
}

fn libtorrent() -> anyhow::Result<Program> {
    let script = "benches/reference/libtorrent_member.py";
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    ensure!(script.exists(), "{} is not there", script.display());
    let has_module = |python: &&str| {
        let output = Command::new(python).args(["-c", "import libtorrent"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    // Debian's packages are those of its own interpreter.
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_module).context(
        "--reference libtorrent needs its Python module (Debian: apt install python3-libtorrent)",
    )?;
    Ok(Program::Libtorrent { python, script })
}
