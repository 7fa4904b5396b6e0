//! What `rtmfp serve` shows of itself by HTTP.

use crate::support::{PATIENCE, Running, rtmfp};
use rtmfp::server::{Server, ServerConfig};
use rtmfp::web::admin::Admin;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use ureq::http::Response;
use ureq::{Agent, Body};

/// A running `rtmfp serve` with its page.
pub struct Served {
    running: Running,
    /// Where clients connect.
    pub uri: String,
    /// The URL of the page, with a slash at its end.
    pub url: String,
}

impl Served {
    pub fn start(more: &[&str]) -> Self {
        Self::start_in(&[], more)
    }

    /// The same, with these environment variables.
    pub fn start_in(variables: &[(&str, &str)], more: &[&str]) -> Self {
        let mut command = rtmfp(["serve", "--json", "--listen", "127.0.0.1:0"]);
        command.envs(variables.iter().copied());
        let running = Running::start(command.args(["--admin", "0"]).args(more));
        let listening: Value = serde_json::from_str(&running.line()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { running, uri: text(&listening["urls"][0]), url: text(&listening["admin"]) }
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = agent().get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call().unwrap()
    }

    /// The text of a page that is there.
    pub fn text(&self, path: &str) -> String {
        let mut response = self.get(path, &[]);
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.body_mut().read_to_string().unwrap()
    }

    /// JSON that is there.
    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap()
    }

    /// Server-sent events: name and data.
    pub fn events(&self) -> impl Iterator<Item = (String, Value)> {
        let response = self.get("api/v1/events", &[]);
        assert_eq!(header(&response, "content-type"), "text/event-stream");
        let lines = BufReader::new(response.into_body().into_reader()).lines();
        let mut name = String::new();
        lines.map_while(Result::ok).filter_map(move |line| {
            if let Some(of) = line.strip_prefix("event: ") {
                name = of.to_owned();
            }
            let data = serde_json::from_str(line.strip_prefix("data: ")?).unwrap();
            Some((name.clone(), data))
        })
    }

    /// Waits until the server reports such an event.
    pub fn until(&self, event: &str) -> Value {
        let wanted = format!("\"event\":\"{event}\"");
        let line = self.running.until(|line| line.contains(&wanted)).pop().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Has the server read its settings again.
    pub fn hang_up(&self) {
        self.running.signal("-HUP");
    }

    /// Ctrl-C.
    pub fn stop(self) {
        assert_eq!(self.stop_with_log(), "");
    }

    /// The same; returns the log.
    pub fn stop_with_log(self) -> String {
        self.running.interrupt();
        let (status, _, err) = self.running.wait();
        assert_eq!(status, Some(0), "{err}");
        err
    }

    /// A member of a group at this server.
    pub fn member(&self, app: &str, group: &str) -> Running {
        let via = format!("{}{app}", self.uri);
        Running::start(rtmfp(["join", group, "--via", &via]).args(["--listen", "127.0.0.1:0"]))
    }
}

/// A group in which members meet by way of the server.
pub const GROUP: &str = "G:0103010c050e6368617400";

fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().into()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The value of a metric, labels included in its name.
pub fn metric(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let mut values = lines.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let value = values.next().unwrap_or_else(|| panic!("no {name} in\n{text}"));
    assert_eq!(values.next(), None, "{name} twice");
    value.parse().unwrap()
}

#[test]
fn health_and_metrics_of_a_server_with_a_client() {
    let served = Served::start(&[]);
    assert_eq!(served.text("healthz"), "The process runs.\n");
    assert_eq!(served.text("readyz"), "Clients can connect.\n");
    assert_eq!(metric(&served.text("metrics"), "rtmfp_clients"), 0.0);

    let member = served.member("chat", GROUP);
    served.until("joined");
    let response = served.get("metrics", &[]);
    assert!(header(&response, "content-type").starts_with("text/plain; version=0.0.4"));
    let text = served.text("metrics");
    for (name, value) in [
        ("rtmfp_clients", 1.0),
        ("rtmfp_sessions", 1.0),
        ("rtmfp_groups", 1.0),
        ("rtmfp_clients_connected_total", 1.0),
        ("rtmfp_introductions_total{result=\"made\"}", 0.0),
        ("rtmfp_introductions_total{result=\"unknown\"}", 0.0),
        ("rtmfp_refused_total{reason=\"session_evicted\"}", 0.0),
    ] {
        assert_eq!(metric(&text, name), value, "{name}");
    }
    for name in ["rtmfp_datagrams_total", "rtmfp_bytes_total"] {
        for direction in ["in", "out"] {
            assert!(metric(&text, &format!("{name}{{direction=\"{direction}\"}}")) > 0.0);
        }
    }
    assert!(metric(&text, "rtmfp_uptime_seconds") > 0.0);
    assert!(
        text.contains(&format!("rtmfp_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")))
    );
    let names = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    assert!(names.clone().count() > 20 && names.clone().all(|line| line.starts_with("rtmfp_")));
    // Each is described in the manual.
    let manual = include_str!("../../docs/server.md");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(manual.contains(&format!("`{name}")), "{name} is not in docs/server.md");
    }
    drop(member);
    served.stop();
}

