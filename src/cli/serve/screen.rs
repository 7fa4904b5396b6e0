//! The text that a server prints at its start, for a developer to paste from.

use super::member::Introduced;
use crate::cli::public_address::PublicAddress;
use rtmfp::proto::flash::uri::DEFAULT_PORT;
use rtmfp::server::Server;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A URL that clients connect to.
pub(super) struct Url {
    pub(super) text: String,
    /// Usable on this host only.
    is_local: bool,
}

/// The URLs that clients connect to, the best first.
pub(super) fn urls(server: &Server, public: Option<&PublicAddress>) -> anyhow::Result<Vec<Url>> {
    let mut urls = Vec::new();
    if let Some(public) = public {
        let port = server.local_addresses().first().map_or(DEFAULT_PORT, SocketAddr::port);
        let address = public.of_server(port)?.to_string();
        let shown = address.strip_suffix(&format!(":{DEFAULT_PORT}")).unwrap_or(&address);
        urls.push(Url { text: format!("rtmfp://{shown}/"), is_local: false });
    }
    for (address, text) in server.client_addresses().iter().zip(server.client_uris()) {
        urls.push(Url { text, is_local: address.ip().is_loopback() });
    }
    if urls.is_empty() {
        // An address that is good for this link alone.
        let local = server.local_addresses().iter();
        urls.extend(local.map(|local| Url { text: format!("rtmfp://{local}/"), is_local: false }));
    }
    Ok(urls)
}

/// The line of the server's member of groups.
pub(super) fn member(member: &Introduced) -> String {
    format!("  {:<12} {}\n", "member", member.words())
}

/// Instructions for using this server; `page` has the lines of its page and its member. Writing to a `String` cannot fail.
pub(super) fn greeting(server: &Server, urls: &[Url], page: &str) -> String {
    let local = server.local_addresses();
    let listening: Vec<_> = local.iter().map(ToString::to_string).collect();
    let mut text = format!("RTMFP rendezvous server, listening on UDP {}\n", listening.join(", "));
    for (i, Url { text: url, is_local }) in urls.iter().enumerate() {
        let label = if i == 0 { "connect to" } else { "" };
        let note = if *is_local { "   (on this computer)" } else { "" };
        let _ = writeln!(text, "  {label:<12} {url}{note}");
    }
    let _ = writeln!(text, "  {:<12} {}", "fingerprint", server.fingerprint());
    text.push_str(page);
    if urls.iter().all(|url| url.is_local) && !local.iter().all(|local| local.ip().is_loopback()) {
        text.push_str("WARNING: this host has no network: only programs on it can connect\n");
    }
    text + &example(urls.first().map_or("rtmfp://HOST/", |url| &url.text))
}

/// The text to paste, with this URL.
fn example(url: &str) -> String {
    format!(
        r#"Any application name works: it is what follows the slash.

In ActionScript:
  var nc:NetConnection = new NetConnection();
  nc.connect("{url}myapp");
  // and after NetConnection.Connect.Success:
  var spec:GroupSpecifier = new GroupSpecifier("mygroup");
  spec.serverChannelEnabled = true;  // members meet by way of this server
  spec.postingEnabled = true;        // or multicastEnabled, routingEnabled, ...
  var group:NetGroup = new NetGroup(nc, spec.groupspecWithAuthorizations());

To share a file:
  rtmfp share FILE --via {url}myapp

Press Ctrl-C to stop.
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_fits_and_has_the_url_in_it() {
        let text = example("rtmfp://[2001:db8:1234:5678::7]:19350/");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(text.matches("rtmfp://[2001:db8:1234:5678::7]:19350/myapp").count(), 2);
    }
}
