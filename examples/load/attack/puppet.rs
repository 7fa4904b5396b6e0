//! Sessions of the attacker, moved by hand: they send whatever an attack wants under valid keys.

use super::line::Line;
use super::packets::{connect_message, data, metadata, open_default, seal, startup};
use anyhow::ensure;
use rtmfp::driver::os_random;
use rtmfp::proto::crypto::{
    Certificate, Epd, Identity, IdentityConfig, Initiate, Initiated, KeyingRandom, Negotiation,
    Opener, Sealer,
};
use rtmfp::proto::flash::{FlowMetadata, ObjectEncoding, Uri};
use rtmfp::wire::chunk::{InitiatorHello, InitiatorKeying, RangeAck};
use rtmfp::wire::multiplex::{SESSION_ID_LEN, session_id};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, Mode, PacketHeader};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keyings under way.
const TOGETHER: usize = 32;
/// What is not answered is sent again after this time, …
const AGAIN: Duration = Duration::from_millis(500);
/// … and given up after this.
const GIVE_UP: Duration = Duration::from_secs(60);
/// The flow of the NetConnection.
pub(super) const CONTROL: u64 = 2;

/// What a puppet acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    /// Everything, at once.
    All,
    /// Nothing.
    None,
    /// What has come, and that it has no space for more.
    NoSpace,
}

/// One session.
pub(super) struct Puppet {
    pub(super) at: Ipv4Addr,
    pub(super) acks: Acks,
    near: u32,
    pub(super) far: u32,
    sealer: Sealer,
    opener: Opener,
    /// The server's flow of the NetConnection, when it has sent something.
    pub(super) back: Option<u64>,
    /// The keying by which it was opened.
    pub(super) keying: Vec<u8>,
}

impl Puppet {
    /// A packet with these chunks.
    pub(super) fn packet(&mut self, chunks: &[Chunk<'_>]) -> Vec<u8> {
        seal(&mut self.sealer, self.far, Mode::Initiator, chunks)
    }

    /// A message that fits one packet.
    pub(super) fn message(
        &mut self,
        flow: u64,
        sequence: u64,
        of: Option<FlowMetadata>,
        message: &[u8],
    ) -> Vec<u8> {
        let options = of.map(|of| metadata(of, self.back));
        let chunk = data((flow, sequence, sequence), options.as_deref(), message);
        self.packet(&[Chunk::UserData(chunk)])
    }

    /// Answers what the server wants answered.
    fn answer(&mut self, datagram: &mut [u8]) -> Option<Vec<u8>> {
        let plain = self.opener.open(datagram.get_mut(SESSION_ID_LEN..)?).ok()?.to_vec();
        let (_, rest) = PacketHeader::parse(&plain).ok()?;
        let blocks = if self.acks == Acks::NoSpace { 0 } else { 512 };
        let ack = |flow, cumulative| {
            Chunk::RangeAck(RangeAck { flow, buffer_blocks: blocks, cumulative, runs: &[] })
        };
        let mut answers: Vec<Chunk<'_>> = Vec::new();
        let mut last = None;
        for chunk in chunks(rest) {
            match chunk {
                Chunk::Ping(bytes) => answers.push(Chunk::PingReply(bytes)),
                Chunk::UserData(data) => {
                    self.back.get_or_insert(data.flow);
                    if self.acks != Acks::None {
                        last = Some((data.flow, data.sequence));
                    }
                }
                Chunk::NextUserData(_) => last = last.map(|(flow, at)| (flow, at + 1)),
                Chunk::BufferProbe(flow) if self.acks == Acks::NoSpace => {
                    answers.push(ack(flow, 0))
                }
                _ => {}
            }
        }
        answers.extend(last.map(|(flow, at)| ack(flow, at)));
        (!answers.is_empty()).then(|| self.packet(&answers))
    }
}

/// All sessions of an attack.
#[derive(Default)]
pub(super) struct Puppets {
    pub(super) all: Vec<Puppet>,
}

/// A session that is being opened.
struct Opening {
    at: Ipv4Addr,
    identity: Arc<Identity>,
    sent: Instant,
    initiated: Option<(Initiated, Vec<u8>)>,
}

impl Puppets {
    /// Opens `count` sessions, `per_host` from each host, and connects them by NetConnection.
    pub(super) fn connect(
        line: &mut Line,
        uri: &Uri,
        (count, per_host): (usize, usize),
        offer: &Negotiation,
    ) -> anyhow::Result<Self> {
        Self::connect_with(line, uri, (count, per_host), offer, |_| ObjectEncoding::Amf3)
    }

