//! `rtmfp serve` as a process: its screen, and the forms of its addresses.
#![cfg(unix)]

use crate::support::{Running, fail, rtmfp};

#[test]
fn one_screen_to_paste_from() {
    let server = Running::start(&mut rtmfp(["serve", "--listen", "127.0.0.1:0"]));
    let screen = server.until(|line| line == "Press Ctrl-C to stop.");
    let text = screen.join("\n");
    assert!(screen.iter().all(|line| line.chars().count() <= 80), "{text}");
    assert!(screen.len() < 24, "{text}");
    let url = text.split_whitespace().find(|word| word.starts_with("rtmfp://")).unwrap();
    assert!(text.contains("Any application name works"), "{text}");
    assert!(text.contains(&format!("nc.connect(\"{url}myapp\");")), "{text}");
    assert!(text.contains(&format!("rtmfp share FILE --via {url}myapp")), "{text}");
    assert!(text.contains("spec.serverChannelEnabled = true;"), "{text}");

    // A client is reported once, and the log has nothing besides.
    let joined =
        rtmfp(["join", "G:0103010c050e6368617400", "--via", &format!("{url}chat"), "--for", "0"])
            .args(["--listen", "127.0.0.1:0"])
            .output();
    drop(joined);
    server.interrupt();
    let (status, lines, err) = server.wait();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(err, "");
    assert!(lines.last().unwrap().starts_with("stopped after "), "{lines:?}");
}

#[test]
fn clients_are_reported_on_short_lines() {
    let (server, address) = Running::server("127.0.0.1:0", [""; 0]);
    let via = format!("rtmfp://{address}/chat");
    let member = Running::start(
        rtmfp(["join", "G:0103010c050e6368617400", "--via", &via])
            .args(["--listen", "127.0.0.1:0"]),
    );
    let line = server.until(|line| line.contains("client ")).pop().unwrap();
    assert!(line.contains(" connected from 127.0.0.1:"), "{line}");
    assert!(line.ends_with(", application chat") && line.len() <= 100, "{line}");
    member.interrupt();
    assert!(server.until(|line| line.contains("client ")).pop().unwrap().ends_with(" gone"));
}

#[test]
fn addresses_as_people_write_them() {
    for (listen, on) in [
        ("0", "0.0.0.0:"),
        (":0", "0.0.0.0:"),
        ("localhost:0", "127.0.0.1:"),
        ("127.0.0.1:0", "127.0.0.1:"),
    ] {
        let server = Running::start(&mut rtmfp(["serve", "-l", listen]));
        assert!(server.line().contains(&format!("listening on UDP {on}")), "{listen}");
    }
    let err = fail(&mut rtmfp(["serve", "-l", "99999"]), 2);
    assert!(err.contains("write a port (1935)"), "{err}");
}

#[test]
fn a_folder_of_shared_objects_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_str().unwrap();
    let serve = || rtmfp(["serve", "-l", "127.0.0.1:0", "--shared-objects", folder]);
    let first = Running::start(serve().args(["--workers", "2"]));
    first.line();
    let err = fail(&mut serve(), 1);
    assert!(
        err.contains("another server keeps its shared objects in ") && err.contains(folder),
        "{err}"
    );
    first.interrupt();
    assert_eq!(first.wait().0, Some(0));
    std::fs::write(directory.path().join("x.object"), "nonsense").unwrap();
    let err = fail(&mut serve(), 1);
    assert!(
        err.contains("x.object is no whole shared object; to start without it, move it"),
        "{err}"
    );
}

#[test]
fn a_hook_that_cannot_be_used_is_named() {
    let err = fail(&mut rtmfp(["serve", "-l", "127.0.0.1:0", "--hook", "127.0.0.1:80"]), 1);
    assert!(err.contains("must be one of http or https, such as http://127.0.0.1:8000/"), "{err}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("http://{}/", taken.local_addr().unwrap());
    drop(taken);
    let (server, address) = Running::server("127.0.0.1:0", ["--hook", &hook]);
    let via = format!("rtmfp://{address}/chat");
    let member = ["join", "G:0103010c050e6368617400", "--listen", "127.0.0.1:0", "--via", &via];
    let err = fail(&mut rtmfp(member), 1);
    assert!(err.contains("the server could not find out whether this is allowed"), "{err}");
    let line = server.until(|line| line.contains(" refused at chat: ")).pop().unwrap();
    assert!(line.ends_with("the hook has refused it"), "{line}");
    server.interrupt();
    let (_, _, log) = server.wait();
    assert!(log.contains("the hook has not decided: "), "{log}");
}
