//! Three servers, `rtmfp serve`, on three addresses of this host, which find each other through two
//! nodes of NATS. A node and a server are killed while members of a group are connected.
//!
//! Skipped where there is no nats-server, unless the environment variable RTMFP_REQUIRE_NATS is set.
#![cfg(target_os = "linux")]

use crate::admin::{Served, metric};
use crate::admin_api::{status, wait_for};
use crate::support::{Killed, Running, own_port, rtmfp};
use rtmfp::peer::Connection;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// A node of NATS, killed when dropped.
pub struct Nats {
    _node: Killed,
    pub url: String,
}

impl Nats {
    /// Two nodes of a cluster. None where there is no nats-server.
    pub fn two() -> Option<[Self; 2]> {
        if let Err(error) = Command::new("nats-server").arg("--version").output() {
            let is_required = std::env::var_os("RTMFP_REQUIRE_NATS").is_some();
            assert!(!is_required, "nats-server is required: {error}");
            eprintln!("SKIPPED: nats-server does not run ({error})");
            return None;
        }
        let routes = [tcp_port(), tcp_port()];
        Some([0, 1].map(|node| Self::start(routes[node], routes[1 - node])))
    }

    fn start(route: u16, other: u16) -> Self {
        let port = tcp_port();
        let node = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "--cluster_name", "test"])
            .args(["--cluster", &format!("nats://127.0.0.1:{route}")])
            .args(["--routes", &format!("nats://127.0.0.1:{other}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let node = Killed(node.unwrap());
        // It listens after a moment.
        while TcpStream::connect(("127.0.0.1", port)).is_err() {}
        Self { _node: node, url: format!("nats://127.0.0.1:{port}") }
    }
}

/// A port for one test alone at which nothing listens by TCP.
fn tcp_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(own_port).find(is_free).unwrap()
}

/// A server, whose log is among its lines.
struct Server {
    running: Running,
    address: SocketAddr,
}

impl Server {
    fn start(number: u8, nats: &[&Nats]) -> Self {
        let urls = nats.iter().flat_map(|node| ["--cluster-nats", node.url.as_str()]);
        Self::start_with(number, &urls.collect::<Vec<_>>(), &[])
    }

    /// With these options and environment variables.
    fn start_with(number: u8, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, number)), own_port());
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1", env!("CARGO_BIN_EXE_rtmfp"), "serve", "-v"]);
        command.args(["--no-admin", "--log-format", "human", "--listen", &address.to_string()]);
        command.args(options).envs(variables.iter().copied()).env_remove("RUST_LOG");
        Self { running: Running::start(&mut command), address }
    }

    /// Waits for a line with this text.
    fn says(&self, text: &str) -> String {
        self.running.until(|line| line.contains(text)).pop().unwrap()
    }

    fn url(&self) -> String {
        format!("rtmfp://{}/app", self.address)
    }
}

/// A member of the group by these servers.
fn member(spec: &str, servers: &[&Server]) -> Running {
    let mut command = rtmfp(["join", spec, "--json", "--listen", "127.0.0.1:0"]);
    for server in servers {
        command.args(["--via", &server.url()]);
    }
    Running::start(command.stdin(Stdio::piped()))
}

