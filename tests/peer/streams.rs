//! Streams of a group over real sockets on loopback.

use rtmfp::amf::Value;
use rtmfp::media::flv;
use rtmfp::peer::{
    Body, Connection, Format, GroupEvent, Message, NetGroup, NetGroupError, NetStreamEvent,
    PlayedStream,
};
use rtmfp::proto::group::{GroupError, GroupSpec, GroupSpecBuilder};
use rtmfp::server::{Server, ServerConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const GRACE: Duration = Duration::from_secs(600);

fn spec() -> GroupSpec {
    let builder = GroupSpecBuilder::new("streams").unwrap().multicast(true);
    builder.server_channel(true).build().unwrap()
}

async fn server() -> Server {
    let config = ServerConfig::default().with_listen(vec!["127.0.0.1:0".parse().unwrap()]);
    Server::start(config).await.unwrap()
}

async fn members(server: &Server, count: usize) -> Vec<NetGroup> {
    let uri = server.client_uris().remove(0);
    let mut groups = Vec::new();
    for _ in 0..count {
        let connection = Connection::connect(&uri).await.unwrap();
        groups.push(connection.join(spec()).await.unwrap());
    }
    for group in &groups {
        group.watch_neighbor_count().wait_for(|&c| c == count - 1).await.unwrap();
    }
    groups
}

/// The next message that is no command.
async fn next(played: &mut PlayedStream) -> Message {
    loop {
        match played.recv().await.unwrap() {
            NetStreamEvent::Message(message) if message.tag().is_some() => return message,
            NetStreamEvent::Ended => panic!("ended"),
            _ => {}
        }
    }
}

async fn ended(played: &mut PlayedStream) {
    while played.recv().await.unwrap() != NetStreamEvent::Ended {}
}

#[tokio::test]
async fn messages_arrive_as_they_were_sent_and_the_end_too() {
    let server = server().await;
    let groups = members(&server, 3).await;
    let mut played = [groups[1].play("news").await.unwrap(), groups[2].play("news").await.unwrap()];
    let published = groups[0].publish("news").await.unwrap();
    let bytes = Value::ByteArray(vec![0, 1, 2, 255].into());
    published.send(1, "onBytes", &[bytes.clone(), Value::from(1.5)]).await.unwrap();
    for played in &mut played {
        let NetStreamEvent::MulticastReset = played.recv().await.unwrap() else {
            panic!("no beginning")
        };
        let first = next(played).await;
        let Body::Data(Format::Extended, values) = first.body else { panic!("{first:?}") };
        let values = rtmfp::amf::Reader::new(values).read_all().unwrap();
        assert_eq!(values, [Value::from("onBytes"), bytes.clone(), Value::from(1.5)]);
    }
    let sent: Vec<Message> = (0..60_u32)
        .map(|n| {
            let bytes = vec![n as u8; 1 + 97 * n as usize].into();
            let body = if n % 3 == 0 { Body::Audio(bytes) } else { Body::Video(bytes) };
            Message::new(100 + 20 * n, body)
        })
        .collect();
    for message in &sent {
        published.write(message.clone()).await.unwrap();
    }
    for played in &mut played {
        for message in &sent {
            assert_eq!(&next(played).await, message);
        }
    }
    let mut parameters = played[0].multicast_parameters().await.unwrap().unwrap();
    parameters.push_neighbor_limit = 1;
    played[0].set_multicast_parameters(parameters).await.unwrap();
    assert_eq!(played[0].multicast_parameters().await.unwrap(), Some(parameters));
    let info = published.multicast_info().await.unwrap();
    assert!(info.fragments_pushed_to_peers + info.fragments_requested_by_peers >= 60, "{info:?}");
    assert!(published.close(GRACE).await.unwrap(), "all was delivered");
    for played in &mut played {
        ended(played).await;
    }
    let mut events = groups[1].events();
    loop {
        if let GroupEvent::MulticastStreamUnpublishNotify { name } = events.recv().await.unwrap() {
            assert_eq!(name, "news");
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_ends_and_the_next_of_its_name_is_played() {
    let server = server().await;
    let groups = members(&server, 2).await;
    let mut played = groups[1].play("news").await.unwrap();
    for n in 0..2 {
        let published = groups[0].publish("news").await.unwrap();
        let message = Message::new(n, Body::Audio(vec![n as u8].into()));
        published.write(message.clone()).await.unwrap();
        assert_eq!(next(&mut played).await, message);
        drop(published);
        ended(&mut played).await;
    }
}

#[tokio::test]
async fn an_flv_goes_in_and_comes_out() {
    let server = server().await;
    let groups = members(&server, 2).await;
    let mut file = groups[1].play("film").await.unwrap().into_flv_reader();
    let mut writer = groups[0].publish("film").await.unwrap().into_flv_writer();
    let tag = |timestamp, data: &'static [u8]| {
        let data = bytes::Bytes::from_static(data);
        flv::Tag { kind: flv::TagKind::Video, timestamp, data }
    };
    let header = tag(0, b"\x17\0\0\0\0H");
    let frames: Vec<_> = (0..5).map(|n| tag(40 * n, b"\x17\x01\0\0\0K")).collect();
    let mut bytes = flv::header(true, true).to_vec();
    header.encode(&mut bytes).unwrap();
    frames[0].encode(&mut bytes).unwrap();
    writer.write_all(&bytes).await.unwrap();
    // It begins when the first frame is there.
    let mut read = vec![0; bytes.len()];
    file.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes);
    let mut rest = Vec::new();
    frames[1..].iter().for_each(|frame| frame.encode(&mut rest).unwrap());
    // In pieces that are no tags.
    for piece in rest.chunks(7) {
        writer.write_all(piece).await.unwrap();
    }
    writer.shutdown().await.unwrap();
    let stream = writer.into_stream().unwrap();
    assert!(stream.close(GRACE).await.unwrap());
    let mut read = Vec::new();
    file.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, rest);
}

#[tokio::test]
async fn what_is_no_flv_is_not_published() {
    let server = server().await;
    let groups = members(&server, 2).await;
    let mut writer = groups[0].publish("film").await.unwrap().into_flv_writer();
    writer.write_all(b"this is text").await.unwrap();
    let error = writer.shutdown().await.unwrap_err();
    assert!(error.to_string().contains("no FLV"), "{error}");
}

#[tokio::test]
async fn a_group_without_multicast_has_no_streams() {
    let server = server().await;
    let connection = Connection::connect(&server.client_uris()[0]).await.unwrap();
    let spec = GroupSpecBuilder::new("mute").unwrap().server_channel(true).build().unwrap();
    let group = connection.join(spec).await.unwrap();
    let refused = |error| matches!(error, NetGroupError::Group(GroupError::MulticastDisabled));
    assert!(refused(group.publish("news").await.unwrap_err()));
    assert!(refused(group.play("news").await.unwrap_err()));
    group.close().await;
    assert!(matches!(group.play("news").await.unwrap_err(), NetGroupError::Closed));
}