#[test]
fn a_server_is_not_ready_while_it_starts_and_stops() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let page = runtime.block_on(Admin::open(([127, 0, 0, 1], 0).into())).unwrap();
    let url = page.url();
    let get = |path: &str| {
        let mut response = agent().get(format!("{url}{path}")).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let not_yet = (503, "The server starts.\n".to_owned());
    assert_eq!((get("readyz"), get("healthz").0, get("metrics").0), (not_yet, 200, 503));
    assert_eq!((get("api/v1/status").0, get("api/v1/events").0, get("").0), (503, 503, 200));
    let config = ServerConfig::default().with_listen(vec![([127, 0, 0, 1], 0).into()]);
    let server = runtime.block_on(Server::start(config)).unwrap();
    page.show(&server);
    assert_eq!((get("readyz").0, get("api/v1/status").0), (200, 200));
    page.stopping();
    let stops = (503, "The server stops.\n".to_owned());
    assert_eq!((get("readyz"), get("healthz").0, get("metrics").0), (stops, 200, 200));
    runtime.block_on(server.stop(PATIENCE)).unwrap();
    assert_eq!((get("metrics").0, get("api/v1/groups").0), (503, 503));
    runtime.block_on(page.close());
    assert!(agent().get(&url).call().is_err());
}

#[test]
fn other_pages_and_other_names_read_nothing() {
    let served = Served::start(&[]);
    for host in ["evil.example", "evil.example:8936", "127.0.0.1.evil.example"] {
        for path in ["", "metrics", "readyz", "nothing"] {
            let refused = served.get(path, &[("host", host)]);
            assert_eq!(refused.status().as_u16(), 421, "{host} {path}");
        }
    }
    let response = served.get("metrics", &[("origin", "http://evil.example")]);
    assert_eq!(header(&response, "access-control-allow-origin"), "");
    assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
    assert!(header(&response, "content-security-policy").starts_with("default-src 'none';"));
    assert_eq!(served.get("nothing", &[]).status().as_u16(), 404);
    served.stop();
}

/// Option, environment and file name the hosts, in this order.
#[test]
fn the_page_is_reached_by_names_of_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serve.toml");
    std::fs::write(&file, "[admin]\nhosts = [\"of-file.example\"]\n").unwrap();
    let file = file.to_str().unwrap();
    let names = ["of-file.example", "of-environment.example", "of-option.example"];
    let variables = [("RTMFP_ADMIN_HOSTS", "of-environment.example")];
    let option: &[&str] = &["--config", file, "--admin-host", "Of-Option.example"];
    for (own, variables, options) in
        [(0, &[][..], &option[..2]), (1, &variables[..], &option[..2]), (2, &variables[..], option)]
    {
        let served = Served::start_in(variables, options);
        for (number, name) in names.iter().enumerate() {
            let status = served.get("readyz", &[("host", name)]).status().as_u16();
            assert_eq!(status, if number == own { 200 } else { 421 }, "{name} at {own}");
        }
        let port = served.get("readyz", &[("host", &format!("{}:80", names[own]))]);
        assert_eq!(port.status().as_u16(), 200);
        served.stop();
    }
    let err = crate::support::fail(&mut rtmfp(["serve", "--admin-host", "a:80"]), 2);
    assert!(err.contains("must be a name without port and path"), "{err}");
}

/// The address of the page is a setting as well: the option overrules the environment, and that the
/// file.
#[test]
fn the_address_of_the_page_is_a_setting() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("serve.toml");
    std::fs::write(&file, "[admin]\nlisten = \"off\"\n").unwrap();
    let page = |variable: Option<&str>, options: &[&str]| -> Option<String> {
        let mut command = rtmfp(["serve", "--json", "--listen", "127.0.0.1:0"]);
        command.arg("--config").arg(&file).args(options);
        if let Some(listen) = variable {
            command.env("RTMFP_ADMIN_LISTEN", listen);
        }
        let server = Running::start(&mut command);
        let listening: Value = serde_json::from_str(&server.line()).unwrap();
        server.interrupt();
        assert_eq!(server.wait().0, Some(0));
        listening["admin"].as_str().map(str::to_owned)
    };
    assert_eq!(page(None, &[]), None);
    let at_loopback = |page: Option<String>| page.unwrap().starts_with("http://127.0.0.1:");
    assert!(at_loopback(page(Some("0"), &[])));
    assert!(at_loopback(page(None, &["--admin", "127.0.0.1:0"])));
    assert_eq!(page(Some("0"), &["--no-admin"]), None);
    assert!(at_loopback(page(Some("off"), &["--admin", "0"])));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = rtmfp(["serve", "--listen", "127.0.0.1:0"]);
    let err = crate::support::fail(command.env("RTMFP_ADMIN_LISTEN", &address), 1);
    assert!(err.contains(&format!("cannot serve the status page at {address}")), "{err}");
}

#[test]
fn a_taken_address_is_an_error_if_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = rtmfp(["serve", "--listen", "127.0.0.1:0", "--admin", &address]);
    let err = crate::support::fail(&mut command, 1);
    assert!(err.contains(&format!("cannot serve the status page at {address}")), "{err}");
    assert!(err.contains("--no-admin"), "{err}");
}

/// Of two servers on one host, the second goes on without a page, and says so.
#[test]
fn the_usual_address_may_be_taken() {
    // Perhaps by another test's server, which is as good.
    let holder = TcpListener::bind("127.0.0.1:8936");
    let server = Running::start(&mut rtmfp(["serve", "--listen", "127.0.0.1:0"]));
    let screen = server.until(|line| line == "Press Ctrl-C to stop.").join("\n");
    if holder.is_ok() {
        assert!(screen.contains("status page  none: 127.0.0.1:8936 is taken"), "{screen}");
    }
    server.interrupt();
    assert_eq!(server.wait().0, Some(0));

    let quiet = Running::start(&mut rtmfp(["serve", "--listen", "127.0.0.1:0", "--no-admin"]));
    let screen = quiet.until(|line| line == "Press Ctrl-C to stop.").join("\n");
    assert!(!screen.contains("status page"), "{screen}");
}
