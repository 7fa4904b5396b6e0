//! Packets and messages made by hand.

use anyhow::Context;
use bytes::Bytes;
use rtmfp::amf::Value;
use rtmfp::proto::crypto::{Opener, Sealer};
use rtmfp::proto::flash::{
    Body, ClientConfig, ClientConnection, Command, FlowMetadata, Message, ObjectEncoding, Uri,
};
use rtmfp::proto::transport::{FlowAction, Time};
use rtmfp::wire::chunk::{
    FragmentControl, OPTION_METADATA, OPTION_RETURN_ASSOCIATION, UserData, UserDataFlags,
};
use rtmfp::wire::multiplex::SESSION_ID_LEN;
use rtmfp::wire::option::{encode_option, encode_vlu_option};
use rtmfp::wire::{Chunk, Mode, PacketHeader};

/// A startup datagram with one chunk.
pub(super) fn startup(session_id: u32, chunk: &Chunk<'_>) -> Vec<u8> {
    let chunks = std::slice::from_ref(chunk);
    seal(&mut Sealer::default_key(), session_id, Mode::Startup, chunks)
}

/// An encrypted packet with these chunks, as far as they can be encoded.
pub(super) fn seal(sealer: &mut Sealer, id: u32, mode: Mode, chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1300);
    let start = sealer.begin(&mut bytes);
    PacketHeader::new(mode).encode(&mut bytes);
    for chunk in chunks {
        // Only one of more than 64 KiB could not be.
        let _ = chunk.encode(&mut bytes);
    }
    let range = sealer.finish(&mut bytes, start);
    sealer.seal(id, &mut bytes, &[range]);
    bytes
}

/// The plain packet of a startup datagram.
pub(super) fn open_default(datagram: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = datagram.to_vec();
    let plain = Opener::default_key().open(bytes.get_mut(SESSION_ID_LEN..)?).ok()?.to_vec();
    let (header, _) = PacketHeader::parse(&plain).ok()?;
    (header.mode == Mode::Startup).then_some(plain)
}

/// The encoded option list of a flow's first fragment; `back` is the server's flow that it belongs to.
pub(super) fn metadata(of: FlowMetadata, back: Option<u64>) -> Vec<u8> {
    let mut options = Vec::new();
    encode_option(OPTION_METADATA, &of.encode(), &mut options);
    if let Some(flow) = back {
        encode_vlu_option(OPTION_RETURN_ASSOCIATION, flow, &mut options);
    }
    options.push(0);
    options
}

pub(super) const fn flags(fragment: FragmentControl) -> UserDataFlags {
    UserDataFlags { fragment, abandon: false, last: false, reserved: 0 }
}

/// A whole message in one fragment.
pub(super) const fn data<'a>(
    (flow, sequence, fsn_offset): (u64, u64, u64),
    options: Option<&'a [u8]>,
    data: &'a [u8],
) -> UserData<'a> {
    UserData { flags: flags(FragmentControl::Whole), flow, sequence, fsn_offset, options, data }
}

/// The message by which a client connects.
pub(super) fn connect_message(uri: &Uri, encoding: ObjectEncoding) -> anyhow::Result<Bytes> {
    let mut config = ClientConfig::default();
    config.encoding = encoding;
    let mut connection = ClientConnection::connect(Time::ZERO, config, uri, Vec::new())?;
    let actions = std::iter::from_fn(|| connection.poll_action());
    let message = actions.filter_map(|action| match action {
        FlowAction::Send { message, .. } => Some(message),
        _ => None,
    });
    message.last().context("no connect message")
}

/// A command as a message.
pub(super) fn command(name: &str, transaction: f64, args: Vec<Value>) -> anyhow::Result<Vec<u8>> {
    let body = Command::new(name, transaction, args).encode(ObjectEncoding::Amf3)?;
    Ok(message(body))
}

/// A message.
pub(super) fn message(body: Body) -> Vec<u8> {
    Message::new(0, body).encode().into_bytes().to_vec()
}