    /// The same, each with the object encoding that its number has.
    pub(super) fn connect_with(
        line: &mut Line,
        uri: &Uri,
        (count, per_host): (usize, usize),
        offer: &Negotiation,
        encoding: impl Fn(usize) -> ObjectEncoding,
    ) -> anyhow::Result<Self> {
        let mut puppets = Self::open(line, uri, (count, per_host), offer)?;
        for index in 0..puppets.all.len() {
            let connect = connect_message(uri, encoding(index))?;
            let puppet = &mut puppets.all[index];
            let packet = puppet.message(CONTROL, 1, Some(FlowMetadata::tc(0)), &connect);
            let at = puppet.at;
            line.send(at, &packet);
            if index % 16 == 15 {
                puppets.serve(line)?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let until = Instant::now() + AGAIN;
        while Instant::now() < until {
            puppets.serve(line)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(puppets)
    }

    /// Opens `count` sessions. Some may fail, half of them not.
    fn open(
        line: &mut Line,
        uri: &Uri,
        (count, per_host): (usize, usize),
        offer: &Negotiation,
    ) -> anyhow::Result<Self> {
        let epd = Epd::for_uri(&uri.to_string());
        let config = IdentityConfig::like_a_player();
        let mut all = Self::default();
        let mut opening: Vec<Option<Opening>> = Vec::new();
        let (mut begun, mut moved) = (0, Instant::now());
        while all.all.len() < count && moved.elapsed() < GIVE_UP {
            while begun < count && begun - all.all.len() < TOGETHER {
                let identity = Arc::new(Identity::generate(&config, &mut *os_random()));
                let at = Line::host((begun / per_host) as u32 + 1);
                let sent = Instant::now().checked_sub(AGAIN).unwrap_or_else(Instant::now);
                opening.push(Some(Opening { at, identity, sent, initiated: None }));
                begun += 1;
            }
            for (number, it) in opening.iter_mut().enumerate() {
                let Some(it) = it.as_mut().filter(|it| it.sent.elapsed() >= AGAIN) else {
                    continue;
                };
                it.sent = Instant::now();
                match &it.initiated {
                    Some((_, keying)) => line.send(it.at, keying),
                    None => {
                        let tag = (number as u128 + 1).to_be_bytes();
                        let hello = InitiatorHello { epd: epd.as_bytes(), tag: &tag };
                        line.send(it.at, &startup(0, &Chunk::InitiatorHello(hello)));
                    }
                }
            }
            let mut opened = Vec::new();
            line.receive(|_, datagram, answers| {
                if let Some(answer) = advance(&mut opening, offer, datagram, &mut opened) {
                    answers.push(answer);
                }
            })?;
            if opened.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            } else {
                moved = Instant::now();
                all.all.append(&mut opened);
            }
        }
        ensure!(
            all.all.len() >= count.div_ceil(2),
            "only {} of the attacker's {count} sessions were opened",
            all.all.len()
        );
        all.all.sort_unstable_by_key(|puppet| puppet.near);
        Ok(all)
    }

    /// Reads and answers what the server has sent.
    pub(super) fn serve(&mut self, line: &mut Line) -> anyhow::Result<usize> {
        let all = &mut self.all;
        line.receive(|_, datagram, answers| {
            let Some(id) = session_id(datagram) else { return };
            let Ok(index) = all.binary_search_by_key(&id, |puppet| puppet.near) else { return };
            let answer = all[index].answer(datagram);
            answers.extend(answer.map(|answer| (all[index].at, answer)));
        })
    }
}

/// One step of a session that is being opened.
fn advance(
    opening: &mut [Option<Opening>],
    offer: &Negotiation,
    datagram: &[u8],
    opened: &mut Vec<Puppet>,
) -> Option<(Ipv4Addr, Vec<u8>)> {
    let plain = open_default(datagram)?;
    let (_, rest) = PacketHeader::parse(&plain).ok()?;
    match chunks(rest).next()? {
        Chunk::ResponderHello(hello) => {
            let number = u128::from_be_bytes(*hello.tag_echo.first_chunk()?) as usize;
            let it = opening.get_mut(number.checked_sub(1)?)?.as_mut()?;
            if it.initiated.is_some() {
                return None;
            }
            let initiated = Initiate {
                identity: it.identity.clone(),
                far: Certificate::parse(hello.certificate).ok()?,
                offer: offer.clone(),
                ours: false,
                random: KeyingRandom::from_rng(&mut *os_random()),
            };
            let initiated = initiated.run().ok()?;
            let keying = InitiatorKeying {
                session_id: number as u32,
                cookie: hello.cookie,
                certificate: it.identity.certificate().as_bytes(),
                component: initiated.component(),
                signature: b"X",
            };
            let keying = startup(0, &Chunk::InitiatorKeying(keying));
            it.sent = Instant::now();
            it.initiated = Some((initiated, keying.clone()));
            Some((it.at, keying))
        }
        Chunk::ResponderKeying(answer) => {
            let near = session_id(datagram)?;
            let slot = opening.get_mut((near as usize).checked_sub(1)?)?;
            let Some(Opening { at, initiated: Some((initiated, keying)), .. }) = slot.take() else {
                return None;
            };
            let keys = initiated.finish(answer.component).ok()?;
            let (sealer, opener) = (keys.sealer, keys.opener);
            let far = answer.session_id;
            let (acks, back) = (Acks::All, None);
            let mut puppet = Puppet { at, acks, near, far, sealer, opener, back, keying };
            let first = puppet.packet(&[Chunk::Ping(b"here")]);
            opened.push(puppet);
            Some((at, first))
        }
        _ => None,
    }
}
