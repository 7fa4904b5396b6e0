//! Hellos from sources that are not their senders': for the server, for its clients, and for peers that
//! nobody knows.

use super::line::{Line, RUN};
use super::packets::startup;
use super::{Attack, Setting};
use rtmfp::proto::crypto::{Epd, Fingerprint};
use rtmfp::proto::sim::SeededRandom;
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::InitiatorHello;

/// Runs that are made before, of each sort.
const PREPARED: usize = 8;

pub(super) struct Hellos {
    /// Runs of hellos with the length of each. In turn: two for the server, one for a client, one for
    /// nobody.
    prepared: Vec<(Vec<u8>, usize)>,
    next: usize,
    one_by_one: bool,
    random: SeededRandom,
}

impl Hellos {
    pub(super) fn new(setting: &Setting) -> Self {
        let mut random = SeededRandom::new(1);
        let server = Epd::for_uri(&setting.uri.to_string());
        let nobody = Epd::for_fingerprint(Fingerprint([7; 32]));
        let mut hello = |epd: &Epd| {
            let hellos = (0..RUN).map(|_| {
                let tag: [u8; 16] = std::array::from_fn(|_| random.below(256) as u8);
                let hello = InitiatorHello { epd: epd.as_bytes(), tag: &tag };
                startup(0, &Chunk::InitiatorHello(hello))
            });
            let hellos: Vec<_> = hellos.collect();
            (hellos.concat(), hellos[0].len())
        };
        let prepared = (0..PREPARED).flat_map(|number| {
            let client = setting.peers.get(number % setting.peers.len().max(1));
            let client = client.map_or_else(|| nobody.clone(), |&peer| Epd::for_fingerprint(peer));
            [hello(&server), hello(&client), hello(&server), hello(&nobody)]
        });
        Self {
            prepared: prepared.collect(),
            next: 0,
            one_by_one: setting.one_by_one,
            random: SeededRandom::new(2),
        }
    }
}

impl Attack for Hellos {
    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let mut from = || Line::host(self.random.below(1 << 32) as u32);
        let (run, segment) = &self.prepared[self.next % self.prepared.len()];
        self.next += 1;
        if self.one_by_one {
            run.chunks(*segment).for_each(|hello| line.send(from(), hello));
        } else {
            line.send_run(from(), run, *segment);
        }
        Ok(())
    }
}
