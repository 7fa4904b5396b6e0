//! The server that is measured: its address, and what its process has used.

use anyhow::{Context, bail, ensure};
use clap::Args;
use rtmfp::proto::flash::{Host, Uri};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Options that name the server.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// Server to measure [default: `rtmfp serve` of this build, started for the run]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<Uri>,
    /// Process of that server on this machine, for its CPU time and memory
    #[arg(long, global = true, value_name = "PID", requires = "url")]
    server_pid: Option<u32>,
    /// Workers of the server that is started
    #[arg(long, global = true, default_value = "1", conflicts_with = "url")]
    workers: u16,
}

/// Settings that let a few addresses be many clients. All else is as by default.
const SETTINGS: &str = "\
[limits]
sessions_per_address = 1000000
unused_sessions_per_address = 65536
keyings_per_address = { burst = 1000000, per_second = 1000000 }
memory = \"4 GiB\"
memory_per_address = \"4 GiB\"
[introductions]
from_host = { burst = 1000000, per_second = 1000000 }
from_address = { burst = 1000000, per_second = 1000000 }
from_host_to_client = { burst = 1000000, per_second = 1000000 }
to_client = { burst = 1000000, per_second = 1000000 }
beyond_factor = { burst = 100000000, per_second = 100000000 }
[relay]
from_client = { burst = 1000, per_second = 1000 }
";

/// A server.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) address: SocketAddr,
    pid: Option<u32>,
    /// The page of its state, if it is ours.
    admin: Option<SocketAddr>,
    /// It is stopped when this is dropped.
    _own: Option<Own>,
}

/// A server that was started for the run.
#[derive(Debug)]
struct Own {
    process: Child,
    config: PathBuf,
}

impl Drop for Own {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.config);
    }
}

/// What the server's process has used so far.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// CPU time in seconds: user and system, all threads.
    pub(crate) cpu: f64,
    /// The same of each thread.
    threads: BTreeMap<String, f64>,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    /// CPU time since `earlier` of the thread that has used most.
    pub(crate) fn busiest_since(&self, earlier: &Self) -> f64 {
        let used =
            self.threads.iter().map(|(id, cpu)| cpu - earlier.threads.get(id).unwrap_or(&0.0));
        used.fold(0.0, f64::max)
    }
}

impl Target {
    pub(crate) fn open(args: &TargetArgs) -> anyhow::Result<Self> {
        Self::open_with(args, SETTINGS)
    }

    /// The server that is named, or our own with these settings.
    pub(crate) fn open_with(args: &TargetArgs, settings: &str) -> anyhow::Result<Self> {
        let Some(uri) = &args.url else { return Self::start(args.workers, settings) };
        let (host, port) = uri.server().context("the URL names no server")?;
        let address = match host {
            Host::Name(name) => (name.as_str(), port).to_socket_addrs()?.next(),
            Host::Ip(ip) => Some(SocketAddr::new(*ip, port)),
        };
        let address = address.context("the server's name has no address")?;
        Ok(Self { uri: uri.clone(), address, pid: args.server_pid, admin: None, _own: None })
    }

    /// Starts the command that was built beside this program.
    fn start(workers: u16, settings: &str) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let program = own.parent().and_then(|dir| dir.parent()).map(|dir| dir.join("rtmfp"));
        let program = program.filter(|program| program.is_file());
        let program =
            program.context("there is no `rtmfp` beside: `cargo build --release` makes it")?;
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = std::env::temp_dir().join(format!("rtmfp-load-{}.toml", std::process::id()));
        fs::File::create(&config)?.write_all(settings.as_bytes())?;
        let mut process = Command::new(program)
            .args(["serve", "--listen", &address.to_string(), "--admin", &admin.to_string()])
            .args(["--workers", &workers.to_string(), "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()?;
        let screen = process.stdout.take();
        let own = Own { process, config };
        let mut lines = BufReader::new(screen.context("the server has no output")?).lines();
        let ready = lines
            .by_ref()
            .find(|line| line.as_ref().map_or(true, |line| line.starts_with("Press Ctrl-C")));
        ensure!(matches!(ready, Some(Ok(_))), "the server did not start");
        // It is read to its end, so that the server is not held up.
        std::thread::spawn(move || lines.for_each(drop));
        let uri = format!("rtmfp://{address}/load").parse()?;
        let pid = Some(own.process.id());
        Ok(Self { uri, address, pid, admin: Some(admin), _own: Some(own) })
    }

    /// The local addresses of clients: many where the server is on loopback, so that it sees many hosts.
    pub(crate) fn clients_at(&self, crowd: usize, sockets: usize) -> Vec<SocketAddr> {
        let at = |number: usize| match self.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let number = crowd * 64 + number + 2;
                IpAddr::from([127, 1, (number >> 8) as u8, number as u8])
            }
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(ip) if ip.is_loopback() => ip.into(),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        (0..sockets).map(|number| SocketAddr::new(at(number), 0)).collect()
    }

    /// True if the process of the server is known.
    pub(crate) fn has_process(&self) -> bool {
        self.pid.is_some()
    }

    /// What the process has used; `None` if it is not known.
    pub(crate) fn usage(&self) -> anyhow::Result<Option<Usage>> {
        let Some(pid) = self.pid else { return Ok(None) };
        let resident = resident(pid).with_context(|| format!("process {pid} of the server"))?;
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            // A thread may end meanwhile.
            let Ok(stat) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let nanoseconds: u64 = stat.split(' ').next().unwrap_or_default().parse()?;
            threads.insert(
                thread.file_name().to_string_lossy().into_owned(),
                nanoseconds as f64 / 1e9,
            );
        }
        let ticks = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = ticks.rsplit(") ").next().unwrap_or_default();
        let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
        let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) else {
            bail!("no times in /proc/{pid}/stat");
        };
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Ok(Some(Usage { cpu: (user + system) as f64 / ticks, threads, resident }))
    }

    /// The counters of our own server; `None` of others.
    pub(crate) async fn status(&self) -> anyhow::Result<Option<Value>> {
        let Some(admin) = self.admin else { return Ok(None) };
        let url = format!("http://{admin}/api/v1/status");
        let read = move || anyhow::Ok(ureq::get(&url).call()?.body_mut().read_json::<Value>()?);
        Ok(Some(tokio::task::spawn_blocking(read).await??))
    }

    /// The metrics of our own server, by name and labels; empty of others.
    pub(crate) async fn metrics(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let Some(admin) = self.admin else { return Ok(BTreeMap::new()) };
        let url = format!("http://{admin}/metrics");
        let read = move || anyhow::Ok(ureq::get(&url).call()?.body_mut().read_to_string()?);
        let text = tokio::task::spawn_blocking(read).await??;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let metrics = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(metrics.collect())
    }
}

fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    let kilobytes: u64 = kilobytes.context("no VmRSS in its status")?.trim().parse()?;
    Ok(kilobytes * 1024)
}
