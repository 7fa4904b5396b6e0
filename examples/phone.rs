//! A text phone between two peers, in the way of the video phones that Flash applications were: the
//! caller invites by `relay` through the server, and each plays the stream that the other publishes to
//! peers. What is typed goes from peer to peer.
//!
//! In three terminals:
//!
//! ```sh
//! cargo run -- serve --listen 127.0.0.1:1935
//! cargo run --example phone rtmfp://127.0.0.1/phone                # prints its peer ID
//! cargo run --example phone rtmfp://127.0.0.1/phone PEERID         # calls it
//! ```
//!
//! `ringing` appears in the second and `connected` in both, then each line that is typed in one in the
//! other; `hung up` when one of them ends with Ctrl-D or Ctrl-C.

use rtmfp::amf::{Reader, Value};
use rtmfp::peer::{Body, Connection, NetStreamEvent, PublishedStream};
use rtmfp::proto::crypto::Fingerprint;
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc;

const STREAM: &str = "voice";

/// The lines that are typed, read by a thread.
fn typed() -> mpsc::Receiver<String> {
    let (sender, typed) = mpsc::channel(16);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lines().map_while(Result::ok);
        lines.take_while(|line| sender.blocking_send(line.clone()).is_ok()).count()
    });
    typed
}

/// Waits for a call: the peer ID of the caller.
async fn wait_for_call(connection: &Connection) -> Result<Fingerprint, Box<dyn Error>> {
    let (calls, mut called) = mpsc::channel(1);
    connection
        .set_method("onRelay", move |args: &[Value]| {
            if let [Value::String(caller), Value::String(what), ..] = args
                && &**what == "invite"
                && let Ok(caller) = caller.parse::<Fingerprint>()
            {
                // A second call while the first rings is not answered.
                let _ = calls.try_send(caller);
            }
            Ok(Value::Undefined)
        })
        .await?;
    println!("my peer ID: {}", connection.peer_id());
    let caller = called.recv().await.ok_or("the connection was closed")?;
    println!("ringing: {caller}");
    Ok(caller)
}

/// Sends what is typed and prints what the other says, until one hangs up.
async fn talk(
    connection: &Connection,
    mut voice: PublishedStream,
    other: Fingerprint,
) -> Result<(), Box<dyn Error>> {
    let mut heard = connection.play_from_peer(other, STREAM).await?;
    let mut typed = typed();
    loop {
        tokio::select! {
            line = typed.recv() => match line {
                Some(line) => voice.send(0, "onLine", &[Value::from(line.as_str())]).await?,
                None => break,
            },
            event = heard.recv() => match event? {
                NetStreamEvent::Message(message) => {
                    let Body::Data(_, values) = message.body else { continue };
                    if let [_, Value::String(line), ..] = &Reader::new(values).read_all()?[..] {
                        println!("> {line}");
                    }
                }
                NetStreamEvent::Ended => break println!("hung up"),
                NetStreamEvent::Failed(error) => return Err(error.into()),
                _ => {}
            },
            event = voice.recv() => match event? {
                NetStreamEvent::PeerConnect { peer_id } if peer_id == other => {
                    println!("connected");
                }
                NetStreamEvent::PeerDisconnect { peer_id } if peer_id == other => {
                    break println!("hung up");
                }
                _ => {}
            },
            stop = tokio::signal::ctrl_c() => {
                stop?;
                break;
            }
        }
    }
    voice.close(Duration::from_secs(5)).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let server = args.next().ok_or("write a server: rtmfp://127.0.0.1/phone")?;
    let connection = Connection::connect(&server).await?;
    let voice = connection.publish_to_peers(STREAM).await?;
    let other = match args.next() {
        Some(peer_id) => {
            let invitation = vec![Value::from(peer_id.as_str()), Value::from("invite")];
            connection.call("relay", invitation).await?;
            peer_id.parse()?
        }
        None => wait_for_call(&connection).await?,
    };
    let done = talk(&connection, voice, other).await;
    connection.close(Duration::from_secs(5)).await?;
    done
}
