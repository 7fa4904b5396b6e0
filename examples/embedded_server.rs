//! A rendezvous server inside another program, which decides what clients may do.
//!
//! ```text
//! $ cargo run --example embedded_server                       # every address, port 1935
//! $ cargo run --example embedded_server 127.0.0.1:19350       # one address
//! clients connect to rtmfp://127.0.0.1:19350/
//! 2 clients, 1 groups, 1 introductions
//! ```
//!
//! `nc.call("greet", responder, "Ann")` gets "hello, Ann"; only the stream "lobby" can be published, and
//! for another one `NetStream.publish` gets `NetStream.Publish.Denied`.
//!
//! It prints a line whenever the counters have changed. Ctrl-C stops the server and closes the
//! clients' connections; Flash Player reports `NetConnection.Connect.Closed`.

use rtmfp::amf::Value;
use rtmfp::server::{Caller, Decision, Hooks, Server, ServerConfig};
use std::time::Duration;

/// The logic of this server.
struct Lobby;

impl Hooks for Lobby {
    async fn on_publish(&self, _client: &Caller, name: &str) -> Decision {
        // A real program would ask its database here, and nobody else would wait for that.
        match name {
            "lobby" => Decision::Allow,
            _ => Decision::deny("only lobby is open"),
        }
    }

    async fn on_call(&self, _client: &Caller, method: &str, args: &[Value]) -> Decision {
        match (method, args.first().and_then(Value::as_str)) {
            ("greet", Some(name)) => Decision::Answer(format!("hello, {name}").as_str().into()),
            _ => Decision::Unknown,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let mut config = ServerConfig::default().with_hooks(Lobby);
    let listen: Vec<_> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    if !listen.is_empty() {
        config.listen = listen;
    }
    let server = Server::start(config).await?;
    for uri in server.client_uris() {
        println!("clients connect to {uri}");
    }

    let mut shown = None;
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = every_second.tick() => {}
            interrupted = tokio::signal::ctrl_c() => break interrupted?,
        }
        let stats = server.stats().await?.rendezvous;
        if shown.replace(stats) != Some(stats) {
            let (clients, groups) = (stats.clients, stats.groups);
            println!("{clients} clients, {groups} groups, {} introductions", stats.introductions);
        }
    }
    server.stop(Duration::from_secs(5)).await?;
    Ok(())
}
