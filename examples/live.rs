//! A live stream in a group: one member publishes a counter as data messages, as ActionScript's
//! `NetStream.send` does, and the others play it.
//!
//! In three terminals:
//!
//! ```sh
//! cargo run -- serve --listen 127.0.0.1:1935
//! cargo run --example live rtmfp://127.0.0.1/live publish
//! cargo run --example live rtmfp://127.0.0.1/live play
//! ```
//!
//! `onCount 5`, `onCount 6` and so on appear in the third; with Ctrl-C in the second, `the stream has ended`.

use rtmfp::amf::{Reader, Value};
use rtmfp::peer::{Body, Connection, NetGroup, NetStreamEvent};
use rtmfp::{GroupSpec, GroupSpecBuilder};
use std::error::Error;
use std::time::Duration;

/// The group of all who run this example at one server.
fn spec() -> Result<GroupSpec, Box<dyn Error>> {
    Ok(GroupSpecBuilder::new("example-live")?.multicast(true).server_channel(true).build()?)
}

async fn publish(group: &NetGroup) -> Result<(), Box<dyn Error>> {
    let stream = group.publish("counter").await?;
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for count in 0_u32.. {
        tokio::select! {
            _ = seconds.tick() => {
                stream.send(1000 * count, "onCount", &[Value::from(count)]).await?;
            }
            stop = tokio::signal::ctrl_c() => {
                stop?;
                break;
            }
        }
    }
    let delivered = stream.close(Duration::from_secs(10)).await?;
    println!("{}", if delivered { "everybody has all of it" } else { "somebody lacks the end" });
    Ok(())
}

async fn play(group: &NetGroup) -> Result<(), Box<dyn Error>> {
    let mut stream = group.play("counter").await?;
    loop {
        match stream.recv().await? {
            NetStreamEvent::Message(message) => {
                let Body::Data(_, values) = message.body else { continue };
                let values = Reader::new(values).read_all()?;
                if let [Value::String(handler), Value::Number(count)] = &values[..] {
                    println!("{handler} {count}");
                }
            }
            NetStreamEvent::Ended => println!("the stream has ended"),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(server), Some(role)) = (args.next(), args.next()) else {
        return Err("write a server and a role: rtmfp://127.0.0.1/live publish (or play)".into());
    };
    let connection = Connection::connect(&server).await?;
    let group = connection.join(spec()?).await?;
    let done = match role.as_str() {
        "publish" => publish(&group).await,
        "play" => play(&group).await,
        other => Err(format!("{other:?} is no role: publish or play").into()),
    };
    connection.close(Duration::from_secs(2)).await?;
    done
}
