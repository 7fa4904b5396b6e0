//! A hash table that is spread over the members of a group, by directed messages.
//!
//! Each key has a group address, and the member nearest to it keeps the value. Members know only their
//! neighbors: a message to an address is forwarded until it reaches the nearest of all. With a
//! rendezvous server running (`rtmfp serve`), type this in a few terminals:
//!
//! ```text
//! $ cargo run --example routing rtmfp://127.0.0.1/example serve
//! I am 5e1d…, responsible for 0000… to ffff…
//! now responsible for 21c4… to a1c4…
//! keeping color for 93e0…
//! 8be0… asks for color
//! ```
//!
//! and in another:
//!
//! ```text
//! $ cargo run --example routing rtmfp://127.0.0.1/example put color blue
//! color: "blue"; hops to its keeper: 1
//! $ cargo run --example routing rtmfp://127.0.0.1/example get color
//! color: "blue"; hops to its keeper: 1
//! ```
//!
//! Values are not handed on when members come and go: what is asked for after that may be elsewhere.

use rtmfp::amf::Value;
use rtmfp::peer::{
    Connection, GroupAddress, GroupEvent, NetGroup, NetGroupEvents, ReceiveMode, RecvError,
    RoutedMessage, SendResult,
};
use rtmfp::{Fingerprint, GroupSpecBuilder};
use std::collections::HashMap;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some((uri, command)) = words.split_first() else { return Err(usage()) };
    let connection = Connection::connect(uri).await?;
    let spec =
        GroupSpecBuilder::new("example/table")?.routing(true).server_channel(true).build()?;
    let group = connection.join(spec).await?;
    match *command {
        ["serve"] => serve(&group).await?,
        ["put", key, value] => ask(&group, key, [("put", key), ("value", value)]).await?,
        ["get", key] => ask(&group, key, [("get", key)]).await?,
        _ => return Err(usage()),
    }
    connection.close(Duration::from_secs(2)).await?;
    Ok(())
}

fn usage() -> Box<dyn std::error::Error> {
    "usage: routing rtmfp://HOST/APP serve | put KEY VALUE | get KEY".into()
}

/// The address of a key: as a member has one by its peer ID.
fn address_of(key: &str) -> GroupAddress {
    let mut name = [0; 32];
    for (place, byte) in key.bytes().enumerate() {
        name[place % 32] ^= byte;
    }
    GroupAddress::of(&Fingerprint(name))
}

/// Keeps what it is the nearest member for, until Ctrl-C.
async fn serve(group: &NetGroup) -> Result<()> {
    group.set_receive_mode(ReceiveMode::Nearest).await?;
    let (from, to) = group.local_coverage().await?;
    println!("I am {}, responsible for {from} to {to}", group.address());
    let mut kept: HashMap<String, Value> = HashMap::new();
    let mut events = group.events();
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return Ok(()),
        };
        if let GroupEvent::LocalCoverageNotify { from, to } = event {
            println!("now responsible for {from} to {to}");
        }
        match group.forward(&event).await {
            Ok(Some(message)) => answer(group, &mut kept, &message).await?,
            Ok(None) => {}
            Err(error) => println!("not forwarded: {error}"),
        }
    }
}

/// A message that has come to its destination: `{put, value, reply_to}` or `{get, reply_to}`.
async fn answer(
    group: &NetGroup,
    kept: &mut HashMap<String, Value>,
    message: &RoutedMessage,
) -> Result<()> {
    let text = |name| message.value.property(name).and_then(Value::as_str);
    let Some(reply_to) = text("reply_to") else { return Ok(()) };
    let value = if let Some(key) = text("put") {
        println!("keeping {key} for {reply_to}");
        let value = message.value.property("value").cloned().unwrap_or_default();
        kept.insert(key.to_owned(), value.clone());
        value
    } else {
        let key = text("get").unwrap_or_default();
        println!("{reply_to} asks for {key}");
        kept.get(key).cloned().unwrap_or(Value::Null)
    };
    let hops = message.hops.unwrap_or(0);
    let reply = Value::object([("value", value), ("hops", hops.into())]);
    let _ = group.send_routed(RoutedMessage::new(reply_to.parse()?, reply)).await?;
    Ok(())
}

/// Asks the keeper of a key, and waits for its answer, which comes to this member's own address.
async fn ask<const N: usize>(
    group: &NetGroup,
    key: &str,
    question: [(&'static str, &str); N],
) -> Result<()> {
    let reply_to = group.address().to_string();
    let question = question.into_iter().chain([("reply_to", reply_to.as_str())]);
    let question = RoutedMessage::new(address_of(key), Value::object(question));
    let mut events = group.events();
    let mut reply = None;
    // Nothing acknowledges a message, and the keeper may not be able to reach a member yet that has
    // just joined.
    for _ in 0..5 {
        send(group, question.clone()).await?;
        let answer = tokio::time::timeout(Duration::from_secs(2), next_message(&mut events)).await;
        if let Ok(answer) = answer {
            reply = Some(answer?);
            break;
        }
    }
    let reply = reply.ok_or("no answer")?;
    let reply = RoutedMessage::from_value(&reply).ok_or("not an answer")?;
    match reply.value.property("value") {
        Some(value) if !value.is_nothing() => {
            let hops = reply.value.property("hops").and_then(Value::as_u32).unwrap_or(0);
            println!("{key}: {value}; hops to its keeper: {hops}");
        }
        _ => println!("{key}: nobody has it"),
    }
    Ok(())
}

async fn next_message(events: &mut NetGroupEvents) -> Result<Value> {
    loop {
        match events.recv().await {
            Ok(GroupEvent::SendToNotify { message, .. }) => return Ok(message.decode()?),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(error @ RecvError::Closed) => return Err(error.into()),
        }
    }
}

/// Sends, as soon as a member is known that takes it.
async fn send(group: &NetGroup, message: RoutedMessage) -> Result<()> {
    let mut pauses = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..50 {
        pauses.tick().await;
        if group.send_routed(message.clone()).await? == SendResult::Sent {
            return Ok(());
        }
    }
    Err("no member that serves was found".into())
}
