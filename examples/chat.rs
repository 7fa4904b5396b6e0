//! A chat in a group, as a Flash application with Adobe's `NetGroup` chat has it: each message is a
//! posted object with the members `user` and `text`, and a number that makes it differ from earlier ones.
//!
//! In three terminals:
//!
//! ```sh
//! cargo run -- serve --listen 127.0.0.1:1935
//! cargo run --example chat rtmfp://127.0.0.1/chat Ann
//! cargo run --example chat rtmfp://127.0.0.1/chat Ben
//! ```
//!
//! Type `hello` in the second: `Ann: hello` appears in the third.

use rtmfp::amf::{Object, Value};
use rtmfp::peer::{Connection, GroupEvent, RecvError};
use rtmfp::{GroupSpec, GroupSpecBuilder};
use std::error::Error;
use tokio::sync::mpsc;

/// The group of all who run this example at one server.
fn spec() -> Result<GroupSpec, Box<dyn Error>> {
    Ok(GroupSpecBuilder::new("example-chat")?.posting(true).server_channel(true).build()?)
}

/// What is typed.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        let typed = std::io::stdin().lines().map_while(Result::ok);
        typed.map(|line| sender.blocking_send(line)).all(|sent| sent.is_ok())
    });
    lines
}

/// A text of a stranger's, without control characters.
fn shown(value: Option<&Value>) -> String {
    let text = value.and_then(Value::as_str).unwrap_or("?");
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(server), Some(user)) = (args.next(), args.next()) else {
        return Err("write a server and your name: rtmfp://127.0.0.1/chat Ann".into());
    };
    let connection = Connection::connect(&server).await?;
    let group = connection.join(spec()?).await?;
    let (mut events, mut lines, mut sequence) = (group.events(), lines(), 0);
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                sequence += 1;
                let message = Object::new().with("user", user.as_str()).with("text", line.as_str());
                group.post(&message.with("sequence", sequence).into()).await?;
            }
            event = events.recv() => match event {
                Ok(GroupEvent::PostingNotify { message, .. }) => {
                    let Ok(Value::Object(message)) = message.decode() else { continue };
                    println!("{}: {}", shown(message.property("user")), shown(message.property("text")));
                }
                Ok(GroupEvent::NeighborConnect { .. }) => println!("(somebody is here)"),
                Err(RecvError::Closed) => break,
                _ => {}
            }
        }
    }
    group.close().await;
    Ok(())
}