/// The next event of this name.
fn event(member: &Running, name: &str) -> Value {
    let is_wanted = |line: &str| parsed(line)["event"] == name;
    parsed(member.until(is_wanted).last().unwrap())
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn clients_of_three_servers_meet_while_a_node_and_a_server_die() {
    let Some(nats) = Nats::two() else { return };
    let [first, second] = nats;
    // One is at the other node at first.
    let a = Server::start(1, &[&first, &second]);
    let b = Server::start(2, &[&first, &second]);
    let c = Server::start(3, &[&second, &first]);
    for server in [&a, &b, &c] {
        server.says("has joined the cluster");
        server.says("has joined the cluster");
    }
    let made = ["groupspec", "new", "cluster", "--posting", "--server-channel", "--unique"];
    let spec = crate::support::succeed(&mut rtmfp(made)).0;
    let spec = spec.trim();

    let mut at_a = member(spec, &[&a]);
    event(&at_a, "joined");
    let at_b = member(spec, &[&b, &a]);
    let id_of_b = event(&at_b, "joined")["peer_id"].clone();
    assert_eq!(event(&at_a, "neighbor_connected")["peer_id"], id_of_b);
    let at_c = member(spec, &[&c]);
    event(&at_c, "neighbor_connected");
    at_a.type_line(r#"{"command":"post","value":"over three servers"}"#);
    for other in [&at_b, &at_c] {
        assert_eq!(event(other, "posting")["value"], "over three servers");
    }

    drop(first);
    for server in [&a, &b] {
        server.says("NATS can't be reached");
        server.says("connected to NATS");
    }
    let late = member(spec, &[&c]);
    event(&late, "neighbor_connected");

    drop(b);
    for server in [&a, &c] {
        server.says("is gone from the cluster");
    }
    // Its client goes to the other server that it knows, and is found there.
    event(&at_b, "disconnected");
    assert_eq!(event(&at_b, "connected")["server"], a.address.to_string());
    let last = member(spec, &[&c]);
    event(&last, "neighbor_connected");
    at_a.type_line(r#"{"command":"post","value":"over two servers"}"#);
    for other in [&at_b, &at_c, &late, &last] {
        assert_eq!(event(other, "posting")["value"], "over two servers");
    }

    // One that stops says so.
    c.running.interrupt();
    a.says("is gone from the cluster");
    assert_eq!(c.running.wait().0, Some(0));
}

#[test]
fn newcomers_are_sent_to_the_server_that_has_fewer_clients() {
    let Some(nats) = Nats::two() else { return };
    let a = Server::start(1, &[&nats[0]]);
    let b = Server::start(2, &[&nats[1]]);
    for server in [&a, &b] {
        server.says("has joined the cluster");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connect = || runtime.block_on(Connection::connect(&a.url())).unwrap();
    let mut clients: Vec<Connection> = (0..45).map(|_| connect()).collect();
    let line = a.says("newcomers are sent to ");
    assert!(line.contains(&format!("sent to [{}]", b.address)), "{line}");
    clients.push(connect());
    b.says("client connected");
}

/// Without NATS: a server that has enough clients sends newcomers to those that it knows.
#[test]
fn a_server_with_enough_clients_sends_newcomers_to_others() {
    let b = Server::start_with(2, &[], &[]);
    b.says("Press Ctrl-C to stop.");
    let others = b.address.to_string();
    let settings = [("RTMFP_CLUSTER_SERVERS", &*others), ("RTMFP_CLUSTER_ENOUGH", "1")];
    let a = Server::start_with(1, &[], &settings);
    a.says("Press Ctrl-C to stop.");
    let spec = "G:0103010c050e6368617400";
    let first = member(spec, &[&a]);
    assert_eq!(event(&first, "connected")["server"], a.address.to_string());
    a.says("newcomers are sent to other servers");
    let second = member(spec, &[&a]);
    event(&second, "connected");
    b.says("client connected");
    first.interrupt();
    a.says("newcomers are served here");
    let third = member(spec, &[&a]);
    event(&third, "connected");
    a.says("client connected");
}

/// The status of a server says how it stands with the others.
#[test]
fn the_status_has_the_cluster() {
    let lone = Served::start(&[]);
    assert_eq!(status(&lone)["cluster"], Value::Null);
    lone.stop();
    let Some([first, second]) = Nats::two() else { return };
    let a = Served::start(&["--cluster-nats", &first.url]);
    let b = Served::start(&["--cluster-nats", &second.url]);
    for server in [&a, &b] {
        wait_for(server, || status(server)["cluster"]["servers"] == 2);
    }
    let cluster = status(&a)["cluster"].clone();
    assert_eq!((&cluster["connected"], &cluster["commands"]["lost"]), (&true.into(), &0.into()));
    // A look-up of a peer that nobody is goes to the other server.
    let nobody = "ab".repeat(32);
    let uri = format!("{}app", a.uri);
    let seek = ["stream", "play", &nobody, "film", "-o", "-", "--listen", "127.0.0.1:0", "--via"];
    let _seeker = Running::start(rtmfp(seek).arg(uri));
    wait_for(&a, || status(&a)["cluster"]["commands"]["sent"].as_u64() > Some(0));
    wait_for(&b, || status(&b)["cluster"]["commands"]["received"].as_u64() > Some(0));
    // With one node alone each server would go to the other.
    drop((first, second));
    wait_for(&a, || {
        let cluster = status(&a)["cluster"].clone();
        (&cluster["connected"], &cluster["servers"]) == (&false.into(), &1.into())
    });
    let metrics = a.text("metrics");
    assert_eq!(metric(&metrics, "rtmfp_cluster_connected"), 0.0);
    assert_eq!(metric(&metrics, "rtmfp_cluster_members"), 1.0);
    assert!(metric(&metrics, "rtmfp_cluster_commands_total{result=\"sent\"}") > 0.0);
}

#[test]
fn a_stream_of_one_server_is_played_at_another() {
    let Some(nats) = Nats::two() else { return };
    let a = Server::start(1, &[&nats[0]]);
    let b = Server::start(2, &[&nats[1]]);
    for server in [&a, &b] {
        server.says("has joined the cluster");
    }
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clips/test-pattern.flv");
    let publish = ["stream", "publish", "server", "cam", clip, "--loop", "--json", "--via"];
    let _publisher = Running::start(rtmfp(publish).arg(a.url()));
    a.says("stream published");
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("cam.flv");
    let play = ["stream", "play", "server", "cam", "--for", "3s", "--via", &b.url(), "-o"];
    crate::support::succeed(rtmfp(play).arg(&output));
    let played = std::fs::read(output).unwrap();
    assert!(played.starts_with(b"FLV") && played.len() > 2000, "{}", played.len());
}
